//! `vmcore-encrypt VMCORE [DUMPFILE]`: what can be typed where makedumpfile's command line stood, and
//! what follows from it. How the dump ended is in `ending`.

mod ending;

use super::super::progress::{Progress, Step};
use super::super::recipients;
use super::super::signals::{Stop, Stoppable};
use super::super::{Failure, Status, quoted, say};
use super::args::{Args, Message};
use super::output::Place;
#[cfg(feature = "convert")]
use super::removal::Removal;
use super::{PROGRAM, dmesg, estimate, input, with_entropy};
use crate::collect::levels::{Job, Target, collect_first_fitting};
use crate::collect::{self, Collected, Options};
use crate::crypt::{PayloadKey, Recipients};
use crate::filter::{DumpLevel, Effort, Survey};
use crate::sink::Stream;
use crate::vmcore::Vmcore;
#[cfg(feature = "check")]
use std::path::Path;

/// What helps when there is no room for the dump.
const WHEN_FULL: &str = "free some room, or give a second, higher dump level: -d 1,31";
/// The same at the highest level.
const WHEN_FULL_AT_31: &str = "free some room: no dump level keeps fewer pages than 31";
/// The same where that level cannot be tried.
const WHEN_FULL_FOR_GOOD: &str = "what went to standard output stays, so no other level is tried; name a dump file, or begin with that level";

/// Runs the program.
///
/// # Errors
/// The failure, as a message.
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
    let saved = save(args, places).or_else(|end| tolerated(args, end));
    if let Some(peak) = peak_memory().filter(|_| args.shows(Message::Debug)) {
        say(PROGRAM, "debug", &format!("peak memory {peak}"));
    }
    saved
}

/// Opens everything, makes the dump, and with `--remove-source` removes the input.
fn save(args: &Args, places: Vec<Place>) -> Result<(), Failure> {
    let inputs = args.inputs();
    places.iter().try_for_each(|place| place.check_apart(&inputs, &args.recipients))?;
    let recipients = args.recipients.read()?;
    let stop = Stop::install()?;
    #[cfg(feature = "convert")]
    let removal = Removal::prepare(args)?;
    #[cfg(feature = "convert")]
    let vmcore = match &removal {
        Some(removal) => removal.open()?,
        None if args.reassembles() => input::open_parts(&args.vmcore, &inputs)?,
        None => open_input(args)?,
    };
    #[cfg(not(feature = "convert"))]
    let vmcore = open_input(args)?;
    warn_of_lower_level(args, &vmcore);
    let live = estimate::is_live(&args.vmcore);
    if live {
        say(PROGRAM, "warning", "the kernel is running: its memory changes while it is saved");
    }
    let dump = Dump { args, places, vmcore, live, recipients, stop };
    let key = dump.save();
    #[cfg(feature = "convert")]
    if let Some(removal) = removal {
        return match key {
            Ok(key) => removal.remove(&dump.vmcore, key, &dump.stop),
            Err(end) => Err(removal.keep(end)),
        };
    }
    key.map(drop)
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

/// The most memory this process had at once, as the kernel reports it. Source: Linux
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
}

impl Dump<'_> {
    /// Makes the dump from one survey of the memory, however many levels are tried. Gives the payload key and where the
    /// payload starts, of a dump in parts those of the first.
    fn save(&self) -> Result<Option<(PayloadKey, u64)>, Failure> {
        let former = self.vmcore.origin().and_then(|origin| DumpLevel::new(origin.level));
        let beyond = self.args.beyond(former);
        let survey = Survey::of(&self.vmcore, self.args.levels(), beyond);
        let job = Job {
            survey: &survey,
            levels: self.args.levels(),
            threads: self.args.threads(),
            compression: self.args.compression(),
            limit: self.args.limit(),
            live: self.live,
            #[cfg(feature = "convert")]
            gives_key: self.args.removes_source().is_some(),
            #[cfg(not(feature = "convert"))]
            gives_key: false,
        };
        let saved = collect_first_fitting(&job, &Outputs { dump: self, survey: &survey });
        let ended = saved.and_then(|saved| self.end(&survey, saved));
        if self.args.shows(Message::Debug) {
            say(PROGRAM, "debug", &effort(survey.effort()));
        }
        ended
    }

    fn when_full(&self, place: &Place) -> &'static str {
        let levels = self.args.levels();
        if levels.len() > 1 && !place.can_begin_anew() {
            return WHEN_FULL_FOR_GOOD;
        }
        if self.is_of_highest_level() { WHEN_FULL_AT_31 } else { WHEN_FULL }
    }
}

/// The outputs of a dump as its collection needs them.
struct Outputs<'a> {
    dump: &'a Dump<'a>,
    survey: &'a Survey<'a>,
}

impl Target for Outputs<'_> {
    type Place = Place;
    type Failure = Failure;

    fn places(&self) -> &[Place] {
        &self.dump.places
    }

    fn can_begin_anew(&self, place: &Place) -> bool {
        place.can_begin_anew()
    }

    /// Warns of what cannot be filtered.
    fn begins(&self, level: DumpLevel) {
        for warning in self.survey.warnings(level) {
            let text = Failure::caused(format!("filtering {}", quoted(&self.dump.args.vmcore)), warning);
            say(PROGRAM, "warning", text.message());
        }
    }

    fn open(&self, place: &Place, again: bool) -> Result<Stream, Failure> {
        if again { place.open_again() } else { place.open() }
    }

    fn collect(&self, options: &Options, stream: &mut Stream) -> Result<Collected, collect::Error> {
        let Dump { args, recipients, stop, vmcore, .. } = self.dump;
        let is_first = options.part.as_ref().is_none_or(|part| part.number == 1);
        if args.shows(Message::Debug) && is_first {
            say(PROGRAM, "debug", &describe(vmcore, options));
        }
        // The parts are about as large, so one speaks for all.
        let mut progress = Progress::new(PROGRAM, "collecting", args.shows(Message::Progress) && is_first);
        let mut out = Stoppable { inner: stream, stop, left: options.limit };
        let mut update = |share| progress.update(Step::Share(share));
        with_entropy(|entropy| {
            collect::collect_surveyed(self.survey, recipients, entropy, options, &mut out, &mut update)
        })
    }

    fn retries(&self, level: DumpLevel, next: DumpLevel) {
        let text = format!("the dump at level {level} is too large, retrying at level {next}");
        say(PROGRAM, "note", &text);
    }

    fn failure(&self, place: &Place, error: &collect::Error) -> Failure {
        match error {
            collect::Error::Write(error) => place.write_failure(error, self.dump.when_full(place)),
            collect::Error::Crypt(error) => recipients::failure("encrypting", error),
            error => Failure::caused(format!("collecting {}", quoted(&self.dump.args.vmcore)), error),
        }
    }
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
