//! The super block, blocks of metadata and of data, and the fragments that hold ends of files.

use super::super::decode::MAX_DICTIONARY_KIB;
use super::super::{Error, lzo};
use super::inodes::{File, Place};
use super::{Fields, place};
use flate2::read::ZlibDecoder;
use lzma_rust2::{LzmaReader, XzReader};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::rc::Rc;

const SUPER_BLOCK: usize = 96;
const METADATA: usize = 8192;
/// 4 KiB to 1 MiB.
const BLOCK_LOGS: std::ops::RangeInclusive<u16> = 12..=20;
/// In the length of a block of metadata: it is not compressed.
const METADATA_STORED: u16 = 1 << 15;
/// The same in the length of a block of data.
const DATA_STORED: u32 = 1 << 24;
/// No fragment holds the end of the file.
pub(super) const NO_FRAGMENT: u32 = u32::MAX;
/// Entries of the fragment table are 16 bytes, in blocks of metadata.
const FRAGMENTS_A_BLOCK: u32 = 512;
/// Entries of the table of users and groups are 4 bytes, in blocks of metadata.
const IDS_A_BLOCK: u16 = 2048;
/// Blocks that are kept decompressed: what comes next is mostly in the same ones.
const KEPT: usize = 64;
const KEPT_FRAGMENTS: usize = 8;

/// How blocks are compressed.
#[derive(Clone, Copy, Debug)]
enum Codec {
    Gzip,
    Lzma,
    Lzo,
    Xz,
    Lz4,
    Zstd,
}

/// Blocks by where they are.
type Cache<T> = RefCell<VecDeque<(u64, T)>>;
/// The bytes of a block of metadata, and where the next one is.
type Metadata = (Rc<Vec<u8>>, u64);

/// A file system in memory.
pub(super) struct Image<'a> {
    bytes: &'a [u8],
    codec: Codec,
    block_size: usize,
    fragments: u32,
    /// Where the root directory's inode is.
    pub root: Place,
    inode_table: u64,
    directory_table: u64,
    fragment_table: u64,
    ids: u16,
    id_table: u64,
    metadata: Cache<Metadata>,
    ends: Cache<Rc<Vec<u8>>>,
}

impl<'a> Image<'a> {
    /// Reads the super block.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Image<'a>, Error> {
        let mut fields = bytes.get(4..SUPER_BLOCK).ok_or(Error::Squashfs("it has no super block"))?;
        let [_inodes, _time, block_size, fragments] =
            [fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?];
        let codec = match fields.u16()? {
            1 => Codec::Gzip,
            2 => Codec::Lzma,
            3 => Codec::Lzo,
            4 => Codec::Xz,
            5 => Codec::Lz4,
            6 => Codec::Zstd,
            _ => return Err(Error::Squashfs("its compression is not known")),
        };
        let log = fields.u16()?;
        let [_flags, ids, major, minor] = [fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?];
        if (major, minor) != (4, 0) {
            return Err(Error::Squashfs("it is not of version 4.0"));
        }
        if !BLOCK_LOGS.contains(&log) || block_size != 1 << log {
            return Err(Error::Squashfs("its block size is wrong"));
        }
        let root = place(fields.u64()?);
        let [_used, id_table, _attributes] = [fields.u64()?, fields.u64()?, fields.u64()?];
        let [inode_table, directory_table, fragment_table] = [fields.u64()?, fields.u64()?, fields.u64()?];
        Ok(Image {
            bytes,
            codec,
            block_size: block_size as usize,
            fragments,
            root,
            inode_table,
            directory_table,
            fragment_table,
            ids,
            id_table,
            metadata: Cache::default(),
            ends: Cache::default(),
        })
    }

    /// Reads inodes from a place.
    pub(super) fn inodes(&self, place: Place) -> Result<Cursor<'_, 'a>, Error> {
        self.cursor(self.inode_table, place)
    }

    /// Reads directories from a place.
    pub(super) fn directories(&self, place: Place) -> Result<Cursor<'_, 'a>, Error> {
        self.cursor(self.directory_table, place)
    }

    /// The number of a user or group by its place in the table of them.
    pub(super) fn id(&self, index: u16) -> Result<u32, Error> {
        if index >= self.ids {
            return Err(Error::Squashfs("an owner is not in its table"));
        }
        let table = self.id_table.checked_add(u64::from(index / IDS_A_BLOCK) * 8);
        let mut entry = self.slice(table.ok_or(Error::Squashfs("the table of owners is outside"))?, 8)?;
        let byte = usize::from(index % IDS_A_BLOCK) * 4;
        self.cursor(entry.u64()?, Place { block: 0, byte })?.u32()
    }

    fn cursor(&self, table: u64, place: Place) -> Result<Cursor<'_, 'a>, Error> {
        let at = table.checked_add(place.block).ok_or(Error::Squashfs("a place is outside"))?;
        let (block, next) = self.metadata_at(at)?;
        if place.byte <= block.len() {
            Ok(Cursor { image: self, block, byte: place.byte, next })
        } else {
            Err(Error::Squashfs("a place is outside its block"))
        }
    }

    /// Bytes of the file system.
    fn slice(&self, at: u64, count: usize) -> Result<&'a [u8], Error> {
        let start = usize::try_from(at).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(count)?));
        range.and_then(|range| self.bytes.get(range)).ok_or(Error::Squashfs("a block is outside"))
    }

    fn metadata_at(&self, at: u64) -> Result<Metadata, Error> {
        if let Some((_, found)) = self.metadata.borrow().iter().find(|(place, _)| *place == at) {
            return Ok(found.clone());
        }
        let head = self.slice(at, 2)?;
        let head = u16::from_le_bytes([head[0], head[1]]);
        let count = usize::from(head & !METADATA_STORED);
        let start = at.checked_add(2).ok_or(Error::Squashfs("a block is outside"))?;
        let bytes = self.slice(start, count)?;
        let block = match head & METADATA_STORED == 0 {
            true => self.decompress(bytes, METADATA)?,
            false if count <= METADATA => bytes.to_vec(),
            false => return Err(Error::Squashfs("a block of metadata is too long")),
        };
        let found = (Rc::new(block), start + count as u64);
        keep(&self.metadata, KEPT, at, found.clone());
        Ok(found)
    }

    /// A block of data; its length tells how long it is.
    fn data(&self, at: u64, length: u32) -> Result<Vec<u8>, Error> {
        let count = (length & !DATA_STORED) as usize;
        if count > self.block_size {
            return Err(Error::Squashfs("a block is too long"));
        }
        let bytes = self.slice(at, count)?;
        if length & DATA_STORED == 0 { self.decompress(bytes, self.block_size) } else { Ok(bytes.to_vec()) }
    }

    /// The block of a fragment.
    fn fragment(&self, index: u32) -> Result<Rc<Vec<u8>>, Error> {
        if let Some((_, found)) = self.ends.borrow().iter().find(|(place, _)| *place == u64::from(index)) {
            return Ok(found.clone());
        }
        if index >= self.fragments {
            return Err(Error::Squashfs("a fragment is not in its table"));
        }
        let table = self.fragment_table.checked_add(u64::from(index / FRAGMENTS_A_BLOCK) * 8);
        let mut entry = self.slice(table.ok_or(Error::Squashfs("the fragment table is outside"))?, 8)?;
        let byte = (index % FRAGMENTS_A_BLOCK) as usize * 16;
        let mut cursor = self.cursor(entry.u64()?, Place { block: 0, byte })?;
        let (start, length) = (cursor.u64()?, cursor.u32()?);
        let block = Rc::new(self.data(start, length)?);
        keep(&self.ends, KEPT_FRAGMENTS, index.into(), block.clone());
        Ok(block)
    }

    /// Decompresses a block to at most `limit` bytes.
    fn decompress(&self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
        let read = |reader: &mut dyn Read| {
            let mut block = Vec::new();
            reader.take(limit as u64 + 1).read_to_end(&mut block)?;
            Ok::<_, io::Error>(block)
        };
        let block = match self.codec {
            Codec::Gzip => read(&mut ZlibDecoder::new(bytes))?,
            Codec::Xz => read(&mut XzReader::new_mem_limit(bytes, false, MAX_DICTIONARY_KIB))?,
            Codec::Lzma => read(&mut LzmaReader::new_mem_limit(bytes, MAX_DICTIONARY_KIB, None)?)?,
            Codec::Lzo => lzo::decompress_any(bytes, limit)?,
            Codec::Zstd => zstd::bulk::decompress(bytes, limit)?,
            Codec::Lz4 => {
                let mut block = vec![0; limit];
                let count = lz4_flex::block::decompress_into(bytes, &mut block).map_err(io::Error::other)?;
                block.truncate(count);
                block
            }
        };
        if block.len() <= limit {
            Ok(block)
        } else {
            Err(Error::Squashfs("a block decompresses to more than a block"))
        }
    }
}

fn keep<T>(cache: &Cache<T>, most: usize, at: u64, value: T) {
    let mut cache = cache.borrow_mut();
    cache.push_front((at, value));
    cache.truncate(most);
}

/// Reads metadata on from a place, from block to block.
pub(super) struct Cursor<'i, 'a> {
    image: &'i Image<'a>,
    block: Rc<Vec<u8>>,
    byte: usize,
    next: u64,
}

impl Cursor<'_, '_> {
    /// Fills a buffer.
    pub(super) fn read(&mut self, mut buffer: &mut [u8]) -> Result<(), Error> {
        while !buffer.is_empty() {
            if self.byte == self.block.len() {
                (self.block, self.next) = self.image.metadata_at(self.next)?;
                self.byte = 0;
            }
            let count = buffer.len().min(self.block.len() - self.byte);
            if count == 0 {
                return Err(Error::Squashfs("a block of metadata is empty"));
            }
            buffer[..count].copy_from_slice(&self.block[self.byte..self.byte + count]);
            self.byte += count;
            buffer = &mut buffer[count..];
        }
        Ok(())
    }
}

/// Reads a file from block to block.
pub(super) struct FileReader<'i, 'a> {
    image: &'i Image<'a>,
    file: File,
    next: usize,
    at: u64,
    left: u64,
    block: Vec<u8>,
    byte: usize,
}

impl<'i, 'a> FileReader<'i, 'a> {
    /// From its start.
    pub(super) fn new(image: &'i Image<'a>, file: File) -> FileReader<'i, 'a> {
        let (at, left) = (file.start, file.size);
        FileReader { image, file, next: 0, at, left, block: Vec::new(), byte: 0 }
    }

    fn next_block(&mut self) -> Result<(), Error> {
        let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.image.block_size);
        self.block = match self.file.blocks.get(self.next) {
            Some(0) => vec![0; size],
            Some(&length) => {
                let block = self.image.data(self.at, length)?;
                self.at = self.at.saturating_add((length & !DATA_STORED).into());
                block
            }
            None => {
                let block = self.image.fragment(self.file.fragment)?;
                let start = self.file.in_fragment as usize;
                let end = start.checked_add(size).ok_or(Error::Squashfs("a fragment ends early"))?;
                block.get(start..end).ok_or(Error::Squashfs("a fragment ends early"))?.to_vec()
            }
        };
        if self.block.len() != size {
            return Err(Error::Squashfs("a block of a file has another size than it must"));
        }
        self.next += 1;
        self.left -= size as u64;
        self.byte = 0;
        Ok(())
    }
}

impl Read for FileReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.byte == self.block.len() && self.left > 0 {
            self.next_block().map_err(io::Error::other)?;
        }
        let count = buffer.len().min(self.block.len() - self.byte);
        buffer[..count].copy_from_slice(&self.block[self.byte..self.byte + count]);
        self.byte += count;
        Ok(count)
    }
}

/// How many blocks a file has, and so how many lengths stand in its inode.
pub(super) fn block_count(image: &Image<'_>, size: u64, fragment: u32) -> Result<usize, Error> {
    let block = image.block_size as u64;
    let count = if fragment == NO_FRAGMENT { size.div_ceil(block) } else { size / block };
    // Every length takes four bytes of metadata that compress at best a thousand times.
    let most = (image.bytes.len() as u64).saturating_mul(1024);
    let count = usize::try_from(count).ok().filter(|_| count <= most);
    count.ok_or(Error::Squashfs("a file is larger than all there is"))
}
