//! The commands of `docs/handover.md`, run as an owner and a vendor type them.

use super::{keys, programs_in_path, run, text, top};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the commands made of a vmcore, in one directory: `vmcore.age` at level 1, `X.age` at level 31, `for-the-vendor.age`, and
/// `vmcore`, which the vendor opens.
pub(crate) struct HandedOver {
    /// The owner's.
    pub identity: PathBuf,
    pub recipients: PathBuf,
    /// The vendor's.
    pub vendor: PathBuf,
    /// What the commands reported.
    pub said: String,
}

/// What the page has its reader type, in its order; THEIR-KEY is the vendor's.
fn commands() -> Vec<String> {
    let page = fs::read_to_string(top().join("docs/handover.md")).unwrap();
    let typed = page.lines().filter(|line| line.starts_with("    ")).map(str::trim);
    let typed = typed.filter(|line| line.starts_with("vmcore-") || line.starts_with("sha256sum"));
    let here = |line: &str| line.replace("/var/crash/", "").replace("THEIR-KEY", "vendor/identity");
    typed.map(here).collect()
}

/// Whose dump is handed over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Kdump,
    /// Firmware is in it, too.
    Hypervisor,
}

/// Runs the commands in `dir` on a copy of a vmcore: each has the status that the page names.
pub(crate) fn hand_over(dir: &Path, vmcore: &Path, from: From) -> HandedOver {
    let (made, recipients) = keys(dir);
    let (identity, vendor) = (dir.join("key.txt"), dir.join("vendor/identity"));
    fs::rename(made, &identity).unwrap();
    fs::create_dir(dir.join("vendor")).unwrap();
    fs::rename(keys(&dir.join("vendor")).1, dir.join("vendor.txt")).unwrap();
    fs::create_dir(dir.join("X")).unwrap();
    fs::copy(vmcore, dir.join("X/vmcore")).unwrap();
    let mut said = String::new();
    let commands = commands();
    assert_eq!(commands.len(), 7, "{commands:#?}");
    let mut type_in = |command: &str, expected: i32| {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(dir).env("PATH", programs_in_path());
        let output = run(&mut shell);
        let text = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(expected), "{command}: {text}");
        said.push_str(&text);
        text
    };
    for command in commands {
        if command.contains("--remove-source") && from == From::Hypervisor {
            let text = type_in(&command, 1);
            assert!(text.contains("firmware") && dir.join("X/vmcore").exists(), "{text}");
            type_in(&command.replace("--remove-source", "-f --remove-source --allow-fewer-pages"), 0);
        } else {
            // The owner is no recipient of the vendor's dump.
            type_in(&command, if command.contains("verify") { 3 } else { 0 });
        }
    }
    assert!(!dir.join("X/vmcore").exists(), "{said}");
    HandedOver { identity, recipients, vendor, said }
}
