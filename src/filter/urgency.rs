//! When a page that is kept should be sent: what a list of tasks is made from first, other pages of the kernel before the
//! rest. Of tasks are slabs by the name of their cache, the kernel's page tables, without which nothing of
//! them is found, and other page tables where the kernel's types tell them. Of the kernel are
//! stacks, per-CPU memory, buffers, page tables otherwise, and slabs whose cache is not known. Late are objects of
//! caches that have nothing to do with tasks, pages that nobody uses, and the page structures themselves. Only pages that
//! every level keeps come before the rest. Nothing here excludes a page.

use super::block::{Block, index};
use super::judge::Judge;
use super::rules::{Rules, Slab};
use crate::mm::{self, KernelImage, SlabCaches};
use crate::units::{Pfn, PfnRange, PfnSet};
use std::sync::Arc;

/// When a page is sent, should it be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Turn {
    /// With the rest, by its number.
    Late,
    /// After those of tasks.
    #[default]
    Kernel,
    /// First.
    Tasks,
}

/// What is needed to recognise pages that come before the rest.
#[derive(Clone)]
pub(super) struct Urgency {
    image: KernelImage,
    /// The flags of the first page of the image's text, where they can be read.
    text_flags: Option<u64>,
    slabs: SlabCaches,
    page_tables: Option<u8>,
    kernel_tables: Arc<PfnSet>,
    struct_frames: Arc<PfnSet>,
}

impl Urgency {
    /// By what a judge knows; `text_flags` are those of the first page of the image's text.
    pub(super) fn new(judge: &Judge<'_>, image: KernelImage, text_flags: Option<u64>) -> Urgency {
        let struct_frames = mm::struct_frames(&judge.memory, &judge.mem_map, &judge.layout);
        let (struct_frames, kernel_tables) =
            (Arc::new(struct_frames), Arc::new(judge.memory.kernel_tables()));
        let allocator = judge.allocator.as_deref();
        let slabs = SlabCaches::new(allocator.and_then(|allocator| allocator.slabs));
        let page_tables = allocator.and_then(|allocator| allocator.page_tables);
        Urgency { image, text_flags, slabs, page_tables, kernel_tables, struct_frames }
    }

    /// Whether the urgency of a slab no longer depends on the slabs judged before it.
    pub(super) fn is_settled(&self) -> bool {
        self.slabs.is_settled()
    }

    /// Whether a page of the image's text has other flags than the first: pages of the image are reserved until the
    /// kernel gives them back.
    fn is_given_back(&self, pfn: Pfn, flags: u64) -> bool {
        self.image.text.contains(pfn) && self.text_flags.is_some_and(|first| first != flags)
    }
}

/// What a walk marks of the pages of a window, and carries from one to the next.
#[derive(Clone, Default)]
pub(super) struct Marks {
    /// The turn of each page of the window.
    pub turns: Vec<Turn>,
    /// The turn of the slab that the page before the one at hand is of.
    slab: Turn,
    /// Pages of the image's text that the kernel gave back, as far as the walk came.
    pub given_back: PfnSet,
    /// Where in the virtual memory map the first structures of the window's free blocks are: addresses in pages, hardly
    /// any of them twice.
    pub free_heads: Vec<u64>,
}

impl Marks {
    /// Begins a window: all of it is the kernel's except the page structures; where urgency is not known all is late.
    pub(super) fn begin(&mut self, window: PfnRange, urgency: Option<&Urgency>) {
        self.free_heads.clear();
        self.turns.clear();
        let turn = if urgency.is_some() { Turn::Kernel } else { Turn::Late };
        self.turns.resize(index(window, window.end), turn);
        for part in urgency.iter().flat_map(|urgency| urgency.struct_frames.intersect(window)) {
            self.turns[index(window, part.start)..index(window, part.end)].fill(Turn::Late);
        }
        for part in urgency.iter().flat_map(|urgency| urgency.kernel_tables.intersect(window)) {
            self.turns[index(window, part.start)..index(window, part.end)].fill(Turn::Tasks);
        }
    }

    /// Begins a section: no slab reaches into it.
    pub(super) fn enter_section(&mut self) {
        self.slab = Turn::Kernel;
    }

    /// Marks a page that every level keeps.
    pub(super) fn keep(
        &mut self,
        judge: &Judge<'_>,
        urgency: &Urgency,
        rules: &Rules,
        block: &Block,
        window: PfnRange,
        pfn: Pfn,
    ) {
        self.note_given_back(judge, urgency, block, pfn);
        let turn = self.turn(judge, urgency, rules, block, pfn);
        if turn != Turn::Kernel && window.contains(pfn) {
            self.turns[index(window, pfn)] = turn;
        }
    }

    /// Notes a page of the image's text that was given back.
    pub(super) fn note_given_back(&mut self, judge: &Judge<'_>, urgency: &Urgency, block: &Block, pfn: Pfn) {
        if !urgency.image.text.contains(pfn) {
            return;
        }
        let page = block.bytes.get(block.index(pfn) * judge.layout.size..).unwrap_or_default();
        if urgency.is_given_back(pfn, judge.layout.u64(page, judge.layout.flags)) {
            self.given_back.insert(PfnRange::new(pfn.0, pfn.0 + 1));
        }
    }

    /// Notes the structure of a page that is on a list of free pages, and of all the block that it begins.
    pub(super) fn note_free(&mut self, judge: &Judge<'_>, block: &Block, pfn: Pfn) {
        let (size, shift) = (judge.layout.size as u64, judge.memory.vmcore().page_size().shift());
        let first = block.at.wrapping_add((pfn.0 - block.range.start.0) * size);
        for number in first.0 >> shift..=first.wrapping_add(size - 1).0 >> shift {
            if self.free_heads.last() != Some(&number) {
                self.free_heads.push(number);
            }
        }
    }

    /// When a page is sent that every level keeps.
    fn turn(&mut self, judge: &Judge<'_>, urgency: &Urgency, rules: &Rules, block: &Block, pfn: Pfn) -> Turn {
        let at = block.index(pfn);
        match rules.slab(&block.bytes, at) {
            Slab::Tail => {}
            Slab::Head(page) => {
                self.slab = match urgency.slabs.is_of_tasks(&judge.memory, &judge.layout, page) {
                    Some(true) => Turn::Tasks,
                    Some(false) => Turn::Late,
                    None => Turn::Kernel,
                };
            }
            Slab::No => {
                self.slab = Turn::Kernel;
                if rules.is_unused(&block.bytes, at) {
                    return Turn::Late;
                }
                if urgency.page_tables.is_some_and(|kind| rules.is_of_type(&block.bytes, at, kind)) {
                    return Turn::Tasks;
                }
            }
        }
        self.slab
    }
}
