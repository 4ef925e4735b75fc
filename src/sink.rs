//! Where output goes: a file that appears whole or not at all, several where one cannot hold it (`pieces`), stdout,
//! or a partition (`device`). The only room besides cli that sees a path of an output.

pub mod device;
pub mod pieces;

use crate::raw::{FrameHeader, FrameWriter, capacity};
use device::Device;
use pieces::Pieces;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Writes go out in pieces of this size: large enough for disks and pipes, small enough for the
/// capture kernel.
const BUFFER: usize = 1 << 20;

/// An output file, mode 0600. Unless [`OutputFile::finish`] is called it is removed again.
pub struct OutputFile {
    file: File,
    path: PathBuf,
    rename_to: Option<PathBuf>,
    on_failure: OnFailure,
    finished: bool,
}

/// What becomes of a file that was not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It is removed.
    Remove,
    /// It stays: what is in it is worth more than nothing.
    Keep,
}

impl OutputFile {
    /// Creates `path` itself. An existing file is an error unless `overwrite` is set; then it is
    /// emptied first.
    ///
    /// # Errors
    /// As the kernel says; [`io::ErrorKind::AlreadyExists`] for an existing file.
    pub fn create(path: &Path, overwrite: bool, on_failure: OnFailure) -> io::Result<OutputFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        let options = if overwrite { options.create(true).truncate(true) } else { options.create_new(true) };
        let file = options.open(path)?;
        let output = OutputFile { file, path: path.to_owned(), rename_to: None, on_failure, finished: false };
        if output.is_regular()? {
            output.file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        Ok(output)
    }

    /// Creates a file beside `path` that takes its name when it is finished; `path` itself is
    /// untouched until then. An existing `path` is an error unless `overwrite` is set.
    ///
    /// # Errors
    /// As the kernel says; [`io::ErrorKind::AlreadyExists`] for an existing file,
    /// [`io::ErrorKind::IsADirectory`] for a directory.
    pub fn create_hidden(path: &Path, overwrite: bool) -> io::Result<OutputFile> {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !overwrite && path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        name.push(format!(".incomplete-{}", std::process::id()));
        let mut output = OutputFile::create(&path.with_file_name(name), true, OnFailure::Remove)?;
        output.rename_to = Some(path.to_owned());
        Ok(output)
    }

    /// Sets the name it takes when it is finished; an older file of that name is replaced then.
    pub fn set_name(&mut self, path: &Path) {
        self.rename_to = Some(path.to_owned());
    }

    /// The file, for positioned writes.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes at a position, leaving a hole where all of `bytes` is zero and nothing was before.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Flushes the file and its directory entry to the disk and gives it its name.
    ///
    /// # Errors
    /// As the kernel says; the file is then removed as on any failure.
    pub fn finish(mut self) -> io::Result<()> {
        if self.is_regular()? {
            self.file.sync_all()?;
        }
        if let Some(name) = &self.rename_to {
            fs::rename(&self.path, name)?;
        }
        self.finished = true;
        let name = self.rename_to.as_ref().unwrap_or(&self.path);
        sync_directory(name)
    }

    fn is_regular(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.is_file())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        let regular = self.is_regular().unwrap_or(false);
        if !self.finished && regular && self.on_failure == OnFailure::Remove {
            // Nothing can be done about a failure here; the error that led here is reported.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Creates a directory, mode 0700, with those above it that are absent, and makes them last. Another program may
/// create them at the same time: each partition has its own collector.
///
/// # Errors
/// As the kernel says.
pub fn create_directory(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), create_directory)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => Err(error),
        _ => sync_directory(path),
    }
}

/// Makes a file last that an earlier run named and may have left to the kernel to write.
///
/// # Errors
/// As the kernel says.
pub fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    sync_directory(path)
}

/// Makes the name of `path` last.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or(Path::new(".")))?;
    match directory.sync_all() {
        // Some file systems have nothing to flush for a directory and say so.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

/// The output of a collection: written from front to back.
pub enum Stream {
    /// A file.
    File(BufWriter<OutputWriter>),
    /// A file, and more of them where the file system ends it early.
    Pieces(BufWriter<Pieces>),
    /// Standard output.
    Stdout(BufWriter<io::Stdout>),
    /// Standard output, in the frame of a raw partition.
    FramedStdout(FrameWriter<io::Stdout>),
    /// A raw partition, in the frame.
    Device {
        /// Writes there.
        writer: FrameWriter<Device>,
        /// The most bytes the dump may have.
        capacity: u64,
    },
    /// Nowhere: the dump is made and measured, not kept.
    Null(io::Sink),
}

/// An [`OutputFile`] as a writer.
pub struct OutputWriter(OutputFile);

impl Write for OutputWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.file.flush()
    }
}

impl Stream {
    /// Into a file.
    #[must_use]
    pub fn file(output: OutputFile) -> Stream {
        Stream::File(BufWriter::with_capacity(BUFFER, OutputWriter(output)))
    }

    /// Into files.
    #[must_use]
    pub fn pieces(output: Pieces) -> Stream {
        Stream::Pieces(BufWriter::with_capacity(BUFFER, output))
    }

    /// Into standard output; `None` when that is a terminal.
    #[must_use]
    pub fn stdout() -> Option<Stream> {
        let stdout = io::stdout();
        (!stdout.is_terminal()).then(|| Stream::Stdout(BufWriter::with_capacity(BUFFER, stdout)))
    }

    /// Into a frame on standard output, for a program that copies it to a partition.
    #[must_use]
    pub fn framed_stdout(header: &FrameHeader) -> Option<Stream> {
        let stdout = io::stdout();
        (!stdout.is_terminal()).then(|| Stream::FramedStdout(FrameWriter::new(stdout, header)))
    }

    /// Into a frame on a partition.
    #[must_use]
    pub fn device(device: Device, header: &FrameHeader) -> Stream {
        let capacity = capacity(device.size, header.saved.len());
        Stream::Device { writer: FrameWriter::new(device, header), capacity }
    }

    /// The most bytes it can take, where that is known beforehand.
    #[must_use]
    pub fn capacity(&self) -> Option<u64> {
        match self {
            Stream::Device { capacity, .. } => Some(*capacity),
            _ => None,
        }
    }

    /// Writes out what is in hand and makes the output last; gives the number of files, 1 where there are none.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn finish(self) -> io::Result<usize> {
        match self {
            Stream::File(writer) => {
                writer.into_inner().map_err(io::IntoInnerError::into_error)?.0.finish()?;
            }
            Stream::Pieces(writer) => {
                return writer.into_inner().map_err(io::IntoInnerError::into_error)?.finish();
            }
            Stream::Stdout(mut writer) => writer.flush()?,
            Stream::FramedStdout(writer) => {
                writer.finish()?;
            }
            Stream::Device { writer, .. } => writer.finish()?.finish()?,
            Stream::Null(_) => {}
        }
        Ok(1)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::File(writer) => writer.write(bytes),
            Stream::Pieces(writer) => writer.write(bytes),
            Stream::Stdout(writer) => writer.write(bytes),
            Stream::FramedStdout(writer) => writer.write(bytes),
            Stream::Device { writer, .. } => writer.write(bytes),
            Stream::Null(sink) => sink.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::File(writer) => writer.flush(),
            Stream::Pieces(writer) => writer.flush(),
            Stream::Stdout(writer) => writer.flush(),
            Stream::FramedStdout(writer) => writer.flush(),
            Stream::Device { writer, .. } => writer.flush(),
            Stream::Null(sink) => sink.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(directory: &Path) -> Vec<(String, u32)> {
        let mut files: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                (entry.file_name().into_string().unwrap(), mode)
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn a_finished_file_stays_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        let mut stream = Stream::file(OutputFile::create(&path, false, OnFailure::Remove).unwrap());
        stream.write_all(b"abc").unwrap();
        stream.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert_eq!(modes(directory.path()), [("dump".to_owned(), 0o600)]);
    }

    #[test]
    fn an_unfinished_file_goes_unless_it_shall_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        drop(OutputFile::create(&path, false, OnFailure::Remove).unwrap());
        drop(OutputFile::create_hidden(&path, false).unwrap());
        assert_eq!(modes(directory.path()), []);
        drop(OutputFile::create(&path, false, OnFailure::Keep).unwrap());
        assert_eq!(modes(directory.path()).len(), 1);
    }

    #[test]
    fn directories_are_private_and_made_by_whoever_is_first() {
        let directory = tempfile::tempdir().unwrap();
        for turn in 0..50 {
            let path = directory.path().join(turn.to_string()).join("crash");
            let start = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                let make = || {
                    start.wait();
                    create_directory(&path)
                };
                let both = [scope.spawn(make), scope.spawn(make)];
                both.into_iter().for_each(|one| one.join().unwrap().unwrap());
            });
            assert_eq!(modes(path.parent().unwrap()), [("crash".to_owned(), 0o700)]);
        }
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(create_directory(&directory.path().join("file")).is_err());
    }

    #[test]
    fn an_existing_file_is_safe() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        fs::write(&path, "precious").unwrap();
        let beside = OutputFile::create_hidden(directory.path(), true).err();
        assert_eq!(beside.map(|error| error.kind()), Some(io::ErrorKind::IsADirectory));
        for result in
            [OutputFile::create(&path, false, OnFailure::Remove), OutputFile::create_hidden(&path, false)]
        {
            assert_eq!(result.err().map(|error| error.kind()), Some(io::ErrorKind::AlreadyExists));
        }
        drop(OutputFile::create_hidden(&path, true).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let output = OutputFile::create_hidden(&path, true).unwrap();
        output.write_at(b"new", 0).unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(modes(directory.path()), [("dump".to_owned(), 0o600)]);
    }
}
