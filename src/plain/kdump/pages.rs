//! The pages of a KDUMP file by their physical address: the rank of a page among those that are dumped leads to its
//! descriptor, that to its bytes.

use super::header::Header;
use super::{bytes_of, read_exact};
use crate::kdump::{DESC_LEN, DescFlags, PageDesc};
use crate::plain::foreign::Claimed;
use crate::plain::{Error, Place, codec};
use crate::read_at::{ReadAt, read_full_at};
use crate::units::{PfnRange, PfnSet};
use crate::vmcore::PhysSource;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Descriptors read at a time when all are looked through.
const DESCRIPTORS: u64 = 8192;
/// Pages read at once.
const AT_ONCE: usize = 64;
/// Pages of which parts are wanted again and again: page tables, page structures.
const KEPT: usize = 1024;

/// Runs of dumped pages with the number of pages before each.
pub(super) struct Dumped(Vec<(PfnRange, u64)>);

impl Dumped {
    pub(super) fn new(pages: &PfnSet) -> Dumped {
        let mut before = 0;
        let run = |run: PfnRange| {
            before += run.count();
            (run, before - run.count())
        };
        Dumped(pages.iter().map(run).collect())
    }

    /// The number of dumped pages before a dumped page, and how many follow it in its run, itself included.
    fn rank(&self, pfn: u64) -> Option<(u64, u64)> {
        let at = self.0.partition_point(|(run, _)| run.end.0 <= pfn);
        let (run, before) = self.0.get(at).filter(|(run, _)| run.start.0 <= pfn)?;
        Some((before + (pfn - run.start.0), run.end.0 - pfn))
    }
}

/// A KDUMP file's pages.
pub(super) struct StoredPages {
    pub file: Arc<dyn Place>,
    pub header: Header,
    pub dumped: Dumped,
}

impl StoredPages {
    /// The descriptors of `count` pages from a rank on.
    fn descs(&self, rank: u64, count: usize) -> Result<Vec<PageDesc>, Error> {
        let mut bytes = vec![0; count * DESC_LEN];
        let start = rank * DESC_LEN as u64 + self.header.descriptors;
        read_exact(self.file.as_ref(), &mut bytes, start)?;
        let desc = |bytes| PageDesc::parse(bytes, self.header.order);
        Ok(bytes.as_chunks::<DESC_LEN>().0.iter().map(desc).collect())
    }

    /// Whether a descriptor leads to bytes that are there: a collector that ran out of room leaves zeros.
    fn is_there(&self, desc: PageDesc) -> bool {
        let size = u64::from(desc.size);
        (1..=self.header.page.bytes()).contains(&size)
            && desc.offset >= self.header.descriptors
            && self.file.holds(desc.offset, size)
    }

    /// The dumped pages whose bytes are not in the file; those of the others, and the descriptors, are claimed.
    pub(super) fn find_lost(&self, dumped: &PfnSet, claimed: &mut Claimed) -> Result<PfnSet, Error> {
        let (mut lost, mut ahead) = (Vec::<PfnRange>::new(), Vec::new().into_iter());
        let (total, mut rank) = (dumped.count(), 0);
        claimed.add(self.header.descriptors, total * DESC_LEN as u64);
        for pfn in dumped.iter().flat_map(|run| run.start.0..run.end.0) {
            if ahead.len() == 0 {
                let count = usize::try_from((total - rank).min(DESCRIPTORS)).unwrap_or(0);
                // Where the file ends inside the table, the pages after that have no descriptor.
                ahead = self.descs(rank, count).or_else(|_| self.single_descs(rank, count))?.into_iter();
                rank += count as u64;
            }
            let there = ahead.next().filter(|desc| self.is_there(*desc));
            if let Some(desc) = there {
                claimed.add(desc.offset, desc.size.into());
            }
            match lost.last_mut() {
                _ if there.is_some() => {}
                Some(last) if last.end.0 == pfn => last.end.0 += 1,
                _ => lost.push(PfnRange::new(pfn, pfn + 1)),
            }
        }
        Ok(lost.into())
    }

    /// As far as descriptors are there, one by one; then such that lead nowhere.
    fn single_descs(&self, rank: u64, count: usize) -> Result<Vec<PageDesc>, Error> {
        let nowhere = PageDesc { offset: 0, size: 0, flags: DescFlags::RAW };
        let mut descs = Vec::new();
        for rank in (rank..).take(count) {
            let place = self.header.descriptors + rank * DESC_LEN as u64;
            if !self.file.holds(place, DESC_LEN as u64) {
                break;
            }
            descs.extend(self.descs(rank, 1)?);
        }
        descs.resize(count, nowhere);
        Ok(descs)
    }

    /// Fills `pages` with whole pages from a rank on.
    fn read(&self, rank: u64, pages: &mut [u8]) -> io::Result<()> {
        let page = self.header.page.len();
        let descs = self.descs(rank, pages.len() / page).map_err(io::Error::other)?;
        let mut stored = Stored { file: self.file.as_ref(), start: 0, bytes: Vec::new() };
        for (at, (desc, page)) in descs.iter().zip(pages.chunks_exact_mut(page)).enumerate() {
            if !self.is_there(*desc) {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the page is not in the file"));
            }
            codec::unpack(desc.flags, stored.get(*desc, &descs[at..])?, page)?;
        }
        Ok(())
    }
}

/// Stored bytes of neighbouring pages, which mostly are neighbours in the file too.
struct Stored<'a> {
    file: &'a dyn Place,
    start: u64,
    bytes: Vec<u8>,
}

impl Stored<'_> {
    /// The bytes of a page; `following` are its descriptor and those of the pages that are wanted next.
    fn get(&mut self, desc: PageDesc, following: &[PageDesc]) -> io::Result<&[u8]> {
        let size = usize::try_from(desc.size).unwrap_or(0);
        let inside = desc.offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let at = match inside.filter(|at| at.checked_add(size).is_some_and(|end| end <= self.bytes.len())) {
            Some(at) => at,
            None => {
                let mut end = desc.offset;
                let neighbours = following.iter().take_while(|next| {
                    let follows = next.offset == end;
                    end = if follows { end + u64::from(next.size) } else { end };
                    follows
                });
                let len: usize = neighbours.map(|next| usize::try_from(next.size).unwrap_or(0)).sum();
                self.bytes.resize(len, 0);
                self.start = desc.offset;
                let (file, start) = (self.file, self.start);
                let have = read_full_at(file, &mut self.bytes, start)?;
                self.bytes.truncate(have);
                0
            }
        };
        self.bytes.get(at..at + size).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

type Kept = Mutex<Option<(u64, Arc<Vec<u8>>)>>;

/// Reads memory by physical address, from several threads.
pub(super) struct PageReader {
    stored: StoredPages,
    kept: Vec<Kept>,
}

impl PageReader {
    pub(super) fn new(stored: StoredPages) -> PageReader {
        PageReader { stored, kept: (0..KEPT).map(|_| Mutex::default()).collect() }
    }

    /// A page of which a part is wanted.
    fn page(&self, pfn: u64, rank: u64) -> io::Result<Arc<Vec<u8>>> {
        let slot = &self.kept[usize::try_from(pfn % KEPT as u64).unwrap_or(0)];
        let lock = || slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, page)) = lock().as_ref().filter(|(kept, _)| *kept == pfn) {
            return Ok(Arc::clone(page));
        }
        let mut page = vec![0; self.stored.header.page.len()];
        self.stored.read(rank, &mut page)?;
        let page = Arc::new(page);
        *lock() = Some((pfn, Arc::clone(&page)));
        Ok(page)
    }
}

impl ReadAt for PageReader {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let page = self.stored.header.page;
        let (pfn, within) = (offset >> page.shift(), offset & (page.bytes() - 1));
        let missing = || io::Error::new(io::ErrorKind::NotFound, "the dump does not hold this page");
        let (rank, follow) = self.stored.dumped.rank(pfn).ok_or_else(missing)?;
        if within == 0 && out.len() >= page.len() {
            let pages = (out.len() / page.len()).min(AT_ONCE).min(usize::try_from(follow).unwrap_or(AT_ONCE));
            let len = pages * page.len();
            self.stored.read(rank, &mut out[..len])?;
            return Ok(len);
        }
        let within = usize::try_from(within).unwrap_or(0);
        let take = out.len().min(page.len() - within);
        out[..take].copy_from_slice(&self.page(pfn, rank)?[within..within + take]);
        Ok(take)
    }
}

impl PhysSource for PageReader {
    fn len(&self) -> u64 {
        bytes_of(self.stored.header.page, self.stored.header.max_mapnr).unwrap_or(u64::MAX)
    }
}
