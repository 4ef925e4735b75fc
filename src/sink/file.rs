//! One output file: where its bytes are before it is finished, and how it comes by its name.
//!
//! | made by | before | in the end | for |
//! |---|---|---|---|
//! | [`OutputFile::create`] | the name asked for | the same | dumps: a reset leaves what is there |
//! | [`OutputFile::create_beside`] | an unpredictable name beside it | the name asked for | dumps that replace one |
//! | [`OutputFile::create_hidden`] | no name, where the file system can; else as above | the name asked for | plaintext |
//! | [`OutputFile::special`] | a FIFO or device that is there | the same | streams |

use super::directory::{Directory, lock};
use super::refused::Refused;
use super::{special, unfinished};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// An output file, mode 0600. Unless [`OutputFile::finish`] is called it is removed again.
pub struct OutputFile {
    file: Arc<File>,
    /// Its names; a FIFO or device has none of ours.
    names: Option<Names>,
    on_failure: OnFailure,
    /// Whether it appears whole or not at all: once it has its name a signal cannot undo it.
    decides: bool,
}

struct Names {
    directory: Arc<Directory>,
    /// The name it has, if any.
    now: Option<OsString>,
    /// The name it has when it is finished.
    wanted: OsString,
    /// Whether another file that has it then is replaced.
    replace: bool,
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
    /// Creates `path` itself, exclusively. With `overwrite` a regular file that is there goes first, so that its owner,
    /// its other names and whoever has it open get nothing of the new one; a FIFO or character device is written to.
    ///
    /// # Errors
    /// From the kernel; [`io::ErrorKind::AlreadyExists`] for whatever is there without `overwrite`; [`Refused`], and
    /// [`Refused::Busy`] while another program writes it.
    pub fn create(path: &Path, overwrite: bool, on_failure: OnFailure) -> io::Result<OutputFile> {
        if special::kind(path).is_some() && (overwrite || special::is_descriptor(path)) {
            return OutputFile::special(path);
        }
        let (directory, name) = Directory::of(path)?;
        let (file, old) =
            if overwrite { replace(&directory, &name)? } else { (directory.create(&name)?, None) };
        let names =
            Names { directory: Arc::new(directory), now: Some(name.clone()), wanted: name, replace: false };
        let output = OutputFile::new(file, Some(names), on_failure);
        lock(&output.file)?;
        drop(old);
        // Another program may have replaced it before it was locked.
        if output.has_name()? { Ok(output) } else { Err(Refused::Busy.into()) }
    }

    /// Creates a file beside `path` that takes its name when it is finished; `path` itself is untouched until then. It
    /// has no name where the file system has such files, so nothing of it stays however the program ends; else an
    /// unpredictable one. An existing `path` is an error unless `overwrite` is set.
    ///
    /// # Errors
    /// From the kernel; [`io::ErrorKind::AlreadyExists`] for an existing file,
    /// [`io::ErrorKind::IsADirectory`] for a directory; [`Refused`] for what is neither.
    pub fn create_hidden(path: &Path, overwrite: bool) -> io::Result<OutputFile> {
        let (directory, wanted) = free_place(path, overwrite)?;
        match directory.create_unnamed() {
            Some(file) => Ok(OutputFile::whole(
                file,
                Names { directory: Arc::new(directory), now: None, wanted, replace: overwrite },
            )),
            None => OutputFile::beside(directory, wanted, overwrite),
        }
    }

    /// The same, with a name from the first byte, unpredictable: a reset leaves what is there.
    ///
    /// # Errors
    /// As [`OutputFile::create_hidden`].
    pub fn create_beside(path: &Path, overwrite: bool) -> io::Result<OutputFile> {
        let (directory, wanted) = free_place(path, overwrite)?;
        OutputFile::beside(directory, wanted, overwrite)
    }

    fn beside(directory: Directory, wanted: OsString, replace: bool) -> io::Result<OutputFile> {
        let (now, file) = directory.create_beside(&wanted)?;
        let names = Names { directory: Arc::new(directory), now: Some(now), wanted, replace };
        Ok(OutputFile::whole(file, names))
    }

    /// A file that appears whole or not at all.
    fn whole(file: File, names: Names) -> OutputFile {
        let mut output = OutputFile::new(file, Some(names), OnFailure::Remove);
        output.decides = true;
        output
    }

    /// A FIFO or character device that is there, for a stream.
    ///
    /// # Errors
    /// [`Refused`]; from the kernel.
    pub fn special(path: &Path) -> io::Result<OutputFile> {
        Ok(OutputFile::new(special::open(path)?, None, OnFailure::Keep))
    }

    fn new(file: File, names: Option<Names>, on_failure: OnFailure) -> OutputFile {
        let file = Arc::new(file);
        if let (Some(Names { directory, now: Some(now), .. }), OnFailure::Remove) = (&names, on_failure) {
            unfinished::hold().add(&file, directory, now);
        }
        OutputFile { file, names, on_failure, decides: false }
    }

    /// Whether the name it has is its own.
    fn has_name(&self) -> io::Result<bool> {
        match &self.names {
            Some(Names { directory, now: Some(now), .. }) => directory.has(now, &self.file),
            _ => Ok(true),
        }
    }

    /// Sets the name in its directory that it takes when it is finished; an older file of that name is replaced then.
    pub fn set_name(&mut self, path: &Path) {
        if let (Some(names), Some(wanted)) = (&mut self.names, path.file_name()) {
            names.wanted = wanted.to_owned();
            names.replace = true;
        }
    }

    /// The file, for positioned writes.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes all of `bytes` at a position, zeros too. Only what is never written stays a hole.
    ///
    /// # Errors
    /// From the kernel.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Flushes the file and its directory entry to the disk and gives it its name.
    ///
    /// # Errors
    /// From the kernel; [`Refused::Replaced`] when the name is another file's in the end. The file is then removed as
    /// on any failure.
    pub fn finish(mut self) -> io::Result<()> {
        let Some(names) = &mut self.names else { return Ok(()) };
        self.file.sync_all()?;
        {
            let mut unfinished = unfinished::hold();
            names.take_wanted(&self.file, &mut unfinished)?;
            unfinished.finished(&self.file, self.decides);
        }
        let names = self.names.take();
        names.map_or(Ok(()), |names| names.directory.sync(&self.file))
    }
}

impl Names {
    /// Gives the file the name wanted, and checks that it has it then: where others can write to the directory, they
    /// can give the name to a file of theirs.
    fn take_wanted(&mut self, file: &Arc<File>, unfinished: &mut unfinished::Unfinished) -> io::Result<()> {
        let Names { directory, now, wanted, replace } = self;
        if now.is_none() {
            match directory.link(file, wanted) {
                Err(error) if *replace && error.kind() == io::ErrorKind::AlreadyExists => {
                    let hidden = directory.link_beside(file, wanted)?;
                    unfinished.add(file, directory, &hidden);
                    *now = Some(hidden);
                }
                result => {
                    result?;
                    *now = Some(wanted.clone());
                }
            }
        }
        match now {
            Some(now) if now != wanted && *replace => {
                directory.check_free(wanted, true)?;
                directory.rename(now, wanted)?;
            }
            Some(now) if now != wanted => directory.rename_to_free(now, wanted)?,
            _ => {}
        }
        *now = Some(wanted.clone());
        if directory.has(wanted, file)? { Ok(()) } else { Err(Refused::Replaced.into()) }
    }
}

/// Creates a file in the place of one that may be there; gives the old one too, which must be held until the new one is
/// locked: of two programs that replace one file, one finds it locked.
fn replace(directory: &Directory, name: &OsStr) -> io::Result<(File, Option<File>)> {
    directory.check_free(name, true)?;
    let old = directory.take_name(name)?;
    match directory.create(name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Refused::Busy.into()),
        result => Ok((result?, old)),
    }
}

/// The directory and name of `path`, which a file may take.
fn free_place(path: &Path, overwrite: bool) -> io::Result<(Directory, OsString)> {
    let (directory, name) = Directory::of(path)?;
    directory.check_free(&name, overwrite)?;
    Ok((directory, name))
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        // Finished files have given their names away.
        let Some(names) = &self.names else { return };
        let mut unfinished = unfinished::hold();
        unfinished.forget(&self.file);
        let Some(now) = &names.now else { return };
        // Nothing can be done about a failure here; the error that led here is reported.
        let _ = match self.on_failure {
            OnFailure::Remove => names.directory.remove(now, &self.file),
            OnFailure::Keep => self.file.sync_all().and_then(|()| names.directory.sync(&self.file)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

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

    fn refused(result: io::Result<OutputFile>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    type Create = fn(&Path, bool) -> io::Result<OutputFile>;
    /// The ways to create a file.
    const WAYS: [Create; 3] = [
        |path, overwrite| OutputFile::create(path, overwrite, OnFailure::Remove),
        OutputFile::create_hidden,
        OutputFile::create_beside,
    ];

    #[test]
    fn an_unfinished_file_goes_unless_it_shall_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        for create in WAYS {
            drop(create(&path, false).unwrap());
            assert_eq!(modes(directory.path()), []);
        }
        drop(OutputFile::create(&path, false, OnFailure::Keep).unwrap());
        assert_eq!(modes(directory.path()), [("dump".to_owned(), 0o600)]);
    }

    #[test]
    fn a_finished_file_is_private_and_whole_and_replaces_when_asked() {
        for create in WAYS {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("dump");
            for content in ["first", "second"] {
                let output = create(&path, content == "second").unwrap();
                output.write_at(content.as_bytes(), 0).unwrap();
                output.finish().unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), content);
                assert_eq!(modes(directory.path()), [("dump".to_owned(), 0o600)]);
            }
        }
    }

    /// What somebody else prepared at the name is neither followed nor written to nor replaced.
    #[test]
    fn what_is_no_regular_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("precious"), "precious").unwrap();
        symlink("precious", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(at("socket")).unwrap());
        for create in WAYS {
            for overwrite in [false, true] {
                for (name, why) in [("link", "symbolic link"), ("dangling", "symbolic link"), ("socket", "")]
                {
                    let found = refused(create(&at(name), overwrite));
                    assert!(
                        !found.is_empty() && (found.contains(why) || found.contains("exists")),
                        "{name}: {found}"
                    );
                }
                let kind = create(&at("directory"), overwrite).err().unwrap().kind();
                assert!(matches!(kind, io::ErrorKind::IsADirectory | io::ErrorKind::AlreadyExists));
            }
            assert!(create(&at("precious"), false).is_err());
        }
        assert!(refused(OutputFile::create_hidden(&at("socket"), true)).contains("socket"));
        assert!(create_all(&at("new/")).iter().all(Result::is_err));
        assert_eq!(fs::read_to_string(at("precious")).unwrap(), "precious");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 5);
    }

    fn create_all(path: &Path) -> Vec<io::Result<OutputFile>> {
        WAYS.iter().map(|create| create(path, true)).collect()
    }

    #[test]
    fn other_names_of_a_replaced_file_keep_its_content() {
        for create in WAYS {
            let directory = tempfile::tempdir().unwrap();
            let [path, other] = ["dump", "other"].map(|name| directory.path().join(name));
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
            fs::hard_link(&path, &other).unwrap();
            let output = create(&path, true).unwrap();
            output.write_at(b"new", 0).unwrap();
            output.finish().unwrap();
            assert_eq!([&path, &other].map(|path| fs::read_to_string(path).unwrap()), ["new", "old"]);
            assert_eq!(modes(directory.path())[0], ("dump".to_owned(), 0o600));
        }
    }

    #[test]
    fn one_program_at_a_time_replaces_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        let create = || OutputFile::create(&path, true, OnFailure::Remove);
        let first = create().unwrap();
        first.write_at(b"first", 0).unwrap();
        assert!(refused(create()).contains("another program"));
        first.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        create().unwrap().finish().unwrap();
        // Both at once: one gets it.
        for _ in 0..50 {
            let results = std::thread::scope(|scope| {
                let both = [scope.spawn(create), scope.spawn(create)];
                both.map(|one| one.join().unwrap())
            });
            assert!(results.iter().filter(|result| result.is_ok()).count() <= 1);
            let finished: Vec<_> = results.into_iter().flatten().map(OutputFile::finish).collect();
            assert!(finished.iter().all(Result::is_ok));
        }
    }

    #[test]
    fn a_name_that_was_given_away_is_noticed() {
        for create in WAYS {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("dump");
            let output = create(&path, false).unwrap();
            // As who may write to the directory can.
            let present: Vec<PathBuf> =
                fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
            for present in present.iter().chain([&path]) {
                let _ = fs::remove_file(present);
                fs::write(present, "forged").unwrap();
            }
            assert!(output.finish().is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), "forged");
        }
    }

    #[test]
    fn the_longest_names_work() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["n".repeat(255), "\u{20ac}".repeat(85)] {
            for create in WAYS {
                let path = directory.path().join(&name);
                create(&path, true).unwrap().finish().unwrap();
                assert!(path.is_file());
            }
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
    }

    #[test]
    fn a_directory_that_was_moved_keeps_its_file() {
        for create in WAYS {
            let directory = tempfile::tempdir().unwrap();
            let at = |name: &str| directory.path().join(name);
            fs::create_dir(at("here")).unwrap();
            let output = create(&at("here/dump"), false).unwrap();
            fs::rename(at("here"), at("there")).unwrap();
            symlink("/", at("here")).unwrap();
            output.finish().unwrap();
            assert!(at("there/dump").is_file());
        }
    }
}
