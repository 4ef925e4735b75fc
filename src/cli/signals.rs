//! Signals while an output is written. The capture kernel's service manager hangs up on its way to a reboot, and
//! progress monitors send what kills a program that does not expect it: neither may end a dump in silence. Every other
//! signal that ends a program by default ends ours in order: what is unfinished is removed, or kept where that was asked
//! for. SIGPIPE is an error of writing already, Rust's start-up code ignores it.

use super::Failure;
use crate::sink::{self, Left};
use rustix::process::Signal;
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::flag;
use signal_hook::low_level::{emulate_default_handler, pipe};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What ends a program by default and is sent to end it. Source: signal(7).
const ENDING: [i32; 10] = [
    SIGTERM,
    SIGINT,
    SIGQUIT,
    SIGALRM,
    SIGVTALRM,
    SIGPROF,
    SIGXCPU,
    SIGIO,
    Signal::POWER.as_raw(),
    Signal::STKFLT.as_raw(),
];
/// How long a dump may take to end in order. A write that hangs, a FIFO that nobody reads and a plugin that does not
/// answer would never end.
const GRACE: Duration = Duration::from_secs(2);

/// Whether somebody asked the program to stop.
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on SIGHUP, SIGUSR1 and SIGUSR2 do nothing. The first signal of those that end a program asks it to stop: it
    /// ends within two seconds, whatever it waits for. The second one ends it at once. Both remove what is unfinished.
    ///
    /// # Errors
    /// The signals cannot be had.
    pub(super) fn install() -> Result<Stop, Failure> {
        let asked = Arc::new(AtomicBool::new(false));
        Stop::register(&asked).map_err(|error| Failure::caused("preparing for signals", &error))?;
        Ok(Stop(asked))
    }

    /// Whether a signal asked for it.
    #[cfg(feature = "convert")]
    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn register(asked: &Arc<AtomicBool>) -> io::Result<()> {
        let nobody_asks = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGUSR1, SIGUSR2] {
            flag::register(signal, Arc::clone(&nobody_asks))?;
        }
        // Before the flags: a signal that comes between the two still ends the program.
        on_signals(&ENDING, GRACE)?;
        for &signal in ENDING.iter().filter(|&&signal| !is_ignored(signal)) {
            flag::register(signal, Arc::clone(asked))?;
        }
        Ok(())
    }
}

/// From now on a write beyond the limit on file sizes is an error, and not a signal that ends the program without a word.
/// Programs that it starts know nothing of this.
pub(super) fn report_file_limit() {
    // Without it the limit ends the program, as it does every other.
    let _ = flag::register(SIGXFSZ, Arc::default());
}

/// From now on signals that end a program remove what is not finished before they do. Once the output has its name the first
/// one does nothing: the work is done, and the exit status tells it. Programs that it starts know nothing of this.
///
/// # Errors
/// The signals cannot be had.
#[cfg(feature = "analyst")]
pub(super) fn remove_unfinished_on_signals() -> Result<(), Failure> {
    let signals = [&ENDING[..], &[SIGHUP, SIGUSR1, SIGUSR2]].concat();
    on_signals(&signals, Duration::ZERO).map_err(|error| Failure::caused("preparing for signals", &error))
}

/// Has a thread end the program after a signal, once `grace` is over or a second one has come. Signals that are ignored
/// stay so.
fn on_signals(signals: &[i32], grace: Duration) -> io::Result<()> {
    let (mut asked, asks) = UnixStream::pair()?;
    let last = Arc::new(AtomicUsize::new(0));
    for &signal in signals.iter().filter(|&&signal| !is_ignored(signal)) {
        // Actions run in this order: whoever reads the byte knows the signal.
        flag::register_usize(signal, Arc::clone(&last), usize::try_from(signal).unwrap_or_default())?;
        pipe::register(signal, asks.try_clone()?)?;
    }
    if last.load(Ordering::Relaxed) != 0 {
        // It came before its byte could be written.
        asks.try_clone()?.write_all(&[0])?;
    }
    let wait = move || {
        if asked.read_exact(&mut [0]).is_err() {
            return;
        }
        if !grace.is_zero() && asked.set_read_timeout(Some(grace)).is_ok() {
            // Over in either way: the time, or a second signal.
            let _ = asked.read_exact(&mut [0]);
        }
        if sink::remove_unfinished() == Left::Finished {
            // What is left to do may hang, as a disk that is gone: the second signal ends it.
            let _ = asked.set_read_timeout(None).and_then(|()| asked.read_exact(&mut [0]));
        }
        crate::crypt::kill_plugins();
        let signal = i32::try_from(last.load(Ordering::Relaxed)).unwrap_or(SIGTERM);
        // It ends the program. The crate does not know the default of every signal.
        let _ = emulate_default_handler(signal);
        let _ = emulate_default_handler(SIGTERM);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}

/// Whether whoever started the program has it ignore a signal, as nohup does and a shell for what it runs in the
/// background: that stays so. Source: Linux `Documentation/filesystems/proc.rst`, `SigIgn`, bit 0 for signal 1.
pub(super) fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// A writer that fails once the program was asked to stop, and before it takes more than it may.
pub(super) struct Stoppable<'a, W> {
    /// Where it writes.
    pub inner: &'a mut W,
    /// Who may ask.
    pub stop: &'a Stop,
    /// Bytes that it may still take.
    pub left: Option<u64>,
}

impl<W: Write> Write for Stoppable<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.0.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped by a signal"));
        }
        // A dump keeps within a limit by itself. Below what every dump has, it cannot.
        if self.left.is_some_and(|left| left < bytes.len() as u64) {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the limit is too small for any dump"));
        }
        let written = self.inner.write(bytes)?;
        self.left = self.left.map(|left| left - written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
