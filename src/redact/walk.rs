//! What every walk uses: whether the kernel has what makes a kind, whose symbols and types count, and what is to be
//! overwritten.

use super::kinds::Facts;
use crate::arch::Machine;
use crate::kernel::{Error, Kernel, Module, Object, Scope};
use crate::units::{PageSize, VirtAddr};
use std::cell::RefCell;

/// Bytes of the largest thing that is overwritten in one piece: the screen of a large console.
const MAX_PIECE: u64 = 1 << 20;
/// Pieces of one kind at most: vector registers of as many tasks as the kernel allows by default, four pieces each.
const MAX_PIECES: usize = 1 << 22;

/// Memory that is to be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) at: VirtAddr,
    /// Bytes.
    pub(super) len: u64,
    /// What it is, as `structure.member`.
    pub(super) what: &'static str,
    /// Whether copies of it are searched; not of what holds more than secrets.
    pub(super) copied: bool,
}

/// A walk through a kernel.
pub(super) struct Walk<'k> {
    kernel: &'k Kernel<'k>,
    machine: Machine,
    page: PageSize,
    pieces: RefCell<Vec<Piece>>,
}

impl<'k> Walk<'k> {
    /// Nothing is found yet.
    pub(super) fn new(kernel: &'k Kernel<'k>, machine: Machine, page: PageSize) -> Walk<'k> {
        Walk { kernel, machine, page, pieces: RefCell::default() }
    }

    pub(super) fn kernel(&self) -> &'k Kernel<'k> {
        self.kernel
    }

    pub(super) fn machine(&self) -> Machine {
        self.machine
    }

    pub(super) fn page(&self) -> PageSize {
        self.page
    }

    /// What was found since the last call.
    pub(super) fn take(&self) -> Vec<Piece> {
        self.pieces.take()
    }

    /// Overwrites a secret, and copies of it. Nothing of length 0.
    pub(super) fn erase(&self, at: VirtAddr, len: u64, what: &'static str) -> Result<(), Error> {
        self.push(at, len, what, true)
    }

    /// Overwrites memory that holds secrets among other things.
    pub(super) fn erase_around(&self, at: VirtAddr, len: u64, what: &'static str) -> Result<(), Error> {
        self.push(at, len, what, false)
    }

    fn push(&self, at: VirtAddr, len: u64, what: &'static str, copied: bool) -> Result<(), Error> {
        let mut pieces = self.pieces.borrow_mut();
        if len > MAX_PIECE || (at.0 == 0 && len > 0) || at.0.checked_add(len).is_none() {
            return Err(Error::Absurd { what, value: if at.0 == 0 { 0 } else { len } });
        }
        if pieces.len() == MAX_PIECES {
            return Err(Error::Endless(what));
        }
        if len > 0 {
            pieces.push(Piece { at, len, what, copied });
        }
        Ok(())
    }

    /// Overwrites a member, an array or a structure in a structure.
    pub(super) fn erase_member(&self, of: &Object<'_>, path: &str, what: &'static str) -> Result<(), Error> {
        let len = of.size_of(path)?;
        if len == 0 {
            return Err(Error::Unknown(format!("{what} has no length")));
        }
        self.erase(of.address_of(path)?, len, what)
    }

    /// Overwrites `len` bytes that a member points to; nothing where it is null.
    pub(super) fn erase_target(
        &self,
        of: &Object<'_>,
        path: &str,
        len: u64,
        what: &'static str,
    ) -> Result<(), Error> {
        match of.uint(path)? {
            0 => Ok(()),
            at => self.erase(VirtAddr(at), len, what),
        }
    }

    /// Overwrites the text that a member points to, up to its NUL.
    pub(super) fn erase_text(&self, of: &Object<'_>, path: &str, what: &'static str) -> Result<(), Error> {
        /// Passwords and key strings are shorter by far.
        const MAX_TEXT: usize = 4096;
        let at = VirtAddr(of.uint(path)?);
        if at.0 == 0 {
            return Ok(());
        }
        let text = self.kernel.text(at, MAX_TEXT, what)?;
        self.erase(at, text.len() as u64, what)
    }

    /// Why the kernel has nothing of a kind; `None` where it has, or may have.
    pub(super) fn absent(&self, facts: &Facts) -> Result<Option<String>, Error> {
        if facts.modules.is_empty() && facts.functions.is_empty() {
            return Ok(None);
        }
        if facts.functions.iter().any(|name| self.has_function(name).unwrap_or(true)) {
            return Ok(None);
        }
        for module in facts.modules {
            if self.module(module)?.is_some() {
                return Ok(None);
            }
        }
        Ok(Some(match facts.modules {
            [] => format!("the kernel has no function {}", facts.functions.join(" or ")),
            modules => format!("no module {}, and it is not built in", modules.join(" or ")),
        }))
    }

    /// Whether the kernel has a function of its own of a name.
    pub(super) fn has_function(&self, name: &str) -> Result<bool, Error> {
        Ok(self.kernel.symbols()?.find(name).is_some())
    }

    /// Whether the kernel has something, as a module or built in: then it has this function of it.
    pub(super) fn is_there(&self, module: &str, function: &str) -> Result<bool, Error> {
        Ok(self.has_function(function)? || self.module(module)?.is_some())
    }

    /// Whether a member is asked for: an object has it, or the function that sets it is there and asking fails.
    pub(super) fn expects(scope: &Scope<'_>, object: &Object<'_>, member: &str, function: &str) -> bool {
        object.has(member) || scope.symbol(function).is_ok()
    }

    /// A module that is loaded.
    pub(super) fn module(&self, name: &str) -> Result<Option<&'k Module>, Error> {
        let (modules, error) = self.kernel.modules();
        if let Some(module) = modules.iter().find(|module| module.name == name.as_bytes()) {
            return Ok(Some(module));
        }
        match error {
            None => Ok(None),
            // A kernel without modules has no list of them, and none of the functions that load one.
            Some(_) if !self.has_function("load_module")? && self.kernel.symbol("modules").is_err() => {
                Ok(None)
            }
            Some(error) => Err(Error::Unknown(format!("the modules cannot be listed: {}", error.line()))),
        }
    }

    /// Walks with the symbols and types of a module, or with the kernel's own where that has no such module: then it is
    /// built in.
    pub(super) fn with<T>(
        &self,
        module: &str,
        walk: impl FnOnce(&Scope<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self.module(module)? {
            None => walk(&Scope::of(self.kernel)?),
            Some(module) => {
                let types = self.kernel.module_types(module)?;
                walk(&Scope::of_module(self.kernel, module, &types))
            }
        }
    }

    /// The nodes of a chain that ends with null, by address: `head` holds the address of the first one, and each that of
    /// the next one.
    pub(super) fn chain(
        &self,
        head: VirtAddr,
        most: u64,
        what: &'static str,
    ) -> Result<Vec<VirtAddr>, Error> {
        let mut nodes = Vec::new();
        let mut node = self.pointer(head, 0, what)?;
        while node.0 != 0 {
            if nodes.len() as u64 == most {
                return Err(Error::Endless(what));
            }
            nodes.push(node);
            node = self.pointer(node, 0, what)?;
        }
        Ok(nodes)
    }

    /// The address of element `nth` of an array of pointers.
    pub(super) fn pointer(&self, array: VirtAddr, nth: u64, what: &'static str) -> Result<VirtAddr, Error> {
        self.kernel.u64(array.wrapping_add(nth.wrapping_mul(8)), what).map(VirtAddr)
    }
}
