//! A dump in parts, written at the same time: joined they are the dump in one piece; each by itself is a part as
//! makedumpfile writes it, which crash takes together with the others. Parts that do not make up a dump are refused.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod readers;
mod synth;

use common::{judge, or_skip, succeed, text};
use readers::{Elf, Found, Kdump, assert_same};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use synth::{Content, Page, Synth, arch, kernel};

/// A directory with keys.
struct Place {
    dir: PathBuf,
    identity: PathBuf,
    recipients: PathBuf,
}

impl Place {
    fn new(name: &str) -> Place {
        let dir = common::scratch(name);
        let (identity, recipients) = common::keys(&dir);
        Place { dir, identity, recipients }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn paths(&self, name: &str, count: usize) -> Vec<PathBuf> {
        (1..=count).map(|number| self.path(&format!("{name}.{number}"))).collect()
    }

    fn encrypt(&self, options: &[&str], vmcore: &Path, out: &[PathBuf]) -> Output {
        let mut command = common::encrypt();
        command.args(["-f", "--recipients-file"]).arg(&self.recipients).args(options).arg(vmcore).args(out);
        common::run(&mut command)
    }

    fn split(&self, level: &str, vmcore: &Path, out: &[PathBuf]) -> String {
        let output = self.encrypt(&["--split", "-d", level], vmcore, out);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    }

    fn decrypt(&self, dumps: &[PathBuf], options: &[&str], out: &Path) -> Output {
        let mut command = common::decrypt();
        command.args(["-f", "-i"]).arg(&self.identity).args(options).args(dumps).arg(out);
        common::run(&mut command)
    }

    fn restore(&self, dumps: &[PathBuf], options: &[&str], out: &str) -> PathBuf {
        let path = self.path(out);
        let output = self.decrypt(dumps, options, &path);
        assert!(output.status.success(), "{}", text(&output.stderr));
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// Six windows of classification with memory in four of them, and a huge page across a boundary.
fn machine(place: &Place) -> PathBuf {
    let core = Synth::new(arch::x86_64::four_level(), kernel::v6_12())
        .fill(Content::Pattern)
        .image(0x40_0000..0x60_0000)
        .ram(0x10_0000..0x180_0000)
        .ram(0x900_0000..0xa00_0000)
        .ram(0x1fc0_0000..0x2040_0000)
        .ram(0x2800_0000..0x2900_0000)
        .page(0x1400, Page::free(8))
        .pages(0x9000, 0x400, &Page::cache())
        .pages(0x9800, 16, &Page::kernel().with(Content::Zero))
        .page(0x1_fc00, Page::hugetlb(10))
        .pages(0x2_8000, 0x200, &Page::anon())
        .build();
    let path = place.path("vmcore");
    core.write_to(&path);
    path
}

/// The lines that count pages.
fn counts(report: &str) -> Vec<&str> {
    report.lines().filter(|line| line.contains(": 0x")).collect()
}

#[test]
fn parts_joined_in_any_order_are_the_dump_in_one_piece() {
    let place = Place::new("split-joined");
    let vmcore = machine(&place);
    for level in ["1", "31"] {
        let whole = vec![place.path("whole.age")];
        let said = text(&place.encrypt(&["-d", level], &vmcore, &whole).stderr);
        let one = Kdump::open(&place.restore(&whole, &[], "whole"));
        for count in [2, 7] {
            let mut parts = place.paths("part", count);
            let report = place.split(level, &vmcore, &parts);
            assert_eq!(counts(&report), counts(&said), "level {level}, {count} parts");
            parts.rotate_left(1);
            assert_same(&Kdump::open(&place.restore(&parts, &[], "joined")), &one);
        }
        let parts = place.paths("part", 7);
        let (elf, whole) = (
            place.restore(&parts, &["--format", "elf"], "elf"),
            place.restore(&whole, &["--format", "elf"], "whole.elf"),
        );
        let (elf, whole) = (Elf::open(&elf, 4096), Elf::open(&whole, 4096));
        assert_eq!((&elf.loads.len(), &elf.notes), (&whole.loads.len(), &whole.notes));
        assert!((0..one.max_mapnr).all(|pfn| elf.page(pfn) == whole.page(pfn)));
    }
}

/// Each page is in one part, and the parts are of about the same size.
#[test]
fn parts_divide_the_pages() {
    let place = Place::new("split-divide");
    let parts = place.paths("part", 2);
    place.split("0", &machine(&place), &parts);
    let restored: Vec<Kdump> = parts
        .iter()
        .map(|part| Kdump::open(&place.restore(std::slice::from_ref(part), &[], "part")))
        .collect();
    let has = |kdump: &Kdump, pfn| matches!(kdump.page(pfn), Found::Bytes(_));
    let pages: Vec<usize> =
        restored.iter().map(|kdump| (0..kdump.max_mapnr).filter(|&pfn| has(kdump, pfn)).count()).collect();
    assert!((0..restored[0].max_mapnr).all(|pfn| !(has(&restored[0], pfn) && has(&restored[1], pfn))));
    assert!(pages.iter().all(|count| (6000..12000).contains(count)), "{pages:?}");
    let said = text(&place.decrypt(&parts[..1], &[], &place.path("part")).stderr);
    assert!(said.contains("warning: this is part 1 of 2: the pages of the others are missing"), "{said}");
}

#[test]
fn parts_that_make_up_no_dump_are_refused() {
    let place = Place::new("split-refused");
    let vmcore = machine(&place);
    let (ours, others) = (place.paths("ours", 3), place.paths("others", 3));
    place.split("31", &vmcore, &ours);
    place.split("31", &vmcore, &others);
    let whole = place.path("whole");
    place.encrypt(&[], &vmcore, std::slice::from_ref(&whole));
    let cut = place.path("cut");
    let bytes = std::fs::read(&ours[1]).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 100]).unwrap();
    let pick = |names: &[&PathBuf]| names.iter().map(|name| (*name).clone()).collect::<Vec<_>>();
    for (parts, status, expected) in [
        (pick(&[&ours[0], &ours[2]]), 1, "part 2 of 3 is missing"),
        (pick(&[&ours[0], &ours[1], &others[2]]), 1, "part 3 is of another dump than the first one"),
        (pick(&[&ours[0], &ours[1], &ours[1]]), 1, "part 2 comes twice"),
        (pick(&[&ours[0], &whole]), 1, "one of them is a dump of its own, not a part"),
        (pick(&[&ours[0], &cut, &ours[2]]), 5, "cut\": truncated after"),
    ] {
        let out = place.path("joined");
        let output = place.decrypt(&parts, &[], &out);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(status) && said.contains(expected), "{expected}: {said}");
        assert!(!out.exists(), "{expected}");
    }
}

/// A part that finds no room, or no place, is a failure; with a further level all parts start over.
#[test]
fn a_part_that_cannot_be_written_fails_the_dump() {
    let place = Place::new("split-fails");
    let vmcore = machine(&place);
    let nowhere = vec![place.path("part.1"), place.path("no/such/place")];
    let output = place.encrypt(&["--split"], &vmcore, &nowhere);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let parts = place.paths("part", 2);
    let largest = |level| {
        place.split(level, &vmcore, &parts);
        parts.iter().map(|part| part.metadata().unwrap().len()).max().unwrap()
    };
    let (all, few) = (largest("0"), largest("31"));
    assert!(few + (1 << 20) < all, "{few} {all}");
    let limit = (few + (1 << 20)).to_string();
    let output = place.encrypt(&["--split", "-d", "0,31", "-L", &limit], &vmcore, &parts);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("retrying at level 31"), "{said}");
    assert_eq!(Kdump::open(&place.restore(&parts, &[], "joined")).dump_level, 31);
    let output = place.encrypt(&["--split", "-d", "0", "-L", &limit], &vmcore, &parts);
    assert!(output.status.code() == Some(7) && text(&output.stderr).contains("ended the dump early"));
}

/// A part that fails while it is written takes the others with it: alone they are no dump.
#[test]
fn no_part_stays_when_another_fails() {
    let place = Place::new("split-alone");
    let vmcore = machine(&place);
    let parts = place.paths("part", 2);
    let mut command = std::process::Command::new("sh");
    // The first goes to a full device.
    command.args(["-c", "exec 3> /dev/full; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_vmcore-encrypt")]);
    command.args(["-f", "--split", "-d", "31", "--recipients-file"]).arg(&place.recipients).arg(&vmcore);
    let output = common::run(command.args(["/dev/fd/3".into(), parts[1].clone()]));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(!parts[1].exists());
}

/// What the parts are without us: KDUMP files that crash takes together.
#[test]
fn crash_reads_restored_parts_together_and_joined() {
    let place = Place::new("split-crash");
    let Some(vmcore) = or_skip(common::vmcore("bookworm-5level-kdump")) else { return };
    let Some(vmlinux) = or_skip(common::vmlinux("bookworm")) else { return };
    let Some(crash) = or_skip(judge::program("crash")) else { return };
    let parts = place.paths("part", 2);
    place.split("31", &vmcore, &parts);
    let joined = place.restore(&parts, &[], "joined");
    let stock = "set -e -o pipefail; age -d -i \"$1\" \"$2\" | zstd -d | \"$3\" -R \"$4\"";
    let Some(makedumpfile) = or_skip(judge::program("makedumpfile")) else { return };
    let restored = place.paths("kdump", 2);
    for (part, out) in parts.iter().zip(&restored) {
        let mut shell = Command::new("bash");
        shell.args(["-c", stock, "bash"]).arg(&place.identity).args([part, &makedumpfile, out]);
        succeed(&mut shell);
    }
    let input = place.path("commands");
    std::fs::write(&input, "sys\nbt\nps\nlog\nmod\nkmem -i\nquit\n").unwrap();
    let show = |files: &[PathBuf]| {
        let mut command = Command::new(&crash);
        command.args(["-s", "-i"]).arg(&input).arg(&vmlinux).args(files).stdin(std::process::Stdio::null());
        let shown = succeed(command.env("HOME", "/"));
        let names = ["DUMPFILE", "split-crash/"];
        let lines = shown.lines().filter(|line| !names.iter().any(|name| line.contains(name)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let one = show(&[joined]);
    assert!(one.iter().any(|line| line.contains("COMMAND: \"crasher\"")), "{one:#?}");
    let several = show(&restored);
    assert_eq!(one.iter().zip(&several).find(|(one, several)| one != several), None);
    assert_eq!(one.len(), several.len());
}
