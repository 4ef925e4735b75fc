//! Where a stream goes: the place as typed, opened, and what is said when it takes no more.

use super::super::{Failure, Status, quoted};
use crate::sink::{OnFailure, OutputFile, Stream};
use std::io;
use std::path::PathBuf;

/// A place for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A new file, or an old one where it may be overwritten.
    File {
        /// Its name.
        path: PathBuf,
        /// Whether an existing file is overwritten.
        overwrite: bool,
        /// What becomes of it when an error ends the run.
        on_failure: OnFailure,
    },
    /// Standard output.
    Stdout,
    /// Nowhere.
    Nothing,
}

impl Place {
    /// Opens it.
    pub fn open(&self) -> Result<Stream, Failure> {
        match self {
            Place::File { path, overwrite, on_failure } => OutputFile::create(path, *overwrite, *on_failure)
                .map(Stream::file)
                .map_err(|error| self.creating(&error)),
            Place::Stdout => Stream::stdout().ok_or_else(|| {
                Failure::new(Status::Usage, "writing an encrypted stream to a terminal is refused")
                    .hint("name a file, or redirect standard output")
            }),
            Place::Nothing => Ok(Stream::Null(io::sink())),
        }
    }

    fn creating(&self, error: &io::Error) -> Failure {
        let hint = (error.kind() == io::ErrorKind::AlreadyExists).then_some("-f overwrites it");
        Failure::caused(format!("creating {}", self.name()), error).maybe_hint(hint)
    }

    /// How messages call it.
    pub fn name(&self) -> String {
        match self {
            Place::File { path, .. } => quoted(path),
            Place::Stdout => "standard output".to_owned(),
            Place::Nothing => "nowhere (dry run)".to_owned(),
        }
    }

    /// A failure to write there. `when_full` is the advice for a full disk.
    pub fn write_failure(&self, error: &io::Error, when_full: &'static str) -> Failure {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull => Some(when_full),
            io::ErrorKind::BrokenPipe => Some("the program that reads it ended early; look at its messages"),
            _ => None,
        };
        Failure::caused(format!("writing {}", self.name()), error).maybe_hint(hint)
    }
}
