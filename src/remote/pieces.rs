//! A file as pieces of one size, fetched when they are first read, of which those used last are kept. Threads that
//! want the same piece at once fetch it once: one asks, the others wait for it.

use super::Error;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes fetched at a time: a round trip's worth on a usual link, and several blocks of a dump.
pub(super) const PIECE: u64 = 512 << 10;
/// Pieces kept: 16 MiB.
const KEPT: usize = 32;

/// So long a piece that could not be fetched is not asked for again: readers that go on to the next page ask for the same piece
/// a thousand times, and each time may take a minute.
const PAUSE: Duration = Duration::from_secs(10);

/// A piece. Who fetches it holds the lock meanwhile.
type Slot = Arc<Mutex<Piece>>;

/// What is known of a piece.
#[derive(Default)]
enum Piece {
    /// Nobody asked for it.
    #[default]
    Unknown,
    /// Its bytes.
    Fetched(Arc<[u8]>),
    /// It could not be fetched at that time.
    Failed(Instant, Error),
}

/// The pieces of a file.
pub(super) struct Pieces {
    len: u64,
    /// By number, the one used last in front.
    kept: Mutex<VecDeque<(u64, Slot)>>,
}

impl Pieces {
    /// Of a file of `len` bytes.
    pub(super) fn new(len: u64) -> Pieces {
        Pieces { len, kept: Mutex::default() }
    }

    /// Length of the file in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Puts in a piece that is known already.
    pub(super) fn put(&self, number: u64, bytes: &[u8]) {
        *lock(&self.slot(number)) = Piece::Fetched(bytes.into());
    }

    /// Reads some bytes at a place, of one piece; `fetch` gets the piece where it is not kept.
    ///
    /// # Errors
    /// What `fetch` reports. For [`PAUSE`] all readers of that piece get the same error; then one asks again.
    pub(super) fn read_at(
        &self,
        out: &mut [u8],
        offset: u64,
        fetch: impl FnOnce(Range<u64>) -> Result<Vec<u8>, Error>,
    ) -> Result<usize, Error> {
        if offset >= self.len || out.is_empty() {
            return Ok(0);
        }
        let piece = self.piece(offset / PIECE, fetch)?;
        let rest = usize::try_from(offset % PIECE).ok().and_then(|at| piece.get(at..)).unwrap_or(&[]);
        let take = rest.len().min(out.len());
        out[..take].copy_from_slice(&rest[..take]);
        Ok(take)
    }

    fn piece(
        &self,
        number: u64,
        fetch: impl FnOnce(Range<u64>) -> Result<Vec<u8>, Error>,
    ) -> Result<Arc<[u8]>, Error> {
        let slot = self.slot(number);
        let mut piece = lock(&slot);
        match &*piece {
            Piece::Fetched(bytes) => return Ok(Arc::clone(bytes)),
            Piece::Failed(when, error) if when.elapsed() < PAUSE => return Err(error.clone()),
            _ => {}
        }
        let start = number * PIECE;
        match fetch(start..start.saturating_add(PIECE).min(self.len)) {
            Ok(bytes) => {
                let bytes: Arc<[u8]> = bytes.into();
                *piece = Piece::Fetched(Arc::clone(&bytes));
                Ok(bytes)
            }
            Err(error) => {
                *piece = Piece::Failed(Instant::now(), error.clone());
                Err(error)
            }
        }
    }

    /// The slot of a piece, which is now the one used last.
    fn slot(&self, number: u64) -> Slot {
        let mut kept = lock(&self.kept);
        let at = kept.iter().position(|(kept, _)| *kept == number);
        let slot = at.and_then(|at| kept.remove(at)).map_or_else(Slot::default, |(_, slot)| slot);
        kept.push_front((number, Arc::clone(&slot)));
        kept.truncate(KEPT);
        slot
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn read(pieces: &Pieces, offset: u64, fetched: &AtomicU64) -> Result<usize, Error> {
        pieces.read_at(&mut [0; 10], offset, |range| {
            fetched.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(20));
            Ok(vec![7; usize::try_from(range.end - range.start).unwrap()])
        })
    }

    #[test]
    fn a_length_that_a_server_made_up_overflows_nothing() {
        let pieces = Pieces::new(u64::MAX);
        let ranges = Mutex::new(Vec::new());
        let offset = u64::MAX - 10;
        let read = pieces.read_at(&mut [0; 10], offset, |range| {
            lock(&ranges).push(range);
            Ok(Vec::new())
        });
        assert_eq!(read.unwrap(), 0);
        assert_eq!(lock(&ranges).pop(), Some(offset / PIECE * PIECE..u64::MAX));
    }

    #[test]
    fn pieces_end_where_the_file_does() {
        let (pieces, fetched) = (Pieces::new(PIECE + 5), AtomicU64::new(0));
        assert_eq!(read(&pieces, PIECE - 3, &fetched).unwrap(), 3);
        assert_eq!(read(&pieces, PIECE, &fetched).unwrap(), 5);
        assert_eq!(read(&pieces, PIECE + 5, &fetched).unwrap(), 0);
        assert_eq!(fetched.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn the_pieces_used_last_stay() {
        let (pieces, fetched) = (Pieces::new(100 * PIECE), AtomicU64::new(0));
        pieces.put(0, &[0; 20]);
        for number in [1, 0, 1].into_iter().chain(2..=KEPT as u64).chain([1, 0]) {
            read(&pieces, number * PIECE, &fetched).unwrap();
        }
        // Piece 0 was used before piece 1 was again, so it is the one that fell out.
        assert_eq!(fetched.load(Ordering::Relaxed), KEPT as u64 + 1);
    }

    #[test]
    fn threads_that_want_the_same_piece_fetch_it_once() {
        let (pieces, fetched) = (Pieces::new(PIECE), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(read(&pieces, 9, &fetched).unwrap(), 10));
            }
        });
        assert_eq!(fetched.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_failed_fetch_is_tried_again_after_a_pause_alone() {
        let (pieces, fetched) = (Pieces::new(2 * PIECE), AtomicU64::new(0));
        assert!(pieces.read_at(&mut [0; 1], 0, |_| Err(Error::Refused)).is_err());
        assert!(matches!(read(&pieces, 9, &fetched), Err(Error::Refused)));
        assert_eq!(fetched.load(Ordering::Relaxed), 0);
        // Others are not concerned.
        assert_eq!(read(&pieces, PIECE, &fetched).unwrap(), 10);
        if let Piece::Failed(when, _) = &mut *lock(&pieces.slot(0)) {
            *when -= PAUSE;
        }
        assert_eq!(read(&pieces, 0, &fetched).unwrap(), 10);
    }
}
