//! This machine with `kdump-module/` installed on it, seen copy-on-write: distributions' own image builders
//! run in it, at the real paths, and leave nothing behind but what they write to `/out`.

use crate::module_dir;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A collector that knows one thing: recipients are lines that start with `age1`, and nothing else will do.
const CHECKING_COLLECTOR: &str = r#"#!/bin/sh
[ "$*" = "--check-params vmcore" ] || exit 2
grep -q '^age1' /etc/vmcore-encrypt/recipients && ! grep -q SECRET-KEY /etc/vmcore-encrypt/recipients
"#;

pub struct Machine {
    stage: TempDir,
    /// Directories of the real machine and where they are seen: `SOURCE:PLACE`.
    pub binds: Vec<String>,
}

impl Machine {
    /// A machine whose collector only checks recipients.
    pub fn new() -> Option<Machine> {
        let directory = TempDir::new().ok()?;
        let collector = directory.path().join("collector");
        fs::write(&collector, CHECKING_COLLECTOR).unwrap();
        let machine = Machine::with_collector(&collector)?;
        machine.write("/etc/vmcore-encrypt/recipients", "age1qqqq\n");
        Some(machine)
    }

    /// `None`, with the reason on stderr, where the view cannot be made (it takes root and overlayfs).
    pub fn with_collector(collector: &Path) -> Option<Machine> {
        let machine = Machine { stage: TempDir::new().ok()?, binds: Vec::new() };
        fs::create_dir(machine.path("/out")).unwrap();
        make_install("install", machine.stage.path(), collector);
        if !machine.run("true").status.success() {
            eprintln!("skipped: no copy-on-write view of this machine (needs root, overlayfs)");
            return None;
        }
        Some(machine)
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn script(&self, path: &str, content: &str) {
        self.write(path, content);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.stage.path().join(path.trim_start_matches('/'))
    }

    /// Runs a shell script on the machine.
    pub fn run(&self, script: &str) -> Output {
        Command::new("unshare")
            .args(["--mount", "sh"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kdump_module/machine.sh"))
            .arg(self.stage.path())
            .arg(script)
            .args(&self.binds)
            .output()
            .unwrap()
    }
}

/// `make TARGET` of `kdump-module/` into `destdir`.
pub fn make_install(target: &str, destdir: &Path, collector: &Path) {
    let made = Command::new("make")
        .args(["--silent", "-C"])
        .arg(module_dir())
        .arg(target)
        .arg(format!("DESTDIR={}", destdir.display()))
        .arg(format!("BIN={}", collector.display()))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", crate::text(&made));
}
