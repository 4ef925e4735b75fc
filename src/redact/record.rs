//! What the dump itself records of a redaction: makedumpfile's erase information, one line for each thing that was erased,
//! and a line with `#` for each kind, also for those that were not looked for. In a KDUMP file it has its own place, in an
//! ELF core it is a note.
//!
//! Source: makedumpfile `erase_info.c`: `erase NAME size BYTES`, and the note `ERASEINFO`.

use super::kinds::Kind;
use super::{Finding, State};
use crate::units::ByteOrder;
use std::fmt::Write as _;

/// How lines of ours begin.
const MARK: &str = "# vmcore-decrypt redact ";

/// Things of one name that were erased.
pub(super) struct Line {
    pub(super) kind: Kind,
    pub(super) what: &'static str,
    pub(super) bytes: u64,
}

/// The record as text.
pub(super) fn encode(findings: &[Finding], lines: impl Iterator<Item = Line>) -> Vec<u8> {
    let mut text = String::new();
    for Line { kind, what, bytes } in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "erase {}.{what} size {bytes}", kind.name());
    }
    for Finding { kind, state } in findings {
        let _ = writeln!(text, "{MARK}{}: {}", kind.name(), words(state));
    }
    text.into_bytes()
}

fn words(state: &State) -> String {
    match state {
        State::Erased { places: 0, .. } => NOTHING.into(),
        State::Erased { places, bytes } => format!("{ERASED}{places} places, {bytes} bytes"),
        State::Absent(why) => format!("absent, {why}"),
        State::Unwalked(why) => format!("NOT erased, {why}"),
        State::Kept => NOT_ASKED_FOR.into(),
    }
}

/// How the words of a kind begin that was there, and what they are of one that was not.
const ERASED: &str = "erased, ";
const NOTHING: &str = "searched, nothing found";
/// The words of a kind that nobody wanted erased.
const NOT_ASKED_FOR: &str = "not erased, not asked for";

/// The ELF note that holds a record.
pub(super) fn note(order: ByteOrder, record: &[u8]) -> Vec<u8> {
    const NAME: &[u8; 12] = b"ERASEINFO\0\0\0";
    let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    for word in [10, len, 0] {
        bytes.extend(order.u32_bytes(word));
    }
    bytes.extend(NAME);
    bytes.extend(record);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What the record in a dump's erase information has of each kind, as name and words; empty where nothing was redacted. The
/// text is the dump's: it is foreign.
#[must_use]
pub fn summary(eraseinfo: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(eraseinfo);
    let mut kinds: Vec<(String, String)> = Vec::new();
    for (kind, words) in text.lines().filter_map(|line| line.strip_prefix(MARK)?.split_once(": ")) {
        match kinds.iter_mut().find(|(known, _)| known == kind) {
            // A dump that was redacted twice: what the second time did not find or was not asked for is as the first one left it.
            Some(_) if words == NOT_ASKED_FOR => {}
            Some((_, known)) if words == NOTHING && known.starts_with(ERASED) => {}
            Some((_, known)) => words.clone_into(known),
            None => kinds.push((kind.to_owned(), words.to_owned())),
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_has_a_line_for_each_thing_and_each_kind() {
        let findings = [
            Finding { kind: Kind::Keyring, state: State::Erased { places: 2, bytes: 48 } },
            Finding { kind: Kind::Tty, state: State::Kept },
            Finding { kind: Kind::Macsec, state: State::Absent("no module macsec".into()) },
        ];
        let line = Line { kind: Kind::Keyring, what: "user_key_payload.data", bytes: 48 };
        let record = encode(&findings, std::iter::once(line));
        let text = String::from_utf8(record.clone()).unwrap();
        assert!(text.starts_with("erase keyring.user_key_payload.data size 48\n"), "{text}");
        let pairs = summary(&record);
        assert_eq!(pairs.len(), 3);
        assert_eq!(pairs[0], ("keyring".into(), "erased, 2 places, 48 bytes".into()));
        assert_eq!(pairs[1].1, "not erased, not asked for");
        let again = [
            Finding { kind: Kind::Keyring, state: State::Kept },
            Finding { kind: Kind::Tty, state: State::Absent("x".into()) },
        ];
        let twice = [record.clone(), encode(&again, std::iter::empty())].concat();
        assert_eq!(summary(&twice)[..2], [pairs[0].clone(), ("tty".into(), "absent, x".into())]);
        assert!(summary(b"erase x size 3\n# other\n").is_empty());
        let note = note(ByteOrder::Little, &record);
        assert_eq!(note.len() % 4, 0);
        assert_eq!(note[..4], [10, 0, 0, 0]);
        assert_eq!(&note[24..24 + record.len()], record);
    }
}
