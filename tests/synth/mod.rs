//! Synthetic vmcores from a short description: RAM ranges, a kernel release, an architecture, and what each page
//! is used for. The builder writes every layout from its own numbers and uses nothing of the crate under test, so
//! a wrong layout there cannot agree with itself. [`Core`] then tells, from the description alone, what a reader
//! must find: which pages are present, their class at each dump level, their bytes, and the log.
//!
//! ```ignore
//! let core = Synth::new(arch::x86_64::four_level(), kernel::v6_12())
//!     .ram(0x10_0000..0x400_0000)
//!     .page(0x2000, Page::free(4))
//!     .page(0x2010, Page::cache())
//!     .build();
//! core.write_to(&path);
//! assert_eq!(core.classes(31)[0x2010], Class::Cache);
//! ```
#![allow(dead_code, unused_imports, reason = "each test program uses another part of the builder")]
#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a wrong description stops the test; numbers are the description's own"
)]

use std::collections::BTreeMap;
use std::ops::Range;

pub(crate) mod arch;
pub(crate) mod core;
pub(crate) mod description;
pub(crate) mod elf;
pub(crate) mod kernel;
pub(crate) mod memory;
pub(crate) mod page;
pub(crate) mod printk;
pub(crate) mod sections;
pub(crate) mod table;
pub(crate) mod vmcoreinfo;
pub(crate) mod zoo;

pub(crate) use arch::Arch;
pub(crate) use core::{Core, Presence};
pub(crate) use elf::Segment;
pub(crate) use kernel::Kernel;
pub(crate) use page::{Class, Content, Flag, Page, Word};
pub(crate) use printk::{Log, Message, Place, State};
pub(crate) use sections::Model;

use memory::Memory;
use table::Tables;
use vmcoreinfo::Info;

/// A vmcore being described.
#[derive(Clone)]
pub(crate) struct Synth {
    arch: Arch,
    kernel: Kernel,
    segments: Vec<Segment>,
    named: BTreeMap<u64, Page>,
    everywhere: Vec<(u64, Page)>,
    fill: Content,
    arena: Option<u64>,
    log: Log,
    cpus: usize,
    large_leaves: bool,
    phoff: u64,
    xnum: bool,
    model: Model,
    edits: Vec<(String, Option<String>)>,
    no_vmcoreinfo: bool,
    cut: usize,
    unmapped: Vec<u64>,
    offlined: Vec<u64>,
}

impl Synth {
    /// A machine without RAM.
    pub(crate) fn new(arch: Arch, kernel: Kernel) -> Synth {
        Synth {
            arch,
            kernel,
            segments: vec![],
            named: BTreeMap::new(),
            everywhere: vec![],
            fill: Content::Pattern,
            arena: None,
            log: Log::sample(),
            cpus: 2,
            large_leaves: false,
            phoff: 64,
            xnum: false,
            model: Model::Extreme,
            edits: vec![],
            no_vmcoreinfo: false,
            cut: 0,
            unmapped: vec![],
            offlined: vec![],
        }
    }

    /// RAM at physical addresses, all of it in the file.
    #[must_use]
    pub(crate) fn ram(self, range: Range<u64>) -> Synth {
        let len = range.end - range.start;
        self.segment(range.start, len, len)
    }

    /// A `PT_LOAD` of `mem` bytes at `paddr`, of which the first `file` are in the file. May overlap others.
    #[must_use]
    pub(crate) fn segment(mut self, paddr: u64, mem: u64, file: u64) -> Synth {
        let vaddr = self.arch.linear_va(paddr);
        self.segments.push(Segment { paddr, vaddr, mem, file });
        self
    }

    /// A `PT_LOAD` that describes RAM once more, under the kernel image's mapping, as kdump does.
    #[must_use]
    pub(crate) fn image(mut self, range: Range<u64>) -> Synth {
        let len = range.end - range.start;
        let vaddr = self.arch.image_va(range.start);
        self.segments.push(Segment { paddr: range.start, vaddr, mem: len, file: len });
        self
    }

    /// A description that starts at `pfn`.
    #[must_use]
    pub(crate) fn page(mut self, pfn: u64, page: Page) -> Synth {
        let before = self.named.range(..pfn + page.described()).next_back();
        let free = before.is_none_or(|(at, old)| at + old.described() <= pfn);
        assert!(free, "pfn {pfn:#x} is described twice");
        self.named.insert(pfn, page);
        self
    }

    /// The same description for `count` pages (or blocks) in turn.
    #[must_use]
    pub(crate) fn pages(mut self, pfn: u64, count: u64, page: &Page) -> Synth {
        let step = page.extent();
        for n in 0..count {
            self = self.page(pfn + n * step, page.clone());
        }
        self
    }

    /// Descriptions by pfn inside a section, for every section that has none of its own: large machines stay small,
    /// their struct pages are shared.
    #[must_use]
    pub(crate) fn everywhere(mut self, pattern: Vec<(u64, Page)>) -> Synth {
        self.everywhere = pattern;
        self
    }

    /// What pages hold that say nothing of their content.
    #[must_use]
    pub(crate) fn fill(self, fill: Content) -> Synth {
        Synth { fill, ..self }
    }

    /// Where the builder may place tables, struct pages and log; RAM from there on must suffice.
    #[must_use]
    pub(crate) fn arena(self, paddr: u64) -> Synth {
        Synth { arena: Some(paddr), ..self }
    }

    #[must_use]
    pub(crate) fn log(self, log: Log) -> Synth {
        Synth { log, ..self }
    }

    #[must_use]
    pub(crate) fn cpus(self, cpus: usize) -> Synth {
        Synth { cpus, ..self }
    }

    /// Map struct pages by the largest leaves that fit, where page tables map them.
    #[must_use]
    pub(crate) fn large_leaves(self) -> Synth {
        Synth { large_leaves: !self.arch.lists_vmemmap, ..self }
    }

    /// File offset of the program headers.
    #[must_use]
    pub(crate) fn phoff(self, phoff: u64) -> Synth {
        Synth { phoff, ..self }
    }

    /// Count the program headers by PN_XNUM.
    #[must_use]
    pub(crate) fn xnum(self) -> Synth {
        Synth { xnum: true, ..self }
    }

    #[must_use]
    pub(crate) fn model(self, model: Model) -> Synth {
        Synth { model, ..self }
    }

    /// Takes a VMCOREINFO key away.
    #[must_use]
    pub(crate) fn without_key(mut self, key: &str) -> Synth {
        self.edits.push((key.into(), None));
        self
    }

    /// Gives a VMCOREINFO key another value.
    #[must_use]
    pub(crate) fn with_key(mut self, key: &str, value: &str) -> Synth {
        self.edits.push((key.into(), Some(value.into())));
        self
    }

    /// No VMCOREINFO note at all.
    #[must_use]
    pub(crate) fn without_vmcoreinfo(self) -> Synth {
        Synth { no_vmcoreinfo: true, ..self }
    }

    /// The text of VMCOREINFO without its last `bytes`.
    #[must_use]
    pub(crate) fn cut_vmcoreinfo(self, bytes: usize) -> Synth {
        Synth { cut: bytes, ..self }
    }

    /// A section without struct pages: its pages cannot be judged.
    #[must_use]
    pub(crate) fn unmapped_section(mut self, section: u64) -> Synth {
        self.unmapped.push(section);
        self
    }

    /// A section of a memory block that was taken offline: without the mark of those that are online.
    #[must_use]
    pub(crate) fn offlined_section(mut self, section: u64) -> Synth {
        self.offlined.push(section);
        self
    }

    /// Lays everything out.
    pub(crate) fn build(self) -> Core {
        let order = self.arch.order;
        let mut memory = Memory::new(order, self.arena.unwrap_or(self.arch.ram + 0x20_0000));
        let mut info = Info::default();
        let mut tables = self.root(&mut memory, &mut info);
        self.utsname(&mut memory, &mut info);
        let placed = self.log.place(self.kernel.log, &mut memory, &|pa| self.arch.image_va(pa));
        let named = placed.places.iter().filter(|(name, _)| *name != "text");
        named.for_each(|(name, pa)| info.symbol(name, self.arch.image_va(*pa)));
        info.log(self.kernel.log);
        let struct_frames = self.struct_pages(&mut memory, &mut tables, &mut info);
        (self.arch.finish)(&mut arch::Finish {
            arch: &self.arch,
            info: &mut info,
            memory: &mut memory,
            frames: &struct_frames,
            end: self.segments.iter().map(Segment::end).max().unwrap_or(0),
        });
        self.map_kernel(&mut memory, &mut tables);
        self.edits.iter().for_each(|(key, value)| info.edit(key, value.as_deref()));
        self.check_arena(&memory);
        let mut text = info.text();
        text.truncate(text.len() - self.cut);
        let arrangement =
            elf::Arrangement { e_machine: self.arch.e_machine, order, phoff: self.phoff, xnum: self.xnum };
        let head = elf::head(arrangement, &self.notes(&text), &self.segments);
        Core {
            log: self.log.text(self.kernel.log, &placed.surviving),
            log_since_clear: self.log.text(self.kernel.log, &placed.since_clear(self.log.clear_seq)),
            log_places: placed.places,
            arch: self.arch,
            kernel: self.kernel,
            segments: self.segments,
            vmcoreinfo: text,
            cpus: self.cpus,
            struct_frames,
            head,
            memory,
            named: self.named,
            everywhere: self.everywhere,
            fill: self.fill,
            unmapped: self.unmapped,
            offlined: self.offlined,
        }
    }

    /// An empty root table, and the keys that lead to it.
    fn root(&self, memory: &mut Memory, info: &mut Info) -> Tables {
        info.plain("OSRELEASE", self.kernel.release);
        info.plain("BUILD-ID", "0123456789abcdef0123456789abcdef01234567");
        info.plain("PAGESIZE", &self.arch.page().to_string());
        let size = Tables::size(&self.arch.levels, 0);
        let root = memory.alloc(size, size.max(0x20_0000));
        info.symbol("swapper_pg_dir", self.arch.image_va(root));
        info.symbol("_stext", self.arch.image_va(root));
        (self.arch.keys)(info, self.arch.image_va(root));
        info.plain("CRASHTIME", "1700000000");
        Tables::new(memory, &self.arch.levels, self.arch.table_order, root)
    }

    /// `init_uts_ns`: six fields of 65 bytes.
    fn utsname(&self, memory: &mut Memory, info: &mut Info) {
        let at = memory.alloc(512, 64);
        info.symbol("init_uts_ns", self.arch.image_va(at));
        let name = if self.kernel.uts_key { 0 } else { 4 };
        if self.kernel.uts_key {
            info.offset("uts_namespace.name", 0);
        }
        let version = "#1 SMP synth";
        let fields = ["Linux", "synth", self.kernel.release, version, self.arch.name, "(none)"];
        for (n, field) in (0u64..).zip(fields) {
            memory.write(at + name + n * 65, field.as_bytes());
        }
    }

    fn struct_pages(&self, memory: &mut Memory, tables: &mut Tables, info: &mut Info) -> BTreeMap<u64, u64> {
        let mut present = core::sections(&self.segments, &self.arch);
        present.retain(|section| !self.unmapped.contains(section));
        let pages = sections::Pages { named: &self.named, everywhere: &self.everywhere };
        let mut placer = sections::Sections {
            arch: &self.arch,
            kernel: &self.kernel,
            memory,
            tables,
            large_leaves: self.large_leaves,
            offlined: &self.offlined,
            frames: BTreeMap::new(),
        };
        let directory = placer.place(&present, &pages, self.model);
        let frames = placer.frames;
        if self.model == Model::Flat {
            let pointer = memory.alloc(8, 8);
            let first = self.arch.ram >> self.arch.page_shift;
            let base = if self.arch.name == "riscv64" { first * 64 } else { 0 };
            memory.put_u64(pointer, self.arch.vmemmap.wrapping_add(base));
            info.symbol("mem_map", self.arch.image_va(pointer));
        } else {
            self.section_keys(info, directory);
        }
        info.pages(&self.kernel);
        if self.kernel.vmemmap && self.model != Model::Flat {
            info.symbol("vmemmap", self.arch.vmemmap);
        }
        frames
    }

    fn section_keys(&self, info: &mut Info, directory: u64) {
        let total = 1u64 << (self.arch.physmem_bits - self.arch.section_bits);
        info.symbol("mem_section", directory);
        let length = if self.model == Model::Static { total } else { self.arch.roots() };
        info.length("mem_section", length);
        info.size("mem_section", self.arch.section_entry);
        info.offset("mem_section.section_mem_map", 0);
        if self.kernel.sparse_bits {
            info.number("SECTION_SIZE_BITS", self.arch.section_bits.into());
            info.number("MAX_PHYSMEM_BITS", self.arch.physmem_bits.into());
        }
    }

    /// Linear map of all RAM, and the image mapping of what the builder placed.
    fn map_kernel(&self, memory: &mut Memory, tables: &mut Tables) {
        let page = self.arch.page();
        let (linear, image) = self.arch.walked;
        if linear {
            for (start, end) in merged(&self.segments, page) {
                tables.map_range(memory, self.arch.linear_va(start), start, end - start);
            }
        }
        if image {
            let (start, end) = memory.used();
            let step = 0x20_0000u64.max(page);
            let (start, end) = (start / step * step, end.next_multiple_of(step));
            tables.map_range(memory, self.arch.image_va(start), start, end - start);
        }
    }

    fn notes(&self, text: &str) -> Vec<u8> {
        let order = self.arch.order;
        let mut notes = Vec::new();
        for cpu in 0..self.cpus {
            let mut status = vec![0; self.arch.prstatus];
            status[32..36].copy_from_slice(&order.u32(cpu as u32 + 1));
            notes.extend(elf::note(order, "CORE", 1, &status));
        }
        if !self.no_vmcoreinfo {
            notes.extend(elf::note(order, "VMCOREINFO", 0, text.as_bytes()));
        }
        notes
    }

    /// What the builder placed must lie in RAM that no description claims.
    fn check_arena(&self, memory: &Memory) {
        let (start, end) = memory.used();
        let inside = self.segments.iter().any(|s| s.paddr <= start && end <= s.file_end());
        assert!(inside, "RAM must hold the builder's own {start:#x}..{end:#x}");
        let page = self.arch.page();
        for (&pfn, page_at) in &self.named {
            let (from, to) = (pfn * page, (pfn + page_at.extent()) * page);
            assert!(
                to <= start || from >= end,
                "pfn {pfn:#x} lies in the builder's own {start:#x}..{end:#x}"
            );
        }
    }
}

/// RAM as disjoint page-aligned ranges, ascending.
fn merged(segments: &[Segment], page: u64) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> =
        segments.iter().map(|s| (s.paddr / page * page, s.end().next_multiple_of(page))).collect();
    ranges.sort_unstable();
    let mut all: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match all.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => all.push((start, end)),
        }
    }
    all
}
