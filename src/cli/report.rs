//! The report at the end of a collection, with makedumpfile's lines, so that the two can be compared
//! and parsers of the one read the other.

use super::size;
use crate::blocks::ClassCounts;
use std::fmt::Write as _;

/// The report's lines. `written` is the size of the dump in bytes.
pub fn lines(pages: &ClassCounts, level: u8, written: u64) -> String {
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
    let excluded: u64 = classes.iter().map(|(_, count)| count).sum();
    let remaining = pages.present.saturating_sub(excluded);
    let percent = remaining * 100 / pages.present.max(1);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Original pages  : {:#018x}", pages.present);
    let _ = writeln!(text, "  Excluded pages   : {excluded:#018x}");
    for (name, count) in classes {
        let _ = writeln!(text, "    {name:<23} : {count:#018x}");
    }
    if pages.unreadable > 0 {
        let _ = writeln!(text, "    {:<23} : {:#018x}", "Unreadable pages", pages.unreadable);
    }
    let _ = writeln!(text, "  Remaining pages  : {remaining:#018x}");
    for (name, count) in [("Unclassified pages", pages.unjudged), ("Doubtful pages", pages.doubtful)] {
        if count > 0 {
            let _ = writeln!(text, "    {name:<23} : {count:#018x}");
        }
    }
    let _ = writeln!(text, "  (The number of pages is reduced to {percent}%.)");
    let _ = writeln!(text, "Memory Hole     : {:#018x}", pages.total.saturating_sub(pages.present));
    let _ = writeln!(text, "--------------------------------------------------");
    let _ = writeln!(text, "Total pages     : {:#018x}", pages.total);
    let _ = writeln!(text, "Write bytes     : {written} ({})", size::show(written));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_makedumpfiles() {
        let pages = ClassCounts {
            present: 42_714,
            total: 63_450,
            zero: 0x100,
            cache: 0x641,
            ..ClassCounts::default()
        };
        let text = lines(&pages, 31, 31_427_032);
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
        let broken = lines(&ClassCounts { unreadable: 1, unjudged: 2, doubtful: 3, ..pages }, 31, 0);
        let more: Vec<&str> = broken.lines().filter(|line| !expected.contains(line)).collect();
        assert_eq!(
            more[..3],
            [
                "    Unreadable pages        : 0x0000000000000001",
                "    Unclassified pages      : 0x0000000000000002",
                "    Doubtful pages          : 0x0000000000000003",
            ]
        );
        assert!(lines(&pages, 30, 0).contains("zero  : 0x0000000000000000"));
    }
}
