//! The addresses of the symbols of a table: kernels have had four forms of it, and nothing in memory tells which. VMCOREINFO's
//! own symbols, which are in the table too, decide.

use super::super::Error;
use super::super::bytes::Reader;
use crate::units::VirtAddr;
use crate::vmcore::VmcoreInfo;

/// Where the addresses of symbols come from.
#[derive(Clone, Copy)]
pub(super) enum Addresses {
    /// 64-bit addresses. Until commit 64e166099b69 ("kallsyms: get rid of code for absolute kallsyms") (in v6.11).
    Absolute(VirtAddr),
    /// 32-bit numbers in one of three meanings, with the value of `kallsyms_relative_base` where there is one.
    Offsets(VirtAddr, Option<u64>),
}

impl Addresses {
    /// The table that VMCOREINFO leads to.
    pub(super) fn named(reader: Reader<'_>, info: &VmcoreInfo) -> Result<Addresses, Error> {
        if let Some(table) = info.symbol("kallsyms_offsets") {
            let base = info.symbol("kallsyms_relative_base");
            let base = base.map(|at| reader.u64(at, "kallsyms_relative_base")).transpose()?;
            return Ok(Addresses::Offsets(table, base));
        }
        let table = info.symbol("kallsyms_addresses").ok_or(Error::MissingKey("SYMBOL(kallsyms_offsets)"))?;
        Ok(Addresses::Absolute(table))
    }

    /// What the table may mean.
    fn meanings(self) -> Vec<(VirtAddr, Meaning)> {
        match self {
            Addresses::Absolute(table) => vec![(table, Meaning::Whole)],
            Addresses::Offsets(table, base) => {
                let with_base = |base| [Meaning::AbsolutePerCpu(base), Meaning::BaseRelative(base)];
                let with_base = base.map(with_base).into_iter().flatten();
                with_base.chain([Meaning::PlaceRelative]).map(|meaning| (table, meaning)).collect()
            }
        }
    }
}

/// What an entry of the table of addresses means: a 32-bit number, except for the first meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// No number at all: a 64-bit address.
    Whole,
    /// Not negative: the number itself, a per-CPU offset. Negative: base - 1 - number. x86-64, until
    /// commit 01157ddc58dc ("kallsyms: Remove KALLSYMS_ABSOLUTE_PERCPU") (in v6.15).
    AbsolutePerCpu(u64),
    /// Base + number. Other architectures since commit 2213e9a66bb8 ("kallsyms: add support for relative offsets in
    /// kallsyms address table") (in v4.6), x86-64 since v6.15, until v6.19.
    BaseRelative(u64),
    /// The place of the number + number. Since commit a081b5789255 ("kallsyms: Get rid of kallsyms relative base")
    /// (in v7.0).
    PlaceRelative,
}

impl Meaning {
    fn address(self, place: VirtAddr, number: u32) -> u64 {
        let signed = i64::from(number.cast_signed());
        match self {
            Meaning::Whole => number.into(),
            Meaning::AbsolutePerCpu(_) if signed >= 0 => u64::from(number),
            Meaning::AbsolutePerCpu(base) => base.wrapping_sub(1).wrapping_add_signed(-signed),
            Meaning::BaseRelative(base) => base.wrapping_add(u64::from(number)),
            Meaning::PlaceRelative => place.0.wrapping_add_signed(signed),
        }
    }
}

/// How the numbers of symbols become addresses.
pub(super) struct Decoder<'a> {
    reader: Reader<'a>,
    table: VirtAddr,
    meaning: Meaning,
}

impl<'a> Decoder<'a> {
    /// Chooses the meaning that makes the most of VMCOREINFO's own symbols come out right. One or two never do:
    /// `mem_section` prints a pointer's value, not a symbol's address.
    ///
    /// # Errors
    ///
    /// [`Error::Absurd`] where no meaning makes any of them come out right.
    pub(super) fn choose(
        reader: Reader<'a>,
        addresses: &[Addresses],
        samples: &[(u32, VirtAddr)],
    ) -> Result<Decoder<'a>, Error> {
        let mut best = (0, None);
        for (table, meaning) in addresses.iter().flat_map(|addresses| addresses.meanings()) {
            let decoder = Decoder { reader, table, meaning };
            let is_right =
                |&&(number, at): &&(u32, VirtAddr)| decoder.address(number).is_ok_and(|found| found == at);
            let right = samples.iter().filter(is_right).count();
            if right > best.0 {
                best = (right, Some(decoder));
            }
        }
        let absurd =
            Error::Absurd { what: "table of symbol addresses, of which none is right: symbols", value: 0 };
        best.1.ok_or(absurd)
    }

    /// The address of one symbol.
    pub(super) fn address(&self, number: u32) -> Result<VirtAddr, Error> {
        let what = "the address of a symbol";
        if self.meaning == Meaning::Whole {
            let place = self.table.wrapping_add(8 * u64::from(number));
            return self.reader.u64(place, what).map(VirtAddr);
        }
        let place = self.table.wrapping_add(4 * u64::from(number));
        Ok(VirtAddr(self.meaning.address(place, self.reader.u32(place, what)?)))
    }

    /// The addresses of the first `count` symbols: at most 32 MiB, since the count is bounded.
    pub(super) fn all(&self, count: u32) -> Result<Vec<u64>, Error> {
        let (order, what) = (self.reader.0.byte_order(), "the addresses of symbols");
        let count = usize::try_from(count).unwrap_or(0);
        if self.meaning == Meaning::Whole {
            let bytes = self.reader.vec(self.table, count * 8, what)?;
            return Ok(bytes.as_chunks().0.iter().map(|chunk| order.u64(*chunk)).collect());
        }
        let bytes = self.reader.vec(self.table, count * 4, what)?;
        let places = (self.table.0..).step_by(4).map(VirtAddr);
        let numbers = bytes.as_chunks().0.iter().map(|chunk| order.u32(*chunk));
        Ok(places.zip(numbers).map(|(place, number)| self.meaning.address(place, number)).collect())
    }
}
