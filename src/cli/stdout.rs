//! Text on standard output. A reader that closes it, as `head` and a pager do, has what it wanted: the program ends as
//! the signal SIGPIPE ends one, without a word. Rust's start-up code ignores that signal, for the sake of dumps, where
//! a reader that is gone is an error.

use super::Failure;
use super::progress::clear;
use crate::sink::special::Stdout;
#[cfg(feature = "analyst")]
use crate::text::ascii_json;
#[cfg(feature = "analyst")]
use serde::Serialize;
use signal_hook::consts::SIGPIPE;
use signal_hook::low_level::emulate_default_handler;
use std::io::{self, LineWriter, Write};

/// Standard output for text.
pub(super) struct Text(Stdout);

/// Standard output, line by line.
#[must_use]
pub(super) fn text() -> LineWriter<Text> {
    LineWriter::new(Text(Stdout::for_text()))
}

/// The same for text that must not be lost in a closed descriptor.
///
/// # Errors
/// [`crate::sink::Refused`].
pub(super) fn text_that_counts() -> io::Result<LineWriter<Text>> {
    Stdout::check()?;
    Ok(text())
}

/// Prints a text.
///
/// # Errors
/// Standard output takes it not.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = Text(Stdout::for_text());
    out.write_all(text.as_bytes()).map_err(|error| Failure::caused("writing to standard output", &error))
}

/// Prints `what` as one JSON object, indented.
///
/// # Errors
/// As [`print`].
#[cfg(feature = "analyst")]
pub(super) fn print_json(what: &str, value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::caused(format!("encoding {what} as JSON"), &error))?;
    print(&(ascii_json(&json) + "\n"))
}

/// Ends the program if this is the error of a reader that is gone.
pub(super) fn end_without_reader(error: &io::Error) {
    if error.kind() == io::ErrorKind::BrokenPipe {
        // It ends the program. Should it not, the error goes on as any other.
        let _ = emulate_default_handler(SIGPIPE);
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        clear();
        self.0.write(bytes).inspect_err(end_without_reader)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
