//! There and back: every page of every kind of machine, through the collector and the restorer, read by readers
//! that share nothing with either; and the same through stock tools alone.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

#[path = "common/dump.rs"]
mod dump;
mod readers;
mod synth;

use dump::{IDENTITY, collect, expected, identities, plaintext};
use readers::{Elf, Found, Kdump};
use std::io::Cursor;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::Command;
use synth::{Class, Core, Synth, arch, kernel, zoo};
use tempfile::TempDir;
use vmcore_encrypt::restore::{self, Codec, Output, OutputFile};

fn restore(dump: &[u8], output: Output<'_>, threads: usize) -> Result<restore::Report, restore::Error> {
    restore::restore(&mut Cursor::new(dump), &identities(), output, NonZero::new(threads).unwrap())
}

fn restore_kdump(directory: &TempDir, dump: &[u8], codec: Codec) -> Kdump {
    let path = directory.path().join("restored.kdump");
    let file = OutputFile::create_hidden(&path, true).unwrap();
    restore(dump, Output::Kdump(&file, codec), 2).unwrap();
    file.finish().unwrap();
    Kdump::open(&path)
}

fn restore_elf(directory: &TempDir, dump: &[u8], page: u64) -> Elf {
    let path = directory.path().join("restored.elf");
    let file = OutputFile::create_hidden(&path, true).unwrap();
    restore(dump, Output::Elf(&file), 2).unwrap();
    file.finish().unwrap();
    Elf::open(&path, page)
}

fn check_kdump(name: &str, core: &Core, level: u8, kdump: &Kdump) {
    let classes = core.classes(level.into());
    assert_eq!(kdump.max_mapnr, core.max_mapnr(), "{name}");
    for pfn in 0..core.max_mapnr() {
        let (found, expected) = (kdump.page(pfn), expected(core, &classes, pfn));
        let class = classes[usize::try_from(pfn).unwrap()];
        assert!(
            found == expected,
            "{name}: level {level}, pfn {pfn:#x}, {class:?}: {found:x?}, not {expected:x?}"
        );
    }
}

#[test]
fn every_page_of_every_architecture_comes_back_or_reads_as_excluded() {
    let directory = tempfile::tempdir().unwrap();
    let vmcore = directory.path().join("vmcore");
    for (name, arch) in arch::all() {
        let core = zoo::zoo(arch, kernel::v6_12()).build();
        core.write_to(&vmcore);
        let dump = collect(&vmcore, 31, 2, None);
        check_kdump(name, &core, 31, &restore_kdump(&directory, &dump.bytes, Codec::Zstd));
    }
}

fn x86(directory: &TempDir) -> (Core, PathBuf) {
    let core = zoo::zoo(arch::x86_64::four_level(), kernel::v6_12()).build();
    let path = directory.path().join("vmcore");
    core.write_to(&path);
    (core, path)
}

#[test]
fn all_levels_give_the_described_pages() {
    let directory = tempfile::tempdir().unwrap();
    let (core, vmcore) = x86(&directory);
    for level in 0..=31 {
        let dump = collect(&vmcore, level, 1, None);
        let classes = core.classes(level.into());
        let count = |class| classes.iter().filter(|&&found| found == class).count() as u64;
        let kept = (0u64..).zip(&classes).filter(|&(_, &class)| class == Class::Kept);
        let zero = kept.filter(|&(pfn, _)| core.is_zero(pfn)).count() as u64;
        let pages = dump.pages;
        assert_eq!(pages.total, core.max_mapnr());
        assert_eq!(pages.present, pages.total - count(Class::Hole), "level {level}");
        assert_eq!(
            [pages.cache, pages.cache_private, pages.user, pages.free, pages.hwpoison, pages.offline],
            [Class::Cache, Class::PrivateCache, Class::User, Class::Free, Class::Hwpoison, Class::Offline]
                .map(count),
            "level {level}"
        );
        assert_eq!((pages.zero, pages.saved), (zero, count(Class::Kept) - zero), "level {level}");
        let kdump = restore_kdump(&directory, &dump.bytes, Codec::None);
        assert_eq!(kdump.dump_level, u64::from(level));
        check_kdump("x86_64", &core, level, &kdump);
    }
}

#[test]
fn every_form_holds_the_same_pages_and_notes() {
    let directory = tempfile::tempdir().unwrap();
    let (core, vmcore) = x86(&directory);
    let dump = collect(&vmcore, 31, 2, None).bytes;
    let mut notes = Vec::new();
    for codec in [Codec::Zlib, Codec::Lzo, Codec::Snappy, Codec::Zstd, Codec::None] {
        let kdump = restore_kdump(&directory, &dump, codec);
        check_kdump(&format!("{codec:?}"), &core, 31, &kdump);
        assert_eq!(kdump.status, u64::from(codec.flags().0));
        assert_eq!(kdump.nr_cpus, core.cpus as u64);
        assert_eq!(kdump.vmcoreinfo(), core.vmcoreinfo.as_bytes());
        notes = kdump.notes().to_vec();
    }
    let elf = restore_elf(&directory, &dump, core.page_size());
    assert_eq!(elf.notes, notes);
    let classes = core.classes(31);
    for pfn in 0..core.max_mapnr() {
        match expected(&core, &classes, pfn) {
            Found::Bytes(bytes) => assert!(elf.page(pfn) == Some(&bytes[..]), "pfn {pfn:#x}"),
            _ => assert_eq!(elf.page(pfn), None, "pfn {pfn:#x}"),
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (_, vmcore) = x86(&directory);
    let one = plaintext(&collect(&vmcore, 1, 1, None).bytes);
    for threads in [2, 7] {
        assert!(plaintext(&collect(&vmcore, 1, threads, None).bytes) == one, "{threads} threads");
    }
}

#[test]
fn no_dump_is_sealed_with_the_key_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let (_, vmcore) = x86(&directory);
    let [a, b] = [0; 2].map(|_| collect(&vmcore, 31, 1, None).bytes);
    assert!(a[a.len() - 64..] != b[b.len() - 64..]);
}

#[test]
fn a_dump_cut_anywhere_or_changed_anywhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let vmcore = directory.path().join("vmcore");
    Synth::new(arch::x86_64::four_level(), kernel::v6_12())
        .ram(0x10_0000..0x30_0000)
        .build()
        .write_to(&vmcore);
    let dump = collect(&vmcore, 0, 1, None).bytes;
    let payload = dump.windows(5).position(|window| window == b"\n--- ").unwrap() + 66;
    let step = (dump.len() / 300).max(1);
    for cut in (0..dump.len()).step_by(step).chain(dump.len() - 40..dump.len()) {
        assert!(restore(&dump[..cut], Output::Nothing, 1).is_err(), "cut at {cut}");
    }
    for at in (0..dump.len()).step_by(step) {
        let mut changed = dump.clone();
        changed[at] ^= 1;
        let refused = restore(&changed, Output::Nothing, 1).is_err();
        assert!(refused, "bit flipped at {at}, payload from {payload}");
    }
    let mut longer = dump.clone();
    longer.push(0);
    assert!(restore(&longer, Output::Nothing, 1).is_err());
    restore(&dump, Output::Nothing, 1).unwrap();
}

/// The bytes of a kdump file from stock tools alone.
fn stock_restore(directory: &TempDir, dump: &[u8]) -> PathBuf {
    let [encrypted, key, out] = ["dump.age", "key.txt", "plain"].map(|name| directory.path().join(name));
    std::fs::write(&encrypted, dump).unwrap();
    std::fs::write(&key, IDENTITY).unwrap();
    let _ = std::fs::remove_file(&out);
    let script = format!(
        "set -e -o pipefail; age -d -i '{}' '{}' | zstd -d | makedumpfile -R '{}' >&2",
        key.display(),
        encrypted.display(),
        out.display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

#[test]
fn stock_tools_restore_a_dump_without_us() {
    let directory = tempfile::tempdir().unwrap();
    let (core, vmcore) = x86(&directory);
    for level in [0, 31] {
        let dump = collect(&vmcore, level, 2, None).bytes;
        let kdump = Kdump::open(&stock_restore(&directory, &dump));
        check_kdump("age, zstd, makedumpfile", &core, level, &kdump);
        let ours = directory.path().join("flattened");
        let file = OutputFile::create_hidden(&ours, true).unwrap();
        restore(&dump, Output::Flattened(&mut file.file()), 2).unwrap();
        file.finish().unwrap();
        assert!(std::fs::read(&ours).unwrap() == zstd::decode_all(&plaintext(&dump)[..]).unwrap());
    }
}

/// A header says format, version and recipients; all that tells the machine is encrypted.
#[test]
fn nothing_of_the_machine_is_outside_the_encryption() {
    let directory = tempfile::tempdir().unwrap();
    let (core, vmcore) = x86(&directory);
    let dump = collect(&vmcore, 31, 1, None).bytes;
    let end = dump.windows(5).position(|window| window == b"\n--- ").unwrap();
    let header = str::from_utf8(&dump[..end]).unwrap();
    let lines: Vec<_> =
        header.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[..2], ["age-encryption.org/v1", "-> X25519"]);
    assert_eq!(lines.len(), 3, "{header}");
    let plain = zstd::decode_all(&plaintext(&dump)[..]).unwrap();
    // Long enough that no ciphertext holds it by chance: four bytes are in one of some thousand dumps of this size.
    const HEAD: &str = "VCEh{\"";
    for told in [core.kernel.release, "synth", "x86_64", "OSRELEASE", "makedumpfile", "KDUMP   ", HEAD] {
        let in_dump = dump.windows(told.len()).any(|bytes| bytes == told.as_bytes());
        let in_plain = plain.windows(told.len()).any(|bytes| bytes == told.as_bytes());
        assert!(!in_dump && (in_plain || told == HEAD), "{told}");
    }
}
