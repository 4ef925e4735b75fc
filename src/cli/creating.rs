//! What is reported when an output cannot be made, by every command that makes one.

use super::{Failure, Status, quoted};
use crate::sink::{Refused, special};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Refuses an output that is the input, by another name too: what is read from it would be lost.
///
/// # Errors
/// They are one file or one device.
pub(super) fn check_apart(input: &Path, output: &Path) -> Result<(), Failure> {
    let (Ok(one), Ok(other)) = (input.metadata(), output.metadata()) else { return Ok(()) };
    let is_device = |data: &Metadata| data.file_type().is_block_device();
    let is_same = if is_device(&one) && is_device(&other) {
        one.rdev() == other.rdev()
    } else {
        one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    if !is_same {
        return Ok(());
    }
    let message = format!("creating {}: it is the same file as the input {}", quoted(output), quoted(input));
    Err(Failure::new(Status::Usage, message).hint("name another file"))
}

/// Refuses a URL as the name of an output: no file system has such a path, unless somebody made one.
///
/// # Errors
/// It is one.
pub(super) fn refuse_url(path: &Path) -> Result<(), Failure> {
    let is_url = path.to_str().is_some_and(|name| name.contains("://"));
    if !is_url || path.exists() || path.parent().is_some_and(Path::is_dir) {
        return Ok(());
    }
    let message = format!("creating {}: it is a URL, and the output must be a file", quoted(path));
    Err(Failure::new(Status::Usage, message)
        .hint("name a file, or a directory where one is needed; then copy it"))
}

/// The failure to create an output at `path`, with advice for what is there.
#[must_use]
pub(super) fn creating(path: &Path, error: &io::Error) -> Failure {
    let hint = match (Refused::find(error), error.kind()) {
        (Some(why), _) => refused_hint(why),
        (None, io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory) if path.is_dir() => {
            Some("it is a directory; name a file in it")
        }
        (None, io::ErrorKind::AlreadyExists) if path.is_symlink() => {
            Some("it is a symbolic link, which is not followed; name another file")
        }
        (None, io::ErrorKind::AlreadyExists) if special::kind(path).is_some() => {
            Some("it is no file; -f writes to a FIFO or character device, and replaces neither")
        }
        (None, io::ErrorKind::AlreadyExists) => Some("-f overwrites it"),
        _ => None,
    };
    Failure::caused(format!("creating {}", quoted(path)), error).maybe_hint(hint)
}

fn refused_hint(why: &Refused) -> Option<&'static str> {
    match why {
        Refused::Link(_) => Some("links are not followed, and not replaced; name the file itself"),
        Refused::Special(_) | Refused::Terminal => Some("name a file"),
        Refused::BlockDevice => Some("name a file; vmcore-encrypt --output-device takes a partition"),
        Refused::OtherOwner(_) => {
            Some("its owner would get what is written; name one of your own, or a file")
        }
        Refused::Busy => Some("name another file, or wait until that program has ended"),
        Refused::Replaced => Some("choose a directory that nobody else can write to"),
        Refused::Closed | Refused::ReadOnly => None,
    }
}

/// What helps where an output takes no more; `when_full` is the advice for a full disk.
#[cfg(feature = "analyst")]
#[must_use]
pub(super) fn full_hint(error: &io::Error, when_full: &'static str) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(when_full),
        io::ErrorKind::FileTooLarge => Some(FILE_LIMIT),
        _ => None,
    }
}

/// What helps where a file may not grow.
pub(super) const FILE_LIMIT: &str =
    "files may not grow so large here: by ulimit -f, or by what the file system can hold";

/// The failure to write to standard output. `terminal` is the refusal of a terminal, as a sentence.
#[must_use]
pub(super) fn stdout_failure(error: &io::Error, terminal: &str) -> Failure {
    let hint = "name a file, or redirect standard output";
    match Refused::find(error) {
        Some(Refused::Terminal) => Failure::new(Status::Usage, terminal).hint(hint),
        _ => Failure::caused("writing to standard output", error).hint(hint),
    }
}
