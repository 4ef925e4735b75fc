//! A dump becomes another one: at a higher level for other recipients, of one file or of all parts. And the plain input
//! goes when the encrypted dump replaces it, and only then.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod readers;
mod synth;

use common::{judge, or_skip, succeed, text};
use readers::{Kdump, assert_same};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;
use synth::{Content, Page, Synth, arch, kernel};
use vmcore_encrypt::crypt::stream::DecryptReader;
use vmcore_encrypt::crypt::{Identities, NoPrompt};

/// A directory with two pairs of keys and a vmcore.
struct Lab {
    dir: PathBuf,
    owner: (PathBuf, PathBuf),
    vendor: (PathBuf, PathBuf),
    vmcore: PathBuf,
}

impl Lab {
    fn new(name: &str) -> Lab {
        let dir = common::scratch(name);
        let keys = |who: &str| {
            fs::create_dir(dir.join(who)).unwrap();
            common::keys(&dir.join(who))
        };
        let (owner, vendor) = (keys("owner"), keys("vendor"));
        let vmcore = dir.join("vmcore");
        Synth::new(arch::x86_64::four_level(), kernel::v6_12())
            .fill(Content::Pattern)
            .image(0x40_0000..0x60_0000)
            .ram(0x10_0000..0x180_0000)
            .ram(0x900_0000..0xa00_0000)
            .ram(0x2800_0000..0x2900_0000)
            .page(0x1400, Page::free(8))
            .pages(0x9000, 0x400, &Page::cache())
            .pages(0x9800, 16, &Page::kernel().with(Content::Zero))
            .pages(0x2_8000, 0x200, &Page::anon())
            .ram(0x800_0000..0x810_0000)
            .offlined_section(1)
            .build()
            .write_to(&vmcore);
        Lab { dir, owner, vendor, vmcore }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn encrypt(&self, words: &[&str], input: &Path, out: &[PathBuf]) -> Output {
        let mut command = common::encrypt();
        common::run(command.args(words).arg("-R").arg(&self.owner.1).arg(input).args(out))
    }

    fn decrypt(&self, words: &[&str], identity: &Path, files: &[PathBuf]) -> Output {
        let mut command = common::decrypt();
        let (first, rest) = words.split_first().map_or((None, words), |(first, rest)| (Some(first), rest));
        common::run(command.args(first).arg("-i").arg(identity).args(rest).args(files))
    }

    /// What becomes of a fresh dump of level 31 at the same level, by `refilter` and as a plain file by the collector.
    fn check_conversions(&self, options: &[&str], fresh: &Path, new: &Path) {
        let plain = self.path("plain");
        let (fresh, new) = (fresh.to_owned(), new.to_owned());
        let to = self.owner.1.to_str().unwrap();
        let words = ["refilter", "-f", "-d", "31", "-R", to];
        let refilter = || succeeded(&self.decrypt(&words, &self.owner.0, &[fresh.clone(), new.clone()]));
        if !["", "--keep-page-structures"].contains(&options.concat().as_str()) {
            return;
        }
        // Nothing more is left out, though page structures are gone; where they are not, they stay.
        refilter();
        assert_same(&self.restored(&self.owner.0, &new), &self.restored(&self.owner.0, &fresh));
        // So does the conversion of a plain dump of this level.
        succeeded(&self.decrypt(&["-f"], &self.owner.0, &[fresh.clone(), plain.clone()]));
        succeeded(&self.encrypt(&["-f", "-d", "31"], &plain, std::slice::from_ref(&new)));
        if options.is_empty() {
            // A plain dump of a lower level is filtered as the vmcore.
            let low = self.path("low.age");
            succeeded(&self.decrypt(&["-f"], &self.owner.0, &[low, plain.clone()]));
            let again = self.path("again.age");
            succeeded(&self.encrypt(&["-f", "-d", "31"], &plain, std::slice::from_ref(&again)));
            assert_same(&self.restored(&self.owner.0, &again), &self.restored(&self.owner.0, &fresh));
        }
        assert_same(&self.restored(&self.owner.0, &new), &self.restored(&self.owner.0, &fresh));
    }

    fn restored(&self, identity: &Path, dump: &Path) -> Kdump {
        let out = self.path("restored");
        let output = self.decrypt(&["-f"], identity, &[dump.to_owned(), out.clone()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        Kdump::open(&out)
    }
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn a_refiltered_dump_is_what_collecting_at_that_level_had_given() {
    let lab = Lab::new("refilter");
    let (low, parts) = (lab.path("low.age"), [lab.path("part.1"), lab.path("part.2"), lab.path("part.3")]);
    succeeded(&lab.encrypt(&["-d", "1"], &lab.vmcore, std::slice::from_ref(&low)));
    succeeded(&lab.encrypt(&["-d", "1", "--split"], &lab.vmcore, &parts));
    for level in ["1", "9", "31"] {
        let fresh = lab.path("fresh.age");
        succeeded(&lab.encrypt(&["-f", "-d", level], &lab.vmcore, std::slice::from_ref(&fresh)));
        let fresh = lab.restored(&lab.owner.0, &fresh);
        for input in [std::slice::from_ref(&low), &parts[..]] {
            let out = lab.path("new.age");
            let to = lab.vendor.1.to_str().unwrap();
            let files = [input, std::slice::from_ref(&out)].concat();
            succeeded(&lab.decrypt(&["refilter", "-f", "-d", level, "--to", to], &lab.owner.0, &files));
            assert_same(&lab.restored(&lab.vendor.0, &out), &fresh);
            // A file key of its own: the owner cannot open it, and it is whole.
            assert_eq!(
                lab.decrypt(&["verify"], &lab.owner.0, std::slice::from_ref(&out)).status.code(),
                Some(3)
            );
            let said = succeeded(&lab.decrypt(&["info"], &lab.vendor.0, std::slice::from_ref(&out)));
            assert!(!said.to_lowercase().contains("part"), "{said}");
        }
    }
    // Levels can only rise.
    let (high, out) = (lab.path("high.age"), lab.path("again.age"));
    succeeded(&lab.encrypt(&["-d", "31"], &lab.vmcore, std::slice::from_ref(&high)));
    let to = lab.vendor.1.to_str().unwrap();
    let output = lab.decrypt(&["refilter", "-d", "1", "-R", to], &lab.owner.0, &[high.clone(), out.clone()]);
    assert!(text(&output.stderr).contains("level 1 is lower than the input's"), "{}", text(&output.stderr));
    assert_same(&lab.restored(&lab.vendor.0, &out), &lab.restored(&lab.owner.0, &high));
    // No input is overwritten.
    for input in [&high, &lab.owner.0, &lab.vendor.1] {
        let before = fs::read(input).unwrap();
        let output = lab.decrypt(&["refilter", "-f", "-R", to], &lab.owner.0, &[high.clone(), input.clone()]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(fs::read(input).unwrap() == before);
    }
    // A dump that is cut gives an incomplete one, and its status.
    let bytes = fs::read(&high).unwrap();
    fs::write(&high, &bytes[..bytes.len() / 2]).unwrap();
    let output = lab.decrypt(&["refilter", "-f", "-R", to], &lab.owner.0, &[high, out.clone()]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert_eq!(lab.restored(&lab.vendor.0, &out).status & 8, 8);
}

/// The stream inside a dump: its blocks, maps and index in their order.
fn stream(identity: &Path, dump: &Path) -> Vec<u8> {
    let mut identities = Identities::new(Arc::new(NoPrompt));
    identities.add_file("identity", fs::read(identity).unwrap().as_slice()).unwrap();
    let bytes = fs::read(dump).unwrap();
    let mut rest = bytes.as_slice();
    let key = identities.open(&mut rest).unwrap().key;
    let mut plain = Vec::new();
    DecryptReader::new(rest, key).read_to_end(&mut plain).unwrap();
    plain
}

/// Each option leaves out other pages, and of each the new dump is the fresh one: pages, their order, the index.
#[test]
fn options_on_pages_are_those_of_a_fresh_collection() {
    let lab = Lab::new("refilter-options");
    let [low, fresh, new] = ["low.age", "fresh.age", "new.age"].map(|name| lab.path(name));
    succeeded(&lab.encrypt(&["-d", "1"], &lab.vmcore, std::slice::from_ref(&low)));
    let to = lab.owner.1.to_str().unwrap();
    let mut kept = Vec::new();
    for options in [&[][..], &["--keep-page-structures"], &["--keep-cpu-lists"], &["--as-makedumpfile"]] {
        let words = |first: &'static [&'static str]| [first, options].concat();
        succeeded(&lab.encrypt(&words(&["-f", "-d", "31"]), &lab.vmcore, std::slice::from_ref(&fresh)));
        let words = [&words(&["refilter", "-f", "-d", "31"])[..], &["-R", to]].concat();
        let expected = stream(&lab.owner.0, &fresh);
        succeeded(&lab.decrypt(&words, &lab.owner.0, &[low.clone(), new.clone()]));
        assert!(stream(&lab.owner.0, &new) == expected, "{options:?}");
        let held = lab.restored(&lab.owner.0, &fresh);
        let is_held = |pfn: &u64| matches!(held.page(*pfn), readers::Found::Bytes(_));
        kept.push((0..held.max_mapnr).filter(is_held).count());
        lab.check_conversions(options, &fresh, &new);
    }
    let [usual, structures, _, theirs] = kept[..] else { panic!("{kept:?}") };
    assert!(usual < structures && structures < theirs, "{kept:?}");
}

#[test]
fn every_command_takes_all_parts_and_names_a_missing_one() {
    let lab = Lab::new("refilter-parts");
    let (whole, parts) = (lab.path("whole.age"), [lab.path("p1"), lab.path("p2"), lab.path("p3")]);
    succeeded(&lab.encrypt(&["-d", "31"], &lab.vmcore, std::slice::from_ref(&whole)));
    succeeded(&lab.encrypt(&["-d", "31", "--split"], &lab.vmcore, &parts));
    let mut turned = parts.clone();
    turned.rotate_left(1);
    let log = succeeded(&lab.decrypt(&["dmesg"], &lab.owner.0, std::slice::from_ref(&whole)));
    assert!(!log.is_empty() && succeeded(&lab.decrypt(&["dmesg"], &lab.owner.0, &turned)) == log);
    assert!(succeeded(&lab.decrypt(&["verify"], &lab.owner.0, &turned)).contains("authentic, complete"));
    let facts = |files: &[PathBuf]| -> serde_json::Value {
        serde_json::from_str(&succeeded(&lab.decrypt(&["info", "--json"], &lab.owner.0, files))).unwrap()
    };
    let (one, all) = (facts(std::slice::from_ref(&whole)), facts(&turned));
    for member in ["part", "complete", "data_pages", "zero_pages", "pages"] {
        assert_eq!(one["dump"][member], all["dump"][member], "{member}");
    }
    let out = lab.path("out");
    let to = lab.vendor.1.to_str().unwrap();
    for words in [&["dmesg"][..], &["verify"], &["info"], &["refilter", "-f", "-R", to]] {
        let with_out = |files: &[PathBuf]| match words[0] {
            "refilter" => [files, std::slice::from_ref(&out)].concat(),
            _ => files.to_vec(),
        };
        let output = lab.decrypt(words, &lab.owner.0, &with_out(&[parts[0].clone(), parts[2].clone()]));
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains("part 2 of 3 is missing"), "{words:?}: {said}");
        let alone = lab.decrypt(words, &lab.owner.0, &with_out(&parts[1..2]));
        let said = text(&alone.stderr) + &text(&alone.stdout);
        assert!(said.contains("part 2 of 3") || said.contains("2 of 3"), "{words:?}: {said}");
    }
    // What is made of one part is no whole dump.
    let output = lab.decrypt(&["refilter", "-f", "-R", to], &lab.owner.0, &[parts[1].clone(), out.clone()]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    let output = lab.decrypt(&["verify"], &lab.vendor.0, std::slice::from_ref(&out));
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stdout));
}

#[test]
fn the_input_goes_only_when_the_dump_replaces_it() {
    let lab = Lab::new("remove-source");
    let input = lab.path("input");
    let out = lab.path("out.age");
    let fresh = || {
        let _ = fs::remove_file(&out);
        let _ = fs::remove_file(&input);
        fs::copy(&lab.vmcore, &input).unwrap();
    };
    let run = |words: &[&str], input: &Path| {
        lab.encrypt(&[&["--remove-source"], words].concat(), input, std::slice::from_ref(&out))
    };
    // The level leaves pages out.
    fresh();
    let output = run(&["-d", "31"], &input);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("are not in the dump") && input.exists() && out.exists());
    fresh();
    succeeded(&run(&["-d", "31", "--allow-fewer-pages"], &input));
    assert!(!input.exists());
    fresh();
    fs::hard_link(&input, lab.path("second-name")).unwrap();
    let output = run(&["-d", "1"], &input);
    let said = text(&output.stderr);
    assert!(output.status.success() && !input.exists(), "{said}");
    assert!(said.contains("another name (hard link)") && said.contains("not overwritten"), "{said}");
    let kept = lab.restored(&lab.owner.0, &out);
    assert!((0..kept.max_mapnr).any(|pfn| matches!(kept.page(pfn), readers::Found::Bytes(_))));
    // A link is not the file; the same name twice is no dump; a pipe and standard input have no name.
    fresh();
    let link = lab.path("link");
    symlink(&input, &link).unwrap();
    assert_eq!(run(&["-d", "1"], &link).status.code(), Some(2));
    assert!(link.exists() && input.exists());
    // What cannot be read back replaces nothing; nobody reads this pipe.
    let pipe = lab.path("pipe");
    succeed(std::process::Command::new("mkfifo").arg(&pipe));
    for nowhere in [Path::new("-"), &pipe, Path::new("/dev/null")] {
        let output = lab.encrypt(&["-f", "-d", "1", "--remove-source"], &input, &[nowhere.to_owned()]);
        assert_eq!(output.status.code(), Some(2), "{nowhere:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && input.exists(), "{nowhere:?}");
    }
    let same = lab.encrypt(&["-f", "-d", "1", "--remove-source"], &input, std::slice::from_ref(&input));
    assert!(!same.status.success());
    assert_eq!(
        lab.encrypt(&["--remove-source"], Path::new("-"), std::slice::from_ref(&out)).status.code(),
        Some(2)
    );
    assert_eq!(lab.encrypt(&["--remove-source"], &input, &[]).status.code(), Some(2));
    let far = [PathBuf::from("https://127.0.0.1:9/bucket/dump.age")];
    assert_eq!(lab.encrypt(&["--remove-source"], &input, &far).status.code(), Some(2));
    assert!(input.exists());
    // What needs a warning is no success.
    fresh();
    let bytes = fs::read(&input).unwrap();
    fs::write(&input, &bytes[..bytes.len() - 5000]).unwrap();
    let output = run(&["-d", "1"], &input);
    assert!(output.status.code() != Some(0) && input.exists(), "{}", text(&output.stderr));
}

/// Firmware in a hypervisor's dump: the kernel has no page structures for it, and the dump ends before it.
#[test]
fn an_input_with_pages_above_the_kernels_memory_goes_only_when_that_is_allowed() {
    let lab = Lab::new("remove-firmware");
    let [input, out] = ["input", "out.age"].map(|name| lab.path(name));
    Synth::new(arch::x86_64::four_level(), kernel::v6_12())
        .fill(Content::Pattern)
        .image(0x40_0000..0x60_0000)
        .ram(0x10_0000..0x100_0000)
        .ram(0x3800_0000..0x3804_0000)
        .unmapped_section(7)
        .build()
        .write_to(&input);
    let words = ["-f", "-d", "1", "--remove-source", "--allow-fewer-pages"];
    let run = |words: &[&str]| lab.encrypt(words, &input, std::slice::from_ref(&out));
    let output = run(&words[..4]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("64 of its pages are not in the dump: they are above") && input.exists(), "{said}");
    succeeded(&run(&words));
    assert!(!input.exists());
}

/// A small dump, of which every page is kept at level 0.
fn small(path: &Path) {
    Synth::new(arch::x86_64::four_level(), kernel::v6_12())
        .fill(Content::Pattern)
        .image(0x40_0000..0x60_0000)
        .ram(0x10_0000..0x100_0000)
        .build()
        .write_to(path);
}

/// A pipe that takes no byte more, and its reading end.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// Runs a conversion whose report nobody reads: it waits between the end of the dump and the removal of its input. What is
/// done then to the input, to the dump or to the process; the status, and what it reported.
fn while_it_waits(lab: &Lab, act: impl FnOnce(&Path, &Path, u32)) -> (Option<i32>, String) {
    let (input, out) = (lab.path("input"), lab.path("out.age"));
    for old in [&out, &input, &lab.path("other")] {
        let _ = fs::remove_file(old);
    }
    fs::copy(lab.path("small"), &input).unwrap();
    let (mut reader, writer) = full_pipe();
    let mut command = common::encrypt();
    command.args(["--remove-source", "-d", "0", "-R"]).arg(&lab.owner.1).args([&input, &out]);
    let mut child = command.stderr(writer).spawn().unwrap();
    // The command has a copy of the writing end.
    drop(command);
    let mut size = None;
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = fs::metadata(&out).ok().map(|there| there.len());
        if now.is_some() && std::mem::replace(&mut size, now) == now {
            break;
        }
        assert!(child.try_wait().unwrap().is_none(), "it did not wait");
    }
    assert!(input.exists());
    act(&input, &out, child.id());
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said.trim_start_matches('.').to_owned())
}

/// What is done, what the message has of it, and how: to the input, the dump and the process.
type Act<'a> = (&'a str, &'a str, Box<dyn Fn(&Path, &Path, u32) + 'a>);

/// What changes after the input was read keeps it: another file by its name, other bytes in it, a dump that is cut, another
/// dump, no dump, a signal. Without any of these it goes.
#[test]
fn what_happens_before_the_removal_keeps_the_input() {
    let lab = Lab::new("remove-attacked");
    small(&lab.path("small"));
    let (status, said) = while_it_waits(&lab, |_, _, _| {});
    assert_eq!(status, Some(0), "{said}");
    assert!(!lab.path("input").exists() && said.contains("is removed"), "{said}");
    let other = lab.path("other");
    let elsewhere = |input: &Path| {
        fs::rename(input, &other).unwrap();
        fs::copy(&other, input).unwrap();
    };
    let acts: [Act<'_>; 7] = [
        ("another file", "its name leads to another file", Box::new(|input, _, _| elsewhere(input))),
        (
            "a link",
            "removing",
            Box::new(|input, _, _| {
                fs::rename(input, &other).unwrap();
                symlink(&other, input).unwrap();
            }),
        ),
        (
            "more bytes",
            "it changed",
            Box::new(|input, _, _| {
                fs::OpenOptions::new().append(true).open(input).unwrap().write_all(b"x").unwrap();
            }),
        ),
        (
            "a cut dump",
            "no replacement",
            Box::new(|_, out, _| {
                let file = fs::OpenOptions::new().write(true).open(out).unwrap();
                file.set_len(file.metadata().unwrap().len() - 1).unwrap();
            }),
        ),
        (
            "another dump",
            "no replacement",
            Box::new(|_, out, _| {
                fs::remove_file(out).unwrap();
                succeeded(&lab.encrypt(&["-d", "0"], &lab.path("small"), &[out.to_owned()]));
            }),
        ),
        (
            "the input itself",
            "in no file of its own",
            Box::new(|input, out, _| {
                fs::remove_file(out).unwrap();
                fs::hard_link(input, out).unwrap();
            }),
        ),
        (
            "a signal",
            "asked to stop",
            Box::new(|_, _, id| {
                let id = rustix::process::Pid::from_raw(id.cast_signed()).unwrap();
                rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
            }),
        ),
    ];
    for (what, why, act) in acts {
        let (status, said) = while_it_waits(&lab, act);
        assert!(status != Some(0) && said.contains(why), "{what}: {status:?} {said}");
        assert!(fs::metadata(lab.path("input")).is_ok(), "{what}");
        assert!(!said.contains("is removed"), "{what}: {said}");
    }
}

/// A name by another path, and further names of the input, are the input.
#[test]
fn no_output_is_the_input_by_another_name() {
    let lab = Lab::new("remove-same");
    small(&lab.path("small"));
    let input = lab.path("input");
    let _ = fs::remove_file(&input);
    fs::copy(lab.path("small"), &input).unwrap();
    fs::create_dir(lab.path("dir")).unwrap();
    symlink(&lab.dir, lab.path("dir/again")).unwrap();
    fs::hard_link(&input, lab.path("hard")).unwrap();
    let before = fs::read(&input).unwrap();
    for out in ["dir/again/input", "hard", "dir/../input"] {
        let output = lab.encrypt(&["-f", "-d", "0", "--remove-source"], &input, &[lab.path(out)]);
        assert_eq!(output.status.code(), Some(2), "{out}: {}", text(&output.stderr));
        assert!(fs::read(&input).unwrap() == before, "{out}");
    }
}

/// The dump of a small vmcore in every plain form.
fn plain_forms(lab: &Lab) -> Vec<(&'static str, Vec<u8>)> {
    let [core, age, file] = ["small", "small.age", "file"].map(|name| lab.path(name));
    small(&core);
    succeeded(&lab.encrypt(&["-f", "-d", "1"], &core, std::slice::from_ref(&age)));
    let restored = |format: &str| {
        succeeded(&lab.decrypt(&["-f", "--format", format], &lab.owner.0, &[age.clone(), file.clone()]));
        fs::read(&file).unwrap()
    };
    let elf = fs::read(&core).unwrap();
    let mut flat_elf = [&b"makedumpfile\0\0\0\0"[..], &1_u64.to_be_bytes(), &1_u64.to_be_bytes()].concat();
    flat_elf.resize(4096, 0);
    flat_elf.extend_from_slice(&[0_u64.to_be_bytes(), (elf.len() as u64).to_be_bytes()].concat());
    flat_elf.extend_from_slice(&elf);
    flat_elf.extend_from_slice(&[0xff; 16]);
    vec![
        ("elf", elf),
        ("kdump", restored("kdump")),
        ("flattened", restored("flattened")),
        ("flat elf", flat_elf),
    ]
}

/// Whoever put two dumps into one file loses none of them: what is no part of the dump is in no encrypted dump.
#[test]
fn an_input_that_holds_more_than_its_dump_stays() {
    let lab = Lab::new("remove-more");
    let [input, out] = ["input", "out.age"].map(|name| lab.path(name));
    let run = |words: &[&str], input: &[u8]| {
        fs::write(lab.path("input"), input).unwrap();
        let words = [&["-f", "-d", "1", "--remove-source", "--allow-fewer-pages"], words].concat();
        let output = lab.encrypt(&words, &lab.path("input"), std::slice::from_ref(&out));
        (output.status.code(), text(&output.stderr))
    };
    let forms = plain_forms(&lab);
    for (name, bytes) in &forms {
        let zeros = vec![0; 3 << 20];
        let more = forms
            .iter()
            .map(|(_, second)| second.as_slice())
            .chain([&b"x"[..], &[&zeros[..], b"x"].concat()])
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>();
        for more in more {
            let both = [&bytes[..], &more].concat();
            let (status, said) = run(&[], &both);
            assert!(status == Some(6) && said.contains("no part of the dump"), "{name}: {said}");
            assert!(said.contains("stays") && fs::read(&input).unwrap() == both, "{name}: {said}");
        }
        let (status, said) = run(&["--warnings-exit-0"], &[&bytes[..], b"x"].concat());
        assert!(status == Some(0) && said.contains("stays") && input.exists(), "{name}: {said}");
        // A hole at the end is nothing that could be lost.
        let (status, said) = run(&[], &[&bytes[..], &zeros].concat());
        assert!(status == Some(0) && !input.exists(), "{name}: {said}");
        let (status, said) = run(&[], bytes);
        assert!(status == Some(0) && !input.exists(), "{name}: {said}");
    }
    // In other places than after the end.
    for (form, what, bytes) in surplus(&forms) {
        let (status, said) = run(&[], &bytes);
        assert!(status == Some(6) && input.exists() && said.contains("stays"), "{form}, {what}: {said}");
        assert!(
            said.contains("bytes from") || said.contains("more than one record"),
            "{form}, {what}: {said}"
        );
    }
    // A file that is long and empty takes no time.
    for (name, bytes) in &forms {
        fs::write(&input, bytes).unwrap();
        fs::File::options().write(true).open(&input).unwrap().set_len(4 << 40).unwrap();
        let words = ["-f", "-d", "1", "--remove-source", "--allow-fewer-pages"];
        let output = lab.encrypt(&words, &input, std::slice::from_ref(&out));
        assert!(output.status.success() && !input.exists(), "{name}: {}", text(&output.stderr));
    }
    // Between the headers and the segments of an ELF core.
    let (_, elf) = &forms[0];
    let mut other = elf.clone();
    let gap = between_the_segments(elf);
    other[gap] = 1;
    let (status, said) = run(&[], &other);
    assert!(status == Some(6) && said.contains(&format!("from {gap:#x} on")) && input.exists(), "{said}");
}

/// Dumps of these forms with bytes that no reader comes to.
fn surplus(forms: &[(&'static str, Vec<u8>)]) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let form = |wanted: &str| forms.iter().find(|(name, _)| *name == wanted).unwrap().1.clone();
    let record = |offset: u64, bytes: &[u8]| {
        [&offset.to_be_bytes(), &(bytes.len() as u64).to_be_bytes(), bytes].concat()
    };
    let mut all = Vec::new();
    let mut kdump = form("kdump");
    kdump[600] = 1;
    all.push(("kdump", "the block of the header", kdump));
    for name in ["flattened", "flat elf"] {
        let mut flat = form(name);
        flat[1000] = 1;
        all.push((name, "the block of the stream's header", flat));
        let flat = form(name);
        let end = flat.len() - 16;
        for far in [1 << 40, 1 << 62] {
            let bytes = [&flat[..end], &record(far, b"x"), &flat[end..]].concat();
            all.push((name, "a record far away", bytes));
        }
        // Before all others, where pages are: in the middle of what the stream describes.
        let bytes = [&flat[..4096], &record(flat.len() as u64 / 2, b"hidden"), &flat[4096..]].concat();
        all.push((name, "a record that others replace", bytes));
    }
    all
}

/// The first byte after the program headers and the notes of an ELF core: its builder aligns segments to pages.
fn between_the_segments(elf: &[u8]) -> usize {
    let u64_at =
        |at: usize| usize::try_from(u64::from_le_bytes(elf[at..at + 8].try_into().unwrap())).unwrap();
    let (headers, count) = (u64_at(32), usize::from(u16::from_le_bytes([elf[56], elf[57]])));
    let ranges =
        (0..count).map(|at| headers + at * 56).map(|at| (u64_at(at + 8), u64_at(at + 8) + u64_at(at + 32)));
    let mut ranges: Vec<_> = ranges.chain([(0, headers + count * 56)]).collect();
    ranges.sort_unstable();
    let gap = ranges.array_windows().find(|[a, b]| a.1 < b.0);
    gap.map(|[before, _]| before.1).unwrap()
}

/// A KDUMP file records erased data in a field of its header, an ELF core in a note. A conversion keeps the record.
#[test]
fn a_conversion_keeps_the_record_of_erased_data() {
    const TEXT: &[u8] = b"erase jiffies size 8\n";
    let lab = Lab::new("erased");
    let [input, age, elf, kdump] = ["input", "out.age", "elf", "kdump"].map(|name| lab.path(name));
    let forms = plain_forms(&lab);
    let mut bytes = forms.iter().find(|(name, _)| *name == "kdump").unwrap().1.clone();
    let end = bytes.len() as u64;
    bytes[4096 + 64..4096 + 80].copy_from_slice(&[end, TEXT.len() as u64].map(u64::to_le_bytes).concat());
    bytes.extend_from_slice(TEXT);
    fs::write(&input, bytes).unwrap();
    let restored = |format: &str, out: &PathBuf| {
        succeeded(&lab.decrypt(&["-f", "--format", format], &lab.owner.0, &[age.clone(), out.clone()]));
        fs::read(out).unwrap()
    };
    let position = |bytes: &[u8]| bytes.windows(TEXT.len()).position(|window| window == TEXT).unwrap();
    for input in [&input, &elf, &kdump] {
        succeeded(&lab.encrypt(&["-f", "-d", "1"], input, std::slice::from_ref(&age)));
        let bytes = restored("elf", &elf);
        let at = position(&bytes);
        assert_eq!(bytes[at - 12..at], *b"ERASEINFO\0\0\0", "{input:?}");
        assert_eq!(bytes.windows(10).filter(|window| window == b"ERASEINFO\0").count(), 1, "{input:?}");
        let bytes = restored("kdump", &kdump);
        let field = |at: usize| u64::from_le_bytes(bytes[4096 + at..][..8].try_into().unwrap());
        let (at, len) = (usize::try_from(field(64)).unwrap(), usize::try_from(field(72)).unwrap());
        assert_eq!(bytes[at..at + len], *TEXT, "{input:?}");
    }
}

/// Sets of three files that one dump was split into, each with the whole dump; and the encrypted whole.
fn split_dumps(lab: &Lab) -> (Vec<(Vec<PathBuf>, PathBuf)>, PathBuf) {
    let mut known = kernel::v6_12();
    known.section_flags = 1 << 2 | 1 << 3;
    Synth::new(arch::x86_64::four_level(), known)
        .fill(Content::Pattern)
        .image(0x40_0000..0x60_0000)
        .ram(0x10_0000..0x100_0000)
        .ram(0x4000_0000..0x4080_0000)
        .pages(0x800, 0x100, &Page::cache())
        .build()
        .write_to(&lab.vmcore);
    // Ours, restored one by one, are such files.
    let parts = [lab.path("p1"), lab.path("p2"), lab.path("p3")];
    succeeded(&lab.encrypt(&["-d", "31", "--split"], &lab.vmcore, &parts));
    let files = parts.clone().map(|part| part.with_extension("kdump"));
    for (part, file) in parts.iter().zip(&files) {
        lab.decrypt(&["-f"], &lab.owner.0, &[part.clone(), file.clone()]);
    }
    let (age, whole) = (lab.path("whole.age"), lab.path("whole"));
    succeeded(&lab.encrypt(&["-d", "31"], &lab.vmcore, std::slice::from_ref(&age)));
    succeeded(&lab.decrypt(&["-f"], &lab.owner.0, &[age.clone(), whole.clone()]));
    let mut sets = vec![(files.to_vec(), whole.clone())];
    if let Some(makedumpfile) = or_skip(judge::program("makedumpfile")) {
        let theirs = [lab.path("m1"), lab.path("m2"), lab.path("m3")].to_vec();
        for (options, files) in [(&["--split"][..], &theirs[..]), (&[], &[lab.path("m")])] {
            let mut command = Command::new(&makedumpfile);
            command.args(["-l", "-d", "31", "--message-level", "4"]).args(options);
            common::succeed(command.arg(&lab.vmcore).args(files));
        }
        sets.push((theirs, lab.path("m")));
    }
    (sets, age)
}

/// Files that a dump was split into, as `makedumpfile --split` makes them, are one input.
#[test]
fn files_of_one_dump_are_one_input() {
    let lab = Lab::new("reassemble");
    let (sets, age) = split_dumps(&lab);
    let out = lab.path("out.age");
    let encrypt = |words: &[&str], files: &[&PathBuf]| {
        let rest: Vec<PathBuf> = files[1..].iter().copied().chain([&out]).cloned().collect();
        lab.encrypt(&[&["-f", "-d", "31", "--reassemble"], words].concat(), files[0], &rest)
    };
    for (files, whole) in &sets {
        let [one, two, three] = &files[..] else { panic!("three files") };
        succeeded(&lab.encrypt(&["-f", "-d", "31"], whole, std::slice::from_ref(&out)));
        let expected = lab.restored(&lab.owner.0, &out);
        succeeded(&encrypt(&[], &[two, three, one]));
        assert_same(&lab.restored(&lab.owner.0, &out), &expected);
        // The third one may be of memory that has no dumped page; the second one may not.
        for (files, why) in [
            (&[one, three][..], "is missing"),
            (&[one, two, two, three], "two of them have page"),
            (&[one, two, whole], "one of them is a whole dump"),
            (&[one, &age, three], "encrypted already"),
            (&[one, &lab.vmcore, three], "is no kdump-compressed file"),
        ] {
            fs::remove_file(&out).unwrap();
            let output = encrypt(&[], files);
            let said = text(&output.stderr);
            assert!(output.status.code() == Some(1) && said.contains(why), "{why}: {said}");
            assert!(!out.exists(), "{why}");
            fs::write(&out, "old").unwrap();
        }
        let alone = lab.encrypt(&["-f"], one, std::slice::from_ref(&out));
        assert!(text(&alone.stderr).contains("--reassemble"), "{}", text(&alone.stderr));
        // None is overwritten.
        let output = lab.encrypt(&["-f", "--reassemble"], one, &[two.clone(), three.clone(), two.clone()]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
    // A part of another level is of another dump.
    let others = [lab.path("o1"), lab.path("o2"), lab.path("o3")];
    succeeded(&lab.encrypt(&["-d", "1", "--split"], &lab.vmcore, &others));
    let other = lab.path("other.kdump");
    lab.decrypt(&["-f"], &lab.owner.0, &[others[1].clone(), other.clone()]);
    let ours = &sets[0].0;
    let output = encrypt(&[], &[&ours[0], &other, &ours[2]]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    // All go, once the dump replaces them; where one is cut, all stay.
    let files = &sets[0].0;
    let [one, two, three] = &files[..] else { panic!("three files") };
    let last = [three, two, one].into_iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let bytes = fs::read(last).unwrap();
    fs::write(last, &bytes[..bytes.len() - bytes.len() / 8]).unwrap();
    let output = encrypt(&["--remove-source"], &[one, two, three]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert!(files.iter().all(|file| file.exists()));
    // As all do where one holds more than its part.
    fs::write(last, [&bytes[..], b"more"].concat()).unwrap();
    let output = encrypt(&["--remove-source"], &[one, two, three]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(6) && said.contains("no part of the dump"), "{said}");
    assert!(said.contains("stays") && files.iter().all(|file| file.exists()), "{said}");
    fs::write(last, bytes).unwrap();
    succeeded(&encrypt(&["--remove-source"], &[one, two, three]));
    assert!(files.iter().all(|file| !file.exists()));
}

/// The expanded key of FIPS 197, appendix A.1: the key, and what the standard has after it.
const SCHEDULE: &str = "2b7e151628aed2a6abf7158809cf4f3ca0fafe1788542cb123a339392a6c7605f2c295f27a96b9435935807a7359f67f\
                        3d80477d4716fe3e1e237e446d7a883bef44a541a8525b7fb671253bdb0bad00d4d1c6f87c839d87caf2b8bc11f915bc\
                        6d88a37a110b3efddbf98641ca0093fd4e54f70e5f5fc9f384a64fb24ea6dc4fead27321b58dbad2312bf5607f8d292f\
                        ac7766f319fadc2128d12941575c006ed014f9a8c9ee2589e13f0cc8b6630ca6";

fn schedule() -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&SCHEDULE[at..at + 2], 16).unwrap();
    (0..SCHEDULE.len()).step_by(2).map(digits).collect()
}

fn holds(file: &Path, wanted: &[u8]) -> bool {
    fs::read(file).unwrap().windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn a_kind_that_cannot_be_searched_stops_the_hand_over() {
    let lab = Lab::new("redact");
    let (dump, out, core) = (lab.path("dump.age"), lab.path("out.age"), lab.path("core"));
    // In the last range of memory; a copy of the key is elsewhere, without its schedule.
    let mut bytes = fs::read(&lab.vmcore).unwrap();
    let at = (bytes.len() - (8 << 20)) & !15;
    bytes[at..at + 176].copy_from_slice(&schedule());
    let at = at + (4 << 20) + 77;
    bytes[at..at + 16].copy_from_slice(&schedule()[..16]);
    fs::write(&lab.vmcore, &bytes).unwrap();
    succeeded(&lab.encrypt(&["-d", "1"], &lab.vmcore, std::slice::from_ref(&dump)));
    let to = lab.vendor.1.to_str().unwrap();
    let files = [dump.clone(), out.clone()];
    // This kernel does not describe itself.
    let output = lab.decrypt(&["refilter", "--redact", "-R", to], &lab.owner.0, &files);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in ["dm-crypt (", "keyring (", "cannot be searched", "nothing was written", "no-keyring"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!out.exists());
    let output = lab.decrypt(&["refilter", "--redact=keys", "-R", to], &lab.owner.0, &files);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    // A dump that is cut may lack what leads to a secret.
    let cut = lab.path("cut.age");
    fs::write(&cut, &fs::read(&dump).unwrap()[..200_000]).unwrap();
    let output = lab.decrypt(&["refilter", "--redact=aes", "-R", to], &lab.owner.0, &[cut, out.clone()]);
    assert!(output.status.code() == Some(5) && !out.exists(), "{}", text(&output.stderr));

    // Less is possible, and recorded.
    for (format, record) in [("elf", true), ("kdump", true)] {
        let restore = |identity: &Path, dump: &Path| {
            let files = [dump.to_owned(), core.clone()];
            succeeded(&lab.decrypt(&["-f", "--format", format, "--compress", "none"], identity, &files));
        };
        restore(&lab.owner.0, &dump);
        assert!(holds(&core, &schedule()) && holds(&core, &schedule()[..16]));
        succeeded(&lab.decrypt(&["refilter", "-f", "--redact=aes", "-R", to], &lab.owner.0, &files));
        restore(&lab.vendor.0, &out);
        assert!(!holds(&core, &schedule()[..16]) && !holds(&core, &schedule()[160..]), "{format}");
        assert_eq!(holds(&core, b"erase aes.schedule size 176"), record);
        assert!(holds(&core, &[b'X'; 176]));
        let info = succeeded(&lab.decrypt(&["info"], &lab.vendor.0, std::slice::from_ref(&out)));
        assert!(info.contains("aes: erased, ") && info.contains("keyring: not erased"), "{info}");
    }
    let info = succeeded(&lab.decrypt(&["info"], &lab.owner.0, std::slice::from_ref(&dump)));
    assert!(!info.contains("Redacted"), "{info}");
}
