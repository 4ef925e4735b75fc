//! Dumps under construction, valid in age and in zstd, as somebody makes them who knows a recipient. Taken with `#[path]`
//! by programs that also have `synth`, `readers` and `dump`.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "each test program uses another part"
)]

use crate::dump::{collect, plaintext, recipients, with_entropy};
use crate::synth::{Content, Page, Synth, arch, kernel};
use std::io::Write;
use std::sync::LazyLock;
use vmcore_encrypt::blocks::{
    BlockMap, ClassCounts, Frame, Head, IndexEntry, IndexPiece, IndexWriter, RunKind, Splitter, Tail,
    skippable_frame,
};
use vmcore_encrypt::crypt::EncryptWriter;
use vmcore_encrypt::units::{Pfn, PfnRange};
use vmcore_encrypt::unstable::kdump::{Records, STATUS_OFFSET, flat_header, record_head};

/// The stream of an honest dump, and how many pfns it describes.
pub(crate) static HONEST: LazyLock<(Vec<u8>, u64)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vmcore");
    let machine = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).fill(Content::Zero);
    let noise = Page::kernel().with(Content::Noise);
    let core =
        machine.ram(0x10_0000..0x80_0000).pages(0x400, 256, &noise).pages(0x500, 2, &Page::free(7)).build();
    core.write_to(&path);
    (plaintext(&collect(&path, 31, 2, None).bytes), core.max_mapnr())
});

/// A part of the stream: frames that belong together.
#[derive(Clone)]
pub(crate) enum Part {
    /// A block with its map.
    Block(BlockMap, Vec<u8>),
    /// Any other frame that comes before the index.
    Other(Vec<u8>),
}

/// A dump under construction. The index and the tail are made of what it holds, and then changed.
#[derive(Clone)]
pub(crate) struct Forged {
    pub(crate) parts: Vec<Part>,
    /// The honest counts.
    pub(crate) counts: ClassCounts,
    pub(crate) complete: bool,
    /// What the index names: by default what is there.
    pub(crate) index: fn(&mut Vec<IndexEntry>),
    /// Whether the tail names the index.
    pub(crate) indexed: bool,
    /// What follows the tail.
    pub(crate) after: Vec<u8>,
    pub(crate) tails: usize,
}

pub(crate) fn frame_of(tag: [u8; 4], content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    skippable_frame(&mut bytes, tag, content);
    bytes
}

pub(crate) fn data_frame(content: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(content, 1).unwrap()
}

/// A block of pages that are zero: its map.
pub(crate) fn zero_block(start: u64, pages: u64) -> Part {
    let mut map = BlockMap::default();
    map.push_run(PfnRange::new(start, start + pages), RunKind::Zero);
    block(map, &[])
}

pub(crate) fn block(map: BlockMap, frames: &[u8]) -> Part {
    let mut content = Vec::new();
    map.encode(&mut content);
    let bytes = [frame_of(BlockMap::TAG, &content), frames.to_vec()].concat();
    Part::Block(map, bytes)
}

impl Forged {
    /// Nothing is changed yet.
    pub(crate) fn honest() -> Forged {
        let plain = &HONEST.0;
        let (mut splitter, mut parts) = (Splitter::default(), Vec::new());
        let (mut open, mut counts): (Option<(BlockMap, Vec<u8>, u64)>, _) = (None, ClassCounts::default());
        splitter.feed(plain);
        while let Some((at, len, frame)) = splitter.next_frame().unwrap() {
            let bytes = plain[at as usize..at as usize + len].to_vec();
            match (frame, open.take()) {
                (Frame::Tagged { tag: BlockMap::TAG, content }, None) => {
                    let map = BlockMap::parse(&content).unwrap();
                    match map.count(RunKind::Data) {
                        0 => parts.push(Part::Block(map, bytes)),
                        _ => open = Some((map, bytes, 2)),
                    }
                }
                (Frame::Data(_), Some((map, before, left))) => match left {
                    1 => parts.push(Part::Block(map, [before, bytes].concat())),
                    _ => open = Some((map, [before, bytes].concat(), left - 1)),
                },
                (Frame::Tagged { tag: IndexPiece::TAG, .. }, None) => {}
                (Frame::Tagged { tag: Tail::TAG, content }, None) => {
                    counts = Tail::parse(&content).unwrap().pages;
                }
                (_, None) => parts.push(Part::Other(bytes)),
                (frame, Some(_)) => panic!("{frame:?} inside a block"),
            }
        }
        Forged { parts, counts, complete: true, index: |_| {}, indexed: true, after: Vec::new(), tails: 1 }
    }

    pub(crate) fn with(change: impl FnOnce(&mut Forged)) -> Forged {
        let mut forged = Forged::honest();
        change(&mut forged);
        forged
    }

    /// Places of the blocks among the parts.
    pub(crate) fn blocks(&self) -> Vec<usize> {
        let is_block = |part: &Part| matches!(part, Part::Block(..));
        (0..self.parts.len()).filter(|&at| is_block(&self.parts[at])).collect()
    }

    /// Places of the blocks with data.
    pub(crate) fn data_blocks(&self) -> Vec<usize> {
        let has_data = |at: &usize| match &self.parts[*at] {
            Part::Block(map, _) => map.count(RunKind::Data) > 0,
            Part::Other(_) => false,
        };
        self.blocks().into_iter().filter(has_data).collect()
    }

    /// Whether a block holds the page.
    pub(crate) fn names(&self, pfn: Pfn) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Block(map, _) => map.runs.iter().any(|run| run.pages.contains(pfn)),
            Part::Other(_) => false,
        })
    }

    /// The pfns of the machine's memory.
    pub(crate) fn memory(&self) -> impl Iterator<Item = u64> + use<> {
        let Part::Other(bytes) = &self.parts[0] else { panic!() };
        let head = Head::parse(&bytes[12..]).unwrap();
        let pages = move |size: u64| size / head.page_size;
        head.segments
            .into_iter()
            .flat_map(move |segment| pages(segment.paddr)..pages(segment.paddr + segment.size))
    }

    /// Puts a block after all others.
    pub(crate) fn push(&mut self, block: Part) {
        let at = self.blocks().last().unwrap() + 1;
        if let Part::Block(map, _) = &block {
            self.counts.saved += map.count(RunKind::Data);
            self.counts.zero += map.count(RunKind::Zero);
        }
        self.parts.insert(at, block);
    }

    /// Changes the map of a block that has data, and nothing else of it.
    pub(crate) fn remap(&mut self, number: usize, change: impl FnOnce(&mut BlockMap)) {
        let at = self.data_blocks()[number];
        let Part::Block(map, bytes) = &mut self.parts[at] else { panic!() };
        let mut content = Vec::new();
        map.encode(&mut content);
        let frames = bytes[frame_of(BlockMap::TAG, &content).len()..].to_vec();
        change(map);
        self.parts[at] = block(map.clone(), &frames);
    }

    /// Changes the head.
    pub(crate) fn rehead(&mut self, change: impl FnOnce(&mut Head)) {
        let Part::Other(bytes) = &mut self.parts[0] else { panic!() };
        let mut head = Head::parse(&bytes[12..]).unwrap();
        change(&mut head);
        *bytes = frame_of(Head::TAG, &head.encode().unwrap());
    }

    /// Changes the KDUMP head: the main header, the sub header and the notes, with the 4 bytes of the status left out.
    pub(crate) fn rekdump(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let Part::Other(bytes) = &mut self.parts[1] else { panic!() };
        let records = zstd::decode_all(&bytes[..]).unwrap();
        let mut file = Vec::new();
        for record in Records::new(&records) {
            let (offset, data) = record.unwrap();
            file.resize(file.len().max(offset as usize), 0);
            file.extend_from_slice(data);
        }
        change(&mut file);
        assert!(file.len() as u64 > STATUS_OFFSET);
        *bytes = data_frame(&[flat_header(), record_head(0, file.len() as u64).to_vec(), file].concat());
    }

    pub(crate) fn stream(&self) -> Vec<u8> {
        let (mut stream, mut entries) = (Vec::new(), Vec::new());
        for part in &self.parts {
            let offset = stream.len() as u64;
            match part {
                Part::Block(map, bytes) => {
                    entries.push(IndexEntry { offset, len: bytes.len() as u64, map: map.clone() });
                    stream.extend_from_slice(bytes);
                }
                Part::Other(bytes) => stream.extend_from_slice(bytes),
            }
        }
        (self.index)(&mut entries);
        let mut writer = IndexWriter::default();
        entries.iter().for_each(|entry| writer.push(entry.offset, entry.len, &entry.map));
        let at = stream.len() as u64;
        if self.indexed {
            let piece = writer.take_piece(at).unwrap_or_else(|| vec![0]);
            skippable_frame(&mut stream, IndexPiece::TAG, &piece);
        }
        let last_index = self.indexed.then_some(at);
        for _ in 0..self.tails {
            let tail = Tail { pages: self.counts, last_index, complete: self.complete, head_copy: None };
            let content = tail.encode(stream.len() as u64).unwrap();
            skippable_frame(&mut stream, Tail::TAG, &content);
        }
        stream.extend_from_slice(&self.after);
        stream
    }

    pub(crate) fn encrypted(&self) -> Vec<u8> {
        sealed(&self.stream())
    }
}

/// A stream in an age file.
pub(crate) fn sealed(stream: &[u8]) -> Vec<u8> {
    let (mut bytes, key) = with_entropy(|entropy| recipients().wrap(entropy).unwrap());
    let mut writer = EncryptWriter::new(&mut bytes, key);
    writer.write_all(stream).unwrap();
    writer.finish().unwrap();
    bytes
}
