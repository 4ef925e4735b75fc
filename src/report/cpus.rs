//! What each CPU did: its task, its registers, its stack.
//!
//! Notes are not numbered by CPU: each is found where the kernel wrote it, in the memory that `crash_notes` gives every CPU.
//! Only where that is empty (a hypervisor made the file) does the order of the file count.

use super::limit::Limit;
use super::registers::Registers;
use super::tasks::{self, Task};
use super::trace::{self, Trace};
use super::unwind::{Start, Unwinder};
use super::{Section, Source};
use crate::kernel::{Error, Kernel};
use crate::units::VirtAddr;
use serde::Serialize;

/// Bytes of a note before its contents: three numbers, and the name "CORE" with its NUL, padded.
const NOTE_HEADER: u64 = 20;

/// A CPU.
#[derive(Debug, Serialize)]
pub struct Cpu {
    /// Its number; `None` where the kernel's types do not tell whose a note is.
    pub number: Option<u32>,
    /// Whether the kernel took it for running.
    pub online: bool,
    /// Whether it is the one that panicked.
    pub panicked: bool,
    /// The task it ran.
    pub task: Section<Task>,
    /// Whether it ran a program, not the kernel.
    pub user_mode: bool,
    /// Names and values of its registers, where they were saved.
    #[serde(serialize_with = "registers_as_map")]
    pub registers: Vec<(&'static str, u64)>,
    /// Its stack; `None` without registers.
    pub trace: Option<Trace>,
}

fn registers_as_map<S: serde::Serializer>(
    list: &[(&'static str, u64)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(list.iter().map(|(name, value)| (name, format!("{value:#x}"))))
}

/// Reads every CPU that is present, without the kernel's types every note.
pub(super) fn read(kernel: &Kernel<'_>, source: &Source<'_>, panicked: Option<u32>) -> Section<Vec<Cpu>> {
    let unwinder = Unwinder::new(kernel, source.machine, Limit::new(false));
    match kernel.cpus("present") {
        Ok(present) => Section::Read(numbered(kernel, source, panicked, &unwinder, &present)),
        Err(error) if source.notes.is_empty() => Section::Error(error.line()),
        Err(error) => Section::Read(by_notes(source, &unwinder, &error)),
    }
}

fn numbered(
    kernel: &Kernel<'_>,
    source: &Source<'_>,
    panicked: Option<u32>,
    unwinder: &Unwinder<'_>,
    present: &[u32],
) -> Vec<Cpu> {
    let online = kernel.cpus("online").unwrap_or_else(|_| present.to_vec());
    let mut saved: Vec<Option<Registers>> =
        present.iter().map(|&cpu| own_note(kernel, source, cpu)).collect();
    // A file of a hypervisor has the notes of the CPUs that are online, in order.
    if saved.iter().all(Option::is_none) && source.notes.len() == online.len() {
        let order = source.memory.byte_order();
        for (cpu, note) in online.iter().zip(source.notes) {
            let registers = Registers::of_note(source.machine, note, order).map(|(registers, _)| registers);
            let registers = registers.filter(|registers| !registers.is_empty());
            if let Some(at) = present.iter().position(|other| other == cpu) {
                saved[at] = registers;
            }
        }
    }
    let of = |(&number, registers): (&u32, Option<Registers>)| Cpu {
        number: Some(number),
        online: online.contains(&number),
        panicked: panicked == Some(number),
        task: Section::of(tasks::current(kernel, number)),
        ..bare(unwinder, source, registers)
    };
    present.iter().zip(saved).map(of).collect()
}

/// CPUs without numbers: which one panicked shows in its stack.
fn by_notes(source: &Source<'_>, unwinder: &Unwinder<'_>, error: &Error) -> Vec<Cpu> {
    let order = source.memory.byte_order();
    let notes = source.notes.iter().filter_map(|note| Registers::of_note(source.machine, note, order));
    let notes = notes.filter(|(registers, _)| !registers.is_empty());
    let of = |(registers, _): (Registers, u32)| {
        let mut cpu = Cpu { task: Section::Error(error.line()), ..bare(unwinder, source, Some(registers)) };
        cpu.panicked = cpu.trace.as_ref().is_some_and(is_panic);
        cpu
    };
    notes.map(of).collect()
}

fn is_panic(found: &Trace) -> bool {
    let mut names = found.frames.iter().filter_map(|frame| frame.function.as_deref());
    names
        .any(|name| matches!(name, "panic" | "vpanic" | "__crash_kexec" | "crash_kexec" | "die" | "oops_end"))
}

fn bare(unwinder: &Unwinder<'_>, source: &Source<'_>, registers: Option<Registers>) -> Cpu {
    let trace = registers.as_ref().map(|registers| unwinder.trace(Start::Registers(registers)));
    Cpu {
        number: None,
        online: true,
        panicked: false,
        task: Section::Error(String::new()),
        user_mode: registers.as_ref().is_some_and(|registers| registers.is_user(source.machine)),
        registers: registers.map(|registers| registers.list()).unwrap_or_default(),
        trace,
    }
}

/// The registers that a CPU saved in its own note; `None` where it wrote none, or it cannot be read.
fn own_note(kernel: &Kernel<'_>, source: &Source<'_>, cpu: u32) -> Option<Registers> {
    let notes = kernel.u64(kernel.symbol("crash_notes").ok()?, "crash_notes").ok()?;
    let note = VirtAddr(notes.wrapping_add(kernel.per_cpu_offset(cpu).ok()?));
    let mut bytes = vec![0; Registers::note_len(source.machine)?];
    kernel.bytes(note.wrapping_add(NOTE_HEADER), &mut bytes, "the note of a CPU").ok()?;
    let (registers, _) = Registers::of_note(source.machine, &bytes, source.memory.byte_order())?;
    (!registers.is_empty()).then_some(registers)
}

impl Unwinder<'_> {
    /// The trace from a start on, with names.
    pub(super) fn trace(&self, start: Start<'_>) -> Trace {
        if self.limit.is_over() {
            let broken = Some(Error::Slow("list of stacks").line());
            return Trace { frames: Vec::new(), broken };
        }
        trace::symbolised(self.kernel(), self.unwind(start))
    }
}
