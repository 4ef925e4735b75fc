//! Decompressed blocks are kept, the most useful ones, within a number of bytes. A block that falls out is wiped.

use super::Error;
use crate::units::PageSize;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::ops::Deref;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How many blocks the cache is likely to hold; a hint for its tables.
const BLOCKS: usize = 128;

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
    kept: Cache<u32, Block, InBytes>,
}

/// A block weighs what it takes.
#[derive(Clone)]
struct InBytes;

impl Weighter<u32, Block> for InBytes {
    fn weight(&self, _: &u32, block: &Block) -> u64 {
        block.len() as u64
    }
}

impl BlockCache {
    /// A cache of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> BlockCache {
        // One shard: each has its share of the limit, and a block that is larger than the share would not be kept.
        let options = OptionsBuilder::new()
            .estimated_items_capacity(BLOCKS)
            .weight_capacity(limit as u64)
            .shards(1)
            .build();
        let options = options.unwrap_or_else(|_| unreachable!("every required option is set"));
        let kept =
            Cache::with_options(options, InBytes, DefaultHashBuilder::default(), DefaultLifecycle::default());
        BlockCache { kept }
    }

    /// The block of a number, made with `read` unless it is kept. Of threads that want the same block at once one reads
    /// it; the others wait.
    ///
    /// # Errors
    /// What `read` reports.
    pub(super) fn get(
        &self,
        number: u32,
        read: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Block, Error> {
        self.kept.get_or_insert_with(&number, || Ok(Arc::new(Zeroizing::new(read()?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_kept_within_the_limit() {
        let cache = BlockCache::new(250);
        let reads = std::cell::RefCell::new(Vec::new());
        let get = |number| {
            let read = || {
                reads.borrow_mut().push(number);
                Ok(vec![0; 100])
            };
            assert_eq!(cache.get(number, read).unwrap().len(), 100);
            assert!(cache.kept.weight() <= 250);
        };
        [1, 2, 1, 2].into_iter().for_each(get);
        assert_eq!(*reads.borrow(), [1, 2]);
        (3..100).for_each(get);
        assert_eq!(reads.borrow().len(), 99);
    }

    #[test]
    fn a_block_above_the_limit_and_one_that_cannot_be_read_are_not_kept() {
        let cache = BlockCache::new(250);
        assert_eq!(cache.get(9, || Ok(vec![0; 1000])).unwrap().len(), 1000);
        assert!(cache.get(8, || Err(Error::NotADump)).is_err());
        assert_eq!(cache.get(8, || Ok(vec![0; 10])).unwrap().len(), 10);
        assert_eq!(cache.kept.weight(), 10);
    }

    #[test]
    fn a_block_has_only_its_pages() {
        let block: Block = Arc::new(Zeroizing::new(vec![7; 8192]));
        assert_eq!(PageBytes::new(Arc::clone(&block), 1, PageSize::K4).unwrap().len(), 4096);
        assert!(PageBytes::new(Arc::clone(&block), 2, PageSize::K4).is_none());
        assert!(PageBytes::new(block, u64::MAX, PageSize::K4).is_none());
    }
}
