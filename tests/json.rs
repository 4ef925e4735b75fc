//! docs/json.md describes what every `--json` prints: no field is missing there, and none is there that no command prints.
#![cfg(feature = "analyst")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod synth;

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use synth::{arch, kernel, zoo};

const TEXT: &str = include_str!("../docs/json.md");
const IDENTITY: &str = "AGE-SECRET-KEY-12T4FDAVR0PNY2YDYUNP8F5Q7DMUDVF0EWHA963DRZXSXLDCSZRZQNETYG4";
const RECIPIENT: &str = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv";

/// What `--json` of each command printed: the heading of its section, and its lines.
struct Printed(Vec<(String, Vec<Value>)>);

impl Printed {
    /// Runs a command, whatever its exit status is.
    fn run(&mut self, home: &Path, heading: &str, arguments: &[&str]) {
        let mut words = heading.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(arguments).current_dir(home).env("PATH", common::programs_in_path());
        let output = command.env("HOME", home).output().unwrap();
        let objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
        let objects: Vec<Value> = objects.map(Result::unwrap).collect();
        assert!(!objects.is_empty(), "{heading} {arguments:?}: {output:?}");
        match self.0.iter_mut().find(|(known, _)| known == heading) {
            Some((_, known)) => known.extend(objects),
            None => self.0.push((heading.to_owned(), objects)),
        }
    }
}

fn printed() -> Printed {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    zoo::zoo(arch::x86_64::four_level(), kernel::v6_12()).build().write_to(&at.join("vmcore"));
    fs::write(at.join("key"), IDENTITY).unwrap();
    let dump = at.join("dumps/dump.age");
    fs::create_dir(at.join("dumps")).unwrap();
    let made = common::encrypt().args(["-r", RECIPIENT]).arg(at.join("vmcore")).arg(&dump).output().unwrap();
    assert!(dump.exists(), "{made:?}");
    let bytes = fs::read(&dump).unwrap();
    fs::write(at.join("cut"), &bytes[..bytes.len() / 2]).unwrap();
    fs::create_dir(at.join("root")).unwrap();
    let mut printed = Printed(Vec::new());
    let mut run = |heading: &str, arguments: &[&str]| printed.run(at, heading, arguments);
    run("vmcore-decrypt verify --json", &["-i", "key", "dumps/dump.age"]);
    run("vmcore-decrypt verify --json", &["-i", "key", "cut"]);
    run("vmcore-decrypt info --json", &["-i", "key", "dumps/dump.age"]);
    run("vmcore-decrypt info --json", &["dumps/dump.age"]);
    run("vmcore-decrypt list --json", &["-i", "key", "dumps"]);
    run("vmcore-decrypt list --json", &["-i", "key", "--group", "dumps"]);
    run("vmcore-decrypt report --json", &["-i", "key", "dumps/dump.age"]);
    run("vmcore-decrypt restore --salvage --json", &["-i", "key", "dumps/dump.age", "whole"]);
    run("vmcore-decrypt restore --salvage --json", &["-i", "key", "cut", "half"]);
    run("vmcore-encrypt estimate --json", &["vmcore"]);
    run("vmcore-encrypt check --json", &["--root", "root"]);
    printed
}

/// The text of a section.
fn section(heading: &str) -> &'static str {
    let start = TEXT.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let rest = &TEXT[start + 4..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// Names in backticks, each part of a dotted one by itself too.
fn names(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.flat_map(|name| name.split('.').chain([name])).collect()
}

/// The first column of a section's tables, where its fields are always there: an absent one is a fact of another dump.
fn fields(section: &str) -> BTreeSet<&str> {
    let rows = section.lines().filter(|line| line.starts_with("| `") && !line.contains("absent"));
    rows.flat_map(|row| names(row[2..].split(" |").next().unwrap()))
        .filter(|name| !name.contains('.'))
        .collect()
}

/// The names of all members, at any depth.
fn members(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                // Levels and letters are values, not names.
                if name.len() > 1 && !name.bytes().all(|byte| byte.is_ascii_digit()) {
                    found.insert(name.clone());
                }
                members(inner, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| members(inner, found)),
        _ => {}
    }
}

#[test]
fn every_field_is_described_and_every_description_is_of_a_field() {
    let mut wrong = Vec::new();
    let shared = [section("Crash"), section("Pages per class")];
    let (mut known_shared, mut all) = (BTreeSet::new(), BTreeSet::new());
    shared.iter().for_each(|section| known_shared.extend(names(section)));
    for (heading, objects) in printed().0 {
        let section = section(&format!("`{heading}`"));
        let described = names(section);
        let mut found = BTreeSet::new();
        objects.iter().for_each(|object| members(object, &mut found));
        let lacking = found.iter().map(String::as_str);
        let lacking = lacking.filter(|name| !described.contains(name) && !known_shared.contains(name));
        wrong.extend(lacking.map(|name| format!("{heading}: {name} is not described")));
        // A machine that was made up has not all that a report can tell.
        if !heading.contains(" report ") {
            let absent = fields(section).into_iter().filter(|name| !found.contains(*name));
            wrong.extend(absent.map(|name| format!("{heading}: nothing prints {name}")));
        }
        all.extend(found);
    }
    let absent = shared.into_iter().flat_map(fields).filter(|name| !all.contains(*name));
    wrong.extend(absent.map(|name| format!("nothing prints {name}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_with_json_has_a_section() {
    use clap::CommandFactory;
    use vmcore_encrypt::cli::{decrypt, encrypt};
    for (program, command) in
        [("vmcore-encrypt", encrypt::Cli::command()), ("vmcore-decrypt", decrypt::Cli::command())]
    {
        for sub in command
            .get_subcommands()
            .filter(|sub| sub.get_arguments().any(|arg| arg.get_long() == Some("json")))
        {
            let start = format!("\n## `{program} {} ", sub.get_name());
            assert!(TEXT.contains(&start), "{program} {}", sub.get_name());
        }
    }
}
