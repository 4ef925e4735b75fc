//! A dump in parts before every command: all parts in any order are the dump, what is missing, double or foreign is named, one
//! part by itself is reported as one, and in a salvage damage of a part, or its absence, costs only itself.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod readers;
mod synth;

use common::{decrypt, encrypt, mounted, run, succeed, text};
use readers::{Found, Kdump};
use std::fs;
use std::path::{Path, PathBuf};
use synth::{Content, Log, Message, Page, Synth, arch, kernel};
use tempfile::TempDir;

/// Two dumps of one machine in three parts each, and one in one piece.
struct Given {
    home: TempDir,
}

/// A command, and what comes after the parts.
const COMMANDS: [(&str, &str); 8] = [
    ("info -i identity", ""),
    ("verify -i identity", ""),
    ("dmesg -i identity", ""),
    ("report --no-cache -i identity", ""),
    ("restore -f -i identity", "out"),
    ("restore --salvage -f -i identity", "out"),
    ("refilter -q -f -R recipients -i identity", "out.age"),
    ("rewrap -f -R recipients -i identity", "rewrapped"),
];
const SALVAGE: &str = "restore --salvage -f -i identity";
const PARTS: [&str; 3] = ["part1", "part2", "part3"];

impl Given {
    fn new() -> Given {
        let home = tempfile::tempdir().unwrap();
        common::keys(home.path());
        let log = Log::of(vec![Message::new(
            1_500_000_000,
            7,
            "Kernel panic - not syncing: sysrq triggered crash",
        )]);
        let machine = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).log(log);
        let machine =
            machine.ram(0x10_0000..0x80_0000).ram(0x900_0000..0x940_0000).ram(0x1fc0_0000..0x2000_0000);
        let noise = Page::kernel().with(Content::Noise);
        let machine = machine.pages(0x400, 64, &noise).pages(0x9000, 64, &noise).pages(0x1_fd00, 64, &noise);
        fs::write(home.path().join("vmcore"), machine.build().to_bytes()).unwrap();
        let given = Given { home };
        for (words, outputs) in [
            ("--split", &PARTS[..]),
            ("--split", &["other1", "other2", "other3"]),
            ("--message-level 0", &["whole"]),
        ] {
            let mut collect = encrypt();
            collect.current_dir(&given.home).args(["-d", "0", "-R", "recipients"]).args(words.split(' '));
            succeed(collect.arg("vmcore").args(outputs));
        }
        fs::create_dir(given.path("rewrapped")).unwrap();
        fs::create_dir(given.path("mnt")).unwrap();
        given
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs a command on files: its status, standard output, and standard error.
    fn run(&self, (command, output): (&str, &str), files: &[&str]) -> (i32, String, String) {
        let mut decrypt = decrypt();
        decrypt.current_dir(&self.home).args(command.split(' ')).args(files);
        let ended = run(decrypt.args(output.split(' ').filter(|word| !word.is_empty())));
        (ended.status.code().unwrap(), text(&ended.stdout), text(&ended.stderr))
    }

    /// Every command on the same files, each of which must say `words` and end so; a salvage may end otherwise.
    fn assert_each(&self, files: &[&str], status: i32, salvage: i32, words: &str) {
        for command in self.commands() {
            let (code, _, said) = self.run(command, files);
            let expected = if command.0 == SALVAGE { salvage } else { status };
            assert!(code == expected && said.contains(words), "{command:?} {files:?}: {code}, {said}");
        }
    }

    fn commands(&self) -> Vec<(&'static str, &'static str)> {
        let mount = mounted::can_mount().then_some(("mount -i identity", "mnt -- cat mnt/dmesg.txt"));
        COMMANDS.into_iter().chain(mount).collect()
    }

    /// The pages of a restored dump.
    fn pages(&self, name: &str) -> Vec<Found> {
        let kdump = Kdump::open(&self.path(name));
        (0..kdump.max_mapnr).map(|pfn| kdump.page(pfn)).collect()
    }

    /// A copy of a part of which a byte is another one.
    fn flip(&self, part: &str, at: usize, to: &str) {
        let mut bytes = fs::read(self.path(part)).unwrap();
        bytes[at] ^= 1;
        fs::write(self.path(to), bytes).unwrap();
    }

    /// How many pages of the whole dump a salvage to `out` has lost. What it has is what the whole dump has.
    fn lost(&self, whole: &[Found]) -> usize {
        let salvaged = self.pages("out");
        assert_eq!(salvaged.len(), whole.len());
        let has = |page: &Found| matches!(page, Found::Bytes(_));
        assert!(salvaged.iter().zip(whole).all(|(page, whole)| !has(page) || page == whole));
        whole.iter().zip(&salvaged).filter(|(whole, page)| has(whole) && !has(page)).count()
    }
}

fn len(path: &Path) -> usize {
    usize::try_from(fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn all_parts_in_any_order_are_the_dump_to_every_command() {
    let given = Given::new();
    for command in given.commands() {
        let (expected, shown, _) = given.run(command, &["part1", "part2", "part3"]);
        let (code, again, said) = given.run(command, &["part3", "part1", "part2"]);
        assert!(code == 0 && expected == 0, "{command:?}: {expected}, {code}, {said}");
        // info and verify show the names as they were typed.
        if matches!(command.0.split(' ').next(), Some("dmesg" | "report" | "mount")) {
            assert_eq!(shown, again, "{command:?}");
            assert!(!shown.is_empty(), "{command:?}");
        }
        assert!(!said.contains("missing") && !said.contains("is part"), "{command:?}: {said}");
    }
    // What rewrap has made are the parts, for the same commands.
    let parts = PARTS.map(|part| format!("rewrapped/{part}"));
    let (code, shown, said) = given.run(COMMANDS[1], &parts.each_ref().map(String::as_str));
    assert!(code == 0 && shown.contains("complete"), "{shown} {said}");
    // In place, too, with all or none.
    let in_place = ("rewrap --in-place -R recipients -i identity", "");
    let before = PARTS.map(|part| fs::read(given.path(part)).unwrap());
    let (code, _, said) = given.run(in_place, &["part1", "part3"]);
    assert!(code == 1 && said.contains("part 2 of 3 is missing"), "{said}");
    assert!(before == PARTS.map(|part| fs::read(given.path(part)).unwrap()), "nothing is replaced");
    assert_eq!(given.run(in_place, &PARTS).0, 0);
    assert!(before != PARTS.map(|part| fs::read(given.path(part)).unwrap()));
    given.assert_each(&PARTS, 0, 0, "");
}

#[test]
fn what_makes_up_no_dump_is_named_by_every_command() {
    let given = Given::new();
    given.assert_each(&["part3", "part1"], 1, 7, "part 2 of 3 is missing");
    given.assert_each(&["part1", "part2", "part2", "part3"], 1, 1, "part 2 comes twice");
    given.assert_each(&["part1", "part2", "other3"], 1, 1, "part 3 is of another dump than the first one");
    given.assert_each(&["part1", "whole"], 1, 1, "a dump of its own, not a part");
    for command in given.commands() {
        // By itself a part goes to a file.
        let command = (command.0, command.1.replace("rewrapped", "single"));
        let command = (command.0, command.1.as_str());
        let (code, shown, said) = given.run(command, &["part2"]);
        // A part alone may lack what the command needs.
        let expected: &[i32] = match command.0.split(' ').next() {
            Some("refilter") => &[7],
            Some("dmesg" | "report" | "mount") => &[0, 1],
            _ => &[0],
        };
        assert!(expected.contains(&code), "{command:?}: {code}, {said}");
        // info shows it in a table.
        let words = (shown + &said).to_lowercase();
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("part 2 of 3"), "{command:?}: {words}");
    }
    let (_, lines, _) = given.run(("list -i identity", ""), &["part2", "whole"]);
    assert!(lines.contains("\"part2\" (part 2 of 3)") && !lines.contains("\"whole\" (part"), "{lines}");
    let (_, groups, _) = given.run(("list --group -i identity", ""), &PARTS);
    assert!(groups.lines().count() == 1 && groups.trim_start().starts_with("1 "), "{groups}");
}

/// Every file that a salvage can get something from adds to it; nothing else is lost.
#[test]
fn a_part_that_is_damaged_or_missing_costs_a_salvage_only_itself() {
    let given = Given::new();
    let restore = ("restore -f -i identity", "out");
    let salvage = (SALVAGE, "out");
    assert_eq!(given.run(restore, &PARTS).0, 0);
    let whole = given.pages("out");
    assert_eq!(given.run(salvage, &PARTS).0, 0);
    assert!(given.pages("out") == whole);
    assert_eq!(given.run(restore, &["part2"]).0, 0);
    let of_part = given.pages("out").iter().filter(|page| matches!(page, Found::Bytes(_))).count();
    assert!(of_part > 100);

    let end = len(&given.path("part2"));
    let bytes = fs::read(given.path("part2")).unwrap();
    fs::write(given.path("cut"), &bytes[..end - 70_000]).unwrap();
    fs::write(given.path("empty"), "").unwrap();
    fs::write(given.path("short"), &bytes[..100]).unwrap();
    fs::write(given.path("zeros"), vec![0; bytes.len()]).unwrap();
    given.flip("part2", 120, "header");
    given.flip("part2", 1000, "first");
    given.flip("part2", end - 200_000, "middle");
    for (file, status, words, at_most) in [
        ("part2", 0, "", 0),
        ("middle", 4, "1 chunks of \"middle\" are damaged", of_part - 1),
        ("first", 4, "1 chunks of \"first\" are damaged", of_part - 1),
        ("cut", 5, "\"cut\" is truncated", of_part),
        ("header", 4, "left out: opening \"header\"", of_part),
        ("short", 5, "left out: opening \"short\"", of_part),
        ("zeros", 4, "left out: opening \"zeros\": not an age file", of_part),
        ("empty", 5, "left out: opening dump \"empty\": it is empty", of_part),
    ] {
        let (code, _, said) = given.run(salvage, &["part3", file, "part1"]);
        let lost = given.lost(&whole);
        assert!(code == status && said.contains(words), "{file}: {code}, {said}");
        assert!(lost <= at_most && (lost > 0) == (status != 0), "{file}: {lost} of {of_part} are lost");
    }
    let (code, _, said) = given.run(salvage, &["part3", "part1"]);
    assert!(code == 7 && said.contains("pages may also be lost") && given.lost(&whole) == of_part, "{said}");
    // As for scripts.
    let (_, json, _) =
        given.run(("restore --salvage --json -f -i identity", "out"), &["header", "part3", "part1"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["missing_parts"][0], &json["left_out"][0]["name"]), (&2.into(), &"header".into()));
    assert_eq!(json["complete"], false);
    // A file that is not there is a mistake, and so is a key that opens none: nothing is written.
    fs::remove_file(given.path("out")).unwrap();
    assert_eq!(given.run(salvage, &["part1", "none", "part3"]).0, 1);
    assert!(!given.path("out").exists());
}

/// What all other commands make of a damaged part.
#[test]
fn a_damaged_part_is_named_by_every_command() {
    let given = Given::new();
    let end = len(&given.path("part2"));
    let bytes = fs::read(given.path("part2")).unwrap();
    fs::write(given.path("cut"), &bytes[..end - 9]).unwrap();
    given.flip("part2", 120, "header");
    given.assert_each(&["part1", "header", "part3"], 4, 4, "\"header\"");
    for command in given.commands() {
        let (code, _, said) = given.run(command, &["part1", "cut", "part3"]);
        // A command's own status, and that of a filter whose input lacks its end.
        let expected = match command.0.split(' ').next() {
            Some("mount") => 0,
            Some("refilter") => 7,
            _ => 5,
        };
        assert!(code == expected && said.contains("\"cut\""), "{command:?}: {code}, {said}");
    }
}
