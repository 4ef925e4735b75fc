//! The builder of synthetic vmcores against its own description: bytes land where the segments say.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

mod synth;

use synth::{Class, Presence, arch, kernel, zoo};

#[test]
fn every_page_of_the_zoo_lies_where_its_segment_says() {
    let core = zoo::zoo(arch::x86_64::four_level(), kernel::v6_12()).build();
    let bytes = core.to_bytes();
    let mut page = vec![0; 4096];
    for pfn in (0..core.max_mapnr()).filter(|&pfn| core.presence(pfn) == Presence::Data) {
        core.read_page(pfn, &mut page);
        assert_eq!(find(&bytes, pfn * 4096), page, "pfn {pfn:#x}");
    }
}

/// The page at a physical address, by the program headers of a little-endian file.
fn find(file: &[u8], paddr: u64) -> &[u8] {
    let u64_at = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    for header in (0..).map(|n| 64 + n * 56).take(usize::from(file[56])) {
        let (start, len) = (u64_at(header + 24), u64_at(header + 32));
        if file[header] == 1 && start <= paddr && paddr < start + len {
            let at = usize::try_from(u64_at(header + 8) + paddr - start).unwrap();
            return &file[at..at + 4096];
        }
    }
    panic!("no segment for {paddr:#x}");
}

/// Descriptions of the other architectures build: their RAM holds what the builder places.
#[test]
fn every_architecture_builds() {
    for (name, arch) in arch::all() {
        let core = zoo::zoo(arch, kernel::v6_12()).build();
        let counts = |class| core.classes(31).iter().filter(|at| **at == class).count();
        assert_eq!(counts(Class::Free), 0x48c, "{name}");
        assert_eq!(counts(Class::Offline), 2, "{name}");
    }
}

/// A terabyte is a matter of page tables shared, not of struct pages written.
#[test]
fn a_terabyte_is_a_small_file() {
    use std::os::unix::fs::MetadataExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    let core = zoo::large(arch::x86_64::four_level(), kernel::v6_12(), 1024).build();
    core.write_to(file.path());
    let written = file.path().metadata().unwrap();
    assert!(written.len() > 1023 << 30);
    assert!(written.blocks() * 512 < 16 << 20, "{} bytes on disk", written.blocks() * 512);
}

#[test]
fn classes_follow_the_description() {
    let core = zoo::zoo(arch::x86_64::five_level(), kernel::v6_1()).build();
    let count = |level: u32, class| core.classes(level).iter().filter(|at| **at == class).count();
    assert_eq!(count(0, Class::Free), 0);
    assert_eq!(count(16, Class::Free), 1 + 2 + 8 + 64 + 1024 + 1 + 64);
    assert_eq!(count(1, Class::Offline), 2);
    assert_eq!(count(31, Class::Hwpoison), 0);
}

/// Leaves machines of 8 GiB to 1 TiB, a few MiB of disk each, under `SYNTH_OUT`: what `benches/e2e` measures.
#[test]
#[ignore = "writes files for benches/e2e"]
fn write_large() {
    let dir = std::path::PathBuf::from(std::env::var("SYNTH_OUT").unwrap());
    for gib in [8, 64, 256, 1024] {
        let core = zoo::large(arch::x86_64::four_level(), kernel::v6_12(), gib).build();
        core.write_to(&dir.join(format!("ram-{gib}.elf")));
    }
}
