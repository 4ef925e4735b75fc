//! A KDUMP file as a vmcore: header versions 1 to 6, pages of every codec, incomplete ones. Its tables are read by
//! position; in memory are runs of pages alone. Source: makedumpfile `diskdump_mod.h` and crash `diskdump.h` (structs
//! `disk_dump_header`, `kdump_sub_header`, `page_desc`), crash `diskdump.c` for what readers make of older versions.

mod header;
mod pages;
mod parts;

use super::foreign::Claimed;
use super::{Error, Place, codec, overwritten};
use crate::kdump::{DescFlags, SIGNATURE};
use crate::read_at::{ReadAt, read_full_at};
use crate::units::{PageSize, Pfn, PfnRange, PfnSet, PhysAddr, VirtAddr};
use crate::vmcore::{Flaw, Origin, Pages, PhysSource, Segment, Vmcore};
use header::Header;
use pages::{Dumped, PageReader, StoredPages};
use std::io;
use std::sync::Arc;

/// Bytes of a bitmap read at a time.
const PIECE: usize = 256 << 10;
/// More runs of pages than this are not taken: 512 MiB of memory. No machine has them at a level that is used.
const MAX_RUNS: usize = 1 << 25;

/// Whether bytes are the start of a KDUMP file.
pub(super) fn is_kdump(start: &[u8]) -> bool {
    start.starts_with(SIGNATURE)
}

/// A KDUMP file.
pub(super) struct KdumpFile;

impl KdumpFile {
    /// Opens it.
    pub(super) fn open(file: Arc<dyn Place>) -> Result<Vmcore, Error> {
        let header = Header::read(file.as_ref())?;
        if let Some(PfnRange { start, end }) = header.split {
            return Err(Error::Part { start: start.0, end: end.0 });
        }
        let bitmaps = Bitmaps::read(file.as_ref(), &header)?;
        let dumped = Dumped::new(&bitmaps.listed);
        let stored = StoredPages { file: Arc::clone(&file), header: header.clone(), dumped };
        let mut claimed = header.claimed();
        let lost = stored.find_lost(&bitmaps.listed, &mut claimed)?;
        let notes = header.notes(file.as_ref())?;
        let flaws = flaws(file.as_ref(), &header, claimed, &lost)?;
        let tables = bitmaps.tables(&lost);
        let notes = FilePart { file, parts: notes };
        Ok(vmcore(&header, tables, notes, Box::new(PageReader::new(stored)), flaws))
    }

    /// Opens all files that one dump was split into, in any order.
    pub(super) fn join(files: Vec<Arc<dyn Place>>) -> Result<Vmcore, Error> {
        parts::join(files)
    }
}

/// Pages that exist, those that the dump lists, and those of them that it lacks.
struct Tables {
    present: PfnSet,
    listed: PfnSet,
    lost: PfnSet,
    /// Whether a cut took none of what exists.
    is_whole: bool,
}

/// What the two bitmaps have.
struct Bitmaps {
    /// Pages that exist.
    present: PfnSet,
    /// Pages that are listed, of those before `known`.
    listed: PfnSet,
    /// From here on a cut took bits that tell which pages are listed. A later bit is of no use: descriptors are found by
    /// how many pages are listed before.
    known: Pfn,
    /// Whether the first bitmap is whole.
    is_whole: bool,
}

impl Bitmaps {
    fn read(file: &dyn Place, header: &Header) -> Result<Bitmaps, Error> {
        let [known1, known] =
            [header.bitmap1, header.bitmap2].map(|bitmap| known_pages(file, bitmap, header));
        let first = read_bitmap(file, header.bitmap1, header)?;
        let second = if header.bitmap2 == header.bitmap1 {
            first.clone()
        } else {
            read_bitmap(file, header.bitmap2, header)?
        };
        // A page that is dumped exists, whatever the first bitmap has.
        let present: PfnSet = first.iter().chain(second.iter()).collect();
        let listed = second.intersect(PfnRange { start: Pfn(0), end: known }).collect();
        Ok(Bitmaps { present, listed, known, is_whole: known1 == Pfn(header.max_mapnr) })
    }

    /// With the pages that the dump lists and lacks. Whatever exists may have been listed.
    fn tables(self, lost: &PfnSet) -> Tables {
        let Bitmaps { present, listed, known, is_whole } = self;
        let unknown: Vec<PfnRange> =
            present.intersect(PfnRange { start: known, end: Pfn(u64::MAX) }).collect();
        let with = |set: &PfnSet| set.iter().chain(unknown.iter().copied()).collect();
        Tables { listed: with(&listed), lost: with(lost), present, is_whole }
    }
}

/// How many pages a bitmap tells of, from the first on, before a byte that a cut took.
fn known_pages(file: &dyn Place, bitmap: u64, header: &Header) -> Pfn {
    let (mut known, mut more) = (0, header.max_mapnr.div_ceil(8));
    if !file.is_cut() || file.holds(bitmap, more) {
        return Pfn(header.max_mapnr);
    }
    // The first `known` bytes are there, the first `more` are not.
    while more - known > 1 {
        let middle = known.midpoint(more);
        if file.holds(bitmap, middle) { known = middle } else { more = middle }
    }
    Pfn(known * 8)
}

/// What of a file is not as it should be, `lost` pages aside. Of one that lacks pages it is not known what else it had.
fn flaws(file: &dyn Place, header: &Header, claimed: Claimed, lost: &PfnSet) -> Result<Vec<Flaw>, Error> {
    let marked = header.is_marked_incomplete().then_some(Flaw::MarkedIncomplete);
    let is_whole = lost.is_empty() && !file.is_cut() && header.flaws().next().is_none();
    let own = if is_whole { claimed.flaw(file, |bytes| is_zero_page(bytes, header.page))? } else { None };
    let of_header = header.flaws().chain(marked.filter(|_| lost.is_empty()));
    Ok(of_header.chain(own).chain(file.flaw()).chain(overwritten(file, header.descriptors)).collect())
}

/// Whether bytes are a compressed page of zeros and no byte more: a collector stores one for all pages of zeros, whether
/// there are such pages or not.
fn is_zero_page(stored: &[u8], page: PageSize) -> bool {
    let mut bytes = vec![0; page.len()];
    let Some((_, shorter)) = stored.split_last() else { return true };
    [DescFlags::ZLIB, DescFlags::LZO, DescFlags::SNAPPY, DescFlags::ZSTD].into_iter().any(|flags| {
        codec::unpack(flags, shorter, &mut bytes).is_err()
            && codec::unpack(flags, stored, &mut bytes).is_ok_and(|()| bytes.iter().all(|&byte| byte == 0))
    })
}

/// The dump as a vmcore.
fn vmcore(
    header: &Header,
    tables: Tables,
    notes: FilePart,
    source: Box<dyn PhysSource>,
    flaws: Vec<Flaw>,
) -> Vmcore {
    let Tables { present, listed, lost, is_whole } = tables;
    let mut vmcore = Vmcore::from_pages(Pages {
        byte_order: header.order,
        machine: header.machine,
        page_size: header.page,
        segments: segments(header, &present),
        notes: Box::new(notes),
        present,
        held: listed.without(&lost),
        lost,
        origin: Origin { complete: is_whole, ..origin(header) },
        source,
    });
    flaws.into_iter().for_each(|flaw| vmcore.add_flaw(flaw));
    vmcore
}

/// What its collector recorded. What it lost is in the set of lost pages.
fn origin(header: &Header) -> Origin {
    Origin {
        kind: "a kdump-compressed file",
        level: header.level,
        uts: header.uts.clone(),
        crash_time: header.crash_time,
        cpus: header.cpus,
        phys_base: header.phys_base,
        eraseinfo: header.eraseinfo.clone(),
        lost: 0,
        complete: true,
        live: false,
    }
}

/// The memory ranges: a KDUMP file has a bitmap alone. On x86-64 the kernel image's mapping follows from `phys_base`, which
/// VMCOREINFO has since commit 401721ecd1dc ("kexec: export the value of phys_base instead of symbol address") (in v4.10).
fn segments(header: &Header, present: &PfnSet) -> Vec<Segment> {
    let page = header.page;
    let segment = |vaddr, paddr, mem_size| Segment {
        paddr: PhysAddr(paddr),
        vaddr: VirtAddr(vaddr),
        file_offset: 0,
        file_size: 0,
        mem_size,
    };
    let mut segments: Vec<Segment> = present
        .iter()
        .map(|range| segment(0, range.start.0 << page.shift(), range.count() << page.shift()))
        .collect();
    segments.extend(
        header.image(present).map(|(vaddr, range)| {
            segment(vaddr, range.start.0 << page.shift(), range.count() << page.shift())
        }),
    );
    segments
}

/// The pages of a bitmap.
fn read_bitmap(file: &dyn Place, bitmap: u64, header: &Header) -> Result<PfnSet, Error> {
    let bytes = header.max_mapnr.div_ceil(8);
    let mut runs = Runs::default();
    let mut piece = vec![0; PIECE];
    for start in (0..bytes).step_by(PIECE) {
        let len = usize::try_from(bytes - start).unwrap_or(PIECE).min(PIECE);
        read_exact(file, &mut piece[..len], bitmap + start)?;
        runs.take(&piece[..len], start * 8, header.max_mapnr)?;
    }
    Ok(runs.finish())
}

/// Runs of set bits.
#[derive(Default)]
struct Runs {
    list: Vec<PfnRange>,
    open: Option<u64>,
    end: u64,
}

impl Runs {
    /// Takes the next bits, of which the first is `first`; those from `limit` on do not count.
    fn take(&mut self, bytes: &[u8], first: u64, limit: u64) -> Result<(), Error> {
        for (&byte, pfn) in bytes.iter().zip((first..).step_by(8)) {
            match (byte, self.open) {
                (0, None) | (0xff, Some(_)) => {}
                _ => (pfn..(pfn + 8).min(limit)).for_each(|bit| self.bit(bit, byte >> (bit - pfn) & 1 == 1)),
            }
        }
        self.end = (first + bytes.len() as u64 * 8).min(limit);
        if self.list.len() > MAX_RUNS {
            return Err(Error::Kdump(format!("its bitmap has more than {MAX_RUNS} runs of pages")));
        }
        Ok(())
    }

    fn bit(&mut self, pfn: u64, is_set: bool) {
        match (self.open, is_set) {
            (None, true) => self.open = Some(pfn),
            (Some(start), false) => {
                self.list.push(PfnRange::new(start, pfn));
                self.open = None;
            }
            _ => {}
        }
    }

    fn finish(mut self) -> PfnSet {
        self.bit(self.end, false);
        self.list.into()
    }
}

/// Fills `out`; that the file has so much was not checked.
fn read_exact(file: &dyn Place, out: &mut [u8], offset: u64) -> Result<(), Error> {
    let have = read_full_at(file, out, offset).map_err(Error::Read)?;
    if have < out.len() {
        return Err(Error::Kdump(format!("it is cut at {:#x}, inside its tables", offset + have as u64)));
    }
    Ok(())
}

/// A part of the notes: bytes in memory, or a place in the file.
pub(super) enum Part {
    Bytes(Vec<u8>),
    Place { offset: u64, len: u64 },
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::Place { len, .. } => *len,
        }
    }
}

/// The notes, part after part.
struct FilePart {
    file: Arc<dyn Place>,
    parts: Vec<Part>,
}

impl ReadAt for FilePart {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut start = 0;
        for part in &self.parts {
            let end = start + part.len();
            if offset < end {
                let room = usize::try_from(end - offset).unwrap_or(usize::MAX).min(out.len());
                let within = offset - start;
                return match part {
                    Part::Place { offset, .. } => self.file.read_at(&mut out[..room], offset + within),
                    Part::Bytes(bytes) => {
                        let within = usize::try_from(within).unwrap_or(0);
                        out[..room].copy_from_slice(&bytes[within..within + room]);
                        Ok(room)
                    }
                };
            }
            start = end;
        }
        Ok(0)
    }
}

impl PhysSource for FilePart {
    fn len(&self) -> u64 {
        self.parts.iter().map(Part::len).sum()
    }
}

/// A page's address range, in bytes, of the pages before a number.
fn bytes_of(page: PageSize, pages: u64) -> Option<u64> {
    pages.checked_mul(page.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_zeros_is_told_from_other_bytes() {
        use crate::compress::{Codec, PageCompressor};
        for codec in [Codec::Zlib, Codec::Lzo, Codec::Snappy, Codec::Zstd] {
            let mut compressor = PageCompressor::new(codec).unwrap();
            let mut packed = |page: &[u8]| {
                let mut out = Vec::new();
                compressor.append(page, &mut out);
                out
            };
            let mut page = vec![0; 4096];
            let zeros = packed(&page);
            assert!(is_zero_page(&zeros, PageSize::K4), "{codec:?}");
            assert!(!is_zero_page(&[&zeros[..], b"x"].concat(), PageSize::K4), "{codec:?}");
            page[4095] = 1;
            assert!(!is_zero_page(&packed(&page), PageSize::K4), "{codec:?}");
        }
    }

    #[test]
    fn runs_are_found_bit_by_bit() {
        let bits = [0b0000_0110, 0xff, 0x01, 0, 0xff, 0b1000_0000, 0xff];
        for split in 0..bits.len() {
            let mut runs = Runs::default();
            runs.take(&bits[..split], 0, 52).unwrap();
            runs.take(&bits[split..], split as u64 * 8, 52).unwrap();
            let expected =
                [(1, 3), (8, 17), (32, 40), (47, 52)].map(|(start, end)| PfnRange::new(start, end));
            assert_eq!(runs.finish().ranges(), expected, "{split}");
        }
        assert!(Runs::default().finish().is_empty());
    }
}
