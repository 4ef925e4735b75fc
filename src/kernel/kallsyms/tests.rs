//! Symbol tables of every generation, whole and broken.

use super::*;
use crate::kernel::testing::Pieces;
use crate::kernel::testing::description::{Generation, SymbolTable, kallsyms, old_kallsyms};
use crate::units::ByteOrder;

const TEXT: u64 = 0xffff_ffff_8100_0000;
const TABLE: u64 = 0xffff_ffff_8200_0000;
const ALL: [Generation; 4] =
    [Generation::Absolute, Generation::AbsolutePerCpu, Generation::BaseRelative, Generation::PlaceRelative];

fn symbols(generation: Generation) -> Vec<(char, &'static str, u64)> {
    let mut symbols = vec![
        ('T', "_stext", TEXT),
        ('t', "do_thing", TEXT + 0x10),
        ('T', "do_thing_alias", TEXT + 0x10),
        ('T', "sys_init", TEXT + 0x200),
        ('t', "do_thing", TEXT + 0x300),
        ('D', "init_uts_ns", TEXT + 0x0180_0000),
    ];
    if generation == Generation::AbsolutePerCpu {
        symbols.insert(0, ('A', "runqueues", 0x2_3040));
    }
    symbols
}

fn memory(table: SymbolTable, order: ByteOrder) -> Pieces {
    let info = table.lines
        + "OSRELEASE=6.12.1\nSYMBOL(_stext)=ffffffff81000000\n\
        SYMBOL(init_uts_ns)=ffffffff82800000\nSYMBOL(mem_section)=ffff888000000000\n";
    let mut memory = Pieces::new(order, &info);
    // Memory comes in pages.
    let mut bytes = table.bytes;
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    memory.put(table.at, bytes);
    memory
}

fn both(generation: Generation) -> [Pieces; 2] {
    [ByteOrder::Little, ByteOrder::Big].map(|order| {
        memory(kallsyms(order == ByteOrder::Big, generation, TABLE, &symbols(generation)), order)
    })
}

#[test]
fn every_generation_gives_every_symbol_in_both_byte_orders() {
    for generation in ALL {
        for memory in both(generation) {
            let loaded = Kallsyms::open(&memory).unwrap().load().unwrap();
            let found: Vec<_> = loaded
                .iter()
                .map(|symbol| (char::from(symbol.kind), symbol.name.to_vec(), symbol.address.0))
                .collect();
            let expected: Vec<_> = symbols(generation)
                .into_iter()
                .map(|(kind, name, at)| (kind, name.as_bytes().to_vec(), at))
                .collect();
            assert_eq!(found, expected, "{generation:?}");
        }
    }
}

#[test]
fn a_few_symbols_are_found_without_an_index() {
    for generation in ALL {
        for memory in both(generation) {
            let found = Kallsyms::open(&memory).unwrap();
            let found = found.find(&["init_uts_ns", "nothing", "do_thing", "init_uts_ns"]).unwrap();
            let expected = [Some(TEXT + 0x0180_0000), None, Some(TEXT + 0x10), Some(TEXT + 0x0180_0000)];
            assert_eq!(found, expected.map(|at| at.map(VirtAddr)), "{generation:?}");
        }
    }
}

#[test]
fn names_and_addresses_are_found_with_all_that_share_them() {
    let [memory, _] = both(Generation::PlaceRelative);
    let loaded = Kallsyms::open(&memory).unwrap().load().unwrap();
    let at = |address| loaded.at(VirtAddr(address)).map(|symbol| symbol.name.to_vec());
    assert_eq!(loaded.all("do_thing").count(), 2);
    assert_eq!(loaded.find("do_thin"), None);
    assert_eq!(at(TEXT - 1), None);
    assert_eq!(at(TEXT + 0xf).unwrap(), b"_stext");
    assert_eq!(at(TEXT + 0x10).unwrap(), b"do_thing");
    assert_eq!(at(u64::MAX).unwrap(), b"init_uts_ns");
    assert_eq!(loaded.end(VirtAddr(TEXT + 0x11)), Some(VirtAddr(TEXT + 0x200)));
    assert_eq!(loaded.end(VirtAddr(u64::MAX)), None);
}

#[test]
fn long_names_are_read_by_release() {
    let long = "a".repeat(300);
    let symbols = [('T', "_stext", TEXT), ('T', &long, TEXT + 1), ('D', "init_uts_ns", TEXT + 0x0180_0000)];
    let memory = memory(kallsyms(false, Generation::BaseRelative, TABLE, &symbols), ByteOrder::Little);
    let loaded = Kallsyms::open(&memory).unwrap().load().unwrap();
    assert_eq!(loaded.find(&long), Some(VirtAddr(TEXT + 1)));
    for (release, long) in [("6.1.0", true), ("6.0.12-x", false), ("5.14.0-503.el9", false), ("?", true)] {
        let info = VmcoreInfo::parse(format!("OSRELEASE={release}\n").as_bytes());
        assert_eq!(has_long_names(&info), long, "{release}");
    }
}

#[test]
fn tables_that_no_kernel_writes_are_errors() {
    let changed = |name: &str, at: usize, bytes: &[u8]| {
        let table = kallsyms(false, Generation::PlaceRelative, TABLE, &symbols(Generation::PlaceRelative));
        let mut memory = memory(table, ByteOrder::Little);
        let place = memory.info().symbol(&format!("kallsyms_{name}")).unwrap();
        memory.put(place.0 + at as u64, bytes);
        Kallsyms::open(&memory).and_then(|table| table.load()).err().map(|error| error.to_string())
    };
    assert_eq!(changed("num_syms", 0, &[6]), None);
    for (name, at, bytes) in [
        ("num_syms", 0, &[0; 4][..]),
        ("num_syms", 0, &[0xff; 4]),
        ("num_syms", 0, &[7]),
        ("names", 0, &[0]),
        ("names", 0, &[0xff, 0xff]),
        ("token_index", 2 * 0x54, &[0xff, 0xff]),
        ("offsets", 0, &[0x55; 24]),
    ] {
        assert!(changed(name, at, bytes).is_some(), "{name}");
    }
}

#[test]
fn a_kernel_without_keys_and_without_a_table_has_none() {
    let memory = Pieces::new(ByteOrder::Little, "OSRELEASE=5.14.0\n");
    let error = Kallsyms::open(&memory).err().unwrap();
    assert_eq!(error.to_string(), "VMCOREINFO has no usable SYMBOL(kallsyms_names)");
    let memory = Pieces::new(ByteOrder::Little, "SYMBOL(_stext)=ffffffff81000000\n");
    let error = Kallsyms::open(&memory).err().unwrap();
    assert!(error.to_string().contains("a search of the kernel's image did not find it"), "{error}");
}

/// Before v6.0: more than three blocks of markers, in the order that the tables had then.
#[test]
fn a_table_that_nothing_leads_to_is_found_in_the_image() {
    let names: Vec<String> = (0..1000).map(|nth| format!("do_function_{nth}")).collect();
    let mut symbols: Vec<(char, &str, u64)> = vec![('T', "_stext", TEXT)];
    symbols.extend(names.iter().zip(1..).map(|(name, nth)| ('t', name.as_str(), TEXT + 16 * nth)));
    symbols.push(('D', "init_uts_ns", TEXT + 0x0180_0000));
    for generation in [Generation::Absolute, Generation::AbsolutePerCpu, Generation::BaseRelative] {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let table = old_kallsyms(order == ByteOrder::Big, generation, &symbols);
            let info =
                "OSRELEASE=5.14.0\nSYMBOL(_stext)=ffffffff81000000\nSYMBOL(init_uts_ns)=ffffffff82800000\n";
            let mut memory = Pieces::new(order, info);
            // Another table of digits comes first, in code; pages that are missing are between.
            let mut image = vec![0x90; 0x3000];
            image[0x100..0x114].copy_from_slice(b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00");
            memory.put(TEXT, image);
            let mut bytes = vec![0; 0x2000];
            bytes.extend(table);
            bytes.resize(bytes.len().next_multiple_of(4096) + 0x4000, 0);
            memory.put(TEXT + 0x0010_0000, bytes);
            let loaded = Kallsyms::open(&memory).unwrap().load().unwrap();
            assert_eq!(loaded.len(), symbols.len(), "{generation:?}");
            for (kind, name, at) in &symbols {
                let found = loaded.all(name).next().unwrap();
                assert_eq!((char::from(found.kind), found.address.0), (*kind, *at), "{generation:?} {name}");
            }
        }
    }
}
