//! The way back: an encrypted dump in, a dump that crash, drgn and gdb read out. The steps of
//! `collect`, mirrored: open chunks (`chunks`), split frames (`frames`), decompress (`unpack`), arrange (`kdump_file`,
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
mod unpack;

use crate::blocks::{self, ClassCounts, Head};
use crate::crypt::{self, DecryptReader, Identities, PayloadKey, StreamError};
use crate::kdump;
use crate::pipeline::{self, regroup};
use crate::reader::DumpHead;
use arrange::Arranger;
use chunks::{ChunkSource, EndSearch, SealedChunk};
use frames::FrameParser;
use std::io::{self, BufRead, Write};
use std::num::NonZero;
use unpack::{Form, Unpacker};

#[doc(inline)]
pub use crate::compress::Codec;
#[doc(inline)]
pub use crate::sink::{OnFailure, OutputFile, Refused};
pub use parts::{Part, SalvagedParts, salvage_parts};
pub use salvage::{KernelData, Losses};

/// Bytes that each thread runs ahead, of chunks and of what frames hold. A collector's blocks take 256 KiB at most.
const AHEAD: usize = 1 << 20;

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
    /// The beginning of the dump is lost, and with it what tells how to write a restored one.
    #[error("its headers are lost; without them nothing can be restored")]
    HeadersLost,
    /// The parts of a dump do not make up one dump.
    #[error("joining the parts of a dump: {0}")]
    Parts(String),
    /// More runs of pages than an ELF core has program headers for.
    #[error("an ELF core has no room for so many runs of pages: they are more than 4194304")]
    TooManyRuns,
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

    /// Whether it tells that the decrypted stream is no valid dump, which a salvage passes over.
    fn is_of_the_dump(&self) -> bool {
        matches!(self, Error::Blocks(_) | Error::Kdump(_) | Error::Malformed(_))
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
    /// What was written.
    pub written: Written,
}

/// What a restored dump holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Pages with bytes.
    pub data: u64,
    /// Pages of which all bytes are zero.
    pub zero: u64,
    /// Whether the kernel's own data are there.
    pub kernel: KernelData,
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
    run(dump, identities, output, threads, None)
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
    unpack(ChunkSource::new(part), &key, form, threads, &mut FrameParser::default(), arranger)?;
    arranger.end_part()
}

/// Restores what is authentic of a damaged or cut dump: damaged chunks and what is not valid in authentic ones are passed
/// over, and so is what is partly in them. Of a dump that [`restore`] takes it gives the same. `head` is the dump's head
/// from elsewhere ([`crate::reader::head_copy`]), for a dump whose beginning is lost. Not for [`Output::Flattened`], whose
/// records would not fit together.
///
/// # Errors
/// As [`restore`], except for damage and a missing end; [`Error::HeadersLost`] where the beginning is lost and there is
/// no other head. Then nothing was written.
pub fn salvage(
    dump: &mut (dyn BufRead + Send),
    identities: &Identities,
    output: Output<'_>,
    threads: NonZero<usize>,
    head: Option<DumpHead>,
) -> Result<Report, Error> {
    run(dump, identities, output, threads, Some(head))
}

/// Restores a dump, or salvages it, perhaps with a head from elsewhere.
fn run(
    mut dump: &mut (dyn BufRead + Send),
    identities: &Identities,
    output: Output<'_>,
    threads: NonZero<usize>,
    salvage: Option<Option<DumpHead>>,
) -> Result<Report, Error> {
    let key = identities.open(&mut dump)?.key;
    let mut chunks = ChunkSource::new(dump);
    if foreign::is_foreign(&chunks.peek(&key)?) {
        return restore_foreign(chunks, key, output);
    }
    let form = output.form();
    let (mut frames, mut arranger) = match salvage {
        Some(head) => (FrameParser::salvaging(), Arranger::salvaging(output, head)),
        None => (FrameParser::default(), Arranger::new(output)),
    };
    let unpacked = unpack(chunks, &key, form, threads, &mut frames, &mut arranger);
    let only_cut = frames.tracker().and_then(|tracker| tracker.only_cut());
    let result = unpacked.and_then(|()| arranger.finish(frames.into_tracker()));
    result.map_err(|error| match (error, only_cut) {
        (Error::HeadersLost, Some(cut)) => Error::Stream(cut),
        (error, _) => error,
    })
}

/// The steps of `collect`, backwards: from sealed chunks to pages in their places.
fn unpack(
    chunks: ChunkSource<'_>,
    key: &PayloadKey,
    form: Form,
    threads: NonZero<usize>,
    frames: &mut FrameParser,
    arranger: &mut Arranger<'_>,
) -> Result<(), Error> {
    let search = frames.tracker().map(|_| EndSearch::new());
    let open = |_: &mut Unpacker, chunk: SealedChunk| chunk.open(key, search.as_ref());
    let unpack = |unpacker: &mut Unpacker, content| match &search {
        Some(_) => unpacker.try_unpack(content),
        None => unpacker.unpack(content),
    };
    pipeline::with(
        threads,
        AHEAD,
        || Unpacker::new(form),
        |pool| {
            let opened = pool.ordered(chunks, &open);
            let contents = regroup(opened, |chunk, contents| match chunk {
                Some(chunk) => frames.chunk(chunk, contents),
                None => frames.finish(),
            });
            for content in pool.ordered(contents, &unpack) {
                arranger.take(content?)?;
            }
            Ok(())
        },
    )
}

fn restore_foreign(chunks: ChunkSource<'_>, key: PayloadKey, output: Output<'_>) -> Result<Report, Error> {
    foreign::restore(DecryptReader::new(chunks.into_read(), key), output)?;
    let written = Written { data: 0, zero: 0, kernel: KernelData::Unknown };
    let (pages, losses) = (ClassCounts::default(), Losses::default());
    Ok(Report { head: None, pages, complete: true, losses, written })
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
