//! Rings of page structures and list heads in the kernel's memory: their elements, and where these lead.

use super::{ListRules, Member};
use crate::filter::judge::Judge;
use crate::mm::{KernelMemory, MemMap, Near, PageLayout};
use crate::units::{Pfn, VirtAddr};
use std::cell::RefCell;

/// The most bytes of a page structure.
const MAX_PAGE: usize = 512;

/// An element of a list: a page structure's, or a head.
pub(super) struct Links {
    /// The page, and its flags where it is free; neither for a head.
    pub pfn: Option<Pfn>,
    pub flags: Option<u64>,
    pub next: VirtAddr,
    pub prev: VirtAddr,
}

/// What lists are followed with.
pub(super) struct Ring<'j, 'a> {
    memory: &'j KernelMemory<'a>,
    mem_map: &'j MemMap,
    layout: &'j PageLayout,
    rules: ListRules,
    near: &'j RefCell<Near>,
}

impl<'j, 'a> Ring<'j, 'a> {
    pub(super) fn new(judge: &'j Judge<'a>, rules: ListRules, near: &'j RefCell<Near>) -> Ring<'j, 'a> {
        Ring { memory: &judge.memory, mem_map: &judge.mem_map, layout: &judge.layout, rules, near }
    }

    /// The address of a page's links.
    pub(super) fn link_of(&self, pfn: Pfn) -> Option<VirtAddr> {
        Some(self.mem_map.struct_page(self.memory, pfn).ok()??.wrapping_add(self.rules.lru as u64))
    }

    /// Whether both neighbours of a page on a list point back to it.
    pub(super) fn leads_back(&self, member: &Member, at: VirtAddr) -> bool {
        let word = |address: VirtAddr| {
            let mut word = [0; 8];
            self.read(address, &mut word).map(|()| self.layout.u64(&word, 0))
        };
        word(member.next.wrapping_add(8)) == Some(at.0) && word(member.prev) == Some(at.0)
    }

    fn read(&self, at: VirtAddr, bytes: &mut [u8]) -> Option<()> {
        self.near.borrow_mut().read(self.memory, at.0, bytes)
    }

    /// The next and the previous element of one at an address.
    fn pair(&self, at: VirtAddr) -> Option<(VirtAddr, VirtAddr)> {
        let mut pair = [0; 16];
        self.read(at, &mut pair)?;
        let link = |from| VirtAddr(self.layout.u64(&pair, from));
        Some((link(0), link(8)))
    }

    /// Whether the list at a head is empty; `None` where it is broken.
    pub(super) fn is_empty(&self, head: VirtAddr) -> Option<bool> {
        let (next, prev) = self.pair(head)?;
        ((next == head) == (prev == head)).then_some(next == head)
    }

    /// A number of pages that is not negative.
    pub(super) fn count(&self, at: VirtAddr) -> Option<u64> {
        let mut word = [0; 4];
        self.read(at, &mut word)?;
        let count = self.layout.u32(&word, 0).cast_signed();
        u64::try_from(count).ok()
    }

    /// The element at an address.
    pub(super) fn links(&self, at: VirtAddr) -> Option<Links> {
        let start = VirtAddr(at.0.wrapping_sub(self.rules.lru as u64));
        let Some(pfn) = self.mem_map.pfn_of(self.memory, start) else {
            let (next, prev) = self.pair(at)?;
            return Some(Links { pfn: None, flags: None, next, prev });
        };
        let mut page = [0; MAX_PAGE];
        let page = page.get_mut(..self.layout.size)?;
        self.read(start, page)?;
        let Member { flags, next, prev } = self.rules.member(self.layout, page)?;
        Some(Links { pfn: Some(pfn), flags: Some(flags), next, prev })
    }
}
