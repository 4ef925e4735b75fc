//! lz4 as the kernel takes it: the legacy format of `lz4 -l`, blocks of 8 MiB with their lengths.
//! Source: Linux `lib/decompress_unlz4.c`; lz4 `doc/lz4_Frame_format.md`, "Legacy frame".

use std::io::{self, Read};

/// How it begins.
pub(super) const LEGACY_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// Bytes of a decompressed block at most.
const BLOCK: usize = 8 << 20;
/// `LZ4_compressBound` of a block.
const MAX_PACKED: usize = BLOCK + BLOCK / 255 + 16;

/// Decompresses.
pub(super) struct LegacyReader<R> {
    source: R,
    block: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read> LegacyReader<R> {
    /// From a source at its magic number.
    pub(super) fn new(source: R) -> LegacyReader<R> {
        LegacyReader { source, block: Vec::new(), at: 0, ended: false }
    }

    /// Reads the next block; at the end there is none.
    fn next_block(&mut self) -> io::Result<()> {
        let mut length = Vec::new();
        self.source.by_ref().take(4).read_to_end(&mut length)?;
        let length = match <[u8; 4]>::try_from(length.as_slice()) {
            // A further archive of the same format goes on.
            Ok(LEGACY_MAGIC) => return Ok(()),
            Ok(length) => u32::from_le_bytes(length) as usize,
            Err(_) if length.iter().all(|&byte| byte == 0) => 0,
            Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        if length == 0 {
            self.ended = true;
            return Ok(());
        }
        if length > MAX_PACKED {
            return Err(io::Error::other("lz4: a block is too long"));
        }
        let mut packed = vec![0; length];
        self.source.read_exact(&mut packed)?;
        self.block.resize(BLOCK, 0);
        let count = lz4_flex::block::decompress_into(&packed, &mut self.block).map_err(io::Error::other)?;
        self.block.truncate(count);
        self.at = 0;
        Ok(())
    }
}

impl<R: Read> Read for LegacyReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() && !self.ended {
            self.next_block()?;
        }
        let count = buffer.len().min(self.block.len() - self.at);
        buffer[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
