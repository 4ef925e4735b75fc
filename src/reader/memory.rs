//! A dump as the memory and the notes of a vmcore, for the rooms that work on one.

use super::elf_view::copy_part;
use super::{Dump, Page};
use crate::read_at::ReadAt;
use crate::units::{Pfn, PfnSet, PhysAddr, VirtAddr};
use crate::vmcore::{self, Machine, Origin, Pages, PhysSource, Segment, Vmcore};
use std::io;
use std::sync::Arc;

impl Dump {
    /// The crashed kernel's memory for the rooms that work on a vmcore: address translation, the log, filters.
    /// Excluded pages cannot be read through it.
    ///
    /// # Errors
    /// No cause at present: what is broken in the notes is among [`Vmcore::flaws`].
    pub fn vmcore(self: &Arc<Dump>) -> Result<Vmcore, vmcore::Error> {
        Ok(Vmcore::from_pages(self.pages()))
    }

    /// What that vmcore is made of.
    #[must_use]
    pub fn pages(self: &Arc<Dump>) -> Pages {
        let (facts, kdump) = (self.facts(), &self.head().kdump);
        let segments = facts.segments.iter().map(|segment| Segment {
            paddr: PhysAddr(segment.paddr),
            vaddr: VirtAddr(segment.vaddr),
            file_offset: 0,
            file_size: 0,
            mem_size: segment.size,
        });
        let held: PfnSet = self.index.runs().iter().map(super::index::Run::pages).collect();
        Pages {
            byte_order: kdump.order,
            machine: Machine::from_elf(facts.machine),
            page_size: self.head().page,
            segments: segments.collect(),
            notes: Box::new(DumpNotes(Arc::clone(self))),
            present: self.present().clone(),
            held,
            lost: PfnSet::default(),
            source: Box::new(DumpMemory(Arc::clone(self))),
            origin: Origin {
                kind: "an encrypted dump",
                level: facts.dump_level,
                uts: kdump.uts.0.to_vec(),
                crash_time: facts.crash_time,
                cpus: kdump.nr_cpus,
                phys_base: kdump.phys_base,
                eraseinfo: kdump.eraseinfo.clone(),
                lost: self.tail().map_or(0, |tail| tail.pages.lost()),
                // Of one part the other pages are elsewhere.
                complete: self.is_complete() && facts.part.is_none(),
                live: facts.live,
            },
        }
    }
}

/// The memory: positions are physical addresses.
struct DumpMemory(Arc<Dump>);

impl ReadAt for DumpMemory {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let page = self.0.head().page;
        let within = usize::try_from(offset & (page.bytes() - 1)).unwrap_or(0);
        let take = out.len().min(page.len() - within);
        let out = &mut out[..take];
        match self.0.page(Pfn(offset >> page.shift())).map_err(io::Error::other)? {
            Page::Data(bytes) => out.copy_from_slice(&bytes[within..within + take]),
            Page::Zero => out.fill(0),
            Page::Excluded | Page::Absent => {
                return Err(io::Error::other("the dump does not hold this page"));
            }
        }
        Ok(take)
    }
}

impl PhysSource for DumpMemory {
    fn len(&self) -> u64 {
        u64::MAX
    }
}

/// The notes, one after the other.
struct DumpNotes(Arc<Dump>);

impl ReadAt for DumpNotes {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let take = out.len().min(usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX));
        let out = &mut out[..take];
        let notes = &self.0.head().kdump.notes;
        out.fill(0);
        copy_part(out, offset, notes, 0);
        self.0.copy_streamed_notes(out, offset, notes.len() as u64).map_err(io::Error::other)?;
        Ok(take)
    }
}

impl PhysSource for DumpNotes {
    fn len(&self) -> u64 {
        let kdump = &self.0.head().kdump;
        (kdump.notes.len() as u64).saturating_add(kdump.streamed)
    }
}
