//! What a vmcore is made of when its memory is not in an ELF core: pages in a KDUMP file or an encrypted dump, read by
//! their physical address.

use super::elf::Segment;
use super::source::PhysSource;
use crate::arch::Machine;
use crate::units::{ByteOrder, PageSize, PfnSet};

/// Memory by the page.
pub struct Pages {
    /// Byte order of the crashed machine.
    pub byte_order: ByteOrder,
    /// Architecture of the crashed machine.
    pub machine: Machine,
    /// Page size of the crashed kernel.
    pub page_size: PageSize,
    /// The memory ranges as the crashed machine's vmcore listed them, where that is known; else one for each run of
    /// present pages, without virtual addresses.
    pub segments: Vec<Segment>,
    /// The bytes of all notes.
    pub notes: Box<dyn PhysSource>,
    /// Pages that exist.
    pub present: PfnSet,
    /// Pages that can be read; present ones.
    pub held: PfnSet,
    /// Present pages that should be there and are not: the dump is cut or damaged.
    pub lost: PfnSet,
    /// Reads memory: positions are physical addresses, and each read stays within one page.
    pub source: Box<dyn PhysSource>,
    /// What the dump's collector recorded.
    pub origin: Origin,
}

/// What the collector of a dump recorded, for a dump that is made of it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// What the dump is, for people: `a kdump-compressed file`.
    pub kind: &'static str,
    /// Its dump level: which kinds of pages it leaves out, makedumpfile's bit mask of at most 31.
    pub level: u8,
    /// The six names of `uname`, 65 bytes each; empty when unknown.
    pub uts: Vec<u8>,
    /// Seconds since 1970 when the kernel crashed; 0 when unknown.
    pub crash_time: i64,
    /// Number of CPUs; 0 when unknown.
    pub cpus: u32,
    /// `phys_base` of x86-64, start of RAM of arm64, else 0.
    pub phys_base: u64,
    /// Which ranges makedumpfile or a redaction erased, in its own text form; empty as a rule.
    pub eraseinfo: Vec<u8>,
    /// Pages that the dump should hold and lacks, where it is not known which; present ones that are not held.
    pub lost: u64,
    /// Whether the dump is all that its collector was to save.
    pub complete: bool,
    /// Whether the kernel was running while its memory was saved.
    pub live: bool,
}
