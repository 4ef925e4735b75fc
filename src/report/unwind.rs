//! Unwinding stacks of the kernel: one file per architecture. Each walks from registers, or from what a task that sleeps
//! has saved, to the end of the stack; every step's address must be in code, and their number has a limit.

mod aarch64;
mod orc;
mod ppc64;
mod riscv64;
mod s390x;
#[cfg(test)]
mod tests;
mod x86_64;

use super::limit::Limit;
use super::registers::Registers;
use crate::kernel::{Error, Kernel, Object};
use crate::units::VirtAddr;
use crate::vmcore::Machine;

/// The most functions of one stack.
const MAX_STEPS: usize = 100;
const WHAT: &str = "a stack";

/// An address on a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub address: u64,
    /// Whether the function was interrupted there; otherwise the address is after a call.
    pub exact: bool,
}

/// The addresses of a stack, innermost first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    pub list: Vec<Step>,
    /// Why they end before the stack does.
    pub broken: Option<String>,
}

/// Where a walk begins.
#[derive(Clone, Copy)]
pub(super) enum Start<'r> {
    /// A CPU's registers.
    Registers(&'r Registers),
    /// A task that does not run.
    Sleeping(Object<'r>),
}

/// How a walk ends.
enum End {
    /// At the end of the stack, or where a program was interrupted.
    Bottom,
    Broken(String),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Broken(error.line())
    }
}

/// Unwinds a kernel's stacks.
pub(super) struct Unwinder<'k> {
    kernel: &'k Kernel<'k>,
    machine: Machine,
    pub(super) limit: Limit,
    orc: Result<orc::Orc, String>,
}

/// A walk in progress.
struct Walk<'w> {
    kernel: &'w Kernel<'w>,
    machine: Machine,
    list: Vec<Step>,
}

impl<'k> Unwinder<'k> {
    pub(super) fn new(kernel: &'k Kernel<'k>, machine: Machine, limit: Limit) -> Unwinder<'k> {
        let orc = match machine {
            Machine::X86_64 => orc::Orc::new(kernel).map_err(|error| error.line()),
            _ => Err(String::new()),
        };
        Unwinder { kernel, machine, limit, orc }
    }

    /// The kernel whose stacks they are.
    pub(super) fn kernel(&self) -> &'k Kernel<'k> {
        self.kernel
    }

    /// The stack from a start on.
    pub(super) fn unwind(&self, start: Start<'_>) -> Steps {
        let mut walk = Walk { kernel: self.kernel, machine: self.machine, list: Vec::new() };
        let end = match self.machine {
            Machine::X86_64 => x86_64::walk(&mut walk, &self.orc, start),
            Machine::Aarch64 => aarch64::walk(&mut walk, start),
            Machine::Ppc64 => ppc64::walk(&mut walk, start),
            Machine::S390x => s390x::walk(&mut walk, start),
            Machine::Riscv64 => riscv64::walk(&mut walk, start),
            _ => Err(End::Broken("stacks of this architecture cannot be unwound".into())),
        };
        let broken = match end {
            Ok(()) | Err(End::Bottom) => None,
            Err(End::Broken(why)) => Some(why),
        };
        Steps { list: walk.list, broken }
    }
}

impl Walk<'_> {
    /// Adds the function that registers were saved in, by the name of the one that has the address; the walk ends where
    /// that was a program.
    fn interrupted(&mut self, registers: &Registers, address: &str) -> Result<(), End> {
        self.kernel_alone(registers)?;
        self.exact(registers.get(address))
    }

    /// Ends the walk where registers are those of a program.
    fn kernel_alone(&self, registers: &Registers) -> Result<(), End> {
        if registers.is_user(self.machine) { Err(End::Bottom) } else { Ok(()) }
    }

    /// Adds an address that was interrupted.
    fn exact(&mut self, address: u64) -> Result<(), End> {
        self.push(Step { address, exact: true })
    }

    /// Adds a return address.
    fn call(&mut self, address: u64) -> Result<(), End> {
        self.push(Step { address, exact: false })
    }

    fn push(&mut self, step: Step) -> Result<(), End> {
        if self.list.len() == MAX_STEPS {
            return Err(End::Broken(format!("it has more than {MAX_STEPS} functions")));
        }
        if !self.is_text(step.address) {
            return Err(End::Broken(format!("{:#x} is not in the kernel's code", step.address)));
        }
        self.list.push(step);
        Ok(())
    }

    /// Whether an address, or the one before it, is code: the last function may end in a call.
    fn is_text(&self, address: u64) -> bool {
        self.kernel.is_text(VirtAddr(address)) || self.kernel.is_text(VirtAddr(address.wrapping_sub(1)))
    }

    fn u64(&self, at: u64) -> Result<u64, End> {
        Ok(self.kernel.u64(VirtAddr(at), WHAT)?)
    }

    /// The registers in a `struct pt_regs`, whose first ones are those of a note.
    fn registers(&self, at: u64) -> Result<Registers, End> {
        let mut bytes = vec![0; Registers::len(self.machine).unwrap_or(0)];
        self.kernel.bytes(VirtAddr(at), &mut bytes, WHAT)?;
        let registers = Registers::parse(self.machine, &bytes, self.kernel.memory().byte_order());
        registers.ok_or(End::Bottom)
    }

    /// Whether two addresses are in one function.
    fn is_same_function(&self, a: u64, b: u64) -> bool {
        let start = |at: u64| self.kernel.location(VirtAddr(at)).map(|found| at.wrapping_sub(found.offset));
        start(a).is_some() && start(a) == start(b)
    }
}
