//! Kernel profiles: what each release says about its struct page and its log in VMCOREINFO. Values as these
//! releases print them (Linux include/linux/page-flags.h, mm_types.h and kernel/vmcore_info.c of each release).

/// How a compound page shows its order and whether it is hugetlb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compound {
    /// Bytes 16 (destructor) and 17 (order) of the second struct page; to 6.2 under the names of struct page.
    PageDtor,
    /// The same bytes under the names of struct folio, counted from the head; 6.3 to 6.5.
    FolioDtor,
    /// Order in the low byte of the second page's flags, hugetlb as a flag bit there; 6.6 to 6.8.
    FlagBit(u32),
    /// Order likewise, hugetlb as the head's page type; from 6.9.
    Type,
}

/// Where the kernel keeps its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogKind {
    /// `struct printk_log` records in one buffer, to 5.9; with the caller's id when configured.
    Records { caller: bool },
    /// Lockless ring, from 5.10. `exact_end`: a block may end at the ring's end (from 6.18).
    Ring { info_size: u64, exact_end: bool },
}

/// One kernel release as a filter sees it.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub release: &'static str,
    pub lru: u32,
    pub private: u32,
    pub swapcache: u32,
    pub swapbacked: u32,
    pub head: u32,
    /// Slab as a flag bit, to 6.9.
    pub slab_bit: Option<u32>,
    pub hwpoison: Option<u32>,
    pub buddy: i32,
    pub offline: Option<i32>,
    pub hugetlb: Option<i32>,
    pub slab_type: Option<i32>,
    pub unaccepted: Option<i32>,
    pub compound: Compound,
    /// `compound_info` in place of `compound_head`, from 7.1.
    pub compound_info: bool,
    /// `SYMBOL(vmemmap)`, from 6.10.
    pub vmemmap: bool,
    /// `MAX_PHYSMEM_BITS` and `SECTION_SIZE_BITS` are printed.
    pub sparse_bits: bool,
    /// `OFFSET(uts_namespace.name)` is printed; without it the name lies behind a 4-byte refcount.
    pub uts_key: bool,
    pub log: LogKind,
    /// Flag bits of a present section's map besides "present" and "has a map".
    pub section_flags: u64,
}

/// Every release of the matrix, oldest first.
pub(crate) fn all() -> Vec<Kernel> {
    vec![v4_18(), v6_1(), v6_3(), v6_6(), v6_9(), v6_10(), v6_12(), v6_16(), v7_1()]
}

pub(crate) fn v4_18() -> Kernel {
    Kernel {
        release: "4.18.0-synth",
        lru: 5,
        private: 12,
        swapcache: 9,
        swapbacked: 18,
        head: 15,
        slab_bit: Some(8),
        hwpoison: Some(22),
        buddy: -129,
        offline: None,
        hugetlb: None,
        slab_type: None,
        unaccepted: None,
        compound: Compound::PageDtor,
        compound_info: false,
        vmemmap: false,
        sparse_bits: false,
        uts_key: false,
        log: LogKind::Records { caller: false },
        section_flags: 1 << 2,
    }
}

/// Debian's cloud kernel: no `PG_hwpoison`.
pub(crate) fn v6_1() -> Kernel {
    Kernel {
        release: "6.1.0-synth",
        lru: 4,
        private: 13,
        swapcache: 10,
        swapbacked: 19,
        head: 16,
        slab_bit: Some(9),
        hwpoison: None,
        offline: Some(-257),
        sparse_bits: true,
        uts_key: true,
        log: LogKind::Ring { info_size: 88, exact_end: false },
        section_flags: 1 << 2 | 1 << 3,
        ..v4_18()
    }
}

pub(crate) fn v6_3() -> Kernel {
    Kernel { release: "6.3.0-synth", hwpoison: Some(23), compound: Compound::FolioDtor, ..v6_1() }
}

pub(crate) fn v6_6() -> Kernel {
    Kernel {
        release: "6.6.0-synth",
        lru: 5,
        private: 15,
        swapcache: 12,
        swapbacked: 19,
        head: 6,
        slab_bit: Some(11),
        hwpoison: Some(22),
        compound: Compound::FlagBit(8),
        ..v6_1()
    }
}

pub(crate) fn v6_9() -> Kernel {
    Kernel { release: "6.9.0-synth", hugetlb: Some(-2049), compound: Compound::Type, ..v6_6() }
}

pub(crate) fn v6_10() -> Kernel {
    Kernel {
        release: "6.10.0-synth",
        slab_bit: None,
        slab_type: Some(-4097),
        private: 14,
        swapcache: 11,
        vmemmap: true,
        ..v6_9()
    }
}

pub(crate) fn v6_12() -> Kernel {
    Kernel {
        release: "6.12.0-synth",
        swapcache: 10,
        swapbacked: 17,
        hwpoison: Some(20),
        buddy: -268_435_456,
        offline: Some(-251_658_240),
        hugetlb: Some(-201_326_592),
        slab_type: Some(-184_549_376),
        ..v6_10()
    }
}

/// With unaccepted memory, and one section pre-initialised at boot (map flag bit 5).
pub(crate) fn v6_16() -> Kernel {
    Kernel {
        release: "6.16.0-synth",
        unaccepted: Some(-150_994_944),
        section_flags: 1 << 2 | 1 << 3 | 1 << 5,
        ..v6_12()
    }
}

pub(crate) fn v7_1() -> Kernel {
    Kernel {
        release: "7.1.0-synth",
        hwpoison: Some(21),
        compound_info: true,
        log: LogKind::Ring { info_size: 112, exact_end: true },
        ..v6_16()
    }
}
