//! A stream in several files, where the file system ends a file before the stream ends, as FAT does at 4 GiB: the rest
//! goes on in `NAME.001`, `NAME.002` and so on. In that order they are the stream, byte for byte.

use super::{OnFailure, OutputFile};
use rustix::io::Errno;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Pieces have three digits: a million GiB on FAT.
const MAX_PIECES: u32 = 999;

/// The name of piece `number` of the stream in `path`; `path` itself is piece 0.
#[must_use]
fn name(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if number > 0 {
        name.push(format!(".{number:03}"));
    }
    name.into()
}

/// The pieces that continue `path`, in order.
#[must_use]
pub fn following(path: &Path) -> Vec<PathBuf> {
    let names = (1..=MAX_PIECES).map(|number| name(path, number));
    names.take_while(|name| name.is_file()).collect()
}

/// Writes a stream into one file, and further ones where that takes no more. Unless [`Pieces::finish`] is called,
/// all of them are treated as `on_failure` has it.
pub struct Pieces {
    path: PathBuf,
    overwrite: bool,
    on_failure: OnFailure,
    earlier: Vec<OutputFile>,
    current: OutputFile,
    /// Whether the current file has taken a byte: one that takes none will not take the next either.
    begun: bool,
}

impl Pieces {
    /// Creates `path`. An existing file, or one that a further piece would have, is an error unless `overwrite` is
    /// set; then it is emptied or removed.
    ///
    /// # Errors
    /// As [`OutputFile::create`].
    pub fn create(path: &Path, overwrite: bool, on_failure: OnFailure) -> io::Result<Pieces> {
        let older = following(path);
        if !overwrite && !older.is_empty() {
            return Err(Errno::EXIST.into());
        }
        let current = OutputFile::create(path, overwrite, on_failure)?;
        older.iter().try_for_each(fs::remove_file)?;
        let path = path.to_owned();
        Ok(Pieces { path, overwrite, on_failure, earlier: Vec::new(), current, begun: false })
    }

    /// Makes all files last; gives their number.
    ///
    /// # Errors
    /// From the kernel.
    pub fn finish(self) -> io::Result<usize> {
        let count = self.earlier.len() + 1;
        self.earlier.into_iter().try_for_each(OutputFile::finish)?;
        self.current.finish().map(|()| count)
    }

    fn begin_next(&mut self) -> io::Result<()> {
        let number = u32::try_from(self.earlier.len() + 1).unwrap_or(u32::MAX);
        if number > MAX_PIECES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let next = OutputFile::create(&name(&self.path, number), self.overwrite, self.on_failure)?;
        self.earlier.push(std::mem::replace(&mut self.current, next));
        self.begun = false;
        Ok(())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Linux `mm/filemap.c`, generic_write_checks: what fits below the limit is written first, then comes EFBIG.
        let mut written = self.current.file().write(bytes);
        if self.begun && written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::FileTooLarge) {
            self.begin_next()?;
            written = self.current.file().write(bytes);
        }
        self.begun |= written.is_ok();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.current.file().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_each_other_and_older_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        let names = |numbers: &[u32]| numbers.iter().map(|&number| name(&path, number)).collect::<Vec<_>>();
        for file in names(&[1, 2, 4]) {
            fs::write(file, "old").unwrap();
        }
        assert_eq!(following(&path), names(&[1, 2]));
        let refused = Pieces::create(&path, false, OnFailure::Remove).err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::AlreadyExists));
        assert!(!path.exists());

        let mut pieces = Pieces::create(&path, true, OnFailure::Remove).unwrap();
        assert!(following(&path).is_empty());
        for part in ["a", "b", "c"] {
            pieces.write_all(part.as_bytes()).unwrap();
            if part != "c" {
                pieces.begin_next().unwrap();
            }
        }
        assert_eq!(pieces.finish().unwrap(), 3);
        let read: Vec<_> = names(&[0, 1, 2]).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        assert_eq!(read, ["a", "b", "c"]);
    }

    #[test]
    fn on_failure_all_pieces_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        let mut pieces = Pieces::create(&path, false, OnFailure::Remove).unwrap();
        pieces.begin_next().unwrap();
        assert_eq!(following(&path).len(), 1);
        drop(pieces);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
}
