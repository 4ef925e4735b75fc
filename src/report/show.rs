//! The report as a person reads it, on one screen; every text of the dump made printable.

use super::tasks::HUNG_SECONDS;
use super::{Cpu, Disk, Frame, InFlight, Report, Section, Task, Trace};
use crate::text::{counted, printable, size};
use std::fmt::Write as _;

/// Frames of a task's stack on the screen, unless all tasks are asked for.
const FRAMES: usize = 12;
/// Lines of the log on the screen.
const LOG_LINES: usize = 12;
/// Slab caches on the screen.
const CACHES: usize = 4;
/// Busy disks on the screen.
const DISKS: usize = 8;

/// The report as text.
#[must_use]
pub fn show(report: &Report, all_tasks: bool) -> String {
    let mut page = Page(String::new());
    page.system(report);
    page.crash(report);
    page.cpus(report);
    page.memory(report);
    page.modules(report);
    page.disks(report);
    page.tasks(report, all_tasks);
    page.log(report);
    for line in &report.missing {
        page.line("Not readable", line);
    }
    page.0
}

struct Page(String);

impl Page {
    fn raw(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{}", printable(line).trim_end());
    }

    fn line(&mut self, name: &str, value: &str) {
        self.raw(&format!("{name:<14} {value}"));
    }

    fn section<T>(&mut self, name: &str, section: &Section<T>, show: impl FnOnce(&T) -> String) {
        match section {
            Section::Read(value) => self.line(name, &show(value)),
            Section::Error(why) => self.line(name, &format!("not readable: {why}")),
        }
    }

    fn system(&mut self, report: &Report) {
        let system = &report.system;
        self.section("Kernel", &system.release, Clone::clone);
        self.section("Version", &system.version, Clone::clone);
        self.section("Node", &system.node, Clone::clone);
        let logged = report.log.read().and_then(|log| log.hardware.clone());
        let hardware = system.hardware.clone().or(logged).map(|name| format!(", {name}")).unwrap_or_default();
        let cpus = match system.cpus.read() {
            Some((online, present)) if online == present => format!(", {}", counted(*present, "CPU")),
            Some((online, present)) => format!(", {online} of {} online", counted(*present, "CPU")),
            None => String::new(),
        };
        self.line("Machine", &format!("{}{cpus}{hardware}", system.machine));
        self.section("Uptime", &system.uptime, |uptime| duration(uptime.seconds));
        let words = system.taints_in_words.join("; ");
        self.section("Tainted", &system.taints, |taints| {
            if taints.is_empty() { "no".to_owned() } else { format!("{taints} ({words})") }
        });
    }

    fn crash(&mut self, report: &Report) {
        let crash = &report.crash;
        self.line("Panic", crash.panic.as_deref().unwrap_or("no panic message in the log"));
        for reason in &crash.reasons {
            self.line("  before it", reason);
        }
        let cpu = crash.cpu.map(|cpu| format!("CPU {cpu}"));
        match (&cpu, &crash.task) {
            (Some(cpu), Some(task)) => self.line("On", &format!("{cpu}, {}", task_name(task))),
            (Some(cpu), None) => self.line("On", cpu),
            (None, _) if crash.trace.is_some() => self.line("On", "a CPU whose number is not known"),
            (None, _) => self.line("On", "no CPU noted that it panicked"),
        }
        match &crash.trace {
            Some(trace) => self.trace(trace, usize::MAX),
            None => self.raw("    no registers of the CPU that panicked"),
        }
        if !crash.registers.is_empty() {
            self.raw("Registers");
        }
        for row in crash.registers.chunks(4) {
            let words: Vec<String> =
                row.iter().map(|(name, value)| format!("{name:>8} {value:016x}")).collect();
            self.raw(&format!("  {}", words.join(" ")));
        }
    }

    fn trace(&mut self, trace: &Trace, limit: usize) {
        for frame in trace.frames.iter().take(limit) {
            self.raw(&format!("    {}", frame_name(frame)));
        }
        if trace.frames.len() > limit {
            self.raw(&format!("    and {} more", trace.frames.len() - limit));
        }
        if let Some(why) = &trace.broken {
            self.raw(&format!("    (the stack ends here: {why})"));
        }
    }

    fn cpus(&mut self, report: &Report) {
        let Section::Read(cpus) = &report.cpus else {
            return self.section("CPUs", &report.cpus, |_| String::new());
        };
        for cpu in cpus.iter().filter(|cpu| !cpu.panicked || report.crash.trace.is_none()) {
            self.cpu(cpu);
        }
    }

    fn cpu(&mut self, cpu: &Cpu) {
        let name = cpu.number.map_or("a CPU".to_owned(), |number| format!("CPU {number}"));
        let task = match &cpu.task {
            Section::Read(task) => task_name(task),
            Section::Error(_) => "task unknown".to_owned(),
        };
        let mode = if cpu.user_mode { ", in user mode" } else { "" };
        let offline = if cpu.online { "" } else { ", offline" };
        let none = if cpu.trace.is_none() { ", no registers saved" } else { "" };
        self.line(&name, &format!("{task}{mode}{offline}{none}"));
        if let Some(trace) = cpu.trace.as_ref().filter(|_| !cpu.user_mode) {
            self.trace(trace, FRAMES);
        }
    }

    fn memory(&mut self, report: &Report) {
        self.section("Memory", &report.memory, |memory| {
            let mut words = vec![format!("{} total", size::show(memory.total))];
            let parts = [
                ("free", memory.free),
                ("cache", memory.cache),
                ("anonymous", memory.anonymous),
                ("shared", memory.shared),
                ("dirty", memory.dirty),
                ("page tables", memory.page_tables),
                ("stacks", memory.kernel_stacks),
            ];
            words.extend(
                parts.iter().filter_map(|(name, bytes)| Some(format!("{} {name}", size::show((*bytes)?)))),
            );
            words.join(", ")
        });
        let Some(memory) = report.memory.read() else { return };
        let slab =
            memory.slab_reclaimable.unwrap_or(0).saturating_add(memory.slab_unreclaimable.unwrap_or(0));
        let caches = memory.caches.iter().take(CACHES);
        let caches: Vec<String> =
            caches.map(|cache| format!("{} {}", cache.name, size::show(cache.bytes))).collect();
        let damaged =
            memory.caches_damaged.as_ref().map(|why| format!("; not all: {why}")).unwrap_or_default();
        self.line("Slab", &format!("{}: {}{damaged}", size::show(slab), caches.join(", ")));
    }

    fn modules(&mut self, report: &Report) {
        self.section("Modules", &report.modules, |modules| {
            let tainting = modules.iter().filter(|module| !module.taints.is_empty());
            let names: Vec<String> =
                tainting.map(|module| format!("{} ({})", module.name, module.taints)).collect();
            if names.is_empty() {
                return format!("{}, no taints", modules.len());
            }
            format!("{}, with taints: {}", modules.len(), names.join(", "))
        });
    }

    fn disks(&mut self, report: &Report) {
        self.section("Disks", &report.disks, |disks| {
            let (idle, others): (Vec<&Disk>, Vec<&Disk>) =
                disks.listed.iter().partition(|disk| disk.is_idle());
            let mut words: Vec<String> = others.iter().take(DISKS).map(|disk| disk_line(disk)).collect();
            if others.len() > DISKS {
                words.push(format!("and {} more", others.len() - DISKS));
            }
            words.push(format!("{} idle", idle.len()));
            let damaged = disks.damaged.as_ref().map(|why| format!("; not all: {why}")).unwrap_or_default();
            format!("{}: {}{damaged}", disks.listed.len(), words.join(", "))
        });
    }

    fn tasks(&mut self, report: &Report, all_tasks: bool) {
        self.section("Tasks", &report.tasks, |tasks| {
            let states: Vec<String> =
                tasks.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
            let damaged = tasks.damaged.as_ref().map(|why| format!("; not all: {why}")).unwrap_or_default();
            format!("{}: {}{damaged}", tasks.count, states.join(", "))
        });
        let Some(tasks) = report.tasks.read() else { return };
        let limit = if all_tasks { usize::MAX } else { FRAMES };
        for task in &tasks.listed {
            self.line("  task", &task_line(task));
            if let Some(trace) = &task.trace {
                self.trace(trace, limit);
            }
        }
        if tasks.more > 0 {
            self.line("  task", &format!("and {} more", tasks.more));
        }
    }

    fn log(&mut self, report: &Report) {
        let Section::Read(log) = &report.log else {
            return self.section("Log", &report.log, |_| String::new());
        };
        self.raw("Last lines of the log");
        for line in log.last.iter().skip(log.last.len().saturating_sub(LOG_LINES)) {
            self.raw(&format!("  {line}"));
        }
    }
}

/// `"name" (pid 1234)`, with what else matters.
fn task_name(task: &Task) -> String {
    let kind = if task.kernel_thread { ", kernel thread" } else { "" };
    format!("\"{}\" (pid {}{kind})", task.name, task.pid)
}

fn task_line(task: &Task) -> String {
    let cpu = task.cpu.map(|cpu| format!(", CPU {cpu}")).unwrap_or_default();
    let running = if task.running { ", running" } else { "" };
    let hung = |seconds: u64| if seconds >= HUNG_SECONDS && task.state == "D" { ", hung" } else { "" };
    let waiting = task.waiting.filter(|_| task.state == "D");
    let waiting = waiting.map(|s| format!(", waits for {}{}", duration(s), hung(s))).unwrap_or_default();
    format!("{} {}{cpu}{running}{waiting}", task.state, task_name(task))
}

/// `vda 2 reads and 13 writes in flight`.
fn disk_line(disk: &Disk) -> String {
    match &disk.in_flight {
        Section::Read(InFlight { reads, writes }) => {
            let [reads, writes] = [counted(*reads, "read"), counted(*writes, "write")];
            format!("{} {reads} and {writes} in flight", disk.name)
        }
        Section::Error(why) => format!("{} (not readable: {why})", disk.name),
    }
}

/// `function+0x12/0x34 [module]`.
fn frame_name(frame: &Frame) -> String {
    let Some(function) = &frame.function else { return format!("{:#x}", frame.address) };
    let module = frame.module.as_ref().map(|name| format!(" [{name}]")).unwrap_or_default();
    format!("{function}+{:#x}/{:#x}{module}", frame.offset, frame.size)
}

/// `3 days 04:05:06`.
fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        1 => format!("1 day {clock}"),
        days => format!("{days} days {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_days() {
        assert_eq!(duration(59), "00:00:59");
        assert_eq!(duration(86400 + 3661), "1 day 01:01:01");
        assert_eq!(duration(3 * 86400), "3 days 00:00:00");
    }

    #[test]
    fn frames_are_written_as_the_kernel_writes_them() {
        let frame = Frame {
            address: 0x1234,
            function: Some("do_thing".into()),
            offset: 0x12,
            size: 0x34,
            module: Some("driver".into()),
            interrupted: false,
        };
        assert_eq!(frame_name(&frame), "do_thing+0x12/0x34 [driver]");
        assert_eq!(frame_name(&Frame { function: None, ..frame }), "0x1234");
    }
}
