//! The order in which pages are sent: what matters first (`early`), then the rest by ascending pfn. Gathers kept pages
//! into blocks.

use super::early::{Batch, Early};
use super::sent::SentRanges;
use crate::blocks::ClassCounts;
use crate::filter::{DumpLevel, PageClass, Survey, Surveyed, Wanted};
use crate::pipeline::Cost;
use crate::units::{Pfn, PfnRange, PfnSet};
use crate::vmcore::Vmcore;
use std::collections::VecDeque;

/// Bytes of pages in a block. 128 KiB compresses 3 % worse than 1 MiB and makes random reads eight
/// times cheaper; `docs/benchmarks.md`.
pub(super) const BLOCK_BYTES: usize = 128 << 10;
/// The most bytes that the list of pages sent ahead may take: some hundred thousand runs of pages. What matters first is
/// not looked for any further then.
const MAX_SENT: usize = 2 << 20;
/// A job names at most this many runs of pages that were sent ahead.
const MAX_SENT_RUNS: usize = 4096;

/// Work for one block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Pages sent ahead of their turn.
    Early(Batch, Vec<PfnRange>),
    /// Pages whose turn it is, perhaps none.
    Turn {
        /// Those to read.
        pages: Vec<PfnRange>,
        /// Those between them that were sent ahead.
        sent: Vec<(Batch, PfnRange)>,
    },
}

impl Job {
    /// Whether its pages are of the kernel image.
    pub(super) fn is_of_image(&self) -> bool {
        matches!(self, Job::Early(Batch::Image | Batch::Text, _))
    }

    /// The pages to read.
    pub(super) fn pages(&self) -> &[PfnRange] {
        match self {
            Job::Early(_, pages) | Job::Turn { pages, .. } => pages,
        }
    }
}

impl Cost for Job {
    /// A block that does not compress, and what names its pages and the others.
    fn bytes(&self) -> usize {
        let (pages, sent) = match self {
            Job::Early(_, pages) => (pages, 0),
            Job::Turn { pages, sent } => (pages, sent.len()),
        };
        let block = if pages.is_empty() { 0 } else { BLOCK_BYTES };
        block + size_of_val(&pages[..]) + sent * size_of::<(Batch, PfnRange)>()
    }
}

/// Hands out the blocks of a dump.
pub(super) struct PageSource<'s, 'a> {
    survey: &'s Survey<'a>,
    early: Option<Early<'s, 'a>>,
    kept: Surveyed<'s, 'a>,
    range: PfnRange,
    block_pages: u64,
    queue: VecDeque<Job>,
    gather: Gather,
    sent: SentRanges,
    position: u64,
    missing: u64,
    image_missing: u64,
}

/// Kept pages that do not fill a block yet.
#[derive(Default)]
struct Gather {
    batch: Option<Batch>,
    ranges: PfnSet,
    pages: u64,
    sent: Vec<(Batch, PfnRange)>,
}

impl<'s, 'a> PageSource<'s, 'a> {
    /// A source over the pages that a dump at `level` keeps, or over those of a part of it.
    pub(super) fn new(
        survey: &'s Survey<'a>,
        level: DumpLevel,
        part: Option<PfnRange>,
    ) -> PageSource<'s, 'a> {
        let vmcore = survey.vmcore();
        let range = part.unwrap_or(PfnRange { start: Pfn(0), end: survey.max_mapnr() });
        let early = Early::new(survey, level, range);
        PageSource {
            image_missing: early.image().map(|part| missing(vmcore, Some(part))).sum(),
            survey,
            early: Some(early),
            kept: survey.pages(level, Wanted::Kept, range),
            range,
            block_pages: (BLOCK_BYTES as u64 >> vmcore.page_size().shift()).max(1),
            queue: VecDeque::new(),
            gather: Gather::default(),
            sent: SentRanges::default(),
            position: 0,
            missing: missing(vmcore, part),
        }
    }

    /// The next block; `None` when every page was handed out. When the dump is `full` no more page is to be read, but
    /// those that were sent ahead are still listed when their turn comes.
    pub(super) fn next_job(&mut self, full: bool) -> Option<Job> {
        if full {
            self.early = None;
            self.queue.retain(|job| matches!(job, Job::Turn { .. }));
        }
        while self.queue.is_empty() {
            if !(self.advance_early() || self.advance(full)) {
                break;
            }
        }
        self.queue.pop_front()
    }

    /// The counts of excluded pages per class; whole once [`PageSource::next_job`] gave `None`.
    pub(super) fn counts(&self) -> ClassCounts {
        let counts = self.kept.counts();
        ClassCounts {
            missing: self.missing,
            image_lost: self.image_missing,
            cache: counts.of(PageClass::Cache),
            cache_private: counts.of(PageClass::PrivateCache),
            user: counts.of(PageClass::User),
            free: counts.of(PageClass::Free),
            hwpoison: counts.of(PageClass::Hwpoison),
            offline: counts.of(PageClass::Offline),
            offlined: counts.of(PageClass::Offlined),
            cpu_lists: counts.of(PageClass::CpuList),
            compressed: counts.of(PageClass::Compressed),
            structures: counts.of(PageClass::Structures),
            doubtful_lists: counts.doubtful_lists,
            unjudged: if self.survey.judges() {
                counts.unreadable_struct_pages + counts.without_struct_page
            } else {
                counts.of(PageClass::Kept)
            },
            doubtful: counts.doubtful,
            ..ClassCounts::default()
        }
    }

    /// The share of the work that is done, 0 to 1: the pages are gone through three times.
    pub(super) fn share(&self) -> f64 {
        let done =
            |pfn: u64| pfn.saturating_sub(self.range.start.0) as f64 / self.range.count().max(1) as f64;
        let (times, pfn) = match &self.early {
            Some(early) => early.reached(),
            None => (2, Pfn(self.position)),
        };
        (f64::from(times) + done(pfn.0)) / 3.0
    }

    /// Finds more pages that are sent ahead; false when there are none.
    fn advance_early(&mut self) -> bool {
        let Some(early) = self.early.as_mut().filter(|_| self.sent.len() < MAX_SENT) else {
            self.early = None;
            return false;
        };
        let Some((batch, ranges)) = early.next_ranges() else {
            self.early = None;
            self.flush();
            return true;
        };
        if self.gather.batch != Some(batch) {
            self.flush();
            self.gather.batch = Some(batch);
        }
        for range in ranges {
            self.sent.push(batch, range);
            self.gather(range);
        }
        true
    }

    /// Takes the pages of the next window whose turn it is; false when there is none.
    fn advance(&mut self, full: bool) -> bool {
        if self.gather.batch.is_some() {
            self.flush();
            self.gather.batch = None;
        }
        let Some(pages) = self.kept.next_window() else {
            return self.flush();
        };
        let (mut at, end) = (pages.window.start, pages.window.end);
        let kept = if full { Vec::new() } else { pages.wanted };
        self.position = end.0;
        let mut kept = kept.into_iter().peekable();
        loop {
            let sent = self.sent.take(end);
            let stop = sent.map_or(end, |(_, range)| range.start);
            while let Some(range) = kept.peek_mut() {
                let now = range.intersect(PfnRange { start: at, end: stop });
                let goes_on = range.end > stop;
                self.gather(now);
                if goes_on {
                    break;
                }
                kept.next();
            }
            let Some((batch, range)) = sent else { return true };
            at = range.end;
            self.gather.sent.push((batch, range));
            if self.gather.sent.len() >= MAX_SENT_RUNS {
                self.flush();
            }
        }
    }

    /// Adds pages and queues every block they fill.
    fn gather(&mut self, mut range: PfnRange) {
        while !range.is_empty() {
            let count = range.count().min(self.block_pages - self.gather.pages);
            let now = PfnRange::new(range.start.0, range.start.0 + count);
            self.gather.add(now);
            range.start = now.end;
            if self.gather.pages == self.block_pages {
                self.flush();
            }
        }
    }

    /// Queues what was gathered; false when that was nothing.
    fn flush(&mut self) -> bool {
        let job = self.gather.take();
        let found = job.is_some();
        self.queue.extend(job);
        found
    }
}

/// Pages of a part, or of the whole, that the segments promise and the file lacks.
fn missing(vmcore: &Vmcore, part: Option<PfnRange>) -> u64 {
    match part {
        Some(part) => vmcore.missing().intersect(part).map(PfnRange::count).sum(),
        None => vmcore.missing().count(),
    }
}

impl Gather {
    fn add(&mut self, range: PfnRange) {
        self.ranges.insert(range);
        self.pages += range.count();
    }

    fn take(&mut self) -> Option<Job> {
        let Gather { ranges, sent, .. } =
            std::mem::replace(self, Gather { batch: self.batch, ..Gather::default() });
        let pages = ranges.into_ranges();
        match self.batch {
            _ if pages.is_empty() && sent.is_empty() => None,
            Some(batch) => Some(Job::Early(batch, pages)),
            None => Some(Job::Turn { pages, sent }),
        }
    }
}
