//! Makes sense of the frames of a stream, in order: which are records, which are blocks of pages, what
//! the head and the tail hold. Decompression is left to the threads.

use super::Error;
use super::chunks::OpenedChunk;
use super::salvage::Tracker;
use crate::blocks::{
    BlockMap, Expansion, Frame, Head, IndexJudge, IndexPiece, ORDER_TAG, RunKind, SegmentFacts, Splitter,
    Tail, bitmap_len, content_len,
};
use crate::crypt::StreamError;
use crate::crypt::stream::CHUNK_SIZE;
use crate::kdump::DESC_LEN;
use crate::pipeline::Cost;
use std::collections::VecDeque;

/// What a frame, or a block of frames, holds.
pub(super) enum Content {
    /// Facts of the dump; comes first.
    Head(Box<Head>),
    /// Flattened records but page data: headers, notes, bitmaps, descriptors, the end.
    Records(Vec<u8>),
    /// A block: its map, the record head as a frame, and its pages as a frame.
    Block {
        /// Which pages.
        map: BlockMap,
        /// The frame with the head of the data record and the one with the pages; none for a block of
        /// zero pages only.
        frames: Option<(Vec<u8>, Vec<u8>)>,
    },
    /// Further memory ranges of the head.
    Segments(Vec<SegmentFacts>),
    /// Facts known at the end.
    Tail(Box<Tail>),
}

impl Cost for Content {
    fn bytes(&self) -> usize {
        let unpacked = |frame: &Vec<u8>| frame.len().saturating_add(content_len(frame));
        match self {
            Content::Records(frame) => unpacked(frame),
            Content::Block { map, frames } => {
                let frames =
                    frames.as_ref().map_or(0, |(head, pages)| unpacked(head).saturating_add(unpacked(pages)));
                frames.saturating_add(size_of_val(&map.runs[..]))
            }
            Content::Segments(ranges) => size_of_val(&ranges[..]),
            Content::Head(_) | Content::Tail(_) => 0,
        }
    }
}

/// Reads frames one after the other.
#[derive(Default)]
pub(super) struct FrameParser {
    splitter: Splitter,
    /// The map of a block whose data frames are still to come, and where it starts in the stream.
    map: Option<(u64, BlockMap)>,
    record_head: Option<Vec<u8>>,
    /// Holds the index against the blocks.
    index: IndexJudge,
    /// Where the last index piece is by the tail, once that came.
    tail: Option<Option<u64>>,
    /// Present when what is lost is passed over.
    tracker: Option<Tracker>,
    /// What frames hold, and what is written of pages and memory besides: descriptors, the bitmap.
    unpacked: Expansion,
    tables: Expansion,
    /// Bytes of the first bitmap, which is made of the head's memory ranges.
    bitmap: u64,
    /// The head's page size in bytes, and its number of pfns.
    memory: (u64, u64),
    heads: u32,
    /// Whether nothing more is taken: the payload has ended, or it describes too much.
    ended: bool,
}

impl FrameParser {
    /// A reader that passes over gaps and tells what lay in them.
    pub(super) fn salvaging() -> FrameParser {
        FrameParser { tracker: Some(Tracker::default()), ..FrameParser::default() }
    }

    /// What keeps account of losses, when they are passed over.
    pub(super) fn tracker(&mut self) -> Option<&mut Tracker> {
        self.tracker.as_mut()
    }

    /// Gives up reading for the account of losses.
    pub(super) fn into_tracker(self) -> Option<Tracker> {
        self.tracker
    }

    /// Takes the next chunk of the stream and hands out what is whole.
    pub(super) fn chunk(
        &mut self,
        chunk: OpenedChunk,
        contents: &mut VecDeque<Content>,
    ) -> Result<(), Error> {
        if self.ended {
            return Ok(());
        }
        if let (Some(why), Some(tracker)) = (chunk.failed, self.tracker()) {
            match why {
                StreamError::Truncated { .. } => tracker.cut(why),
                StreamError::TrailingData { .. } => tracker.fault(&why),
                _ => tracker.chunk_lost(),
            }
        }
        let bytes = chunk.plaintext.as_ref().map_or(CHUNK_SIZE, Vec::len) as u64;
        self.unpacked.feed(bytes);
        self.tables.feed(bytes);
        match chunk.plaintext {
            Some(bytes) => self.read(&bytes, contents)?,
            None => self.skip_to((chunk.index + 1) * CHUNK_SIZE as u64),
        }
        self.ended |= matches!(chunk.failed, Some(StreamError::TrailingData { .. }));
        Ok(())
    }

    fn read(&mut self, bytes: &[u8], contents: &mut VecDeque<Content>) -> Result<(), Error> {
        self.splitter.feed(bytes);
        while !self.ended {
            match self.splitter.next_frame() {
                Ok(None) => break,
                Ok(Some((at, len, frame))) => {
                    let taken = self.take_frame(at, len as u64, frame);
                    contents.extend(self.or_fault(taken)?.flatten());
                }
                Err(error) => {
                    self.or_fault::<()>(Err(error.into()))?;
                    self.splitter.skip_frame();
                }
            }
        }
        Ok(())
    }

    fn take_frame(&mut self, at: u64, len: u64, frame: Frame) -> Result<Option<Content>, Error> {
        self.spend(&frame)?;
        self.take(at, len, frame)
    }

    /// A salvage takes note of what is wrong and drops the block it is in; all else stops at it.
    fn or_fault<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        let (error, tracker) = match (result, &mut self.tracker) {
            (Ok(value), _) => return Ok(Some(value)),
            (Err(error), None) => return Err(error),
            (Err(error), Some(tracker)) => (error, tracker),
        };
        tracker.fault(&error);
        self.ended |= matches!(error, Error::Blocks(crate::blocks::Error::Expands));
        self.drop_block();
        Ok(None)
    }

    /// Gives up the block whose frames were coming.
    fn drop_block(&mut self) {
        let open = self.map.take();
        self.record_head = None;
        if let (Some((_, map)), Some(tracker)) = (open, &mut self.tracker) {
            tracker.block_lost(&map);
        }
    }

    /// Counts what a data frame holds.
    fn spend(&mut self, frame: &Frame) -> Result<(), Error> {
        match frame {
            Frame::Data(bytes) => Ok(self.unpacked.spend(content_len(bytes) as u64)?),
            Frame::Tagged { .. } | Frame::Foreign => Ok(()),
        }
    }

    /// Passes over a gap that ends before byte `offset` of the stream, and the block it cuts.
    fn skip_to(&mut self, offset: u64) {
        self.splitter.skip_to(offset);
        self.drop_block();
    }

    /// Ends the stream. Where nothing was passed over it is judged whole, by a salvage too.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.tables.spend(self.bitmap)?;
        if self.tracker.as_ref().is_some_and(|tracker| !tracker.is_undamaged()) {
            self.drop_block();
            return Ok(());
        }
        let judged = self.judge_end();
        self.or_fault(judged).map(drop)
    }

    fn judge_end(&mut self) -> Result<(), Error> {
        if self.splitter.is_inside_frame() || self.map.is_some() {
            return Err(crate::blocks::Error::EndsInFrame.into());
        }
        let last_index = self.tail.ok_or_else(|| Error::malformed("its tail is missing"))?;
        Ok(self.index.finish(last_index)?)
    }

    fn take(&mut self, at: u64, len: u64, frame: Frame) -> Result<Option<Content>, Error> {
        if self.tail.is_some() {
            self.or_fault::<()>(Err(Error::malformed("frames follow its tail")))?;
        }
        if self.map.is_some() && !matches!(frame, Frame::Data(_)) {
            self.or_fault::<()>(Err(Error::malformed("a block's map is not followed by its pages")))?;
        }
        let content = match frame {
            Frame::Data(bytes) => self.take_data(at + len, bytes),
            Frame::Tagged { tag: Head::TAG, content } => self.take_head(at, Head::parse(&content)?)?,
            Frame::Tagged { tag: Head::SEGMENTS_TAG, content } => {
                let ranges = Head::parse_more(&content)?;
                self.bitmap = self.bitmap.saturating_add(bitmap_len(&ranges, self.memory));
                Some(Content::Segments(ranges))
            }
            Frame::Tagged { tag: Tail::TAG, content } => {
                let tail = Tail::parse_at(&content, at)?;
                let is_first = self.tail.replace(tail.last_index).is_none();
                is_first.then(|| Content::Tail(Box::new(tail)))
            }
            Frame::Tagged { tag: BlockMap::TAG, content } => {
                self.take_map(at, len, BlockMap::parse(&content)?)?
            }
            Frame::Tagged { tag: IndexPiece::TAG, content } => self.take_index(at, &content)?,
            Frame::Tagged { tag: ORDER_TAG, .. } => {
                self.tracker.iter_mut().for_each(|tracker| tracker.order(at));
                None
            }
            // Frames with other tags are a later version's additions.
            Frame::Tagged { .. } | Frame::Foreign => None,
        };
        match (&mut self.tracker, &content) {
            (Some(tracker), Some(Content::Block { map, .. })) => tracker.block(map),
            (Some(tracker), Some(Content::Tail(tail))) => {
                tracker.tail(tail.pages.saved.saturating_add(tail.pages.zero));
            }
            _ => {}
        }
        Ok(content)
    }

    fn take_head(&mut self, at: u64, head: Head) -> Result<Option<Content>, Error> {
        if at != 0 {
            self.or_fault::<()>(Err(Error::malformed("its head is not its first frame, or comes twice")))?;
        }
        self.heads += 1;
        if self.heads > 1 {
            return Ok(None);
        }
        self.memory = (head.page_size, head.max_mapnr);
        self.bitmap = bitmap_len(&head.segments, self.memory);
        Ok(Some(Content::Head(Box::new(head))))
    }

    /// Index pieces repeat the maps: they are held against them, and tell what was in those that are lost.
    fn take_index(&mut self, at: u64, content: &[u8]) -> Result<Option<Content>, Error> {
        self.index.piece(at, content);
        if let Some(tracker) = &mut self.tracker {
            tracker.index(&IndexPiece::parse(content)?);
        }
        Ok(None)
    }

    fn take_map(&mut self, at: u64, len: u64, map: BlockMap) -> Result<Option<Content>, Error> {
        let pages = map.count(RunKind::Data) + map.count(RunKind::Zero);
        self.tables.spend(pages * DESC_LEN as u64)?;
        if map.count(RunKind::Data) == 0 {
            self.index.block(at, len, &map);
            return Ok(Some(Content::Block { map, frames: None }));
        }
        self.map = Some((at, map));
        Ok(None)
    }

    /// Takes a data frame that ends at byte `end` of the stream.
    fn take_data(&mut self, end: u64, bytes: Vec<u8>) -> Option<Content> {
        if self.map.is_none() {
            return Some(Content::Records(bytes));
        }
        let Some(head) = self.record_head.take() else {
            self.record_head = Some(bytes);
            return None;
        };
        let (at, map) = self.map.take()?;
        self.index.block(at, end - at, &map);
        Some(Content::Block { map, frames: Some((head, bytes)) })
    }
}
