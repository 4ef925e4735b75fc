//! What is sent ahead of its turn, so that a dump which is cut still serves: the kernel's data, then the pages from
//! which an analyst lists tasks, then those of their stacks and others, then the kernel's text and constants, which
//! `crash` wants. What comes
//! later is most of a large dump: objects of other caches, page structures, and what users had.

use crate::filter::{DumpLevel, Survey, Surveyed, Wanted};
use crate::units::{Pfn, PfnRange, PfnSet};

/// The most pages that are sent ahead from all over the memory. Each costs two bits until its turn comes: 2 MiB.
const MAX_KERNEL: u64 = 1 << 23;

/// What is sent ahead, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// The kernel image from its data on, or all of it where its sections are not known.
    Image,
    /// Tasks, what they share, and page tables, from all over the memory.
    Tasks,
    /// Stacks, per-CPU memory, buffers and the like, from all over the memory.
    Kernel,
    /// The kernel image before its data: text and constants, without what was given back between them.
    Text,
}

/// All batches in their order.
pub(super) const BATCHES: [Batch; 4] = [Batch::Image, Batch::Tasks, Batch::Kernel, Batch::Text];

/// Finds the pages that are sent ahead.
pub(super) struct Early<'s, 'a> {
    survey: &'s Survey<'a>,
    level: DumpLevel,
    image: Image,
    tasks: Surveyed<'s, 'a>,
    kernel: Surveyed<'s, 'a>,
    /// How many pages from all over the memory may still be sent, and how far the search has come.
    left: u64,
    reached: Pfn,
    batch: Option<Batch>,
}

/// Where the kernel image is. Its pages may hold anything once the kernel gave them back.
struct Image {
    /// From the data on, what was given back of it included.
    data: PfnSet,
    /// The parts before the data that were not given back: text and constants.
    text: PfnSet,
}

impl Image {
    /// Those of some pages that are sent in a batch.
    fn only(&self, batch: Batch, pages: PfnSet) -> PfnSet {
        let common = |set: &PfnSet| pages.iter().flat_map(|range| set.intersect(range)).collect();
        match batch {
            Batch::Image => common(&self.data),
            Batch::Text => common(&self.text),
            Batch::Tasks | Batch::Kernel => {
                [&self.data, &self.text].into_iter().fold(pages, |pages, image| pages.without(image))
            }
        }
    }
}

impl<'s, 'a> Early<'s, 'a> {
    /// Those in `range` of a dump at `level`.
    pub(super) fn new(survey: &'s Survey<'a>, level: DumpLevel, range: PfnRange) -> Early<'s, 'a> {
        let (data, text) = survey.image(range);
        Early {
            survey,
            level,
            image: Image { data: [data].into_iter().collect(), text },
            tasks: survey.pages(level, Wanted::Tasks, range),
            kernel: survey.pages(level, Wanted::Kernel, range),
            left: MAX_KERNEL,
            reached: range.start,
            batch: Some(Batch::Image),
        }
    }

    /// The next pages to send, ascending in a batch, perhaps none; `None` when all were sent.
    pub(super) fn next_ranges(&mut self) -> Option<(Batch, Vec<PfnRange>)> {
        let batch = self.batch?;
        let ranges = match batch {
            Batch::Image => {
                self.batch = Some(Batch::Tasks);
                self.kept_in(batch, &self.image.data)
            }
            Batch::Tasks => self.next_window(batch, Batch::Kernel),
            Batch::Kernel => self.next_window(batch, Batch::Text),
            Batch::Text => {
                self.batch = None;
                self.kept_in(batch, &self.image.text)
            }
        };
        Some((batch, ranges))
    }

    /// The kernel image: from its data on, and before them what was not given back.
    pub(super) fn image(&self) -> impl Iterator<Item = PfnRange> + '_ {
        self.image.data.iter().chain(self.image.text.iter())
    }

    /// The pages of a part of the image that every level keeps: memory of the image that was freed after boot may hold
    /// anything.
    fn kept_in(&self, batch: Batch, part: &PfnSet) -> Vec<PfnRange> {
        let (Some(first), Some(last)) = (part.ranges().first(), part.ranges().last()) else {
            return Vec::new();
        };
        let range = PfnRange { start: first.start, end: last.end };
        let mut pages = self.survey.pages(self.level, Wanted::Essential, range);
        let kept = std::iter::from_fn(|| pages.next_window()).flat_map(|pages| pages.wanted).collect();
        self.image.only(batch, kept).into_ranges()
    }

    /// Those of the next window, without those of the image; after the last the batch that follows is next.
    fn next_window(&mut self, batch: Batch, following: Batch) -> Vec<PfnRange> {
        let pages = if batch == Batch::Tasks { &mut self.tasks } else { &mut self.kernel };
        let Some(pages) = (self.left > 0).then(|| pages.next_window()).flatten() else {
            self.batch = Some(following);
            return Vec::new();
        };
        self.reached = pages.window.end;
        let mut ranges = self.image.only(batch, pages.wanted.into()).into_ranges();
        for range in &mut ranges {
            range.end = range.end.min(range.start.saturating_add(self.left));
            self.left -= range.count();
        }
        ranges.retain(|range| !range.is_empty());
        ranges
    }

    /// How often the memory was gone through, and how far it was searched since.
    pub(super) fn reached(&self) -> (u32, Pfn) {
        (u32::from(matches!(self.batch, Some(Batch::Kernel | Batch::Text))), self.reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_between_text_and_data_is_of_the_kernel() {
        let range = PfnRange::new;
        let image =
            Image { data: vec![range(40, 60)].into(), text: vec![range(10, 20), range(25, 30)].into() };
        let batches = BATCHES.map(|batch| image.only(batch, vec![range(5, 45)].into()).into_ranges());
        let kernel = vec![range(5, 10), range(20, 25), range(30, 40)];
        assert_eq!(
            batches,
            [vec![range(40, 45)], kernel.clone(), kernel, vec![range(10, 20), range(25, 30)]]
        );
    }
}
