//! A mount in the background. This program starts itself again; the second process asks for passphrases and opens the
//! dump on the user's terminal as usual, reports by a line on a pipe that the mount is there, and only then leaves the
//! terminal. So the first process ends when the files can be read, with the status of what failed before that.

use super::super::super::{Failure, environment, quoted, say};
use super::super::PROGRAM;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The option by which the second process knows itself.
pub(super) const SERVING: &str = "serving";
/// What the second process writes when the mount is there.
const READY: &[u8] = b"mounted\n";

/// Starts the second process with the same words, and waits until its mount is there.
///
/// # Errors
/// It cannot be started; or it has ended, after it reported why.
pub(super) fn start(directory: &Path) -> Result<(), Failure> {
    let failed = |error: &io::Error| Failure::caused("starting a process in the background", error);
    let program = environment::own_path().map_err(|error| failed(&error))?;
    let mut words = std::env::args_os();
    let mut second = Command::new(program);
    if let Some(name) = words.next() {
        std::os::unix::process::CommandExt::arg0(&mut second, name);
    }
    second.args(words).arg(format!("--{SERVING}")).env_remove(environment::MARK).stdout(Stdio::piped());
    let mut process = second.spawn().map_err(|error| failed(&error))?;
    let mut words = Vec::new();
    if let Some(pipe) = &mut process.stdout {
        pipe.take(READY.len() as u64).read_to_end(&mut words).map_err(|error| failed(&error))?;
    }
    if words == READY {
        let text = format!("mounted on {0}; {PROGRAM} mount --unmount {0} ends it", quoted(directory));
        say(PROGRAM, "note", &text);
        return Ok(());
    }
    let status = process.wait().map_err(|error| failed(&error))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    // Ended by a signal before there was a mount: not done, whatever its status.
    Err(Failure::silent(u8::try_from(code).unwrap_or(1).max(1)))
}

/// Reports that the mount is there, and leaves the terminal: a session of its own, no open descriptor of the first
/// process. Messages go on where standard error is a file, and are lost elsewhere: who reads a pipe waits for its end.
///
/// # Errors
/// What the kernel reports.
pub(super) fn leave_terminal() -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(READY)?;
    out.flush()?;
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    // It fails only for the leader of a group, which the second process is not.
    rustix::process::setsid()?;
    dup2_stdin(nothing.as_fd())?;
    dup2_stdout(nothing.as_fd())?;
    let is_file = rustix::fs::fstat(io::stderr()).is_ok_and(|status| {
        rustix::fs::FileType::from_raw_mode(status.st_mode) == rustix::fs::FileType::RegularFile
    });
    if !is_file {
        dup2_stderr(nothing.as_fd())?;
    }
    Ok(())
}
