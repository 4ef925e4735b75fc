//! The kernel's code: whether an address is in it, and in which function.

use super::{Error, Kernel, Symbols};
use crate::units::VirtAddr;

/// Start and end of a piece of the kernel's own code.
pub(super) type Range = (u64, u64);

/// A place in a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The function, in the bytes of the dump.
    pub function: Vec<u8>,
    /// Bytes from its start.
    pub offset: u64,
    /// Bytes of the function, up to the next symbol; 0 when unknown.
    pub size: u64,
    /// The module it belongs to.
    pub module: Option<Vec<u8>>,
}

impl<'a> Kernel<'a> {
    /// Whether an address is in code of the kernel or of a module.
    #[must_use]
    pub fn is_text(&self, at: VirtAddr) -> bool {
        self.is_own_text(at) || self.module_at(at).is_some()
    }

    /// Whether an address is in the kernel's own code.
    #[must_use]
    pub fn is_own_text(&self, at: VirtAddr) -> bool {
        let ranges = self.ranges.get_or_init(|| {
            let pair =
                |start, end| -> Result<Range, Error> { Ok((self.symbol(start)?.0, self.symbol(end)?.0)) };
            // Some architectures have their first code before _stext.
            let pairs = [
                pair("_stext", "_etext"),
                pair("_sinittext", "_einittext"),
                pair("_text", "_stext"),
                pair("_start", "_stext"),
            ];
            pairs.into_iter().flatten().filter(|(start, end)| start < end).collect()
        });
        ranges.iter().any(|&(start, end)| (start..end).contains(&at.0))
    }

    /// The function at an address of code; `None` where there is no symbol for it.
    #[must_use]
    pub fn location(&self, at: VirtAddr) -> Option<Location> {
        if self.is_own_text(at) {
            return locate(self.symbols().ok()?, at, None);
        }
        let module = self.module_at(at)?;
        let name = Some(module.name.clone());
        let start = |found: &Location| module.contains(VirtAddr(at.0.wrapping_sub(found.offset)));
        locate(self.module_symbols(module).ok()?, at, name).filter(start)
    }
}

fn locate(symbols: &Symbols, at: VirtAddr, module: Option<Vec<u8>>) -> Option<Location> {
    let symbol = symbols.at(at)?;
    let start = symbol.address;
    let size = symbols.end(at).map_or(0, |end| end.0.wrapping_sub(start.0));
    Some(Location { function: symbol.name.to_vec(), offset: at.0.wrapping_sub(start.0), size, module })
}
