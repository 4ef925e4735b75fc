//! Presigned URLs: the list of a dump's objects, and until when it can be used.

use crate::objects;
use reqwest::Url;
use std::time::{Duration, SystemTime};

/// Parses a list of presigned URLs, one a line: that of object 0 first, that of the end mark last. Each must end in the
/// name of its object, so that no two are exchanged.
///
/// # Errors
/// The number of the line at fault. No message repeats a URL.
pub(crate) fn parse_presigned(text: &str) -> Result<Vec<Url>, String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let (Some(last), true) = (lines.len().checked_sub(1), lines.len() >= 2) else {
        return Err("it needs a URL for each object, and one for the end mark".to_owned());
    };
    let url = |(at, line): (usize, &&str)| {
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let name = if at == last { objects::END.to_owned() } else { objects::name(number) };
        let url = Url::parse(line).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
        let url = url.ok_or_else(|| format!("URL {} is not https", at + 1))?;
        crate::url::check(line).map_err(|why| format!("URL {}: {why}", at + 1))?;
        let is_named = url.path_segments().and_then(|mut parts| parts.next_back()) == Some(&name);
        if is_named { Ok(url) } else { Err(format!("URL {} is not of the object {name}", at + 1)) }
    };
    lines.iter().enumerate().map(url).collect()
}

/// When the first of these URLs expires, where that can be read from them.
#[must_use]
pub(crate) fn expiry(urls: &[Url]) -> Option<SystemTime> {
    urls.iter().filter_map(expiry_of).min()
}

/// Source: Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters"; Google's signed URLs of version 4 have
/// the same under another prefix; Azure, "Create a service SAS", field `se`.
fn expiry_of(url: &Url) -> Option<SystemTime> {
    let value = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.into_owned()))
    };
    let signed = ["X-Amz", "X-Goog"].iter().find_map(|vendor| {
        let signed = instant(&value(&format!("{vendor}-Date"))?)?;
        let seconds = value(&format!("{vendor}-Expires"))?.parse().ok()?;
        signed.checked_add(Duration::from_secs(seconds))
    });
    signed.or_else(|| instant(&value("se")?))
}

/// An instant of RFC 3339, `2026-01-02T03:04:05Z`, or without its separators, `20260102T030405Z`.
fn instant(text: &str) -> Option<SystemTime> {
    let part = |at: std::ops::Range<usize>| text.get(at).unwrap_or_default();
    let spread =
        [part(0..4), "-", part(4..6), "-", part(6..11), ":", part(11..13), ":", part(13..16)].concat();
    let extended = if text.len() == 16 { &spread } else { text };
    humantime::parse_rfc3339(extended).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn presigned_urls_are_in_order_and_the_end_mark_is_last() {
        let line = |name: &str| format!("https://host/a/{name}?X-Amz-Signature=verysecret\n");
        let list = |names: &[&str]| parse_presigned(&names.iter().map(|name| line(name)).collect::<String>());
        assert_eq!(list(&["000000", "000001", "end"]).unwrap().len(), 3);
        for bad in [
            &["000000"][..],
            &["end"],
            &[],
            &["000001", "000000", "end"],
            &["000000", "000001"],
            &["000000", "xend"],
        ] {
            let why = list(bad).unwrap_err();
            assert!(!why.contains("verysecret"), "{why}");
        }
        let why = parse_presigned(&(line("../000000") + &line("end"))).unwrap_err();
        assert!(why.starts_with("URL 1: ") && !why.contains("verysecret"), "{why}");
        assert!(parse_presigned("verysecret\nend\n").is_err_and(|why| !why.contains("verysecret")));
    }

    #[test]
    fn a_list_is_good_until_its_first_url_expires() {
        let url = |query: &str| Url::parse(&format!("https://host/a/000000?{query}")).unwrap();
        let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        let amazon = url("X-Amz-Date=20231114T221320Z&X-Amz-Expires=60&X-Amz-Signature=x");
        let google = url("x-goog-date=20000229T235959Z&x-goog-expires=1");
        let azure = url("sp=c&se=2023-11-14T22%3A13%3A20Z&sig=x");
        assert_eq!(expiry(std::slice::from_ref(&amazon)), at(1_700_000_060));
        assert_eq!(expiry(std::slice::from_ref(&google)), at(951_868_800));
        assert_eq!(expiry(std::slice::from_ref(&azure)), at(1_700_000_000));
        assert_eq!(expiry(&[amazon, url("a=b"), azure]), at(1_700_000_000));
        for other in [
            "",
            "X-Amz-Date=20231114T221320Z",
            "X-Amz-Date=20231114T221320&X-Amz-Expires=1",
            "X-Amz-Date=20231314T221320Z&X-Amz-Expires=1",
            "X-Amz-Date=00000101T000000Z&X-Amz-Expires=1",
            "X-Amz-Date=20231100T000000Z&X-Amz-Expires=1",
            "X-Amz-Date=20231114T221320Z&X-Amz-Expires=99999999999999999999",
            "X-Amz-Date=20231114T221320Z&X-Amz-Expires=18446744073709551615",
            "se=%F0%9F%98%80",
        ] {
            assert_eq!(expiry(&[url(other)]), None, "{other}");
        }
    }
}
