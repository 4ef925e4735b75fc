//! A vmcore that fails to be read: bytes in memory, with patches over them, places that give an I/O error, and reads
//! that are interrupted or come in pieces. Many of them share one copy of the healthy bytes.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vmcore_encrypt::read_at::ReadAt;
use vmcore_encrypt::vmcore::PhysSource;

/// What a kernel answers for memory that a machine cannot read.
pub(crate) const EIO: i32 = 5;

/// The source. Offsets and lengths in bytes.
#[derive(Default)]
pub(crate) struct Faulty {
    healthy: Arc<Vec<u8>>,
    patches: Vec<(u64, Vec<u8>)>,
    bad: Vec<Range<u64>>,
    /// The most bytes that one read gives; every third read is interrupted instead.
    piece: Option<usize>,
    /// Where the file ends, if earlier than the bytes do.
    end: Option<u64>,
    reads: AtomicU64,
}

impl Faulty {
    pub(crate) fn new(healthy: &Arc<Vec<u8>>) -> Faulty {
        Faulty { healthy: Arc::clone(healthy), ..Faulty::default() }
    }

    /// Other bytes at `offset`.
    #[must_use]
    pub(crate) fn patch(mut self, offset: u64, bytes: &[u8]) -> Faulty {
        self.patches.push((offset, bytes.to_vec()));
        self
    }

    /// An error for every read that touches these bytes.
    #[must_use]
    pub(crate) fn bad(mut self, range: Range<u64>) -> Faulty {
        self.bad.push(range);
        self
    }

    #[must_use]
    pub(crate) fn in_pieces(self, piece: usize) -> Faulty {
        Faulty { piece: Some(piece), ..self }
    }

    #[must_use]
    pub(crate) fn cut(self, end: u64) -> Faulty {
        Faulty { end: Some(end), ..self }
    }

    fn content(&self, buf: &mut [u8], offset: u64) {
        let start = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&self.healthy[start..start + buf.len()]);
        let end = offset + buf.len() as u64;
        for (at, patch) in &self.patches {
            let (from, to) = ((*at).max(offset), (at + patch.len() as u64).min(end));
            if from < to {
                let place =
                    |base: u64| usize::try_from(from - base).unwrap()..usize::try_from(to - base).unwrap();
                buf[place(offset)].copy_from_slice(&patch[place(*at)]);
            }
        }
    }
}

impl ReadAt for Faulty {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        if self.piece.is_some() && read.is_multiple_of(3) {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        let rest = usize::try_from(self.len().saturating_sub(offset)).unwrap();
        let len = buf.len().min(rest).min(self.piece.unwrap_or(usize::MAX));
        let end = offset.saturating_add(len as u64);
        if self.bad.iter().any(|bad| bad.start < end && offset < bad.end) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.content(&mut buf[..len], if len == 0 { 0 } else { offset });
        Ok(len)
    }
}

impl PhysSource for Faulty {
    fn len(&self) -> u64 {
        let len = self.healthy.len();
        self.end.map_or(len, |end| end.min(len))
    }
}
