//! The allocators by the kernel's own types: where CPUs keep their lists of free pages, how many pages each counts, the
//! type of pages that zsmalloc fills, and where slabs lead to the name of their cache. For the filter, in the memory of
//! the collector: symbols are streamed, and the types are dropped once a few numbers of them are known. What the lists
//! hold is the filter's matter.
//!
//! Source: Linux `include/linux/mmzone.h` (`struct zone.per_cpu_pageset`, `struct per_cpu_pages`; until v5.13 `zone.pageset`
//! and `struct per_cpu_pageset.pcp`), `mm/page_alloc.c` (`pindex_to_order`). Lists of larger blocks since commit
//! 44042b449872 ("mm/page_alloc: allow high-order pages to be stored on the per-cpu lists") (in v5.14). `mm/slab.h`
//! (`struct slab.slab_cache`, `struct kmem_cache.name`); until v5.16 `struct page.slab_cache`.

use super::btf::{Btf, Member, Shape, TypeId};
use super::bytes::Reader;
use super::{Error, Kallsyms, MAX_CPUS};
use crate::mm::{KernelRead, SlabPlace};
use crate::units::VirtAddr;

/// The most bytes of types that are read: those of a kernel take 4 to 7 MB, a collector has 16 MiB for everything.
const MAX_TYPES: u64 = 10 << 20;
/// The most nodes of a machine, and zones of a node. Source: Linux `CONFIG_NODES_SHIFT`, at most 10; `enum zone_type`, at
/// most 6.
const MAX_NODES: u32 = 1 << 10;
const MAX_ZONES: u32 = 16;
/// The most lists of a CPU for a zone; kernels so far have 3 to 14.
const MAX_LISTS: u32 = 64;
/// Numbers that a page type can have: what is above is the count of a page without one, what is below a count that is in
/// use. Source: Linux `include/linux/page-flags.h`, `enum pagetype`.
const PAGE_TYPES: std::ops::Range<u8> = 0xf0..0xff;
/// Bytes of a `struct list_head`.
const LIST_HEAD: u64 = 16;
/// The order of the largest blocks that have lists of their own each; what is larger is of the order of a huge page.
/// Source: Linux `include/linux/mmzone.h`, `PAGE_ALLOC_COSTLY_ORDER`.
const COSTLY_ORDER: u64 = 3;

/// The symbols that lead there, in the order of [`Symbols`].
const SYMBOLS: [&str; 7] = [
    "__start_BTF",
    "__stop_BTF",
    "node_data",
    "contig_page_data",
    "nr_node_ids",
    "__per_cpu_offset",
    "nr_cpu_ids",
];

/// What the kernel's types tell of its page allocator.
#[derive(Clone, Debug)]
pub struct Allocator {
    /// The lists of free pages of CPUs.
    pub pagesets: Pagesets,
    /// The highest byte of `page_type` of a page that zsmalloc fills; `None` on kernels before v6.12, where page types are
    /// flags, and on those built without.
    pub zsmalloc: Option<u8>,
    /// The same of a page that is a page table.
    pub page_tables: Option<u8>,
    /// Where the page structure of a slab leads to its cache, and that to its name.
    pub slabs: Option<SlabPlace>,
}

/// Where every CPU keeps its lists of free pages of every zone.
#[derive(Clone, Debug)]
pub struct Pagesets {
    /// Addresses of per-CPU structures, before the offset of a CPU is added; of each zone one.
    zones: Vec<u64>,
    /// The offsets of CPUs, ascending.
    cpus: Vec<u64>,
    layout: Layout,
}

/// Where members are in the per-CPU structure.
#[derive(Clone, Copy, Debug)]
struct Layout {
    count: u64,
    lists: u64,
    /// Number of lists, and how many there are of each order.
    number: u32,
    kinds: u32,
}

/// The lists of one CPU for one zone.
#[derive(Clone, Copy, Debug)]
pub struct Pageset {
    at: VirtAddr,
    layout: Layout,
}

impl Allocator {
    /// Reads it out of a kernel whose VMCOREINFO leads to its symbols.
    ///
    /// # Errors
    ///
    /// The kernel does not describe itself, or not as any kernel does.
    pub fn read(memory: &dyn KernelRead) -> Result<Allocator, Error> {
        let found = Kallsyms::led_to(memory)?.find(&SYMBOLS)?;
        let mut found = found.into_iter();
        let symbols = Symbols { memory: Reader(memory), places: SYMBOLS.map(|_| found.next().flatten()) };
        let types = symbols.types(memory)?;
        let named = Named::find(&types);
        let (variable, layout) = Layout::of(&named)?;
        let zones = symbols.zones(&named, variable)?;
        let cpus = symbols.cpus(&named)?;
        let pagesets = Pagesets { zones, cpus, layout };
        let [zsmalloc, page_tables] =
            ["PGTY_zsmalloc", "PGTY_table"].map(|enumerator| page_type(&named, enumerator));
        Ok(Allocator { pagesets, zsmalloc, page_tables, slabs: slabs(&named) })
    }
}

/// Since Linux commit 4ffca5a96678 ("mm: support only one page_type per page") (in v6.12) a type is the highest byte.
fn page_type(named: &Named<'_>, enumerator: &str) -> Option<u8> {
    let value = named.value("pagetype", enumerator)?;
    u8::try_from(value).ok().filter(|kind| PAGE_TYPES.contains(kind))
}

/// Since Linux commit d122019bf061 ("mm: Split slab into its own type") (in v5.17) a slab is a structure of its own, in the
/// place of the page structure.
fn slabs(named: &Named<'_>) -> Option<SlabPlace> {
    let pointer = |name, path| {
        let member = named.member(name, path);
        let member = member.filter(|member| matches!(named.types.shape(member.type_id), Shape::Pointer(_)));
        usize::try_from(member?.offset()).ok()
    };
    let cache = pointer("slab", "slab_cache").or_else(|| pointer("page", "slab_cache"))?;
    Some(SlabPlace { cache, name: pointer("kmem_cache", "name")? })
}

/// The types that are asked for, found in one pass.
struct Named<'t> {
    types: &'t Btf<'t>,
    ids: Vec<Vec<TypeId>>,
}

impl<'t> Named<'t> {
    const NAMES: [&'static str; 8] =
        ["zone", "pglist_data", "migratetype", "pagetype", "cpumask", "slab", "page", "kmem_cache"];

    fn find(types: &'t Btf<'t>) -> Named<'t> {
        Named { types, ids: types.find_all(&Named::NAMES) }
    }

    /// All types of a name.
    fn all(&self, name: &str) -> impl Iterator<Item = TypeId> {
        let nth = Named::NAMES.iter().position(|other| *other == name);
        nth.and_then(|nth| self.ids.get(nth)).into_iter().flatten().copied()
    }

    /// The member of the first structure of the name that has it.
    fn member(&self, name: &str, path: &str) -> Option<Member> {
        self.all(name).find_map(|id| self.types.member(id, path))
    }

    /// The value of an enumerator.
    fn value(&self, name: &str, enumerator: &str) -> Option<i64> {
        self.all(name).find_map(|id| self.types.value_in(id, enumerator))
    }
}

/// Where symbols are, those of [`SYMBOLS`] that there are.
struct Symbols<'a> {
    memory: Reader<'a>,
    places: [Option<VirtAddr>; SYMBOLS.len()],
}

impl Symbols<'_> {
    fn at(&self, nth: usize) -> Result<VirtAddr, Error> {
        let name = SYMBOLS.get(nth).copied().unwrap_or_default();
        self.places.get(nth).copied().flatten().ok_or_else(|| Error::NoSymbol(name.to_owned()))
    }

    fn types(&self, memory: &dyn KernelRead) -> Result<Btf<'static>, Error> {
        let (start, stop) = (self.at(0)?, self.at(1)?);
        let len = stop.0.wrapping_sub(start.0);
        let absurd = Error::Absurd { what: "length of the type information", value: len };
        let len = usize::try_from(len).ok().filter(|_| len <= MAX_TYPES).ok_or(absurd)?;
        Btf::parse(self.memory.vec(start, len, "the type information")?, memory.byte_order())
    }

    /// The addresses of the nodes: those that a table has, or the only one.
    fn nodes(&self) -> Result<Vec<VirtAddr>, Error> {
        let Ok(table) = self.at(2) else { return Ok(vec![self.at(3)?]) };
        let count = self.memory.u32(self.at(4)?, "nr_node_ids")?;
        if count > MAX_NODES {
            return Err(Error::Absurd { what: "number of nodes", value: count.into() });
        }
        let node = |nth: u32| self.memory.u64(table.wrapping_add(8 * u64::from(nth)), "node_data");
        let nodes: Result<Vec<u64>, Error> = (0..count).map(node).collect();
        Ok(nodes?.into_iter().filter(|&node| node != 0).map(VirtAddr).collect())
    }

    /// What each zone has at `variable`, its pointer to per-CPU memory, and in there at `inner`. Zones without memory
    /// share one.
    fn zones(&self, named: &Named<'_>, variable: Variable) -> Result<Vec<u64>, Error> {
        let types = named.types;
        let node = named.member("pglist_data", "node_zones");
        let node = node.ok_or_else(|| Error::NoMember("pglist_data.node_zones".to_owned()))?;
        let (number, size) = match types.shape(node.type_id) {
            Shape::Array(zone, number) => (number.min(MAX_ZONES), types.size(zone).unwrap_or(0)),
            _ => (0, 0),
        };
        let mut zones = Vec::new();
        for at in self.nodes()? {
            for nth in 0..number {
                let zone = at.wrapping_add(node.offset()).wrapping_add(size.wrapping_mul(nth.into()));
                let pointer =
                    self.memory.u64(zone.wrapping_add(variable.pointer), "the pageset of a zone")?;
                zones.extend((pointer != 0).then(|| pointer.wrapping_add(variable.inner)));
            }
        }
        zones.sort_unstable();
        zones.dedup();
        Ok(zones)
    }

    /// The offsets of per-CPU memory; one of 0 on a kernel for one CPU.
    fn cpus(&self, named: &Named<'_>) -> Result<Vec<u64>, Error> {
        let Ok(table) = self.at(5) else { return Ok(vec![0]) };
        let count = match self.at(6) {
            Ok(at) => self.memory.u32(at, "nr_cpu_ids")?,
            // A constant where the kernel is built for a fixed number.
            Err(_) => {
                let bytes = named.all("cpumask").find_map(|id| named.types.size(id)).unwrap_or(0);
                u32::try_from(bytes.saturating_mul(8)).unwrap_or(u32::MAX)
            }
        };
        if count == 0 || count > MAX_CPUS {
            return Err(Error::Absurd { what: "number of CPUs", value: count.into() });
        }
        let offset = |nth: u32| self.memory.u64(table.wrapping_add(8 * u64::from(nth)), "__per_cpu_offset");
        let mut offsets = (0..count).map(offset).collect::<Result<Vec<u64>, Error>>()?;
        offsets.sort_unstable();
        offsets.dedup();
        Ok(offsets)
    }
}

/// Where a zone points to its pagesets, and where in what it points to they begin.
#[derive(Clone, Copy)]
struct Variable {
    pointer: u64,
    inner: u64,
}

impl Layout {
    fn of(named: &Named<'_>) -> Result<(Variable, Layout), Error> {
        let types = named.types;
        let member = |id: TypeId, path: &str| types.member(id, path);
        let pointer = named.member("zone", "per_cpu_pageset").or_else(|| named.member("zone", "pageset"));
        let missing = |name: &str| Error::NoMember(name.to_owned());
        let pointer = pointer.ok_or_else(|| missing("zone.per_cpu_pageset"))?;
        let Shape::Pointer(pageset) = types.shape(pointer.type_id) else {
            return Err(missing("zone.per_cpu_pageset that is a pointer"));
        };
        let inner = member(pageset, "pcp").map_or((0, pageset), |pcp| (pcp.offset(), pcp.type_id));
        let (inner, pageset) = inner;
        let count = member(pageset, "count").filter(|count| types.size(count.type_id) == Some(4));
        let count = count.ok_or_else(|| missing("per_cpu_pages.count"))?;
        let lists = member(pageset, "lists").ok_or_else(|| missing("per_cpu_pages.lists"))?;
        let layout = Layout {
            count: count.offset(),
            lists: lists.offset(),
            number: number_of(types, lists).ok_or_else(|| missing("per_cpu_pages.lists of list heads"))?,
            kinds: kinds(named)?,
        };
        Ok((Variable { pointer: pointer.offset(), inner }, layout))
    }
}

/// How many list heads an array has.
fn number_of(types: &Btf<'_>, lists: Member) -> Option<u32> {
    let Shape::Array(head, number) = types.shape(lists.type_id) else { return None };
    (types.size(head) == Some(LIST_HEAD) && (1..=MAX_LISTS).contains(&number)).then_some(number)
}

/// How many lists there are of blocks of one order: one of each of the first kinds of pages.
fn kinds(named: &Named<'_>) -> Result<u32, Error> {
    let found = named.value("migratetype", "MIGRATE_PCPTYPES");
    let found =
        found.and_then(|value| u32::try_from(value).ok()).filter(|value| (1..=MAX_LISTS).contains(value));
    found.ok_or_else(|| Error::NoType("enumerator MIGRATE_PCPTYPES".to_owned()))
}

impl Pagesets {
    /// How many zones there are to search: what a look-up costs.
    #[must_use]
    pub fn zones(&self) -> usize {
        self.zones.len()
    }

    /// The pageset that has the head of a list.
    #[must_use]
    pub fn of_head(&self, head: VirtAddr) -> Option<Pageset> {
        let Layout { lists, number, .. } = self.layout;
        self.zones.iter().find_map(|&zone| {
            let rest = head.0.wrapping_sub(lists).wrapping_sub(zone);
            let nth = self.cpus.partition_point(|&offset| offset <= rest).checked_sub(1)?;
            let cpu = *self.cpus.get(nth)?;
            let within = rest - cpu;
            let is_head = within.is_multiple_of(LIST_HEAD) && within / LIST_HEAD < u64::from(number);
            is_head.then(|| Pageset { at: VirtAddr(zone.wrapping_add(cpu)), layout: self.layout })
        })
    }
}

impl Pageset {
    /// Where the number of its pages is, a 32-bit integer.
    #[must_use]
    pub fn count_at(&self) -> VirtAddr {
        self.at.wrapping_add(self.layout.count)
    }

    /// Its list heads, each with the order of the blocks on the list; `None` for that of huge pages, which no type tells.
    pub fn heads(&self) -> impl Iterator<Item = (VirtAddr, Option<u32>)> {
        let Layout { lists, number, kinds, .. } = self.layout;
        let first = self.at.wrapping_add(lists);
        (0..number).map(move |nth| {
            let order = nth / kinds.max(1);
            let at = first.wrapping_add(LIST_HEAD * u64::from(nth));
            (at, (u64::from(order) <= COSTLY_ORDER).then_some(order))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::description::{Generation, kallsyms};
    use super::super::testing::{Pieces, allocator_types};
    use super::*;
    use crate::units::ByteOrder;

    const BASE: u64 = 0xffff_ffff_8100_0000;
    const TYPES: u64 = BASE + 0x10_0000;
    const NODE: u64 = 0xffff_8880_0000_0000;
    const CPU: u64 = 0xffff_8880_1000_0000;

    /// A machine of two CPUs and a node with three zones, of which two have memory.
    fn memory(big: bool, is_old: bool, without: &[&str]) -> Pieces {
        let types = allocator_types(big, if is_old { 3 } else { 14 }, is_old).bytes();
        let symbols = [
            ('D', "_stext", BASE),
            ('D', "__start_BTF", TYPES),
            ('D', "__stop_BTF", TYPES + types.len() as u64),
            ('D', "node_data", BASE + 0x20_0000),
            ('D', "contig_page_data", BASE + 0x21_0000),
            ('D', "nr_node_ids", BASE + 0x22_0000),
            ('D', "__per_cpu_offset", BASE + 0x23_0000),
            ('D', "nr_cpu_ids", BASE + 0x24_0000),
        ];
        let symbols: Vec<_> = symbols.into_iter().filter(|(_, name, _)| !without.contains(name)).collect();
        let table = kallsyms(big, Generation::PlaceRelative, BASE + 0x1000, &symbols);
        let order = if big { ByteOrder::Big } else { ByteOrder::Little };
        let mut memory = Pieces::new(order, &format!("{}SYMBOL(_stext)={BASE:x}\n", table.lines));
        let mut bytes = table.bytes;
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        memory.put(table.at, bytes);
        memory.put(TYPES, types);
        memory.put(NODE, vec![0; 1024]);
        memory.put(BASE + 0x21_0000, vec![0; 1024]);
        memory.put(BASE + 0x23_0000, vec![0; 128 * 8]);
        for (at, value) in [
            (BASE + 0x20_0000, 0),
            (BASE + 0x20_0008, NODE),
            (NODE + 8 + 40, 0x3000),
            (NODE + 8 + 128 + 40, 0x1000),
            (NODE + 8 + 256 + 40, 0x1000),
            (BASE + 0x21_0000 + 8 + 40, 0x1000),
            (BASE + 0x23_0000, CPU + 0x1_0000),
            (BASE + 0x23_0008, CPU),
        ] {
            memory.put_u64(at, value);
        }
        memory.put(BASE + 0x22_0000, order.u32_bytes(2));
        memory.put(BASE + 0x24_0000, order.u32_bytes(2));
        memory
    }

    #[test]
    fn pagesets_are_found_by_their_list_heads() {
        for big in [false, true] {
            let Allocator { pagesets, zsmalloc, page_tables, slabs } =
                Allocator::read(&memory(big, false, &[])).unwrap();
            assert_eq!((pagesets.zones(), zsmalloc, page_tables), (2, Some(0xf6), Some(0xf3)));
            assert_eq!(slabs, Some(SlabPlace { cache: 8, name: 96 }));
            for (cpu, zone) in [(CPU, 0x1000), (CPU, 0x3000), (CPU + 0x1_0000, 0x3000)] {
                let lists = cpu + zone + 32;
                let pageset = pagesets.of_head(VirtAddr(lists + 16 * 13)).unwrap();
                assert_eq!(pageset.count_at(), VirtAddr(cpu + zone + 4));
                let heads: Vec<_> = pageset.heads().collect();
                assert_eq!((heads.len(), heads[0]), (14, (VirtAddr(lists), Some(0))));
                assert_eq!((heads[11].1, heads[12].1), (Some(3), None));
                for wrong in [lists - 16, lists + 8, lists + 16 * 14, lists + 0x100_0000] {
                    assert!(pagesets.of_head(VirtAddr(wrong)).is_none(), "{wrong:#x}");
                }
            }
        }
    }

    #[test]
    fn older_kernels_have_one_order_in_another_structure() {
        let Allocator { pagesets, slabs, .. } = Allocator::read(&memory(false, true, &[])).unwrap();
        assert_eq!(slabs, Some(SlabPlace { cache: 24, name: 96 }));
        let pageset = pagesets.of_head(VirtAddr(CPU + 0x1000 + 8 + 32)).unwrap();
        assert_eq!(pageset.count_at(), VirtAddr(CPU + 0x1000 + 8 + 4));
        assert!(pageset.heads().map(|(_, order)| order).eq([Some(0); 3]));
    }

    #[test]
    fn machines_of_one_node_or_one_cpu_or_a_fixed_number_have_less_symbols() {
        let read =
            |without: &[&str]| Allocator::read(&memory(false, false, without)).map(|found| found.pagesets);
        let one = read(&["node_data", "__per_cpu_offset"]).unwrap();
        assert!(one.of_head(VirtAddr(0x1000 + 32)).is_some() && one.zones() == 1);
        // 128 by the size of the mask, most of them without an offset.
        assert!(read(&["nr_cpu_ids"]).unwrap().of_head(VirtAddr(CPU + 0x1000 + 32)).is_some());
        for name in ["__start_BTF", "__stop_BTF", "nr_node_ids"] {
            assert_eq!(read(&[name]).unwrap_err().to_string(), format!("the kernel has no symbol {name}"));
        }
        let none = read(&["node_data", "contig_page_data"]).unwrap_err();
        assert_eq!(none.to_string(), "the kernel has no symbol contig_page_data");
    }

    #[test]
    fn numbers_that_no_machine_has_are_errors() {
        for (at, value) in [(0x22_0000, 1025), (0x24_0000, 0), (0x24_0000, MAX_CPUS + 1)] {
            let mut memory = memory(false, false, &[]);
            memory.put(BASE + at, ByteOrder::Little.u32_bytes(value));
            let error = Allocator::read(&memory).unwrap_err();
            assert!(matches!(error, Error::Absurd { .. }), "{error}");
        }
    }
}
