//! One dump in several files that are written at the same time: each part is a dump of its own, with its own file
//! key, of the pages of one range. Here the ranges are chosen, so that each part gets about as many pages.

use crate::blocks::PartFacts;
use crate::filter::{DumpLevel, Survey, Wanted};
use crate::raw;
use crate::units::{Pfn, PfnRange};
use std::io;

/// A part of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What all parts have in common: 32 hex digits.
    pub set: String,
    /// Its number, from 1.
    pub number: u32,
    /// How many parts there are.
    pub of: u32,
    /// Its pages; a range may be empty.
    pub range: PfnRange,
}

impl Part {
    /// The same as the head of the part's stream has it.
    pub(super) fn facts(&self) -> PartFacts {
        let PfnRange { start, end } = self.range;
        PartFacts { set: self.set.clone(), number: self.number, of: self.of, start: start.0, end: end.0 }
    }
}

/// Divides the pages that a dump at `level` keeps into `parts` ranges of about equal numbers of them. Ranges end where
/// windows of classification do, at multiples of 128 MiB of 4 KiB pages. Judges all pages, unless they were judged before.
///
/// # Errors
/// The kernel gives no random bytes for the name of the set.
pub fn divide(survey: &Survey<'_>, level: DumpLevel, parts: u32) -> io::Result<Vec<Part>> {
    let set = raw::show_id(&raw::new_id()?);
    let end = survey.max_mapnr().0;
    let mut pages = survey.pages(level, Wanted::Kept, PfnRange { start: Pfn(0), end: Pfn(end) });
    let (mut windows, mut total) = (Vec::new(), 0);
    while let Some(pages) = pages.next_window() {
        total += pages.wanted.iter().map(|range| range.count()).sum::<u64>();
        windows.push((pages.window.end.0, total));
    }
    let ends = (1..=parts).map(|number| {
        if number == parts { end } else { boundary(&windows, total * u64::from(number) / u64::from(parts)) }
    });
    let mut start = 0;
    let part = |(number, end)| {
        let range = PfnRange::new(start, end);
        start = range.end.0;
        Part { set: set.clone(), number, of: parts, range }
    };
    Ok((1..).zip(ends).map(part).collect())
}

/// Where the windows that hold the first `wanted` kept pages end: (end, kept pages up to there) of each, ascending.
fn boundary(windows: &[(u64, u64)], wanted: u64) -> u64 {
    let reached = windows.partition_point(|&(_, kept)| kept < wanted);
    windows.get(reached).map_or(0, |&(end, _)| end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_where_enough_pages_are_reached() {
        let windows = [(8, 5), (16, 5), (32, 9), (40, 20)];
        let found = [0, 1, 5, 6, 9, 10, 20].map(|wanted| boundary(&windows, wanted));
        assert_eq!(found, [8, 8, 8, 32, 32, 40, 40]);
        assert_eq!(boundary(&[], 0), 0);
    }
}
