//! `vmcore-decrypt list` and what `info` tells of a crash: dumps of machines whose logs tell different crashes, in a
//! directory, whole, cut, as numbered objects, for another identity, beside files that are no dumps.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
#[path = "remote/server.rs"]
#[allow(dead_code, reason = "the tests of reading use more of it")]
mod server;
mod synth;

use common::{or_skip, run, scratch, succeed, text};
use serde_json::Value;
use server::Server;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use synth::{Content, Log, Message, Page, Synth, arch, kernel};

/// A machine that crashed with these lines.
fn dump(home: &Path, name: &str, recipients: &Path, lines: &[&str]) -> PathBuf {
    let messages = (1..).zip(lines).map(|(at, line)| Message::new(at * 1_500_000_000, 7, line)).collect();
    let log = Log::of(messages);
    let machine = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).ram(0x10_0000..0x80_0000);
    let (vmcore, out) = (home.join("vmcore"), home.join("dumps").join(name));
    fs::write(&vmcore, machine.log(log).build().to_bytes()).unwrap();
    fs::create_dir_all(out.parent().unwrap()).unwrap();
    let mut command = common::encrypt();
    command.args(["-d", "0", "-R"]).arg(recipients).arg(&vmcore).arg(&out);
    let output = run(&mut command);
    assert!(output.status.success(), "{}", text(&output.stderr));
    out
}

fn oops(address: &str, task: &str) -> [String; 5] {
    [
        format!("BUG: unable to handle page fault for address: {address}"),
        format!("CPU: 1 UID: 0 PID: 42 Comm: {task} Tainted: G           OE      6.12.0 #1"),
        "Hardware name: Synthetic Machine".to_owned(),
        "RIP: 0010:crasher_write+0x16/0x20".to_owned(),
        "---[ end trace 0000000000000000 ]---".to_owned(),
    ]
}

/// Dumps, and the identity of all but one.
fn fleet(name: &str) -> (PathBuf, PathBuf) {
    let home = scratch(name);
    let other = scratch(&format!("{name}-other"));
    let ((identity, recipients), (_, others)) = (common::keys(&home), common::keys(&other));
    for (file, address, task) in
        [("a/1.age", "ffff888012345678", "my task"), ("a/2.age", "00000000000000b8", "sh")]
    {
        dump(&home, file, &recipients, &oops(address, task).each_ref().map(String::as_str));
    }
    let panicked =
        ["Kernel panic - not syncing: sysrq triggered crash", "CPU: 0 PID: 9 Comm: sh Not tainted 6.12.0 #1"];
    let whole = dump(&home, "panic.age", &recipients, &panicked);
    dump(&home, "theirs.age", &others, &panicked);
    let bytes = fs::read(&whole).unwrap();
    fs::write(home.join("dumps/cut.age"), &bytes[..bytes.len() - 70_000]).unwrap();
    let set = home.join("dumps/set");
    fs::create_dir(&set).unwrap();
    fs::write(set.join("000000"), &bytes).unwrap();
    fs::write(home.join("dumps/notes.txt"), "no dump").unwrap();
    let log = home.join("dumps/vmcore-dmesg.txt.age");
    succeed(common::encrypt().arg("dmesg").arg("-R").arg(&recipients).arg(home.join("vmcore")).arg(log));
    (home.join("dumps"), identity)
}

fn list(words: &[&str], identity: Option<&Path>, place: &Path) -> Command {
    let mut command = common::decrypt();
    command.arg("list").args(words);
    if let Some(identity) = identity {
        command.arg("-i").arg(identity);
    }
    command.arg(place);
    command
}

fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_dump_has_a_line_that_tells_its_crash() {
    let (dumps, identity) = fleet("list");
    let lines = succeed(&mut list(&[], Some(&identity), &dumps));
    assert_eq!(lines.lines().count(), 6, "{lines}");
    let line = |name: &str| lines.lines().find(|line| line.contains(name)).unwrap();
    assert!(
        line("1.age").contains("complete") && line("1.age").ends_with("address: ffff888012345678"),
        "{lines}"
    );
    assert!(
        line("panic.age").contains("sysrq triggered crash") && line("set").contains("sysrq triggered"),
        "{lines}"
    );
    assert!(line("cut.age").contains(" cut "), "{lines}");
    assert!(line("theirs.age").contains("error: "), "{lines}");
    let rows = json(&succeed(&mut list(&["--json", "--sort", "--jobs", "1"], Some(&identity), &dumps)));
    assert_eq!(rows.len(), 6);
    let row = rows.iter().find(|row| row["name"].as_str().unwrap().ends_with("1.age")).unwrap();
    assert_eq!(row["crash"]["task"], "my task");
    assert_eq!(row["crash"]["taints"], "GOE");
    assert_eq!(row["crash"]["hardware"], "Synthetic Machine");
    assert_eq!(row["crash"]["functions"][0], "crasher_write");
    assert_eq!(row["kernel"], rows[1]["kernel"]);
}

#[test]
fn crashes_are_chosen_and_counted() {
    let (dumps, identity) = fleet("list-choose");
    let count = |words: &[&str]| succeed(&mut list(words, Some(&identity), &dumps)).lines().count();
    assert_eq!(count(&["--panic", "PAGE fault"]), 2);
    assert_eq!(count(&["--panic", "page sysrq"]), 0);
    assert_eq!(count(&["--kernel", "6.12"]), 5);
    assert_eq!(count(&["--kernel", "6.13"]), 0);
    let groups = json(&succeed(&mut list(&["--group", "--json"], Some(&identity), &dumps)));
    let of =
        |word: &str| groups.iter().find(|group| group["signature"].as_str().unwrap().contains(word)).unwrap();
    assert_eq!(of("page fault")["count"], 2);
    assert_eq!(
        of("page fault")["signature"],
        "BUG: unable to handle page fault for address: # @ crasher_write"
    );
    assert!(of("sysrq")["count"].as_u64().unwrap() >= 2, "{groups:?}");
}

#[test]
fn without_an_identity_what_can_be_known_is_listed() {
    let (dumps, _) = fleet("list-without");
    let rows = json(&succeed(&mut list(&["--json"], None, &dumps)));
    // The saved log looks like a dump.
    assert_eq!(rows.len(), 7);
    for row in &rows {
        assert!(row["size"].as_u64().unwrap() > 0 && row["recipients"][0] == "X25519", "{row}");
        assert!(row["crash"].is_null() && row["host"].is_null());
        let is_cut = row["name"].as_str().unwrap().ends_with("set");
        assert!(!is_cut || row["state"] == "cut", "a set without an end mark is cut: {row}");
    }
    let refused = run(&mut list(&["--group"], None, &dumps));
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_place_that_is_not_there_has_a_line_and_hostile_text_commands_nothing() {
    let home = scratch("list-hostile");
    let (identity, recipients) = common::keys(&home);
    dump(&home, "a.age", &recipients, &["BUG: \u{1b}[2Jgone", "CPU: x PID: Comm: \u{1b}]0;x"]);
    for words in [&[][..], &["--json"]] {
        let mut command = list(words, Some(&identity), &home.join("dumps"));
        let output = common::run(command.arg(home.join("none")));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let shown = text(&output.stdout);
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(shown.contains("No such file") && !shown.contains('\u{1b}'), "{shown:?}");
    }
}

#[test]
fn info_tells_the_crash() {
    let home = scratch("list-info");
    let (identity, recipients) = common::keys(&home);
    let lines = oops("ffff888012345678", "sh");
    let dump = dump(&home, "a.age", &recipients, &lines.each_ref().map(String::as_str));
    let mut info = common::decrypt();
    let shown = succeed(info.arg("info").arg("-i").arg(&identity).arg(&dump));
    for words in [
        "Panic           BUG: unable to handle page fault for address: ffff888012345678",
        "CPU 1, task \"sh\" (pid 42)",
        "Taints          GOE",
        "Uptime          00:00:01",
        "Hardware        Synthetic Machine",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let mut info = common::decrypt();
    let shown: Value =
        serde_json::from_str(&succeed(info.args(["info", "--json", "-i"]).arg(&identity).arg(&dump)))
            .unwrap();
    assert_eq!(shown["dump"]["crash"]["pid"], 42);
}

/// Dumps of 40 MiB each, of ten machines.
fn ten_dumps(home: &Path, recipients: &Path) -> Vec<PathBuf> {
    let dump = |number: u32| {
        let lines = oops(&format!("ffff8880{number:08x}"), &format!("task{number}"));
        let messages =
            (1..).zip(&lines).map(|(at, line)| Message::new(at * 1_500_000_000, 7, line)).collect();
        let machine = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).ram(0x10_0000..0x290_0000);
        let machine = machine.log(Log::of(messages)).pages(0x400, 64, &Page::kernel()).fill(Content::Noise);
        let (vmcore, out) = (home.join("vmcore"), home.join(format!("{number}.age")));
        fs::write(&vmcore, machine.build().to_bytes()).unwrap();
        succeed(common::encrypt().args(["-d", "0", "-R"]).arg(recipients).arg(&vmcore).arg(&out));
        out
    };
    (0..10).map(dump).collect()
}

/// What a list of a bucket costs: time, bytes from the server, and the most memory.
fn cost(server: &Server, identity: &Path, words: &[&str], place: &str) -> (Duration, u64, u64, usize) {
    let mut command = list(words, Some(identity), Path::new(place));
    server.s3(&mut command);
    server.carried();
    let (start, mut peak) = (Instant::now(), 0);
    let out = identity.with_extension("out");
    let mut child = command.stdout(fs::File::create(&out).unwrap()).spawn().unwrap();
    let status = loop {
        let text = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.map_or(peak, |line| line.trim().trim_end_matches(" kB").parse().unwrap());
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success());
    (start.elapsed(), server.carried(), peak, fs::read_to_string(out).unwrap().lines().count())
}

/// What docs/fleet.md has of a bucket with a thousand names: hard links of ten dumps, on loopback.
#[test]
#[ignore = "make matrix"]
fn matrix_list_of_a_thousand_dumps() {
    let home = scratch("list-thousand");
    let (identity, recipients) = common::keys(&home);
    let dumps = ten_dumps(&home, &recipients);
    let mut peaks = Vec::new();
    for names in [100, 1000] {
        let bucket = home.join(names.to_string());
        fs::create_dir(&bucket).unwrap();
        for number in 0..names {
            fs::hard_link(&dumps[number % 10], bucket.join(format!("{number:04}.age"))).unwrap();
        }
        let Some(server) = or_skip(Server::start("bucket", &bucket)) else { return };
        for (words, expected) in [(&[][..], names), (&["--group"], 1), (&["--sort", "--json"], names)] {
            let (time, bytes, peak, lines) = cost(&server, &identity, words, "s3://dumps/");
            println!("{names} names, {words:?}: {time:.1?}, {bytes} bytes, peak {peak} kB");
            assert_eq!(lines, expected, "{words:?}");
            assert!(bytes / (names as u64) < 2 << 20, "{bytes} bytes of {names} dumps of 40 MiB");
            peaks.push(peak);
        }
    }
    // Lines are kept to be sorted, a few hundred bytes each; else memory does not grow with the bucket.
    for (few, many) in peaks[..3].iter().zip(&peaks[3..]) {
        assert!(*many < few + (8 << 10), "{peaks:?} kB");
    }
}

const MIB: usize = 1 << 20;

/// A machine's dump of some MiB, and its identity.
fn noise(home: &Path) -> (PathBuf, Vec<u8>) {
    let (identity, recipients) = common::keys(home);
    let machine = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).ram(0x10_0000..0x50_0000);
    let machine =
        machine.log(Log::of(vec![Message::new(1_500_000_000, 7, "Kernel panic - not syncing: set")]));
    let (vmcore, out) = (home.join("vmcore"), home.join("whole.age"));
    let core = machine.pages(0x400, 64, &Page::kernel()).fill(Content::Noise).build();
    fs::write(&vmcore, core.to_bytes()).unwrap();
    succeed(common::encrypt().args(["-d", "0", "-R"]).arg(recipients).arg(&vmcore).arg(&out));
    let bytes = fs::read(&out).unwrap();
    assert!(bytes.len() > 3 * MIB, "{} bytes", bytes.len());
    (identity, bytes)
}

/// A set of objects of 1 MiB in a directory, changed by `change`.
fn set(directory: &Path, dump: &[u8], change: impl Fn(&Path)) {
    fs::create_dir_all(directory).unwrap();
    let mut mark = format!(
        "# vmcore-encrypt set 1\n# size {}\n# objects {}\n# object-size {MIB}\n",
        dump.len(),
        dump.len().div_ceil(MIB)
    );
    for (number, object) in dump.chunks(MIB).enumerate() {
        fs::write(directory.join(format!("{number:06}")), object).unwrap();
        mark += &format!("{}  {number:06}\n", "0".repeat(64));
    }
    fs::write(directory.join("end"), mark).unwrap();
    change(directory);
}

fn remove(directory: &Path, wanted: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if wanted(entry.file_name().to_str().unwrap()) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn append(path: &Path) {
    let mut bytes = fs::read(path).unwrap_or_default();
    bytes.extend_from_slice(&[7; 100]);
    fs::write(path, bytes).unwrap();
}

fn shorten(path: &Path, len: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap();
}

/// What became of a set, the status of `verify`, and what its message has.
type Case = (&'static str, fn(&Path), i32, &'static str);

const FIRST: &str = "object 000000 of the dump is missing";

const CASES: [Case; 12] = [
    ("first-gone", |set| remove(set, |name| name == "000000"), 4, FIRST),
    ("first-and-end-gone", |set| remove(set, |name| ["000000", "end"].contains(&name)), 4, FIRST),
    ("end-alone", |set| remove(set, |name| name != "end"), 4, FIRST),
    ("end-and-later", |set| remove(set, |name| name < "000002"), 4, FIRST),
    ("first-empty", |set| fs::write(set.join("000000"), "").unwrap(), 4, "object 000000 of the dump is cut"),
    (
        "first-cut",
        |set| fs::write(set.join("000000"), "age-encryp").unwrap(),
        4,
        "object 000000 of the dump is cut",
    ),
    ("middle-gone", |set| remove(set, |name| name == "000001"), 4, "object 000001 of the dump is missing"),
    (
        "cut-after-header",
        |set| shorten(&set.join("000000"), 5000),
        4,
        "object 000000 of the dump is cut: what it held",
    ),
    ("more-objects", |set| append(&set.join("000009")), 0, "object 000009 is none of the dump"),
    ("no-mark", |set| remove(set, |name| name == "end"), 0, ""),
    ("last-longer", |set| append(&set.join(last(set))), 4, "follow"),
    ("whole", |_| {}, 0, ""),
];

/// The name of the last object.
fn last(set: &Path) -> String {
    let names = fs::read_dir(set).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "end").max().unwrap()
}

/// Sets that lack something, in a directory and in a bucket: each has a line, and each command that opens one ends alike.
#[test]
fn a_set_that_lacks_something_has_a_line_and_a_status() {
    let home = scratch("list-sets");
    let (identity, bytes) = noise(&home);
    let top = home.join("bucket");
    for (name, change, ..) in CASES {
        set(&top.join("fleet").join(name), &bytes, change);
    }
    let server = or_skip(Server::start("bucket", &top));
    let run_on = |place: &str, words: &[&str]| {
        let mut command = common::decrypt();
        command.args(words).arg("-i").arg(&identity).arg(place);
        if let Some(server) = &server {
            server.s3(&mut command);
        }
        command
    };
    let directory = top.join("fleet/").to_str().unwrap().to_owned();
    let places = [Some(directory), server.as_ref().map(|_| "s3://dumps/fleet/".to_owned())];
    for place in places.into_iter().flatten() {
        let lines = json(&succeed(&mut run_on(&place, &["list", "--json"])));
        assert_eq!(lines.len(), CASES.len(), "{lines:?}");
        for (name, _, status, words) in CASES {
            let dump = format!("{place}{name}");
            let line = lines.iter().find(|line| line["name"].as_str().unwrap().trim_end_matches('/') == dump);
            let state = &line.unwrap_or_else(|| panic!("{dump} has no line"))["state"];
            // What is missing in the middle is known by the sizes of the objects.
            let expected = if status == 4 { "damaged" } else { "complete" };
            assert_eq!(state, expected, "{dump}");
            let output = run(&mut run_on(&dump, &["verify"]));
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(status), "{dump}: {said}");
            assert!(said.contains(words) && (words.is_empty() || said.contains(&dump)), "{dump}: {said}");
            assert!(words.is_empty() || said.matches(words).count() == 1, "once: {said}");
            for command in [&["info"][..], &["dmesg"], &["report"]].into_iter().filter(|_| status == 4) {
                let output = run(&mut run_on(&dump, command));
                let said = text(&output.stderr);
                assert!(
                    output.status.code() == Some(4) && said.contains(words),
                    "{dump} {command:?}: {said}"
                );
            }
            if status == 4 && (name.starts_with("first") || name.starts_with("end")) {
                let out = home.join("salvaged");
                let output = run(run_on(&dump, &["--salvage"]).arg(&out));
                let said = text(&output.stderr);
                assert!(output.status.code() == Some(4) && said.contains(words), "{dump}: {said}");
                assert!(said.contains("nothing can be decrypted") && !out.exists(), "{dump}: {said}");
            }
        }
    }
}

/// Without an identity the end mark is all that tells a whole set from a cut one; with one the dump's own end decides.
#[test]
fn a_set_without_an_end_mark_is_what_its_own_end_says() {
    let home = scratch("list-no-mark");
    let (identity, bytes) = noise(&home);
    let no_mark = |set: &Path| remove(set, |name| name == "end");
    set(&home.join("sets/whole"), &bytes, no_mark);
    set(&home.join("sets/cut"), &bytes[..3 * MIB], no_mark);
    for (identity, whole) in [(None, "cut"), (Some(identity.as_path()), "complete")] {
        let lines = json(&succeed(&mut list(&["--json"], identity, &home.join("sets"))));
        let state = |name: &str| {
            let line = lines.iter().find(|line| line["name"].as_str().unwrap().ends_with(name)).unwrap();
            assert_eq!(line["end_mark"], false);
            line["state"].clone()
        };
        assert_eq!((state("cut"), state("whole")), ("cut".into(), whole.into()), "{lines:?}");
        let shown = succeed(&mut list(&[], identity, &home.join("sets")));
        assert_eq!(shown.matches("(no end mark)").count(), 2, "{shown}");
    }
}
