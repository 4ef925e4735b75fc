//! Messages as text. Lines of ours begin with `--`, and no message does: text begins with `[`, a record with a digit,
//! what is no record with `??`, and what follows a line feed with a space.

use super::super::entry::Entry;
use super::super::line::Id;
use super::super::numbers::Numbers;
use super::super::record;
use super::seen::Seen;
use super::{Form, Opening};
use crate::klog;
use std::collections::HashMap;
use std::io::{self, Write};

/// A record whose pieces are coming in.
pub(super) struct Begun {
    head: String,
    text: String,
    next: usize,
    pieces: usize,
    /// Whether its first pieces are missing.
    headless: bool,
}

/// The output.
pub(super) struct Printer<W> {
    pub out: W,
    form: Form,
    /// The opening printed last.
    current: Option<Id>,
    /// Numbers of the records printed, per boot: whoever reads the log again reads it from its start.
    printed: HashMap<String, Numbers>,
    /// Those records themselves.
    records: Seen,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W, form: Form) -> Printer<W> {
        Printer { out, form, current: None, printed: HashMap::new(), records: Seen::default() }
    }

    /// Prints where what follows is of another opening.
    pub(super) fn switch(&mut self, id: Id, opening: &Opening) -> io::Result<()> {
        if self.current.replace(id).is_some_and(|before| before != id) {
            let boot = opening.boot.as_deref().map(|boot| format!(", boot {boot}")).unwrap_or_default();
            writeln!(self.out, "-- opening {id}{boot} --")?;
        }
        Ok(())
    }

    /// Prints that something is missing: numbers of the first and the last of it.
    pub(super) fn hole(&mut self, what: &str, noun: &str, first: u64, last: u64) -> io::Result<()> {
        if first == last {
            writeln!(self.out, "-- {what}: {noun} {first} --")
        } else {
            writeln!(self.out, "-- {what}: {noun}s {first} to {last} --")
        }
    }

    /// Prints that the next message has a number that another one had.
    pub(super) fn contradiction(&mut self, noun: &str, number: u64) -> io::Result<()> {
        writeln!(self.out, "-- contradicts what came before: {noun} {number} --")
    }

    /// Prints that the next message is of a line which comes after one with a larger number.
    pub(super) fn out_of_order(&mut self, number: u64) -> io::Result<()> {
        writeln!(self.out, "-- out of order: line {number} --")
    }

    /// Prints that a line holds what does not belong at its number.
    pub(super) fn misplaced(&mut self, number: u64) -> io::Result<()> {
        writeln!(self.out, "-- out of place: line {number} --")
    }

    /// Prints an entry, which is in the line of this number.
    pub(super) fn entry(
        &mut self,
        id: Id,
        opening: &mut Opening,
        number: u64,
        entry: Entry,
    ) -> io::Result<()> {
        match entry {
            Entry::Start(boot) => opening.boot = opening.boot.take().or(boot),
            Entry::End => {
                opening.end.get_or_insert(number);
            }
            Entry::Gap(first, last) if first <= last => {
                opening.overwritten = opening.overwritten.saturating_add((last - first).saturating_add(1));
                self.hole("overwritten before it was read", "message", first, last)?;
            }
            Entry::Gap(..) => {}
            Entry::Message { piece, pieces, head, text } => {
                let follows =
                    |begun: &mut Begun| (begun.next, begun.pieces) == (piece, pieces) && begun.head == head;
                let mut begun = match opening.begun.take_if(follows) {
                    Some(begun) => begun,
                    None => Begun::at(piece, pieces, head),
                };
                begun.text.push_str(&text);
                begun.next += 1;
                if begun.next < pieces {
                    opening.begun = Some(begun);
                } else {
                    self.begun(id, opening, begun)?;
                }
            }
        }
        Ok(())
    }

    /// Prints a record as far as it has come, unless an earlier opening of the same boot had the very same one.
    pub(super) fn begun(&mut self, id: Id, opening: &mut Opening, begun: Begun) -> io::Result<()> {
        self.switch(id, opening)?;
        let Begun { head, mut text, next, pieces, headless } = begun;
        if next < pieces {
            text.push_str("[...]");
        }
        let Some(numbers) = record::parse_head(&head).filter(|_| record::is_text(&text)) else {
            opening.malformed += 1;
            return writeln!(self.out, "?? {}", format!("{head}{text}").escape_default());
        };
        let whole = next == pieces && !headless;
        if whole {
            // Where the boot is unknown, records repeat within the opening alone.
            let boot = opening.boot.clone().unwrap_or_else(|| id.to_string());
            if !self.records.insert(&(&boot, &head, &text)) {
                return Ok(());
            }
            if !self.printed.entry(boot).or_default().insert(numbers.number) {
                opening.contradicting += 1;
                self.contradiction("message", numbers.number)?;
            } else if opening.late == 0 && opening.message > Some(numbers.number) {
                opening.misplaced += 1;
                writeln!(self.out, "-- out of order: message {} --", numbers.number)?;
            }
            opening.message = Some(numbers.number);
        }
        match self.form {
            Form::Text => {
                let text = record::message(&text);
                let nanos = numbers.micros.saturating_mul(1000);
                klog::write_line(
                    &klog::Message { nanos, caller: numbers.caller, at: None, text: &text },
                    &mut self.out,
                )
            }
            Form::Records => writeln!(self.out, "{head}{text}"),
        }
    }
}

impl Begun {
    fn at(piece: usize, pieces: usize, head: String) -> Begun {
        let headless = piece > 0;
        let text = if headless { "[...]" } else { "" }.to_owned();
        Begun { head, text, next: piece, pieces, headless }
    }
}
