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

use crate::units::VirtAddr;
use std::io::Write;

pub use crate::mm::KernelRead;
#[cfg(feature = "analyst")]
pub use crash::{CrashFacts, CrashScan, signature};
pub use error::Error;
#[cfg(feature = "analyst")]
pub(crate) use line::write as write_line;
#[cfg(feature = "analyst")]
pub(crate) use text::{LineSplitter, without_prefix};

/// Which messages to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Everything the log still holds.
    #[default]
    Oldest,
    /// Only what came after the last `dmesg --clear`; everything when the kernel does not tell where that is.
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
    /// Where its text is, of a message in the kernel's memory.
    pub at: Option<VirtAddr>,
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
    read(kernel, start, &mut |message: &Message<'_>| line::write(message, out).map_err(Error::Write))
}

/// Calls `take` with the text of each message, and where that is in the kernel's memory.
///
/// # Errors
///
/// As [`dmesg`].
#[cfg(feature = "analyst")]
pub(crate) fn each_text(
    kernel: &dyn KernelRead,
    take: &mut dyn FnMut(VirtAddr, &[u8]),
) -> Result<Stats, Error> {
    let mut take = |message: &Message<'_>| {
        if let Some(at) = message.at {
            take(at, message.text);
        }
        Ok(())
    };
    read(kernel, Start::Oldest, &mut take)
}

/// Where the kernel keeps the texts of all messages, with what it keeps between them: address and bytes.
///
/// # Errors
///
/// As [`dmesg`].
#[cfg(feature = "analyst")]
pub(crate) fn text_area(kernel: &dyn KernelRead) -> Result<(VirtAddr, u64), Error> {
    if kernel.info().symbol("prb").is_some() { ring::area(kernel) } else { records::area(kernel) }
}

fn read(kernel: &dyn KernelRead, start: Start, sink: Sink<'_>) -> Result<Stats, Error> {
    if kernel.info().symbol("prb").is_some() {
        ring::read(kernel, start, sink)
    } else if kernel.info().symbol("log_buf").is_some() {
        records::read(kernel, start, sink)
    } else {
        Err(Error::NoLog)
    }
}

/// Takes one message; an error ends the reading.
type Sink<'a> = &'a mut dyn FnMut(&Message<'_>) -> Result<(), Error>;
