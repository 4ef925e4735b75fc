//! The files of `makedumpfile --split` as one dump: each has the bitmap of memory, and the pages of a range.
//!
//! Source: makedumpfile `makedumpfile.c` (`write_kdump_header`, `reassemble_kdump_pages`), crash `diskdump.c` (`KDUMP_SPLIT`).

use super::header::Header;
use super::pages::{Dumped, PageReader, StoredPages};
use super::{Bitmaps, Error, FilePart, Place, Tables, flaws, vmcore};
use crate::read_at::ReadAt;
use crate::units::{PageSize, Pfn, PfnRange, PfnSet, PhysAddr};
use crate::vmcore::{Flaw, PhysSource, Vmcore};
use std::io;
use std::sync::Arc;

/// A file with its headers, and the pages that it has.
struct Part {
    /// Its place among the files that were named, from 1 on.
    number: usize,
    file: Arc<dyn Place>,
    header: Header,
    range: PfnRange,
}

fn fail(why: impl Into<String>) -> Error {
    Error::Parts(why.into())
}

/// See [`super::KdumpFile::join`].
pub(super) fn join(files: Vec<Arc<dyn Place>>) -> Result<Vmcore, Error> {
    let mut parts = (1..).zip(files).map(open).collect::<Result<Vec<Part>, Error>>()?;
    parts.sort_by_key(|part| (part.range.start, part.range.end));
    let first = parts.first().ok_or_else(|| fail("there is none"))?;
    let bitmaps = parts.iter().map(|part| Bitmaps::read(part.file.as_ref(), &part.header));
    let bitmaps = bitmaps.collect::<Result<Vec<Bitmaps>, Error>>()?;
    // Each part has all of the first bitmap; where one was cut, another may have it whole.
    let whole = bitmaps.iter().find(|bitmaps| bitmaps.is_whole);
    let present = whole.or(bitmaps.first()).map(|bitmaps| bitmaps.present.clone()).unwrap_or_default();
    let is_whole = whole.is_some();
    check_ranges(&parts, &present)?;
    let mut header = first.header.clone();
    header.eraseinfo.clear();
    let (mut listed, mut lost, mut readers) = (Vec::new(), Vec::new(), Vec::new());
    let mut found = Vec::new();
    for (part, bitmaps) in parts.iter().zip(bitmaps) {
        check_same(&header, &part.header)?;
        if bitmaps.is_whole && bitmaps.present != present {
            return Err(fail("two of them are of other memory: they are no parts of one dump"));
        }
        // A part lists its own pages, or all of the dump.
        let own: PfnSet = bitmaps.listed.intersect(part.range).collect();
        let unknown = PfnRange { start: bitmaps.known.max(part.range.start), end: part.range.end };
        let unknown: Vec<PfnRange> = present.intersect(unknown).collect();
        listed.extend(own.iter().chain(unknown.iter().copied()));
        lost.extend(unknown);
        let (file, dumped) = (Arc::clone(&part.file), Dumped::new(&own));
        let stored = StoredPages { file, header: part.header.clone(), dumped };
        let mut claimed = part.header.claimed();
        let own = stored.find_lost(&own, &mut claimed)?;
        let flaws = flaws(part.file.as_ref(), &part.header, claimed, &own)?.into_iter();
        found.extend(flaws.map(|flaw| Flaw::InFile { number: part.number, flaw: Box::new(flaw) }));
        lost.extend(own.iter());
        readers.push((part.range, PageReader::new(stored)));
        if !header.eraseinfo.ends_with(&part.header.eraseinfo) {
            header.eraseinfo.extend_from_slice(&part.header.eraseinfo);
        }
    }
    // Each part has the notes; where one was cut, another may have them whole.
    let notes = parts.iter().find_map(|part| {
        let notes = part.header.notes(part.file.as_ref()).ok().filter(|notes| !notes.is_empty())?;
        Some(FilePart { file: Arc::clone(&part.file), parts: notes })
    });
    let notes = notes.unwrap_or(FilePart { file: Arc::clone(&first.file), parts: Vec::new() });
    let (listed, lost) = (listed.into_iter().collect(), lost.into_iter().collect());
    let tables = Tables { present, listed, lost, is_whole };
    let source = Joined { page: header.page, len: first.header.max_mapnr, readers };
    Ok(vmcore(&header, tables, notes, Box::new(source), found))
}

fn open((number, file): (usize, Arc<dyn Place>)) -> Result<Part, Error> {
    let header = Header::read(file.as_ref())?;
    let range = header.split.ok_or_else(|| fail("one of them is a whole dump"))?;
    Ok(Part { number, file, header, range })
}

/// No page may be in two parts, and none that exists in no part.
fn check_ranges(parts: &[Part], present: &PfnSet) -> Result<(), Error> {
    let mut end = Pfn(0);
    let missing = |range: PfnRange| match present.intersect(range).next() {
        Some(_) => {
            Err(fail(format!("the one with the pages {:#x} to {:#x} is missing", range.start.0, range.end.0)))
        }
        None => Ok(()),
    };
    for part in parts {
        if part.range.start < end && !part.range.is_empty() {
            return Err(fail(format!("two of them have page {:#x}", part.range.start.0)));
        }
        missing(PfnRange { start: end, end: part.range.start.max(end) })?;
        end = end.max(part.range.end);
    }
    let all = Pfn(parts.first().map_or(0, |part| part.header.max_mapnr));
    missing(PfnRange { start: end, end: all.max(end) })
}

/// Parts of one dump have the same facts.
fn check_same(one: &Header, other: &Header) -> Result<(), Error> {
    let facts = |header: &Header| {
        let Header { order, page, max_mapnr, level, crash_time, .. } = *header;
        (order, page, max_mapnr, level, crash_time)
    };
    let is_same = facts(one) == facts(other) && one.machine == other.machine && one.uts == other.uts;
    if is_same { Ok(()) } else { Err(fail("two of them are of different dumps")) }
}

/// The pages of all parts by their physical address.
struct Joined {
    page: PageSize,
    /// Pages.
    len: u64,
    readers: Vec<(PfnRange, PageReader)>,
}

impl ReadAt for Joined {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let pfn = self.page.pfn_of(PhysAddr(offset));
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no part of the dump holds this page");
        let at = self.readers.partition_point(|(range, _)| range.end <= pfn);
        let (_, reader) =
            self.readers.get(at).filter(|(range, _)| range.contains(pfn)).ok_or_else(missing)?;
        reader.read_at(out, offset)
    }
}

impl PhysSource for Joined {
    fn len(&self) -> u64 {
        super::bytes_of(self.page, self.len).unwrap_or(u64::MAX)
    }
}
