//! `vmcore-encrypt read-image`, hidden: the process that decodes a kdump image for `check`. Gives up its rights first;
//! standard input is the image, standard output the answer.

use super::super::Failure;
use crate::image::{Limits, confine, read, write_answer};
use std::io::{self, BufWriter, Write};

/// Runs the sub-command.
///
/// # Errors
/// The process keeps rights that it must not have, or nobody reads the answer. An image that cannot be read is an answer.
pub(super) fn run() -> Result<(), Failure> {
    confine().map_err(|error| Failure::caused("giving up privileges", &error))?;
    let tree = read(io::stdin().lock(), Limits::default());
    let mut out = BufWriter::new(io::stdout().lock());
    write_answer(&mut out, &tree)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::caused("writing the answer", &error))
}
