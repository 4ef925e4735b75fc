//! A dump in parts of which some are damaged, cut or missing, salvaged: each costs only itself.

use super::arrange::Arranger;
use super::chunks::ChunkSource;
use super::frames::FrameParser;
use super::salvage::Outcome;
use super::{Error, KernelData, Losses, Output, Report, Written, unpack};
use crate::blocks::{ClassCounts, Tail};
use crate::crypt::Identities;
use crate::reader::{DumpHead, Joined, MissingParts};
use crate::units::{PfnRange, PfnSet};
use std::io::BufRead;
use std::num::NonZero;

/// A part of a dump, to be read from front to back, and its head, from its beginning or from the copy at its end.
pub struct Part {
    /// The part.
    pub dump: Box<dyn BufRead + Send>,
    /// Its head ([`crate::reader::any_head`]).
    pub head: DumpHead,
}

/// What became of a dump in parts.
pub struct SalvagedParts {
    /// Of all parts together. Its losses are those of the parts, and the memory that missing parts had.
    pub report: Report,
    /// What each part lost, in the order in which they were given.
    pub losses: Vec<Losses>,
    /// The parts that were not given.
    pub missing: MissingParts,
}

/// Salvages a dump from those of its parts that are there, in any order; see [`super::salvage`].
///
/// # Errors
/// As [`super::salvage`], with the place in the list of the part concerned; [`Error::Parts`] when a part comes twice or is of
/// another dump: nothing was written then.
pub fn salvage_parts(
    parts: Vec<Part>,
    identities: &Identities,
    output: Output<'_>,
    threads: NonZero<usize>,
) -> Result<SalvagedParts, (usize, Error)> {
    let (head, missing) = check(&parts).map_err(|why| (0, Error::Parts(why)))?;
    let given: PfnSet = parts.iter().map(|part| part.head.facts.pages()).collect();
    let form = output.form();
    let mut arranger = Arranger::salvaging_parts(output);
    let mut sum = Sum::default();
    for (at, Part { mut dump, head }) in parts.into_iter().enumerate() {
        let salvage = || {
            let key = identities.open(&mut dump)?.key;
            arranger.begin_salvaged(head);
            let mut frames = FrameParser::salvaging();
            unpack(ChunkSource::new(&mut *dump), &key, form, threads, &mut frames, &mut arranger)?;
            arranger.end_salvaged(frames.into_tracker())
        };
        let (outcome, tail) = salvage().map_err(|error| (at, error))?;
        sum.add(outcome, tail.as_ref());
    }
    if missing.count > 0 {
        let all: PfnSet = [PfnRange::new(0, head.max_mapnr)].into_iter().collect();
        sum.miss(&all.without(&given), arranger.memory());
    }
    let complete = sum.is_complete && missing.count == 0 && sum.all.is_none();
    let (data, zero) = arranger.finish_salvaged(complete).map_err(|error| (0, error))?;
    let written = Written { data, zero, kernel: sum.kernel };
    let pages = if sum.is_counted { sum.pages } else { ClassCounts::default() };
    let report = Report { head: Some(head), pages, complete, losses: sum.all, written };
    Ok(SalvagedParts { report, losses: sum.each, missing })
}

/// Whether the parts are of one dump, each once and each with pages of its own; the head of the whole.
fn check(parts: &[Part]) -> Result<(crate::blocks::Head, MissingParts), String> {
    let mut joined = Joined::default();
    let mut ranges = Vec::new();
    for Part { head, .. } in parts {
        joined.begin(&head.facts)?;
        ranges.push(head.facts.pages());
    }
    ranges.sort_by_key(|range| range.start);
    if ranges.windows(2).any(|pair| pair[0].end > pair[1].start) {
        return Err("two of them claim the same pages".to_owned());
    }
    joined.partial()
}

/// What the parts add up to.
struct Sum {
    all: Losses,
    each: Vec<Losses>,
    kernel: KernelData,
    pages: ClassCounts,
    /// Whether every part has counted its pages.
    is_counted: bool,
    is_complete: bool,
}

impl Default for Sum {
    fn default() -> Sum {
        Sum {
            all: Losses::default(),
            each: Vec::new(),
            kernel: KernelData::Whole,
            pages: ClassCounts::default(),
            is_counted: true,
            is_complete: true,
        }
    }
}

impl Sum {
    fn add(&mut self, outcome: Outcome, tail: Option<&Tail>) {
        self.all.join(&outcome.losses);
        self.kernel = self.kernel.join(outcome.kernel);
        self.each.push(outcome.losses);
        self.is_counted &= tail.is_some();
        self.is_complete &= tail.is_some_and(Tail::is_complete);
        self.pages = tail.map_or(self.pages, |tail| self.pages.join(tail.pages));
    }

    /// Of the ranges of missing parts nothing is known but where there was memory.
    fn miss(&mut self, ranges: &PfnSet, memory: &PfnSet) {
        let doubtful = ranges.iter().flat_map(|range| memory.intersect(range)).collect();
        self.all.join(&Losses { doubtful, ..Losses::default() });
        self.kernel = self.kernel.join(KernelData::Unknown);
        self.is_counted = false;
    }
}
