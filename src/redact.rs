//! What an owner does not hand over: the secrets in a dump. `kinds` is the one list of them. Each kind is found by what the
//! crashed kernel tells of its own structures (`kernel`), or by its form in all memory (`scan`: `aes`, `ciphers`, copies),
//! and what is found becomes ranges of physical memory that read as `X` (`erased`), with a record of it (`record`). What to do
//! with a kind that cannot be walked is the caller's decision; this room only reports it.
//!
//! Whoever made the dump wrote every structure that is walked here: lists and lengths have limits, and a structure that
//! contradicts itself makes its kind one that could not be walked, never one that is absent.

mod aes;
mod ceph;
mod ciphers;
mod copies;
mod dm;
mod erased;
mod found;
mod keyring;
mod kinds;
mod krb5;
mod log;
mod net;
mod random;
mod record;
mod registers;
mod scan;
mod storage;
mod targets;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tty;
mod walk;
mod wireless;
mod xarray;

use crate::kernel::Kernel;
use crate::mm::KernelMemory;
use crate::vmcore::{Pages, Vmcore};
use aes::Schedules;
use ciphers::Tfms;
use copies::Copies;
use erased::Ranges;
use found::Found;
use std::num::NonZero;
use walk::Walk;

pub use kinds::{Kind, Kinds, Unknown};
pub use record::summary;

/// What became of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Every place that is known was searched, and what was found is overwritten.
    Erased {
        /// Ranges.
        places: u64,
        /// Bytes of them.
        bytes: u64,
    },
    /// The kernel has nothing that makes it; the text tells how that is known.
    Absent(String),
    /// It is or may be there, and could not be walked; the text tells what stopped that.
    Unwalked(String),
    /// It was not asked for.
    Kept,
}

/// A kind and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind.
    pub kind: Kind,
    /// What became of it.
    pub state: State,
}

/// What is to be overwritten in a dump.
pub struct Plan {
    findings: Vec<Finding>,
    ranges: Ranges,
    eraseinfo: Vec<u8>,
    /// The notes that are kept in memory, as they are handed over.
    notes: Vec<u8>,
    /// Whether device dumps are left out of the notes.
    device_dumps: bool,
}

impl Plan {
    /// Looks for the kinds in a dump's memory. What `done` gets is the share of the scans, 0 to 1.
    #[must_use]
    pub fn make(vmcore: &Vmcore, kinds: &Kinds, threads: NonZero<usize>, done: &mut dyn FnMut(f64)) -> Plan {
        let memory = KernelMemory::new(vmcore);
        let memory = memory.as_ref().map_err(ToString::to_string);
        let kernel = memory.as_ref().ok().map(|memory| Kernel::new(*memory));
        let walk = kernel.as_ref().map(|kernel| Walk::new(kernel, vmcore.machine(), vmcore.page_size()));
        let mut search = Search { vmcore, kinds, threads, found: Vec::new() };
        for kind in Kind::ALL.iter().copied().filter(|kind| kinds.has(*kind)) {
            search.found.push(match (&walk, &memory) {
                (Some(walk), Ok(memory)) => Found::by_walk(kind, walk, memory),
                (_, Err(cause)) if kind.needs_kernel() => Found::unwalked(kind, cause.clone()),
                _ => Found::of(kind),
            });
        }
        search.scan(walk.as_ref(), done);
        search.finish()
    }

    /// The kinds and what became of each, in the order of the list.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The kinds that were asked for and could not be walked, with the reason.
    pub fn unwalked(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.findings.iter().filter_map(|finding| match &finding.state {
            State::Unwalked(why) => Some((finding.kind, why.as_str())),
            _ => None,
        })
    }

    /// The same memory and notes, with everything overwritten that was found, and the record of it.
    #[must_use]
    pub fn apply(self, pages: Pages) -> Pages {
        erased::apply(self, pages)
    }
}

/// A search under way.
struct Search<'a> {
    vmcore: &'a Vmcore,
    kinds: &'a Kinds,
    threads: NonZero<usize>,
    found: Vec<Found>,
}

impl Search<'_> {
    /// Goes through all memory: once for what is known by its form, and once for copies of what is known by then.
    fn scan(&mut self, walk: Option<&Walk<'_>>, done: &mut dyn FnMut(f64)) {
        let tfms = walk.and_then(|walk| self.tfms(walk));
        let schedules = self.kinds.has(Kind::Aes).then(Schedules::new);
        if tfms.is_some() || schedules.is_some() {
            let look = |bytes: &[u8], own: usize| {
                let mut hits = schedules.as_ref().map(|aes| aes.hits(bytes, own)).unwrap_or_default();
                hits.extend(tfms.iter().flat_map(|tfms| tfms.hits(bytes, own)));
                hits
            };
            let hits = scan::scan(self.vmcore, self.threads, &look, &mut |share| done(share / 2.0));
            self.take(hits, walk, tfms.as_ref());
        }
        let copies = Copies::of(self.found.iter().flat_map(Found::secrets));
        if !copies.is_empty() {
            let look = |bytes: &[u8], own: usize| copies.hits(bytes, own);
            let hits = scan::scan(self.vmcore, self.threads, &look, &mut |share| done(0.5 + share / 2.0));
            self.take(hits, walk, None);
        }
    }

    /// The cipher contexts' algorithms, where these are asked for and can be listed.
    fn tfms(&mut self, walk: &Walk<'_>) -> Option<Tfms> {
        let mut found = self.found.iter_mut();
        let found = found.find(|found| found.kind == Kind::Ciphers && found.is_searched())?;
        match Tfms::of(walk) {
            Ok(tfms) => Some(tfms),
            Err(error) => {
                *found = Found::unwalked(Kind::Ciphers, error.line());
                None
            }
        }
    }

    fn take(&mut self, hits: Vec<scan::Hit>, walk: Option<&Walk<'_>>, tfms: Option<&Tfms>) {
        for hit in hits {
            let range = match (hit.what, walk, tfms) {
                (scan::What::Algorithm, Some(walk), Some(tfms)) => tfms.context_at(self.vmcore, walk, hit.at),
                (scan::What::Algorithm, ..) => None,
                _ => Some((hit.at, hit.len)),
            };
            let found = self.found.iter_mut().find(|found| found.kind == hit.kind);
            if let (Some((at, len)), Some(found)) = (range, found) {
                found.take_physical(at, len, hit.what.name(), hit.secret);
            }
        }
    }

    fn finish(self) -> Plan {
        let mut findings = Vec::new();
        for kind in Kind::ALL.iter().copied() {
            let found = self.found.iter().find(|found| found.kind == kind);
            let state = found.map_or(State::Kept, |found| self.state(found));
            findings.push(Finding { kind, state });
        }
        let ranges = Ranges::of(self.found.iter().flat_map(Found::ranges));
        let is_erased = |kind: Kind| {
            let finding = findings.iter().find(|finding| finding.kind == kind);
            finding.is_some_and(|finding| matches!(finding.state, State::Erased { .. }))
        };
        Plan {
            device_dumps: is_erased(Kind::DeviceDumps),
            notes: erased::kept_notes(self.vmcore, is_erased(Kind::Registers)),
            eraseinfo: record::encode(&findings, self.found.iter().flat_map(Found::lines)),
            findings,
            ranges,
        }
    }

    fn state(&self, found: &Found) -> State {
        match (found.kind, found.state()) {
            (Kind::DeviceDumps, State::Erased { .. }) if self.vmcore.notes().streamed_len() == 0 => {
                State::Absent("no such notes".into())
            }
            (Kind::DeviceDumps, State::Erased { .. }) => {
                State::Erased { places: 1, bytes: self.vmcore.notes().streamed_len() }
            }
            (_, state) => state,
        }
    }
}
