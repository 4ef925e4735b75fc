//! Whose symbols and types a look-up means: the kernel's own, or a module's, which go on where the kernel's end.

use super::btf::{Btf, TypeId};
use super::{Error, Kernel, Module, Object};
use crate::units::VirtAddr;
use std::cell::RefCell;
use std::collections::HashMap;

/// Symbols and types of the kernel, or of one of its modules.
pub struct Scope<'k> {
    kernel: &'k Kernel<'k>,
    types: &'k Btf<'k>,
    module: Option<&'k Module>,
    places: RefCell<HashMap<(String, String), (TypeId, u64)>>,
}

impl<'k> Scope<'k> {
    /// The kernel's own.
    ///
    /// # Errors
    ///
    /// As [`Kernel::types`].
    pub fn of(kernel: &'k Kernel<'k>) -> Result<Scope<'k>, Error> {
        Ok(Scope { kernel, types: kernel.types()?, module: None, places: RefCell::default() })
    }

    /// A module's, with the types of [`Kernel::module_types`].
    #[must_use]
    pub fn of_module(kernel: &'k Kernel<'k>, module: &'k Module, types: &'k Btf<'k>) -> Scope<'k> {
        Scope { kernel, types, module: Some(module), places: RefCell::default() }
    }

    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &'k Kernel<'k> {
        self.kernel
    }

    /// The types.
    #[must_use]
    pub fn types(&self) -> &'k Btf<'k> {
        self.types
    }

    /// The address of a symbol of the module, or of the kernel where there is no module. A name that several symbols
    /// have is an error: which of them is meant cannot be known.
    ///
    /// # Errors
    ///
    /// [`Error::NoSymbol`], or [`Error::NoSymbols`].
    pub fn symbol(&self, name: &str) -> Result<VirtAddr, Error> {
        let symbols = match self.module {
            Some(module) => self.kernel.module_symbols(module)?,
            None => self.kernel.symbols()?,
        };
        let mut all = symbols.all(name);
        match (all.next(), all.next()) {
            (Some(only), None) => Ok(only.address),
            (Some(_), Some(_)) => Err(Error::NoSymbol(format!("{name} that is the only one of its name"))),
            (None, _) => Err(Error::NoSymbol(name.to_owned())),
        }
    }

    /// A structure at an address.
    ///
    /// # Errors
    ///
    /// [`Error::NoType`].
    pub fn object(&self, structure: &str, at: VirtAddr) -> Result<Object<'k>, Error> {
        let id = self.place_of(structure, "")?.0;
        Ok(Object::new(self.kernel, self.types, at, id))
    }

    /// Where a member is in a structure, bytes.
    ///
    /// # Errors
    ///
    /// [`Error::NoType`], [`Error::NoMember`].
    pub fn offset_of(&self, structure: &str, member: &str) -> Result<u64, Error> {
        Ok(self.place_of(structure, member)?.1)
    }

    /// Bytes of a structure.
    ///
    /// # Errors
    ///
    /// [`Error::NoType`].
    pub fn size_of(&self, structure: &str) -> Result<u64, Error> {
        self.object(structure, VirtAddr(0))?.size()
    }

    /// The structure that has a member, of those that share a name, and where the member is. An empty member is any.
    pub(super) fn place_of(&self, structure: &str, member: &str) -> Result<(TypeId, u64), Error> {
        let key = (structure.to_owned(), member.to_owned());
        if let Some(&known) = self.places.borrow().get(&key) {
            return Ok(known);
        }
        let first = self.types.find_struct(structure);
        let first = first.ok_or_else(|| Error::NoType(format!("struct {structure}")))?;
        let place = |id| match member {
            "" => Some((id, 0)),
            member => self.types.member(id, member).map(|found| (id, found.offset())),
        };
        let found = place(first).or_else(|| self.types.structs(structure).find_map(place));
        let found = found.ok_or_else(|| Error::NoMember(format!("{structure}.{member}")))?;
        self.places.borrow_mut().insert(key, found);
        Ok(found)
    }
}
