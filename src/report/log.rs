//! The kernel's log as far as a report wants it: its last lines, and those that name the reason of a crash.

use std::collections::VecDeque;
use std::io::{self, Write};

use serde::Serialize;

use super::Section;
use crate::klog;
use crate::mm::KernelRead;

/// Lines kept of the end of the log.
const LAST: usize = 30;
/// Lines kept that name a reason: the first ones, since what follows an oops is often caused by it.
const REASONS: usize = 8;
/// The longest line kept; the kernel's own messages end at 1 KiB.
const MAX_LINE: usize = 4096;

/// What begins a message about a fault. Source: Linux `kernel/panic.c`, `lib/bug.c`, `arch/*/mm/fault.c`,
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

/// Takes the log's text apart into lines.
#[derive(Default)]
struct Lines {
    log: Log,
    line: Vec<u8>,
}

impl Lines {
    fn take(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        let text = message(&line);
        let log = &mut self.log;
        if text.starts_with(PANIC) {
            log.panic.get_or_insert_with(|| text.to_owned());
        } else if log.panic.is_none() && log.reasons.len() < REASONS && is_reason(text) {
            log.reasons.push(text.to_owned());
        }
        if let Some(hardware) = text.strip_prefix("Hardware name: ") {
            log.hardware.get_or_insert_with(|| hardware.to_owned());
        }
        if log.last.len() == LAST {
            log.last.pop_front();
        }
        log.last.push_back(line);
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            match byte {
                b'\n' => self.take(),
                byte if self.line.len() < MAX_LINE => self.line.push(byte),
                _ => {}
            }
        }
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
    let without =
        |line: &str| line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map(|parts| parts.1.len());
    let rest = |line: &str| without(line).and_then(|len| line.get(line.len() - len..)).map(str::len);
    let Some(len) = rest(line) else { return line.trim_start() };
    let text = &line[line.len() - len..];
    let is_caller = text.trim_start_matches(['[', ' ']).starts_with(['T', 'C']) && text.starts_with('[');
    match rest(text).filter(|_| is_caller) {
        Some(len) => &text[text.len() - len..],
        None => text,
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
            ("[    1.5] [CPU] a", "a"),
            ("  a", "a"),
            ("[", "["),
            ("", ""),
        ] {
            assert_eq!(message(line), text, "{line}");
        }
    }
}
