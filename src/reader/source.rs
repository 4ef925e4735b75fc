//! Where the bytes of an encrypted dump come from: a file or several in a row, memory, a server. A source knows its length
//! and is read by position, from several threads.

use crate::crypt::stream::ReadAt;
use crate::raw::FramedAt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

/// Bytes that can be read at any position.
pub trait Source: ReadAt + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there is nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every read asks a server, so that many small ones are dear.
    fn is_remote(&self) -> bool {
        false
    }
}

/// A file or a block device, with the length it had when it was opened.
pub struct FileSource {
    file: File,
    len: u64,
}

impl FileSource {
    /// Takes an open file.
    ///
    /// # Errors
    /// It cannot seek (a pipe), or what the kernel says.
    pub fn new(mut file: File) -> io::Result<FileSource> {
        let len = file.seek(SeekFrom::End(0))?;
        Ok(FileSource { file, len })
    }
}

impl ReadAt for FileSource {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        ReadAt::read_at(&self.file, out, offset)
    }
}

impl Source for FileSource {
    fn len(&self) -> u64 {
        self.len
    }
}

/// Files that are one dump, in their order.
pub struct PieceSource {
    /// Each with the position in the dump at which it ends.
    files: Vec<(u64, FileSource)>,
}

impl PieceSource {
    /// Takes the pieces in order.
    #[must_use]
    pub fn new(files: Vec<FileSource>) -> PieceSource {
        let mut end = 0_u64;
        let ends = |file: FileSource| {
            end = end.saturating_add(file.len);
            (end, file)
        };
        PieceSource { files: files.into_iter().map(ends).collect() }
    }
}

impl ReadAt for PieceSource {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let at = self.files.partition_point(|(end, _)| *end <= offset);
        let Some((end, file)) = self.files.get(at) else { return Ok(0) };
        let start = end - file.len;
        let room = usize::try_from(end - offset).unwrap_or(usize::MAX).min(out.len());
        ReadAt::read_at(file, &mut out[..room], offset - start)
    }
}

impl Source for PieceSource {
    fn len(&self) -> u64 {
        self.files.last().map_or(0, |(end, _)| *end)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(out, offset)
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> u64 {
        Vec::len(self) as u64
    }
}

impl ReadAt for Arc<dyn Source> {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(out, offset)
    }
}

/// The dump inside the frame of a raw partition.
impl<S: ReadAt + Send + Sync> Source for FramedAt<S> {
    fn len(&self) -> u64 {
        FramedAt::len(self)
    }
}

/// A source read from front to back.
pub struct SourceReader {
    source: Arc<dyn Source>,
    position: u64,
}

impl SourceReader {
    /// From the first byte on.
    #[must_use]
    pub fn new(source: Arc<dyn Source>) -> SourceReader {
        SourceReader { source, position: 0 }
    }
}

impl Read for SourceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read_at(out, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}
