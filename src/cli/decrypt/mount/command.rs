//! The command that runs while a dump is mounted, and the signals that reach the mount meanwhile. The command starts
//! with the signal mask, the ignored signals and the environment that this program was started with. What another
//! process sends to the mount is passed on; what the terminal sends reaches the command by itself.

use super::super::super::{Failure, Status, environment, signals};
use nix::errno::Errno;
use nix::libc::SI_KERNEL;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::mpsc::Sender;
use std::thread;

/// What ends a program by default and is not an error of its own.
const ENDING: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];
/// As shells and env(1) report a command that is not found, and one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;
/// What shells add to the number of the signal that ended a command.
const BY_SIGNAL: u8 = 128;

/// What ends the wait.
pub(super) enum Event {
    /// A signal to this program.
    Signal {
        /// Which.
        signal: Signal,
        /// Whether the terminal sent it, to all programs in its foreground.
        from_terminal: bool,
    },
    /// The command has ended.
    Ended(nix::Result<WaitStatus>),
}

/// The signals that this program takes as events, and the mask that it was started with.
pub(super) struct Signals {
    mask: SigSet,
}

impl Signals {
    /// From now on what would end this program comes as events. A signal that whoever started the program has it
    /// ignore stays ignored. Called before any thread starts that does not block them.
    ///
    /// # Errors
    /// What the kernel reports.
    pub(super) fn catch(events: Sender<Event>) -> nix::Result<Signals> {
        let caught: SigSet =
            ENDING.into_iter().filter(|&signal| !signals::is_ignored(signal as i32)).collect();
        let mask = SigSet::thread_get_mask()?;
        caught.thread_block()?;
        let source = SignalFd::new(&caught)?;
        thread::spawn(move || {
            loop {
                let Ok(Some(info)) = source.read_signal() else { continue };
                let number = i32::try_from(info.ssi_signo).unwrap_or(0);
                let Ok(signal) = Signal::try_from(number) else { continue };
                let event = Event::Signal { signal, from_terminal: info.ssi_code == SI_KERNEL };
                if events.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Signals { mask })
    }

    /// Starts a command; its end comes as an event.
    ///
    /// # Errors
    /// It is not found, or cannot be run; the exit statuses are those of a shell.
    pub(super) fn start(&self, words: &[OsString], events: Sender<Event>) -> Result<Pid, Failure> {
        let program = words.first().map_or(OsStr::new(""), OsString::as_os_str);
        let child = self.spawn(words).map_err(|error| {
            let code = if error == Errno::ENOENT { NOT_FOUND } else { NOT_RUN };
            Failure::caused(format!("running {program:?}"), &std::io::Error::from(error)).code(code)
        })?;
        // Whoever is gone when the command ends does not want to know.
        thread::spawn(move || drop(events.send(Event::Ended(wait(child)))));
        Ok(child)
    }

    fn spawn(&self, words: &[OsString]) -> nix::Result<Pid> {
        let mut attributes = PosixSpawnAttr::init()?;
        attributes
            .set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF)?;
        attributes.set_sigmask(&self.mask)?;
        // Rust's start-up code ignores it, and what is ignored stays so in a command.
        attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
        let words: Vec<CString> = words.iter().map(|word| c_string(word)).collect::<nix::Result<_>>()?;
        let program = words.first().ok_or(Errno::ENOENT)?;
        posix_spawnp(program, &PosixSpawnFileActions::init()?, &attributes, &words, &user_environment()?)
    }
}

/// The user's own command has the user's own environment.
fn user_environment() -> nix::Result<Vec<CString>> {
    let kept = std::env::vars_os().filter(|(name, _)| name != environment::MARK);
    let all = kept.chain(environment::left_out());
    all.map(|(name, value)| c_string(&OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat())))
        .collect()
}

fn c_string(word: &OsStr) -> nix::Result<CString> {
    CString::new(word.as_bytes()).map_err(|_| Errno::EINVAL)
}

fn wait(child: Pid) -> nix::Result<WaitStatus> {
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            status => return status,
        }
    }
}

/// The end of the command as the end of this program, without a word of ours.
pub(super) fn conclude(status: nix::Result<WaitStatus>) -> Result<(), Failure> {
    match status {
        Ok(WaitStatus::Exited(_, 0)) => Ok(()),
        Ok(WaitStatus::Exited(_, code)) => Err(Failure::silent(u8::try_from(code).unwrap_or(1))),
        Ok(WaitStatus::Signaled(_, signal, _)) => {
            Err(Failure::silent(u8::try_from(signal as i32).map_or(1, |number| BY_SIGNAL | number)))
        }
        Ok(status) => Err(Failure::new(Status::Failure, format!("running the command: {status:?}"))),
        Err(error) => Err(Failure::caused("waiting for the command", &std::io::Error::from(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_s_end_is_the_end_of_the_mount() {
        let code = |status| {
            conclude(Ok(status)).map_err(|failure| (failure.exit_code(), failure.message().to_owned()))
        };
        let pid = Pid::from_raw(1);
        assert_eq!(code(WaitStatus::Exited(pid, 0)), Ok(()));
        assert_eq!(code(WaitStatus::Exited(pid, 7)), Err((7, String::new())));
        assert_eq!(code(WaitStatus::Signaled(pid, Signal::SIGINT, false)), Err((130, String::new())));
    }
}
