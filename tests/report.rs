//! `vmcore-decrypt report`: on a machine that does not describe itself, and on guests that crashed, whose stacks drgn
//! unwinds with full debug information.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod synth;

use common::{judge, or_skip, succeed};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use synth::{Synth, arch, kernel};

/// A dump of a vmcore at level 31, and its identity.
fn encrypted(dir: &Path, vmcore: &Path) -> (PathBuf, PathBuf) {
    let (identity, recipients) = common::keys(dir);
    let dump = dir.join("dump.age");
    succeed(common::encrypt().args(["-d", "31", "-R"]).arg(recipients).arg(vmcore).arg(&dump));
    (identity, dump)
}

fn report(identity: &Path, dump: &Path, more: &[&str]) -> String {
    succeed(common::decrypt().args(["report", "-i"]).arg(identity).args(more).arg(dump))
}

#[test]
fn a_kernel_that_does_not_describe_itself_still_has_a_log() {
    let dir = common::scratch("report-synth");
    let core = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).ram(0x10_0000..0x80_0000).build();
    core.write_to(&dir.join("vmcore"));
    let (identity, dump) = encrypted(&dir, &dir.join("vmcore"));
    let text = report(&identity, &dump, &[]);
    assert!(text.contains("Kernel         6.12"), "{text}");
    assert!(
        text.contains(
            "Not readable   the kernel's symbol table is not usable: VMCOREINFO does not lead to it"
        ),
        "{text}"
    );
    assert!(text.contains("Last lines of the log"), "{text}");
    let last = core.log.as_bytes().rsplit(|&byte| byte == b'\n').nth(1).unwrap().to_vec();
    assert!(text.contains(&String::from_utf8(last).unwrap()), "{text}");
    let json: Value = serde_json::from_str(&report(&identity, &dump, &["--json"])).unwrap();
    assert!(json["tasks"]["error"].as_str().unwrap().contains("not usable"), "{json}");
    assert_eq!(json["system"]["machine"], "x86_64");
    std::fs::remove_dir_all(dir).unwrap();
}

/// The stacks that drgn finds: task, name, addresses.
fn stacks(dump: &Path, vmlinux: &Path) -> Option<Vec<Value>> {
    let mut drgn = Command::new(or_skip(judge::program("drgn"))?);
    drgn.args(["-q", "-c"])
        .arg(dump)
        .arg("-s")
        .arg(vmlinux)
        .arg(common::top().join("tests/vm/drgn/stacks.py"));
    let seen = succeed(drgn.stdin(Stdio::null()));
    Some(seen.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn addresses(trace: &Value) -> Vec<&Value> {
    trace["frames"].as_array().unwrap().iter().map(|frame| &frame["address"]).collect()
}

/// Every return address of every stack is drgn's.
fn assert_drgn_agrees(name: &str, suite: &str) {
    let Some(vmcore) = or_skip(common::vmcore(name)) else { return };
    let Some(vmlinux) = or_skip(common::vmlinux(suite)) else { return };
    let Some(expected) = stacks(&vmcore, &vmlinux) else { return };
    let dir = common::scratch(&format!("report-{name}"));
    let (identity, dump) = encrypted(&dir, &vmcore);
    let json: Value = serde_json::from_str(&report(&identity, &dump, &["--json", "--tasks", "all"])).unwrap();
    assert_eq!(json["missing"], Value::Array(Vec::new()));
    let tasks = json["tasks"]["listed"].as_array().unwrap();
    let mut compared = 0;
    for stack in &expected {
        let found = match &stack["pid"] {
            Value::String(_) => &json["crash"]["trace"],
            // Every idle task has number 0: the name tells them apart.
            pid => {
                let is_it = |task: &&Value| task["pid"] == *pid && task["name"] == stack["name"];
                &tasks.iter().find(is_it).unwrap_or_else(|| panic!("{name}: no task {pid}"))["trace"]
            }
        };
        let addresses = addresses(found);
        let theirs: Vec<&Value> = stack["stack"].as_array().unwrap().iter().collect();
        assert_eq!(addresses, theirs, "{name}: {stack}");
        compared += 1;
    }
    assert!(compared > 30, "{name}: {compared} stacks");
    assert_eq!(json["crash"]["panic"], "Kernel panic - not syncing: sysrq triggered crash");
    assert_eq!(json["signature"][0], "sysrq_handle_crash", "{}", json["crash"]);
    assert_eq!(json["crash"]["task"]["name"], "crasher");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn stacks_are_those_that_drgn_finds_with_debug_information() {
    assert_drgn_agrees("bookworm-5level-kdump", "bookworm");
    assert_drgn_agrees("trixie-5level-kdump", "trixie");
    assert_drgn_agrees("sid-5level-kdump", "sid");
}
