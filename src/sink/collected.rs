//! A dump on its way from a partition into a file: every record in its place, damaged ones as they are; read back and
//! compared before anybody relies on it; under a name that nothing else has.

use super::device::FoundDump;
use super::safe_dir::{Entry, SafeDirectory};
use super::verified::{VerifiedFile, remove_unfinished};
use crate::raw::{Quality, show_id};
use std::fs::File;
use std::io::{self, Read, Write};

/// How often the room on the file system is looked up while copying: others write there too.
const BETWEEN_LOOKS: u64 = 64 << 20;
/// How many names are tried for a dump.
const NAMES: u32 = 100;

/// What was met while a dump was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
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
    pub(crate) fn is_whole(&self) -> bool {
        *self == Tally::default()
    }

    /// Whether something between beginning and end is not as it was written.
    #[must_use]
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged > 0 || self.absent > 0 || self.unreadable > 0
    }
}

/// The copy of a dump.
pub(crate) struct Collected {
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
pub(crate) fn collect(dump: &FoundDump, directory: &SafeDirectory, reserve: u64) -> io::Result<Collected> {
    let id = show_id(&dump.frame().header().id);
    if let Some(found) = find_again(dump, directory, &id)? {
        return Ok(found);
    }
    let start = unfinished(&id);
    // Early versions made the name without digits.
    remove_unfinished(directory, |name| name.starts_with(&start) || name == start.trim_end_matches('-'))?;
    check_room(directory, dump.frame().len(), reserve)?;
    let mut file = VerifiedFile::create(directory, &start)?;
    let tally = copy(dump, directory, &mut file, reserve)?;
    let name = file.finish(|_| free_name(directory, &id, tally.is_whole()))?;
    Ok(Collected { name, tally, is_old: false })
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

/// Copies the dump, and looks now and then whether the reserve is still free.
fn copy(dump: &FoundDump, directory: &SafeDirectory, out: &mut dyn Write, reserve: u64) -> io::Result<Tally> {
    let mut since_look = 0;
    read(dump, &mut |data| {
        since_look += data.len() as u64;
        if since_look >= BETWEEN_LOOKS {
            since_look = 0;
            check_room(directory, 0, reserve)?;
        }
        out.write_all(data)?;
        Ok(true)
    })
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
