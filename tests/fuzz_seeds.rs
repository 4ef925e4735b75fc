//! Starting points for the fuzz targets of `tests/fuzz`: a small honest input of every kind, written where `make fuzz`
//! looks for them; and the targets themselves, which must take them here as well, without a fuzzer.
#![cfg(all(feature = "analyst", feature = "check", feature = "convert"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

#[path = "common/archive.rs"]
mod archive;
#[path = "common/dump.rs"]
mod dump;
#[path = "fuzz/src/lib.rs"]
#[allow(clippy::cast_possible_truncation, reason = "targets run where a position fits into memory")]
#[allow(unreachable_pub, reason = "a crate of its own beside this test")]
mod fuzz;
mod readers;
mod synth;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use dump::{IDENTITY, collect, identities, plaintext};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::num::NonZero;
use std::path::Path;
use synth::{Content, Page, Synth, arch, kernel};
use vmcore_encrypt::blocks::{Frame, Splitter};
use vmcore_encrypt::klog::{self, KernelRead};
use vmcore_encrypt::mm::KernelMemory;
use vmcore_encrypt::restore::{self, Codec, Output, OutputFile};
use vmcore_encrypt::units::{ByteOrder, VirtAddr};
use vmcore_encrypt::unstable::raw::{FrameHeader, FrameWriter};
use vmcore_encrypt::vmcore::{Vmcore, VmcoreInfo};

/// Inputs by target and name.
#[derive(Default)]
struct Seeds(BTreeMap<(&'static str, String), Vec<u8>>);

impl Seeds {
    fn add(&mut self, target: &'static str, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.insert((target, name.into()), bytes.into());
    }
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
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for ((target, name), bytes) in seeds().0 {
        let directory = corpus.join(target);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), bytes).unwrap();
    }
}

#[test]
fn every_target_takes_its_seeds() {
    let mut seeds = seeds().0;
    for (target, run) in fuzz::TARGETS {
        let names: Vec<_> = seeds.keys().filter(|(of, _)| *of == target).cloned().collect();
        assert!(!names.is_empty(), "no seed for {target}");
        names.iter().for_each(|name| run(&seeds.remove(name).unwrap()));
    }
    assert!(seeds.is_empty(), "no target for {:?}", seeds.keys());
}

/// The fuzzer's list of targets is ours.
#[test]
fn every_target_is_built_for_the_fuzzer() {
    let manifest = include_str!("fuzz/Cargo.toml");
    let listed: Vec<&str> =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")).collect();
    let expected: Vec<String> = fuzz::TARGETS.iter().map(|(name, _)| format!("{name}.rs\"")).collect();
    assert_eq!(listed, expected);
}

fn seeds() -> Seeds {
    let mut seeds = Seeds::default();
    let directory = tempfile::tempdir().unwrap();
    let vmcore = directory.path().join("vmcore");
    let core = machine().build();
    core.write_to(&vmcore);
    seeds.add("vmcore", "x86_64", &fs::read(&vmcore).unwrap()[..64 << 10]);
    seeds.add("vmcoreinfo", "x86_64", core.vmcoreinfo.as_bytes());
    let log = log(&vmcore);
    seeds.add("report", "log", [&[0x80][..], &log].concat());
    seeds.add("klog", "ring", log);
    descriptions(&mut seeds);
    let file = collect(&vmcore, 31, 1, None).bytes;
    let plain = plaintext(&file);
    headers(&mut seeds, &file[..file.len() - plain.len()], &plain);
    seeds.add("dump", "whole", &plain[..]);
    seeds.add("dump", "cut", &plain[..plain.len() / 2]);
    frames(&mut seeds, &plain);
    plain_dumps(&mut seeds, &file, directory.path());
    streams(&mut seeds, &plain);
    let record = "6,17,1000,-,caller=T1;a message\n SUBSYSTEM=pci\n";
    seeds.add("kmsg", "records", format!("{record}4,19,2000,c;behind a gap\\x09\n"));
    seeds.add("kmsg", "entries", "s boot\nm 1/2 6,1,1,-;first \nm 2/2 6,1,1,-;second\ng 2 9\ne");
    seeds.add("keys", "identity", IDENTITY);
    let recipient = IDENTITY.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    seeds.add("keys", "recipients", format!("# ours\n{recipient}\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5\n"));
    seeds.add("raw_frame", "whole", framed(&plain[..5000]));
    configurations(&mut seeds);
    images(&mut seeds);
    seeds
}

/// Symbol tables of every generation, and types of a kernel and a module.
fn descriptions(seeds: &mut Seeds) {
    use synth::description::{Generation, Types, kallsyms};
    let text = 0xffff_ffff_8100_0000;
    let symbols = [('T', "_stext", text), ('t', "do_init", text + 0x40), ('D', "init_task", text + 0x8000)];
    for generation in [
        Generation::Absolute,
        Generation::AbsolutePerCpu,
        Generation::BaseRelative,
        Generation::PlaceRelative,
    ] {
        let table = kallsyms(false, generation, 0xffff_ffff_8200_0000, &symbols);
        let mut memory = table.bytes;
        memory.resize(memory.len().next_power_of_two(), 0);
        let lines = table.lines.replace('\n', ";") + "SYMBOL(_stext)=ffffffff81000000;\n";
        let bytes = [lines.into_bytes(), memory].concat();
        let machine = u8::try_from(seeds.0.len() % 6).unwrap();
        seeds.add("report", format!("{generation:?}"), [&[machine][..], &bytes].concat());
        seeds.add("kallsyms", format!("{generation:?}"), bytes);
    }
    seeds.add("kallsyms", "allocator", allocator());
    for big in [false, true] {
        let mut base = Types::new(big);
        let int = base.int("int", 4, true);
        let inner = base.structure("", 8, &[("x", int, 0, 0), ("y", int, 32, 4)]);
        base.structure("outer", 16, &[("", inner, 0, 0), ("z", int, 64, 0)]);
        base.enumeration("item", &[("NR_FREE_PAGES", 0)]);
        let mut split = base.split();
        split.structure("own", 4, &[("x", int, 0, 0)]);
        let (base, split) = (base.bytes(), split.bytes());
        let head = u16::try_from(base.len()).unwrap() | u16::from(big) << 15;
        seeds.add("btf", format!("big-{big}"), [&head.to_le_bytes()[..], &base, &split].concat());
    }
}

/// Symbols and types of a page allocator, as memory that repeats itself.
fn allocator() -> Vec<u8> {
    use synth::description::{Generation, Types, kallsyms};
    let mut types = Types::new(false);
    let int = types.int("int", 4, true);
    let pointer = types.pointer(0);
    let head = types.structure("list_head", 16, &[("next", pointer, 0, 0), ("prev", pointer, 64, 0)]);
    let lists = types.array(head, 12);
    let pageset = types.structure("per_cpu_pages", 200, &[("count", int, 0, 0), ("lists", lists, 64, 0)]);
    let pageset = types.pointer(pageset);
    let zone = types.structure("zone", 64, &[("per_cpu_pageset", pageset, 0, 0)]);
    let zones = types.array(zone, 4);
    types.structure("pglist_data", 256, &[("node_zones", zones, 0, 0)]);
    types.enumeration("migratetype", &[("MIGRATE_PCPTYPES", 3)]);
    types.enumeration("pagetype", &[("PGTY_zsmalloc", 0xf6)]);
    let (types, base) = (types.bytes(), 0xffff_ffff_8200_0000);
    // Numbers of nodes and CPUs are 1.
    let at = |start: u64| {
        [
            ('D', "_stext", base),
            ('D', "__start_BTF", start),
            ('D', "__stop_BTF", start + types.len() as u64),
            ('D', "node_data", start - 16),
            ('D', "nr_node_ids", start - 8),
            ('D', "__per_cpu_offset", start - 24),
            ('D', "nr_cpu_ids", start - 8),
        ]
    };
    let len =
        kallsyms(false, Generation::PlaceRelative, base, &at(base)).bytes.len().next_multiple_of(8) + 24;
    let table = kallsyms(false, Generation::PlaceRelative, base, &at(base + len as u64));
    let mut memory = table.bytes;
    memory.resize(len - 8, 0);
    memory.extend(1_u64.to_le_bytes());
    memory.extend(types);
    memory.resize(memory.len().next_power_of_two(), 0);
    let lines = table.lines.replace('\n', ";") + "SYMBOL(_stext)=ffffffff82000000;\n";
    [lines.into_bytes(), memory].concat()
}

/// Images in each compression, and file systems as dracut's modules make them, where the tools are there.
fn images(seeds: &mut Seeds) {
    let plain = archive::Archive::new()
        .directory("usr")
        .link("lib", "usr/lib")
        .file("usr/lib/vmcore-encrypt/save", "#!/bin/sh\n")
        .hard_link(9, "one", "")
        .hard_link(9, "two", "bytes")
        .end();
    seeds.add("image", "zstd", zstd::bulk::compress(&plain, 1).unwrap());
    let mut answer = Vec::new();
    let tree = vmcore_encrypt::unstable::image::read(&plain[..], Default::default());
    vmcore_encrypt::unstable::image::write_answer(&mut answer, &tree).unwrap();
    seeds.add("image_answer", "whole", answer);
    seeds.add("image_answer", "refused", "kdump image 1\n!\u{4}\0\0\0text");
    let directory = tempfile::tempdir().unwrap();
    let [tree, packed, system] = ["tree", "packed", "system"].map(|name| directory.path().join(name));
    fs::write(&packed, &plain).unwrap();
    for tool in ["gzip", "xz --check=crc32", "lzma", "lz4 -l", "bzip2", "lzop"] {
        let packed = format!("{tool} -c < {}", packed.display());
        let output = std::process::Command::new("sh").args(["-c", &packed]).output().unwrap();
        if output.status.success() {
            seeds.add("image", tool.split(' ').next().unwrap(), output.stdout);
        }
    }
    seeds.add("image", "plain", plain);
    fs::create_dir_all(tree.join("usr/lib/vmcore-encrypt")).unwrap();
    fs::write(tree.join("usr/lib/vmcore-encrypt/save"), "#!/bin/sh\n".repeat(900)).unwrap();
    std::os::unix::fs::symlink("usr/lib", tree.join("lib")).unwrap();
    seeds.add("image_systems", "none", "\0hsqs");
    let codecs = [
        ("squashfs", "gzip"),
        ("squashfs", "xz"),
        ("squashfs", "zstd"),
        ("squashfs", "lz4"),
        ("erofs", "lz4"),
    ];
    for (which, (kind, codec)) in codecs.into_iter().enumerate() {
        let (tree, system) = (tree.display(), system.display());
        let make = match kind {
            "squashfs" => {
                format!("rm -f {system}; mksquashfs {tree} {system} -comp {codec} -always-use-fragments")
            }
            _ => format!("rm -f {system}; mkfs.erofs -C 65536 -E fragments -z {codec} {system} {tree}"),
        };
        if std::process::Command::new("sh").args(["-c", &make]).output().unwrap().status.success() {
            let bytes = fs::read(directory.path().join("system")).unwrap();
            seeds.add(
                "image_systems",
                format!("{kind}-{which}"),
                [&[u8::from(kind == "erofs")], &bytes[..]].concat(),
            );
        }
    }
}

/// Whose kdump it is, its configuration, ours, the kernel's command line, mounts and memory.
fn configurations(seeds: &mut Seeds) {
    let fedora = "ext4 UUID=1-2\npath /crash\ncore_collector vmcore-encrypt -d 1,31 -L 600M # why\n\
        failure_action shell\nkdump_pre /usr/lib/vmcore-encrypt/save\n";
    let debian = "USE_KDUMP=1\nKDUMP_COREDIR=\"/var/crash\"\nNFS=\nKDUMP_DUMP_DMESG=0\n\
        KDUMP_CMDLINE_APPEND=\"panic=10 systemd.unit=vmcore-encrypt-dump.service\"\n";
    let suse = "KDUMP_SAVEDIR=\"file:///var/crash\"\nKDUMP_DUMPLEVEL=31\nKDUMP_CONTINUE_ON_ERROR='true'\n\
        KDUMP_TRANSFER=/usr/lib/vmcore-encrypt/suse-transfer\n";
    let ours = "# ours\nTARGET=file\nDEVICE=/dev/vda1\nDUMP_LEVEL=1,31\nKEEP=3\nDMESG=yes\n";
    let mounts = "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n23 22 0:5 / /a\\040b rw - tmpfs tmpfs rw\n";
    let memory = "MemTotal: 1048576 kB\nMemFree: 524288 kB\nCached: 262144 kB\nAnonPages: 131072 kB\n";
    let pinned = "root=/dev/vda1 panic=10 vmcore_encrypt.recipients=00112233445566778899aabbccddeeff\n";
    for (name, whose, kdump) in [("fedora", '0', fedora), ("debian", '1', debian), ("suse", '2', suse)] {
        seeds.add("check", name, format!("{whose}{kdump}\0{ours}\0{pinned}\0{mounts}\0{memory}"));
        seeds.add("check", format!("{name}-alone"), format!("{whose}{kdump}"));
    }
    let odd = "core_collector \"\"vmcore-encrypt # -d 310\"\ndefault shell\nraw /dev/a;b\n\
        dracut_args --omit x --mount \"/dev/a /esp vfat defaults\"\nkdump_post /bin/x\npath /a\\x20'b'\n";
    seeds.add("check", "fedora-odd", format!("0{odd}\0{ours}"));
    let odd =
        "export A=$B C='it'\\''s'; . /x\nKDUMP_CMDLINE_APPEND=\"$A single\"\\ systemd.unit=x\nFTP=a | b\n";
    seeds.add("check", "debian-odd", format!("1{odd}\0COLLECTOR_ARGS=-d 310 -R /x\n\0init=/bin/sh"));
    let odd =
        "KDUMP_SAVEDIR=\"SSH://a:b@[::1]/c nfs://d\"\nKDUMP_DUMPLEVEL=-1\nKDUMP_CPUS=99999999999999999999\n";
    seeds.add("check", "suse-odd", format!("2{odd}"));
    let directory = "core_collector vmcore-encrypt -d 31\npath /var/crash\n";
    let most = u64::MAX >> 10;
    let absurd = format!("MemTotal: {most} kB\nMemFree: {most} kB\nCached: {most} kB\nBuffers: {most} kB\n");
    seeds.add("check", "absurd", format!("0{directory}\0\0\0{mounts}\0{absurd}"));
}

fn headers(seeds: &mut Seeds, header: &[u8], plain: &[u8]) {
    seeds.add("age_header", "binary", header);
    let lines: String = header.chunks(48).map(|line| BASE64.encode(line) + "\n").collect();
    let (begin, end) = ("-----BEGIN AGE ENCRYPTED FILE-----\n", "-----END AGE ENCRYPTED FILE-----\n");
    seeds.add("age_header", "armored", [begin, &lines, end].concat());
    for change in 0..4_u8 {
        let head = [70, 0, 1, 0, change, 200];
        seeds.add("payload", format!("change{change}"), [&head, &plain[..2000]].concat());
    }
}

/// Frames as they lie in the stream, and what is in ours.
fn frames(seeds: &mut Seeds, plain: &[u8]) {
    let mut splitter = Splitter::default();
    splitter.feed(plain);
    let mut count = 0;
    while let Some((at, len, frame)) = splitter.next_frame().unwrap() {
        let start = usize::try_from(at).unwrap();
        if len < 4096 && count < 12 {
            seeds.add("frames", format!("frame{count}"), &plain[start..start + len]);
        }
        if let Frame::Tagged { content, .. } = frame {
            seeds.add("facts", format!("frame{count}"), content);
        }
        count += 1;
    }
    assert!(count > 3, "{count}");
}

/// Records of the flattened stream behind its header, and the head of the KDUMP file in them.
fn streams(seeds: &mut Seeds, plain: &[u8]) {
    let flattened = zstd::decode_all(plain).unwrap();
    seeds.add("flattened", "records", &flattened[4096..flattened.len().min(4096 + (16 << 10))]);
    seeds.add("flattened", "end", &flattened[flattened.len() - 16..]);
    let (offset, size) = flattened[4096..].split_at(8);
    assert_eq!(offset, [0; 8]);
    let size = usize::try_from(u64::from_be_bytes(*size.first_chunk().unwrap())).unwrap();
    seeds.add("facts", "kdump", &flattened[4112..4112 + size.min(16 << 10)]);
}

/// The fuzzer takes no longer inputs.
const LONGEST: usize = 64 << 10;

/// KDUMP files of each compression, a flattened one, and an ELF core, as other tools leave them.
fn plain_dumps(seeds: &mut Seeds, dump: &[u8], directory: &Path) {
    let codecs = [Codec::Zlib, Codec::Lzo, Codec::Snappy, Codec::Zstd, Codec::None];
    for (codec, name) in codecs.into_iter().zip(["zlib", "lzo", "snappy", "zstd", "raw"]) {
        let path = directory.join(name);
        let file = OutputFile::create_hidden(&path, false).unwrap();
        let output = Output::Kdump(&file, codec);
        restore::restore(&mut &dump[..], &identities(), output, NonZero::<usize>::MIN).unwrap();
        file.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"KDUMP   "));
        seeds.add("plain", name, &bytes[..bytes.len().min(LONGEST)]);
    }
    let mut stream = Vec::new();
    let output = Output::Flattened(&mut stream);
    restore::restore(&mut &dump[..], &identities(), output, NonZero::<usize>::MIN).unwrap();
    seeds.add("plain", "flattened", &stream[..stream.len().min(LONGEST)]);
    let core = fs::read(directory.join("vmcore")).unwrap();
    seeds.add("plain", "elf", &core[..core.len().min(LONGEST)]);
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
