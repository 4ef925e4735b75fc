//! The scripts of `kdump-module/` under the contracts of those who call them: command lines, names given
//! only to whole dumps, pipes without pipefail, images that are complete or not built at all.
//!
//! The scripts run unchanged, at their real paths: the saving ones in a root directory that holds a shell,
//! busybox and stubs (`jail`), the image builders on a copy-on-write view of this machine (`machine`).
//! At last images built that way capture a crash in the lab of `tests/vm/` (`vm`). A missing tool skips the
//! test with its name.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its premise fails")]

#[path = "../common/mod.rs"]
mod common;

mod check;
mod debian;
mod fedora;
mod gate;
mod hostile;
mod images;
mod jail;
mod kdump_tools;
mod load;
mod machine;
#[cfg(feature = "upload")]
#[path = "../upload/store.rs"]
#[allow(dead_code, reason = "the tests of uploading use more of it")]
mod object_store;
mod packages;
mod rearm;
mod room;
mod samples;
mod save;
mod scripts;
#[cfg(feature = "upload")]
#[path = "../remote/server.rs"]
#[allow(dead_code, reason = "the tests of reading use more of it")]
mod server;
mod source;
mod ssh;
#[cfg(feature = "upload")]
mod store;
mod suse;
mod vm;

use common::has;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `kdump-module/`.
fn module_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kdump-module")
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

/// Both streams of a program, to show or to search.
fn text(output: &Output) -> String {
    common::text(&output.stdout) + &common::text(&output.stderr)
}
