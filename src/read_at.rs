//! Reading by position: files, memory, and whatever else several threads read at the same time; and reading until there is
//! enough. The other rooms know what is read, and how long it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

/// Bytes that can be read at any position.
pub trait ReadAt {
    /// Reads up to `buf.len()` bytes at `offset` bytes from the start; 0 at the end.
    ///
    /// # Errors
    ///
    /// What the operating system reports.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buf, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buf, offset)
    }
}

impl<S: ReadAt + ?Sized> ReadAt for &S {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }
}

impl<S: ReadAt + ?Sized> ReadAt for Arc<S> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }
}

/// Fills `buf` from `offset` on, however many reads that takes.
///
/// # Errors
///
/// `UnexpectedEof` where the source ends before; else as the reads.
pub(crate) fn read_exact_at(source: &(impl ReadAt + ?Sized), buf: &mut [u8], offset: u64) -> io::Result<()> {
    let wanted = buf.len();
    let read = read_full_at(source, buf, offset)?;
    if read < wanted { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Fills `buf` from `offset` on as far as the source has bytes; gives their number.
///
/// # Errors
///
/// As the reads.
pub(crate) fn read_full_at(
    source: &(impl ReadAt + ?Sized),
    buf: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match source.read_at(&mut buf[done..], offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Fills `buffer` as far as the reader has bytes; gives their number.
///
/// # Errors
///
/// As the reads.
pub(crate) fn read_full(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A file or a block device, with the length it had when it was opened.
pub struct FileSource {
    file: File,
    len: u64,
}

impl FileSource {
    /// Takes an open file.
    ///
    /// # Errors
    /// It cannot seek (a pipe), or what the kernel reports.
    pub fn new(mut file: File) -> io::Result<FileSource> {
        let len = file.seek(SeekFrom::End(0))?;
        Ok(FileSource { file, len })
    }

    /// Takes an open file of which `len` bytes count, `u64::MAX` where that is unknown.
    #[must_use]
    pub fn with_len(file: File, len: u64) -> FileSource {
        FileSource { file, len }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file itself.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl ReadAt for FileSource {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Gives what a list holds: bytes at a time, or an error.
    struct Slow(Mutex<Vec<io::Result<usize>>>);

    impl ReadAt for Slow {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let most = self.0.lock().unwrap().pop().unwrap_or(Ok(0))?;
            let len = most.min(buf.len());
            buf[..len].iter_mut().zip(offset..).for_each(|(byte, at)| *byte = at.to_le_bytes()[0]);
            Ok(len)
        }
    }

    fn exact(mut steps: Vec<io::Result<usize>>) -> Result<[u8; 5], io::ErrorKind> {
        steps.reverse();
        let mut buf = [0; 5];
        read_exact_at(&Slow(Mutex::new(steps)), &mut buf, 250).map_err(|error| error.kind())?;
        Ok(buf)
    }

    #[test]
    fn a_read_goes_on_until_it_is_whole() {
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        let whole = [250, 251, 252, 253, 254];
        assert_eq!(exact(vec![Ok(2), interrupted(), Ok(1), Ok(9)]), Ok(whole));
        assert_eq!(exact(vec![Ok(4)]), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(exact(vec![Ok(4), Err(io::ErrorKind::TimedOut.into())]), Err(io::ErrorKind::TimedOut));
    }

    #[test]
    fn memory_ends_where_it_does() {
        let bytes = vec![1, 2, 3];
        let mut buf = [0; 2];
        let mut read = |offset| bytes.read_at(&mut buf, offset).unwrap();
        assert_eq!([0, 1, 2, 3, u64::MAX].map(&mut read), [2, 2, 1, 0, 0]);
    }
}
