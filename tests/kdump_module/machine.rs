//! This machine with `kdump-module/` installed on it, seen copy-on-write: distributions' own image builders
//! run in it, at the real paths, and leave nothing behind but what they write to `/out`.

use crate::module_dir;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Somebody's recipient.
pub const RECIPIENT: &str = "age195a2ql4qaa2fmn8ueaqwyefppwxs9d03juwy7sthmwpzxju7ev5qtggy09";

/// The collector as it is shipped: without symbols.
fn collector() -> &'static Path {
    static STRIPPED: OnceLock<PathBuf> = OnceLock::new();
    STRIPPED.get_or_init(|| {
        let stripped = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vmcore-encrypt");
        crate::run(Command::new("strip").arg("-o").arg(&stripped).arg(env!("CARGO_BIN_EXE_vmcore-encrypt")));
        stripped
    })
}

pub struct Machine {
    stage: TempDir,
    /// Directories of the real machine and where they are seen: `SOURCE:PLACE`.
    pub binds: Vec<String>,
}

impl Machine {
    /// `None`, with the reason on stderr, where the view cannot be made (it takes root and overlayfs).
    pub fn new() -> Option<Machine> {
        if !crate::has("strip") {
            return None;
        }
        let machine = Machine { stage: TempDir::new().ok()?, binds: Vec::new() };
        fs::create_dir(machine.path("/out")).unwrap();
        make_install("install", machine.stage.path(), collector());
        machine.write("/etc/vmcore-encrypt/recipients", RECIPIENT);
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
