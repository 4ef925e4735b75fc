//! The dumps of a bucket: sets of numbered objects and single files, as the store lists them.

use super::bounded::Budget;
use super::{Error, Kind, Place, head, parse, place};
use crate::objects;
use futures_util::StreamExt;
use object_store::ObjectMeta;
use reqwest::Url;

/// Bytes of a list that may come before its next entry. S3 sends up to 1000 names at a time, of up to 1 KiB each and as much
/// around them.
const LIST_LIMIT: u64 = 4 << 20;
/// The most entries of a list that are read.
const MAX_LISTED: usize = 4 * objects::MAX_OBJECTS as usize;

/// Names each dump below a URL to `take`, until that returns false, and returns how many objects were left out because the client
/// cannot read their names. A URL of `https://` is a dump itself: web servers have no list.
///
/// # Errors
/// See [`Error`].
pub fn list(url: &str, take: &mut dyn FnMut(String) -> bool) -> Result<u64, Error> {
    let parsed = parse(url)?;
    if matches!(parsed.scheme(), "https" | "http") {
        take(url.to_owned());
        return Ok(0);
    }
    let place = place(&parsed, Kind::Set)?;
    if !place.path.as_ref().is_empty()
        && !parsed.path().ends_with('/')
        && head(&place, &place.path)?.is_some()
    {
        take(url.to_owned());
        return Ok(0);
    }
    let mut found = Found::default();
    let mut named = |path: String| take(url_of(&parsed, &path));
    let listed = entries(&place, MAX_LISTED, &mut |meta| found.see(meta.location.as_ref(), &mut named));
    found.end(&mut named);
    listed
}

/// The dumps among the keys of a list, which is sorted. A set is known by its first object at once. Where another object of
/// it, or its end mark, comes first, the set waits until the keys below its prefix have ended.
#[derive(Default)]
struct Found {
    /// Prefixes with a slash at their end, each below the one before it, and whether the set was named. There are at most as
    /// many as a key has slashes.
    sets: Vec<(String, bool)>,
    /// Whether nobody takes any more.
    is_over: bool,
}

impl Found {
    /// Takes a key; false when nobody wants more.
    fn see(&mut self, key: &str, take: &mut dyn FnMut(String) -> bool) -> bool {
        while self.sets.last().is_some_and(|(set, _)| !key.starts_with(set.as_str())) {
            self.close(take);
        }
        let (set, name) = key.rsplit_once('/').unwrap_or(("", key));
        let number = objects::number(name);
        match (number, name) {
            (None, objects::PROBE) => {}
            (None, name) if name != objects::END => self.take(key.to_owned(), take),
            // A set has a name.
            _ if set.is_empty() => {}
            (number, _) => {
                let set = format!("{set}/");
                if self.sets.last().is_none_or(|(last, _)| *last != set) {
                    self.sets.push((set, false));
                }
                if number == Some(0) {
                    self.name_last(take);
                }
            }
        }
        !self.is_over
    }

    /// No more keys come.
    fn end(&mut self, take: &mut dyn FnMut(String) -> bool) {
        while !self.sets.is_empty() {
            self.close(take);
        }
    }

    fn close(&mut self, take: &mut dyn FnMut(String) -> bool) {
        self.name_last(take);
        self.sets.pop();
    }

    /// Names the set that was begun last, once.
    fn name_last(&mut self, take: &mut dyn FnMut(String) -> bool) {
        let set = self.sets.last_mut().filter(|(_, is_named)| !is_named);
        let set = set.map(|(set, is_named)| {
            *is_named = true;
            set.clone()
        });
        set.into_iter().for_each(|set| self.take(set, take));
    }

    fn take(&mut self, path: String, take: &mut dyn FnMut(String) -> bool) {
        self.is_over = self.is_over || !take(path);
    }
}

/// Gives each entry of the list of `place` to `take`, until that returns false. Between two entries a server has the time and
/// the bytes of one ask. Returns how many were left out for their names.
///
/// # Errors
/// See [`Error`]; [`Error::TooMuch`] after `most` entries.
pub(super) fn entries(
    place: &Place,
    most: usize,
    take: &mut dyn FnMut(&ObjectMeta) -> bool,
) -> Result<u64, Error> {
    let budget = Budget::new(LIST_LIMIT, place.limits);
    place.runtime.block_on(budget.scope(async {
        let mut listed = place.store.list(Some(&place.path));
        for _ in 0..most {
            budget.renew();
            match listed.next().await.transpose()? {
                Some(meta) if take(&meta) => {}
                _ => return Ok(budget.hidden()),
            }
        }
        Err(Error::TooMuch)
    }))
}

/// The URL of a key or prefix.
fn url_of(bucket: &Url, path: &str) -> String {
    let mut url = bucket.clone();
    url.set_path(&path.replace('%', "%25").replace('\\', "%5C"));
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dumps among these keys, of which at most so many are taken.
    fn dumps(keys: &[&str], most: usize) -> Vec<String> {
        let (mut found, mut dumps) = (Found::default(), Vec::new());
        let mut take = |dump| {
            dumps.push(dump);
            dumps.len() < most
        };
        let _ = keys.iter().all(|key| found.see(key, &mut take));
        found.end(&mut take);
        dumps
    }

    #[test]
    fn a_set_is_named_once_and_files_by_themselves() {
        let bucket: Url = "s3://bucket/prefix/".parse().unwrap();
        assert_eq!(url_of(&bucket, "a/b/"), "s3://bucket/a/b/");
        assert_eq!(url_of(&bucket, "a b%20c\\d?e#f.age"), "s3://bucket/a%20b%2520c%5Cd%3Fe%23f.age");
        let keys = ["000001", "a/b/000000", "a/b/000001", "a/b/end", "a/vmcore-encrypt-probe", "vmcore.age"];
        assert_eq!(dumps(&keys, 9), ["a/b/", "vmcore.age"]);
        assert_eq!(dumps(&keys, 1), ["a/b/"]);
    }

    #[test]
    fn a_set_without_its_first_object_is_named_too() {
        // Of the first two another set is below them.
        let keys = ["a/000001", "a/b/000000", "a/end", "b/c/000002", "b/end", "c/end", "d/000007", "e"];
        let named = ["a/b/", "a/", "b/c/", "b/", "c/", "d/", "e"];
        assert_eq!(dumps(&keys, 9), named);
        assert_eq!(dumps(&keys, 3), named[..3]);
        assert_eq!(dumps(&keys[..1], 9), ["a/"]);
    }
}
