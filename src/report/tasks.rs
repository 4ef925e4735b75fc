//! Tasks: all of them counted by state, those that matter with their stacks.
//!
//! Source: Linux `include/linux/sched.h` (`TASK_*`, `EXIT_*`), `fs/proc/array.c` (letters). The state is `__state` since
//! commit 2f064a59a11f ("sched: Change task_struct::state") (in v5.14), `state` before.

use super::limit::Limit;
use super::trace::{Trace, hex};
use super::unwind::{Start, Unwinder};
use super::{Options, lossy};
use crate::kernel::{Error, Kernel, Object};
use crate::vmcore::Machine;
use serde::Serialize;
use std::collections::BTreeMap;

/// The most functions of all traces, so that a forged dump cannot fill memory: 100,000 tasks of ten.
const MAX_FRAMES: usize = 1 << 20;
/// The most tasks listed, unless all are asked for.
const MAX_LISTED: usize = 64;
/// A task that waits longer without being interruptible is hung: the kernel's own default.
/// Source: Linux `kernel/hung_task.c`, `sysctl_hung_task_timeout_secs`.
pub(super) const HUNG_SECONDS: u64 = 120;

/// Bits of a task's state.
const UNINTERRUPTIBLE: u64 = 2;
const NOLOAD: u64 = 0x400;
/// Letters of the lowest bits, and of those of a task that ended.
const LETTERS: [(u64, &str); 7] =
    [(0x10, "X"), (0x20, "Z"), (0x80, "X"), (0x40, "P"), (8, "t"), (4, "T"), (1, "S")];

/// A task.
#[derive(Clone, Debug, Serialize)]
pub struct Task {
    /// Its number; of a thread its own, as in /proc/PID/task.
    pub pid: i64,
    /// The process it belongs to.
    pub tgid: i64,
    /// Its name.
    pub name: String,
    /// Its state in one letter, as ps prints it.
    pub state: &'static str,
    /// The CPU it runs or ran on; `None` where that is not known.
    pub cpu: Option<u64>,
    /// Whether it runs now.
    pub running: bool,
    /// Whether it has no program of its own: a kernel thread, or a task that ended.
    pub kernel_thread: bool,
    /// Seconds since it last ran, where the kernel keeps that.
    pub waiting: Option<u64>,
    /// Address of its `struct task_struct`.
    #[serde(serialize_with = "hex")]
    pub address: u64,
    /// Its stack; of a running task the CPU has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

/// The tasks.
#[derive(Debug, Default, Serialize)]
pub struct Tasks {
    /// Number of all.
    pub count: u64,
    /// Number by state.
    pub states: BTreeMap<&'static str, u64>,
    /// Why not all of them could be read.
    pub damaged: Option<String>,
    /// Those that wait without being interruptible, the longest first; with all asked for every task.
    pub listed: Vec<Task>,
    /// Tasks that should be listed, and are more than are shown.
    pub more: u64,
}

/// Reads the tasks.
pub(super) fn read(kernel: &Kernel<'_>, machine: Machine, options: Options) -> Result<Tasks, Error> {
    read_within(kernel, machine, options, Limit::new(options.all_tasks))
}

fn read_within(
    kernel: &Kernel<'_>,
    machine: Machine,
    options: Options,
    limit: Limit,
) -> Result<Tasks, Error> {
    let unwinder = Unwinder::new(kernel, machine, limit);
    let mut reader =
        Reader { kernel, unwinder, limit, options, tasks: Tasks::default(), damaged: None, frames: 0 };
    let stopped = reader.walk().err();
    let Reader { mut tasks, damaged, .. } = reader;
    match stopped.or(damaged) {
        Some(error) if tasks.count == 0 => return Err(error),
        damaged => tasks.damaged = damaged.map(|error| error.line()),
    }
    if !options.all_tasks {
        tasks.listed.sort_by_key(|task| std::cmp::Reverse(task.waiting));
    }
    Ok(tasks)
}

/// The task that a CPU runs.
pub(super) fn current(kernel: &Kernel<'_>, cpu: u32) -> Result<Task, Error> {
    let task = of_queue(kernel, cpu, "curr")?;
    read_task(kernel, &task.ok_or_else(|| Error::NoSymbol("task that the CPU runs".into()))?)
}

/// The task that a member of a CPU's `struct rq` leads to.
fn of_queue<'k>(kernel: &'k Kernel<'k>, cpu: u32, member: &str) -> Result<Option<Object<'k>>, Error> {
    let task = kernel.per_cpu_object("runqueues", "rq", cpu)?.follow(member)?;
    task.map(|task| kernel.object("task_struct", task.address())).transpose()
}

struct Reader<'k> {
    kernel: &'k Kernel<'k>,
    unwinder: Unwinder<'k>,
    limit: Limit,
    options: Options,
    tasks: Tasks,
    /// The first task that could not be read.
    damaged: Option<Error>,
    frames: usize,
}

impl<'k> Reader<'k> {
    /// The idle tasks, then all on the list of tasks. A task that cannot be read costs itself.
    fn walk(&mut self) -> Result<(), Error> {
        let kernel = self.kernel;
        let idle =
            kernel.cpus("present")?.into_iter().filter_map(|cpu| of_queue(kernel, cpu, "idle").transpose());
        for task in idle.chain(kernel.tasks()) {
            if self.limit.is_over() {
                return Err(Error::Slow("list of tasks"));
            }
            if let Err(error) = task.and_then(|task| self.take(task)) {
                self.damaged.get_or_insert(error);
            }
        }
        Ok(())
    }

    fn take(&mut self, object: Object<'k>) -> Result<(), Error> {
        let mut task = read_task(self.kernel, &object)?;
        self.tasks.count += 1;
        *self.tasks.states.entry(task.state).or_default() += 1;
        if task.state != "D" && !self.options.all_tasks {
            return Ok(());
        }
        let room = self.options.all_tasks || self.tasks.listed.len() < MAX_LISTED;
        if !room || self.frames > MAX_FRAMES {
            self.tasks.more += 1;
            return Ok(());
        }
        // A task that ended has given its stack back.
        if !task.running && object.uint("stack").unwrap_or(1) != 0 {
            let trace = self.unwinder.trace(Start::Sleeping(object));
            self.frames += trace.frames.len() + 1;
            task.trace = Some(trace);
        }
        self.tasks.listed.push(task);
        Ok(())
    }
}

fn read_task(kernel: &Kernel<'_>, task: &Object<'_>) -> Result<Task, Error> {
    let state = task.uint("__state").or_else(|_| task.uint("state"))? | task.uint("exit_state")?;
    let running = task.uint("on_cpu").is_ok_and(|on| on != 0);
    let cpu = task.uint("thread_info.cpu").or_else(|_| task.uint("cpu")).ok().map(|cpu| cpu & 0xffff_ffff);
    Ok(Task {
        pid: task.int("pid")?,
        tgid: task.int("tgid")?,
        name: lossy(&task.text("comm")?),
        state: letter(state),
        cpu,
        running,
        kernel_thread: task.uint("mm")? == 0,
        waiting: cpu.filter(|_| !running).and_then(|cpu| waiting(kernel, task, cpu)),
        address: task.address().0,
        trace: None,
    })
}

fn letter(state: u64) -> &'static str {
    if let Some((_, letter)) = LETTERS.iter().find(|(bit, _)| state & bit != 0) {
        return letter;
    }
    match (state & UNINTERRUPTIBLE != 0, state & NOLOAD != 0) {
        (true, true) => "I",
        (true, false) => "D",
        (false, _) => "R",
    }
}

/// Seconds since a task last got a CPU, by that CPU's clock.
fn waiting(kernel: &Kernel<'_>, task: &Object<'_>, cpu: u64) -> Option<u64> {
    let last = task.uint("sched_info.last_arrival").ok().filter(|&last| last != 0)?;
    let queue = kernel.per_cpu_object("runqueues", "rq", u32::try_from(cpu).ok()?).ok()?;
    Some(queue.uint("clock").ok()?.checked_sub(last)? / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::kernel::testing::Pieces;
    use crate::kernel::testing::description::{Generation, Types, kallsyms};
    use crate::mm::KernelRead;
    use crate::units::{ByteOrder, VirtAddr};
    use crate::vmcore::VmcoreInfo;

    const TABLE: u64 = 0xffff_ffff_8200_0000;
    const BTF: u64 = 0xffff_ffff_8300_0000;
    const DATA: u64 = 0xffff_ffff_8400_0000;
    /// Tasks from here on, one after the other; each is 256 bytes, and its list goes on to the next for ever.
    const TASKS: u64 = 0xffff_8880_0000_0000;

    /// A kernel whose list of tasks has no end and never comes back, in memory that is slow.
    struct Forged(Pieces);

    impl KernelRead for Forged {
        fn info(&self) -> &VmcoreInfo {
            self.0.info()
        }

        fn byte_order(&self) -> ByteOrder {
            ByteOrder::Little
        }

        fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>> {
            if !(TASKS..TABLE - 0x0100_0000).contains(&at.0) {
                return self.0.read(at, buf);
            }
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(20) {}
            let task = at.0 & !0xff;
            let mut bytes = [0; 256];
            bytes[..8].copy_from_slice(&(task + 0x100).to_le_bytes());
            bytes[16] = 2;
            let from = usize::try_from(at.0 - task).unwrap();
            buf.copy_from_slice(&bytes[from..from + buf.len()]);
            Ok(())
        }
    }

    fn forged() -> Forged {
        let mut types = Types::new(false);
        let int = types.int("int", 4, true);
        let long = types.int("long", 8, false);
        let char = types.int("char", 1, false);
        let name = types.array(char, 16);
        let node = types.structure("list_head", 16, &[("next", long, 0, 0), ("prev", long, 64, 0)]);
        let signal = types.structure("signal_struct", 16, &[("thread_head", node, 0, 0)]);
        let signal = types.pointer(signal);
        let members = [
            ("tasks", node, 0, 0),
            ("__state", int, 8 * 16, 0),
            ("exit_state", int, 8 * 20, 0),
            ("pid", int, 8 * 24, 0),
            ("tgid", int, 8 * 28, 0),
            ("comm", name, 8 * 32, 0),
            ("signal", signal, 8 * 48, 0),
            ("mm", long, 8 * 56, 0),
            ("stack", long, 8 * 64, 0),
            ("thread_node", node, 8 * 72, 0),
        ];
        types.structure("task_struct", 256, &members);
        let bytes = types.bytes();
        let symbols = [
            ('T', "_stext", TABLE - 0x100_0000),
            ('D', "__start_BTF", BTF),
            ('D', "__stop_BTF", BTF + bytes.len() as u64),
            ('D', "nr_cpu_ids", DATA),
            ('D', "__cpu_present_mask", DATA + 8),
            ('D', "init_task", TASKS),
        ];
        let table = kallsyms(false, Generation::PlaceRelative, TABLE, &symbols[..5]);
        let lines = format!(
            "{}OSRELEASE=6.12.0\nSYMBOL(_stext)={:x}\nSYMBOL(init_task)={TASKS:x}\n",
            table.lines,
            TABLE - 0x100_0000
        );
        let mut memory = Pieces::new(ByteOrder::Little, &lines);
        let mut padded = table.bytes;
        padded.resize(padded.len().next_multiple_of(4096), 0);
        memory.put(TABLE, padded);
        memory.put(BTF, bytes);
        memory.put(DATA, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        Forged(memory)
    }

    #[test]
    fn a_list_without_an_end_ends_with_its_time() {
        let memory = forged();
        let kernel = Kernel::new(&memory);
        for all_tasks in [false, true] {
            let started = Instant::now();
            let limit = Limit::after(Duration::from_millis(200));
            let tasks = read_within(&kernel, Machine::S390x, Options { all_tasks }, limit).unwrap();
            // This thread may have to wait for its CPU.
            assert!(started.elapsed() < Duration::from_secs(20));
            assert!((10..100_000).contains(&tasks.count), "{}", tasks.count);
            let damaged = tasks.damaged.unwrap();
            assert!(damaged.contains("its time is used up"), "{damaged}");
            assert_eq!(tasks.states["D"], tasks.count);
        }
    }

    #[test]
    fn states_have_the_letters_of_ps() {
        for (state, expected) in [
            (0, "R"),
            (1, "S"),
            (2, "D"),
            (0x402, "I"),
            (0x102, "D"),
            (4, "T"),
            (8, "t"),
            (0x20, "Z"),
            (0x90, "X"),
            (0x40, "P"),
        ] {
            assert_eq!(letter(state), expected, "{state:#x}");
        }
    }
}
