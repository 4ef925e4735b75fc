//! Tasks: all threads of the leaders on `init_task`'s list. Idle tasks are on no list: each CPU has one.

use super::{Error, Kernel, Object};
use std::iter;

/// The most tasks walked: a quarter of the kernel's own limit of pids.
const MAX_TASKS: usize = 1 << 20;
const WHAT: &str = "list of tasks";

type Tasks<'k> = Box<dyn Iterator<Item = Result<Object<'k>, Error>> + 'k>;

impl Kernel<'_> {
    /// Each `struct task_struct` on the list of tasks. An error costs the threads of one leader or, where the list of
    /// leaders itself is damaged, all that follow: the caller stops at the first error, or goes on to the next item.
    pub fn tasks(&self) -> impl Iterator<Item = Result<Object<'_>, Error>> {
        let tasks = or_error(self.leaders())
            .flat_map(|leader| or_error(leader.and_then(|leader| self.threads(leader))));
        let within = |(nth, task)| if nth < MAX_TASKS { task } else { Err(Error::Endless(WHAT)) };
        tasks.enumerate().map(within).take(MAX_TASKS + 1)
    }

    fn leaders(&self) -> Result<Tasks<'_>, Error> {
        let leaders = self.linked("task_struct", "tasks")?;
        let head = self.variable("init_task", "task_struct")?.address_of("tasks")?;
        Ok(Box::new(leaders.on(head, MAX_TASKS as u64, WHAT)))
    }

    /// All threads of a leader, itself among them; the leader alone where it has no `struct signal_struct`.
    ///
    /// `thread_head` of that structure since commit 0c740d0afc3b ("introduce for_each_thread() to replace the buggy
    /// while_each_thread()") (in v3.14).
    fn threads<'k>(&'k self, leader: Object<'k>) -> Result<Tasks<'k>, Error> {
        let Some(signal) = leader.follow("signal")? else {
            return Ok(Box::new(iter::once(Ok(leader))));
        };
        let threads = self.linked("task_struct", "thread_node")?;
        Ok(Box::new(threads.on(signal.address_of("thread_head")?, MAX_TASKS as u64, "list of threads")))
    }
}

/// The tasks, or the error in their place.
fn or_error(tasks: Result<Tasks<'_>, Error>) -> Tasks<'_> {
    tasks.unwrap_or_else(|error| Box::new(iter::once(Err(error))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing::Pieces;
    use crate::kernel::testing::description::{Generation, Types, kallsyms};
    use crate::units::ByteOrder;

    const TABLE: u64 = 0xffff_ffff_8200_0000;
    const BTF: u64 = 0xffff_ffff_8300_0000;
    const INIT: u64 = 0xffff_ffff_8400_0000;
    /// Offsets in `struct task_struct`; `thread_head` is the only member of a task's signals.
    const TASKS: u64 = 0;
    const SIGNAL: u64 = 16;
    const THREAD: u64 = 24;

    /// A kernel that knows a list of tasks, and none of its memory that tasks are in.
    fn kernel() -> Pieces {
        let mut types = Types::new(false);
        let long = types.int("long", 8, false);
        let node = types.structure("list_head", 16, &[("next", long, 0, 0), ("prev", long, 64, 0)]);
        let signal = types.structure("signal_struct", 16, &[("thread_head", node, 0, 0)]);
        let signal = types.pointer(signal);
        let members =
            [("tasks", node, 0, 0), ("signal", signal, 8 * 16, 0), ("thread_node", node, 8 * 24, 0)];
        types.structure("task_struct", 40, &members);
        let bytes = types.bytes();
        let text = TABLE - 0x100_0000;
        let symbols =
            [('T', "_stext", text), ('D', "__start_BTF", BTF), ('D', "__stop_BTF", BTF + bytes.len() as u64)];
        let table = kallsyms(false, Generation::PlaceRelative, TABLE, &symbols);
        let more = format!("OSRELEASE=6.12.0\nSYMBOL(_stext)={text:x}\nSYMBOL(init_task)={INIT:x}\n");
        let mut memory = Pieces::new(ByteOrder::Little, &(table.lines + &more));
        let mut padded = table.bytes;
        padded.resize(padded.len().next_multiple_of(4096), 0);
        memory.put(TABLE, padded);
        memory.put(BTF, bytes);
        memory
    }

    /// A circle of nodes.
    fn ring(memory: &mut Pieces, nodes: &[u64]) {
        for (at, node) in nodes.iter().enumerate() {
            memory.put_u64(*node, nodes[(at + 1) % nodes.len()]);
        }
    }

    /// The tasks of a memory as addresses; an error is 0.
    fn walk(memory: &Pieces) -> Vec<u64> {
        let kernel = Kernel::new(memory);
        kernel.tasks().map(|task| task.map_or(0, |task| task.address().0)).collect()
    }

    #[test]
    fn damaged_threads_cost_only_their_leaders() {
        let [first, second, third, thread] = [0x1000, 0x2000, 0x3000, 0x4000];
        let signals = |task: u64| task + 0x100;
        let mut memory = kernel();
        ring(&mut memory, &[INIT + TASKS, first + TASKS, second + TASKS, third + TASKS]);
        for task in [first, second] {
            memory.put_u64(task + SIGNAL, signals(task));
        }
        // The first has two threads, the second a list into nowhere, the third no signals any more.
        ring(&mut memory, &[signals(first), first + THREAD, thread + THREAD]);
        ring(&mut memory, &[signals(second), second + THREAD]);
        memory.put_u64(second + THREAD, 0x9000);
        memory.put_u64(third + SIGNAL, 0);
        assert_eq!(walk(&memory), [first, thread, second, 0x9000 - THREAD, 0, third]);
        // Damage of the leaders' list ends it.
        memory.put_u64(first + TASKS, 0x9000);
        assert_eq!(walk(&memory), [first, thread, 0, 0]);
        memory.put_u64(INIT + TASKS, INIT + TASKS);
        assert!(walk(&memory).is_empty());
    }

    #[test]
    fn a_kernel_that_does_not_know_tasks_is_one_error() {
        assert_eq!(walk(&Pieces::new(ByteOrder::Little, "")), [0]);
    }
}
