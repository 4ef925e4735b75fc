//! The parts of an opening's key, as far as they came. Anybody can write a key line with the id of another opening, so
//! a part may have several candidates. The id is a hash of the right ones joined: that tells them apart.

use super::super::line::Id;
use std::collections::{BTreeMap, VecDeque};

/// Candidates kept for one part, newest first: more lines than come between the parts of one key.
const MAX_CANDIDATES: usize = 64;
/// Numbers of parts kept at a time, newest first. The right one comes again with every repetition of the key.
const MAX_TOTALS: usize = 8;
/// Bytes hashed for one key line at most: some hundred combinations of a key of three parts, a millisecond's work. More than
/// the largest key has.
const MAX_HASHED: usize = 512 << 10;
/// Bytes that each byte of a key line allows to be hashed, saved up to [`MAX_HASHED`]: short lines that complete a long key
/// again and again cost no more than long ones.
const HASHED_PER_BYTE: usize = 1 << 10;
/// Bytes that a part counts beside its data: its line has as many, and walking to a combination costs something too.
const PER_PART: usize = 64;

/// One way to read a part.
struct Candidate {
    data: Vec<u8>,
    /// The line of the input that brought it, from 1.
    input_line: u64,
}

/// Parts of a key that has so many of them.
struct Parts {
    total: usize,
    candidates: BTreeMap<usize, VecDeque<Candidate>>,
}

/// All parts that came for one opening.
#[derive(Default)]
pub(super) struct KeyLines {
    parts: VecDeque<Parts>,
    /// Bytes that may be hashed.
    credit: usize,
}

/// A key whose parts fit its id.
pub(super) struct Start {
    /// The parts, joined: an age header and a nonce.
    pub bytes: Vec<u8>,
    /// The parts one by one.
    pub parts: Vec<Vec<u8>>,
    /// Lines of the input whose key lines belong to no key.
    pub forged: Vec<u64>,
}

impl KeyLines {
    /// Adds part `part` of `total`, counted from 0; gives the key when this part makes it whole.
    pub(super) fn add(
        &mut self,
        id: Id,
        part: usize,
        total: usize,
        data: Vec<u8>,
        input_line: u64,
    ) -> Option<Start> {
        let earned = (data.len() + PER_PART).saturating_mul(HASHED_PER_BYTE);
        self.credit = self.credit.saturating_add(earned).min(MAX_HASHED);
        let at = self.parts.iter().position(|parts| parts.total == total);
        let mut parts = at
            .and_then(|at| self.parts.remove(at))
            .unwrap_or_else(|| Parts { total, candidates: BTreeMap::new() });
        parts.add(part, Candidate { data, input_line });
        let choice = parts.choice(id, part, &mut self.credit);
        self.parts.push_front(parts);
        self.parts.truncate(MAX_TOTALS);
        choice.map(|choice| self.start(&choice))
    }

    /// Lines of the input that make up keys that are whole and fit no id: they are damaged or forged.
    pub(super) fn damaged(&self) -> Vec<u64> {
        self.parts.iter().filter(|parts| parts.is_whole()).flat_map(|parts| parts.lines(&[])).collect()
    }

    /// The newest number of parts with these candidates chosen.
    fn start(&mut self, choice: &[usize]) -> Start {
        let forged = self
            .parts
            .iter()
            .enumerate()
            .flat_map(|(at, parts)| parts.lines(if at == 0 { choice } else { &[] }))
            .collect();
        let newest = self.parts.pop_front().map(|parts| parts.candidates).unwrap_or_default();
        let parts: Vec<Vec<u8>> = newest
            .into_values()
            .zip(choice)
            .filter_map(|(mut candidates, &at)| candidates.remove(at))
            .map(|candidate| candidate.data)
            .collect();
        Start { bytes: parts.concat(), parts, forged }
    }
}

impl Parts {
    /// Puts a candidate first; one that was there moves.
    fn add(&mut self, part: usize, candidate: Candidate) {
        let candidates = self.candidates.entry(part).or_default();
        candidates.retain(|other| other.data != candidate.data);
        candidates.push_front(candidate);
        candidates.truncate(MAX_CANDIDATES);
    }

    fn is_whole(&self) -> bool {
        self.candidates.len() == self.total
    }

    /// The lines of all candidates but the chosen ones.
    fn lines(&self, choice: &[usize]) -> Vec<u64> {
        let others = self.candidates.values().enumerate().flat_map(|(part, candidates)| {
            let chosen = choice.get(part).copied();
            candidates.iter().enumerate().filter(move |&(at, _)| Some(at) != chosen)
        });
        others.map(|(_, candidate)| candidate.input_line).collect()
    }

    /// Which candidate of each part, so that the whole fits the id; the newest of `newest` is one of them. Tries the
    /// combinations with the newest candidates first, as far as `credit` goes.
    fn choice(&self, id: Id, newest: usize, credit: &mut usize) -> Option<Vec<usize>> {
        if !self.is_whole() {
            return None;
        }
        let lists: Vec<_> = self.candidates.values().collect();
        let oldest = |part: usize| if part == newest { 0 } else { lists[part].len() - 1 };
        let mut oldest_from = vec![0; lists.len() + 1];
        for part in (0..lists.len()).rev() {
            oldest_from[part] = oldest_from[part + 1] + oldest(part);
        }
        let most = oldest_from[0];
        let mut search = Search { lists, id, newest, oldest_from, left: *credit, choice: Vec::new() };
        // What is left bounds all ages together, not each.
        let mut ages = 0..=most;
        let found = loop {
            match ages.next().filter(|_| search.left > 0) {
                Some(age) if search.from(0, age) => break true,
                Some(_) => {}
                None => break false,
            }
        };
        *credit = search.left;
        found.then_some(search.choice)
    }
}

/// A search through the combinations of candidates, by age: the sum of their positions.
struct Search<'a> {
    /// The candidates of each part.
    lists: Vec<&'a VecDeque<Candidate>>,
    id: Id,
    newest: usize,
    /// The largest age that the parts from each one on can have.
    oldest_from: Vec<usize>,
    left: usize,
    choice: Vec<usize>,
}

impl Search<'_> {
    /// Whether parts from `part` on can be chosen with exactly this age in all; they are in `choice` then.
    fn from(&mut self, part: usize, age: usize) -> bool {
        let Some(candidates) = self.lists.get(part) else { return self.fits() };
        let oldest = if part == self.newest { 0 } else { candidates.len() - 1 };
        let youngest = age.saturating_sub(self.oldest_from[part + 1]);
        for at in youngest..=oldest.min(age) {
            self.choice.push(at);
            if self.from(part + 1, age - at) {
                return true;
            }
            self.choice.pop();
            if self.left == 0 {
                break;
            }
        }
        false
    }

    fn fits(&mut self) -> bool {
        let chosen = self.lists.iter().zip(&self.choice).map(|(candidates, &at)| &candidates[at].data[..]);
        let bytes: usize = chosen.clone().map(|part| part.len() + PER_PART).sum();
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(0);
        left.is_some() && Id::of(chosen) == self.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const REAL: [&[u8]; 3] = [b"one", b"two", b"three"];

    fn id() -> Id {
        Id::of(REAL)
    }

    fn add(lines: &mut KeyLines, part: usize, total: usize, data: &[u8], line: u64) -> Option<Start> {
        lines.add(id(), part, total, data.to_vec(), line)
    }

    #[test]
    fn forged_parts_between_the_real_ones_cost_nothing() {
        let mut lines = KeyLines::default();
        let mut number = 0;
        for (part, real) in REAL.iter().enumerate() {
            for forged in 0..40_u8 {
                number += 1;
                assert!(add(&mut lines, part, 3, &[forged], number).is_none());
                assert!(add(&mut lines, part.min(1), 2, &[forged], number).is_none());
            }
            number += 1;
            let start = add(&mut lines, part, 3, real, number);
            assert_eq!(start.is_some(), part == 2, "{part}");
            if let Some(start) = start {
                assert_eq!((start.bytes, start.parts.concat()), (REAL.concat(), REAL.concat()));
                assert_eq!(start.forged.len(), 120 + 80, "each distinct one");
            }
        }
    }

    #[test]
    fn a_flood_before_the_key_and_parts_in_any_order() {
        let mut lines = KeyLines::default();
        for forged in 0..5000_u32 {
            let (part, total) = (forged as usize % 3, 3 + forged as usize % 90);
            assert!(add(&mut lines, part, total, &forged.to_le_bytes(), 1).is_none());
        }
        assert!(add(&mut lines, 2, 3, REAL[2], 2).is_none());
        assert!(add(&mut lines, 0, 3, REAL[0], 3).is_none());
        assert!(add(&mut lines, 1, 3, REAL[1], 4).is_some());
    }

    /// The work for one line does not grow with the parts that a forger claims, nor with the combinations of their ages.
    #[test]
    fn forged_keys_of_many_parts_cost_no_more_than_others() {
        let mut lines = KeyLines::default();
        let begun = Instant::now();
        // The last part comes in the end, so that each of its lines begins a search.
        let parts = (0..511).flat_map(|part| [part; 9]).chain([511; 100]);
        for (forged, part) in parts.enumerate() {
            let data = [&forged.to_le_bytes()[..], &[0; 600]].concat();
            assert!(lines.add(id(), part, 512, data, 1).is_none());
        }
        // 100 MB of hashing at most, and some thousand times that without the bound.
        assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_key_that_fits_no_id_is_named() {
        let mut lines = KeyLines::default();
        assert!(add(&mut lines, 0, 2, b"a", 7).is_none());
        assert!(lines.damaged().is_empty());
        assert!(add(&mut lines, 1, 2, b"b", 9).is_none());
        assert_eq!(lines.damaged(), [7, 9]);
    }

    #[test]
    fn hashing_is_bounded_for_keys_of_many_parts() {
        // Without a bound these are 4^512 combinations: the test would not end.
        let parts = 64;
        let mut lines = KeyLines::default();
        for turn in 0..4_u8 {
            for part in 0..parts {
                assert!(add(&mut lines, part, parts, &[turn], 1).is_none());
            }
        }
    }
}
