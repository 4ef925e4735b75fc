//! A squashfs 4.0 file system, `squashfs-root.img` or `squash-root.img` of dracut's squash modules.
//! Source: Linux `fs/squashfs/squashfs_fs.h`, `Documentation/filesystems/squashfs.rst`. All numbers are little endian.
//!
//! Our own, since the crate there is for this brings a compiler of macros, threads and an xz in C, and reads whole tables
//! before it knows their sizes to be true.

mod blocks;
mod inodes;

use super::Error;
use super::keep::Keeper;
use super::tree::{Kind, Layer, Member};
use blocks::{Cursor, Image};
use inodes::{Content, Inode, Place};
use std::collections::HashSet;

const MAGIC: &[u8] = b"hsqs";
/// No directory of an initramfs is deeper.
const MAX_DEPTH: usize = 64;

/// Whether it is one.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads all files.
pub(super) fn read(bytes: &[u8], keeper: &mut Keeper) -> Result<Layer, Error> {
    let image = Image::parse(bytes)?;
    let mut layer = Layer::default();
    let mut seen = HashSet::from([image.root]);
    let mut open = vec![(image.root, Vec::new(), 0)];
    while let Some((place, path, depth)) = open.pop() {
        let Inode { content: Content::Directory(listing), .. } = inodes::read(&image, place)? else {
            return Err(Error::Squashfs("a directory is something else"));
        };
        for (name, place) in inodes::list(&image, listing)? {
            let path = join(&path, &name);
            keeper.count(path.len())?;
            let inode = inodes::read(&image, place)?;
            if Kind::of_mode(inode.mode) == Kind::Directory {
                if depth == MAX_DEPTH || !seen.insert(place) {
                    return Err(Error::Squashfs("directories are in each other, or too deep"));
                }
                open.push((place, path.clone(), depth + 1));
            }
            let owner = inode.owner;
            let member = read_member(&image, &path, inode, keeper)?.of(owner);
            layer.insert(path, member);
        }
    }
    Ok(layer)
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

fn read_member(image: &Image<'_>, path: &[u8], inode: Inode, keeper: &mut Keeper) -> Result<Member, Error> {
    match inode.content {
        Content::File(file) => {
            let size = file.size;
            keeper.file(path, inode.mode, size, &mut blocks::FileReader::new(image, file), false)
        }
        Content::Link(target) => {
            keeper.count_bytes(target.len())?;
            Ok(Member { size: target.len() as u64, target, ..Member::new(inode.mode) })
        }
        Content::Directory(_) | Content::Other => Ok(Member::new(inode.mode)),
    }
}

/// Where metadata is: the start of its block, relative to a table, and the byte in it.
fn place(reference: u64) -> Place {
    Place { block: reference >> 16, byte: usize::from((reference & 0xffff) as u16) }
}

/// Reads numbers and bytes of metadata.
trait Fields {
    /// Fills a buffer with the next bytes.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error>;

    /// The next bytes.
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The next number of two bytes.
    fn u16(&mut self) -> Result<u16, Error> {
        self.take().map(u16::from_le_bytes)
    }

    /// The next number of four bytes.
    fn u32(&mut self) -> Result<u32, Error> {
        self.take().map(u32::from_le_bytes)
    }

    /// The next number of eight bytes.
    fn u64(&mut self) -> Result<u64, Error> {
        self.take().map(u64::from_le_bytes)
    }
}

impl Fields for Cursor<'_, '_> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.read(buffer)
    }
}

impl Fields for &[u8] {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let (bytes, rest) = self.split_at_checked(buffer.len()).ok_or(Error::Squashfs("it ends early"))?;
        buffer.copy_from_slice(bytes);
        *self = rest;
        Ok(())
    }
}
