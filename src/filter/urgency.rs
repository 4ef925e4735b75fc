//! When a page that is kept should be sent: what an analyst needs before all others is urgent, the rest is not. Urgent are
//! page tables, stacks, per-CPU memory, buffers, tasks, and slabs whose cache is not known. Not urgent are objects of
//! caches that have nothing to do with tasks, pages that nobody uses, and the page structures themselves. Only pages that
//! every level keeps can be urgent. Nothing here excludes a page.

use super::block::{Block, index};
use super::judge::Judge;
use super::rules::{Rules, Slab};
use crate::mm::{KernelImage, SlabCaches, SlabPlace};
use crate::units::{Pfn, PfnRange, PfnSet};
use std::sync::Arc;

/// What is needed to recognise urgent pages.
#[derive(Clone)]
pub(super) struct Urgency {
    image: KernelImage,
    /// The flags of the first page of the image's text, where they can be read.
    text_flags: Option<u64>,
    slabs: SlabCaches,
    struct_frames: Arc<PfnSet>,
}

impl Urgency {
    /// `text_flags` are those of the first page of the image's text, `struct_frames` the pages that hold page structures,
    /// `slabs` what the kernel's types tell of slabs.
    pub(super) fn new(
        image: KernelImage,
        text_flags: Option<u64>,
        struct_frames: PfnSet,
        slabs: Option<SlabPlace>,
    ) -> Urgency {
        let struct_frames = Arc::new(struct_frames);
        Urgency { image, text_flags, slabs: SlabCaches::new(slabs), struct_frames }
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
    /// For each page of the window, whether it is not urgent, should it be kept.
    pub late: Vec<bool>,
    /// Whether the page before the one at hand was one of a slab that is not urgent.
    in_late_slab: bool,
    /// Pages of the image's text that the kernel gave back, as far as the walk came.
    pub given_back: PfnSet,
    /// Where in the virtual memory map the first structures of the window's free blocks are: addresses in pages, hardly
    /// any of them twice.
    pub free_heads: Vec<u64>,
}

impl Marks {
    /// Begins a window: all of it is urgent except the page structures; nothing is where urgency is not known.
    pub(super) fn begin(&mut self, window: PfnRange, urgency: Option<&Urgency>) {
        self.free_heads.clear();
        self.late.clear();
        self.late.resize(index(window, window.end), urgency.is_none());
        for part in urgency.iter().flat_map(|urgency| urgency.struct_frames.intersect(window)) {
            self.late[index(window, part.start)..index(window, part.end)].fill(true);
        }
    }

    /// Begins a section: no slab reaches into it.
    pub(super) fn enter_section(&mut self) {
        self.in_late_slab = false;
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
        if self.is_late(judge, urgency, rules, block, pfn) && window.contains(pfn) {
            self.late[index(window, pfn)] = true;
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

    /// Whether a page is one of a slab that has nothing to do with tasks, or one that nobody uses.
    fn is_late(
        &mut self,
        judge: &Judge<'_>,
        urgency: &Urgency,
        rules: &Rules,
        block: &Block,
        pfn: Pfn,
    ) -> bool {
        let at = block.index(pfn);
        match rules.slab(&block.bytes, at) {
            Slab::Tail => {}
            Slab::Head(page) => {
                let of_tasks = urgency.slabs.is_of_tasks(&judge.memory, &judge.layout, page);
                self.in_late_slab = of_tasks == Some(false);
            }
            Slab::No => {
                self.in_late_slab = false;
                return rules.is_unused(&block.bytes, at);
            }
        }
        self.in_late_slab
    }
}
