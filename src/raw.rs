//! The outer frame of a dump on a raw partition (`docs/format.md` section 6): where it starts, where it
//! ends and whether it is whole shows without any key, and bytes of an older dump after it mean nothing. What is
//! framed stays as it was, encrypted. Here are the frame's bytes, both ways, and what damage leaves of them: `find` the
//! frame without its header, `last` how it ends, `cipher` what cannot be of a dump. `sink` opens devices.

mod cipher;
mod find;
mod header;
mod last;
mod random;
mod reader;
mod record;
mod signature;
mod writer;

use rustix::rand::{GetRandomFlags, getrandom};
use std::io;

pub use find::{Found, Search, copy, is_swap_page};
pub use header::{FrameHeader, HEADER_LEN, MAX_SAVED};
pub use random::{FramedAt, Quality};
pub use reader::{End, FrameReader, unframed};
pub use record::{RECORD_DATA, RECORD_LEN};
pub use signature::{HEAD_PROBE, Occupant, TAIL_PROBE, occupant};
pub use writer::{FrameWriter, capacity};

/// Name of one dump on a device: random, so that records of an older dump are recognised as such.
pub type DumpId = [u8; 16];

/// Why a device holds no frame that can be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first block has not the frame's magic.
    #[error("no dump is there")]
    NoFrame,
    /// The header is not what was written.
    #[error("the header of the dump is damaged")]
    DamagedHeader,
    /// A newer format.
    #[error("the dump has frame version {0}, this program knows version 1")]
    Version(u32),
    /// Reading failed.
    #[error("reading the dump")]
    Read(#[from] io::Error),
}

/// A fresh dump id. It keeps no secret, so it does not wait for entropy where the kernel has a way around
/// that (`GRND_INSECURE`, since Linux 5.6).
///
/// # Errors
/// From the kernel.
pub fn new_id() -> io::Result<DumpId> {
    let mut id = DumpId::default();
    getrandom(&mut id, GetRandomFlags::INSECURE).or_else(|_| getrandom(&mut id, GetRandomFlags::empty()))?;
    Ok(id)
}

/// A dump id as messages and file names show it: 32 hex digits.
#[must_use]
pub fn show_id(id: &DumpId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
