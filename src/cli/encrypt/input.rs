//! The vmcore named on a command line, opened, with what can be wrong with it said.

use super::super::{Failure, quoted, say};
use super::PROGRAM;
use crate::vmcore::{Error, Vmcore};
use std::path::Path;

/// Opens a vmcore. What of it is damaged is said, and the rest is used: a dump with a hole beats no dump.
pub(super) fn open_vmcore(path: &Path) -> Result<Vmcore, Failure> {
    opened(path, Vmcore::open(path))
}

/// Opens a vmcore that is read by position only.
pub(super) fn open_unmapped_vmcore(path: &Path) -> Result<Vmcore, Failure> {
    opened(path, Vmcore::open_unmapped(path))
}

fn opened(path: &Path, opened: Result<Vmcore, Error>) -> Result<Vmcore, Failure> {
    let doing = || format!("opening vmcore {}", quoted(path));
    let vmcore = opened.map_err(|error| {
        let hint = match &error {
            Error::NotSeekable(_) => "pages are read here and there: name a file, or save the stream to one",
            Error::Open(_) if path == Path::new("-") => {
                "standard input is not read: pages are read here and there, so name a file"
            }
            Error::NotElf | Error::NotCore(_) => "the input must be an ELF core such as /proc/vmcore",
            Error::Truncated { .. } => "the copy is cut; copy it again",
            _ => return Failure::caused(doing(), &error),
        };
        Failure::caused(doing(), &error).hint(hint)
    })?;
    for flaw in vmcore.flaws() {
        say(PROGRAM, "warning", Failure::caused(doing(), flaw).message());
    }
    Ok(vmcore)
}
