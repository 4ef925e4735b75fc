//! A plugin as a process: limits of time and bytes, few variables, and an end for all that it started.
//!
//! A plugin leads a process group of its own, which is killed with it. A recipients' plugin may not leave anything
//! behind that learned a file key: this process becomes the reaper of its descendants (prctl(2),
//! `PR_SET_CHILD_SUBREAPER`), so that those that left the group, by setsid(2) or a double fork, come back as children
//! and are killed too. What cannot be killed (another user's, or in the kernel's hands) is not waited for: its pipes
//! are closed. An identities' plugin may start a daemon that is meant to stay, such as an agent that keeps a PIN: on
//! the analyst's machine only the group ends.

use super::super::Error;
use super::super::header::StanzaReader;
use super::{Answer, Kind};
use age_core::format::Stanza;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, child_subreaper, getpid, kill_process, kill_process_group,
    set_child_subreaper, waitid,
};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Time that a plugin has to end by itself after its last word, and then what was killed to be gone.
const GOODBYE: Duration = Duration::from_secs(1);
/// Pause between two checks of a process that ends.
const PAUSE: Duration = Duration::from_millis(5);
/// Variables that a plugin gets, and `LC_*`; no other, as ours may hold credentials.
const VARIABLES: [&str; 6] = ["PATH", "HOME", "LANG", "TMPDIR", "TZ", "XDG_RUNTIME_DIR"];
/// Variables that an identities' plugin gets too: what it may ask a person through.
const FOR_IDENTITIES: [&str; 9] = [
    "USER",
    "LOGNAME",
    "TERM",
    "XDG_CONFIG_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "GPG_TTY",
];

/// The environment of a plugin.
fn variables(kind: Kind) -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os().filter(move |(name, _)| name.to_str().is_some_and(|name| is_passed_on(kind, name)))
}

fn is_passed_on(kind: Kind, name: &str) -> bool {
    VARIABLES.contains(&name)
        || name.starts_with("LC_")
        || (kind == Kind::Identity && FOR_IDENTITIES.contains(&name))
}

/// Whether an identities' plugin gets a variable of this name.
pub(crate) fn is_for_identity_plugins(name: &str) -> bool {
    is_passed_on(Kind::Identity, name)
}

/// The plugins that run, for a signal that ends the program: it knows no owner.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills the groups of all plugins, for a program that ends now.
pub(crate) fn kill_running() {
    for &plugin in running().iter() {
        // The program ends; nobody is left to hear of a failure.
        let _ = kill_process_group(plugin, Signal::KILL);
    }
}

/// A plugin that runs, the leader of a process group of its own. Ends with all of the group when dropped.
pub(super) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    /// Until when to wait; later by what the user took to answer.
    clock: Rc<Cell<Instant>>,
    /// Dropped after the group was killed.
    _reaper: Option<Reaper>,
}

impl Running {
    /// Starts a plugin for a protocol.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(path: &Path, kind: Kind, limit: Duration) -> io::Result<Running> {
        let reaper = (kind == Kind::Recipient).then(Reaper::new);
        let protocol = match kind {
            Kind::Recipient => "--age-plugin=recipient-v1",
            Kind::Identity => "--age-plugin=identity-v1",
        };
        let mut child = Command::new(path)
            .arg(protocol)
            .env_clear()
            .envs(variables(kind))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        running().push(Pid::from_child(&child));
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let clock = Rc::new(Cell::new(Instant::now() + limit));
        let running = Running { child, input, output, clock, _reaper: reaper };
        if let Some(input) = &running.input {
            fcntl_setfl(input, fcntl_getfl(input)? | OFlags::NONBLOCK)?;
        }
        Ok(running)
    }

    /// Sends the request and has `answer` reply to what the plugin sends, until it is done.
    ///
    /// # Errors
    /// [`Error::Io`] of kind `TimedOut` after the limit, and those of [`StanzaReader`].
    pub(super) fn talk(
        &mut self,
        request: &[u8],
        answer: &mut dyn FnMut(Stanza) -> Answer,
    ) -> Result<(), Error> {
        let (Some(input), Some(output)) = (self.input.take(), self.output.take()) else {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        };
        let mut input = Timed { inner: input, clock: Rc::clone(&self.clock) };
        let mut output = BufReader::new(Timed { inner: output, clock: Rc::clone(&self.clock) });
        send(&mut input, request)?;
        let mut stanzas = StanzaReader::new(&mut output);
        loop {
            let stanza = stanzas.read()?;
            if stanza.tag == "done" {
                return Ok(());
            }
            let asked = Instant::now();
            let reply = answer(stanza);
            if reply.by_user {
                self.clock.set(self.clock.get() + asked.elapsed());
            }
            send(&mut input, &reply.text)?;
        }
    }

    /// Waits until the plugin has ended, or until a time. It stays a zombie, so that its number is no other process's.
    fn wait_until(&self, until: Instant) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let child = Pid::from_child(&self.child);
        while matches!(waitid(WaitId::Pid(child), options), Ok(None)) && Instant::now() < until {
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Running {
    /// Lets a plugin end that has finished, then kills what is left of its group.
    fn drop(&mut self) {
        self.wait_until(self.clock.get().min(Instant::now() + GOODBYE));
        // No group is left where all of it has ended.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        running().retain(|&plugin| plugin != Pid::from_child(&self.child));
        // Not for ever: one that the kernel does not let go of stays.
        self.wait_until(Instant::now() + GOODBYE);
        let _ = self.child.try_wait();
    }
}

/// Makes this process the parent of what plugins leave behind, and kills it when dropped. One at a time, as a child that
/// was not there before is taken for a plugin's: neither program starts another one meanwhile.
struct Reaper {
    before: BTreeSet<i32>,
    was_one: bool,
    _alone: MutexGuard<'static, ()>,
}

impl Reaper {
    fn new() -> Reaper {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let was_one = matches!(child_subreaper(), Ok(Some(_)));
        // A kernel that refuses leaves the process group.
        let _ = set_child_subreaper(Some(getpid()));
        Reaper { before: children(), was_one, _alone: alone }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        let until = Instant::now() + GOODBYE;
        loop {
            // The children of one that was killed come next, so it takes a round for each generation.
            let left: Vec<Pid> =
                children().difference(&self.before).filter_map(|&id| Pid::from_raw(id)).collect();
            for &child in &left {
                let _ = kill_process(child, Signal::KILL);
                let _ = waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            }
            if left.is_empty() || Instant::now() >= until {
                break;
            }
            thread::sleep(PAUSE);
        }
        if !self.was_one {
            let _ = set_child_subreaper(None);
        }
    }
}

/// Numbers of this process's children, zombies too; none without `/proc`. Source: Linux
/// `Documentation/filesystems/proc.rst`, the fourth field of `stat`.
fn children() -> BTreeSet<i32> {
    let own = getpid().as_raw_nonzero().get();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|&id| parent(id) == Some(own)).collect()
}

fn parent(id: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{id}/stat")).ok()?;
    // A program's name may hold anything, parentheses too.
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Sends bytes to a plugin. One that reads no more may have answered in full: what it sent decides.
fn send(input: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    match input.write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// One end of a pipe, with the time until which to wait for it.
struct Timed<T> {
    inner: T,
    clock: Rc<Cell<Instant>>,
}

impl<T: AsFd> Timed<T> {
    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        loop {
            let left = self.clock.get().saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let fd: BorrowedFd<'_> = self.inner.as_fd();
            match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<T: AsFd + Read> Read for Timed<T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.wait(PollFlags::IN)?;
        self.inner.read(out)
    }
}

impl<T: AsFd + Write> Write for Timed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(PollFlags::OUT)?;
        match self.inner.write(bytes) {
            // The pipe has less room than poll promises for all of it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
                Err(io::ErrorKind::Interrupted.into())
            }
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
