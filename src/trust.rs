//! Whether others can change a file: the rule of sshd's StrictModes. The file, every directory above it and every
//! symlink on the way belong to root or to the user who runs the program, and neither group nor others may write to
//! them. A sticky directory (`/tmp`) may be open to all: there nobody renames or removes what belongs to another.
//!
//! For what root acts on: recipients and configuration. Who writes those decides who reads the next dump.

use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// Our configuration, and that of the three distributions' kdump.
const FILES: [&str; 4] =
    ["/etc/vmcore-encrypt/config", "/etc/kdump.conf", "/etc/sysconfig/kdump", "/etc/default/kdump-tools"];
/// Directories whose programs kdump runs around the dump.
const DIRECTORIES: [&str; 3] = ["/etc/kdump/pre.d", "/etc/kdump/post.d", "/etc/kdump/emergency.d"];

/// Symlinks followed on the way to one file, as many as the kernel does (Linux `include/linux/namei.h`, `MAXSYMLINKS`).
const MAX_LINKS: usize = 40;
const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Why a file is not to be trusted, or that it cannot be known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file or directory on the way belongs to somebody else.
    #[error(
        "others can change it: {path:?} belongs to user {owner}, neither to root nor to who runs this program"
    )]
    Owner {
        /// What belongs to somebody else.
        path: PathBuf,
        /// The number of that user.
        owner: u32,
    },
    /// Group or others may write to a file or directory on the way.
    #[error("others can change it: {path:?} has mode {mode:04o}")]
    Writable {
        /// What they may write to.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file or directory on the way cannot be examined.
    #[error("examining {path:?}: {cause}")]
    Io {
        /// What cannot be examined.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Error::Owner { .. } | Error::Writable { .. } => {
                "chown root and chmod go-w it, and check what the file holds: who can write it decides who reads the dumps"
            }
            Error::Io { .. } => "name a file that is there",
        }
    }

    /// Whether the file, or a directory above it, does not exist.
    #[must_use]
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }
}

/// Opens a file for reading without waiting: a pipe is refused, which might never have a writer.
///
/// # Errors
/// Those of open(2); [`io::ErrorKind::InvalidInput`] for a pipe.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let how = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, how, Mode::empty())?);
    if file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe, not a file"));
    }
    Ok(file)
}

/// Checks `path`, and everything above it up to `root`. Below a `root` other than `/`, which is another machine's tree,
/// absolute symlinks lead back to `root`.
///
/// # Errors
/// See [`Error`].
pub(crate) fn check(root: &Path, path: &Path) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| Error::Io { path, cause }
    };
    let absolute = std::path::absolute(path).map_err(failed(path))?;
    judge(root, &fs::metadata(root).map_err(failed(root))?)?;
    let mut at = root.to_owned();
    let mut waiting = names(&absolute);
    let mut links = 0;
    while let Some(name) = waiting.pop_front() {
        if name == ".." {
            leave(&mut at, root);
            continue;
        }
        let next = at.join(&name);
        let data = fs::symlink_metadata(&next).map_err(failed(&next))?;
        judge(&next, &data)?;
        if !data.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(failed(&next)(io::Error::other("too many symlinks")));
        }
        let target = fs::read_link(&next).map_err(failed(&next))?;
        if is_open_pipe(&next, &target) {
            return Ok(());
        }
        if target.is_absolute() {
            at = root.to_owned();
        }
        let mut first = names(&target);
        first.append(&mut waiting);
        waiting = first;
    }
    Ok(())
}

/// The names of a path, `..` among them, without root and `.`.
fn names(path: &Path) -> VecDeque<OsString> {
    let is_name = |part: &Component| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_name).map(|part| part.as_os_str().to_owned()).collect()
}

fn leave(at: &mut PathBuf, root: &Path) {
    if at != root {
        at.pop();
    }
}

/// A pipe that the program was given (`/dev/stdin`, `<(...)` of a shell): no directory holds it.
fn is_open_pipe(link: &Path, target: &Path) -> bool {
    link.starts_with("/proc") && target.to_string_lossy().starts_with("pipe:[")
}

/// One file, directory or symlink by itself. The mode of a symlink means nothing.
fn judge(path: &Path, data: &Metadata) -> Result<(), Error> {
    let owner = data.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(Error::Owner { path: path.to_owned(), owner });
    }
    let is_safe = data.mode() & GROUP_OR_OTHERS_WRITE == 0
        || data.is_symlink()
        || (data.is_dir() && data.mode() & STICKY != 0);
    if is_safe { Ok(()) } else { Err(Error::Writable { path: path.to_owned(), mode: data.mode() & 0o7777 }) }
}

/// The configuration files of the machine below `root` that others can change, each with the reason.
#[must_use]
pub(crate) fn untrusted(root: &Path) -> Vec<(PathBuf, Error)> {
    let mut paths: Vec<PathBuf> = FILES.iter().chain(&DIRECTORIES).map(PathBuf::from).collect();
    for directory in DIRECTORIES.map(Path::new) {
        let inside = directory.strip_prefix("/").unwrap_or(directory);
        let entries = fs::read_dir(root.join(inside)).into_iter().flatten().flatten();
        paths.extend(entries.map(|entry| directory.join(entry.file_name())));
    }
    let verdict = |path: PathBuf| check(root, &path).err().map(|error| (path, error));
    paths.into_iter().filter_map(verdict).filter(|(_, error)| !error.is_not_found()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    /// A tree with `etc/conf/file`, all of it the tester's own.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("etc/conf")).unwrap();
        fs::write(tree.path().join("etc/conf/file"), "").unwrap();
        for path in ["etc", "etc/conf"] {
            set_mode(&tree, path, 0o755);
        }
        set_mode(&tree, "etc/conf/file", 0o644);
        tree
    }

    fn set_mode(tree: &tempfile::TempDir, path: &str, mode: u32) {
        fs::set_permissions(tree.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn verdict(tree: &tempfile::TempDir, path: &str) -> Result<(), Error> {
        check(tree.path(), Path::new(path))
    }

    #[test]
    fn each_thing_on_the_way_counts() {
        let tree = tree();
        verdict(&tree, "/etc/conf/file").unwrap();
        for (path, mode, usual) in [
            ("etc/conf/file", 0o664, 0o644),
            ("etc/conf/file", 0o646, 0o644),
            ("etc/conf", 0o775, 0o755),
            ("etc", 0o757, 0o755),
            ("", 0o777, 0o755),
        ] {
            set_mode(&tree, path, mode);
            let error = verdict(&tree, "/etc/conf/file").unwrap_err();
            let expected = tree.path().join(path);
            assert!(matches!(&error, Error::Writable { path, .. } if *path == expected), "{error}");
            set_mode(&tree, path, usual);
        }
        assert!(verdict(&tree, "/etc/conf/none").unwrap_err().is_not_found());
        assert!(verdict(&tree, "/etc/conf/../conf/../../../etc/conf/file").is_ok());
    }

    #[test]
    fn a_sticky_directory_may_be_open_but_a_file_may_not() {
        let tree = tree();
        set_mode(&tree, "etc", 0o1777);
        verdict(&tree, "/etc/conf/file").unwrap();
        set_mode(&tree, "etc/conf/file", 0o1666);
        assert!(matches!(verdict(&tree, "/etc/conf/file"), Err(Error::Writable { .. })));
    }

    #[test]
    fn symlinks_are_followed_through_all_their_directories() {
        let tree = tree();
        fs::create_dir(tree.path().join("open")).unwrap();
        symlink("/etc/conf/file", tree.path().join("open/link")).unwrap();
        symlink("../open/link", tree.path().join("etc/link")).unwrap();
        verdict(&tree, "/etc/link").unwrap();
        // The file and the first link are safe; whoever writes to the second link's directory redirects it.
        set_mode(&tree, "open", 0o777);
        assert!(matches!(verdict(&tree, "/etc/link"), Err(Error::Writable { .. })));
        symlink("loop", tree.path().join("etc/loop")).unwrap();
        assert!(verdict(&tree, "/etc/loop").unwrap_err().to_string().contains("too many symlinks"));
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        for path in ["etc/conf/file", "etc/conf", "etc"] {
            let tree = tree();
            chown(tree.path().join(path), Some(65534), None).unwrap();
            let error = verdict(&tree, "/etc/conf/file").unwrap_err();
            assert!(matches!(error, Error::Owner { owner: 65534, .. }), "{path}: {error}");
        }
    }

    #[test]
    fn a_pipe_from_the_shell_is_nobodys_file() {
        assert!(is_open_pipe(Path::new("/proc/1/fd/0"), Path::new("pipe:[123]")));
        assert!(!is_open_pipe(Path::new("/etc/x"), Path::new("pipe:[123]")));
    }
}
