//! A stream in several files, where the file system ends a file before the stream ends, as FAT does at 4 GiB: the rest
//! goes on in `NAME.001`, `NAME.002` and so on. In that order they are the stream, byte for byte. A file of such a name that
//! begins as a dump of its own is no continuation: it is neither read as one nor replaced.

use super::{OnFailure, OutputFile, parent_of};
use crate::raw::FrameHeader;
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Continuations have three digits: a million GiB on FAT.
const MAX_CONTINUATIONS: u32 = 999;
/// How dumps begin, and nothing that is encrypted: age, armored age, KDUMP and its flattened form, ELF of 64 and 32 bits, the
/// frame of a raw partition.
const BEGINNINGS: [&[u8]; 7] = [
    b"age-encryption.org/",
    b"-----BEGIN AGE",
    b"KDUMP   ",
    b"makedumpfile",
    b"\x7fELF\x02",
    b"\x7fELF\x01",
    &FrameHeader::MAGIC,
];

/// The name of continuation `number` of the stream in `path`; number 0 is `path` itself.
#[must_use]
fn name(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if number > 0 {
        name.push(format!(".{number:03}"));
    }
    name.into()
}

/// The continuations of `path`, in order.
#[must_use]
pub(crate) fn following(path: &Path) -> Vec<PathBuf> {
    let names = (1..=MAX_CONTINUATIONS).map(|number| name(path, number));
    names.take_while(|name| name.is_file() && !is_a_dump(name)).collect()
}

/// Removes the continuations that an attempt left, so that the next one has their room.
///
/// # Errors
/// From the kernel.
pub(crate) fn clear(path: &Path) -> io::Result<()> {
    following(path).into_iter().filter_map(Older::of).try_for_each(|older| older.remove())
}

/// Whether a path has the name of a continuation of `path`.
#[must_use]
pub(crate) fn is_named_after(continuation: &Path, path: &Path) -> bool {
    (1..=MAX_CONTINUATIONS).any(|number| name(path, number) == continuation)
}

/// Whether a file begins as a dump of its own.
fn is_a_dump(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(32).read_to_end(&mut start));
    read.is_ok() && BEGINNINGS.iter().any(|beginning| start.starts_with(beginning))
}

/// A file that was there before.
struct Older {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Older {
    fn of(path: PathBuf) -> Option<Older> {
        Some(Older { identity: Older::identity(&path)?, path })
    }

    /// Of the name itself: a link is no continuation of ours, and whoever made it does not choose what goes.
    fn identity(path: &Path) -> Option<(u64, u64)> {
        let data = path.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
        Some((data.dev(), data.ino()))
    }

    /// Removes it, unless the name is another file's by now.
    fn remove(&self) -> io::Result<()> {
        if Older::identity(&self.path) == Some(self.identity) { fs::remove_file(&self.path) } else { Ok(()) }
    }
}

/// Writes a stream into one file, and further ones where that takes no more. Unless [`Continued::finish`] is called,
/// all of them are treated as `on_failure` has it.
pub(crate) struct Continued {
    path: PathBuf,
    on_failure: OnFailure,
    /// Continuations of the stream that is overwritten. Those that the new one does not replace go when it is whole.
    older: Vec<Older>,
    earlier: Vec<OutputFile>,
    current: OutputFile,
    /// Whether the current file has taken a byte: one that takes none will not take the next either.
    begun: bool,
}

impl Continued {
    /// Creates `path`. An existing file, or a continuation that follows it, is an error unless `overwrite` is set.
    ///
    /// # Errors
    /// As [`OutputFile::create`].
    pub(crate) fn create(path: &Path, overwrite: bool, on_failure: OnFailure) -> io::Result<Continued> {
        let older = following(path);
        if !overwrite && !older.is_empty() {
            return Err(Errno::EXIST.into());
        }
        let older = older.into_iter().filter_map(Older::of).collect();
        let current = OutputFile::create(path, overwrite, on_failure)?;
        Ok(Continued { path: path.to_owned(), on_failure, older, earlier: Vec::new(), current, begun: false })
    }

    /// Makes all files last, and removes what is left of an older stream; gives their number.
    ///
    /// # Errors
    /// From the kernel.
    pub(crate) fn finish(self) -> io::Result<usize> {
        let count = self.earlier.len() + 1;
        self.earlier.into_iter().try_for_each(OutputFile::finish)?;
        self.current.finish()?;
        self.older.iter().try_for_each(Older::remove)?;
        if !self.older.is_empty() {
            // With an older continuation after its end, a whole dump would not open after a power cut.
            let _ = File::open(parent_of(&self.path)).and_then(|parent| parent.sync_all());
        }
        Ok(count)
    }

    fn begin_next(&mut self) -> io::Result<()> {
        let number = u32::try_from(self.earlier.len() + 1).unwrap_or(u32::MAX);
        if number > MAX_CONTINUATIONS {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let name = name(&self.path, number);
        let is_older = self.older.iter().any(|older| older.path == name);
        let next = OutputFile::create(&name, is_older, self.on_failure)?;
        self.earlier.push(std::mem::replace(&mut self.current, next));
        self.begun = false;
        Ok(())
    }
}

impl Write for Continued {
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
        let refused = Continued::create(&path, false, OnFailure::Remove).err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::AlreadyExists));
        assert!(!path.exists());

        let mut output = Continued::create(&path, true, OnFailure::Remove).unwrap();
        assert_eq!(following(&path), names(&[1, 2]), "nothing goes before the new one is whole");
        for part in ["a", "b", "c"] {
            output.write_all(part.as_bytes()).unwrap();
            if part != "c" {
                output.begin_next().unwrap();
            }
        }
        assert_eq!(output.finish().unwrap(), 3);
        let read: Vec<_> = names(&[0, 1, 2]).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        assert_eq!(read, ["a", "b", "c"]);
    }

    #[test]
    fn older_pieces_go_when_the_new_stream_is_whole_and_nothing_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        let continuation = |number| name(&path, number);
        let old = || {
            for number in [1, 2, 4] {
                fs::write(continuation(number), "old").unwrap();
            }
        };
        old();
        fs::write(&path, "old").unwrap();
        drop(Continued::create(&path, true, OnFailure::Remove).unwrap());
        assert!([1, 2, 4].iter().all(|&number| continuation(number).exists()) && !path.exists());

        let mut output = Continued::create(&path, true, OnFailure::Remove).unwrap();
        output.write_all(b"new").unwrap();
        // Somebody else's by now.
        fs::write(continuation(3), "other").unwrap();
        fs::rename(continuation(3), continuation(2)).unwrap();
        assert_eq!(output.finish().unwrap(), 1);
        assert!(!continuation(1).exists() && continuation(4).exists());
        assert_eq!(fs::read_to_string(continuation(2)).unwrap(), "other");
    }

    #[test]
    fn a_dump_or_a_link_is_no_piece() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        let continuation = |number| name(&path, number);
        for beginning in BEGINNINGS {
            fs::write(continuation(1), beginning).unwrap();
            assert!(following(&path).is_empty(), "{beginning:?}");
            // It is in nobody's way until the stream needs its name.
            let mut output = Continued::create(&path, false, OnFailure::Remove).unwrap();
            assert_eq!(output.begin_next().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(output.finish().unwrap(), 1);
            assert_eq!(fs::read(continuation(1)).unwrap(), beginning);
            fs::remove_file(&path).unwrap();
        }
        fs::write(directory.path().join("other"), "text").unwrap();
        fs::remove_file(continuation(1)).unwrap();
        std::os::unix::fs::symlink("other", continuation(1)).unwrap();
        Continued::create(&path, true, OnFailure::Remove).unwrap().finish().unwrap();
        assert!(continuation(1).is_symlink());
        assert!(is_named_after(&continuation(999), &path) && !is_named_after(&path, &path));
    }

    #[test]
    fn what_an_attempt_left_goes_before_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump-incomplete");
        let mut output = Continued::create(&path, false, OnFailure::Keep).unwrap();
        output.begin_next().unwrap();
        drop(output);
        fs::write(name(&path, 2), "age-encryption.org/v1\n").unwrap();
        assert_eq!(following(&path), [name(&path, 1)]);
        clear(&path).unwrap();
        assert!(path.exists() && !name(&path, 1).exists() && name(&path, 2).exists());
    }

    #[test]
    fn on_failure_all_pieces_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        let mut output = Continued::create(&path, false, OnFailure::Remove).unwrap();
        output.begin_next().unwrap();
        assert_eq!(following(&path).len(), 1);
        drop(output);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
}
