//! The vmcore named on a command line, opened, with what can be wrong with it said.

use super::super::{Failure, Status, quoted};
use crate::vmcore::{Error, Vmcore};
use std::path::Path;

/// Opens a vmcore that must be whole.
pub fn open_vmcore(path: &Path) -> Result<Vmcore, Failure> {
    let vmcore = open_partial_vmcore(path)?;
    match vmcore.truncated_at() {
        Some(end) => Err(Failure::new(
            Status::Failure,
            format!(
                "opening vmcore {}: truncated, it ends at {end:#x} inside a segment of memory",
                quoted(path)
            ),
        )
        .hint("the copy is cut; copy it again")),
        None => Ok(vmcore),
    }
}

/// Opens a vmcore of which a part may be missing.
pub fn open_partial_vmcore(path: &Path) -> Result<Vmcore, Failure> {
    let doing = || format!("opening vmcore {}", quoted(path));
    Vmcore::open(path).map_err(|error| {
        let hint = match error {
            Error::NotElf | Error::NotCore(_) => "the input must be an ELF core such as /proc/vmcore",
            Error::Truncated { .. } => "the copy is cut; copy it again",
            _ => return Failure::caused(doing(), &error),
        };
        Failure::caused(doing(), &error).hint(hint)
    })
}
