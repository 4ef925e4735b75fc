//! Streams of other collectors: makedumpfile's flattened stream, plain or in zstd, that was encrypted
//! with age (`makedumpfile -F ... | age`). It is passed on, or rearranged into the file it describes.

use super::{Error, Output};
use crate::blocks::{FRAME_MAGIC, Tail, is_ours};
use crate::kdump::{END_RECORD, FLAT_HEADER_LEN, is_flattened, parse_record_head};
use crate::sink::OutputFile;
use std::io::{self, BufRead, BufReader, Read, Write};

/// Data are copied in pieces of this size.
const PIECE: usize = 1 << 20;
/// The largest window that zstd may ask for: 128 MiB, what `zstd -d --long` takes.
const WINDOW_LOG: u32 = 27;

/// Whether a decrypted stream that starts with these bytes is another collector's: a flattened stream, or zstd frames
/// among which none of ours is.
pub(super) fn is_foreign(start: &[u8]) -> bool {
    is_flattened(start) || (start.starts_with(&FRAME_MAGIC.to_le_bytes()) && !is_ours(start))
}

/// Restores another collector's stream; it is read to its end, so all of it is authenticated.
pub(super) fn restore(plain: impl Read, output: Output<'_>) -> Result<(), Error> {
    let mut end = End { inner: plain, last: [0; Tail::TRAILER_LEN] };
    restore_any(&mut end, output)?;
    match Tail::locate(end.last) {
        Some(_) => Err(Error::malformed("its head is not its first frame")),
        None => Ok(()),
    }
}

fn restore_any(plain: impl Read, output: Output<'_>) -> Result<(), Error> {
    let mut plain = BufReader::with_capacity(PIECE, plain);
    if plain.fill_buf().map_err(Error::read)?.starts_with(&FRAME_MAGIC.to_le_bytes()) {
        let mut content = zstd::Decoder::with_buffer(plain).map_err(Error::read)?;
        content.window_log_max(WINDOW_LOG).map_err(Error::read)?;
        return flattened(&mut BufReader::with_capacity(PIECE, content), output);
    }
    flattened(&mut plain, output)
}

/// Remembers the last bytes that were read: those of a dump of ours are known.
struct End<R> {
    inner: R,
    last: [u8; Tail::TRAILER_LEN],
}

impl<R: Read> Read for End<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        let new = &out[read.saturating_sub(self.last.len())..read];
        self.last.rotate_left(new.len());
        let kept = self.last.len() - new.len();
        self.last[kept..].copy_from_slice(new);
        Ok(read)
    }
}

fn flattened(stream: &mut dyn BufRead, output: Output<'_>) -> Result<(), Error> {
    if !is_flattened(stream.fill_buf().map_err(Error::read)?) {
        return Err(Error::NotADump);
    }
    match output {
        Output::Kdump(file, _) => rearrange(stream, &mut Place::File(file)),
        Output::Elf(file) => {
            rearrange(stream, &mut Place::File(file))?;
            must_be_elf(file)
        }
        Output::Flattened(out) => rearrange(stream, &mut Place::Stream(out)),
        Output::Nothing => rearrange(stream, &mut Place::Nowhere),
    }
}

fn must_be_elf(file: &OutputFile) -> Result<(), Error> {
    let mut magic = [0; 4];
    std::os::unix::fs::FileExt::read_exact_at(file.file(), &mut magic, 0)?;
    if &magic == goblin::elf::header::ELFMAG {
        Ok(())
    } else {
        Err(Error::malformed("it describes a kdump file, which only --format kdump restores"))
    }
}

/// Where bytes of the stream go.
enum Place<'a> {
    /// Data to the place that their record names.
    File(&'a OutputFile),
    /// All bytes one after the other.
    Stream(&'a mut (dyn Write + Send)),
    Nowhere,
}

impl Place<'_> {
    /// Takes framing: the header, the heads of records.
    fn framing(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Place::Stream(out) = self {
            out.write_all(bytes)?;
        }
        Ok(())
    }

    fn data(&mut self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        match self {
            Place::File(file) => file.write_at(bytes, offset)?,
            Place::Stream(out) => out.write_all(bytes)?,
            Place::Nowhere => {}
        }
        Ok(())
    }
}

/// Reads record by record. Records may overlap: makedumpfile writes its header twice.
fn rearrange(stream: &mut dyn BufRead, place: &mut Place<'_>) -> Result<(), Error> {
    let mut header = vec![0; FLAT_HEADER_LEN];
    read_exact(stream, &mut header)?;
    place.framing(&header)?;
    let mut head = END_RECORD;
    loop {
        read_exact(stream, &mut head)?;
        place.framing(&head)?;
        if head == END_RECORD {
            return rest(stream, place);
        }
        let (mut offset, mut left) = parse_record_head(head)
            .map_err(|_| Error::malformed("a flattened record is outside of any file"))?;
        while left > 0 {
            let bytes = stream.fill_buf().map_err(Error::read)?;
            let take = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if take == 0 {
                return Err(Error::malformed("a flattened record is cut"));
            }
            place.data(&bytes[..take], offset)?;
            stream.consume(take);
            offset += take as u64;
            left -= take as u64;
        }
    }
}

fn read_exact(stream: &mut dyn BufRead, bytes: &mut [u8]) -> Result<(), Error> {
    stream.read_exact(bytes).map_err(|error| match error.kind() {
        // The payload's own error for a missing end has a cause inside; this is the stream's.
        io::ErrorKind::UnexpectedEof if error.get_ref().is_none() => {
            Error::malformed("the flattened stream has no end record")
        }
        _ => Error::read(error),
    })
}

/// What follows the end record belongs to no file, but must be authentic.
fn rest(stream: &mut dyn BufRead, place: &mut Place<'_>) -> Result<(), Error> {
    loop {
        let bytes = stream.fill_buf().map_err(Error::read)?;
        let len = bytes.len();
        if len == 0 {
            break;
        }
        place.framing(bytes)?;
        stream.consume(len);
    }
    if let Place::Stream(out) = place {
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kdump::{flat_header, record_head};

    fn stream(records: &[(u64, &[u8])]) -> Vec<u8> {
        let mut bytes = flat_header();
        for (offset, data) in records {
            bytes.extend_from_slice(&record_head(*offset, data.len() as u64));
            bytes.extend_from_slice(data);
        }
        bytes.extend_from_slice(&END_RECORD);
        bytes
    }

    fn rearranged(bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let file = OutputFile::create_hidden(&path, false).unwrap();
        restore(bytes, Output::Kdump(&file, crate::compress::Codec::None))?;
        file.finish().unwrap();
        Ok(std::fs::read(path).unwrap())
    }

    #[test]
    fn records_go_to_their_places_plain_or_in_zstd() {
        let bytes = stream(&[(4, b"abc"), (0, b"KD"), (4, b"x")]);
        assert_eq!(rearranged(&bytes).unwrap(), b"KD\0\0xbc");
        assert_eq!(rearranged(&zstd::encode_all(&bytes[..], 1).unwrap()).unwrap(), b"KD\0\0xbc");
    }

    #[test]
    fn a_stream_is_passed_on_byte_for_byte() {
        let bytes = stream(&[(4, b"abc")]);
        let mut out = Vec::new();
        restore(&bytes[..], Output::Flattened(&mut out)).unwrap();
        assert_eq!(out, bytes);
    }

    #[test]
    fn broken_streams_are_refused() {
        let bytes = stream(&[(4, b"abc")]);
        for cut in [20, 4096, 4100, 4113, bytes.len() - 1] {
            assert!(rearranged(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(rearranged(&stream(&[(1 << 63, b"abc")])).is_err());
        assert!(matches!(rearranged(&zstd::encode_all(&b"a log"[..], 1).unwrap()), Err(Error::NotADump)));
    }
}
