//! What is shown while a server is slow: after a second without its first answer a note, and bytes while what a command
//! needs is read here and there. Commands that read a dump from front to back have a bar of their own.

use super::super::progress::{Progress, Step};
use super::super::{quoted, say};
use super::PROGRAM;
use crate::read_at::ReadAt;
use crate::reader::{SetFacts, Source};
use crate::remote::REQUEST_TIME;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a server is waited for without a word.
const PATIENCE: Duration = Duration::from_secs(1);
/// Whether reads are shown no more.
static ENDED: AtomicBool = AtomicBool::new(false);

/// From now on no read is shown: a mount reads for as long as it stands.
pub(super) fn end() {
    ENDED.store(true, Ordering::Relaxed);
}

/// A wait for a server's first answer. It ends when this is dropped.
pub(super) struct Wait {
    answered: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Wait {
    /// Starts to wait for the server of `url`.
    pub(super) fn start(url: &Path) -> Wait {
        let (answered, waits) = channel();
        let (server, most) = (quoted(url), REQUEST_TIME.as_secs());
        let text = format!("waiting for the server of {server}: a request may take {most} s");
        let wait = move || {
            if waits.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                say(PROGRAM, "note", &text);
            }
        };
        // Without a thread the wait is silent.
        let thread = std::thread::Builder::new().name("wait".to_owned()).spawn(wait).ok();
        Wait { answered: Some(answered), thread }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        drop(self.answered.take());
        // No note comes after what is reported next.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A source on a server, whose reads are shown.
struct Shown {
    source: Arc<dyn Source>,
    work: Mutex<(Progress, u64)>,
}

/// The same source with its reads shown.
pub(super) fn shown(source: Arc<dyn Source>) -> Arc<dyn Source> {
    let progress = Progress::new(PROGRAM, "reading", true);
    Arc::new(Shown { source, work: Mutex::new((progress, 0)) })
}

impl ReadAt for Shown {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.source.read_at(out, offset)?;
        if !ENDED.load(Ordering::Relaxed) {
            let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
            work.1 += read as u64;
            let step = Step::Bytes(work.1, None);
            work.0.update(step);
        }
        Ok(read)
    }
}

impl Source for Shown {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn is_remote(&self) -> bool {
        self.source.is_remote()
    }

    fn set(&self) -> Option<SetFacts> {
        self.source.set()
    }
}
