//! How long a section of a report may take. Its lists and stacks are the dump's, and each is bounded; a forged dump can
//! still make every step a slow one.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Time of the CPU for a section: a machine with 100,000 tasks needs a few seconds.
const TIME: Duration = Duration::from_secs(10);
/// The same where every task's stack is asked for.
const TIME_FOR_ALL: Duration = Duration::from_secs(60);

/// The end of the time, by this thread's use of the CPU: a slow server costs none of it.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    end: Duration,
}

impl Limit {
    /// A section's time from now on.
    pub(super) fn new(all_tasks: bool) -> Limit {
        Limit::after(if all_tasks { TIME_FOR_ALL } else { TIME })
    }

    /// So much time from now on.
    pub(super) fn after(time: Duration) -> Limit {
        Limit { end: used().saturating_add(time) }
    }

    /// Whether the time is used up.
    pub(super) fn is_over(self) -> bool {
        used() >= self.end
    }
}

fn used() -> Duration {
    // A kernel without this clock does not exist: it came with Linux 2.6.12.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_the_cpus() {
        let limit = Limit::after(Duration::from_millis(30));
        std::thread::sleep(Duration::from_millis(60));
        assert!(!limit.is_over());
        let mut turns = 0_u64;
        while !limit.is_over() {
            turns += 1;
        }
        assert!(turns > 0);
    }
}
