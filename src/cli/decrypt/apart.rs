//! Whether an output is one of the inputs. Checked by device and inode before any output is opened, since `-f` would
//! overwrite what is still to be read, or the only copy of a key.

use super::super::creating::refuse_url;
use super::super::{Failure, Status, input_name, output_name};
use crate::sink::{continued, special};
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Refuses an output that is a URL, or the same file as one of `inputs`, whatever its name: another path, a link, standard
/// output. `-` is standard input or standard output.
///
/// # Errors
/// It is. What does not exist, or is no file (a URL), is no other file.
pub(super) fn check<'a>(output: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    refuse_url(output)?;
    let Some(place) = of_output(output) else { return Ok(()) };
    let is_same = |input: &&Path| {
        let is_stdin = *input == Path::new("-");
        let following = if is_stdin { Vec::new() } else { continued::following(input) };
        let data = if is_stdin { of_open(&io::stdin()) } else { fs::metadata(input).ok() };
        let continuations = following.iter().filter_map(|path| fs::metadata(path).ok());
        data.into_iter().chain(continuations).any(|data| is_same_file(&data, &place))
    };
    match inputs.into_iter().find(is_same) {
        Some(input) => {
            let message =
                format!("writing {}: it is the same file as {}", output_name(output), input_name(input));
            Err(Failure::new(Status::Usage, message).hint("name another file for the output"))
        }
        None => Ok(()),
    }
}

/// Any number of readers and writers share a terminal or `/dev/null`.
fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    !one.file_type().is_char_device() && (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn of_output(path: &Path) -> Option<Metadata> {
    let is_stdout = special::is_stdout(path);
    if is_stdout { of_open(&io::stdout()) } else { fs::metadata(path).ok() }
}

fn of_open(file: &impl AsFd) -> Option<Metadata> {
    fs::File::from(file.as_fd().try_clone_to_owned().ok()?).metadata().ok()
}
