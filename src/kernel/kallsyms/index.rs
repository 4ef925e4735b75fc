//! All symbols of a table in memory, found by name and by address.

use crate::units::VirtAddr;

/// The most bytes of names: ten times those of the largest kernel seen.
pub(in crate::kernel) const MAX_TEXT: usize = 64 << 20;

/// A symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its name; the bytes come from the dump.
    pub name: &'a [u8],
    /// Its type as nm prints it: `T` and `t` are functions.
    pub kind: u8,
    /// Its address.
    pub address: VirtAddr,
}

/// The index of a symbol table.
#[derive(Default)]
pub struct Symbols {
    text: Vec<u8>,
    /// End of each name in `text`.
    ends: Vec<u32>,
    kinds: Vec<u8>,
    addresses: Vec<u64>,
    by_name: Vec<u32>,
    by_address: Vec<u32>,
}

impl Symbols {
    /// The first symbol of a name. Names repeat: static functions and variables keep theirs.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<VirtAddr> {
        self.all(name).next().map(|symbol| symbol.address)
    }

    /// All symbols of a name, in the table's order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = Symbol<'_>> {
        let name = name.as_bytes();
        let first = self.by_name.partition_point(|&number| self.name(number) < name);
        let numbers = self.by_name.get(first..).unwrap_or_default().iter();
        numbers.take_while(move |&&number| self.name(number) == name).map(|&number| self.symbol(number))
    }

    /// The last symbol at or before an address; of several at one address the first in the table, as the kernel itself
    /// does it.
    #[must_use]
    pub fn at(&self, address: VirtAddr) -> Option<Symbol<'_>> {
        let start = self.start_of(address)?;
        let first = self.by_address.partition_point(|&number| self.address(number) < start);
        self.by_address.get(first).map(|&number| self.symbol(number))
    }

    /// Where the symbol of an address ends: where the next one starts.
    #[must_use]
    pub fn end(&self, address: VirtAddr) -> Option<VirtAddr> {
        let next = self.by_address.partition_point(|&number| self.address(number) <= address.0);
        self.by_address.get(next).map(|&number| VirtAddr(self.address(number)))
    }

    /// Number of symbols.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Every symbol, in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        (0..).take(self.len()).map(|number| self.symbol(number))
    }

    fn start_of(&self, address: VirtAddr) -> Option<u64> {
        let after = self.by_address.partition_point(|&number| self.address(number) <= address.0);
        let last = self.by_address.get(after.checked_sub(1)?)?;
        Some(self.address(*last))
    }

    fn symbol(&self, number: u32) -> Symbol<'_> {
        let kind = self.kinds.get(number as usize).copied().unwrap_or(b'?');
        Symbol { name: self.name(number), kind, address: VirtAddr(self.address(number)) }
    }

    fn name(&self, number: u32) -> &[u8] {
        let end = |number: u32| self.ends.get(number as usize).map_or(0, |&end| end as usize);
        let start = number.checked_sub(1).map_or(0, end);
        self.text.get(start..end(number)).unwrap_or_default()
    }

    fn address(&self, number: u32) -> u64 {
        self.addresses.get(number as usize).copied().unwrap_or(0)
    }
}

/// An index in the making.
#[derive(Default)]
pub(in crate::kernel) struct Builder(Symbols);

impl Builder {
    /// Adds a symbol; `None` when there is no room for its name.
    pub(in crate::kernel) fn push(&mut self, kind: u8, name: &[u8]) -> Option<()> {
        let end = self.0.text.len().checked_add(name.len()).filter(|&end| end <= MAX_TEXT)?;
        self.0.ends.push(u32::try_from(end).ok()?);
        self.0.text.extend_from_slice(name);
        self.0.kinds.push(kind);
        Some(())
    }

    /// The index, with the address of each symbol in the order they were added.
    pub(in crate::kernel) fn finish(self, addresses: Vec<u64>) -> Symbols {
        let mut symbols = Symbols { addresses, ..self.0 };
        let numbers: Vec<u32> = (0..).take(symbols.len()).collect();
        let (mut by_name, mut by_address) = (numbers.clone(), numbers);
        by_name.sort_by(|&a, &b| symbols.name(a).cmp(symbols.name(b)).then(a.cmp(&b)));
        by_address.sort_by_key(|&number| (symbols.address(number), number));
        symbols.by_name = by_name;
        symbols.by_address = by_address;
        symbols
    }
}
