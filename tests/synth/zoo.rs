//! Ready-made descriptions: a small machine with every kind of page, and a large one for measurements.

use super::{Arch, Class, Content, Flag, Kernel, Page, Synth, Word};

/// Pages from the start of RAM to the first described page of [`zoo`].
pub(crate) const FIRST: u64 = 0x1000;

/// Pages that [`zoo`] has from the start of RAM to the end of its first section's memory.
const END: u64 = 0x3200;

/// 51 MiB of RAM (with 4 KiB pages) in three ranges over two sections, the kernel image's own overlapping segment
/// first, and every kind of page from [`FIRST`] on, with zero pages among them. With larger pages RAM grows
/// likewise, and is zero where nothing is described.
pub(crate) fn zoo(arch: Arch, kernel: Kernel) -> Synth {
    let (ram, page) = (arch.ram, arch.page());
    let second = ram + (END * page).next_multiple_of(1 << arch.section_bits);
    let own = arch.roots() * 8 + 3 * arch.pages_per_section() * 64;
    let synth = Synth::new(arch, kernel)
        .fill(if page == 4096 { Content::Pattern } else { Content::Zero })
        .image(ram + 0x20_0000..ram + 0x40_0000)
        .ram(ram..ram + 9 * page)
        .ram(ram + 0x10_0000..ram + END * page);
    let (synth, tail) =
        if own > 0x80_0000 { (synth.arena(second + 0x80_0000), own + (32 << 20)) } else { (synth, 0) };
    kinds(synth, ram / page + FIRST)
        .ram(second..second + 0x80_0000 + tail)
        .pages(second / page, 20, &Page::cache())
        .pages(second / page + 32, 2, &Page::free(5))
}

/// Every kind of page in turn from `first`, which is a multiple of 512.
fn kinds(synth: Synth, first: u64) -> Synth {
    let mut at = first;
    let mut synth = synth;
    for page in every_kind() {
        let span = page.extent();
        at = at.next_multiple_of(span.next_power_of_two());
        synth = synth.page(at, page);
        at += span;
    }
    assert!(at <= first - FIRST + END, "the zoo has outgrown its RAM: {at:#x}");
    synth
}

/// One page of each kind, of every rule and of every order of rules that differs.
pub(crate) fn every_kind() -> Vec<Page> {
    let anon_in_cache = Page::anon().flag(Flag::Swapcache);
    vec![
        Page::kernel(),
        Page::kernel().with(Content::Zero),
        Page::kernel().with(Content::Noise),
        Page::kernel().with(Content::Byte(0x5a)),
        Page::free(0),
        Page::free(1).with(Content::Zero),
        Page::free(3),
        Page::free(6),
        Page::free(10),
        Page::free(11).owed(&[], 1),
        Page::cache(),
        Page::cache().with(Content::Zero),
        Page::cache().compound(4, false),
        Page::private_cache(),
        Page::private_cache().compound(2, false),
        Page::swapcache(),
        Page { flags: vec![Flag::Swapcache], ..Page::cache() }.owed(&[], 1),
        Page::anon(),
        Page::anon().with(Content::Zero),
        anon_in_cache,
        Page::thp(9),
        Page::thp(4),
        Page::hugetlb(9),
        Page::hugetlb(9).with(Content::Zero),
        Page::hugetlb(9).optimised(),
        Page::anon().flag(Flag::Bit(7)),
        Page::slab(),
        Page::slab().compound(3, false),
        Page::poisoned(),
        Page::anon().poison(),
        Page::cache().poison(),
        Page::slab().poison(),
        Page::slab().compound(3, false).poison(),
        Page::slab().compound(3, false).broken_tails(&[1, 5]),
        Page::kernel().compound(2, false).poison(),
        Page::thp(4).broken_tails(&[1, 7, 15]),
        Page::cache().compound(2, false).broken_tails(&[3]),
        Page::hugetlb(9).poison(),
        Page::free(0).poison(),
        Page::offline(),
        Page::offline().with(Content::Noise),
        Page::unaccepted(),
        Page::stray_tail(),
        Page { mapping: 0xffff_8880_0000_1002, ..Page::kernel() },
        Page { mapping: 0xffff_8880_0000_1003, ..Page::kernel() }.owed(&[(8, Class::User)], 1),
        Page { word: Word::Raw(7), ..Page::cache() },
        Page::kernel().compound(5, false),
    ]
}

/// A machine of `gib` GiB (at least 8) whose vmcore takes a few MiB of disk: every section looks alike (half free,
/// a quarter cache, an eighth huge anonymous pages, the rest the kernel's), and what it holds is zero. Pages are
/// 4 KiB.
pub(crate) fn large(arch: Arch, kernel: Kernel, gib: u64) -> Synth {
    const GIB: u64 = 1 << 30;
    let ram = arch.ram;
    let mut pattern: Vec<(u64, Page)> = (0..16).map(|n| (n * 1024, Page::free(10))).collect();
    pattern.extend((0..8192).map(|n| (0x4000 + n, Page::cache())));
    pattern.extend((0..8).map(|n| (0x6000 + n * 512, Page::thp(9))));
    Synth::new(arch, kernel)
        .fill(Content::Zero)
        .everywhere(pattern)
        .ram(ram + 0x10_0000..ram + 3 * GIB)
        .ram(ram + 4 * GIB..ram + (gib + 1) * GIB)
        .page(ram / 4096 + 0x100, Page::kernel())
}
