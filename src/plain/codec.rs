//! One stored page of a KDUMP file, decompressed. The bytes are anybody's: what does not make exactly one page is an
//! error.

use crate::kdump::DescFlags;
use std::io::{self, Read};
use zstd::zstd_safe::DCtx;

/// Bits of a descriptor that name no codec. Source: makedumpfile `diskdump_mod.h` (the codec bits are 0x1, 0x2, 0x4,
/// 0x20).
const CODECS: u32 = 0x27;

/// Fills `page` with what is stored.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`]: an unknown codec, or bytes that do not make a page.
pub(super) fn unpack(flags: DescFlags, stored: &[u8], page: &mut [u8]) -> io::Result<()> {
    let made = match DescFlags(flags.0 & CODECS) {
        DescFlags::RAW => (stored.len() == page.len()).then(|| page.copy_from_slice(stored)),
        DescFlags::ZLIB => zlib(stored, page),
        DescFlags::LZO => lzo(stored, page),
        DescFlags::SNAPPY => snappy(stored, page),
        DescFlags::ZSTD => zstd(stored, page),
        _ => None,
    };
    made.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "a stored page does not decompress to a page")
    })
}

fn zlib(stored: &[u8], page: &mut [u8]) -> Option<()> {
    let mut decoder = flate2::read::ZlibDecoder::new(stored);
    decoder.read_exact(page).ok()?;
    matches!(decoder.read(&mut [0]), Ok(0)).then_some(())
}

fn lzo(stored: &[u8], page: &mut [u8]) -> Option<()> {
    let made = crate::lzo::decompress(stored, page.len())?;
    (made.len() == page.len()).then(|| page.copy_from_slice(&made))
}

fn snappy(stored: &[u8], page: &mut [u8]) -> Option<()> {
    let len = snap::raw::decompress_len(stored).ok().filter(|&len| len == page.len())?;
    (snap::raw::Decoder::new().decompress(stored, page).ok()? == len).then_some(())
}

fn zstd(stored: &[u8], page: &mut [u8]) -> Option<()> {
    let len = page.len();
    (DCtx::try_create()?.decompress(page, stored).ok()? == len).then_some(())
}
