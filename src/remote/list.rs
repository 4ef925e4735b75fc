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
    entries(&place, MAX_LISTED, &mut |meta| dump_of(&parsed, meta.location.as_ref()).is_none_or(&mut *take))
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

/// The URL of the dump whose first object, or only file, has this key.
fn dump_of(bucket: &Url, key: &str) -> Option<String> {
    let (set, name) = key.rsplit_once('/').unwrap_or(("", key));
    let path = match objects::number(name) {
        Some(0) if !set.is_empty() => format!("{set}/"),
        Some(_) => return None,
        None if [objects::END, objects::PROBE].contains(&name) => return None,
        None => key.to_owned(),
    };
    let mut url = bucket.clone();
    url.set_path(&path.replace('%', "%25"));
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_named_once_and_files_by_themselves() {
        let bucket: Url = "s3://bucket/prefix/".parse().unwrap();
        let dump = |key: &str| dump_of(&bucket, key);
        assert_eq!(dump("a/b/000000").as_deref(), Some("s3://bucket/a/b/"));
        assert_eq!(dump("vmcore.age").as_deref(), Some("s3://bucket/vmcore.age"));
        assert_eq!(dump("a b%20c.age").as_deref(), Some("s3://bucket/a%20b%2520c.age"));
        for other in ["a/b/000001", "a/b/end", "000001", "a/vmcore-encrypt-probe"] {
            assert_eq!(dump(other), None, "{other}");
        }
    }
}
