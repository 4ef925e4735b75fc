//! Progress of both programs: a bar where standard error is a terminal, elsewhere at most one line a second, and not
//! before a percent more is done. A bar takes one row at any width. Whoever writes to the terminal takes it away first
//! ([`clear`]), so that nothing is torn; it comes back with the next step and goes with the work.
//!
//! The console of a machine that boots or dumps is a terminal, too, but a record of it is kept: it gets lines.

mod row;

use super::say;
use row::Row;
use rustix::fs::{fstat, major, minor};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a line may come.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often a bar moves.
const TICK: Duration = Duration::from_millis(200);
/// What is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);
/// What a terminal without a size is taken for.
const COLUMNS: usize = 80;
/// Columns of the widest bar.
const MAX_COLUMNS: usize = 100;
/// Takes away a row. Where the terminal has become narrower a piece of it may stay in the row above: terminals differ in
/// how they break a row anew, and going up could take away what is no bar.
const ERASE: &str = "\r\u{1b}[K";
/// The system console: Linux `Documentation/admin-guide/devices.txt`.
const CONSOLE: (u32, u32) = (5, 1);

/// Whether a bar is on the terminal.
static SHOWN: Mutex<bool> = Mutex::new(false);
/// Whether the user wants no progress and no notes.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on there is no progress.
pub(super) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether the user wants neither progress nor notes.
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Takes the bar off the terminal.
pub(super) fn clear() {
    erase(&mut shown());
}

fn shown() -> MutexGuard<'static, bool> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn erase(shown: &mut bool) {
    if *shown {
        // A terminal that is gone is no reason to fail.
        let _ = io::stderr().write_all(ERASE.as_bytes());
        *shown = false;
    }
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0).unwrap_or(COLUMNS)
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Silent,
    Lines,
    Bar,
}

impl Form {
    fn here() -> Form {
        let term = std::env::var_os("TERM").unwrap_or_default();
        let can_move = !term.is_empty() && term != "dumb";
        let console =
            fstat(io::stderr()).is_ok_and(|file| (major(file.st_rdev), minor(file.st_rdev)) == CONSOLE);
        if io::stderr().is_terminal() && can_move && !console { Form::Bar } else { Form::Lines }
    }
}

/// How far a work is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// A share of the whole, 0 to 1.
    Share(f64),
    /// Bytes, and their number in the end where that is known.
    #[cfg_attr(not(feature = "analyst"), expect(dead_code, reason = "the collector knows shares"))]
    Bytes(u64, Option<u64>),
}

impl Step {
    fn share(self) -> Option<f64> {
        match self {
            Step::Share(share) => Some(share),
            Step::Bytes(_, None) => None,
            Step::Bytes(done, Some(all)) => Some(done as f64 / all.max(1) as f64),
        }
    }
}

/// Progress of one work; the bar goes when it is dropped.
pub(super) struct Progress {
    program: &'static str,
    doing: &'static str,
    form: Form,
    started: Instant,
    last: Instant,
    /// Whole percents, or bytes where there is no share, at the last line.
    reported: u64,
}

impl Progress {
    /// Progress of `doing`, silent unless `enabled`.
    pub(super) fn new(program: &'static str, doing: &'static str, enabled: bool) -> Progress {
        let now = Instant::now();
        let form = if enabled && !is_quiet() { Form::here() } else { Form::Silent };
        Progress { program, doing, form, started: now, last: now, reported: 0 }
    }

    /// Takes note of a step.
    pub(super) fn update(&mut self, step: Step) {
        let now = Instant::now();
        match self.form {
            Form::Silent => {}
            Form::Lines => {
                if let Some(line) = self.line(step, now) {
                    say(self.program, self.doing, &line);
                }
            }
            Form::Bar => self.draw(step, now),
        }
    }

    /// The line that is due now, if any.
    fn line(&mut self, step: Step, now: Instant) -> Option<String> {
        if now.duration_since(self.last) < INTERVAL {
            return None;
        }
        self.last = now;
        let reported = match step {
            Step::Bytes(done, None) => done,
            step => row::percent(step.share().unwrap_or(0.0)),
        };
        // Where the end is not known the lines become rarer.
        let more = if step.share().is_some() { 1 } else { self.reported / 100 + 1 };
        if reported < self.reported + more {
            return None;
        }
        self.reported = reported;
        Some(self.row(step, now).line())
    }

    fn draw(&mut self, step: Step, now: Instant) {
        if now.duration_since(self.started) < PATIENCE || now.duration_since(self.last) < TICK {
            return;
        }
        self.last = now;
        let mut shown = shown();
        // The last column stays free: some terminals go to the next row after it.
        let row = self.row(step, now).bar(columns().min(MAX_COLUMNS).saturating_sub(1));
        erase(&mut shown);
        let _ = io::stderr().write_all(row.as_bytes());
        *shown = true;
    }

    fn row(&self, step: Step, now: Instant) -> Row {
        Row { doing: self.doing, step, taken: now.duration_since(self.started) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        Progress { form: Form::Lines, ..Progress::new("test", "testing", true) }
    }

    /// The seconds at which a line comes when everything takes so many, heard of a thousand times a second.
    fn seconds_of_lines(total: u64, step: impl Fn(u64) -> Step) -> Vec<u64> {
        let mut progress = progress();
        let start = progress.started;
        let heard = (0..=total * 1000)
            .filter(|&ms| progress.line(step(ms), start + Duration::from_millis(ms)).is_some());
        heard.map(|ms| ms / 1000).collect()
    }

    #[test]
    fn lines_are_a_second_apart_and_not_more_than_a_hundred() {
        let share = |total: u64| move |ms| Step::Share(ms as f64 / (total * 1000) as f64);
        assert_eq!(seconds_of_lines(5, share(5)), [1, 2, 3, 4, 5]);
        let lines = seconds_of_lines(1000, share(1000));
        assert!(lines.len() == 99 && lines.is_sorted_by(|a, b| a < b), "{lines:?}");
    }

    #[test]
    fn lines_of_bytes_become_rarer() {
        let lines = seconds_of_lines(1000, |ms| Step::Bytes(ms * 1000, None));
        assert_eq!(lines[..5], [1, 2, 3, 4, 5]);
        assert!((200..500).contains(&lines.len()), "{}", lines.len());
    }
}
