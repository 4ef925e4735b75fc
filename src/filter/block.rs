//! The structures of some neighbouring pages, read at once: 32 KiB of them as a rule.

use super::judge::Judge;
use crate::units::{Pfn, PfnRange, VirtAddr};

/// Pages whose structures are read at once. A head is only judged together with the page after it if
/// both are in one block, as makedumpfile does.
const BLOCK_PAGES: u64 = 512;

/// The structures of some pages.
#[derive(Clone, Default)]
pub(super) struct Block {
    pub range: PfnRange,
    /// Where the first one is; meaningless unless they were read.
    pub at: VirtAddr,
    pub bytes: Vec<u8>,
    pub state: BlockState,
}

/// What came of reading a block.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum BlockState {
    /// The structures are there.
    Read,
    /// They cannot be read.
    #[default]
    Unreadable,
    /// The section has none.
    NoStructPages,
}

impl Block {
    /// Reads the block that holds `pfn`, a page of `section`, unless it is the one at hand. A dump may lack structures of
    /// pages that it lacks: there those are read that share a page of memory with the structure of `pfn`.
    pub(super) fn load(&mut self, judge: &Judge<'_>, section: PfnRange, pfn: Pfn) {
        if self.range.contains(pfn) {
            return;
        }
        self.read(judge, section, pfn, BLOCK_PAGES);
        let vmcore = judge.memory.vmcore();
        let sharing = vmcore.page_size().bytes() / judge.layout.size as u64;
        let is_part = self.state == BlockState::Unreadable && vmcore.origin().is_some();
        if is_part && sharing.is_power_of_two() && sharing < BLOCK_PAGES {
            self.read(judge, section, pfn, sharing);
        }
    }

    /// Reads those of `pages` aligned pages.
    fn read(&mut self, judge: &Judge<'_>, section: PfnRange, pfn: Pfn, pages: u64) {
        let start = pfn.0 / pages * pages;
        self.range = PfnRange::new(start, start.saturating_add(pages)).intersect(section);
        self.bytes.resize(self.index(self.range.end) * judge.layout.size, 0);
        let at = judge.mem_map.struct_page(&judge.memory, self.range.start);
        self.at = at.as_ref().ok().copied().flatten().unwrap_or_default();
        self.state = match at.map(|at| at.map(|at| judge.memory.read(at, &mut self.bytes))) {
            Ok(Some(Ok(()))) => BlockState::Read,
            Ok(None) => BlockState::NoStructPages,
            Ok(Some(Err(_))) | Err(_) => BlockState::Unreadable,
        };
    }

    /// Position of a page's structure in the block, which must hold it.
    pub(super) fn index(&self, pfn: Pfn) -> usize {
        index(self.range, pfn)
    }
}

/// Position of a page in a list of one entry per page of `range`, which must hold it or end with it.
pub(super) fn index(range: PfnRange, pfn: Pfn) -> usize {
    usize::try_from(pfn.0 - range.start.0).unwrap_or(usize::MAX)
}
