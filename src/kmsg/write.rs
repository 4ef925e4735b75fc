//! Records in, encrypted lines out. Every line leaves in one write, so whoever reads the other end has whole
//! lines and none is held back.

use super::entry::Entry;
use super::line::{self, Id, MAX_DATA, MAX_PARTS};
use super::{RecordSource, record};
use crate::crypt::{self, Entropy, LineKey, Recipients};
use std::io::{self, Write};

/// The key lines come again after so many others, so that a log which was rotated can be read from its own key.
const KEY_EVERY: u32 = 1000;

/// Why a log could not be written on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Making the key and wrapping it to the recipients.
    #[error(transparent)]
    Crypt(#[from] crypt::Error),
    /// So many recipients that their header does not fit into key lines.
    #[error("the recipients' header of {0} bytes is too long for a log")]
    TooManyRecipients(usize),
    /// Reading records.
    #[error("reading records")]
    Read(#[source] io::Error),
    /// The bytes read are no record of the kernel.
    #[error("record {0} is not in the kernel's form")]
    NotARecord(u64),
    /// Writing lines.
    #[error("writing lines")]
    Write(#[source] io::Error),
}

/// One opening of the log: a fresh key, and lines numbered from 0.
pub struct Writer<W: Write> {
    out: W,
    key: LineKey,
    id: Id,
    key_lines: String,
    /// Number of the next line.
    next: u64,
    /// Lines since the key lines.
    since_key: u32,
    /// Number of the record that the kernel should give next.
    expected: Option<u64>,
}

impl<W: Write> Writer<W> {
    /// Makes a key for `recipients` and writes the key lines and the first line, which holds the machine's boot id.
    ///
    /// # Errors
    /// [`Error::Crypt`], [`Error::TooManyRecipients`], [`Error::Write`].
    pub fn open(
        out: W,
        recipients: &Recipients,
        entropy: &mut Entropy<'_>,
        boot: Option<&str>,
    ) -> Result<Writer<W>, Error> {
        let (start, key) = recipients.wrap_lines(entropy)?;
        if start.len() > MAX_DATA * MAX_PARTS {
            return Err(Error::TooManyRecipients(start.len()));
        }
        let id = Id::of([&start[..]]);
        let key_lines = line::key_lines(id, &start);
        let mut writer = Writer { out, key, id, key_lines, next: 0, since_key: KEY_EVERY, expected: None };
        writer.entry(&Entry::Start(boot.map(str::to_owned)))?;
        Ok(writer)
    }

    /// Writes every record of `source`, and what the kernel lost between them, up to its end.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NotARecord`] with its place from 1, [`Error::Write`].
    pub fn copy(&mut self, source: &mut dyn RecordSource) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let mut count = 0;
        while source.next(&mut bytes).map_err(Error::Read)? {
            count += 1;
            let (number, head, text) = record::split(&bytes).ok_or(Error::NotARecord(count))?;
            match self.expected {
                Some(expected) if number > expected => self.entry(&Entry::Gap(expected, number - 1))?,
                _ => {}
            }
            self.expected = number.checked_add(1);
            for entry in Entry::pieces(&head, &text) {
                self.entry(&entry)?;
            }
        }
        Ok(())
    }

    /// Writes the line that marks an orderly end of the log.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn finish(mut self) -> Result<W, Error> {
        self.entry(&Entry::End)?;
        Ok(self.out)
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Error> {
        if self.since_key >= KEY_EVERY {
            self.since_key = 0;
            for line in self.key_lines.split_inclusive('\n') {
                put(&mut self.out, line)?;
            }
        }
        let sealed = self.key.seal(self.next, &entry.encode());
        let line = line::sealed_line(self.id, self.next, &sealed);
        // Counted before it is written: a number is never used again, whatever becomes of the line.
        self.next += 1;
        self.since_key += 1;
        put(&mut self.out, &line)
    }
}

fn put(out: &mut impl Write, line: &str) -> Result<(), Error> {
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(Error::Write)
}
