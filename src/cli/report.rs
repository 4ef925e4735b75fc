//! The report at the end of a collection, with makedumpfile's lines, so that the two can be compared
//! and parsers of the one read the other.

use crate::blocks::ClassCounts;
use crate::collect::Report;
use crate::text::size;

/// The report's last line of a kernel that was running.
pub(super) const MOVING_TARGET: &str =
    "Moving target   : the kernel was running while its memory was saved\n";

/// A name and how many pages it counts.
type Count = (&'static str, u64);

/// The report's lines, of a dump at `level`.
pub(super) fn lines(report: &Report, level: u8) -> String {
    let pages = &report.pages;
    let counts = Counts::of(report, level);
    let mut text = format!("Original pages  : {:#018x}\n", pages.present);
    text += &format!("  Excluded pages   : {:#018x}\n", counts.excluded);
    text += &rows(counts.classes.iter());
    text += &rows(counts.ours.iter().chain(&counts.not_saved).filter(|(_, count)| *count > 0));
    text += &format!("  Remaining pages  : {:#018x}\n", counts.remaining);
    text += &rows(counts.kept_though.iter().filter(|(_, count)| *count > 0));
    text += &proof(report).unwrap_or_default();
    let percent = counts.remaining * 100 / pages.present.max(1);
    text += &format!("  (The number of pages is reduced to {percent}%.)\n");
    text += &format!("Memory Hole     : {:#018x}\n", pages.total.saturating_sub(pages.present));
    text += "--------------------------------------------------\n";
    text += &format!("Total pages     : {:#018x}\n", pages.total);
    text + &format!("Write bytes     : {} ({})\n", report.written, size::show(report.written))
}

/// The line that tells by what pages on lists of CPUs are known to be free, where there are any.
fn proof(report: &Report) -> Option<String> {
    let has_lists = report.pages.cpu_lists > 0 || report.pages.doubtful_lists > 0;
    let proof = report.proof.as_ref().filter(|_| has_lists)?;
    Some(format!("    {:<23} : {proof}\n", "Proof of CPU lists"))
}

/// A line for each count.
fn rows<'a>(counts: impl Iterator<Item = &'a Count>) -> String {
    counts.map(|(name, count)| format!("    {name:<23} : {count:#018x}\n")).collect()
}

/// What the lines count.
struct Counts {
    /// What makedumpfile excludes as well: its lines are always there.
    classes: [Count; 7],
    /// What makedumpfile keeps, so that its lines stay its own.
    ours: [Count; 4],
    excluded: u64,
    not_saved: [Count; 4],
    remaining: u64,
    kept_though: [Count; 3],
}

impl Counts {
    fn of(report: &Report, level: u8) -> Counts {
        let pages = &report.pages;
        // Zero pages count as excluded only where the level asks for it, as makedumpfile counts.
        let zero = if level & 1 == 0 { 0 } else { pages.zero };
        let classes = classes(pages, zero);
        let ours = [
            ("Offlined block pages", pages.offlined),
            ("Free pages on CPU lists", pages.cpu_lists),
            ("Compressed user pages", pages.compressed),
            ("Page structures", pages.structures),
        ];
        let excluded = classes.iter().chain(&ours).map(|(_, count)| count).sum::<u64>() + pages.left_out;
        let kept = pages.present.saturating_sub(excluded).saturating_sub(pages.lost());
        // Where a size limit ended the dump, what was kept is not all there, and not all was classified.
        let remaining = if report.complete { kept } else { pages.saved + pages.zero - zero };
        let not_saved = [
            ("Left out before", pages.left_out),
            ("Unreadable pages", pages.unreadable),
            ("Missing pages", pages.missing),
            ("Pages beyond the limit", kept.saturating_sub(remaining)),
        ];
        let kept_though = [
            ("Unclassified pages", pages.unjudged),
            ("Doubtful pages", pages.doubtful),
            ("Doubtful list pages", pages.doubtful_lists),
        ];
        Counts { classes, ours, excluded, not_saved, remaining, kept_though }
    }
}

fn classes(pages: &ClassCounts, zero: u64) -> [Count; 7] {
    [
        ("Pages filled with zero", zero),
        ("Non-private cache pages", pages.cache),
        ("Private cache pages", pages.cache_private),
        ("User process data pages", pages.user),
        ("Free pages", pages.free),
        ("Hwpoison pages", pages.hwpoison),
        ("Offline pages", pages.offline),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Proof;

    fn report(saved: u64, complete: bool) -> Report {
        let pages = ClassCounts {
            present: 42_714,
            total: 63_450,
            zero: 0x100,
            cache: 0x641,
            saved,
            ..ClassCounts::default()
        };
        Report { pages, complete, written: 31_427_032, first_failure: None, notes_lost: 0, proof: None }
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
    fn what_proved_pages_on_lists_free_is_a_line_where_there_are_any() {
        let mut report = Report { proof: Some(Proof::Zones), ..report(0x9f99, true) };
        assert!(!lines(&report, 31).contains("Proof"));
        report.pages.doubtful_lists = 1;
        assert!(lines(&report, 31).contains("\n    Proof of CPU lists      : by the zones' own counts\n"));
        report.proof = Some(Proof::Lists("the kernel has no symbol x".to_owned()));
        assert!(lines(&report, 31).contains(" : by the lists alone: the kernel has no symbol x\n"));
    }

    #[test]
    fn a_dump_that_was_cut_counts_what_it_has() {
        let text = lines(&report(0x99, false), 31);
        assert!(text.contains("    Pages beyond the limit  : 0x0000000000009f00\n"), "{text}");
        assert!(text.contains("  Remaining pages  : 0x0000000000000099\n"), "{text}");
        assert!(text.contains("reduced to 0%"), "{text}");
        assert!(lines(&report(0x99, false), 30).contains("  Remaining pages  : 0x0000000000000199\n"));
    }
}
