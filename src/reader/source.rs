//! Where the bytes of an encrypted dump come from: a file or several in a row, memory, a server. A source knows its length
//! and is read by position, from several threads.

use super::SetFacts;
use crate::raw::FramedAt;
use crate::read_at::ReadAt;
use std::io::{self, Read};
use std::sync::Arc;

pub use crate::read_at::FileSource;

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

    /// What the set is like, where the bytes are in numbered objects.
    fn set(&self) -> Option<SetFacts> {
        None
    }
}

impl Source for FileSource {
    fn len(&self) -> u64 {
        FileSource::len(self)
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
            end = end.saturating_add(file.len());
            (end, file)
        };
        PieceSource { files: files.into_iter().map(ends).collect() }
    }
}

impl ReadAt for PieceSource {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let at = self.files.partition_point(|(end, _)| *end <= offset);
        let Some((end, file)) = self.files.get(at) else { return Ok(0) };
        let start = end - file.len();
        let room = usize::try_from(end - offset).unwrap_or(usize::MAX).min(out.len());
        file.read_at(&mut out[..room], offset - start)
    }
}

impl Source for PieceSource {
    fn len(&self) -> u64 {
        self.files.last().map_or(0, |(end, _)| *end)
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> u64 {
        Vec::len(self) as u64
    }
}

/// The dump inside the frame of a raw partition.
impl<S: ReadAt + Send + Sync> Source for FramedAt<S> {
    fn len(&self) -> u64 {
        FramedAt::len(self)
    }
}

/// The first bytes of a source.
pub(super) struct Beginning {
    source: Arc<dyn Source>,
    len: u64,
}

impl Beginning {
    pub(super) fn new(source: Arc<dyn Source>, most: u64) -> Beginning {
        let len = source.len().min(most);
        Beginning { source, len }
    }
}

impl ReadAt for Beginning {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let room = left.min(out.len());
        self.source.read_at(&mut out[..room], offset)
    }
}

impl Source for Beginning {
    fn len(&self) -> u64 {
        self.len
    }

    fn is_remote(&self) -> bool {
        self.source.is_remote()
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
