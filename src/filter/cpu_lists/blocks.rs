//! Sets of pages, and the pages of the blocks on all lists that a CPU has for a zone.

use crate::units::Pfn;
use std::collections::HashMap;

/// Pages whose bits are kept together.
const GROUP: u64 = 32;
/// The orders that huge pages have: above those of lists of their own, and at most 512 MiB in pages of 64 KiB.
const HUGE_ORDERS: std::ops::RangeInclusive<u32> = 4..=13;

/// The group of a page, and its bit in there.
pub(super) fn place(pfn: Pfn) -> (u64, u32) {
    (pfn.0 / GROUP, 1 << (pfn.0 % GROUP))
}

/// A set of pages.
#[derive(Default)]
pub(super) struct Pages(HashMap<u64, u32>);

impl Pages {
    /// Adds a page; false if it was there.
    fn add(&mut self, pfn: Pfn) -> bool {
        let (group, bit) = place(pfn);
        let bits = self.0.entry(group).or_default();
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }

    /// Adds the pages of another set; false if one of them was there.
    fn add_all(&mut self, other: &Pages) -> bool {
        other.0.iter().all(|(group, new)| {
            let bits = self.0.entry(*group).or_default();
            let is_new = *bits & new == 0;
            *bits |= new;
            is_new
        })
    }

    /// How many groups there are: what it takes.
    pub(super) fn groups(&self) -> usize {
        self.0.len()
    }

    /// Each group and its bits.
    pub(super) fn into_groups(self) -> impl Iterator<Item = (u64, u32)> {
        self.0.into_iter()
    }

    fn iter(&self) -> impl Iterator<Item = Pfn> {
        let bits = |(group, bits): (&u64, &u32)| {
            let (first, bits) = (group * GROUP, *bits);
            (0..GROUP).filter(move |bit| bits >> bit & 1 != 0).map(move |bit| Pfn(first + bit))
        };
        self.0.iter().flat_map(bits)
    }
}

/// A list of blocks of one order.
#[derive(Default)]
pub(super) struct List {
    /// The order, where the list's place tells it: `None` for huge pages.
    pub order: Option<u32>,
    /// First pages of the blocks.
    pub blocks: Pages,
    count: u64,
}

impl List {
    /// An empty list of blocks of an order.
    pub(super) fn of(order: Option<u32>) -> List {
        List { order, ..List::default() }
    }

    /// Adds a block; false if it was there.
    pub(super) fn add(&mut self, pfn: Pfn) -> bool {
        self.count += 1;
        self.blocks.add(pfn)
    }
}

/// All pages of the blocks on lists, if they are as many as `count`, each block is aligned, and no two have a page in common.
/// `None` as well for more groups of pages than there is `room` for.
pub(super) fn all_pages(lists: &[List], count: u64, room: usize) -> Option<Pages> {
    let small = lists.iter().filter_map(|list| Some(list.count << list.order?)).sum();
    let huge = lists.iter().filter(|list| list.order.is_none()).map(|list| list.count).sum();
    let huge_order = huge_order(count.checked_sub(small)?, huge)?;
    let mut pages = Pages::default();
    let taken: usize = lists.iter().map(|list| list.blocks.groups()).sum();
    for list in lists {
        let order = list.order.unwrap_or(huge_order);
        if order == 0 {
            if !pages.add_all(&list.blocks) || pages.groups() + taken > room {
                return None;
            }
            continue;
        }
        for block in list.blocks.iter() {
            let is_aligned = block.0.trailing_zeros() >= order;
            let all = block.0..block.saturating_add(1 << order).0;
            if !is_aligned || !all.map(Pfn).all(|pfn| pages.add(pfn)) || pages.groups() + taken > room {
                return None;
            }
        }
    }
    Some(pages)
}

/// The order of `blocks` huge blocks that have so many pages together; 0 where there is none of both.
fn huge_order(pages: u64, blocks: u64) -> Option<u32> {
    if blocks == 0 {
        return (pages == 0).then_some(0);
    }
    let each = pages / blocks;
    let order = each.checked_ilog2().filter(|order| each.is_power_of_two() && HUGE_ORDERS.contains(order))?;
    pages.is_multiple_of(blocks).then_some(order)
}
