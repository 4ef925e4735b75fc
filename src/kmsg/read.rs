//! Lines of any log in, the kernel's messages out. Ordinary lines are passed over; lines of ours are opened,
//! printed in the order they come, and their numbers kept, so that at the end it is known which are missing.
//! Nothing is believed before it is authentic, except for the ids and numbers of lines that no key opens.

mod key_lines;
mod print;
mod seen;

use super::entry::Entry;
use super::line::{self, Id, Line};
use super::numbers::Numbers;
use crate::crypt::{self, Identities, LineKey};
use key_lines::KeyLines;
use print::{Begun, Printer};
use seen::Seen;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::RangeInclusive;

/// Bytes of lines that wait for their keys at most, in all openings. An honest key comes before every 1000th line; only a
/// flood of forged lines gets here, and then later lines count as closed.
const MAX_WAITING: usize = 256 << 20;
/// Bytes that an opening with waiting lines counts besides them.
const OPENING: usize = 1 << 10;
/// Openings without a key that are kept, at least. Beyond that those go of which only key lines came, none of them lately.
const MAX_KEYLESS: usize = 16 << 10;
/// Lines of the input that are "lately": as many as an honest writer puts between two repetitions of its key.
const LATELY: u64 = 1000;
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
    /// Lines that came again, byte for byte.
    pub repeated: u64,
    /// Lines with the number of another line of the opening, and records with the number of another record of the same
    /// boot, that are not the same: one of each pair is forged, and both were printed.
    pub contradicting: u64,
    /// Entries that are no record of a kernel, which no honest writer seals.
    pub malformed: u64,
    /// Lines that came after one with a larger number.
    pub late: u64,
    /// Entries that no honest writer seals at their number: a start that is not the first, an end that is not the last, a
    /// message that is older than the one before it.
    pub misplaced: u64,
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
    /// Sealed lines that were opened.
    opened: Seen,
    /// Bytes of the lines that wait.
    waiting: usize,
    /// How many openings are kept before those without a key are looked through.
    room: usize,
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
    contradicting: u64,
    malformed: u64,
    late: u64,
    misplaced: u64,
    overwritten: u64,
    /// Number of the line that ends it, the first of them.
    end: Option<u64>,
    /// Number of the message before.
    message: Option<u64>,
    boot: Option<String>,
    /// A record of which only the first pieces have come.
    begun: Option<Begun>,
    /// The line of the input that had its last key line.
    last: u64,
}

enum Key {
    /// Its key lines so far, and the lines that wait for it.
    Awaited {
        key_lines: KeyLines,
        waiting: Vec<Waiting>,
    },
    /// The key, and the parts of its key lines.
    Open {
        key: LineKey,
        parts: Vec<Vec<u8>>,
    },
    Refused(crypt::Error),
}

impl Default for Key {
    fn default() -> Key {
        Key::Awaited { key_lines: KeyLines::default(), waiting: Vec::new() }
    }
}

struct Waiting {
    input_line: u64,
    number: u64,
    data: Vec<u8>,
}

impl Waiting {
    fn size(&self) -> usize {
        size_of::<Waiting>() + self.data.len()
    }
}

impl<'a, W: Write> Reader<'a, W> {
    /// Prints to `out` what the identities open.
    pub fn new(identities: &'a Identities, form: Form, out: W) -> Reader<'a, W> {
        Reader {
            identities,
            printer: Printer::new(out, form),
            openings: BTreeMap::new(),
            opened: Seen::default(),
            waiting: 0,
            room: MAX_KEYLESS,
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

    /// Ends the log: prints what is still held back and gives what was found.
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
        let whole: Vec<u64> = self.openings.values().flat_map(Opening::damaged_key_lines).collect();
        whole.into_iter().for_each(|line| self.damaged(line));
        let openings = self.openings.into_iter().map(|(id, opening)| opening.findings(id)).collect();
        Ok(Findings { openings, damaged_lines: self.damaged_lines, damaged: self.damaged })
    }

    fn damaged(&mut self, input_line: u64) {
        self.damaged += 1;
        if self.damaged_lines.len() < MAX_NAMED {
            self.damaged_lines.push(input_line);
        }
    }

    /// Takes a part of an opening's key; with the last of them what waited for it is printed.
    fn key_part(&mut self, id: Id, part: usize, total: usize, data: Vec<u8>) -> io::Result<()> {
        let input_line = self.count;
        self.make_room(id);
        let opening = self.openings.entry(id).or_default();
        opening.last = input_line;
        let (key_lines, waiting) = match &mut opening.key {
            Key::Awaited { key_lines, waiting } => (key_lines, waiting),
            Key::Open { parts, .. } if parts.len() != total || parts[part] != data => {
                self.damaged(input_line);
                return Ok(());
            }
            Key::Open { .. } | Key::Refused(_) => return Ok(()),
        };
        let Some(start) = key_lines.add(id, part, total, data, input_line) else { return Ok(()) };
        let waiting = std::mem::take(waiting);
        self.waiting -= waiting.iter().map(Waiting::size).sum::<usize>();
        self.waiting -= if waiting.is_empty() { 0 } else { OPENING };
        opening.key = match self.identities.open_lines(&mut &start.bytes[..]) {
            Ok(key) => Key::Open { key, parts: start.parts },
            Err(error) => Key::Refused(error),
        };
        start.forged.into_iter().for_each(|line| self.damaged(line));
        waiting.into_iter().try_for_each(|line| self.sealed(id, line))
    }

    /// Forgets openings of which nothing but key lines came, where a flood of them would fill the memory.
    fn make_room(&mut self, id: Id) {
        if self.openings.len() < self.room || self.openings.contains_key(&id) {
            return;
        }
        let recent = self.count.saturating_sub(LATELY);
        let forgotten: Vec<u64> = self
            .openings
            .extract_if(.., |_, opening| opening.last < recent && opening.has_only_key_lines())
            .map(|(_, opening)| opening.last)
            .collect();
        forgotten.into_iter().for_each(|line| self.damaged(line));
        self.room = MAX_KEYLESS.max(2 * self.openings.len());
    }

    fn sealed(&mut self, id: Id, line: Waiting) -> io::Result<()> {
        if self.waiting >= MAX_WAITING && !self.openings.contains_key(&id) {
            self.damaged(line.input_line);
            return Ok(());
        }
        let opening = self.openings.entry(id).or_default();
        let opened = match &mut opening.key {
            Key::Open { key, .. } => key.open(line.number, &line.data),
            Key::Awaited { waiting, .. } if self.waiting < MAX_WAITING => {
                self.waiting += line.size() + if waiting.is_empty() { OPENING } else { 0 };
                waiting.push(line);
                return Ok(());
            }
            _ => {
                opening.lines += 1;
                return Ok(());
            }
        };
        match opened.as_deref().and_then(Entry::parse) {
            Some(entry) => self.entry(id, &line, entry),
            None => {
                self.damaged(line.input_line);
                Ok(())
            }
        }
    }

    /// Prints an entry in its place, with what its number tells.
    fn entry(&mut self, id: Id, line: &Waiting, entry: Entry) -> io::Result<()> {
        let opening = self.openings.entry(id).or_default();
        self.printer.switch(id, opening)?;
        if !self.opened.insert(&(id, line.number, &line.data)) {
            opening.repeated += 1;
            return Ok(());
        }
        let expected = opening.seen.end();
        opening.lines += 1;
        if !opening.seen.insert(line.number) {
            opening.contradicting += 1;
            self.printer.contradiction("line", line.number)?;
        } else if line.number < expected {
            opening.late += 1;
            self.printer.out_of_order(line.number)?;
        }
        if line.number != expected
            && let Some(begun) = opening.begun.take()
        {
            self.printer.begun(id, opening, begun)?;
        }
        if line.number > expected {
            self.printer.hole("missing here", "line", expected, line.number - 1)?;
        }
        if (line.number == 0) != matches!(entry, Entry::Start(_)) {
            opening.misplaced += 1;
            self.printer.misplaced(line.number)?;
        }
        self.printer.entry(id, opening, line.number, entry)
    }
}

impl Opening {
    /// Whether key lines came and no other line.
    fn has_only_key_lines(&self) -> bool {
        matches!(&self.key, Key::Awaited { waiting, .. } if waiting.is_empty()) && self.lines == 0
    }

    /// Lines of key lines that make up whole keys, none of which fits the id.
    fn damaged_key_lines(&self) -> Vec<u64> {
        match &self.key {
            Key::Awaited { key_lines, .. } => key_lines.damaged(),
            Key::Open { .. } | Key::Refused(_) => Vec::new(),
        }
    }

    fn findings(self, id: Id) -> OpeningFindings {
        let (unopened, waited) = match self.key {
            Key::Open { .. } => (None, 0),
            Key::Awaited { waiting, .. } => (Some(Unopened::NoKey), waiting.len() as u64),
            Key::Refused(error) => (Some(Unopened::Key(error)), 0),
        };
        // An end is the last line, unless somebody wrote on.
        let ended = self.end.is_some_and(|end| end.saturating_add(1) == self.seen.end());
        OpeningFindings {
            id: id.to_string(),
            unopened,
            lines: self.lines + waited,
            missing: self.seen.missing(),
            repeated: self.repeated,
            contradicting: self.contradicting,
            malformed: self.malformed,
            late: self.late,
            misplaced: self.misplaced + u64::from(self.end.is_some() && !ended),
            overwritten: self.overwritten,
            ended,
        }
    }
}
