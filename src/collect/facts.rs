//! What is known of a crashed machine before the first page: the head of its KDUMP file and the head
//! of our stream.

use super::split::Part;
use super::{Error, Options};
use crate::blocks::{Head, SegmentFacts};
use crate::filter::DumpLevel;
use crate::kdump::{self, Layout, Uts};
use crate::mm::KernelMemory;
use crate::units::{ByteOrder, PfnRange, PfnSet};
use crate::vmcore::{Machine, Vmcore};
use goblin::elf::header::{EM_AARCH64, EM_LOONGARCH, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64};

/// The facts, gathered once.
pub(super) struct DumpFacts {
    /// Number of pfns of the dump, holes included.
    pub max_mapnr: u64,
    /// Pages that exist, below `max_mapnr`.
    pub present: PfnSet,
    /// The head of the KDUMP file.
    pub kdump: kdump::Head,
    /// Where its parts lie.
    pub layout: Layout,
    /// The head of the stream.
    pub head: Head,
}

impl DumpFacts {
    /// Reads them from a vmcore, of which a dump describes `max_mapnr` pfns.
    pub(super) fn gather(vmcore: &Vmcore, options: &Options, max_mapnr: u64) -> Result<DumpFacts, Error> {
        let part = options.part.as_ref();
        let all = PfnRange::new(0, max_mapnr);
        let present: PfnSet = vmcore.present().intersect(all).collect();
        let split = part.map(|part| part.range);
        let kdump = kdump::Head { split, ..kdump_head(vmcore, options.level, max_mapnr) };
        let layout = kdump.layout()?;
        let pages = present.count();
        let data_offset = layout.data_behind(pages).ok_or(Error::TooLarge { pages })?;
        let part = part.map(Part::facts);
        let head = Head { part, live: options.live, ..stream_head(vmcore, &kdump, data_offset) };
        Ok(DumpFacts { max_mapnr, present, kdump, layout, head })
    }

    /// How many pages exist.
    pub(super) fn present_pages(&self) -> u64 {
        self.present.count()
    }
}

fn kdump_head(vmcore: &Vmcore, level: DumpLevel, max_mapnr: u64) -> kdump::Head {
    let info = vmcore.vmcoreinfo();
    let crash_time = info.and_then(|info| info.string("CRASHTIME")).and_then(|text| text.parse().ok());
    kdump::Head {
        order: vmcore.byte_order(),
        page_size: vmcore.page_size(),
        uts: uts(vmcore),
        crash_time: crash_time.unwrap_or(0),
        status: 0,
        nr_cpus: u32::try_from(vmcore.notes().prstatus_count()).unwrap_or(u32::MAX),
        phys_base: phys_base(vmcore),
        dump_level: level.get(),
        max_mapnr,
        split: None,
        notes: vmcore.notes().bytes().to_vec(),
        vmcoreinfo: vmcore.notes().vmcoreinfo_range().unwrap_or(0..0),
    }
}

fn stream_head(vmcore: &Vmcore, kdump: &kdump::Head, data_offset: u64) -> Head {
    let release = vmcore.vmcoreinfo().and_then(|info| info.string("OSRELEASE")).unwrap_or_default();
    let segments = vmcore.segments().iter().map(|segment| SegmentFacts {
        paddr: segment.paddr.0,
        vaddr: segment.vaddr.0,
        size: segment.mem_size,
    });
    Head {
        version: Head::VERSION,
        creator: concat!("vmcore-encrypt ", env!("CARGO_PKG_VERSION")).into(),
        machine: names(vmcore.machine()).0,
        big_endian: kdump.order == ByteOrder::Big,
        page_size: kdump.page_size.bytes(),
        dump_level: kdump.dump_level,
        max_mapnr: kdump.max_mapnr,
        release: release.to_owned(),
        crash_time: kdump.crash_time,
        data_offset,
        segments: segments.collect(),
        live: false,
        part: None,
    }
}

/// The sub header's `phys_base`: x86-64 kernels say it, on arm64 it is the start of RAM, other
/// readers take 0. Source: makedumpfile `makedumpfile.c`, `write_kdump_header`.
fn phys_base(vmcore: &Vmcore) -> u64 {
    match vmcore.machine() {
        Machine::X86_64 => {
            vmcore.vmcoreinfo().and_then(|info| info.number("phys_base")).unwrap_or(0).cast_unsigned()
        }
        Machine::Aarch64 => {
            let lowest = vmcore.segments().iter().map(|segment| segment.paddr.0).min();
            lowest.unwrap_or(0)
        }
        _ => 0,
    }
}

/// What ELF and `uname -m` call a machine.
fn names(machine: Machine) -> (u16, &'static str) {
    match machine {
        Machine::X86_64 => (EM_X86_64, "x86_64"),
        Machine::Aarch64 => (EM_AARCH64, "aarch64"),
        Machine::Ppc64 => (EM_PPC64, "ppc64le"),
        Machine::S390x => (EM_S390, "s390x"),
        Machine::Riscv64 => (EM_RISCV, "riscv64"),
        Machine::Loongarch64 => (EM_LOONGARCH, "loongarch64"),
        Machine::Other(number) => (number, "(unknown)"),
    }
}

/// The names of the crashed kernel, from its `init_uts_ns`; where that cannot be read, what is known
/// otherwise, because crash refuses a dump without the machine's name.
fn uts(vmcore: &Vmcore) -> Uts {
    read_uts(vmcore).unwrap_or_else(|| {
        let release = vmcore.vmcoreinfo().and_then(|info| info.string("OSRELEASE")).unwrap_or_default();
        Uts::from_names(["Linux", "(unknown)", release, "", names(vmcore.machine()).1, "(none)"])
    })
}

fn read_uts(vmcore: &Vmcore) -> Option<Uts> {
    let info = vmcore.vmcoreinfo()?;
    // Before v5.11 the key is absent and the names follow a 4-byte reference count.
    let offset = info.offset("uts_namespace.name").unwrap_or(4);
    let address = info.symbol("init_uts_ns")?.wrapping_add(offset);
    let mut uts = Uts::from_names([""; 6]);
    KernelMemory::new(vmcore).ok()?.read(address, &mut uts.0).ok()?;
    uts.0.starts_with(b"Linux\0").then_some(uts)
}
