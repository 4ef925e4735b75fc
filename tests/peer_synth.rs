//! makedumpfile as the judge: synthetic vmcores of every kernel it knows, and struct pages of random content, must
//! give the same second bitmap at every level. Where the two differ on purpose, the case says so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

mod common;
mod synth;

use common::{judge, or_skip};
use std::path::{Path, PathBuf};
use std::process::Command;
use synth::kernel::LogKind;
use synth::{Content, Core, Flag, Kernel, Page, Presence, Synth, Word, arch, kernel, zoo};
use vmcore_encrypt::filter::{Beyond, Classifier, DumpLevel, PageClass};
use vmcore_encrypt::units::Pfn;
use vmcore_encrypt::vmcore::Vmcore;

fn makedumpfile() -> Option<PathBuf> {
    or_skip(judge::program("makedumpfile"))
}

/// The kernels it can be compared on: to 6.16, and without the section flag that it takes for an address bit.
fn kernels() -> impl Iterator<Item = Kernel> {
    let known = |kernel: &Kernel| !kernel.compound_info;
    kernel::all().into_iter().filter(known).map(|kernel| Kernel { section_flags: 1 << 2 | 1 << 3, ..kernel })
}

/// Levels at which both judge alike: without `PG_hwpoison` makedumpfile looks at no page at 0 and 1.
fn levels(kernel: &Kernel) -> impl Iterator<Item = u8> {
    let first = if kernel.hwpoison.is_none() { 2 } else { 0 };
    [0, 1, 2, 4, 8, 16, 23, 31].into_iter().filter(move |level| *level >= first)
}

/// The second bitmap of makedumpfile's dump, a bit for each pfn.
fn their_bitmap(program: &Path, vmcore: &Path, level: u8) -> Vec<bool> {
    let dump = vmcore.with_extension("dump");
    let run = Command::new(program)
        .args(["-f", "--message-level", "4", "-d", &level.to_string()])
        .args([vmcore, &dump])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let bytes = std::fs::read(dump).unwrap();
    let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (block, sub_header, bitmaps, pages) = (field(428), field(432), field(436), field(440));
    let second = (1 + sub_header + bitmaps / 2) * block;
    (0..pages).map(|pfn| bytes[second + pfn / 8] >> (pfn % 8) & 1 == 1).collect()
}

fn our_bitmap(vmcore: &Vmcore, level: u8) -> Vec<bool> {
    let (mut classifier, _) = Classifier::of(vmcore, DumpLevel::new(level).unwrap(), Beyond::NOTHING);
    let Pfn(end) = classifier.max_mapnr();
    let mut bits = vec![false; usize::try_from(end).unwrap()];
    while let Some(window) = classifier.next_window() {
        let start = usize::try_from(window.range.start.0).unwrap();
        for (bit, class) in bits[start..].iter_mut().zip(window.classes) {
            *bit = *class == PageClass::Kept;
        }
    }
    bits
}

fn compare(program: &Path, name: &str, core: &Core) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vmcore");
    core.write_to(&path);
    let vmcore = Vmcore::open(&path).unwrap();
    for level in levels(&core.kernel) {
        let (theirs, ours) = (their_bitmap(program, &path, level), our_bitmap(&vmcore, level));
        assert_eq!(theirs.len(), ours.len(), "{name}, level {level}: pages");
        let differ = |&pfn: &usize| theirs[pfn] != ours[pfn] && !core.is_broken_in_part(pfn as u64);
        let differ: Vec<String> = (0..ours.len()).filter(differ).map(|pfn| format!("{pfn:#x}")).collect();
        let first = &differ[..differ.len().min(8)];
        assert!(differ.is_empty(), "{name}, level {level}: {} pfns differ: {first:?}", differ.len());
    }
}

#[test]
fn described_pages_are_judged_alike() {
    let Some(program) = makedumpfile() else { return };
    for kernel in kernels() {
        let core = zoo::zoo(arch::x86_64::four_level(), without_waiters(kernel)).build();
        compare(&program, core.kernel.release, &core);
    }
    let core = zoo::zoo(arch::x86_64::five_level(), without_waiters(kernel::v6_12())).build();
    compare(&program, "five levels", &core);
}

/// From 6.10 on makedumpfile takes bit 7 (a page somebody waits for) for the slab flag of old: with the key given,
/// as a bit that nothing sets, both read alike.
fn without_waiters(kernel: Kernel) -> Kernel {
    Kernel { slab_bit: kernel.slab_bit.or(Some(50)), ..kernel }
}

/// Random flags, types, mappings and compound words in 4000 struct pages.
#[test]
fn random_struct_pages_are_judged_alike() {
    let Some(program) = makedumpfile() else { return };
    for (kernel, seed) in kernels().zip(1u64..) {
        let core = random_machine(without_waiters(kernel), seed).build();
        assert_eq!(core.presence(0x1000), Presence::Data);
        compare(&program, core.kernel.release, &core);
    }
}

fn random_machine(kernel: Kernel, seed: u64) -> Synth {
    let mut random = Random(seed);
    let mut synth = Synth::new(arch::x86_64::four_level(), kernel.clone())
        .fill(Content::Byte(1))
        .ram(0x10_0000..0x200_0000)
        .ram(0x208_0000..0x280_0000);
    for pfn in 0x1000..0x1000 + 4000 {
        synth = synth.page(pfn, random.page(&kernel));
    }
    synth
}

/// A linear congruential generator: the same pages in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn page(&mut self, kernel: &Kernel) -> Page {
        let bits = [kernel.lru, kernel.private, kernel.swapcache, kernel.swapbacked, kernel.head];
        // A kernel has a slab flag or a slab type, not both.
        let slab = kernel.slab_bit.filter(|_| kernel.slab_type.is_none()).unwrap_or(0);
        let rare = [slab, kernel.hwpoison.unwrap_or(21), 0, 3, 7, 8, 61];
        let mut flags: Vec<Flag> = bits.into_iter().filter(|_| self.below(3) == 0).map(Flag::Bit).collect();
        flags.extend(rare.into_iter().filter(|_| self.below(12) == 0).map(Flag::Bit));
        let words = [kernel.buddy, -1, -1, -1, 0, 1, -2, kernel.buddy + 1];
        let types = [kernel.offline, kernel.hugetlb, kernel.slab_type, kernel.unaccepted];
        let word = match self.below(14) {
            n @ 0..8 => words[usize::try_from(n).unwrap()],
            n => types[usize::try_from(n % 4).unwrap()].unwrap_or(-1),
        };
        let mapping = [0, 0x8880_1000, 0x8880_1001, 0x8880_1002, 0x8880_1003];
        let tail = self.below(4) == 0;
        // A broken page of a compound one is judged otherwise: docs/filtering.md.
        let is_compound = tail || flags.contains(&Flag::Bit(kernel.head));
        flags.retain(|flag| !(is_compound && *flag == Flag::Bit(kernel.hwpoison.unwrap_or(21))));
        Page {
            flags,
            mapping: mapping[usize::try_from(self.below(5)).unwrap()],
            word: Word::Raw(word),
            private: self.below(13),
            tail,
            ..Page::kernel()
        }
    }
}

/// The log as makedumpfile prints it, but for bytes above 0x7f, which it extends as negative numbers.
#[test]
fn the_log_reads_alike() {
    let Some(program) = makedumpfile() else { return };
    for kernel in kernels().filter(|kernel| !matches!(kernel.log, LogKind::Ring { exact_end: true, .. })) {
        let directory = tempfile::tempdir().unwrap();
        let [vmcore, log] = ["vmcore", "log"].map(|name| directory.path().join(name));
        let core = zoo::zoo(arch::x86_64::four_level(), kernel).build();
        core.write_to(&vmcore);
        let run = Command::new(&program).arg("--dump-dmesg").args([&vmcore, &log]).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let theirs = std::fs::read_to_string(log).unwrap().replace("\\xffffff", "\\x");
        assert_eq!(theirs, core.log, "{}", core.kernel.release);
    }
}
