//! The programs that judge a dump: `makedumpfile`, `crash`, `age`, `rage`, `drgn` and `gdb`, each in one known version,
//! fetched by `tests/vm/program.sh`.

use super::{Absent, lab, or_skip, succeed, top};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The path of a judge.
pub(crate) fn program(name: &str) -> Result<PathBuf, Absent> {
    lab("program.sh", [name]).map(PathBuf::from)
}

/// What `crash` answers to commands, one after the other.
pub(crate) fn crash(dump: &Path, vmlinux: &Path, commands: &[&str]) -> Result<String, Absent> {
    // It takes an @ in a path for what precedes an address.
    let directory = tempfile::tempdir().unwrap();
    for (path, name) in [(dump, "dump"), (vmlinux, "vmlinux")] {
        std::os::unix::fs::symlink(path.canonicalize().unwrap(), directory.path().join(name)).unwrap();
    }
    std::fs::write(directory.path().join("commands"), commands.join("\n") + "\nquit\n").unwrap();
    let mut crash = Command::new(program("crash")?);
    crash.args(["-s", "-i", "commands", "vmlinux", "dump"]).current_dir(&directory).stdin(Stdio::null());
    Ok(succeed(crash.env("HOME", "/")))
}

/// What `crash` must show of a dump of the lab's guest.
pub(crate) const SHOWN: [&str; 7] = [
    "PANIC: \"Kernel panic - not syncing: sysrq triggered crash\"",
    "COMMAND: \"crasher\"",
    "sysrq_handle_crash at",
    "RU   0.",
    "sysrq: Trigger a crash",
    "TOTAL MEM",
    "virtio_blk",
];

/// `crash` shows of a dump what the lab's guest did; nothing where it is absent.
pub(crate) fn assert_crash_shows(dump: &Path, vmlinux: &Path) -> Option<()> {
    let commands = ["sys", "bt", "ps", "log", "kmem -i", "mod"];
    let seen = or_skip(crash(dump, vmlinux, &commands))?;
    for expected in SHOWN {
        assert!(seen.contains(expected), "{}: crash does not show {expected}:\n{seen}", dump.display());
    }
    Some(())
}

/// What gdb answers to commands about an ELF core.
pub(crate) fn gdb(core: &Path, commands: &[&str]) -> Result<String, Absent> {
    let mut gdb = Command::new(program("gdb")?);
    gdb.args(["-nx", "-batch", "-core"]).arg(core).args(commands.iter().flat_map(|command| ["-ex", command]));
    Ok(succeed(gdb.stdin(Stdio::null())))
}

/// How many pages libkdumpfile finds in a dump, as drgn brings it, and the sum of them: `tests/vm/drgn/pages.py`.
pub(crate) fn pages(dump: &Path, max_mapnr: u64) -> Result<String, Absent> {
    let python = program("drgn")?.with_file_name("drgn.venv/bin/python");
    let script = top().join("tests/vm/drgn/pages.py");
    Ok(succeed(Command::new(python).arg(script).arg(dump).arg(max_mapnr.to_string())))
}

/// How many tasks drgn lists, and of how many the stack: `tests/vm/drgn/tasks.py`.
pub(crate) fn tasks(dump: &Path, vmlinux: &Path) -> Result<(u64, u64), Absent> {
    let mut drgn = Command::new(program("drgn")?);
    drgn.args(["-q", "-c"]).arg(dump).arg("-s").arg(vmlinux).arg(top().join("tests/vm/drgn/tasks.py"));
    let seen = succeed(drgn.stdin(Stdio::null()));
    let numbers: Vec<u64> = seen.split_whitespace().map(|number| number.parse().unwrap()).collect();
    Ok((numbers[0], numbers[1]))
}

/// What drgn reaches without a page of users': tasks, modules, slab objects, page cache, free blocks: each counted and summed
/// by `tests/vm/drgn/objects.py`.
pub(crate) fn objects(dump: &Path, vmlinux: &Path) -> Result<String, Absent> {
    let mut drgn = Command::new(program("drgn")?);
    drgn.args(["-q", "-c"]).arg(dump).arg("-s").arg(vmlinux).arg(top().join("tests/vm/drgn/objects.py"));
    Ok(succeed(drgn.stdin(Stdio::null())))
}

/// Pages on the lists of free pages of all CPUs, ascending, as drgn finds them: `tests/vm/drgn/lists.py`.
pub(crate) fn listed(dump: &Path, vmlinux: &Path) -> Result<Vec<u64>, Absent> {
    let mut drgn = Command::new(program("drgn")?);
    drgn.args(["-q", "-c"]).arg(dump).arg("-s").arg(vmlinux).arg(top().join("tests/vm/drgn/lists.py"));
    let seen = succeed(drgn.stdin(Stdio::null()));
    Ok(seen.split_whitespace().map(|number| number.parse().unwrap()).collect())
}

/// The stacks that drgn finds with debug information, of each task its number, name and addresses, and the names of disks:
/// `tests/vm/drgn/stacks.py`.
pub(crate) fn stacks(dump: &Path, vmlinux: &Path) -> Result<(Vec<Value>, Value), Absent> {
    let mut drgn = Command::new(program("drgn")?);
    drgn.args(["-q", "-c"]).arg(dump).arg("-s").arg(vmlinux).arg(top().join("tests/vm/drgn/stacks.py"));
    let seen = succeed(drgn.stdin(Stdio::null()));
    let mut lines: Vec<Value> = seen.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let disks = lines.pop().unwrap();
    Ok((lines, disks))
}

/// The disks in a report are drgn's. Nothing was in flight when they crashed.
pub(crate) fn assert_disks_are(report: &Value, expected: &Value, name: &str) {
    let listed =
        report["disks"]["listed"].as_array().unwrap_or_else(|| panic!("{name}: {}", report["disks"]));
    let names: Vec<&Value> = listed.iter().map(|disk| &disk["name"]).collect();
    let theirs: Vec<&Value> = expected["disks"].as_array().unwrap().iter().collect();
    assert_eq!(names, theirs, "{name}");
    for disk in listed {
        assert_eq!(disk["in_flight"], serde_json::json!({"reads": 0, "writes": 0}), "{name}: {disk}");
    }
    assert_eq!(report["disks"]["damaged"], Value::Null, "{name}");
}

/// Every return address of every stack in a report of all tasks is drgn's. Where they differ the message has both, with the
/// names that the report gives.
pub(crate) fn assert_stacks_are(report: &Value, expected: &[Value], name: &str) {
    let tasks = report["tasks"]["listed"].as_array().unwrap();
    for stack in expected {
        let found = match &stack["pid"] {
            Value::String(_) => &report["crash"]["trace"],
            // Every idle task has number 0: the name tells them apart.
            pid => {
                let is_it = |task: &&Value| task["pid"] == *pid && task["name"] == stack["name"];
                &tasks.iter().find(is_it).unwrap_or_else(|| panic!("{name}: no task {pid}"))["trace"]
            }
        };
        let frames = found["frames"].as_array().unwrap_or_else(|| panic!("{name}: {stack}: {found}"));
        let addresses: Vec<&Value> = frames.iter().map(|frame| &frame["address"]).collect();
        let theirs: Vec<&Value> = stack["stack"].as_array().unwrap().iter().collect();
        assert_eq!(addresses, theirs, "{name}: drgn has {stack}, the report {found}");
    }
    assert!(expected.len() > 30, "{name}: {} stacks", expected.len());
}

/// What drgn finds of the planted secrets: `tests/vm/drgn/planted.py`.
pub(crate) fn drgn(dump: &Path, vmlinux: &Path, secrets: &Path) -> Result<String, Absent> {
    let mut drgn = Command::new(program("drgn")?);
    drgn.args(["-q", "-c"]).arg(dump).arg("-s").arg(vmlinux);
    drgn.arg(top().join("tests/vm/drgn/planted.py")).arg(secrets).stdin(Stdio::null());
    Ok(succeed(&mut drgn))
}

/// drgn shows of a dump what the lab's guest did; everything it printed, or nothing where it is absent.
pub(crate) fn assert_drgn_shows(dump: &Path, vmlinux: &Path, secrets: &Path) -> Option<String> {
    let seen = or_skip(drgn(dump, vmlinux, secrets))?;
    for expected in ["panicking task: crasher", "frame: sysrq_handle_crash"] {
        assert!(seen.contains(expected), "{}: drgn does not show {expected}:\n{seen}", dump.display());
    }
    Some(seen)
}
