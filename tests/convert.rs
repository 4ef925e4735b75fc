//! Any dump in: KDUMP files of every version, codec and byte order, flattened ones from a file and from standard input,
//! ELF cores; whole, cut and damaged. Every page that the input holds is in the encrypted dump, bit for bit, and no other.
//! makedumpfile makes inputs too, and what it makes of the same vmcore is what ours must hold.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test program"
)]

mod common;
#[path = "common/dump.rs"]
mod dump;
mod readers;
mod synth;

use common::{encrypt, judge, or_skip, text};
use dump::{IDENTITY, expected, identities};
use readers::{Found, Kdump};
use std::fs;
use std::io::{Cursor, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use synth::{Class, Core, Presence, arch, kernel, zoo};
use tempfile::TempDir;
use vmcore_encrypt::restore::{self, Output, OutputFile};
use vmcore_encrypt::unstable::compress::{Codec, PageCompressor};
use vmcore_encrypt::vmcore::Vmcore;

struct Lab {
    directory: TempDir,
    core: Core,
    vmcore: PathBuf,
    notes: Vec<u8>,
}

/// What became of an input.
struct Converted {
    status: Option<i32>,
    said: String,
    kdump: Option<Kdump>,
}

impl Lab {
    fn new(arch: synth::Arch) -> Lab {
        let directory = tempfile::tempdir().unwrap();
        let core = zoo::zoo(arch, kernel::v6_12()).build();
        let vmcore = directory.path().join("vmcore.elf");
        core.write_to(&vmcore);
        let notes = Vmcore::open(&vmcore).unwrap().notes().bytes().to_vec();
        Lab { directory, core, vmcore, notes }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn convert(&self, input: &Path, level: u8) -> Converted {
        self.run(input.as_os_str(), level, None)
    }

    fn convert_stream(&self, bytes: &[u8], level: u8) -> Converted {
        self.run("-".as_ref(), level, Some(bytes))
    }

    fn run(&self, input: &std::ffi::OsStr, level: u8, stdin: Option<&[u8]>) -> Converted {
        let recipient = IDENTITY.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
        let out = self.path("out.age");
        let mut command = encrypt();
        // Page structures that describe no kept page are another test's.
        command
            .args(["-f", "--keep-page-structures", "-d", &level.to_string(), "-r", recipient])
            .arg(input)
            .arg(&out);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        if let Some(bytes) = stdin {
            // What is refused early is not read to its end.
            let _ = pipe.write_all(bytes);
        }
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        let kdump = out.exists().then(|| self.restore(&out));
        Converted { status: output.status.code(), said: text(&output.stderr), kdump }
    }

    fn restore(&self, dump: &Path) -> Kdump {
        let path = self.path("restored");
        let file = OutputFile::create_hidden(&path, true).unwrap();
        let output = Output::Kdump(&file, Codec::Zstd);
        let bytes = fs::read(dump).unwrap();
        restore::restore(&mut Cursor::new(&bytes), &identities(), output, NonZero::new(2).unwrap()).unwrap();
        file.finish().unwrap();
        fs::remove_file(dump).unwrap();
        Kdump::open(&path)
    }

    /// Every page is as a collection at `level` has it.
    fn check(&self, what: &str, level: u8, kdump: &Kdump) {
        let classes = self.core.classes(level.into());
        for pfn in 0..self.core.max_mapnr() {
            let (found, expected) = (kdump.page(pfn), expected(&self.core, &classes, pfn));
            assert!(found == expected, "{what}: level {level}, pfn {pfn:#x}");
        }
    }

    fn kept(&self, level: u8) -> Vec<u64> {
        let classes = self.core.classes(level.into());
        let kept =
            |pfn: &u64| self.core.presence(*pfn) == Presence::Data && classes[*pfn as usize] == Class::Kept;
        (0..self.core.max_mapnr()).filter(kept).collect()
    }
}

/// What a KDUMP file is to be like.
#[derive(Clone)]
struct Form {
    version: u32,
    level: u8,
    codecs: Vec<Codec>,
    status: u32,
    /// Pages whose descriptors a collector that ran out of room left empty.
    lost: std::ops::Range<usize>,
    /// One bitmap, as where everything is dumped.
    one_bitmap: bool,
}

impl Form {
    fn new(version: u32, level: u8) -> Form {
        Form { version, level, codecs: vec![Codec::Zlib], status: 0, lost: 0..0, one_bitmap: false }
    }
}

/// A file from the format's own numbers: makedumpfile `diskdump_mod.h`.
fn kdump_file(lab: &Lab, form: &Form) -> Vec<u8> {
    let core = &lab.core;
    let big = core.arch.e_machine == 22;
    let int = |value: u64, len: usize| {
        let bytes = value.to_le_bytes()[..len].to_vec();
        if big { bytes.into_iter().rev().collect() } else { bytes }
    };
    let (block, pfns) = (core.page_size() as usize, core.max_mapnr());
    let mut sub = vec![0; 104];
    let put = |bytes: &mut Vec<u8>, at: usize, value: u64, len: usize| {
        bytes[at..at + len].copy_from_slice(&int(value, len));
    };
    let (notes_at, info_at) = (block + 200, block + 200 + lab.notes.len() + 40);
    let own_info = position(&lab.notes, core.vmcoreinfo.as_bytes()).map(|at| notes_at + at);
    put(&mut sub, 8, form.level.into(), 4);
    if form.version >= 3 {
        let at = if form.version >= 4 { own_info.unwrap() } else { info_at };
        put(&mut sub, 32, at as u64, 8);
        put(&mut sub, 40, core.vmcoreinfo.len() as u64, 8);
    }
    if form.version >= 4 {
        put(&mut sub, 48, notes_at as u64, 8);
        put(&mut sub, 56, lab.notes.len() as u64, 8);
    }
    if form.version >= 6 {
        put(&mut sub, 96, pfns, 8);
    }
    let sub_blocks = (info_at + core.vmcoreinfo.len()).div_ceil(block) - 1;
    let bitmap_blocks = (pfns as usize).div_ceil(8).div_ceil(block);
    let mut file = vec![0; (1 + sub_blocks + 2 * bitmap_blocks) * block];
    file[..8].copy_from_slice(b"KDUMP   ");
    file[8..12].copy_from_slice(&int(form.version.into(), 4));
    for (place, name) in ["Linux", "host", "6.12.0", "#1", machine_name(core), "(none)"].iter().enumerate() {
        file[12 + 65 * place..][..name.len()].copy_from_slice(name.as_bytes());
    }
    let bitmaps = if form.one_bitmap { 1 } else { 2 };
    for (at, value) in [
        (424, u64::from(form.status)),
        (428, block as u64),
        (432, sub_blocks as u64),
        (436, (bitmaps * bitmap_blocks) as u64),
        (440, pfns),
        (460, core.cpus as u64),
    ] {
        put(&mut file, at, value, 4);
    }
    put(&mut file, 408, 1_700_000_000, 8);
    file[block..block + 104].copy_from_slice(&sub);
    if form.version >= 4 {
        file[notes_at..notes_at + lab.notes.len()].copy_from_slice(&lab.notes);
    } else if form.version >= 3 {
        file[info_at..info_at + core.vmcoreinfo.len()].copy_from_slice(core.vmcoreinfo.as_bytes());
    }
    let kept = lab.kept(form.level);
    let bitmap1 = (1 + sub_blocks) * block;
    let bitmap2 = bitmap1 + if form.one_bitmap { 0 } else { bitmap_blocks * block };
    for pfn in (0..pfns).filter(|pfn| !form.one_bitmap && core.presence(*pfn) != Presence::Hole) {
        file[bitmap1 + pfn as usize / 8] |= 1 << (pfn % 8);
    }
    for pfn in &kept {
        file[bitmap2 + *pfn as usize / 8] |= 1 << (pfn % 8);
    }
    file.truncate(bitmap2 + bitmap_blocks * block);
    let table = file.len();
    file.resize(table + kept.len() * 24, 0);
    append_pages(lab, form, &kept, &mut file, &int);
    file
}

/// Appends the pages and fills in their descriptors, which end the file.
fn append_pages(
    lab: &Lab,
    form: &Form,
    kept: &[u64],
    file: &mut Vec<u8>,
    int: &dyn Fn(u64, usize) -> Vec<u8>,
) {
    let table = file.len() - kept.len() * 24;
    let mut compressors: Vec<_> =
        form.codecs.iter().map(|codec| PageCompressor::new(*codec).unwrap()).collect();
    let mut page = vec![0; lab.core.page_size() as usize];
    for (rank, pfn) in kept.iter().enumerate().filter(|(rank, _)| !form.lost.contains(rank)) {
        lab.core.read_page(*pfn, &mut page);
        let (at, many) = (file.len() as u64, compressors.len());
        let flags = compressors[rank % many].append(&page, file);
        let size = file.len() as u64 - at;
        let desc = [int(at, 8), int(size, 4), int(flags.0.into(), 4), int(0, 8)].concat();
        file[table + rank * 24..][..24].copy_from_slice(&desc);
    }
}

fn machine_name(core: &Core) -> &'static str {
    match core.arch.e_machine {
        62 => "x86_64",
        183 => "aarch64",
        21 => "ppc64le",
        22 => "s390x",
        243 => "riscv64",
        _ => "loongarch64",
    }
}

fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// A flattened file of these pieces of `plain`.
fn flattened(plain: &[u8], pieces: &[std::ops::Range<usize>]) -> Vec<u8> {
    let mut bytes = b"makedumpfile\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01".to_vec();
    bytes.resize(4096, 0);
    for piece in pieces {
        bytes.extend((piece.start as u64).to_be_bytes());
        bytes.extend((piece.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&plain[piece.clone()]);
    }
    bytes.extend([0xff; 16]);
    bytes
}

const ALL: [Codec; 5] = [Codec::Zlib, Codec::Lzo, Codec::Snappy, Codec::Zstd, Codec::None];

#[test]
fn every_codec_of_every_architecture_is_converted_bit_for_bit() {
    for (name, arch) in arch::all() {
        let lab = Lab::new(arch);
        let form = Form { codecs: ALL.to_vec(), ..Form::new(6, 1) };
        let input = lab.file("in", &kdump_file(&lab, &form));
        let kept = lab.convert(&input, 1);
        let kdump = kept.kdump.unwrap_or_else(|| panic!("{name}: {}", kept.said));
        lab.check(name, 1, &kdump);
        assert_eq!(kdump.notes(), lab.notes, "{name}");
        assert_eq!(kdump.vmcoreinfo(), lab.core.vmcoreinfo.as_bytes(), "{name}");
        assert_eq!((kdump.dump_level, kdump.nr_cpus), (1, lab.core.cpus as u64));
        if name != arch::all()[0].0 {
            continue;
        }
        // Its struct pages are there, so it is filtered as the vmcore itself would be.
        let filtered = lab.convert(&input, 31);
        let kdump = filtered.kdump.unwrap_or_else(|| panic!("{name}: {}", filtered.said));
        lab.check(name, 31, &kdump);
        assert_eq!(kdump.dump_level, 31);
    }
}

#[test]
fn every_header_version_is_read() {
    let lab = Lab::new(arch::x86_64::four_level());
    for version in 1..=6 {
        let bytes = kdump_file(&lab, &Form::new(version, 31));
        for converted in [lab.convert(&lab.file("in", &bytes), 31), lab.convert_stream(&bytes, 31)] {
            let kdump = converted.kdump.unwrap_or_else(|| panic!("version {version}: {}", converted.said));
            lab.check(&format!("version {version}"), 31, &kdump);
            match version {
                // Without VMCOREINFO nothing more can be filtered, which is reported.
                ..=2 => assert_eq!((converted.status, kdump.vmcoreinfo().len()), (Some(6), 0)),
                3 => assert_eq!(kdump.vmcoreinfo(), lab.core.vmcoreinfo.as_bytes()),
                _ => assert_eq!(kdump.notes(), lab.notes),
            }
        }
    }
    for version in [0, 7, 1 << 16] {
        let input = lab.file("in", &kdump_file(&lab, &Form::new(version, 31)));
        assert_eq!(lab.convert(&input, 31).status, Some(1), "{version}");
    }
}

#[test]
fn what_an_earlier_filter_left_out_stays_out_is_counted_and_a_lower_level_is_reported() {
    let lab = Lab::new(arch::x86_64::four_level());
    let input = lab.file("in", &kdump_file(&lab, &Form::new(6, 31)));
    let left_out = (0..lab.core.max_mapnr()).filter(|pfn| lab.core.presence(*pfn) != Presence::Hole).count()
        - lab.kept(31).len();
    for level in [0, 1, 23] {
        let converted = lab.convert(&input, level);
        let kdump = converted.kdump.unwrap();
        assert_eq!(kdump.dump_level, 31);
        lab.check("again", 31, &kdump);
        let said = converted.said;
        assert!(said.contains(&format!("level {level} is lower than the input's")), "{said}");
        let line = format!("Left out before         : {left_out:#018x}");
        assert!(said.contains(&line), "{line}: {said}");
    }
    assert!(!lab.convert(&input, 31).said.contains("lower"));
}

#[test]
fn flattened_files_are_read_from_a_file_and_from_standard_input() {
    let lab = Lab::new(arch::x86_64::four_level());
    let plain = kdump_file(&lab, &Form { codecs: ALL.to_vec(), ..Form::new(6, 31) });
    let (end, half) = (plain.len(), plain.len() / 2);
    let usual = lab.convert(&lab.vmcore, 31).status;
    // In any order, some bytes twice: makedumpfile writes its header again at the end.
    let pieces = [half..end, 0..5000, 4000..half + 7, 0..464];
    let flat = flattened(&plain, &pieces);
    for converted in [
        lab.convert(&lab.file("in", &flat), 31),
        lab.convert_stream(&flat, 31),
        lab.convert_stream(&plain, 31),
        lab.convert_stream(&fs::read(&lab.vmcore).unwrap(), 31),
    ] {
        let kdump = converted.kdump.unwrap_or_else(|| panic!("{}", converted.said));
        assert_eq!(converted.status, usual, "{}", converted.said);
        lab.check("flattened", 31, &kdump);
        assert_eq!(kdump.notes(), lab.notes);
    }
    let elf = fs::read(&lab.vmcore).unwrap();
    let flat = flattened(&elf, &[0..4096, 4096..elf.len()]);
    for converted in [lab.convert(&lab.file("in", &flat), 31), lab.convert_stream(&flat, 31)] {
        lab.check("flattened ELF", 31, &converted.kdump.unwrap());
    }
}

#[test]
fn a_dump_that_is_cut_or_ran_out_of_room_gives_what_it_has() {
    let lab = Lab::new(arch::x86_64::four_level());
    let lost = lab.kept(31).len() / 3..lab.kept(31).len();
    let form = Form { status: 8, lost: lost.clone(), ..Form::new(6, 31) };
    let whole = kdump_file(&lab, &Form::new(6, 31));
    let flat = flattened(&whole, &[0..whole.len() / 2, whole.len() / 2..whole.len()]);
    let inputs = [
        ("no room", kdump_file(&lab, &form)),
        ("cut", whole[..whole.len() - whole.len() / 8].to_vec()),
        ("cut flattened", flat[..flat.len() - whole.len() / 8].to_vec()),
    ];
    for (what, input) in inputs {
        for converted in [lab.convert(&lab.file("in", &input), 31), lab.convert_stream(&input, 31)] {
            let kdump = converted.kdump.unwrap_or_else(|| panic!("{what}: {}", converted.said));
            assert_eq!(converted.status, Some(7), "{what}: {}", converted.said);
            assert!(
                kdump.status & 8 != 0 && converted.said.contains("missing"),
                "{what}: {}",
                converted.said
            );
            let classes = lab.core.classes(31);
            let mut held = 0;
            for pfn in 0..lab.core.max_mapnr() {
                let found = kdump.page(pfn);
                match &found {
                    Found::Bytes(_) => {
                        assert!(found == expected(&lab.core, &classes, pfn), "{what}: {pfn:#x}");
                    }
                    found => assert!(*found == Found::Absent || lab.core.presence(pfn) != Presence::Hole),
                }
                held += u64::from(matches!(found, Found::Bytes(_)));
            }
            assert!(held > 100 && held < lab.kept(31).len() as u64, "{what}: {held}");
            if what == "no room" {
                assert_eq!(held, lost.start as u64);
            }
        }
    }
}

/// A cut that takes bitmaps, which some writers send after the pages: no page is taken for one that the dump leaves out, and
/// none for another.
#[test]
fn a_flattened_file_without_its_bitmaps_is_incomplete() {
    let lab = Lab::new(arch::x86_64::four_level());
    let plain = kdump_file(&lab, &Form::new(6, 31));
    let block = lab.core.page_size() as usize;
    let number = |at: usize| u32::from_le_bytes(plain[at..at + 4].try_into().unwrap()) as usize;
    let (bitmap1, blocks) = ((1 + number(432)) * block, number(436) / 2);
    let (bitmap2, pages) = (bitmap1 + blocks * block, bitmap1 + 2 * blocks * block);
    let bits = (lab.core.max_mapnr() as usize).div_ceil(8);
    let all = [pages..plain.len(), 0..bitmap1, bitmap1..bitmap2, bitmap2..bitmap2 + bits];
    // The same, the second bitmap from its second half on first.
    let torn = [pages..plain.len(), 0..bitmap2, bitmap2 + bits / 2..pages, bitmap2..bitmap2 + bits / 2];
    let classes = lab.core.classes(31);
    // With the end record: nothing is lost, and all is flagged.
    let end = 16;
    for (pieces, taken, status) in [
        (&all, end, 6),
        (&all, end + bits / 2, 7),
        (&all, end + bits + 16, 7),
        (&all, end + bits + 16 + blocks * block / 2, 7),
        (&all, end + bits + 16 + blocks * block - bits / 2, 7),
        (&all, end + bits + 16 + blocks * block + 16, 7),
        (&torn, end + bits / 4, 7),
        (&torn, end + bits / 2 + 16, 7),
    ] {
        let flat = flattened(&plain, pieces);
        let input = &flat[..flat.len() - taken];
        for converted in [lab.convert(&lab.file("in", input), 31), lab.convert_stream(input, 31)] {
            let kdump = converted.kdump.unwrap_or_else(|| panic!("{taken}: {}", converted.said));
            assert_eq!(converted.status, Some(status), "{taken}: {}", converted.said);
            assert_eq!(kdump.status & 8 != 0, status == 7, "{taken}");
            // What exists is not known where the first bitmap is gone.
            assert!(kdump.max_mapnr == lab.core.max_mapnr() || status == 7, "{taken}");
            for pfn in 0..kdump.max_mapnr {
                let found = kdump.page(pfn);
                let is_lost = status == 7 && !matches!(found, Found::Bytes(_));
                assert!(is_lost || found == expected(&lab.core, &classes, pfn), "{taken}: {pfn:#x}");
            }
        }
    }
}

#[test]
fn one_bitmap_stands_for_both() {
    let lab = Lab::new(arch::x86_64::four_level());
    let form = Form { one_bitmap: true, ..Form::new(6, 0) };
    let kdump = lab.convert(&lab.file("in", &kdump_file(&lab, &form)), 31).kdump.unwrap();
    let classes = lab.core.classes(31);
    for pfn in lab.kept(0) {
        assert!(kdump.page(pfn) == expected(&lab.core, &classes, pfn), "{pfn:#x}");
    }
}

#[test]
fn damaged_pages_of_every_codec_cost_themselves() {
    let lab = Lab::new(arch::x86_64::four_level());
    for codec in ALL {
        let plain = kdump_file(&lab, &Form { codecs: vec![codec], ..Form::new(6, 31) });
        let pages = plain.len() - plain.len() / 4;
        for seed in 0..2_usize {
            let mut bytes = plain.clone();
            (0..40).for_each(|nth| {
                let at = pages + (nth * 7919 + seed * 104_729 + nth * nth * 31) % (plain.len() - pages);
                bytes[at] ^= 1 << (nth % 8);
            });
            let converted = lab.convert(&lab.file("in", &bytes), 31);
            let said = converted.said;
            assert!(matches!(converted.status, Some(0 | 6 | 7)), "{codec:?}: {:?}: {said}", converted.status);
            let kdump = converted.kdump.unwrap_or_else(|| panic!("{codec:?}: {said}"));
            let held = (0..kdump.max_mapnr).filter(|&pfn| matches!(kdump.page(pfn), Found::Bytes(_))).count();
            assert!(
                held + 60 > lab.kept(31).len() && !said.contains("panicked"),
                "{codec:?}: {held}: {said}"
            );
        }
    }
}

#[test]
fn hostile_files_are_refused_or_cost_their_own_pages() {
    let lab = Lab::new(arch::x86_64::four_level());
    let plain = kdump_file(&lab, &Form { codecs: ALL.to_vec(), ..Form::new(6, 31) });
    let block = lab.core.page_size() as usize;
    let patched = |changes: &[(usize, &[u8])]| {
        let mut bytes = plain.clone();
        for (at, value) in changes {
            bytes[*at..at + value.len()].copy_from_slice(value);
        }
        bytes
    };
    let huge = &[0xff; 8];
    for (what, input) in [
        ("pages", patched(&[(block + 96, huge)])),
        ("bitmaps", patched(&[(436, &[0; 4])])),
        ("bitmaps without end", patched(&[(436, &[0xff; 4])])),
        ("sub header", patched(&[(432, &[0xff; 4])])),
        ("page size", patched(&[(428, &[3, 0, 0, 0])])),
        ("notes", patched(&[(block + 48, huge)])),
        ("level", patched(&[(block + 8, &[99, 0, 0, 0])])),
        ("one of several", patched(&[(block + 12, &[1])])),
        ("headers only", plain[..464].to_vec()),
        ("records outside", [&flattened(&plain, &[])[..4096], &[0x7f; 16], b"x"].concat()),
        ("no records", flattened(&plain, &[])),
        ("a flattened sadump", {
            let inner = b"sadump\0\0 and more".to_vec();
            let whole = 0..inner.len();
            flattened(&inner, &[whole])
        }),
    ] {
        for converted in [lab.convert(&lab.file("in", &input), 31), lab.convert_stream(&input, 31)] {
            assert_eq!(converted.status, Some(1), "{what}: {}", converted.said);
            assert!(converted.kdump.is_none() && !converted.said.contains("panicked"), "{what}");
        }
    }
    // A text that is not where the header has it is left out, and nothing else is.
    for (what, input) in [
        ("VMCOREINFO", patched(&[(block + 40, huge)])),
        ("VMCOREINFO", patched(&[(block + 32, huge)])),
        ("erase information", patched(&[(block + 64, huge), (block + 72, &[9])])),
        ("erase information", patched(&[(block + 72, huge)])),
    ] {
        for converted in [lab.convert(&lab.file("in", &input), 31), lab.convert_stream(&input, 31)] {
            let said = &converted.said;
            assert!(
                converted.status == Some(6) && said.contains(&format!("its {what} of ")),
                "{what}: {said}"
            );
            lab.check(what, 31, &converted.kdump.unwrap());
        }
    }
    // A page whose bytes are not what its descriptor promises is not readable, and nothing else is lost.
    let lab = Lab::new(arch::x86_64::four_level());
    let zlib = kdump_file(&lab, &Form::new(6, 31));
    let mut damaged = zlib.clone();
    let kept = lab.kept(31);
    // The first page that is stored compressed, by its zlib header.
    let desc = |rank: usize| zlib.len() - stored_bytes(&zlib, &kept) + rank;
    damaged[desc(0)..desc(0) + 2].fill(0xa5);
    let converted = lab.convert(&lab.file("in", &damaged), 31);
    assert!(converted.said.contains("1 pages could not be read"), "{}", converted.said);
    let kdump = converted.kdump.unwrap();
    let held = (0..lab.core.max_mapnr()).filter(|pfn| matches!(kdump.page(*pfn), Found::Bytes(_))).count();
    assert_eq!(held, kept.len() - 1);
}

/// Bytes of all stored pages, which end the file: from the first descriptor.
fn stored_bytes(file: &[u8], kept: &[u64]) -> usize {
    let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    let blocks = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let table = (1 + blocks(432) + blocks(436)) * blocks(428);
    assert_eq!(number(table), table + kept.len() * 24);
    file.len() - number(table)
}

#[test]
fn what_is_not_read_is_named_with_the_reason() {
    let lab = Lab::new(arch::x86_64::four_level());
    for (start, why, hint) in [
        (&b"sadump\0\0"[..], "sadump", "makedumpfile"),
        (b"LibvirtQemudSave", "saved guest of libvirt", "--memory-only"),
        (b"\xd2\xbe\xd2\xbe", "VMware", "vmss2core"),
        (b"age-encryption.org/v1\n", "encrypted already", "rewrap"),
        (b"\x28\xb5\x2f\xfd", "compressed", "zstd -dc"),
        (b"DISKDUMP", "diskdump", "VMCOREINFO"),
    ] {
        let mut bytes = start.to_vec();
        bytes.resize(9000, 1);
        let converted = lab.convert(&lab.file("in", &bytes), 31);
        assert_eq!(converted.status, Some(1));
        assert!(converted.said.contains(why) && converted.said.contains(hint), "{}", converted.said);
    }
}

/// What makedumpfile makes of the same vmcore, by any of its options, holds the same pages as ours.
#[test]
fn dumps_of_makedumpfile_in_every_form_are_inputs() {
    let Some(makedumpfile) = or_skip(judge::program("makedumpfile")) else { return };
    let mut known = kernel::v6_12();
    known.section_flags = 1 << 2 | 1 << 3;
    let directory = tempfile::tempdir().unwrap();
    let core = zoo::zoo(arch::x86_64::four_level(), known).build();
    let vmcore = directory.path().join("vmcore.elf");
    core.write_to(&vmcore);
    let notes = Vmcore::open(&vmcore).unwrap().notes().bytes().to_vec();
    let lab = Lab { directory, core, vmcore, notes };
    for options in ["-c", "-l", "-p", "-z", "", "-E", "-F -c", "-F -l", "-F -z"] {
        for level in ["1", "31"] {
            let out = lab.path("theirs");
            let mut command = Command::new(&makedumpfile);
            command
                .args(options.split_whitespace())
                .args(["-f", "--message-level", "4", "-d", level])
                .arg(&lab.vmcore);
            let flat = options.contains("-F");
            let output = if flat { command.output() } else { command.arg(&out).output() }.unwrap();
            assert!(output.status.success(), "{options}: {}", text(&output.stderr));
            if flat {
                fs::write(&out, &output.stdout).unwrap();
            }
            // Level 0 of the reference: what their dump holds is decided by their level.
            let converted = lab.convert(&out, level.parse().unwrap());
            let kdump = converted.kdump.unwrap_or_else(|| panic!("{options} {level}: {}", converted.said));
            let classes = lab.core.classes(level.parse().unwrap());
            // They take a poisoned page's neighbours along, and keep a poisoned tail.
            for pfn in (0..lab.core.max_mapnr()).filter(|&pfn| !lab.core.is_broken_in_part(pfn)) {
                let (found, ours) = (kdump.page(pfn), expected(&lab.core, &classes, pfn));
                // An ELF core of theirs has no zero pages.
                let is_zero = options == "-E"
                    && matches!(&ours, Found::Bytes(page) if page.iter().all(|byte| *byte == 0));
                assert!(
                    found == ours || is_zero && found == Found::Excluded,
                    "{options} {level}: pfn {pfn:#x}"
                );
            }
            if flat {
                assert!(lab.convert_stream(&output.stdout, 31).kdump.is_some());
            }
        }
    }
}
