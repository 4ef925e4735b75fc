//! The report at the end of a collection, with makedumpfile's lines, so that the two can be compared
//! and parsers of the one read the other.

use crate::collect::Report;
use crate::text::size;
use std::fmt::Write as _;

/// The report's last line of a kernel that was running.
pub(super) const MOVING_TARGET: &str =
    "Moving target   : the kernel was running while its memory was saved\n";

/// A name and how many pages it counts.
type Count = (&'static str, u64);

/// The report's lines, of a dump at `level`.
pub(super) fn lines(report: &Report, level: u8) -> String {
    let Report { pages, complete, written, .. } = report;
    // Zero pages count as excluded only where the level asks for it, as makedumpfile counts.
    let zero = if level & 1 == 0 { 0 } else { pages.zero };
    let classes = [
        ("Pages filled with zero", zero),
        ("Non-private cache pages", pages.cache),
        ("Private cache pages", pages.cache_private),
        ("User process data pages", pages.user),
        ("Free pages", pages.free),
        ("Hwpoison pages", pages.hwpoison),
        ("Offline pages", pages.offline),
    ];
    // What makedumpfile keeps, so that its lines stay its own.
    let more = [
        ("Offlined block pages", pages.offlined),
        ("Free pages on CPU lists", pages.cpu_lists),
        ("Page structures", pages.structures),
    ];
    let excluded: u64 = classes.iter().chain(&more).map(|(_, count)| count).sum::<u64>() + pages.left_out;
    let kept = pages.present.saturating_sub(excluded).saturating_sub(pages.lost());
    // Where a size limit ended the dump, what was kept is not all there, and not all was classified.
    let remaining = if *complete { kept } else { pages.saved + pages.zero - zero };
    let percent = remaining * 100 / pages.present.max(1);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Original pages  : {:#018x}", pages.present);
    let _ = writeln!(text, "  Excluded pages   : {excluded:#018x}");
    for (name, count) in classes {
        let _ = writeln!(text, "    {name:<23} : {count:#018x}");
    }
    let others = [
        ("Left out before", pages.left_out),
        ("Unreadable pages", pages.unreadable),
        ("Missing pages", pages.missing),
    ];
    some(&mut text, &more);
    some(&mut text, &others);
    if !complete {
        let _ =
            writeln!(text, "    {:<23} : {:#018x}", "Pages behind the limit", kept.saturating_sub(remaining));
    }
    let _ = writeln!(text, "  Remaining pages  : {remaining:#018x}");
    let kept_though = [
        ("Unclassified pages", pages.unjudged),
        ("Doubtful pages", pages.doubtful),
        ("Doubtful list pages", pages.doubtful_lists),
    ];
    some(&mut text, &kept_though);
    let _ = writeln!(text, "  (The number of pages is reduced to {percent}%.)");
    let _ = writeln!(text, "Memory Hole     : {:#018x}", pages.total.saturating_sub(pages.present));
    let _ = writeln!(text, "--------------------------------------------------");
    let _ = writeln!(text, "Total pages     : {:#018x}", pages.total);
    let _ = writeln!(text, "Write bytes     : {written} ({})", size::show(*written));
    text
}

/// Adds a line for each count that is not 0.
fn some(text: &mut String, counts: &[Count]) {
    for (name, count) in counts.iter().filter(|(_, count)| *count > 0) {
        let _ = writeln!(text, "    {name:<23} : {count:#018x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::ClassCounts;

    fn report(saved: u64, complete: bool) -> Report {
        let pages = ClassCounts {
            present: 42_714,
            total: 63_450,
            zero: 0x100,
            cache: 0x641,
            saved,
            ..ClassCounts::default()
        };
        Report { pages, complete, written: 31_427_032, first_failure: None, notes_lost: 0 }
    }

    #[test]
    fn the_lines_are_makedumpfiles() {
        let text = lines(&report(0x9f99, true), 31);
        let expected = "\
Original pages  : 0x000000000000a6da
  Excluded pages   : 0x0000000000000741
    Pages filled with zero  : 0x0000000000000100
    Non-private cache pages : 0x0000000000000641
    Private cache pages     : 0x0000000000000000
    User process data pages : 0x0000000000000000
    Free pages              : 0x0000000000000000
    Hwpoison pages          : 0x0000000000000000
    Offline pages           : 0x0000000000000000
  Remaining pages  : 0x0000000000009f99
  (The number of pages is reduced to 95%.)
Memory Hole     : 0x0000000000005100
--------------------------------------------------
Total pages     : 0x000000000000f7da
Write bytes     : 31427032 (30.0 MiB)
";
        assert_eq!(text, expected);
        let mut damaged = report(0x9f99, true);
        damaged.pages =
            ClassCounts { offlined: 5, unreadable: 1, missing: 4, unjudged: 2, doubtful: 3, ..damaged.pages };
        let broken = lines(&damaged, 31);
        let more: Vec<&str> = broken.lines().filter(|line| !expected.contains(line)).collect();
        assert_eq!(
            more[..7],
            [
                "  Excluded pages   : 0x0000000000000746",
                "    Offlined block pages    : 0x0000000000000005",
                "    Unreadable pages        : 0x0000000000000001",
                "    Missing pages           : 0x0000000000000004",
                "  Remaining pages  : 0x0000000000009f8f",
                "    Unclassified pages      : 0x0000000000000002",
                "    Doubtful pages          : 0x0000000000000003",
            ]
        );
        assert!(lines(&report(0x9f99, true), 30).contains("zero  : 0x0000000000000000"));
    }

    #[test]
    fn a_dump_that_was_cut_counts_what_it_has() {
        let text = lines(&report(0x99, false), 31);
        assert!(text.contains("    Pages behind the limit  : 0x0000000000009f00\n"), "{text}");
        assert!(text.contains("  Remaining pages  : 0x0000000000000099\n"), "{text}");
        assert!(text.contains("reduced to 0%"), "{text}");
        assert!(lines(&report(0x99, false), 30).contains("  Remaining pages  : 0x0000000000000199\n"));
    }
}
