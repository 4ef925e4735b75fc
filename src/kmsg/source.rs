//! Where records come from: the device, which gives one record per read, or a file of such records.

use super::record::MAX_RECORD;
use std::io::{self, BufRead, Read};

/// Records in the kernel's form, one after the other.
pub trait RecordSource {
    /// Puts the next record into `record`; false at the end.
    ///
    /// # Errors
    /// What reading gives; `InvalidData` for a record longer than any of the kernel's.
    fn next(&mut self, record: &mut Vec<u8>) -> io::Result<bool>;
}

/// `/dev/kmsg`, opened for reading from the oldest record. When it was opened to follow the log its reads wait for
/// more, otherwise (`O_NONBLOCK`) they end.
pub struct Device<R> {
    device: R,
}

impl<R: Read> Device<R> {
    /// Reads from a device, or what acts like one.
    pub fn new(device: R) -> Device<R> {
        Device { device }
    }
}

impl<R: Read> RecordSource for Device<R> {
    fn next(&mut self, record: &mut Vec<u8>) -> io::Result<bool> {
        record.resize(MAX_RECORD, 0);
        loop {
            match self.device.read(record) {
                Ok(length) => {
                    record.truncate(length);
                    return Ok(length > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                // EPIPE: records were overwritten before they were read; the next read gives the oldest there is,
                // and its number tells how many are gone (Linux `kernel/printk/printk.c`, `devkmsg_read`).
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A file that holds what reads of `/dev/kmsg` gave, one after the other.
pub struct Lines<R> {
    file: R,
}

impl<R: BufRead> Lines<R> {
    /// Reads from a file.
    pub fn new(file: R) -> Lines<R> {
        Lines { file }
    }

    fn line(&mut self, record: &mut Vec<u8>) -> io::Result<()> {
        let room = (MAX_RECORD + 1).saturating_sub(record.len());
        (&mut self.file).take(room as u64).read_until(b'\n', record)?;
        if record.len() > MAX_RECORD {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a record longer than {MAX_RECORD} bytes"),
            ))
        } else {
            Ok(())
        }
    }
}

impl<R: BufRead> RecordSource for Lines<R> {
    fn next(&mut self, record: &mut Vec<u8>) -> io::Result<bool> {
        record.clear();
        self.line(record)?;
        // Lines of the dictionary begin with a space and belong to the record before them.
        while record.ends_with(b"\n") && self.file.fill_buf()?.first() == Some(&b' ') {
            self.line(record)?;
        }
        Ok(!record.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut source: impl RecordSource) -> Vec<String> {
        let mut record = Vec::new();
        let mut records = Vec::new();
        while source.next(&mut record).unwrap() {
            records.push(String::from_utf8(record.clone()).unwrap());
        }
        records
    }

    /// A device that answers each read with the next of these.
    struct Answers(Vec<io::Result<&'static [u8]>>);

    impl Read for Answers {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let answer = self.0.remove(0)?;
            buf[..answer.len()].copy_from_slice(answer);
            Ok(answer.len())
        }
    }

    #[test]
    fn a_device_gives_a_record_a_read_and_survives_being_overrun() {
        let device = Device::new(Answers(vec![
            Ok(b"6,1,0,-;a\n SUBSYSTEM=x\n"),
            Err(io::ErrorKind::BrokenPipe.into()),
            Err(io::ErrorKind::Interrupted.into()),
            Ok(b"6,9,0,-;b\n"),
            Err(io::ErrorKind::WouldBlock.into()),
        ]));
        assert_eq!(all(device), ["6,1,0,-;a\n SUBSYSTEM=x\n", "6,9,0,-;b\n"]);
        let mut gone = Device::new(Answers(vec![Err(io::ErrorKind::PermissionDenied.into())]));
        assert!(gone.next(&mut Vec::new()).is_err());
    }

    #[test]
    fn a_file_keeps_dictionaries_with_their_records() {
        let file = b"6,1,0,-;a\n SUBSYSTEM=x\n DEVICE=y\n6,2,0,-;b\n6,3,0,-;c";
        assert_eq!(
            all(Lines::new(&file[..])),
            ["6,1,0,-;a\n SUBSYSTEM=x\n DEVICE=y\n", "6,2,0,-;b\n", "6,3,0,-;c"]
        );
        assert!(all(Lines::new(&b""[..])).is_empty());
    }

    #[test]
    fn an_endless_record_is_refused() {
        let endless = Lines::new(io::BufReader::new(io::repeat(b' '))).next(&mut Vec::new());
        assert_eq!(endless.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
