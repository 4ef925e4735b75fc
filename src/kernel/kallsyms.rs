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
#[cfg(test)]
mod tests;

use super::Error;
use super::bytes::Reader;
use crate::mm::KernelRead;
use crate::units::VirtAddr;
use crate::vmcore::VmcoreInfo;
use addresses::{Addresses, Decoder};
use names::{Names, Tokens, Wanted};
use std::collections::HashMap;
use std::ops::ControlFlow;

pub(super) use index::Builder;
#[cfg(feature = "analyst")]
pub(super) use index::MAX_TEXT;
pub use index::{Symbol, Symbols};

/// More symbols than any kernel has: the largest seen has 0.2 million.
pub(super) const MAX_SYMBOLS: u32 = 4 << 20;
/// Symbols of VMCOREINFO that decide what addresses mean, where a few symbols are searched for.
const SAMPLES: usize = 8;
/// The first of the keys that lead to the table.
const NAMES: &str = "SYMBOL(kallsyms_names)";
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
        match Kallsyms::led_to(memory) {
            Err(Error::MissingKey(NAMES)) => Kallsyms::searched(Reader(memory), memory.info()),
            led_to => led_to,
        }
    }

    /// The table that VMCOREINFO leads to, as since v6.0, in little time and memory.
    ///
    /// # Errors
    ///
    /// [`Error::MissingKey`] where VMCOREINFO does not lead to it, [`Error::Read`], or [`Error::Absurd`].
    pub fn led_to(memory: &'a dyn KernelRead) -> Result<Kallsyms<'a>, Error> {
        let (reader, info) = (Reader(memory), memory.info());
        let key = |name: &str| info.symbol(&format!("kallsyms_{name}"));
        let (Some(names), Some(number), Some(table), Some(index)) =
            (key("names"), key("num_syms"), key("token_table"), key("token_index"))
        else {
            return Err(Error::MissingKey(NAMES));
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
        let start = info.symbol("_stext").ok_or(Error::MissingKey(NAMES))?;
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
        let info = self.reader.0.info();
        // The tables themselves are no symbols.
        let known = info.symbols().filter(|(name, _)| !name.starts_with("kallsyms_"));
        let mut known: Vec<(&str, VirtAddr)> = known.collect();
        known.sort_unstable();
        known.truncate(SAMPLES);
        let mut names: Vec<&[u8]> = wanted.iter().map(|name| name.as_bytes()).collect();
        names.extend(known.iter().map(|(name, _)| name.as_bytes()));
        let search = Wanted::new(&self.tokens, names.clone());
        let mut numbers: Vec<Option<u32>> = vec![None; names.len()];
        let mut stream = Names::new(self.reader, self.names, self.long_names);
        let mut reached = 0;
        while reached < self.count {
            let (taken, found) = stream.next_of(&search, self.count - reached)?;
            reached += taken;
            if let Some(slot) = found.and_then(|nth| numbers.get_mut(nth)) {
                slot.get_or_insert(reached - 1);
            }
        }
        // A name that is there twice was found in its first place.
        let number = |name: &str| {
            let first = names.iter().position(|other| *other == name.as_bytes());
            first.and_then(|first| *numbers.get(first)?)
        };
        let samples: Vec<_> = known.iter().filter_map(|&(name, at)| Some((number(name)?, at))).collect();
        let decoder = Decoder::choose(self.reader, &self.addresses, &samples)?;
        let address = |number| decoder.address(number);
        wanted.iter().map(|name| number(name).map(address).transpose()).collect()
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
