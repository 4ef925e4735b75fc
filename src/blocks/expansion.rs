//! How much a dump may make of its own bytes: what its frames hold once decompressed, or the tables that are written of
//! its pages and memory. Nobody knows how large a dump is before its end, so a reader counts both as they come.

use super::Error;

/// Bytes that any dump may make: those that come before the bytes which explain them, and small dumps.
const FLOOR: u64 = 64 << 20;
/// Bytes that each byte of the stream may make besides. The most that a collector writes are 2850: a record of 64 KiB of
/// the first bitmap, all ones, is a frame of 23 bytes.
const RATIO: u64 = 4096;

/// What a dump may still make.
pub struct Expansion {
    left: u64,
}

impl Default for Expansion {
    fn default() -> Expansion {
        Expansion { left: FLOOR }
    }
}

impl Expansion {
    /// Counts bytes of the stream that have come.
    pub fn feed(&mut self, bytes: u64) {
        self.left = self.left.saturating_add(bytes.saturating_mul(RATIO));
    }

    /// Counts bytes that are about to be made.
    ///
    /// # Errors
    /// [`Error::Expands`]: only a forged dump makes so much.
    pub fn spend(&mut self, bytes: u64) -> Result<(), Error> {
        self.left = self.left.checked_sub(bytes).ok_or(Error::Expands)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BlockCompressor, BlockMap, RunKind, raw_frame, skippable_frame};
    use super::*;
    use crate::units::PfnRange;

    #[test]
    fn what_compresses_best_of_all_is_within_the_ratio() {
        let mut compressor = BlockCompressor::new(3).unwrap();
        let mut map = BlockMap { data_offset: 0x1000, runs: Vec::new() };
        map.push_run(PfnRange::new(1, 33), RunKind::Data);
        let (mut encoded, mut block) = (Vec::new(), Vec::new());
        map.encode(&mut encoded);
        skippable_frame(&mut block, BlockMap::TAG, &encoded);
        raw_frame(&mut block, [0; 16]);
        compressor.compress(&[0x6b; 128 << 10], &mut block).unwrap();
        assert!((128 << 10) * 3 / 2 < block.len() as u64 * RATIO, "{} bytes", block.len());
        let mut bitmap = Vec::new();
        compressor.compress(&[&[1; 16][..], &[0xff; 64 << 10]].concat(), &mut bitmap).unwrap();
        assert!((64 << 10) * 5 / 4 < bitmap.len() as u64 * RATIO, "{} bytes", bitmap.len());
    }

    #[test]
    fn more_than_the_stream_allows_is_refused() {
        let mut expansion = Expansion::default();
        expansion.feed(10);
        expansion.spend(FLOOR + 10 * RATIO).unwrap();
        assert!(matches!(expansion.spend(1), Err(Error::Expands)));
        expansion.feed(u64::MAX);
        expansion.spend(u64::MAX).unwrap();
    }
}
