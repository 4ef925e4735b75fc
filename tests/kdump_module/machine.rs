//! This machine with `kdump-module/` installed on it, seen copy-on-write: distributions' own image builders
//! run in it, at the real paths, and leave nothing behind but what they write to `/out`.

use crate::common::{Absent, collector, or_skip};
use crate::{as_root, module_dir};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Somebody's recipient.
pub(crate) const RECIPIENT: &str = "age195a2ql4qaa2fmn8ueaqwyefppwxs9d03juwy7sthmwpzxju7ev5qtggy09";

pub(crate) struct Machine {
    stage: TempDir,
    /// Directories of the real machine and where they are seen: `SOURCE:PLACE`.
    pub binds: Vec<String>,
}

impl Machine {
    /// With the collector as it is shipped, and the command beside it. `None` where the view cannot be made: it takes overlayfs, and root or a
    /// user namespace.
    pub(crate) fn new() -> Option<Machine> {
        let machine = Machine { stage: TempDir::new().ok()?, binds: Vec::new() };
        fs::create_dir(machine.path("/out")).unwrap();
        make_install("install", machine.stage.path(), collector());
        machine.write("/etc/vmcore-encrypt/recipients", RECIPIENT);
        let seen = machine.run("true");
        or_skip(if seen.status.success() {
            Ok(machine)
        } else {
            Err(Absent(format!("overlayfs, for a view of this machine: {}", crate::text(&seen))))
        })
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn script(&self, path: &str, content: &str) {
        self.write(path, content);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.stage.path().join(path.trim_start_matches('/'))
    }

    /// Runs a shell script on the machine.
    pub(crate) fn run(&self, script: &str) -> Output {
        as_root("unshare")
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
pub(crate) fn make_install(target: &str, destdir: &Path, collector: &Path) {
    let made = Command::new("make")
        .args(["--silent", "-C"])
        .arg(module_dir())
        .arg(target)
        .arg(format!("DESTDIR={}", destdir.display()))
        .arg(format!("BIN={}", env!("CARGO_BIN_EXE_vmcore-encrypt")))
        .arg(format!("COLLECTOR={}", collector.display()))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", crate::text(&made));
}
