//! Writes page tables of any radix shape: the architectures only say how wide each level is and how an entry
//! looks. The shape's numbers come from the architecture manuals.

use super::memory::{Memory, Order};
use std::collections::HashMap;

/// Encodes a physical address as an entry.
pub(crate) type Encode = fn(u64) -> u64;

/// One level of a table, the root first.
#[derive(Clone, Copy)]
pub(crate) struct Level {
    /// Log2 of the bytes one entry maps.
    pub shift: u32,
    /// Log2 of the number of entries.
    pub width: u32,
    /// Entry that points to the next table; the last level has none.
    pub table: Option<Encode>,
    /// Entry that maps memory; `None` where the architecture has no leaf.
    pub leaf: Option<Encode>,
    /// What an unused entry holds.
    pub empty: u64,
}

/// The tables being written.
pub(crate) struct Tables {
    levels: Vec<Level>,
    order: Order,
    tables: HashMap<(usize, u64), u64>,
}

impl Tables {
    /// Starts with an empty root at `root`, whose room is allocated by the caller.
    pub(crate) fn new(memory: &mut Memory, levels: &[Level], order: Order, root: u64) -> Tables {
        let mut tables = Tables { levels: levels.to_vec(), order, tables: HashMap::new() };
        tables.clear(memory, 0, root);
        tables.tables.insert((0, 0), root);
        tables
    }

    /// Bytes of the table at `depth`.
    pub(crate) fn size(levels: &[Level], depth: usize) -> u64 {
        8 << levels[depth].width
    }

    /// Depths whose entries can map memory, with log2 of the bytes mapped, largest first.
    pub(crate) fn leaves(&self) -> Vec<(usize, u32)> {
        let leaf = |(depth, level): (usize, &Level)| level.leaf.map(|_| (depth, level.shift));
        self.levels.iter().enumerate().filter_map(leaf).collect()
    }

    /// Maps [va, va + len) to [pa, pa + len) with the largest leaves that fit.
    pub(crate) fn map_range(&mut self, memory: &mut Memory, va: u64, pa: u64, len: u64) {
        let mut done = 0;
        while done < len {
            let (here, frame) = (va.wrapping_add(done), pa + done);
            let fits = |shift: u32| {
                let size = 1u64 << shift;
                here % size == 0 && frame % size == 0 && size <= len - done
            };
            let leaves = self.leaves();
            let last = leaves[leaves.len() - 1];
            let (depth, shift) = leaves.into_iter().find(|leaf| fits(leaf.1)).unwrap_or(last);
            self.map(memory, here, frame, depth);
            done += 1 << shift;
        }
    }

    /// One leaf at `depth`.
    pub(crate) fn map(&mut self, memory: &mut Memory, va: u64, pa: u64, depth: usize) {
        let encode = self.levels[depth].leaf.expect("this level has no leaf");
        let slot = self.slot(memory, va, depth);
        memory.write(slot, &self.order_u64(encode(pa)));
    }

    /// Lets the entry at `depth` point to a finished table, so that several places share it.
    pub(crate) fn link(&mut self, memory: &mut Memory, va: u64, table: u64, depth: usize) {
        let encode = self.levels[depth].table.expect("the last level points to no table");
        let slot = self.slot(memory, va, depth);
        memory.write(slot, &self.order_u64(encode(table)));
    }

    /// A finished last-level table whose entries map `frames` in turn.
    pub(crate) fn finished(&self, memory: &mut Memory, frames: &[u64]) -> u64 {
        let level = self.levels[self.levels.len() - 1];
        let encode = level.leaf.expect("the last level maps memory");
        let mut bytes = Vec::new();
        for index in 0..1usize << level.width {
            let entry = frames.get(index).map_or(level.empty, |&frame| encode(frame));
            bytes.extend(self.order_u64(entry));
        }
        memory.intern(&bytes)
    }

    fn slot(&mut self, memory: &mut Memory, va: u64, depth: usize) -> u64 {
        let mut table = self.tables[&(0, 0)];
        for at in 0..depth {
            table = self.next(memory, va, at, table);
        }
        table + 8 * self.index(va, depth)
    }

    fn next(&mut self, memory: &mut Memory, va: u64, depth: usize, table: u64) -> u64 {
        let key = (depth + 1, va >> self.levels[depth].shift);
        if let Some(&known) = self.tables.get(&key) {
            return known;
        }
        let size = Tables::size(&self.levels, depth + 1);
        let made = memory.alloc(size, size);
        self.clear(memory, depth + 1, made);
        let encode = self.levels[depth].table.expect("the last level points to no table");
        memory.write(table + 8 * self.index(va, depth), &self.order_u64(encode(made)));
        self.tables.insert(key, made);
        made
    }

    fn clear(&self, memory: &mut Memory, depth: usize, table: u64) {
        let level = self.levels[depth];
        for index in 0..if level.empty == 0 { 0 } else { 1u64 << level.width } {
            memory.write(table + 8 * index, &self.order_u64(level.empty));
        }
    }

    fn index(&self, va: u64, depth: usize) -> u64 {
        let level = self.levels[depth];
        (va >> level.shift) & ((1 << level.width) - 1)
    }

    fn order_u64(&self, value: u64) -> [u8; 8] {
        self.order.u64(value)
    }
}
