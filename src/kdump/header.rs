//! The head of a KDUMP file: main header, sub header, notes, and the layout that follows from them.
//! Header version 6, 64 bit. Source: makedumpfile `diskdump_mod.h`, structs `disk_dump_header` and
//! `kdump_sub_header`.

use super::{DESC_LEN, Error};
use crate::units::{ByteOrder, PageSize, PfnRange};
use std::ops::Range;

/// Where the main header keeps its status, bytes.
pub const STATUS_OFFSET: u64 = main_at::STATUS as u64;
/// Status bit of a dump that was cut.
pub const STATUS_INCOMPLETE: u32 = 0x08;

/// How the file begins.
pub(crate) const SIGNATURE: &[u8; 8] = b"KDUMP   ";
const HEADER_VERSION: u32 = 6;
/// Bytes of one name of `utsname`.
pub(crate) const UTS_FIELD: usize = 65;
/// Bytes of the main header.
pub(crate) const MAIN_LEN: usize = 464;
/// Bytes of the sub header of version 6, the largest.
pub(crate) const SUB_LEN: usize = 104;

/// Where the members of `disk_dump_header` are, bytes from its start.
pub(crate) mod main_at {
    /// `header_version`, u32; the signature is before it.
    pub(crate) const VERSION: usize = 8;
    /// `utsname`, six names.
    pub(crate) const UTS: usize = 12;
    /// `timestamp.tv_sec`, i64.
    pub(crate) const CRASH_TIME: usize = 408;
    /// `status`, u32.
    pub(crate) const STATUS: usize = 424;
    /// `block_size`, u32, bytes.
    pub(crate) const BLOCK_SIZE: usize = 428;
    /// `sub_hdr_size`, u32, blocks.
    pub(crate) const SUB_HDR_SIZE: usize = 432;
    /// `bitmap_blocks`, u32: blocks of both bitmaps.
    pub(crate) const BITMAP_BLOCKS: usize = 436;
    /// `max_mapnr`, u32: at most `u32::MAX`, the sub header has all of it.
    pub(crate) const MAX_MAPNR: usize = 440;
    /// `nr_cpus`, u32.
    pub(crate) const NR_CPUS: usize = 460;
}

/// Where the members of `kdump_sub_header` are, bytes from its start.
pub(crate) mod sub_at {
    /// `phys_base`, u64.
    pub(crate) const PHYS_BASE: usize = 0;
    /// `dump_level`, u32.
    pub(crate) const DUMP_LEVEL: usize = 8;
    /// `split`, u32: whether the file is one of several.
    pub(crate) const SPLIT: usize = 12;
    /// `start_pfn`, u64, for readers of header versions before 6.
    pub(crate) const START_PFN: usize = 16;
    /// `end_pfn`, u64, for readers of header versions before 6.
    pub(crate) const END_PFN: usize = 24;
    /// `offset_vmcoreinfo`, u64, bytes from the start of the file.
    pub(crate) const OFFSET_VMCOREINFO: usize = 32;
    /// `size_vmcoreinfo`, u64, bytes.
    pub(crate) const SIZE_VMCOREINFO: usize = 40;
    /// `offset_note`, u64, bytes from the start of the file.
    pub(crate) const OFFSET_NOTE: usize = 48;
    /// `size_note`, u64, bytes.
    pub(crate) const SIZE_NOTE: usize = 56;
    /// `offset_eraseinfo`, u64, bytes from the start of the file.
    pub(crate) const OFFSET_ERASEINFO: usize = 64;
    /// `size_eraseinfo`, u64, bytes.
    pub(crate) const SIZE_ERASEINFO: usize = 72;
    /// `start_pfn_64`, u64.
    pub(crate) const START_PFN_64: usize = 80;
    /// `end_pfn_64`, u64.
    pub(crate) const END_PFN_64: usize = 88;
    /// `max_mapnr_64`, u64.
    pub(crate) const MAX_MAPNR_64: usize = 96;
}

/// The six names of `uname`, as the crashed kernel kept them: sysname, nodename, release, version,
/// machine, domainname; 65 bytes each, NUL padded.
#[derive(Clone)]
pub struct Uts(pub [u8; 6 * UTS_FIELD]);

impl Uts {
    /// Names from text; what exceeds 64 bytes is cut.
    #[must_use]
    pub fn from_names(names: [&str; 6]) -> Uts {
        let mut bytes = [0; 6 * UTS_FIELD];
        for (field, name) in bytes.chunks_exact_mut(UTS_FIELD).zip(names) {
            for (to, from) in field[..UTS_FIELD - 1].iter_mut().zip(name.bytes()) {
                *to = from;
            }
        }
        Uts(bytes)
    }

    /// One of the names, by its place: 0 sysname to 5 domainname; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn name(&self, place: usize) -> String {
        let field = self.0.chunks_exact(UTS_FIELD).nth(place).unwrap_or_default();
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    }
}

/// Everything the head of a KDUMP file holds.
#[derive(Clone)]
pub struct Head {
    /// Byte order of the dump.
    pub order: ByteOrder,
    /// Page size, which is also the file's block size.
    pub page_size: PageSize,
    /// Names of the crashed kernel.
    pub uts: Uts,
    /// When it crashed, seconds since 1970; 0 when unknown.
    pub crash_time: i64,
    /// Codec and incomplete bits.
    pub status: u32,
    /// Number of `NT_PRSTATUS` notes.
    pub nr_cpus: u32,
    /// `phys_base` of x86-64, start of RAM of arm64, else 0.
    pub phys_base: u64,
    /// Which pages were left out.
    pub dump_level: u8,
    /// Number of pfns.
    pub max_mapnr: u64,
    /// The pages whose bytes are in this file, when it is one of several; the others' are elsewhere.
    pub split: Option<PfnRange>,
    /// Contents of the note segments, or the first of them.
    pub notes: Vec<u8>,
    /// Bytes of further notes, right after `notes` in the file: device dumps, which travel as records of their own.
    pub streamed: u64,
    /// Where in `notes` the VMCOREINFO text is; empty when there is none.
    pub vmcoreinfo: Range<usize>,
    /// Which ranges of memory were erased, in makedumpfile's text form; empty as a rule.
    pub eraseinfo: Vec<u8>,
}

/// Where the parts of a KDUMP file are, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Page size and block size.
    pub page_size: PageSize,
    /// First bitmap: memory present.
    pub bitmap1: u64,
    /// Second bitmap: page dumped.
    pub bitmap2: u64,
    /// Page descriptors.
    pub descriptors: u64,
}

impl Layout {
    fn new(page_size: PageSize, sub_hdr_blocks: u64, max_mapnr: u64) -> Option<Layout> {
        let block = page_size.bytes();
        let bitmap_len = max_mapnr.div_ceil(8).checked_next_multiple_of(block)?;
        let bitmap1 = sub_hdr_blocks.checked_add(1)?.checked_mul(block)?;
        let bitmap2 = bitmap1.checked_add(bitmap_len)?;
        Some(Layout { page_size, bitmap1, bitmap2, descriptors: bitmap2.checked_add(bitmap_len)? })
    }

    /// The first block after a descriptor table of `pages` entries; `None` past 64 bits.
    #[must_use]
    pub fn data_after(&self, pages: u64) -> Option<u64> {
        let table = pages.checked_mul(DESC_LEN as u64)?;
        self.descriptors.checked_add(table)?.checked_next_multiple_of(self.page_size.bytes())
    }

    /// Bytes of one bitmap.
    #[must_use]
    pub fn bitmap_len(&self) -> u64 {
        self.bitmap2 - self.bitmap1
    }
}

impl Head {
    fn sub_hdr_blocks(&self) -> u64 {
        let notes = self.notes_place() - self.page_size.bytes() + self.notes.len() as u64;
        notes.saturating_add(self.streamed).div_ceil(self.page_size.bytes())
    }

    /// Where the notes are, bytes from the start of the file. The erase information is before them.
    fn notes_place(&self) -> u64 {
        self.page_size.bytes() + SUB_LEN as u64 + self.eraseinfo.len().next_multiple_of(8) as u64
    }

    /// Where the notes are that travel as records of their own: bytes from the start of the file.
    #[must_use]
    pub fn streamed_range(&self) -> Range<u64> {
        let start = self.notes_place() + self.notes.len() as u64;
        start..start.saturating_add(self.streamed)
    }

    /// Where the parts of the file are.
    ///
    /// # Errors
    /// When `max_mapnr` leads past what the header's 32-bit block count holds.
    pub fn layout(&self) -> Result<Layout, Error> {
        let layout = Layout::new(self.page_size, self.sub_hdr_blocks(), self.max_mapnr);
        let blocks = |layout: &Layout| 2 * layout.bitmap_len() / self.page_size.bytes();
        layout
            .filter(|layout| blocks(layout) <= u64::from(u32::MAX))
            .ok_or_else(|| Error(format!("{:#x} pages are more than the format holds", self.max_mapnr)))
    }

    /// Encodes main header, sub header and notes, padded to whole blocks: the file up to its bitmaps, or up to the notes
    /// that travel as records of their own.
    ///
    /// # Errors
    /// As [`Head::layout`].
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let layout = self.layout()?;
        let block = self.page_size.len();
        let end = if self.streamed == 0 { layout.bitmap1 } else { self.streamed_range().start };
        let place = |place: u64| usize::try_from(place).map_err(|_| Error("notes too long".into()));
        let (end, notes) = (place(end)?, place(self.notes_place())?);
        let mut bytes = vec![0; end];
        self.encode_main(&layout, &mut bytes[..MAIN_LEN]);
        self.encode_sub(&mut bytes[block..block + SUB_LEN]);
        bytes[block + SUB_LEN..][..self.eraseinfo.len()].copy_from_slice(&self.eraseinfo);
        bytes[notes..][..self.notes.len()].copy_from_slice(&self.notes);
        Ok(bytes)
    }

    fn encode_main(&self, layout: &Layout, main: &mut [u8]) {
        let order = self.order;
        let mut u32_at = |at: usize, value: u32| main[at..at + 4].copy_from_slice(&order.u32_bytes(value));
        u32_at(main_at::VERSION, HEADER_VERSION);
        u32_at(main_at::STATUS, self.status);
        u32_at(main_at::BLOCK_SIZE, 1 << self.page_size.shift());
        u32_at(main_at::SUB_HDR_SIZE, u32::try_from(self.sub_hdr_blocks()).unwrap_or(u32::MAX));
        u32_at(
            main_at::BITMAP_BLOCKS,
            u32::try_from((2 * layout.bitmap_len()) >> self.page_size.shift()).unwrap_or(u32::MAX),
        );
        u32_at(main_at::MAX_MAPNR, u32::try_from(self.max_mapnr).unwrap_or(u32::MAX));
        u32_at(main_at::NR_CPUS, self.nr_cpus);
        main[..SIGNATURE.len()].copy_from_slice(SIGNATURE);
        main[main_at::UTS..][..self.uts.0.len()].copy_from_slice(&self.uts.0);
        main[main_at::CRASH_TIME..][..8].copy_from_slice(&order.u64_bytes(self.crash_time.cast_unsigned()));
    }

    fn encode_sub(&self, sub: &mut [u8]) {
        let note = self.notes_place();
        let info = if self.vmcoreinfo.is_empty() { 0 } else { note + self.vmcoreinfo.start as u64 };
        let order = self.order;
        let mut u64_at = |at: usize, value: u64| sub[at..at + 8].copy_from_slice(&order.u64_bytes(value));
        u64_at(sub_at::PHYS_BASE, self.phys_base);
        u64_at(sub_at::OFFSET_VMCOREINFO, info);
        u64_at(sub_at::SIZE_VMCOREINFO, self.vmcoreinfo.len() as u64);
        u64_at(sub_at::OFFSET_NOTE, note);
        u64_at(sub_at::SIZE_NOTE, (self.notes.len() as u64).saturating_add(self.streamed));
        if !self.eraseinfo.is_empty() {
            u64_at(sub_at::OFFSET_ERASEINFO, self.page_size.bytes() + SUB_LEN as u64);
            u64_at(sub_at::SIZE_ERASEINFO, self.eraseinfo.len() as u64);
        }
        u64_at(sub_at::MAX_MAPNR_64, self.max_mapnr);
        if let Some(PfnRange { start, end }) = self.split {
            for at in [sub_at::START_PFN, sub_at::START_PFN_64] {
                u64_at(at, start.0);
            }
            for at in [sub_at::END_PFN, sub_at::END_PFN_64] {
                u64_at(at, end.0);
            }
        }
        sub[sub_at::DUMP_LEVEL..][..4].copy_from_slice(&order.u32_bytes(u32::from(self.dump_level)));
        sub[sub_at::SPLIT..][..4].copy_from_slice(&order.u32_bytes(u32::from(self.split.is_some())));
    }

    /// Reads the head back from the start of a file; `bytes` must reach to the bitmaps.
    ///
    /// # Errors
    /// When it is no version 6 head, or sizes and positions in it do not fit `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Head, Error> {
        Head::parse_start(bytes, 0)
    }

    /// As [`Head::parse`], where the last `streamed` bytes of the notes are not in `bytes`.
    ///
    /// # Errors
    /// As [`Head::parse`].
    pub fn parse_start(bytes: &[u8], streamed: u64) -> Result<Head, Error> {
        let main = bytes.get(..MAIN_LEN).ok_or_else(|| fail("it is cut"))?;
        if !main.starts_with(SIGNATURE) {
            return Err(fail("the signature is missing"));
        }
        let order = byte_order(main).ok_or_else(|| fail("its version is not 6"))?;
        let page_size = PageSize::from_bytes(u64::from(order.u32(array(main, main_at::BLOCK_SIZE))))
            .ok_or_else(|| fail("its block size is no page size"))?;
        let sub = bytes.get(page_size.len()..).and_then(|rest| rest.get(..SUB_LEN));
        let sub = sub.ok_or_else(|| fail("its sub header is cut"))?;
        let (number, long) = (|at| order.u32(array(sub, at)), |at| order.u64(array(sub, at)));
        let Texts { notes, vmcoreinfo, eraseinfo } = Texts::parse(bytes, streamed, long)?;
        let mut uts = Uts([0; 6 * UTS_FIELD]);
        uts.0.copy_from_slice(&main[main_at::UTS..][..6 * UTS_FIELD]);
        Ok(Head {
            order,
            page_size,
            uts,
            crash_time: order.u64(array(main, main_at::CRASH_TIME)).cast_signed(),
            status: order.u32(array(main, main_at::STATUS)),
            nr_cpus: order.u32(array(main, main_at::NR_CPUS)),
            phys_base: long(sub_at::PHYS_BASE),
            dump_level: u8::try_from(number(sub_at::DUMP_LEVEL))
                .map_err(|_| fail("its dump level is above 31"))?,
            max_mapnr: long(sub_at::MAX_MAPNR_64),
            split: (number(sub_at::SPLIT) != 0)
                .then(|| PfnRange::new(long(sub_at::START_PFN_64), long(sub_at::END_PFN_64))),
            notes,
            streamed,
            vmcoreinfo,
            eraseinfo,
        })
    }
}

/// What the sub header leads to.
struct Texts {
    notes: Vec<u8>,
    vmcoreinfo: Range<usize>,
    eraseinfo: Vec<u8>,
}

impl Texts {
    /// Reads them, given the numbers of the sub header; the last `streamed` bytes of the notes are not in `bytes`.
    fn parse(bytes: &[u8], streamed: u64, number: impl Fn(usize) -> u64) -> Result<Texts, Error> {
        let range = |offset, size| byte_range(number(offset), number(size));
        let size = number(sub_at::SIZE_NOTE).checked_sub(streamed);
        let note_range = size.and_then(|size| byte_range(number(sub_at::OFFSET_NOTE), size));
        let note_range = note_range.ok_or_else(|| fail("its notes have no end"))?;
        let notes = bytes.get(note_range.clone()).ok_or_else(|| fail("its notes are outside"))?.to_vec();
        let vmcoreinfo = range(sub_at::OFFSET_VMCOREINFO, sub_at::SIZE_VMCOREINFO)
            .and_then(|info| Some(info.start.checked_sub(note_range.start)?..info.end - note_range.start))
            .filter(|info| info.end <= notes.len())
            .unwrap_or(0..0);
        let eraseinfo = range(sub_at::OFFSET_ERASEINFO, sub_at::SIZE_ERASEINFO);
        let eraseinfo = eraseinfo.and_then(|range| bytes.get(range)).unwrap_or_default().to_vec();
        Ok(Texts { notes, vmcoreinfo, eraseinfo })
    }
}

fn fail(why: &str) -> Error {
    Error(why.to_owned())
}

fn byte_order(main: &[u8]) -> Option<ByteOrder> {
    [ByteOrder::Little, ByteOrder::Big]
        .into_iter()
        .find(|order| order.u32(array(main, main_at::VERSION)) == HEADER_VERSION)
}

fn byte_range(start: u64, len: u64) -> Option<Range<usize>> {
    let end = start.checked_add(len)?;
    Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(order: ByteOrder) -> Head {
        Head {
            order,
            page_size: PageSize::K4,
            uts: Uts::from_names(["Linux", "host", "6.1.0", "#1 SMP", "x86_64", "(none)"]),
            crash_time: 0x1234_5678,
            status: 0x20,
            nr_cpus: 2,
            phys_base: (-239_075_328i64).cast_unsigned(),
            dump_level: 31,
            max_mapnr: 63_450,
            split: None,
            notes: b"note head..OSRELEASE=6.1\n".to_vec(),
            streamed: 0,
            vmcoreinfo: 11..25,
            eraseinfo: Vec::new(),
        }
    }

    #[test]
    fn notes_that_travel_alone_have_their_room_and_erase_information_its_place() {
        let whole = Head { streamed: 10_000, eraseinfo: b"erase x\n".to_vec(), ..head(ByteOrder::Big) };
        let bytes = whole.encode().unwrap();
        let u64_at = |at: usize| u64::from_be_bytes(array(&bytes, 4096 + at));
        assert_eq!([48, 56, 64, 72].map(u64_at), [4096 + 104 + 8, 25 + 10_000, 4096 + 104, 8]);
        assert_eq!(whole.streamed_range(), bytes.len() as u64..bytes.len() as u64 + 10_000);
        assert_eq!(whole.layout().unwrap().bitmap1, 4 * 4096);
        let back = Head::parse_start(&bytes, 10_000).unwrap();
        assert_eq!((&back.notes, &back.eraseinfo), (&whole.notes, &whole.eraseinfo));
        assert_eq!(back.encode().unwrap(), bytes);
        assert!(Head::parse(&bytes).is_err() && Head::parse_start(&bytes, 10_026).is_err());
    }

    #[test]
    fn the_layout_follows_the_block_counts() {
        let layout = head(ByteOrder::Little).layout().unwrap();
        assert_eq!(layout.bitmap1, 2 * 4096);
        assert_eq!(layout.bitmap2, 4 * 4096);
        assert_eq!(layout.descriptors, 6 * 4096);
        assert_eq!(layout.data_after(171), Some(8 * 4096));
    }

    #[test]
    fn fields_are_where_the_format_has_them() {
        let bytes = head(ByteOrder::Little).encode().unwrap();
        let u32_at = |at: usize| u32::from_le_bytes(array(&bytes, at));
        let u64_at = |at: usize| u64::from_le_bytes(array(&bytes, at));
        assert_eq!(&bytes[..12], b"KDUMP   \x06\0\0\0");
        assert_eq!(&bytes[12..18], b"Linux\0");
        assert_eq!(&bytes[12 + 4 * 65..][..7], b"x86_64\0");
        assert_eq!([u32_at(424), u32_at(428), u32_at(432), u32_at(436)], [0x20, 4096, 1, 4]);
        assert_eq!([u32_at(440), u32_at(460)], [63_450, 2]);
        assert_eq!(u64_at(4096), (-239_075_328i64).cast_unsigned());
        assert_eq!(u64_at(4096 + 96), 63_450);
        let info = u64_at(4096 + 32).try_into().unwrap();
        assert_eq!(&bytes[info..][..14], b"OSRELEASE=6.1\n");
    }

    #[test]
    fn a_head_comes_back_in_both_byte_orders() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let bytes = head(order).encode().unwrap();
            let back = Head::parse(&bytes).unwrap();
            assert_eq!(back.encode().unwrap(), bytes);
            assert_eq!((back.order, back.vmcoreinfo), (order, 11..25));
        }
    }

    #[test]
    fn the_range_of_a_part_is_at_both_its_places() {
        let part = Head { split: Some(PfnRange::new(0x8000, 0x1_0000)), ..head(ByteOrder::Big) };
        let bytes = part.encode().unwrap();
        let u64_at = |at: usize| u64::from_be_bytes(array(&bytes, 4096 + at));
        assert_eq!([16, 24, 80, 88].map(u64_at), [0x8000, 0x1_0000, 0x8000, 0x1_0000]);
        assert_eq!(bytes[4096 + 12..][..4], [0, 0, 0, 1]);
        assert_eq!(Head::parse(&bytes).unwrap().split, part.split);
        assert_eq!(Head::parse(&head(ByteOrder::Big).encode().unwrap()).unwrap().split, None);
    }

    #[test]
    fn names_end_at_their_nul() {
        let uts = head(ByteOrder::Little).uts;
        assert_eq!([uts.name(0), uts.name(4), uts.name(6)], ["Linux", "x86_64", ""]);
    }

    #[test]
    fn cut_or_foreign_heads_are_errors() {
        let bytes = head(ByteOrder::Little).encode().unwrap();
        for cut in [0, 8, 463, 4096, 4096 + 103, 4096 + 110] {
            assert!(Head::parse(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(Head::parse(&vec![0; 9000]).is_err());
        let mut huge = head(ByteOrder::Little);
        huge.max_mapnr = u64::MAX;
        assert!(huge.layout().is_err());
    }
}
