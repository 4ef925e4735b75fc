//! The way out: a vmcore in, an encrypted dump out. Reads top to bottom as the drawing in `lib.rs`;
//! the steps are in the files beside it: `levels` (which level fits), `split` (into which parts), `pages` (which pages, in which order; `early` and
//! `sent`: which of them ahead of their turn), `read` (bytes of a block), `assemble` (the stream: `frames`, `tables` made
//! of `records`, the size `limit`), `notes` (those too large for the head), `chunks` (what is sealed). The kernel log alone takes a shorter way, `log`.

mod assemble;
mod chunks;
mod early;
pub mod estimate;
mod facts;
mod frames;
pub(crate) mod levels;
mod limit;
pub mod log;
mod notes;
mod pages;
mod read;
mod records;
mod sent;
mod split;
mod tables;

use crate::blocks::{self, ClassCounts};
use crate::crypt::stream::{ENCRYPTED_CHUNK_SIZE, TAG_SIZE};
use crate::crypt::{self, Entropy, PayloadKey, Recipients};
use crate::filter::{DumpLevel, Proof, Survey};
use crate::kdump;
use crate::pipeline::{self, regroup};
use crate::vmcore::{ReadError, Vmcore};
use assemble::Assembler;
use chunks::Chunk;
use facts::DumpFacts;
use notes::{Piece, Work};
use pages::{BLOCK_BYTES, PageSource};
use read::BlockReader;
use std::cell::RefCell;
use std::io::{self, Write};
use std::iter;
use std::num::NonZero;

pub use read::is_zero;
pub use split::{Part, divide};

/// Bytes that each thread runs ahead, of blocks and of chunks.
const AHEAD: usize = 2 * BLOCK_BYTES + (4 << 10);

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
#[derive(Default)]
pub struct Report {
    /// Pages per class.
    pub pages: ClassCounts,
    /// False when the size limit ended the dump early.
    pub complete: bool,
    /// Bytes of the dump.
    pub written: u64,
    /// The first page that could not be read, if any.
    pub first_failure: Option<ReadError>,
    /// Bytes of notes (device dumps) that could not be read or that the size limit left out.
    pub notes_lost: u64,
    /// By what pages on the lists of CPUs are known to be free; `None` where they are kept.
    pub proof: Option<Proof>,
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
    /// The parts of the dump could not be named.
    #[error("naming the parts of the dump")]
    Divide(#[source] io::Error),
    /// Compression failed.
    #[error(transparent)]
    Blocks(#[from] blocks::Error),
    /// Every page that was tried could not be read.
    #[error("reading pages: none of {tried} could be read")]
    NothingReadable {
        /// How many pages.
        tried: u64,
        /// The error of the first one.
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
/// See [`Error`]. Nothing is written before the file key was wrapped.
pub fn collect(
    vmcore: &Vmcore,
    recipients: &Recipients,
    entropy: &mut Entropy<'_>,
    options: &Options,
    out: &mut (dyn Write + Send),
    progress: &mut (dyn FnMut(f64) + Send),
) -> Result<Report, Error> {
    let survey = Survey::new(vmcore, &[options.level]);
    Ok(collect_surveyed(&survey, recipients, entropy, options, out, progress)?.report)
}

/// A dump that was just written, with its payload key for whoever reads it back; the key is wiped with it.
pub struct Collected {
    /// What was collected.
    pub report: Report,
    /// The key of the payload.
    pub key: PayloadKey,
    /// Where the payload starts in the dump, bytes.
    pub start: u64,
}

/// The same of a vmcore of which a survey knows something already: what is known of its pages is not looked for again.
/// The survey should have been prepared for the dump's level.
///
/// # Errors
/// As [`collect`].
pub fn collect_surveyed(
    survey: &Survey<'_>,
    recipients: &Recipients,
    entropy: &mut Entropy<'_>,
    options: &Options,
    out: &mut (dyn Write + Send),
    progress: &mut (dyn FnMut(f64) + Send),
) -> Result<Collected, Error> {
    let range = options.part.as_ref().map(|part| part.range);
    // Before anything asks for pages: where page structures are left out, the first question takes the whole walk.
    survey.walk_ahead(options.threads);
    let source = PageSource::new(survey, options.level, range);
    let facts = DumpFacts::gather(survey, options)?;
    let (header, key) = recipients.wrap(entropy)?;
    out.write_all(&header)?;
    let start = header.len() as u64;
    let limit = options.limit.map(|limit| plaintext_within(limit.saturating_sub(start)));
    let mut stream = Assembler::start(&facts, limit)?;
    let mut written = start;
    let mut write = |sealed: &[u8], share| {
        written += sealed.len() as u64;
        progress(share);
        out.write_all(sealed)
    };
    pack(survey.vmcore(), source, facts.note_pieces(), &key, options, &mut stream, &mut write)?;
    let mut report = stream.report(written).checked()?;
    report.proof = survey.proof().cloned();
    Ok(Collected { report, key, start })
}

/// The steps of `restore`, backwards: from pages, and notes after them, to sealed chunks. `write` gets each chunk with the
/// share of pages done.
fn pack(
    vmcore: &Vmcore,
    source: PageSource<'_, '_>,
    notes: impl Iterator<Item = Piece>,
    key: &PayloadKey,
    options: &Options,
    stream: &mut Assembler,
    write: &mut dyn FnMut(&[u8], f64) -> io::Result<()>,
) -> Result<(), Error> {
    // The jobs ask both, and what follows them changes both, on one thread.
    let (source, stream) = (RefCell::new(source), RefCell::new(stream));
    let read = |reader: &mut BlockReader, work: Work| work.read(vmcore, reader);
    let seal = |_: &mut BlockReader, chunk: Chunk| Ok(chunk.seal(key));
    let reader = || BlockReader::new(options.compression);
    pipeline::with(options.threads, AHEAD, reader, |pool| {
        let full = || stream.borrow().is_full();
        let pages = iter::from_fn(|| source.borrow_mut().next_job(full()).map(Work::Pages));
        let blocks = pool.ordered(pages.chain(notes.map(Work::Notes)).map(Ok), &read);
        let chunks = regroup(blocks, |block, chunks| match block {
            Some(block) => stream.borrow_mut().take(block, chunks),
            None => stream.borrow_mut().finish(source.borrow().counts(), chunks),
        });
        for sealed in pool.ordered(chunks, &seal) {
            write(&sealed?, source.borrow().share())?;
        }
        Ok(())
    })
}

impl Report {
    /// The report of two parts of one dump.
    #[must_use]
    pub fn join(self, other: Report) -> Report {
        Report {
            pages: self.pages.join(other.pages),
            complete: self.complete && other.complete,
            written: self.written + other.written,
            first_failure: self.first_failure.or(other.first_failure),
            notes_lost: self.notes_lost + other.notes_lost,
            proof: self.proof.or(other.proof),
        }
    }

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
