//! What a valid dump is, as far as its maps tell: every page is in one block, none is outside of the dump, and the maps
//! hold no fewer pages than the tail counts. Every command that opens a dump asks here, whether it reads the maps from
//! the index or from the stream, so all give the same verdict.

use super::{BlockMap, ClassCounts, Error};
use crate::units::{Pfn, PfnRange};

/// The pages that the maps of a stream name, as they come.
#[derive(Default)]
pub struct NamedPages {
    runs: Vec<PfnRange>,
}

impl NamedPages {
    /// Adds those of a block.
    pub fn add(&mut self, map: &BlockMap) {
        self.runs.extend(map.runs.iter().map(|run| run.pages));
    }

    /// Judges them all; as [`judge_pages`].
    ///
    /// # Errors
    /// As [`judge_pages`].
    pub fn judge(mut self, end: Pfn, counts: Option<&ClassCounts>) -> Result<(), Error> {
        self.runs.sort_unstable_by_key(|run| run.start);
        judge_pages(self.runs.into_iter(), end, counts)
    }
}

/// Judges the runs of pages of all blocks, ascending by their start, of a dump that describes the pfns before `end`.
/// `counts` are those of the tail; absent where the tail is lost or blocks were passed over. Maps may name more pages
/// than the tail counts: where a size limit leaves no room for descriptors, the last pages have none.
///
/// # Errors
/// [`Error::Malformed`] when a page is in two blocks or outside of the dump, or when the tail counts more pages.
pub fn judge_pages(
    runs: impl Iterator<Item = PfnRange>,
    end: Pfn,
    counts: Option<&ClassCounts>,
) -> Result<(), Error> {
    let malformed = |why: String| Err(Error::malformed("maps of the dump", why));
    let (mut next, mut pages) = (Pfn(0), 0_u64);
    for run in runs {
        if run.start < next {
            return malformed(format!("{} comes in two blocks", run.start));
        }
        if run.end > end {
            return malformed(format!("{} lies outside of the dump", run.start.max(end)));
        }
        next = run.end;
        pages = pages.saturating_add(run.count());
    }
    let counted = counts.map_or(0, |counts| counts.saved.saturating_add(counts.zero));
    if counted > pages {
        return malformed(format!("they name {pages} pages, and the tail counts {counted}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::RunKind;

    fn judged(runs: &[(u64, u64)], counts: Option<u64>) -> Result<(), String> {
        let mut pages = NamedPages::default();
        for &(start, end) in runs {
            let mut map = BlockMap::default();
            map.push_run(PfnRange::new(start, end), RunKind::Data);
            pages.add(&map);
        }
        let counts = counts.map(|saved| ClassCounts { saved, ..ClassCounts::default() });
        pages.judge(Pfn(100), counts.as_ref()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_page_is_once_inside_and_counted() {
        assert_eq!(judged(&[(50, 100), (0, 50)], Some(100)), Ok(()));
        assert_eq!(judged(&[(50, 60)], Some(3)), Ok(()));
        assert_eq!(judged(&[], None), Ok(()));
        let why = |runs: &[(u64, u64)], counts| judged(runs, counts).unwrap_err();
        assert!(why(&[(5, 9), (0, 6)], None).ends_with("pfn 0x5 comes in two blocks"));
        assert!(why(&[(5, 9), (5, 9)], None).ends_with("pfn 0x5 comes in two blocks"));
        assert!(why(&[(99, 101)], None).ends_with("pfn 0x64 lies outside of the dump"));
        assert!(why(&[(500, 501)], None).ends_with("pfn 0x1f4 lies outside of the dump"));
        assert!(why(&[(0, 9)], Some(10)).ends_with("they name 9 pages, and the tail counts 10"));
        assert!(why(&[], Some(u64::MAX)).contains("they name 0 pages"));
    }
}
