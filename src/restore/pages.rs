//! What a restore remembers of the pages it wrote: for every run of pfns, which block holds it and how
//! large each page is stored. Five bytes a page, so a dump of any size fits an analyst's machine.

use super::Error;
use crate::blocks::{BlockMap, PageRun, RunKind};
use crate::kdump::{DescFlags, PageDesc};
use crate::units::Pfn;

/// Pages of one block as they are in the output: one after the other from `offset`.
struct Block {
    offset: u64,
    stored: Box<[Stored]>,
}

/// Size and flags of a stored page: a page has at most 64 KiB, so 17 bits hold the size.
#[derive(Clone, Copy)]
struct Stored(u32);

impl Stored {
    fn new(size: u32, flags: DescFlags) -> Stored {
        Stored(size | flags.0 << 24)
    }

    fn size(self) -> u32 {
        self.0 & 0xff_ffff
    }

    fn flags(self) -> DescFlags {
        DescFlags(self.0 >> 24)
    }
}

/// A run of pfns and where its pages are described.
#[derive(Clone, Copy)]
struct Run {
    run: PageRun,
    block: usize,
    /// Which of the block's stored pages is the run's first.
    first: usize,
}

/// All pages written so far.
#[derive(Default)]
pub(super) struct PageTable {
    blocks: Vec<Block>,
    runs: Vec<Run>,
}

impl PageTable {
    /// Adds a block whose data pages are at `offset` of the output with these sizes and flags.
    pub(super) fn push(&mut self, map: &BlockMap, offset: u64, stored: &[(u32, DescFlags)]) {
        let mut first = 0;
        for &run in &map.runs {
            self.runs.push(Run { run, block: self.blocks.len(), first });
            if run.kind == RunKind::Data {
                first += usize::try_from(run.pages.count()).unwrap_or(0);
            }
        }
        let stored = stored.iter().map(|&(size, flags)| Stored::new(size, flags)).collect();
        self.blocks.push(Block { offset, stored });
    }

    /// Puts the runs in pfn order.
    ///
    /// # Errors
    /// When two blocks claim the same page.
    pub(super) fn sort(&mut self) -> Result<(), Error> {
        self.runs.sort_by_key(|run| run.run.pages.start);
        match self.runs.array_windows().find(|[a, b]| a.run.pages.end > b.run.pages.start) {
            Some([_, b]) => Err(Error::malformed(&format!("{} comes in two blocks", b.run.pages.start))),
            None => Ok(()),
        }
    }

    /// The runs, in pfn order after [`PageTable::sort`].
    pub(super) fn runs(&self) -> impl Iterator<Item = PageRun> + '_ {
        self.runs.iter().map(|run| run.run)
    }

    /// Every page with its descriptor, in pfn order after [`PageTable::sort`]; zero pages get `zero`.
    pub(super) fn descriptors(&self, zero: PageDesc) -> impl Iterator<Item = (Pfn, PageDesc)> + '_ {
        self.runs.iter().flat_map(move |run| {
            let block = &self.blocks[run.block];
            let before = block.stored.get(..run.first).unwrap_or_default();
            let mut offset = block.offset + before.iter().map(|page| u64::from(page.size())).sum::<u64>();
            let pfns = run.run.pages.start.0..run.run.pages.end.0;
            pfns.zip(run.first..).map(move |(pfn, at)| {
                let desc = match (run.run.kind, block.stored.get(at)) {
                    (RunKind::Data, Some(page)) => {
                        let desc = PageDesc { offset, size: page.size(), flags: page.flags() };
                        offset += u64::from(desc.size);
                        desc
                    }
                    _ => zero,
                };
                (Pfn(pfn), desc)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(runs: &[(u64, u64, RunKind)]) -> BlockMap {
        let mut map = BlockMap::default();
        for &(start, end, kind) in runs {
            (start..end).for_each(|pfn| map.push(Pfn(pfn), kind));
        }
        map
    }

    #[test]
    fn descriptors_come_in_pfn_order_whatever_the_order_of_blocks() {
        let mut table = PageTable::default();
        let zstd = DescFlags::ZSTD;
        table.push(
            &map(&[(10, 11, RunKind::Data), (20, 21, RunKind::Zero), (21, 22, RunKind::Data)]),
            1000,
            &[(50, zstd), (60, zstd)],
        );
        table.push(&map(&[(3, 4, RunKind::Data)]), 5000, &[(4096, DescFlags::RAW)]);
        table.sort().unwrap();
        let zero = PageDesc { offset: 7, size: 9, flags: zstd };
        let found: Vec<_> =
            table.descriptors(zero).map(|(pfn, desc)| (pfn.0, desc.offset, desc.size)).collect();
        assert_eq!(found, [(3, 5000, 4096), (10, 1000, 50), (20, 7, 9), (21, 1050, 60)]);
    }

    #[test]
    fn a_page_in_two_blocks_is_refused() {
        let mut table = PageTable::default();
        table.push(&map(&[(3, 9, RunKind::Zero)]), 0, &[]);
        table.push(&map(&[(8, 10, RunKind::Zero)]), 0, &[]);
        assert!(table.sort().is_err());
    }
}
