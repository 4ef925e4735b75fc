//! The kernel's log as far as a report wants it: its last lines, and those that name the reason of a crash.

use super::Section;
use crate::klog::{self, LineSplitter, without_prefix};
use crate::mm::KernelRead;
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{self, Write};

/// Lines kept of the end of the log.
const LAST: usize = 30;
/// Lines kept that name a reason: the first ones, since what follows an oops is often caused by it.
const REASONS: usize = 8;

/// What begins a message about a fault, or about what leads to one. How a crash begins, for which these say too much, is in
/// `klog::CrashScan`. Source: Linux `kernel/panic.c`, `lib/bug.c`, `arch/*/mm/fault.c`,
/// `kernel/hung_task.c`, `kernel/watchdog.c`, `kernel/rcu/tree_stall.h`, `mm/oom_kill.c`.
const MARKS: [&str; 17] = [
    "BUG:",
    "kernel BUG at",
    "Oops:",
    "Oops -",
    "Oops ",
    "Internal error:",
    "Unable to handle kernel",
    "general protection fault",
    "divide error",
    "stack segment:",
    "invalid opcode:",
    "double fault:",
    "watchdog:",
    "INFO: task ",
    "rcu: INFO:",
    "Out of memory:",
    "sysrq: Trigger a crash",
];
/// What begins the panic's own message.
const PANIC: &str = "Kernel panic - not syncing";

/// The log's part of a report.
#[derive(Debug, Default, Serialize)]
pub struct Log {
    /// Messages that could not be read.
    pub damaged: u64,
    /// The panic's message, without time and caller.
    pub panic: Option<String>,
    /// Messages about faults before it, the first ones.
    pub reasons: Vec<String>,
    /// What the kernel calls the hardware in its back traces.
    pub hardware: Option<String>,
    /// The last lines.
    pub last: VecDeque<String>,
}

/// Reads the log once, from front to back.
pub(super) fn read(memory: &dyn KernelRead) -> Section<Log> {
    let mut lines = Lines::default();
    match klog::dmesg(memory, &mut lines) {
        Ok(stats) => Section::Read(Log { damaged: stats.damaged, ..lines.log }),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            Section::Error(format!("{error}{}", cause.unwrap_or_default()))
        }
    }
}

/// Takes the log's text line by line.
#[derive(Default)]
struct Lines {
    log: Log,
    splitter: LineSplitter,
}

impl Log {
    fn take(&mut self, line: &str) {
        let text = message(line);
        if text.starts_with(PANIC) {
            self.panic.get_or_insert_with(|| text.to_owned());
        } else if self.panic.is_none() && self.reasons.len() < REASONS && is_reason(text) {
            self.reasons.push(text.to_owned());
        }
        if let Some(hardware) = text.strip_prefix("Hardware name: ") {
            self.hardware.get_or_insert_with(|| hardware.to_owned());
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.splitter.push(bytes, |line| self.log.take(line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_reason(text: &str) -> bool {
    MARKS.iter().any(|mark| text.starts_with(mark))
}

/// A line without its time, and without its caller where there is one.
fn message(line: &str) -> &str {
    match without_prefix(line) {
        (Some(_), text) => text,
        (None, line) => line.trim_start(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_come_before_the_panic_and_the_last_lines_are_kept() {
        let mut lines = Lines::default();
        for nth in 0..100 {
            writeln!(lines, "[{nth:5}.000000] [     T{nth}] line {nth}").unwrap();
        }
        let text = "[  100.000000] [    T42] BUG: unable to handle page fault\n\
            [  100.000001] Hardware name: Maker Model\n\
            [  100.000002] Kernel panic - not syncing: Fatal exception\n[  100.000003] Oops: after\n";
        lines.write_all(text.as_bytes()).unwrap();
        let log = lines.log;
        assert_eq!(log.panic.as_deref(), Some("Kernel panic - not syncing: Fatal exception"));
        assert_eq!(log.reasons, ["BUG: unable to handle page fault"]);
        assert_eq!(log.hardware.as_deref(), Some("Maker Model"));
        assert_eq!(log.last.len(), LAST);
        assert_eq!(log.last.back().unwrap(), "[  100.000003] Oops: after");
    }

    #[test]
    fn messages_are_found_behind_any_prefix() {
        for (line, text) in [
            ("[    1.5] a", "a"),
            ("[    1.5] [    T1] a", "a"),
            ("[    1.5] [drm] a", "[drm] a"),
            ("[    1.5] [CPU] a", "[CPU] a"),
            ("  a", "a"),
            ("[", "["),
            ("", ""),
        ] {
            assert_eq!(message(line), text, "{line}");
        }
    }
}
