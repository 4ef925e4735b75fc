//! Pages of page structures that describe only pages that are left out: with those gone nobody needs them. On a machine
//! with much memory they are most of what level 31 keeps. Taken are pages of the virtual memory map alone, which hold
//! structures and nothing else. One such page may be mapped at several places (the kernel shares those of a huge page's
//! tails): it stays if any of the places describes a page that is kept. It stays as well if it holds the first structure
//! of a free block: the lists of free blocks lead from one of them to the next. The structures of structure pages that go
//! stay themselves: it is one pass. What is not known, stays.
//!
//! Source: Linux `mm/sparse-vmemmap.c`, `include/linux/mmzone.h` (`struct free_area`); `mm/hugetlb_vmemmap.c` since
//! commit f41f2ed43ca5 ("mm: hugetlb: free the vmemmap pages associated with each HugeTLB page") (in v5.14).

use super::judge::Judge;
use crate::mm;
use crate::units::{Pfn, PfnRange, PfnSet, VirtAddr};

/// The most pages of structures that are recorded, a bit for each: 2 MiB, for 4 TiB of memory in pages of 4 KiB. Those after
/// them stay.
const MAX_FRAMES: u64 = 1 << 24;

/// Which pages of structures are left out.
pub(super) struct Structures {
    /// The pages of the virtual memory map, and how many of them are before each range.
    frames: PfnSet,
    before: Vec<u64>,
    /// By their order, a bit for each that stays.
    stays: Vec<u64>,
    /// The page of the virtual memory map that was kept last: neighbours share it.
    last: Option<u64>,
}

impl Structures {
    /// Begins with all pages that hold nothing but structures of the virtual memory map, without those in `image`, the
    /// kernel image; with no page where the kernel has no such map.
    pub(super) fn new(judge: &Judge<'_>, image: &[PfnRange]) -> Structures {
        let frames = mm::vmemmap_frames(&judge.memory, &judge.mem_map, &judge.layout);
        Structures::of(frames.without(&image.iter().copied().collect()))
    }

    /// All of `frames`, as long as no page that they describe is kept.
    fn of(frames: PfnSet) -> Structures {
        let mut count = 0;
        let mut before = Vec::with_capacity(frames.ranges().len());
        for range in &frames {
            before.push(count);
            count += range.count();
        }
        let words = usize::try_from(count.min(MAX_FRAMES).div_ceil(64)).unwrap_or(0);
        Structures { frames, before, stays: vec![0; words], last: None }
    }

    /// The number of a page among the frames.
    fn rank(&self, pfn: Pfn) -> Option<u64> {
        let at = self.frames.ranges().partition_point(|range| range.end <= pfn);
        let range = self.frames.ranges().get(at).filter(|range| range.contains(pfn))?;
        Some(self.before.get(at)? + pfn.0 - range.start.0)
    }

    fn place(rank: u64) -> (usize, u64) {
        (usize::try_from(rank / 64).unwrap_or(usize::MAX), 1 << (rank % 64))
    }

    /// Keeps a page, should it be one of the frames.
    fn keep(&mut self, pfn: Pfn) {
        let Some((word, bit)) = self.rank(pfn).map(Structures::place) else { return };
        if let Some(word) = self.stays.get_mut(word) {
            *word |= bit;
        }
    }

    /// Keeps the structures of a run of pages that are kept.
    pub(super) fn keep_run(&mut self, judge: &Judge<'_>, run: PfnRange) {
        let page = judge.memory.vmcore().page_size();
        let mut at = run.start;
        while at < run.end {
            let part = judge.mem_map.section_of(at).intersect(PfnRange { start: at, end: run.end });
            if let Ok(Some(first)) = judge.mem_map.struct_page(&judge.memory, part.start) {
                let len = part.count().saturating_mul(judge.layout.size as u64);
                let (start, end) = (first.0 >> page.shift(), first.0.saturating_add(len - 1) >> page.shift());
                (start..=end).for_each(|number| self.keep_mapped(judge, number));
            }
            at = part.end;
        }
    }

    /// Keeps the frame of a page of the virtual memory map, given by its address in pages. A place that is not mapped has
    /// no frame.
    pub(super) fn keep_mapped(&mut self, judge: &Judge<'_>, number: u64) {
        if self.last.replace(number) == Some(number) {
            return;
        }
        let page = judge.memory.vmcore().page_size();
        if let Ok(frame) = judge.memory.translate(VirtAddr(number << page.shift())) {
            self.keep(page.pfn_of(frame));
        }
    }

    /// The parts of a run of pages that are left out, ascending.
    pub(super) fn left_out(&self, run: PfnRange) -> Vec<PfnRange> {
        let mut parts: Vec<PfnRange> = Vec::new();
        for pfn in self.frames.intersect(run).flat_map(PfnRange::iter) {
            let Some((word, bit)) = self.rank(pfn).map(Structures::place) else { continue };
            if self.stays.get(word).is_none_or(|word| word & bit != 0) {
                continue;
            }
            match parts.last_mut() {
                Some(last) if last.end == pfn => last.end.0 += 1,
                _ => parts.push(PfnRange::new(pfn.0, pfn.0 + 1)),
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(set: &Structures, run: PfnRange) -> Vec<(u64, u64)> {
        set.left_out(run).iter().map(|range| (range.start.0, range.end.0)).collect()
    }

    #[test]
    fn what_was_kept_stays_and_the_rest_goes() {
        let frames: PfnSet =
            vec![PfnRange::new(10, 90), PfnRange::new(200, 201), PfnRange::new(300, 400)].into();
        let mut set = Structures::of(frames);
        let all = PfnRange::new(0, 1000);
        assert_eq!(ranges(&set, all), [(10, 90), (200, 201), (300, 400)]);
        for pfn in (80..301).chain(5..11).chain(399..500) {
            set.keep(Pfn(pfn));
        }
        assert_eq!(ranges(&set, all), [(11, 80), (301, 399)]);
        assert_eq!(ranges(&set, PfnRange::new(79, 302)), [(79, 80), (301, 302)]);
        assert!(ranges(&set, PfnRange::new(400, 500)).is_empty());
    }

    #[test]
    fn more_frames_than_are_told_stay() {
        let frames: PfnSet = vec![PfnRange::new(0, 5), PfnRange::new(9, MAX_FRAMES + 100)].into();
        let set = Structures::of(frames);
        assert_eq!(set.stays.len() * 8, 2 << 20);
        let told = MAX_FRAMES + 4;
        assert_eq!(ranges(&set, PfnRange::new(told - 2, told + 2)), [(told - 2, told)]);
    }
}
