//! Progress of something that is read to its end: a bar with rate and time left on a terminal, plain
//! lines where stderr is a file or a pipe.

use super::progress::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Read};

const PROGRAM: &str = "vmcore-decrypt";

/// Passes `bytes` on and shows how far they were read; `len` is their number, where that is known.
pub(super) fn watch(
    doing: &'static str,
    len: Option<u64>,
    bytes: Box<dyn Read + Send>,
) -> Box<dyn Read + Send> {
    if io::stderr().is_terminal() {
        return Box::new(bar(doing, len).wrap_read(bytes));
    }
    match len {
        Some(len) => Box::new(Lines { bytes, read: 0, len, progress: Progress::new(PROGRAM, doing, true) }),
        None => bytes,
    }
}

fn bar(doing: &'static str, len: Option<u64>) -> ProgressBar {
    let (bar, template) = match len {
        Some(len) => (
            ProgressBar::new(len),
            "{msg} [{bar:30}] {percent} % of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{msg} {binary_bytes}, {binary_bytes_per_sec}"),
    };
    let style = ProgressStyle::with_template(template).map(|style| style.progress_chars("#> "));
    // The template is fixed; should it ever be wrong, the default one does.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message(doing)
}

/// A reader that reports lines of progress.
struct Lines {
    bytes: Box<dyn Read + Send>,
    read: u64,
    len: u64,
    progress: Progress,
}

impl Read for Lines {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(out)?;
        self.read += read as u64;
        self.progress.update(self.read as f64 / self.len.max(1) as f64);
        Ok(read)
    }
}
