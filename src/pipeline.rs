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
pub trait Cost {
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
pub struct Pool<'a, 'env, S> {
    shared: &'a Shared<'env, S>,
    own: RefCell<S>,
    maps: Cell<usize>,
    ahead: usize,
}

/// Runs `body` on this thread with a pool of `threads` threads, this one among them; fewer where the system has no
/// more. Each map runs at most `ahead` bytes for each thread before its reader, or one job that is larger. A single
/// thread gains nothing by that and does each job when it is asked for.
///
/// # Errors
/// Those of `scratch`, before anything starts, and of `body`.
pub fn with<'env, S: Send, R, E>(
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
    pub fn ordered<J, T, E, W>(
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
pub fn regroup<A, B, E>(
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
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// A number whose job takes its own time and bytes.
    #[derive(Clone, Copy)]
    struct Number {
        value: u64,
        bytes: usize,
    }

    impl Cost for Number {
        fn bytes(&self) -> usize {
            self.bytes
        }
    }

    fn numbers(count: u64) -> impl Iterator<Item = Result<Number, String>> {
        (0..count).map(|value| Ok(Number { value, bytes: LEAST }))
    }

    fn unequal(value: u64) {
        std::thread::sleep(Duration::from_micros(value * 7919 % 300));
    }

    /// How many of something there are, and were at most.
    #[derive(Default)]
    struct Gauge {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl Gauge {
        fn add(&self, count: usize) {
            let now = self.now.fetch_add(count, Ordering::SeqCst) + count;
            self.most.fetch_max(now, Ordering::SeqCst);
        }

        fn sub(&self, count: usize) {
            self.now.fetch_sub(count, Ordering::SeqCst);
        }

        fn most(&self) -> usize {
            self.most.load(Ordering::SeqCst)
        }
    }

    fn no_scratch() -> Result<(), String> {
        Ok(())
    }

    /// Doubles numbers, joins them in threes, adds one to the sums. Results before the first error, and that.
    fn sums(
        threads: usize,
        count: u64,
        double: impl Fn(u64) -> Result<u64, String> + Sync,
        plus_one: impl Fn(u64) -> Result<u64, String> + Sync,
    ) -> (Vec<u64>, Result<(), String>) {
        let double = |(): &mut (), number: Number| double(number.value);
        let plus_one = |(): &mut (), number: Number| plus_one(number.value);
        let mut out = Vec::new();
        let result = with(NonZero::new(threads).unwrap(), 4 * LEAST, no_scratch, |pool| {
            let mut held = Vec::new();
            let joined = regroup(pool.ordered(numbers(count), &double), |doubled, out| {
                let ended = doubled.is_none();
                held.extend(doubled);
                if held.len() == 3 || (ended && !held.is_empty()) {
                    out.push_back(Number { value: held.drain(..).sum(), bytes: LEAST });
                }
                Ok(())
            });
            for sum in pool.ordered(joined, &plus_one) {
                out.push(sum?);
            }
            Ok(())
        });
        (out, result)
    }

    fn doubled(value: u64) -> Result<u64, String> {
        unequal(value);
        Ok(value * 2)
    }

    fn plus_one(value: u64) -> Result<u64, String> {
        unequal(value);
        Ok(value + 1)
    }

    fn expected(count: u64) -> Vec<u64> {
        let all: Vec<u64> = (0..count).collect();
        all.chunks(3).map(|three| three.iter().sum::<u64>() * 2 + 1).collect()
    }

    #[test]
    fn results_come_in_order_for_any_number_of_threads() {
        for count in [0, 1, 2, 3, 4, 100] {
            for threads in [1, 2, 5] {
                let found = sums(threads, count, doubled, plus_one);
                assert_eq!(found, (expected(count), Ok(())), "{count} jobs, {threads} threads");
            }
        }
    }

    #[test]
    fn threads_work_at_once_and_one_thread_works_alone() {
        let most = |threads| {
            let gauge = Gauge::default();
            let counted = |value| {
                gauge.add(1);
                unequal(value);
                gauge.sub(1);
                Ok(value * 2)
            };
            assert_eq!(sums(threads, 100, counted, plus_one), (expected(100), Ok(())));
            gauge.most()
        };
        assert!(most(4) > 1);
        assert_eq!(most(1), 1);
    }

    #[test]
    fn the_first_error_in_order_is_the_one_reported_and_all_before_it_comes() {
        let fails = |at: u64| move |value| if value >= at { Err(format!("{value}")) } else { doubled(value) };
        for threads in [1, 2, 5] {
            for _ in 0..5 {
                let found = sums(threads, 1000, fails(50), plus_one);
                // 48, 49 and 50 would be joined.
                assert_eq!(found, (expected(48), Err("50".to_owned())), "{threads} threads");
                let late = |value| if value == 6 * 30 + 6 { Err("late".to_owned()) } else { plus_one(value) };
                // The tenth sum fails before a job whose result is needed after it.
                let found = sums(threads, 1000, fails(60), late);
                assert_eq!(found, (expected(30), Err("late".to_owned())), "{threads} threads");
            }
        }
    }

    #[test]
    fn an_error_among_the_jobs_comes_at_its_place_and_is_the_last() {
        for threads in [1, 3] {
            let double = |(): &mut (), number: Number| doubled(number.value);
            let taken = Cell::new(0);
            let jobs = numbers(9).chain([Err("source".to_owned())]).chain(numbers(9));
            let jobs = jobs.inspect(|_| taken.set(taken.get() + 1));
            let found = with(NonZero::new(threads).unwrap(), 64 * LEAST, no_scratch, |pool| {
                Ok(pool.ordered(jobs, &double).collect::<Vec<_>>())
            });
            let mut found = found.unwrap();
            assert_eq!(found.pop(), Some(Err("source".to_owned())));
            assert_eq!(found, (0..9).map(|value| Ok(value * 2)).collect::<Vec<_>>());
            assert_eq!(taken.get(), 10);
        }
    }

    #[test]
    fn a_panic_goes_on_at_the_place_of_its_result() {
        for threads in [1, 3] {
            let (mut out, done) = (Vec::new(), AtomicUsize::new(0));
            let work = |(): &mut (), number: Number| {
                assert!(number.value != 20, "job 20");
                done.fetch_add(1, Ordering::SeqCst);
                doubled(number.value)
            };
            let panic = catch_unwind(AssertUnwindSafe(|| {
                with(NonZero::new(threads).unwrap(), 4 * LEAST, no_scratch, |pool| {
                    pool.ordered(numbers(1000), &work).try_for_each(|result| {
                        out.push(result?);
                        Ok(())
                    })
                })
            }));
            assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"job 20"));
            assert_eq!(out, (0..20).map(|value| value * 2).collect::<Vec<_>>());
            assert!(done.into_inner() <= 20 + 4 * threads, "jobs go on after a panic");
        }
    }

    #[test]
    fn a_reader_that_gives_up_stops_the_jobs() {
        for threads in [1, 3] {
            let done = AtomicUsize::new(0);
            let work = |(): &mut (), number: Number| {
                done.fetch_add(1, Ordering::SeqCst);
                doubled(number.value)
            };
            let other = |(): &mut (), number: Number| Ok(number.value);
            let result = with(NonZero::new(threads).unwrap(), 8 * LEAST, no_scratch, |pool| {
                let found: Vec<_> = pool.ordered(numbers(1000), &work).take(5).collect();
                assert_eq!(found, [0, 2, 4, 6, 8].map(Ok));
                // The pool is as good as before for another map.
                assert_eq!(pool.ordered(numbers(50), &other).last(), Some(Ok(49)));
                Ok::<_, String>(())
            });
            assert_eq!(result, Ok(()));
            assert!(done.into_inner() <= 5 + 8 * threads);
        }
    }

    /// The most bytes of jobs and results that are alive at once.
    fn most_bytes(threads: usize, ahead: usize, sizes: &[usize]) -> usize {
        let gauge = Gauge::default();
        let work = |(): &mut (), number: Number| {
            unequal(number.value);
            Ok::<_, String>(number.bytes)
        };
        let jobs = (0..).zip(sizes).map(|(value, &bytes)| {
            gauge.add(bytes);
            Ok(Number { value, bytes })
        });
        let found = with(NonZero::new(threads).unwrap(), ahead, no_scratch, |pool| {
            let mut found = Vec::new();
            for bytes in pool.ordered(jobs, &work) {
                // A slow reader.
                std::thread::sleep(Duration::from_micros(200));
                let bytes = bytes?;
                gauge.sub(bytes);
                found.push(bytes);
            }
            Ok(found)
        });
        assert_eq!(found.as_deref(), Ok(sizes));
        gauge.most()
    }

    #[test]
    fn bytes_in_flight_are_bounded_and_a_job_that_is_larger_goes_alone() {
        let small = vec![LEAST; 200];
        assert_eq!(most_bytes(1, 8 * LEAST, &small), LEAST);
        assert!(most_bytes(4, 2 * LEAST, &small) <= 8 * LEAST);
        assert!(most_bytes(4, 2 * LEAST, &small) > 2 * LEAST);
        let mixed: Vec<usize> = (0..60).map(|i| if i % 5 == 0 { 100 * LEAST } else { LEAST }).collect();
        // A large job may wait until those before it were taken.
        assert!(most_bytes(4, 2 * LEAST, &mixed) <= 108 * LEAST);
        assert_eq!(most_bytes(4, 2 * LEAST, &[100 * LEAST; 20]), 100 * LEAST);
    }

    #[test]
    fn scratch_belongs_to_one_thread_and_its_error_comes_first() {
        let made = Gauge::default();
        let scratch = || {
            made.add(1);
            Ok::<_, String>(0_u64)
        };
        let work = |count: &mut u64, _: Number| {
            *count += 1;
            Ok(*count)
        };
        let counts: Vec<u64> = with(NonZero::new(3).unwrap(), 8 * LEAST, scratch, |pool| {
            pool.ordered(numbers(60), &work).collect()
        })
        .unwrap();
        assert_eq!((counts.len(), made.most()), (60, 3));
        let none = || Err::<(), _>("no memory".to_owned());
        let result = with(NonZero::new(3).unwrap(), LEAST, none, |_| Ok(()));
        assert_eq!(result, Err("no memory".to_owned()));
    }
}
