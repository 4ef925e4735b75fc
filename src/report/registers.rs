//! Registers of a CPU, from a note or from a `struct pt_regs` on a stack.
//!
//! Source: Linux `include/uapi/linux/elf.h` (`struct elf_prstatus`), `arch/*/include/asm/elf.h` and `asm/ptrace.h`.

use crate::units::ByteOrder;
use crate::vmcore::Machine;

/// Where `pr_pid` is in an `NT_PRSTATUS` note, and where the registers begin.
const PR_PID: usize = 32;
const PR_REG: usize = 112;

/// Names of the registers in the order of the note.
const X86_64: &[&str] = &[
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss",
];
const AARCH64: &[&str] = &[
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
    "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30",
    "sp", "pc", "pstate",
];
const PPC64: &[&str] = &[
    "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", "r28", "r29", "r30",
    "r31", "nip", "msr", "orig_r3", "ctr", "link", "xer", "ccr", "softe", "trap", "dar", "dsisr", "result",
];
const S390X: &[&str] = &[
    "psw_mask", "psw_addr", "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12",
    "r13", "r14", "r15",
];
const RISCV64: &[&str] = &[
    "pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6",
    "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
];

/// Values of registers, in the order of the machine's notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registers {
    names: &'static [&'static str],
    values: Vec<u64>,
}

impl Registers {
    /// Registers from bytes in the note's order; `None` for a machine without an unwinder here, and for too few bytes.
    pub(super) fn parse(machine: Machine, bytes: &[u8], order: ByteOrder) -> Option<Registers> {
        let names = names(machine)?;
        let values: Vec<u64> =
            bytes.as_chunks().0.iter().take(names.len()).map(|chunk| order.u64(*chunk)).collect();
        (values.len() == names.len()).then_some(Registers { names, values })
    }

    /// The registers and the process id of a note.
    pub(super) fn of_note(machine: Machine, note: &[u8], order: ByteOrder) -> Option<(Registers, u32)> {
        let pid = order.u32_at(note, PR_PID)?;
        Some((Registers::parse(machine, note.get(PR_REG..)?, order)?, pid))
    }

    /// Bytes of the registers of a machine.
    pub(super) fn len(machine: Machine) -> Option<usize> {
        names(machine).map(|names| names.len() * 8)
    }

    /// Bytes of a note up to the end of the registers that are read.
    pub(super) fn note_len(machine: Machine) -> Option<usize> {
        Registers::len(machine).map(|len| PR_REG + len)
    }

    /// A register; 0 when there is none of this name.
    pub(super) fn get(&self, name: &str) -> u64 {
        let at = self.names.iter().position(|other| *other == name);
        at.and_then(|at| self.values.get(at).copied()).unwrap_or(0)
    }

    /// Whether none has a value: a note that was never written.
    pub(super) fn is_empty(&self) -> bool {
        self.values.iter().all(|&value| value == 0)
    }

    /// Whether the CPU ran a program, not the kernel.
    pub(super) fn is_user(&self, machine: Machine) -> bool {
        match machine {
            // The privilege level of the code segment.
            Machine::X86_64 => self.get("cs") & 3 != 0,
            // Exception level 0.
            Machine::Aarch64 => self.get("pstate") & 0xf == 0,
            // The problem state bits of the machine state register and of the program status word.
            Machine::Ppc64 => self.get("msr") & 0x4000 != 0,
            Machine::S390x => self.get("psw_mask") >> 48 & 1 != 0,
            // A note has no status: user addresses have the top bit clear.
            Machine::Riscv64 => self.get("pc") >> 63 == 0,
            _ => false,
        }
    }

    /// Names and values, in the note's order.
    pub(super) fn list(&self) -> Vec<(&'static str, u64)> {
        self.names.iter().copied().zip(self.values.iter().copied()).collect()
    }
}

fn names(machine: Machine) -> Option<&'static [&'static str]> {
    Some(match machine {
        Machine::X86_64 => X86_64,
        Machine::Aarch64 => AARCH64,
        Machine::Ppc64 => PPC64,
        Machine::S390x => S390X,
        Machine::Riscv64 => RISCV64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_have_their_places_in_the_note() {
        for (machine, name, place) in [
            (Machine::X86_64, "rip", 16),
            (Machine::X86_64, "rsp", 19),
            (Machine::Aarch64, "pc", 32),
            (Machine::Ppc64, "nip", 32),
            (Machine::S390x, "r15", 17),
            (Machine::Riscv64, "s0", 8),
        ] {
            let mut note = vec![0; Registers::note_len(machine).unwrap()];
            note[PR_PID] = 7;
            note[PR_REG + 8 * place] = 5;
            let (registers, pid) = Registers::of_note(machine, &note, ByteOrder::Little).unwrap();
            assert_eq!((registers.get(name), pid), (5, 7), "{machine:?}");
            assert!(!registers.is_empty() && registers.get("nothing") == 0);
            note.pop();
            assert!(Registers::of_note(machine, &note, ByteOrder::Little).is_none());
        }
        assert!(Registers::len(Machine::Other(1)).is_none());
    }
}
