//! Whose objects a slab page holds. The kernel's types tell where `struct slab` keeps its cache and where a cache keeps its
//! name. No VMCOREINFO does: without types both are found by what they lead to, a pointer at one of the two places it
//! ever had, to a structure that points to the name of a cache that every kernel has. Caches are remembered by address,
//! and memory is read by the page, so that what it costs follows the number of caches, not of slabs.
//!
//! Source: Linux `mm/slab.h` (`struct slab`, `struct kmem_cache`), `include/linux/mm_types.h` before commit d122019bf061
//! ("mm: Split slab into its own type") (in v5.17).

use super::{KernelMemory, PageLayout};
use crate::units::VirtAddr;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Where `slab_cache` is, in bytes from the page structure's start: since commit 130d4df57390 ("mm/sl[au]b: rearrange struct
/// slab fields to allow larger rcu_head") (in v6.2), and before.
const PLACES: [usize; 2] = [8, 24];
/// Bytes of a `struct kmem_cache` that are searched for its name; the name is before byte 128 in all kernels so far.
const CACHE_BYTES: usize = 256;
/// The longest name of a cache, and its end.
const NAME_BYTES: usize = 24;
/// Slabs that may lead to no known name before the search for the place is given up.
const MAX_TRIES: u32 = 512;
/// Caches remembered. Machines have hundreds; before v5.9 every control group had its own. Of further ones nothing is
/// told: forged slabs that name a cache each must not cost reads for every slab.
const MAX_CACHES: usize = 4096;
/// Bytes of memory read at once: caches are objects of one slab, their names are neighbours too.
const PIECE: usize = 4096;
/// Pieces kept.
const PIECES: usize = 16;

/// Caches of what a list of tasks is made from: the tasks, their numbers and the tree that these are found by, what
/// they share, and the description of caches itself. `pid` stands for `pid_2` and so on as well.
const OF_TASKS: [&str; 11] = [
    "task_struct",
    "signal_cache",
    "sighand_cache",
    "radix_tree_node",
    "mm_struct",
    "cred_jar",
    "files_cache",
    "fs_cache",
    "thread_stack",
    "kmem_cache",
    "kmem_cache_node",
];
/// Caches that the first slabs of any kernel belong to: with them a few slabs are enough to find the place.
const OF_ALL: [&str; 6] =
    ["dentry", "inode_cache", "kernfs_node_cache", "vm_area_struct", "buffer_head", "filp"];

/// The caches of a crashed kernel, as far as they were met.
#[derive(Clone, Default)]
pub struct SlabCaches {
    place: Cell<Option<SlabPlace>>,
    tries: Cell<u32>,
    of_tasks: RefCell<HashMap<u64, bool>>,
    near: RefCell<Near>,
}

/// Where pointers are, in bytes from the start of their structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlabPlace {
    /// To the cache of a slab, in its page structure.
    pub cache: usize,
    /// To the name of a cache, in the cache.
    pub name: usize,
}

impl SlabCaches {
    /// No cache yet; the place where the kernel's types tell it.
    #[must_use]
    pub fn new(place: Option<SlabPlace>) -> SlabCaches {
        SlabCaches { place: Cell::new(place), ..SlabCaches::default() }
    }

    /// Whether a slab holds what a list of tasks is made from, given the bytes of its first page structure; `None`
    /// when that is not known.
    pub fn is_of_tasks(&self, memory: &KernelMemory<'_>, layout: &PageLayout, page: &[u8]) -> Option<bool> {
        let place = self.place.get().or_else(|| self.find_place(memory, layout, page))?;
        let cache = layout.u64(page, place.cache);
        if let Some(&known) = self.of_tasks.borrow().get(&cache) {
            return Some(known);
        }
        if self.of_tasks.borrow().len() >= MAX_CACHES {
            return None;
        }
        let found = match self.name(memory, cache, place.name) {
            Some(name) => is_of_tasks(&name),
            // Not where other caches have it.
            None => self.names(memory, cache).any(|(_, name)| is_of_tasks(&name)),
        };
        self.of_tasks.borrow_mut().insert(cache, found);
        Some(found)
    }

    /// Whether the place of the name is known, or its search was given up: from then on answers do not depend on their order.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.place.get().is_some() || self.tries.get() >= MAX_TRIES
    }

    fn find_place(&self, memory: &KernelMemory<'_>, layout: &PageLayout, page: &[u8]) -> Option<SlabPlace> {
        if self.tries.get() >= MAX_TRIES {
            return None;
        }
        self.tries.set(self.tries.get() + 1);
        let leads = |cache: usize| {
            let mut names = self.names(memory, layout.u64(page, cache));
            let (name, _) = names.find(|(_, name)| is_known(name))?;
            Some(SlabPlace { cache, name })
        };
        let place = PLACES.into_iter().find_map(leads);
        self.place.set(place);
        place
    }

    /// The name of a cache, `at` bytes from its start.
    fn name(&self, memory: &KernelMemory<'_>, cache: u64, at: usize) -> Option<String> {
        let mut word = [0; 8];
        self.read(memory, cache.checked_add(at as u64)?, &mut word)?;
        self.text(memory, memory.vmcore().byte_order().u64(word))
    }

    /// Every short text that a structure at `address` points to, and where in it the pointer is.
    fn names(&self, memory: &KernelMemory<'_>, address: u64) -> impl Iterator<Item = (usize, String)> {
        let mut bytes = [0; CACHE_BYTES];
        let readable = self.read(memory, address, &mut bytes).is_some();
        let words = bytes.as_chunks::<8>().0.to_vec();
        let order = memory.vmcore().byte_order();
        let words = (0..).step_by(8).zip(words).filter(move |_| readable);
        words.filter_map(move |(at, word)| Some((at, self.text(memory, order.u64(word))?)))
    }

    /// The text at an address, if it is one that may be a cache's name.
    fn text(&self, memory: &KernelMemory<'_>, address: u64) -> Option<String> {
        let mut bytes = [0; NAME_BYTES];
        self.near.borrow_mut().read(memory, address, &mut bytes)?;
        let end = bytes.iter().position(|&byte| byte == 0)?;
        let name = bytes.get(..end).filter(|name| name.len() > 2 && name.iter().all(u8::is_ascii_graphic))?;
        String::from_utf8(name.to_vec()).ok()
    }

    /// Reads of a structure. Pointers are aligned; anything else is no structure.
    fn read(&self, memory: &KernelMemory<'_>, address: u64, bytes: &mut [u8]) -> Option<()> {
        if address == 0 || !address.is_multiple_of(8) {
            return None;
        }
        self.near.borrow_mut().read(memory, address, bytes)
    }
}

/// The pieces of memory read last, for who follows pointers: what they lead to is often near.
#[derive(Clone, Default)]
pub struct Near {
    pieces: Vec<(u64, Vec<u8>)>,
    oldest: usize,
}

impl Near {
    /// Fills `bytes` with the memory at an address; `None` when it cannot be read.
    pub fn read(&mut self, memory: &KernelMemory<'_>, address: u64, bytes: &mut [u8]) -> Option<()> {
        let (start, at) = (address & !(PIECE as u64 - 1), usize::try_from(address % PIECE as u64).ok()?);
        if at + bytes.len() > PIECE {
            return memory.read(VirtAddr(address), bytes).ok();
        }
        let index = self.pieces.iter().position(|(piece, _)| *piece == start);
        let Some(index) = index.or_else(|| self.load(memory, start)) else {
            // A page of which the file holds only a part.
            return memory.read(VirtAddr(address), bytes).ok();
        };
        bytes.copy_from_slice(self.pieces.get(index)?.1.get(at..at + bytes.len())?);
        Some(())
    }

    fn load(&mut self, memory: &KernelMemory<'_>, start: u64) -> Option<usize> {
        let mut piece = vec![0; PIECE];
        memory.read(VirtAddr(start), &mut piece).ok()?;
        if self.pieces.len() < PIECES {
            self.pieces.push((start, piece));
            return Some(self.pieces.len() - 1);
        }
        let index = self.oldest;
        self.pieces[index] = (start, piece);
        self.oldest = (index + 1) % PIECES;
        Some(index)
    }
}

fn is_of_tasks(name: &str) -> bool {
    OF_TASKS.contains(&name) || name == "pid" || name.starts_with("pid_")
}

fn is_known(name: &str) -> bool {
    is_of_tasks(name) || OF_ALL.contains(&name) || name.starts_with("kmalloc-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::testing::{WINDOW, World};
    use crate::units::ByteOrder;

    /// A cache at `at` whose name, `name` bytes in, is `text`.
    fn cache(world: &mut World, at: u64, name: u64, text: &str) -> u64 {
        let mut bytes = [0; 8];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        world.put(at + name, WINDOW + at + 0x800);
        world.put(at + 0x800, u64::from_le_bytes(bytes));
        WINDOW + at
    }

    fn page(place: usize, cache: u64) -> Vec<u8> {
        let mut page = vec![0; 64];
        page[place..place + 8].copy_from_slice(&cache.to_le_bytes());
        page
    }

    #[test]
    fn caches_are_told_by_their_names_at_either_place() {
        for (place, name) in [(8, 96), (24, 104)] {
            let mut world = World::new(1024);
            let tasks = cache(&mut world, 0x8_0000, name, "pid_2");
            let other = cache(&mut world, 0x8_1000, name, "dentry");
            let core = world.vmcore();
            let memory = KernelMemory::new(&core).unwrap();
            let layout = PageLayout::new(memory.info(), ByteOrder::Little).unwrap();
            let caches = SlabCaches::default();
            let ask = |cache| caches.is_of_tasks(&memory, &layout, &page(place, cache));
            assert_eq!(ask(WINDOW + 0x7_0000), None);
            assert_eq!([ask(other), ask(tasks), ask(other)], [Some(false), Some(true), Some(false)]);
            assert_eq!(ask(WINDOW + (1 << 60)), Some(false));
        }
    }

    #[test]
    fn types_tell_places_that_no_kernel_had() {
        let mut world = World::new(1024);
        let tasks = cache(&mut world, 0x8_0000, 160, "pid_2");
        let other = cache(&mut world, 0x8_1000, 160, "unknown");
        let core = world.vmcore();
        let memory = KernelMemory::new(&core).unwrap();
        let layout = PageLayout::new(memory.info(), ByteOrder::Little).unwrap();
        let caches = SlabCaches::new(Some(SlabPlace { cache: 40, name: 160 }));
        assert!(caches.is_settled());
        let ask = |cache| caches.is_of_tasks(&memory, &layout, &page(40, cache));
        assert_eq!([ask(other), ask(tasks), ask(WINDOW + 8)], [Some(false), Some(true), Some(false)]);
        // Types that lead out of every structure cost an answer, nothing else.
        let absurd = SlabCaches::new(Some(SlabPlace { cache: usize::MAX, name: usize::MAX }));
        assert_eq!(absurd.is_of_tasks(&memory, &layout, &page(8, tasks)), Some(false));
        let absurd = SlabCaches::new(Some(SlabPlace { cache: 8, name: usize::MAX }));
        assert_eq!(absurd.is_of_tasks(&memory, &layout, &page(8, tasks)), Some(true));
    }

    #[test]
    fn caches_beyond_all_that_a_kernel_has_cost_no_reads() {
        let mut world = World::new(1024);
        let tasks = cache(&mut world, 0x8_0000, 96, "pid_2");
        let core = world.vmcore();
        let memory = KernelMemory::new(&core).unwrap();
        let layout = PageLayout::new(memory.info(), ByteOrder::Little).unwrap();
        let caches = SlabCaches::default();
        let ask = |cache| caches.is_of_tasks(&memory, &layout, &page(8, cache));
        assert_eq!(ask(tasks), Some(true));
        let forged = |number| WINDOW + 0x10_0000 + number * 8;
        (1..MAX_CACHES as u64).for_each(|number| assert_eq!(ask(forged(number)), Some(false), "{number}"));
        assert_eq!(
            [ask(forged(MAX_CACHES as u64)), ask(forged(1)), ask(tasks)],
            [None, Some(false), Some(true)]
        );
        assert_eq!(caches.of_tasks.borrow().len(), MAX_CACHES);
    }

    #[test]
    fn without_a_known_name_the_search_ends() {
        let mut world = World::new(1024);
        let other = cache(&mut world, 0x8_0000, 96, "unknown");
        let known = cache(&mut world, 0x8_1000, 96, "filp");
        let core = world.vmcore();
        let memory = KernelMemory::new(&core).unwrap();
        let layout = PageLayout::new(memory.info(), ByteOrder::Little).unwrap();
        let caches = SlabCaches::default();
        for _ in 0..MAX_TRIES {
            assert_eq!(caches.is_of_tasks(&memory, &layout, &page(8, other)), None);
        }
        assert_eq!(caches.is_of_tasks(&memory, &layout, &page(8, known)), None);
    }
}
