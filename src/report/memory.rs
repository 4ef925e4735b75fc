//! How memory was used: totals as `free` prints them, and the largest slab caches.
//!
//! Source: Linux `mm/vmstat.c` (`vm_zone_stat`, `vm_node_stat`: pages), `mm/slab.h`. Each CPU's remainder that is not yet
//! added to them is left out: the numbers are a little off.

use super::limit::Limit;
use super::lossy;
use crate::kernel::{Error, Kernel, Object};
use crate::units::{PageSize, VirtAddr};
use serde::Serialize;

/// More caches than any kernel has, and more NUMA nodes.
const MAX_CACHES: u64 = 1 << 14;
const MAX_NODES: u64 = 1024;
/// Caches that are listed.
const LISTED: usize = 10;
/// The longest name of a cache.
const MAX_NAME: usize = 128;

/// Use of memory, bytes; `None` where the kernel does not count it.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// Memory that the kernel has for itself and for programs.
    pub total: u64,
    /// Free.
    pub free: Option<u64>,
    /// Page cache, tmpfs and shared memory within.
    pub cache: Option<u64>,
    /// Programs' own memory.
    pub anonymous: Option<u64>,
    /// tmpfs and shared memory.
    pub shared: Option<u64>,
    /// Waits to be written to a disk.
    pub dirty: Option<u64>,
    /// Slab caches that can be shrunk.
    pub slab_reclaimable: Option<u64>,
    /// Slab caches that cannot.
    pub slab_unreclaimable: Option<u64>,
    /// Stacks of the kernel.
    pub kernel_stacks: Option<u64>,
    /// Page tables.
    pub page_tables: Option<u64>,
    /// The largest slab caches.
    pub caches: Vec<Cache>,
    /// Why the list of caches is not whole.
    pub caches_damaged: Option<String>,
}

/// A slab cache.
#[derive(Debug, Serialize)]
pub struct Cache {
    /// Its name.
    pub name: String,
    /// Objects that it has room for.
    pub objects: u64,
    /// Bytes of an object.
    pub object_size: u64,
    /// Bytes of all.
    pub bytes: u64,
}

/// Reads the use of memory.
pub(super) fn read(kernel: &Kernel<'_>) -> Result<Memory, Error> {
    let page = kernel.memory().info().page_size().unwrap_or(PageSize::K4).bytes();
    let total = kernel.u64(kernel.symbol("_totalram_pages")?, "_totalram_pages")?;
    let zones = Counters::new(kernel, "vm_zone_stat", "zone_stat_item", page);
    let nodes = Counters::new(kernel, "vm_node_stat", "node_stat_item", page);
    let (caches, damaged) = caches(kernel);
    Ok(Memory {
        total: total.saturating_mul(page),
        free: zones.get("NR_FREE_PAGES"),
        cache: nodes.get("NR_FILE_PAGES"),
        anonymous: nodes.get("NR_ANON_MAPPED"),
        shared: nodes.get("NR_SHMEM"),
        dirty: nodes.get("NR_FILE_DIRTY"),
        slab_reclaimable: nodes.get("NR_SLAB_RECLAIMABLE_B").or_else(|| nodes.get("NR_SLAB_RECLAIMABLE")),
        slab_unreclaimable: nodes
            .get("NR_SLAB_UNRECLAIMABLE_B")
            .or_else(|| nodes.get("NR_SLAB_UNRECLAIMABLE")),
        // Counted in KiB.
        kernel_stacks: nodes.raw("NR_KERNEL_STACK_KB").map(|kib| kib.saturating_mul(1024)),
        page_tables: nodes.get("NR_PAGETABLE").or_else(|| zones.get("NR_PAGETABLE")),
        caches,
        caches_damaged: damaged.map(|error| error.line()),
    })
}

/// An array of counters, one for each enumerator.
struct Counters<'k> {
    kernel: &'k Kernel<'k>,
    at: Option<VirtAddr>,
    places: Vec<(&'k [u8], i64)>,
    page: u64,
}

impl<'k> Counters<'k> {
    fn new(kernel: &'k Kernel<'k>, array: &str, items: &str, page: u64) -> Counters<'k> {
        let places = kernel.types().map(|types| types.enumerators(items)).unwrap_or_default();
        Counters { kernel, at: kernel.symbol(array).ok(), places, page }
    }

    /// A counter of pages, in bytes.
    fn get(&self, name: &str) -> Option<u64> {
        self.raw(name).map(|pages| pages.saturating_mul(self.page))
    }

    /// A counter's value; one that is below zero for a moment counts as zero.
    fn raw(&self, name: &str) -> Option<u64> {
        let (_, place) = self.places.iter().find(|(other, _)| *other == name.as_bytes())?;
        let at = self.at?.wrapping_add(u64::try_from(*place).ok()?.checked_mul(8)?);
        Some(self.kernel.u64(at, "a counter of pages").ok()?.cast_signed().max(0).cast_unsigned())
    }
}

/// The largest caches, and why not all were read.
fn caches(kernel: &Kernel<'_>) -> (Vec<Cache>, Option<Error>) {
    let mut caches = Vec::new();
    let error = read_caches(kernel, &mut caches).err();
    caches.sort_by_key(|cache: &Cache| std::cmp::Reverse(cache.bytes));
    caches.truncate(LISTED);
    (caches, error)
}

fn read_caches(kernel: &Kernel<'_>, caches: &mut Vec<Cache>) -> Result<(), Error> {
    let (linked, limit) = (kernel.linked("kmem_cache", "list")?, Limit::new(false));
    let nodes = kernel.symbol("nr_node_ids").and_then(|at| kernel.u32(at, "nr_node_ids"));
    let nodes = u64::from(nodes.unwrap_or(1)).clamp(1, MAX_NODES);
    for cache in linked.on(kernel.symbol("slab_caches")?, MAX_CACHES, "list of slab caches") {
        let cache = cache?;
        if limit.is_over() {
            return Err(Error::Slow("list of slab caches"));
        }
        let objects = objects(kernel, &cache, nodes)?;
        let size = cache.uint("size")?;
        caches.push(Cache {
            name: lossy(&kernel.text(VirtAddr(cache.uint("name")?), MAX_NAME, "the name of a slab cache")?),
            objects,
            object_size: cache.uint("object_size")?,
            bytes: objects.saturating_mul(size),
        });
    }
    Ok(())
}

/// Objects of a cache on all nodes. `kmem_cache.node` is declared longer than it is allocated, so that only as many are
/// read as the machine has. The pointers are in `per_node` since commit 5ba6bc27b1f9 ("slab: decouple pointer to barn from
/// kmem_cache_node") (in v7.1).
fn objects(kernel: &Kernel<'_>, cache: &Object<'_>, nodes: u64) -> Result<u64, Error> {
    let mut objects = 0_u64;
    for nth in 0..nodes {
        let pointer = match cache.element("per_node", nth) {
            Ok(Some(per_node)) => per_node.uint("node")?,
            _ => {
                let place = cache.address_of("node")?.wrapping_add(nth.wrapping_mul(8));
                kernel.u64(place, "a slab cache")?
            }
        };
        if pointer != 0 {
            let node = kernel.object("kmem_cache_node", VirtAddr(pointer))?;
            objects = objects.saturating_add(node.uint("total_objects.counter")?);
        }
    }
    Ok(objects)
}
