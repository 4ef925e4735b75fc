//! The order in which pages are sent: the kernel image first, since a dump that is cut without it is
//! worth nothing, then everything by ascending pfn. Gathers kept pages into blocks.

use crate::blocks::ClassCounts;
use crate::filter::{Classifier, DumpLevel, PageClass};
use crate::units::{Pfn, PfnRange};
use crate::vmcore::{Segment, Vmcore};
use std::cmp::Reverse;
use std::collections::VecDeque;

/// Bytes of pages in a block. 128 KiB compresses 3 % worse than 1 MiB and makes random reads eight
/// times cheaper; `docs/benchmarks.md`.
const BLOCK_BYTES: u64 = 128 << 10;

/// The most pages that are sent early: 256 MiB of 4 KiB pages, several kernel images. Their places are
/// remembered until their turn comes.
const MAX_EARLY: u64 = 1 << 16;

/// Work for one block.
#[derive(Debug, PartialEq, Eq)]
pub enum Job {
    /// Pages sent ahead of their turn.
    Early(Vec<PfnRange>),
    /// Pages whose turn it is.
    Pages(Vec<PfnRange>),
    /// Pages whose turn it is and that were sent early: nothing to read.
    Sent(Vec<PfnRange>),
}

/// Hands out the blocks of a dump.
pub struct PageSource<'a> {
    early: VecDeque<PfnRange>,
    classifier: Classifier<'a>,
    range: PfnRange,
    block_pages: u64,
    queue: VecDeque<Job>,
    gather: Gather,
    sent: Vec<PfnRange>,
    next_sent: usize,
    position: u64,
}

/// Kept pages that do not fill a block yet.
#[derive(Default)]
struct Gather {
    ranges: Vec<PfnRange>,
    pages: u64,
    sent: bool,
}

impl<'a> PageSource<'a> {
    /// A source over the pages of `vmcore` that a dump at `level` keeps, or over those of a part of it.
    pub fn new(vmcore: &'a Vmcore, level: DumpLevel, part: Option<PfnRange>) -> PageSource<'a> {
        let whole = Classifier::new(vmcore, level).0;
        let range = part.unwrap_or(PfnRange { start: Pfn(0), end: whole.max_mapnr() });
        PageSource {
            early: kernel_image(vmcore).map(|image| image.intersect(range)).into_iter().collect(),
            classifier: if part.is_some() { whole.of_range(range) } else { whole },
            range,
            block_pages: (BLOCK_BYTES >> vmcore.page_size().shift()).max(1),
            queue: VecDeque::new(),
            gather: Gather::default(),
            sent: Vec::new(),
            next_sent: 0,
            position: 0,
        }
    }

    /// The next block; `None` when every page was handed out.
    pub fn next_job(&mut self) -> Option<Job> {
        while self.queue.is_empty() {
            if let Some(range) = self.early.pop_front() {
                self.take_early(range);
            } else if !self.advance() {
                break;
            }
        }
        self.queue.pop_front()
    }

    /// The counts of excluded pages per class; whole once [`PageSource::next_job`] gave `None`.
    pub fn counts(&self) -> ClassCounts {
        let counts = self.classifier.counts();
        ClassCounts {
            cache: counts.of(PageClass::Cache),
            cache_private: counts.of(PageClass::PrivateCache),
            user: counts.of(PageClass::User),
            free: counts.of(PageClass::Free),
            hwpoison: counts.of(PageClass::Hwpoison),
            offline: counts.of(PageClass::Offline),
            unjudged: match self.classifier.judges() {
                true => counts.unreadable_struct_pages + counts.without_struct_page,
                false => counts.of(PageClass::Kept),
            },
            doubtful: counts.doubtful,
            ..ClassCounts::default()
        }
    }

    /// Number of pfns a dump describes, holes included.
    pub fn max_mapnr(&self) -> u64 {
        self.classifier.max_mapnr().0
    }

    /// The share of the pages that is classified, 0 to 1.
    pub fn share(&self) -> f64 {
        let done = self.position.saturating_sub(self.range.start.0);
        done as f64 / self.range.count().max(1) as f64
    }

    /// Classifies pages that are sent early.
    fn take_early(&mut self, range: PfnRange) {
        let classes = self.classifier.classify_range(range);
        for (class, range) in runs(range.start, &classes) {
            if class == PageClass::Kept {
                self.sent.push(range);
                self.gather.add(range, self.block_pages, |block| self.queue.push_back(Job::Early(block)));
            }
        }
        let left = self.gather.take();
        self.queue.extend((!left.is_empty()).then_some(Job::Early(left)));
    }

    /// Classifies the next window; false when there is none.
    fn advance(&mut self) -> bool {
        let Some(window) = self.classifier.next_window() else {
            let left = !self.gather.ranges.is_empty();
            self.flush();
            return left;
        };
        self.position = window.range.end.0;
        let kept: Vec<_> = runs(window.range.start, window.classes)
            .filter_map(|(class, range)| (class == PageClass::Kept).then_some(range))
            .collect();
        for range in kept {
            self.keep(range);
        }
        true
    }

    /// Adds kept pages, split into those that were sent early and those that were not.
    fn keep(&mut self, mut range: PfnRange) {
        while !range.is_empty() {
            while self.sent.get(self.next_sent).is_some_and(|sent| sent.end <= range.start) {
                self.next_sent += 1;
            }
            let sent = self
                .sent
                .get(self.next_sent)
                .copied()
                .unwrap_or(PfnRange { start: range.end, end: range.end });
            let before = PfnRange::new(range.start.0, sent.start.0.min(range.end.0));
            self.gather(before, false);
            let inside = range.intersect(sent);
            self.gather(inside, true);
            range.start = before.end.max(inside.end);
        }
    }

    fn gather(&mut self, range: PfnRange, sent: bool) {
        if range.is_empty() {
            return;
        }
        if self.gather.sent != sent {
            self.flush();
            self.gather.sent = sent;
        }
        let job = if sent { Job::Sent } else { Job::Pages };
        self.gather.add(range, self.block_pages, |block| self.queue.push_back(job(block)));
    }

    fn flush(&mut self) {
        let (ranges, sent) = (self.gather.take(), self.gather.sent);
        if !ranges.is_empty() {
            self.queue.push_back(if sent { Job::Sent(ranges) } else { Job::Pages(ranges) });
        }
    }
}

impl Gather {
    fn take(&mut self) -> Vec<PfnRange> {
        self.pages = 0;
        std::mem::take(&mut self.ranges)
    }

    /// Adds pages and hands out every block they fill.
    fn add(&mut self, mut range: PfnRange, block_pages: u64, mut full: impl FnMut(Vec<PfnRange>)) {
        while !range.is_empty() {
            let count = range.count().min(block_pages - self.pages);
            let now = PfnRange::new(range.start.0, range.start.0 + count);
            match self.ranges.last_mut() {
                Some(last) if last.end == now.start => last.end = now.end,
                _ => self.ranges.push(now),
            }
            self.pages += count;
            range.start = now.end;
            if self.pages == block_pages {
                full(self.take());
            }
        }
    }
}

/// Where the kernel image lies: x86-64 and arm64 list its mapping as a segment of its own, which
/// overlaps the RAM segment that holds it. `None` elsewhere; then nothing is sent early.
fn kernel_image(vmcore: &Vmcore) -> Option<PfnRange> {
    let page = vmcore.page_size();
    let range = |segment: &Segment| {
        let end = segment.paddr.0.checked_add(segment.mem_size)?;
        Some(PfnRange::new(page.pfn_of(segment.paddr).0, end.div_ceil(page.bytes())))
    };
    let mut ranges: Vec<_> = vmcore.segments().iter().filter_map(range).collect();
    // What holds another range comes before it: it starts earlier, or there and ends later.
    ranges.sort_by_key(|range| (range.start, Reverse(range.end)));
    ranges.dedup();
    let mut reach = Pfn(0);
    ranges.into_iter().find(|range| {
        let inside = range.end <= reach;
        reach = reach.max(range.end);
        inside && !range.is_empty() && range.count() <= MAX_EARLY
    })
}

/// Neighbouring pages of the same class, from `start` on.
fn runs(start: Pfn, classes: &[PageClass]) -> impl Iterator<Item = (PageClass, PfnRange)> + '_ {
    let mut next = start.0;
    classes.chunk_by(|a, b| a == b).map(move |run| {
        let range = PfnRange::new(next, next + run.len() as u64);
        next = range.end.0;
        (run[0], range)
    })
}
