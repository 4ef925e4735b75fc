//! Where the kernel image is in physical memory, and where in it the data begin.

use crate::units::{Pfn, PfnRange, PhysAddr, VirtAddr};
use crate::vmcore::{Segment, Vmcore};
use std::cmp::Reverse;

/// The most pages of a kernel image: 256 MiB of 4 KiB pages, several kernel images.
const MAX_IMAGE: u64 = 1 << 16;
/// Data start at a multiple of this in every layout of a kernel image, or close after one. Bytes.
const DATA_ALIGN: u64 = 2 << 20;
/// VMCOREINFO symbols in the kernel's data section; at least one is near its start.
const IN_DATA: [&str; 6] =
    ["init_top_pgt", "swapper_pg_dir", "init_uts_ns", "printk_rb_static", "prb", "node_online_map"];

/// The pages of a kernel image, at most `MAX_IMAGE`. Those that the kernel gave back after boot are among them, and
/// may hold anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelImage {
    /// Text and constants, before the data; may be empty.
    pub text: PfnRange,
    /// From the data on; the whole image where its data cannot be found.
    pub data: PfnRange,
}

impl KernelImage {
    /// Finds the image by its segment: several machines list its mapping as a segment of its own, which overlaps the
    /// RAM segment that holds it. `None` elsewhere: then the image is memory like other.
    #[must_use]
    pub fn find(vmcore: &Vmcore) -> Option<KernelImage> {
        let (image, shift) = segment(vmcore)?;
        let page = vmcore.page_size();
        let physical = |vaddr: VirtAddr| page.pfn_of(PhysAddr(vaddr.0.wrapping_add(shift)));
        let info = vmcore.vmcoreinfo();
        let symbols = IN_DATA.iter().filter_map(|name| info?.symbol(name)).map(physical);
        let align = DATA_ALIGN >> page.shift();
        let data = symbols.filter(|&pfn| image.contains(pfn)).min();
        let data = data.map_or(image.start.0, |pfn| pfn.0 / align * align).max(image.start.0);
        Some(KernelImage { text: PfnRange::new(image.start.0, data), data: PfnRange::new(data, image.end.0) })
    }
}

/// The pages of the image's segment, and what makes a physical address of a virtual one in it.
fn segment(vmcore: &Vmcore) -> Option<(PfnRange, u64)> {
    let page = vmcore.page_size();
    let range = |segment: &Segment| {
        let end = segment.paddr.0.checked_add(segment.mem_size)?;
        let range = PfnRange::new(page.pfn_of(segment.paddr).0, end.div_ceil(page.bytes()));
        Some((range, segment.paddr.0.wrapping_sub(segment.vaddr.0)))
    };
    let mut ranges: Vec<_> = vmcore.segments().iter().filter_map(range).collect();
    // What holds another range comes before it: it starts earlier, or there and ends later.
    ranges.sort_by_key(|(range, _)| (range.start, Reverse(range.end)));
    ranges.dedup_by_key(|(range, _)| *range);
    let mut reach = Pfn(0);
    ranges.into_iter().find(|(range, _)| {
        let inside = range.end <= reach;
        reach = reach.max(range.end);
        inside && !range.is_empty() && range.count() <= MAX_IMAGE
    })
}
