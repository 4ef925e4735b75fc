//! The walk on several threads. Nothing but an exclusion reaches from one memory section into the next, so chunks of whole
//! sections are walked as if nothing reached into them, and put together in their order: [`Walk::adopt`] adds what does
//! reach. The result is that of one walk, page by page.

use super::WINDOW_PAGES;
use super::judge::Judge;
use super::walk::{self, Walk, Walked};
use crate::units::{Pfn, PfnRange};
use crate::vmcore::Vmcore;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Pages in a chunk at most: 2 GiB in pages of 4 KiB. Larger sections (flat memory is one) are walked by one thread.
const MAX_CHUNK: u64 = 16 * WINDOW_PAGES;
/// Chunks for each thread that are walked and not put together yet, at most. One of a window takes some 100 KiB.
const AHEAD: usize = 2;

/// Chunks that threads take, and what they made of them.
struct Chunks<'a> {
    vmcore: &'a Vmcore,
    pages: u64,
    end: Pfn,
    limit: usize,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    /// Where the next chunk to take begins, and its number.
    next: Pfn,
    number: u64,
    /// Chunks that wait for those before them, by number.
    walked: BTreeMap<u64, Vec<Walked>>,
    /// How many were put together.
    joined: u64,
    /// Nothing is to be taken any more.
    ended: bool,
}

/// Pages of a chunk: of whole sections and whole windows. `None` where sections are too large to be walked apart.
fn chunk_pages(judge: &Judge<'_>) -> Option<u64> {
    let section = judge.mem_map.section_of(Pfn(0));
    let pages = section.count().max(WINDOW_PAGES);
    let is_even = section.start == Pfn(0) && section.count().is_power_of_two();
    (is_even && pages <= MAX_CHUNK).then_some(pages)
}

/// Whether the window that follows `at` is of a chunk that begins before: the rest of it belongs to the walk that is there.
pub(super) fn is_amid(judge: &Judge<'_>, vmcore: &Vmcore, at: Pfn, end: Pfn) -> bool {
    let Some((pages, window)) = chunk_pages(judge).zip(walk::next_window(vmcore, at, end)) else {
        return false;
    };
    window.start.0 / pages * pages < at.0
}

/// Walks on from where `walk` is, at the start of a chunk, to `end`, on `threads` threads, this one among them. Each window is
/// given to `each` once `walk` has it, in order; false from `each` ends the walk after it.
pub(super) fn walk_on(
    vmcore: &Vmcore,
    judge: &Judge<'_>,
    walk: &mut Walk,
    threads: NonZero<usize>,
    end: Pfn,
    each: &mut dyn FnMut(&mut Walk, PfnRange) -> bool,
) {
    let Some(pages) = chunk_pages(judge) else { return };
    let others: Vec<Judge<'_>> = (1..threads.get()).map_while(|_| judge.again(vmcore)).collect();
    let state = State { next: walk.position(), number: 0, walked: BTreeMap::new(), joined: 0, ended: false };
    let chunks = Chunks {
        vmcore,
        pages,
        end,
        limit: AHEAD * threads.get(),
        state: Mutex::new(state),
        wake: Condvar::new(),
    };
    let levels = walk.lanes.len();
    std::thread::scope(|scope| {
        let _end = EndOnDrop(&chunks);
        for judge in others {
            // Without a further thread those that are there do its work.
            let _ = std::thread::Builder::new().spawn_scoped(scope, {
                let chunks = &chunks;
                move || chunks.work(&judge, levels)
            });
        }
        chunks.join(judge, walk, each);
    });
}

/// Ends the other threads, also when one of them panics.
struct EndOnDrop<'c, 'a>(&'c Chunks<'a>);

impl Drop for EndOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.wake.notify_all();
    }
}

impl Chunks<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next chunk and its number; `None` after the last, and where too many wait to be joined.
    fn take(&self, state: &mut State) -> Option<(u64, PfnRange)> {
        let is_full = state.number - state.joined >= self.limit as u64;
        let window = walk::next_window(self.vmcore, state.next, self.end).filter(|_| !state.ended)?;
        if is_full {
            return None;
        }
        let start = Pfn(window.start.0 / self.pages * self.pages);
        let chunk = PfnRange { start, end: start.saturating_add(self.pages).min(self.end) };
        state.next = chunk.end;
        state.number += 1;
        Some((state.number - 1, chunk))
    }

    /// Whether every chunk was taken.
    fn is_over(&self, state: &State) -> bool {
        state.ended || walk::next_window(self.vmcore, state.next, self.end).is_none()
    }

    /// Walks a chunk, and leaves what was found for whoever joins them.
    fn walk(&self, judge: &Judge<'_>, walk: &mut Walk, (number, chunk): (u64, PfnRange)) {
        walk.restart(chunk);
        let windows =
            std::iter::from_fn(|| walk.next_window(self.vmcore, Some(judge)).map(|at| walk.take(at)));
        let windows = windows.collect();
        self.lock().walked.insert(number, windows);
        self.wake.notify_all();
    }

    /// What a thread does until every chunk is taken.
    fn work(&self, judge: &Judge<'_>, levels: usize) {
        let _end = EndOnPanic(self);
        let mut walk = Walk::new(PfnRange::default(), levels);
        let mut state = self.lock();
        while !self.is_over(&state) {
            let Some(chunk) = self.take(&mut state) else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            self.walk(judge, &mut walk, chunk);
            state = self.lock();
        }
    }

    /// Puts the chunks together in their order, and walks some itself while it waits.
    fn join(&self, judge: &Judge<'_>, walk: &mut Walk, each: &mut dyn FnMut(&mut Walk, PfnRange) -> bool) {
        let mut own = Walk::new(PfnRange::default(), walk.lanes.len());
        let mut state = self.lock();
        loop {
            let number = state.joined;
            if let Some(windows) = state.walked.remove(&number) {
                state.joined += 1;
                drop(state);
                self.wake.notify_all();
                for window in windows {
                    let range = walk.adopt(window);
                    if !each(walk, range) {
                        return;
                    }
                }
                state = self.lock();
            } else if let Some(chunk) = self.take(&mut state) {
                drop(state);
                self.walk(judge, &mut own, chunk);
                state = self.lock();
            } else if state.joined == state.number || state.ended {
                return;
            } else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Ends the walk when the thread that holds it panics: its chunk never comes.
struct EndOnPanic<'c, 'a>(&'c Chunks<'a>);

impl Drop for EndOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().ended = true;
            self.0.wake.notify_all();
        }
    }
}
