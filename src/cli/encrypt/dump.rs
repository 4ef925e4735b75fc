//! `vmcore-encrypt VMCORE [DUMPFILE]`: what can be typed where makedumpfile's command line stood, and
//! what follows from it.

use super::super::progress::{self, Progress, Step};
use super::super::recipients;
use super::super::signals::{Stop, Stoppable};
use super::super::{Failure, Status, quoted, report, say};
use super::args::{Args, Message};
use super::output::Place;
#[cfg(feature = "convert")]
use super::removal::Removal;
use super::{PROGRAM, dmesg, estimate, input, with_entropy};
use crate::collect::{self, Options, Part, Report};
use crate::crypt::Recipients;
use crate::filter::{DumpLevel, Effort, Survey, Warning};
use crate::sink::Stream;
use crate::vmcore::Vmcore;
use std::io::{self, Write};
use std::num::NonZero;
#[cfg(feature = "check")]
use std::path::Path;

/// What helps when there is no room for the dump.
const WHEN_FULL: &str = "free some room, or give a second, higher dump level: -d 1,31";
/// The same where that level cannot be tried.
const WHEN_FULL_FOR_GOOD: &str = "what went to standard output stays, so no other level is tried; name a dump file, or begin with that level";

/// Runs the program.
///
/// # Errors
/// What stopped it, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let places = args.places()?;
    args.check()?;
    if args.dumps_log() && !args.checks_only() {
        let [place] = &places[..] else {
            return Err(Failure::new(
                Status::Usage,
                "--split does not go with --dump-dmesg: a log is one file",
            ));
        };
        return dmesg::save(&args.vmcore, args.partial_log(), &args.recipients, place);
    }
    if args.checks_only() {
        places.iter().try_for_each(Place::check)?;
        check_command_lines()?;
        return with_entropy(|entropy| args.recipients.check(entropy));
    }
    for place in &places {
        place.check_apart(&args.vmcore)?;
    }
    let recipients = args.recipients.read()?;
    let stop = Stop::install()?;
    #[cfg(feature = "convert")]
    let removal = Removal::prepare(args)?;
    #[cfg(feature = "convert")]
    let vmcore = match &removal {
        Some(removal) => input::open_held(&args.vmcore, removal.file())?,
        None => open_input(args)?,
    };
    #[cfg(not(feature = "convert"))]
    let vmcore = open_input(args)?;
    warn_of_lower_level(args, &vmcore);
    let live = estimate::is_live(&args.vmcore);
    if live {
        say(PROGRAM, "warning", "the kernel is running: its memory changes while it is saved");
    }
    let dump = Dump {
        args,
        places,
        vmcore,
        live,
        recipients,
        stop,
        #[cfg(feature = "convert")]
        kept: std::sync::Mutex::default(),
    };
    let saved = dump.save();
    #[cfg(feature = "convert")]
    let saved = saved.and_then(|()| {
        removal.map_or(Ok(()), |removal| removal.remove(&dump.vmcore, dump.kept.into_inner().ok().flatten()))
    });
    let saved = saved.or_else(|end| tolerated(args, end));
    if let Some(peak) = peak_memory().filter(|_| args.shows(Message::Debug)) {
        say(PROGRAM, "debug", &format!("peak memory {peak}"));
    }
    saved
}

fn open_input(args: &Args) -> Result<Vmcore, Failure> {
    let open = if args.is_unmapped() { input::open_unmapped_vmcore } else { input::open_vmcore };
    open(&args.vmcore)
}

/// What the collector of the input left out does not come back at a lower level.
fn warn_of_lower_level(args: &Args, vmcore: &Vmcore) {
    let Some(origin) = vmcore.origin() else { return };
    let level = args.levels().iter().map(|level| level.get()).min().unwrap_or(0);
    if origin.level & !level != 0 {
        let (kind, former, both) = (origin.kind, origin.level, origin.level | level);
        let text = format!(
            "level {level} is lower than the input's: {} is {kind} of level {former}, so the dump is of level {both}",
            quoted(&args.vmcore)
        );
        say(PROGRAM, "warning", &text);
    }
}

/// Refuses kdump's configuration of the capture kernel's command line where a word of it is meant for the collector and
/// pins nothing.
#[cfg(feature = "check")]
fn check_command_lines() -> Result<(), Failure> {
    let Some((file, key, error)) = crate::check::pins_nothing(Path::new("/")) else { return Ok(()) };
    Err(Failure::caused(format!("checking {key} in \"{file}\""), &error).hint(error.hint()))
}

/// The build for images reads no configuration of a distribution.
#[cfg(not(feature = "check"))]
fn check_command_lines() -> Result<(), Failure> {
    Ok(())
}

/// With --warnings-exit-0 a whole dump that needs a warning is a success, for scripts that know no status but 0. A dump
/// that is not whole never is.
fn tolerated(args: &Args, end: Failure) -> Result<(), Failure> {
    if !(args.warnings_exit_0() && end.exit_status() == Status::Warned) {
        return Err(end);
    }
    say(PROGRAM, "warning", end.message());
    Ok(())
}

/// The most memory this process had at once, as the kernel says it. Source: Linux
/// `Documentation/filesystems/proc.rst`, `VmHWM`.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().to_owned())
}

/// A dump to be made.
struct Dump<'a> {
    args: &'a Args,
    places: Vec<Place>,
    vmcore: Vmcore,
    live: bool,
    recipients: Recipients,
    stop: Stop,
    /// The payload key of the dump and where its payload starts, where it is to be read back.
    #[cfg(feature = "convert")]
    kept: std::sync::Mutex<Option<(crate::crypt::PayloadKey, u64)>>,
}

enum Outcome {
    Done,
    TooLarge,
}

impl Dump<'_> {
    /// Makes the dump from one survey of the memory, however many levels are tried.
    fn save(&self) -> Result<(), Failure> {
        let survey = Survey::of(&self.vmcore, self.args.levels(), self.args.beyond());
        let saved = self.try_levels(&survey);
        if self.args.shows(Message::Debug) {
            say(PROGRAM, "debug", &effort(survey.effort()));
        }
        saved
    }

    /// Tries one level after the other until the dump fits.
    fn try_levels(&self, survey: &Survey<'_>) -> Result<(), Failure> {
        let levels = self.args.levels();
        let mut places = self.places.clone();
        for (at, &level) in levels.iter().enumerate() {
            let next = levels.get(at + 1).filter(|_| places.iter().all(Place::can_begin_anew));
            match (self.attempt(survey, &places, level, next.is_none())?, next) {
                (Outcome::TooLarge, Some(next)) => {
                    let text = format!("the dump at level {level} is too large, retrying at level {next}");
                    say(PROGRAM, "note", &text);
                    places = places.iter().map(Place::again).collect();
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// One dump at one level. With a further level to try, running out of room is no error.
    fn attempt(
        &self,
        survey: &Survey<'_>,
        places: &[Place],
        level: DumpLevel,
        is_last: bool,
    ) -> Result<Outcome, Failure> {
        let filter = warn(self.args, survey, level);
        // All of them before the first page, so that a place that is none costs no work.
        let streams = places.iter().map(Place::open).collect::<Result<Vec<_>, _>>()?;
        let jobs = places.iter().zip(streams).zip(self.parts(survey, level)?);
        let write = |((place, stream), part): ((&Place, Stream), Option<Part>)| {
            self.write(survey, (level, is_last), place, stream, part)
        };
        let results: Vec<Result<Option<Unfinished>, Failure>> = match self.places.len() {
            1 => jobs.map(write).collect(),
            _ => in_parallel(jobs, write),
        };
        let Some(parts) = results.into_iter().collect::<Result<Option<Vec<_>>, _>>()? else {
            return Ok(Outcome::TooLarge);
        };
        // A part is worth nothing without the others: none is finished before all are written.
        let finished = places.iter().zip(parts).map(|(place, part)| self.finish(place, part));
        let finished = finished.collect::<Result<Vec<_>, _>>()?;
        let Some(written) = finished.into_iter().reduce(Written::join) else { return Ok(Outcome::TooLarge) };
        warn_of_damage(&written.report, filter.judges);
        self.conclude(level, &written)?;
        let filters = level.get() > DumpLevel::ZERO;
        if filters && !filter.judges {
            return Err(not_filtered(self.args));
        }
        self.unusual(&written.report, filters.then_some(filter)).map_or(Ok(Outcome::Done), Err)
    }

    /// Why a dump that is whole is not as it usually is, if so; warnings name the details. `filter` is absent where the
    /// level asks for no class of pages.
    fn unusual(&self, report: &Report, filter: Option<Filter>) -> Option<Failure> {
        let pages = &report.pages;
        let unjudged = pages.unjudged > 0 || pages.doubtful > 0;
        let why = [
            (pages.lost() > 0, "a few pages are lost"),
            (filter.is_some_and(|filter| filter.warned), "not every class of pages can be told"),
            (filter.is_some() && unjudged, "some pages could not be classified and are kept"),
            (!self.vmcore.flaws().is_empty(), "the vmcore is damaged"),
            (report.notes_lost > 0, "device dumps among its notes are not whole"),
            (self.recipients.left_out(), "not all recipients can open the dump"),
        ];
        let why: Vec<&str> = why.iter().filter_map(|&(is_so, why)| is_so.then_some(why)).collect();
        let message = format!("collecting {}: {}", quoted(&self.args.vmcore), why.join(", "));
        let hint = "the dump is whole, and the warnings before this name the details";
        (!why.is_empty()).then(|| Failure::new(Status::Warned, message).hint(hint))
    }

    /// A part for each place, or the whole for the only one.
    fn parts(&self, survey: &Survey<'_>, level: DumpLevel) -> Result<Vec<Option<Part>>, Failure> {
        match u32::try_from(self.places.len()).unwrap_or(u32::MAX) {
            0 | 1 => Ok(vec![None]),
            count => {
                let parts = collect::divide(survey, level, count);
                let parts = parts.map_err(|error| Failure::caused("naming the parts of the dump", &error))?;
                Ok(parts.into_iter().map(Some).collect())
            }
        }
    }

    /// Writes the dump, or a part of it, to one place, without an end to the file; `None` when it takes too much room and
    /// `!is_last`.
    fn write(
        &self,
        survey: &Survey<'_>,
        (level, is_last): (DumpLevel, bool),
        place: &Place,
        mut stream: Stream,
        part: Option<Part>,
    ) -> Result<Option<Unfinished>, Failure> {
        let args = self.args;
        let limit = smaller(args.limit(), stream.capacity());
        let threads = NonZero::new(args.threads().get() / self.places.len()).unwrap_or(NonZero::<usize>::MIN);
        let options =
            Options { level, threads, compression: args.compression(), limit, part, live: self.live };
        let too_large = |error: &io::Error| !is_last && error.kind() == io::ErrorKind::StorageFull;
        let written = self.collect(survey, &options, &mut stream).and_then(|report| {
            // What is still in hand may find no room.
            stream.flush().map_err(collect::Error::Write).map(|()| report)
        });
        let report = match written {
            Err(collect::Error::Write(error)) if too_large(&error) => return Ok(None),
            result => result.map_err(|error| self.failure(place, &error))?,
        };
        if !report.complete && !is_last {
            return Ok(None);
        }
        let cut_short = (!report.complete).then(|| (place.name(), limit.unwrap_or_default()));
        Ok(Some(Unfinished { written: Written { report, cut_short }, stream }))
    }

    /// Makes what was written to a place last.
    fn finish(&self, place: &Place, part: Unfinished) -> Result<Written, Failure> {
        let files = part.stream.finish();
        let files = files.map_err(|error| place.write_failure(&error, self.when_full(place)))?;
        if files > 1 && self.args.shows(Message::Common) {
            let text =
                format!("{} goes on in .001 and so on, {files} files: none may be larger", place.name());
            say(PROGRAM, "note", &text);
        }
        Ok(part.written)
    }

    fn collect(
        &self,
        survey: &Survey<'_>,
        options: &Options,
        stream: &mut Stream,
    ) -> Result<Report, collect::Error> {
        let is_first = options.part.as_ref().is_none_or(|part| part.number == 1);
        if self.args.shows(Message::Debug) && is_first {
            say(PROGRAM, "debug", &describe(&self.vmcore, options));
        }
        // The parts are about as large, so one speaks for all.
        let mut progress =
            Progress::new(PROGRAM, "collecting", self.args.shows(Message::Progress) && is_first);
        let mut out = Stoppable { inner: stream, stop: &self.stop, left: options.limit };
        let mut update = |share| progress.update(Step::Share(share));
        let made = with_entropy(|entropy| {
            collect::collect_surveyed(survey, &self.recipients, entropy, options, &mut out, &mut update)
        })?;
        #[cfg(feature = "convert")]
        if self.args.removes_source().is_some()
            && let Ok(mut kept) = self.kept.lock()
        {
            *kept = Some((made.key, made.start));
        }
        Ok(made.report)
    }

    /// The report, and what was not as it should be.
    fn conclude(&self, level: DumpLevel, written: &Written) -> Result<(), Failure> {
        if self.args.shows(Message::Report) {
            let mut text = report::lines(&written.report, level.get());
            if self.live {
                text.push_str(report::MOVING_TARGET);
            }
            progress::clear();
            // A console that is gone is no reason to fail after the dump is safe.
            let _ = io::stderr().write_all(text.as_bytes());
        }
        if let Some((name, limit)) = &written.cut_short {
            let message = format!("saving {name}: the limit of {limit} bytes ended the dump early");
            return Err(Failure::new(Status::Incomplete, message)
                .hint("what was saved can be restored; allow more room, or give a second level: -d 1,31"));
        }
        let names: Vec<_> = self.places.iter().map(Place::name).collect();
        let names = names.join(", ");
        let pages = &written.report.pages;
        if pages.is_lacking() {
            let (lost, asked) = (pages.lost(), pages.asked());
            let image = match pages.image_lost {
                0 => String::new(),
                count => format!(", {count} of the kernel image among them"),
            };
            let message =
                format!("saving {names}: {lost} of the {asked} pages that it should hold are lost{image}");
            return Err(Failure::new(Status::Incomplete, message)
                .hint("what was saved can be restored; the warnings before this name the cause"));
        }
        if self.args.shows(Message::Common) {
            say(PROGRAM, "note", &format!("the encrypted dump is saved to {names}"));
        }
        Ok(())
    }

    fn when_full(&self, place: &Place) -> &'static str {
        if self.args.levels().len() > 1 && !place.can_begin_anew() { WHEN_FULL_FOR_GOOD } else { WHEN_FULL }
    }

    fn failure(&self, place: &Place, error: &collect::Error) -> Failure {
        match error {
            collect::Error::Write(error) => place.write_failure(error, self.when_full(place)),
            collect::Error::Crypt(error) => recipients::failure("encrypting", error),
            error => Failure::caused(format!("collecting {}", quoted(&self.args.vmcore)), error),
        }
    }
}

/// What was written to one place, which has no end yet.
struct Unfinished {
    written: Written,
    stream: Stream,
}

/// What became of one place, or of all.
struct Written {
    report: Report,
    /// The place that a limit of so many bytes ended early, if any.
    cut_short: Option<(String, u64)>,
}

impl Written {
    fn join(self, other: Written) -> Written {
        Written { report: self.report.join(other.report), cut_short: self.cut_short.or(other.cut_short) }
    }
}

/// Does everything at the same time, each on a thread of its own; the results in order.
pub(super) fn in_parallel<T: Send, R: Send>(
    items: impl Iterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = items.map(|item| scope.spawn(move || work(item))).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        // A panic of ours has been printed; it goes on here.
        ended.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn not_filtered(args: &Args) -> Failure {
    let message =
        format!("filtering {}: pages could not be judged, the dump holds all of them", quoted(&args.vmcore));
    Failure::new(Status::Warned, message).hint("the dump is complete; -d 1 asks for no more than this")
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

/// How the pages were judged, for somebody who looks for a fault.
fn effort(effort: Effort) -> String {
    let record = effort.record.div_ceil(1024);
    match effort.full_at {
        None => format!("page structures were read once; what is known of the pages takes {record} KiB"),
        Some(pfn) => format!(
            "what is known of the pages takes more than {record} KiB: page structures from {pfn} on are read again \
             when they are needed, {} windows so far",
            effort.windows_again
        ),
    }
}

/// How far pages can be classified.
#[derive(Clone, Copy)]
struct Filter {
    /// Whether they are at all.
    judges: bool,
    /// Whether a warning was given.
    warned: bool,
}

/// Warns of what cannot be filtered, before the dump starts.
fn warn(args: &Args, survey: &Survey<'_>, level: DumpLevel) -> Filter {
    let warnings: Vec<&Warning> = survey.warnings(level).collect();
    for warning in &warnings {
        let text = Failure::caused(format!("filtering {}", quoted(&args.vmcore)), warning);
        say(PROGRAM, "warning", text.message());
    }
    Filter { judges: survey.judges(), warned: !warnings.is_empty() }
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
    if report.notes_lost > 0 {
        let count = report.notes_lost;
        warn(&format!("{count} bytes of device dumps among the notes could not be saved"));
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
