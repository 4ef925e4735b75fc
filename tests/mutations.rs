//! Vmcores that are damaged at random, of every architecture: the collector never panics or hangs, and whatever dump
//! it makes restores, with pages that have the bytes of memory. Seeds are fixed; a failure names its seed.
//! `VMCORE_MUTATIONS=N` tries N seeds of each machine, `VMCORE_SEED=N` one alone.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod readers;
mod synth;

use common::faulty::Faulty;
use common::pages::{collect, restore};
use readers::{Found, Kdump};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use synth::{Arch, Content, Page, Synth, arch, kernel};
use vmcore_encrypt::units::Pfn;
use vmcore_encrypt::vmcore::Vmcore;

/// Seeds of each machine in a usual run.
const SEEDS: u64 = 45;
/// A dump of a few MiB that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Larger files than these are restored to nothing: they are mostly holes, but a test reads them whole.
const MOST_PFNS: u64 = 1 << 22;

/// A small generator, since nothing here needs a good one. Source: Vigna, "xorshift64*".
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

/// What is damaged.
struct Victim {
    bytes: Arc<Vec<u8>>,
    /// Where in the file headers and notes end.
    head: u64,
    /// Where VMCOREINFO is.
    text: std::ops::Range<usize>,
    /// Places of page tables, page structures and other tables: the builder's own bytes.
    places: Vec<u64>,
}

impl Victim {
    fn new(arch: Arch, kernel: synth::Kernel) -> Victim {
        let (ram, page) = (arch.ram, arch.page());
        let own = arch.roots() * 8 + arch.pages_per_section() * 64 + (24 << 20);
        let first = (ram + own).next_multiple_of(512 * page) / page;
        let core = Synth::new(arch, kernel)
            .fill(Content::Zero)
            .ram(ram..(first + 512) * page)
            .page(first, Page::free(6))
            .pages(first + 64, 32, &Page::cache())
            .pages(first + 96, 16, &Page::anon().with(Content::Noise))
            .page(first + 128, Page::thp(6).with(Content::Pattern))
            .page(first + 192, Page::hugetlb(6))
            .page(first + 256, Page::slab().compound(3, false).with(Content::Pattern))
            .page(first + 264, Page::offline())
            .page(first + 265, Page::poisoned())
            .build();
        let bytes = core.to_bytes();
        let text = core.vmcoreinfo.as_bytes();
        let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
        let (start, end) = core.arena();
        let used = (start..end).step_by(8).filter(|paddr| {
            let at = usize::try_from(core.offsets_of(*paddr)[0]).unwrap();
            bytes[at..at + 8] != [0; 8]
        });
        let places: Vec<u64> = used.map(|paddr| core.offsets_of(paddr)[0]).collect();
        Victim { text: at..at + text.len(), head: core.offsets_of(ram)[0], places, bytes: Arc::new(bytes) }
    }

    /// A handful of damages of one or several kinds.
    fn damaged(&self, random: &mut Random) -> Faulty {
        let mut source = Faulty::new(&self.bytes);
        for _ in 0..=random.below(12) {
            source = match random.below(16) {
                0 => source.patch(random.below(self.head), &[random.next().to_le_bytes()[0]]),
                1 => source.patch(random.below(8) * 8 + 64 + 56 * random.below(2), &self.word(random)),
                2..=4 => self.other_number(source, random),
                5 => self.cut_text(source, random),
                6 => source.cut(random.below(self.bytes.len() as u64)),
                7 => {
                    let start = random.below(self.bytes.len() as u64);
                    source.bad(start..start + 1 + random.below(1 << 16))
                }
                8 => source.in_pieces(1 + usize::try_from(random.below(9000)).unwrap()),
                9 => self.copied(source, random),
                _ => self.other_word(source, random),
            };
        }
        source
    }

    /// A word that breaks things.
    fn word(&self, random: &mut Random) -> [u8; 8] {
        let any = random.next();
        let known = usize::try_from(*random.pick(&self.places)).unwrap();
        let word = match random.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => any,
            3 => 1 << (any % 64),
            4 => any >> (any % 64),
            5 => any % 4096,
            _ => return self.bytes[known..known + 8].try_into().unwrap(),
        };
        if any.is_multiple_of(2) { word.to_le_bytes() } else { word.to_be_bytes() }
    }

    /// A table entry or a member of a page structure, or a run of them.
    fn other_word(&self, source: Faulty, random: &mut Random) -> Faulty {
        let at = *random.pick(&self.places);
        let word = self.word(random);
        let times = if random.below(4) == 0 { random.below(512) } else { 1 };
        let room = self.bytes.len() as u64 - at;
        let len = usize::try_from((times * 8).min(room)).unwrap();
        source.patch(at, &word.repeat(64 * 8)[..len])
    }

    /// A page of tables in the place of another.
    fn copied(&self, source: Faulty, random: &mut Random) -> Faulty {
        let [from, to] = [0; 2].map(|_| usize::try_from(*random.pick(&self.places)).unwrap() & !4095);
        let len = 4096.min(self.bytes.len() - from.max(to));
        source.patch(to as u64, &self.bytes[from..from + len])
    }

    /// One of VMCOREINFO's values, in as many digits.
    fn other_number(&self, source: Faulty, random: &mut Random) -> Faulty {
        let text = &self.bytes[self.text.clone()];
        let values: Vec<_> = (0..text.len()).filter(|&at| text[at] == b'=').map(|at| at + 1).collect();
        let start = *random.pick(&values);
        let len = text[start..].iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let digits: &[u8] =
            random.pick::<&[u8]>(&[b"0123456789", b"0123456789abcdef", b"9", b"f", b"0", b"-1", b"0x8"]);
        let mut value: Vec<u8> = (0..len).map(|_| *random.pick(digits)).collect();
        let keep = usize::try_from(random.below(len as u64 + 1)).unwrap();
        if random.below(2) == 0 {
            value[..keep].copy_from_slice(&text[start..start + keep]);
        }
        source.patch((self.text.start + start) as u64, &value)
    }

    fn cut_text(&self, source: Faulty, random: &mut Random) -> Faulty {
        let cut = usize::try_from(random.below(self.text.len() as u64)).unwrap();
        source.patch((self.text.start + cut) as u64, &vec![0; self.text.len() - cut])
    }

    /// Everything that must hold for one seed; `None` when the headers say that it is no vmcore.
    fn survive(&self, seed: u64) -> Option<()> {
        let source = || self.damaged(&mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        let vmcore = Vmcore::from_source(Box::new(source())).ok()?;
        let level = *Random(seed + 1).pick(&[31, 0, 16, 8, 1, 31]);
        let dump = collect(&vmcore, level).ok()?;
        let pages = &dump.pages;
        let excluded = pages.cache
            + pages.cache_private
            + pages.user
            + pages.free
            + pages.offlined
            + pages.cpu_lists
            + pages.compressed
            + pages.structures
            + pages.hwpoison
            + pages.offline;
        assert!(pages.saved + pages.zero + pages.unreadable + excluded <= pages.present, "{pages:?}");
        assert!(pages.unjudged + pages.doubtful <= pages.present, "{pages:?}");
        if pages.total > MOST_PFNS {
            restore(&dump.bytes, None);
            return Some(());
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        restore(&dump.bytes, Some(file.path()));
        let kdump = Kdump::open(file.path());
        let mut found = 0;
        let mut bytes = vec![0; kdump.block];
        for pfn in 0..kdump.max_mapnr {
            if let Found::Bytes(page) = kdump.page(pfn) {
                vmcore.read_pages(Pfn(pfn), &mut bytes).unwrap();
                assert!(page == bytes, "pfn {pfn:#x}");
                found += 1;
            }
        }
        assert_eq!(found, pages.saved + pages.zero);
        Some(())
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn damaged_vmcores_are_dumped_as_far_as_they_can_be() {
    let kernels = kernel::all();
    let seeds = match (number("VMCORE_SEED"), number("VMCORE_MUTATIONS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(SEEDS),
    };
    let mut dumped = 0;
    for (n, (name, arch)) in arch::all().into_iter().enumerate() {
        let victim = Victim::new(arch, kernels[n % kernels.len()].clone());
        for seed in seeds.clone() {
            let started = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| victim.survive(seed)));
            let took = started.elapsed();
            match result {
                Ok(Some(())) => dumped += 1,
                Ok(None) => {}
                Err(_) => panic!("{name}, VMCORE_SEED={seed}"),
            }
            assert!(took < PATIENCE, "{name}, VMCORE_SEED={seed} took {took:?}");
        }
    }
    let tried = arch::all().len() as u64 * (seeds.end - seeds.start);
    assert!(
        dumped * 2 > tried || tried < 100,
        "{dumped} of {tried} could be dumped: the damage is too heavy"
    );
}
