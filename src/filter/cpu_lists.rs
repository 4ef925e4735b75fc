//! Free pages that CPUs keep on lists of their own for their next allocations: on no buddy list and of no type, so that a
//! page structure alone does not tell them. What proves one free is its list: a ring of page structures and of one list
//! head outside them, closed both ways, in which every structure is that of a free page of one zone.
//!
//! Where the kernel describes its types, the zones have the last word: the head must be that of a list that some CPU
//! has for a zone, all of this CPU's lists for the zone must be whole, and their pages as many as the zone counts. The place of a
//! list then tells the order of its blocks, so that their further pages go too. Without types only the first page of a
//! larger block goes: it alone is on the list.
//!
//! A list that is broken anywhere, and one that does not fit, is kept whole and counted; so are all lists of a CPU for a zone
//! whose count disagrees.
//!
//! Source: Linux `mm/page_alloc.c` (`free_pages_prepare`, `free_unref_page`), `include/linux/mmzone.h`
//! (`struct per_cpu_pages`).

mod blocks;
mod ring;
#[cfg(test)]
mod tests;

use super::judge::Judge;
use crate::kernel::Allocator;
use crate::mm::{NO_TYPE, Near, PageLayout};
use crate::units::{Pfn, VirtAddr};
use blocks::{List, Pages};
use ring::Ring;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

/// The page flags proper: a free page has none. Above them are node, zone and the last CPU, alike in all free pages of a
/// zone. Every 64-bit kernel has 20 flags or more. Source: Linux `include/linux/page-flags.h`
/// (`PAGE_FLAGS_CHECK_AT_PREP`), `mm/page_alloc.c` (`page_cpupid_reset_last`).
const FLAGS: u64 = (1 << 20) - 1;
/// Groups of pages remembered at most, of about 24 bytes each: 1.5 MiB, and as much while a table grows.
const MAX_GROUPS: usize = 1 << 16;
/// Groups that the walk goes on by before those it has passed are forgotten again, and how many there must be: 512 MiB of
/// memory in pages of 4 KiB.
const STRIDE: u64 = 1 << 12;
/// Groups that are remembered though the walk has passed them: twice those of a block of structures.
const BEHIND: u64 = 32;
/// Structures read at most, of all lists together: those of 32 GiB of free pages on lists, in some seconds.
const MAX_STEPS: u64 = 1 << 23;

/// By what pages on the lists of CPUs are known to be free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By the lists that the zones have, and the numbers of pages that the zones count.
    Zones,
    /// By the lists alone: the kernel does not describe itself, for this reason.
    Lists(String),
}

impl fmt::Display for Proof {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proof::Zones => text.write_str("by the zones' own counts"),
            Proof::Lists(why) => write!(text, "by the lists alone: {why}"),
        }
    }
}

/// Where the members of `struct page` are that tell a free page on a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListRules {
    refcount: usize,
    mapcount: usize,
    lru: usize,
}

/// What is known of the lists so far.
#[derive(Clone, Default)]
pub(super) struct CpuLists {
    /// By number of the group: which of its pages are free, which on a list that is not proved.
    known: HashMap<u64, (u32, u32)>,
    steps: u64,
    /// Up to which group groups were forgotten.
    forgotten: u64,
    /// What was read last: pages that were freed together are neighbours, so most links lead there.
    near: Near,
}

/// A page on a list, and where its links lead.
struct Member {
    flags: u64,
    next: VirtAddr,
    prev: VirtAddr,
}

/// What a page that looks like one on a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// On a list that is proved: free.
    Free,
    /// Free as well, a further page of a block on such a list.
    FreeFurther,
    /// On a list that is not proved, or on one that was not followed to its end.
    Doubtful,
    /// On no list.
    No,
}

impl Listed {
    /// Whether the page is known to be free.
    pub(super) fn is_free(self) -> bool {
        matches!(self, Listed::Free | Listed::FreeFurther)
    }
}

impl ListRules {
    /// The rules, or the key that is missing.
    pub(super) fn new(layout: &PageLayout) -> Result<ListRules, &'static str> {
        Ok(ListRules {
            refcount: layout.refcount.ok_or("OFFSET(page._refcount)")?,
            mapcount: layout.mapcount.ok_or("OFFSET(page._mapcount)")?,
            lru: layout.lru.ok_or("OFFSET(page.lru)")?,
        })
    }

    /// The flags of a page of no type that nobody uses; those proper are clear.
    #[inline]
    fn unused(self, layout: &PageLayout, page: &[u8]) -> Option<u64> {
        let unused = layout.u32(page, self.refcount) == 0 && layout.u32(page, self.mapcount) == NO_TYPE;
        let flags = layout.u64(page, layout.flags);
        (unused && flags & FLAGS == 0 && layout.u64(page, layout.mapping) == 0).then_some(flags)
    }

    /// The links of a page of no type that nobody uses.
    #[inline]
    fn member(self, layout: &PageLayout, page: &[u8]) -> Option<Member> {
        let flags = self.unused(layout, page)?;
        let link = |at| VirtAddr(layout.u64(page, at));
        let (next, prev) = (link(self.lru), link(self.lru + 8));
        // Bit 0 is that of a tail page; other low bits are no address of a list.
        let is_link = |link: VirtAddr| link.0 != 0 && link.0.is_multiple_of(8);
        (is_link(next) && is_link(prev)).then_some(Member { flags, next, prev })
    }
}

impl CpuLists {
    /// What a page is whose structure is `page`, which the rules keep.
    #[inline]
    pub(super) fn judge(&mut self, judge: &Judge<'_>, rules: ListRules, page: &[u8], pfn: Pfn) -> Listed {
        if rules.unused(&judge.layout, page).is_none() {
            return Listed::No;
        }
        self.judge_unused(judge, rules, page, pfn)
    }

    fn judge_unused(&mut self, judge: &Judge<'_>, rules: ListRules, page: &[u8], pfn: Pfn) -> Listed {
        let member = rules.member(&judge.layout, page);
        let Some(member) = member else {
            let is_further = self.known(pfn) == Some(Listed::Free);
            return if is_further { Listed::FreeFurther } else { Listed::No };
        };
        if let Some(known) = self.known(pfn) {
            return known;
        }
        let near = RefCell::new(std::mem::take(&mut self.near));
        let ring = Ring::new(judge, rules, &near);
        let found = self.judge_member(&ring, judge.allocator.as_deref(), pfn, &member);
        self.near = near.into_inner();
        found
    }

    fn judge_member(
        &mut self,
        ring: &Ring<'_, '_>,
        allocator: Option<&Allocator>,
        pfn: Pfn,
        member: &Member,
    ) -> Listed {
        let Some(at) = ring.link_of(pfn) else { return Listed::No };
        // What is on no list points to itself or to what does not point back: most pages end here.
        if member.next == at || !ring.leads_back(member, at) {
            return Listed::No;
        }
        if !self.has_room(pfn) {
            return Listed::Doubtful;
        }
        let mut lists = vec![List::default()];
        let free = self.walk(ring, at, member.flags, &mut lists).and_then(|head| match allocator {
            None => lists.first_mut().map(|list| std::mem::take(&mut list.blocks)),
            Some(allocator) => self.prove(ring, allocator, head, member.flags, &mut lists),
        });
        match free {
            Some(pages) => {
                self.note(pages, Listed::Free);
                Listed::Free
            }
            None => {
                lists.into_iter().for_each(|list| self.note(list.blocks, Listed::Doubtful));
                Listed::Doubtful
            }
        }
    }

    /// The pages of all lists that a CPU has for a zone, if one of them has this head, all are whole, and they have as many
    /// pages as the zone counts. The first of `lists` is the one of this head; the others are added.
    fn prove(
        &mut self,
        ring: &Ring<'_, '_>,
        allocator: &Allocator,
        head: VirtAddr,
        flags: u64,
        lists: &mut Vec<List>,
    ) -> Option<Pages> {
        self.steps += allocator.pagesets.zones() as u64;
        let pageset = allocator.pagesets.of_head(head)?;
        for (at, order) in pageset.heads() {
            self.steps += 1;
            if at == head {
                lists.first_mut()?.order = order;
            } else if !ring.is_empty(at)? {
                lists.push(List::of(order));
                // The walk begins at the head, so this is the only one of the ring.
                self.walk(ring, at, flags, lists)?;
            }
        }
        let room = MAX_GROUPS.saturating_sub(self.known.len());
        blocks::all_pages(lists, ring.count(pageset.count_at())?, room)
    }

    fn known(&self, pfn: Pfn) -> Option<Listed> {
        let (group, bit) = blocks::place(pfn);
        let (free, doubtful) = self.known.get(&group)?;
        match (free & bit != 0, doubtful & bit != 0) {
            (true, _) => Some(Listed::Free),
            (_, true) => Some(Listed::Doubtful),
            _ => None,
        }
    }

    fn note(&mut self, pages: Pages, found: Listed) {
        for (group, bits) in pages.into_groups() {
            let (free, doubtful) = self.known.entry(group).or_default();
            *(if found == Listed::Free { free } else { doubtful }) |= bits;
        }
    }

    /// Makes room by forgetting what the walk has passed; false when there is none, or enough was read.
    fn has_room(&mut self, reached: Pfn) -> bool {
        let (reached, _) = blocks::place(reached);
        let step = if self.known.len() < MAX_GROUPS { STRIDE } else { BEHIND };
        let is_due = self.known.len() as u64 >= STRIDE && reached.abs_diff(self.forgotten) >= step;
        if is_due {
            self.forgotten = reached;
            // The other levels come to the same block of structures after this one.
            let passed = reached.saturating_sub(BEHIND);
            self.known.retain(|&group, _| group >= passed);
        }
        self.known.len() < MAX_GROUPS && self.steps < MAX_STEPS
    }

    /// Walks a list from one of its elements once around; its pages are added to the last of `lists` as far as they were
    /// met. The head, if the list is whole: it comes back by way of exactly one head, every link leads back, and every
    /// structure is that of a free page with these flags on no other list.
    fn walk(
        &mut self,
        ring: &Ring<'_, '_>,
        start: VirtAddr,
        flags: u64,
        lists: &mut [List],
    ) -> Option<VirtAddr> {
        let (list, others) = lists.split_last_mut()?;
        let others: usize = others.iter().map(|list| list.blocks.groups()).sum();
        let room = MAX_GROUPS.saturating_sub(self.known.len() + others);
        let (mut at, mut links, mut head) = (start, ring.links(start)?, None);
        loop {
            self.steps += 1;
            match links.pfn {
                Some(pfn) => {
                    let has_room = list.blocks.groups() < room && self.steps < MAX_STEPS;
                    let is_alike = links.flags == Some(flags) && self.known(pfn).is_none();
                    if !(has_room && is_alike && list.add(pfn)) {
                        return None;
                    }
                }
                None if head.is_none() => head = Some(at),
                None => return None,
            }
            let next = links.next;
            links = ring.links(next).filter(|links| links.prev == at)?;
            if next == start {
                return head;
            }
            at = next;
        }
    }
}
