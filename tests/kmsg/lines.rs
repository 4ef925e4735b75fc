//! The lines themselves: what they show, how they are found again, and what is said of those that are lost, changed,
//! repeated or out of order.

use super::{IDENTITY, RECIPIENT, entropy, is_clean, log, log_of, read, read_as, records, text};
use age_core::secrecy::ExposeSecret;
use std::time::SystemTime;
use vmcore_encrypt::crypt::keygen::{self, KeyKind};
use vmcore_encrypt::kmsg::{Form, Unopened};

#[test]
fn a_log_comes_back_as_it_was() {
    for count in [0, 1, 7, 60, 2500] {
        let (out, findings) = read(&log(0, count));
        assert_eq!(out, text(0, count));
        assert!(is_clean(&findings), "{findings:?}");
        let (out, _) = read_as(log(0, count).as_bytes(), IDENTITY, Form::Records);
        assert_eq!(out, records(0, count));
    }
}

#[test]
fn lines_show_neither_text_nor_time_nor_level_and_few_lengths() {
    let log = log(0, 200);
    assert!(log.lines().all(|line| line.len() <= 900 && line.is_ascii()));
    assert!(!log.contains("message") && !log.contains("caller"));
    let lengths: std::collections::BTreeSet<usize> = log.lines().map(|line| line.len() / 64).collect();
    assert!(lengths.len() < 8, "{lengths:?}");
}

#[test]
fn a_log_is_found_among_other_lines_and_behind_prefixes() {
    let mixed: String = log(0, 30)
        .lines()
        .enumerate()
        .map(|(at, line)| match at % 3 {
            0 => format!(
                "Nov 22 07:00:00 host kmsg[{at}]: {line}\r\nNov 22 07:00:00 host cron: VCEmsg is no line\n"
            ),
            1 => format!("[{at}.000000] {line}\n\u{1b}[0mordinary\n"),
            _ => format!("{line} (trailing)\n"),
        })
        .collect();
    let (out, findings) = read(&mixed);
    assert_eq!(out, text(0, 30));
    assert!(is_clean(&findings), "{findings:?}");
}

#[test]
fn missing_lines_are_named_where_they_were_and_at_the_end() {
    let lines: Vec<String> = log(0, 6).lines().map(|line| format!("{line}\n")).collect();
    // One key line, the start line, six messages, the end line.
    assert_eq!(lines.len(), 9);
    let cut = [&lines[..3], &lines[5..8]].concat().concat();
    let (out, findings) = read(&cut);
    assert_eq!(out, format!("{}-- missing here: lines 2 to 3 --\n{}", text(0, 1), text(3, 3)));
    assert_eq!(findings.openings[0].missing, [2..=3]);
    assert!(!findings.openings[0].ended);
}

#[test]
fn disorder_and_repetition_are_noticed_and_cost_nothing() {
    let mut lines: Vec<String> = log(0, 6).lines().map(|line| format!("{line}\n")).collect();
    lines.swap(3, 4);
    lines.insert(6, lines[5].clone());
    let (out, findings) = read(&lines.concat());
    let (mut found, mut expected): (Vec<_>, Vec<_>) = (
        out.lines().filter(|line| !line.starts_with("--")).map(str::to_owned).collect(),
        text(0, 6).lines().map(str::to_owned).collect(),
    );
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let opening = &findings.openings[0];
    assert_eq!((opening.late, opening.repeated, opening.missing.len()), (1, 1, 0));
    assert_eq!((opening.misplaced, out.matches("-- out of order: line 2 --\n").count()), (0, 1));
}

#[test]
fn a_long_message_shows_where_a_piece_of_it_is_missing() {
    let lines: Vec<String> = log(7, 1).lines().map(|line| format!("{line}\n")).collect();
    assert_eq!(lines.len(), 7, "key, start, four pieces, end");
    let (whole, _) = read(&lines.concat());
    let body = whole.strip_prefix("[    0.007000] [      T1] ").unwrap().trim_end_matches('\n').to_owned();
    let without = |at: usize| {
        let mut lines = lines.clone();
        lines.remove(at);
        read(&lines.concat()).0
    };
    let first = without(2);
    assert!(first.starts_with("-- missing here: line 1 --\n[    0.007000] [      T1] [...]"));
    assert!(body.ends_with(first.trim_end_matches('\n').split("[...]").nth(1).unwrap()));
    let second: Vec<String> = without(3).lines().map(str::to_owned).collect();
    assert!(second[0].ends_with("[...]") && second[1].starts_with("--") && second[2].contains("] [...]"));
}

#[test]
fn records_the_kernel_overwrote_are_a_gap_in_the_log() {
    let (out, findings) = read(&log_of(&(records(0, 2) + &records(40, 2)), RECIPIENT, None));
    let gap = "-- overwritten before it was read: messages 2 to 39 --\n";
    assert_eq!(out, format!("{}{gap}{}", text(0, 2), text(40, 2)));
    assert_eq!(findings.openings[0].overwritten, 38);
    assert!(findings.openings[0].missing.is_empty());
}

#[test]
fn a_rotated_log_is_read_from_the_next_key_line_on_and_before() {
    let log = log(0, 1500);
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let (out, findings) = read(&lines[500..].concat());
    let shown = out.lines().count() as u64;
    assert!(shown > 950 && out.ends_with(&text(1490, 10)), "{shown}");
    assert_eq!(findings.openings[0].missing.len(), 1);
    assert_eq!(findings.damaged, 0);
}

#[test]
fn a_log_that_is_read_again_is_printed_once() {
    let first = log_of(&records(0, 5), RECIPIENT, Some("boot-a"));
    let again = log_of(&records(0, 8), RECIPIENT, Some("boot-a"));
    let other = log_of(&records(0, 2), RECIPIENT, Some("boot-b"));
    let (out, findings) = read(&(first + &again + &other));
    let lines: Vec<&str> = out.lines().filter(|line| !line.starts_with("-- opening ")).collect();
    assert_eq!(lines.join("\n") + "\n", text(0, 8) + &text(0, 2));
    assert!(is_clean(&findings));
    assert_eq!(findings.openings.len(), 3);
}

#[test]
fn a_post_quantum_key_takes_several_lines_and_all_of_them() {
    let generated =
        entropy(|entropy| keygen::generate(KeyKind::PostQuantum, SystemTime::now(), entropy)).unwrap();
    let identity = generated.identity_file.expose_secret();
    let log = log_of(&records(0, 3), &generated.recipient, None);
    let keys = log.lines().filter(|line| line.starts_with("VCEkey1.")).count();
    assert_eq!(keys, 3);
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    // Key lines may come last and in any order.
    let turned: Vec<&str> =
        lines.iter().rev().take(5).rev().chain(lines[..keys].iter().rev()).copied().collect();
    for order in [lines.concat(), turned.concat()] {
        let (out, findings) = read_as(order.as_bytes(), identity, Form::Text);
        assert_eq!(out, text(0, 3));
        assert!(is_clean(&findings));
    }
    let (out, findings) = read_as(lines[1..].concat().as_bytes(), identity, Form::Text);
    assert!(out.is_empty() && matches!(findings.openings[0].unopened, Some(Unopened::NoKey)));
    assert_eq!(findings.openings[0].lines, 5);
    let (out, findings) = read_as(log.as_bytes(), IDENTITY, Form::Text);
    assert!(out.is_empty() && matches!(findings.openings[0].unopened, Some(Unopened::Key(_))));
}

/// xorshift64*, so that every run tries the same.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % limit
    }

    fn mangle(&mut self, log: &mut Vec<u8>) {
        let (at, other) = (self.below(log.len()), self.below(log.len()));
        let end = (at + self.below(200)).min(log.len());
        match self.below(6) {
            0 => log[at] ^= 1 << self.below(8),
            1 => drop(log.drain(at..end)),
            2 => log.insert(at, u8::try_from(self.below(256)).unwrap()),
            3 => log.swap(at, other),
            4 => log.truncate(at.max(1)),
            _ => {
                let piece = log[at..end].to_vec();
                log.splice(other..other, piece);
            }
        }
    }
}

#[test]
fn whatever_happens_to_a_log_nothing_false_is_printed() {
    let original = (log(0, 20) + &log(100, 5)).into_bytes();
    let all = text(0, 20) + &text(100, 5);
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut damaged = 0;
    for _ in 0..3000 {
        let mut log = original.clone();
        (0..=chance.below(6)).for_each(|_| chance.mangle(&mut log));
        let (out, findings) = read_as(&log, IDENTITY, Form::Text);
        damaged += u64::from(findings.damaged > 0);
        for line in out.lines().filter(|line| !line.starts_with("-- ") && !line.contains("[...]")) {
            assert!(all.contains(&format!("{line}\n")), "{line}");
        }
    }
    assert!(damaged > 1000, "{damaged}");
}
