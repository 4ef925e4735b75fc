//! `vmcore-decrypt --salvage`: a dump that is damaged or cut, restored as far as it is authentic, and what is reported of
//! it: first what was saved, then in a few lines what was lost; with `--json` all of it.

use super::super::{Failure, Status, input_name, output_name, say, stdout};
use super::PROGRAM;
use super::restore::why_incomplete;
use crate::restore::{KernelData, Losses, Report, Written};
use crate::text::size;
use crate::units::{PfnRange, PfnSet};
use serde::Serialize;
use std::path::Path;

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
pub(super) fn report(dump: &Path, output: &Path, report: &Report, json: bool) -> Result<(), Failure> {
    say(PROGRAM, "note", &saved(output, report));
    if json {
        print_json(output, report)?;
    } else {
        lost(dump, &report.losses).iter().for_each(|line| say(PROGRAM, "warning", line));
    }
    let Some(status) = status(report) else { return Ok(()) };
    let (dump, output) = (input_name(dump), output_name(output));
    let why = match status {
        Status::Incomplete => format!("the dump is incomplete: {}", why_incomplete(&report.pages)),
        _ => format!("{output} holds what is authentic, not all"),
    };
    let failure = Failure::new(status, format!("salvaging {dump}: {why}"));
    let has_more =
        !json && (report.losses.pages.ranges().len() > NAMED || report.losses.faults > NAMED as u64);
    Err(if has_more { failure.hint("--json lists all that is lost") } else { failure })
}

/// Damage rather than a cut where there are both: what is only cut is all authentic.
fn status(report: &Report) -> Option<Status> {
    match &report.losses {
        losses if losses.is_damage() => Some(Status::Damaged),
        losses if losses.cut.is_some() => Some(Status::Truncated),
        _ if !report.complete => Some(Status::Incomplete),
        _ => None,
    }
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
fn lost(dump: &Path, losses: &Losses) -> Vec<String> {
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
    lines.extend(ranges("lost pages", &losses.pages));
    lines.extend(ranges("pages may also be lost", &losses.doubtful));
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

fn print_json(output: &Path, report: &Report) -> Result<(), Failure> {
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
    };
    stdout::print_json("what was salvaged", &salvaged)
}
