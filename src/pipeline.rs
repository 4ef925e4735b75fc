//! Ordered work on several threads: two parallel stages with a short ordered step behind each.
//!
//! ```text
//! source --> first (any thread) --> middle (in order) --> second (any thread) --> sink (in order)
//! ```
//!
//! On the way out: blocks, read and compress, assemble the stream, seal chunks, write. On the way
//! back: chunks, open, split into frames, decompress, write. All threads are equal: each looks for the
//! step nearest the sink that has something to do. With one thread the caller's own does everything.
//! Nothing here knows pages or keys; it defines order, bounds and what happens on an error.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The work of a pipeline. Methods that take `&self` run on many threads at once; [`Ordered`] ones run
/// one at a time, in the order the source gave.
pub trait Work: Sync {
    /// What the source gives out.
    type Job: Send;
    /// What the first stage makes of a job.
    type Part: Send;
    /// What the middle cuts parts into.
    type Piece: Send;
    /// What the second stage makes of a piece.
    type Done: Send;
    /// What goes wrong.
    type Error: Send;
    /// Buffers and contexts that each thread has for itself.
    type Scratch;

    /// Makes a thread's own buffers.
    ///
    /// # Errors
    /// Stops the pipeline.
    fn scratch(&self) -> Result<Self::Scratch, Self::Error>;

    /// The first stage.
    ///
    /// # Errors
    /// Stops the pipeline.
    fn first(&self, scratch: &mut Self::Scratch, job: Self::Job) -> Result<Self::Part, Self::Error>;

    /// The second stage.
    ///
    /// # Errors
    /// Stops the pipeline.
    fn second(&self, scratch: &mut Self::Scratch, piece: Self::Piece) -> Result<Self::Done, Self::Error>;
}

type Source<'a, W> = &'a mut (dyn FnMut() -> SourceResult<W> + Send);
type SourceResult<W> = Result<Option<<W as Work>::Job>, <W as Work>::Error>;
type Middle<'a, W> =
    &'a mut (dyn FnMut(Option<<W as Work>::Part>, &mut Vec<<W as Work>::Piece>) -> Outcome<W> + Send);
type Sink<'a, W> = &'a mut (dyn FnMut(<W as Work>::Done) -> Outcome<W> + Send);
type Outcome<W> = Result<(), <W as Work>::Error>;

/// The three steps that run in order, each never twice at a time.
pub struct Ordered<'a, W: Work + ?Sized> {
    /// The next job; `None` at the end.
    pub source: Source<'a, W>,
    /// Takes parts in order, `None` after the last, and hands out pieces.
    pub middle: Middle<'a, W>,
    /// Takes finished pieces in order.
    pub sink: Sink<'a, W>,
}

/// Runs everything to the end on `threads` threads, the caller's among them.
///
/// # Errors
/// The first error of any step; the others are dropped, and no step starts after it.
pub fn run<W: Work>(threads: NonZero<usize>, work: &W, ordered: Ordered<'_, W>) -> Result<(), W::Error> {
    let Ordered { source, middle, sink } = ordered;
    let shared = Shared {
        state: Mutex::new(State::new(threads.get())),
        wake: Condvar::new(),
        source: Mutex::new(source),
        middle: Mutex::new(middle),
        sink: Mutex::new(sink),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get() {
            scope.spawn(|| shared.work(work));
        }
        shared.work(work);
    });
    match lock(&shared.state).error.take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

struct Shared<'a, W: Work> {
    state: Mutex<State<W>>,
    wake: Condvar,
    // Each is locked only by the thread that the state named its runner, so never waited for.
    source: Mutex<Source<'a, W>>,
    middle: Mutex<Middle<'a, W>>,
    sink: Mutex<Sink<'a, W>>,
}

/// A lane of numbered items that are consumed in order by one runner at a time.
struct Lane<T> {
    waiting: BTreeMap<u64, T>,
    next: u64,
    busy: bool,
}

impl<T> Lane<T> {
    fn take_ready(&mut self) -> Option<T> {
        if self.busy {
            return None;
        }
        let item = self.waiting.remove(&self.next)?;
        self.next += 1;
        self.busy = true;
        Some(item)
    }
}

struct State<W: Work> {
    parts: Lane<W::Part>,
    pieces: VecDeque<(u64, W::Piece)>,
    done: Lane<W::Done>,
    jobs_given: u64,
    pieces_given: u64,
    source_busy: bool,
    source_ended: bool,
    middle_ended: bool,
    /// The most jobs between source and middle, and the most pieces between middle and sink: bounds
    /// memory, and lets a fast thread run ahead of a slow one.
    ahead: u64,
    /// Set when a thread failed or panicked: nobody starts a step any more.
    stopped: bool,
    error: Option<W::Error>,
}

/// What a thread does next.
enum Step<W: Work> {
    Sink(W::Done),
    Second(u64, W::Piece),
    Middle(Option<W::Part>),
    Source,
    Wait,
    End,
}

impl<W: Work> State<W> {
    fn new(threads: usize) -> State<W> {
        State {
            parts: Lane { waiting: BTreeMap::new(), next: 0, busy: false },
            pieces: VecDeque::new(),
            done: Lane { waiting: BTreeMap::new(), next: 0, busy: false },
            jobs_given: 0,
            pieces_given: 0,
            source_busy: false,
            source_ended: false,
            middle_ended: false,
            ahead: if threads == 1 { 1 } else { 2 * threads as u64 },
            stopped: false,
            error: None,
        }
    }

    /// The step nearest the sink that can run now; marks it as taken.
    fn next_step(&mut self) -> Step<W> {
        if self.stopped {
            return Step::End;
        }
        if let Some(done) = self.done.take_ready() {
            return Step::Sink(done);
        }
        if let Some((number, piece)) = self.pieces.pop_front() {
            return Step::Second(number, piece);
        }
        if let Some(part) = self.parts.take_ready() {
            return Step::Middle(Some(part));
        }
        if self.source_ended {
            return self.ending_step();
        }
        let room = self.jobs_given - self.parts.next < self.ahead
            && self.pieces_given - self.done.next < self.ahead.saturating_mul(4);
        if room && !self.source_busy {
            self.source_busy = true;
            return Step::Source;
        }
        Step::Wait
    }

    fn ending_step(&mut self) -> Step<W> {
        if self.parts.next < self.jobs_given || self.parts.busy {
            return Step::Wait;
        }
        if !self.middle_ended {
            self.middle_ended = true;
            self.parts.busy = true;
            return Step::Middle(None);
        }
        if self.done.next < self.pieces_given || self.done.busy { Step::Wait } else { Step::End }
    }
}

/// Locks a mutex whose holder may have panicked: the panic itself is what gets reported.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<W: Work> Shared<'_, W> {
    fn work(&self, work: &W) {
        let mut stop = StopOnPanic { shared: self, armed: true };
        let outcome = work.scratch().and_then(|mut scratch| self.steps(work, &mut scratch));
        stop.armed = false;
        if let Err(error) = outcome {
            let mut state = lock(&self.state);
            state.stopped = true;
            state.error.get_or_insert(error);
        }
        self.wake.notify_all();
    }

    fn steps(&self, work: &W, scratch: &mut W::Scratch) -> Result<(), W::Error> {
        let mut state = lock(&self.state);
        loop {
            match state.next_step() {
                Step::End => return Ok(()),
                Step::Wait => {
                    state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                step => {
                    drop(state);
                    self.perform(work, scratch, step)?;
                }
            }
            state = lock(&self.state);
        }
    }

    fn perform(&self, work: &W, scratch: &mut W::Scratch, step: Step<W>) -> Result<(), W::Error> {
        match step {
            Step::Sink(done) => {
                lock(&self.sink)(done)?;
                lock(&self.state).done.busy = false;
            }
            Step::Second(number, piece) => {
                let done = work.second(scratch, piece)?;
                lock(&self.state).done.waiting.insert(number, done);
            }
            Step::Middle(part) => {
                let mut pieces = Vec::new();
                lock(&self.middle)(part, &mut pieces)?;
                let mut state = lock(&self.state);
                for piece in pieces {
                    let number = state.pieces_given;
                    state.pieces.push_back((number, piece));
                    state.pieces_given += 1;
                }
                state.parts.busy = false;
            }
            Step::Source => {
                let job = lock(&self.source)()?;
                let number = {
                    let mut state = lock(&self.state);
                    state.source_busy = false;
                    state.source_ended = job.is_none();
                    let number = state.jobs_given;
                    state.jobs_given += u64::from(job.is_some());
                    number
                };
                self.wake.notify_all();
                if let Some(job) = job {
                    let part = work.first(scratch, job)?;
                    lock(&self.state).parts.waiting.insert(number, part);
                }
            }
            Step::Wait | Step::End => {}
        }
        self.wake.notify_all();
        Ok(())
    }
}

/// A panic in one thread must not leave the others waiting: they stop, and the scope passes it on.
struct StopOnPanic<'a, 'b, W: Work> {
    shared: &'a Shared<'b, W>,
    armed: bool,
}

impl<W: Work> Drop for StopOnPanic<'_, '_, W> {
    fn drop(&mut self) {
        if self.armed {
            lock(&self.shared.state).stopped = true;
            self.shared.wake.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Doubles numbers, joins them in threes, adds one to the sums; steps take unequal time.
    struct Sums {
        fail_at: Option<u64>,
        most_at_once: AtomicUsize,
        at_once: AtomicUsize,
    }

    impl Work for Sums {
        type Job = u64;
        type Part = u64;
        type Piece = u64;
        type Done = u64;
        type Error = String;
        type Scratch = ();

        fn scratch(&self) -> Result<(), String> {
            Ok(())
        }

        fn first(&self, (): &mut (), job: u64) -> Result<u64, String> {
            let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(now, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_micros(job * 7919 % 300));
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            if self.fail_at == Some(job) { Err(format!("job {job}")) } else { Ok(job * 2) }
        }

        fn second(&self, (): &mut (), piece: u64) -> Result<u64, String> {
            Ok(piece + 1)
        }
    }

    fn sums(threads: usize, jobs: u64, fail_at: Option<u64>) -> (Result<(), String>, Vec<u64>, usize) {
        let work = Sums { fail_at, most_at_once: AtomicUsize::new(0), at_once: AtomicUsize::new(0) };
        let (mut next, mut held, mut out) = (0, Vec::new(), Vec::new());
        let result = run(
            NonZero::new(threads).unwrap(),
            &work,
            Ordered {
                source: &mut || {
                    next += 1;
                    Ok((next <= jobs).then_some(next - 1))
                },
                middle: &mut |part, pieces| {
                    held.extend(part);
                    if held.len() == 3 || (part.is_none() && !held.is_empty()) {
                        pieces.push(held.drain(..).sum());
                    }
                    Ok(())
                },
                sink: &mut |done| {
                    out.push(done);
                    Ok(())
                },
            },
        );
        (result, out, work.most_at_once.into_inner())
    }

    #[test]
    fn order_holds_for_any_number_of_threads() {
        for jobs in [0, 1, 2, 3, 4, 100] {
            let numbers: Vec<u64> = (0..jobs).collect();
            let expected: Vec<u64> =
                numbers.chunks(3).map(|three| three.iter().sum::<u64>() * 2 + 1).collect();
            for threads in [1, 2, 5] {
                let (result, out, _) = sums(threads, jobs, None);
                assert_eq!((result, out), (Ok(()), expected.clone()), "{jobs} jobs, {threads} threads");
            }
        }
    }

    #[test]
    fn threads_work_at_once_and_one_thread_works_alone() {
        assert!(sums(4, 100, None).2 > 1);
        assert_eq!(sums(1, 20, None).2, 1);
    }

    #[test]
    fn an_error_ends_everything() {
        for threads in [1, 3] {
            let (result, out, _) = sums(threads, 1000, Some(50));
            assert_eq!(result, Err("job 50".to_owned()));
            assert!(out.len() <= 17, "{}", out.len());
        }
    }
}
