//! Names in an opened directory. The directory is opened once, and every step after that goes through it: who can
//! rename a directory on the way to it moves nothing of ours elsewhere. No step follows a symbolic link at the name.

use super::refused::Refused;
use rustix::fs::{self, AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Mode of every output: for its owner alone.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Bytes of a name that an unpredictable one repeats: file systems take 255, and the rest needs 29.
const SHOWN: usize = 200;
/// Source: Linux `include/uapi/linux/magic.h`, `NFS_SUPER_MAGIC`.
const NFS: u64 = 0x6969;

/// An opened directory.
pub(super) struct Directory {
    fd: OwnedFd,
    /// Whether it can be flushed: a directory that may be written and not read cannot.
    is_readable: bool,
}

/// The directory that a file is in, or is to be in: `.` for a name alone.
#[must_use]
pub(crate) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Directory {
    /// Opens the directory of `path`; gives the name of `path` in it too.
    ///
    /// # Errors
    /// From the kernel; [`Errno::ISDIR`] where `path` can only be a directory.
    pub(super) fn of(path: &Path) -> io::Result<(Directory, OsString)> {
        let is_directory = path.as_os_str().as_bytes().ends_with(b"/");
        let name = path.file_name().filter(|_| !is_directory).ok_or(Errno::ISDIR)?;
        let parent = parent_of(path);
        let open = |flags: OFlags| {
            fs::openat(CWD, parent, flags | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        };
        let (fd, is_readable) = match open(OFlags::RDONLY) {
            Err(Errno::ACCESS) => (open(OFlags::PATH)?, false),
            result => (result?, true),
        };
        Ok((Directory { fd, is_readable }, name.to_owned()))
    }

    /// What has a name, if anything.
    pub(super) fn look(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            result => Ok(Some(result?)),
        }
    }

    /// Checks that a file may take a name: nothing has it, or with `replace` at most a regular file.
    ///
    /// # Errors
    /// [`Errno::EXIST`], [`Errno::ISDIR`]; [`Refused`] for what is neither.
    pub(super) fn check_free(&self, name: &OsStr, replace: bool) -> io::Result<()> {
        let Some(found) = self.look(name)? else { return Ok(()) };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => Err(Errno::ISDIR.into()),
            FileType::RegularFile if replace => Ok(()),
            FileType::RegularFile => Err(Errno::EXIST.into()),
            FileType::Symlink => Err(Refused::Link(self.target(name)).into()),
            kind => Err(Refused::Special(name_of(kind)).into()),
        }
    }

    /// Where a symbolic link goes, for a message.
    fn target(&self, name: &OsStr) -> PathBuf {
        let target = fs::readlinkat(&self.fd, name, Vec::new()).map(|target| target.into_bytes());
        OsString::from_vec(target.unwrap_or_default()).into()
    }

    /// Creates a file, which must not be there.
    ///
    /// # Errors
    /// From the kernel.
    pub(super) fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(fs::openat(&self.fd, name, flags, PRIVATE)?);
        make_private(&file).inspect_err(|_| {
            let _ = self.remove(name, &file);
        })?;
        Ok(file)
    }

    /// Creates a file beside `name`, called so that nobody can have foreseen it.
    ///
    /// # Errors
    /// From the kernel.
    pub(super) fn create_beside(&self, name: &OsStr) -> io::Result<(OsString, File)> {
        let hidden = unpredictable(name)?;
        self.create(&hidden).map(|file| (hidden, file))
    }

    /// Creates a file without a name, which is gone with its last descriptor; `None` where the file system has no
    /// such files, or where it could not get a name later.
    pub(super) fn create_unnamed(&self) -> Option<File> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        // Whatever the reason why not: creating a file by name meets it again and reports it.
        let file = File::from(fs::openat(&self.fd, ".", flags, PRIVATE).ok()?);
        make_private(&file).ok()?;
        let reached = fs::stat(descriptor(&file)).ok()?;
        is_same(&reached, &fs::fstat(&file).ok()?).then_some(file)
    }

    /// Gives a file without a name one, which must be free. Without privileges the way goes through `/proc`. Source:
    /// open(2), `O_TMPFILE`.
    ///
    /// # Errors
    /// From the kernel; [`Errno::EXIST`] when the name is taken.
    pub(super) fn link(&self, file: &File, name: &OsStr) -> io::Result<()> {
        Ok(fs::linkat(CWD, descriptor(file), &self.fd, name, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Links a file to an unpredictable name beside `name`.
    ///
    /// # Errors
    /// From the kernel.
    pub(super) fn link_beside(&self, file: &File, name: &OsStr) -> io::Result<OsString> {
        let hidden = unpredictable(name)?;
        self.link(file, &hidden).map(|()| hidden)
    }

    /// Renames a file; what has the name is replaced.
    ///
    /// # Errors
    /// From the kernel.
    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Renames a file to a name that must be free. Where the file system cannot do both in one step, by a second link;
    /// where it has none either, after a look.
    ///
    /// # Errors
    /// From the kernel; [`Errno::EXIST`] when the name is taken.
    pub(super) fn rename_to_free(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        match fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            result => return Ok(result?),
        }
        match fs::linkat(&self.fd, from, &self.fd, to, AtFlags::empty()) {
            Ok(()) => Ok(fs::unlinkat(&self.fd, from, AtFlags::empty())?),
            Err(Errno::EXIST) => Err(Errno::EXIST.into()),
            Err(_) => {
                self.check_free(to, false)?;
                self.rename(from, to)
            }
        }
    }

    /// Whether a name is this file's.
    ///
    /// # Errors
    /// From the kernel.
    pub(super) fn has(&self, name: &OsStr, file: &File) -> io::Result<bool> {
        let own = fs::fstat(file)?;
        Ok(self.look(name)?.is_some_and(|found| is_same(&found, &own)))
    }

    /// Removes a file, if the name is still its own.
    ///
    /// # Errors
    /// From the kernel.
    pub(super) fn remove(&self, name: &OsStr, file: &File) -> io::Result<()> {
        if !self.has(name, file)? {
            return Ok(());
        }
        let unlink = || fs::unlinkat(&self.fd, name, AtFlags::empty());
        // Some full file systems have no room to remove a name. The file's content goes in any case.
        Ok(unlink().or_else(|_| file.set_len(0).map_or(Err(Errno::IO), |()| unlink()))?)
    }

    /// Takes the name away from the regular file that has it, if any, and gives that file locked: while it is held, no
    /// other program that replaces the file gets further than this. A file that this user may not open is no such
    /// program's.
    ///
    /// # Errors
    /// [`Refused::Busy`]; from the kernel.
    pub(super) fn take_name(&self, name: &OsStr) -> io::Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let old = match fs::openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::ACCESS | Errno::PERM | Errno::TXTBSY) => None,
            result => Some(File::from(result?)),
        };
        if let Some(old) = &old {
            lock(old)?;
            if !self.has(name, old)? {
                return Err(Refused::Busy.into());
            }
        }
        fs::unlinkat(&self.fd, name, AtFlags::empty())?;
        Ok(old)
    }

    /// Makes the names in it last. `file` is one of its files.
    ///
    /// # Errors
    /// From the kernel.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        let synced = if self.is_readable { fs::fsync(&self.fd) } else { fs::syncfs(file) };
        match synced {
            // Some file systems have nothing to flush for a directory and answer so.
            Err(Errno::INVAL) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// Locks a file for one writer, as long as it is open. Not on NFS: there a lock may wait for a server's daemon for
/// ever, and creating a file is exclusive among all clients. Where a file system has no locks there is none.
///
/// # Errors
/// [`Refused::Busy`] when another program has it.
pub(crate) fn lock(file: &File) -> io::Result<()> {
    let kind = fs::fstatfs(file).ok().and_then(|found| u64::try_from(found.f_type).ok());
    if kind == Some(NFS) {
        return Ok(());
    }
    match fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(Refused::Busy.into()),
        _ => Ok(()),
    }
}

/// Gives a file that was made with mode 0600 that mode whatever the umask left of it. File systems without permissions refuse it;
/// who can read what is there depends on their mount options.
///
/// # Errors
/// From the kernel, where the file system has permissions.
pub(super) fn make_private(file: impl AsFd) -> io::Result<()> {
    match fs::fchmod(file, PRIVATE) {
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) => Ok(()),
        result => Ok(result?),
    }
}

/// What a kind of file is called.
pub(super) fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "FIFO",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Socket => "socket",
        _ => "file of an unknown kind",
    }
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// The name under which this process reaches a file that has none.
fn descriptor(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// `NAME.incomplete-` and 64 random bits.
fn unpredictable(name: &OsStr) -> io::Result<OsString> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    let random = u64::from_ne_bytes(bytes);
    let shown = name.as_bytes();
    let shown = String::from_utf8_lossy(&shown[..shown.len().min(SHOWN)]).into_owned();
    let mut hidden = if name.len() <= SHOWN { name.to_owned() } else { OsString::from(shown) };
    hidden.push(format!(".incomplete-{random:016x}"));
    Ok(hidden)
}
