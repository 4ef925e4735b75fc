//! How a dump ended: its report, what was not as it should be, and the exit status that follows.

use super::super::super::{Failure, Status, progress, quoted, report, say};
use super::super::PROGRAM;
use super::super::args::Message;
use super::super::output::Place;
use super::Dump;
use crate::collect::Report;
use crate::collect::levels::Saved;
use crate::crypt::PayloadKey;
use crate::filter::{DumpLevel, Survey};
use crate::vmcore::Flaw;
use std::io::{self, Write};

impl Dump<'_> {
    /// Reports a dump that is in its outputs; gives the key of its first part.
    ///
    /// # Errors
    /// It is not whole, or not as it usually is.
    pub(super) fn end(
        &self,
        survey: &Survey<'_>,
        saved: Saved,
    ) -> Result<Option<(PayloadKey, u64)>, Failure> {
        self.note_files(&saved);
        warn_of_damage(&saved.report, survey.judges());
        self.show(&saved);
        self.whole(&saved)?;
        if self.args.shows(Message::Common) {
            say(PROGRAM, "note", &format!("the encrypted dump is saved to {}", self.names()));
        }
        let filters = saved.level.get() > DumpLevel::ZERO;
        if filters && !survey.judges() {
            return Err(self.not_filtered(&saved.report));
        }
        let cannot_tell = filters && survey.warnings(saved.level).next().is_some();
        self.unusual(&saved.report, filters, cannot_tell).map_or(Ok(saved.key), Err)
    }

    /// Whether no level leaves out more.
    pub(super) fn is_of_highest_level(&self) -> bool {
        let former = self.vmcore.origin().map(|origin| origin.level);
        former == Some(DumpLevel::ALL.get()) || self.args.levels().contains(&DumpLevel::ALL)
    }

    fn note_files(&self, saved: &Saved) {
        for (place, output) in self.places.iter().zip(&saved.outputs) {
            if output.files > 1 && self.args.shows(Message::Common) {
                let (name, files) = (place.name(), output.files);
                let text = format!("{name} goes on in .001 and so on, {files} files: none may be larger");
                say(PROGRAM, "note", &text);
            }
        }
    }

    fn names(&self) -> String {
        self.places.iter().map(Place::name).collect::<Vec<_>>().join(", ")
    }

    fn show(&self, saved: &Saved) {
        if !self.args.shows(Message::Report) {
            return;
        }
        let mut text = report::lines(&saved.report, saved.level.get());
        if self.live {
            text.push_str(report::MOVING_TARGET);
        }
        progress::clear();
        // A console that is gone is no reason to fail after the dump is safe.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Whether the dump has every page that it should have.
    fn whole(&self, saved: &Saved) -> Result<(), Failure> {
        let mut outputs = self.places.iter().zip(&saved.outputs);
        if let Some((name, limit)) = outputs.find_map(|(place, output)| Some((place.name(), output.cut_at?)))
        {
            let message = format!("saving {name}: the limit of {limit} bytes ended the dump early");
            let hint = if self.is_of_highest_level() {
                "what was saved can be restored; allow more room"
            } else {
                "what was saved can be restored; allow more room, or give a second level: -d 1,31"
            };
            return Err(Failure::new(Status::Incomplete, message).hint(hint));
        }
        let pages = &saved.report.pages;
        if pages.is_lacking() {
            let (names, lost, asked) = (self.names(), pages.lost(), pages.asked());
            let image = match pages.image_lost {
                0 => String::new(),
                count => format!(", {count} of the kernel image among them"),
            };
            let message =
                format!("saving {names}: {lost} of the {asked} pages that it should hold are lost{image}");
            return Err(Failure::new(Status::Incomplete, message)
                .hint("what was saved can be restored; the warnings before this name the cause"));
        }
        if self.vmcore.origin().is_some_and(|origin| !origin.complete) {
            let message = format!("saving {}: the input is incomplete, and so is the dump", self.names());
            return Err(Failure::new(Status::Incomplete, message)
                .hint("what was saved can be restored; the warnings before this name the cause"));
        }
        Ok(())
    }

    fn not_filtered(&self, report: &Report) -> Failure {
        let input = quoted(&self.args.vmcore);
        let (kept, hint) = if report.pages.lost() == 0 {
            ("the dump holds all of them", "the dump is complete; -d 1 asks for no more than this")
        } else {
            ("the dump holds all that can be read", "-d 1 asks for no more than this")
        };
        let message = format!("filtering {input}: pages could not be judged, {kept}");
        Failure::new(Status::Warned, message).hint(hint)
    }

    /// Why a dump that is whole is not as it usually is, if so; warnings name the details. `filters`: whether the level
    /// asks for a class of pages; `cannot_tell`: whether one of them cannot be recognised.
    fn unusual(&self, report: &Report, filters: bool, cannot_tell: bool) -> Option<Failure> {
        let pages = &report.pages;
        let unjudged = pages.unjudged > 0 || pages.doubtful > 0;
        let flaws = || self.vmcore.flaws().iter();
        let why = [
            (pages.lost() > 0, "a few pages are lost"),
            (cannot_tell, "not every class of pages can be recognised"),
            (filters && unjudged, "some pages could not be classified and are kept"),
            (flaws().any(|flaw| !flaw.is_surplus()), "the vmcore is damaged"),
            (flaws().any(Flaw::is_surplus), "the input holds bytes that are no part of the dump"),
            (report.notes_lost > 0, "device dumps among its notes are not whole"),
            (self.recipients.left_out(), "not all recipients can open the dump"),
        ];
        let why: Vec<&str> = why.iter().filter_map(|&(is_so, why)| is_so.then_some(why)).collect();
        let message = format!("collecting {}: {}", quoted(&self.args.vmcore), why.join(", "));
        let hint = "the dump is whole, and the warnings before this name the details";
        (!why.is_empty()).then(|| Failure::new(Status::Warned, message).hint(hint))
    }
}

/// Warns of pages that could not be read, and of pages that could not be judged. That no page could be judged has a
/// message of its own.
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
