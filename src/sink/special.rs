//! Outputs that are there already and take a stream as it comes: FIFOs, character devices, descriptors of this process.
//! They are written to, never created, emptied, renamed or removed.

use super::directory::name_of;
use super::refused::Refused;
use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;
use rustix::stdio::stdout;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// Names of this process's standard output.
const STDOUT: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
/// Names of the other descriptors of this process begin so.
const DESCRIPTORS: [&str; 3] = ["/dev/fd/", "/proc/self/fd/", "/dev/stderr"];

/// Whether a path is a name of standard output.
#[must_use]
pub(crate) fn is_stdout(path: &Path) -> bool {
    STDOUT.iter().any(|name| path == Path::new(name))
}

/// Whether a path names a descriptor of this process: a link by its form, which only this process can have made.
#[must_use]
pub(crate) fn is_descriptor(path: &Path) -> bool {
    let path = path.as_os_str().as_encoded_bytes();
    DESCRIPTORS.iter().any(|start| path.starts_with(start.as_bytes()))
}

/// What takes a stream at `path`: the kind of a FIFO, device or socket there; `None` for all else.
#[must_use]
pub(crate) fn kind(path: &Path) -> Option<&'static str> {
    let found = if is_descriptor(path) { fs::stat(path) } else { fs::lstat(path) };
    match FileType::from_raw_mode(found.ok()?.st_mode) {
        FileType::RegularFile | FileType::Directory | FileType::Symlink => None,
        kind => Some(name_of(kind)),
    }
}

/// Opens a FIFO or a character device to write a stream to it. Opening a FIFO waits for its reader. Who made it gets
/// what is written, so it must be root's or this user's.
///
/// # Errors
/// [`Refused`]; from the kernel.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let follow = if is_descriptor(path) { OFlags::empty() } else { OFlags::NOFOLLOW };
    let open = |flags: OFlags| fs::open(path, flags | OFlags::CLOEXEC | follow, Mode::empty());
    // Before anything waits: a FIFO of somebody else's may never get a reader.
    check(&fs::fstat(open(OFlags::PATH)?)?)?;
    let file = File::from(open(OFlags::WRONLY | OFlags::NOCTTY)?);
    // It may have been exchanged after the look.
    check(&fs::fstat(&file)?)?;
    if file.is_terminal() { Err(Refused::Terminal.into()) } else { Ok(file) }
}

/// Whether what was found takes a stream, and belongs to root or this user.
fn check(found: &Stat) -> io::Result<()> {
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Fifo | FileType::CharacterDevice => {}
        FileType::BlockDevice => return Err(Refused::BlockDevice.into()),
        _ => return Err(Errno::EXIST.into()),
    }
    if found.st_uid != 0 && found.st_uid != geteuid().as_raw() {
        return Err(Refused::OtherOwner(found.st_uid).into());
    }
    Ok(())
}

/// Standard output as a writer that tells of every failure: the standard library's takes a descriptor that cannot be
/// written to for one that nobody wants to.
#[derive(Debug)]
pub(crate) struct Stdout(());

impl Stdout {
    /// Standard output, for a dump.
    ///
    /// # Errors
    /// [`Refused`] where a dump written to it would be of no use.
    pub(crate) fn for_dump() -> io::Result<Stdout> {
        match Stdout::check() {
            Ok(()) if stdout().is_terminal() => Err(Refused::Terminal.into()),
            result => result.map(|()| Stdout(())),
        }
    }

    /// Standard output, for text.
    #[must_use]
    pub(crate) fn for_text() -> Stdout {
        Stdout(())
    }

    /// Whether it takes what is written. Rust's start-up code opens `/dev/null`, for reading and writing, in the place
    /// of a closed descriptor; a shell's `> /dev/null` opens it for writing alone, and that one is wanted.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn check() -> io::Result<()> {
        let (flags, found) = match (fs::fcntl_getfl(stdout()), fs::fstat(stdout())) {
            (Ok(flags), Ok(found)) => (flags, found),
            _ => return Err(Refused::Closed.into()),
        };
        let mode = flags & OFlags::RWMODE;
        let null = (fs::major(found.st_rdev), fs::minor(found.st_rdev)) == (1, 3);
        let is_device = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
        match mode {
            _ if flags.contains(OFlags::PATH) => Err(Refused::ReadOnly.into()),
            OFlags::RDONLY => Err(Refused::ReadOnly.into()),
            OFlags::RDWR if is_device && null => Err(Refused::Closed.into()),
            _ => Ok(()),
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
