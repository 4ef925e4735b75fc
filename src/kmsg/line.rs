//! The printable lines and how they are found again among others (docs/kmsg.md sections 1 and 2). A line is one word
//! of letters, digits, `-`, `_` and `.`, so nothing on its way has a reason to change it, and
//! whatever stands before or after it is somebody else's.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};
use std::fmt;

/// Longest line written, in bytes without the line feed. Receivers of RFC 3164 may cut a packet at 1024 with its
/// priority, time, host and tag.
const MAX_LINE: usize = 900;
/// Bytes of the longest data in a line: with the words before it [`MAX_LINE`] is kept.
pub(super) const MAX_DATA: usize = 640;
/// Most lines a key may take; a header of 256 KiB fits.
pub(super) const MAX_PARTS: usize = 512;

const KEY: &str = "VCEkey1.";
const MESSAGE: &str = "VCEmsg1.";
const MARKER_SIZE: usize = 8;
/// Marker, id, the longest number, two dots, base64.
const _: () = assert!(MARKER_SIZE + 16 + 1 + 20 + 1 + (MAX_DATA * 4).div_ceil(3) <= MAX_LINE);

/// Which opening of the log a line belongs to: the first 8 bytes of the SHA-256 of what its key lines carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id([u8; 8]);

impl Id {
    /// The id of an opening whose key lines carry these bytes, in parts.
    pub(super) fn of<'a>(start: impl IntoIterator<Item = &'a [u8]>) -> Id {
        let mut hash = Sha256::new();
        start.into_iter().for_each(|part| hash.update(part));
        let mut id = [0; 8];
        id.copy_from_slice(&hash.finalize()[..8]);
        Id(id)
    }

    fn parse(text: &str) -> Option<Id> {
        let valid = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| u64::from_str_radix(text, 16).ok().map(|id| Id(id.to_be_bytes())))?
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// A line, parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A piece of the bytes an opening starts with.
    Key {
        /// The opening.
        id: Id,
        /// Which piece, from 0.
        part: usize,
        /// How many there are.
        parts: usize,
        /// The piece.
        data: Vec<u8>,
    },
    /// A sealed entry.
    Sealed {
        /// The opening.
        id: Id,
        /// Its number in the opening, from 0.
        number: u64,
        /// The entry, sealed under that number.
        data: Vec<u8>,
    },
}

/// The key lines of an opening that starts with `start`, with line feeds.
pub(super) fn key_lines(id: Id, start: &[u8]) -> String {
    let parts = start.chunks(MAX_DATA);
    let count = parts.len();
    let encode =
        |(at, part): (usize, &[u8])| format!("{KEY}{id}.{}.{count}.{}\n", at + 1, BASE64.encode(part));
    parts.enumerate().map(encode).collect()
}

/// The line of a sealed entry, with its line feed.
pub(super) fn sealed_line(id: Id, number: u64, sealed: &[u8]) -> String {
    format!("{MESSAGE}{id}.{number}.{}\n", BASE64.encode(sealed))
}

/// Every line of ours in a line of a log, in order; `None` for one that is cut or mangled.
pub(super) fn find(text: &[u8]) -> Vec<Option<Line>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(MARKER_SIZE).position(is_marker) {
        let word = &rest[at..];
        // The next marker ends a word too: two lines may run together.
        let next = word[MARKER_SIZE..].windows(MARKER_SIZE).position(is_marker).map(|end| end + MARKER_SIZE);
        let end = word.iter().position(|&byte| !is_ours(byte)).unwrap_or(word.len());
        let end = next.map_or(end, |next| next.min(end));
        found.push(std::str::from_utf8(&word[..end]).ok().and_then(parse));
        rest = &word[end..];
    }
    found
}

fn is_marker(bytes: &[u8]) -> bool {
    bytes == KEY.as_bytes() || bytes == MESSAGE.as_bytes()
}

fn is_ours(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn parse(word: &str) -> Option<Line> {
    let (marker, fields) = word.split_at_checked(MARKER_SIZE)?;
    let mut fields = fields.split('.');
    let id = Id::parse(fields.next()?)?;
    let line = match marker {
        KEY => {
            let (part, parts) = (number(fields.next()?)?, number(fields.next()?)?);
            let (part, parts) = (usize::try_from(part).ok()?, usize::try_from(parts).ok()?);
            let valid = (1..=parts).contains(&part) && parts <= MAX_PARTS;
            let data = BASE64.decode(fields.next()?).ok()?;
            valid.then(|| Line::Key { id, part: part - 1, parts, data })
        }
        _ => {
            let number = number(fields.next()?)?;
            Some(Line::Sealed { id, number, data: BASE64.decode(fields.next()?).ok()? })
        }
    };
    line.filter(|_| fields.next().is_none())
}

/// A decimal number as we write it: no sign, no leading zero.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Id = Id([0, 1, 2, 3, 4, 5, 6, 0xff]);

    #[test]
    fn lines_are_words_that_stay_below_the_limit() {
        let longest = sealed_line(ID, u64::MAX, &[0xff; MAX_DATA]);
        let keys = key_lines(ID, &[0xff; MAX_DATA * MAX_PARTS]);
        for line in keys.lines().chain(longest.lines()) {
            assert!(line.len() <= MAX_LINE && line.bytes().all(is_ours), "{line}");
        }
        assert_eq!(keys.lines().count(), MAX_PARTS);
        assert_eq!(sealed_line(ID, 7, b"\xfb\xff"), "VCEmsg1.00010203040506ff.7.-_8\n");
        assert_eq!(key_lines(ID, b"age"), "VCEkey1.00010203040506ff.1.1.YWdl\n");
    }

    #[test]
    fn a_line_is_found_behind_and_before_anything() {
        let line = sealed_line(ID, 12, b"entry");
        let expected = [Some(Line::Sealed { id: ID, number: 12, data: b"entry".to_vec() })];
        let word = line.trim_end();
        for text in [
            word.to_owned(),
            format!("{word}\r"),
            format!("Jan  1 00:00:00 host kmsg[1]: {word} #011"),
            format!("<14>\u{e9}VCE[  1.0]{word}\u{1b}[0m"),
        ] {
            assert_eq!(find(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(find(format!("{word}{word}").as_bytes()).len(), 2);
        assert_eq!(find(b"ordinary VCEmsg VCEkey1"), []);
    }

    #[test]
    fn what_is_mangled_is_found_and_is_no_line() {
        let key = key_lines(ID, b"age");
        let bad = ["VCEmsg1.", "VCEkey1.00010203040506ff.0.1.YWdl", "VCEkey1.00010203040506ff.2.1.YWdl"];
        for text in bad.into_iter().chain([
            "VCEkey1.00010203040506ff.1.513.YWdl",
            "VCEkey1.00010203040506ff.1.1.YWd",
            "VCEkey1.00010203040506FF.1.1.YWdl",
            "VCEmsg1.00010203040506ff.07.YWdl",
            "VCEmsg1.00010203040506ff.+7.YWdl",
            "VCEmsg1.00010203040506ff.18446744073709551616.YWdl",
            "VCEmsg1.00010203040506ff.7.YWdl.",
            "VCEmsg1.00010203040506ff.7.YWdm=x.",
        ]) {
            let found = find(text.as_bytes());
            assert!(text.ends_with("=x.") || found == [None], "{text}: {found:?}");
        }
        for end in MARKER_SIZE..key.trim_end().len() - 1 {
            let found = find(&key.as_bytes()[..end]);
            assert!(found != find(key.as_bytes()), "{end}");
        }
    }
}
