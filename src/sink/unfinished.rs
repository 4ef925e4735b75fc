//! Files that must not stay if a signal ends the program. One list for the process: a signal knows no owner.

use super::directory::Directory;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

static UNFINISHED: Mutex<List> = Mutex::new(List { entries: Vec::new(), is_decided: false });

struct List {
    entries: Vec<Entry>,
    /// Whether a file has taken the place of what was there: the program has done what it was asked for.
    is_decided: bool,
}

/// What a program that was asked to end finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing is finished, and nothing will be.
    Nothing,
    /// An output that appears whole or not at all has its name.
    Finished,
}

struct Entry {
    file: Arc<File>,
    directory: Arc<Directory>,
    name: OsString,
}

/// The list while nobody else changes it or what is in it.
pub(super) struct Unfinished(MutexGuard<'static, List>);

/// Takes the list; a file is finished while it is held, or not at all.
pub(super) fn hold() -> Unfinished {
    Unfinished(UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Unfinished {
    /// Adds a file under its present name.
    pub(super) fn add(&mut self, file: &Arc<File>, directory: &Arc<Directory>, name: &OsStr) {
        let (file, directory) = (Arc::clone(file), Arc::clone(directory));
        self.0.entries.push(Entry { file, directory, name: name.to_owned() });
    }

    /// Takes a file off.
    pub(super) fn forget(&mut self, file: &Arc<File>) {
        self.0.entries.retain(|entry| !Arc::ptr_eq(&entry.file, file));
    }

    /// Takes a file off that has its name. `decides`: with it the program's work is done.
    pub(super) fn finished(&mut self, file: &Arc<File>, decides: bool) {
        self.forget(file);
        self.0.is_decided |= decides;
    }
}

/// Removes every unfinished file, for a program that ends now: no file is finished after it. Where one is finished that decides,
/// all stays as it is, and the program can go on.
pub(crate) fn remove_all() -> Left {
    let list = hold();
    if list.0.is_decided {
        return Left::Finished;
    }
    for entry in &list.0.entries {
        // The program ends; nobody is left to hear of a failure.
        let _ = entry.directory.remove(&entry.name, &entry.file);
    }
    std::mem::forget(list);
    Left::Nothing
}

#[cfg(test)]
mod tests {
    use super::super::OutputFile;
    use super::*;

    #[test]
    fn once_an_output_has_its_name_a_signal_takes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        OutputFile::create_beside(&path, false).unwrap().finish().unwrap();
        let unfinished = OutputFile::create_beside(&directory.path().join("other"), false).unwrap();
        assert_eq!(remove_all(), Left::Finished);
        assert!(path.is_file());
        unfinished.finish().unwrap();
    }
}
