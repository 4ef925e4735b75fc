//! The ELF core of the crashed kernel's memory: ranges, notes, VMCOREINFO and the bytes at a physical
//! address. Knows nothing of kernel data structures; virtual addresses are the `mm` room's matter.

#[cfg(feature = "convert")]
mod claimed;
mod elf;
mod error;
mod mapped;
mod memory;
mod notes;
mod pages;
mod source;
#[cfg(test)]
pub(crate) mod testing;
mod vmcoreinfo;

use crate::units::{ByteOrder, PageSize, Pfn, PfnRange, PfnSet, PhysAddr};
use memory::Memory;
use std::path::Path;

pub use crate::arch::Machine;
#[cfg(feature = "convert")]
pub(crate) use claimed::claimed;
pub use elf::Segment;
pub use error::{Cause, Error, Flaw, ReadError};
pub use mapped::Window;
#[cfg(feature = "convert")]
pub(crate) use mapped::is_on_procfs;
pub use notes::{Note, Notes};
pub use pages::{Origin, Pages};
pub use source::PhysSource;
pub use vmcoreinfo::VmcoreInfo;

/// Pages without data that are believed: 16 TiB of 4 KiB pages. A broken size must not fill a disk with tables of
/// pages that nobody has.
const MAX_WITHOUT_DATA: u64 = 1 << 32;

/// An open vmcore. Reads are positioned, so threads share one by reference.
pub struct Vmcore {
    byte_order: ByteOrder,
    machine: Machine,
    segments: Vec<Segment>,
    notes: Notes,
    vmcoreinfo: Option<VmcoreInfo>,
    page_size: PageSize,
    present: PfnSet,
    backed: PfnSet,
    missing: PfnSet,
    flaws: Vec<Flaw>,
    memory: Memory,
    /// Where notes are read from, when that is not where memory is.
    note_source: Option<Box<dyn PhysSource>>,
    origin: Option<Origin>,
}

impl Vmcore {
    /// Opens the vmcore at `path`: `/proc/vmcore`, or a copy of one.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is no 64-bit ELF core, or its headers are cut short. Other damage is no error but
    /// among [`Vmcore::flaws`].
    pub fn open(path: &Path) -> Result<Vmcore, Error> {
        let source = source::VmcoreFile::open(path)?;
        Vmcore::from_source(Box::new(source))
    }

    /// Opens a vmcore file that is only read by position, /proc/vmcore too, which is mapped otherwise.
    ///
    /// # Errors
    ///
    /// As [`Vmcore::open`].
    pub fn open_unmapped(path: &Path) -> Result<Vmcore, Error> {
        let source = source::VmcoreFile::open(path)?;
        Vmcore::from_source(Box::new(source.unmapped()))
    }

    /// Opens a vmcore from anything that can be read by position.
    ///
    /// # Errors
    ///
    /// As [`Vmcore::open`].
    pub fn from_source(source: Box<dyn PhysSource>) -> Result<Vmcore, Error> {
        let mut layout = elf::read_layout(source.as_ref())?;
        let (notes, vmcoreinfo, mut flaws) = read_notes(source.as_ref(), &layout.notes, layout.byte_order);
        let page_size =
            vmcoreinfo.as_ref().and_then(VmcoreInfo::page_size).unwrap_or(layout.machine.usual_page_size());
        let length = source.len();
        let memory = Memory::new(source, &layout.segments);
        flaws.extend(layout.absurd.map(|(count, first)| Flaw::Segments { count, first }));
        let backed = PfnSet::touched(memory.extents(), page_size);
        let mut present = PfnSet::touched(layout.segments.iter().map(|s| (s.paddr.0, s.mem_size)), page_size);
        let promised = PfnSet::touched(layout.segments.iter().map(|s| (s.paddr.0, s.file_size)), page_size);
        let missing = promised.without(&backed);
        let pages = present.count() - backed.count();
        if pages > MAX_WITHOUT_DATA {
            present.clone_from(&backed);
            layout.segments.iter_mut().for_each(|segment| segment.believe_data_alone(length));
            flaws.push(Flaw::WithoutData { pages });
        } else if layout.segments.iter().any(|s| s.file_end() > length) {
            flaws.push(Flaw::Cut { end: length, pages: missing.count() });
        }
        Ok(Vmcore {
            byte_order: layout.byte_order,
            machine: layout.machine,
            present,
            backed,
            missing,
            flaws,
            segments: layout.segments,
            notes,
            vmcoreinfo,
            page_size,
            memory,
            note_source: None,
            origin: None,
        })
    }

    /// Memory whose pages are read one by one: what a dump in another form than an ELF core holds.
    #[must_use]
    pub fn from_pages(pages: Pages) -> Vmcore {
        let whole = elf::FileRange { offset: 0, size: pages.notes.len() };
        let (notes, vmcoreinfo, mut flaws) = read_notes(pages.notes.as_ref(), &[whole], pages.byte_order);
        if !pages.lost.is_empty() {
            flaws.push(Flaw::Lost { pages: pages.lost.count() });
        }
        Vmcore {
            byte_order: pages.byte_order,
            machine: pages.machine,
            memory: Memory::of_pages(pages.source, &pages.held, &pages.present, pages.page_size),
            page_size: pages.page_size,
            segments: pages.segments,
            present: pages.present,
            backed: pages.held,
            missing: pages.lost,
            flaws,
            notes,
            vmcoreinfo,
            note_source: Some(pages.notes),
            origin: Some(pages.origin),
        }
    }

    /// Byte order of the crashed machine.
    #[must_use]
    pub fn byte_order(&self) -> ByteOrder {
        self.byte_order
    }

    /// Architecture of the crashed machine.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// The `PT_LOAD` segments in the file's order. They may overlap: kdump often describes the kernel
    /// image once more under its own mapping.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The pages that a segment's memory size covers; a fraction of a page at either end counts as a page. What is not in here is a memory hole.
    #[must_use]
    pub fn present(&self) -> &PfnSet {
        &self.present
    }

    /// The present pages of which the file holds at least one byte. Fewer than
    /// [`Vmcore::present`] when a segment has more memory than file data or the file is truncated.
    #[must_use]
    pub fn backed(&self) -> &PfnSet {
        &self.backed
    }

    /// The pages of which the segments promise data (`p_filesz`) and the file has no byte. Memory
    /// beyond `p_filesz` is not promised: a filtered ELF core has such.
    #[must_use]
    pub fn missing(&self) -> &PfnSet {
        &self.missing
    }

    /// The present pages that an earlier filter left out: no data are promised for them.
    #[must_use]
    pub fn left_out(&self) -> PfnSet {
        self.present.without(&self.backed).without(&self.missing)
    }

    /// What an earlier collector recorded, when this is its dump and not an ELF core.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// What of the file is not as it should be: its memory can be read all the same, as far as it is there.
    #[must_use]
    pub fn flaws(&self) -> &[Flaw] {
        &self.flaws
    }

    /// The first byte of which two segments have different data: only one of them is read, and no dump keeps the other. `None` where
    /// they agree, as those that the kernel writes do.
    ///
    /// # Errors
    /// As [`Vmcore::read_phys`].
    #[cfg(feature = "convert")]
    pub(crate) fn contradiction(&self) -> Result<Option<PhysAddr>, ReadError> {
        self.memory.contradiction(&self.segments)
    }

    /// Adds what was found amiss outside of the vmcore's own headers.
    #[cfg(feature = "convert")]
    pub(crate) fn add_flaw(&mut self, flaw: Flaw) {
        self.flaws.push(flaw);
    }

    /// The contents of the `PT_NOTE` segments.
    #[must_use]
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Reads from the notes that are not in memory, [`Notes::streamed_len`] bytes in all, what starts at their byte `at`.
    /// What cannot be read is zeros, a slot that nobody filled; returns how many bytes that are.
    pub fn read_streamed_notes(&self, mut at: u64, out: &mut [u8]) -> u64 {
        let source = self.note_source.as_deref().unwrap_or(self.memory.source());
        let (mut done, mut unreadable) = (0, 0);
        for range in self.notes.streamed() {
            if at >= range.size {
                at -= range.size;
                continue;
            }
            let len = usize::try_from(range.size - at).unwrap_or(usize::MAX).min(out.len() - done);
            let part = &mut out[done..done + len];
            if crate::read_at::read_exact_at(source, part, range.offset + at).is_err() {
                part.fill(0);
                unreadable += len as u64;
            }
            (done, at) = (done + len, 0);
        }
        unreadable
    }

    /// The parsed VMCOREINFO note, when there is one.
    #[must_use]
    pub fn vmcoreinfo(&self) -> Option<&VmcoreInfo> {
        self.vmcoreinfo.as_ref()
    }

    /// Page size of the crashed kernel: VMCOREINFO's `PAGESIZE`, without it the architecture's usual one.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Fills `buf` with the memory at a physical address.
    ///
    /// # Errors
    ///
    /// The first byte that the file does not hold or that cannot be read, and why. `buf` is then
    /// undefined.
    pub fn read_phys(&self, paddr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        self.memory.read(paddr, buf)
    }

    /// The same through a thread's own `window`, where the file can be mapped.
    ///
    /// # Errors
    ///
    /// As [`Vmcore::read_phys`].
    pub fn read_phys_through(
        &self,
        paddr: PhysAddr,
        buf: &mut [u8],
        window: &mut Window,
    ) -> Result<(), ReadError> {
        if let Some(bytes) = self.memory.view(paddr, buf.len(), window) {
            buf.copy_from_slice(bytes);
            return Ok(());
        }
        self.memory.read(paddr, buf)
    }

    /// The bytes of whole pages without a copy, seen through a thread's `window`. `None` where the file
    /// cannot be mapped or the pages are not in it as one piece: then [`Vmcore::read_pages`] tells.
    pub fn view_pages<'w>(&self, pages: PfnRange, window: &'w mut Window) -> Option<&'w [u8]> {
        let len = usize::try_from(pages.count()).ok()?.checked_mul(self.page_size.len())?;
        self.memory.view(self.page_size.address_of(pages.start)?, len, window)
    }

    /// Fills `buf` with whole pages from `first` on. Where only part of a page is in the file (a segment
    /// that does not end on a page boundary) the rest reads as zeros.
    ///
    /// # Errors
    ///
    /// As [`Vmcore::read_phys`], when a page has no byte in the file or a read fails.
    pub fn read_pages(&self, first: Pfn, buf: &mut [u8]) -> Result<(), ReadError> {
        let start = self.page_size.address_of(first).ok_or_else(|| ReadError::hole(PhysAddr(u64::MAX)))?;
        if self.memory.read(start, buf).is_ok() {
            return Ok(());
        }
        let mut at = start;
        for page in buf.chunks_mut(self.page_size.len()) {
            self.memory.read_partial(at, page)?;
            at = PhysAddr(at.0.wrapping_add(self.page_size.bytes()));
        }
        Ok(())
    }
}

/// The notes, VMCOREINFO among them, and what is not as it should be of either.
fn read_notes(
    source: &dyn PhysSource,
    ranges: &[elf::FileRange],
    order: ByteOrder,
) -> (Notes, Option<VmcoreInfo>, Vec<Flaw>) {
    let (notes, broken) = notes::read_notes(source, ranges, order);
    let info = notes.vmcoreinfo_text().map(VmcoreInfo::parse);
    let cut = info.as_ref().filter(|info| info.is_cut()).map(|_| Flaw::Vmcoreinfo);
    let flaws = broken.map(Flaw::Notes).into_iter().chain(cut).collect();
    (notes, info, flaws)
}

#[cfg(test)]
mod tests {
    use super::testing::CoreBuilder;
    use super::*;

    fn open(builder: &CoreBuilder) -> Vmcore {
        Vmcore::from_source(Box::new(builder.build())).unwrap()
    }

    #[test]
    fn overlapping_segments_are_one_range_of_pages() {
        let core = open(
            &CoreBuilder::new()
                .load(0x10_0000, vec![1; 0x3000])
                .load(0x10_1000, vec![1; 0x4000])
                .load(0, vec![]),
        );
        assert_eq!(core.present().ranges(), [PfnRange::new(0x100, 0x105)]);
        assert_eq!(core.backed(), core.present());
        assert!(core.flaws().is_empty());
    }

    #[test]
    fn a_read_may_cross_from_one_segment_into_the_next() {
        let core = open(&CoreBuilder::new().load(0x3000, vec![3; 0x1000]).load(0x2000, vec![2; 0x1000]));
        let mut buf = [0; 4];
        core.read_phys(PhysAddr(0x2ffe), &mut buf).unwrap();
        assert_eq!(buf, [2, 2, 3, 3]);
    }

    #[test]
    fn reads_outside_say_where_and_why() {
        let core =
            open(&CoreBuilder::new().load(0x1000, vec![1; 0x1000]).load_sized(0x2000, vec![2; 16], 0x1000));
        let at = |paddr, len| {
            let error = core.read_phys(PhysAddr(paddr), &mut vec![0; len]).unwrap_err();
            format!("{error}: {}", error.cause)
        };
        assert_eq!(at(0x0, 8), "reading physical address 0x0: no segment of the vmcore holds it");
        assert_eq!(at(0x2008, 16), "reading physical address 0x2010: the vmcore holds no data for it");
        assert_eq!(
            at(u64::MAX - 3, 8),
            "reading physical address 0xfffffffffffffffc: no segment of the vmcore holds it"
        );
    }

    #[test]
    fn memory_without_file_data_is_present_but_not_backed() {
        let core = open(&CoreBuilder::new().load_sized(0x1000, vec![1; 0x1800], 0x4000));
        assert_eq!(core.present().ranges(), [PfnRange::new(1, 5)]);
        assert_eq!(core.backed().ranges(), [PfnRange::new(1, 3)]);
    }

    #[test]
    fn the_rest_of_a_fractional_page_reads_as_zeros() {
        let core = open(&CoreBuilder::new().load(0x1000, vec![7; 0x1001]));
        let mut pages = vec![9; 0x2000];
        core.read_pages(Pfn(1), &mut pages).unwrap();
        assert_eq!((pages[0x1000], pages[0x1001], pages[0x1fff]), (7, 0, 0));
        assert!(core.read_pages(Pfn(3), &mut pages).is_err());
        assert!(core.read_pages(Pfn(u64::MAX), &mut pages).is_err());
    }

    #[test]
    fn a_truncated_vmcore_opens_and_its_tail_is_an_error() {
        let mut file = CoreBuilder::new().load(0x1000, vec![1; 0x1000]).load(0x4000, vec![4; 0x3000]).build();
        file.truncate(file.len() - 0x1800);
        let core = Vmcore::from_source(Box::new(file.clone())).unwrap();
        assert_eq!(
            flaws(&core),
            [format!("it is cut at {:#x}, inside a segment of memory: 1 pages are missing", file.len())]
        );
        assert_eq!(core.backed().ranges(), [PfnRange::new(1, 2), PfnRange::new(4, 6)]);
        let err = core.read_phys(PhysAddr(0x6000), &mut [0; 8]).unwrap_err();
        assert!(matches!(err.cause, Cause::NoData), "{err}");
    }

    #[test]
    fn page_size_comes_from_vmcoreinfo_when_it_is_one() {
        let with = |text: &str| open(&CoreBuilder::new().vmcoreinfo(text).load(0, vec![0; 16])).page_size();
        assert_eq!(with("PAGESIZE=16384\n").bytes(), 16384);
        assert_eq!(with("PAGESIZE=3\n"), PageSize::K4);
    }

    #[cfg(feature = "convert")]
    #[test]
    fn segments_that_overlap_agree_or_contradict_each_other() {
        let long = vec![5; (300 << 10) + 1];
        let with = |last: u8| {
            let mut other = long.clone();
            other[300 << 10] = last;
            let core =
                open(&CoreBuilder::new().load(0x1000, long.clone()).load(0x1000, other).load(0, vec![7; 8]));
            core.contradiction().unwrap()
        };
        assert_eq!(with(5), None);
        assert_eq!(with(6), Some(PhysAddr(0x1000 + (300 << 10))));
    }

    #[test]
    fn absurd_segments_neither_panic_nor_allocate() {
        let core = open(
            &CoreBuilder::new()
                .load_header(u64::MAX - 5, u64::MAX - 5, u64::MAX, u64::MAX)
                .load_header(1 << 52, 0, 64, 64)
                .load_header(u64::MAX, 0, 64, 64)
                .load(0x1000, vec![1; 8]),
        );
        let left_out =
            "2 segments are where no machine has memory and are left out, the first at 0xfffffffffffffffa";
        assert_eq!(flaws(&core), [left_out]);
        assert_eq!(core.backed().ranges(), [PfnRange::new(1, 2)]);
        assert_eq!(core.present(), core.backed());
    }

    #[test]
    fn memory_that_nobody_has_is_not_believed() {
        let core = open(&CoreBuilder::new().load_sized(0x1000, vec![1; 0x2000], u64::MAX));
        let left_out = "0xfffffffffd pages without data are more than any machine has and are left out";
        assert_eq!(flaws(&core), [left_out]);
        assert_eq!(core.segments()[0].mem_size, 0x2000);
        assert_eq!(core.present().ranges(), [PfnRange::new(1, 3)]);
    }

    #[test]
    fn notes_outside_the_file_cost_only_themselves() {
        let mut file = CoreBuilder::new().vmcoreinfo("PAGESIZE=4096\n").load(0x1000, vec![1; 0x1000]).build();
        // The first program header is the notes': their size in the file.
        file[64 + 32..64 + 40].copy_from_slice(&0x10_0000u64.to_le_bytes());
        let core = Vmcore::from_source(Box::new(file.clone())).unwrap();
        assert_eq!(flaws(&core), ["its notes cannot be used"]);
        assert_eq!(core.present().ranges(), [PfnRange::new(1, 2)]);
        // What can be read of them counts.
        assert!(core.vmcoreinfo().is_some());
        file[64 + 8..64 + 16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Vmcore::from_source(Box::new(file)).unwrap().vmcoreinfo().is_none());
    }

    fn flaws(core: &Vmcore) -> Vec<String> {
        core.flaws().iter().map(ToString::to_string).collect()
    }
}
