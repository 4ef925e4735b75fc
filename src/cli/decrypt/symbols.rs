//! `vmcore-decrypt report --symbols DIRECTORY`: the kernel's symbols and types as files for other programs.

use super::super::{Failure, Status, quoted, say};
use super::PROGRAM;
use crate::kernel::{Description, Kernel};
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Writes `kallsyms.txt`, `btf` and `btf.d/MODULE` into a new directory, which nobody else can enter.
///
/// # Errors
/// The directory is there already; what the file system reports. Then no directory is left.
pub(super) fn write(kernel: &Kernel<'_>, directory: &Path) -> Result<(), Failure> {
    let doing = || format!("writing symbols and types into {}", quoted(directory));
    let description = Description::of(kernel);
    for why in &description.missing {
        say(PROGRAM, "warning", &format!("{}: {why}", doing()));
    }
    if description.symbols.is_empty() && description.types.is_empty() {
        return Err(Failure::new(Status::Failure, format!("{}: the dump has neither", doing())));
    }
    make(directory).map_err(|error| {
        let is_there = error.kind() == io::ErrorKind::AlreadyExists;
        let hint = is_there.then_some("--symbols names a directory that is not there yet");
        Failure::caused(doing(), &error).maybe_hint(hint)
    })?;
    fill(&description, directory).map_err(|error| {
        // It was made here, and is ours alone: half of it is of no use.
        let _ = std::fs::remove_dir_all(directory);
        Failure::caused(doing(), &error)
    })
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(directory)
}

fn fill(description: &Description, directory: &Path) -> io::Result<()> {
    let write = |name: &Path, bytes: &[u8]| {
        let path = directory.join(name);
        File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
    };
    write(Path::new("kallsyms.txt"), &description.symbols)?;
    if description.types.is_empty() {
        return Ok(());
    }
    write(Path::new("btf"), &description.types)?;
    let modules = Path::new("btf.d");
    make(&directory.join(modules))?;
    description.modules.iter().try_for_each(|(name, types)| write(&modules.join(name), types))
}
