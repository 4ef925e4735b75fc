//! A map on several threads whose results come in order: [`Pool::ordered`] takes an iterator of jobs and is an iterator
//! of results. The thread that asks for results does everything between two maps itself, and does jobs while it waits.
//!
//! ```text
//! jobs --> ordered (any thread) --> what the asking thread does --> ordered (any thread) --> the asking thread
//! ```
//!
//! A map runs ahead of its reader by a number of bytes, not of jobs, so that what a job costs bounds what all of them
//! cost. Of several maps the one that was made last has precedence: its results are asked for first. Nothing here knows
//! pages or keys.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The least that a job counts, in bytes: so many does one take that holds nothing.
const LEAST: usize = 512;

/// What a job of a map costs.
pub(crate) trait Cost {
    /// The most bytes that the job, or what becomes of it, holds until its result is taken.
    fn bytes(&self) -> usize;
}

/// A job that a thread does, given its scratch; false when it panicked.
type Task<'env, S> = Box<dyn FnOnce(&mut S) -> bool + Send + 'env>;

/// Jobs that no thread has taken: of the map made last first, in their order.
type Queue<'env, S> = BTreeMap<(Reverse<usize>, u64), Task<'env, S>>;

/// What the threads share.
struct Shared<'env, S> {
    state: Mutex<State<'env, S>>,
    wake: Condvar,
}

struct State<'env, S> {
    queue: Queue<'env, S>,
    /// Threads that wait for a job: waking nobody costs a system call as well.
    idle: usize,
    ended: bool,
}

impl<'env, S> Shared<'env, S> {
    fn lock(&self) -> MutexGuard<'_, State<'env, S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread of the pool does until the end.
    fn work(&self, mut scratch: S) {
        let mut state = self.lock();
        while !state.ended {
            let Some((_, task)) = state.queue.pop_first() else {
                state.idle += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            drop(state);
            // A panic may leave the scratch in any state; the other threads go on to the result that reports it.
            if !task(&mut scratch) {
                return;
            }
            state = self.lock();
        }
    }
}

/// Ends the other threads, also when the asking one panics.
struct EndOnDrop<'a, 'env, S>(&'a Shared<'env, S>);

impl<S> Drop for EndOnDrop<'_, '_, S> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.wake.notify_all();
    }
}

/// Threads that do jobs, the caller's among them, each with a scratch of its own: buffers, contexts.
pub(crate) struct Pool<'a, 'env, S> {
    shared: &'a Shared<'env, S>,
    own: RefCell<S>,
    maps: Cell<usize>,
    ahead: usize,
}

/// Does everything at the same time, each item on a thread of its own, a single one on this thread; the results come in
/// the order of the items.
pub(crate) fn at_once<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    if items.len() < 2 {
        return items.into_iter().map(work).collect();
    }
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        let results = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        // A panic was printed on its thread; here it goes on.
        results.map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Runs `body` on this thread with a pool of `threads` threads, this one among them; fewer where the system has no
/// more. Each map runs at most `ahead` bytes for each thread before its reader, or one job that is larger. A single
/// thread gains nothing by that and does each job when it is asked for.
///
/// # Errors
/// Those of `scratch`, before anything starts, and of `body`.
pub(crate) fn with<'env, S: Send, R, E>(
    threads: NonZero<usize>,
    ahead: usize,
    scratch: impl Fn() -> Result<S, E>,
    body: impl FnOnce(&Pool<'_, 'env, S>) -> Result<R, E>,
) -> Result<R, E> {
    let own = RefCell::new(scratch()?);
    let others = (1..threads.get()).map(|_| scratch()).collect::<Result<Vec<S>, E>>()?;
    let ahead = if others.is_empty() { 0 } else { ahead.saturating_mul(threads.get()) };
    let shared = Shared {
        state: Mutex::new(State { queue: Queue::new(), idle: 0, ended: false }),
        wake: Condvar::new(),
    };
    std::thread::scope(|scope| {
        let _end = EndOnDrop(&shared);
        for scratch in others {
            // Without a further thread those that are there do its work.
            let _ = std::thread::Builder::new().spawn_scoped(scope, || shared.work(scratch));
        }
        body(&Pool { shared: &shared, own, maps: Cell::new(0), ahead })
    })
}

impl<'env, S> Pool<'_, 'env, S> {
    /// Does `work` for each of `jobs` on any thread; the results come in the order of the jobs. An error among the jobs
    /// comes at its place, and no job is taken after it. A panic of `work` goes on at the place of its result.
    pub(crate) fn ordered<J, T, E, W>(
        &self,
        jobs: impl Iterator<Item = Result<J, E>>,
        work: &'env W,
    ) -> impl Iterator<Item = Result<T, E>>
    where
        J: Cost + Send + 'env,
        T: Send + 'env,
        E: Send + 'env,
        W: Fn(&mut S, J) -> Result<T, E> + Sync,
    {
        let map = self.maps.replace(self.maps.get() + 1);
        let (sender, results) = mpsc::channel();
        Ordered {
            pool: self,
            map,
            jobs,
            work,
            sender,
            results,
            arrived: BTreeMap::new(),
            bytes: VecDeque::new(),
            taken: 0,
            held: 0,
            waiting: None,
            ended: false,
        }
    }

    /// Does one job on this thread; false when no job waits for a thread.
    fn help(&self) -> bool {
        let task = self.shared.lock().queue.pop_first();
        task.is_some_and(|(_, task)| {
            task(&mut self.own.borrow_mut());
            true
        })
    }
}

/// What became of a job: its result, or the panic that it ended in.
type Outcome<T, E> = Result<Result<T, E>, Box<dyn Any + Send>>;

/// The results of a map.
struct Ordered<'a, 'p, 'env, S, I, W, J, T, E> {
    pool: &'a Pool<'p, 'env, S>,
    /// Number of the map, from 0.
    map: usize,
    jobs: I,
    work: &'env W,
    sender: Sender<(u64, Outcome<T, E>)>,
    results: Receiver<(u64, Outcome<T, E>)>,
    arrived: BTreeMap<u64, Outcome<T, E>>,
    /// What each job counts that was given out and whose result was not taken, and all of them.
    bytes: VecDeque<usize>,
    held: usize,
    /// How many results were taken.
    taken: u64,
    /// A job for which there is no room yet.
    waiting: Option<J>,
    ended: bool,
}

impl<'env, S, I, W, J, T, E> Ordered<'_, '_, 'env, S, I, W, J, T, E>
where
    I: Iterator<Item = Result<J, E>>,
    J: Cost + Send + 'env,
    T: Send + 'env,
    E: Send + 'env,
    W: Fn(&mut S, J) -> Result<T, E> + Sync,
{
    /// Gives out jobs as far as there is room.
    fn give_out(&mut self) {
        while self.bytes.is_empty() || self.held < self.pool.ahead {
            let job = match self.waiting.take() {
                Some(job) => Some(Ok(job)),
                None if self.ended => None,
                None => self.jobs.next(),
            };
            match job {
                Some(Ok(job)) => {
                    let bytes = job.bytes().max(LEAST);
                    if !self.bytes.is_empty() && self.held.saturating_add(bytes) > self.pool.ahead {
                        self.waiting = Some(job);
                        return;
                    }
                    self.submit(job, bytes);
                }
                Some(Err(error)) => {
                    self.ended = true;
                    let number = self.enter(LEAST);
                    self.arrived.insert(number, Ok(Err(error)));
                }
                None => {
                    self.ended = true;
                    return;
                }
            }
        }
    }

    /// Counts a job; its number.
    fn enter(&mut self, bytes: usize) -> u64 {
        let number = self.taken + self.bytes.len() as u64;
        self.bytes.push_back(bytes);
        self.held += bytes;
        number
    }

    fn submit(&mut self, job: J, bytes: usize) {
        let (number, work, sender) = (self.enter(bytes), self.work, self.sender.clone());
        let task = move |scratch: &mut S| {
            let outcome = catch_unwind(AssertUnwindSafe(|| work(scratch, job)));
            let whole = outcome.is_ok();
            // Nobody takes it any more when the reader gave up.
            let _ = sender.send((number, outcome));
            whole
        };
        let mut state = self.pool.shared.lock();
        state.queue.insert((Reverse(self.map), number), Box::new(task));
        if state.idle > 0 {
            self.pool.shared.wake.notify_one();
        }
    }

    /// Waits for a result, doing jobs as long as some wait for a thread.
    fn await_result(&mut self, number: u64) -> Outcome<T, E> {
        loop {
            self.arrived.extend(self.results.try_iter());
            if let Some(outcome) = self.arrived.remove(&number) {
                return outcome;
            }
            if !self.pool.help() {
                // Then another thread has the job.
                self.arrived.extend(self.results.recv());
            }
        }
    }
}

impl<'env, S, I, W, J, T, E> Iterator for Ordered<'_, '_, 'env, S, I, W, J, T, E>
where
    I: Iterator<Item = Result<J, E>>,
    J: Cost + Send + 'env,
    T: Send + 'env,
    E: Send + 'env,
    W: Fn(&mut S, J) -> Result<T, E> + Sync,
{
    type Item = Result<T, E>;

    fn next(&mut self) -> Option<Result<T, E>> {
        self.give_out();
        let bytes = self.bytes.front().copied()?;
        let outcome = self.await_result(self.taken);
        self.bytes.pop_front();
        self.held -= bytes;
        self.taken += 1;
        Some(outcome.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

/// Jobs that were given out and not begun are not done any more.
impl<S, I, W, J, T, E> Drop for Ordered<'_, '_, '_, S, I, W, J, T, E> {
    fn drop(&mut self) {
        let map = Reverse(self.map);
        self.pool.shared.lock().queue.retain(|&(of, _), _| of != map);
    }
}

/// What the asking thread does between two maps: `step` takes the items in order, `None` after the last, and hands out
/// any number of others. An error of either comes at its place and is the last.
pub(crate) fn regroup<A, B, E>(
    mut items: impl Iterator<Item = Result<A, E>>,
    mut step: impl FnMut(Option<A>, &mut VecDeque<B>) -> Result<(), E>,
) -> impl Iterator<Item = Result<B, E>> {
    let (mut out, mut failed, mut ended) = (VecDeque::new(), None, false);
    std::iter::from_fn(move || {
        while out.is_empty() && !ended {
            let item = items.next().transpose();
            ended = !matches!(item, Ok(Some(_)));
            let outcome = item.and_then(|item| step(item, &mut out));
            ended |= outcome.is_err();
            failed = outcome.err();
        }
        out.pop_front().map(Ok).or_else(|| failed.take().map(Err))
    })
}

#[cfg(test)]
mod tests;
