//! A stream as objects: one is filled while the one before it is put on a thread of its own, so two are in memory.

use super::{Error, Store};
use crate::objects::{self, OBJECT, Shape};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Bytes of an object, as the memory for it.
#[expect(clippy::cast_possible_truncation, reason = "16 MiB")]
const ROOM: usize = OBJECT as usize;

/// An object and its name.
type Job = (String, Bytes);
/// The object's SHA-256.
type Done = Result<[u8; 32], Error>;

/// A dump on its way into a store. Unless [`Upload::finish`] is called the set gets no end mark; what was written is put
/// all the same.
pub(crate) struct Upload {
    filling: Vec<u8>,
    sums: Vec<[u8; 32]>,
    size: u64,
    /// Objects handed over.
    number: u32,
    capacity: Option<u64>,
    thread: Option<Putter>,
    /// Why nothing more is taken.
    failed: Option<Error>,
}

/// The thread that puts objects.
struct Putter {
    jobs: SyncSender<Job>,
    done: Receiver<Done>,
    /// Whether an object is under way.
    busy: bool,
}

impl Upload {
    /// Begins a set of objects. The name must be new.
    ///
    /// # Errors
    /// A thread cannot be had.
    pub(crate) fn begin(store: Arc<Store>, set: String) -> Result<Upload, Error> {
        let (jobs, asked) = sync_channel::<Job>(0);
        let (answer, done) = sync_channel::<Done>(1);
        let capacity = store.capacity();
        let work = move || {
            store.prepare(&set);
            for (object, bytes) in asked {
                let result = store.put(&set, &object, &bytes).map(|()| Sha256::digest(&bytes).into());
                drop(bytes);
                if answer.send(result).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("upload".to_owned()).spawn(work);
        thread.map_err(|error| Error::Client(error.to_string()))?;
        let thread = Some(Putter { jobs, done, busy: false });
        Ok(Upload {
            filling: Vec::new(),
            sums: Vec::new(),
            size: 0,
            number: 0,
            capacity,
            thread,
            failed: None,
        })
    }

    /// The most bytes the dump may have.
    #[must_use]
    pub(crate) fn capacity(&self) -> Option<u64> {
        self.capacity
    }

    /// Puts what is in hand and the end mark.
    ///
    /// # Errors
    /// As of writing.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.ship()?;
        self.settle()?;
        let shape = Shape::of_size(self.size, OBJECT).ok_or_else(|| io::Error::other("the dump is empty"))?;
        let mark = objects::end_mark(&shape, &self.sums);
        self.hand_over(objects::END.to_owned(), mark.into())?;
        self.settle()
    }

    /// Hands the object in hand over, as soon as the one before it is put.
    fn ship(&mut self) -> io::Result<()> {
        if self.filling.is_empty() {
            return Ok(());
        }
        self.settle()?;
        if self.number == objects::MAX_OBJECTS {
            return Err(self.fail(Error::TooLarge));
        }
        let name = objects::name(self.number);
        self.number += 1;
        let bytes = Bytes::from(std::mem::take(&mut self.filling));
        self.hand_over(name, bytes)
    }

    fn hand_over(&mut self, name: String, bytes: Bytes) -> io::Result<()> {
        let sent = self.thread.as_mut().is_some_and(|thread| {
            thread.busy = thread.jobs.send((name, bytes)).is_ok();
            thread.busy
        });
        if sent { Ok(()) } else { Err(self.fail(gone())) }
    }

    /// Waits for the object that is under way.
    fn settle(&mut self) -> io::Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        let Some(thread) = self.thread.as_mut().filter(|thread| thread.busy) else { return Ok(()) };
        thread.busy = false;
        match thread.done.recv().unwrap_or_else(|_| Err(gone())) {
            Ok(sum) => {
                self.sums.push(sum);
                Ok(())
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&mut self, error: Error) -> io::Error {
        self.filling = Vec::new();
        self.failed = Some(error.clone());
        error.into()
    }
}

/// A thread ended early, which only a panic makes it do.
fn gone() -> Error {
    Error::Client("its thread has ended".to_owned())
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        if self.filling.len() == ROOM {
            self.ship()?;
        }
        // Every object but the last has the same size, and a flush has put the last one.
        if self.filling.is_empty() && !self.size.is_multiple_of(OBJECT) {
            return Err(io::Error::other("bytes follow the last object"));
        }
        if self.filling.capacity() < ROOM {
            self.filling.reserve_exact(ROOM);
        }
        let take = bytes.len().min(ROOM - self.filling.len());
        self.filling.extend_from_slice(&bytes[..take]);
        self.size += take as u64;
        Ok(take)
    }

    /// Puts what is in hand, whole or not: whoever flushes has written all. So a store that has no room left is known
    /// while the collector can still try its next level.
    fn flush(&mut self) -> io::Result<()> {
        self.ship()?;
        self.settle()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // The objects saved before an error elsewhere are kept. A failure here is not reported: the error
        // that led here is reported.
        let _ = self.ship().and_then(|()| self.settle());
    }
}
