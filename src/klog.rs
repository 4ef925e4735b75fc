//! The crashed kernel's log, read from its memory with nothing but VMCOREINFO to go by: the lockless ring
//! (`ring`) or the record buffer before it (`records`), printed line by line (`line`). The text goes to
//! whoever called; what may be shown in plain is not decided here.
//!
//! Everything read comes from a machine that broke, so no length is believed before it is checked, no
//! loop runs longer than the log can hold, and damage costs the messages it hit, not the others.

#[cfg(feature = "analyst")]
mod crash;
mod error;
mod fields;
mod line;
mod records;
mod ring;
#[cfg(feature = "analyst")]
mod text;

use std::io::Write;

#[cfg(feature = "analyst")]
pub use crash::{CrashFacts, CrashScan, signature};
pub use error::Error;
#[cfg(feature = "analyst")]
pub(crate) use line::write as write_line;
#[cfg(feature = "analyst")]
pub(crate) use text::{LineSplitter, without_prefix};

pub use crate::mm::KernelRead;

/// Which messages to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Everything the log still holds.
    #[default]
    Oldest,
    /// Only what came after the last `dmesg --clear`; everything when the kernel does not say.
    LastClear,
}

/// What became of the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages printed.
    pub printed: u64,
    /// Messages that the kernel was still writing, or had no room for.
    pub unfinished: u64,
    /// Messages that could not be read or contradict themselves.
    pub damaged: u64,
}

/// One message of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Time since boot in nanoseconds.
    pub nanos: u64,
    /// Task id, or CPU number with bit 31 set; `None` when the kernel does not record it.
    pub caller: Option<u32>,
    /// The text without the newline at its end, in the bytes it was logged with.
    pub text: &'a [u8],
}

/// Prints the whole log to `out`, one message a line as `dmesg` shows them (see `line`).
///
/// # Errors
///
/// VMCOREINFO names no log or lacks a key of its layout, the ring's own description cannot be read or
/// cannot be true, or writing fails. Damaged messages are no error: they are counted.
pub fn dmesg(kernel: &dyn KernelRead, out: &mut dyn Write) -> Result<Stats, Error> {
    dmesg_from(kernel, Start::Oldest, out)
}

/// Prints the log to `out` from `start` on.
///
/// # Errors
///
/// As [`dmesg`].
pub fn dmesg_from(kernel: &dyn KernelRead, start: Start, out: &mut dyn Write) -> Result<Stats, Error> {
    let mut print = |message: &Message<'_>| line::write(message, out).map_err(Error::Write);
    if kernel.info().symbol("prb").is_some() {
        ring::read(kernel, start, &mut print)
    } else if kernel.info().symbol("log_buf").is_some() {
        records::read(kernel, start, &mut print)
    } else {
        Err(Error::NoLog)
    }
}

/// Takes one message; an error ends the reading.
type Sink<'a> = &'a mut dyn FnMut(&Message<'_>) -> Result<(), Error>;
