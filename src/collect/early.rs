//! What is sent ahead of its turn, so that a dump which is cut still serves: the kernel's data, then the pages from
//! which an analyst lists tasks and their stacks, then the kernel's text and constants, which `crash` wants. What comes
//! later is most of a large dump: objects of other caches, page structures, and what users had.

use crate::filter::{Classifier, DumpLevel, PageClass, Window};
use crate::units::{Pfn, PfnRange, PfnSet, VirtAddr};
use crate::vmcore::{Segment, Vmcore};
use std::cmp::Reverse;

/// The most pages of a kernel image: 256 MiB of 4 KiB pages, several kernel images.
const MAX_IMAGE: u64 = 1 << 16;
/// The most pages that are sent ahead from all over the memory. Each costs two bits until its turn comes: 2 MiB.
const MAX_KERNEL: u64 = 1 << 23;
/// Data start at a multiple of this in every layout of a kernel image, or close behind one. Bytes.
const DATA_ALIGN: u64 = 2 << 20;
/// Symbols of VMCOREINFO that lie among the data, one or more of them near the beginning.
const IN_DATA: [&str; 6] =
    ["init_top_pgt", "swapper_pg_dir", "init_uts_ns", "printk_rb_static", "prb", "node_online_map"];

/// What is sent ahead, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// The kernel image from its data on, or all of it where they cannot be told.
    Image,
    /// Page tables, stacks, per-CPU memory, tasks and the like, from all over the memory.
    Kernel,
    /// The kernel image before its data: text and constants, without what was given back between them.
    Text,
}

/// All batches in their order.
pub(super) const BATCHES: [Batch; 3] = [Batch::Image, Batch::Kernel, Batch::Text];

/// Finds the pages that are sent ahead.
pub(super) struct Early<'a> {
    image: Image,
    kernel: Option<Kernel<'a>>,
    batch: Option<Batch>,
}

/// Where the kernel image is. Its pages may hold anything once the kernel gave them back.
struct Image {
    /// From the data on, what was given back of it included.
    data: PfnRange,
    /// What comes before: where it begins and ends, and the parts that were not given back.
    text: (PfnRange, PfnSet),
}

impl Image {
    fn batch_of(&self, pfn: Pfn) -> Batch {
        if self.data.contains(pfn) {
            Batch::Image
        } else if self.text.1.contains(pfn) {
            Batch::Text
        } else {
            Batch::Kernel
        }
    }

    /// Postpones pages of the window that are not of this batch.
    fn keep_only(&self, batch: Batch, range: PfnRange, classes: &mut [PageClass]) {
        if batch == Batch::Kernel
            && [self.data, self.text.0].iter().all(|part| part.intersect(range).is_empty())
        {
            return;
        }
        let others = range.iter().zip(classes).filter(|&(pfn, _)| self.batch_of(pfn) != batch);
        others.for_each(|(_, class)| *class = PageClass::Late);
    }
}

/// The walk over the memory for pages that matter first.
struct Kernel<'a> {
    first: Classifier<'a>,
    /// What the level keeps, where it excludes less than what is judged for `first`.
    level: Option<Classifier<'a>>,
    left: u64,
    reached: Pfn,
}

impl<'a> Early<'a> {
    /// Looks for them in `range`, a part of a dump at `level`; `whole` says that it is no part.
    pub(super) fn new(vmcore: &'a Vmcore, level: DumpLevel, range: PfnRange, whole: bool) -> Early<'a> {
        let in_range =
            |classifier: Classifier<'a>| if whole { classifier } else { classifier.of_range(range) };
        let all = level.get() | DumpLevel::ZERO == DumpLevel::ALL.get();
        let kernel = Classifier::of_first(vmcore).map(|first| Kernel {
            first: in_range(first),
            level: (!all).then(|| in_range(Classifier::new(vmcore, level).0)),
            left: MAX_KERNEL,
            reached: range.start,
        });
        let (text, data) = kernel_image(vmcore).unwrap_or_default();
        let [text, data] = [text, data].map(|part| part.intersect(range));
        // Between text, constants and data lie pages that were given back; tasks of the first seconds have stacks there.
        let parts = kernel.as_ref().map_or(vec![text].into(), |kernel| kernel.first.alike(text));
        Early { image: Image { data, text: (text, parts) }, kernel, batch: Some(Batch::Image) }
    }

    /// The next pages to send, ascending in a batch, perhaps none; `None` when all were sent. `classifier` judges at
    /// the dump's level.
    pub(super) fn next_ranges(&mut self, classifier: &Classifier<'_>) -> Option<(Batch, Vec<PfnRange>)> {
        let batch = self.batch?;
        let ranges = match batch {
            Batch::Image => {
                self.batch = Some(Batch::Kernel);
                self.kept_in(classifier, batch, self.image.data)
            }
            Batch::Kernel => {
                let ranges = self.kernel.as_mut().and_then(|kernel| kernel.next_ranges(&self.image));
                self.batch = Some(if ranges.is_some() { Batch::Kernel } else { Batch::Text });
                ranges.unwrap_or_default()
            }
            Batch::Text => {
                self.batch = None;
                self.kept_in(classifier, batch, self.image.text.0)
            }
        };
        Some((batch, ranges))
    }

    /// The kernel image: from its data on, and before them what was not given back.
    pub(super) fn image(&self) -> impl Iterator<Item = PfnRange> + '_ {
        std::iter::once(self.image.data).chain(self.image.text.1.iter())
    }

    /// The pages of a part of the image that the level keeps, but for those that every level would not: memory of the
    /// image that was freed after boot may hold anything.
    fn kept_in(&self, classifier: &Classifier<'_>, batch: Batch, range: PfnRange) -> Vec<PfnRange> {
        let mut classes = classifier.classify_range(range);
        if let Some(kernel) = &self.kernel {
            let first = kernel.first.classify_range(range);
            let excluded = |class: &PageClass| !matches!(class, PageClass::Kept | PageClass::Late);
            let lost = classes.iter_mut().zip(&first).filter(|(_, class)| excluded(class));
            lost.for_each(|(page, class)| *page = *class);
        }
        self.image.keep_only(batch, range, &mut classes);
        kept(&Window { range, classes: &classes })
    }

    /// How far the walk over the memory is.
    pub(super) fn reached(&self) -> Pfn {
        self.kernel.as_ref().map_or(Pfn(0), |kernel| kernel.reached)
    }
}

impl Kernel<'_> {
    /// Those of the next window, without what lies in the image.
    fn next_ranges(&mut self, image: &Image) -> Option<Vec<PfnRange>> {
        let Window { range, classes } = self.first.next_window().filter(|_| self.left > 0)?;
        self.reached = range.end;
        let mut classes = classes.to_vec();
        if let Some(level) = &mut self.level {
            let other = level.next_window().filter(|other| other.range == range)?;
            let lost = classes.iter_mut().zip(other.classes).filter(|(_, class)| **class != PageClass::Kept);
            lost.for_each(|(page, class)| *page = *class);
        }
        image.keep_only(Batch::Kernel, range, &mut classes);
        let mut ranges = kept(&Window { range, classes: &classes });
        let mut room = self.left;
        for range in &mut ranges {
            range.end = range.end.min(range.start.saturating_add(room));
            room -= range.count();
        }
        ranges.retain(|range| !range.is_empty());
        self.left = room;
        Some(ranges)
    }
}

/// The kept pages of a window: runs, ascending.
pub(super) fn kept(window: &Window<'_>) -> Vec<PfnRange> {
    let mut next = window.range.start.0;
    let runs = window.classes.chunk_by(|a, b| a == b).map(|run| {
        let range = PfnRange::new(next, next + run.len() as u64);
        next = range.end.0;
        (run[0], range)
    });
    runs.filter_map(|(class, range)| (class == PageClass::Kept).then_some(range)).collect()
}

/// Where the kernel image lies, before its data and from there on: several machines list its mapping as a segment of
/// its own, which overlaps the RAM segment that holds it. `None` elsewhere: then the image is memory like other.
fn kernel_image(vmcore: &Vmcore) -> Option<(PfnRange, PfnRange)> {
    let page = vmcore.page_size();
    let range = |segment: &Segment| {
        let end = segment.paddr.0.checked_add(segment.mem_size)?;
        let range = PfnRange::new(page.pfn_of(segment.paddr).0, end.div_ceil(page.bytes()));
        Some((range, segment.paddr.0.wrapping_sub(segment.vaddr.0)))
    };
    let mut ranges: Vec<_> = vmcore.segments().iter().filter_map(range).collect();
    // What holds another range comes before it: it starts earlier, or there and ends later.
    ranges.sort_by_key(|(range, _)| (range.start, Reverse(range.end)));
    ranges.dedup_by_key(|(range, _)| *range);
    let mut reach = Pfn(0);
    let (image, shift) = ranges.into_iter().find(|(range, _)| {
        let inside = range.end <= reach;
        reach = reach.max(range.end);
        inside && !range.is_empty() && range.count() <= MAX_IMAGE
    })?;
    let physical = |vaddr: VirtAddr| page.pfn_of(crate::units::PhysAddr(vaddr.0.wrapping_add(shift)));
    let info = vmcore.vmcoreinfo();
    let symbols = IN_DATA.iter().filter_map(|name| info?.symbol(name)).map(physical);
    let align = DATA_ALIGN >> page.shift();
    let data =
        symbols.filter(|&pfn| image.contains(pfn)).min().map_or(image.start.0, |pfn| pfn.0 / align * align);
    let data = data.max(image.start.0);
    Some((PfnRange::new(image.start.0, data), PfnRange::new(data, image.end.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_between_text_and_data_is_of_the_kernel() {
        let range = PfnRange::new;
        let image =
            Image { data: range(40, 60), text: (range(10, 40), vec![range(10, 20), range(25, 30)].into()) };
        let window = range(5, 45);
        let batches = BATCHES.map(|batch| {
            let mut classes = vec![PageClass::Kept; 40];
            image.keep_only(batch, window, &mut classes);
            kept(&Window { range: window, classes: &classes })
        });
        let kernel = vec![range(5, 10), range(20, 25), range(30, 40)];
        assert_eq!(batches, [vec![range(40, 45)], kernel, vec![range(10, 20), range(25, 30)]]);
    }
}
