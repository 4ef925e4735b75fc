//! Copies of secrets that are known by now, wherever they are: in freed objects, in buffers, in a program's memory. A secret
//! is cut into windows of 16 bytes, and each window that is found is overwritten: a freed object keeps its content except
//! for the word that the allocator writes into it.

use super::kinds::Kind;
use super::scan::{Hit, What};
use std::collections::HashMap;

/// Bytes of a window.
const WINDOW: usize = 16;
/// Windows of a secret begin at multiples of this.
const STEP: usize = 8;
/// A window with fewer different bytes than this is no secret that can be distinguished from other data.
const LEAST_DIFFERENT: usize = 8;
/// Windows kept at most, of all secrets.
const MAX_WINDOWS: usize = 1 << 20;
/// Bits of the filter that most places end at.
const FILTER_BITS: u32 = 20;

/// The windows, or whole texts.
pub(super) struct Copies {
    windows: HashMap<[u8; WINDOW], Kind>,
    /// Whole texts by their first bytes, the longest first.
    texts: HashMap<[u8; WINDOW], Vec<(Kind, Vec<u8>)>>,
    filter: Vec<bool>,
}

fn place(bytes: [u8; 4]) -> usize {
    (u32::from_le_bytes(bytes).wrapping_mul(0x9e37_79b1) >> (32 - FILTER_BITS)) as usize
}

impl Copies {
    /// The windows of secrets. The command line is no random bytes: only a copy of all of it counts, or of a word, which the
    /// command line of the capture kernel may repeat.
    pub(super) fn of<'s>(secrets: impl Iterator<Item = (Kind, &'s [u8])>) -> Copies {
        let (windows, texts) = (HashMap::new(), HashMap::new());
        let mut copies = Copies { windows, texts, filter: vec![false; 1 << FILTER_BITS] };
        for (kind, secret) in secrets {
            if kind == Kind::CommandLine {
                copies.add_whole(kind, secret);
                let words = secret.split(|byte| *byte == b' ' || *byte == 0);
                words.for_each(|word| copies.add_whole(kind, word));
            } else {
                copies.add(kind, secret);
            }
        }
        copies
    }

    pub(super) fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.texts.is_empty()
    }

    fn add(&mut self, kind: Kind, secret: &[u8]) {
        let last = secret.len().checked_sub(WINDOW);
        let starts = (0..).step_by(STEP).take_while(|&at| last.is_some_and(|last| at < last)).chain(last);
        for window in starts.filter_map(|at| secret.get(at..)?.first_chunk::<WINDOW>()) {
            if different(window) >= LEAST_DIFFERENT && self.windows.len() < MAX_WINDOWS {
                self.windows.entry(*window).or_insert(kind);
                self.filter[place([window[0], window[1], window[2], window[3]])] = true;
            }
        }
    }

    fn add_whole(&mut self, kind: Kind, text: &[u8]) {
        let is_distinct = different(text) >= LEAST_DIFFERENT;
        if let Some(window) = text.first_chunk::<WINDOW>().filter(|_| is_distinct) {
            let texts = self.texts.entry(*window).or_default();
            let at = texts.partition_point(|(_, other)| other.len() > text.len());
            if texts.get(at).is_none_or(|(_, other)| other != text) {
                texts.insert(at, (kind, text.to_vec()));
            }
            self.filter[place([window[0], window[1], window[2], window[3]])] = true;
        }
    }

    /// The places in `bytes` that hold a window and begin in the first `own` bytes.
    pub(super) fn hits(&self, bytes: &[u8], own: usize) -> Vec<Hit> {
        let mut hits = Vec::new();
        for (at, window) in bytes.windows(WINDOW).take(own).enumerate() {
            let head = [window[0], window[1], window[2], window[3]];
            if self.filter[place(head)]
                && let Some((kind, len)) = self.match_at(&bytes[at..], window)
            {
                let what = What::Named("copy");
                hits.push(Hit { kind, what, at: at as u64, len: len as u64, secret: None });
            }
        }
        hits
    }

    /// The kind of what `bytes` begin with, which are `window` and what follows it, and its length.
    fn match_at(&self, bytes: &[u8], window: &[u8]) -> Option<(Kind, usize)> {
        let text = |texts: &Vec<(Kind, Vec<u8>)>| {
            let (kind, text) = texts.iter().find(|(_, text)| bytes.starts_with(text))?;
            Some((*kind, text.len()))
        };
        let whole = self.texts.get(window).and_then(text);
        whole.or_else(|| self.windows.get(window).map(|kind| (*kind, WINDOW)))
    }
}

fn different(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    bytes.iter().for_each(|&byte| seen[usize::from(byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_found_in_part_and_text_only_whole() {
        let secret: Vec<u8> = (1..=40).collect();
        let line = b"root=/dev/vda1 secret=abcdef key=0123456789ab quiet";
        let copies = Copies::of([(Kind::Keyring, &secret[..]), (Kind::CommandLine, &line[..])].into_iter());
        let mut memory = vec![0; 500];
        memory[33..73].copy_from_slice(&secret);
        // A freed object: the allocator's word is in the middle.
        memory[200..240].copy_from_slice(&secret);
        memory[216..224].fill(0xee);
        memory[300..300 + line.len()].copy_from_slice(line);
        memory[400..420].copy_from_slice(&line[..20]);
        memory[430..444].copy_from_slice(b"secret=abcdef ");
        memory[450..467].copy_from_slice(b"key=0123456789ab ");
        let hits = copies.hits(&memory, memory.len());
        let mut covered = vec![false; memory.len()];
        for hit in &hits {
            let at = usize::try_from(hit.at).unwrap();
            covered[at..at + usize::try_from(hit.len).unwrap()].fill(true);
        }
        assert!(covered[33..73].iter().all(|covered| *covered));
        assert!(
            covered[200..216].iter().all(|covered| *covered)
                && covered[224..240].iter().all(|covered| *covered)
        );
        assert!(!covered[216] && !covered[100] && !covered[400]);
        // The line, and its one word that is long enough, there and elsewhere.
        let line: Vec<u64> =
            hits.iter().filter(|hit| hit.kind == Kind::CommandLine).map(|hit| hit.at).collect();
        assert_eq!(line, [300, 329, 450]);
    }

    #[test]
    fn what_is_common_is_no_secret() {
        for secret in [
            &[0; 64][..],
            b"aaaaaaaaaaaaaaaaaaaa",
            b"short",
            &[1, 2, 3, 4, 5, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
        ] {
            for kind in [Kind::Keyring, Kind::CommandLine] {
                assert!(Copies::of(std::iter::once((kind, secret))).is_empty());
            }
        }
        assert!(!Copies::of(std::iter::once((Kind::Keyring, &b"0123456789abcdef"[..]))).is_empty());
    }
}
