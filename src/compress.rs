//! One page in, a smaller page or "store raw" out: the codecs of a restored KDUMP file. Blocks on the
//! way out are [`crate::blocks`]' business.

mod lzo;

use crate::kdump::DescFlags;
use std::io::Write;
use zstd::zstd_safe::{CCtx, CParameter};

/// How pages of a restored dump are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    None,
    /// zlib, level 1: every reader has it.
    Zlib,
    /// LZO1X: for crash and libkdumpfile from before zstd, which unpack it several times faster than zlib.
    Lzo,
    /// snappy, raw: the same for readers that were built without LZO, whose library is under the GPL.
    Snappy,
    /// zstd, level -1: smallest and fast, for crash 8.0 and libkdumpfile 0.5 or later.
    Zstd,
}

impl Codec {
    /// The bit of descriptors and status.
    #[must_use]
    pub fn flags(self) -> DescFlags {
        match self {
            Codec::None => DescFlags::RAW,
            Codec::Zlib => DescFlags::ZLIB,
            Codec::Lzo => DescFlags::LZO,
            Codec::Snappy => DescFlags::SNAPPY,
            Codec::Zstd => DescFlags::ZSTD,
        }
    }
}

/// zstd level of single pages, chosen by measurement (docs/performance.md).
const PAGE_LEVEL: i32 = -1;

/// Compresses single pages.
pub struct PageCompressor {
    codec: Codec,
    zstd: Option<CCtx<'static>>,
    lzo: lzo::Encoder,
    snappy: snap::raw::Encoder,
    packed: Vec<u8>,
}

impl PageCompressor {
    /// A compressor for `codec`; `None` when there is no memory for it.
    #[must_use]
    pub fn new(codec: Codec) -> Option<PageCompressor> {
        let zstd = match codec {
            Codec::Zstd => {
                let mut context = CCtx::try_create()?;
                context.set_parameter(CParameter::CompressionLevel(PAGE_LEVEL)).ok()?;
                Some(context)
            }
            _ => None,
        };
        let (lzo, snappy) = (lzo::Encoder::new(), snap::raw::Encoder::new());
        Some(PageCompressor { codec, zstd, lzo, snappy, packed: Vec::new() })
    }

    /// Appends a page to `out`, compressed if that makes it smaller; returns how it is stored.
    pub fn append(&mut self, page: &[u8], out: &mut Vec<u8>) -> DescFlags {
        self.packed.clear();
        if self.pack(page).is_some() && self.packed.len() < page.len() {
            out.extend_from_slice(&self.packed);
            return self.codec.flags();
        }
        out.extend_from_slice(page);
        DescFlags::RAW
    }

    /// Fills `packed`; `None` when the codec does not manage, which only means "store raw".
    fn pack(&mut self, page: &[u8]) -> Option<()> {
        match self.codec {
            Codec::None => None,
            Codec::Zlib => {
                let mut encoder =
                    flate2::write::ZlibEncoder::new(&mut self.packed, flate2::Compression::fast());
                encoder.write_all(page).ok()?;
                encoder.finish().ok()?;
                Some(())
            }
            Codec::Lzo => self.lzo.compress(page, &mut self.packed),
            Codec::Snappy => {
                self.packed.resize(snap::raw::max_compress_len(page.len()), 0);
                let len = self.snappy.compress(page, &mut self.packed).ok()?;
                self.packed.truncate(len);
                Some(())
            }
            Codec::Zstd => {
                self.packed.reserve(zstd::zstd_safe::compress_bound(page.len()));
                self.zstd.as_mut()?.compress2(&mut self.packed, page).ok()?;
                Some(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(flags: DescFlags, bytes: &[u8]) -> Vec<u8> {
        match flags {
            DescFlags::RAW => bytes.to_vec(),
            DescFlags::ZLIB => {
                let mut page = Vec::new();
                flate2::write::ZlibDecoder::new(&mut page).write_all(bytes).unwrap();
                page
            }
            DescFlags::LZO => lzokay_native::decompress_all(bytes, Some(4096)).unwrap(),
            DescFlags::SNAPPY => snap::raw::Decoder::new().decompress_vec(bytes).unwrap(),
            DescFlags::ZSTD => zstd::decode_all(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages_come_back_and_none_grows() {
        let text: Vec<u8> = b"the quick brown fox ".iter().copied().cycle().take(4096).collect();
        let mut state = 1u32;
        let noise: Vec<u8> = (0..4096)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        for codec in [Codec::None, Codec::Zlib, Codec::Lzo, Codec::Snappy, Codec::Zstd] {
            let mut compressor = PageCompressor::new(codec).unwrap();
            for page in [&text, &noise, &text] {
                let mut out = Vec::new();
                let flags = compressor.append(page, &mut out);
                assert!(out.len() <= page.len());
                assert_eq!(&unpack(flags, &out), page, "{codec:?}");
            }
            let mut out = Vec::new();
            assert_eq!(compressor.append(&text, &mut out), codec.flags());
        }
    }
}
