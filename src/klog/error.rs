//! Why the kernel log cannot be read.

use crate::units::VirtAddr;
use std::error::Error as StdError;
use std::io;
use thiserror::Error;

/// An error that leaves no log to read, or nowhere to write it.
#[derive(Debug, Error)]
pub enum Error {
    /// VMCOREINFO has neither the ring nor the record buffer.
    #[error("VMCOREINFO names no kernel log (neither SYMBOL(prb) nor SYMBOL(log_buf))")]
    NoLog,
    /// A key of the log's layout is missing.
    #[error("VMCOREINFO has no usable {0}")]
    MissingKey(String),
    /// The memory that describes the log cannot be read.
    #[error("reading {what} of the kernel log at {at}")]
    Read {
        /// What was to be read there.
        what: &'static str,
        /// Its kernel virtual address.
        at: VirtAddr,
        /// What failed.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The memory that describes the log holds what no kernel writes.
    #[error("the kernel log has an absurd {what}: {value:#x}")]
    Absurd {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// The reader of the log took no more.
    #[error("writing the kernel log")]
    Write(#[source] io::Error),
}
