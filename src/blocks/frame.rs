//! zstd frames: making them, splitting a stream into them, reading them within bounds. The frame
//! format is RFC 8878.

use super::Error;
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter};

/// The most bytes a frame may hold once decompressed. Collectors write up to 1 MiB.
pub const MAX_FRAME_CONTENT: usize = 8 << 20;

/// The most bytes a frame may take compressed: incompressible content plus zstd's block headers.
const MAX_FRAME_LEN: usize = MAX_FRAME_CONTENT + (1 << 16);

/// The magic number of a zstd frame.
pub const FRAME_MAGIC: u32 = 0xfd2f_b528;
/// The skippable magic number all our frames use (RFC 8878 section 3.1.2 leaves sixteen to users).
pub const SKIPPABLE_MAGIC: u32 = 0x184d_2a5d;
/// How the tags of our frames begin.
const TAG_PREFIX: &[u8] = b"VCE";
/// zstd's code for a frame of which not all bytes are there: `ZSTD_error_srcSize_wrong`. Source: zstd `zstd_errors.h`.
const INCOMPLETE: usize = 0_usize.wrapping_sub(72);
/// Bytes that tell a frame of ours: magic number, length, the tag's first letters.
const OURS_LEN: usize = 4 + 4 + TAG_PREFIX.len();

/// Appends a skippable frame whose content is `tag` and `content`.
pub fn skippable_frame(out: &mut Vec<u8>, tag: [u8; 4], content: &[u8]) {
    let len = u32::try_from(tag.len() + content.len()).unwrap_or(u32::MAX);
    debug_assert!(content.len() < MAX_FRAME_LEN);
    out.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&tag);
    out.extend_from_slice(content);
}

/// Appends a frame that stores 16 bytes as they are: the head of a flattened record, written when its
/// offset is known, which is later than the compression of the pages it announces.
///
/// Descriptor byte 0x20: single segment, one byte of content size. Block header: last, raw, 16 bytes.
pub fn raw_frame(out: &mut Vec<u8>, content: [u8; 16]) {
    out.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
    out.extend_from_slice(&[0x20, 16, 16 << 3 | 1, 0, 0]);
    out.extend_from_slice(&content);
}

/// Compresses blocks, one frame each, with the content size in the frame header.
pub struct BlockCompressor {
    context: CCtx<'static>,
    /// Where zstd writes: its bound is more than a block, so each frame is copied out at its true size.
    packed: Vec<u8>,
}

impl BlockCompressor {
    /// A compressor for blocks of at most [`MAX_FRAME_CONTENT`] bytes.
    ///
    /// # Errors
    /// [`Error::Zstd`] when zstd refuses the level or has no memory.
    pub fn new(level: i32) -> Result<BlockCompressor, Error> {
        let mut context = CCtx::try_create().ok_or_else(|| Error::Zstd("out of memory".into()))?;
        for parameter in [
            CParameter::CompressionLevel(level),
            CParameter::ContentSizeFlag(true),
            CParameter::ChecksumFlag(false),
        ] {
            context.set_parameter(parameter).map_err(zstd_error)?;
        }
        Ok(BlockCompressor { context, packed: Vec::new() })
    }

    /// Appends `content` as one frame to `out`.
    ///
    /// # Errors
    /// [`Error::Zstd`]; only want of memory is expected.
    pub fn compress(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.packed.clear();
        self.packed.reserve(zstd_safe::compress_bound(content.len()));
        self.context.compress2(&mut self.packed, content).map_err(zstd_error)?;
        out.extend_from_slice(&self.packed);
        Ok(())
    }
}

/// Decompresses frames within [`MAX_FRAME_CONTENT`].
pub struct BlockDecompressor {
    context: DCtx<'static>,
}

impl BlockDecompressor {
    /// A decompressor.
    ///
    /// # Errors
    /// [`Error::Zstd`] when there is no memory.
    pub fn new() -> Result<BlockDecompressor, Error> {
        let mut context = DCtx::try_create().ok_or_else(|| Error::Zstd("out of memory".into()))?;
        context.set_parameter(DParameter::WindowLogMax(MAX_FRAME_CONTENT.ilog2())).map_err(zstd_error)?;
        Ok(BlockDecompressor { context })
    }

    /// Replaces `out` with the content of `frame`, a whole zstd frame.
    ///
    /// # Errors
    /// [`Error::FrameTooLarge`] when the frame has no size or too large a one;
    /// [`Error::Zstd`] when it does not decompress to that size.
    pub fn decompress(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let size = match zstd_safe::get_frame_content_size(frame) {
            Ok(Some(size)) => size,
            _ => return Err(Error::Zstd("a frame does not give its content size".into())),
        };
        let limit = MAX_FRAME_CONTENT as u64;
        if size > limit {
            return Err(Error::FrameTooLarge { offset: 0, size, limit });
        }
        out.clear();
        out.reserve(usize::try_from(size).unwrap_or(MAX_FRAME_CONTENT));
        let written = self.context.decompress(out, frame).map_err(zstd_error)?;
        if written as u64 == size {
            Ok(())
        } else {
            Err(Error::Zstd("a frame holds less than its content size".into()))
        }
    }
}

/// The bytes that a frame claims to hold, which is what decompressing it takes; 0 when it does not say, or says more than
/// [`MAX_FRAME_CONTENT`]: such a frame is refused before it is decompressed.
#[must_use]
pub fn content_len(frame: &[u8]) -> usize {
    let said = zstd_safe::get_frame_content_size(frame).ok().flatten();
    said.and_then(|size| usize::try_from(size).ok()).filter(|&size| size <= MAX_FRAME_CONTENT).unwrap_or(0)
}

fn zstd_error(code: usize) -> Error {
    Error::Zstd(zstd_safe::get_error_name(code).to_owned())
}

/// One frame of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A zstd frame, whole and still compressed.
    Data(Vec<u8>),
    /// A skippable frame of ours.
    Tagged {
        /// What it is.
        tag: [u8; 4],
        /// What follows the tag.
        content: Vec<u8>,
    },
    /// Somebody else's skippable frame.
    Foreign,
}

/// Cuts a stream that arrives in pieces into frames.
#[derive(Default)]
pub struct Splitter {
    pending: Vec<u8>,
    taken: usize,
    offset: u64,
    searching: bool,
}

impl Splitter {
    /// A splitter at byte `offset` of the stream.
    #[must_use]
    pub fn at(offset: u64) -> Splitter {
        Splitter { offset, ..Splitter::default() }
    }

    /// Passes over a gap: the bytes fed next are at `offset` of the stream. What is in hand is dropped,
    /// and frames are handed out again from the first of ours on that starts after the gap.
    pub fn skip_to(&mut self, offset: u64) {
        *self = Splitter { offset, searching: true, ..Splitter::default() };
    }

    /// Passes over what is no frame: frames are handed out again from the next one of ours on.
    pub fn skip_frame(&mut self) {
        let skipped = usize::from(self.is_inside_frame());
        self.taken += skipped;
        self.offset += skipped as u64;
        self.searching = true;
    }

    /// Adds the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.pending.drain(..self.taken);
        self.taken = 0;
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole frame with its position in the stream and its length; `None` when more bytes
    /// are needed.
    ///
    /// # Errors
    /// [`Error::NotAFrame`], [`Error::FrameTooLarge`].
    pub fn next_frame(&mut self) -> Result<Option<(u64, usize, Frame)>, Error> {
        if self.searching && !self.find_ours() {
            return Ok(None);
        }
        let rest = &self.pending[self.taken..];
        let Some(len) = frame_len(rest, self.offset)? else { return Ok(None) };
        let frame = decode(&rest[..len]);
        let at = self.offset;
        self.taken += len;
        self.offset += len as u64;
        Ok(Some((at, len, frame)))
    }

    /// Moves on to the next frame of ours. Compressed bytes look like one by chance once in 2^56
    /// positions: magic number and the first three letters of the tag.
    fn find_ours(&mut self) -> bool {
        let magic = SKIPPABLE_MAGIC.to_le_bytes();
        let is_ours = |start: &[u8]| start.starts_with(&magic) && start[8..].starts_with(TAG_PREFIX);
        let rest = &self.pending[self.taken..];
        let found = rest.windows(OURS_LEN).position(is_ours);
        let skip = found.unwrap_or(rest.len().saturating_sub(OURS_LEN - 1));
        self.taken += skip;
        self.offset += skip as u64;
        self.searching = found.is_none();
        found.is_some()
    }

    /// Where the next frame starts in the stream.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether bytes of an unfinished frame are waiting.
    #[must_use]
    pub fn is_inside_frame(&self) -> bool {
        self.taken < self.pending.len()
    }
}

fn decode(bytes: &[u8]) -> Frame {
    if bytes.starts_with(&FRAME_MAGIC.to_le_bytes()) {
        return Frame::Data(bytes.to_vec());
    }
    match bytes.get(8..).and_then(<[u8]>::split_first_chunk::<4>) {
        Some((&tag, content)) if bytes.starts_with(&SKIPPABLE_MAGIC.to_le_bytes()) => {
            Frame::Tagged { tag, content: content.to_vec() }
        }
        _ => Frame::Foreign,
    }
}

/// The length of the frame that `bytes` starts with; `None` when it is not all there yet.
fn frame_len(bytes: &[u8], offset: u64) -> Result<Option<usize>, Error> {
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let too_large =
        |size: usize| Error::FrameTooLarge { offset, size: size as u64, limit: MAX_FRAME_LEN as u64 };
    match u32::from_le_bytes(*magic) {
        FRAME_MAGIC => match zstd_safe::find_frame_compressed_size(bytes) {
            Ok(len) => Ok(Some(len)),
            Err(INCOMPLETE) if bytes.len() <= MAX_FRAME_LEN => Ok(None),
            Err(INCOMPLETE) => Err(too_large(bytes.len())),
            Err(_) => Err(Error::NotAFrame { offset }),
        },
        magic if magic & !0xf == SKIPPABLE_MAGIC & !0xf => {
            let Some(size) = rest.first_chunk::<4>() else { return Ok(None) };
            let len = (u32::from_le_bytes(*size) as usize).saturating_add(8);
            if len > MAX_FRAME_LEN {
                return Err(too_large(len));
            }
            Ok((bytes.len() >= len).then_some(len))
        }
        _ => Err(Error::NotAFrame { offset }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut bytes = Vec::new();
        skippable_frame(&mut bytes, *b"abcd", b"hello");
        raw_frame(&mut bytes, *b"0123456789abcdef");
        BlockCompressor::new(1).unwrap().compress(&[7; 200_000], &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_stream_splits_the_same_whatever_the_pieces() {
        let bytes = stream();
        for piece in [1, 7, 64, bytes.len()] {
            let (mut splitter, mut frames) = (Splitter::default(), Vec::new());
            for part in bytes.chunks(piece) {
                splitter.feed(part);
                while let Some((_, _, frame)) = splitter.next_frame().unwrap() {
                    frames.push(frame);
                }
            }
            assert!(!splitter.is_inside_frame());
            assert_eq!(frames.len(), 3);
            assert_eq!(frames[0], Frame::Tagged { tag: *b"abcd", content: b"hello".to_vec() });
        }
    }

    #[test]
    fn behind_a_gap_the_next_frame_of_ours_is_found() {
        let mut bytes = vec![0x5d; 40];
        let ours = bytes.len();
        skippable_frame(&mut bytes, *b"VCEx", b"hello");
        raw_frame(&mut bytes, *b"0123456789abcdef");
        for piece in [1, 5, bytes.len()] {
            let mut splitter = Splitter::default();
            splitter.feed(b"half a fra");
            splitter.skip_to(1000);
            let mut starts = Vec::new();
            for part in bytes.chunks(piece) {
                splitter.feed(part);
                while let Some((at, _, _)) = splitter.next_frame().unwrap() {
                    starts.push(at);
                }
            }
            assert_eq!(starts, [1000 + ours as u64, 1000 + ours as u64 + 17], "{piece}");
        }
    }

    #[test]
    fn zstd_reads_what_we_write() {
        let plain = zstd::decode_all(&stream()[..]).unwrap();
        assert_eq!(&plain[..16], b"0123456789abcdef");
        assert_eq!(plain[16..], [7; 200_000]);
    }

    #[test]
    fn a_block_comes_back() {
        for len in [0, 1, 4096, 131_072] {
            let content: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[1]).collect();
            let (mut frame, mut back) = (Vec::new(), vec![9]);
            BlockCompressor::new(1).unwrap().compress(&content, &mut frame).unwrap();
            BlockDecompressor::new().unwrap().decompress(&frame, &mut back).unwrap();
            assert_eq!(back, content);
        }
    }

    #[test]
    fn a_frame_that_claims_terabytes_costs_nothing() {
        let mut frame = FRAME_MAGIC.to_le_bytes().to_vec();
        frame.push(0xe0); // single segment, 8 bytes of content size
        frame.extend_from_slice(&(1u64 << 42).to_le_bytes());
        frame.extend_from_slice(&[1, 0, 0]);
        let result = BlockDecompressor::new().unwrap().decompress(&frame, &mut Vec::new());
        assert!(matches!(result, Err(Error::FrameTooLarge { size, .. }) if size == 1 << 42));
    }

    #[test]
    fn a_frame_that_no_decoder_takes_costs_itself() {
        // A window of 2^41 bytes; a block of the reserved type.
        for start in [&[0x00, 0xf8][..], &[0x20, 1, 0x07, 0, 0]] {
            let mut bytes = [&FRAME_MAGIC.to_le_bytes(), start, &[9; 50]].concat();
            skippable_frame(&mut bytes, *b"VCEx", b"hello");
            let mut splitter = Splitter::default();
            splitter.feed(&bytes);
            assert!(matches!(splitter.next_frame(), Err(Error::NotAFrame { offset: 0 })));
            splitter.skip_frame();
            let (at, _, frame) = splitter.next_frame().unwrap().unwrap();
            assert_eq!(
                (at, frame),
                (54 + start.len() as u64, Frame::Tagged { tag: *b"VCEx", content: b"hello".to_vec() })
            );
        }
    }

    #[test]
    fn other_bytes_are_no_frame() {
        let mut splitter = Splitter::at(40);
        splitter.feed(b"plain text");
        assert!(matches!(splitter.next_frame(), Err(Error::NotAFrame { offset: 40 })));
    }

    #[test]
    fn a_huge_skippable_frame_is_refused_before_it_is_read() {
        let mut splitter = Splitter::default();
        splitter.feed(&SKIPPABLE_MAGIC.to_le_bytes());
        splitter.feed(&u32::MAX.to_le_bytes());
        assert!(matches!(splitter.next_frame(), Err(Error::FrameTooLarge { .. })));
    }
}
