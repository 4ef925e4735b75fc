//! The programs that judge a dump: `makedumpfile`, `crash`, `age` and `drgn`, each in one known version, fetched by
//! `tests/vm/program.sh`.

use super::{Absent, lab, succeed, top};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The path of a judge.
pub fn program(name: &str) -> Result<PathBuf, Absent> {
    lab("program.sh", [name]).map(PathBuf::from)
}

/// What `crash` answers to commands, one after the other.
pub fn crash(dump: &Path, vmlinux: &Path, commands: &[&str]) -> Result<String, Absent> {
    let input = dump.with_extension("crash-commands");
    std::fs::write(&input, commands.join("\n") + "\nquit\n").unwrap();
    let mut crash = Command::new(program("crash")?);
    crash.args(["-s", "-i"]).arg(input).arg(vmlinux).arg(dump).stdin(Stdio::null()).env("HOME", "/");
    Ok(succeed(&mut crash))
}

/// What drgn finds of the planted secrets: `tests/vm/drgn/planted.py`.
pub fn drgn(dump: &Path, vmlinux: &Path, secrets: &Path) -> Result<String, Absent> {
    let mut drgn = Command::new(program("drgn")?);
    drgn.args(["-q", "-c"]).arg(dump).arg("-s").arg(vmlinux);
    drgn.arg(top().join("tests/vm/drgn/planted.py")).arg(secrets).stdin(Stdio::null());
    Ok(succeed(&mut drgn))
}
