//! Where a vmcore's bytes come from: anything that reads by position, so that threads can share it.

use super::error::Error;
use super::mapped::{Mappable, Window};
use crate::read_at::{FileSource, ReadAt};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;

/// The bytes of a vmcore, read by several threads at once.
pub trait PhysSource: ReadAt + Send + Sync {
    /// Bytes from the start to the end; `u64::MAX` when unknown.
    fn len(&self) -> u64;

    /// `len` bytes at `offset` without a copy, seen through a thread's `window`; `None` where that cannot be
    /// done: then they must be read.
    fn view<'w>(&self, window: &'w mut Window, offset: u64, len: usize) -> Option<&'w [u8]> {
        let _ = (window, offset, len);
        None
    }

    /// Whether there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PhysSource for Vec<u8> {
    fn len(&self) -> u64 {
        Vec::len(self) as u64
    }
}

/// A source that others read too.
impl<S: PhysSource + ?Sized> PhysSource for Arc<S> {
    fn len(&self) -> u64 {
        (**self).len()
    }
}

/// A file that is read and never mapped.
impl PhysSource for FileSource {
    fn len(&self) -> u64 {
        FileSource::len(self)
    }
}

/// A file read with `pread`, or mapped where that is safe.
pub(super) struct VmcoreFile {
    file: FileSource,
    mappable: Mappable,
}

impl VmcoreFile {
    /// Looks before it opens: opening a pipe would wait for somebody to write to it.
    pub(super) fn open(path: &Path) -> Result<VmcoreFile, Error> {
        let kind = fs::metadata(path).map_err(Error::Open)?.file_type();
        if kind.is_dir() {
            return Err(Error::Open(io::ErrorKind::IsADirectory.into()));
        }
        if kind.is_fifo() || kind.is_socket() {
            return Err(Error::NotSeekable(if kind.is_fifo() { "pipe" } else { "socket" }));
        }
        let file = File::open(path).map_err(Error::Open)?;
        let metadata = file.metadata().map_err(Error::Open)?;
        // A size is known for regular files, /proc/vmcore among them; devices and such report 0.
        let len = if metadata.is_file() { metadata.len() } else { u64::MAX };
        Ok(VmcoreFile { mappable: Mappable::of(&file), file: FileSource::with_len(file, len) })
    }

    /// The same file, never mapped.
    pub(super) fn unmapped(self) -> VmcoreFile {
        VmcoreFile { mappable: Mappable::never(), ..self }
    }
}

impl ReadAt for VmcoreFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
}

impl PhysSource for VmcoreFile {
    fn view<'w>(&self, window: &'w mut Window, offset: u64, len: usize) -> Option<&'w [u8]> {
        window.bytes(offset, len, |start| self.mappable.map(self.file.file(), start, self.file.len()))
    }

    fn len(&self) -> u64 {
        self.file.len()
    }
}
