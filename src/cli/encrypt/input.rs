//! The vmcore named on a command line, opened, with a message for each thing that can be wrong.

use super::super::{Failure, quoted, say};
use super::PROGRAM;
use crate::vmcore::{Error, Vmcore};
use std::path::Path;
#[cfg(feature = "convert")]
use std::path::PathBuf;

/// Opens a vmcore. Damage is reported, and the rest is used: a dump with a hole beats no dump.
pub(super) fn open_vmcore(path: &Path) -> Result<Vmcore, Failure> {
    opened(path, any_form(path, path))
}

/// Opens a dump of any form by an open file: what is read is that file, whatever its name leads to meanwhile.
#[cfg(feature = "convert")]
pub(super) fn open_held(path: &Path, file: &std::fs::File) -> Result<Vmcore, Failure> {
    opened(path, any_form(path, &name_of(file)))
}

/// The name of an open file, for this process.
#[cfg(feature = "convert")]
pub(super) fn name_of(file: &std::fs::File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Opens all files that one dump was split into; `path` is the first one's name, for messages.
#[cfg(feature = "convert")]
pub(super) fn open_parts(path: &Path, files: &[PathBuf]) -> Result<Vmcore, Failure> {
    opened(path, crate::plain::open_parts(files).map_err(|error| of_plain(path, &error)))
}

/// Opens a vmcore that is read by position only.
pub(super) fn open_unmapped_vmcore(path: &Path) -> Result<Vmcore, Failure> {
    opened(path, Vmcore::open_unmapped(path).map_err(|error| of_vmcore(path, &error)))
}

/// Names what the input is, in errors.
fn doing(path: &Path) -> String {
    if path == Path::new("-") {
        "opening standard input".to_owned()
    } else {
        format!("opening vmcore {}", quoted(path))
    }
}

/// What is wrong with an ELF core.
fn of_vmcore(path: &Path, error: &Error) -> Failure {
    let hint = match error {
        Error::NotSeekable(_) => "pages are read here and there: name a file, or - for standard input",
        Error::Open(_) if cfg!(not(feature = "convert")) && path == Path::new("-") => {
            "standard input is not read by this build, which is for an initramfs: name a file"
        }
        Error::NotElf if cfg!(not(feature = "convert")) => {
            "the input must be an ELF core such as /proc/vmcore; the full vmcore-encrypt reads kdump files too"
        }
        Error::Empty | Error::NotElf | Error::NotCore(_) => {
            "the input must be a dump of Linux memory: an ELF core, a kdump-compressed or a flattened file"
        }
        Error::XenGuest => "kdump inside the guest makes a vmcore that is",
        Error::Truncated { .. } => "the copy is cut; copy it again",
        _ => return Failure::caused(doing(path), error),
    };
    Failure::caused(doing(path), error).hint(hint)
}

#[cfg(not(feature = "convert"))]
fn any_form(path: &Path, file: &Path) -> Result<Vmcore, Failure> {
    Vmcore::open(file).map_err(|error| of_vmcore(path, &error))
}

/// Opens a dump of any form, from standard input too.
#[cfg(feature = "convert")]
fn any_form(path: &Path, file: &Path) -> Result<Vmcore, Failure> {
    use crate::plain;
    let opened = if path == Path::new("-") {
        let input = std::io::stdin();
        super::with_entropy(|entropy| plain::open_stream(&mut input.lock(), entropy))
    } else {
        plain::open(file)
    };
    opened.map_err(|error| of_plain(path, &error))
}

/// What is wrong with a dump that another tool made.
#[cfg(feature = "convert")]
fn of_plain(path: &Path, error: &crate::plain::Error) -> Failure {
    use crate::plain::Error;
    let hint = match error {
        Error::Vmcore(error) => return of_vmcore(path, error),
        Error::Refused(kind) => kind.hint(),
        Error::Part { .. } => "name all of them: vmcore-encrypt --reassemble FILE FILE... DUMPFILE",
        Error::Parts(_) => "name each file of one makedumpfile --split once, and the dump file last",
        Error::Spool(_) => {
            "TMPDIR names another directory; the copy is encrypted, with a key that is never stored"
        }
        _ => return Failure::caused(doing(path), error),
    };
    Failure::caused(doing(path), error).hint(hint)
}

fn opened(path: &Path, vmcore: Result<Vmcore, Failure>) -> Result<Vmcore, Failure> {
    let vmcore = vmcore?;
    for flaw in vmcore.flaws() {
        say(PROGRAM, "warning", Failure::caused(doing(path), flaw).message());
    }
    Ok(vmcore)
}
