//! Vmcores that are larger in their heads than usual: notes with device dumps of tens of megabytes, more memory ranges
//! than `e_phnum` counts. All of it comes back, in every form of a dump.
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

use common::succeed;
use dump::{Dump, collect, expected, identities};
use readers::{Elf, Found, Kdump, assert_same};
use std::fs;
use std::io::Cursor;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use synth::{Core, arch, kernel, zoo};
use tempfile::TempDir;
use vmcore_encrypt::reader::{self, ElfView, KdumpView};
use vmcore_encrypt::restore::{self, Codec, Output, OutputFile};
use vmcore_encrypt::vmcore::{PhysSource, Vmcore};

const PHDR: usize = 56;

fn u64_at(file: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
}

fn machine() -> (Core, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let core = zoo::zoo(arch::x86_64::four_level(), kernel::v6_12()).build();
    core.write_to(&directory.path().join("vmcore"));
    (core, fs::read(directory.path().join("vmcore")).unwrap())
}

/// The place of the program header of the notes.
fn note_header(file: &[u8]) -> usize {
    let (phoff, count) = (u64_at(file, 32) as usize, u16::from_le_bytes([file[56], file[57]]));
    (0..count.into()).map(|n| phoff + n * PHDR).find(|&at| file[at] == 4).unwrap()
}

fn note(name: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut note = [name.len() as u32, desc.len() as u32, kind].map(u32::to_le_bytes).concat();
    for part in [name, desc] {
        note.extend_from_slice(part);
        note.resize(note.len().next_multiple_of(4), 0);
    }
    note
}

/// A device dump: its name in 44 bytes, then bytes that no two pieces have in common.
fn device_dump(seed: u32, len: u32) -> Vec<u8> {
    let mut desc = format!("eth{seed}").into_bytes();
    desc.resize(44, 0);
    desc.extend((0..len / 4).flat_map(|n| (n ^ seed.rotate_left(20)).to_le_bytes()));
    note(b"LINUX\0", 0x700, &desc)
}

/// The file with other notes, at its end.
fn with_notes(mut file: Vec<u8>, notes: &[u8]) -> Vec<u8> {
    let header = note_header(&file);
    let place = file.len() as u64;
    file[header + 8..header + 16].copy_from_slice(&place.to_le_bytes());
    file[header + 32..header + 40].copy_from_slice(&(notes.len() as u64).to_le_bytes());
    file.extend_from_slice(notes);
    file
}

fn notes_of(file: &[u8]) -> Vec<u8> {
    let header = note_header(file);
    file[u64_at(file, header + 8) as usize..][..u64_at(file, header + 32) as usize].to_vec()
}

fn restored(directory: &TempDir, dump: &Dump, is_elf: bool) -> std::path::PathBuf {
    let path = directory.path().join("restored");
    let file = OutputFile::create_hidden(&path, true).unwrap();
    let output = if is_elf { Output::Elf(&file) } else { Output::Kdump(&file, Codec::Zstd) };
    restore::restore(&mut Cursor::new(&dump.bytes), &identities(), output, NonZero::new(2).unwrap()).unwrap();
    file.finish().unwrap();
    path
}

fn save(view: &dyn PhysSource, path: &Path) {
    let mut bytes = vec![0; view.len() as usize];
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes.len().min(at + 100_000);
        at += view.read_at(&mut bytes[at..end], at as u64).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

fn check_pages(core: &Core, level: u8, page: impl Fn(u64) -> Option<Found>) {
    let classes = core.classes(level.into());
    for pfn in 0..core.max_mapnr() {
        let expected = expected(core, &classes, pfn);
        match page(pfn) {
            Some(found) => assert!(found == expected, "pfn {pfn:#x}"),
            None => assert!(!matches!(expected, Found::Bytes(_)), "pfn {pfn:#x} is missing"),
        }
    }
}

#[test]
fn device_dumps_of_any_size_go_along_in_every_form() {
    let directory = tempfile::tempdir().unwrap();
    let (core, plain) = machine();
    let own = notes_of(&plain);
    let (one, two) = (device_dump(1, 32 << 20), device_dump(2, 1000));
    // As notes lie in a vmcore: a device's among those of the kernel, of any size.
    let vmcore = directory.path().join("vmcore");
    fs::write(&vmcore, with_notes(plain, &[&one[..], &own, &two].concat())).unwrap();
    let dump = collect(&vmcore, 31, 2, None);
    let all = [&own[..], &one, &two].concat();

    let kdump = Kdump::open(&restored(&directory, &dump, false));
    assert!(kdump.notes() == all && !kdump.vmcoreinfo().is_empty());
    check_pages(&core, 31, |pfn| Some(kdump.page(pfn)));
    let elf = Elf::open(&restored(&directory, &dump, true), 4096);
    assert!(elf.notes == all);

    let opened = reader::Dump::from_source(Arc::new(dump.bytes.clone()), &identities(), 1 << 20).unwrap();
    let opened = Arc::new(opened);
    let path = directory.path().join("view");
    save(&ElfView::new(Arc::clone(&opened)).unwrap(), &path);
    assert!(Elf::open(&path, 4096).notes == all);
    save(&KdumpView::new(Arc::clone(&opened)).unwrap(), &path);
    assert!(Kdump::open(&path).notes() == all);
    let again = opened.vmcore().unwrap();
    assert_eq!(again.notes().streamed_len(), (one.len() + two.len()) as u64);
    assert_eq!(again.notes().bytes(), own);
}

#[test]
fn a_size_limit_takes_device_dumps_before_it_takes_pages() {
    let directory = tempfile::tempdir().unwrap();
    let (_, plain) = machine();
    let vmcore = directory.path().join("vmcore");
    fs::write(&vmcore, &plain).unwrap();
    let usual = collect(&vmcore, 31, 1, None);
    let mut noise = 1_u32;
    let mut desc = vec![0; 8 << 20];
    for byte in &mut desc {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = noise.to_be_bytes()[0];
    }
    let notes = [notes_of(&plain), note(b"LINUX\0", 0x700, &desc)].concat();
    fs::write(&vmcore, with_notes(plain, &notes)).unwrap();
    let limited = collect(&vmcore, 31, 1, Some(usual.bytes.len() as u64 + (1 << 20)));
    assert!(!limited.complete && limited.pages.saved == usual.pages.saved);
    restored(&directory, &limited, false);
}

/// The file with one program header for each `piece` bytes of memory, in an order in which none continues another.
fn in_pieces(mut file: Vec<u8>, piece: u64) -> Vec<u8> {
    let (phoff, count) = (u64_at(&file, 32) as usize, usize::from(u16::from_le_bytes([file[56], file[57]])));
    let (mut notes, mut loads) = (Vec::new(), Vec::new());
    for at in (0..count).map(|n| phoff + n * PHDR) {
        let header = file[at..at + PHDR].to_vec();
        if header[0] == 4 {
            notes = header;
            continue;
        }
        let [offset, vaddr, paddr, filesz, memsz] = [8, 16, 24, 32, 40].map(|at| u64_at(&header, at));
        if filesz != memsz {
            loads.push(header);
            continue;
        }
        for odd in [0, 1] {
            for start in (odd * piece..filesz).step_by(2 * piece as usize) {
                let size = piece.min(filesz - start).to_le_bytes();
                let [offset, vaddr, paddr] = [offset, vaddr, paddr].map(|at| (at + start).to_le_bytes());
                let fields = [&header[..8], &offset, &vaddr, &paddr, &size, &size, &header[48..]];
                loads.push(fields.concat());
            }
        }
    }
    let headers = [notes, loads.concat()].concat();
    let total = (headers.len() / PHDR) as u32;
    let table = file.len() as u64;
    let section = table + headers.len() as u64;
    file.extend_from_slice(&headers);
    file.resize(file.len() + 64, 0);
    let info = file.len() - 64 + 44;
    file[info..info + 4].copy_from_slice(&total.to_le_bytes());
    file[32..40].copy_from_slice(&table.to_le_bytes());
    file[40..48].copy_from_slice(&section.to_le_bytes());
    file[56..58].copy_from_slice(&u16::MAX.to_le_bytes());
    file[58..62].copy_from_slice(&[64, 0, 1, 0]);
    file
}

#[test]
fn more_memory_ranges_than_e_phnum_counts_are_dumped() {
    let directory = tempfile::tempdir().unwrap();
    let (core, plain) = machine();
    let bytes = Vmcore::from_source(Box::new(plain.clone())).unwrap().backed().count() * 4096;
    let piece = (bytes / 80_000).next_power_of_two() / 2;
    let file = in_pieces(plain, piece);
    let vmcore = directory.path().join("vmcore");
    fs::write(&vmcore, &file).unwrap();
    let ranges = Vmcore::open(&vmcore).unwrap().segments().len();
    assert!(ranges > 65_535, "{ranges}");
    let dump = collect(&vmcore, 31, 2, None);
    let kdump = Kdump::open(&restored(&directory, &dump, false));
    check_pages(&core, 31, |pfn| Some(kdump.page(pfn)));
    let opened = reader::Dump::from_source(Arc::new(dump.bytes), &identities(), 1 << 20).unwrap();
    assert_eq!(opened.facts().segments.len(), ranges);
    // In parts each part has all of them.
    let (identity, recipients) = common::keys(directory.path());
    let at = |name: &str| directory.path().join(name);
    let made = |options: &[&str], names: &[&str]| {
        let mut collect = common::encrypt();
        collect.args(["--warnings-exit-0", "-d", "31", "-R"]).arg(&recipients).args(options).arg(&vmcore);
        succeed(collect.args(names.iter().map(|name| at(name))));
    };
    let restored = |options: &[&str], names: &[&str]| {
        let mut restore = common::decrypt();
        restore.args(["restore", "-f", "-i"]).arg(&identity).args(options);
        succeed(restore.args(names.iter().map(|name| at(name))).arg(at("restored")));
        Kdump::open(&at("restored"))
    };
    made(&[], &["whole"]);
    made(&["--split"], &["part1", "part2"]);
    let whole = restored(&[], &["whole"]);
    assert_same(&restored(&[], &["part1", "part2"]), &whole);
    assert_same(&restored(&["--salvage"], &["part2", "part1"]), &whole);
}
