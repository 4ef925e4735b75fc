//! The constant tables of a build, apart from any dump: the symbol table as it is in memory, the types, and the unwind
//! tables of x86-64. They hold no address (the kernel may start anywhere), so those of one dump serve every other dump of
//! the same build. Where they are kept between two runs is the caller's matter.
//!
//! A dump chooses the build id that it names, so that tables are used only if its own memory agrees with them: the places of
//! the tables, the number of symbols, and samples at places that nobody can foresee. Even then nothing is read from
//! them other than symbols, types and unwind tables: whatever else a dump holds is read from the dump.

use super::bytes::Reader;
use super::kallsyms::{self, Kallsyms, MAX_SYMBOLS, MAX_TEXT};
use super::{Error, Kernel};
use crate::mm::KernelRead;
use crate::units::{ByteOrder, VirtAddr};
use crate::vmcore::VmcoreInfo;
use serde::{Deserialize, Serialize};
use std::error::Error as StdError;
use std::hash::{BuildHasher, RandomState};
use thiserror::Error as ThisError;

/// Version of the form of [`Tables::encode`].
const FORMAT: u32 = 1;
/// The most bytes of the head, one line of JSON.
const MAX_HEAD: usize = 4096;
/// Symbols of VMCOREINFO that lead to the symbol table, in the order of `Head::places`.
const LEADING: [&str; 5] = ["num_syms", "token_table", "token_index", "offsets", "relative_base"];
/// Tables between two symbols: the types, and where there are some the unwind tables.
const BETWEEN: [(&str, &str); 3] = [
    ("__start_BTF", "__stop_BTF"),
    ("__start_orc_unwind_ip", "__stop_orc_unwind_ip"),
    ("__start_orc_unwind", "__stop_orc_unwind"),
];
/// Number of tables: four of the symbols, and those of [`BETWEEN`].
const PARTS: usize = 4 + BETWEEN.len();
/// The most bytes of an unwind table: ten times the largest kernel seen.
const MAX_UNWIND: u64 = 32 << 20;
/// Samples of all tables, beside one of each. A sample costs a block of the dump (128 KiB of its memory), and is a part of it.
const SAMPLES: u64 = 2;
const SAMPLE: u64 = 16 << 10;
/// Samples that must be readable: a damaged dump may lack some.
const ENOUGH: usize = 4;

/// Why tables are not those of a dump.
#[derive(Debug, ThisError)]
pub enum Mismatch {
    /// The dump's own tables are another build's.
    #[error("{0} of the dump is another one")]
    Differs(&'static str),
    /// The dump does not lead to its tables, or too little of them can be read.
    #[error(transparent)]
    Unknown(#[from] Error),
}

/// Tables that are not whole.
#[derive(Debug, ThisError)]
#[error("these are no tables of a kernel, or they are damaged")]
pub struct Damaged;

/// What is known of the tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: u32,
    big_endian: bool,
    symbols: u32,
    /// Distances from the names to what the symbols of [`LEADING`] name; absent where VMCOREINFO has no such symbol.
    places: [Option<u64>; LEADING.len()],
    /// Distances from the names to the tables of [`BETWEEN`].
    between: [u64; BETWEEN.len()],
    /// Bytes of names, tokens, index of tokens, addresses, and of the tables of [`BETWEEN`].
    lengths: [u32; PARTS],
    /// CRC-32 of all these.
    sum: u32,
}

/// The tables of a build.
#[derive(Debug, PartialEq, Eq)]
pub struct Tables {
    head: Head,
    /// The tables, one after the other.
    bytes: Vec<u8>,
}

/// Memory in which tables are in their places, whatever the dump has there.
pub struct Placed<'a> {
    memory: &'a dyn KernelRead,
    tables: [(u64, &'a [u8]); PARTS],
}

/// Where tables of builds are kept between two dumps.
pub trait TableCache: Send + Sync {
    /// Calls `ask` once, with the kernel of a memory. It reads tables at hand of its build where its memory agrees with them;
    /// where there are none, those that it reads itself are kept.
    fn with_kernel(&self, memory: &dyn KernelRead, ask: &mut dyn FnMut(&Kernel<'_>));
}

impl Tables {
    /// The most bytes of all tables.
    pub const MAX_LEN: u64 = 3 * MAX_TEXT as u64;

    /// The tables of a kernel that has read its own.
    ///
    /// # Errors
    ///
    /// It has no symbols or no types, or they hold addresses, as before v6.0; as [`Kernel::symbols`] and [`Kernel::types`].
    pub fn of(kernel: &Kernel<'_>) -> Result<Tables, Error> {
        let (memory, reader) = (kernel.memory(), kernel.reader());
        let (names, places) = places(memory.info())?;
        let [_, Some(tokens), Some(index), Some(offsets), _] = places else {
            return Err(Error::MissingKey("SYMBOL(kallsyms_offsets)"));
        };
        let at = |distance| names.wrapping_add(distance);
        let table = Kallsyms::open(memory)?;
        let (types, types_at) = (kernel.types()?.bytes(), kernel.symbol("__start_BTF")?);
        let unwind = |symbols| Ok::<_, Error>(unwind_table(kernel, symbols)?.unwrap_or((Vec::new(), names)));
        let (addresses, addresses_at) = unwind(BETWEEN[1])?;
        let (entries, entries_at) = unwind(BETWEEN[2])?;
        let parts = [
            reader.vec(names, table.names_len()?, "kallsyms_names")?,
            reader.vec(at(tokens), table.tokens_len(), "kallsyms_token_table")?,
            reader.vec(at(index), kallsyms::INDEX_LEN, "kallsyms_token_index")?,
            reader.vec(at(offsets), table.count() as usize * 4, "kallsyms_offsets")?,
            types.to_vec(),
            addresses,
            entries,
        ];
        let length = |part: &Vec<u8>| u32::try_from(part.len()).unwrap_or(u32::MAX);
        let bytes = parts.concat();
        let head = Head {
            format: FORMAT,
            big_endian: memory.byte_order() == ByteOrder::Big,
            symbols: table.count(),
            places,
            between: [types_at, addresses_at, entries_at].map(|at| at.0.wrapping_sub(names.0)),
            lengths: parts.each_ref().map(length),
            sum: crc32fast::hash(&bytes),
        };
        Ok(Tables { head, bytes })
    }

    /// The tables as bytes: a line of JSON, then the tables.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Numbers alone: this cannot fail.
        let mut bytes = serde_json::to_vec(&self.head).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.bytes);
        bytes
    }

    /// The tables that [`Tables::encode`] wrote.
    ///
    /// # Errors
    ///
    /// They are damaged, or of another version of this program.
    pub fn decode(bytes: &[u8]) -> Result<Tables, Damaged> {
        let line = bytes.iter().take(MAX_HEAD).position(|&byte| byte == b'\n').ok_or(Damaged)?;
        let (head, rest) = bytes.split_at(line);
        let head: Head = serde_json::from_slice(head).map_err(|_| Damaged)?;
        let bytes = rest.get(1..).unwrap_or_default();
        let len: u64 = head.lengths.iter().copied().map(u64::from).sum();
        let whole = head.format == FORMAT
            && head.symbols <= MAX_SYMBOLS
            && len == bytes.len() as u64
            && len <= Tables::MAX_LEN
            && head.sum == crc32fast::hash(bytes);
        if whole { Ok(Tables { head, bytes: bytes.to_vec() }) } else { Err(Damaged) }
    }

    /// The tables at the places where a dump has them, if its memory agrees with them.
    ///
    /// # Errors
    ///
    /// It does not, or too little of it can be read.
    pub fn place<'a>(&'a self, memory: &'a dyn KernelRead) -> Result<Placed<'a>, Mismatch> {
        let (names, places) = places(memory.info())?;
        if (memory.byte_order() == ByteOrder::Big, places) != (self.head.big_endian, self.head.places) {
            return Err(Mismatch::Differs("the place of the symbol table"));
        }
        let count = names.wrapping_add(places[0].unwrap_or(0));
        if Reader(memory).u32(count, "kallsyms_num_syms")? != self.head.symbols {
            return Err(Mismatch::Differs("the number of symbols"));
        }
        let [_, tokens, index, offsets, _] = places.map(|place| place.unwrap_or(0));
        let [types, addresses, entries] = self.head.between;
        let mut rest = self.bytes.as_slice();
        let distances = [0, tokens, index, offsets, types, addresses, entries];
        let mut lengths = self.head.lengths.into_iter();
        let tables = distances.map(|distance| {
            let len = lengths.next().unwrap_or(0) as usize;
            let (part, more) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            rest = more;
            (names.0.wrapping_add(distance), part)
        });
        sample(memory, &tables)?;
        Ok(Placed { memory, tables })
    }
}

/// Where the names are, and the distances from there to the other tables.
fn places(info: &VmcoreInfo) -> Result<(VirtAddr, [Option<u64>; LEADING.len()]), Error> {
    let key = |name: &str| info.symbol(&format!("kallsyms_{name}"));
    let names = key("names").ok_or(Error::MissingKey("SYMBOL(kallsyms_names)"))?;
    Ok((names, LEADING.map(|name| key(name).map(|at| at.0.wrapping_sub(names.0)))))
}

/// An unwind table and its address; `None` where the kernel has none.
fn unwind_table(
    kernel: &Kernel<'_>,
    (start, stop): (&str, &str),
) -> Result<Option<(Vec<u8>, VirtAddr)>, Error> {
    let (Ok(start), Ok(stop)) = (kernel.symbol(start), kernel.symbol(stop)) else { return Ok(None) };
    let what = "the unwind table";
    let len = stop.0.wrapping_sub(start.0);
    let absurd = Error::Absurd { what: "length of the unwind table", value: len };
    let len = usize::try_from(len).ok().filter(|_| len <= MAX_UNWIND).ok_or(absurd)?;
    Ok(Some((kernel.reader().vec(start, len, what)?, start)))
}

/// Compares the dump's memory with the tables in samples at places by chance, at least one of each table; and the
/// head of the types, which has their lengths.
fn sample(memory: &dyn KernelRead, tables: &[(u64, &[u8]); PARTS]) -> Result<(), Mismatch> {
    let chance = RandomState::new();
    let mut pieces = vec![piece(tables[4], 0)];
    let largest = [0, 3, 4, 5, 6].map(|nth| tables[nth]);
    for nth in 0..SAMPLES {
        let table = largest[usize::try_from(chance.hash_one(nth)).unwrap_or(0) % largest.len()];
        pieces.push(piece(table, chance.hash_one((nth, "more"))));
    }
    pieces.extend(tables.iter().map(|&table| piece(table, chance.hash_one(table.0))));
    let (mut equal, mut last) = (0, None);
    for (at, expected) in pieces.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let mut found = vec![0; expected.len()];
        match memory.read(at, &mut found) {
            Ok(()) if found == expected => equal += 1,
            Ok(()) => return Err(Mismatch::Differs("a part of its symbols, types or unwind tables")),
            Err(source) => last = Some(Error::Read { what: "a sample of the kernel's tables", at, source }),
        }
    }
    match last {
        Some(error) if equal < ENOUGH => Err(error.into()),
        _ => Ok(()),
    }
}

/// The sample of a table at any number.
fn piece((at, bytes): (u64, &[u8]), number: u64) -> (VirtAddr, &[u8]) {
    let count = (bytes.len() as u64).div_ceil(SAMPLE).max(1);
    let start = number % count * SAMPLE;
    let from = usize::try_from(start).unwrap_or(usize::MAX);
    let to = bytes.len().min(from.saturating_add(usize::try_from(SAMPLE).unwrap_or(0)));
    (VirtAddr(at.wrapping_add(start)), bytes.get(from..to).unwrap_or_default())
}

impl KernelRead for Placed<'_> {
    fn info(&self) -> &VmcoreInfo {
        self.memory.info()
    }

    fn byte_order(&self) -> ByteOrder {
        self.memory.byte_order()
    }

    /// A read that goes on after the end of a table takes the rest from the dump.
    fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let found = self.tables.iter().find_map(|&(start, bytes)| {
            let from = usize::try_from(at.0.checked_sub(start)?).ok()?;
            bytes.get(from..).filter(|rest| !rest.is_empty())
        });
        let Some(table) = found else { return self.memory.read(at, buf) };
        let len = table.len().min(buf.len());
        let (own, rest) = buf.split_at_mut(len);
        own.copy_from_slice(&table[..len]);
        if rest.is_empty() { Ok(()) } else { self.read(at.wrapping_add(len as u64), rest) }
    }
}

/// Memory of a kernel that has tables.
#[cfg(test)]
pub(crate) fn memory_with_tables() -> super::testing::Pieces {
    tests::memory(false, super::testing::description::Generation::PlaceRelative, 0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Pieces;
    use super::super::testing::description::{Generation, Types, kallsyms};
    use super::*;

    const TEXT: u64 = 0xffff_ffff_8100_0000;

    /// A kernel that starts `shift` bytes further on than another of the same build.
    pub(super) fn memory(big: bool, generation: Generation, shift: u64) -> Pieces {
        let mut types = Types::new(big);
        let int = types.int("int", 4, true);
        for nth in 0..2000 {
            types.structure(&format!("record_{nth}"), 4, &[("value", int, 0, 0)]);
        }
        let (text, types) = (TEXT + shift, types.bytes());
        let at = text + 0x0200_0000;
        let names: Vec<String> = (0..2000).map(|nth| format!("do_function_{nth}")).collect();
        let mut symbols = vec![('T', "_stext", text), ('D', "init_uts_ns", text + 0x0180_0000)];
        symbols.extend(names.iter().zip(1..).map(|(name, nth)| ('t', name.as_str(), text + 16 * nth)));
        symbols.push(('D', "__start_BTF", at));
        symbols.push(('D', "__stop_BTF", at + types.len() as u64));
        symbols.push(('D', "__start_orc_unwind_ip", text + 0x0300_0000));
        symbols.push(('D', "__stop_orc_unwind_ip", text + 0x0300_0000 + 4000));
        let table = kallsyms(big, generation, text + 0x0100_0000, &symbols);
        let info = format!(
            "{}OSRELEASE=6.12.1\nSYMBOL(_stext)={text:x}\nSYMBOL(init_uts_ns)={:x}\n",
            table.lines,
            text + 0x0180_0000
        );
        let mut memory = Pieces::new(if big { ByteOrder::Big } else { ByteOrder::Little }, &info);
        let mut bytes = table.bytes;
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        memory.put(table.at, bytes);
        memory.put(at, types);
        memory.put(text + 0x0300_0000, vec![0x11; 4000]);
        memory
    }

    fn tables(memory: &Pieces) -> Tables {
        Tables::of(&Kernel::new(memory)).unwrap()
    }

    const RELATIVE: [Generation; 3] =
        [Generation::AbsolutePerCpu, Generation::BaseRelative, Generation::PlaceRelative];

    #[test]
    fn tables_of_one_dump_serve_another_of_the_build() {
        for generation in RELATIVE {
            for big in [false, true] {
                let one = tables(&memory(big, generation, 0));
                let other = memory(big, generation, 0x1234_0000);
                let read = Tables::decode(&one.encode()).unwrap();
                assert!(read == one, "{generation:?}");
                let placed = read.place(&other).unwrap();
                let (kernel, own) = (Kernel::with_tables(&other, &placed), Kernel::new(&other));
                let (found, expected) = (kernel.symbols().unwrap(), own.symbols().unwrap());
                assert!(found.iter().eq(expected.iter()), "{generation:?}");
                assert_eq!(found.find("do_function_7").unwrap().0, TEXT + 0x1234_0000 + 16 * 8);
                assert_eq!(kernel.size_of("record_9").unwrap(), 4);
                assert!(tables(&other) == one, "{generation:?}");
            }
        }
    }

    #[test]
    fn tables_with_addresses_in_them_are_not_taken() {
        let memory = memory(false, Generation::Absolute, 0);
        assert!(Kernel::new(&memory).types().is_ok());
        let error = Tables::of(&Kernel::new(&memory)).unwrap_err();
        assert_eq!(error.to_string(), "VMCOREINFO has no usable SYMBOL(kallsyms_offsets)");
    }

    /// What a dump of another build, which names the same build id, differs in.
    #[test]
    fn a_dump_that_differs_uses_its_own_tables() {
        let own = memory(false, Generation::PlaceRelative, 0);
        let one = tables(&own);
        let place = |name: &str| own.info().symbol(&format!("kallsyms_{name}")).unwrap().0;
        let length = |nth: usize| one.head.lengths[nth] as usize;
        let (types, addresses) = (TEXT + 0x0200_0000, TEXT + 0x0300_0000);
        for (at, len) in [
            (place("num_syms"), 1),
            (place("names"), length(0)),
            (place("token_table"), length(1)),
            (place("token_index"), length(2)),
            (place("offsets"), length(3)),
            (types, 24),
            (types, length(4)),
            (addresses, length(5)),
        ] {
            let mut other = memory(false, Generation::PlaceRelative, 0);
            other.put(at, vec![0x55; len]);
            let found = one.place(&other).err();
            assert!(matches!(found, Some(Mismatch::Differs(_))), "{at:#x}: {found:?}");
        }
        for other in [memory(true, Generation::PlaceRelative, 0), memory(false, Generation::BaseRelative, 0)]
        {
            assert!(matches!(one.place(&other), Err(Mismatch::Differs(_))));
        }
        assert!(one.place(&Pieces::new(ByteOrder::Little, "")).is_err());
    }

    /// Half of the types differ, other than their head: samples find it sooner or later, and nobody knows when.
    #[test]
    fn samples_are_taken_at_places_by_chance() {
        let one = tables(&memory(false, Generation::PlaceRelative, 0));
        let mut other = memory(false, Generation::PlaceRelative, 0);
        let len = one.head.lengths[4] as usize / 2;
        assert!(len as u64 > 2 * SAMPLE, "{len}");
        other.put(TEXT + 0x0200_0000 + SAMPLE, vec![0x55; len]);
        let refused = (0..64).filter(|_| one.place(&other).is_err()).count();
        assert!((16..64).contains(&refused), "{refused}");
    }

    /// Symbols, types and unwind tables alone come from the tables, also where those pretend to be where variables are.
    #[test]
    fn other_memory_is_read_from_the_dump() {
        let own = memory(false, Generation::PlaceRelative, 0);
        let one = tables(&own);
        let placed = one.place(&own).unwrap();
        let mut other = memory(false, Generation::PlaceRelative, 0);
        let types = VirtAddr(TEXT + 0x0200_0000);
        other.put(types.0, [1, 2, 3, 4]);
        let kernel = Kernel::with_tables(&other, &placed);
        assert_eq!(kernel.u32(types, "a variable").unwrap(), 0x0403_0201);
        assert_eq!(kernel.size_of("record_9").unwrap(), 4);
    }

    /// A dump that cannot be read where the range is.
    struct Hole<'a>(&'a Pieces, std::ops::Range<u64>);

    impl KernelRead for Hole<'_> {
        fn info(&self) -> &VmcoreInfo {
            self.0.info()
        }

        fn byte_order(&self) -> ByteOrder {
            self.0.byte_order()
        }

        fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>> {
            let end = at.0 + buf.len() as u64;
            if at.0 < self.1.end && end > self.1.start {
                return Err("damaged".into());
            }
            self.0.read(at, buf)
        }
    }

    #[test]
    fn a_damaged_dump_may_use_tables_that_agree_with_what_it_has() {
        let whole = memory(false, Generation::PlaceRelative, 0);
        let one = tables(&whole);
        let types = TEXT + 0x0200_0000;
        let hole = Hole(&whole, types + 1024..types + 2048);
        assert!(Kernel::new(&hole).types().is_err());
        let placed = one.place(&hole).unwrap();
        assert!(Kernel::with_tables(&hole, &placed).types().is_ok());
        let names = whole.info().symbol("kallsyms_names").unwrap().0;
        let nothing = Hole(&whole, names..u64::MAX);
        assert!(matches!(one.place(&nothing), Err(Mismatch::Unknown(_))));
    }

    #[test]
    fn bytes_that_are_no_tables_are_refused() {
        let good = tables(&memory(false, Generation::PlaceRelative, 0)).encode();
        let line = good.iter().position(|&byte| byte == b'\n').unwrap();
        for at in [0, 10, line, line + 1, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(Tables::decode(&bad).is_err(), "{at}");
            assert!(Tables::decode(&good[..at]).is_err(), "{at}");
        }
        for text in ["", "\n", "{}\n", "null\n"] {
            assert!(Tables::decode(text.as_bytes()).is_err());
        }
        let head = String::from_utf8(good[..line].to_vec()).unwrap();
        for (from, to) in [("\"format\":1", "\"format\":2"), ("\"lengths\":[", "\"lengths\":[4294967295,")] {
            let bad = [head.replace(from, to).as_bytes(), &good[line..]].concat();
            assert!(Tables::decode(&bad).is_err(), "{to}");
        }
    }
}
