//! Inodes and directories.

use super::super::Error;
use super::Fields;
use super::blocks::{Image, block_count};

/// Where metadata is: the start of its block, relative to a table, and the byte in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Bytes from the table's start.
    pub block: u64,
    /// The byte in the decompressed block.
    pub byte: usize,
}

/// A regular file.
pub(super) struct File {
    /// Where its first block is.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// Lengths of its blocks; 0 is a hole.
    pub blocks: Vec<u32>,
    /// The fragment that holds its end.
    pub fragment: u32,
    /// Where in that.
    pub in_fragment: u32,
}

/// A directory's entries.
pub(super) struct Listing {
    place: Place,
    size: u32,
}

/// What an inode has.
pub(super) enum Content {
    /// A regular file.
    File(File),
    /// Entries.
    Directory(Listing),
    /// A target.
    Link(Vec<u8>),
    /// Nothing that is read.
    Other,
}

/// An inode.
pub(super) struct Inode {
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// The number of the user who owns it.
    pub owner: u32,
    /// What it has.
    pub content: Content,
}

const MAX_TARGET: u32 = 4096;
const MAX_NAME: u16 = 255;
/// Entries under one header at most. Source: Linux `fs/squashfs/squashfs_fs.h`, `SQUASHFS_DIR_COUNT`.
const MAX_ENTRIES: u32 = 256;
/// A directory's size counts `.` and `..`, which are not stored.
const NOT_STORED: u32 = 3;

/// Reads the inode at a place.
pub(super) fn read(image: &Image<'_>, place: Place) -> Result<Inode, Error> {
    let mut fields = image.inodes(place)?;
    let (kind, permissions) = (fields.u16()?, u32::from(fields.u16()? & 0o7777));
    let owner = image.id(fields.u16()?)?;
    // Group, time, number.
    fields.take::<10>()?;
    let (kind, content) = match kind {
        1 => (0o040_000, directory(&mut fields)?),
        2 => (0o100_000, file(image, &mut fields)?),
        3 | 10 => (0o120_000, link(&mut fields)?),
        4 | 11 => (0o060_000, Content::Other),
        5 | 12 => (0o020_000, Content::Other),
        6 | 13 => (0o010_000, Content::Other),
        7 | 14 => (0o140_000, Content::Other),
        8 => (0o040_000, long_directory(&mut fields)?),
        9 => (0o100_000, long_file(image, &mut fields)?),
        _ => return Err(Error::Squashfs("an inode is of no known type")),
    };
    Ok(Inode { mode: kind | permissions, owner, content })
}

fn directory(fields: &mut impl Fields) -> Result<Content, Error> {
    let (block, _links) = (fields.u32()?, fields.u32()?);
    let (size, byte) = (fields.u16()?, fields.u16()?);
    listing(block, byte, size.into())
}

fn long_directory(fields: &mut impl Fields) -> Result<Content, Error> {
    let (_links, size, block) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (_parent, _index, byte) = (fields.u32()?, fields.u16()?, fields.u16()?);
    listing(block, byte, size)
}

fn listing(block: u32, byte: u16, size: u32) -> Result<Content, Error> {
    let place = Place { block: block.into(), byte: byte.into() };
    Ok(Content::Directory(Listing { place, size: size.saturating_sub(NOT_STORED) }))
}

fn file(image: &Image<'_>, fields: &mut impl Fields) -> Result<Content, Error> {
    let start = fields.u32()?.into();
    let (fragment, in_fragment) = (fields.u32()?, fields.u32()?);
    let size = fields.u32()?.into();
    with_blocks(image, fields, File { start, size, blocks: Vec::new(), fragment, in_fragment })
}

fn long_file(image: &Image<'_>, fields: &mut impl Fields) -> Result<Content, Error> {
    let (start, size, _holes) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let (_links, fragment, in_fragment, _attributes) =
        (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
    with_blocks(image, fields, File { start, size, blocks: Vec::new(), fragment, in_fragment })
}

fn with_blocks(image: &Image<'_>, fields: &mut impl Fields, mut file: File) -> Result<Content, Error> {
    // Grows with what is there, whatever the size promises.
    for _ in 0..block_count(image, file.size, file.fragment)? {
        file.blocks.push(fields.u32()?);
    }
    Ok(Content::File(file))
}

fn link(fields: &mut impl Fields) -> Result<Content, Error> {
    let (_links, size) = (fields.u32()?, fields.u32()?);
    if size > MAX_TARGET {
        return Err(Error::Squashfs("the target of a link is too long"));
    }
    let mut target = vec![0; size as usize];
    fields.fill(&mut target)?;
    Ok(Content::Link(target))
}

/// The entries of a directory: names, and where their inodes are.
pub(super) fn list(image: &Image<'_>, listing: Listing) -> Result<Vec<(Vec<u8>, Place)>, Error> {
    let mut entries = Vec::new();
    if listing.size == 0 {
        return Ok(entries);
    }
    let mut fields = image.directories(listing.place)?;
    let mut left = listing.size;
    let mut spend = |bytes: u32| {
        left =
            left.checked_sub(bytes).ok_or(Error::Squashfs("a directory is longer than its inode gives"))?;
        Ok::<_, Error>(left)
    };
    loop {
        let (count, block, _inode) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let mut rest = spend(12)?;
        if count >= MAX_ENTRIES {
            return Err(Error::Squashfs("a directory has too many entries"));
        }
        for _ in 0..=count {
            let (byte, _inode, _kind, length) = (fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?);
            if length > MAX_NAME {
                return Err(Error::Squashfs("a name is too long"));
            }
            let mut name = vec![0; usize::from(length) + 1];
            fields.fill(&mut name)?;
            rest = spend(8 + u32::from(length) + 1)?;
            if name.contains(&b'/') || name.contains(&0) || matches!(name.as_slice(), b"." | b"..") {
                return Err(Error::Squashfs("a name is invalid"));
            }
            entries.push((name, Place { block: block.into(), byte: byte.into() }));
        }
        if rest == 0 {
            return Ok(entries);
        }
    }
}
