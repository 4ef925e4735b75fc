//! The facts of a dump as a person reads them.

use super::{Info, Inside, Payload};
use crate::blocks::ClassCounts;
use crate::klog::CrashFacts;
use crate::text::{counted, printable, rfc3339, size};
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

/// Columns of the longest bar.
const BAR: u64 = 30;
/// Columns before a bar, and one after it that stays free.
const BEFORE_BAR: u64 = 41;

/// The facts, line by line.
pub(super) fn show(name: &str, info: &Info) -> String {
    let mut text = String::new();
    line(&mut text, "File", &format!("{name}, {}", size::show(info.file_size)));
    line(&mut text, "Opened by", &recipients(&info.recipients));
    line(&mut text, "Payload", payload(info.payload));
    if let Some(set) = &info.set {
        let end = if set.end_mark { "and the end mark" } else { "no end mark" };
        line(&mut text, "Objects", &format!("{}, {end}", set.objects));
    }
    if let Some(dump) = &info.dump {
        show_inside(&mut text, dump, info.file_size);
    }
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name:<15} {}", printable(value));
}

/// `X25519 (2), ssh-ed25519`.
fn recipients(types: &[String]) -> String {
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for kind in types {
        match counted.iter_mut().find(|(name, _)| name == kind) {
            Some((_, count)) => *count += 1,
            None => counted.push((kind, 1)),
        }
    }
    let words = counted.iter().map(|(name, count)| match count {
        1 => (*name).to_owned(),
        count => format!("{name} ({count})"),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn payload(payload: Payload) -> &'static str {
    match payload {
        Payload::Complete => "complete, its final chunk is authentic",
        Payload::Cut => "CUT, its final chunk is missing",
        Payload::Unknown => "of a possible length; -i checks whether it is cut",
    }
}

fn show_inside(text: &mut String, dump: &Inside, file_size: u64) {
    let known = |value: &str| if value.is_empty() { "unknown".to_owned() } else { value.to_owned() };
    let saved = dump.data_pages.saturating_mul(dump.page_size);
    line(text, "Kernel release", &known(&dump.release));
    if dump.live {
        line(text, "Memory", "a moving target: the kernel was running while it was saved");
    }
    if let Some((number, of)) = dump.part {
        line(text, "Part", &format!("{number} of {of}, the pages of the others are not here"));
    }
    line(text, "Machine", &format!("{}, {}", known(&dump.machine), counted(dump.cpus, "CPU")));
    line(text, "Node", &known(&dump.node));
    line(text, "Crash time", &crash_time(dump.crash_time));
    if let Some(crash) = &dump.crash {
        show_crash(text, crash);
    }
    line(text, "Made by", &dump.creator);
    line(text, "Dump level", &dump.dump_level.to_string());
    for (kind, words) in &dump.redaction {
        line(text, "Redacted", &format!("{kind}: {words}"));
    }
    line(text, "State", &state(dump));
    line(text, "Index", if dump.index == "whole" { "whole" } else { "MISSING, the dump was read through" });
    let ratio = saved as f64 / file_size.max(1) as f64;
    line(text, "Page data", &format!("{} in {} blocks, {ratio:.2} : 1", size::show(saved), dump.blocks));
    match &dump.pages {
        Some(pages) => table(text, pages, dump.page_size),
        None => line(text, "Pages", &format!("{} with data, {} zero", dump.data_pages, dump.zero_pages)),
    }
}

/// What the log tells of the crash, as far as it does.
fn show_crash(text: &mut String, crash: &CrashFacts) {
    line(text, "Panic", crash.panic.as_deref().unwrap_or("no line of the log tells"));
    if let (Some(cpu), Some(pid), Some(task)) = (crash.cpu, crash.pid, &crash.task) {
        line(text, "Where", &format!("CPU {cpu}, task {task:?} (pid {pid})"));
    }
    if let Some(taints) = &crash.taints {
        line(text, "Taints", if taints.is_empty() { "none" } else { taints });
    }
    if let Some(uptime) = crash.uptime {
        line(text, "Uptime", &duration(uptime));
    }
    if let Some(hardware) = &crash.hardware {
        line(text, "Hardware", hardware);
    }
}

/// `3 days 04:05:06`.
fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    let seconds = seconds as u64;
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days == 0 { clock } else { format!("{days} days {clock}") }
}

/// Whether it holds what it should, and what it lacks.
fn state(dump: &Inside) -> String {
    let lost = dump.pages.map_or(0, |pages| pages.lost());
    match (dump.complete, lost) {
        (true, 0) => "complete".to_owned(),
        (true, lost) => format!("complete except for {lost} lost pages"),
        (false, _) if dump.pages.is_some_and(|pages| pages.is_lacking()) => {
            format!("INCOMPLETE, {lost} pages are lost: they could not be read")
        }
        (false, _) => "INCOMPLETE, not all pages are there".to_owned(),
    }
}

/// `seconds` since 1970; the collector writes 0 where it does not know.
fn crash_time(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).ok().filter(|&seconds| seconds > 0);
    let time = seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    time.and_then(rfc3339).unwrap_or_else(|| "unknown".to_owned())
}

/// Page counts per class, each with a bar for its share of all pages.
fn table(text: &mut String, pages: &ClassCounts, page_size: u64) {
    let rows = [
        ("saved", pages.saved),
        ("zero", pages.zero),
        ("cache", pages.cache),
        ("private cache", pages.cache_private),
        ("user", pages.user),
        ("free", pages.free),
        ("hwpoison", pages.hwpoison),
        ("offline", pages.offline),
        ("offlined block", pages.offlined),
        ("CPU lists", pages.cpu_lists),
        ("compressed", pages.compressed),
        ("structures", pages.structures),
        ("unreadable", pages.unreadable),
        ("missing", pages.missing),
    ];
    let _ = writeln!(text, "{:<16} {:>12} {:>10}", "Pages", "count", "size");
    for (name, count) in rows {
        row(text, name, count, pages.present, page_size);
    }
    row(text, "all", pages.present, pages.present, page_size);
    if pages.doubtful_lists > 0 {
        let _ = writeln!(
            text,
            "  {} of the saved look free; their lists are broken or too long",
            pages.doubtful_lists
        );
    }
}

/// Columns of a whole bar, on a terminal those that are left.
fn longest_bar() -> u64 {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_col > 0);
    size.map_or(BAR, |size| u64::from(size.ws_col).saturating_sub(BEFORE_BAR).min(BAR))
}

fn row(text: &mut String, name: &str, count: u64, all: u64, page_size: u64) {
    let size = size::show(count.saturating_mul(page_size));
    let columns = u128::from(count) * u128::from(longest_bar());
    let columns = usize::try_from(columns.div_ceil(u128::from(all.max(1)))).unwrap_or(0);
    let bar = "#".repeat(columns.min(30));
    let _ = writeln!(text, "{}", format!("  {name:<14} {count:>12} {size:>10} {bar}").trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_shares_and_a_single_page_shows() {
        let pages = ClassCounts { present: 1000, saved: 500, zero: 1, ..ClassCounts::default() };
        let mut text = String::new();
        table(&mut text, &pages, 4096);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "  saved                   500   1.95 MiB ###############");
        assert_eq!(lines[2], "  zero                      1   4.00 KiB #");
        assert_eq!(lines[3], "  cache                     0    0 bytes");
        assert_eq!(lines.last().unwrap().matches('#').count(), 30);
        let mut text = String::new();
        table(&mut text, &ClassCounts { doubtful_lists: 7, ..pages }, 4096);
        assert!(text.ends_with("  7 of the saved look free; their lists are broken or too long\n"), "{text}");
    }

    #[test]
    fn an_uptime_reads_as_a_clock() {
        assert_eq!(duration(5.4), "00:00:05");
        assert_eq!(duration(3.0 * 86400.0 + 3600.0 * 4.0 + 61.0), "3 days 04:01:01");
        assert!(!duration(f64::MAX).is_empty() && !duration(f64::NAN).is_empty());
    }

    #[test]
    fn recipients_are_counted() {
        let types = ["X25519", "ssh-rsa", "X25519"].map(String::from);
        assert_eq!(recipients(&types), "X25519 (2), ssh-rsa");
    }

    #[test]
    fn absurd_crash_times_are_unknown() {
        assert_eq!(crash_time(1_700_000_000), "2023-11-14T22:13:20Z");
        for time in [0, -1, i64::MAX, i64::MIN] {
            assert_eq!(crash_time(time), "unknown");
        }
    }
}
