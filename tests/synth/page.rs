//! What a page of the synthetic machine is used for, in words; what the kernel's struct page then looks like; and
//! which verdict a filter owes it. The verdicts are stated here page kind by page kind, not computed from the bits.

use super::kernel::{Compound, Kernel};
use super::memory::Order;

/// Bytes of a struct page.
pub(crate) const STRUCT_PAGE: usize = 64;

/// A verdict on a page, under the names the tests compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Class {
    Hole,
    NoData,
    Kept,
    Cache,
    PrivateCache,
    User,
    Free,
    Hwpoison,
    Offline,
    Offlined,
}

/// Bits of page->flags by meaning; the kernel profile knows their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    Lru,
    Private,
    Swapcache,
    Swapbacked,
    Hwpoison,
    /// A bit by number, for what only some releases know.
    Bit(u32),
}

/// What the word shared by the map count and the page type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// -1: neither mapped nor typed.
    None,
    Buddy,
    Offline,
    Slab,
    Unaccepted,
    /// A literal value.
    Raw(i32),
}

/// Compound page: order, and whether hugetlb owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Huge {
    pub order: u8,
    pub hugetlb: bool,
    /// Struct pages behind the first frame of them share one frame (hugetlb vmemmap optimisation).
    pub optimised: bool,
    /// Order written in place of the right one.
    pub claims: Option<u8>,
}

/// What the release must know for a verdict to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    Hwpoison,
    Offline,
    Unaccepted,
}

/// "When the level has this bit (0: at any level), so many pages are this class"; the first one that holds wins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub bit: u32,
    pub class: Class,
    pub needs: Needs,
    pub span: u64,
}

/// Bytes of the page itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Zero,
    /// Half compressible, derived from the pfn.
    Pattern,
    /// Incompressible, derived from the pfn.
    Noise,
    Byte(u8),
}

/// A described page: the head when it spans several.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub flags: Vec<Flag>,
    pub mapping: u64,
    pub word: Word,
    pub private: u64,
    pub huge: Option<Huge>,
    /// Tails of a compound page that a memory error hit, by their number: the head is healthy.
    pub broken_tails: Vec<u64>,
    /// A tail that belongs to a head described elsewhere, or to none.
    pub tail: bool,
    pub verdicts: Vec<Verdict>,
    /// `None`: what the description fills memory with.
    pub content: Option<Content>,
}

const MAPPING: u64 = 0xffff_8880_1234_5600;

fn owes(bit: u32, class: Class, span: u64) -> Verdict {
    Verdict { bit, class, needs: Needs::Nothing, span }
}

impl Page {
    /// A page the kernel uses for itself: page tables, stacks, reserved memory.
    pub(crate) fn kernel() -> Page {
        Page {
            flags: vec![],
            mapping: 0,
            word: Word::None,
            private: 0,
            huge: None,
            broken_tails: vec![],
            tail: false,
            verdicts: vec![],
            content: None,
        }
    }

    /// Head of a free block of 2^order pages on the buddy lists.
    pub(crate) fn free(order: u32) -> Page {
        let verdicts = vec![owes(16, Class::Free, 1 << order)];
        Page { word: Word::Buddy, private: order.into(), verdicts, ..Page::kernel() }
    }

    /// Clean page cache without private data.
    pub(crate) fn cache() -> Page {
        let verdicts = vec![owes(2, Class::Cache, 1), owes(4, Class::Cache, 1)];
        Page { flags: vec![Flag::Lru], mapping: MAPPING, verdicts, ..Page::kernel() }
    }

    /// Page cache with buffers or other private data.
    pub(crate) fn private_cache() -> Page {
        let verdicts = vec![owes(4, Class::PrivateCache, 1)];
        Page { flags: vec![Flag::Lru, Flag::Private], mapping: MAPPING, verdicts, ..Page::kernel() }
    }

    /// A tmpfs page in the swap cache, not on the LRU.
    pub(crate) fn swapcache() -> Page {
        Page { flags: vec![Flag::Swapcache, Flag::Swapbacked], ..Page::cache() }
    }

    /// Anonymous memory on the LRU.
    pub(crate) fn anon() -> Page {
        let verdicts = vec![owes(8, Class::User, 1)];
        Page { flags: vec![Flag::Lru, Flag::Swapbacked], mapping: MAPPING | 1, verdicts, ..Page::kernel() }
    }

    /// A transparent huge page of 2^order.
    pub(crate) fn thp(order: u8) -> Page {
        Page::anon().compound(order, false)
    }

    /// A hugetlb page of 2^order, in use or in the pool.
    pub(crate) fn hugetlb(order: u8) -> Page {
        Page { verdicts: vec![owes(8, Class::User, 1)], ..Page::kernel() }.compound(order, true)
    }

    /// A slab page; its mapping word looks anonymous, as it may since 6.2.
    pub(crate) fn slab() -> Page {
        Page { word: Word::Slab, mapping: MAPPING | 1, ..Page::kernel() }
    }

    /// A page lost to a memory error, otherwise unused.
    pub(crate) fn poisoned() -> Page {
        Page::kernel().poison()
    }

    /// A page a balloon or memory device took away.
    pub(crate) fn offline() -> Page {
        let verdicts = vec![Verdict { bit: 0, class: Class::Offline, needs: Needs::Offline, span: 1 }];
        Page { word: Word::Offline, verdicts, ..Page::kernel() }
    }

    /// Head of a block of memory that a confidential guest has not accepted yet (the largest buddy order).
    pub(crate) fn unaccepted() -> Page {
        let verdicts = vec![Verdict { bit: 16, class: Class::Free, needs: Needs::Unaccepted, span: 1 << 10 }];
        Page { word: Word::Unaccepted, verdicts, ..Page::kernel() }
    }

    /// A tail page without a head of its own.
    pub(crate) fn stray_tail() -> Page {
        Page { tail: true, flags: vec![Flag::Lru], mapping: MAPPING | 1, word: Word::Buddy, ..Page::kernel() }
    }

    /// The same page as head of a compound of 2^order; verdicts then cover all of it.
    #[must_use]
    pub(crate) fn compound(self, order: u8, hugetlb: bool) -> Page {
        let verdicts = self.verdicts.into_iter().map(|verdict| Verdict { span: 1 << order, ..verdict });
        Page {
            huge: Some(Huge { order, hugetlb, optimised: false, claims: None }),
            verdicts: verdicts.collect(),
            ..self
        }
    }

    /// The same compound page, its order overwritten.
    #[must_use]
    pub(crate) fn broken_order(self, claims: u8) -> Page {
        let huge = self.huge.map(|huge| Huge { claims: Some(claims), ..huge });
        Page { huge, ..self }
    }

    /// The same hugetlb page with its struct pages optimised away: from 5.18 to 7.0 the first frame of them repeats,
    /// so that every 64th looks like a head; from 7.1 all behind the first frame are tails.
    #[must_use]
    pub(crate) fn optimised(self) -> Page {
        let huge = self.huge.map(|huge| Huge { optimised: true, ..huge });
        Page { huge, ..self }
    }

    /// The same page, hit by a memory error: whatever else it owes comes first. The head of a hugetlb page is marked for
    /// each of its pages, any other for itself.
    #[must_use]
    pub(crate) fn poison(mut self) -> Page {
        self.flags.push(Flag::Hwpoison);
        let span = if self.huge.is_some_and(|huge| huge.hugetlb) { self.described() } else { 1 };
        self.verdicts.push(Verdict { bit: 0, class: Class::Hwpoison, needs: Needs::Hwpoison, span });
        self
    }

    /// The same compound page, with tails that a memory error hit.
    #[must_use]
    pub(crate) fn broken_tails(self, tails: &[u64]) -> Page {
        Page { broken_tails: tails.to_vec(), ..self }
    }

    /// The same page with one more flag.
    #[must_use]
    pub(crate) fn flag(mut self, flag: Flag) -> Page {
        self.flags.push(flag);
        self
    }

    /// The same bits, but owed the verdicts given, on `span` pages each: for the odd cases. `Class::Kept` ends the
    /// rules early.
    #[must_use]
    pub(crate) fn owed(self, verdicts: &[(u32, Class)], span: u64) -> Page {
        Page { verdicts: verdicts.iter().map(|&(bit, class)| owes(bit, class, span)).collect(), ..self }
    }

    #[must_use]
    pub(crate) fn with(self, content: Content) -> Page {
        Page { content: Some(content), ..self }
    }

    /// The class owed at `level`, and for how many pages; `None` when it is kept.
    pub(crate) fn verdict(&self, kernel: &Kernel, level: u32) -> Option<(Class, u64)> {
        let known = |needs| match needs {
            Needs::Nothing => true,
            Needs::Hwpoison => kernel.hwpoison.is_some(),
            Needs::Offline => kernel.offline.is_some(),
            Needs::Unaccepted => kernel.unaccepted.is_some(),
        };
        let holds = |v: &&Verdict| (v.bit == 0 || level & v.bit != 0) && known(v.needs);
        self.verdicts.iter().find(holds).map(|v| (v.class, v.span))
    }

    /// Pages the description is about: what it writes or what its verdicts reach.
    pub(crate) fn extent(&self) -> u64 {
        self.verdicts.iter().map(|verdict| verdict.span).fold(self.described(), u64::max)
    }

    /// Pages whose struct pages this description writes: all of a compound, one otherwise.
    pub(crate) fn described(&self) -> u64 {
        self.huge.map_or(1, |huge| 1 << huge.order)
    }
}

/// The struct page of the `index`-th page of a description.
pub(crate) fn struct_page(page: &Page, index: u64, kernel: &Kernel, order: Order) -> [u8; STRUCT_PAGE] {
    const PER_FRAME: u64 = 4096 / STRUCT_PAGE as u64;
    let repeats = page.huge.is_some_and(|huge| huge.optimised) && !kernel.compound_info;
    let mut bytes = sound_struct_page(page, if repeats { index % PER_FRAME } else { index }, kernel, order);
    if let Some(bit) = kernel.hwpoison.filter(|_| page.broken_tails.contains(&index)) {
        let flags = order.read_u64(&bytes[0..8]) | 1 << bit;
        bytes[0..8].copy_from_slice(&order.u64(flags));
    }
    bytes
}

fn sound_struct_page(page: &Page, index: u64, kernel: &Kernel, order: Order) -> [u8; STRUCT_PAGE] {
    match (page.huge, index) {
        (None, _) => head_bytes(page, kernel, order),
        (Some(_), 0) => head_bytes(page, kernel, order),
        (Some(huge), 1) => second_bytes(huge, kernel, order),
        (Some(_), _) => tail_bytes(order, 0),
    }
}

fn head_bytes(page: &Page, kernel: &Kernel, order: Order) -> [u8; STRUCT_PAGE] {
    let mut flags = 0x2000_0000_0000_0000u64;
    for flag in &page.flags {
        flags |= flag_bit(*flag, kernel).map_or(0, |bit| 1 << bit);
    }
    let mut word = type_word(page.word, kernel);
    if let Some(huge) = page.huge {
        flags |= 1 << kernel.head;
        word = kernel.hugetlb.filter(|_| huge.hugetlb).unwrap_or(word);
    }
    if page.word == Word::Slab {
        flags |= kernel.slab_bit.map_or(0, |bit| 1 << bit);
    }
    let mut bytes = [0; STRUCT_PAGE];
    bytes[0..8].copy_from_slice(&order.u64(flags));
    bytes[8..16].copy_from_slice(&order.u64(if page.tail { TAIL } else { 0 }));
    bytes[24..32].copy_from_slice(&order.u64(page.mapping));
    bytes[40..48].copy_from_slice(&order.u64(page.private));
    bytes[48..52].copy_from_slice(&order.u32(word as u32));
    bytes[52..56].copy_from_slice(&order.u32(1));
    bytes
}

/// Only bit 0 says "tail"; a constant in place of the head's address lets equal struct pages share memory.
const TAIL: u64 = 0xffff_ea00_0000_0001;

fn tail_bytes(order: Order, flags: u64) -> [u8; STRUCT_PAGE] {
    let mut bytes = [0; STRUCT_PAGE];
    bytes[0..8].copy_from_slice(&order.u64(flags));
    bytes[8..16].copy_from_slice(&order.u64(TAIL));
    bytes[48..52].copy_from_slice(&order.u32(u32::MAX));
    bytes
}

fn second_bytes(huge: Huge, kernel: &Kernel, order: Order) -> [u8; STRUCT_PAGE] {
    const HUGETLB_PAGE_DTOR: u8 = 2;
    let claimed = huge.claims.unwrap_or(huge.order);
    match kernel.compound {
        Compound::PageDtor | Compound::FolioDtor => {
            let mut bytes = tail_bytes(order, 0);
            bytes[16] = if huge.hugetlb { HUGETLB_PAGE_DTOR } else { 1 };
            bytes[17] = claimed;
            bytes
        }
        Compound::FlagBit(bit) => {
            tail_bytes(order, u64::from(claimed) | u64::from(huge.hugetlb) << bit | 1 << 61)
        }
        Compound::Type => tail_bytes(order, u64::from(claimed) | 1 << 61),
    }
}

fn flag_bit(flag: Flag, kernel: &Kernel) -> Option<u32> {
    match flag {
        Flag::Lru => Some(kernel.lru),
        Flag::Private => Some(kernel.private),
        Flag::Swapcache => Some(kernel.swapcache),
        Flag::Swapbacked => Some(kernel.swapbacked),
        Flag::Hwpoison => kernel.hwpoison,
        Flag::Bit(bit) => Some(bit),
    }
}

fn type_word(word: Word, kernel: &Kernel) -> i32 {
    match word {
        Word::None => -1,
        Word::Buddy => kernel.buddy,
        Word::Offline => kernel.offline.unwrap_or(-1),
        Word::Slab => kernel.slab_type.unwrap_or(-1),
        Word::Unaccepted => kernel.unaccepted.unwrap_or(-1),
        Word::Raw(value) => value,
    }
}

/// Fills `bytes` with the content of page `pfn`, so that every byte can be told from its address.
pub(crate) fn fill(content: Content, pfn: u64, bytes: &mut [u8]) {
    match content {
        Content::Zero => bytes.fill(0),
        Content::Byte(byte) => bytes.fill(byte),
        Content::Pattern => {
            noise(pfn, bytes);
            for line in bytes.chunks_mut(64) {
                let half = line.len() / 2;
                line[half..].fill(0x2e);
                line[..half].iter_mut().for_each(|byte| *byte &= 0x0f);
            }
            bytes[..8].copy_from_slice(&pfn.to_le_bytes());
        }
        Content::Noise => noise(pfn, bytes),
    }
}

/// SplitMix64, seeded by the pfn.
fn noise(pfn: u64, bytes: &mut [u8]) {
    let mut state = pfn.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635;
    for word in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..word.len()]);
    }
}
