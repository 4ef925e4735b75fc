//! Progress on a console that may be a slow serial line: at most one line a second, and not before a
//! percent more is done.

use super::say;
use std::time::{Duration, Instant};

/// How often a line may come.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lines of progress.
pub struct Progress {
    program: &'static str,
    doing: &'static str,
    enabled: bool,
    started: Instant,
    last: Instant,
    percent: u32,
}

impl Progress {
    /// Progress of `doing`, silent unless `enabled`.
    pub fn new(program: &'static str, doing: &'static str, enabled: bool) -> Progress {
        let now = Instant::now();
        Progress { program, doing, enabled, started: now, last: now, percent: 0 }
    }

    /// Hears the share done, 0 to 1.
    pub fn update(&mut self, share: f64) {
        if self.enabled && self.last.elapsed() >= INTERVAL {
            self.show(share);
        }
    }

    fn show(&mut self, share: f64) {
        let percent = (0..100).rev().find(|&percent| share * 100.0 >= f64::from(percent)).unwrap_or(0);
        self.last = Instant::now();
        if percent <= self.percent {
            return;
        }
        self.percent = percent;
        let left = self.started.elapsed().mul_f64((1.0 - share).max(0.0) / share.max(0.001));
        say(self.program, self.doing, &format!("{percent} %, {} s left", left.as_secs()));
    }
}
