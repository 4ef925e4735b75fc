//! The classes of pages, and how many of each there were.

/// What becomes of a page at the dump level in force, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageClass {
    /// A memory hole: no segment covers the page.
    Hole,
    /// In memory, but the file holds no byte of it. In the first bitmap, not in the second.
    NoData,
    /// To be dumped.
    Kept,
    /// Excluded: page cache without private data.
    Cache,
    /// Excluded: page cache with private data.
    PrivateCache,
    /// Excluded: anonymous or hugetlb.
    User,
    /// Excluded: free, or memory that a confidential guest never accepted.
    Free,
    /// Excluded at every level: broken memory. Reading it may kill the capture kernel.
    Hwpoison,
    /// Excluded at every level: given back to the hypervisor. Reading it may fail or hang.
    Offline,
    /// Excluded: of a memory block that was taken offline. Nobody uses it; its bytes are those of before.
    Offlined,
    /// Excluded: free, on a list of a CPU.
    CpuList,
    /// Excluded: user data that the kernel keeps compressed, of zram or zswap.
    Compressed,
    /// Excluded: holds page structures, all of them of pages that are left out. Not of one page alone, so that only a
    /// survey tells.
    Structures,
}

/// Number of classes.
const CLASSES: usize = 13;

/// Pages that are compared at once, since long runs of a class are the rule. Compiles to vector code.
const STRIDE: usize = 64;
/// Number of counters: the classes, and four more.
pub(super) const COUNTERS: usize = CLASSES + 4;

/// What a classifier found so far. Numbers of distinct pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pages: [u64; CLASSES],
    /// Pages kept because their `struct page` cannot be read.
    pub unreadable_struct_pages: u64,
    /// Pages kept because their section has no `struct page`s.
    pub without_struct_page: u64,
    /// Pages kept because they claim to be a free block of an order that no kernel has.
    pub doubtful: u64,
    /// Pages kept though they look free, because the list that they are on is broken or too long.
    pub doubtful_lists: u64,
}

impl Counts {
    /// Pages of a class in the windows so far. Holes and memory without data count only inside windows;
    /// for all of them subtract the vmcore's ranges from `max_mapnr`.
    #[must_use]
    pub fn of(&self, class: PageClass) -> u64 {
        self.pages[class as usize]
    }

    pub(super) fn add(&mut self, classes: &[PageClass]) {
        for stride in classes.chunks(STRIDE) {
            let first = stride[0];
            let differ = stride.iter().fold(0, |or, &class| or | (class as u8 ^ first as u8));
            if differ == 0 {
                self.pages[first as usize] += stride.len() as u64;
                continue;
            }
            for &class in stride {
                self.pages[class as usize] += 1;
            }
        }
    }

    /// Takes back pages that were added.
    pub(super) fn remove(&mut self, classes: &[PageClass]) {
        for &class in classes {
            self.pages[class as usize] -= 1;
        }
    }

    /// Takes pages from those that are kept: structures of pages that are left out.
    pub(super) fn leave_structures(&mut self, pages: u64) {
        let kept = &mut self.pages[PageClass::Kept as usize];
        *kept = kept.saturating_sub(pages);
        self.pages[PageClass::Structures as usize] += pages;
    }

    /// All counters, in a fixed order.
    pub(super) fn to_array(self) -> [u64; COUNTERS] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m] = self.pages;
        let (unreadable, without) = (self.unreadable_struct_pages, self.without_struct_page);
        [a, b, c, d, e, f, g, h, i, j, k, l, m, unreadable, without, self.doubtful, self.doubtful_lists]
    }

    /// Adds counters in the order of [`Counts::to_array`].
    pub(super) fn add_array(&mut self, counters: [u64; COUNTERS]) {
        let [pages @ .., unreadable, without, doubtful, lists] = counters;
        self.pages.iter_mut().zip(pages).for_each(|(sum, count)| *sum += count);
        self.unreadable_struct_pages += unreadable;
        self.without_struct_page += without;
        self.doubtful += doubtful;
        self.doubtful_lists += lists;
    }
}
