//! The machine that is broken in every test: two segments, pages of every class, and the places in its vmcore where the
//! tests do damage.

use crate::common::faulty::Faulty;
use crate::common::pages::{Dump, collect, restore};
use crate::readers::{Found, Kdump};
use crate::synth::{Class, Content, Core, Page, Presence, Synth, arch, kernel};
use std::collections::BTreeSet;
use std::sync::Arc;
use vmcore_encrypt::vmcore::Vmcore;

pub(crate) const PAGE: u64 = 4096;
/// First page that is described.
pub(crate) const FIRST: u64 = 0xc00;
/// First page of the second segment: data that no table needs.
pub(crate) const SECOND: u64 = 0x8000;
/// The place of a segment's program header, and of its fields.
pub(crate) const HEADERS: u64 = 64 + 56;
pub(crate) const FILE_OFFSET: u64 = 8;
pub(crate) const FILE_SIZE: u64 = 32;
pub(crate) const MEMORY_SIZE: u64 = 40;

/// A machine that is well, in memory.
pub(crate) struct Machine {
    pub core: Core,
    pub bytes: Arc<Vec<u8>>,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine::of(
            Synth::new(arch::x86_64::four_level(), kernel::v6_12())
                .fill(Content::Pattern)
                .ram(0x10_0000..0x110_0000)
                .ram(SECOND * PAGE..(SECOND + 0x100) * PAGE)
                .page(FIRST, Page::free(6))
                .pages(FIRST + 0x40, 32, &Page::cache())
                .pages(FIRST + 0x80, 16, &Page::anon())
                .page(FIRST + 0x100, Page::slab().compound(3, false))
                .page(FIRST + 0x200, Page::thp(8))
                .pages(SECOND, 8, &Page::cache())
                .page(SECOND + 0x10, Page::free(4)),
        )
    }

    pub(crate) fn of(synth: Synth) -> Machine {
        let core = synth.build();
        Machine { bytes: Arc::new(core.to_bytes()), core }
    }

    pub(crate) fn source(&self) -> Faulty {
        Faulty::new(&self.bytes)
    }

    /// Where a page is in the file.
    pub(crate) fn offset(&self, pfn: u64) -> u64 {
        self.core.offsets_of(pfn * PAGE)[0]
    }

    /// A physical address with bytes of the builder's own.
    pub(crate) fn put(&self, source: Faulty, paddr: u64, bytes: &[u8]) -> Faulty {
        self.core.offsets_of(paddr).into_iter().fold(source, |source, at| source.patch(at, bytes))
    }

    pub(crate) fn u64_at(&self, paddr: u64) -> u64 {
        let at = usize::try_from(self.core.offsets_of(paddr)[0]).unwrap();
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    pub(crate) fn symbol(&self, name: &str) -> u64 {
        let line = format!("SYMBOL({name})=");
        let value = self.core.vmcoreinfo.lines().find_map(|text| text.strip_prefix(&line)).unwrap();
        u64::from_str_radix(value, 16).unwrap()
    }

    /// Physical address of the entry of the first memory section.
    pub(crate) fn section_entry(&self) -> u64 {
        let linear = self.core.arch.linear;
        self.u64_at(self.symbol("mem_section").wrapping_sub(linear)).wrapping_sub(linear)
    }

    /// Where VMCOREINFO is in the file.
    pub(crate) fn text_at(&self) -> u64 {
        let text = self.core.vmcoreinfo.as_bytes();
        self.bytes.windows(text.len()).position(|window| window == text).unwrap() as u64
    }

    /// Pages that the vmcore has data of and that are not excluded at `level`.
    pub(crate) fn kept(&self, level: u8) -> BTreeSet<u64> {
        (0..)
            .zip(self.core.classes(level.into()))
            .filter(|(_, c)| *c == Class::Kept)
            .map(|(p, _)| p)
            .collect()
    }

    pub(crate) fn with_data(&self) -> BTreeSet<u64> {
        (0..self.core.max_mapnr()).filter(|&pfn| self.core.presence(pfn) == Presence::Data).collect()
    }

    /// The pages whose structures lie on the frame that has that of `pfn`.
    pub(crate) fn sharing_structures(&self, pfn: u64) -> BTreeSet<u64> {
        let frames = &self.core.struct_frames;
        let lost = *frames.range(..=pfn).next_back().unwrap().1;
        frames.iter().filter(|(_, at)| **at == lost).flat_map(|(first, _)| *first..first + 64).collect()
    }

    /// Collects from `source`, restores, and compares every page: those of `expected` are there, with the bytes they
    /// have in the healthy machine, and no other is.
    pub(crate) fn check(&self, source: Faulty, level: u8, expected: &BTreeSet<u64>) -> Dump {
        let vmcore = Vmcore::from_source(Box::new(source)).unwrap();
        let dump = collect(&vmcore, level).unwrap_or_else(|error| panic!("{error}"));
        let file = tempfile::NamedTempFile::new().unwrap();
        restore(&dump.bytes, Some(file.path()));
        let kdump = Kdump::open(file.path());
        assert_eq!(pages_of(&kdump), *expected);
        self.compare(&kdump, "");
        dump
    }

    /// Every page that is there has the bytes it had in memory, in pages of the size that the dump says.
    pub(crate) fn compare(&self, kdump: &Kdump, name: &str) {
        let per_page = kdump.block as u64 / PAGE;
        let mut bytes = vec![0; kdump.block];
        for pfn in 0..kdump.max_mapnr {
            let Found::Bytes(found) = kdump.page(pfn) else { continue };
            for (part, bytes) in (pfn * per_page..).zip(bytes.chunks_mut(4096)) {
                self.core.read_page(part, bytes);
            }
            assert!(found == bytes, "{name}: {pfn:#x}");
        }
    }
}

/// The pages that a dump has data of.
pub(crate) fn pages_of(kdump: &Kdump) -> BTreeSet<u64> {
    (0..kdump.max_mapnr).filter(|&pfn| matches!(kdump.page(pfn), Found::Bytes(_))).collect()
}
