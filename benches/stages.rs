//! What each stage costs per byte, on one core: the collector's (classify, zero test, compress, seal) and the
//! analyst's (open, decompress, pack pages). Pages come from the vmcore that `BENCH_VMCORE` names, else from a
//! synthetic one, whose pages compress better than any machine's.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a bench program")]

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use vmcore_encrypt::blocks::{BlockCompressor, BlockDecompressor, BlockMap, RunKind};
use vmcore_encrypt::collect::is_zero;
use vmcore_encrypt::crypt::{Entropy, Recipients, stream::CHUNK_SIZE};
use vmcore_encrypt::filter::{Classifier, DumpLevel, PageClass};
use vmcore_encrypt::units::{Pfn, PfnRange};
use vmcore_encrypt::unstable::compress::{Codec, PageCompressor};
use vmcore_encrypt::vmcore::Vmcore;

#[path = "../tests/synth/mod.rs"]
mod synth;

const BLOCK: usize = 128 << 10;
const PAGE: usize = 4096;
/// Bytes of pages that the stages work on: far more than caches hold, so that memory counts.
const SAMPLE: usize = 64 << 20;
const RECIPIENT: &str = "age1us5nzjvhxh2ddpcqmj7hyvfhf9w72t6xezhp6ygadmlzlhsleezsn6k8hg";

struct Input {
    core: Vmcore,
    /// Kept pages at level 31, zero pages among them left out; whole blocks.
    pages: Vec<u8>,
}

impl Input {
    fn new() -> Input {
        let named = std::env::var_os("BENCH_VMCORE").map(PathBuf::from);
        let file = tempfile::NamedTempFile::new().unwrap();
        let path: &Path = named.as_deref().unwrap_or(file.path());
        if named.is_none() {
            let zoo = synth::zoo::zoo(synth::arch::x86_64::four_level(), synth::kernel::v6_12());
            zoo.build().write_to(path);
        }
        let core = Vmcore::open(path).unwrap();
        let pages = kept_pages(&core);
        Input { core, pages }
    }
}

fn kept_pages(core: &Vmcore) -> Vec<u8> {
    let mut pages = Vec::new();
    let mut page = vec![0; PAGE];
    each_kept(core, |pfn| {
        if pages.len() < SAMPLE && core.read_pages(pfn, &mut page).is_ok() && !is_zero(&page) {
            pages.extend_from_slice(&page);
        }
    });
    pages.truncate(pages.len() / BLOCK * BLOCK);
    pages
}

/// Calls `each` for the kept pages at level 31; gives how many pages were judged.
fn each_kept(core: &Vmcore, mut each: impl FnMut(Pfn)) -> u64 {
    let (mut classifier, _) = Classifier::new(core, "31".parse::<DumpLevel>().unwrap());
    let mut judged = 0;
    while let Some(window) = classifier.next_window() {
        judged += window.range.count();
        let pfns = (window.range.start.0..).map(Pfn).zip(window.classes);
        pfns.filter(|(_, class)| **class == PageClass::Kept).for_each(|(pfn, _)| each(pfn));
    }
    judged
}

/// Runs `stage` on every `size` bytes of the pages.
fn over(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    bytes: &[u8],
    size: usize,
    mut stage: impl FnMut(&[u8]),
) {
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function(name, |b| b.iter(|| bytes.chunks(size).for_each(&mut stage)));
}

fn collecting(c: &mut Criterion) {
    let input = Input::new();
    let mut group = c.benchmark_group("collect");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(each_kept(&input.core, |_| {}) * PAGE as u64));
    group.bench_function("classify", |b| b.iter(|| each_kept(&input.core, |_| {})));

    over(&mut group, "zero-test-data", &input.pages, PAGE, |page| assert!(!black_box(is_zero(page))));
    over(&mut group, "zero-test-zeros", &vec![0; SAMPLE], PAGE, |page| assert!(black_box(is_zero(page))));
    let mut frame = Vec::new();
    for (name, level) in [("compress-l", -1), ("compress", 1), ("compress-z", 3)] {
        let mut compressor = BlockCompressor::new(level).unwrap();
        over(&mut group, name, &input.pages, BLOCK, |block| {
            frame.clear();
            compressor.compress(block, &mut frame).unwrap();
        });
    }
    over(&mut group, "map", &input.pages, BLOCK, |block| {
        let mut map = BlockMap::default();
        map.push_run(PfnRange::new(1, 1 + (block.len() / PAGE) as u64), RunKind::Data);
        frame.clear();
        map.encode(&mut frame);
    });
    let key = payload_key();
    let mut chunk = Vec::with_capacity(CHUNK_SIZE + 16);
    over(&mut group, "seal", &input.pages, CHUNK_SIZE, |plain| {
        chunk.clear();
        chunk.extend_from_slice(plain);
        key.seal(7, false, &mut chunk);
    });
    group.finish();
}

fn restoring(c: &mut Criterion) {
    let pages = Input::new().pages;
    let mut group = c.benchmark_group("restore");
    group.sample_size(10);
    let key = payload_key();
    let mut sealed = pages[..CHUNK_SIZE].to_vec();
    key.seal(7, false, &mut sealed);
    let mut chunk = Vec::new();
    over(&mut group, "open", &pages, CHUNK_SIZE, |_| {
        chunk.clone_from(&sealed);
        key.open(7, false, &mut chunk).unwrap();
    });
    let mut compressor = BlockCompressor::new(1).unwrap();
    let frames: Vec<Vec<u8>> = pages
        .chunks(BLOCK)
        .map(|block| {
            let mut frame = Vec::new();
            compressor.compress(block, &mut frame).unwrap();
            frame
        })
        .collect();
    let (mut decompressor, mut out) = (BlockDecompressor::new().unwrap(), Vec::new());
    group.throughput(Throughput::Bytes(pages.len() as u64));
    group.bench_function("decompress", |b| {
        b.iter(|| frames.iter().for_each(|frame| decompressor.decompress(frame, &mut out).unwrap()));
    });
    for (name, codec) in
        [("pack-zstd", Codec::Zstd), ("pack-zlib", Codec::Zlib), ("pack-snappy", Codec::Snappy)]
    {
        let mut packer = PageCompressor::new(codec).unwrap();
        let mut packed = Vec::new();
        over(&mut group, name, &pages, PAGE, |page| {
            packed.clear();
            packer.append(page, &mut packed);
        });
    }
    group.finish();
}

fn payload_key() -> vmcore_encrypt::crypt::PayloadKey {
    let recipients = Recipients::from_file_contents(RECIPIENT.as_bytes()).unwrap();
    let mut entropy = Entropy { limit: std::time::Duration::from_secs(60), notify: &mut |_| {} };
    recipients.wrap(&mut entropy).unwrap().1
}

criterion_group!(benches, collecting, restoring);
criterion_main!(benches);
