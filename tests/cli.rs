//! Both programs as a user meets them: each file of `tests/cmd/` is one case. A case names the files it is given
//! and then, command by command, the exit status and both streams it expects, and at last which files are left.
//!
//! ```text
//! # Why the case is there.
//! needs COMMAND          skip the case, with a word on stderr, where this command fails
//! given vmcore identity  files from `fixture`; they must be unchanged in the end unless `changed` names them
//! $ vmcore-encrypt ...   a line for sh
//! status 1               0 when absent
//! out TEXT               standard output, line by line; ... stands for any text, alone for any lines
//! err TEXT               standard error likewise
//! left NAME MODE         every file that was not given, with its permissions
//! ```
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

mod common;
mod synth;

use common::{Absent, or_skip_anywhere, programs_in_path};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use synth::{Content, Page, Synth, arch, kernel};

/// A key pair of these tests alone.
const IDENTITY: &str = "AGE-SECRET-KEY-12T4FDAVR0PNY2YDYUNP8F5Q7DMUDVF0EWHA963DRZXSXLDCSZRZQNETYG4";
const RECIPIENT: &str = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv";
const OTHER_IDENTITY: &str = "AGE-SECRET-KEY-13X5QW8YMCR9E38WDQX3UT48L8DLYC4EAX3V7X29K5F36XVA48WCS5TRCQ8";

/// A command and what it must do.
#[derive(Default)]
struct Step {
    command: String,
    status: i32,
    out: Vec<String>,
    err: Vec<String>,
}

#[derive(Default)]
struct Case {
    needs: Vec<String>,
    given: Vec<String>,
    changed: Vec<String>,
    steps: Vec<Step>,
    left: Vec<String>,
}

impl Case {
    fn parse(text: &str) -> Case {
        let mut case = Case::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let words = || rest.split(' ').map(str::to_owned);
            match (word, case.steps.last_mut()) {
                ("needs", None) => case.needs.push(rest.to_owned()),
                ("given", None) => case.given.extend(words()),
                ("changed", None) => case.changed.extend(words()),
                ("$", _) => case.steps.push(Step { command: rest.to_owned(), ..Step::default() }),
                ("status", Some(step)) => step.status = rest.parse().unwrap(),
                ("out", Some(step)) => step.out.push(rest.to_owned()),
                ("err", Some(step)) => step.err.push(rest.to_owned()),
                ("left", Some(_)) => case.left.push(rest.to_owned()),
                _ => panic!("a case has no line {line:?} there"),
            }
        }
        case
    }

    /// Runs the case in a directory of its own; gives what is wrong, a line each.
    fn run(&self) -> Vec<String> {
        // Below a directory that only its owner can write to, which /tmp is not: collect takes no other.
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for name in &self.given {
            fs::write(home.path().join(name), fixture(name)).unwrap();
        }
        let mut wrong: Vec<String> = self.steps.iter().flat_map(|step| step.run(home.path())).collect();
        let mut left = files(home.path());
        for name in &self.given {
            let mode = left.remove(name);
            let same = fs::read(home.path().join(name)).is_ok_and(|bytes| bytes == fixture(name));
            if mode.is_none() || (!same && !self.changed.contains(name)) {
                wrong.push(format!("{name} has changed"));
            }
        }
        let left: Vec<String> = left.into_iter().map(|(name, mode)| format!("{name} {mode:o}")).collect();
        if left != self.left {
            wrong.push(format!("files left: {left:?}"));
        }
        wrong
    }
}

impl Step {
    fn run(&self, home: &Path) -> Vec<String> {
        let Output { status, stdout, stderr } = shell(&self.command, home);
        let mut wrong = Vec::new();
        if status.code() != Some(self.status) {
            wrong.push(format!("{status}"));
        }
        for (name, found, expected) in [("out", stdout, &self.out), ("err", stderr, &self.err)] {
            let found = String::from_utf8_lossy(&found);
            let found: Vec<&str> = found.lines().collect();
            if !matches(&found, expected) {
                wrong.extend(found.iter().map(|line| format!("{name} {line}")));
                wrong.push(format!("({name} differs)"));
            }
        }
        if !wrong.is_empty() {
            wrong.insert(0, format!("$ {}", self.command));
        }
        wrong
    }
}

fn shell(command: &str, home: &Path) -> Output {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .current_dir(home)
        .env("PATH", programs_in_path())
        .env("HOME", home)
        .env("LC_ALL", "C");
    shell.output().unwrap()
}

/// Names and permissions of the files in a directory.
fn files(home: &Path) -> BTreeMap<String, u32> {
    let entries = fs::read_dir(home).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .collect()
}

/// Whether lines match a pattern of lines, in which `...` alone stands for any number of lines.
fn matches(lines: &[&str], pattern: &[String]) -> bool {
    match pattern.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "..." => (0..=lines.len()).any(|at| matches(&lines[at..], rest)),
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, others)| fits(line, first) && matches(others, rest))
        }
    }
}

/// Whether a line matches a pattern, in which `...` stands for any text.
fn fits(line: &str, pattern: &str) -> bool {
    match pattern.split_once("...") {
        None => line == pattern,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|line| {
            (0..=line.len()).filter(|&at| line.is_char_boundary(at)).any(|at| fits(&line[at..], rest))
        }),
    }
}

/// The files a case can be given.
fn fixture(name: &str) -> Vec<u8> {
    static VMCORE: OnceLock<Vec<u8>> = OnceLock::new();
    static DUMP: OnceLock<Vec<u8>> = OnceLock::new();
    let vmcore = || VMCORE.get_or_init(|| machine().build().to_bytes());
    match name {
        "vmcore" => vmcore().clone(),
        "vmcore-without-vmcoreinfo" => machine().without_vmcoreinfo().build().to_bytes(),
        "vmcore-cut" => vmcore()[..vmcore().len() / 2].to_vec(),
        "vmcore-cut-header" => vmcore()[..40].to_vec(),
        "vmcore-32-bit" => [b"\x7fELF\x01\x01\x01".to_vec(), vec![0; 200]].concat(),
        "log" => machine().build().log.into(),
        "identity" => format!("# of the tests\n{IDENTITY}\n").into(),
        "other-identity" => format!("{OTHER_IDENTITY}\n").into(),
        "recipients" => format!("# the tests'\n{RECIPIENT}\n").into(),
        "empty" => vec![],
        "text" => b"just some text\n".to_vec(),
        "dump" => DUMP.get_or_init(make_dump).clone(),
        _ => panic!("no file {name:?} can be given"),
    }
}

/// 7 MiB of RAM with a page of every kind that matters here.
fn machine() -> Synth {
    Synth::new(arch::x86_64::four_level(), kernel::v6_12())
        .fill(Content::Zero)
        .ram(0x10_0000..0x80_0000)
        .pages(0x400, 64, &Page::kernel().with(Content::Noise))
        .pages(0x440, 32, &Page::cache().with(Content::Pattern))
        .pages(0x460, 8, &Page::private_cache().with(Content::Pattern))
        .pages(0x480, 16, &Page::anon().with(Content::Noise))
        .pages(0x500, 2, &Page::free(7).with(Content::Pattern))
}

/// The machine's dump at level 31 for the recipient.
fn make_dump() -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    for name in ["vmcore", "recipients"] {
        fs::write(home.path().join(name), fixture(name)).unwrap();
    }
    let output = shell("vmcore-encrypt -R recipients vmcore dump", home.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(home.path().join("dump")).unwrap()
}

fn cases(program: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd").join(program);
    let mut all: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(!all.is_empty(), "no cases of {program}");
    all
}

/// Runs all cases of a program and shows what is wrong, in the form in which the case would expect it.
fn run(program: &str) {
    let mut failed = Vec::new();
    for path in cases(program) {
        let case = Case::parse(&fs::read_to_string(&path).unwrap());
        let name = path.display();
        let missing = case.needs.iter().find(|need| !shell(need, Path::new("/")).status.success());
        match missing {
            Some(need) => drop(or_skip_anywhere::<()>(Err(Absent(format!("{need}, for {name}"))))),
            None => {
                let wrong = case.run();
                if !wrong.is_empty() {
                    failed.push(format!("{name}:\n    {}", wrong.join("\n    ")));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn encrypt() {
    run("encrypt");
}

#[test]
#[cfg(feature = "analyst")]
fn decrypt() {
    run("decrypt");
}

#[test]
fn patterns() {
    let pattern = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(fits("ends at 0x12 inside", "ends at ... inside") && !fits("ends", "ends..at"));
    assert!(matches(&["a", "b", "c"], &pattern(&["a", "..."])));
    assert!(!matches(&["a", "b"], &pattern(&["a"])) && !matches(&["a"], &pattern(&["a", "b"])));
}
