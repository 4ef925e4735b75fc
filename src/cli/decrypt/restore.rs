//! `vmcore-decrypt restore DUMP OUTPUT`, for short `vmcore-decrypt DUMP OUTPUT`: what can be typed, and what follows from it.

use super::super::creating::{creating, full_hint, stdout_failure};
use super::super::signals::remove_unfinished_on_signals;
use super::super::{Failure, Status, input_name, meter, output_name, quoted, say, status};
use super::input::{self, IdentityArgs};
use super::{PROGRAM, salvage};
use crate::blocks::{self, ClassCounts};
use crate::compress::Codec;
use crate::crypt::Identities;
use crate::restore::{self, Output, Report};
use crate::sink::{OutputFile, Stream, special};
use clap::{Args as ClapArgs, ValueEnum};
use std::io::{self, BufRead, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// The restore's own arguments.
#[derive(ClapArgs, Debug)]
// An optional group of arguments is there when a member is; clap fills no members in where groups nest.
#[group(id = "restore", args = ["words"])]
#[command(override_usage = "vmcore-decrypt [restore] [OPTIONS] <DUMP>... <OUTPUT>")]
#[command(after_help = status::help("Examples:
  vmcore-decrypt restore -i key.txt vmcore.age vmcore
  vmcore-decrypt -i key.txt vmcore.age vmcore
  vmcore-decrypt -i key.txt --format elf vmcore.age vmcore.elf
  ssh host cat vmcore.age | vmcore-decrypt -i key.txt - vmcore
", Status::ALL))]
pub(super) struct Args {
    #[command(flatten)]
    identities: IdentityArgs,
    /// Form of the restored dump
    #[arg(long, value_enum, default_value_t = Format::Kdump)]
    format: Format,
    /// How pages of a kdump file are compressed
    #[arg(long, value_enum, value_name = "CODEC", default_value_t = Compress::Zstd)]
    compress: Compress,
    /// Overwrite an existing output file, once the new one is written to its end
    #[arg(short = 'f', long)]
    force: bool,
    /// Restore what is authentic of a damaged or cut dump, and report what is lost
    #[arg(long)]
    salvage: bool,
    /// With --salvage: report as one JSON object on standard output, with all that is lost
    #[arg(long, requires = "salvage")]
    json: bool,
    /// Threads that decrypt and compress [default: one per CPU]
    #[arg(long, value_name = "N")]
    num_threads: Option<NonZero<usize>>,

    /// Known only to be refused with the reason
    #[arg(short = 'o', long = "output", hide = true)]
    named_output: Option<PathBuf>,

    /// The encrypted dump; - is standard input. Of a dump in parts (vmcore-encrypt --split) all parts. The last word is
    /// OUTPUT, the restored dump; - is standard output, with --format flattened
    #[arg(value_name = "DUMP", required = true)]
    words: Vec<PathBuf>,
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
    /// As makedumpfile -l: for fast readers from before zstd
    Lzo,
    /// As makedumpfile -p: the same where LZO is not built in
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
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    args.check_output()?;
    args.check_parts()?;
    if args.salvage && args.format == Format::Flattened {
        let message = "salvaging to a flattened stream: its records would not fit together";
        return Err(Failure::new(Status::Usage, message).hint("use --format kdump or elf"));
    }
    args.identities.apart_from(args.output(), args.dumps())?;
    let identities = args.identities.read(args.dumps())?;
    let threads = input::threads(args.num_threads);
    if args.salvage && args.dumps().len() > 1 {
        return salvage_parts(args, &identities, threads);
    }
    let opened: Result<Vec<_>, _> = args.dumps().iter().map(|dump| watched("restoring", dump)).collect();
    let mut dumps = opened?;
    remove_unfinished_on_signals()?;
    let mut target = Target::open(args)?;
    let failed = |at: usize, error: &restore::Error| args.failure(at, error);
    let report = match &mut dumps[..] {
        [dump] if args.salvage => salvaged(args, &mut **dump, &identities, &mut target, threads)?,
        [dump] => restore::restore(&mut **dump, &identities, target.output(args), threads)
            .map_err(|error| suggest_salvage(failed(0, &error), &error))?,
        parts => restore::join(parts, &identities, target.output(args), threads)
            .map_err(|(at, error)| suggest_salvage(failed(at, &error), &error))?,
    };
    target.finish().map_err(|error| failed(0, &restore::Error::Write(error)))?;
    conclude(args, report)
}

/// Salvages what is there of a dump in parts.
fn salvage_parts(args: &Args, identities: &Identities, threads: NonZero<usize>) -> Result<(), Failure> {
    let (parts, mut fate) = salvage::find_parts(args.dumps(), identities)?;
    remove_unfinished_on_signals()?;
    let mut target = Target::open(args)?;
    let salvaged = restore::salvage_parts(parts, identities, target.output(args), threads);
    let salvaged = salvaged.map_err(|(at, error)| match error {
        restore::Error::Parts(_) => args.failure(at, &error),
        error => failure(fate.path(at).unwrap_or(args.output()), Some(args.output()), &error),
    })?;
    target.finish().map_err(|error| args.failure(0, &restore::Error::Write(error)))?;
    fate.settle(salvaged.losses, salvaged.missing);
    salvage::report(&fate, args.output(), &salvaged.report, args.json)
}

/// Reports what was restored, and what is unusual about it.
fn conclude(args: &Args, report: Report) -> Result<(), Failure> {
    if args.salvage {
        let part = report.head.as_ref().and_then(|head| head.part.as_ref());
        input::warn_of_part(args.dump(), part);
        let fate = salvage::Fate::of_whole(args.dump(), &report);
        return salvage::report(&fate, args.output(), &report, args.json);
    }
    if special::kind(args.output()).is_none() && !special::is_stdout(args.output()) {
        say(PROGRAM, "note", &salvage::saved(args.output(), &report));
    }
    if !report.complete {
        say(PROGRAM, "warning", &format!("the dump is incomplete: {}", why_incomplete(&report.pages)));
    }
    if let Some(part) = report.head.and_then(|head| head.part) {
        let text =
            format!("this is part {} of {}: the pages of the others are missing", part.number, part.of);
        say(PROGRAM, "warning", &text);
    }
    Ok(())
}

/// Salvages a dump. Where its beginning is lost the copy of its head serves, for which it is read again.
fn salvaged(
    args: &Args,
    dump: &mut (dyn BufRead + Send),
    identities: &Identities,
    target: &mut Target,
    threads: NonZero<usize>,
) -> Result<Report, Failure> {
    let path = args.dump();
    let failed = |error: &restore::Error| failure(path, Some(args.output()), error);
    match restore::salvage(dump, identities, target.output(args), threads, None) {
        Err(error @ restore::Error::HeadersLost) => {
            let Some(head) = input::head_copy(path, identities) else {
                return Err(headers_lost(path, &error));
            };
            let mut again = watched("restoring", path)?;
            restore::salvage(&mut *again, identities, target.output(args), threads, Some(head))
                .map_err(|error| failed(&error))
        }
        result => result.map_err(|error| failed(&error)),
    }
}

fn headers_lost(dump: &Path, error: &restore::Error) -> Failure {
    let failure = failure(dump, None, error);
    if dump == Path::new("-") {
        failure.hint("name a file: newer dumps have a copy of their headers at their end")
    } else {
        failure.hint("it has no copy of them that could be read, as dumps of vmcore-encrypt 0.1.0")
    }
}

/// What is wrong with the dump alone leaves the rest of it to be had.
fn suggest_salvage(failure: Failure, error: &restore::Error) -> Failure {
    match (error, failure.exit_status()) {
        (restore::Error::Stream(_), Status::Truncated) => {
            failure.hint("the collector or its link died; --salvage restores what came before")
        }
        // It is no dump at all.
        (restore::Error::Blocks(blocks::Error::NotAFrame { offset: 0 }), _) => failure,
        (restore::Error::Stream(_) | restore::Error::Blocks(_) | restore::Error::Malformed(_), _) => failure
            .hint("get another copy of the dump, or restore what is authentic of this one with --salvage"),
        _ => failure,
    }
}

/// Why a dump that is all there does not hold what it should.
pub(super) fn why_incomplete(pages: &ClassCounts) -> String {
    if pages.is_lacking() {
        format!("{} of {} pages could not be read when it was collected", pages.lost(), pages.asked())
    } else {
        "a size limit ended it when it was collected, or its source was incomplete".to_owned()
    }
}

impl Args {
    /// The dump, or its parts.
    fn dumps(&self) -> &[PathBuf] {
        self.words.split_last().map_or(&[], |(_, dumps)| dumps)
    }

    /// Where the restored dump goes: the last word.
    fn output(&self) -> &Path {
        self.words.last().map_or(Path::new("-"), PathBuf::as_path)
    }

    /// Refuses a command line whose last word is no output.
    fn check_output(&self) -> Result<(), Failure> {
        let refused = |what: &str| {
            let message = format!("restoring {}: {what}", input_name(self.output()));
            Err(Failure::new(Status::Usage, message)
                .hint("the output is the last word: vmcore-decrypt -i KEY DUMP OUTPUT"))
        };
        match (&self.named_output, self.words.len()) {
            (Some(_), _) => refused("there is no option -o or --output"),
            (None, ..=1) => refused("no output is named"),
            (None, _) => Ok(()),
        }
    }

    /// The dump, or the first of its parts.
    fn dump(&self) -> &Path {
        self.dumps().first().map_or(Path::new("-"), PathBuf::as_path)
    }

    /// What stopped the dump at `at`.
    fn failure(&self, at: usize, error: &restore::Error) -> Failure {
        failure(self.dumps().get(at).map_or(self.output(), PathBuf::as_path), Some(self.output()), error)
    }

    /// Parts are joined page by page, so what comes out must be whole.
    fn check_parts(&self) -> Result<(), Failure> {
        let usage = |message: &str, hint: &str| Err(Failure::new(Status::Usage, message).hint(hint));
        match self.dumps().len() {
            ..=1 => Ok(()),
            _ if self.format == Format::Flattened => usage(
                "joining parts to a flattened stream: its records would not fit together",
                "use --format kdump or elf",
            ),
            _ => Ok(()),
        }
    }
}

/// Where the restored dump goes.
enum Target {
    File(OutputFile),
    Stream(Stream),
}

impl Target {
    fn open(args: &Args) -> Result<Target, Failure> {
        if special::is_stdout(args.output()) {
            return Target::stdout(args);
        }
        if let Some(kind) = special::kind(args.output()) {
            return Target::special(args, kind);
        }
        let file = OutputFile::create_hidden(args.output(), args.force)
            .map_err(|error| creating(args.output(), &error))?;
        Ok(match args.format {
            Format::Flattened => Target::Stream(Stream::file(file)),
            Format::Kdump | Format::Elf => Target::File(file),
        })
    }

    /// A FIFO or device takes a stream; with or without -f it is never replaced.
    fn special(args: &Args, kind: &str) -> Result<Target, Failure> {
        if args.format != Format::Flattened {
            let message = format!(
                "writing to {}: it is a {kind}, and kdump and elf files need a file that can seek",
                quoted(args.output())
            );
            return Err(Failure::new(Status::Usage, message).hint("use --format flattened, or name a file"));
        }
        let file = OutputFile::special(args.output()).map_err(|error| creating(args.output(), &error))?;
        Ok(Target::Stream(Stream::file(file)))
    }

    fn stdout(args: &Args) -> Result<Target, Failure> {
        if args.format != Format::Flattened {
            let message = "writing to standard output: kdump and elf files need a file that can seek";
            return Err(Failure::new(Status::Usage, message).hint("use --format flattened, or name a file"));
        }
        let terminal = "writing the restored dump to a terminal is refused";
        let stream = Stream::stdout().map_err(|error| stdout_failure(&error, terminal))?;
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
                stream.finish().map(drop)
            }
        }
    }
}

/// Opens a dump whose reading shows on the console.
pub(super) fn watched(doing: &'static str, dump: &Path) -> Result<Box<dyn BufRead + Send>, Failure> {
    input::open_sequential(dump, |len, bytes| meter::watch(doing, len, bytes))
}

/// What stopped a restore to `output`, or a check.
pub(super) fn failure(dump: &Path, output: Option<&Path>, error: &restore::Error) -> Failure {
    match (error, output) {
        (restore::Error::Write(error), Some(output)) => {
            Failure::caused(format!("writing {}", output_name(output)), error)
                .maybe_hint(full_hint(error, "free some room for the restored dump"))
        }
        (restore::Error::Crypt(cause), _) => input::crypt_failure(dump, cause),
        (restore::Error::Stream(cause), _) => input::stream_failure(dump, cause),
        (restore::Error::NotADump, _) => Failure::caused(format!("restoring {}", input_name(dump)), error)
            .hint("if it is a log, vmcore-decrypt dmesg prints it"),
        (restore::Error::TooManyRuns, _) => {
            Failure::caused(format!("restoring {}", input_name(dump)), error).hint("use --format kdump")
        }
        (restore::Error::Parts(_), _) => Failure::caused(format!("restoring {}", input_name(dump)), error)
            .hint("name every part of one dump once, and the output at last"),
        (restore::Error::Read(cause), _) => Failure::caused(format!("restoring {}", input_name(dump)), error)
            .status(input::read_status(cause)),
        (error, _) => {
            Failure::caused(format!("restoring {}", input_name(dump)), error).status(Status::Damaged)
        }
    }
}
