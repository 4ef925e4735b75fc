//! Why an output is not made though the kernel would make it: what is at its name, and who else writes there.

use std::io;
use std::path::PathBuf;

/// A reason to leave what is there alone.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The name is a symbolic link, which is never followed: who made it chooses the file.
    #[error("it is a symbolic link to {0:?}")]
    Link(PathBuf),
    /// The name is a device, a FIFO or a socket, which is never replaced.
    #[error("it is a {0}, which is not replaced")]
    Special(&'static str),
    /// A block device takes no stream: a file system or another dump may be on it.
    #[error("it is a block device")]
    BlockDevice,
    /// Somebody else made the device or FIFO, and would get what is written.
    #[error("it belongs to another user (uid {0})")]
    OtherOwner(u32),
    /// A terminal.
    #[error("it is a terminal")]
    Terminal,
    /// Another program writes the file.
    #[error("another program is writing it")]
    Busy,
    /// Somebody gave the name to another file while this one was written.
    #[error("its name was given to another file meanwhile")]
    Replaced,
    /// Standard output is closed, or may be: Rust's start-up code opens `/dev/null` in the place of a closed one.
    #[error("it is closed")]
    Closed,
    /// Standard output is open for reading alone.
    #[error("it is not open for writing")]
    ReadOnly,
}

impl Refused {
    /// The reason inside an error.
    #[must_use]
    pub fn find(error: &io::Error) -> Option<&Refused> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }
}

impl From<Refused> for io::Error {
    fn from(why: Refused) -> io::Error {
        io::Error::other(why)
    }
}
