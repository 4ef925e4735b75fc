//! ORC, the unwind tables of x86-64: for each piece of code, how the caller's stack pointer follows from the registers.
//!
//! Source: Linux `arch/x86/include/asm/orc_types.h`, `arch/x86/kernel/unwind_orc.c`. Numbers of registers and types are
//! macros, not in the type information; they changed with commits ffb1b4a41016 ("x86/unwind/orc: Add 'signal' field to ORC
//! metadata") (in v6.3), fb799447ae29 ("x86,objtool: Split UNWIND_HINT_EMPTY in two") (in v6.4) and 1735858caa4b
//! ("objtool/x86: Reorder ORC register numbering") (in v7.1).

use crate::kernel::{Error, Kernel, Object};
use crate::units::VirtAddr;

/// First bytes of `orc_header` since v7.1, when registers were numbered anew.
const HEADER_7_1: u32 = u32::from_le_bytes([0x13, 0x7c, 0x36, 0xad]);
/// The same since v6.4 and v6.3.
const HEADER_6_4: u32 = u32::from_le_bytes([0xfe, 0x5d, 0x32, 0xbf]);
const HEADER_6_3: u32 = u32::from_le_bytes([0xdb, 0x84, 0xae, 0xd4]);
/// More entries than any kernel has: the largest seen has half a million.
const MAX_ENTRIES: u64 = 16 << 20;
const WHAT: &str = "the unwind table";

/// A register, or what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reg {
    None,
    PreviousSp,
    /// One by its name in `struct pt_regs`: only where all registers are known.
    Saved(&'static str),
    Bp,
    Sp,
    BpIndirect,
    SpIndirect,
}

/// What is at the caller's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing is known.
    Undefined,
    /// Nobody called.
    EndOfStack,
    /// A return address.
    Call,
    /// All registers.
    Regs,
    /// What an interrupt pushes.
    Iret,
}

/// An entry, in one form for all releases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub kind: Kind,
    pub sp: Reg,
    pub sp_offset: i64,
    pub bp: Reg,
    pub bp_offset: i64,
    /// Whether the caller was interrupted.
    pub signal: bool,
}

/// How entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Format {
    /// Until 6.2: no bit for interrupted callers.
    V1,
    V2,
    V3,
    V4,
}

/// Two tables of one length: addresses, and entries.
#[derive(Clone, Copy)]
struct Table {
    addresses: u64,
    entries: u64,
    count: u64,
}

/// The kernel's own tables.
pub(super) struct Orc {
    format: Format,
    own: Table,
}

impl Orc {
    pub(super) fn new(kernel: &Kernel<'_>) -> Result<Orc, Error> {
        let (start, stop) = (kernel.symbol("__start_orc_unwind_ip")?, kernel.symbol("__stop_orc_unwind_ip")?);
        let count = stop.0.wrapping_sub(start.0) / 4;
        if count > MAX_ENTRIES {
            return Err(Error::Absurd { what: "number of unwind entries", value: count });
        }
        let entries = kernel.symbol("__start_orc_unwind")?.0;
        Ok(Orc { format: format(kernel)?, own: Table { addresses: start.0, entries, count } })
    }

    /// The entry of an address: the last one at or before it.
    pub(super) fn find(&self, kernel: &Kernel<'_>, at: u64) -> Result<Entry, Error> {
        let module = kernel.module_at(VirtAddr(at)).filter(|_| !kernel.is_own_text(VirtAddr(at)));
        let table = match module {
            Some(module) => module_table(&kernel.object("module", module.address)?)?,
            None => self.own,
        };
        let u32 = |place| match module {
            Some(_) => kernel.u32(VirtAddr(place), WHAT),
            None => kernel.constant_u32(VirtAddr(place), WHAT),
        };
        let (mut low, mut high) = (0, table.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let place = table.addresses.wrapping_add(4 * middle);
            let relative = u32(place)?.cast_signed();
            let address = place.wrapping_add_signed(relative.into());
            if address <= at { low = middle + 1 } else { high = middle }
        }
        let nth = low
            .checked_sub(1)
            .ok_or(Error::Absurd { what: "address before all unwind entries", value: at })?;
        let place = table.entries.wrapping_add(nth.wrapping_mul(kernel.size_of("orc_entry")?));
        let entry = match module {
            Some(_) => kernel.object("orc_entry", VirtAddr(place))?,
            None => kernel.constant_object("orc_entry", VirtAddr(place))?,
        };
        self.decode(&entry)
    }

    fn decode(&self, entry: &Object<'_>) -> Result<Entry, Error> {
        let (sp, number) = (self.register(entry.uint("sp_reg")?), entry.uint("type")?);
        let kind = match (self.format < Format::V3, number) {
            (true, _) if entry.uint("end")? != 0 => Kind::EndOfStack,
            (true, _) if sp == Reg::None => Kind::Undefined,
            (true, 0) | (false, 2) => Kind::Call,
            (true, 1) | (false, 3) => Kind::Regs,
            (true, 2) | (false, 4) => Kind::Iret,
            (false, 1) => Kind::EndOfStack,
            _ => Kind::Undefined,
        };
        let signal = match self.format {
            Format::V1 => matches!(kind, Kind::Regs | Kind::Iret),
            _ => entry.uint("signal")? != 0,
        };
        Ok(Entry {
            kind,
            sp,
            sp_offset: entry.int("sp_offset")?,
            bp: self.register(entry.uint("bp_reg")?),
            bp_offset: entry.int("bp_offset")?,
            signal,
        })
    }

    fn register(&self, number: u64) -> Reg {
        let old = [
            Reg::None,
            Reg::PreviousSp,
            Reg::Saved("rdx"),
            Reg::Saved("rdi"),
            Reg::Bp,
            Reg::Sp,
            Reg::Saved("r10"),
            Reg::Saved("r13"),
            Reg::BpIndirect,
            Reg::SpIndirect,
            Reg::None,
        ];
        let new = [
            Reg::None,
            Reg::Saved("rax"),
            Reg::Saved("rdx"),
            Reg::Sp,
            Reg::Bp,
            Reg::Saved("rdi"),
            Reg::Saved("r10"),
            Reg::Saved("r13"),
            Reg::PreviousSp,
            Reg::SpIndirect,
            Reg::BpIndirect,
        ];
        let numbers = if self.format == Format::V4 { new } else { old };
        usize::try_from(number).ok().and_then(|nth| numbers.get(nth).copied()).unwrap_or(Reg::None)
    }
}

/// By the header, where there is one; else by the members of an entry, since distributions took the third format into
/// older kernels without its header.
fn format(kernel: &Kernel<'_>) -> Result<Format, Error> {
    if let Ok(header) = kernel.symbol("orc_header") {
        return match kernel.u32(header, "orc_header")? {
            HEADER_7_1 => Ok(Format::V4),
            HEADER_6_4 => Ok(Format::V3),
            HEADER_6_3 => Ok(Format::V2),
            other => Err(Error::Absurd {
                what: "kind of unwind table, unknown to this program",
                value: other.into(),
            }),
        };
    }
    let types = kernel.types()?;
    let id = kernel.structure("orc_entry")?;
    let has = |name| types.member(id, name).is_some();
    Ok(match (has("end"), has("signal")) {
        (false, true) => Format::V3,
        (_, true) => Format::V2,
        (_, false) => Format::V1,
    })
}

/// The tables of a module. Source: Linux `arch/x86/include/asm/module.h`, `struct mod_arch_specific`.
fn module_table(module: &Object<'_>) -> Result<Table, Error> {
    let count = module.uint("arch.num_orcs")?;
    if count > MAX_ENTRIES {
        return Err(Error::Absurd { what: "number of unwind entries", value: count });
    }
    let (addresses, entries) = (module.uint("arch.orc_unwind_ip")?, module.uint("arch.orc_unwind")?);
    Ok(Table { addresses, entries, count })
}
