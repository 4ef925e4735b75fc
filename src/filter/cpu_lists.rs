//! Free pages that CPUs keep on lists of their own for their next allocations: on no buddy list and of no type, so that a
//! page structure alone does not tell them. What proves one free is its list: a ring of page structures and of one list
//! head outside them, closed both ways, in which every structure is that of a free page of one zone. A list that is broken
//! anywhere, and one that does not fit, is kept whole and counted. Of a larger block only the first page is on a list, so
//! its others stay: their number is not in the structures.
//!
//! Source: Linux `mm/page_alloc.c` (`free_pages_prepare`, `free_unref_page`), `include/linux/mmzone.h`
//! (`struct per_cpu_pages`).

use super::judge::Judge;
use crate::mm::{KernelMemory, MemMap, NO_TYPE, Near, PageLayout};
use crate::units::{Pfn, VirtAddr};
use std::cell::RefCell;
use std::collections::HashMap;

/// The page flags proper: a free page has none. Above them are node, zone and the last CPU, alike in all free pages of a
/// zone. Every 64-bit kernel has 20 flags or more. Source: Linux `include/linux/page-flags.h`
/// (`PAGE_FLAGS_CHECK_AT_PREP`), `mm/page_alloc.c` (`page_cpupid_reset_last`).
const FLAGS: u64 = (1 << 20) - 1;
/// Pages whose verdicts are kept together.
const GROUP: u64 = 32;
/// Groups remembered at most, of about 24 bytes each: 1.5 MiB. Those before the walk are forgotten when it is full.
const MAX_GROUPS: usize = 1 << 16;
/// Structures read at most, of all lists together: those of 32 GiB of free pages on lists, in some seconds.
const MAX_STEPS: u64 = 1 << 23;

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
    /// By number of the group: which of its pages are on a list that is whole, which on one that is not.
    known: HashMap<u64, (u32, u32)>,
    steps: u64,
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
    /// On a list that is whole: free.
    Free,
    /// On a list that is not, or on one that was not followed to its end.
    Doubtful,
    /// On no list.
    No,
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

    /// The links of a page of no type that nobody uses.
    #[inline]
    fn member(self, layout: &PageLayout, page: &[u8]) -> Option<Member> {
        let unused = layout.u32(page, self.refcount) == 0 && layout.u32(page, self.mapcount) == NO_TYPE;
        let flags = layout.u64(page, layout.flags);
        if !unused || flags & FLAGS != 0 || layout.u64(page, layout.mapping) != 0 {
            return None;
        }
        let link = |at| VirtAddr(layout.u64(page, at));
        let (next, prev) = (link(self.lru), link(self.lru + 8));
        // Bit 0 is that of a tail page; other low bits are no address of a list.
        let is_link = |link: VirtAddr| link.0 != 0 && link.0.is_multiple_of(8);
        (is_link(next) && is_link(prev)).then_some(Member { flags, next, prev })
    }
}

impl CpuLists {
    /// What a page is whose structure is `page`, which the rules keep.
    pub(super) fn judge(&mut self, judge: &Judge<'_>, rules: ListRules, page: &[u8], pfn: Pfn) -> Listed {
        let Some(member) = rules.member(&judge.layout, page) else { return Listed::No };
        if let Some(known) = self.known(pfn) {
            return known;
        }
        let near = RefCell::new(std::mem::take(&mut self.near));
        let ring = Ring {
            memory: &judge.memory,
            mem_map: &judge.mem_map,
            layout: &judge.layout,
            rules,
            near: &near,
        };
        let found = self.judge_member(&ring, pfn, member);
        self.near = near.into_inner();
        found
    }

    fn judge_member(&mut self, ring: &Ring<'_, '_>, pfn: Pfn, member: Member) -> Listed {
        let Some(at) = ring.link_of(pfn) else { return Listed::No };
        // What is on no list points to itself or to what does not point back: most pages end here.
        if member.next == at || !ring.leads_back(&member, at) {
            return Listed::No;
        }
        if !self.has_room(pfn) {
            return Listed::Doubtful;
        }
        let (members, is_whole) = self.follow(ring, pfn, member);
        let found = if is_whole { Listed::Free } else { Listed::Doubtful };
        members.into_iter().for_each(|member| self.note(member, found));
        found
    }

    fn known(&self, pfn: Pfn) -> Option<Listed> {
        let (whole, broken) = self.known.get(&(pfn.0 / GROUP))?;
        let bit = 1 << (pfn.0 % GROUP);
        match (whole & bit != 0, broken & bit != 0) {
            (true, _) => Some(Listed::Free),
            (_, true) => Some(Listed::Doubtful),
            _ => None,
        }
    }

    fn note(&mut self, pfn: Pfn, found: Listed) {
        let (whole, broken) = self.known.entry(pfn.0 / GROUP).or_default();
        *(if found == Listed::Free { whole } else { broken }) |= 1 << (pfn.0 % GROUP);
    }

    /// Makes room by forgetting what the walk has passed; false when there is none, or enough was read.
    fn has_room(&mut self, reached: Pfn) -> bool {
        if self.known.len() >= MAX_GROUPS {
            self.known.retain(|&group, _| group >= reached.0 / GROUP);
        }
        self.known.len() < MAX_GROUPS && self.steps < MAX_STEPS
    }

    /// Follows the list of a page once around. Its pages as far as they were met, and whether the list is whole: it comes
    /// back to the page by way of exactly one head, every link leads back, and every structure is that of a free page of
    /// the same zone on no other list.
    fn follow(&mut self, ring: &Ring<'_, '_>, first: Pfn, member: Member) -> (Vec<Pfn>, bool) {
        let room = (MAX_GROUPS - self.known.len().min(MAX_GROUPS)) as u64;
        let (mut members, mut heads) = (vec![first], 0);
        let (mut at, mut next) = (ring.link_of(first).unwrap_or(member.next), member.next);
        while let Some(next_links) = ring.links(next).filter(|links| links.prev == at) {
            self.steps += 1;
            match next_links.pfn {
                Some(pfn) if pfn == first => return (members, heads == 1),
                Some(pfn) => {
                    let is_alike = next_links.flags == Some(member.flags) && self.known(pfn).is_none();
                    if !is_alike || members.len() as u64 >= room || self.steps >= MAX_STEPS {
                        break;
                    }
                    members.push(pfn);
                }
                None if heads == 0 => heads = 1,
                None => break,
            }
            (at, next) = (next, next_links.next);
        }
        (members, false)
    }
}

/// An element of a list: a page structure's, or a head.
struct Links {
    /// The page, and its flags where it is free; neither for a head.
    pfn: Option<Pfn>,
    flags: Option<u64>,
    next: VirtAddr,
    prev: VirtAddr,
}

/// What lists are followed with.
struct Ring<'j, 'a> {
    memory: &'j KernelMemory<'a>,
    mem_map: &'j MemMap,
    layout: &'j PageLayout,
    rules: ListRules,
    near: &'j RefCell<Near>,
}

impl Ring<'_, '_> {
    /// The address of a page's links.
    fn link_of(&self, pfn: Pfn) -> Option<VirtAddr> {
        Some(self.mem_map.struct_page(self.memory, pfn).ok()??.wrapping_add(self.rules.lru as u64))
    }

    /// Whether both neighbours of a page on a list point back to it.
    fn leads_back(&self, member: &Member, at: VirtAddr) -> bool {
        let word = |address: VirtAddr| {
            let mut word = [0; 8];
            self.read(address, &mut word).map(|()| self.layout.u64(&word, 0))
        };
        word(member.next.wrapping_add(8)) == Some(at.0) && word(member.prev) == Some(at.0)
    }

    fn read(&self, at: VirtAddr, bytes: &mut [u8]) -> Option<()> {
        self.near.borrow_mut().read(self.memory, at.0, bytes)
    }

    /// The element at an address.
    fn links(&self, at: VirtAddr) -> Option<Links> {
        let start = VirtAddr(at.0.wrapping_sub(self.rules.lru as u64));
        let Some(pfn) = self.mem_map.pfn_of(self.memory, start) else {
            let mut pair = [0; 16];
            self.read(at, &mut pair)?;
            let link = |from| VirtAddr(self.layout.u64(&pair, from));
            return Some(Links { pfn: None, flags: None, next: link(0), prev: link(8) });
        };
        let mut page = [0; 512];
        let page = page.get_mut(..self.layout.size)?;
        self.read(start, page)?;
        let Member { flags, next, prev } = self.rules.member(self.layout, page)?;
        Some(Links { pfn: Some(pfn), flags: Some(flags), next, prev })
    }
}

#[cfg(test)]
mod tests {
    use crate::filter::{Beyond, Classifier, Counts, DumpLevel, PageClass};
    use crate::mm::testing::{PAGES, SECTION, WINDOW, World};

    const HEAD: u64 = 0x8_0000;
    const PAGES_OF_LIST: [u64; 4] = [600, 3000, 601, 1500];

    fn link(pfn: u64) -> u64 {
        PAGES + pfn * 64 + 8
    }

    /// Links elements, given by the physical addresses of their links, to a ring.
    fn ring(world: &mut World, elements: &[u64]) {
        for (at, &element) in elements.iter().enumerate() {
            let next = elements[(at + 1) % elements.len()];
            world.put(element, WINDOW + next);
            world.put(next + 8, WINDOW + element);
        }
    }

    fn world() -> World {
        let mut world = World::new(4 * SECTION);
        for pfn in PAGES_OF_LIST {
            world.flags(pfn, 7 << 60);
            world.mapcount(pfn, -1);
        }
        let elements: Vec<u64> = std::iter::once(HEAD).chain(PAGES_OF_LIST.map(link)).collect();
        ring(&mut world, &elements);
        world
    }

    fn found(world: &World, level: u8, beyond: Beyond) -> (Vec<u64>, Counts) {
        let core = world.vmcore();
        let (mut classifier, warnings) = Classifier::of(&core, DumpLevel::new(level).unwrap(), beyond);
        assert!(warnings.is_empty(), "{warnings:?}");
        let mut free = Vec::new();
        while let Some(window) = classifier.next_window() {
            let pages = (window.range.start.0..).zip(window.classes);
            free.extend(pages.filter(|(_, class)| **class == PageClass::CpuList).map(|(pfn, _)| pfn));
        }
        (free, classifier.counts())
    }

    fn assert_kept(world: &World, doubtful: u64) {
        let (free, counts) = found(world, 31, Beyond::default());
        assert_eq!((free, counts.doubtful_lists), (vec![], doubtful));
    }

    #[test]
    fn a_list_that_is_whole_is_free() {
        let (free, counts) = found(&world(), 31, Beyond::default());
        assert_eq!(free, [600, 601, 1500, 3000]);
        assert_eq!((counts.of(PageClass::CpuList), counts.doubtful_lists), (4, 0));
        assert!(found(&world(), 15, Beyond::default()).0.is_empty());
        assert!(found(&world(), 31, Beyond::NOTHING).0.is_empty());
        let kept = Beyond { cpu_lists: false, ..Beyond::default() };
        assert!(found(&world(), 31, kept).0.is_empty());
    }

    #[test]
    fn a_list_that_is_broken_anywhere_is_kept_whole_and_counted() {
        // A link back that leads elsewhere: its page and the one before do not look like pages on a list.
        let mut world1 = world();
        world1.put(link(3000) + 8, WINDOW + link(1500));
        assert_kept(&world1, 2);
        // A page that somebody uses, one of another zone, one with a flag, one of a type.
        for (at, value) in [(48, u64::from(u32::MAX) | 1 << 32), (0, 6 << 60), (0, 7 << 60 | 1 << 5), (24, 8)]
        {
            let mut world = world();
            world.put(PAGES + 1500 * 64 + at, value);
            let (free, counts) = found(&world, 31, Beyond::default());
            assert!(free.is_empty() && counts.doubtful_lists >= 3, "{at}: {counts:?}");
        }
    }

    #[test]
    fn a_ring_has_one_head() {
        let mut none = world();
        ring(&mut none, &PAGES_OF_LIST.map(link));
        assert_kept(&none, 4);
        let mut two = world();
        let [a, b, c, d] = PAGES_OF_LIST.map(link);
        ring(&mut two, &[HEAD, a, b, HEAD + 0x100, c, d]);
        assert_kept(&two, 4);
    }

    #[test]
    fn pages_on_no_list_are_neither_free_nor_doubtful() {
        let mut world = World::new(4 * SECTION);
        for pfn in 600..604 {
            world.mapcount(pfn, -1);
        }
        ring(&mut world, &[link(601)]);
        world.put(link(602), 0xdead_0000_0000_0100);
        world.put(link(602) + 8, 0xdead_0000_0000_0122);
        world.put(link(603), WINDOW + HEAD);
        world.put(link(603) + 8, WINDOW + HEAD);
        assert_kept(&world, 0);
    }
}
