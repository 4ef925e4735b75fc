//! The way back: an encrypted dump in, a dump that crash, drgn and gdb read out. The steps of
//! `collect`, mirrored: open chunks, split frames (`frames`), decompress, arrange (`kdump_file`,
//! `elf_file`), write.

mod arrange;
mod elf_file;
mod frames;
mod kdump_file;
mod pages;

use crate::blocks::{self, BlockDecompressor, BlockMap, ClassCounts, Head, RunKind, Tail};
use crate::compress::{Codec, PageCompressor};
use crate::crypt::stream::{CHUNK_SIZE, ENCRYPTED_CHUNK_SIZE};
use crate::crypt::{self, Identities, PayloadKey, StreamError};
use crate::kdump::{self, DescFlags};
use crate::pipeline::{self, Ordered, Work};
use crate::sink::OutputFile;
use arrange::Arranger;
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
    /// The decrypted stream contradicts itself.
    #[error("reading the decrypted stream: {0}")]
    Malformed(String),
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
    /// Facts from the dump's head.
    pub head: Head,
    /// Page counts from its tail.
    pub pages: ClassCounts,
    /// False when a size limit had ended the dump early.
    pub complete: bool,
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
    let mut input = dump;
    let key = identities.open(&mut input)?.key;
    let form = output.form();
    let mut chunks = ChunkSource::new(input);
    let mut frames = FrameReader::default();
    let mut arranger = Arranger::new(output);
    pipeline::run(
        threads,
        &Restoring { key, form },
        Ordered {
            source: &mut || chunks.next_chunk(),
            middle: &mut |plaintext: Option<Vec<u8>>, pieces| match plaintext {
                Some(bytes) => frames.read(&bytes, pieces),
                None => frames.finish(),
            },
            sink: &mut |piece| arranger.take(piece),
        },
    )?;
    arranger.finish()
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

/// An encrypted chunk.
struct SealedChunk {
    index: u64,
    last: bool,
    bytes: Vec<u8>,
}

/// Reads the payload chunk by chunk, one ahead, so that the final one is known.
struct ChunkSource<'a> {
    input: &'a mut (dyn BufRead + Send),
    index: u64,
    ended: bool,
}

impl<'a> ChunkSource<'a> {
    fn new(input: &'a mut (dyn BufRead + Send)) -> ChunkSource<'a> {
        ChunkSource { input, index: 0, ended: false }
    }

    fn next_chunk(&mut self) -> Result<Option<SealedChunk>, Error> {
        if self.ended {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(ENCRYPTED_CHUNK_SIZE);
        let mut input = (&mut *self.input).take(ENCRYPTED_CHUNK_SIZE as u64);
        input.read_to_end(&mut bytes).map_err(Error::Read)?;
        self.ended = self.input.fill_buf().map_err(Error::Read)?.is_empty();
        let chunk = SealedChunk { index: self.index, last: self.ended, bytes };
        self.index += 1;
        Ok(Some(chunk))
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
}

struct Scratch {
    decompressor: BlockDecompressor,
    compressor: PageCompressor,
}

impl Work for Restoring {
    type Job = SealedChunk;
    type Part = Vec<u8>;
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

    fn first(&self, _: &mut Scratch, mut chunk: SealedChunk) -> Result<Vec<u8>, Error> {
        self.open(&mut chunk)?;
        Ok(chunk.bytes)
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
    /// Opens a chunk. Where the input ends without its final chunk the error says so, not "corrupt".
    fn open(&self, chunk: &mut SealedChunk) -> Result<(), StreamError> {
        let sealed_len = chunk.bytes.len();
        let opened = self.key.open(chunk.index, chunk.last, &mut chunk.bytes);
        if opened.is_ok() || !chunk.last {
            return opened;
        }
        let before = chunk.index * CHUNK_SIZE as u64;
        if self.key.open(chunk.index, false, &mut chunk.bytes).is_ok() {
            return Err(StreamError::Truncated { plaintext: before + CHUNK_SIZE as u64, remainder: 0 });
        }
        if sealed_len < ENCRYPTED_CHUNK_SIZE {
            return Err(StreamError::Truncated { plaintext: before, remainder: sealed_len as u64 });
        }
        opened
    }

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
