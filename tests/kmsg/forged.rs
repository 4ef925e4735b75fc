//! What somebody can do who knows a recipient and writes into the same log, or changes lines on their way: their lines
//! cost only themselves, and what they seal never looks like words of ours.

use super::{IDENTITY, RECIPIENT, entropy, identities, is_clean, log, log_of, read, read_as, records, text};
use age_core::secrecy::ExposeSecret;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};
use std::time::SystemTime;
use vmcore_encrypt::crypt::keygen::{self, KeyKind};
use vmcore_encrypt::crypt::{LineKey, Recipients};
use vmcore_encrypt::kmsg::{Form, Reader};

/// An opening of the forger's own (docs/kmsg.md section 2).
struct Forged {
    id: String,
    start: Vec<u8>,
    key: LineKey,
}

impl Forged {
    fn new() -> Forged {
        let recipients = Recipients::from_file_contents(RECIPIENT.as_bytes()).unwrap();
        let (start, key) = entropy(|entropy| recipients.wrap_lines(entropy)).unwrap();
        let id = Sha256::digest(&start)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Forged { id, start, key }
    }

    /// Its log: numbers and entries.
    fn log(&self, entries: &[(u64, &str)]) -> String {
        let mut log = key_lines(&self.id, &self.start);
        for &(number, entry) in entries {
            let mut entry = entry.as_bytes().to_vec();
            entry.resize(entry.len().next_multiple_of(48), 0);
            log +=
                &format!("VCEmsg1.{}.{number}.{}\n", self.id, BASE64.encode(self.key.seal(number, &entry)));
        }
        log
    }
}

fn key_lines(id: &str, start: &[u8]) -> String {
    let count = start.chunks(640).len();
    let lines = start.chunks(640).zip(1..);
    lines.map(|(part, number)| format!("VCEkey1.{id}.{number}.{count}.{}\n", BASE64.encode(part))).collect()
}

/// The id of the first line of a log.
fn id_of(log: &str) -> &str {
    log.split('.').nth(1).unwrap()
}

#[test]
fn an_opening_with_the_boot_id_of_another_suppresses_nothing() {
    let real = log_of(&records(0, 30), RECIPIENT, Some("boot-a"));
    let forged: Vec<String> = (0..30).map(|number| format!("m 1/1 6,{number},1,-;all is well")).collect();
    let mut entries = vec![(0, "s boot-a")];
    entries.extend((1..).zip(forged.iter().map(String::as_str)));
    let forged = Forged::new().log(&entries);
    for log in [forged.clone() + &real, real.clone() + &forged] {
        let (out, findings) = read(&log);
        for line in text(0, 30).lines() {
            assert_eq!(out.lines().filter(|shown| *shown == line).count(), 1, "{line}");
        }
        assert_eq!(out.lines().filter(|line| line.ends_with("] all is well")).count(), 30);
        let contradicting: u64 = findings.openings.iter().map(|opening| opening.contradicting).sum();
        assert_eq!(contradicting, 30);
        assert_eq!(out.matches("-- contradicts what came before: message ").count(), 30);
    }
}

/// What a case is, the entries with their numbers, and what must be printed.
type Sequence<'a> = (&'a str, &'a [(u64, &'a str)], &'a str);

#[test]
fn a_sequence_that_no_honest_writer_seals_is_found() {
    let cases: [Sequence<'_>; 6] = [
        ("no start", &[(0, "m 1/1 6,1,1,-;a"), (1, "e")], "-- out of place: line 0 --"),
        (
            "a start in the middle",
            &[(0, "s a"), (1, "m 1/1 6,1,1,-;a"), (2, "s b"), (3, "e")],
            "-- out of place: line 2 --",
        ),
        ("two starts", &[(0, "s a"), (1, "s a"), (2, "e")], "-- out of place: line 1 --"),
        ("an end in the middle", &[(0, "s a"), (1, "e"), (2, "m 1/1 6,1,1,-;a")], "] a"),
        ("two ends", &[(0, "s a"), (1, "e"), (2, "e")], ""),
        (
            "older messages",
            &[(0, "s a"), (1, "m 1/1 6,5,1,-;a"), (2, "m 1/1 6,4,1,-;b"), (3, "e")],
            "-- out of order: message 4 --",
        ),
    ];
    for (name, entries, shown) in cases {
        let (out, findings) = read(&Forged::new().log(entries));
        assert!(out.contains(shown), "{name}: {out}");
        assert!(!is_clean(&findings) && findings.openings[0].misplaced == 1, "{name}: {findings:?}");
    }
    let honest = Forged::new().log(&[
        (0, "s a"),
        (1, "m 1/1 6,5,1,-;a"),
        (2, "g 6 8"),
        (3, "m 1/1 6,9,1,-;b"),
        (4, "e"),
    ]);
    let openings = read(&honest).1.openings;
    assert_eq!((openings[0].misplaced, openings[0].ended), (0, true));
}

#[test]
fn what_a_forger_s_boot_or_record_holds_is_no_line_of_ours() {
    let entries = [
        "s x --\n-- missing here: line 1 --",
        "m 1/1 -- missing here: line 3 --;",
        "m 1/1 6,1,2,-;a\n-- overwritten before it was read: message 3 --",
        "m 1/1 6,2,2,-;a\\x0a-- opening 0000000000000000 --",
        "m 1/2 6,3,2,-;a\n",
        "m 2/2 6,3,2,-;-- missing here: line 9 --",
        "m 1/1 6,4,2,-;a\n -- b",
        "m 1/1 +6,5,2,-;b",
    ];
    let numbered: Vec<(u64, &str)> = (0..).zip(entries).collect();
    let log = Forged::new().log(&numbered);
    for form in [Form::Text, Form::Records] {
        let (out, findings) = read_as(log.as_bytes(), IDENTITY, form);
        let ours: Vec<&str> = out.lines().filter(|line| line.starts_with("--")).collect();
        assert_eq!(ours, ["-- missing here: line 0 --"], "the entry with that boot id is none: {out}");
        assert_eq!((findings.damaged, findings.openings[0].malformed), (1, 3));
        for line in out.lines().filter(|line| !line.starts_with("--")) {
            assert!(line.starts_with(['[', ' ', '6', '+']) || line.starts_with("?? "), "{line}");
        }
    }
}

#[test]
fn forged_key_lines_do_not_keep_a_key_of_several_parts_from_being_found() {
    let generated =
        entropy(|entropy| keygen::generate(KeyKind::PostQuantum, SystemTime::now(), entropy)).unwrap();
    let identity = generated.identity_file.expose_secret();
    let log = log_of(&records(0, 5), &generated.recipient, None);
    let id = id_of(&log).to_owned();
    let forged =
        |part: usize, total: usize| format!("VCEkey1.{id}.{part}.{total}.{}\n", BASE64.encode([7; 9]));
    for (part, total) in [(1, 3), (2, 3), (3, 3), (1, 1), (1, 2), (9, 500)] {
        for at in 0..=4 {
            let mut lines: Vec<String> = log.split_inclusive('\n').map(str::to_owned).collect();
            lines.insert(at, forged(part, total));
            let (out, findings) = read_as(lines.concat().as_bytes(), identity, Form::Text);
            assert_eq!(out, text(0, 5), "part {part} of {total} at {at}");
            assert_eq!(findings.damaged, 1, "part {part} of {total} at {at}");
        }
    }
}

#[test]
fn a_flood_before_the_key_costs_no_line() {
    let log = log(0, 100);
    let id = id_of(&log).to_owned();
    let (key, rest) = log.split_once('\n').unwrap();
    let flood: String =
        (0..6000).map(|number| format!("VCEmsg1.{id}.{number}.{}\n", BASE64.encode([1; 64]))).collect();
    let (out, findings) = read(&format!("{flood}{rest}{key}\n"));
    assert_eq!(out, text(0, 100));
    assert_eq!(findings.damaged, 6000);
    assert!(findings.openings[0].missing.is_empty());
}

#[test]
fn a_flood_of_openings_leaves_the_real_one() {
    let log = log(0, 20);
    let (key, rest) = log.split_once('\n').unwrap();
    let keys: String = (0..40_000).map(|id| format!("VCEkey1.{id:016x}.1.2.YWdl\n")).collect();
    let (out, findings) = read(&format!("{keys}{key}\n{rest}{keys}"));
    assert_eq!(out, text(0, 20));
    assert!(findings.damaged > 20_000 && findings.openings.len() < 40_000, "{}", findings.openings.len());
}

#[test]
fn an_opening_without_a_boot_is_held_against_itself() {
    let entries = [(0, "m 1/1 6,1,2,-;a"), (1, "m 1/1 6,1,2,-;b")];
    let (out, findings) = read(&Forged::new().log(&entries));
    assert!(out.contains("] a\n") && out.contains("] b\n"));
    assert_eq!(findings.openings[0].contradicting, 1);
}

#[test]
fn numbers_may_be_any() {
    let of = |number: u64| Forged::new().log(&[(number, "m 1/1 6,1,2,-;a"), (u64::MAX, "e")]);
    let (_, findings) = read(&(of(u64::MAX - 1) + &of(u64::MAX - 2) + &of(u64::MAX)));
    assert_eq!(findings.openings.len(), 3);
    let gaps = Forged::new().log(&[(0, "g 0 18446744073709551615"), (1, "g 0 18446744073709551615")]);
    let (_, findings) = read(&gaps);
    assert_eq!(findings.openings[0].overwritten, u64::MAX);
}

#[test]
fn the_same_number_with_other_content_is_shown_and_counted() {
    let forged = Forged::new();
    let first = forged.log(&[(0, "s -"), (1, "m 1/1 6,1,2,-;a"), (2, "e")]);
    let again = forged.log(&[(1, "m 1/1 6,1,2,-;a"), (1, "m 1/1 6,1,2,-;b")]);
    let (out, findings) = read(&(first + &again));
    assert_eq!(out.matches("] a\n").count(), 1, "{out}");
    assert_eq!(out.matches("] b\n").count(), 1, "{out}");
    let opening = &findings.openings[0];
    assert_eq!((opening.repeated, opening.contradicting), (1, 2), "the line, and its message");
}

#[test]
fn a_reading_of_anything_prints_no_control() {
    let all: String = (1..128_u8).map(char::from).filter(|char| *char != '\n').collect();
    let forged = Forged::new();
    let entries = [
        format!("m 1/1 6,1,2,-;{all}"),
        format!("m 1/1 6,1,2,-;{}", all.escape_default()),
        format!("s {all}"),
    ];
    let entries: Vec<(u64, &str)> = (0..).zip(entries.iter().map(String::as_str)).collect();
    let log = all + &forged.log(&entries);
    let identities = identities(IDENTITY);
    for form in [Form::Text, Form::Records] {
        let mut out = Vec::new();
        let mut reader = Reader::new(&identities, form, &mut out);
        reader.line(log.as_bytes()).unwrap();
        log.lines().for_each(|line| reader.line(line.as_bytes()).unwrap());
        reader.finish().unwrap();
        assert!(out.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n')));
    }
}

#[test]
fn honest_repetitions_stay_clean() {
    let once = log(0, 20);
    let (out, findings) = read(&once);
    assert_eq!(out, text(0, 20));
    assert!(is_clean(&findings));
    let sealed = once.lines().filter(|line| line.starts_with("VCEmsg1.")).count() as u64;
    let (out, findings) = read(&(once.clone() + &once));
    assert_eq!(out, text(0, 20));
    assert_eq!((findings.openings[0].repeated, findings.openings[0].contradicting), (sealed, 0));
}
