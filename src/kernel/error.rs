//! Why the kernel's own description, or what it describes, cannot be read.

use crate::units::VirtAddr;
use std::error::Error as StdError;
use thiserror::Error;

/// What stops one look-up. The rest of the memory may still be readable.
#[derive(Debug, Error)]
pub enum Error {
    /// VMCOREINFO lacks what leads to the symbol table.
    #[error("VMCOREINFO has no usable {0}")]
    MissingKey(&'static str),
    /// The kernel has no symbol table, or it cannot be read.
    #[error("the kernel's symbol table is not usable: {0}")]
    NoSymbols(String),
    /// The kernel has no type information, or it cannot be read.
    #[error("the kernel's type information is not usable: {0}")]
    NoTypes(String),
    /// No symbol has this name.
    #[error("the kernel has no symbol {0}")]
    NoSymbol(String),
    /// No structure, union or enumeration has this name.
    #[error("the kernel has no type {0}")]
    NoType(String),
    /// A structure has no member of this name.
    #[error("the kernel has no member {0}")]
    NoMember(String),
    /// Memory that is needed cannot be read.
    #[error("reading {what} at {at}")]
    Read {
        /// What was to be read there.
        what: &'static str,
        /// Its kernel virtual address.
        at: VirtAddr,
        /// What failed.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A table or a structure holds what no kernel writes.
    #[error("absurd {what}: {value:#x}")]
    Absurd {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A structure is there and not known here, or contradicts itself; the text tells which.
    #[error("{0}")]
    Unknown(String),
    /// A list or tree runs into itself, or is longer than any kernel's.
    #[error("the {0} is broken: it runs into itself or has no end")]
    Endless(&'static str),
    /// What is read takes more time than that of any machine.
    #[error("the {0} is not read to its end: its time is used up, as that of a forged one")]
    Slow(&'static str),
}

impl Error {
    /// The error with all its causes, as one line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
