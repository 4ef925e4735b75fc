//! Numbers that are doubled, joined and added to on several threads: order, errors, panics, and what is in flight at once.

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
    let counts: Vec<u64> =
        with(NonZero::new(3).unwrap(), 8 * LEAST, scratch, |pool| pool.ordered(numbers(60), &work).collect())
            .unwrap();
    assert_eq!((counts.len(), made.most()), (60, 3));
    let none = || Err::<(), _>("no memory".to_owned());
    let result = with(NonZero::new(3).unwrap(), LEAST, none, |_| Ok(()));
    assert_eq!(result, Err("no memory".to_owned()));
}
