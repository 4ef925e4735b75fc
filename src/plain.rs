//! A dump that another tool made in plain, of any form, as a vmcore: KDUMP files (`kdump`), the flattened form of one or
//! of an ELF core (`flat`), from a file or from standard input (`spool`). ELF cores themselves are the `vmcore` room's.
//! The form is recognised by content; what cannot be read is known by name (`kinds`). Not in the collector of an initramfs,
//! whose only input is `/proc/vmcore`.
//!
//! Whoever made the file may be an attacker: no number of it is believed before it was compared with the file's length,
//! what is kept in memory is bounded by that, and pages that do not decompress to a page are unreadable.

mod codec;
mod flat;
mod foreign;
mod kdump;
mod kinds;
mod records;
mod spool;

use crate::crypt::{self, Entropy};
use crate::kdump::is_flattened;
use crate::read_at::{FileSource, read_full_at};
use crate::vmcore::{self, Flaw, PhysSource, Vmcore};
use flat::{Flat, HolesAreErrors};
use foreign::Claimed;
use kdump::KdumpFile;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use kinds::Kind;

/// Bytes that tell the form of a dump.
const PROBE: usize = 64;

/// Why a dump cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As an ELF core.
    #[error(transparent)]
    Vmcore(#[from] vmcore::Error),
    /// A known form that is not read, with the cause.
    #[error("{0}")]
    Refused(Kind),
    /// The head of a KDUMP file.
    #[error("reading the KDUMP header: {0}")]
    Kdump(String),
    /// One of several files, without the others' pages.
    #[error("it is one of several files (makedumpfile --split), with the pages {start:#x} to {end:#x} alone")]
    Part {
        /// Its first pfn.
        start: u64,
        /// The first pfn after its pages.
        end: u64,
    },
    /// Files that make no whole dump together.
    #[error("joining the files of makedumpfile --split: {0}")]
    Parts(String),
    /// The records of a flattened file.
    #[error("reading the flattened records: {0}")]
    Flattened(String),
    /// The copy of standard input that is kept, encrypted, in a temporary file.
    #[error("keeping a copy of standard input, encrypted, in a temporary file")]
    Spool(#[source] io::Error),
    /// No key for that copy.
    #[error(transparent)]
    Crypt(#[from] crypt::Error),
    /// The input could not be read.
    #[error("reading the dump")]
    Read(#[source] io::Error),
}

/// A source of which it is known where it holds bytes.
trait Place: PhysSource {
    /// Whether every byte is there.
    fn holds(&self, offset: u64, len: u64) -> bool;

    /// Whether a cut may have taken what is not there; elsewhere that is zeros.
    fn is_cut(&self) -> bool {
        false
    }

    /// What is not as it should be of the form that the bytes are in.
    fn flaw(&self) -> Option<Flaw> {
        None
    }

    /// Where the first byte that is no hole is, from `offset` on.
    fn next_data(&self, offset: u64) -> Option<u64> {
        Some(offset)
    }

    /// Before this place bytes were written more than once; what was there first is gone.
    fn overwritten(&self) -> u64 {
        0
    }
}

/// A plain file, never mapped: another program may cut it.
impl Place for FileSource {
    fn holds(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= FileSource::len(self))
    }

    /// Source: lseek(2), `SEEK_DATA`. A file system that does not know it has no holes.
    fn next_data(&self, offset: u64) -> Option<u64> {
        match rustix::fs::seek(self.file(), SeekFrom::Data(offset)) {
            Ok(at) => Some(at),
            Err(Errno::NXIO) => None,
            Err(_) => Some(offset),
        }
    }
}

#[cfg(test)]
impl Place for Vec<u8> {
    fn holds(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= PhysSource::len(self))
    }
}

/// Opens the dump at `path`, in whatever form it is; an ELF core as [`Vmcore::open`] does.
///
/// # Errors
/// See [`Error`].
pub fn open(path: &Path) -> Result<Vmcore, Error> {
    // What is no regular file is a device or /proc/vmcore's kin: an ELF core or nothing.
    if !path.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(Vmcore::open(path)?);
    }
    let file = File::open(path).map_err(vmcore::Error::Open)?;
    let len = file.metadata().map_err(Error::Read)?.len();
    if let Some(vmcore) = open_file(FileSource::with_len(file.try_clone().map_err(Error::Read)?, len))? {
        return Ok(vmcore);
    }
    let mut vmcore = Vmcore::open(path)?;
    // The kernel's own file has what the kernel put there; a copy may have been added to.
    if !vmcore::is_on_procfs(&file) {
        add_foreign(&mut vmcore, &FileSource::with_len(file, len))?;
    }
    Ok(vmcore)
}

/// Opens all files that `makedumpfile --split` made of one dump, in any order; flattened ones too.
///
/// # Errors
/// See [`Error`].
pub fn open_parts(paths: &[PathBuf]) -> Result<Vmcore, Error> {
    KdumpFile::join(paths.iter().map(|path| open_part(path)).collect::<Result<_, _>>()?)
}

fn open_part(path: &Path) -> Result<Arc<dyn Place>, Error> {
    let file = File::open(path).map_err(vmcore::Error::Open)?;
    let len = file.metadata().map_err(Error::Read)?.len();
    let source = FileSource::with_len(file, len);
    let mut probe = [0; PROBE];
    let have = read_full_at(&source, &mut probe, 0).map_err(Error::Read)?;
    let probe = &probe[..have];
    if is_flattened(probe) {
        let records = records::in_file(&source)?;
        return Ok(Arc::new(Flat::new(Box::new(source), records)?));
    }
    match Kind::of(probe) {
        Some(kind) => Err(Error::Refused(kind)),
        None if kdump::is_kdump(probe) => Ok(Arc::new(source)),
        None => Err(Error::Parts(format!("{path:?} is no kdump-compressed file"))),
    }
}

/// Opens what is in a regular file; `None` when it is no form of this room.
fn open_file(source: FileSource) -> Result<Option<Vmcore>, Error> {
    let mut probe = [0; PROBE];
    // If it cannot be read at all, the other opener reports that.
    let Ok(have) = read_full_at(&source, &mut probe, 0) else { return Ok(None) };
    let probe = &probe[..have];
    if is_flattened(probe) {
        let records = records::in_file(&source)?;
        return open_flat(Flat::new(Box::new(source), records)?).map(Some);
    }
    if kdump::is_kdump(probe) {
        return KdumpFile::open(Arc::new(source)).map(Some);
    }
    Kind::of(probe).map_or(Ok(None), |kind| Err(Error::Refused(kind)))
}

/// Opens the dump that standard input holds, in whatever form it is. Pages are read here and there, so a copy of it is
/// kept in a temporary file without a name, encrypted with a key that only this process has.
///
/// # Errors
/// See [`Error`].
pub fn open_stream(input: &mut dyn Read, entropy: &mut Entropy<'_>) -> Result<Vmcore, Error> {
    let (spool, records) = spool::copy(input, entropy)?;
    let flat = Flat::new(Box::new(spool), records)?;
    open_flat(flat)
}

/// What flattened records describe.
fn open_flat(flat: Flat) -> Result<Vmcore, Error> {
    let mut probe = [0; PROBE];
    let have = read_full_at(&flat, &mut probe, 0).map_err(Error::Read)?;
    let probe = &probe[..have];
    if kdump::is_kdump(probe) {
        return KdumpFile::open(Arc::new(flat));
    }
    if let Some(kind) = Kind::of(probe) {
        return Err(Error::Refused(kind));
    }
    let file = Arc::new(HolesAreErrors(flat));
    let mut vmcore = Vmcore::from_source(Box::new(Arc::clone(&file)))?;
    if let Some(flaw) = file.0.flaw() {
        vmcore.add_flaw(flaw);
        return Ok(vmcore);
    }
    add_foreign(&mut vmcore, &file.0)?;
    let memory = vmcore.segments().iter().filter(|segment| segment.file_size > 0);
    let memory = memory.map(|segment| segment.file_offset).min().unwrap_or(u64::MAX);
    if let Some(flaw) = overwritten(&file.0, memory) {
        vmcore.add_flaw(flaw);
    }
    Ok(vmcore)
}

/// What was overwritten after the headers, which end at `headers` and which collectors do write twice.
fn overwritten(file: &dyn Place, headers: u64) -> Option<Flaw> {
    let end = file.overwritten();
    (end > headers).then_some(Flaw::Overwritten { end })
}

/// Adds what the file of an ELF core holds besides. Of one that is cut or damaged otherwise it is not known.
fn add_foreign(vmcore: &mut Vmcore, file: &dyn Place) -> Result<(), Error> {
    if !vmcore.flaws().is_empty() {
        return Ok(());
    }
    let claimed = Claimed::new(vmcore::claimed(file, vmcore.page_size())?);
    if let Some(flaw) = claimed.flaw(file, |_| false)? {
        vmcore.add_flaw(flaw);
    }
    Ok(())
}
