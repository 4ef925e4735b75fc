//! Progress on a console that may be a slow serial line: at most one line a second, and not before a
//! percent more is done.

use super::say;
use std::time::{Duration, Instant};

/// How often a line may come.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lines of progress.
pub(super) struct Progress {
    program: &'static str,
    doing: &'static str,
    enabled: bool,
    started: Instant,
    last: Instant,
    percent: u32,
}

impl Progress {
    /// Progress of `doing`, silent unless `enabled`.
    pub(super) fn new(program: &'static str, doing: &'static str, enabled: bool) -> Progress {
        let now = Instant::now();
        Progress { program, doing, enabled, started: now, last: now, percent: 0 }
    }

    /// Hears the share done, 0 to 1.
    pub(super) fn update(&mut self, share: f64) {
        if let Some(line) = self.enabled.then(|| self.line(share, Instant::now())).flatten() {
            say(self.program, self.doing, &line);
        }
    }

    /// What is to be said now, if anything.
    fn line(&mut self, share: f64, now: Instant) -> Option<String> {
        if now.duration_since(self.last) < INTERVAL {
            return None;
        }
        self.last = now;
        let percent = (0..100).rev().find(|&percent| share * 100.0 >= f64::from(percent)).unwrap_or(0);
        if percent <= self.percent {
            return None;
        }
        self.percent = percent;
        let left = now.duration_since(self.started).mul_f64((1.0 - share).max(0.0) / share.max(0.001));
        Some(format!("{percent} %, {} s left", left.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which a line comes when everything takes so many, heard of a thousand times a second.
    fn seconds_of_lines(total: u64) -> Vec<u64> {
        let mut progress = Progress::new("test", "testing", true);
        let start = progress.started;
        let heard = (0..=total * 1000).filter(|&ms| {
            let share = ms as f64 / (total * 1000) as f64;
            progress.line(share, start + Duration::from_millis(ms)).is_some()
        });
        heard.map(|ms| ms / 1000).collect()
    }

    #[test]
    fn lines_are_a_second_apart_and_not_more_than_a_hundred() {
        assert_eq!(seconds_of_lines(5), [1, 2, 3, 4, 5]);
        let lines = seconds_of_lines(1000);
        assert!(lines.len() == 99 && lines.is_sorted_by(|a, b| a < b), "{lines:?}");
    }

    #[test]
    fn the_time_that_is_left_follows_from_the_time_it_took() {
        let mut progress = Progress::new("test", "testing", true);
        let line = progress.line(0.25, progress.started + Duration::from_secs(10));
        assert_eq!(line.as_deref(), Some("25 %, 30 s left"));
    }
}
