//! A dump on its way from a partition into a file: every record in its place, damaged ones as they are; read back and
//! compared before anybody relies on it; under a name that nothing else has.

use super::device::FoundDump;
use super::safe_dir::{Entry, SafeDirectory};
use crate::raw::{Quality, show_id};
use rustix::fs::{Advice, fadvise};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, Write};

/// Bytes compared at a time.
const BUFFER: usize = 1 << 20;
/// How often the room on the file system is looked up while copying: others write there too.
const BETWEEN_LOOKS: u64 = 64 << 20;
/// How many names are tried for a dump.
const NAMES: u32 = 100;

/// What was met while a dump was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that are not what was written; a damaged end record counts too.
    pub damaged: u64,
    /// Records of which only the place is known.
    pub absent: u64,
    /// Bytes that the device could not read, zeros in the copy.
    pub unreadable: u64,
    /// Whether the dump ends without its end record.
    pub is_cut: bool,
}

impl Tally {
    /// Whether the copy is the dump as it was written.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Tally::default()
    }

    /// Whether something between beginning and end is not as it was written.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged > 0 || self.absent > 0 || self.unreadable > 0
    }
}

/// The copy of a dump.
pub struct Collected {
    /// Its file's name.
    pub name: String,
    /// What the dump is like.
    pub tally: Tally,
    /// Whether an earlier run made it.
    pub is_old: bool,
}

/// Copies the dump into `directory`, and leaves `reserve` bytes of the file system free. A file there that equals the
/// dump is taken for the copy.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`] when the reserve would be touched; [`io::ErrorKind::InvalidData`] when what was
/// written reads back as something else; or as the kernel reports. Nothing stays then of the copy.
pub fn collect(dump: &FoundDump, directory: &SafeDirectory, reserve: u64) -> io::Result<Collected> {
    let id = show_id(&dump.frame().header().id);
    if let Some(found) = find_again(dump, directory, &id)? {
        return Ok(found);
    }
    remove_unfinished(directory, &id)?;
    check_room(directory, dump.frame().len(), reserve)?;
    let (file, temporary) = directory.create(&unfinished(&id))?;
    let copied = copy(dump, directory, file, reserve).and_then(|tally| {
        let name = free_name(directory, &id, tally.is_whole())?;
        directory.rename(&temporary, &name)?;
        Ok(Collected { name, tally, is_old: false })
    });
    let collected = copied.inspect_err(|_| {
        // Nothing can be done about a failure here; the error that led here is reported.
        let _ = directory.remove(&temporary);
    })?;
    directory.sync()?;
    Ok(collected)
}

/// How the names of unfinished copies start.
fn unfinished(id: &str) -> String {
    format!("vmcore-{id}.age.copying-")
}

/// The names that a dump may get, best first.
fn names(id: &str, is_whole: bool) -> impl Iterator<Item = String> {
    let end = if is_whole { ".age" } else { "-incomplete.age" };
    (1..=NAMES).map(move |number| match number {
        1 => format!("vmcore-{id}{end}"),
        number => format!("vmcore-{id}-{number}{end}"),
    })
}

fn free_name(directory: &SafeDirectory, id: &str, is_whole: bool) -> io::Result<String> {
    for name in names(id, is_whole) {
        if matches!(directory.entry(&name)?, Entry::Free) {
            return Ok(name);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The power may have failed after the copying: a file of an earlier run that has length and content of the dump. It
/// counts once it is on the disk.
fn find_again(dump: &FoundDump, directory: &SafeDirectory, id: &str) -> io::Result<Option<Collected>> {
    for is_whole in [true, false] {
        for name in names(id, is_whole) {
            let file = match directory.entry(&name)? {
                Entry::Free => break,
                Entry::Other => continue,
                Entry::File(file) => file,
            };
            let Some(tally) = compare(dump, &file)?.filter(|tally| tally.is_whole() == is_whole) else {
                continue;
            };
            file.sync_all()?;
            directory.sync()?;
            return Ok(Some(Collected { name, tally, is_old: true }));
        }
    }
    Ok(None)
}

/// What the dump is like, when `file` holds the same bytes.
fn compare(dump: &FoundDump, mut file: &File) -> io::Result<Option<Tally>> {
    if file.metadata()?.len() != dump.frame().len() {
        return Ok(None);
    }
    let mut there = Vec::new();
    let mut is_same = true;
    let tally = read(dump, &mut |data| {
        there.resize(data.len(), 0);
        file.read_exact(&mut there)?;
        is_same = there == data;
        Ok(is_same)
    })?;
    Ok(is_same.then_some(tally))
}

/// An earlier run that was stopped left its file; nobody else makes names here.
fn remove_unfinished(directory: &SafeDirectory, id: &str) -> io::Result<()> {
    let (ours, of_old) = (unfinished(id), format!("vmcore-{id}.age.copying"));
    for name in directory.names()?.iter().filter(|name| **name == of_old || name.starts_with(&ours)) {
        if !matches!(directory.entry(name)?, Entry::Free) {
            // A directory of that name is not ours and stays.
            let _ = directory.remove(name);
        }
    }
    Ok(())
}

/// Copies the dump and makes it last; it reads back as what was written.
fn copy(dump: &FoundDump, directory: &SafeDirectory, mut file: File, reserve: u64) -> io::Result<Tally> {
    let mut digest = Sha256::new();
    let mut since_look = 0;
    let tally = read(dump, &mut |data| {
        since_look += data.len() as u64;
        if since_look >= BETWEEN_LOOKS {
            since_look = 0;
            check_room(directory, 0, reserve)?;
        }
        digest.update(data);
        file.write_all(data)?;
        Ok(true)
    })?;
    file.sync_all()?;
    let (mut back, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
    // From the disk, not from memory: the kernel may drop pages that are on the disk.
    fadvise(&file, 0, None, Advice::DontNeed)?;
    file.rewind()?;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => back.update(&buffer[..count]),
        }
    }
    if back.finalize() == digest.finalize() {
        Ok(tally)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "what was written reads back as something else"))
    }
}

/// Hands out the dump's data, record by record, as long as `take` wants more.
fn read(dump: &FoundDump, take: &mut dyn FnMut(&[u8]) -> io::Result<bool>) -> io::Result<Tally> {
    let frame = dump.frame();
    let is_cut = frame.end() != crate::raw::End::Whole;
    let mut tally = Tally { is_cut, damaged: u64::from(frame.is_end_damaged()), ..Tally::default() };
    dump.take_unreadable();
    let mut data = Vec::new();
    for number in 0..frame.records() {
        match frame.read_record(number, &mut data)? {
            Quality::Sound => {}
            Quality::Damaged => tally.damaged += 1,
            Quality::Absent(_) => tally.absent += 1,
        }
        if !take(&data)? {
            break;
        }
    }
    tally.unreadable = dump.take_unreadable();
    Ok(tally)
}

fn check_room(directory: &SafeDirectory, need: u64, reserve: u64) -> io::Result<()> {
    if directory.free_bytes()? >= need.saturating_add(reserve) {
        Ok(())
    } else {
        Err(io::ErrorKind::StorageFull.into())
    }
}
