//! Signals while a dump is written. The capture kernel's service manager hangs up on its way to a reboot, and
//! progress monitors send what kills a program that does not expect it: neither may end a dump in silence. SIGPIPE
//! is an error of writing already, Rust's start-up code ignores it.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether somebody asked the program to stop.
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on SIGHUP, SIGUSR1 and SIGUSR2 do nothing, and the first SIGTERM or SIGINT only asks; the
    /// second one ends the program.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn install() -> io::Result<Stop> {
        let nobody_asks = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGUSR1, SIGUSR2] {
            flag::register(signal, Arc::clone(&nobody_asks))?;
        }
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_default(signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Stop(asked))
    }
}

/// A writer that fails once the program was asked to stop.
pub struct Stoppable<'a, W> {
    /// Where it writes.
    pub inner: &'a mut W,
    /// Who may ask.
    pub stop: &'a Stop,
}

impl<W: Write> Write for Stoppable<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stop.0.load(Ordering::Relaxed) {
            true => Err(io::Error::other("stopped by a signal")),
            false => self.inner.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
