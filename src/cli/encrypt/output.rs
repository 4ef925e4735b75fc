//! Where a stream goes: the place as typed, opened, and what is reported when it takes no more.

use super::super::creating::{FILE_LIMIT, check_apart, creating, stdout_failure};
use super::super::recipients::RecipientArgs;
use super::super::{Failure, quoted};
#[cfg(feature = "upload")]
use super::upload::StorePlace;
use crate::raw::{self, FrameHeader};
use crate::sink::continued::{self, Continued};
use crate::sink::device::{Device, DeviceError};
use crate::sink::{OnFailure, Stream, special};
use std::io;
use std::path::{Path, PathBuf};

/// What the name of an unfinished dump contains.
const INCOMPLETE: [&str; 2] = ["-incomplete", ".incomplete"];
/// The refusal of a terminal.
const TERMINAL: &str = "writing an encrypted stream to a terminal is refused";

/// A place for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
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
    /// Standard output, in the frame of a raw partition.
    FramedStdout,
    /// A raw partition, in its frame.
    Device {
        /// Its name.
        path: PathBuf,
        /// The foreign signature that may be overwritten, by name.
        allowed: Option<String>,
    },
    /// Objects in a store.
    #[cfg(feature = "upload")]
    Store(StorePlace),
    /// Nowhere.
    Nothing,
}

impl Place {
    /// The place of an output file as typed. An unfinished one stays when that is asked for, or when its name owns to
    /// being incomplete, as kdump-utils' `vmcore-incomplete`: whoever gave that name gives another one to a whole dump.
    pub(super) fn file(path: &Path, overwrite: bool, keep_incomplete: bool) -> Place {
        if special::is_stdout(path) {
            return Place::Stdout;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let keeps = keep_incomplete || INCOMPLETE.iter().any(|word| name.contains(word));
        let on_failure = if keeps { OnFailure::Keep } else { OnFailure::Remove };
        Place::File { path: path.to_owned(), overwrite, on_failure }
    }

    /// Refuses a place that is the vmcore or a file of recipients, by whatever name: overwriting one would lose it.
    ///
    /// # Errors
    /// That it is.
    pub(super) fn check_apart(&self, read: &[PathBuf], recipients: &RecipientArgs) -> Result<(), Failure> {
        let mut inputs = recipients.read_files();
        inputs.extend_from_slice(read);
        match self {
            Place::File { path, .. } => {
                // Continuations of an older dump go when the new one is whole.
                let mut outputs = continued::following(path);
                outputs.push(path.clone());
                outputs
                    .iter()
                    .try_for_each(|output| inputs.iter().try_for_each(|input| check_apart(input, output)))
            }
            Place::Device { path, .. } => inputs.iter().try_for_each(|input| check_apart(input, path)),
            _ => Ok(()),
        }
    }

    /// Opens it.
    pub(super) fn open(&self) -> Result<Stream, Failure> {
        match self {
            Place::File { path, overwrite, on_failure } => Continued::create(path, *overwrite, *on_failure)
                .map(Stream::continued)
                .map_err(|error| creating(path, &error)),
            Place::Stdout => Stream::stdout().map_err(|error| stdout_failure(&error, TERMINAL)),
            Place::FramedStdout => {
                let header = FrameHeader { id: self.new_id()?, device_size: 0, saved: Vec::new() };
                Stream::framed_stdout(&header).map_err(|error| stdout_failure(&error, TERMINAL))
            }
            Place::Device { path, allowed } => self.open_device(path, allowed.as_deref()),
            #[cfg(feature = "upload")]
            Place::Store(store) => store.open(),
            Place::Nothing => Ok(Stream::Null(io::sink())),
        }
    }

    fn open_device(&self, path: &Path, allowed: Option<&str>) -> Result<Stream, Failure> {
        let device = Device::open(path, allowed).map_err(|error| self.opening(&error))?;
        let (device_size, saved) = (device.size, device.saved.clone());
        let header = FrameHeader { id: self.new_id()?, device_size, saved };
        Ok(Stream::device(device, &header))
    }

    fn new_id(&self) -> Result<raw::DumpId, Failure> {
        raw::new_id().map_err(|error| Failure::caused(format!("naming the dump on {}", self.name()), &error))
    }

    fn opening(&self, error: &DeviceError) -> Failure {
        let hint = match error {
            DeviceError::Occupied(name) => Some(format!(
                "if nothing on it is needed: wipefs -a, or name it as /dev/disk/by-... and add \
                 --allow-signature '{name}'"
            )),
            DeviceError::NotADevice => Some("a dump file is named after the vmcore".to_owned()),
            DeviceError::Io(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                Some("it is mounted, swapped to or part of another device".to_owned())
            }
            DeviceError::Io(_) => None,
        };
        Failure::caused(format!("opening output device {}", self.name()), error).maybe_hint(hint)
    }

    /// The same place for another attempt: what stands there now is what the attempt before left.
    fn again(&self) -> Place {
        match self.clone() {
            Place::File { path, on_failure, .. } => Place::File { path, overwrite: true, on_failure },
            place => place,
        }
    }

    /// Opens it for another attempt, which has the room of what the attempt before left.
    pub(super) fn open_again(&self) -> Result<Stream, Failure> {
        if let Place::File { path, .. } = self {
            continued::clear(path).map_err(|error| creating(path, &error))?;
        }
        self.again().open()
    }

    /// Whether another attempt can take the place of this one: what went to standard output stays there. In a store it
    /// is another set of objects.
    pub(super) fn can_begin_anew(&self) -> bool {
        match self {
            Place::Stdout | Place::FramedStdout => false,
            #[cfg(feature = "upload")]
            Place::Store(store) => store.can_begin_anew(),
            _ => true,
        }
    }

    /// Whether what it needs is there, without writing to it; with --probe a store is written to.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self {
            #[cfg(feature = "upload")]
            Place::Store(store) => store.check(),
            _ => Ok(()),
        }
    }

    /// How messages call it.
    pub(super) fn name(&self) -> String {
        match self {
            Place::File { path, .. } | Place::Device { path, .. } => quoted(path),
            Place::Stdout | Place::FramedStdout => "standard output".to_owned(),
            #[cfg(feature = "upload")]
            Place::Store(store) => store.name(),
            Place::Nothing => "nowhere (dry run)".to_owned(),
        }
    }

    /// A failure to write there. `when_full` is the advice for a full disk.
    pub(super) fn write_failure(&self, error: &io::Error, when_full: &'static str) -> Failure {
        #[cfg(feature = "upload")]
        let of_store = super::upload::hint(error);
        #[cfg(not(feature = "upload"))]
        let of_store = None;
        let hint = match error.kind() {
            _ if of_store.is_some() => of_store,
            io::ErrorKind::QuotaExceeded => Some("give a larger -L"),
            io::ErrorKind::StorageFull => Some(when_full),
            io::ErrorKind::FileTooLarge => Some(FILE_LIMIT),
            io::ErrorKind::BrokenPipe => Some("the program that reads it ended early; look at its messages"),
            _ => None,
        };
        let kept = self.keeps().then(|| format!("what is authentic of it is kept in {}", self.name()));
        let hint =
            [kept, hint.map(str::to_owned)].into_iter().flatten().reduce(|kept, hint| kept + "; " + &hint);
        Failure::caused(format!("writing {}", self.name()), error).maybe_hint(hint)
    }

    /// Whether what an error leaves unfinished stays.
    pub(super) fn keeps(&self) -> bool {
        match self {
            Place::File { on_failure, .. } => *on_failure == OnFailure::Keep,
            #[cfg(feature = "upload")]
            Place::Store(store) => store.holds_objects(),
            _ => false,
        }
    }
}
