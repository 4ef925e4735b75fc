//! Where output goes: a file that appears whole or not at all (`file`), several where one cannot hold it (`continued`),
//! stdout or another thing that takes a stream (`special`), or a partition (`device`). The only room besides cli that
//! sees a path of an output.

pub(crate) mod collected;
pub(crate) mod continued;
pub(crate) mod device;
mod directory;
mod file;
mod lenient;
mod refused;
pub(crate) mod safe_dir;
pub(crate) mod special;
mod unfinished;
pub(crate) mod verified;

use crate::raw::{FrameHeader, FrameWriter};
#[cfg(feature = "upload")]
use crate::upload::Upload;
use continued::Continued;
use device::Device;
use special::Stdout;
use std::io::{self, BufWriter, Write};

pub(crate) use directory::{lock, parent_of};
pub use file::{OnFailure, OutputFile};
pub use refused::Refused;
pub(crate) use unfinished::{Left, remove_all as remove_unfinished};

/// Writes go out in pieces of this size: large enough for disks and pipes, small enough for the
/// capture kernel.
const BUFFER: usize = 1 << 20;

/// The output of a collection: written from front to back.
pub(crate) enum Stream {
    /// A file.
    File(BufWriter<OutputWriter>),
    /// A file, and more of them where the file system ends it early.
    Continued(BufWriter<Continued>),
    /// Standard output.
    Stdout(BufWriter<Stdout>),
    /// Standard output, in the frame of a raw partition.
    FramedStdout(FrameWriter<Stdout>),
    /// A raw partition, in the frame.
    Device {
        /// Writes there.
        writer: FrameWriter<Device>,
        /// The most bytes the dump may have.
        capacity: u64,
    },
    /// Objects in a store.
    #[cfg(feature = "upload")]
    Upload(Box<Upload>),
    /// Nowhere: the dump is made and measured, not kept.
    Null(io::Sink),
}

/// An [`OutputFile`] as a writer.
pub(crate) struct OutputWriter(OutputFile);

impl Write for OutputWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.file().flush()
    }
}

impl Stream {
    /// Into a file.
    #[must_use]
    pub(crate) fn file(output: OutputFile) -> Stream {
        Stream::File(BufWriter::with_capacity(BUFFER, OutputWriter(output)))
    }

    /// Into files.
    #[must_use]
    pub(crate) fn continued(output: Continued) -> Stream {
        Stream::Continued(BufWriter::with_capacity(BUFFER, output))
    }

    /// Into standard output.
    ///
    /// # Errors
    /// [`Refused`] for a terminal, and where all that is written would be lost.
    pub(crate) fn stdout() -> io::Result<Stream> {
        Ok(Stream::Stdout(BufWriter::with_capacity(BUFFER, Stdout::for_dump()?)))
    }

    /// Into a frame on standard output, for a program that copies it to a partition.
    ///
    /// # Errors
    /// As [`Stream::stdout`].
    pub(crate) fn framed_stdout(header: &FrameHeader) -> io::Result<Stream> {
        Ok(Stream::FramedStdout(FrameWriter::new(Stdout::for_dump()?, header)))
    }

    /// Into a frame on a partition.
    #[must_use]
    pub(crate) fn device(mut device: Device, header: &FrameHeader) -> Stream {
        let capacity = device.keep_copy(header);
        Stream::Device { writer: FrameWriter::new(device, header), capacity }
    }

    /// The most bytes it can take, where that is known beforehand.
    #[must_use]
    pub(crate) fn capacity(&self) -> Option<u64> {
        match self {
            Stream::Device { capacity, .. } => Some(*capacity),
            #[cfg(feature = "upload")]
            Stream::Upload(upload) => upload.capacity(),
            _ => None,
        }
    }

    /// Writes out what is in hand and syncs the output; gives the number of files, 1 where there are none.
    ///
    /// # Errors
    /// From the kernel.
    pub(crate) fn finish(self) -> io::Result<usize> {
        match self {
            Stream::File(writer) => {
                writer.into_inner().map_err(io::IntoInnerError::into_error)?.0.finish()?;
            }
            Stream::Continued(writer) => {
                return writer.into_inner().map_err(io::IntoInnerError::into_error)?.finish();
            }
            Stream::Stdout(mut writer) => writer.flush()?,
            Stream::FramedStdout(writer) => {
                writer.finish()?;
            }
            Stream::Device { writer, .. } => writer.finish()?.finish()?,
            #[cfg(feature = "upload")]
            Stream::Upload(upload) => upload.finish()?,
            Stream::Null(_) => {}
        }
        Ok(1)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::File(writer) => writer.write(bytes),
            Stream::Continued(writer) => writer.write(bytes),
            Stream::Stdout(writer) => writer.write(bytes),
            Stream::FramedStdout(writer) => writer.write(bytes),
            Stream::Device { writer, .. } => writer.write(bytes),
            #[cfg(feature = "upload")]
            Stream::Upload(upload) => upload.write(bytes),
            Stream::Null(sink) => sink.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::File(writer) => writer.flush(),
            Stream::Continued(writer) => writer.flush(),
            Stream::Stdout(writer) => writer.flush(),
            Stream::FramedStdout(writer) => writer.flush(),
            Stream::Device { writer, .. } => writer.flush(),
            #[cfg(feature = "upload")]
            Stream::Upload(upload) => upload.flush(),
            Stream::Null(sink) => sink.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_stream_into_a_file_ends_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        let mut stream = Stream::file(OutputFile::create(&path, false, OnFailure::Remove).unwrap());
        stream.write_all(b"abc").unwrap();
        stream.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
    }
}
