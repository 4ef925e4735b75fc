//! Files that must not stay if a signal ends the program. One list for the process: a signal knows no owner.

use super::directory::Directory;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

static UNFINISHED: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

struct Entry {
    file: Arc<File>,
    directory: Arc<Directory>,
    name: OsString,
}

/// The list while nobody else changes it or what is in it.
pub(super) struct Unfinished(MutexGuard<'static, Vec<Entry>>);

/// Takes the list; a file is finished while it is held, or not at all.
pub(super) fn hold() -> Unfinished {
    Unfinished(UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Unfinished {
    /// Adds a file under its present name.
    pub(super) fn add(&mut self, file: &Arc<File>, directory: &Arc<Directory>, name: &OsStr) {
        let (file, directory) = (Arc::clone(file), Arc::clone(directory));
        self.0.push(Entry { file, directory, name: name.to_owned() });
    }

    /// Takes a file off.
    pub(super) fn forget(&mut self, file: &Arc<File>) {
        self.0.retain(|entry| !Arc::ptr_eq(&entry.file, file));
    }
}

/// Removes every unfinished file, for a program that ends now: no file is finished after it.
pub fn remove_all() {
    let list = hold();
    for entry in list.0.iter() {
        // The program ends; nobody is left to hear of a failure.
        let _ = entry.directory.remove(&entry.name, &entry.file);
    }
    std::mem::forget(list);
}
