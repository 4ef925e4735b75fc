//! What can go wrong with a vmcore: with the file as a whole, with parts of its head that it can do without, and
//! with one read of its memory.

use crate::units::PhysAddr;
use std::io;
use thiserror::Error;

/// Why a vmcore cannot be opened.
#[derive(Debug, Error)]
pub enum Error {
    /// The file itself cannot be opened.
    #[error(transparent)]
    Open(io::Error),
    /// A pipe or a socket: only what can be read at any position can be a vmcore.
    #[error("a {0} has no positions to read at")]
    NotSeekable(&'static str),
    /// A read of the headers or notes failed.
    #[error("reading {what} at offset {offset:#x}")]
    Read {
        /// The part of the file.
        what: &'static str,
        /// Where it starts, in bytes from the file's start.
        offset: u64,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// The file ends before its headers or notes do.
    #[error("truncated: {what} at offset {offset:#x} reaches past the end of the file")]
    Truncated {
        /// The part of the file.
        what: &'static str,
        /// Where it starts, in bytes from the file's start.
        offset: u64,
    },
    /// There is no byte.
    #[error("it is empty")]
    Empty,
    /// The first bytes are not ELF's.
    #[error("not an ELF file")]
    NotElf,
    /// `EI_CLASS` is not `ELFCLASS64`.
    #[error("a 32-bit ELF file, only 64-bit vmcores are supported")]
    Not64Bit,
    /// `e_type` is not `ET_CORE`.
    #[error("an ELF file of type {0}, not a core (4)")]
    NotCore(u16),
    /// A header field makes no sense.
    #[error("bad ELF header: {0}")]
    BadHeader(&'static str),
    /// A core of sections in place of segments, as Xen's tools write of a guest.
    #[error("an ELF core without program headers, as Xen makes of its guests, is not supported")]
    XenGuest,
    /// The notes are scattered over more places than any machine's.
    #[error("notes of {0} bytes are scattered over more places than any machine's")]
    NotesTooLarge(u64),
}

/// What of a vmcore is not as it should be, without being a reason to give up the rest.
#[derive(Debug, Error)]
pub enum Flaw {
    /// The notes cannot be read; so there is no VMCOREINFO either.
    #[error("its notes cannot be used")]
    Notes(#[source] Error),
    /// VMCOREINFO outgrew the kernel's buffer.
    #[error("its VMCOREINFO is cut: keys at its end are missing")]
    Vmcoreinfo,
    /// Segments at physical addresses that the architecture does not have. They are left out.
    #[error("{count} segments are where no machine has memory and are left out, the first at {first}")]
    Segments {
        /// How many.
        count: u64,
        /// Physical address of the first one.
        first: PhysAddr,
    },
    /// Segments claim far more memory than the file has data for. Only what has data is believed.
    #[error("{pages:#x} pages without data are more than any machine has and are left out")]
    WithoutData {
        /// Pages that no byte of the file backs.
        pages: u64,
    },
    /// A dump lacks pages that it lists.
    #[error("it is incomplete: {pages} pages that it lists are missing")]
    Lost {
        /// How many.
        pages: u64,
    },
    /// A flattened stream without its end record.
    #[error("it is cut: the flattened stream has no end record")]
    NoEnd,
    /// The collector marked the dump as incomplete, though all pages that it lists are there.
    #[error("its collector marked it as incomplete")]
    MarkedIncomplete,
    /// The file holds more than the dump: another one that was appended, say. Zeros do not count.
    #[error("bytes from {at:#x} on are no part of the dump, and are not saved")]
    Foreign {
        /// Position of the first of them that is not zero; of a flattened stream the end of its records.
        at: u64,
    },
    /// A text that the header of a dump leads to.
    #[error("its {what} of {size} bytes at {offset:#x} is too long or outside of the file, and is left out")]
    Text {
        /// Which one.
        what: &'static str,
        /// Position in the file.
        offset: u64,
        /// Bytes.
        size: u64,
    },
    /// Records of a flattened stream describe the same bytes after the headers. The last one counts.
    #[error("bytes before {end:#x} are in more than one record, and only the last ones are saved")]
    Overwritten {
        /// Position in the plain file after the last of them.
        end: u64,
    },
    /// One of several files that one dump is in.
    #[error("in the file that was named as number {number}")]
    InFile {
        /// Counts from 1.
        number: usize,
        /// What it is.
        #[source]
        flaw: Box<Flaw>,
    },
    /// Segments reach past the end of the file.
    #[error("it is cut at {end:#x}, inside a segment of memory: {pages} pages are missing")]
    Cut {
        /// Length of the file in bytes.
        end: u64,
        /// Pages of which the segments promise data and the file has no byte.
        pages: u64,
    },
}

impl Flaw {
    /// Whether the input holds more than the dump in it, which is whole.
    #[must_use]
    pub fn is_surplus(&self) -> bool {
        match self {
            Flaw::Foreign { .. } | Flaw::Overwritten { .. } => true,
            Flaw::InFile { flaw, .. } => flaw.is_surplus(),
            _ => false,
        }
    }
}

/// Why memory at a physical address cannot be read.
#[derive(Debug, Error)]
#[error("reading physical address {paddr}")]
pub struct ReadError {
    /// The first byte that failed.
    pub paddr: PhysAddr,
    /// What is wrong there.
    #[source]
    pub cause: Cause,
}

/// The reason in a [`ReadError`].
#[derive(Debug, Error)]
pub enum Cause {
    /// No segment covers the address: a memory hole.
    #[error("no segment of the vmcore holds it")]
    Hole,
    /// A segment covers the address, but the file holds no data for it: memory size larger than file
    /// size, or a truncated file.
    #[error("the vmcore holds no data for it")]
    NoData,
    /// The read failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ReadError {
    pub(super) fn hole(paddr: PhysAddr) -> ReadError {
        ReadError { paddr, cause: Cause::Hole }
    }
}
