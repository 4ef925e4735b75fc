//! The VMCOREINFO text: keys in the kernel's own order and spelling (Linux kernel/vmcore_info.c), and edits that
//! turn it into a thin, cut or foreign one.

use super::kernel::{Compound, Kernel, LogKind};

/// The text being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Info {
    lines: Vec<(String, String)>,
}

impl Info {
    pub(crate) fn plain(&mut self, key: &str, value: &str) {
        self.lines.push((key.into(), value.into()));
    }

    pub(crate) fn symbol(&mut self, name: &str, va: u64) {
        self.plain(&format!("SYMBOL({name})"), &format!("{va:x}"));
    }

    pub(crate) fn number(&mut self, name: &str, value: i64) {
        self.plain(&format!("NUMBER({name})"), &value.to_string());
    }

    pub(crate) fn hex_number(&mut self, name: &str, value: u64) {
        self.plain(&format!("NUMBER({name})"), &format!("{value:#x}"));
    }

    pub(crate) fn offset(&mut self, name: &str, value: u64) {
        self.plain(&format!("OFFSET({name})"), &value.to_string());
    }

    pub(crate) fn size(&mut self, name: &str, value: u64) {
        self.plain(&format!("SIZE({name})"), &value.to_string());
    }

    pub(crate) fn length(&mut self, name: &str, value: u64) {
        self.plain(&format!("LENGTH({name})"), &value.to_string());
    }

    /// Takes a key away, or gives it another value.
    pub(crate) fn edit(&mut self, key: &str, value: Option<&str>) {
        self.lines.retain(|(known, _)| known != key);
        if let Some(value) = value {
            self.plain(key, value);
        }
    }

    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }

    /// What every kernel says about struct page, page flags and types.
    pub(crate) fn pages(&mut self, kernel: &Kernel) {
        self.size("page", 64);
        let offsets = [
            ("flags", 0),
            ("_refcount", 52),
            ("mapping", 24),
            ("lru", 8),
            ("_mapcount", 48),
            ("private", 40),
        ];
        for (field, at) in offsets {
            self.offset(&format!("page.{field}"), at);
        }
        self.offset(if kernel.compound_info { "page.compound_info" } else { "page.compound_head" }, 8);
        self.compound(kernel);
        self.length("zone.free_area", 11);
        self.flags(kernel);
    }

    fn compound(&mut self, kernel: &Kernel) {
        match kernel.compound {
            Compound::PageDtor => {
                self.offset("page.compound_dtor", 16);
                self.offset("page.compound_order", 17);
                self.number("HUGETLB_PAGE_DTOR", 2);
            }
            Compound::FolioDtor => {
                self.offset("folio._folio_dtor", 80);
                self.offset("folio._folio_order", 81);
                self.number("HUGETLB_PAGE_DTOR", 2);
            }
            Compound::FlagBit(bit) => self.number("PG_hugetlb", bit.into()),
            Compound::Type => {}
        }
    }

    fn flags(&mut self, kernel: &Kernel) {
        self.number("PG_lru", kernel.lru.into());
        self.number("PG_private", kernel.private.into());
        self.number("PG_swapcache", kernel.swapcache.into());
        self.number("PG_swapbacked", kernel.swapbacked.into());
        self.number("PG_head_mask", 1 << kernel.head);
        self.number("PAGE_BUDDY_MAPCOUNT_VALUE", kernel.buddy.into());
        let optional = [
            ("PG_slab", kernel.slab_bit.map(i64::from)),
            ("PG_hwpoison", kernel.hwpoison.map(i64::from)),
            ("PAGE_OFFLINE_MAPCOUNT_VALUE", kernel.offline.map(i64::from)),
            ("PAGE_HUGETLB_MAPCOUNT_VALUE", kernel.hugetlb.map(i64::from)),
            ("PAGE_SLAB_MAPCOUNT_VALUE", kernel.slab_type.map(i64::from)),
            ("PAGE_UNACCEPTED_MAPCOUNT_VALUE", kernel.unaccepted.map(i64::from)),
        ];
        for (name, value) in optional {
            value.into_iter().for_each(|value| self.number(name, value));
        }
    }

    /// Layouts of the kernel's log.
    pub(crate) fn log(&mut self, kind: LogKind) {
        match kind {
            LogKind::Records { caller } => self.records(caller),
            LogKind::Ring { info_size, .. } => self.ring(info_size),
        }
    }

    fn records(&mut self, caller: bool) {
        self.size("printk_log", 16);
        self.offset("printk_log.ts_nsec", 0);
        self.offset("printk_log.len", 8);
        self.offset("printk_log.text_len", 10);
        self.offset("printk_log.dict_len", 12);
        if caller {
            self.edit("SIZE(printk_log)", Some("20"));
            self.offset("printk_log.caller_id", 16);
        }
    }

    fn ring(&mut self, info_size: u64) {
        let sizes = [
            ("printk_ringbuffer", 88),
            ("prb_desc_ring", 48),
            ("prb_desc", 24),
            ("prb_data_blk_lpos", 16),
            ("printk_info", info_size),
            ("dev_printk_info", 64),
            ("prb_data_ring", 32),
            ("atomic_long_t", 8),
            ("latched_seq", 24),
        ];
        sizes.into_iter().for_each(|(name, value)| self.size(name, value));
        let offsets = [
            ("printk_ringbuffer.desc_ring", 0),
            ("printk_ringbuffer.text_data_ring", 48),
            ("printk_ringbuffer.fail", 80),
            ("prb_desc_ring.count_bits", 0),
            ("prb_desc_ring.descs", 8),
            ("prb_desc_ring.infos", 16),
            ("prb_desc_ring.head_id", 24),
            ("prb_desc_ring.tail_id", 32),
            ("prb_desc.state_var", 0),
            ("prb_desc.text_blk_lpos", 8),
            ("prb_data_blk_lpos.begin", 0),
            ("prb_data_blk_lpos.next", 8),
            ("printk_info.seq", 0),
            ("printk_info.ts_nsec", 8),
            ("printk_info.text_len", 16),
            ("printk_info.caller_id", 20),
            ("printk_info.dev_info", if info_size == 88 { 24 } else { 44 }),
            ("prb_data_ring.size_bits", 0),
            ("prb_data_ring.data", 8),
            ("prb_data_ring.head_lpos", 16),
            ("prb_data_ring.tail_lpos", 24),
            ("atomic_long_t.counter", 0),
            ("latched_seq.val", 8),
        ];
        offsets.into_iter().for_each(|(name, value)| self.offset(name, value));
    }
}
