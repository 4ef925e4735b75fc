//! Why a machine died, from its memory alone: what the `kernel` room reads becomes facts here, section by section, and
//! each stands alone: what cannot be read is an error in its place. How it is shown is `show`'s matter; where the memory
//! comes from is the caller's.

mod cpus;
mod disks;
mod facts;
mod limit;
mod log;
mod memory;
mod modules;
mod registers;
mod show;
mod taints;
mod tasks;
mod trace;
mod unwind;

use crate::kernel::{Error, Kernel, TableCache};
use crate::mm::{KernelMemory, KernelRead};
use crate::vmcore::{Machine, Vmcore};
use serde::Serialize;

pub use cpus::Cpu;
pub use disks::{Disk, Disks, InFlight};
pub use facts::{Crash, System, Uptime};
pub use log::Log;
pub use memory::{Cache, Memory};
pub use modules::Module;
pub use show::show;
pub use tasks::{Task, Tasks};
pub use trace::{Frame, Trace};

/// A section, or why it cannot be read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section<T> {
    /// Why nothing was read.
    Error(String),
    /// What was read.
    #[serde(untagged)]
    Read(T),
}

impl<T> Section<T> {
    fn of(result: Result<T, Error>) -> Section<T> {
        result.map_or_else(|error| Section::Error(error.line()), Section::Read)
    }

    /// What was read.
    #[must_use]
    pub fn read(&self) -> Option<&T> {
        match self {
            Section::Read(value) => Some(value),
            Section::Error(_) => None,
        }
    }
}

/// What a vmcore gives to a report.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The kernel's memory.
    pub memory: &'a dyn KernelRead,
    /// Its architecture.
    pub machine: Machine,
    /// Contents of the `NT_PRSTATUS` notes in the order of the file: registers of CPUs.
    pub notes: &'a [&'a [u8]],
}

/// How much is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The traces of every task, not only of those that wait without being interruptible.
    pub all_tasks: bool,
}

/// The report. Texts come from the dump: a terminal must not get them raw.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What of the kernel's own description cannot be used; empty where all can.
    pub missing: Vec<String>,
    /// Kernel and machine.
    pub system: System,
    /// Panic, and where it happened.
    pub crash: Crash,
    /// Functions of the panicking CPU's trace that tell one crash from another, innermost first.
    pub signature: Vec<String>,
    /// What each CPU did.
    pub cpus: Section<Vec<Cpu>>,
    /// Tasks.
    pub tasks: Section<Tasks>,
    /// Use of memory.
    pub memory: Section<Memory>,
    /// Loaded modules.
    pub modules: Section<Vec<Module>>,
    /// Block devices.
    pub disks: Section<Disks>,
    /// The end of the kernel's log.
    pub log: Section<Log>,
}

impl Report {
    /// The report of a vmcore.
    ///
    /// # Errors
    /// Its memory cannot be read by virtual address.
    pub fn of_vmcore(vmcore: &Vmcore, options: Options) -> Result<Report, crate::mm::Error> {
        let memory = KernelMemory::new(vmcore)?;
        let notes: Vec<&[u8]> = vmcore.notes().prstatus().collect();
        Ok(Report::gather(&Source { memory: &memory, machine: vmcore.machine(), notes: &notes }, options))
    }

    /// The same with tables of kernels that are kept somewhere.
    pub(crate) fn of_vmcore_by(
        vmcore: &Vmcore,
        options: Options,
        cache: &dyn TableCache,
    ) -> Result<Report, crate::mm::Error> {
        let memory = KernelMemory::new(vmcore)?;
        let notes: Vec<&[u8]> = vmcore.notes().prstatus().collect();
        let source = Source { memory: &memory, machine: vmcore.machine(), notes: &notes };
        let mut report = None;
        cache.with_kernel(&memory, &mut |kernel| report = Some(Report::of_kernel(kernel, &source, options)));
        Ok(report.unwrap_or_else(|| Report::gather(&source, options)))
    }

    /// The report of a kernel's memory.
    #[must_use]
    pub fn gather(source: &Source<'_>, options: Options) -> Report {
        Report::of_kernel(&Kernel::new(source.memory), source, options)
    }

    /// The report of a kernel whose memory is that of the source.
    #[must_use]
    pub fn of_kernel(kernel: &Kernel<'_>, source: &Source<'_>, options: Options) -> Report {
        let missing = kernel.missing();
        let log = log::read(source.memory);
        let panicked = facts::panicked_cpu(kernel);
        let cpus = cpus::read(kernel, source, panicked);
        let crash = facts::crash(kernel, log.read(), panicked, cpus.read().map(Vec::as_slice));
        let signature = crash.trace.as_ref().map(trace::signature).unwrap_or_default();
        Report {
            missing,
            system: facts::system(kernel, source),
            crash,
            signature,
            cpus,
            tasks: Section::of(tasks::read(kernel, source.machine, options)),
            memory: Section::of(memory::read(kernel)),
            modules: modules::read(kernel),
            disks: Section::of(disks::read(kernel)),
            log,
        }
    }
}

/// Bytes of the dump as text; what is not UTF-8 is replaced.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
