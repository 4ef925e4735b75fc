//! A dump as numbered objects in a directory, as copied from an object store (`crate::objects`). A missing or short
//! object costs itself: it reads as zeros, which are no authentic chunk.

use super::Source;
use crate::objects::{self, Shape};
use crate::read_at::ReadAt;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Who hears what is unusual about a source.
pub type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// Nobody hears it.
#[must_use]
pub fn unnoticed() -> Notice {
    Arc::new(|_| {})
}

/// Files kept open.
const OPEN: usize = 16;

/// What can be known of a set without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetFacts {
    /// How many objects the dump has, or had until it was cut.
    pub objects: u32,
    /// Whether its end mark is there: without one the dump is cut.
    pub has_end: bool,
    /// The object that the header is in, without which none of the others can be decrypted.
    pub first: FirstObject,
    /// Position in the dump of the first byte that is lost, of an object that is missing or cut; as far as their sizes are known.
    pub lost: Option<u64>,
}

/// What is there of the first object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstObject {
    /// All of it, as far as that is known.
    Whole,
    /// Its beginning at most.
    Cut,
    /// Nothing.
    Missing,
}

impl FirstObject {
    /// By its size, if it is there, and the one that it had.
    pub(crate) fn of(size: Option<u64>, whole: u64) -> FirstObject {
        match size {
            None => FirstObject::Missing,
            Some(size) if size < whole => FirstObject::Cut,
            Some(_) => FirstObject::Whole,
        }
    }
}

/// Such a dump.
pub(crate) struct SetSource {
    directory: PathBuf,
    shape: Shape,
    facts: SetFacts,
    /// The files used last.
    open: Mutex<VecDeque<(u32, Arc<File>)>>,
}

/// The directory of the set that a path names: the directory itself, its end mark or its first object.
pub(crate) fn directory_of(path: &Path) -> Option<&Path> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.is_dir() {
        return Some(path).filter(|path| holds_set(path));
    }
    let parent =
        path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    // A file with such a name that is alone is what it is.
    let is_part = name == objects::END || name == objects::name(0);
    parent.filter(|parent| is_part && path.is_file() && holds_set(parent))
}

/// Whether a directory has the objects of a dump: the first one, or an end mark, or a good part of the others. Other files
/// with six digits for a name, dates for example, are far apart, or dumps themselves.
fn holds_set(directory: &Path) -> bool {
    if directory.join(objects::name(0)).is_file()
        || read_mark(&directory.join(objects::END)).is_ok_and(|mark| mark.is_some())
    {
        return true;
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| objects::number(entry.file_name().to_str()?));
    let (count, last) = numbers.fold((0, 0), |(count, last), number| (count + 1, number.max(last)));
    last < objects::MOST_LOST * count && starts_in_the_middle(&directory.join(objects::name(last)))
}

/// Whether a file is there that does not begin as a dump.
fn starts_in_the_middle(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(AGE.len() as u64).read_to_end(&mut start));
    path.is_file() && read.is_ok() && start != AGE
}

/// How an age file begins.
const AGE: &[u8] = b"age-encryption.org/";

/// Whether a path names a set of numbered objects.
#[must_use]
pub fn is_set(path: &Path) -> bool {
    directory_of(path).is_some()
}

impl SetSource {
    /// Opens the set in a directory; `notice` hears of objects that are missing.
    ///
    /// # Errors
    /// The directory cannot be read, or its files cannot be of one set.
    pub(crate) fn open(directory: &Path, notice: Notice) -> io::Result<SetSource> {
        let mut sizes = BTreeMap::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if let Some(number) = entry.file_name().to_str().and_then(objects::number) {
                sizes.insert(number, fs::metadata(entry.path())?.len());
            }
        }
        let marked = read_mark(&directory.join(objects::END))?;
        let shape = marked.map(|shape| shape.with_last(sizes.get(&shape.last).copied()));
        let shape = shape.or_else(|| Shape::of_objects(&sizes));
        let shape = shape.ok_or_else(|| io::Error::other("its objects are not of one dump"))?;
        report_missing(&shape, |number| sizes.get(&number).copied(), &notice);
        report_left_out(&shape, &sizes, &notice);
        let first = FirstObject::of(sizes.get(&0).copied(), shape.len_of(0));
        let lost = first_lost(&shape, |number| sizes.get(&number).copied());
        let facts = SetFacts { objects: shape.objects(), has_end: marked.is_some(), first, lost };
        Ok(SetSource { directory: directory.to_owned(), shape, facts, open: Mutex::default() })
    }

    fn file(&self, number: u32) -> io::Result<Option<Arc<File>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().position(|(found, _)| *found == number);
        let found = at.and_then(|at| open.remove(at));
        let file = match found {
            Some((_, file)) => file,
            None => match File::open(self.directory.join(objects::name(number))) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => Arc::new(file?),
            },
        };
        open.push_front((number, Arc::clone(&file)));
        open.truncate(OPEN);
        Ok(Some(file))
    }
}

/// The most missing objects that are named.
const NAMED: usize = 20;

/// Reports objects that are not there, or not whole, except the first one: whether anything can be read then its header
/// decides ([`FirstObject`]).
pub(crate) fn report_missing(shape: &Shape, size_of: impl Fn(u32) -> Option<u64>, notice: &Notice) {
    let mut missing =
        (1..shape.objects()).filter(|&number| size_of(number).unwrap_or(0) < shape.len_of(number));
    for number in missing.by_ref().take(NAMED) {
        let what = if size_of(number).is_some() { "cut" } else { "missing" };
        notice(&format!("object {} of the dump is {what}: what it held is lost", objects::name(number)));
    }
    let more = missing.count();
    if more > 0 {
        notice(&format!("{more} more objects of the dump are missing or cut"));
    }
}

/// The first byte of a dump that no object has.
pub(crate) fn first_lost(shape: &Shape, size_of: impl Fn(u32) -> Option<u64>) -> Option<u64> {
    let size = |number: u32| size_of(number).unwrap_or(0);
    let short = (0..shape.objects()).find(|&number| size(number) < shape.len_of(number))?;
    Some(u64::from(short) * shape.len_of(0) + size(short))
}

/// Reports what is there beside the dump: bytes at the end of an object before the last, and objects after the last.
pub(crate) fn report_left_out(shape: &Shape, sizes: &BTreeMap<u32, u64>, notice: &Notice) {
    let mut longer = sizes.iter().filter(|&(&number, &size)| size > shape.len_of(number));
    for (&number, _) in longer.by_ref().take(NAMED) {
        let name = objects::name(number);
        notice(&if number > shape.last {
            format!("object {name} is none of the dump by its end mark, and is left out")
        } else {
            format!("object {name} of the dump is longer than the others: the bytes at its end are left out")
        });
    }
    let more = longer.count();
    if more > 0 {
        notice(&format!("{more} more objects are left out, or not all of them is read"));
    }
}

/// The shape by an end mark; `None` where there is no valid one.
fn read_mark(path: &Path) -> io::Result<Option<Shape>> {
    let mut head = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?.take(objects::MAX_HEAD as u64).read_to_end(&mut head)?,
    };
    Ok(Shape::parse(&head))
}

impl ReadAt for SetSource {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let (number, within) = self.shape.place(offset);
        let left = usize::try_from(self.shape.len_of(number).saturating_sub(within)).unwrap_or(usize::MAX);
        let room = left.min(out.len());
        if room == 0 {
            return Ok(0);
        }
        let read = match self.file(number)? {
            Some(file) => ReadAt::read_at(&*file, &mut out[..room], within)?,
            None => 0,
        };
        if read > 0 {
            return Ok(read);
        }
        out[..room].fill(0);
        Ok(room)
    }
}

impl Source for SetSource {
    fn len(&self) -> u64 {
        self.shape.size()
    }

    fn set(&self) -> Option<SetFacts> {
        Some(self.facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::end_mark;

    const MIB: usize = 1 << 20;

    /// Three objects, the last one short, and their bytes in a row.
    fn set(has_end: bool) -> (tempfile::TempDir, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..2 * MIB + 7).map(|at| u8::try_from(at % 251).unwrap()).collect();
        for (number, object) in (0..).zip(bytes.chunks(MIB)) {
            fs::write(directory.path().join(objects::name(number)), object).unwrap();
        }
        if has_end {
            let shape = Shape::of_size(bytes.len() as u64, MIB as u64).unwrap();
            fs::write(directory.path().join("end"), end_mark(&shape, &[[0; 32]; 3])).unwrap();
        }
        (directory, bytes)
    }

    fn all(source: SetSource) -> Vec<u8> {
        let mut bytes = Vec::new();
        super::super::SourceReader::new(Arc::new(source)).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn objects_in_a_row_are_the_dump_with_and_without_a_mark() {
        for has_end in [true, false] {
            let (directory, bytes) = set(has_end);
            let source = SetSource::open(directory.path(), Arc::new(|text| panic!("{text}"))).unwrap();
            assert_eq!(
                source.set(),
                Some(SetFacts { objects: 3, has_end, first: FirstObject::Whole, lost: None })
            );
            assert_eq!(source.len(), bytes.len() as u64);
            assert!(all(source) == bytes);
        }
    }

    #[test]
    fn what_is_missing_costs_itself() {
        let (directory, mut bytes) = set(true);
        fs::remove_file(directory.path().join("000001")).unwrap();
        fs::write(directory.path().join("000002"), b"abc").unwrap();
        bytes[MIB..].fill(0);
        bytes[2 * MIB..2 * MIB + 3].copy_from_slice(b"abc");
        assert!(all(SetSource::open(directory.path(), unnoticed()).unwrap()) == bytes);
        let (directory, bytes) = set(false);
        fs::remove_file(directory.path().join("000001")).unwrap();
        assert_eq!(all(SetSource::open(directory.path(), unnoticed()).unwrap()).len(), bytes.len());
    }

    #[test]
    fn a_set_is_named_by_its_directory_or_a_part_of_it() {
        let (directory, _) = set(true);
        let at = |name: &str| directory.path().join(name);
        for path in [at(""), at("end"), at("000000")] {
            assert!(directory_of(&path).is_some(), "{path:?}");
        }
        for path in [at("000001"), at("none"), std::env::temp_dir().join("none")] {
            assert_eq!(directory_of(&path), None, "{path:?}");
        }
        let alone = tempfile::tempdir().unwrap();
        fs::write(alone.path().join("end"), "x").unwrap();
        assert_eq!(directory_of(&alone.path().join("end")), None);
    }
}
