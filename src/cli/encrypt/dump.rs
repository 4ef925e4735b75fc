//! `vmcore-encrypt VMCORE [DUMPFILE]`: what can be typed where makedumpfile's command line stood, and
//! what follows from it.

use super::super::progress::Progress;
use super::super::signals::{Stop, Stoppable};
use super::super::{Failure, Status, quoted, report, say};
use super::args::{Args, Message};
use super::output::Place;
use super::recipients::{self, with_entropy};
use super::{PROGRAM, dmesg, input};
use crate::collect::{self, Options, Report};
use crate::crypt::Recipients;
use crate::filter::{Classifier, DumpLevel, Warning};
use crate::sink::Stream;
use crate::vmcore::Vmcore;
use std::io::{self, Write};
use std::path::Path;

/// The running kernel's memory: a moving target.
const LIVE: &str = "/proc/kcore";
/// What helps when there is no room for the dump.
const WHEN_FULL: &str = "free some room, or give a second, higher dump level: -d 1,31";

/// Runs the program.
///
/// # Errors
/// What stopped it, ready to be said.
pub fn run(args: &Args) -> Result<(), Failure> {
    let place = args.place()?;
    args.check()?;
    if args.dumps_log() && !args.checks_only() {
        return dmesg::save(&args.vmcore, args.partial_log(), &args.recipients, &place);
    }
    let recipients = args.recipients.read()?;
    if args.checks_only() {
        return Ok(());
    }
    let stop = Stop::install().map_err(|error| Failure::caused("preparing for signals", &error))?;
    let vmcore = input::open_vmcore(&args.vmcore)?;
    if args.vmcore == Path::new(LIVE) {
        say(PROGRAM, "warning", "the kernel is running: its memory changes while it is saved");
    }
    Dump { args, place, vmcore, recipients, stop }.save()
}

/// A dump to be made.
struct Dump<'a> {
    args: &'a Args,
    place: Place,
    vmcore: Vmcore,
    recipients: Recipients,
    stop: Stop,
}

enum Outcome {
    Done,
    TooLarge,
}

impl Dump<'_> {
    /// Tries one level after the other until the dump fits.
    fn save(&self) -> Result<(), Failure> {
        let levels = self.args.levels();
        let mut place = self.place.clone();
        for (at, &level) in levels.iter().enumerate() {
            let next = levels.get(at + 1);
            match (self.attempt(&place, level, next.is_none())?, next) {
                (Outcome::TooLarge, Some(next)) => {
                    let text = format!("the dump at level {level} is too large, retrying at level {next}");
                    say(PROGRAM, "note", &text);
                    place = place.again();
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// One dump at one level. With a further level to try, running out of room is no error.
    fn attempt(&self, place: &Place, level: DumpLevel, is_last: bool) -> Result<Outcome, Failure> {
        let args = self.args;
        let judges = warn(args, &self.vmcore, level);
        let mut stream = place.open()?;
        let limit = smaller(args.limit(), stream.capacity());
        let options = Options { level, threads: args.threads(), compression: args.compression(), limit };
        let too_large = |error: &io::Error| !is_last && error.kind() == io::ErrorKind::StorageFull;
        let report = match self.collect(&options, &mut stream) {
            Err(collect::Error::Write(error)) if too_large(&error) => return Ok(Outcome::TooLarge),
            result => result.map_err(|error| self.failure(&error))?,
        };
        if !report.complete && !is_last {
            return Ok(Outcome::TooLarge);
        }
        match stream.finish() {
            // What was still in hand found no room.
            Err(error) if too_large(&error) => return Ok(Outcome::TooLarge),
            result => result.map_err(|error| place.write_failure(&error, WHEN_FULL))?,
        }
        warn_of_damage(&report, judges);
        conclude(args, place, &options, &report)?;
        match judges || level.get() <= DumpLevel::ZERO {
            true => Ok(Outcome::Done),
            false => Err(not_filtered(args)),
        }
    }

    fn collect(&self, options: &Options, stream: &mut Stream) -> Result<Report, collect::Error> {
        if self.args.shows(Message::Debug) {
            say(PROGRAM, "debug", &describe(&self.vmcore, options));
        }
        let mut progress = Progress::new(PROGRAM, "collecting", self.args.shows(Message::Progress));
        let mut out = Stoppable { inner: stream, stop: &self.stop };
        let mut update = |share| progress.update(share);
        with_entropy(|entropy| {
            collect::collect(&self.vmcore, &self.recipients, entropy, options, &mut out, &mut update)
        })
    }

    fn failure(&self, error: &collect::Error) -> Failure {
        match error {
            collect::Error::Write(error) => self.place.write_failure(error, WHEN_FULL),
            collect::Error::Crypt(error) => recipients::failure("encrypting", error),
            error => Failure::caused(format!("collecting {}", quoted(&self.args.vmcore)), error),
        }
    }
}

fn not_filtered(args: &Args) -> Failure {
    let message =
        format!("filtering {}: pages could not be judged, the dump holds all of them", quoted(&args.vmcore));
    Failure::new(Status::Unfiltered, message).hint("the dump is complete; -d 1 asks for no more than this")
}

/// What is being done to what, for somebody who looks for a fault.
fn describe(vmcore: &Vmcore, options: &Options) -> String {
    let release = vmcore.vmcoreinfo().and_then(|info| info.string("OSRELEASE")).unwrap_or("unknown");
    format!(
        "kernel {release}, {} segments, pages of {} bytes; level {}, {} threads, zstd level {}",
        vmcore.segments().len(),
        vmcore.page_size().bytes(),
        options.level,
        options.threads,
        options.compression
    )
}

/// Says what cannot be filtered before the dump starts; whether pages are judged at all.
fn warn(args: &Args, vmcore: &Vmcore, level: DumpLevel) -> bool {
    let (_, warnings) = Classifier::new(vmcore, level);
    for warning in &warnings {
        let text = Failure::caused(format!("filtering {}", quoted(&args.vmcore)), warning);
        say(PROGRAM, "warning", text.message());
    }
    !warnings.iter().any(Warning::keeps_everything)
}

fn smaller(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    [one, other].into_iter().flatten().min()
}

/// Says what could not be read of the pages, and what could not be told of them; that nothing could is said before.
fn warn_of_damage(report: &Report, judges: bool) {
    let warn = |text: &str| say(PROGRAM, "warning", text);
    let pages = &report.pages;
    if let Some(first) = &report.first_failure {
        let cause = Failure::caused(first.to_string(), &first.cause);
        let count = pages.unreadable;
        warn(&format!("{count} pages could not be read and are missing, the first: {}", cause.message()));
    }
    if pages.unjudged > 0 && judges {
        let count = pages.unjudged;
        warn(&format!(
            "{count} pages could not be classified and are kept: their page structures cannot be read"
        ));
    }
    if pages.doubtful > 0 {
        let count = pages.doubtful;
        warn(&format!("{count} pages are kept because their page structures contradict themselves"));
    }
}

/// The report, and what was not as it should be.
fn conclude(args: &Args, place: &Place, options: &Options, report: &Report) -> Result<(), Failure> {
    if args.shows(Message::Report) {
        let text = report::lines(report, options.level.get());
        // A console that is gone is no reason to fail after the dump is safe.
        let _ = io::stderr().write_all(text.as_bytes());
    }
    if !report.complete {
        let limit = options.limit.unwrap_or_default();
        let message = format!("saving {}: the limit of {limit} bytes ended the dump early", place.name());
        return Err(Failure::new(Status::Failure, message)
            .hint("what was saved can be restored; allow more room, or give a second level: -d 1,31"));
    }
    if args.shows(Message::Common) {
        say(PROGRAM, "note", &format!("the encrypted dump is saved to {}", place.name()));
    }
    Ok(())
}
