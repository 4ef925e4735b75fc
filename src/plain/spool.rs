//! A copy of standard input that can be read at any place: in a temporary file that has no name, encrypted with a key
//! that only this process has. So whatever ends the run, no plaintext byte stays anywhere. A flattened stream is taken
//! apart on the way.

use super::Error;
use super::foreign::goes_on;
use super::records::{Record, Records, parse_head};
use crate::crypt::stream::{RandomAccess, encrypted_len};
use crate::crypt::{EncryptWriter, Entropy, PayloadKey};
use crate::kdump::{FLAT_FIELDS_LEN, FLAT_HEADER_LEN, is_flattened};
use crate::read_at::{ReadAt, read_full};
use crate::vmcore::PhysSource;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

/// Bytes copied at a time.
const PIECE: usize = 1 << 20;

/// The copy.
pub(super) struct Spool {
    content: RandomAccess<File>,
    len: u64,
}

impl ReadAt for Spool {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.content.read_at(out, offset)
    }
}

impl PhysSource for Spool {
    fn len(&self) -> u64 {
        self.len
    }
}

/// Copies `input`, and lists its flattened records; one for all of it where it is not flattened.
pub(super) fn copy(input: &mut dyn Read, entropy: &mut Entropy<'_>) -> Result<(Spool, Records), Error> {
    let (write_key, read_key) = PayloadKey::ephemeral(entropy)?;
    let file = temporary(&std::env::temp_dir()).map_err(Error::Spool)?;
    let writer = file.try_clone().map_err(Error::Spool)?;
    let mut copy = Copy {
        input,
        out: EncryptWriter::new(BufWriter::with_capacity(PIECE, writer), write_key),
        taken: 0,
        written: 0,
        piece: vec![0; PIECE],
    };
    let records = copy.all()?;
    let len = copy.written;
    copy.out.finish().map_err(Error::Spool)?;
    let content = RandomAccess::new(file, 0, encrypted_len(len), read_key).map_err(Error::Spool)?;
    Ok((Spool { content, len }, records))
}

/// The copying.
struct Copy<'a> {
    input: &'a mut dyn Read,
    out: EncryptWriter<BufWriter<File>>,
    /// Bytes of the input, so far.
    taken: u64,
    /// Bytes of the copy.
    written: u64,
    piece: Vec<u8>,
}

impl Copy<'_> {
    fn all(&mut self) -> Result<Records, Error> {
        let mut start = vec![0; FLAT_HEADER_LEN];
        let have = self.read(&mut start)?;
        if is_flattened(&start[..have]) {
            let foreign = start[FLAT_FIELDS_LEN..].iter().position(|&byte| byte != 0);
            let foreign = foreign.map(|at| (FLAT_FIELDS_LEN + at) as u64);
            return self.records(Records::new(foreign));
        }
        self.put(&start[..have])?;
        self.data(u64::MAX)?;
        Ok(Records::whole(self.written))
    }

    fn records(&mut self, mut records: Records) -> Result<Records, Error> {
        loop {
            let mut head = [0; 16];
            if self.read(&mut head)? < head.len() {
                return Ok(records);
            }
            let Some((offset, len)) = parse_head(head)? else {
                records.is_whole = true;
                let goes_on = goes_on(self.input).map_err(Error::Read)?;
                records.foreign = records.foreign.or(goes_on.then_some(self.taken));
                return Ok(records);
            };
            let at = self.written;
            let there = self.data(len)?;
            records.push(Record { offset, len: there, at })?;
            if there < len {
                return Ok(records);
            }
        }
    }

    /// Copies at most `len` bytes; less only at the end.
    fn data(&mut self, len: u64) -> Result<u64, Error> {
        let mut left = len;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let mut piece = std::mem::take(&mut self.piece);
            let have = self.read(&mut piece[..want])?;
            self.put(&piece[..have])?;
            self.piece = piece;
            left -= have as u64;
            if have < want {
                break;
            }
        }
        Ok(len - left)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes).map_err(Error::Spool)
    }

    fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let have = read_full(self.input, out).map_err(Error::Read)?;
        self.taken += have as u64;
        Ok(have)
    }
}

/// A file without a name in `directory`, mode 0600.
fn temporary(directory: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    match openat(CWD, directory, flags | OFlags::TMPFILE, mode) {
        Ok(file) => return Ok(file.into()),
        // File systems without such files, and kernels before v3.11.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let name = directory.join(format!(".vmcore-encrypt-{:016x}", u64::from_le_bytes(random)));
    let file = openat(CWD, &name, flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW, mode)?;
    unlinkat(CWD, &name, AtFlags::empty())?;
    Ok(file.into())
}
