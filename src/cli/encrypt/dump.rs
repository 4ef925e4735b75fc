//! `vmcore-encrypt VMCORE [DUMPFILE]`: what can be typed where makedumpfile's command line stood, and
//! what follows from it.

use super::super::progress::Progress;
use super::super::{Failure, Status, quoted, report, say, size};
use super::PROGRAM;
use crate::collect::{self, Options, Report};
use crate::crypt::recipients::parse_lines;
use crate::crypt::{self, Entropy, Recipients};
use crate::filter::{Classifier, DumpLevel, Warning};
use crate::sink::{OnFailure, OutputFile, Stream};
use crate::vmcore::{self, Vmcore};
use clap::Args as ClapArgs;
use std::fs;
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the machine's recipients are, unless said otherwise.
const RECIPIENTS: &str = "/etc/vmcore-encrypt/recipients";
/// A recipients file is text that people keep; anything larger is not one.
const MAX_RECIPIENTS_FILE: u64 = 1 << 20;
/// The kernel makes entropy of its own while somebody waits; a minute is plenty of it.
const ENTROPY_LIMIT: Duration = Duration::from_secs(60);
/// zstd level of `-l`, of the default, and of `-z`.
const LEVELS: [i32; 3] = [-1, 1, 3];

/// The collector's own arguments.
#[derive(ClapArgs, Debug)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    recipients: RecipientArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    messages: MessageArgs,

    /// The vmcore: /proc/vmcore in the capture kernel, or a copy of one
    vmcore: PathBuf,
    /// The dump file; standard output when absent or with -F
    dumpfile: Option<PathBuf>,
}

#[derive(ClapArgs, Debug)]
#[command(next_help_heading = "Pages")]
struct FilterArgs {
    /// Which pages to leave out: sum of 1 zero, 2 non-private cache, 4 all cache, 8 user, 16 free.
    /// With several levels the next one is tried when the dump gets too large for the one before
    #[arg(
        short = 'd',
        long = "dump-level",
        value_name = "N[,N...]",
        value_delimiter = ',',
        default_value = "31"
    )]
    levels: Vec<DumpLevel>,
}

#[derive(ClapArgs, Debug)]
#[command(next_help_heading = "Recipients")]
struct RecipientArgs {
    /// Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable
    #[arg(short = 'r', long = "recipient", value_name = "RECIPIENT")]
    recipients: Vec<String>,
    /// Encrypt to the recipients in this file, one a line; repeatable
    /// [default: /etc/vmcore-encrypt/recipients when no -r is given]
    #[arg(short = 'R', long = "recipients-file", value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(ClapArgs, Debug)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// Compress as makedumpfile's default would: zstd level 1 (the default)
    #[arg(short = 'c', group = "preset")]
    compress: bool,
    /// Compress fast: zstd level -1
    #[arg(short = 'l', group = "preset")]
    fast: bool,
    /// Compress fast: the same as -l
    #[arg(short = 'p', group = "preset")]
    snappy: bool,
    /// Compress small: zstd level 3
    #[arg(short = 'z', group = "preset")]
    small: bool,
    /// zstd level of the dump
    #[arg(long, value_name = "LEVEL", group = "preset", allow_hyphen_values = true,
          value_parser = clap::value_parser!(i32).range(-7..=19))]
    compress_level: Option<i32>,
    /// Write to standard output (the dump is a stream in any case)
    #[arg(short = 'F', conflicts_with = "dumpfile")]
    flattened: bool,
    /// Overwrite an existing dump file
    #[arg(short = 'f', long)]
    force: bool,
    /// The most bytes the dump may take, with a suffix K M G T P E; a dump that would take more ends
    /// early and says so
    #[arg(short = 'L', long, value_name = "SIZE", value_parser = size::parse)]
    limit: Option<u64>,
    /// Leave an unfinished dump file in place when an error ends the run
    #[arg(long)]
    keep_incomplete: bool,
    /// Do everything but write
    #[arg(long)]
    dry_run: bool,
    /// Threads that read, compress and encrypt [default: one per CPU]
    #[arg(long, value_name = "N")]
    num_threads: Option<usize>,
}

#[derive(ClapArgs, Debug)]
#[command(next_help_heading = "Messages")]
struct MessageArgs {
    /// Which messages: sum of 1 progress, 2 common, 4 errors (always shown), 8 debug, 16 report
    #[arg(long, value_name = "N", default_value_t = 23, hide_default_value = true,
          value_parser = clap::value_parser!(u8).range(0..=31))]
    message_level: u8,
    /// Debug messages too
    #[arg(short = 'D')]
    debug: bool,
    /// The report even where --message-level leaves it out
    #[arg(long)]
    show_stats: bool,
    /// Check the command line and the recipients, then exit
    #[arg(long)]
    check_params: bool,
}

impl MessageArgs {
    fn shows(&self, bit: u8) -> bool {
        self.message_level & bit != 0
            || (self.debug && bit == MESSAGE_DEBUG)
            || (self.show_stats && bit == MESSAGE_REPORT)
    }
}

const MESSAGE_PROGRESS: u8 = 1;
const MESSAGE_COMMON: u8 = 2;
const MESSAGE_DEBUG: u8 = 8;
const MESSAGE_REPORT: u8 = 16;

/// Runs the program.
///
/// # Errors
/// What stopped it, ready to be said.
pub fn run(args: &Args) -> Result<(), Failure> {
    let recipients = read_recipients(&args.recipients)?;
    recipients.check_plugins().map_err(|error| recipient_failure("checking recipients", &error))?;
    if args.messages.check_params {
        return Ok(());
    }
    let vmcore = open_vmcore(&args.vmcore)?;
    let levels = &args.filter.levels;
    for (at, &level) in levels.iter().enumerate() {
        let is_last = at + 1 == levels.len();
        match attempt(args, &vmcore, &recipients, level, is_last)? {
            Outcome::Done => return Ok(()),
            Outcome::TooLarge => {
                let next = levels.get(at + 1).copied().unwrap_or(level);
                say(
                    PROGRAM,
                    "note",
                    &format!("the dump at level {level} is too large, retrying at level {next}"),
                );
            }
        }
    }
    Ok(())
}

enum Outcome {
    Done,
    TooLarge,
}

/// One dump at one level. With a further level to try, running out of room is no error.
fn attempt(
    args: &Args,
    vmcore: &Vmcore,
    recipients: &Recipients,
    level: DumpLevel,
    is_last: bool,
) -> Result<Outcome, Failure> {
    let unfiltered = warn(args, vmcore, level);
    let mut stream = open_output(args)?;
    let options = Options {
        level,
        threads: threads(args.output.num_threads),
        compression: compression(&args.output),
        limit: args.output.limit,
    };
    let mut progress = Progress::new(PROGRAM, "collecting", args.messages.shows(MESSAGE_PROGRESS));
    let result = collect::collect(
        vmcore,
        recipients,
        &mut Entropy { limit: ENTROPY_LIMIT, notify: &mut |text| say(PROGRAM, "note", text) },
        &options,
        &mut stream,
        &mut |share| progress.update(share),
    );
    let report = match result {
        Err(collect::Error::Write(error)) if !is_last && error.kind() == io::ErrorKind::StorageFull => {
            return Ok(Outcome::TooLarge);
        }
        result => result.map_err(|error| collect_failure(args, &error))?,
    };
    if !report.complete && !is_last {
        return Ok(Outcome::TooLarge);
    }
    stream.finish().map_err(|error| write_failure(args, &error))?;
    conclude(args, level, &report)?;
    if unfiltered {
        let message = format!(
            "filtering {}: pages could not be judged, the dump holds all of them",
            quoted(&args.vmcore)
        );
        return Err(Failure::new(Status::Unfiltered, message)
            .hint("the dump is complete; -d 1 asks for no more than this"));
    }
    Ok(Outcome::Done)
}

/// Says what cannot be filtered before the dump starts; whether nothing can.
fn warn(args: &Args, vmcore: &Vmcore, level: DumpLevel) -> bool {
    let (_, warnings) = Classifier::new(vmcore, level);
    for warning in &warnings {
        let text = Failure::caused(format!("filtering {}", quoted(&args.vmcore)), warning);
        say(PROGRAM, "warning", text.message());
    }
    level.get() > DumpLevel::ZERO && warnings.iter().any(Warning::keeps_everything)
}

/// The report, and what was not as it should be.
fn conclude(args: &Args, level: DumpLevel, report: &Report) -> Result<(), Failure> {
    if let Some(first) = &report.first_failure {
        let count = report.pages.unreadable;
        say(
            PROGRAM,
            "warning",
            &format!("{count} pages could not be read and are missing, the first: {first}"),
        );
    }
    if args.messages.shows(MESSAGE_REPORT) {
        let text = report::lines(&report.pages, level.get(), report.written);
        // A console that is gone is no reason to fail after the dump is safe.
        let _ = io::stderr().write_all(text.as_bytes());
    }
    if !report.complete {
        let limit = args.output.limit.unwrap_or_default();
        let message =
            format!("saving {}: the limit of {limit} bytes ended the dump early", output_name(args));
        return Err(Failure::new(Status::Failure, message)
            .hint("what was saved can be restored; allow more room, or give a second level: -d 1,31"));
    }
    if args.messages.shows(MESSAGE_COMMON) {
        say(PROGRAM, "note", &format!("the encrypted dump is saved to {}", output_name(args)));
    }
    Ok(())
}

fn read_recipients(args: &RecipientArgs) -> Result<Recipients, Failure> {
    let mut list = Vec::new();
    for (at, recipient) in args.recipients.iter().enumerate() {
        let doing = format!("parsing recipient {} of the command line", at + 1);
        list.extend(parse_lines(recipient.as_bytes()).map_err(|error| recipient_failure(&doing, &error))?);
    }
    let default = [PathBuf::from(RECIPIENTS)];
    let files = if list.is_empty() && args.files.is_empty() { &default[..] } else { &args.files };
    for path in files {
        let doing = format!("parsing recipients file {}", quoted(path));
        let parsed = parse_lines(&read_small(path)?).map_err(|error| recipient_failure(&doing, &error))?;
        if parsed.is_empty() {
            return Err(recipient_failure(&doing, &crypt::Error::NoRecipients));
        }
        list.extend(parsed);
    }
    Recipients::new(list).map_err(|error| recipient_failure("choosing recipients", &error))
}

fn read_small(path: &Path) -> Result<Vec<u8>, Failure> {
    let doing = || format!("reading recipients file {}", quoted(path));
    let read = |file: fs::File| {
        let mut bytes = Vec::new();
        file.take(MAX_RECIPIENTS_FILE + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes = fs::File::open(path).and_then(read).map_err(|error| {
        Failure::caused(doing(), &error)
            .hint("put the recipients there, or name another file with --recipients-file")
    })?;
    if bytes.len() as u64 > MAX_RECIPIENTS_FILE {
        return Err(Failure::new(Status::Failure, format!("{}: larger than 1 MiB", doing())));
    }
    Ok(bytes)
}

fn recipient_failure(doing: &str, error: &crypt::Error) -> Failure {
    Failure::caused(doing, error).maybe_hint(error.hint())
}

fn open_vmcore(path: &Path) -> Result<Vmcore, Failure> {
    let doing = || format!("opening vmcore {}", quoted(path));
    let vmcore = Vmcore::open(path).map_err(|error| {
        let hint = match error {
            vmcore::Error::NotElf | vmcore::Error::NotCore(_) => {
                "the input must be an ELF core such as /proc/vmcore"
            }
            vmcore::Error::Truncated { .. } => "the copy is cut; copy it again",
            _ => return Failure::caused(doing(), &error),
        };
        Failure::caused(doing(), &error).hint(hint)
    })?;
    match vmcore.truncated_at() {
        Some(end) => Err(Failure::new(
            Status::Failure,
            format!("{}: truncated, it ends at {end:#x} inside a segment of memory", doing()),
        )
        .hint("the copy is cut; copy it again")),
        None => Ok(vmcore),
    }
}

fn open_output(args: &Args) -> Result<Stream, Failure> {
    if args.output.dry_run {
        return Ok(Stream::Null(io::sink()));
    }
    let Some(path) = &args.dumpfile else {
        return Stream::stdout().ok_or_else(|| {
            Failure::new(Status::Usage, "writing the dump to a terminal is refused")
                .hint("name a dump file, or redirect standard output")
        });
    };
    let on_failure = if args.output.keep_incomplete { OnFailure::Keep } else { OnFailure::Remove };
    let output = OutputFile::create(path, args.output.force, on_failure).map_err(|error| {
        let hint = (error.kind() == io::ErrorKind::AlreadyExists).then_some("-f overwrites it");
        Failure::caused(format!("creating dump file {}", quoted(path)), &error).maybe_hint(hint)
    })?;
    Ok(Stream::file(output))
}

fn collect_failure(args: &Args, error: &collect::Error) -> Failure {
    match error {
        collect::Error::Write(error) => write_failure(args, error),
        collect::Error::Crypt(error) => recipient_failure("encrypting", error),
        error => Failure::caused(format!("collecting {}", quoted(&args.vmcore)), error),
    }
}

fn write_failure(args: &Args, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => Some("free some room, or give a second, higher dump level: -d 1,31"),
        io::ErrorKind::BrokenPipe => {
            Some("the program that reads the dump ended early; look at its messages")
        }
        _ => None,
    };
    Failure::caused(format!("writing {}", output_name(args)), error).maybe_hint(hint)
}

fn output_name(args: &Args) -> String {
    match &args.dumpfile {
        _ if args.output.dry_run => "nowhere (dry run)".to_owned(),
        Some(path) => quoted(path),
        None => "standard output".to_owned(),
    }
}

fn compression(args: &OutputArgs) -> i32 {
    let [fast, usual, small] = LEVELS;
    match args {
        OutputArgs { compress_level: Some(level), .. } => *level,
        OutputArgs { fast: true, .. } | OutputArgs { snappy: true, .. } => fast,
        OutputArgs { small: true, .. } => small,
        _ => usual,
    }
}

fn threads(asked: Option<usize>) -> NonZero<usize> {
    // makedumpfile's `--num-threads 0` means no extra thread.
    let cpus = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    asked.map_or(cpus, |threads| NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN))
}
