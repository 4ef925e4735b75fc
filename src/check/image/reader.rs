//! Has an image decoded by a process without privileges: this program once more, with the hidden sub-command
//! `read-image`, the image as its standard input, and nothing else open. That process may crash, hang or answer anything;
//! it costs an error here, and no more.

use crate::image::{MAX_ANSWER, Tree, WireError, read_answer};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::getuid;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// This program, also where it was replaced, or is in a directory that others cannot enter.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// The user and group "nobody".
const NOBODY: u32 = 65534;
/// Longer than its limit of CPU time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why nothing is known of an image.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It is a link, a device, a directory.
    #[error("it is not a regular file")]
    NotAFile,
    /// It cannot be opened.
    #[error("{0}")]
    Open(io::Error),
    /// The process cannot be started.
    #[error("starting a process without privileges: {0}")]
    Start(io::Error),
    /// The process ended without an answer.
    #[error("decoding it ended with {0}")]
    Ended(ExitStatus),
    /// The process did not answer in time, or too much.
    #[error("decoding it takes too long, or gives too much")]
    Stopped,
    /// The answer tells why not, or breaks its format.
    #[error("{0}")]
    Answer(#[from] WireError),
}

/// The files of the image at a path.
pub(super) fn read(path: &Path) -> Result<Tree, Error> {
    let child = start(&open_image(path)?).map_err(Error::Start)?;
    let (answer, status) = wait(child)?;
    if status.success() { Ok(read_answer(&answer)?) } else { Err(Error::Ended(status)) }
}

/// Opens a regular file, and neither waits for nor starts anything if it is something else.
fn open_image(path: &Path) -> Result<File, Error> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => return Err(Error::NotAFile),
        Err(error) => return Err(Error::Open(error.into())),
    };
    if file.metadata().map_err(Error::Open)?.is_file() { Ok(file) } else { Err(Error::NotAFile) }
}

fn start(image: &File) -> io::Result<Child> {
    let command = || -> io::Result<Command> {
        let mut command = Command::new(OWN_PROGRAM);
        command.arg0("vmcore-encrypt").arg("read-image").env_clear().current_dir("/");
        command.stdin(image.try_clone()?).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(command)
    };
    if !getuid().is_root() {
        return command()?.spawn();
    }
    // The standard library drops all other groups with them.
    match command()?.uid(NOBODY).gid(NOBODY).spawn() {
        // In a user namespace that has one user, whose root is an ordinary user of the machine.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput && !is_mapped(NOBODY) => command()?.spawn(),
        started => started,
    }
}

/// Whether a user exists in this user namespace. Source: Linux user_namespaces(7).
fn is_mapped(user: u32) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        matches!(numbers[..], [first, _, count] if user.checked_sub(first).is_some_and(|at| at < count))
    })
}

/// What the process writes, and how it ends. It is killed when it takes too long or writes too much.
fn wait(mut child: Child) -> Result<(Vec<u8>, ExitStatus), Error> {
    let out = child.stdout.take();
    let (sender, receiver) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut answer = Vec::new();
        let read = out.map_or(Ok(0), |out| out.take(MAX_ANSWER + 1).read_to_end(&mut answer));
        // Nobody waits any more where the time is over.
        let _ = sender.send(read.map(|_| answer));
    });
    let answer = receiver.recv_timeout(PATIENCE);
    let whole = matches!(&answer, Ok(Ok(answer)) if answer.len() as u64 <= MAX_ANSWER);
    if !whole {
        child.kill().map_err(Error::Start)?;
    }
    let status = child.wait().map_err(Error::Start)?;
    // Its other end of the pipe is closed now.
    let _ = reading.join();
    match answer {
        Ok(Ok(answer)) if whole => Ok((answer, status)),
        _ => Err(Error::Stopped),
    }
}
