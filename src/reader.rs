//! An encrypted dump that is read at any place: the final chunk proves its length, the tail leads to the
//! index, and after that a page costs the few chunks and the one frame that hold it. A dump without a
//! tail (a cut one), without an index or with a damaged one is read through once for its maps instead. Above this come views: the dump as an
//! ELF core or a KDUMP file whose bytes are made when they are asked for (`elf_view`, `kdump_view`).
//!
//! Whoever knows a recipient can forge a dump. So nothing here trusts a number: positions are checked
//! against the stream, frames have a largest size, no page may come twice, and the decompressed blocks
//! that are kept are bounded in bytes.

mod blocks;
mod elf_core;
mod elf_view;
mod head;
mod index;
mod kdump_view;
mod memory;
mod notes;
mod open;
mod parts;
mod set;
mod source;
mod stream;

use crate::blocks::{Head, RunKind, Tail, judge_tables};
use crate::crypt::{self, Identities, StreamError};
use crate::units::{Pfn, PfnSet};
use blocks::BlockCache;
use index::PageIndex;
use source::Beginning;
use std::io;
use std::sync::{Arc, OnceLock};
use stream::Stream;

pub use blocks::PageBytes;
pub use elf_core::ElfCore;
pub use elf_view::ElfView;
pub use head::DumpHead;
pub use kdump_view::KdumpView;
pub use open::{BLOCK_CACHE, in_frame, is_in_pieces, local, local_noticing, without_armor, without_frame};
pub(crate) use parts::Joined;
pub use parts::MissingParts;
pub use set::{FirstObject, Notice, SetFacts, is_set, unnoticed};
#[cfg(feature = "remote")]
pub(crate) use set::{first_lost, report_left_out, report_missing};
pub use source::{FileSource, PieceSource, Source, SourceReader};

/// What stops the reading of a dump.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The header could not be read, or no identity opens it.
    #[error(transparent)]
    Crypt(#[from] crypt::Error),
    /// A chunk is damaged.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A frame, the index, the head or the tail is not as the format has it.
    #[error(transparent)]
    Blocks(#[from] crate::blocks::Error),
    /// An age file, but no dump of ours inside.
    #[error("it holds no dump of vmcore-encrypt")]
    NotADump,
    /// The decrypted stream contradicts itself.
    #[error("reading the decrypted stream: {0}")]
    Malformed(String),
    /// The parts of a dump do not make up one dump.
    #[error("joining the parts of a dump: {0}")]
    Parts(String),
    /// The frame of a raw partition around the dump cannot be read.
    #[error(transparent)]
    Frame(#[from] crate::raw::Error),
    /// The dump could not be read.
    #[error("reading the dump")]
    Read(#[source] io::Error),
}

impl Error {
    fn malformed(why: impl Into<String>) -> Error {
        Error::Malformed(why.into())
    }

    /// An error of a read, which may carry a payload error inside.
    fn read(error: io::Error) -> Error {
        match StreamError::find(&error) {
            Some(cause) => Error::Stream(cause),
            None => Error::Read(error),
        }
    }
}

/// How the pages of a dump are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// By the index that the tail names.
    Whole,
    /// By the maps of the blocks that could be read: the dump is cut, or its index is damaged.
    ReadThrough,
}

/// A page of the crashed kernel's memory.
pub enum Page {
    /// Its bytes.
    Data(PageBytes),
    /// All of its bytes are zero.
    Zero,
    /// Present memory that the dump does not hold.
    Excluded,
    /// No memory.
    Absent,
}

/// An index that could be read; where damage is in the way, the maps of the blocks serve instead.
fn found(index: Result<PageIndex, Error>) -> Result<Option<PageIndex>, Error> {
    match index {
        Err(Error::Stream(_)) => Ok(None),
        index => index.map(Some),
    }
}

/// The head of the dump in `source` (binary, not armored), from the copy at its end.
///
/// # Errors
/// See [`Error`]; there is no copy, or it cannot be read.
pub fn head_copy(source: Arc<dyn Source>, identities: &Identities) -> Result<DumpHead, Error> {
    Stream::open(source, identities)?.read_head_copy()
}

/// The head of the dump in `source` (binary, not armored); where damage is in the way, from the copy at its end.
///
/// # Errors
/// See [`Error`]: neither can be read.
pub fn any_head(source: Arc<dyn Source>, identities: &Identities) -> Result<DumpHead, Error> {
    let stream = Stream::open(source, identities)?;
    match stream.read_head() {
        Err(Error::NotADump) => Err(Error::NotADump),
        Err(error) => stream.read_head_copy().map_err(|_| error),
        head => head,
    }
}

/// Pages of a dump, counted from its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Pages with bytes.
    pub data: u64,
    /// Pages that are all zero.
    pub zero: u64,
    /// Blocks they are in.
    pub blocks: u64,
}

/// An open dump. Reads are positioned, so threads share one by reference.
pub struct Dump {
    /// Its own stream; of a dump in parts that of the first part, which has the notes.
    stream: Stream,
    /// Those of the other parts.
    more: Vec<Stream>,
    head: DumpHead,
    tail: Option<Tail>,
    damage: Option<StreamError>,
    present: PfnSet,
    index: PageIndex,
    index_state: IndexState,
    cache: BlockCache,
    /// Where the last block of the stream ends, and where its tail starts.
    after_blocks: (u64, Option<u64>),
    note_records: OnceLock<Vec<notes::NoteRecord>>,
    met: OnceLock<Met>,
}

/// Why pages that were asked for could not be read: the first time that happened.
#[derive(Clone, Debug)]
pub struct Met {
    /// The cause, as a text.
    pub why: String,
    /// The payload's fault, where that is the cause.
    pub stream: Option<StreamError>,
    /// Whether the source could not be read, which tells nothing of the dump.
    pub is_unread: bool,
}

impl Met {
    fn new(error: &Error) -> Met {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        let stream = if let Error::Stream(cause) = error { Some(*cause) } else { None };
        let is_unread = matches!(error, Error::Read(_));
        Met { why: format!("{error}{}", cause.unwrap_or_default()), stream, is_unread }
    }
}

impl Dump {
    /// Opens the dump in `source` (binary, not armored) with one of `identities`. At most `cache` bytes
    /// of decompressed blocks are kept, but always room for one.
    ///
    /// # Errors
    /// See [`Error`]. A dump that is cut opens, as far as its head is there.
    pub fn from_source(
        source: Arc<dyn Source>,
        identities: &Identities,
        cache: usize,
    ) -> Result<Dump, Error> {
        Dump::from_stream(Stream::open(source, identities)?, cache)
    }

    /// The same with the key of the payload, which starts at byte `start` of the source.
    ///
    /// # Errors
    /// As [`Dump::from_source`].
    #[cfg(feature = "convert")]
    pub(crate) fn with_key(
        source: Arc<dyn Source>,
        start: u64,
        key: crypt::PayloadKey,
        cache: usize,
    ) -> Result<Dump, Error> {
        Dump::from_stream(Stream::with_key(source, start, key)?, cache)
    }

    fn from_stream(stream: Stream, cache: usize) -> Result<Dump, Error> {
        let (head, damage) = match stream.read_head() {
            // Damage there costs nothing that the copy of the head has.
            Err(Error::Stream(cause)) => {
                (stream.read_head_copy().map_err(|_| Error::Stream(cause))?, Some(cause))
            }
            head => (head?, None),
        };
        let tail = stream.read_tail()?;
        let by_tail = match &tail {
            Some((tail, at)) if tail.last_index.is_some() => {
                found(PageIndex::by_tail(&stream, &head, (tail, *at)))?
            }
            _ => None,
        };
        let (index, index_state) = match by_tail {
            Some(index) => (index, IndexState::Whole),
            None => PageIndex::by_reading_through(&stream, &head)?.with_state(),
        };
        let (tail, tail_at) = tail.unzip();
        let present = head.present();
        index.check(head.facts.pages(), &present, tail.as_ref())?;
        judge_tables(&head.facts, index.pages(), stream.len())?;
        let damage = damage.or(index.damage()).or(stream.trailing()).or(stream.lost());
        let (cache, note_records) = (BlockCache::new(cache), OnceLock::new());
        let (more, after_blocks) = (Vec::new(), (index.blocks_end(), tail_at));
        Ok(Dump {
            stream,
            more,
            head,
            tail,
            damage,
            present,
            index,
            index_state,
            cache,
            after_blocks,
            note_records,
            met: OnceLock::new(),
        })
    }

    /// Opens a dump that is only glanced at. A cut one, which has no index, is read through for its first `most` bytes alone:
    /// what an analyst needs before all else is there.
    ///
    /// # Errors
    /// As [`Dump::from_source`].
    pub fn glance(
        source: Arc<dyn Source>,
        identities: &Identities,
        cache: usize,
        most: u64,
    ) -> Result<Dump, Error> {
        let is_cut = source.len() > most && Stream::open(Arc::clone(&source), identities)?.cut().is_some();
        let source = if is_cut { Arc::new(Beginning::new(source, most)) } else { source };
        Dump::from_source(source, identities, cache)
    }

    /// The facts of the dump and its KDUMP head, notes and VMCOREINFO within.
    #[must_use]
    pub fn head(&self) -> &DumpHead {
        &self.head
    }

    /// The facts the stream starts with.
    #[must_use]
    pub fn facts(&self) -> &Head {
        &self.head.facts
    }

    /// The page counts and whether a size limit ended the dump; `None` when it is cut.
    #[must_use]
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// Why the payload is not all there; `None` when its final chunk is authentic.
    #[must_use]
    pub fn cut(&self) -> Option<StreamError> {
        std::iter::once(&self.stream).chain(&self.more).find_map(Stream::cut)
    }

    /// What is wrong with the file, as far as opening it met that: damage, or else that it is cut. Damage in a block shows
    /// when one of its pages is read.
    #[must_use]
    pub fn fault(&self) -> Option<StreamError> {
        self.damage.or(self.cut())
    }

    /// What the reads of pages met so far. Whoever reads by address may take such a page for one that is not there.
    #[must_use]
    pub fn met(&self) -> Option<&Met> {
        self.met.get()
    }

    /// Whether everything is there that the dump level asked for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.index_state == IndexState::Whole && self.tail.as_ref().is_some_and(Tail::is_complete)
    }

    /// How pages are found.
    #[must_use]
    pub fn index_state(&self) -> IndexState {
        self.index_state
    }

    /// Bytes of the decrypted stream.
    #[must_use]
    pub fn stream_len(&self) -> u64 {
        std::iter::once(&self.stream).chain(&self.more).map(Stream::len).sum()
    }

    /// What the index holds.
    #[must_use]
    pub fn held(&self) -> Held {
        self.index.held()
    }

    /// Present pages.
    #[must_use]
    pub fn present(&self) -> &PfnSet {
        &self.present
    }

    /// The VMCOREINFO text; empty when there is none.
    #[must_use]
    pub fn vmcoreinfo(&self) -> &[u8] {
        let kdump = &self.head.kdump;
        kdump.notes.get(kdump.vmcoreinfo.clone()).unwrap_or_default()
    }

    /// One page.
    ///
    /// # Errors
    /// Its block is damaged, or not what the index names.
    pub fn page(&self, pfn: Pfn) -> Result<Page, Error> {
        let Some(found) = self.index.find(pfn) else { return Ok(self.without_bytes(pfn)) };
        if found.kind == RunKind::Zero {
            return Ok(Page::Zero);
        }
        let place = self.index.block(found.block);
        let read = || {
            self.stream_of(found.block)
                .read_block(place, self.head.page, |map| self.index.is_map_of(found.block, map))
        };
        let block = self.cache.get(found.block, read).inspect_err(|error| {
            self.met.get_or_init(|| Met::new(error));
        })?;
        PageBytes::new(block, found.nth, self.head.page)
            .map(Page::Data)
            .ok_or_else(|| Error::malformed("a block lacks pages that the index names"))
    }

    /// The stream that a block is in.
    fn stream_of(&self, block: u32) -> &Stream {
        let part = self.index.part_of(block);
        part.checked_sub(1).and_then(|more| self.more.get(more)).unwrap_or(&self.stream)
    }

    /// Authenticates every chunk.
    ///
    /// # Errors
    /// The first one that fails, or that the dump is cut.
    pub fn authenticate(&self) -> Result<(), Error> {
        let mut chunk = Vec::new();
        for stream in std::iter::once(&self.stream).chain(&self.more) {
            (0..stream.chunks()).try_for_each(|number| stream.read_chunk(number, &mut chunk))?;
            stream.cut().or(stream.trailing()).map_or(Ok(()), |fault| Err(Error::Stream(fault)))?;
        }
        Ok(())
    }

    /// One dump of all of its parts, which come in any order. The index of each stays in memory.
    ///
    /// # Errors
    /// [`Error::Parts`]: one is missing, comes twice or is of another dump; [`Error::Malformed`] where two have the same
    /// page.
    pub fn join(mut parts: Vec<Dump>) -> Result<Dump, Error> {
        let mut joined = Joined::default();
        for part in &parts {
            joined.begin(part.facts()).map_err(Error::Parts)?;
            part.tail.iter().for_each(|tail| joined.end(tail));
        }
        let (facts, tail) = joined.whole().map_err(Error::Parts)?;
        let tail = parts.iter().all(|part| part.tail.is_some()).then_some(tail);
        parts.sort_by_key(|part| part.facts().part.as_ref().map(|part| part.number));
        let mut parts = parts.into_iter();
        let mut whole = parts.next().ok_or_else(|| Error::Parts("there is none".to_owned()))?;
        for part in parts {
            whole.index.append(part.index)?;
            whole.more.push(part.stream);
            whole.damage = whole.damage.or(part.damage);
            if part.index_state != IndexState::Whole {
                whole.index_state = part.index_state;
            }
        }
        whole.head.facts.part = facts.part;
        whole.head.kdump.split = None;
        whole.tail = tail;
        Ok(whole)
    }

    fn without_bytes(&self, pfn: Pfn) -> Page {
        if self.present.contains(pfn) { Page::Excluded } else { Page::Absent }
    }
}
