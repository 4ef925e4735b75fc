//! What a sealed line holds (docs/kmsg.md section 3): one entry as printable text, padded so that the length of
//! a line does not tell which of the kernel's well-known messages it is.

use super::line::MAX_DATA;
use super::record::MAX_HEAD;

/// Bytes of the longest entry, padding included; the tag takes the rest of a line's data.
pub(super) const MAX_ENTRY: usize = MAX_DATA - 16;
/// Entries are padded to a multiple of this, in bytes.
pub(super) const PADDING: usize = 48;
/// Most pieces of one record.
pub(super) const MAX_PIECES: usize = 99;
/// Bytes of a record's text in one piece: what is left beside `m 99/99 ` and the longest head.
const PIECE: usize = MAX_ENTRY - 8 - MAX_HEAD;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The first of an opening: the boot id of the machine, where it is known.
    Start(Option<String>),
    /// A record of the kernel, or a piece of a long one.
    Message {
        /// Which piece, from 0.
        piece: usize,
        /// How many there are.
        pieces: usize,
        /// The record's head, with its `;`.
        head: String,
        /// The text, or this piece of it.
        text: String,
    },
    /// The kernel overwrote these records before they were read: numbers of the first and of the last.
    Gap(u64, u64),
    /// The last of an opening that ended in order.
    End,
}

impl Entry {
    /// The entries of a record, `head` with its `;`: one, or several where one line does not hold it.
    pub(super) fn pieces(head: &str, text: &str) -> Vec<Entry> {
        // Records are ASCII, so every byte is a place to cut at.
        let whole = MAX_ENTRY - "m 1/1 ".len() - head.len();
        let size = if text.len() <= whole { whole } else { PIECE };
        let pieces = text.len().div_ceil(size).max(1);
        let cut = |piece| Entry::Message {
            piece,
            pieces,
            head: head.to_owned(),
            text: text[piece * size..text.len().min((piece + 1) * size)].to_owned(),
        };
        (0..pieces).map(cut).collect()
    }

    /// The bytes to seal: the text and zeros up to a multiple of [`PADDING`].
    pub(super) fn encode(&self) -> Vec<u8> {
        let text = match self {
            Entry::Start(boot) => format!("s {}", boot.as_deref().unwrap_or("-")),
            Entry::Message { piece, pieces, head, text } => format!("m {}/{pieces} {head}{text}", piece + 1),
            Entry::Gap(first, last) => format!("g {first} {last}"),
            Entry::End => "e".to_owned(),
        };
        let mut bytes = text.into_bytes();
        bytes.resize(bytes.len().next_multiple_of(PADDING), 0);
        bytes
    }

    /// Reads what was sealed; `None` when it is no entry, which no honest writer seals.
    pub(super) fn parse(bytes: &[u8]) -> Option<Entry> {
        let text = bytes.split(|&byte| byte == 0).next()?;
        if bytes[text.len()..].iter().any(|&byte| byte != 0)
            || !text.iter().all(|&b| matches!(b, b' '..=b'~' | b'\n'))
        {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        match text.split_at_checked(2) {
            None if text == "e" => Some(Entry::End),
            Some(("s ", "-")) => Some(Entry::Start(None)),
            Some(("s ", boot)) => is_boot(boot).then(|| Entry::Start(Some(boot.to_owned()))),
            Some(("g ", range)) => {
                let (first, last) = range.split_once(' ')?;
                Some(Entry::Gap(first.parse().ok()?, last.parse().ok()?))
            }
            Some(("m ", message)) => parse_message(message),
            _ => None,
        }
    }
}

/// Whether this can be a boot id: letters, digits and dashes. It is printed on lines of ours.
fn is_boot(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn parse_message(text: &str) -> Option<Entry> {
    let (count, record) = text.split_once(' ')?;
    let (piece, pieces) = count.split_once('/')?;
    let (piece, pieces): (usize, usize) = (piece.parse().ok()?, pieces.parse().ok()?);
    let (head, text) = record.split_at_checked(record.find(';')? + 1)?;
    let valid = (1..=pieces).contains(&piece) && pieces <= MAX_PIECES;
    valid.then(|| Entry::Message { piece: piece - 1, pieces, head: head.to_owned(), text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_are_padded() {
        let entries = [
            Entry::Start(None),
            Entry::Start(Some("0301da3d-54fd-4f40-97f5-1fd408e11bd6".into())),
            Entry::Gap(0, u64::MAX),
            Entry::End,
            Entry::Message { piece: 0, pieces: 1, head: "6,1,2,-;".into(), text: String::new() },
        ];
        for entry in entries.into_iter().chain(Entry::pieces("6,1,2,-;", &"x".repeat(2000))) {
            let bytes = entry.encode();
            assert!(bytes.len().is_multiple_of(PADDING) && bytes.len() <= MAX_ENTRY);
            assert_eq!(Entry::parse(&bytes), Some(entry));
        }
        assert_eq!(MAX_ENTRY % PADDING, 0);
    }

    #[test]
    fn records_are_cut_where_they_must_be() {
        let head = format!("{};", "9".repeat(MAX_HEAD - 1));
        let whole = MAX_ENTRY - 6 - MAX_HEAD;
        for (length, pieces) in [(0, 1), (whole, 1), (whole + 1, 2), (PIECE * 2, 2), (PIECE * 2 + 1, 3)] {
            let text = "y".repeat(length);
            let entries = Entry::pieces(&head, &text);
            assert_eq!(entries.len(), pieces, "{length}");
            assert!(entries.iter().all(|entry| entry.encode().len() <= MAX_ENTRY));
            let joined: String = entries
                .iter()
                .map(|entry| match entry {
                    Entry::Message { text, .. } => text.as_str(),
                    _ => "",
                })
                .collect();
            assert_eq!(joined, text);
        }
    }

    #[test]
    fn what_no_writer_seals_is_no_entry() {
        for bad in [
            &b""[..],
            b"m 1/1 no head",
            b"m 0/1 6,1,2,-;x",
            b"m 2/1 6,1,2,-;x",
            b"m 1/100 6,1,2,-;x",
            b"m 1/1 6,1,2,-;\x1b[2J",
            b"g 1",
            b"s boot --\n-- missing here: line 1 --",
            b"e\0\0e",
            b"x y",
            b"\0",
        ] {
            assert_eq!(Entry::parse(bad), None, "{bad:?}");
        }
    }
}
