//! The architectures: what is the same in every kernel of one, and what kernels were built with that VMCOREINFO of old
//! ones does not print. One file each; a new one is such a file, a line in [`Machine`] and a translation of addresses
//! (`mm/translate`).

mod aarch64;
mod loongarch64;
mod ppc64;
mod riscv64;
mod s390x;
mod x86_64;

use crate::units::PageSize;

/// Architecture of the crashed machine, from `e_machine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
    /// 64-bit Power.
    Ppc64,
    /// IBM Z.
    S390x,
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit LoongArch.
    Loongarch64,
    /// Any other `e_machine`.
    Other(u16),
}

/// All that have facts.
const MACHINES: [Machine; 6] = [
    Machine::X86_64,
    Machine::Aarch64,
    Machine::Ppc64,
    Machine::S390x,
    Machine::Riscv64,
    Machine::Loongarch64,
];

/// What is known of an architecture. Bits are log2 of bytes.
#[derive(Debug)]
pub(crate) struct Facts {
    /// ELF's number. Source: Linux `include/uapi/linux/elf-em.h`.
    pub(crate) e_machine: u16,
    /// What `uname -m` prints.
    pub(crate) name: &'static str,
    /// The page size most kernels are built with, in bytes.
    pub(crate) page_size: u64,
    /// Width of a physical address at most.
    pub(crate) physical_bits: u32,
    /// Sizes that a memory section may have, given the page size, where the kernel does not print its size: the usual one
    /// first. `SECTION_SIZE_BITS`.
    pub(crate) section_bits: fn(PageSize) -> &'static [u64],
    /// Widths of physical addresses that kernels which do not print it were built with. `MAX_PHYSMEM_BITS`.
    pub(crate) physmem_bits: &'static [u64],
    /// The key of VMCOREINFO with the address that `mem_map` of flat memory starts at; it starts at 0 without one.
    pub(crate) flat_start: Option<&'static str>,
    /// The sub header's `phys_base` in a KDUMP file.
    pub(crate) phys_base: PhysBase,
    /// Lines of VMCOREINFO that begin so are of this architecture alone. Source: Linux `arch/*/kernel/vmcore_info.c`,
    /// `arch_crash_save_vmcoreinfo`.
    #[cfg_attr(not(feature = "convert"), expect(dead_code, reason = "a collector reads `e_machine`"))]
    pub(crate) own_keys: &'static [&'static str],
}

/// What readers of a KDUMP file take for `phys_base`. Source: makedumpfile `makedumpfile.c`, `write_kdump_header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PhysBase {
    /// 0.
    Zero,
    /// What the kernel prints as `NUMBER(phys_base)`.
    Printed,
    /// The start of RAM.
    LowestRam,
}

/// Of an architecture that nothing is known of: as most are.
const UNKNOWN: Facts = Facts {
    e_machine: 0,
    name: "(unknown)",
    page_size: 4096,
    physical_bits: 52,
    section_bits: |_| &[27],
    physmem_bits: &[48],
    flat_start: None,
    phys_base: PhysBase::Zero,
    own_keys: &[],
};

/// Letters that a name must have to be one's beginning.
#[cfg(feature = "convert")]
const SHORTEST_NAME: usize = 4;

impl Machine {
    /// The architecture of an `e_machine`.
    pub(crate) fn from_elf(e_machine: u16) -> Machine {
        let known = MACHINES.into_iter().find(|machine| machine.facts().e_machine == e_machine);
        known.unwrap_or(Machine::Other(e_machine))
    }

    /// The architecture by `uname -m`, of which QEMU writes the first six letters, and s390 in capitals. Source: QEMU
    /// `dump/dump.c`, `create_header64`.
    #[cfg(feature = "convert")]
    pub(crate) fn from_name(name: &str) -> Machine {
        let name = name.to_ascii_lowercase();
        let is_its = |machine: &Machine| {
            let full = machine.facts().name;
            name.starts_with(full) || (name.len() >= SHORTEST_NAME && full.starts_with(&name))
        };
        MACHINES.into_iter().find(is_its).unwrap_or(Machine::Other(0))
    }

    /// The architecture by VMCOREINFO.
    #[cfg(feature = "convert")]
    pub(crate) fn from_vmcoreinfo(text: &str) -> Machine {
        let writes =
            |line: &str, machine: &Machine| machine.facts().own_keys.iter().any(|key| line.starts_with(key));
        let mut known =
            text.lines().filter_map(|line| MACHINES.into_iter().find(|machine| writes(line, machine)));
        known.next().unwrap_or(Machine::Other(0))
    }

    /// What is known of it.
    pub(crate) fn facts(self) -> &'static Facts {
        match self {
            Machine::X86_64 => &x86_64::FACTS,
            Machine::Aarch64 => &aarch64::FACTS,
            Machine::Ppc64 => &ppc64::FACTS,
            Machine::S390x => &s390x::FACTS,
            Machine::Riscv64 => &riscv64::FACTS,
            Machine::Loongarch64 => &loongarch64::FACTS,
            Machine::Other(_) => &UNKNOWN,
        }
    }

    /// Its number in ELF.
    pub(crate) fn e_machine(self) -> u16 {
        match self {
            Machine::Other(number) => number,
            known => known.facts().e_machine,
        }
    }

    /// Width of a physical address at most.
    pub(crate) fn physical_bits(self) -> u32 {
        self.facts().physical_bits
    }

    /// The page size most kernels of this architecture are built with.
    pub(crate) fn usual_page_size(self) -> PageSize {
        PageSize::from_bytes(self.facts().page_size).unwrap_or(PageSize::K4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_elf_and_uname() {
        let known = MACHINES.map(|machine| (machine.e_machine(), machine.facts().name));
        let expected = [
            (62, "x86_64"),
            (183, "aarch64"),
            (21, "ppc64le"),
            (22, "s390x"),
            (243, "riscv64"),
            (258, "loongarch64"),
        ];
        assert_eq!(known, expected);
        for machine in MACHINES {
            assert_eq!(Machine::from_elf(machine.e_machine()), machine);
            assert_eq!(Machine::from_name(machine.facts().name), machine);
        }
        assert_eq!(Machine::from_elf(8), Machine::Other(8));
        assert_eq!((Machine::Other(8).e_machine(), Machine::Other(8).facts().name), (8, "(unknown)"));
    }

    #[test]
    fn names_may_be_cut_and_machines_without_one_are_known_by_their_keys() {
        for (name, expected) in [
            ("aarch6", Machine::Aarch64),
            ("aarch64_be", Machine::Aarch64),
            ("ppc64", Machine::Ppc64),
            ("S390", Machine::S390x),
            ("riscv", Machine::Riscv64),
            ("riscv6", Machine::Riscv64),
            ("loonga", Machine::Loongarch64),
            ("x86", Machine::Other(0)),
            ("i686", Machine::Other(0)),
            ("Unknown", Machine::Other(0)),
            ("", Machine::Other(0)),
        ] {
            assert_eq!(Machine::from_name(name), expected, "{name}");
        }
        for (text, expected) in [
            ("OSRELEASE=6.1\nNUMBER(phys_base)=-591396864\n", Machine::X86_64),
            ("NUMBER(VA_BITS)=48\nNUMBER(kimage_voffset)=0xffff\n", Machine::Aarch64),
            ("NUMBER(VA_BITS)=57\nNUMBER(KERNEL_LINK_ADDR)=0xffff\n", Machine::Riscv64),
            ("OSRELEASE=6.1\n", Machine::Other(0)),
            ("", Machine::Other(0)),
        ] {
            assert_eq!(Machine::from_vmcoreinfo(text), expected, "{text}");
        }
    }

    #[test]
    fn facts_are_such_as_a_kernel_may_have() {
        for machine in MACHINES.into_iter().chain([Machine::Other(0)]) {
            let facts = machine.facts();
            assert!(PageSize::from_bytes(facts.page_size).is_some(), "{machine:?}");
            assert!(facts.physmem_bits.iter().all(|&bits| bits <= facts.physical_bits.into()), "{machine:?}");
            for page in [4096, 16384, 65536].map(|bytes| PageSize::from_bytes(bytes).unwrap()) {
                let sections = (facts.section_bits)(page);
                assert!(sections.iter().all(|bits| (24..=30).contains(bits)), "{machine:?}");
                assert!(!sections.is_empty());
            }
        }
    }
}
