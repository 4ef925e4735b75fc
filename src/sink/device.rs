//! A partition without a file system as the output: probed before it is written, filled from its beginning, made to
//! last at the end; and as the place where the next boot finds the dump. A plain file serves as well; it is never made
//! longer.

use super::lenient::Lenient;
use crate::crypt::stream::ReadAt;
use crate::raw::{
    self, Found, FrameHeader, FramedAt, HEAD_PROBE, HEADER_LEN, Occupant, Search, TAIL_PROBE, capacity,
};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// What every disk writes whole or not at all, whenever the power fails.
const SECTOR: usize = 512;

/// Why a device is not written to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
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
pub(crate) struct Device {
    file: File,
    position: u64,
    /// Where the room for the frame ends.
    end: u64,
    /// The copy of the header that is still to be written, and its place.
    copy: Option<(u64, Vec<u8>)>,
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
    pub(crate) fn open(path: &Path, allowed: Option<&str>) -> Result<Device, DeviceError> {
        let (file, size) = open(path)?;
        let saved = match saved_by_older_dump(&file, size) {
            Some(saved) => saved,
            None => match look(&file, size)? {
                Occupant::Foreign(name) if allowed != Some(name) => return Err(DeviceError::Occupied(name)),
                Occupant::Nothing | Occupant::Foreign(_) | Occupant::Frame => Vec::new(),
                Occupant::Swap(end) => {
                    let mut page = vec![0; end];
                    file.read_exact_at(&mut page, 0)?;
                    page
                }
            },
        };
        Ok(Device { file, position: 0, end: size, copy: None, size, saved })
    }

    /// Keeps the device's end free for a copy of the header, where it has room for one; the first write writes it.
    /// Gives the most bytes that a dump may then have.
    pub(crate) fn keep_copy(&mut self, header: &FrameHeader) -> u64 {
        self.copy = header.copy();
        self.end = header.records_end().min(self.size);
        capacity(self.end, header.saved.len())
    }

    /// The copy only helps where the header gets damaged: that it cannot be written is no reason to fail. Flushed by
    /// itself, so that an error there does not count for the dump.
    fn write_copy(&mut self) {
        if let Some((place, copy)) = self.copy.take()
            && self.file.write_all_at(&copy, place).is_ok()
        {
            let _ = self.file.sync_data();
        }
    }

    /// Makes what was written last.
    ///
    /// # Errors
    /// From the kernel.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl Write for Device {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_copy();
        let room = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
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
pub(crate) struct FoundDump {
    size: u64,
    frame: FramedAt<Lenient<File>>,
}

impl FoundDump {
    /// Opens a device and the dump on it; `None` when there is none. Only for a dump the device is taken from others:
    /// without one it may be swap by now, or become it while this runs.
    ///
    /// # Errors
    /// See [`DeviceError`]; a damaged header that cannot be made good and a newer format are errors too.
    pub(crate) fn open(path: &Path) -> Result<Option<FoundDump>, DeviceError> {
        is_block_device(path)?;
        let mut file = File::open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        if search(&file, size)?.is_none() {
            if was_freed(&file, size) {
                forget_copy(path)?;
            }
            return Ok(None);
        }
        let (file, size) = open(path)?;
        let Some(found) = search(&file, size)? else { return Ok(None) };
        Ok(Some(FoundDump { size, frame: FramedAt::of(Lenient::new(file), size, found) }))
    }

    /// The dump.
    #[must_use]
    pub(crate) fn frame(&self) -> &FramedAt<Lenient<File>> {
        &self.frame
    }

    /// How many bytes could not be read since this was asked last.
    pub(crate) fn take_unreadable(&self) -> u64 {
        self.frame.inner().take_unreadable()
    }

    /// Whether it is known what was at the device's beginning before.
    #[must_use]
    pub(crate) fn knows_beginning(&self) -> bool {
        let found = self.frame.found();
        found.is_saved_sound || raw::is_swap_page(&found.header.saved)
    }

    /// Puts back what was at the device's beginning before the dump, zeros where that is unknown, so
    /// that no dump is found there again. At each step either the header with what it saved, or the copy at the
    /// device's end, or the former beginning is whole on the disk; a write that the power cuts short leaves some
    /// sectors new and some old. So the sector that makes the header goes by itself, after all of the first block's
    /// others; the saved bytes go after that, and the copy last.
    ///
    /// # Errors
    /// From the kernel.
    pub(crate) fn wipe(self) -> io::Result<()> {
        let saved_len = self.frame.header().saved.len();
        let mut beginning = vec![0; HEADER_LEN + saved_len];
        if self.knows_beginning() {
            beginning[..saved_len].copy_from_slice(&self.frame.header().saved);
        }
        let file = self.frame.inner().inner();
        // A page of more than one block goes over where it was saved itself; then the copy keeps it meanwhile.
        let overlaps = saved_len > HEADER_LEN;
        if overlaps {
            self.write_missing_copy()?;
        }
        let (first, rest) = beginning.split_at(SECTOR);
        let (block, after) = rest.split_at(if overlaps { rest.len() } else { HEADER_LEN - SECTOR });
        for (bytes, place) in [(block, SECTOR), (first, 0), (after, HEADER_LEN)] {
            if !bytes.is_empty() {
                file.write_all_at(bytes, place as u64)?;
                file.sync_all()?;
            }
        }
        erase_copy(file, self.size)
    }

    /// For a frame that has no copy of its header: writes one after the dump, where there is room.
    fn write_missing_copy(&self) -> io::Result<()> {
        let file = self.frame.inner().inner();
        let header = FrameHeader { device_size: self.size, ..self.frame.header().clone() };
        if raw::copy(file, self.size).is_some_and(|copy| copy.id == header.id) {
            return Ok(());
        }
        let dump_end = header.records_start() + (self.frame.records() + 1) * raw::RECORD_LEN as u64;
        match header.copy().filter(|(place, _)| *place >= dump_end) {
            Some((place, copy)) => file.write_all_at(&copy, place).and_then(|()| file.sync_all()),
            None => Ok(()),
        }
    }
}

/// The frame on a device that nobody named as a dump.
fn search(file: &File, size: u64) -> Result<Option<Found>, DeviceError> {
    match Found::search(&file, size, Search::Unasked) {
        Ok(found) => Ok(Some(found)),
        Err(raw::Error::NoFrame) => Ok(None),
        Err(raw::Error::Read(error)) => Err(error.into()),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error).into()),
    }
}

/// Whether a dump was freed here and only the copy of its header is left, as a power cut leaves it.
fn was_freed(file: &File, size: u64) -> bool {
    let Some(copy) = raw::copy(&file, size).filter(|copy| !copy.saved.is_empty()) else { return false };
    let mut beginning = vec![0; copy.saved.len()];
    file.read_exact_at(&mut beginning, 0).is_ok() && beginning == copy.saved
}

/// Erases the copy that was left. Where that cannot be, because somebody uses the device by now, it does no harm.
fn forget_copy(path: &Path) -> Result<(), DeviceError> {
    match open(path) {
        Ok((file, size)) if was_freed(&file, size) => Ok(erase_copy(&file, size)?),
        Ok(_) => Ok(()),
        Err(_) => Ok(()),
    }
}

/// Erases the copy of a header at the device's end, where there is one.
fn erase_copy(file: &File, size: u64) -> io::Result<()> {
    let Some(place) = (FrameHeader { id: [0; 16], device_size: size, saved: Vec::new() }).copy_place() else {
        return Ok(());
    };
    let mut block = [0; HEADER_LEN];
    let read = ReadAt::read_at(file, &mut block, place);
    if !matches!(read, Ok(HEADER_LEN)) || !FrameHeader::is_near(&block) {
        return Ok(());
    }
    file.write_all_at(&[0; HEADER_LEN], place)?;
    file.sync_all()
}

/// Opens a block device or a file, for nobody else to use meanwhile; gives its size.
fn open(path: &Path) -> Result<(File, u64), DeviceError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let is_block_device = is_block_device(path)?;
    if is_block_device {
        // Linux `block/bdev.c`: O_EXCL without O_CREAT fails with EBUSY while a file system, swap or
        // device-mapper holds the device.
        options.custom_flags(OFlags::EXCL.bits().cast_signed());
    }
    let mut file = options.open(path)?;
    if !is_block_device {
        super::lock(&file)?;
    }
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    Ok((file, size))
}

/// Whether it is one; else it is a file.
fn is_block_device(path: &Path) -> Result<bool, DeviceError> {
    let kind = path.metadata()?.file_type();
    if kind.is_block_device() || kind.is_file() {
        Ok(kind.is_block_device())
    } else {
        Err(DeviceError::NotADevice)
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

/// A second crash before the first dump was collected: what that one kept is kept on. Asked before anything else:
/// where the header is damaged, the page that it saved looks like swap space with larger pages. `None` without a dump.
fn saved_by_older_dump(file: &File, size: u64) -> Option<Vec<u8>> {
    let older = Found::search(&file, size, Search::Unasked).ok()?;
    let is_known = older.is_saved_sound || raw::is_swap_page(&older.header.saved);
    Some(if is_known { older.header.saved } else { Vec::new() })
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
        let mut device = Device::open(path, None).unwrap();
        let header = FrameHeader { id: [id; 16], device_size: device.size, saved: device.saved.clone() };
        assert!(device.keep_copy(&header) >= data.len() as u64);
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
        let dump = FoundDump::open(&path).unwrap().unwrap();
        let mut data = Vec::new();
        dump.frame().read_record(0, &mut data).unwrap();
        assert_eq!(data, [2; 1000]);
        assert_eq!(dump.frame().end(), raw::End::Whole);
        dump.wipe().unwrap();
        assert_eq!(fs::read(&path).unwrap()[..4096], before[..4096]);
        assert_eq!(fs::read(&path).unwrap().len(), SIZE);
        assert!(FoundDump::open(&path).unwrap().is_none());
        assert_eq!(Device::open(&path, None).unwrap().saved.len(), 4096);
    }

    #[test]
    fn the_beginning_comes_back_though_the_header_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        for page in [4096, 65536] {
            let path = device(&directory, page - 10, b"SWAPSPACE2");
            let before = fs::read(&path).unwrap();
            save(&path, 1, &[1; 600_000]);
            let good = fs::read(&path).unwrap();
            for damage in [0..1, 24..40, 48..49, 64..65, 0..4096, 4096..4097] {
                let mut damaged = good.clone();
                damaged[damage.clone()].iter_mut().for_each(|byte| *byte ^= 0x11);
                fs::write(&path, damaged).unwrap();
                // A second crash keeps what the first kept.
                assert!(Device::open(&path, None).unwrap().saved == before[..page], "{damage:?}");
                FoundDump::open(&path).unwrap().unwrap().wipe().unwrap();
                let after = fs::read(&path).unwrap();
                assert!(after[..page] == before[..page], "{page}, {damage:?}");
                assert!(after[SIZE - 4096..].iter().all(|&byte| byte == 0));
                assert!(FoundDump::open(&path).unwrap().is_none());
            }
        }
    }

    #[test]
    fn a_copy_that_a_power_cut_left_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = device(&directory, 4086, b"SWAPSPACE2");
        let before = fs::read(&path).unwrap();
        save(&path, 1, &[1; 1000]);
        let mut cut = fs::read(&path).unwrap();
        cut[..4096].copy_from_slice(&before[..4096]);
        fs::write(&path, cut).unwrap();
        assert!(FoundDump::open(&path).unwrap().is_none());
        assert!(raw::copy(&File::open(&path).unwrap(), SIZE as u64).is_none());
        assert!(fs::read(&path).unwrap()[..4096] == before[..4096]);
    }

    #[test]
    fn a_file_has_one_user() {
        let directory = tempfile::tempdir().unwrap();
        let path = device(&directory, 0, b"");
        let first = Device::open(&path, None).unwrap();
        let is_busy = |error: Option<DeviceError>| matches!(error, Some(DeviceError::Io(_)));
        assert!(is_busy(Device::open(&path, None).err()));
        drop(first);
        save(&path, 1, &[1; 1000]);
        let _first = FoundDump::open(&path).unwrap().unwrap();
        assert!(is_busy(FoundDump::open(&path).err()));
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
