//! The configuration that decides how the next crash is saved: that nobody but root can change it. The recipients file
//! is checked with the recipients (`keys`).

use super::findings::Findings;
use super::machine::Machine;
use crate::trust;
use std::fs;
use std::path::{Path, PathBuf};

const CHECK: &str = "modes";

/// Our configuration, and that of the three distributions' kdump.
const FILES: [&str; 4] =
    ["/etc/vmcore-encrypt/config", "/etc/kdump.conf", "/etc/sysconfig/kdump", "/etc/default/kdump-tools"];
/// Directories whose programs kdump runs around the dump.
const DIRECTORIES: [&str; 2] = ["/etc/kdump/pre.d", "/etc/kdump/post.d"];

/// Checks the machine's configuration.
pub fn check(machine: &Machine, findings: &mut Findings) {
    for (path, error) in untrusted(&machine.path("/")) {
        findings.problem(CHECK, format!("{}: {error}", path.display()), error.hint());
    }
}

/// The configuration files of the machine below `root` that others can change, each with the reason.
#[must_use]
pub fn untrusted(root: &Path) -> Vec<(PathBuf, trust::Error)> {
    let mut paths: Vec<PathBuf> = FILES.iter().chain(&DIRECTORIES).map(PathBuf::from).collect();
    for directory in DIRECTORIES.map(Path::new) {
        let inside = directory.strip_prefix("/").unwrap_or(directory);
        let entries = fs::read_dir(root.join(inside)).into_iter().flatten().flatten();
        paths.extend(entries.map(|entry| directory.join(entry.file_name())));
    }
    let verdict = |path: PathBuf| trust::check(root, &path).err().map(|error| (path, error));
    paths.into_iter().filter_map(verdict).filter(|(_, error)| !error.is_not_found()).collect()
}
