//! The dumps of directories and buckets, one after the other.

#[cfg(feature = "remote")]
use super::super::super::say;
use super::super::super::{Failure, quoted};
#[cfg(feature = "remote")]
use super::super::PROGRAM;
use crate::reader::is_set;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How dumps begin: an age file, and one in armor.
const BEGINNINGS: [&[u8]; 2] = [b"age-encryption.org/v1", b"-----BEGIN AGE"];
/// How deep directories are searched.
const MAX_DEPTH: usize = 32;

/// Who takes what is found; false when nobody does any more.
type Take<'a> = &'a mut dyn FnMut(Result<PathBuf, Failure>) -> bool;

/// Finds the dumps of every place. What a user names is taken as a dump; in a directory what begins as one.
pub(super) fn all(places: &[PathBuf], take: Take<'_>) {
    for place in places {
        let is_directory = place.is_dir() && !is_set(place);
        let goes_on = match place.to_str().filter(|name| super::super::input::is_url(name)) {
            Some(url) => bucket(url, take),
            None if is_directory => directory(place, take),
            None => take(Ok(place.clone())),
        };
        if !goes_on {
            return;
        }
    }
}

/// Whether a place that a user names is not there. It has a line all the same.
pub(super) fn is_absent(place: &Path) -> bool {
    let is_url = place.to_str().is_some_and(super::super::input::is_url);
    !is_url && place != Path::new("-") && place.symlink_metadata().is_err()
}

/// Searches a directory and those below it, by name; links are not followed.
fn directory(top: &Path, take: Take<'_>) -> bool {
    let mut waiting = vec![(top.to_owned(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        let entries = match names(&path) {
            Ok(entries) => entries,
            Err(error) => {
                let failure = Failure::caused(format!("searching {}", quoted(&path)), &error);
                if !take(Err(failure)) {
                    return false;
                }
                continue;
            }
        };
        let mut below = Vec::new();
        for path in entries {
            let is_directory = path.symlink_metadata().is_ok_and(|data| data.is_dir());
            if is_directory && !is_set(&path) {
                if depth < MAX_DEPTH {
                    below.push((path, depth + 1));
                }
            } else if (is_directory || is_dump(&path)) && !take(Ok(path)) {
                return false;
            }
        }
        waiting.extend(below.into_iter().rev());
    }
    true
}

fn names(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Whether a regular file begins as a dump does. A FIFO is not opened: that would wait for its writer.
fn is_dump(path: &Path) -> bool {
    let mut start = Vec::new();
    let is_file = path.symlink_metadata().is_ok_and(|data| data.is_file());
    let read = is_file.then(|| File::open(path).and_then(|file| file.take(32).read_to_end(&mut start)));
    read.is_some_and(|read| read.is_ok()) && BEGINNINGS.iter().any(|beginning| start.starts_with(beginning))
}

#[cfg(feature = "remote")]
fn bucket(url: &str, take: Take<'_>) -> bool {
    let mut goes_on = true;
    let mut waiting = Some(super::super::slow::Wait::start(Path::new(url)));
    let listed = crate::remote::list(url, &mut |dump| {
        drop(waiting.take());
        goes_on = take(Ok(PathBuf::from(dump)));
        goes_on
    });
    drop(waiting);
    match listed {
        Ok(0) => goes_on,
        Ok(hidden) => {
            let place = quoted(Path::new(url));
            say(
                PROGRAM,
                "warning",
                &format!("{hidden} objects of {place} have names that cannot be read, and are left out"),
            );
            goes_on
        }
        Err(error) => {
            let failure = Failure::caused(format!("searching {}", quoted(Path::new(url))), &error);
            take(Err(failure.maybe_hint(error.hint())))
        }
    }
}

/// Without the feature opening it names what is missing.
#[cfg(not(feature = "remote"))]
fn bucket(url: &str, take: Take<'_>) -> bool {
    take(Ok(PathBuf::from(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_as_a_dump_is_found_in_order() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        for directory in ["b/deep", "c", "set"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        for (name, text) in [
            ("a.age", "age-encryption.org/v1\n"),
            ("b/deep/x", "-----BEGIN AGE ENCRYPTED FILE-----\n"),
            ("b/notes.txt", "age"),
            ("empty", ""),
            ("set/000000", "age-encryption.org/v1\n"),
            ("set/000001", "more"),
        ] {
            fs::write(at(name), text).unwrap();
        }
        std::os::unix::fs::symlink(at("a.age"), at("link")).unwrap();
        std::os::unix::fs::symlink(top.path(), at("c/loop")).unwrap();
        let mut found = Vec::new();
        all(&[top.path().to_owned(), at("none")], &mut |item| {
            found.push(item.unwrap());
            true
        });
        assert_eq!(found, [at("a.age"), at("set"), at("b/deep/x"), at("none")]);
        let mut count = 0;
        all(&[top.path().to_owned()], &mut |_| {
            count += 1;
            false
        });
        assert_eq!(count, 1, "nobody wants more");
    }
}
