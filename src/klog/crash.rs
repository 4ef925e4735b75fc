//! What the log tells of a crash: the line with which it began, where it happened, how long the machine was up, what kind
//! of machine it is. Read from the log's text line by line, and kept small however long the log is.
//!
//! Sources of the lines: Linux `kernel/panic.c` (`vpanic`, `oops_enter`, `print_oops_end_marker`), `lib/dump_stack.c`
//! (`dump_stack_print_info`), `arch/x86/kernel/dumpstack.c`, `arch/arm64/kernel/traps.c`.

use super::text::{LineSplitter, without_prefix};
use serde::Serialize;
use std::io::{self, Write};

/// How a line begins with which a crash begins. A report has a longer list of its own (`report::log`): it names what went
/// wrong before a panic too, hung tasks and exhausted memory, which are no crash.
///
/// Of the NMI watchdog only what it detected is one: it also reports that it was turned off (`kernel/watchdog.c`; its lines
/// began with "NMI" until Linux 6.5).
const FAULTS: [&str; 21] = [
    "BUG: ",
    "watchdog: BUG: ",
    "watchdog: Watchdog detected hard LOCKUP ",
    "NMI watchdog: BUG: ",
    "NMI watchdog: Watchdog detected hard LOCKUP ",
    "kernel BUG at ",
    "Kernel BUG at ",
    "Oops",
    "Internal error: ",
    "Kernel panic - not syncing: ",
    "Unable to handle kernel ",
    "Unhandled fault",
    "general protection fault",
    "divide error: ",
    "invalid opcode: ",
    "stack segment: ",
    "double fault: ",
    "traps: PANIC",
    "PANIC: ",
    "Kernel stack overflow",
    "Insufficient stack space",
];
/// A panic that follows a fault and names it no better.
const GENERIC: &str = "Kernel panic - not syncing: Fatal exception";
/// What ends a fault. Source: `kernel/panic.c`, `print_oops_end_marker`; a panic's own end reads `---[ end Kernel panic`.
const END: &str = "---[ end trace";
/// Functions kept of a trace.
const KEPT: usize = 3;
/// The longest part of a line that is kept, bytes.
const MAX_LINE: usize = 400;
/// Functions that report a crash rather than cause it: whole names, since the log's own trace begins after most of what a
/// stack in memory begins with (`report::trace`).
const REPORTERS: [&str; 12] = [
    "dump_stack",
    "dump_stack_lvl",
    "show_stack",
    "dump_backtrace",
    "panic",
    "vpanic",
    "check_panic_on_warn",
    "oops_end",
    "die",
    "__die",
    "__die_body",
    "page_fault_oops",
];

/// What the log tells of a crash.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CrashFacts {
    /// The line with which it began.
    pub panic: Option<String>,
    /// Seconds from boot to that line.
    pub uptime: Option<f64>,
    /// The CPU.
    pub cpu: Option<u32>,
    /// The task's number.
    pub pid: Option<u32>,
    /// The task's name.
    pub task: Option<String>,
    /// Letters of the kernel's taints; empty when it was not tainted.
    pub taints: Option<String>,
    /// Name of the machine's hardware.
    pub hardware: Option<String>,
    /// Functions where it happened, innermost first.
    pub functions: Vec<String>,
}

/// Reads the text that [`super::dmesg`] prints.
#[derive(Default)]
pub struct CrashScan {
    lines: LineSplitter,
    found: Found,
}

/// What the lines told so far.
#[derive(Default)]
struct Found {
    facts: CrashFacts,
    /// Whether the fault of the facts is over: another one is a new crash.
    ended: bool,
    in_trace: bool,
}

impl CrashScan {
    /// What was found.
    #[must_use]
    pub fn facts(mut self) -> CrashFacts {
        self.lines.end(|line| self.found.take(line));
        self.found.facts
    }
}

impl Found {
    fn take(&mut self, line: &str) {
        let (time, text) = without_prefix(line);
        // Lines of a trace are indented.
        let text = if time.is_some() { text.trim_start_matches(' ') } else { text };
        let is_generic = text.starts_with(GENERIC) && self.facts.panic.is_some();
        let begins = FAULTS.iter().any(|start| text.starts_with(start)) && !is_generic;
        if begins && (self.facts.panic.is_none() || self.ended) {
            let hardware = self.facts.hardware.take();
            self.facts =
                CrashFacts { panic: Some(kept(text)), uptime: time, hardware, ..CrashFacts::default() };
            (self.ended, self.in_trace) = (false, false);
        }
        if let Some((_, name)) = text.split_once("Hardware name: ") {
            self.facts.hardware = Some(kept(name));
        }
        if self.facts.panic.is_none() || self.ended {
            return;
        }
        if text.starts_with(END) {
            self.ended = true;
        } else if text.starts_with("CPU: ") && self.facts.cpu.is_none() {
            self.take_task(text);
        } else {
            self.take_function(text);
        }
    }

    /// `CPU: 1 UID: 0 PID: 123 Comm: some task Kdump: loaded Tainted: G    OE  6.12.0 #1`.
    fn take_task(&mut self, text: &str) {
        let number = |name: &str| text.split_once(name)?.1.split_whitespace().next()?.parse().ok();
        self.facts.cpu = number("CPU: ");
        self.facts.pid = number("PID: ");
        let Some((_, rest)) = text.split_once("Comm: ") else { return };
        let ends = [" Kdump: ", " Tainted: ", " Not tainted"].iter().filter_map(|end| rest.find(end));
        self.facts.task = Some(kept(&rest[..ends.min().unwrap_or(rest.len())]));
        self.facts.taints = match rest.split_once(" Tainted: ") {
            Some((_, taints)) => {
                let letters = taints.chars().take_while(|char| char.is_ascii_uppercase() || *char == ' ');
                Some(letters.filter(|char| *char != ' ').collect())
            }
            None => rest.contains(" Not tainted").then(String::new),
        };
    }

    fn take_function(&mut self, text: &str) {
        if text.starts_with("Call Trace:") || text.starts_with("Call trace:") {
            // The trace of the place itself, which registers name better.
            self.in_trace = true;
            return;
        }
        let place = ["RIP: ", "pc : ", "NIP ["].iter().any(|start| text.starts_with(start));
        if self.facts.functions.len() >= KEPT || !(place || self.in_trace) || is_guess(text) {
            return;
        }
        let Some(name) = function(text) else { return };
        let is_new = self.facts.functions.last() != Some(&name);
        if is_new && !REPORTERS.contains(&name.as_str()) {
            self.facts.functions.push(name);
        }
    }
}

impl Write for CrashScan {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines.push(bytes, |line| self.found.take(line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the kernel's unwinder does not vouch for a line of a trace: what an earlier call left on the stack differs from
/// crash to crash. Sources: Linux `arch/x86/kernel/dumpstack.c` (`printk_stack_address`), `arch/powerpc/kernel/process.c`
/// (`show_stack`), `arch/s390/kernel/dumpstack.c` (`show_stack`).
fn is_guess(text: &str) -> bool {
    text.starts_with("? ")
        || text.contains(" ? ")
        || text.ends_with(" (unreliable)")
        || text.starts_with("([<")
}

/// The name before the first `+0x` of a line.
fn function(text: &str) -> Option<String> {
    let before = text.split("+0x").next().filter(|before| before.len() < text.len())?;
    let name = before.rsplit([' ', ':', '(', '[', ']']).next()?;
    (!name.is_empty()).then(|| kept(name))
}

fn kept(text: &str) -> String {
    text.chars().take(MAX_LINE).collect::<String>().trim().to_owned()
}

/// What crashes of one cause have in common: the text without numbers and addresses, and where it happened. The one place
/// that decides which crashes are the same, for a fleet's dumps, of which only the log is read. (A report's `signature` is
/// the functions alone, from the stack in memory, for people.)
#[must_use]
pub fn signature(facts: &CrashFacts) -> String {
    let text = facts.panic.as_deref().map_or_else(|| "unknown".to_owned(), without_changing);
    if facts.functions.is_empty() { text } else { format!("{text} @ {}", facts.functions.join(" < ")) }
}

/// A text in which `#` stands for whatever differs from crash to crash: numbers, addresses.
fn without_changing(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word: usize =
            rest.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '_').count();
        let (word, after) = rest.split_at(if word == 0 { first.len_utf8() } else { word });
        let hex = word.strip_prefix("0x").unwrap_or(word);
        let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let unit = word.trim_start_matches(|char: char| char.is_ascii_digit());
        let is_number = (unit.len() < word.len() && unit.len() <= 2) || (is_hex && hex.len() < word.len());
        let is_address = is_hex && hex.len() >= 8;
        out.push_str(if is_number || is_address { "#" } else { word });
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(log: &str) -> CrashFacts {
        let mut scan = CrashScan::default();
        // In pieces, as a writer gets them.
        log.as_bytes().chunks(7).for_each(|piece| scan.write_all(piece).unwrap());
        scan.facts()
    }

    const OOPS: &str = "\
[    0.000000] Linux version 6.12.0
[    0.000000] DMI: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2
[   10.100000] [   T99] BUG: unable to handle page fault for address: ffffb2a4c0a0d000
[   10.100001] [   T99] #PF: supervisor write access in kernel mode
[   10.100002] [   T99] Oops: Oops: 0002 [#1] PREEMPT SMP
[   10.100003] [   T99] CPU: 3 UID: 0 PID: 99 Comm: my task Kdump: loaded Tainted: G        W  OE      6.12.0-1-amd64 #1  Debian
[   10.100004] [   T99] Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2
[   10.100005] [   T99] RIP: 0010:crasher_write+0x16/0x20 [crasher]
[   10.100006] [   T99] Call Trace:
[   10.100007] [   T99]  <TASK>
[   10.100008] [   T99]  ? die+0x1/0x2
[   10.100009] [   T99]  proc_reg_write+0x5a/0xa0
[   10.100010] [   T99]  vfs_write+0xf5/0x410
[   10.100011] [   T99]  ksys_write+0x6d/0xf0
[   10.200000] [   T99] ---[ end trace 0000000000000000 ]---
[   10.300000] [   T99] Kernel panic - not syncing: Fatal exception
";

    #[test]
    fn a_watchdog_that_is_off_is_no_crash() {
        let off = "[    0.4] NMI watchdog: Perf NMI watchdog permanently disabled\n";
        assert_eq!(scan(off).panic, None);
        for found in ["NMI watchdog: Watchdog", "watchdog: Watchdog"] {
            let line = format!("{found} detected hard LOCKUP on cpu 3");
            assert_eq!(scan(&format!("{off}[    9.5] {line}\n")).panic, Some(line));
        }
    }

    #[test]
    fn an_oops_tells_where_and_what() {
        let facts = scan(OOPS);
        assert_eq!(
            facts.panic.as_deref(),
            Some("BUG: unable to handle page fault for address: ffffb2a4c0a0d000")
        );
        assert_eq!((facts.uptime, facts.cpu, facts.pid), (Some(10.1), Some(3), Some(99)));
        assert_eq!((facts.task.as_deref(), facts.taints.as_deref()), (Some("my task"), Some("GWOE")));
        assert_eq!(facts.hardware.as_deref(), Some("QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2"));
        assert_eq!(facts.functions, ["crasher_write", "proc_reg_write", "vfs_write"]);
        let words =
            "BUG: unable to handle page fault for address: # @ crasher_write < proc_reg_write < vfs_write";
        assert_eq!(signature(&facts), words);
    }

    #[test]
    fn the_last_crash_counts_and_not_an_earlier_warning() {
        let later = "\
[   99.000000] sysrq: Trigger a crash
[   99.000001] Kernel panic - not syncing: sysrq triggered crash
[   99.000002] CPU: 0 PID: 7 Comm: sh Not tainted 6.1.0 #1
[   99.000003] Call Trace:
[   99.000004]  dump_stack_lvl+0x44/0x5c
[   99.000005]  panic+0x118/0x2ed
[   99.000006]  sysrq_handle_crash+0x16/0x20
";
        let facts = scan(&format!("{OOPS}{later}"));
        assert_eq!(facts.panic.as_deref(), Some("Kernel panic - not syncing: sysrq triggered crash"));
        assert_eq!(
            (facts.taints.as_deref(), facts.functions.join(" ")),
            (Some(""), "sysrq_handle_crash".to_owned())
        );
        assert!(facts.hardware.is_some(), "the machine is the same");
    }

    #[test]
    fn what_an_earlier_call_left_on_the_stack_is_no_part_of_the_trace() {
        for guess in [
            " ? _printk+0x58/0x6f",
            " ? __die_header+0x1/0x2 [crasher]",
            "[c000000012345678] [c000000000abcdef] stale+0x74/0xa8 (unreliable)",
            "([<000000001234abcd>] stale+0x12/0x34)",
        ] {
            let log = format!(
                "[    9.1] [    T1] Kernel panic - not syncing: a\n[    9.2] [    T1] Call Trace:\n\
                 [    9.3] [    T1] {guess}\n[    9.4] [    T1]  sysrq_handle_crash+0x16/0x20\n"
            );
            assert_eq!(scan(&log).functions, ["sysrq_handle_crash"], "{guess}");
        }
    }

    #[test]
    fn nothing_is_found_in_nothing_and_any_text_is_taken() {
        assert_eq!(scan(""), CrashFacts::default());
        assert_eq!(signature(&CrashFacts::default()), "unknown");
        let long = format!("[    1.000000] BUG: {}\n", "x".repeat(100_000));
        assert_eq!(scan(&long).panic.unwrap().len(), MAX_LINE);
        for odd in [
            "[",
            "[]",
            "[ 1.0",
            "[1.0]",
            "CPU: ",
            "Comm: ",
            "\u{1b}[",
            "[  x] BUG: a",
            "RIP: +0x",
            "[1.0] [T] \u{e9}+0x",
        ] {
            scan(odd);
            scan(&format!("BUG: \u{e9}\n{odd}\n{odd}"));
        }
    }

    #[test]
    fn what_differs_from_crash_to_crash_is_left_out() {
        for (text, common) in [
            (
                "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [sh:4711]",
                "watchdog: BUG: soft lockup - CPU## stuck for #! [sh:#]",
            ),
            ("address 0xdeadbeef at ffff888012345678", "address # at #"),
            ("a\u{e9}1 deadbeef dead", "a\u{e9}# # dead"),
        ] {
            assert_eq!(without_changing(text), common);
        }
    }
}
