//! A pass over all memory that a dump holds, on several threads: pieces of physically neighbouring pages, each with a little
//! of what follows, so that nothing is missed at the end of one. What it means, the caller knows.

use super::kinds::Kind;
use crate::pipeline::{self, Cost};
use crate::units::{PageSize, Pfn, PfnRange};
use crate::vmcore::Vmcore;
use std::convert::Infallible;
use std::num::NonZero;

/// Bytes of a piece.
const PIECE: u64 = 256 << 10;
/// Bytes that follow a piece: longer than anything that a scan finds.
pub(super) const OVERLAP: usize = 4096;
/// Bytes that each thread reads ahead.
const AHEAD: usize = 1 << 20;

/// What a place was found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// An expanded AES key, or a copy of a secret: the name.
    Named(&'static str),
    /// The address of an algorithm, which a cipher's structure holds.
    Algorithm,
}

impl What {
    pub(super) fn name(self) -> &'static str {
        match self {
            What::Named(name) => name,
            What::Algorithm => "crypto_tfm.__crt_ctx",
        }
    }
}

/// A place that a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) kind: Kind,
    pub(super) what: What,
    /// Bytes from the start of the piece; what [`scan`] returns has physical addresses.
    pub(super) at: u64,
    pub(super) len: u64,
    /// Bytes of which copies are searched.
    pub(super) secret: Option<Vec<u8>>,
}

/// Pages of a piece, and of what follows it.
struct Job {
    pages: PfnRange,
    follow: u64,
    page: PageSize,
}

impl Cost for Job {
    fn bytes(&self) -> usize {
        usize::try_from((self.pages.count() + self.follow) << self.page.shift()).unwrap_or(usize::MAX)
    }
}

/// Calls `look` with the bytes of every piece and how many of them are its own: what begins after these is the next one's.
/// Places come in the order of memory. Pages that cannot be read hold nothing for whoever gets the dump.
pub(super) fn scan(
    vmcore: &Vmcore,
    threads: NonZero<usize>,
    look: &(dyn Fn(&[u8], usize) -> Vec<Hit> + Sync),
    done: &mut dyn FnMut(f64),
) -> Vec<Hit> {
    let page = vmcore.page_size();
    let all = vmcore.backed().count().max(1);
    let work = |buffer: &mut Vec<u8>, job: Job| {
        Ok::<_, Infallible>((job.pages.count(), read(vmcore, buffer, &job, look)))
    };
    let scratch = || Ok::<_, Infallible>(Vec::new());
    let hits = pipeline::with(threads, AHEAD, scratch, |pool| {
        let (mut hits, mut passed) = (Vec::new(), 0);
        for result in pool.ordered(jobs(vmcore, page).map(Ok), &work) {
            let Ok((pages, found)) = result;
            hits.extend(found);
            passed += pages;
            done(passed as f64 / all as f64);
        }
        Ok::<_, Infallible>(hits)
    });
    let Ok(hits) = hits;
    hits
}

/// The pieces of all runs of pages.
fn jobs(vmcore: &Vmcore, page: PageSize) -> impl Iterator<Item = Job> {
    let step = (PIECE >> page.shift()).max(1);
    let follow = (OVERLAP as u64).div_ceil(page.bytes());
    let runs = vmcore.backed().ranges().to_vec();
    runs.into_iter().flat_map(move |run| {
        let starts = (run.start.0..run.end.0).step_by(usize::try_from(step).unwrap_or(1));
        starts.map(move |start| {
            let pages = PfnRange::new(start, (start + step).min(run.end.0));
            Job { pages, follow: follow.min(run.end.0 - pages.end.0), page }
        })
    })
}

/// Reads a piece and searches it; where a page cannot be read, each of the others by itself.
fn read(
    vmcore: &Vmcore,
    buffer: &mut Vec<u8>,
    job: &Job,
    look: &(dyn Fn(&[u8], usize) -> Vec<Hit> + Sync),
) -> Vec<Hit> {
    buffer.resize(job.bytes(), 0);
    let own = usize::try_from(job.pages.count() << job.page.shift()).unwrap_or(0);
    let at = |first: Pfn, hits: Vec<Hit>| {
        let start = first.0 << job.page.shift();
        hits.into_iter().map(|hit| Hit { at: hit.at + start, ..hit }).collect::<Vec<_>>()
    };
    if vmcore.read_pages(job.pages.start, buffer).is_ok() {
        return at(job.pages.start, look(buffer, own));
    }
    let mut hits = Vec::new();
    for pfn in job.pages.iter() {
        buffer.resize(job.page.len(), 0);
        if vmcore.read_pages(pfn, buffer).is_ok() {
            hits.extend(at(pfn, look(buffer, job.page.len())));
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmcore::testing::CoreBuilder;

    #[test]
    fn what_crosses_pieces_is_found_once_and_in_order() {
        let piece = usize::try_from(PIECE).unwrap();
        let mut memory = vec![0; piece * 2 + 0x3000];
        let places = [0, 100, piece - 3, 2 * piece - 1, memory.len() - 5];
        for &place in &places {
            memory[place..place + 5].copy_from_slice(b"found");
        }
        let core = CoreBuilder::new().load(0x10_0000, memory).build();
        let core = Vmcore::from_source(Box::new(core)).unwrap();
        let look = |bytes: &[u8], own: usize| {
            let found = bytes.windows(5).take(own).enumerate().filter(|(_, window)| *window == b"found");
            let hit = |at: usize| Hit {
                kind: Kind::Aes,
                what: What::Named("x"),
                at: at as u64,
                len: 5,
                secret: None,
            };
            found.map(|(at, _)| hit(at)).collect()
        };
        for threads in [1, 3] {
            let mut share = 0.0;
            let threads = NonZero::new(threads).unwrap();
            let hits = scan(&core, threads, &look, &mut |now| share = now);
            let found: Vec<u64> = hits.iter().map(|hit| hit.at - 0x10_0000).collect();
            assert_eq!(found, places.map(|place| place as u64));
            assert!((share - 1.0).abs() < 1e-9);
        }
    }
}
