//! Decompressed blocks that are kept: the ones used last, within a number of bytes. What falls out is
//! wiped.

use super::Error;
use crate::units::PageSize;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// The pages of a block.
pub(super) type Block = Arc<Zeroizing<Vec<u8>>>;

/// The bytes of one page, inside its block.
pub struct PageBytes {
    block: Block,
    start: usize,
    len: usize,
}

impl PageBytes {
    /// The `nth` page of a block; `None` when it has no such page.
    pub(super) fn new(block: Block, nth: u64, page: PageSize) -> Option<PageBytes> {
        let start = usize::try_from(nth).ok()?.checked_mul(page.len())?;
        let end = start.checked_add(page.len())?;
        (end <= block.len()).then_some(PageBytes { block, start, len: page.len() })
    }
}

impl Deref for PageBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block[self.start..self.start + self.len]
    }
}

/// Blocks by number.
pub(super) struct BlockCache {
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    blocks: HashMap<u32, (u64, Block)>,
    bytes: usize,
    clock: u64,
}

impl BlockCache {
    /// A cache of at most `limit` bytes, but always of one block.
    pub(super) fn new(limit: usize) -> BlockCache {
        BlockCache { limit, kept: Mutex::default() }
    }

    /// The block of a number, made with `read` unless it is kept. Threads that want the same block at once
    /// may both read it; nobody waits for another's read.
    pub(super) fn get(
        &self,
        number: u32,
        read: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Block, Error> {
        if let Some(block) = self.lock().touch(number) {
            return Ok(block);
        }
        let block = Arc::new(Zeroizing::new(read()?));
        self.lock().insert(number, &block, self.limit);
        Ok(block)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn touch(&mut self, number: u32) -> Option<Block> {
        self.clock += 1;
        let (used, block) = self.blocks.get_mut(&number)?;
        *used = self.clock;
        Some(Arc::clone(block))
    }

    fn insert(&mut self, number: u32, block: &Block, limit: usize) {
        self.clock += 1;
        self.bytes += block.len();
        if let Some((_, replaced)) = self.blocks.insert(number, (self.clock, Arc::clone(block))) {
            self.bytes -= replaced.len();
        }
        while self.bytes > limit && self.blocks.len() > 1 {
            let Some(oldest) = self.blocks.iter().min_by_key(|(_, (used, _))| *used).map(|(n, _)| *n) else {
                return;
            };
            if let Some((_, block)) = self.blocks.remove(&oldest) {
                self.bytes -= block.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_used_last_are_kept_within_the_limit() {
        let cache = BlockCache::new(250);
        let reads = std::cell::RefCell::new(Vec::new());
        let get = |number| {
            let read = || {
                reads.borrow_mut().push(number);
                Ok(vec![0; 100])
            };
            assert_eq!(cache.get(number, read).unwrap().len(), 100);
        };
        for number in [1, 2, 1, 3, 1, 2] {
            get(number);
        }
        assert_eq!(*reads.borrow(), [1, 2, 3, 2]);
        assert!(cache.lock().bytes <= 250);
        assert!(cache.get(9, || Ok(vec![0; 1000])).is_ok());
        assert_eq!(cache.lock().bytes, 1000);
    }

    #[test]
    fn a_block_has_only_its_pages() {
        let block: Block = Arc::new(Zeroizing::new(vec![7; 8192]));
        assert_eq!(PageBytes::new(Arc::clone(&block), 1, PageSize::K4).unwrap().len(), 4096);
        assert!(PageBytes::new(Arc::clone(&block), 2, PageSize::K4).is_none());
        assert!(PageBytes::new(block, u64::MAX, PageSize::K4).is_none());
    }
}
