//! A directory that only root can write to: every directory on the way belongs to root (or to whoever runs this) and
//! nobody else can write to it, so no name in it can be planted or exchanged. Names are opened below it only, and
//! symbolic links are never followed. A sticky directory such as /tmp is refused too: others make names in it.

use super::directory::make_private;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Write permission of the group and of all others. An access control list that lets a named user write shows in the
/// group's.
const OTHERS_WRITE: u32 = 0o022;

/// Why a directory is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be opened or made.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not root's.
    #[error("{0:?} belongs to user {1}, not to root")]
    Owner(PathBuf, u32),
    /// Others can write to it.
    #[error("others can write to {0:?} (mode {1:04o})")]
    Writable(PathBuf, u32),
    /// It is no directory, but a symbolic link or something else.
    #[error("{0:?} is a symbolic link or no directory")]
    NoDirectory(PathBuf),
    /// `..` is in its path.
    #[error("\"..\" is in its path")]
    Parent,
}

/// What stands under a name.
pub(crate) enum Entry {
    /// Nothing.
    Free,
    /// A file, opened to be read.
    File(File),
    /// Something else.
    Other,
}

/// The directory, open.
pub(crate) struct SafeDirectory {
    fd: OwnedFd,
}

impl SafeDirectory {
    /// Opens a directory. Missing directories are created, mode 0700, and synced.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) fn open_or_create(path: &Path) -> Result<SafeDirectory, Error> {
        SafeDirectory::walk(path, true)
    }

    /// Opens a directory that exists.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) fn open(path: &Path) -> Result<SafeDirectory, Error> {
        SafeDirectory::walk(path, false)
    }

    fn walk(path: &Path, create: bool) -> Result<SafeDirectory, Error> {
        let path = std::path::absolute(path)?;
        let mut at = PathBuf::from("/");
        let mut fd = fs::open("/", directory_flags(), Mode::empty()).map_err(io::Error::from)?;
        check(&fd, &at)?;
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    at.push(name);
                    fd = step(fd.as_fd(), name, &at, create)?;
                    check(&fd, &at)?;
                }
                Component::ParentDir => return Err(Error::Parent),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Ok(SafeDirectory { fd })
    }

    /// Creates a file, mode 0600, whose name is `start` and 16 random digits; gives the name too.
    ///
    /// # Errors
    /// As the kernel reports.
    pub(crate) fn create(&self, start: &str) -> io::Result<(File, String)> {
        let [a, b, c, d, e, f, g, h, ..] = crate::raw::new_id()?;
        let name = format!("{start}{:016x}", u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = open_below(self.fd.as_fd(), OsStr::new(&name), flags, Mode::RUSR | Mode::WUSR)?;
        make_private(&fd).inspect_err(|_| {
            let _ = self.remove(&name);
        })?;
        Ok((File::from(fd), name))
    }

    /// What stands under a name.
    ///
    /// # Errors
    /// As the kernel reports.
    pub(crate) fn entry(&self, name: &str) -> io::Result<Entry> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Entry::Free),
            Err(error) => return Err(error.into()),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
                return Ok(Entry::Other);
            }
            Ok(_) => {}
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(open_below(self.fd.as_fd(), OsStr::new(name), flags, Mode::empty())?);
        let stat = fs::fstat(&file)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        // A file that others own or may write to can change after it was compared.
        let is_safe = is_own(&stat) && stat.st_mode & OTHERS_WRITE == 0;
        Ok(if is_file && is_safe { Entry::File(file) } else { Entry::Other })
    }

    /// Gives a file another name, under which nothing may stand.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or as the kernel reports.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            // Not every file system knows this; nobody else makes names here.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            result => return Ok(result?),
        }
        match self.entry(to)? {
            Entry::Free => Ok(fs::renameat(&self.fd, from, &self.fd, to)?),
            Entry::File(_) | Entry::Other => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// Removes a file or a link.
    ///
    /// # Errors
    /// As the kernel reports.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    /// The names in it that are text.
    ///
    /// # Errors
    /// As the kernel reports.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.fd)? {
            names.extend(entry?.file_name().to_str().ok().map(str::to_owned));
        }
        Ok(names)
    }

    /// Bytes that may still be written.
    ///
    /// # Errors
    /// As the kernel reports.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let system = fs::fstatvfs(&self.fd)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    /// Makes the names in it last.
    ///
    /// # Errors
    /// As the kernel reports.
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync(self.fd.as_fd())
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Opens, or makes, the next directory of a path.
fn step(parent: BorrowedFd<'_>, name: &OsStr, path: &Path, create: bool) -> Result<OwnedFd, Error> {
    let open = || open_below(parent, name, directory_flags(), Mode::empty());
    let opened = match open() {
        Err(Errno::NOENT) if create => {
            match fs::mkdirat(parent, name, Mode::RWXU) {
                Ok(()) => {
                    let made = open().map_err(io::Error::from)?;
                    // Not less, whatever the umask; where modes cannot be set there are none.
                    let _ = fs::fchmod(&made, Mode::RWXU);
                    sync(parent)?;
                }
                // Another collector was first.
                Err(Errno::EXIST) => sync(parent)?,
                Err(error) => return Err(Error::Io(error.into())),
            }
            open()
        }
        opened => opened,
    };
    opened.map_err(|error| match error {
        Errno::LOOP | Errno::NOTDIR => Error::NoDirectory(path.to_owned()),
        error => Error::Io(error.into()),
    })
}

/// Opens one name below a directory. `openat2` came with Linux 5.6; before it, and where a sandbox forbids it, one name
/// with `O_NOFOLLOW` is as safe.
fn open_below(parent: BorrowedFd<'_>, name: &OsStr, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match fs::openat2(parent, name, flags, mode, resolve) {
        Err(Errno::NOSYS | Errno::PERM) => fs::openat(parent, name, flags, mode),
        result => result,
    }
}

fn check(fd: &OwnedFd, path: &Path) -> Result<(), Error> {
    let stat = fs::fstat(fd).map_err(io::Error::from)?;
    if !is_own(&stat) {
        return Err(Error::Owner(path.to_owned(), stat.st_uid));
    }
    match stat.st_mode & OTHERS_WRITE {
        0 => Ok(()),
        _ => Err(Error::Writable(path.to_owned(), stat.st_mode & 0o7777)),
    }
}

/// Whether it belongs to root, or to whoever runs this.
fn is_own(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw()
}

fn sync(directory: BorrowedFd<'_>) -> io::Result<()> {
    match fs::fsync(directory) {
        // Some file systems have nothing to flush for a directory and report it so.
        Err(Errno::INVAL) => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    /// A directory that can be safe: below the build directory, since /tmp is what is refused.
    pub(crate) fn scratch() -> tempfile::TempDir {
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        std::fs::create_dir_all(&build).unwrap();
        tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir_in(build).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::scratch;
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_is_made_private() {
        let top = scratch();
        let path = top.path().join("var/crash");
        assert!(matches!(SafeDirectory::open(&path), Err(Error::Io(_))));
        SafeDirectory::open_or_create(&path).unwrap();
        for made in [path.as_path(), path.parent().unwrap()] {
            assert_eq!(made.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        }
        SafeDirectory::open(&path).unwrap();
    }

    /// Each partition has its own collector, and all of them start at once.
    #[test]
    fn a_directory_is_made_by_whoever_is_first() {
        let top = scratch();
        for turn in 0..50 {
            let path = top.path().join(turn.to_string()).join("crash");
            let start = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                let make = || {
                    start.wait();
                    SafeDirectory::open_or_create(&path)
                };
                let both = [scope.spawn(make), scope.spawn(make)];
                for one in both {
                    assert!(one.join().unwrap().is_ok());
                }
            });
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn what_others_can_write_to_is_refused_anywhere_on_the_way() {
        let top = scratch();
        let path = top.path().join("var/crash");
        std::fs::create_dir_all(&path).unwrap();
        for place in [path.as_path(), path.parent().unwrap(), top.path()] {
            for bad in [0o777, 0o1777, 0o3777, 0o770, 0o702] {
                mode(place, bad);
                assert!(matches!(SafeDirectory::open_or_create(&path), Err(Error::Writable(..))), "{bad:o}");
            }
            mode(place, 0o755);
        }
        assert!(SafeDirectory::open(&path).is_ok());
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            assert!(matches!(SafeDirectory::open(&path), Err(Error::Owner(_, 65534))));
        }
    }

    #[test]
    fn links_and_files_are_no_directory() {
        let top = scratch();
        std::fs::create_dir(top.path().join("real")).unwrap();
        symlink("real", top.path().join("link")).unwrap();
        std::fs::write(top.path().join("file"), "").unwrap();
        for name in ["link", "link/crash", "file", "file/crash"] {
            let opened = SafeDirectory::open_or_create(&top.path().join(name));
            assert!(matches!(opened, Err(Error::NoDirectory(_))), "{name}");
        }
        assert!(matches!(SafeDirectory::open(&top.path().join("real/../real")), Err(Error::Parent)));
        assert!(!top.path().join("real/crash").exists());
    }

    #[test]
    fn names_are_new_and_nothing_is_replaced() {
        let top = scratch();
        let directory = SafeDirectory::open(top.path()).unwrap();
        let (first, second) = (directory.create("a-").unwrap().1, directory.create("a-").unwrap().1);
        assert!(first != second && first.len() == 18);
        std::fs::write(top.path().join("taken"), "theirs").unwrap();
        symlink("/etc/passwd", top.path().join("link")).unwrap();
        for name in ["taken", "link"] {
            assert_eq!(directory.rename(&first, name).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        assert!(matches!(directory.entry("link").unwrap(), Entry::Other));
        assert!(matches!(directory.entry("taken").unwrap(), Entry::File(_)));
        assert!(matches!(directory.entry("free").unwrap(), Entry::Free));
        directory.rename(&first, "free").unwrap();
        directory.remove(&second).unwrap();
        let mut names = directory.names().unwrap();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        assert_eq!(names, ["free", "link", "taken"]);
        assert_eq!(top.path().join("free").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
