//! The parts of an image, one after the other: cpio archives as they are, which is how microcode comes first, compressed
//! ones, and zero bytes between. Source: Linux `init/initramfs.c`, `lib/decompress.c`.

use super::keep::Keeper;
use super::tree::Builder;
use super::{Error, cpio, lz4, lzo};
use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::{LzmaReader, XzReader};
use std::io::{self, BufRead, BufReader, Read};

/// Bytes that tell what starts here.
const PROBE: usize = 6;
/// The most memory a decoder of xz or lzma may take, in KiB; `xz -9` takes 65 MiB.
pub(super) const MAX_DICTIONARY_KIB: u32 = 128 << 10;
/// The largest window of zstd that the kernel takes as well. Source: Linux `lib/decompress_unzstd.c`.
const MAX_ZSTD_WINDOW: u32 = 27;

/// What an image is read from: bytes can be given back, and the place is known.
pub(super) struct Input<R> {
    back: io::Cursor<Vec<u8>>,
    source: BufReader<R>,
    /// How many bytes were taken.
    pub at: u64,
}

impl<R: Read> Input<R> {
    /// An image from its start.
    pub(super) fn new(source: R) -> Input<R> {
        Input { back: io::Cursor::new(Vec::new()), source: BufReader::with_capacity(64 << 10, source), at: 0 }
    }

    /// Puts bytes back that were taken too many.
    fn give_back(&mut self, mut bytes: Vec<u8>) {
        self.at -= bytes.len() as u64;
        let rest = usize::try_from(self.back.position()).unwrap_or(usize::MAX);
        bytes.extend_from_slice(self.back.get_ref().get(rest..).unwrap_or_default());
        self.back = io::Cursor::new(bytes);
    }

    /// The next bytes, fewer at the end.
    fn probe(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.by_ref().take(PROBE as u64).read_to_end(&mut bytes)?;
        self.give_back(bytes.clone());
        Ok(bytes)
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let is_empty = self.back.fill_buf()?.is_empty();
        if is_empty { self.source.fill_buf() } else { self.back.fill_buf() }
    }

    fn consume(&mut self, amount: usize) {
        let in_back = self.back.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        self.at += amount as u64;
        if in_back { self.back.consume(amount) } else { self.source.consume(amount) }
    }
}

/// What starts with some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    End,
    Zero,
    Cpio,
    Gzip,
    Bzip2,
    Lzma,
    Xz,
    Lzo,
    Lz4Legacy,
    Lz4Frame,
    Zstd,
    Unknown,
}

impl Part {
    fn of(bytes: &[u8]) -> Part {
        const COMPRESSED: [(&[u8], Part); 9] = [
            (&[0x1f, 0x8b], Part::Gzip),
            (&[0x1f, 0x9e], Part::Gzip),
            (b"BZh", Part::Bzip2),
            (&[0x5d, 0x00], Part::Lzma),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Part::Xz),
            (&[0x89, b'L', b'Z', b'O', 0, 0x0d], Part::Lzo),
            (&lz4::LEGACY_MAGIC, Part::Lz4Legacy),
            (&[0x04, 0x22, 0x4d, 0x18], Part::Lz4Frame),
            (&[0x28, 0xb5, 0x2f, 0xfd], Part::Zstd),
        ];
        match bytes.first() {
            None => Part::End,
            Some(0) => Part::Zero,
            Some(b'0') => Part::Cpio,
            Some(_) => {
                let known = COMPRESSED.iter().find(|(magic, _)| bytes.starts_with(magic));
                known.map_or(Part::Unknown, |&(_, part)| part)
            }
        }
    }
}

/// Reads all parts of an image.
pub(super) fn read_parts(
    input: &mut Input<impl Read>,
    builder: &mut Builder,
    keeper: &mut Keeper,
) -> Result<(), Error> {
    loop {
        match Part::of(&input.probe()?) {
            Part::End => return Ok(()),
            Part::Zero => skip_zeros(input)?,
            Part::Cpio => cpio::read(input, builder, keeper)?,
            Part::Unknown => return Err(Error::Unknown(input.at)),
            Part::Lzma => {
                // This decoder reads ahead.
                let mut decoder = LzmaReader::new_mem_limit(&mut *input, MAX_DICTIONARY_KIB, None)?;
                read_archives(&mut decoder, builder, keeper)?;
                let (_, ahead) = decoder.into_parts();
                input.give_back(ahead);
            }
            part => read_archives(&mut *decoder(part, input)?, builder, keeper)?,
        }
    }
}

fn decoder<'a>(part: Part, input: &'a mut Input<impl Read>) -> Result<Box<dyn Read + 'a>, Error> {
    Ok(match part {
        Part::Gzip => Box::new(GzDecoder::new(input)),
        Part::Bzip2 => Box::new(BzDecoder::new(input)),
        Part::Xz => Box::new(XzReader::new_mem_limit(input, false, MAX_DICTIONARY_KIB)),
        Part::Lzo => Box::new(lzo::Reader::new(input)?),
        Part::Lz4Legacy => Box::new(lz4::LegacyReader::new(input)),
        Part::Lz4Frame => Box::new(lz4_flex::frame::FrameDecoder::new(input)),
        _ => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?.single_frame();
            decoder.window_log_max(MAX_ZSTD_WINDOW)?;
            Box::new(decoder)
        }
    })
}

/// Reads what a compressed part holds: archives, and zero bytes between and after them.
fn read_archives(decoder: &mut dyn Read, builder: &mut Builder, keeper: &mut Keeper) -> Result<(), Error> {
    let mut input = Input::new(Counted { decoder, left: keeper.unpacked_left() });
    loop {
        match Part::of(&input.probe()?) {
            Part::End => return Ok(()),
            Part::Zero => skip_zeros(&mut input)?,
            Part::Cpio => cpio::read(&mut input, builder, keeper)?,
            _ => return Err(Error::Junk),
        }
    }
}

fn skip_zeros(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf()?;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let all = zeros == bytes.len();
        input.consume(zeros);
        if !all || zeros == 0 {
            return Ok(());
        }
    }
}

/// What a decoder gives, up to a limit: headers and zero bytes are counted by nobody else.
struct Counted<'a> {
    decoder: &'a mut dyn Read,
    left: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.decoder.read(buffer)?;
        self.left = self
            .left
            .checked_sub(got as u64)
            .ok_or_else(|| io::Error::other("too large: it decompresses to more than an initramfs can be"))?;
        Ok(got)
    }
}
