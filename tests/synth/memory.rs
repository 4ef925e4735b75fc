//! The crashed machine's physical memory while a vmcore is being built: a sparse set of 4 KiB cells, an
//! allocator for what the builder itself places (page tables, struct pages, log), and equal cells stored once.
//! Knows bytes and addresses; what they mean is the callers' business.

use std::collections::{BTreeMap, HashMap};

/// Bytes of a cell: the smallest page any architecture has.
pub(crate) const CELL: u64 = 4096;

/// Byte order of the machine, as the builder's own enum: nothing is shared with the code under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    pub(crate) fn u16(self, value: u16) -> [u8; 2] {
        if self == Order::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn u32(self, value: u32) -> [u8; 4] {
        if self == Order::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn u64(self, value: u64) -> [u8; 8] {
        if self == Order::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn read_u64(self, bytes: &[u8]) -> u64 {
        let bytes = bytes.try_into().expect("eight bytes");
        if self == Order::Big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
    }
}

/// Physical memory with an allocator that grows upwards from `start`.
pub(crate) struct Memory {
    pub order: Order,
    start: u64,
    next: u64,
    cells: BTreeMap<u64, Box<[u8]>>,
    interned: HashMap<Vec<u8>, u64>,
}

impl Memory {
    pub(crate) fn new(order: Order, start: u64) -> Memory {
        Memory { order, start, next: start, cells: BTreeMap::new(), interned: HashMap::new() }
    }

    /// Room for `len` bytes at a multiple of `align`: all zero until written.
    pub(crate) fn alloc(&mut self, len: u64, align: u64) -> u64 {
        let at = self.next.next_multiple_of(align);
        self.next = at + len;
        at
    }

    /// Physical range [start, end) of everything allocated.
    pub(crate) fn used(&self) -> (u64, u64) {
        (self.start, self.next.next_multiple_of(CELL))
    }

    /// Stores `bytes` at a page boundary and gives its address; equal contents share one place.
    pub(crate) fn intern(&mut self, bytes: &[u8]) -> u64 {
        if let Some(&at) = self.interned.get(bytes) {
            return at;
        }
        let at = self.alloc(bytes.len() as u64, bytes.len().next_power_of_two() as u64);
        self.write(at, bytes);
        self.interned.insert(bytes.to_vec(), at);
        at
    }

    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let here = at + done as u64;
            let offset = (here % CELL) as usize;
            let take = (bytes.len() - done).min(CELL as usize - offset);
            let cell = self.cells.entry(here - here % CELL).or_insert_with(|| vec![0; CELL as usize].into());
            cell[offset..offset + take].copy_from_slice(&bytes[done..done + take]);
            done += take;
        }
    }

    pub(crate) fn put_u32(&mut self, at: u64, value: u32) {
        self.write(at, &self.order.u32(value));
    }

    pub(crate) fn put_u64(&mut self, at: u64, value: u64) {
        self.write(at, &self.order.u64(value));
    }

    /// The cell at a multiple of 4096, `None` when nothing was written there.
    pub(crate) fn cell(&self, at: u64) -> Option<&[u8]> {
        self.cells.get(&at).map(AsRef::as_ref)
    }

    /// Every written cell inside [start, end), ascending.
    pub(crate) fn cells(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &[u8])> {
        self.cells.range(start..end).map(|(at, cell)| (*at, cell.as_ref()))
    }
}
