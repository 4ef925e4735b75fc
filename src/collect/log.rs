//! The crashed kernel's log as an encrypted stream: age outside, one zstd frame inside, text within, so that
//! `age -d | zstd -d` prints it. There is no way here to write it in plain.

use crate::crypt::{self, EncryptWriter, Entropy, Recipients};
use crate::klog::{self, KernelRead, Start, Stats};
use std::io::{self, Write};

/// zstd level: a log is small, and text shrinks well.
const COMPRESSION: i32 = 3;

/// What stops the saving of a log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no log, or it cannot be read.
    #[error(transparent)]
    Log(klog::Error),
    /// The file key could not be made or wrapped.
    #[error(transparent)]
    Crypt(#[from] crypt::Error),
    /// The output took no more.
    #[error("writing the log")]
    Write(#[from] io::Error),
}

impl From<klog::Error> for Error {
    fn from(error: klog::Error) -> Error {
        match error {
            klog::Error::Write(error) => Error::Write(error),
            error => Error::Log(error),
        }
    }
}

/// Checks that the log can be read, without keeping any of it.
///
/// # Errors
/// [`Error::Log`].
pub fn check(kernel: &dyn KernelRead, start: Start) -> Result<Stats, Error> {
    Ok(klog::dmesg_from(kernel, start, &mut io::sink())?)
}

/// Reads the log and writes it, encrypted to `recipients`, to `out`.
///
/// # Errors
/// See [`Error`]. Unless this succeeds the stream lacks its final chunk, and every reader notices.
pub fn encrypt(
    kernel: &dyn KernelRead,
    start: Start,
    recipients: &Recipients,
    entropy: &mut Entropy<'_>,
    mut out: &mut dyn Write,
) -> Result<Stats, Error> {
    let (header, key) = recipients.wrap(entropy)?;
    out.write_all(&header)?;
    let mut compressor = zstd::Encoder::new(EncryptWriter::new(&mut out, key), COMPRESSION)?;
    let stats = klog::dmesg_from(kernel, start, &mut compressor)?;
    compressor.finish()?.finish()?;
    Ok(stats)
}
