//! Signals while a dump is written. The capture kernel's service manager hangs up on its way to a reboot, and
//! progress monitors send what kills a program that does not expect it: neither may end a dump in silence. SIGPIPE
//! is an error of writing already, Rust's start-up code ignores it.

#[cfg(feature = "analyst")]
use super::Failure;
#[cfg(feature = "analyst")]
use crate::sink;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
#[cfg(feature = "analyst")]
use signal_hook::low_level::{emulate_default_handler, pipe};
#[cfg(feature = "analyst")]
use std::io::Read;
use std::io::{self, Write};
#[cfg(feature = "analyst")]
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether somebody asked the program to stop.
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on SIGHUP, SIGUSR1 and SIGUSR2 do nothing, and the first SIGTERM or SIGINT only asks; the
    /// second one ends the program.
    ///
    /// # Errors
    /// As the kernel says.
    pub(super) fn install() -> io::Result<Stop> {
        let nobody_asks = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGUSR1, SIGUSR2] {
            flag::register(signal, Arc::clone(&nobody_asks))?;
        }
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT].into_iter().filter(|&signal| !is_ignored(signal)) {
            flag::register_conditional_default(signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Stop(asked))
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP remove what is not finished before they end the program. Programs that it
/// starts know nothing of this.
///
/// # Errors
/// The signals cannot be had.
#[cfg(feature = "analyst")]
pub(super) fn remove_unfinished_on_signals() -> Result<(), Failure> {
    let install = |signal| {
        let (mut asked, asks) = UnixStream::pair()?;
        pipe::register(signal, asks)?;
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if asked.read_exact(&mut [0]).is_ok() {
                sink::remove_unfinished();
                // It ends the program.
                let _ = emulate_default_handler(signal);
            }
        })
    };
    for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal)) {
        install(signal).map_err(|error| Failure::caused("preparing for signals", &error))?;
    }
    Ok(())
}

/// Whether whoever started the program has it ignore a signal, as nohup does and a shell for what it runs in the
/// background: that stays so. Source: Linux `Documentation/filesystems/proc.rst`, `SigIgn`, bit 0 for signal 1.
pub(super) fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// A writer that fails once the program was asked to stop.
pub(super) struct Stoppable<'a, W> {
    /// Where it writes.
    pub inner: &'a mut W,
    /// Who may ask.
    pub stop: &'a Stop,
}

impl<W: Write> Write for Stoppable<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.0.load(Ordering::Relaxed) {
            Err(io::Error::other("stopped by a signal"))
        } else {
            self.inner.write(bytes)
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
