//! A file that counts only once it reads back from the disk as what was written, under a name that nothing else has. For
//! copies whose original goes afterwards: dumps on partitions, records of the firmware.

use super::safe_dir::SafeDirectory;
use rustix::fs::{Advice, fadvise};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, Write};

/// Bytes read back at a time.
const BUFFER: usize = 1 << 20;

/// A file under the name of an unfinished one, and the sum of what was written to it. Dropped before it is finished, it is
/// removed.
pub(crate) struct VerifiedFile<'a> {
    directory: &'a SafeDirectory,
    file: File,
    digest: Sha256,
    /// Its name until it is finished: `start`, and digits.
    unfinished: String,
    start: &'a str,
    is_named: bool,
}

impl<'a> VerifiedFile<'a> {
    /// Creates a file, mode 0600, whose name is `start` and 16 random digits until it is finished.
    ///
    /// # Errors
    /// As the kernel reports.
    pub(crate) fn create(directory: &'a SafeDirectory, start: &'a str) -> io::Result<VerifiedFile<'a>> {
        let (file, unfinished) = directory.create(start)?;
        Ok(VerifiedFile { directory, file, digest: Sha256::new(), unfinished, start, is_named: false })
    }

    /// Syncs the file, compares what is on the disk with what was written, gives it the name that `name` makes of its 16
    /// random digits, and syncs the directory; returns the name.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when it reads back as something else, [`io::ErrorKind::AlreadyExists`] when the name
    /// is taken; those of `name`; or as the kernel reports. The file is removed then, unless it has its name.
    pub(crate) fn finish(mut self, name: impl FnOnce(&str) -> io::Result<String>) -> io::Result<String> {
        self.file.sync_all()?;
        self.compare()?;
        let name = name(&self.unfinished[self.start.len()..])?;
        self.directory.rename(&self.unfinished, &name)?;
        self.is_named = true;
        self.directory.sync()?;
        Ok(name)
    }

    fn compare(&mut self) -> io::Result<()> {
        // From the disk, not from memory: the kernel may drop pages that are on the disk.
        fadvise(&self.file, 0, None, Advice::DontNeed)?;
        self.file.rewind()?;
        let (mut back, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
        loop {
            match self.file.read(&mut buffer)? {
                0 => break,
                count => back.update(&buffer[..count]),
            }
        }
        if back.finalize() == self.digest.finalize_reset() {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "what was written reads back as something else"))
        }
    }
}

impl Write for VerifiedFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.digest.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for VerifiedFile<'_> {
    fn drop(&mut self) {
        if !self.is_named {
            // Nothing can be done about a failure here; the error that led here is reported.
            let _ = self.directory.remove(&self.unfinished);
        }
    }
}

/// Removes the files that earlier runs left when they were stopped: those whose names `is_ours` takes. Nobody else makes
/// names in such a directory.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn remove_unfinished(directory: &SafeDirectory, is_ours: impl Fn(&str) -> bool) -> io::Result<()> {
    for name in directory.names()?.iter().filter(|name| is_ours(name)) {
        // A directory of that name is not ours and stays.
        let _ = directory.remove(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::safe_dir::testing;
    use super::*;
    use std::fs;

    fn scratch() -> (tempfile::TempDir, SafeDirectory) {
        let top = testing::scratch();
        let directory = SafeDirectory::open(top.path()).unwrap();
        (top, directory)
    }

    fn names(directory: &SafeDirectory) -> Vec<String> {
        let mut names = directory.names().unwrap();
        names.retain(|name| !matches!(name.as_str(), "." | ".."));
        names.sort();
        names
    }

    #[test]
    fn a_finished_file_has_its_name_and_an_unfinished_one_goes() {
        let (top, directory) = scratch();
        let mut file = VerifiedFile::create(&directory, "copying-").unwrap();
        file.write_all(b"some bytes").unwrap();
        assert_eq!(names(&directory), [file.unfinished.clone()]);
        let name = file.finish(|digits| Ok(format!("whole-{digits}"))).unwrap();
        assert_eq!((names(&directory), name.len()), (vec![name.clone()], 6 + 16));
        assert_eq!(fs::read(top.path().join(&name)).unwrap(), b"some bytes");
        drop(VerifiedFile::create(&directory, "copying-").unwrap());
        let taken = VerifiedFile::create(&directory, "copying-").unwrap().finish(|_| Ok(name.clone()));
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(names(&directory), [name]);
    }

    #[test]
    fn a_file_that_reads_back_as_something_else_gets_no_name() {
        let (top, directory) = scratch();
        for other in [&b"some bytEs"[..], b"some bytes and more", b"some"] {
            let mut file = VerifiedFile::create(&directory, "copying-").unwrap();
            file.write_all(b"some bytes").unwrap();
            fs::write(top.path().join(&file.unfinished), other).unwrap();
            let error = file.finish(|_| Ok("whole".to_owned())).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(names(&directory).is_empty());
        }
    }

    #[test]
    fn what_stopped_runs_left_is_removed_and_nothing_else() {
        let (top, directory) = scratch();
        for name in ["copying-1", "copying-2", "whole"] {
            fs::write(top.path().join(name), "").unwrap();
        }
        fs::create_dir(top.path().join("copying-3")).unwrap();
        remove_unfinished(&directory, |name| name.starts_with("copying-")).unwrap();
        assert_eq!(names(&directory), ["copying-3", "whole"]);
    }
}
