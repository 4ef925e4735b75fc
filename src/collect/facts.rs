//! What is known of a crashed machine before the first page: the head of its KDUMP file and the head
//! of our stream.

use super::notes::Piece;
use super::split::Part;
use super::{Error, Options};
use crate::arch::PhysBase;
use crate::blocks::{Head, SegmentFacts};
use crate::filter::{DumpLevel, Survey};
use crate::kdump::{self, Layout, Uts};
use crate::mm::KernelMemory;
use crate::units::{ByteOrder, PfnRange, PfnSet};
use crate::vmcore::Vmcore;

/// The facts, gathered once.
pub(super) struct DumpFacts {
    /// Number of pfns of the dump, holes included.
    pub max_mapnr: u64,
    /// Pages that exist, below `max_mapnr`.
    pub present: PfnSet,
    /// Of these, how many an earlier filter left out.
    pub left_out: u64,
    /// Pages that an earlier collector lost, and whether its dump was whole.
    pub lost_before: (u64, bool),
    /// The head of the KDUMP file.
    pub kdump: kdump::Head,
    /// Where its parts are.
    pub layout: Layout,
    /// The head of the stream.
    pub head: Head,
}

impl DumpFacts {
    /// Reads them from the vmcore of a survey, which knows how many pfns a dump describes.
    pub(super) fn gather(survey: &Survey<'_>, options: &Options) -> Result<DumpFacts, Error> {
        let (vmcore, max_mapnr) = (survey.vmcore(), survey.max_mapnr().0);
        let part = options.part.as_ref();
        let all = PfnRange::new(0, max_mapnr);
        let present: PfnSet = vmcore.present().intersect(all).collect();
        let split = part.map(|part| part.range);
        let range = split.unwrap_or(all).intersect(all);
        let left_out: u64 = vmcore.left_out().intersect(range).map(PfnRange::count).sum();
        let lost_before = vmcore.origin().map_or((0, true), |origin| (origin.lost, origin.complete));
        let left_out = left_out.saturating_sub(lost_before.0);
        let kdump = kdump::Head { split, ..kdump_head(vmcore, options.level, max_mapnr) };
        let layout = kdump.layout()?;
        let pages = present.count();
        let data_offset = layout.data_after(pages).ok_or(Error::TooLarge { pages })?;
        let part = part.map(Part::facts);
        let live = options.live || vmcore.origin().is_some_and(|origin| origin.live);
        let without_structures = survey.leaves_structures(options.level);
        let head = Head { part, live, without_structures, ..stream_head(vmcore, &kdump, data_offset) };
        Ok(DumpFacts { max_mapnr, present, left_out, lost_before, kdump, layout, head })
    }

    /// The notes that are too large for the head, piece by piece. Of a dump in parts, the first one has them.
    pub(super) fn note_pieces(&self) -> impl Iterator<Item = Piece> + use<> {
        let has_notes = self.head.part.as_ref().is_none_or(|part| part.number == 1);
        has_notes.then(|| Piece::all(self.kdump.streamed_range())).into_iter().flatten()
    }

    /// How many pages exist.
    pub(super) fn present_pages(&self) -> u64 {
        self.present.count()
    }
}

fn kdump_head(vmcore: &Vmcore, level: DumpLevel, max_mapnr: u64) -> kdump::Head {
    let info = vmcore.vmcoreinfo();
    let crash_time = info.and_then(|info| info.string("CRASHTIME")).and_then(|text| text.parse().ok());
    let crash_time = vmcore.origin().map(|origin| origin.crash_time).filter(|&time| time != 0).or(crash_time);
    kdump::Head {
        order: vmcore.byte_order(),
        page_size: vmcore.page_size(),
        uts: uts(vmcore),
        crash_time: crash_time.unwrap_or(0),
        status: 0,
        nr_cpus: cpus(vmcore),
        phys_base: phys_base(vmcore),
        // What an earlier filter left out stays left out.
        dump_level: level.get() | vmcore.origin().map_or(0, |origin| origin.level),
        max_mapnr,
        split: None,
        notes: vmcore.notes().bytes().to_vec(),
        streamed: vmcore.notes().streamed_len(),
        vmcoreinfo: vmcore.notes().vmcoreinfo_range().unwrap_or(0..0),
        eraseinfo: eraseinfo(vmcore),
    }
}

/// What an earlier tool erased: a KDUMP file has it in a place of its own, an ELF core in a note. Source: makedumpfile
/// `erase_info.c`.
fn eraseinfo(vmcore: &Vmcore) -> Vec<u8> {
    let notes = vmcore.notes();
    let of_note = || notes.bytes().get(notes.text_range("ERASEINFO")?).map(<[u8]>::to_vec);
    let of_file = vmcore.origin().map(|origin| origin.eraseinfo.clone()).filter(|text| !text.is_empty());
    of_file.or_else(of_note).unwrap_or_default()
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
        machine: vmcore.machine().e_machine(),
        big_endian: kdump.order == ByteOrder::Big,
        page_size: kdump.page_size.bytes(),
        dump_level: kdump.dump_level,
        max_mapnr: kdump.max_mapnr,
        release: release.to_owned(),
        crash_time: kdump.crash_time,
        data_offset,
        segments: segments.collect(),
        streamed_notes: kdump.streamed,
        live: false,
        without_structures: false,
        part: None,
    }
}

/// The sub header's `phys_base`, as the architecture has it. What the kernel itself printed comes first: QEMU reads that
/// decimal number as hexadecimal, and records another one.
fn phys_base(vmcore: &Vmcore) -> u64 {
    let printed = || vmcore.vmcoreinfo().and_then(|info| info.number("phys_base")).map(i64::cast_unsigned);
    let recorded = vmcore.origin().map(|origin| origin.phys_base).filter(|&base| base != 0);
    match (vmcore.machine().facts().phys_base, recorded) {
        (PhysBase::Printed, recorded) => printed().or(recorded).unwrap_or(0),
        (_, Some(recorded)) => recorded,
        (PhysBase::Zero, None) => 0,
        (PhysBase::LowestRam, None) => {
            let lowest = vmcore.segments().iter().map(|segment| segment.paddr.0).min();
            lowest.unwrap_or(0)
        }
    }
}

/// CPUs whose registers were saved; of a dump without such notes what its collector counted.
fn cpus(vmcore: &Vmcore) -> u32 {
    let counted = u32::try_from(vmcore.notes().prstatus_count()).unwrap_or(u32::MAX);
    vmcore.origin().filter(|_| counted == 0).map_or(counted, |origin| origin.cpus)
}

/// The names of the crashed kernel, from its `init_uts_ns`; where that cannot be read, what is known
/// otherwise, because crash refuses a dump without the machine's name.
fn uts(vmcore: &Vmcore) -> Uts {
    recorded_uts(vmcore).or_else(|| read_uts(vmcore)).unwrap_or_else(|| {
        let release = vmcore.vmcoreinfo().and_then(|info| info.string("OSRELEASE")).unwrap_or_default();
        Uts::from_names(["Linux", "(unknown)", release, "", vmcore.machine().facts().name, "(none)"])
    })
}

/// The names that an earlier collector recorded. A hypervisor records the machine alone, and not always its whole name.
fn recorded_uts(vmcore: &Vmcore) -> Option<Uts> {
    let uts = &vmcore.origin()?.uts;
    uts.starts_with(b"Linux\0").then(|| uts.as_slice().try_into().ok().map(Uts))?
}

fn read_uts(vmcore: &Vmcore) -> Option<Uts> {
    let info = vmcore.vmcoreinfo()?;
    // Before commit ca4a9241cc5e ("kdump: append uts_namespace.name offset to VMCOREINFO") (in v5.11) the key is absent and
    // the names follow a 4-byte reference count.
    let offset = info.offset("uts_namespace.name").unwrap_or(4);
    let address = info.symbol("init_uts_ns")?.wrapping_add(offset);
    let mut uts = Uts::from_names([""; 6]);
    KernelMemory::new(vmcore).ok()?.read(address, &mut uts.0).ok()?;
    uts.0.starts_with(b"Linux\0").then_some(uts)
}
