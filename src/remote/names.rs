//! Names in a store's list that the client cannot read. It fails at the first of them, and with it the whole list: whoever may
//! put objects could hide all dumps of a bucket by one object called `a//b`. Such entries are taken out of the list before
//! the client parses it. None is of a dump of ours.

use object_store::path::Path;
use quick_xml::escape::unescape;

/// An entry of a list, and what its name is in: S3's and Google's, Azure's.
const ENTRIES: [[&str; 2]; 2] = [["Contents", "Key"], ["Blob", "Name"]];

/// Whether the query of a request asks for a list: ListObjectsV2 of S3 and Google, List Blobs of Azure.
pub(super) fn asks_for_list(query: &str) -> bool {
    query.split('&').any(|pair| matches!(pair, "list-type=2" | "comp=list"))
}

/// The list without the entries whose names cannot be read, and how many those were.
pub(super) fn readable(list: &str) -> (String, u64) {
    let mut hidden = 0;
    let text = ENTRIES.iter().fold(list.to_owned(), |text, [entry, name]| {
        let (kept, left_out) = without_unreadable(&text, entry, name);
        hidden += left_out;
        kept
    });
    (text, hidden)
}

fn without_unreadable(list: &str, entry: &str, name: &str) -> (String, u64) {
    let (start, end) = (format!("<{entry}>"), format!("</{entry}>"));
    let (mut kept, mut rest, mut hidden) = (String::with_capacity(list.len()), list, 0);
    while let Some((before, from)) = rest.split_once(&start) {
        let Some((inside, after)) = from.split_once(&end) else { break };
        kept.push_str(before);
        if element(inside, name).is_none_or(is_readable) {
            kept.extend([&start, inside, &end]);
        } else {
            hidden += 1;
        }
        rest = after;
    }
    kept.push_str(rest);
    (kept, hidden)
}

/// The text of the first element of this name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, from) = text.split_once(&format!("<{name}>"))?;
    Some(from.split_once(&format!("</{name}>"))?.0)
}

/// Bytes of the longest name. Source: Amazon S3 User Guide, "Naming Amazon S3 objects"; Google's and Azure's are no longer.
const LONGEST: usize = 1024;

/// Whether the client takes a name as it is. A slash at either end it would drop, and mean another object; of one that is too
/// long it makes a URL that it cannot send, and panics.
fn is_readable(escaped: &str) -> bool {
    let Ok(name) = unescape(escaped) else { return false };
    (1..=LONGEST).contains(&name.len()) && Path::parse(&name).is_ok_and(|path| path.as_ref() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> String {
        let entry = |name: &&str| format!("<Contents><Key>{name}</Key><Size>1</Size></Contents>");
        format!(
            "<ListBucketResult><Name>b</Name>{}<KeyCount>1</KeyCount></ListBucketResult>",
            names.iter().map(entry).collect::<String>()
        )
    }

    #[test]
    fn names_that_the_client_cannot_read_hide_no_other() {
        let good = ["a/000000", "a b/&amp;&lt;x", "\u{e9}/%2F", "a&#x2f;b"];
        for bad in [
            "a//b",
            "/a",
            "a/",
            "a/../b",
            ".",
            "a&#47;&#x2f;b",
            "a&#1;b",
            "a\u{1b}b",
            "a&#xd;",
            "a&custom;b",
            "a&#x110000;",
            "a&b",
            "",
            &"x".repeat(LONGEST + 1),
        ] {
            let mut names = good.to_vec();
            names.insert(2, bad);
            let (kept, hidden) = readable(&list(&names));
            assert_eq!((kept, hidden), (list(&good), 1), "{bad:?}");
        }
        assert_eq!(readable(&list(&good)), (list(&good), 0));
    }

    #[test]
    fn lists_of_azure_are_read_likewise() {
        let text =
            "<Blobs><Blob><Name>a//b</Name><X/></Blob><Blob><Name>a</Name></Blob></Blobs><NextMarker />";
        let kept = "<Blobs><Blob><Name>a</Name></Blob></Blobs><NextMarker />";
        assert_eq!(readable(text), (kept.to_owned(), 1));
    }

    #[test]
    fn what_is_no_list_stays_as_it_is() {
        for text in [
            "",
            "<Contents>",
            "<Contents><Key>a//b",
            "</Contents><Contents>",
            "<Contents><Key></Contents>",
            "<Contents></Contents>",
        ] {
            assert_eq!(readable(text), (text.to_owned(), 0));
        }
    }

    #[test]
    fn lists_are_told_from_other_requests() {
        assert!(asks_for_list("list-type=2&prefix=a%2F") && asks_for_list("restype=container&comp=list"));
        assert!(!asks_for_list("") && !asks_for_list("prefix=list-type=2") && !asks_for_list("comp=listing"));
    }
}
