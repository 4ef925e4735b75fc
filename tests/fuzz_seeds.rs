//! Starting points for the fuzz targets of `tests/fuzz`: a small honest input of every kind, written where `make fuzz`
//! looks for them.
#![cfg(feature = "analyst")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

#[path = "common/dump.rs"]
mod dump;
mod readers;
mod synth;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use dump::{IDENTITY, collect, plaintext};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;
use synth::{Content, Page, Synth, arch, kernel};
use vmcore_encrypt::blocks::{Frame, Splitter};
use vmcore_encrypt::klog::{self, KernelRead};
use vmcore_encrypt::mm::KernelMemory;
use vmcore_encrypt::raw::{FrameHeader, FrameWriter};
use vmcore_encrypt::units::{ByteOrder, VirtAddr};
use vmcore_encrypt::vmcore::{Vmcore, VmcoreInfo};

/// Writes `tests/fuzz/corpus/TARGET/NAME`.
fn seed(target: &str, name: &str, bytes: &[u8]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), bytes).unwrap();
}

/// 1 MiB of RAM, all of it zero but for what the kernel needs and a few pages.
fn machine() -> Synth {
    Synth::new(arch::x86_64::four_level(), kernel::v6_12())
        .fill(Content::Zero)
        .ram(0x10_0000..0x30_0000)
        .pages(0x180, 2, &Page::kernel().with(Content::Pattern))
}

#[test]
#[ignore = "writes tests/fuzz/corpus"]
fn write() {
    let directory = tempfile::tempdir().unwrap();
    let vmcore = directory.path().join("vmcore");
    let core = machine().build();
    core.write_to(&vmcore);
    seed("vmcore", "x86_64", &fs::read(&vmcore).unwrap()[..64 << 10]);
    seed("vmcoreinfo", "x86_64", core.vmcoreinfo.as_bytes());
    seed("klog", "ring", &log(&vmcore));
    let file = collect(&vmcore, 31, 1, None).bytes;
    let plain = plaintext(&file);
    headers(&file[..file.len() - plain.len()], &plain);
    seed("dump", "whole", &plain);
    seed("dump", "cut", &plain[..plain.len() / 2]);
    frames(&plain);
    streams(&plain);
    let record = "6,17,1000,-,caller=T1;a message\n SUBSYSTEM=pci\n";
    seed("kmsg", "records", format!("{record}4,19,2000,c;behind a gap\\x09\n").as_bytes());
    seed("kmsg", "entries", b"s boot\nm 1/2 6,1,1,-;first \nm 2/2 6,1,1,-;second\ng 2 9\ne");
    seed("keys", "identity", IDENTITY.as_bytes());
    let recipient = IDENTITY.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    seed("keys", "recipients", format!("# ours\n{recipient}\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5\n").as_bytes());
    seed("raw_frame", "whole", &framed(&plain[..5000]));
}

fn headers(header: &[u8], plain: &[u8]) {
    seed("age_header", "binary", header);
    let lines: String = header.chunks(48).map(|line| BASE64.encode(line) + "\n").collect();
    let (begin, end) = ("-----BEGIN AGE ENCRYPTED FILE-----\n", "-----END AGE ENCRYPTED FILE-----\n");
    seed("age_header", "armored", [begin, &lines, end].concat().as_bytes());
    for change in 0..4_u8 {
        let head = [70, 0, 1, 0, change, 200];
        seed("payload", &format!("change{change}"), &[&head, &plain[..2000]].concat());
    }
}

/// Frames as they lie in the stream, and what is in ours.
fn frames(plain: &[u8]) {
    let mut splitter = Splitter::default();
    splitter.feed(plain);
    let mut count = 0;
    while let Some((at, len, frame)) = splitter.next_frame().unwrap() {
        let start = usize::try_from(at).unwrap();
        if len < 4096 && count < 12 {
            seed("frames", &format!("frame{count}"), &plain[start..start + len]);
        }
        if let Frame::Tagged { content, .. } = frame {
            seed("facts", &format!("frame{count}"), &content);
        }
        count += 1;
    }
    assert!(count > 3, "{count}");
}

/// Records of the flattened stream behind its header, and the head of the KDUMP file in them.
fn streams(plain: &[u8]) {
    let flattened = zstd::decode_all(plain).unwrap();
    seed("flattened", "records", &flattened[4096..flattened.len().min(4096 + (16 << 10))]);
    seed("flattened", "end", &flattened[flattened.len() - 16..]);
    let (offset, size) = flattened[4096..].split_at(8);
    assert_eq!(offset, [0; 8]);
    let size = usize::try_from(u64::from_be_bytes(*size.first_chunk().unwrap())).unwrap();
    seed("facts", "kdump", &flattened[4112..4112 + size.min(16 << 10)]);
}

fn framed(data: &[u8]) -> Vec<u8> {
    let mut writer =
        FrameWriter::new(Vec::new(), &FrameHeader { id: [7; 16], device_size: 0, saved: Vec::new() });
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

/// A machine's memory as the log's reader sees it, remembered byte by byte.
struct Remembered<'a> {
    memory: KernelMemory<'a>,
    bytes: RefCell<BTreeMap<u64, u8>>,
}

impl KernelRead for Remembered<'_> {
    fn info(&self) -> &VmcoreInfo {
        self.memory.info()
    }

    fn byte_order(&self) -> ByteOrder {
        self.memory.byte_order()
    }

    fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.memory.read(at, buf)?;
        self.bytes.borrow_mut().extend((at.0..).zip(buf.iter().copied()));
        Ok(())
    }
}

/// VMCOREINFO in one line, and memory so small that an address modulo its size still finds its byte.
fn log(vmcore: &Path) -> Vec<u8> {
    let vmcore = Vmcore::open(vmcore).unwrap();
    let memory = Remembered { memory: KernelMemory::new(&vmcore).unwrap(), bytes: RefCell::default() };
    klog::dmesg(&memory, &mut std::io::sink()).unwrap();
    let bytes = memory.bytes.take();
    let folded = (12..22).find_map(|bits| fold(&bytes, 1 << bits)).unwrap();
    let text = memory.info().text().to_vec();
    let line: Vec<u8> = text.into_iter().map(|byte| if byte == b'\n' { b';' } else { byte }).collect();
    [line, b"\n".to_vec(), folded].concat()
}

fn fold(bytes: &BTreeMap<u64, u8>, size: u64) -> Option<Vec<u8>> {
    let mut memory: Vec<Option<u8>> = vec![None; usize::try_from(size).unwrap()];
    for (at, &byte) in bytes {
        let place = &mut memory[usize::try_from(at % size).unwrap()];
        if place.is_some_and(|there| there != byte) {
            return None;
        }
        *place = Some(byte);
    }
    Some(memory.into_iter().map(Option::unwrap_or_default).collect())
}
