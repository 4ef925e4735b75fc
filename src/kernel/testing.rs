//! Memory of a kernel for unit tests: pieces at virtual addresses, and VMCOREINFO.

#[path = "../../tests/synth/description.rs"]
pub(crate) mod description;

use crate::mm::KernelRead;
use crate::units::{ByteOrder, VirtAddr};
use crate::vmcore::VmcoreInfo;
use description::Types;
use std::error::Error as StdError;

/// Types of a page allocator with so many lists a CPU. In `struct zone` of 128 bytes the pointer is at 40; in what it points
/// to the count is at 4 and the lists at 32, or 8 bytes after that as before v5.14, when they were in another structure.
pub(crate) fn allocator_types(big: bool, lists: u32, is_old: bool) -> Types {
    let mut types = Types::new(big);
    let int = types.int("int", 4, true);
    let pointer = types.pointer(0);
    let head = types.structure("list_head", 16, &[("next", pointer, 0, 0), ("prev", pointer, 64, 0)]);
    let lists = types.array(head, lists);
    let members = [("lock", int, 0, 0), ("count", int, 32, 0), ("lists", lists, 256, 0)];
    let mut pageset = types.structure("per_cpu_pages", 512, &members);
    if is_old {
        pageset = types.structure("per_cpu_pageset", 520, &[("pcp", pageset, 64, 0)]);
    }
    let pageset = types.pointer(pageset);
    let name = if is_old { "pageset" } else { "per_cpu_pageset" };
    let zone = types.structure("zone", 128, &[("managed", int, 0, 0), (name, pageset, 320, 0)]);
    let zones = types.array(zone, 3);
    types.structure("pglist_data", 1024, &[("node_zones", zones, 64, 0)]);
    types.enumeration("migratetype", &[("MIGRATE_UNMOVABLE", 0), ("MIGRATE_PCPTYPES", 3)]);
    let kinds = [("PGTY_buddy", 0xf0), ("PGTY_table", 0xf3), ("PGTY_zsmalloc", 0xf6)];
    types.enumeration("pagetype", &kinds);
    let long = types.int("long unsigned int", 8, false);
    let bits = types.array(long, 2);
    types.structure("cpumask", 16, &[("bits", bits, 0, 0)]);
    let cache = types.structure("kmem_cache", 256, &[("flags", int, 0, 0), ("name", pointer, 96 * 8, 0)]);
    let cache = types.pointer(cache);
    let (slab, at) = if is_old { ("page", 24 * 8) } else { ("slab", 8 * 8) };
    types.structure(slab, 64, &[("slab_cache", cache, at, 0)]);
    types
}

/// Memory by virtual address; what no piece holds cannot be read.
pub(crate) struct Pieces {
    order: ByteOrder,
    info: VmcoreInfo,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Pieces {
    pub(crate) fn new(order: ByteOrder, info: &str) -> Pieces {
        Pieces { order, info: VmcoreInfo::parse(info.as_bytes()), pieces: Vec::new() }
    }

    /// Adds a piece; a later one hides an earlier one.
    pub(crate) fn put(&mut self, at: u64, bytes: impl Into<Vec<u8>>) {
        self.pieces.insert(0, (at, bytes.into()));
    }

    pub(crate) fn put_u64(&mut self, at: u64, value: u64) {
        self.put(at, self.order.u64_bytes(value));
    }
}

impl KernelRead for Pieces {
    fn info(&self) -> &VmcoreInfo {
        &self.info
    }

    fn byte_order(&self) -> ByteOrder {
        self.order
    }

    fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>> {
        for (byte, address) in buf.iter_mut().zip(0..) {
            let address = at.0.wrapping_add(address);
            let found = self.pieces.iter().find_map(|(start, bytes)| {
                bytes.get(usize::try_from(address.checked_sub(*start)?).ok()?).copied()
            });
            *byte = found.ok_or_else(|| format!("no memory at {address:#x}"))?;
        }
        Ok(())
    }
}
