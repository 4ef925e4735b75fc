//! Records of a crash as one text: parts of one log joined in order.
//!
//! The kernel writes the end of the log first, so part 1 is the newest text and the highest part the oldest. Every part
//! begins with a line `REASON#COUNT PartN`. Source: Linux `fs/pstore/platform.c`, `pstore_dump` (v6.18). A record that the
//! kernel could not decompress has a name that ends in `.enc.z` (`fs/pstore/inode.c`, `pstore_mkfile`): raw deflate since
//! v6.6, a zlib stream before.

use crate::text::{printable, rfc3339, write_shown};
use flate2::read::{DeflateDecoder, ZlibDecoder};
use std::io::{self, Read, Write};
use std::time::{Duration, UNIX_EPOCH};

/// Bytes at the beginning of an archive that tell what it is.
pub(crate) const BLOCK: usize = 512;
/// Where a tar header has its magic. Source: POSIX pax, "ustar Interchange Format".
const MAGIC_AT: usize = 257;
/// The most bytes of records that are taken into memory, compressed or not.
const MAX_ALL: u64 = 64 << 20;
/// What the kernel puts after the name of a record that is still compressed.
const COMPRESSED: &str = ".enc.z";

/// Whether `start`, the first [`BLOCK`] bytes of a text, is the beginning of an archive of records.
#[must_use]
pub(crate) fn is_archive(start: &[u8]) -> bool {
    start.get(MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar"))
}

/// Prints the records of an archive, oldest first, each log as one text; bytes that are not text are escaped.
///
/// # Errors
/// The archive cannot be read, is no archive, or has more than 64 MiB of records; or `out` takes no more.
pub(crate) fn print(archive: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let mut records = read(archive)?;
    // Stable: within one second the parts are in the order of their numbers.
    records.sort_by(|a, b| (a.time, &a.backend, a.part).cmp(&(b.time, &b.backend, b.part)));
    let mut rest = records.as_slice();
    while let Some(first) = rest.first() {
        let parts = rest.windows(2).take_while(|pair| pair[1].continues(&pair[0])).count() + 1;
        let (log, later) = rest.split_at(parts);
        print_log(first, log, out)?;
        rest = later;
    }
    Ok(())
}

struct Record {
    name: String,
    /// The name up to its number: type and backend.
    backend: String,
    time: u64,
    /// Reason and count, as in `Panic#1`, and the number of the part.
    heading: Option<String>,
    part: u64,
    text: Vec<u8>,
    /// Whether it is compressed in a form that is not known.
    is_packed: bool,
}

impl Record {
    /// Whether this is a later part of the log that `before` is a part of. Their times may differ: the kernel takes the
    /// time of each part when it writes that.
    fn continues(&self, before: &Record) -> bool {
        self.heading.is_some()
            && (&self.heading, &self.backend) == (&before.heading, &before.backend)
            && self.part > before.part
    }
}

fn read(archive: &mut dyn Read) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut room = MAX_ALL;
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let time = entry.header().mtime().unwrap_or(0);
        let mut bytes = Vec::new();
        entry.by_ref().take(room.saturating_add(1)).read_to_end(&mut bytes)?;
        let record = record(name, time, bytes, room);
        let size = record.text.len() as u64;
        room =
            room.checked_sub(size).ok_or_else(|| io::Error::other("its records are larger than 64 MiB"))?;
        records.push(record);
    }
    Ok(records)
}

fn record(name: String, time: u64, bytes: Vec<u8>, room: u64) -> Record {
    let unpacked = name.ends_with(COMPRESSED).then(|| unpack(&bytes, room));
    let is_packed = matches!(unpacked, Some(None));
    let text = unpacked.flatten().unwrap_or(bytes);
    let backend = name.trim_end_matches(COMPRESSED).rsplit_once('-').map_or("", |(backend, _)| backend);
    let (heading, part, text) = match heading(&text).filter(|_| !is_packed) {
        Some((heading, part, after)) => (Some(heading), part, text[after..].to_vec()),
        None => (None, 0, text),
    };
    Record { backend: backend.to_owned(), name, time, heading, part, text, is_packed }
}

/// What a record holds that the kernel left compressed.
fn unpack(bytes: &[u8], room: u64) -> Option<Vec<u8>> {
    let read = |reader: &mut dyn Read| {
        let mut text = Vec::new();
        reader.take(room.saturating_add(1)).read_to_end(&mut text).ok().map(|_| text)
    };
    read(&mut ZlibDecoder::new(bytes)).or_else(|| read(&mut DeflateDecoder::new(bytes)))
}

/// The first line of a part of a log: reason with count, the number of the part, and where the text begins.
fn heading(text: &[u8]) -> Option<(String, u64, usize)> {
    let end = text.iter().take(80).position(|&byte| byte == b'\n')?;
    let line = std::str::from_utf8(&text[..end]).ok()?;
    let (heading, part) = line.rsplit_once(" Part")?;
    let (_, count) = heading.rsplit_once('#')?;
    count.parse::<u64>().ok()?;
    Some((heading.to_owned(), part.parse().ok()?, end + 1))
}

/// Prints the parts of one log, the oldest text first, and names those that are missing.
fn print_log(first: &Record, log: &[Record], out: &mut dyn Write) -> io::Result<()> {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(first.time)).and_then(rfc3339);
    let time = time.unwrap_or_else(|| "unknown time".to_owned());
    let what = match &first.heading {
        Some(heading) => format!("{}, {}", printable(&first.backend), printable(heading)),
        None => printable(&first.name),
    };
    writeln!(out, "-- {what}, {time} --")?;
    let mut expected = log.last().map_or(0, |last| last.part);
    for record in log.iter().rev() {
        if record.part < expected {
            writeln!(out, "-- parts {} to {expected} are missing --", record.part + 1)?;
        }
        expected = record.part.saturating_sub(1);
        if record.is_packed {
            writeln!(
                out,
                "-- compressed in a form that is not known: age -d | zstd -d | tar x takes it out --"
            )?;
            continue;
        }
        write_shown(&record.text, out)?;
        if record.text.last().is_some_and(|&byte| byte != b'\n') {
            writeln!(out)?;
        }
    }
    if first.heading.is_some() && first.part > 1 {
        writeln!(out, "-- parts 1 to {} are missing --", first.part - 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, ZlibEncoder};

    fn archive(records: &[(&str, u64, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, time, bytes) in records {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mtime(*time);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn printed(records: &[(&str, u64, &[u8])]) -> String {
        let (archive, mut out) = (archive(records), Vec::new());
        assert!(is_archive(&archive[..BLOCK]));
        print(&mut archive.as_slice(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parts_are_joined_oldest_text_first_and_logs_stay_apart() {
        let text = printed(&[
            ("dmesg-efi_pstore-170000000002001", 1_700_000_000, b"Panic#1 Part2\nold\n"),
            ("dmesg-efi_pstore-170000000101001", 1_700_000_001, b"Panic#1 Part3\noldest\n"),
            ("dmesg-efi_pstore-170000000001001", 1_700_000_000, b"Panic#1 Part1\nnew"),
            ("dmesg-efi_pstore-160000000001001", 1_600_000_000, b"Panic#1 Part1\nlast year\n"),
            ("console-ramoops-0", 1_700_000_009, b"hello\n"),
        ]);
        assert_eq!(
            text,
            "-- dmesg-efi_pstore, Panic#1, 2020-09-13T12:26:40Z --\nlast year\n\
             -- dmesg-efi_pstore, Panic#1, 2023-11-14T22:13:20Z --\noldest\nold\nnew\n\
             -- console-ramoops-0, 2023-11-14T22:13:29Z --\nhello\n"
        );
    }

    #[test]
    fn missing_parts_are_named() {
        let text = printed(&[
            ("dmesg-erst-7", 5, b"Oops#12 Part2\nb\n"),
            ("dmesg-erst-9", 5, b"Oops#12 Part5\na\n"),
        ]);
        assert_eq!(
            text,
            "-- dmesg-erst, Oops#12, 1970-01-01T00:00:05Z --\na\n-- parts 3 to 4 are missing --\nb\n\
             -- parts 1 to 1 are missing --\n"
        );
    }

    #[test]
    fn compressed_records_are_unpacked_or_named() {
        let (mut raw, mut zlib) = (
            DeflateEncoder::new(Vec::new(), Compression::default()),
            ZlibEncoder::new(Vec::new(), Compression::default()),
        );
        raw.write_all(b"Panic#1 Part1\nnew\n").unwrap();
        zlib.write_all(b"Panic#1 Part2\nold\n").unwrap();
        let (raw, zlib) = (raw.finish().unwrap(), zlib.finish().unwrap());
        let text = printed(&[
            ("dmesg-efi_pstore-1.enc.z", 1, &raw),
            ("dmesg-efi_pstore-2.enc.z", 1, &zlib),
            ("dmesg-efi_pstore-3.enc.z", 2, b"\xff\xffnothing that is known"),
        ]);
        assert!(
            text.starts_with("-- dmesg-efi_pstore, Panic#1, 1970-01-01T00:00:01Z --\nold\nnew\n"),
            "{text}"
        );
        assert!(text.contains("dmesg-efi_pstore-3.enc.z") && text.contains("not known"), "{text}");
    }

    #[test]
    fn hostile_records_control_nothing() {
        let text = printed(&[
            ("dmesg-\u{1b}[2J-1", 0, b"Panic#1 Part1\n\x1b]0;x\x07\xff\n"),
            ("x", u64::from(u32::MAX), b"Panic#99999999999999999999 Part1\n"),
            ("y", 3, b"Panic#1 Part18446744073709551615\nz\n"),
        ]);
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{text:?}");
        let mut bomb = ZlibEncoder::new(Vec::new(), Compression::best());
        io::copy(&mut io::repeat(b'x').take(MAX_ALL + 1), &mut bomb).unwrap();
        let bytes = archive(&[("dmesg-efi_pstore-1.enc.z", 0, &bomb.finish().unwrap())]);
        assert!(print(&mut bytes.as_slice(), &mut io::sink()).is_err());
        assert!(print(&mut &bytes[..BLOCK + 3], &mut io::sink()).is_err());
    }
}
