//! Random access to a payload in a file: any chunk opens alone, once the last one has proved the length. Of the chunks
//! that were read in part the last few are kept, in plain, and wiped when they go.

use super::{CHUNK_SIZE, ENCRYPTED_CHUNK_SIZE, PayloadKey, StreamError, TAG_SIZE, encrypted_offset};
use crate::read_at::{ReadAt, read_exact_at};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Chunks that are kept, 512 KiB: each of a few neighbouring reads begins in the chunk in which another one ended.
const KEPT: usize = 8;

/// The plaintext of a chunk.
type Chunk = Arc<Zeroizing<Vec<u8>>>;

/// A payload that is read anywhere. Takes `&self`: share it among threads.
pub struct RandomAccess<S> {
    source: S,
    start: u64,
    chunks: u64,
    encrypted: u64,
    ended: bool,
    key: PayloadKey,
    /// Chunks by their index, the last one that was read in front.
    kept: Mutex<Vec<(u64, Chunk)>>,
}

impl<S: ReadAt> RandomAccess<S> {
    /// Opens the payload whose first chunk starts at byte `start` of `source` and which is `encrypted` bytes
    /// long. Authenticates the last chunk, so that [`RandomAccess::len`] is true.
    ///
    /// # Errors
    /// A [`StreamError`] inside an [`io::Error`]: a last chunk that is not an authentic final one (`Truncated`), or bytes
    /// after it (`TrailingData`); or what the source reports.
    pub fn new(source: S, start: u64, encrypted: u64, key: PayloadKey) -> io::Result<Self> {
        match RandomAccess::new_or_cut(source, start, encrypted, key)? {
            (access, None) => Ok(access),
            (_, Some(why)) => Err(why.into()),
        }
    }

    /// As [`RandomAccess::new`], but a payload without an authentic final chunk is opened too, as far as
    /// it has whole chunks; why it is not all there comes beside it.
    ///
    /// # Errors
    /// What the source reports.
    pub fn new_or_cut(
        source: S,
        start: u64,
        encrypted: u64,
        key: PayloadKey,
    ) -> io::Result<(Self, Option<StreamError>)> {
        let chunks = encrypted.div_ceil(ENCRYPTED_CHUNK_SIZE as u64);
        let mut access =
            RandomAccess { source, start, chunks, encrypted, ended: true, key, kept: Mutex::default() };
        let Err(why) = access.check_end()? else { return Ok((access, None)) };
        if !matches!(why, StreamError::TrailingData { .. }) {
            access.chunks = encrypted / ENCRYPTED_CHUNK_SIZE as u64;
            access.encrypted = encrypted_offset(access.chunks);
            access.ended = false;
        }
        Ok((access, Some(why)))
    }

    /// Looks for the final chunk: it is the last one, or bytes follow it, which then are not of the payload.
    fn check_end(&mut self) -> io::Result<Result<(), StreamError>> {
        let Some(last) = self.chunks.checked_sub(1) else {
            return Ok(Err(StreamError::Truncated { plaintext: 0, remainder: 0 }));
        };
        let (opened, _) = self.open_end(last)?;
        if opened.is_ok() {
            return Ok(opened);
        }
        // After a final chunk of full length further bytes look like a chunk of their own.
        for at in last.saturating_sub(1)..=last {
            let (opened, len) = self.open_end(at)?;
            if matches!(opened, Ok(()) | Err(StreamError::TrailingData { .. })) {
                self.chunks = at + 1;
                self.encrypted = encrypted_offset(at) + len as u64;
                return Ok(Err(StreamError::TrailingData { chunk: at }));
            }
        }
        Ok(opened)
    }

    /// Opens a chunk as the last one of the payload; with its bytes in the file where that is a final one.
    fn open_end(&self, index: u64) -> io::Result<(Result<(), StreamError>, usize)> {
        let mut chunk = self.read_sealed(index)?;
        let opened = self.key.open_last(index, &mut chunk);
        Ok((opened, chunk.len() + TAG_SIZE))
    }

    fn read_sealed(&self, index: u64) -> io::Result<Vec<u8>> {
        let length = (self.encrypted - encrypted_offset(index)).min(ENCRYPTED_CHUNK_SIZE as u64);
        let mut chunk = vec![0; usize::try_from(length).unwrap_or(ENCRYPTED_CHUNK_SIZE)];
        read_exact_at(&self.source, &mut chunk, self.start + encrypted_offset(index))?;
        Ok(chunk)
    }

    /// Plaintext bytes in the payload.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.encrypted.saturating_sub(self.chunks * TAG_SIZE as u64)
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of chunks, at least 1 unless the payload is cut.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Replaces `chunk` by the plaintext of chunk `index`, which starts at plaintext byte `index * 65536`;
    /// by nothing when `index` is after the last chunk.
    ///
    /// # Errors
    /// [`StreamError::Corrupt`] inside; `UnexpectedEof` when the source ends early; what the source reports.
    pub fn read_chunk(&self, index: u64, chunk: &mut Vec<u8>) -> io::Result<()> {
        chunk.clear();
        if index >= self.chunks {
            return Ok(());
        }
        let length = (self.encrypted - encrypted_offset(index)).min(ENCRYPTED_CHUNK_SIZE as u64);
        chunk.resize(usize::try_from(length).unwrap_or(ENCRYPTED_CHUNK_SIZE), 0);
        read_exact_at(&self.source, chunk, self.start + encrypted_offset(index))?;
        let opened = self.key.open(index, self.ended && index + 1 == self.chunks, chunk);
        Ok(opened.inspect_err(|_| chunk.clear())?)
    }

    /// Reads plaintext at byte `offset`; fewer bytes than asked only at the end.
    ///
    /// # Errors
    /// As [`RandomAccess::read_chunk`].
    pub fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < out.len() {
            let at = offset.saturating_add(done as u64);
            let within = usize::try_from(at % CHUNK_SIZE as u64).unwrap_or(0);
            let index = at / CHUNK_SIZE as u64;
            let chunk = self.chunk(index)?;
            let piece = chunk.get(within..).unwrap_or(&[]);
            let take = piece.len().min(out.len() - done);
            if take == 0 {
                break;
            }
            out[done..done + take].copy_from_slice(&piece[..take]);
            done += take;
            if take < chunk.len() {
                self.keep(index, chunk);
            }
        }
        Ok(done)
    }

    /// A chunk, kept or read.
    fn chunk(&self, index: u64) -> io::Result<Chunk> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, chunk)) = kept.iter().find(|(kept, _)| *kept == index) {
            return Ok(Arc::clone(chunk));
        }
        drop(kept);
        let mut chunk = Zeroizing::new(Vec::new());
        self.read_chunk(index, &mut chunk)?;
        Ok(Arc::new(chunk))
    }

    /// Keeps a chunk of which the next read may need the rest.
    fn keep(&self, index: u64, chunk: Chunk) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(kept, _)| *kept != index);
        kept.truncate(KEPT - 1);
        kept.insert(0, (index, chunk));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EncryptWriter, test_key};
    use super::*;
    use std::io::Write;

    fn file(len: usize) -> (Vec<u8>, Vec<u8>) {
        let plain: Vec<u8> = (0..len).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
        let mut writer = EncryptWriter::new(b"head".to_vec(), test_key());
        writer.write_all(&plain).unwrap();
        (plain, writer.finish().unwrap())
    }

    #[test]
    fn reads_across_chunk_borders() {
        for len in [0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE] {
            let (plain, sealed) = file(len);
            let access = RandomAccess::new(&sealed[..], 4, sealed.len() as u64 - 4, test_key()).unwrap();
            assert_eq!(access.len(), len as u64);
            for (at, want) in
                [(0, 10), (CHUNK_SIZE - 3, 7), (len.saturating_sub(1), 5), (len, 5), (len + 9, 1)]
            {
                let mut out = vec![0; want];
                let got = access.read_at(&mut out, at as u64).unwrap();
                let expected = plain.get(at..).unwrap_or(&[]);
                assert_eq!(&out[..got], &expected[..expected.len().min(want)], "{len} at {at}");
            }
        }
    }

    /// Counts the reads of its bytes.
    struct Counted<'a>(&'a [u8], std::cell::Cell<usize>);

    impl ReadAt for Counted<'_> {
        fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
            self.1.set(self.1.get() + 1);
            self.0.read_at(out, offset)
        }
    }

    #[test]
    fn neighbouring_reads_open_a_chunk_once_and_few_are_kept() {
        let (plain, sealed) = file(20 * CHUNK_SIZE);
        let source = Counted(&sealed, std::cell::Cell::new(0));
        let access = RandomAccess::new(source, 4, sealed.len() as u64 - 4, test_key()).unwrap();
        let reads = |part: usize, starts: std::ops::Range<usize>| {
            let before = access.source.1.get();
            for at in starts.step_by(part) {
                let mut out = vec![0; part];
                let read = access.read_at(&mut out, at as u64).unwrap();
                assert_eq!(out[..read], plain[at..at + read], "{part} at {at}");
            }
            access.source.1.get() - before
        };
        assert_eq!(reads(10_000, 0..plain.len()), 20);
        assert_eq!(reads(CHUNK_SIZE, 0..CHUNK_SIZE), 1, "it is long gone");
        assert_eq!(reads(CHUNK_SIZE, 0..CHUNK_SIZE), 1, "one that was read whole is not kept");
        assert_eq!(reads(CHUNK_SIZE + 1, 0..plain.len()), 20);
        assert_eq!(access.kept.lock().unwrap().len(), KEPT);
    }

    #[test]
    fn a_cut_file_is_read_as_far_as_it_has_whole_chunks() {
        let (plain, sealed) = file(2 * CHUNK_SIZE + 9);
        let cut = 4 + ENCRYPTED_CHUNK_SIZE as u64 + 100;
        let (access, why) = RandomAccess::new_or_cut(&sealed[..], 4, cut - 4, test_key()).unwrap();
        assert!(matches!(why, Some(StreamError::Truncated { remainder: 100, .. })));
        assert_eq!((access.len(), access.chunks()), (CHUNK_SIZE as u64, 1));
        let mut out = vec![0; CHUNK_SIZE + 1];
        assert_eq!(access.read_at(&mut out, 0).unwrap(), CHUNK_SIZE);
        assert_eq!(out[..CHUNK_SIZE], plain[..CHUNK_SIZE]);
        let (nothing, why) = RandomAccess::new_or_cut(&sealed[..], 4, 0, test_key()).unwrap();
        assert!(nothing.is_empty() && why.is_some());
    }

    #[test]
    fn bytes_after_the_final_chunk_are_not_of_the_payload() {
        for len in [0, 9, CHUNK_SIZE - 1, CHUNK_SIZE, 2 * CHUNK_SIZE + 9] {
            let (plain, sealed) = file(len);
            for more in [1, 16, 17, 4096, CHUNK_SIZE] {
                let longer = [&sealed[..], &vec![7; more]].concat();
                let opened = RandomAccess::new_or_cut(&longer[..], 4, longer.len() as u64 - 4, test_key());
                let (access, why) = opened.unwrap();
                assert!(matches!(why, Some(StreamError::TrailingData { .. })), "{len} {more} {why:?}");
                let mut out = vec![0; plain.len() + 1];
                assert_eq!((access.len(), access.read_at(&mut out, 0).unwrap()), (len as u64, len));
                assert_eq!(out[..len], plain);
            }
        }
    }

    #[test]
    fn a_cut_file_is_not_opened() {
        let (_, sealed) = file(2 * CHUNK_SIZE);
        for cut in [4, 4 + ENCRYPTED_CHUNK_SIZE, sealed.len() - 1, sealed.len() - ENCRYPTED_CHUNK_SIZE + 3] {
            let result = RandomAccess::new(&sealed[..cut], 4, cut as u64 - 4, test_key());
            let error = StreamError::find(&result.err().expect("an error"));
            assert!(matches!(error, Some(StreamError::Truncated { .. })), "{cut}: {error:?}");
        }
    }
}
