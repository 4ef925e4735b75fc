//! What a thread makes of what a frame holds: decompresses its frames and, for a KDUMP file, compresses its pages one
//! by one. Runs on every thread at once.

use super::Error;
use super::frames::Content;
use super::kdump_file;
use crate::blocks::{BlockDecompressor, BlockMap, Head, RunKind, SegmentFacts, Tail};
use crate::compress::{Codec, PageCompressor};
use crate::kdump::{self, DescFlags};
use crate::units::PfnRange;

/// What the threads make of blocks.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// Pages compressed one by one.
    Stored(Codec),
    /// Pages as they are.
    Pages,
    /// Nothing but the proof that they decompress.
    Checked,
}

/// Pages of a block as a KDUMP file stores them.
pub(super) struct StoredBlock {
    /// Which pages.
    pub map: BlockMap,
    /// Bytes of one page; `None` when none has data.
    pub page_len: Option<usize>,
    /// The data pages, one after the other.
    pub bytes: Vec<u8>,
    /// Size and flags of each.
    pub stored: Vec<(u32, DescFlags)>,
}

/// The content of frames, decompressed.
pub(super) enum Arranged {
    /// Facts of the dump; comes first.
    Head(Box<Head>),
    /// Flattened records but page data.
    Records(Vec<u8>),
    /// A block for a KDUMP file.
    Stored(StoredBlock),
    /// A block as it is.
    Pages {
        /// Which pages.
        map: BlockMap,
        /// Bytes of one page; `None` when none has data.
        page_len: Option<usize>,
        /// The head of the flattened record that its data are.
        record_head: Vec<u8>,
        /// The data pages.
        pages: Vec<u8>,
    },
    /// Further memory ranges of the head.
    Segments(Vec<SegmentFacts>),
    /// Facts known at the end.
    Tail(Box<Tail>),
    /// Content that cannot be unpacked, in a salvage.
    Faulty {
        /// The pages that it held.
        pages: Vec<PfnRange>,
        /// What is wrong with it.
        error: Box<Error>,
    },
}

impl Arranged {
    /// The map of a block.
    pub(super) fn map(&self) -> Option<&BlockMap> {
        match self {
            Arranged::Stored(StoredBlock { map, .. }) | Arranged::Pages { map, .. } => Some(map),
            _ => None,
        }
    }
}

/// A thread's contexts for unpacking.
pub(super) struct Unpacker {
    form: Form,
    decompressor: BlockDecompressor,
    compressor: PageCompressor,
    /// Pages that no output takes as they are: memory that is used again costs less than new memory.
    pages: Vec<u8>,
}

/// The most bytes that a thread keeps for the next block.
const KEPT: usize = 1 << 20;

impl Unpacker {
    /// Contexts for an output of this form.
    pub(super) fn new(form: Form) -> Result<Unpacker, Error> {
        let codec = if let Form::Stored(codec) = form { codec } else { Codec::None };
        Ok(Unpacker {
            form,
            decompressor: BlockDecompressor::new()?,
            compressor: PageCompressor::new(codec).ok_or(Error::OutOfMemory)?,
            pages: Vec::new(),
        })
    }

    /// Unpacks content for a salvage.
    ///
    /// # Errors
    /// Those that are no fault of the dump.
    pub(super) fn try_unpack(&mut self, content: Content) -> Result<Arranged, Error> {
        let pages = match &content {
            Content::Block { map, .. } => map.runs.iter().map(|run| run.pages).collect(),
            _ => Vec::new(),
        };
        match self.unpack(content) {
            Err(error) if error.is_of_the_dump() => Ok(Arranged::Faulty { pages, error: Box::new(error) }),
            unpacked => unpacked,
        }
    }

    /// Unpacks content.
    pub(super) fn unpack(&mut self, content: Content) -> Result<Arranged, Error> {
        Ok(match content {
            Content::Head(head) => Arranged::Head(head),
            Content::Tail(tail) => Arranged::Tail(tail),
            Content::Segments(ranges) => Arranged::Segments(ranges),
            Content::Records(frame) => Arranged::Records(self.decompress(&frame)?),
            Content::Block { map, frames } => self.block(map, frames)?,
        })
    }

    fn block(&mut self, map: BlockMap, frames: Option<(Vec<u8>, Vec<u8>)>) -> Result<Arranged, Error> {
        let (mut record_head, mut pages) = (Vec::new(), std::mem::take(&mut self.pages));
        pages.clear();
        if let Some((head, frame)) = frames {
            record_head = self.decompress(&head)?;
            self.decompressor.decompress(&frame, &mut pages)?;
            if record_head != kdump::record_head(map.data_offset, pages.len() as u64) {
                return Err(Error::malformed("the record of a block's pages is not at its map's place"));
            }
        }
        let page_len = page_len(&map, pages.len())?;
        let arranged = match self.form {
            Form::Stored(_) => {
                let (bytes, stored) = kdump_file::pack(&mut self.compressor, page_len.unwrap_or(1), &pages);
                Arranged::Stored(StoredBlock { map, page_len, bytes, stored })
            }
            Form::Pages => {
                let pages = std::mem::take(&mut pages);
                Arranged::Pages { map, page_len, record_head, pages }
            }
            Form::Checked => Arranged::Pages { map, page_len, record_head: Vec::new(), pages: Vec::new() },
        };
        self.pages = if pages.capacity() > KEPT { Vec::new() } else { pages };
        Ok(arranged)
    }

    fn decompress(&mut self, frame: &[u8]) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        self.decompressor.decompress(frame, &mut content)?;
        Ok(content)
    }
}

/// Bytes of one page of a block; `None` when it has no data.
fn page_len(map: &BlockMap, bytes: usize) -> Result<Option<usize>, Error> {
    let count = usize::try_from(map.count(RunKind::Data)).unwrap_or(usize::MAX);
    match (count, bytes) {
        (0, 0) => Ok(None),
        (1.., 1..) if bytes.is_multiple_of(count) => Ok(Some(bytes / count)),
        _ => Err(Error::malformed("a block's pages do not fit its map")),
    }
}
