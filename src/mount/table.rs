//! What is mounted where, as the kernel lists it, and the end of a mount that is not this process's.

use super::SOURCE;
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the kernel lists this process's mounts. Source: Linux `Documentation/filesystems/proc.rst`, section 3.5.
const MOUNTS: &str = "/proc/self/mountinfo";

/// What is mounted on a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occupant {
    /// A dump of ours, served by a process.
    Ours,
    /// A dump of ours whose process has ended without unmounting it.
    Stale,
    /// Something else.
    Other,
}

/// What is mounted on `directory` itself; `None` for a directory like any other.
///
/// # Errors
/// The kernel's list cannot be read.
pub(crate) fn occupant(directory: &Path) -> io::Result<Option<Occupant>> {
    let list = std::fs::read(MOUNTS)?;
    let Some(source) = topmost(&list, &absolute(directory)?) else { return Ok(None) };
    Ok(Some(match (source == SOURCE.as_bytes(), is_disconnected(directory)) {
        (true, true) => Occupant::Stale,
        (true, false) => Occupant::Ours,
        (false, _) => Occupant::Other,
    }))
}

/// Ends a mount of a dump. A lazy end takes the directory away at once, whoever still has a file of it open.
///
/// # Errors
/// What the kernel or `fusermount3` reports; `ResourceBusy` while a program has a file or directory of it open.
pub(crate) fn unmount(directory: &Path, lazy: bool) -> io::Result<()> {
    let directory = absolute(directory)?;
    let detach = if lazy { MntFlags::MNT_DETACH } else { MntFlags::empty() };
    match umount2(&directory, detach | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        // Who is not root asks the helper, which looks whose mount it is.
        Err(Errno::EPERM) => unmount_by_helper(&directory, lazy),
        Err(error) => Err(error.into()),
    }
}

fn unmount_by_helper(directory: &Path, lazy: bool) -> io::Result<()> {
    let flags: &[&str] = if lazy { &["-u", "-z", "--"] } else { &["-u", "--"] };
    let output = Command::new("fusermount3").args(flags).arg(directory).env("LC_ALL", "C").output()?;
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.success() {
        true => Ok(()),
        false if words.contains("busy") => Err(io::ErrorKind::ResourceBusy.into()),
        false => Err(io::Error::other(words)),
    }
}

/// Whether the process that served a FUSE mount is gone: the kernel answers every question with ENOTCONN.
fn is_disconnected(directory: &Path) -> bool {
    std::fs::metadata(directory).is_err_and(|error| error.raw_os_error() == Some(Errno::ENOTCONN as i32))
}

/// The path as the kernel's list has it. The directory itself may be a stale mount, of which nothing can be asked.
fn absolute(directory: &Path) -> io::Result<PathBuf> {
    if !is_disconnected(directory) {
        return directory.canonicalize();
    }
    let path = std::path::absolute(directory)?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        _ => Ok(path),
    }
}

/// The source of the mount that covers a directory: the last one in the list.
fn topmost<'a>(list: &'a [u8], directory: &Path) -> Option<&'a [u8]> {
    list.split(|&byte| byte == b'\n')
        .filter_map(entry)
        .filter(|(place, _)| Path::new(place) == directory)
        .map(|(_, source)| source)
        .next_back()
}

/// Directory and source of one line: the fifth word, and the second after a lone `-`.
fn entry(line: &[u8]) -> Option<(OsString, &[u8])> {
    let mut words = line.split(|&byte| byte == b' ');
    let place = words.nth(4)?;
    let source = words.skip_while(|word| *word != b"-").nth(2)?;
    Some((unescaped(place), source))
}

/// Space, tab, line feed and backslash are octal in the list: `\040`.
fn unescaped(word: &[u8]) -> OsString {
    let (mut out, mut rest) = (Vec::with_capacity(word.len()), word);
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|_| first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
90 22 0:50 / /mnt/a\\040b ro,nosuid - fuse vmcore-decrypt ro,user_id=0
91 22 0:51 / /mnt/c rw shared:3 master:1 - fuse sshfs rw
92 91 0:52 / /mnt/c rw - fuse vmcore-decrypt ro
";

    #[test]
    fn the_mount_on_top_counts_and_names_are_unescaped() {
        let source = |path: &str| topmost(LIST, Path::new(path)).map(String::from_utf8_lossy);
        assert_eq!(source("/mnt/a b").as_deref(), Some("vmcore-decrypt"));
        assert_eq!(source("/mnt/c").as_deref(), Some("vmcore-decrypt"));
        assert_eq!(source("/").as_deref(), Some("/dev/vda"));
        assert_eq!(source("/mnt"), None);
        assert_eq!(unescaped(b"\\134\\011\\0"), "\\\t\\0");
    }

    #[test]
    fn a_directory_like_any_other_has_no_occupant() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(occupant(home.path()).unwrap(), None);
        assert_eq!(occupant(Path::new("/proc")).unwrap(), Some(Occupant::Other));
        assert!(occupant(&home.path().join("absent")).is_err());
        assert!(unmount(home.path(), false).is_err());
    }
}
