//! Progress of what is read to its end, by the bytes read. Several readers are parts of one work, and share its bar.

use super::progress::{Progress, Step, clear};
use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

const PROGRAM: &str = "vmcore-decrypt";

/// The work whose progress is shown.
static WORK: Mutex<Option<Work>> = Mutex::new(None);

struct Work {
    progress: Progress,
    read: u64,
    /// Bytes of all readers; none where one has no end that is known.
    all: Option<u64>,
}

/// Passes `bytes` on and shows how far they were read; `len` is their number, where that is known.
pub(super) fn watch(
    doing: &'static str,
    len: Option<u64>,
    bytes: Box<dyn Read + Send>,
) -> Box<dyn Read + Send> {
    let mut work = work();
    match work.as_mut() {
        Some(work) => work.all = work.all.zip(len).map(|(all, len)| all.saturating_add(len)),
        None => *work = Some(Work { progress: Progress::new(PROGRAM, doing, true), read: 0, all: len }),
    }
    Box::new(Watched { bytes })
}

fn work() -> MutexGuard<'static, Option<Work>> {
    WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A reader whose bytes count.
struct Watched {
    bytes: Box<dyn Read + Send>,
}

impl Read for Watched {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(out)?;
        if let Some(work) = work().as_mut() {
            work.read += read as u64;
            work.progress.update(Step::Bytes(work.read, work.all));
        }
        Ok(read)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        clear();
    }
}
