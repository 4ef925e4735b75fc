//! Loaded modules: their names, memory, symbols and types.
//!
//! Source: Linux `include/linux/module.h` (`struct module`, `struct mod_kallsyms`), `kernel/bpf/btf.c`
//! (`struct btf_module`).

use super::btf::{Btf, MAX_BTF};
use super::kallsyms::{Builder, Symbols};
use super::{Error, Kernel, Object};
use crate::units::VirtAddr;
use std::cell::{Cell, OnceCell};

/// More modules than any machine has loaded.
const MAX_MODULES: u64 = 4096;
/// Kinds of memory of a module: `MOD_MEM_NUM_TYPES` is 7 (in v6.4).
const MAX_RANGES: u64 = 16;
/// Limits of a module's symbol table: the largest modules (nvidia, amdgpu) have about 40,000 symbols, 1 MB of names.
const MAX_SYMBOLS: u64 = 1 << 20;
const MAX_NAMES: usize = 16 << 20;
/// Limits of the tables of all modules together: many modules of a forged dump may share the largest table.
const ALL_SYMBOLS: u64 = 4 << 20;
const ALL_NAMES: usize = 64 << 20;
/// Bytes of an `Elf64_Sym`.
const ELF_SYMBOL: usize = 24;
/// The longest symbol name.
const MAX_NAME: usize = 512;

/// A module.
pub struct Module {
    /// Address of its `struct module`.
    pub address: VirtAddr,
    /// Its name, in the bytes of the dump.
    pub name: Vec<u8>,
    /// 0 live, 1 coming, 2 going, 3 unformed.
    pub state: u64,
    /// Bits of the taints it brought.
    pub taints: u64,
    /// Start and length of its memory.
    pub ranges: Vec<(u64, u64)>,
    symbols: OnceCell<Result<Symbols, Error>>,
}

/// What the symbols of modules may still take.
pub(super) struct Budget {
    symbols: Cell<u64>,
    names: Cell<usize>,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { symbols: Cell::new(ALL_SYMBOLS), names: Cell::new(ALL_NAMES) }
    }
}

impl Budget {
    fn take(&self, symbols: u64, names: usize) -> Result<(), Error> {
        let all = Error::Absurd { what: "number of all modules' symbols, at least", value: ALL_SYMBOLS };
        let left = (self.symbols.get().checked_sub(symbols), self.names.get().checked_sub(names));
        let (Some(symbols), Some(names)) = left else { return Err(all) };
        self.symbols.set(symbols);
        self.names.set(names);
        Ok(())
    }
}

impl Module {
    /// Whether an address is in its memory.
    #[must_use]
    pub fn contains(&self, at: VirtAddr) -> bool {
        self.ranges.iter().any(|&(start, len)| at.0.wrapping_sub(start) < len)
    }
}

impl<'a> Kernel<'a> {
    /// The modules, and why the list ends early.
    #[must_use]
    pub fn modules(&self) -> (&[Module], Option<&Error>) {
        let (modules, error) = self.modules.get_or_init(|| {
            let mut modules = Vec::new();
            let error = self.read_modules(&mut modules).err();
            (modules, error)
        });
        (modules, error.as_ref())
    }

    fn read_modules(&self, modules: &mut Vec<Module>) -> Result<(), Error> {
        let linked = self.linked("module", "list")?;
        for module in linked.on(self.symbol("modules")?, MAX_MODULES, "list of modules") {
            modules.push(read_module(&module?)?);
        }
        Ok(())
    }

    /// The module that has an address in its memory.
    #[must_use]
    pub fn module_at(&self, at: VirtAddr) -> Option<&Module> {
        self.modules().0.iter().find(|module| module.contains(at))
    }

    /// The symbols of a module.
    ///
    /// # Errors
    ///
    /// [`Error::NoSymbols`], with the reason.
    pub fn module_symbols<'m>(&self, module: &'m Module) -> Result<&'m Symbols, Error> {
        let loaded = module.symbols.get_or_init(|| self.read_module_symbols(module));
        loaded.as_ref().map_err(|error| Error::NoSymbols(error.line()))
    }

    fn read_module_symbols(&self, module: &Module) -> Result<Symbols, Error> {
        let what = "the symbols of a module";
        let absurd = |value| Error::Absurd { what: "number of a module's symbols", value };
        let table = self.object("module", module.address)?.follow("kallsyms")?;
        let table = table.ok_or_else(|| Error::NoSymbols("the module has none".into()))?;
        let count = table.uint("num_symtab")?;
        let len = usize::try_from(count).ok().filter(|_| count <= MAX_SYMBOLS).ok_or(absurd(count))?;
        self.budget.take(count, 0)?;
        let entries = self.reader().vec(VirtAddr(table.uint("symtab")?), len * ELF_SYMBOL, what)?;
        let order = self.memory().byte_order();
        let entries: Vec<&[u8; ELF_SYMBOL]> = entries.as_chunks().0.iter().collect();
        let name_at = |entry: &[u8]| order.u32_at(entry, 0).unwrap_or(0) as usize;
        let last = entries.iter().map(|entry| name_at(*entry)).max().unwrap_or(0);
        if last > MAX_NAMES {
            return Err(absurd(last as u64));
        }
        self.budget.take(0, last)?;
        let kinds = self.read_kinds(&table, len);
        let strings = VirtAddr(table.uint("strtab")?);
        let mut names = self.reader().vec(strings, last, what)?;
        names.extend(self.text(strings.wrapping_add(last as u64), MAX_NAME, what)?);
        let (mut builder, mut addresses) = (Builder::default(), Vec::new());
        for (nth, entry) in entries.into_iter().enumerate() {
            let rest = names.get(name_at(entry)..).unwrap_or_default();
            let name = rest.split(|&byte| byte == 0).next().unwrap_or_default();
            let defined = order.u16_at(entry, 6) != Some(0);
            let kind = kind_of(entry[4], kinds.get(nth).copied());
            if defined && is_name(name) && builder.push(kind, name).is_some() {
                addresses.push(order.u64_at(entry, 8).unwrap_or(0));
            }
        }
        Ok(builder.finish(addresses))
    }

    /// Letters of a module's symbols, since commit 1c7651f43777 ("kallsyms: store type information in its own array")
    /// (in v5.2); empty where they cannot be read.
    fn read_kinds(&self, table: &Object<'_>, len: usize) -> Vec<u8> {
        let kinds = table.uint("typetab");
        kinds.and_then(|at| self.reader().vec(VirtAddr(at), len, "the kinds of symbols")).unwrap_or_default()
    }

    /// The types of a module, which go on where the kernel's own end.
    ///
    /// # Errors
    ///
    /// [`Error::NoTypes`]; as [`Kernel::types`].
    pub fn module_types(&self, module: &Module) -> Result<Btf<'_>, Error> {
        let base = self.types()?;
        let linked = self.linked("btf_module", "list")?;
        for entry in linked.on(self.symbol("btf_modules")?, MAX_MODULES, "list of modules' types") {
            let entry = entry?;
            if entry.uint("module")? == module.address.0 {
                let btf = entry.follow("btf")?;
                return self
                    .split_types(base, &btf.ok_or_else(|| Error::NoTypes("no pointer to it".into()))?);
            }
        }
        Err(Error::NoTypes("the module brought none".into()))
    }

    /// Types that were split from another base would give wrong names to right numbers, so both ends are checked.
    fn split_types<'k>(&'k self, base: &'k Btf<'static>, btf: &Object<'_>) -> Result<Btf<'k>, Error> {
        let (first, strings) = (btf.uint("start_id")?, btf.uint("start_str_off")?);
        if first != u64::from(base.end_id()) || strings != u64::from(base.strings_len()) {
            return Err(Error::NoTypes("they do not continue those of the kernel".into()));
        }
        let len = btf.uint("data_size")?;
        if len > MAX_BTF {
            return Err(Error::Absurd { what: "length of a module's types", value: len });
        }
        let len = usize::try_from(len).unwrap_or(0);
        let bytes = self.reader().vec(VirtAddr(btf.uint("data")?), len, "the types of a module")?;
        Btf::parse_split(bytes, base)
    }
}

fn read_module(module: &Object<'_>) -> Result<Module, Error> {
    Ok(Module {
        address: module.address(),
        name: module.text("name")?,
        state: module.uint("state")?,
        taints: module.uint("taints").unwrap_or(0),
        ranges: read_ranges(module).unwrap_or_default(),
        symbols: OnceCell::new(),
    })
}

/// `mem[]` since commit ac3b43283923 ("module: replace module_layout with module_memory") (in v6.4), two layouts before.
/// Memory needed only for loading is freed then and has length 0.
fn read_ranges(module: &Object<'_>) -> Result<Vec<(u64, u64)>, Error> {
    let range = |memory: &Object<'_>| Ok((memory.uint("base")?, memory.uint("size")?));
    let mut ranges = Vec::new();
    if module.has("mem") {
        for nth in 0..MAX_RANGES {
            let Some(memory) = module.element("mem", nth)? else { break };
            ranges.push(range(&memory)?);
        }
    } else {
        for name in ["core_layout", "init_layout"] {
            ranges.push(range(&module.part(name)?)?);
        }
    }
    ranges.retain(|&(start, len)| start != 0 && len != 0);
    Ok(ranges)
}

/// Compilers' and assemblers' marks are no names.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.starts_with(b"$") && !name.starts_with(b".L") && !name.starts_with(b"L0\x01")
}

/// The letter that nm prints: of what the kernel noted, else by type 2 of `st_info`, a function; small with binding 0,
/// local.
fn kind_of(info: u8, noted: Option<u8>) -> u8 {
    let by_type = if info & 0xf == 2 { b'T' } else { b'D' };
    let letter = noted.filter(u8::is_ascii_alphabetic).unwrap_or(by_type);
    if info >> 4 == 0 { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() }
}
