//! The layout of `struct page`: where in its bytes the members are that tell what a page is used for.
//! Resolved once from VMCOREINFO and checked, so that a member is then a load at a fixed place.
//!
//! Source: Linux `include/linux/mm_types.h`, `include/linux/page-flags.h`, `kernel/vmcore_info.c`.

use super::error::Error;
use crate::units::ByteOrder;
use crate::vmcore::VmcoreInfo;

/// 64 in practice, 56 and 80 by configuration; more than this is no `struct page`.
const MAX_SIZE: u64 = 512;

/// Where the members of `struct page` are, in bytes. Every member is inside the structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLayout {
    /// Bytes per structure.
    pub size: usize,
    /// `flags`, u64.
    pub flags: usize,
    /// `mapping`, u64. Bit 0: anonymous memory.
    pub mapping: usize,
    /// `_mapcount`, u32, shared with `page_type`. Absent before the kernels that print it.
    pub mapcount: Option<usize>,
    /// `_refcount`, u32: how many use the page. It decides when a page is sent, and whether a list of free pages is believed.
    pub refcount: Option<usize>,
    /// `lru`, two u64: the links of a list that the page is on.
    pub lru: Option<usize>,
    /// `private`, u64: the order of a free block at its first page.
    pub private: Option<usize>,
    /// `compound_head`, since commit d50569612c29 ("mm: rename the 'compound_head' field in the 'struct page' to
    /// 'compound_info'") (in v7.1) `compound_info`, u64. Bit 0: a tail page.
    pub compound_head: usize,
    /// How a compound page's second structure tells order and kind.
    pub compound: CompoundKeys,
    order: ByteOrder,
}

/// How the order of a compound page, and whether it is hugetlb, are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompoundKeys {
    /// Order in the second structure's flags; hugetlb is a page type of the first. Since commit d99e3140a4d3 ("mm: turn
    /// folio_test_hugetlb into a PageType") (in v6.9).
    PageType(u32),
    /// Order and a hugetlb flag (this mask) in the second structure's flags. Since commit ebc1baf5c9b4 ("mm: free up a
    /// word in the first tail page") (in v6.6).
    SecondFlags(u64),
    /// Before v6.6: a byte each in the second structure, and the destructor that means hugetlb.
    Bytes {
        /// Offset of the order.
        order: usize,
        /// Offset of the destructor number.
        dtor: usize,
        /// The destructor of hugetlb pages; none when the kernel has no hugetlb.
        hugetlb_dtor: Option<u8>,
    },
    /// VMCOREINFO lacks the keys: every page is judged by its own structure.
    Unknown,
}

impl PageLayout {
    /// Resolves the layout from VMCOREINFO.
    ///
    /// # Errors
    ///
    /// `SIZE(page)`, `OFFSET(page.flags)`, `OFFSET(page.mapping)` or the mark of a tail page is missing, or a number puts
    /// a member outside the structure.
    pub fn new(info: &VmcoreInfo, order: ByteOrder) -> Result<PageLayout, Error> {
        let size = info.size("page").ok_or(Error::MissingKey("SIZE(page)"))?;
        if !(16..=MAX_SIZE).contains(&size) || !size.is_multiple_of(8) {
            return Err(Error::AbsurdKey { key: "SIZE(page)", value: size });
        }
        let member = |name: &str, key, width| match info.offset(name) {
            None => Ok(None),
            Some(at) if at <= size - width => Ok(usize::try_from(at).ok()),
            Some(value) => Err(Error::AbsurdKey { key, value }),
        };
        let head = match member("page.compound_info", "OFFSET(page.compound_info)", 8)? {
            None => member("page.compound_head", "OFFSET(page.compound_head)", 8)?,
            found => found,
        };
        // Every kernel prints it; without it a tail would be judged by what its head keeps there.
        let head =
            head.ok_or(Error::MissingKey("OFFSET(page.compound_info) or OFFSET(page.compound_head)"))?;
        let flags = member("page.flags", "OFFSET(page.flags)", 8)?;
        let mapping = member("page.mapping", "OFFSET(page.mapping)", 8)?;
        Ok(PageLayout {
            size: usize::try_from(size).map_err(|_| Error::MissingKey("SIZE(page)"))?,
            flags: flags.ok_or(Error::MissingKey("OFFSET(page.flags)"))?,
            mapping: mapping.ok_or(Error::MissingKey("OFFSET(page.mapping)"))?,
            mapcount: member("page._mapcount", "OFFSET(page._mapcount)", 4)?,
            refcount: member("page._refcount", "OFFSET(page._refcount)", 4).unwrap_or(None),
            lru: member("page.lru", "OFFSET(page.lru)", 16).unwrap_or(None),
            private: member("page.private", "OFFSET(page.private)", 8)?,
            compound_head: head,
            compound: compound_keys(info, size),
            order,
        })
    }

    /// The u64 at `at` in one structure's bytes; 0 outside them.
    #[inline]
    #[must_use]
    pub fn u64(&self, page: &[u8], at: usize) -> u64 {
        self.order.u64_at(page, at).unwrap_or(0)
    }

    /// The u32 at `at` in one structure's bytes; 0 outside them.
    #[inline]
    #[must_use]
    pub fn u32(&self, page: &[u8], at: usize) -> u32 {
        self.order.u32_at(page, at).unwrap_or(0)
    }
}

/// The newest way the kernel tells wins: some print an older key beside it.
fn compound_keys(info: &VmcoreInfo, size: u64) -> CompoundKeys {
    if let Some(value) = page_type(info, "PAGE_HUGETLB_MAPCOUNT_VALUE") {
        return CompoundKeys::PageType(value);
    }
    if let Some(mask) = flag(info, "PG_hugetlb") {
        return CompoundKeys::SecondFlags(mask);
    }
    // Folio offsets count from the first structure, page offsets from the second.
    let second = |page: &str, folio: &str| {
        let at = info.offset(page).or_else(|| info.offset(folio)?.checked_sub(size))?;
        usize::try_from(at).ok().filter(|_| at < size)
    };
    let order = second("page.compound_order", "folio._folio_order");
    let dtor = second("page.compound_dtor", "folio._folio_dtor");
    match (order, dtor) {
        (Some(order), Some(dtor)) => {
            let hugetlb_dtor = info.number("HUGETLB_PAGE_DTOR").and_then(|n| u8::try_from(n).ok());
            CompoundKeys::Bytes { order, dtor, hugetlb_dtor }
        }
        _ => CompoundKeys::Unknown,
    }
}

/// `_mapcount` of a page that is neither mapped nor of any type.
pub const NO_TYPE: u32 = u32::MAX;

/// A page type as the whole 32-bit word that `_mapcount` then holds.
#[must_use]
pub fn page_type(info: &VmcoreInfo, name: &str) -> Option<u32> {
    let value = info.number(name)?;
    i32::try_from(value).map(i32::cast_unsigned).or_else(|_| u32::try_from(value)).ok()
}

/// A bit of `page.flags` as a mask, from the bit number that VMCOREINFO prints.
#[must_use]
pub fn flag(info: &VmcoreInfo, name: &str) -> Option<u64> {
    let bit = u32::try_from(info.number(name)?).ok()?;
    1u64.checked_shl(bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str =
        "SIZE(page)=64\nOFFSET(page.flags)=0\nOFFSET(page.mapping)=24\nOFFSET(page.compound_head)=8\n";

    fn layout(more: &str) -> Result<PageLayout, String> {
        let info = VmcoreInfo::parse(format!("{BASE}{more}").as_bytes());
        PageLayout::new(&info, ByteOrder::Little).map_err(|e| e.to_string())
    }

    #[test]
    fn each_kernel_era_tells_compound_pages_its_way() {
        let old =
            "OFFSET(page.compound_dtor)=16\nOFFSET(page.compound_order)=17\nNUMBER(HUGETLB_PAGE_DTOR)=2\n";
        let bytes = CompoundKeys::Bytes { order: 17, dtor: 16, hugetlb_dtor: Some(2) };
        assert_eq!(layout(old).unwrap().compound, bytes);
        let folio =
            "OFFSET(folio._folio_dtor)=80\nOFFSET(folio._folio_order)=81\nNUMBER(HUGETLB_PAGE_DTOR)=2\n";
        assert_eq!(layout(folio).unwrap().compound, bytes);
        assert_eq!(layout("NUMBER(PG_hugetlb)=8\n").unwrap().compound, CompoundKeys::SecondFlags(256));
        let both = format!("{old}NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)=-201326592\n");
        assert_eq!(layout(&both).unwrap().compound, CompoundKeys::PageType(0xf400_0000));
        assert_eq!(layout("").unwrap().compound, CompoundKeys::Unknown);
    }

    #[test]
    fn members_outside_the_structure_are_refused() {
        assert_eq!(
            layout("OFFSET(page._mapcount)=61\n").unwrap_err(),
            "VMCOREINFO has an absurd OFFSET(page._mapcount): 0x3d"
        );
        assert!(layout("OFFSET(page._mapcount)=60\n").is_ok());
        let beyond = "OFFSET(page.compound_dtor)=16\nOFFSET(page.compound_order)=64\n";
        assert_eq!(layout(beyond).unwrap().compound, CompoundKeys::Unknown);
    }

    #[test]
    fn absurd_sizes_are_refused() {
        for size in ["0", "8", "63", "513", "9223372036854775807", "-1"] {
            let text = format!("SIZE(page)={size}\nOFFSET(page.flags)=0\nOFFSET(page.mapping)=8\n");
            assert!(
                PageLayout::new(&VmcoreInfo::parse(text.as_bytes()), ByteOrder::Little).is_err(),
                "{size}"
            );
        }
    }

    #[test]
    fn the_tail_mark_is_needed_under_either_name() {
        assert_eq!(layout("OFFSET(page.compound_info)=16\n").unwrap().compound_head, 16);
        assert_eq!(layout("").unwrap().compound_head, 8);
        let info = VmcoreInfo::parse(BASE.replace("compound_head", "compound_other").as_bytes());
        let error = PageLayout::new(&info, ByteOrder::Little).unwrap_err().to_string();
        assert_eq!(
            error,
            "VMCOREINFO has no usable OFFSET(page.compound_info) or OFFSET(page.compound_head)"
        );
    }
}
