//! `vmcore-decrypt refilter DUMP OUT`: a dump at a higher level, to other recipients, with a file key of its own. The pages
//! go from one encrypted file into the other, and no plaintext reaches a disk.

mod redact;

use super::super::beyond::BeyondArgs;
use super::super::creating::full_hint;
use super::super::progress::{Progress, Step, is_quiet};
use super::super::recipients::{self, RecipientArgs};
use super::super::signals::remove_unfinished_on_signals;
use super::super::{Failure, Status, input_name, output_name, report, say, status};
use super::apart;
use super::input::{self, IdentityArgs};
use super::rewrap::{open_output, warn_of_downgrade};
use super::{PROGRAM, with_entropy};
use crate::collect::{self, Options, Report};
use crate::crypt::{Header, Identities, Recipients};
use crate::filter::{Beyond, DumpLevel, Survey};
use crate::reader::{BLOCK_CACHE, Dump, SourceReader};
use crate::redact::Kinds;
use crate::vmcore::Vmcore;
use clap::Args as ClapArgs;
use std::io::{self, IsTerminal, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The arguments of `refilter`.
#[derive(ClapArgs, Debug)]
#[command(override_usage = "vmcore-decrypt refilter [OPTIONS] <DUMP>... <OUTPUT>")]
#[command(after_help = status::help("Examples:
  vmcore-decrypt refilter -i key.txt -d 31 -R vendor.txt vmcore.age for-the-vendor.age
  vmcore-decrypt refilter -i key.txt -d 31 --redact -R vendor.txt vmcore.age for-the-vendor.age
  vmcore-decrypt refilter -i key.txt -r age1... part1.age part2.age whole.age

The new dump has a file key of its own: whoever could open the old file cannot open the new one by that, and the other way \
round. Pages that the old dump left out stay out: levels can only rise.", Status::ALL))]
pub(super) struct Args {
    #[command(flatten)]
    identities: IdentityArgs,
    #[command(flatten)]
    recipients: RecipientArgs,
    /// Which pages to leave out, as with vmcore-encrypt [default: the level of the dump]
    #[arg(short = 'd', long = "dump-level", value_name = "N")]
    level: Option<DumpLevel>,
    #[command(flatten)]
    beyond: BeyondArgs,
    /// Overwrite secrets in the new dump. KINDS are names with commas between: default, all, no-NAME for all but one; the
    /// kinds are in docs/handover.md. Nothing is written where one of them cannot be walked
    #[arg(long, value_name = "KINDS", num_args = 0..=1, require_equals = true, default_missing_value = "default")]
    redact: Option<Kinds>,
    /// zstd level of the new dump
    #[arg(long, value_name = "LEVEL", default_value_t = 1, allow_hyphen_values = true,
          value_parser = clap::value_parser!(i32).range(-7..=19))]
    compress_level: i32,
    /// Overwrite an existing output file, once the new one is written to its end
    #[arg(short = 'f', long)]
    force: bool,
    /// Threads that decrypt, compress and encrypt [default: one per CPU]
    #[arg(long, value_name = "N")]
    num_threads: Option<NonZero<usize>>,

    /// The encrypted dump; of a dump in parts all parts. The last word is OUTPUT, the new dump; - is standard output
    #[arg(value_name = "DUMP", required = true)]
    words: Vec<PathBuf>,
}

/// Runs the sub-command: `restore` as far as pages, and from there `collect`.
///
/// # Errors
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    args.check_words()?;
    let identities = args.identities.read(args.dumps())?;
    let recipients = args.recipients.read_typed()?;
    let input::Opened { dump, fault } = args.open(&identities, &recipients)?;
    let state = fault.as_ref().map(Failure::exit_status);
    let vmcore = args.pages(&dump).map_err(|failure| match (state, failure.exit_status()) {
        // Of a dump that is cut or damaged that is the state, whatever did not work for it.
        (Some(state), Status::Failure) => failure.status(state),
        _ => failure,
    })?;
    let level = args.level(&dump);
    let survey = Survey::of(&vmcore, &[level], args.beyond(&dump));
    let judges = warn(args, &survey, level);
    let made = args.write(&survey, &recipients, level)?;
    args.conclude(&dump, &vmcore, &made, judges || level.get() <= DumpLevel::ZERO)?;
    // All pages are in the new dump, and the old one is not as it should be.
    fault.map_or(Ok(()), Err)
}

/// Warns of what cannot be filtered; whether pages are judged at all.
fn warn(args: &Args, survey: &Survey<'_>, level: DumpLevel) -> bool {
    for warning in survey.warnings(level) {
        let text = Failure::caused(format!("filtering {}", input_name(args.dump())), warning);
        say(PROGRAM, "warning", text.message());
    }
    survey.judges()
}

impl Args {
    /// The dump, or its parts.
    fn dumps(&self) -> &[PathBuf] {
        self.words.split_last().map_or(&[], |(_, dumps)| dumps)
    }

    /// The new dump: the last word.
    fn output(&self) -> &Path {
        self.words.last().map_or(Path::new("-"), PathBuf::as_path)
    }

    /// The dump, or the first of its parts.
    fn dump(&self) -> &Path {
        self.dumps().first().map_or(Path::new("-"), PathBuf::as_path)
    }

    /// The dump is named, and so is an output that is none of the files that are read.
    fn check_words(&self) -> Result<(), Failure> {
        if self.dumps().is_empty() {
            let message = format!("refiltering {}: no output is named", input_name(self.output()));
            return Err(Failure::new(Status::Usage, message)
                .hint("the output is the last word: vmcore-decrypt refilter -i KEY DUMP OUTPUT"));
        }
        self.identities.apart_from(self.output(), self.dumps())?;
        apart::check(self.output(), self.recipients.named_files().iter().map(PathBuf::as_path))
    }

    /// Opens the dump, or all its parts, and warns of new recipients that protect it less than the old ones.
    fn open(&self, identities: &Identities, recipients: &Recipients) -> Result<input::Opened, Failure> {
        let source = input::open_source(self.dump())?;
        let mut start = io::BufReader::new(SourceReader::new(source));
        let old = Header::read(&mut start).map_err(|cause| input::crypt_failure(self.dump(), &cause))?;
        warn_of_downgrade(&old, recipients);
        let opened = input::open_parts(self.dumps(), identities, BLOCK_CACHE)?;
        input::warn_of_part(self.dump(), opened.dump.facts().part.as_ref());
        if let Some(fault) = &opened.fault {
            say(PROGRAM, "warning", fault.message());
        }
        Ok(opened)
    }

    /// The pages of the dump as a vmcore to collect, without the secrets that are asked for.
    fn pages(&self, dump: &Arc<Dump>) -> Result<Vmcore, Failure> {
        let doing = || format!("reading {}", input_name(self.dump()));
        let vmcore =
            dump.vmcore().map_err(|error| Failure::caused(doing(), &error).status(Status::Damaged))?;
        match &self.redact {
            None => Ok(vmcore),
            Some(kinds) => redact::without_secrets(self, kinds, dump, &vmcore),
        }
    }

    /// Writes the new dump, reports it, and removes it after any failure.
    fn write(
        &self,
        survey: &Survey<'_>,
        recipients: &Recipients,
        level: DumpLevel,
    ) -> Result<Report, Failure> {
        remove_unfinished_on_signals()?;
        let mut stream = open_output(self.output(), self.force)?;
        let made = self.collect(survey, recipients, level, &mut stream)?;
        if self.redact.is_some() && made.pages.lost() > 0 {
            return Err(redact::damaged(self, made.pages.lost()));
        }
        stream.finish().map_err(|error| self.failure(&collect::Error::Write(error)))?;
        if !is_quiet() {
            // A console that is gone is no reason to fail after the dump is safe.
            let _ = io::stderr().write_all(report::lines(&made, level.get()).as_bytes());
        }
        Ok(made)
    }

    /// Collects the pages into `stream`, with progress.
    fn collect(
        &self,
        survey: &Survey<'_>,
        recipients: &Recipients,
        level: DumpLevel,
        stream: &mut (dyn Write + Send),
    ) -> Result<Report, Failure> {
        let options = Options {
            level,
            threads: input::threads(self.num_threads),
            compression: self.compress_level,
            limit: None,
            part: None,
            live: false,
        };
        #[cfg(feature = "remote")]
        super::slow::end();
        let mut progress = Progress::new(PROGRAM, "refiltering", io::stderr().is_terminal());
        let mut update = |share| progress.update(Step::Share(share));
        let made = with_entropy(|entropy| {
            collect::collect_surveyed(survey, recipients, entropy, &options, stream, &mut update)
        });
        Ok(made.map_err(|error| self.failure(&error))?.report)
    }

    /// What is left out beyond makedumpfile. Of a dump that left out cache, user and free pages with their structures kept, these
    /// stay: which of them lead from one free block to the next cannot be told any more.
    fn beyond(&self, dump: &Dump) -> Beyond {
        let former = DumpLevel::new(dump.facts().dump_level).unwrap_or(DumpLevel::ALL);
        self.beyond.beyond(dump.facts().without_structures || !former.keeps_kernel_alone())
    }

    /// The level asked for, or the dump's own. What that one left out does not come back.
    fn level(&self, dump: &Dump) -> DumpLevel {
        let former = DumpLevel::new(dump.facts().dump_level).unwrap_or(DumpLevel::ALL);
        let level = self.level.unwrap_or(former);
        if former.get() & !level.get() != 0 {
            let text = format!(
                "level {level} is lower than the input's: {} is of level {former}, so the new dump is of level {}",
                input_name(self.dump()),
                former.get() | level.get()
            );
            say(PROGRAM, "warning", &text);
        }
        level
    }

    fn failure(&self, error: &collect::Error) -> Failure {
        match error {
            collect::Error::Write(error) => {
                Failure::caused(format!("writing {}", output_name(self.output())), error)
                    .maybe_hint(full_hint(error, "free some room"))
            }
            collect::Error::Crypt(error) => recipients::failure("encrypting", error),
            error => Failure::caused(format!("refiltering {}", input_name(self.dump())), error),
        }
    }

    /// What was not as it should be. Chunks that could not be opened cost their pages.
    fn conclude(&self, dump: &Dump, vmcore: &Vmcore, made: &Report, judges: bool) -> Result<(), Failure> {
        let output = output_name(self.output());
        let failed = |status, why: &str| {
            Err(Failure::new(status, format!("refiltering {}: {why}", input_name(self.dump())))
                .hint(format!("what is authentic of it is in {output}")))
        };
        let pages = &made.pages;
        if let Some(first) = &made.first_failure {
            let cause = Failure::caused(first.to_string(), &first.cause);
            let text =
                format!("{} pages could not be read, the first: {}", pages.unreadable, cause.message());
            say(PROGRAM, "warning", &text);
        }
        if !dump.is_complete() || dump.facts().part.is_some() || pages.is_lacking() {
            return failed(Status::Incomplete, "the dump is incomplete, and so is the new one");
        }
        say(PROGRAM, "note", &format!("the new dump is {output}"));
        let warned = pages.lost() > 0 || made.notes_lost > 0 || !vmcore.flaws().is_empty();
        match (judges, warned) {
            (false, _) => failed(Status::Warned, "pages could not be judged, the new dump holds all of them"),
            (true, true) => failed(Status::Warned, "the new dump is whole, but not all is as it should be"),
            (true, false) => Ok(()),
        }
    }
}
