//! A kdump image read as data: which files an initramfs has once the kernel has unpacked it, and the bytes of the few
//! that `check` compares. An image is a row of cpio archives, plain or compressed, and since dracut packs the rest of the
//! system into one file of it, possibly a squashfs or EROFS file system inside.
//!
//! Whoever can write to a plain `/boot` wrote the image. Nothing of it is executed, and nothing is written: it comes from
//! a [`Read`], and a [`Tree`] in memory is all there is of it. Every count and length has a limit, [`Limits`]. The border:
//! this room opens no file, and starts no process; `confine` takes rights away from the process that calls `read`.

mod confine;
mod cpio;
mod decode;
mod erofs;
mod keep;
mod lz4;
mod lzo;
mod program;
mod secrets;
mod squashfs;
mod tree;
mod wire;

use decode::Input;
use keep::Keeper;
use std::io::{self, Read};

pub use confine::confine;
pub use program::same_program;
pub use tree::{Kind, Layer, Member, Tree};
pub use wire::{MAX_ANSWER, WireError, read_answer, write_answer};

/// What reading an image may cost. The defaults are several times what the largest ordinary initramfs takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of files and names after decompression, those of a file system inside included.
    pub unpacked: u64,
    /// Members, those of a file system inside included.
    pub members: usize,
    /// Bytes of all names and link targets.
    pub names: usize,
    /// Bytes of files that are kept for comparison.
    pub kept: usize,
    /// Bytes of a file system inside.
    pub nested: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { unpacked: 1 << 30, members: 100_000, names: 16 << 20, kept: 128 << 20, nested: 256 << 20 }
    }
}

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a cpio archive nor a compression that Linux unpacks starts here.
    #[error("neither a cpio archive nor a compression that Linux knows at byte {0}")]
    Unknown(u64),
    /// A compressed part holds something other than cpio archives.
    #[error("a compressed part holds more than cpio archives")]
    Junk,
    /// There is no member.
    #[error("no file is in it")]
    Empty,
    /// A header of a cpio archive breaks its format.
    #[error("cpio archive: {0}")]
    Cpio(&'static str),
    /// The squashfs file system contradicts itself.
    #[error("squashfs: {0}")]
    Squashfs(&'static str),
    /// The EROFS file system contradicts itself, or uses what dracut's call of mkfs.erofs does not.
    #[error("EROFS: {0}")]
    Erofs(String),
    /// More than [`Limits`] allow.
    #[error("too large: {0}")]
    Limit(&'static str),
    /// The bytes end early, or do not decompress.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads an image up to its end.
///
/// # Errors
/// [`Error`]: the kernel could not unpack it, or it is larger than `limits`.
pub fn read(source: impl Read, limits: Limits) -> Result<Tree, Error> {
    let mut input = Input::new(source);
    let mut keeper = Keeper::new(limits);
    let mut outer = tree::Builder::default();
    decode::read_parts(&mut input, &mut outer, &mut keeper)?;
    let mut tree = Tree { outer: outer.finish(), inner: None };
    if let Some(nested) = keeper.take_nested() {
        tree.inner = Some(read_file_system(&nested, &mut keeper)?);
    }
    if tree.outer.is_empty() { Err(Error::Empty) } else { Ok(tree) }
}

fn read_file_system(bytes: &[u8], keeper: &mut Keeper) -> Result<Layer, Error> {
    if squashfs::is_one(bytes) { squashfs::read(bytes, keeper) } else { erofs::read(bytes, keeper) }
}
