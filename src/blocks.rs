//! The middle layer of a dump: a stream of zstd frames. Pages travel in independent frames of about
//! 128 KiB (*blocks*), so every core can work and any block can be read alone. Facts that stock tools
//! need not see ride in skippable frames: the head, a map before every block, index pieces, the tail.
//! Which bytes a frame carries inside (flattened KDUMP records) is `kdump`'s business;
//! `docs/format.md` section 3 describes all of it.

mod expansion;
mod facts;
mod frame;
mod index;
mod judge;
mod map;
pub(crate) use crate::units::varint;

pub use expansion::Expansion;
pub use facts::{ClassCounts, HEAD_COPY_TAG, Head, PartFacts, SegmentFacts, Tail};
pub use frame::{
    BlockCompressor, BlockDecompressor, FRAME_MAGIC, Frame, MAX_FRAME_CONTENT, SKIPPABLE_MAGIC, Splitter,
    content_len, raw_frame, skippable_frame,
};
pub use index::{IndexEntry, IndexPiece, IndexWriter};
pub use judge::{
    DataPlaces, IndexJudge, MapMarks, NamedPages, bitmap_len, is_ours, judge_pages, judge_records,
    judge_tables,
};
pub use map::{BlockMap, PageRun, RunKind};

/// Tag of the frame, without content, after which blocks come in pfn order.
pub const ORDER_TAG: [u8; 4] = *b"VCEo";

/// What is wrong with a stream of frames. Everything here is about bytes that were authentic, so it
/// means another program, or a forger who knew a recipient, made the dump.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a zstd frame nor a skippable frame starts here.
    #[error("no zstd frame at byte {offset:#x} of the decrypted stream")]
    NotAFrame {
        /// Position in the decrypted stream.
        offset: u64,
    },
    /// A frame is larger than any this format has.
    #[error("the frame at byte {offset:#x} of the decrypted stream claims {size} bytes, more than {limit}")]
    FrameTooLarge {
        /// Position in the decrypted stream.
        offset: u64,
        /// What it claims, in bytes.
        size: u64,
        /// The most we take.
        limit: u64,
    },
    /// zstd refuses a frame.
    #[error("decompressing a frame: {0}")]
    Zstd(String),
    /// A skippable frame of ours does not hold what it should.
    #[error("reading the {what}: {why}")]
    Malformed {
        /// Which kind of frame.
        what: &'static str,
        /// What does not fit.
        why: String,
    },
    /// The stream describes far more than its own length allows.
    #[error("the decrypted stream describes thousands of times its own length")]
    Expands,
    /// The stream ends inside a frame.
    #[error("the decrypted stream ends inside a frame")]
    EndsInFrame,
}

impl Error {
    fn malformed(what: &'static str, why: impl Into<String>) -> Error {
        Error::Malformed { what, why: why.into() }
    }
}
