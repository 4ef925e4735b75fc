//! `vmcore-decrypt DUMP OUTPUT`: what can be typed, and what follows from it.

use super::super::{Failure, Status, prompt, quoted, say};
use super::PROGRAM;
use crate::compress::Codec;
use crate::crypt::{self, Identities, StreamError};
use crate::raw;
use crate::restore::{self, Output};
use crate::sink::{OutputFile, Stream};
use clap::{Args as ClapArgs, ValueEnum};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// The dump is read in pieces of about this size.
const READ_BUFFER: usize = 1 << 20;

/// The restore's own arguments.
#[derive(ClapArgs, Debug)]
pub struct Args {
    /// Identity file: age identities, an ssh private key; repeatable
    #[arg(short = 'i', long = "identity", value_name = "FILE", required = true)]
    identities: Vec<PathBuf>,
    /// Form of the restored dump
    #[arg(long, value_enum, default_value_t = Format::Kdump)]
    format: Format,
    /// How pages of a kdump file are compressed
    #[arg(long, value_enum, value_name = "CODEC", default_value_t = Compress::Zstd)]
    compress: Compress,
    /// Overwrite an existing output file
    #[arg(short = 'f', long)]
    force: bool,
    /// Threads that decrypt and compress [default: one per CPU]
    #[arg(long, value_name = "N")]
    num_threads: Option<NonZero<usize>>,

    /// The encrypted dump; - is standard input
    dump: PathBuf,
    /// The restored dump; - is standard output, with --format flattened
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// kdump-compressed: random access, smallest
    Kdump,
    /// An ELF core: for gdb too, uncompressed and sparse
    Elf,
    /// makedumpfile's flattened stream
    Flattened,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Compress {
    /// Every reader has it
    Zlib,
    /// makedumpfile -l
    Lzo,
    /// makedumpfile -p
    Snappy,
    /// Smallest; crash 8, libkdumpfile 0.5 and later
    Zstd,
    /// Pages as they are
    None,
}

impl From<Compress> for Codec {
    fn from(compress: Compress) -> Codec {
        match compress {
            Compress::Zlib => Codec::Zlib,
            Compress::Lzo => Codec::Lzo,
            Compress::Snappy => Codec::Snappy,
            Compress::Zstd => Codec::Zstd,
            Compress::None => Codec::None,
        }
    }
}

/// Runs the program.
///
/// # Errors
/// What stopped it, ready to be said.
pub fn run(args: &Args) -> Result<(), Failure> {
    let identities = read_identities(&args.identities)?;
    let mut dump = open_dump(&args.dump)?;
    let mut target = Target::open(args)?;
    let threads = args
        .num_threads
        .unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN));
    let report = restore::restore(&mut *dump, &identities, target.output(args), threads)
        .map_err(|error| failure(args, &error))?;
    target.finish().map_err(|error| failure(args, &restore::Error::Write(error)))?;
    if !report.complete {
        say(PROGRAM, "warning", "the dump is incomplete: a size limit ended it when it was collected");
    }
    Ok(())
}

/// Where the restored dump goes.
enum Target {
    File(OutputFile),
    Stream(Stream),
}

impl Target {
    fn open(args: &Args) -> Result<Target, Failure> {
        if args.output == Path::new("-") {
            return Target::stdout(args);
        }
        let file = OutputFile::create_hidden(&args.output, args.force).map_err(|error| {
            let hint = (error.kind() == io::ErrorKind::AlreadyExists).then_some("-f overwrites it");
            Failure::caused(format!("creating {}", quoted(&args.output)), &error).maybe_hint(hint)
        })?;
        Ok(match args.format {
            Format::Flattened => Target::Stream(Stream::file(file)),
            Format::Kdump | Format::Elf => Target::File(file),
        })
    }

    fn stdout(args: &Args) -> Result<Target, Failure> {
        if args.format != Format::Flattened {
            let message = "writing to standard output: kdump and elf files need a file that can seek";
            return Err(Failure::new(Status::Usage, message).hint("use --format flattened, or name a file"));
        }
        let stream = Stream::stdout().ok_or_else(|| {
            Failure::new(Status::Usage, "writing the restored dump to a terminal is refused")
        })?;
        Ok(Target::Stream(stream))
    }

    fn output(&mut self, args: &Args) -> Output<'_> {
        match self {
            Target::Stream(stream) => Output::Flattened(stream),
            Target::File(file) => match args.format {
                Format::Elf => Output::Elf(file),
                _ => Output::Kdump(file, args.compress.into()),
            },
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Target::File(file) => file.finish(),
            Target::Stream(mut stream) => {
                stream.flush()?;
                stream.finish()
            }
        }
    }
}

/// The identities of the files named.
///
/// # Errors
/// The file that is none, with the line.
pub fn read_identities(paths: &[PathBuf]) -> Result<Identities, Failure> {
    let mut identities = Identities::new(prompt::on_terminal());
    for path in paths {
        let doing = || format!("reading identity file {}", quoted(path));
        let file = File::open(path).map_err(|error| Failure::caused(doing(), &error))?;
        identities
            .add_file(&path.to_string_lossy(), BufReader::new(file))
            .map_err(|error| Failure::caused(doing(), &error).maybe_hint(error.hint()))?;
    }
    Ok(identities)
}

fn open_dump(path: &Path) -> Result<Box<dyn BufRead + Send>, Failure> {
    let doing = || format!("opening dump {}", quoted(path));
    let dump: Box<dyn BufRead + Send> = if path == Path::new("-") {
        Box::new(BufReader::with_capacity(READ_BUFFER, io::stdin()))
    } else {
        let file = File::open(path).map_err(|error| Failure::caused(doing(), &error))?;
        Box::new(BufReader::with_capacity(READ_BUFFER, file))
    };
    raw::unframed(dump).map_err(|error| Failure::caused(doing(), &error).status(Status::Damaged))
}

fn failure(args: &Args, error: &restore::Error) -> Failure {
    let dump = quoted(&args.dump);
    match error {
        restore::Error::Write(error) => {
            let hint = (error.kind() == io::ErrorKind::StorageFull)
                .then_some("free some room for the restored dump");
            Failure::caused(format!("writing {}", quoted(&args.output)), error).maybe_hint(hint)
        }
        restore::Error::Crypt(cause) => {
            let status = match cause {
                crypt::Error::NoMatch { .. } | crypt::Error::WrongPassphrase => Status::WrongKey,
                crypt::Error::HeaderTruncated => Status::Truncated,
                crypt::Error::BadMac | crypt::Error::Header { .. } => Status::Damaged,
                _ => Status::Failure,
            };
            Failure::caused(format!("opening {dump}"), cause).maybe_hint(cause.hint()).status(status)
        }
        restore::Error::Stream(cause) => stream_failure(&dump, cause),
        error => Failure::caused(format!("restoring {dump}"), error).status(Status::Damaged),
    }
}

fn stream_failure(dump: &str, cause: &StreamError) -> Failure {
    let failure = Failure::caused(format!("decrypting {dump}"), cause);
    match cause {
        StreamError::Truncated { .. } => failure
            .status(Status::Truncated)
            .hint("the collector or its link died; see the console log of the capture kernel"),
        _ => {
            failure.status(Status::Damaged).hint("the dump changed after it was made; get another copy of it")
        }
    }
}
