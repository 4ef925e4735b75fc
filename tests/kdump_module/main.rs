//! The scripts of `kdump-module/` under the contracts of those who call them: command lines, names given
//! only to whole dumps, pipes without pipefail, images that are complete or not built at all.
//!
//! The scripts run unchanged, at their real paths: the saving ones in a root directory that holds a shell,
//! busybox and stubs (`jail`), the image builders on a copy-on-write view of this machine (`machine`).
//! At last images built that way capture a crash in the lab of `tests/vm/` (`vm`). A missing tool skips the
//! test with its name.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its premise fails")]

mod debian;
mod images;
mod jail;
mod machine;
mod packages;
mod samples;
mod save;
mod scripts;
mod suse;
mod upstream;
mod vm;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `kdump-module/`.
fn module_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kdump-module")
}

/// Whether a program is in PATH; says what is skipped when it is not.
fn has(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$1\" >/dev/null", "sh", program])
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// A command that may change root: directly for root, else as root of a user namespace.
fn as_root(program: &str) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        return Command::new(program);
    } else {
        Command::new("unshare")
    };
    command.args(["--map-root-user", program]);
    command
}

/// Runs a command that has to succeed; its standard output.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
