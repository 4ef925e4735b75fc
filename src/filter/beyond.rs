//! What this program leaves out of a dump beyond makedumpfile, at a level that asks for the kind of page.

/// What is left out beyond makedumpfile: by default all pages that nobody uses. The kernel does use page
/// structures, so they are kept by default here; the collector's command line leaves them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// With level bit 16: pages of memory blocks that were taken offline.
    pub offlined: bool,
    /// With level bit 16: free pages on the lists of CPUs.
    pub cpu_lists: bool,
    /// With level bit 8: user data that the kernel keeps compressed.
    pub compressed: bool,
    /// With level bits 4, 8 and 16 together: pages of page structures that describe only pages that are left out.
    pub structures: bool,
    /// How many bytes of memory there must be for the kernel's own types to be read: that costs the same on every machine.
    /// With less, lists of CPUs are proved by themselves alone, and compressed user data is not known.
    pub types_from: u64,
}

impl Beyond {
    /// [`Beyond::types_from`] of both programs: reading the types takes milliseconds, which with less memory is a noticeable
    /// share of all that a dump costs.
    pub const TYPES_FROM: u64 = 768 << 20;
    /// Nothing: the pages that makedumpfile leaves out, no others.
    pub const NOTHING: Beyond =
        Beyond { offlined: false, cpu_lists: false, compressed: false, structures: false, types_from: 0 };
}

impl Default for Beyond {
    fn default() -> Beyond {
        Beyond { offlined: true, cpu_lists: true, compressed: true, structures: false, types_from: 0 }
    }
}
