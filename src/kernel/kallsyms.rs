//! kallsyms, the kernel's symbol table as it is in memory: compressed names in sequence, an address for each. The
//! table is streamed, so that a few symbols are found in little memory ([`Kallsyms::find`]); [`Kallsyms::load`] makes
//! an index of all of them.
//!
//! Source: Linux `scripts/kallsyms.c`, `kernel/kallsyms.c`; the keys in VMCOREINFO since commit 5fd8fea935a1
//! ("vmcoreinfo: include kallsyms symbols") (in v6.0).

mod addresses;
mod index;
mod names;
mod search;

use super::Error;
use super::bytes::Reader;
use crate::mm::KernelRead;
use crate::units::VirtAddr;
use crate::vmcore::VmcoreInfo;
use addresses::{Addresses, Decoder};
use names::{Names, Tokens};
use std::collections::HashMap;
use std::ops::ControlFlow;

pub(super) use index::Builder;
#[cfg(feature = "analyst")]
pub(super) use index::MAX_TEXT;
pub use index::{Symbol, Symbols};

/// More symbols than any kernel has: the largest seen has 0.2 million.
pub(super) const MAX_SYMBOLS: u32 = 4 << 20;
/// Tokens of the names' compression.
const TOKENS: usize = 256;
/// Bytes of the index of tokens.
#[cfg(feature = "analyst")]
pub(super) const INDEX_LEN: usize = 2 * TOKENS;

/// The symbol table of a kernel.
pub struct Kallsyms<'a> {
    reader: Reader<'a>,
    count: u32,
    names: VirtAddr,
    tokens: Tokens,
    /// Whether a length may take two bytes.
    long_names: bool,
    /// What the addresses may be: VMCOREINFO's own symbols decide.
    addresses: Vec<Addresses>,
}

impl<'a> Kallsyms<'a> {
    /// The table that VMCOREINFO leads to; before v6.0 it is searched for in the kernel's image.
    ///
    /// # Errors
    ///
    /// [`Error::NoSymbols`] for a kernel without a table that can be found, [`Error::Read`], or [`Error::Absurd`].
    pub fn open(memory: &'a dyn KernelRead) -> Result<Kallsyms<'a>, Error> {
        let (reader, info) = (Reader(memory), memory.info());
        let key = |name: &str| info.symbol(&format!("kallsyms_{name}"));
        let (Some(names), Some(number), Some(table), Some(index)) =
            (key("names"), key("num_syms"), key("token_table"), key("token_index"))
        else {
            return Kallsyms::searched(reader, info);
        };
        let count = reader.u32(number, "kallsyms_num_syms")?;
        if count == 0 || count > MAX_SYMBOLS {
            return Err(Error::Absurd { what: "number of symbols", value: count.into() });
        }
        let tokens = read_tokens(reader, table, index)?;
        let addresses = vec![Addresses::named(reader, info)?];
        Ok(Kallsyms { reader, count, names, tokens, long_names: has_long_names(info), addresses })
    }

    fn searched(reader: Reader<'a>, info: &VmcoreInfo) -> Result<Kallsyms<'a>, Error> {
        let start = info.symbol("_stext").ok_or(Error::MissingKey("SYMBOL(kallsyms_names)"))?;
        let found = search::search(reader, start)?;
        Ok(Kallsyms {
            reader,
            count: found.count,
            names: found.names,
            tokens: read_tokens(reader, found.token_table, found.token_index)?,
            long_names: false,
            addresses: found.addresses,
        })
    }

    /// Number of symbols.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the compressed names.
    #[cfg(feature = "analyst")]
    pub(super) fn names_len(&self) -> Result<usize, Error> {
        let mut names = Names::new(self.reader, self.names, self.long_names);
        let mut name = Vec::new();
        for _ in 0..self.count {
            names.next(&self.tokens, &mut name)?;
        }
        Ok(names.taken())
    }

    /// Bytes of the strings that tokens stand for.
    #[cfg(feature = "analyst")]
    pub(super) fn tokens_len(&self) -> usize {
        self.tokens.len()
    }

    /// Calls `take` with each symbol's number, type letter (as nm prints it) and name, in the table's order, until it
    /// breaks off.
    ///
    /// # Errors
    ///
    /// The names cannot be read, or are not what a kernel writes.
    pub fn scan(&self, mut take: impl FnMut(u32, u8, &[u8]) -> ControlFlow<()>) -> Result<(), Error> {
        let mut names = Names::new(self.reader, self.names, self.long_names);
        let mut name = Vec::new();
        for number in 0..self.count {
            let kind = names.next(&self.tokens, &mut name)?;
            if take(number, kind, &name).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The addresses of a few symbols, read in memory that does not grow with the table. Of several symbols of one name
    /// the first counts.
    ///
    /// # Errors
    ///
    /// As [`Kallsyms::scan`]; or no meaning of the address table agrees with VMCOREINFO.
    pub fn find(&self, wanted: &[&str]) -> Result<Vec<Option<VirtAddr>>, Error> {
        let mut numbers: Vec<Option<u32>> = vec![None; wanted.len()];
        let places: HashMap<&[u8], usize> =
            wanted.iter().enumerate().map(|(at, name)| (name.as_bytes(), at)).collect();
        let samples = self.scan_with_samples(|number, _, name| {
            if let Some(slot) = places.get(name).and_then(|&at| numbers.get_mut(at)) {
                slot.get_or_insert(number);
            }
            ControlFlow::Continue(())
        })?;
        let decoder = Decoder::choose(self.reader, &self.addresses, &samples)?;
        // A name that was asked for twice has one place.
        let number = |name: &&str| places.get(name.as_bytes()).and_then(|&at| *numbers.get(at)?);
        wanted.iter().map(|name| number(name).map(|number| decoder.address(number)).transpose()).collect()
    }

    /// The index of all symbols, by name and by address.
    ///
    /// # Errors
    ///
    /// As [`Kallsyms::find`]; or the names take more than 64 MiB.
    pub fn load(&self) -> Result<Symbols, Error> {
        let mut builder = Builder::default();
        let mut too_large = false;
        let samples = self.scan_with_samples(|_, kind, name| {
            too_large = builder.push(kind, name).is_none();
            if too_large { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if too_large {
            return Err(Error::Absurd { what: "length of all symbol names", value: u64::MAX });
        }
        let decoder = Decoder::choose(self.reader, &self.addresses, &samples)?;
        Ok(builder.finish(decoder.all(self.count)?))
    }

    /// Scans as [`Kallsyms::scan`] does; gives the numbers of the symbols that VMCOREINFO has too, with their addresses.
    fn scan_with_samples(
        &self,
        mut take: impl FnMut(u32, u8, &[u8]) -> ControlFlow<()>,
    ) -> Result<Vec<(u32, VirtAddr)>, Error> {
        let info = self.reader.0.info();
        let known: HashMap<&[u8], VirtAddr> =
            info.symbols().map(|(name, at)| (name.as_bytes(), at)).collect();
        let mut samples = Vec::new();
        self.scan(|number, kind, name| {
            samples.extend(known.get(name).map(|&at| (number, at)));
            take(number, kind, name)
        })?;
        Ok(samples)
    }
}

/// The tokens that names are made of: 256 strings, each found by a 16-bit offset.
fn read_tokens(reader: Reader<'_>, table: VirtAddr, index: VirtAddr) -> Result<Tokens, Error> {
    let order = reader.0.byte_order();
    let index = reader.vec(index, 2 * TOKENS, "kallsyms_token_index")?;
    let starts: Vec<u16> = (0..TOKENS).filter_map(|at| order.u16_at(&index, 2 * at)).collect();
    let last = usize::from(starts.iter().copied().max().unwrap_or(0));
    let mut text = reader.vec(table, last, "kallsyms_token_table")?;
    // The end of the last string is not known: the search goes in small steps.
    while !text.get(last..).unwrap_or_default().contains(&0) {
        if text.len() > last + names::MAX_NAME {
            return Err(Error::Absurd { what: "length of a symbol token", value: text.len() as u64 });
        }
        let end = table.wrapping_add(text.len() as u64);
        text.extend(reader.vec(end, 16, "kallsyms_token_table")?);
    }
    Ok(Tokens::new(text, starts))
}

/// Whether names longer than 127 tokens have a length of two bytes: since commit 73bbb94466fd ("kallsyms: support
/// "big" kernel symbols") (in v6.1). Nothing in memory tells, so the release does; it matters for such names alone.
fn has_long_names(info: &VmcoreInfo) -> bool {
    info.version().is_none_or(|version| version >= (6, 1))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Pieces;
    use super::super::testing::description::{Generation, SymbolTable, kallsyms, old_kallsyms};
    use super::*;
    use crate::units::ByteOrder;

    const TEXT: u64 = 0xffff_ffff_8100_0000;
    const TABLE: u64 = 0xffff_ffff_8200_0000;
    const ALL: [Generation; 4] = [
        Generation::Absolute,
        Generation::AbsolutePerCpu,
        Generation::BaseRelative,
        Generation::PlaceRelative,
    ];

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
        let symbols =
            [('T', "_stext", TEXT), ('T', &long, TEXT + 1), ('D', "init_uts_ns", TEXT + 0x0180_0000)];
        let memory = memory(kallsyms(false, Generation::BaseRelative, TABLE, &symbols), ByteOrder::Little);
        let loaded = Kallsyms::open(&memory).unwrap().load().unwrap();
        assert_eq!(loaded.find(&long), Some(VirtAddr(TEXT + 1)));
        for (release, long) in [("6.1.0", true), ("6.0.12-x", false), ("5.14.0-503.el9", false), ("?", true)]
        {
            let info = VmcoreInfo::parse(format!("OSRELEASE={release}\n").as_bytes());
            assert_eq!(has_long_names(&info), long, "{release}");
        }
    }

    #[test]
    fn tables_that_no_kernel_writes_are_errors() {
        let changed = |name: &str, at: usize, bytes: &[u8]| {
            let table =
                kallsyms(false, Generation::PlaceRelative, TABLE, &symbols(Generation::PlaceRelative));
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
                let info = "OSRELEASE=5.14.0\nSYMBOL(_stext)=ffffffff81000000\nSYMBOL(init_uts_ns)=ffffffff82800000\n";
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
                    assert_eq!(
                        (char::from(found.kind), found.address.0),
                        (*kind, *at),
                        "{generation:?} {name}"
                    );
                }
            }
        }
    }
}
