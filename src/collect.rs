//! The way out: a vmcore in, an encrypted dump out. Reads top to bottom as the drawing in `lib.rs`;
//! the steps are in the files beside it: `split` (into which parts), `pages` (which pages, in which order; `early` and
//! `sent`: which of them ahead of their turn), `read` (bytes of a block), `assemble` (the stream; `records`: bitmaps
//! and descriptors), `chunks` (what is sealed). The kernel log alone takes a shorter way, `log`.

mod assemble;
mod chunks;
mod early;
pub mod estimate;
mod facts;
pub mod log;
mod pages;
mod read;
mod records;
mod sent;
mod split;

use crate::blocks::{self, ClassCounts};
use crate::crypt::stream::{ENCRYPTED_CHUNK_SIZE, TAG_SIZE};
use crate::crypt::{self, Entropy, PayloadKey, Recipients};
use crate::filter::DumpLevel;
use crate::kdump;
use crate::pipeline::{self, Ordered, Work, lock};
use crate::vmcore::{ReadError, Vmcore};
use assemble::Assembler;
use chunks::Chunk;
use facts::DumpFacts;
use pages::{Job, PageSource};
pub use read::is_zero;
use read::{BlockReader, ReadBlock};
pub use split::{Part, divide};
use std::io::{self, Write};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What to collect and how.
pub struct Options {
    /// Which pages to leave out.
    pub level: DumpLevel,
    /// How many threads read, compress and encrypt.
    pub threads: NonZero<usize>,
    /// zstd level of the blocks.
    pub compression: i32,
    /// The most bytes the dump may take.
    pub limit: Option<u64>,
    /// The part to collect; none for the whole.
    pub part: Option<Part>,
    /// Whether it is the memory of a kernel that is running.
    pub live: bool,
}

/// What was collected.
pub struct Report {
    /// Pages per class.
    pub pages: ClassCounts,
    /// False when the size limit ended the dump early.
    pub complete: bool,
    /// Bytes of the dump.
    pub written: u64,
    /// The first page that could not be read, if any.
    pub first_failure: Option<ReadError>,
}

/// What stops a collection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file key could not be made or wrapped.
    #[error(transparent)]
    Crypt(#[from] crypt::Error),
    /// The dump's head cannot express this machine.
    #[error(transparent)]
    Kdump(#[from] kdump::Error),
    /// More pages than the format can describe.
    #[error("laying out the dump: {pages:#x} pages are more than the format holds")]
    TooLarge {
        /// How many pages exist.
        pages: u64,
    },
    /// Compression failed.
    #[error(transparent)]
    Blocks(#[from] blocks::Error),
    /// Every page that was tried could not be read.
    #[error("reading pages: none of {tried} could be read")]
    NothingReadable {
        /// How many pages.
        tried: u64,
        /// What the first one said.
        #[source]
        first: ReadError,
    },
    /// The output took no more.
    #[error("writing the dump")]
    Write(#[from] io::Error),
}

/// Filters, compresses and encrypts `vmcore` to `recipients`, writing the dump to `out` from front to
/// back. `progress` hears the share of pages done, 0 to 1, as often as chunks go by.
///
/// # Errors
/// See [`Error`]. Nothing is written before the vmcore was classified and the file key wrapped.
pub fn collect(
    vmcore: &Vmcore,
    recipients: &Recipients,
    entropy: &mut Entropy<'_>,
    options: &Options,
    out: &mut (dyn Write + Send),
    progress: &mut (dyn FnMut(f64) + Send),
) -> Result<Report, Error> {
    let range = options.part.as_ref().map(|part| part.range);
    let mut source = PageSource::new(vmcore, options.level, range);
    let facts = DumpFacts::gather(vmcore, options, source.max_mapnr())?;
    let (header, key) = recipients.wrap(entropy)?;
    out.write_all(&header)?;
    let mut written = header.len() as u64;
    let limit = options.limit.map(|limit| plaintext_within(limit.saturating_sub(written)));
    let mut first_chunks = Vec::new();
    let mut assembler = Assembler::start(&facts, limit, &mut first_chunks)?;

    let work = Collecting { vmcore, key, compression: options.compression, first_failure: Mutex::new(None) };
    let (share, full) = (Mutex::new(0.0), AtomicBool::new(false));
    let classes = Mutex::new(ClassCounts::default());
    let mut pages = ClassCounts::default();
    pipeline::run(
        options.threads,
        &work,
        Ordered {
            source: &mut || {
                let job = source.next_job(full.load(Ordering::Relaxed));
                *lock(&share) = source.share();
                if job.is_none() {
                    *lock(&classes) = source.counts();
                }
                Ok(job)
            },
            middle: &mut |part, chunks| {
                chunks.append(&mut first_chunks);
                match part {
                    Some(part) => assembler.part(part, chunks)?,
                    None => pages = assembler.finish(*lock(&classes), chunks)?,
                }
                full.store(assembler.is_full(), Ordering::Relaxed);
                Ok(())
            },
            sink: &mut |sealed: Vec<u8>| {
                written += sealed.len() as u64;
                progress(*lock(&share));
                Ok(out.write_all(&sealed)?)
            },
        },
    )?;
    let report =
        Report { pages, complete: !assembler.is_full(), written, first_failure: work.into_first_failure() };
    report.checked()
}

impl Report {
    /// A dump without one page, though pages were tried, is a failure.
    fn checked(mut self) -> Result<Report, Error> {
        let kept_none = self.pages.saved + self.pages.zero == 0;
        match self.first_failure.take() {
            Some(first) if kept_none => Err(Error::NothingReadable { tried: self.pages.unreadable, first }),
            first_failure => Ok(Report { first_failure, ..self }),
        }
    }
}

/// The most plaintext whose payload takes at most `bytes`.
fn plaintext_within(bytes: u64) -> u64 {
    bytes.saturating_sub(bytes.div_ceil(ENCRYPTED_CHUNK_SIZE as u64) * TAG_SIZE as u64)
}

/// The parallel steps: read and compress, seal.
struct Collecting<'a> {
    vmcore: &'a Vmcore,
    key: PayloadKey,
    compression: i32,
    first_failure: Mutex<Option<ReadError>>,
}

impl Work for Collecting<'_> {
    type Job = Job;
    type Part = ReadBlock;
    type Piece = Chunk;
    type Done = Vec<u8>;
    type Error = Error;
    type Scratch = BlockReader;

    fn scratch(&self) -> Result<BlockReader, Error> {
        BlockReader::new(self.compression)
    }

    fn first(&self, reader: &mut BlockReader, job: Job) -> Result<ReadBlock, Error> {
        let part = reader.read(self.vmcore, job)?;
        if let Some(failure) = reader.first_failure.take() {
            lock(&self.first_failure).get_or_insert(failure);
        }
        Ok(part)
    }

    fn second(&self, _: &mut BlockReader, mut chunk: Chunk) -> Result<Vec<u8>, Error> {
        self.key.seal(chunk.index, chunk.last, &mut chunk.bytes);
        Ok(chunk.bytes)
    }
}

impl Collecting<'_> {
    fn into_first_failure(self) -> Option<ReadError> {
        self.first_failure.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
