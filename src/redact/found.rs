//! What was found of one kind: places in physical memory, and the bytes that were there for the search of copies.

use super::State;
use super::kinds::{Finder, Kind};
use super::record::Line;
use super::walk::{Piece, Walk};
use crate::mm::KernelMemory;
use crate::units::VirtAddr;
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes of one secret of which copies are searched: more than any key, less than a certificate.
const MAX_SECRET: u64 = 4096;

/// What was found of a kind.
pub(super) struct Found {
    pub(super) kind: Kind,
    /// Why it was not searched, or not to the end.
    missing: Option<State>,
    ranges: Vec<Range<u64>>,
    secrets: Vec<Vec<u8>>,
    /// Places and bytes by name.
    counts: BTreeMap<&'static str, (u64, u64)>,
}

impl Found {
    /// Nothing yet.
    pub(super) fn of(kind: Kind) -> Found {
        Found { kind, missing: None, ranges: Vec::new(), secrets: Vec::new(), counts: BTreeMap::new() }
    }

    /// A kind that cannot be walked.
    pub(super) fn unwalked(kind: Kind, why: String) -> Found {
        Found { missing: Some(State::Unwalked(why)), ..Found::of(kind) }
    }

    /// What a walk finds.
    pub(super) fn by_walk(kind: Kind, walk: &Walk<'_>, memory: &KernelMemory<'_>) -> Found {
        let facts = kind.facts();
        let finder = match walk.absent(facts) {
            Err(error) => return Found::unwalked(kind, error.line()),
            Ok(Some(why)) => return Found { missing: Some(State::Absent(why)), ..Found::of(kind) },
            Ok(None) => facts.finder,
        };
        match finder {
            Finder::Scan | Finder::Notes => Found::of(kind),
            Finder::Walk(find) => {
                let result = find(walk);
                let pieces = walk.take();
                match result {
                    Err(error) => Found::unwalked(kind, error.line()),
                    Ok(()) => Found::of(kind).with(&pieces, facts.copies, memory),
                }
            }
        }
    }

    /// Takes pieces over. One whose page is not mapped is no place of the kernel's: its kind cannot be trusted.
    fn with(mut self, pieces: &[Piece], copies: bool, memory: &KernelMemory<'_>) -> Found {
        for piece in pieces {
            let mut secret = vec![0; usize::try_from(piece.len.min(MAX_SECRET)).unwrap_or(0)];
            if copies && piece.copied && memory.read(piece.at, &mut secret).is_ok() {
                self.secrets.push(secret);
            }
            match physical(piece, memory) {
                Ok(ranges) => self.ranges.extend(ranges),
                Err(why) => return Found::unwalked(self.kind, format!("{}: {why}", piece.what)),
            }
            self.count(piece.what, piece.len);
        }
        self
    }

    /// Takes a place that a scan found.
    pub(super) fn take_physical(&mut self, at: u64, len: u64, what: &'static str, secret: Option<Vec<u8>>) {
        self.ranges.push(at..at.saturating_add(len));
        self.secrets.extend(secret);
        self.count(what, len);
    }

    fn count(&mut self, what: &'static str, len: u64) {
        let count = self.counts.entry(what).or_default();
        *count = (count.0 + 1, count.1 + len);
    }

    /// Whether it is one that scans add to.
    pub(super) fn is_searched(&self) -> bool {
        self.missing.is_none()
    }

    /// What became of it.
    pub(super) fn state(&self) -> State {
        let (places, bytes) =
            self.counts.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        self.missing.clone().unwrap_or(State::Erased { places, bytes })
    }

    /// The bytes that were found, for the search of copies, with their kind.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (Kind, &[u8])> {
        self.secrets.iter().map(|secret| (self.kind, secret.as_slice()))
    }

    /// Where they are in physical memory, bytes.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        let trusted = self.is_searched();
        self.ranges.iter().filter(move |_| trusted).cloned()
    }

    /// What the record has of them.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        let trusted = self.is_searched();
        let line = |(&what, &(_, bytes)): (&&'static str, &(u64, u64))| Line { kind: self.kind, what, bytes };
        self.counts.iter().filter(move |_| trusted).map(line)
    }
}

/// Where a piece is in physical memory, page by page.
fn physical(piece: &Piece, memory: &KernelMemory<'_>) -> Result<Vec<Range<u64>>, String> {
    let page = memory.page_size().bytes();
    let (mut at, end) = (piece.at.0, piece.at.0.saturating_add(piece.len));
    let mut ranges: Vec<Range<u64>> = Vec::new();
    while at < end {
        let len = (page - at % page).min(end - at);
        let start = memory.translate(VirtAddr(at)).map_err(|error| error.to_string())?.0;
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end += len,
            _ => ranges.push(start..start.saturating_add(len)),
        }
        at += len;
    }
    Ok(ranges)
}
