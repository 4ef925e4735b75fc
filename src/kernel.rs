//! The kernel's own description, in its memory: symbols (`kallsyms`), types (`btf`), and on them per-CPU variables,
//! modules, lists, trees and tasks. For both sides: what a page or a task means is the business of the rooms above.
//!
//! Whoever makes a dump decides what these tables hold. So every count has a limit, every list a check against cycles,
//! every pointer a translation that may fail; a failed look-up is an error of that look-up alone.

mod allocator;
pub mod btf;
mod bytes;
mod cpus;
#[cfg(feature = "analyst")]
mod description;
mod error;
pub mod kallsyms;
mod list;
mod modules;
mod object;
mod scope;
#[cfg(feature = "analyst")]
mod tables;
#[cfg(feature = "analyst")]
mod tasks;
#[cfg(test)]
pub(crate) mod testing;
mod text;

use crate::mm::KernelRead;
use crate::units::VirtAddr;
use btf::{Member, TypeId};
use bytes::Reader;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

pub use allocator::{Allocator, Pageset, Pagesets};
pub use btf::Btf;
pub use cpus::MAX_CPUS;
#[cfg(feature = "analyst")]
pub use description::Description;
pub use error::Error;
pub use kallsyms::{Kallsyms, Symbols};
pub use list::{Linked, List};
pub use modules::Module;
pub use object::Object;
pub use scope::Scope;
#[cfg(all(test, feature = "analyst"))]
pub(crate) use tables::memory_with_tables;
#[cfg(feature = "analyst")]
pub use tables::{Damaged, Mismatch, Placed, TableCache, Tables};
pub use text::Location;

/// A kernel that is asked about itself. Tables are read when they are first needed, and kept. For one thread.
pub struct Kernel<'a> {
    memory: &'a dyn KernelRead,
    /// The memory that its constant tables are read from.
    constant: &'a dyn KernelRead,
    symbols: OnceCell<Result<Symbols, Error>>,
    types: OnceCell<Result<Btf<'static>, Error>>,
    structs: RefCell<HashMap<String, Option<TypeId>>>,
    members: RefCell<HashMap<TypeId, Members>>,
    modules: OnceCell<Modules>,
    budget: modules::Budget,
    ranges: OnceCell<Vec<text::Range>>,
}

/// Members of a structure that were searched for, by path.
type Members = HashMap<Box<str>, Option<Member>>;
/// The modules that were read, and why the list ends early.
type Modules = (Vec<Module>, Option<Error>);

impl<'a> Kernel<'a> {
    /// The kernel of a memory. Nothing is read yet.
    #[must_use]
    pub fn new(memory: &'a dyn KernelRead) -> Kernel<'a> {
        Kernel::of(memory, memory)
    }

    /// The kernel of a memory that agreed with tables of its build: symbols, types and unwind tables are read from them.
    #[cfg(feature = "analyst")]
    #[must_use]
    pub fn with_tables(memory: &'a dyn KernelRead, tables: &'a Placed<'a>) -> Kernel<'a> {
        Kernel::of(memory, tables)
    }

    fn of(memory: &'a dyn KernelRead, constant: &'a dyn KernelRead) -> Kernel<'a> {
        Kernel {
            memory,
            constant,
            symbols: OnceCell::new(),
            types: OnceCell::new(),
            structs: RefCell::default(),
            members: RefCell::default(),
            modules: OnceCell::new(),
            budget: modules::Budget::default(),
            ranges: OnceCell::new(),
        }
    }

    /// The memory it is read from.
    #[must_use]
    pub fn memory(&self) -> &'a dyn KernelRead {
        self.memory
    }

    pub(in crate::kernel) fn reader(&self) -> Reader<'a> {
        Reader(self.memory)
    }

    /// Of what no dump of a build differs in.
    fn constant(&self) -> Reader<'a> {
        Reader(self.constant)
    }

    /// What of the description cannot be used, in one line; empty for a kernel that describes itself.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        // Without symbols there are no types either: one reason is enough.
        let reason = self.symbols().err().or_else(|| self.types().err());
        reason.into_iter().map(|error| error.line()).collect()
    }

    /// The symbol table.
    ///
    /// # Errors
    ///
    /// [`Error::NoSymbols`], with the reason.
    pub fn symbols(&self) -> Result<&Symbols, Error> {
        let load = || Kallsyms::open(self.constant).and_then(|table| table.load());
        let loaded = self.symbols.get_or_init(load);
        loaded.as_ref().map_err(|error| match error {
            Error::NoSymbols(why) => Error::NoSymbols(why.clone()),
            error => Error::NoSymbols(error.line()),
        })
    }

    /// The kernel's types.
    ///
    /// # Errors
    ///
    /// [`Error::NoTypes`], with the reason; [`Error::NoSymbols`] where no symbol leads to them.
    pub fn types(&self) -> Result<&Btf<'static>, Error> {
        let loaded = self.types.get_or_init(|| self.read_types());
        loaded.as_ref().map_err(|error| match error {
            Error::NoTypes(why) => Error::NoTypes(why.clone()),
            Error::NoSymbols(why) => Error::NoSymbols(why.clone()),
            error => Error::NoTypes(error.line()),
        })
    }

    /// vmlinux's BTF is between two symbols of read-only data, which no dump level leaves out.
    fn read_types(&self) -> Result<Btf<'static>, Error> {
        let (start, stop) = (self.symbol("__start_BTF")?, self.symbol("__stop_BTF")?);
        let len = stop.0.wrapping_sub(start.0);
        if len > btf::MAX_BTF {
            return Err(Error::Absurd { what: "length of the type information", value: len });
        }
        let bytes = self.constant().vec(start, usize::try_from(len).unwrap_or(0), "the type information")?;
        Btf::parse(bytes, self.memory.byte_order())
    }

    /// The address of a symbol: VMCOREINFO's, where it has it, since that is there without a symbol table.
    ///
    /// # Errors
    ///
    /// [`Error::NoSymbol`], or [`Error::NoSymbols`] where there is no table to look in.
    pub fn symbol(&self, name: &str) -> Result<VirtAddr, Error> {
        // VMCOREINFO's mem_section is what the variable holds.
        if name != "mem_section"
            && let Some(at) = self.memory.info().symbol(name)
        {
            return Ok(at);
        }
        self.symbols()?.find(name).ok_or_else(|| Error::NoSymbol(name.to_owned()))
    }

    /// A structure or union by name.
    ///
    /// # Errors
    ///
    /// [`Error::NoType`], or [`Error::NoTypes`].
    pub fn structure(&self, name: &str) -> Result<TypeId, Error> {
        let types = self.types()?;
        let known = self.structs.borrow().get(name).copied();
        let found = known.unwrap_or_else(|| {
            let found = types.find_struct(name);
            self.structs.borrow_mut().insert(name.to_owned(), found);
            found
        });
        found.ok_or_else(|| Error::NoType(format!("struct {name}")))
    }

    /// Bytes of a structure.
    ///
    /// # Errors
    ///
    /// As [`Kernel::structure`].
    pub fn size_of(&self, structure: &str) -> Result<u64, Error> {
        let id = self.structure(structure)?;
        self.types()?.size(id).ok_or_else(|| Error::NoType(format!("struct {structure}")))
    }

    /// The member of a structure, searched for once.
    fn member(&self, of: TypeId, path: &str) -> Result<Option<Member>, Error> {
        let types = self.types()?;
        if let Some(found) = self.members.borrow().get(&of).and_then(|known| known.get(path)) {
            return Ok(*found);
        }
        let found = types.member(of, path);
        self.members.borrow_mut().entry(of).or_default().insert(path.into(), found);
        Ok(found)
    }

    /// Where a member is in a structure, in bytes.
    ///
    /// # Errors
    ///
    /// As [`Kernel::structure`], or [`Error::NoMember`].
    pub fn offset_of(&self, structure: &str, member: &str) -> Result<u64, Error> {
        let found = self.member(self.structure(structure)?, member)?;
        found.map(|found| found.offset()).ok_or_else(|| Error::NoMember(format!("{structure}.{member}")))
    }

    /// The value of an enumerator.
    ///
    /// # Errors
    ///
    /// [`Error::NoType`], or [`Error::NoTypes`].
    pub fn enumerator(&self, name: &str) -> Result<i64, Error> {
        self.types()?.enumerator(name).ok_or_else(|| Error::NoType(format!("enumerator {name}")))
    }

    /// A structure at an address.
    ///
    /// # Errors
    ///
    /// As [`Kernel::structure`].
    pub fn object(&self, structure: &str, at: VirtAddr) -> Result<Object<'_>, Error> {
        Ok(Object::new(self, self.types()?, at, self.structure(structure)?))
    }

    /// A structure at an address of a constant table.
    ///
    /// # Errors
    ///
    /// As [`Kernel::structure`].
    pub fn constant_object(&self, structure: &str, at: VirtAddr) -> Result<Object<'_>, Error> {
        Ok(Object::constant(self, self.types()?, at, self.structure(structure)?))
    }

    /// The u32 at an address of a constant table.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn constant_u32(&self, at: VirtAddr, what: &'static str) -> Result<u32, Error> {
        self.constant().u32(at, what)
    }

    /// A structure that is a variable of the kernel.
    ///
    /// # Errors
    ///
    /// As [`Kernel::symbol`] and [`Kernel::structure`].
    pub fn variable(&self, name: &str, structure: &str) -> Result<Object<'_>, Error> {
        self.object(structure, self.symbol(name)?)
    }

    /// The u32 at an address.
    ///
    /// # Errors
    ///
    /// [`Error::Read`]; so for the others.
    pub fn u32(&self, at: VirtAddr, what: &'static str) -> Result<u32, Error> {
        self.reader().u32(at, what)
    }

    /// The u64 (or pointer) at an address.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn u64(&self, at: VirtAddr, what: &'static str) -> Result<u64, Error> {
        self.reader().u64(at, what)
    }

    /// Fills `buf` with the memory at an address.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn bytes(&self, at: VirtAddr, buf: &mut [u8], what: &'static str) -> Result<(), Error> {
        self.reader().bytes(at, buf, what)
    }

    /// Text at an address, up to its NUL or `limit` bytes. Its bytes come from the dump.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where its first byte cannot be read.
    pub fn text(&self, at: VirtAddr, limit: usize, what: &'static str) -> Result<Vec<u8>, Error> {
        const STEP: u64 = 64;
        let mut text: Vec<u8> = Vec::new();
        while text.len() < limit {
            let next = at.wrapping_add(text.len() as u64);
            // Steps end at aligned places, so that none crosses into a page that is missing without need.
            let step = usize::try_from(STEP - next.0 % STEP).unwrap_or(1).min(limit - text.len());
            match self.reader().vec(next, step, what) {
                Ok(bytes) => text.extend(bytes),
                Err(error) if text.is_empty() => return Err(error),
                Err(_) => break,
            }
            if let Some(end) = text.iter().position(|&byte| byte == 0) {
                text.truncate(end);
                break;
            }
        }
        Ok(text)
    }
}
