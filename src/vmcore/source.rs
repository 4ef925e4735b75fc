//! Where a vmcore's bytes come from: anything that reads by position, so that threads can share it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use super::error::Error;
use super::mapped::{Mappable, Window};

/// Bytes that can be read at any position, by several threads at once.
pub trait PhysSource: Send + Sync {
    /// Reads up to `buf.len()` bytes at `offset` bytes from the start; 0 at the end.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

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
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn len(&self) -> u64 {
        Vec::len(self) as u64
    }
}

/// A file read with `pread`, or mapped where that is safe.
pub(super) struct FileSource {
    file: File,
    len: u64,
    mappable: Mappable,
}

impl FileSource {
    /// Looks before it opens: opening a pipe would wait for somebody to write to it.
    pub(super) fn open(path: &Path) -> Result<FileSource, Error> {
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
        Ok(FileSource { mappable: Mappable::of(&file), file, len })
    }

    /// The same file, never mapped.
    pub(super) fn unmapped(self) -> FileSource {
        FileSource { mappable: Mappable::never(), ..self }
    }
}

impl PhysSource for FileSource {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn view<'w>(&self, window: &'w mut Window, offset: u64, len: usize) -> Option<&'w [u8]> {
        window.bytes(offset, len, |start| self.mappable.map(&self.file, start, self.len))
    }

    fn len(&self) -> u64 {
        self.len
    }
}

/// Reads exactly `buf.len()` bytes at `offset`, however many calls that takes.
pub(super) fn read_exact_at(source: &dyn PhysSource, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match source.read_at(buf, offset) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(n) => {
                buf = &mut buf[n..];
                offset = offset.saturating_add(n as u64);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
