//! The decrypted stream of a dump by position: its head, its tail, single frames and blocks.

use super::source::{Source, SourceReader};
use super::{DumpHead, Error};
use crate::blocks::{
    BlockDecompressor, BlockMap, Frame, HEAD_COPY_TAG, Head, MAX_FRAME_CONTENT, RunKind, Splitter, Tail,
    is_ours,
};
use crate::crypt::stream::{CHUNK_SIZE, ENCRYPTED_CHUNK_SIZE, RandomAccess};
use crate::crypt::{Identities, PayloadKey, StreamError};
use crate::kdump::record_head;
use crate::units::PageSize;
use std::io::BufReader;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// The most bytes a block's frames may take: map, record head, pages that do not compress.
const MAX_BLOCK: u64 = MAX_FRAME_CONTENT as u64 + (2 << 20);
/// The search for frames reads this many bytes at a time: two chunks hold most index pieces.
const PIECE: usize = CHUNK_SIZE;

/// Where a block's frames are in the stream, bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockPlace {
    /// Where its map's frame starts.
    pub offset: u64,
    /// Bytes from there to the end of its last frame.
    pub len: u64,
}

/// An authenticated payload.
pub(super) struct Stream {
    access: RandomAccess<Arc<dyn Source>>,
    cut: Option<StreamError>,
    trailing: Option<StreamError>,
    /// The first chunk that objects of a set lack, which need not be read to be known.
    lost: Option<StreamError>,
    is_remote: bool,
    /// Decompressors that no thread is using.
    idle: Mutex<Vec<BlockDecompressor>>,
}

impl Stream {
    /// Opens the header and authenticates the final chunk, if there is one.
    pub(super) fn open(source: Arc<dyn Source>, identities: &Identities) -> Result<Stream, Error> {
        let opened = identities.open(&mut BufReader::new(SourceReader::new(Arc::clone(&source))))?;
        let start = opened.payload_start;
        Stream::with_key(source, start, opened.key)
    }

    /// Opens the payload that starts at a place, with its key.
    pub(super) fn with_key(source: Arc<dyn Source>, start: u64, key: PayloadKey) -> Result<Stream, Error> {
        let encrypted = source.len().saturating_sub(start);
        let is_remote = source.is_remote();
        let lost = source
            .set()
            .and_then(|set| set.lost)
            .map(|at| StreamError::Corrupt { chunk: at.saturating_sub(start) / ENCRYPTED_CHUNK_SIZE as u64 });
        let (access, end) = RandomAccess::new_or_cut(source, start, encrypted, key).map_err(Error::read)?;
        let is_trailing = |end: &StreamError| matches!(end, StreamError::TrailingData { .. });
        let (cut, trailing) = (end.filter(|end| !is_trailing(end)), end.filter(is_trailing));
        Ok(Stream { access, cut, trailing, lost, is_remote, idle: Mutex::new(Vec::new()) })
    }

    /// That bytes follow the payload, which is all there.
    pub(super) fn trailing(&self) -> Option<StreamError> {
        self.trailing
    }

    /// That an object of the set is missing or cut.
    pub(super) fn lost(&self) -> Option<StreamError> {
        self.lost
    }

    /// Why the payload is not all there.
    pub(super) fn cut(&self) -> Option<StreamError> {
        self.cut
    }

    /// Whether every read asks a server.
    pub(super) fn is_remote(&self) -> bool {
        self.is_remote
    }

    /// Bytes of plaintext.
    pub(super) fn len(&self) -> u64 {
        self.access.len()
    }

    /// Number of chunks.
    pub(super) fn chunks(&self) -> u64 {
        self.access.chunks()
    }

    /// A whole chunk.
    pub(super) fn read_chunk(&self, index: u64, chunk: &mut Vec<u8>) -> Result<(), Error> {
        self.access.read_chunk(index, chunk).map_err(Error::read)
    }

    /// Reads the facts at the start and the head of the KDUMP file.
    pub(super) fn read_head(&self) -> Result<DumpHead, Error> {
        let (mut facts, mut next) = match self.read_frame(0) {
            Ok((Frame::Tagged { tag: Head::TAG, content }, next)) => (Head::parse(&content)?, next),
            Ok(_) | Err(Error::Blocks(crate::blocks::Error::NotAFrame { .. })) => {
                return Err(self.without_head());
            }
            Err(error) => return Err(self.or_cut(error)),
        };
        loop {
            match self.read_frame(next) {
                Ok((Frame::Data(frame), _)) => return Ok(DumpHead::new(facts, &self.decompress(&frame)?)?),
                Ok((Frame::Tagged { tag: Head::SEGMENTS_TAG, content }, end)) => {
                    facts.segments.extend(Head::parse_more(&content)?);
                    next = end;
                }
                Ok(_) => return Err(Error::malformed("the headers do not follow the head")),
                Err(error) => return Err(self.or_cut(error)),
            }
        }
    }

    /// Why a stream does not start with a head: it is another program's, or a dump whose head is elsewhere.
    fn without_head(&self) -> Error {
        let mut first = Vec::new();
        let is_ours = self.read_chunk(0, &mut first).is_ok() && is_ours(&first);
        if is_ours || matches!(self.read_tail(), Ok(Some(_))) {
            Error::malformed("its head is not its first frame")
        } else {
            Error::NotADump
        }
    }

    /// Reads the copy of both heads, which the tail leads to.
    ///
    /// # Errors
    /// The tail is damaged or missing, or names no copy: [`Error::NotADump`].
    pub(super) fn read_head_copy(&self) -> Result<DumpHead, Error> {
        let (tail, _) = self.read_tail()?.ok_or(Error::NotADump)?;
        let (frame, _) = self.read_frame(tail.head_copy.ok_or(Error::NotADump)?)?;
        let Frame::Tagged { tag: HEAD_COPY_TAG, content } = frame else {
            return Err(Error::malformed("no copy of the head is where the tail leads to"));
        };
        let mut splitter = Splitter::default();
        splitter.feed(&content);
        let mut next = || splitter.next_frame().map(|frame| frame.map(|(_, _, frame)| frame));
        match (next()?, next()?) {
            (Some(Frame::Tagged { tag: Head::TAG, content }), Some(Frame::Data(headers))) => {
                Ok(DumpHead::new(Head::parse(&content)?, &self.decompress(&headers)?)?)
            }
            _ => Err(Error::malformed("the copy of the head does not hold it")),
        }
    }

    /// Where the stream ends too early, the cut is the better reason.
    fn or_cut(&self, error: Error) -> Error {
        match (self.cut, &error) {
            (Some(cut), Error::Blocks(crate::blocks::Error::EndsInFrame)) => cut.into(),
            _ => error,
        }
    }

    /// Reads the tail, with its place; `None` when the stream is cut or damaged there.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the last bytes are authentic and no tail.
    pub(super) fn read_tail(&self) -> Result<Option<(Tail, u64)>, Error> {
        if self.cut.is_some() {
            return Ok(None);
        }
        match self.authentic_tail() {
            Err(Error::Stream(_)) => Ok(None),
            tail => tail.map(Some),
        }
    }

    fn authentic_tail(&self) -> Result<(Tail, u64), Error> {
        let missing = || Error::malformed("its tail is missing");
        let at = self.len().checked_sub(Tail::TRAILER_LEN as u64).ok_or_else(missing)?;
        let trailer = self.read(at, Tail::TRAILER_LEN)?;
        let at = trailer.last_chunk().and_then(|trailer| Tail::locate(*trailer)).ok_or_else(missing)?;
        match self.read_frame(at)? {
            (Frame::Tagged { tag: Tail::TAG, content }, end) if end == self.len() => {
                Ok((Tail::parse_at(&content, at)?, at))
            }
            _ => Err(missing()),
        }
    }

    /// Takes the frames from one place of the stream to another, which they must fill.
    pub(super) fn frames(
        &self,
        from: u64,
        to: u64,
        mut take: impl FnMut(u64, &Frame) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut splitter = Splitter::at(from);
        let mut at = from;
        while splitter.offset() < to {
            if let Some((place, _, frame)) = splitter.next_frame()? {
                take(place, &frame)?;
                continue;
            }
            let len = usize::try_from(to - at).unwrap_or(PIECE).min(PIECE);
            let piece = self.read(at, len)?;
            if piece.is_empty() {
                return Err(crate::blocks::Error::EndsInFrame.into());
            }
            at += piece.len() as u64;
            splitter.feed(&piece);
        }
        Ok(())
    }

    /// The frame at a place, and where the next one starts.
    pub(super) fn read_frame(&self, offset: u64) -> Result<(Frame, u64), Error> {
        let mut splitter = Splitter::at(offset);
        let mut at = offset;
        loop {
            if let Some((_, len, frame)) = splitter.next_frame()? {
                return Ok((frame, offset + len as u64));
            }
            let piece = self.read(at, PIECE)?;
            if piece.is_empty() {
                return Err(crate::blocks::Error::EndsInFrame.into());
            }
            at += piece.len() as u64;
            splitter.feed(&piece);
        }
    }

    fn read(&self, offset: u64, len: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut bytes = Zeroizing::new(vec![0; len]);
        let read = self.access.read_at(&mut bytes, offset).map_err(Error::read)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// The pages of a block, decompressed, when the index has the map that it has itself.
    pub(super) fn read_block(
        &self,
        place: BlockPlace,
        page: PageSize,
        is_named: impl Fn(&BlockMap) -> bool,
    ) -> Result<Vec<u8>, Error> {
        if place.len > MAX_BLOCK {
            return Err(Error::malformed(format!("the index names a block of {} bytes", place.len)));
        }
        let bytes = self.read(place.offset, usize::try_from(place.len).unwrap_or(0))?;
        let mut splitter = Splitter::at(place.offset);
        splitter.feed(&bytes);
        let mut next = || splitter.next_frame().map(|frame| frame.map(|(_, _, frame)| frame));
        let (map, record, pages) = (next()?, next()?, next()?);
        let (
            Some(Frame::Tagged { tag: BlockMap::TAG, content }),
            Some(Frame::Data(record)),
            Some(Frame::Data(pages)),
        ) = (map, record, pages)
        else {
            return Err(Error::malformed(format!("no block is at byte {:#x}", place.offset)));
        };
        let (map, record, pages) =
            (BlockMap::parse(&content)?, self.decompress(&record)?, self.decompress(&pages)?);
        let bytes = pages.len() as u64;
        let expected = map.count(RunKind::Data) << page.shift();
        if !is_named(&map) || bytes != expected || record != record_head(map.data_offset, bytes) {
            return Err(Error::malformed("a block does not hold the pages that the index names"));
        }
        Ok(pages)
    }

    /// The content of a zstd frame.
    pub(super) fn decompress(&self, frame: &[u8]) -> Result<Vec<u8>, Error> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut decompressor = match taken {
            Some(decompressor) => decompressor,
            None => BlockDecompressor::new()?,
        };
        let mut content = Vec::new();
        let result = decompressor.decompress(frame, &mut content);
        idle().push(decompressor);
        result?;
        Ok(content)
    }
}
