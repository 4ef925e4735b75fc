//! The way back: an encrypted dump in, a dump that crash, drgn and gdb read out. The steps of
//! `collect`, mirrored: open chunks (`chunks`), split frames (`frames`), decompress, arrange (`kdump_file`,
//! `elf_file`), write.

mod arrange;
mod chunks;
mod elf_file;
mod foreign;
mod frames;
mod kdump_file;
mod pages;
mod parts;
mod salvage;

pub use salvage::Losses;

use crate::blocks::{self, BlockDecompressor, BlockMap, ClassCounts, Head, RunKind, Tail};
use crate::compress::{Codec, PageCompressor};
use crate::crypt::stream::CHUNK_SIZE;
use crate::crypt::{self, DecryptReader, Identities, PayloadKey, StreamError};
use crate::kdump::{self, DescFlags};
use crate::pipeline::{self, Ordered, Work};
use crate::sink::OutputFile;
use arrange::Arranger;
use chunks::{ChunkSource, OpenedChunk, SealedChunk};
use frames::{FrameReader, Piece};
use std::io::{self, BufRead, Read, Write};
use std::num::NonZero;

/// What stops a restore.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The header could not be read, or no identity opens it.
    #[error(transparent)]
    Crypt(#[from] crypt::Error),
    /// A chunk is damaged or the final one is missing.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The decrypted stream is not ours.
    #[error(transparent)]
    Blocks(#[from] blocks::Error),
    /// The KDUMP head inside is wrong.
    #[error(transparent)]
    Kdump(#[from] kdump::Error),
    /// An age file, but no dump inside.
    #[error("it holds no dump")]
    NotADump,
    /// The decrypted stream contradicts itself.
    #[error("reading the decrypted stream: {0}")]
    Malformed(String),
    /// The parts of a dump do not make up one dump.
    #[error("joining the parts of a dump: {0}")]
    Parts(String),
    /// No memory for a compressor.
    #[error("out of memory")]
    OutOfMemory,
    /// The dump could not be read.
    #[error("reading the dump")]
    Read(#[source] io::Error),
    /// The output could not be written.
    #[error("writing the restored dump")]
    Write(#[from] io::Error),
}

impl Error {
    fn malformed(why: &str) -> Error {
        Error::Malformed(why.to_owned())
    }

    /// An error of a read, which may carry a payload error inside.
    fn read(error: io::Error) -> Error {
        match StreamError::find(&error) {
            Some(cause) => Error::Stream(cause),
            None => Error::Read(error),
        }
    }
}

/// Where a restored dump goes and in which form.
pub enum Output<'a> {
    /// A KDUMP file.
    Kdump(&'a OutputFile, Codec),
    /// An ELF core.
    Elf(&'a OutputFile),
    /// The flattened stream, front to back.
    Flattened(&'a mut (dyn Write + Send)),
    /// Nowhere: everything is authenticated and decompressed, and dropped.
    Nothing,
}

/// What was restored.
pub struct Report {
    /// Facts from the dump's head; none for a stream of another collector.
    pub head: Option<Head>,
    /// Page counts from its tail; zero when it has none.
    pub pages: ClassCounts,
    /// False when a size limit had ended the dump early, or something was lost.
    pub complete: bool,
    /// What was lost; nothing unless it was a salvage.
    pub losses: Losses,
}

/// Decrypts `dump` with one of `identities` and writes it to `output`.
///
/// # Errors
/// See [`Error`]. Whatever was written until then must not be used.
pub fn restore(
    dump: &mut (dyn BufRead + Send),
    identities: &Identities,
    output: Output<'_>,
    threads: NonZero<usize>,
) -> Result<Report, Error> {
    run(dump, identities, output, threads, FrameReader::default())
}

/// Restores a dump from all of its parts, which may come in any order. Not for [`Output::Flattened`], whose records
/// would not fit together.
///
/// # Errors
/// As [`restore`], with the place in the list of the part concerned; [`Error::Parts`] when a part is missing, comes
/// twice or belongs to another dump.
pub fn join(
    parts: &mut [Box<dyn BufRead + Send>],
    identities: &Identities,
    output: Output<'_>,
    threads: NonZero<usize>,
) -> Result<Report, (usize, Error)> {
    let form = output.form();
    let mut arranger = Arranger::joining(output);
    for (at, part) in parts.iter_mut().enumerate() {
        join_part(part, identities, form, threads, &mut arranger).map_err(|error| (at, error))?;
    }
    arranger.finish_parts().map_err(|error| (0, error))
}

fn join_part(
    mut part: &mut (dyn BufRead + Send),
    identities: &Identities,
    form: Form,
    threads: NonZero<usize>,
    arranger: &mut Arranger<'_>,
) -> Result<(), Error> {
    let key = identities.open(&mut part)?.key;
    let work = Restoring { key, form, salvage: false };
    let mut chunks = ChunkSource::new(part);
    run_pipeline(threads, &work, &mut || chunks.next_chunk(), &mut FrameReader::default(), arranger)?;
    arranger.end_part()
}

/// Restores what is authentic of a damaged or cut dump: damaged chunks are passed over, and so is what
/// lies partly in them. Not for [`Output::Flattened`], whose records would not fit together.
///
/// # Errors
/// As [`restore`], but for damage and a missing end. Without its first chunks a dump cannot be restored.
pub fn salvage(
    dump: &mut (dyn BufRead + Send),
    identities: &Identities,
    output: Output<'_>,
    threads: NonZero<usize>,
) -> Result<Report, Error> {
    run(dump, identities, output, threads, FrameReader::salvaging())
}

fn run(
    mut dump: &mut (dyn BufRead + Send),
    identities: &Identities,
    output: Output<'_>,
    threads: NonZero<usize>,
    mut frames: FrameReader,
) -> Result<Report, Error> {
    let key = identities.open(&mut dump)?.key;
    let mut chunks = ChunkSource::new(dump);
    let first = chunks.next_chunk()?;
    let work = Restoring { key, form: output.form(), salvage: frames.tracker().is_some() };
    if let Some(first) = &first
        && foreign::is_foreign(&first.peek(&work.key))
    {
        return restore_foreign(first, chunks.into_rest(), work.key, output);
    }
    let (mut first, mut arranger) = (first, Arranger::new(output));
    let mut source = || match first.take() {
        Some(first) => Ok(Some(first)),
        None => chunks.next_chunk(),
    };
    run_pipeline(threads, &work, &mut source, &mut frames, &mut arranger)?;
    arranger.finish(frames.into_tracker())
}

/// From chunks to pieces in their places.
fn run_pipeline(
    threads: NonZero<usize>,
    work: &Restoring,
    source: &mut (dyn FnMut() -> Result<Option<SealedChunk>, Error> + Send),
    frames: &mut FrameReader,
    arranger: &mut Arranger<'_>,
) -> Result<(), Error> {
    let middle = &mut |opened: Option<OpenedChunk>, pieces: &mut Vec<Piece>| match opened {
        Some(chunk) => take_chunk(frames, &chunk, pieces),
        None => frames.finish(),
    };
    pipeline::run(threads, work, Ordered { source, middle, sink: &mut |piece| arranger.take(piece) })
}

fn take_chunk(frames: &mut FrameReader, chunk: &OpenedChunk, pieces: &mut Vec<Piece>) -> Result<(), Error> {
    if let (Some(why), Some(tracker)) = (chunk.failed, frames.tracker()) {
        match why {
            StreamError::Truncated { .. } => tracker.cut(why),
            _ => tracker.chunk_lost(),
        }
    }
    match &chunk.plaintext {
        Some(bytes) => frames.read(bytes, pieces),
        None => {
            frames.skip_to((chunk.index + 1) * CHUNK_SIZE as u64);
            Ok(())
        }
    }
}

fn restore_foreign(
    first: &SealedChunk,
    rest: &mut (dyn BufRead + Send),
    key: PayloadKey,
    output: Output<'_>,
) -> Result<Report, Error> {
    let sealed = first.bytes.as_slice().chain(rest);
    foreign::restore(DecryptReader::new(sealed, key), output)?;
    let (pages, losses) = (ClassCounts::default(), Losses::default());
    Ok(Report { head: None, pages, complete: true, losses })
}

/// What the threads make of blocks.
#[derive(Clone, Copy)]
enum Form {
    /// Pages compressed one by one.
    Stored(Codec),
    /// Pages as they are.
    Pages,
    /// Nothing but the proof that they decompress.
    Checked,
}

impl Output<'_> {
    fn form(&self) -> Form {
        match self {
            Output::Kdump(_, codec) => Form::Stored(*codec),
            Output::Elf(_) | Output::Flattened(_) => Form::Pages,
            Output::Nothing => Form::Checked,
        }
    }
}

/// Pages of a block as a KDUMP file stores them.
struct StoredBlock {
    map: BlockMap,
    page_len: Option<usize>,
    bytes: Vec<u8>,
    stored: Vec<(u32, DescFlags)>,
}

/// A piece with its frames decompressed.
enum Arranged {
    Head(Box<Head>),
    Records(Vec<u8>),
    Stored(StoredBlock),
    Pages { map: BlockMap, page_len: Option<usize>, record_head: Vec<u8>, pages: Vec<u8> },
    Tail(Box<Tail>),
}

/// The parallel steps: open, decompress.
struct Restoring {
    key: PayloadKey,
    form: Form,
    salvage: bool,
}

struct Scratch {
    decompressor: BlockDecompressor,
    compressor: PageCompressor,
}

impl Work for Restoring {
    type Job = SealedChunk;
    type Part = OpenedChunk;
    type Piece = Piece;
    type Done = Arranged;
    type Error = Error;
    type Scratch = Scratch;

    fn scratch(&self) -> Result<Scratch, Error> {
        let codec = if let Form::Stored(codec) = self.form { codec } else { Codec::None };
        Ok(Scratch {
            decompressor: BlockDecompressor::new()?,
            compressor: PageCompressor::new(codec).ok_or(Error::OutOfMemory)?,
        })
    }

    fn first(&self, _: &mut Scratch, chunk: SealedChunk) -> Result<OpenedChunk, Error> {
        Ok(if self.salvage { chunk.salvage(&self.key) } else { chunk.open(&self.key)? })
    }

    fn second(&self, scratch: &mut Scratch, piece: Piece) -> Result<Arranged, Error> {
        Ok(match piece {
            Piece::Head(head) => Arranged::Head(head),
            Piece::Tail(tail) => Arranged::Tail(tail),
            Piece::Records(frame) => Arranged::Records(scratch.decompress(&frame)?),
            Piece::Block { map, frames } => self.block(scratch, map, frames)?,
        })
    }
}

impl Restoring {
    fn block(
        &self,
        scratch: &mut Scratch,
        map: BlockMap,
        frames: Option<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Arranged, Error> {
        let (record_head, pages) = match frames {
            Some((head, pages)) => (scratch.decompress(&head)?, scratch.decompress(&pages)?),
            None => (Vec::new(), Vec::new()),
        };
        let page_len = page_len(&map, pages.len())?;
        Ok(match self.form {
            Form::Stored(_) => {
                let (bytes, stored) =
                    kdump_file::pack(&mut scratch.compressor, page_len.unwrap_or(1), &pages);
                Arranged::Stored(StoredBlock { map, page_len, bytes, stored })
            }
            Form::Pages => Arranged::Pages { map, page_len, record_head, pages },
            Form::Checked => Arranged::Pages { map, page_len, record_head: Vec::new(), pages: Vec::new() },
        })
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

impl Scratch {
    fn decompress(&mut self, frame: &[u8]) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        self.decompressor.decompress(frame, &mut content)?;
        Ok(content)
    }
}
