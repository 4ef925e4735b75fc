//! `vmcore-decrypt --salvage`: a dump that is damaged or cut, restored as far as it is authentic, and what is reported of
//! it: first what was saved, then in a few lines what was lost; with `--json` all of it.

use super::super::{Failure, Status, input_name, output_name, say, stdout};
use super::restore::{watched, why_incomplete};
use super::{PROGRAM, input};
use crate::crypt::Identities;
use crate::reader::MissingParts;
use crate::restore::{KernelData, Losses, Part, Report, Written};
use crate::text::size;
use crate::units::{PfnRange, PfnSet};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How many faults, and how many ranges of lost pages, are named in lines.
const NAMED: usize = 3;

/// What was salvaged, for `--json`.
#[derive(Serialize)]
struct Salvaged<'a> {
    output: String,
    /// Whether nothing is lost, and nothing was missing when the dump was collected.
    complete: bool,
    saved: Saved,
    /// `whole`, `damaged` or `unknown`.
    kernel_data: &'static str,
    damaged_chunks: u64,
    /// Why the dump has no end, when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<String>,
    /// Authentic parts that are not what a dump holds.
    faults: u64,
    first_faults: &'a [String],
    lost: Pages,
    /// Memory in which more pages may be lost.
    doubtful: Pages,
    /// Of several files: the numbers of the parts that were not named, of many the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_parts: Option<&'a [u32]>,
    /// Of several files: those of which nothing could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<Vec<LeftOut>>,
}

/// A file of which nothing could be read.
#[derive(Serialize)]
struct LeftOut {
    name: String,
    error: String,
}

impl LeftOut {
    fn of((path, failure): &(&Path, Failure)) -> LeftOut {
        LeftOut { name: path.to_string_lossy().into_owned(), error: failure.message().to_owned() }
    }
}

/// What became of the files of a dump.
pub(super) struct Fate<'a> {
    /// Those that were read, and what each of them lost.
    files: Vec<(&'a Path, Losses)>,
    /// Those of which nothing could be read, and why.
    left_out: Vec<(&'a Path, Failure)>,
    /// The parts that were not named.
    missing: MissingParts,
    is_in_parts: bool,
}

impl<'a> Fate<'a> {
    /// Of a dump in one file.
    pub(super) fn of_whole(dump: &'a Path, report: &Report) -> Fate<'a> {
        let files = vec![(dump, report.losses.clone())];
        Fate { files, left_out: Vec::new(), missing: MissingParts::default(), is_in_parts: false }
    }

    /// The file that was read at this place.
    pub(super) fn path(&self, at: usize) -> Option<&'a Path> {
        self.files.get(at).map(|(path, _)| *path)
    }

    /// Takes note of what each file lost, and which parts there are besides.
    pub(super) fn settle(&mut self, losses: Vec<Losses>, missing: MissingParts) {
        self.files.iter_mut().zip(losses).for_each(|((_, own), losses)| *own = losses);
        self.missing = missing;
    }

    /// How messages call the dump.
    fn names(&self) -> String {
        let read = self.files.iter().map(|(path, _)| *path);
        let names = read.chain(self.left_out.iter().map(|(path, _)| *path)).map(input_name);
        names.collect::<Vec<_>>().join(", ")
    }

    /// The parts that are missing, in words.
    fn missing(&self) -> Option<String> {
        (self.missing.count > 0).then(|| self.missing.to_string())
    }

    /// Damage rather than a cut where there are both: what is only cut is all authentic.
    fn status(&self, report: &Report) -> Option<Status> {
        let left_out = |status| self.left_out.iter().any(|(_, failure)| failure.exit_status() == status);
        match &report.losses {
            losses if losses.is_damage() || left_out(Status::Damaged) => Some(Status::Damaged),
            losses if losses.cut.is_some() || left_out(Status::Truncated) => Some(Status::Truncated),
            _ if !report.complete => Some(Status::Incomplete),
            _ => None,
        }
    }
}

/// Opens what is there of a dump in parts. A part without a readable head is left out: nothing tells which one it is.
///
/// # Errors
/// A part cannot be opened for another reason than damage, or no part is left.
pub(super) fn find_parts<'a>(
    dumps: &'a [PathBuf],
    identities: &Identities,
) -> Result<(Vec<Part>, Fate<'a>), Failure> {
    let mut fate =
        Fate { files: Vec::new(), left_out: Vec::new(), missing: MissingParts::default(), is_in_parts: true };
    let mut parts = Vec::new();
    for path in dumps {
        match input::any_head(path, identities) {
            Ok(head) => {
                parts.push(Part { dump: watched("restoring", path)?, head });
                fate.files.push((path, Losses::default()));
            }
            Err(failure) if matches!(failure.exit_status(), Status::Damaged | Status::Truncated) => {
                fate.left_out.push((path, failure));
            }
            Err(failure) => return Err(failure),
        }
    }
    if parts.is_empty() {
        // The first one, since all are alike.
        return Err(fate.left_out.swap_remove(0).1);
    }
    Ok((parts, fate))
}

#[derive(Serialize)]
struct Saved {
    data_pages: u64,
    zero_pages: u64,
    /// Bytes of the pages with data.
    bytes: u64,
    /// Of the pages that the dump held, 0 to 1; absent when it is not known how many it held.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
}

/// Pages, as ranges of pfns: first, and the one after the last.
#[derive(Serialize)]
struct Pages {
    pages: u64,
    ranges: Vec<(u64, u64)>,
}

impl From<&PfnSet> for Pages {
    fn from(set: &PfnSet) -> Pages {
        Pages { pages: set.count(), ranges: set.iter().map(|range| (range.start.0, range.end.0)).collect() }
    }
}

/// Reports a salvage. The result is there whatever is reported; the status tells whether it is all.
///
/// # Errors
/// Damage, a missing end, or a dump that was incomplete when it was collected.
pub(super) fn report(fate: &Fate<'_>, output: &Path, report: &Report, json: bool) -> Result<(), Failure> {
    say(PROGRAM, "note", &saved(output, report));
    if json {
        print_json(fate, output, report)?;
    } else {
        lost(fate, &report.losses).iter().for_each(|line| say(PROGRAM, "warning", line));
    }
    let Some(status) = fate.status(report) else { return Ok(()) };
    let (dump, output) = (fate.names(), output_name(output));
    let why = match (status, fate.missing()) {
        (Status::Incomplete, Some(missing)) => format!("the dump is incomplete: {missing}"),
        (Status::Incomplete, None) => format!("the dump is incomplete: {}", why_incomplete(&report.pages)),
        _ => format!("{output} holds what is authentic, not all"),
    };
    let failure = Failure::new(status, format!("salvaging {dump}: {why}"));
    let has_more =
        !json && (report.losses.pages.ranges().len() > NAMED || report.losses.faults > NAMED as u64);
    Err(if has_more { failure.hint("--json lists all that is lost") } else { failure })
}

/// The sentence that tells what a restored dump holds.
pub(super) fn saved(output: &Path, report: &Report) -> String {
    let output = output_name(output);
    let Some(head) = &report.head else { return format!("{output} holds what another collector saved") };
    let Written { data, zero, kernel } = report.written;
    let bytes = size::show(data.saturating_mul(head.page_size));
    let mut text = format!("{output} holds {data} pages with data ({bytes}) and {zero} zero pages");
    if report.losses.is_none() {
        return text;
    }
    if let Some(share) = share(report) {
        text += &format!(", {:.1} % of the dump's", share * 100.0);
    }
    text + match kernel {
        KernelData::Whole => "; the kernel's own data are whole",
        KernelData::Damaged => "; some of the kernel's own data are lost",
        KernelData::Unknown => "; whether the kernel's own data are whole is not known",
    }
}

/// Which share of the dump's pages was saved, 0 to 1, when it is known how many there were.
fn share(report: &Report) -> Option<f64> {
    let Written { data, zero, .. } = report.written;
    let saved = data + zero;
    let counted = report.pages.saved.saturating_add(report.pages.zero);
    let held = match (counted, report.losses.doubtful.is_empty()) {
        (0, false) => return None,
        (0, true) => saved + report.losses.pages.count(),
        (counted, _) => counted.max(saved),
    };
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    (held > 0).then(|| saved as f64 / held as f64)
}

/// At most a few lines on what was lost.
fn lost(fate: &Fate<'_>, losses: &Losses) -> Vec<String> {
    let left_out = fate.left_out.iter().map(|(_, failure)| format!("left out: {}", failure.message()));
    let mut lines: Vec<String> = left_out.chain(fate.missing()).collect();
    lines.extend(fate.files.iter().flat_map(|(path, losses)| faults(path, losses)));
    lines.extend(ranges("lost pages", &losses.pages));
    lines.extend(ranges("pages may also be lost", &losses.doubtful));
    lines
}

/// What is wrong with a file.
fn faults(dump: &Path, losses: &Losses) -> Vec<String> {
    let dump = input_name(dump);
    let mut lines = Vec::new();
    if losses.chunks > 0 {
        lines.push(format!("{} chunks of {dump} are damaged", losses.chunks));
    }
    if let Some(cut) = &losses.cut {
        lines.push(format!("{dump} is {cut}"));
    }
    lines.extend(losses.first_faults.iter().take(NAMED).map(|fault| format!("in {dump}: {fault}")));
    if let Some(more) = losses.faults.checked_sub(NAMED as u64 + 1) {
        lines.push(format!("in {dump}: {} faults more", more + 1));
    }
    lines
}

fn ranges(what: &str, pages: &PfnSet) -> Option<String> {
    if pages.is_empty() {
        return None;
    }
    let name = |range: &PfnRange| format!("pfn {:#x} to {:#x}", range.start.0, range.end.0 - 1);
    let named: Vec<String> = pages.ranges().iter().take(NAMED).map(name).collect();
    let more = match pages.ranges().len().checked_sub(NAMED + 1) {
        Some(more) => format!(", and {} ranges more", more + 1),
        None => String::new(),
    };
    Some(format!("{what}: {} ({}{more})", pages.count(), named.join(", ")))
}

fn print_json(fate: &Fate<'_>, output: &Path, report: &Report) -> Result<(), Failure> {
    let losses = &report.losses;
    let page_size = report.head.as_ref().map_or(0, |head| head.page_size);
    let Written { data, zero, kernel } = report.written;
    let salvaged = Salvaged {
        output: output.to_string_lossy().into_owned(),
        complete: report.complete,
        saved: Saved {
            data_pages: data,
            zero_pages: zero,
            bytes: data.saturating_mul(page_size),
            share: share(report),
        },
        kernel_data: match kernel {
            KernelData::Whole => "whole",
            KernelData::Damaged => "damaged",
            KernelData::Unknown => "unknown",
        },
        damaged_chunks: losses.chunks,
        cut: losses.cut.map(|cut| cut.to_string()),
        faults: losses.faults,
        first_faults: &losses.first_faults,
        lost: Pages::from(&losses.pages),
        doubtful: Pages::from(&losses.doubtful),
        missing_parts: fate.is_in_parts.then_some(&fate.missing.first[..]),
        left_out: fate.is_in_parts.then(|| fate.left_out.iter().map(LeftOut::of).collect()),
    };
    stdout::print_json("what was salvaged", &salvaged)
}
