//! Lines of any log in, the kernel's messages out. Ordinary lines are passed over; lines of ours are opened,
//! printed in the order they come, and their numbers kept, so that at the end it is known which are missing.
//! Nothing is believed before it is authentic, but for the ids and numbers of lines that no key opens.

use super::entry::Entry;
use super::line::{self, Id, Line};
use super::numbers::Numbers;
use super::record;
use crate::crypt::{self, Identities, LineKey};
use crate::klog;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::ops::RangeInclusive;

/// Lines that wait for their key at most, per opening: more than come before it is repeated.
const MAX_WAITING: usize = 4096;
/// Damaged lines that are named.
const MAX_NAMED: usize = 20;

/// How messages are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As `dmesg` prints them.
    Text,
    /// As `/dev/kmsg` gives them: with priority, number and dictionary.
    Records,
}

/// Why an opening stayed closed.
#[derive(Debug)]
pub enum Unopened {
    /// Its key lines are not all there, or contradict the id.
    NoKey,
    /// No identity opens its key.
    Key(crypt::Error),
}

/// What was found of one opening.
#[derive(Debug)]
pub struct OpeningFindings {
    /// The opening, as its lines name it.
    pub id: String,
    /// Why it could not be read.
    pub unopened: Option<Unopened>,
    /// Lines that were read; when it could not be read, lines that are there.
    pub lines: u64,
    /// Numbers of lines that are missing below the largest.
    pub missing: Vec<RangeInclusive<u64>>,
    /// Lines that came again.
    pub repeated: u64,
    /// Lines that came behind one with a larger number.
    pub late: u64,
    /// Messages the kernel overwrote before they were read.
    pub overwritten: u64,
    /// Whether the line is there that ends an opening in order.
    pub ended: bool,
}

/// What was found in the whole input.
#[derive(Debug, Default)]
pub struct Findings {
    /// The openings, by id.
    pub openings: Vec<OpeningFindings>,
    /// Input lines, from 1, with a line of ours that is mangled or not authentic: the first ones.
    pub damaged_lines: Vec<u64>,
    /// All of them.
    pub damaged: u64,
}

/// Reads a log line by line and prints what it holds.
pub struct Reader<'a, W: Write> {
    identities: &'a Identities,
    printer: Printer<W>,
    openings: BTreeMap<Id, Opening>,
    damaged_lines: Vec<u64>,
    damaged: u64,
    /// Lines of the input so far.
    count: u64,
}

#[derive(Default)]
struct Opening {
    key: Key,
    seen: Numbers,
    lines: u64,
    repeated: u64,
    late: u64,
    overwritten: u64,
    ended: bool,
    boot: Option<String>,
    /// A record of which only the first pieces have come.
    begun: Option<Begun>,
}

enum Key {
    /// Pieces of it so far, how many there will be, and the lines that wait.
    Awaited {
        parts: BTreeMap<usize, Vec<u8>>,
        count: usize,
        waiting: Vec<Waiting>,
    },
    Open(LineKey),
    Refused(crypt::Error),
}

impl Default for Key {
    fn default() -> Key {
        Key::Awaited { parts: BTreeMap::new(), count: 0, waiting: Vec::new() }
    }
}

struct Waiting {
    input_line: u64,
    number: u64,
    data: Vec<u8>,
}

/// A record whose pieces are coming in.
struct Begun {
    head: String,
    text: String,
    next: usize,
    pieces: usize,
    /// Whether its first pieces are missing.
    headless: bool,
}

impl<'a, W: Write> Reader<'a, W> {
    /// Prints to `out` what the identities open.
    pub fn new(identities: &'a Identities, form: Form, out: W) -> Reader<'a, W> {
        Reader {
            identities,
            printer: Printer { out, form, current: None, printed: HashMap::new() },
            openings: BTreeMap::new(),
            damaged_lines: Vec::new(),
            damaged: 0,
            count: 0,
        }
    }

    /// Takes the next line of the log.
    ///
    /// # Errors
    /// What writing gives.
    pub fn line(&mut self, text: &[u8]) -> io::Result<()> {
        self.count += 1;
        let input_line = self.count;
        for found in line::find(text) {
            match found {
                None => self.damaged(input_line),
                Some(Line::Key { id, part, parts, data }) => self.key_part(id, part, parts, data)?,
                Some(Line::Sealed { id, number, data }) => {
                    self.sealed(id, Waiting { input_line, number, data })?;
                }
            }
        }
        Ok(())
    }

    /// Ends the log: prints what is still held back and says what was found.
    ///
    /// # Errors
    /// What writing gives.
    pub fn finish(mut self) -> io::Result<Findings> {
        for (&id, opening) in &mut self.openings {
            if let Some(begun) = opening.begun.take() {
                self.printer.begun(id, opening, begun)?;
            }
        }
        self.printer.out.flush()?;
        let openings = self.openings.into_iter().map(|(id, opening)| opening.findings(id)).collect();
        Ok(Findings { openings, damaged_lines: self.damaged_lines, damaged: self.damaged })
    }

    fn damaged(&mut self, input_line: u64) {
        self.damaged += 1;
        if self.damaged_lines.len() < MAX_NAMED {
            self.damaged_lines.push(input_line);
        }
    }

    /// Takes a piece of an opening's key; with the last of them what waited for it is printed.
    fn key_part(&mut self, id: Id, part: usize, total: usize, data: Vec<u8>) -> io::Result<()> {
        let opening = self.openings.entry(id).or_default();
        let Key::Awaited { parts, count, waiting } = &mut opening.key else { return Ok(()) };
        if *count != total {
            parts.clear();
            *count = total;
        }
        parts.insert(part, data);
        if parts.len() < total {
            return Ok(());
        }
        let start = std::mem::take(parts).into_values().flatten().collect::<Vec<u8>>();
        if Id::of(&start) != id {
            let input_line = self.count;
            self.damaged(input_line);
            return Ok(());
        }
        let waiting = std::mem::take(waiting);
        opening.key = match self.identities.open_lines(&mut &start[..]) {
            Ok(key) => Key::Open(key),
            Err(error) => Key::Refused(error),
        };
        waiting.into_iter().try_for_each(|line| self.sealed(id, line))
    }

    fn sealed(&mut self, id: Id, line: Waiting) -> io::Result<()> {
        let opening = self.openings.entry(id).or_default();
        let opened = match &mut opening.key {
            Key::Open(key) => key.open(line.number, &line.data),
            Key::Awaited { waiting, .. } if waiting.len() < MAX_WAITING => {
                waiting.push(line);
                return Ok(());
            }
            _ => {
                opening.lines += 1;
                return Ok(());
            }
        };
        let Some(entry) = opened.as_deref().and_then(Entry::parse) else {
            self.damaged(line.input_line);
            return Ok(());
        };
        self.printer.switch(id, opening)?;
        let expected = opening.seen.end();
        if !opening.seen.insert(line.number) {
            opening.repeated += 1;
            return Ok(());
        }
        opening.lines += 1;
        if line.number < expected {
            opening.late += 1;
        }
        if line.number != expected
            && let Some(begun) = opening.begun.take()
        {
            self.printer.begun(id, opening, begun)?;
        }
        if line.number > expected {
            self.printer.hole("missing here", "line", expected, line.number - 1)?;
        }
        self.printer.entry(id, opening, entry)
    }
}

impl Opening {
    fn findings(self, id: Id) -> OpeningFindings {
        let (unopened, waited) = match self.key {
            Key::Open(_) => (None, 0),
            Key::Awaited { waiting, .. } => (Some(Unopened::NoKey), waiting.len() as u64),
            Key::Refused(error) => (Some(Unopened::Key(error)), 0),
        };
        OpeningFindings {
            id: id.to_string(),
            unopened,
            lines: self.lines + waited,
            missing: self.seen.missing(),
            repeated: self.repeated,
            late: self.late,
            overwritten: self.overwritten,
            ended: self.ended,
        }
    }
}

/// The output. Words of ours stand on lines that begin with `--`.
struct Printer<W> {
    out: W,
    form: Form,
    /// The opening printed last.
    current: Option<Id>,
    /// Numbers of the records printed, per boot: whoever reads the log again reads it from its start.
    printed: HashMap<String, Numbers>,
}

impl<W: Write> Printer<W> {
    /// Says when what follows is of another opening.
    fn switch(&mut self, id: Id, opening: &Opening) -> io::Result<()> {
        if self.current.replace(id).is_some_and(|before| before != id) {
            let boot = opening.boot.as_deref().map(|boot| format!(", boot {boot}")).unwrap_or_default();
            writeln!(self.out, "-- opening {id}{boot} --")?;
        }
        Ok(())
    }

    /// Says what is not there: numbers of the first and the last of them.
    fn hole(&mut self, what: &str, noun: &str, first: u64, last: u64) -> io::Result<()> {
        match first == last {
            true => writeln!(self.out, "-- {what}: {noun} {first} --"),
            false => writeln!(self.out, "-- {what}: {noun}s {first} to {last} --"),
        }
    }

    fn entry(&mut self, id: Id, opening: &mut Opening, entry: Entry) -> io::Result<()> {
        match entry {
            Entry::Start(boot) => opening.boot = boot,
            Entry::End => opening.ended = true,
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
                    None => {
                        let headless = piece > 0;
                        let text = if headless { "[...]" } else { "" }.to_owned();
                        Begun { head, text, next: piece, pieces, headless }
                    }
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

    /// Prints a record as far as it has come, unless an earlier opening of the same boot had it.
    fn begun(&mut self, id: Id, opening: &Opening, begun: Begun) -> io::Result<()> {
        self.switch(id, opening)?;
        let Begun { head, mut text, next, pieces, headless } = begun;
        if next < pieces {
            text.push_str("[...]");
        }
        let whole = next == pieces && !headless;
        let numbers = record::parse_head(&head);
        if let (true, Some(numbers), Some(boot)) = (whole, &numbers, &opening.boot)
            && !self.printed.entry(boot.clone()).or_default().insert(numbers.number)
        {
            return Ok(());
        }
        match (self.form, numbers) {
            (Form::Text, Some(record::Head { micros, caller, .. })) => {
                let text = record::message(&text);
                let nanos = micros.saturating_mul(1000);
                klog::write_line(&klog::Message { nanos, caller, text: &text }, &mut self.out)
            }
            _ => writeln!(self.out, "{head}{text}"),
        }
    }
}
