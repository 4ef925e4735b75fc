//! LZO as `lzop` packs it: its container. Source: Linux `lib/decompress_unlzo.c`;
//! lzop 1.04 `src/conf.h`.

use crate::lzo::decompress as unpack;
use std::io::{self, Read};

const MAGIC: usize = 9;
/// From this version on the header has more fields.
const NEWER: u16 = 0x0940;
const HAS_FILTER: u32 = 0x0800;
/// Checksums of a block: of its decompressed bytes (Adler-32, CRC-32), and of its compressed ones.
const SUMS: [u32; 2] = [0x001, 0x100];
const PACKED_SUMS: [u32; 2] = [0x002, 0x200];
/// The kernel takes no larger blocks.
const MAX_BLOCK: usize = 256 << 10;

/// Decompresses.
pub(super) struct Reader<R> {
    source: R,
    flags: u32,
    block: io::Cursor<Vec<u8>>,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub(super) fn new(mut source: R) -> io::Result<Reader<R>> {
        skip(&mut source, MAGIC)?;
        let mut version = [0; 2];
        source.read_exact(&mut version)?;
        let newer = u16::from_be_bytes(version) >= NEWER;
        // Version of the library, of what is needed, method, level.
        skip(&mut source, if newer { 6 } else { 5 })?;
        let flags = read_u32(&mut source)?;
        let filter = if flags & HAS_FILTER == 0 { 0 } else { 4 };
        // Filter, mode, time.
        skip(&mut source, filter + if newer { 12 } else { 8 })?;
        let mut name = [0];
        source.read_exact(&mut name)?;
        // The name, and the header's checksum.
        skip(&mut source, usize::from(name[0]) + 4)?;
        Ok(Reader { source, flags, block: io::Cursor::new(Vec::new()), ended: false })
    }

    fn next_block(&mut self) -> io::Result<()> {
        let size = read_u32(&mut self.source)? as usize;
        if size == 0 {
            self.ended = true;
            return Ok(());
        }
        let packed = read_u32(&mut self.source)? as usize;
        if size > MAX_BLOCK || packed > size || packed == 0 {
            return Err(io::Error::other("lzo: the lengths of a block are wrong"));
        }
        let count = |sums: [u32; 2]| sums.iter().filter(|&sum| self.flags & sum != 0).count();
        let sums = count(SUMS) + if packed < size { count(PACKED_SUMS) } else { 0 };
        skip(&mut self.source, sums * 4)?;
        let mut bytes = vec![0; packed];
        self.source.read_exact(&mut bytes)?;
        if packed < size {
            bytes = decompress(&bytes, size)?;
        }
        self.block = io::Cursor::new(bytes);
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.block.read(buffer)?;
            if got > 0 || self.ended || buffer.is_empty() {
                return Ok(got);
            }
            self.next_block()?;
        }
    }
}

/// Decompresses a block of a known size.
fn decompress(packed: &[u8], size: usize) -> io::Result<Vec<u8>> {
    let bytes = decompress_any(packed, size)?;
    if bytes.len() == size {
        Ok(bytes)
    } else {
        Err(io::Error::other("lzo: a block has another size than its header gives"))
    }
}

/// Decompresses a block of at most so many bytes.
pub(super) fn decompress_any(packed: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    unpack(packed, limit).ok_or_else(|| io::Error::other("lzo: the bytes contradict each other"))
}

fn skip(source: &mut impl Read, count: usize) -> io::Result<()> {
    let copied = io::copy(&mut source.take(count as u64), &mut io::sink())?;
    if copied == count as u64 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn read_u32(source: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    source.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}
