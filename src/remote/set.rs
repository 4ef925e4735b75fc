//! A dump as numbered objects on a server (`crate::objects`). Its shape is known from the end mark; without one from a
//! list of the objects, or, where the server gives none, by asking for some of them.

use super::list::entries;
use super::{Error, Pieces, Place, Version, get, head, shorter};
use crate::objects::{self, Shape};
use crate::read_at::ReadAt;
use crate::reader::{FirstObject, Notice, SetFacts, Source, first_lost, report_left_out, report_missing};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest that the list of one dump may take: a million objects come in a thousand answers.
const LIST_FOR: Duration = Duration::from_secs(600);
/// The most entries of a list that are read for one dump.
const MAX_LISTED: usize = objects::MAX_OBJECTS as usize + 1;

/// Such a dump.
pub(super) struct RemoteSet {
    place: Place,
    shape: Shape,
    facts: SetFacts,
    pieces: Pieces,
    /// What the objects were when they were first read; `None` for one that is missing.
    versions: Mutex<BTreeMap<u32, Option<Version>>>,
    notice: Notice,
}

impl RemoteSet {
    /// Opens the set at `place`. Where the URL does not name one by its form (`is_guess`), the fewest requests are made to
    /// find that there is none.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing of a set is there.
    pub(super) fn open(place: Place, notice: Notice, is_guess: bool) -> Result<RemoteSet, Error> {
        let (is_marked, marked) = mark(&place)?;
        let listed = place.lists.then(|| list(&place)).transpose().ok().flatten();
        let listed = listed.filter(|sizes| !sizes.is_empty());
        let shape = match (&marked, &listed) {
            (Some(shape), Some(sizes)) => shape.with_last(sizes.get(&shape.last).copied()),
            // Where that cannot be known the mark is believed.
            (Some(shape), None) => shape.with_last(size_of(&place, shape.last).ok().flatten()),
            (None, Some(sizes)) => Shape::of_objects(sizes).ok_or_else(not_one)?,
            (None, None) => probed(&place, is_guess).map_err(|error| match error {
                // A file of that name.
                Error::NotFound if is_marked => not_one(),
                error => error,
            })?,
        };
        let (mut first, mut lost) = (FirstObject::Whole, None);
        if let Some(sizes) = listed {
            report_missing(&shape, |number| sizes.get(&number).copied(), &notice);
            report_left_out(&shape, &sizes, &notice);
            lost = first_lost(&shape, |number| sizes.get(&number).copied());
            first = FirstObject::of(sizes.get(&0).copied(), shape.len_of(0));
        }
        let facts = SetFacts { objects: shape.objects(), has_end: marked.is_some(), first, lost };
        let pieces = Pieces::new(shape.size());
        Ok(RemoteSet { place, shape, facts, pieces, versions: Mutex::default(), notice })
    }

    /// The bytes of a range, which is within one object. What is missing reads as zeros.
    fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let (number, start) = self.shape.place(range.start);
        let len = range.end - range.start;
        let known = self.versions().get(&number).cloned();
        if known == Some(None) {
            return Ok(vec![0; usize::try_from(len).unwrap_or(0)]);
        }
        let known = known.flatten();
        let tag = known.as_ref().and_then(Version::strong_tag);
        let path = self.place.path.clone().join(objects::name(number));
        let answer = get(&self.place, &path, start..start + len, tag);
        // An object that ends before the range is cut, as one that ends in it.
        let answer = answer.or_else(|error| match shorter(&self.place, &path, &error) {
            Some(meta) if meta.size <= start => Ok((Vec::new(), meta)),
            _ => Err(error),
        });
        match answer {
            Err(Error::NotFound) if known.is_none() => {
                self.versions().insert(number, None);
                report_missing(
                    &self.shape,
                    |other| if other == number { None } else { Some(u64::MAX) },
                    &self.notice,
                );
                Ok(vec![0; usize::try_from(len).unwrap_or(0)])
            }
            Err(error) => Err(error),
            Ok((mut bytes, meta)) => {
                let version = Version::of(&meta);
                if known.is_some_and(|known| !known.is(&version)) {
                    return Err(Error::Changed);
                }
                self.versions().insert(number, Some(version));
                // An object that is cut.
                bytes.resize(usize::try_from(len).unwrap_or(bytes.len()), 0);
                Ok(bytes)
            }
        }
    }

    fn versions(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Option<Version>>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_one() -> Error {
    Error::Server("the objects there are not of one dump".to_owned())
}

/// Whether there is an object with the end mark's name, and the shape by it if it is one. A server that does not let others
/// know what is absent refuses in place of saying so.
fn mark(place: &Place) -> Result<(bool, Option<Shape>), Error> {
    let path = place.path.clone().join(objects::END);
    match get(place, &path, 0..objects::MAX_HEAD as u64, None) {
        Ok((bytes, _)) => Ok((true, Shape::parse(&bytes))),
        Err(Error::NotFound | Error::Refused) => Ok((false, None)),
        // An empty file is no end mark.
        Err(error) => shorter(place, &path, &error).map(|_| (true, None)).ok_or(error),
    }
}

/// The objects' sizes.
fn list(place: &Place) -> Result<BTreeMap<u32, u64>, Error> {
    let mut sizes = BTreeMap::new();
    let until = Instant::now() + LIST_FOR;
    entries(place, MAX_LISTED, &mut |meta| {
        let mut parts = meta.location.prefix_match(&place.path).into_iter().flatten();
        let number = parts.next().and_then(|part| objects::number(part.as_ref()));
        if let (Some(number), None) = (number, parts.next()) {
            sizes.insert(number, meta.size);
        }
        Instant::now() < until
    })?;
    if Instant::now() < until { Ok(sizes) } else { Err(Error::TooMuch) }
}

/// The size of an object; `None` where it is not.
fn size_of(place: &Place, number: u32) -> Result<Option<u64>, Error> {
    head(place, &place.path.clone().join(objects::name(number)))
}

/// The shape by asking for object 0, 1, 2, 4 and so on; 0 may be missing, unless a set is only guessed.
fn probed(place: &Place, is_guess: bool) -> Result<Shape, Error> {
    let mut sizes = BTreeMap::new();
    let mut find = |number: u32| -> Result<bool, Error> {
        let size = size_of(place, number)?;
        sizes.extend(size.map(|size| (number, size)));
        Ok(size.is_some())
    };
    let mut there = if find(0)? { 0 } else { 1 };
    if there == 1 && (is_guess || !find(1)?) {
        return Err(Error::NotFound);
    }
    let mut absent = there + 1;
    while absent < objects::MAX_OBJECTS && find(absent)? {
        (there, absent) = (absent, absent * 2);
    }
    while absent - there > 1 {
        let middle = there + (absent - there) / 2;
        if find(middle)? { there = middle } else { absent = middle }
    }
    Shape::of_objects(&sizes).ok_or_else(not_one)
}

impl ReadAt for RemoteSet {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.pieces.read_at(out, offset, |range| self.fetch(range)).map_err(io::Error::other)
    }
}

impl Source for RemoteSet {
    fn len(&self) -> u64 {
        self.pieces.len()
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn set(&self) -> Option<SetFacts> {
        // Where the store gives no list, it is known once it was read.
        let first = match self.versions().get(&0) {
            Some(None) => FirstObject::Missing,
            Some(Some(version)) => FirstObject::of(Some(version.size), self.shape.len_of(0)),
            None => self.facts.first,
        };
        Some(SetFacts { first, ..self.facts })
    }
}

/// Whether a URL names a set by its form: a directory, its end mark, or its first object. Gives the set's URL.
pub(super) fn named(url: &reqwest::Url) -> Option<reqwest::Url> {
    let last = url.path_segments()?.next_back()?;
    let is_part = last.is_empty() || last == objects::END || last == objects::name(0);
    // The path is not empty: it has a last segment.
    is_part.then(|| url.join(".").ok()).flatten().map(|mut set| {
        set.set_query(url.query());
        set
    })
}

/// The set that is where a URL names no file: its prefix without the slash.
pub(super) fn below(url: &reqwest::Url) -> reqwest::Url {
    let mut set = url.clone();
    set.set_path(&format!("{}/", url.path()));
    set
}

/// Shares what a place is.
pub(super) fn source(place: Place, notice: Notice, is_guess: bool) -> Result<Arc<dyn Source>, Error> {
    Ok(Arc::new(RemoteSet::open(place, notice, is_guess)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_named_by_its_directory_or_a_part_of_it() {
        let of = |url: &str| named(&url.parse().unwrap()).map(String::from);
        assert_eq!(of("s3://bucket/a/b/").as_deref(), Some("s3://bucket/a/b/"));
        assert_eq!(of("s3://bucket/a/b/end").as_deref(), Some("s3://bucket/a/b/"));
        assert_eq!(of("https://host/a/000000?x=1").as_deref(), Some("https://host/a/?x=1"));
        assert_eq!(of("s3://bucket/a/b"), None);
        assert_eq!(of("https://host/a/000001"), None);
        assert_eq!(String::from(below(&"s3://bucket/a".parse().unwrap())), "s3://bucket/a/");
    }
}
