//! A partition without a file system as the output: looked at before it is written, filled from its
//! beginning, made to last at the end. A plain file serves as well; it is never made longer.

use crate::raw::{self, FrameHeader, FrameReader, HEAD_PROBE, Occupant, TAIL_PROBE};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Why a device is not written to.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// It cannot be opened, read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Neither a block device nor a file.
    #[error("not a block device")]
    NotADevice,
    /// It holds something that may be worth keeping.
    #[error("it holds {0}")]
    Occupied(&'static str),
}

/// A device opened for a dump.
pub struct Device {
    file: File,
    position: u64,
    /// Its size in bytes.
    pub size: u64,
    /// What a dump overwrites and the frame must keep: a swap signature with its page.
    pub saved: Vec<u8>,
}

impl Device {
    /// Opens a device to write a dump from its beginning. Nothing is written yet. What it holds may be
    /// overwritten when it is nothing known, swap space, an older dump, or the signature named in
    /// `allowed`.
    ///
    /// # Errors
    /// See [`DeviceError`]; a device that is mounted or otherwise in use is busy.
    pub fn open(path: &Path, allowed: Option<&str>) -> Result<Device, DeviceError> {
        let (file, size) = open(path)?;
        let saved = match look(&file, size)? {
            Occupant::Foreign(name) if allowed != Some(name) => return Err(DeviceError::Occupied(name)),
            Occupant::Nothing | Occupant::Foreign(_) => Vec::new(),
            Occupant::Swap(end) => {
                let mut page = vec![0; end];
                file.read_exact_at(&mut page, 0)?;
                page
            }
            Occupant::Frame => saved_by_older_dump(&file),
        };
        Ok(Device { file, position: 0, size, saved })
    }

    /// Makes what was written last.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl Write for Device {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        let take = bytes.len().min(room);
        if take == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = self.file.write_at(&bytes[..take], self.position)?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A dump found on a device.
pub struct FoundDump {
    file: File,
    /// The dump; reads up to its last good record.
    pub reader: FrameReader<File>,
}

impl FoundDump {
    /// Opens a device and the dump on it; `None` when there is none. Only for a dump the device is taken from others:
    /// without one it may be swap by now, or become it while this runs.
    ///
    /// # Errors
    /// See [`DeviceError`]; a damaged header or a newer format is one too.
    pub fn open(path: &Path) -> Result<Option<FoundDump>, DeviceError> {
        is_block_device(path)?;
        let mut start = Vec::new();
        File::open(path)?.take(raw::HEADER_LEN as u64).read_to_end(&mut start)?;
        if !FrameHeader::is_at(&start) {
            return Ok(None);
        }
        let (file, _) = open(path)?;
        match FrameReader::new(file.try_clone()?) {
            Ok(reader) => Ok(Some(FoundDump { file, reader })),
            Err(raw::Error::NoFrame) => Ok(None),
            Err(raw::Error::Read(error)) => Err(error.into()),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error).into()),
        }
    }

    /// Puts back what was at the device's beginning before the dump, zeros where that is unknown, so
    /// that no dump is found there again. The block with the header is written first, by itself, and is on the
    /// disk before the copy behind it goes: without its copy a header would be a damaged one, and the swap
    /// signature lost.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn wipe(self) -> io::Result<()> {
        let saved = &self.reader.header().saved;
        let mut beginning = vec![0; raw::HEADER_LEN + saved.len()];
        beginning[..saved.len()].copy_from_slice(saved);
        let (header, copy) = beginning.split_at(raw::HEADER_LEN);
        for (bytes, place) in [(header, 0), (copy, raw::HEADER_LEN as u64)] {
            self.file.write_all_at(bytes, place)?;
            self.file.sync_all()?;
        }
        Ok(())
    }
}

/// Opens a block device or a file, for nobody else to use meanwhile; gives its size.
fn open(path: &Path) -> Result<(File, u64), DeviceError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if is_block_device(path)? {
        // Linux `block/bdev.c`: O_EXCL without O_CREAT fails with EBUSY while a file system, swap or
        // device-mapper holds the device.
        options.custom_flags(OFlags::EXCL.bits().cast_signed());
    }
    let mut file = options.open(path)?;
    super::lock(&file)?;
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    Ok((file, size))
}

/// Whether it is one; else it is a file.
fn is_block_device(path: &Path) -> Result<bool, DeviceError> {
    let kind = path.metadata()?.file_type();
    match kind.is_block_device() || kind.is_file() {
        true => Ok(kind.is_block_device()),
        false => Err(DeviceError::NotADevice),
    }
}

fn look(file: &File, size: u64) -> io::Result<Occupant> {
    let read = |at: u64, length: usize| {
        let mut bytes = Vec::new();
        let mut reader = file;
        reader.seek(SeekFrom::Start(at))?;
        reader.take(length as u64).read_to_end(&mut bytes).map(|_| bytes)
    };
    let head = read(0, HEAD_PROBE)?;
    let tail = read(size.saturating_sub(TAIL_PROBE as u64), TAIL_PROBE)?;
    Ok(raw::occupant(&head, &tail, size))
}

/// A second crash before the first dump was collected: what that one kept is kept on. With a damaged
/// header nothing is known.
fn saved_by_older_dump(mut file: &File) -> Vec<u8> {
    let header = file.rewind().map_err(raw::Error::Read).and_then(|()| FrameHeader::read(file));
    header.map(|header| header.saved).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const SIZE: usize = 1 << 20;

    fn device(directory: &tempfile::TempDir, at: usize, content: &[u8]) -> std::path::PathBuf {
        let mut bytes = vec![0xdd; SIZE];
        bytes[at..at + content.len()].copy_from_slice(content);
        let path = directory.path().join("device");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn save(path: &Path, id: u8, data: &[u8]) {
        let device = Device::open(path, None).unwrap();
        let header = FrameHeader { id: [id; 16], device_size: device.size, saved: device.saved.clone() };
        let mut writer = raw::FrameWriter::new(device, &header);
        writer.write_all(data).unwrap();
        writer.finish().unwrap().finish().unwrap();
    }

    #[test]
    fn swap_comes_back_after_two_dumps() {
        let directory = tempfile::tempdir().unwrap();
        let path = device(&directory, 4086, b"SWAPSPACE2");
        let before = fs::read(&path).unwrap();
        save(&path, 1, &[1; 600_000]);
        save(&path, 2, &[2; 1000]);
        let mut dump = FoundDump::open(&path).unwrap().unwrap();
        let mut data = Vec::new();
        dump.reader.read_to_end(&mut data).unwrap();
        assert_eq!(data, [2; 1000]);
        assert_eq!(dump.reader.end(), Some(raw::End::Whole));
        dump.wipe().unwrap();
        assert_eq!(fs::read(&path).unwrap()[..4096], before[..4096]);
        assert_eq!(fs::read(&path).unwrap().len(), SIZE);
        assert!(FoundDump::open(&path).unwrap().is_none());
        assert_eq!(Device::open(&path, None).unwrap().saved.len(), 4096);
    }

    #[test]
    fn what_somebody_keeps_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = device(&directory, 0, b"LUKS\xba\xbe");
        assert!(matches!(Device::open(&path, None), Err(DeviceError::Occupied("crypto_LUKS"))));
        assert!(matches!(Device::open(&path, Some("xfs")), Err(DeviceError::Occupied(_))));
        assert!(Device::open(&path, Some("crypto_LUKS")).is_ok());
        assert!(matches!(Device::open(directory.path(), None), Err(DeviceError::NotADevice)));
        assert!(FoundDump::open(&path).unwrap().is_none());
    }

    #[test]
    fn a_device_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = device(&directory, 0, b"");
        let mut device = Device::open(&path, None).unwrap();
        let error = device.write_all(&vec![0; SIZE + 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::metadata(&path).unwrap().len(), SIZE as u64);
    }
}
