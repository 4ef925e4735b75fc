//! The URL of a dump or of the place for one, as typed. A client resolves `..`, reads `\` as a slash, drops control
//! characters and what comes after `#`, and so reaches another place than the one that was written, without a word. Such a
//! URL is refused here, before a client sees it. No message repeats a part of it: presigned URLs are secrets.

/// Schemes of stores that have buckets. The client decodes the rest of such a URL to the name of an object.
const BUCKETS: [&str; 3] = ["s3", "gs", "az"];

/// Checks a URL. Without a `://` there is nothing to check.
///
/// # Errors
/// Why a client would take it for another one, in words.
pub(crate) fn check(text: &str) -> Result<(), &'static str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(()) };
    let is_bucket = BUCKETS.contains(&scheme);
    if text.chars().any(char::is_control) || text.ends_with(' ') {
        return Err("it has a control character, or a space at its end");
    }
    let (before, after) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    if is_bucket && !after.is_empty() {
        return Err("a bucket's URL has no ? or #: in a name they are %3F and %23");
    }
    if after.contains('#') {
        return Err("it has a #: in a name that is %23");
    }
    if before.contains('\\') {
        return Err("it has a backslash: in a name that is %5C");
    }
    if scheme != scheme.to_ascii_lowercase() {
        return Err("its scheme is not in lower case");
    }
    let (place, path) = before.split_once('/').unwrap_or((before, ""));
    if place.is_empty() {
        return Err("it names no bucket or server");
    }
    if !is_bucket && place.rsplit('@').next().is_some_and(|host| host.contains('%')) {
        return Err("its host has an encoded character");
    }
    if is_bucket && !is_bucket_name(place) {
        return Err("its bucket has a name that no bucket has");
    }
    if !is_bucket && !path.bytes().all(is_plain) {
        return Err("its path has characters that are encoded in a URL, a space as %20");
    }
    check_parts(path, is_bucket)
}

/// Checks the parts of a path, which begins after its first slash.
fn check_parts(path: &str, is_bucket: bool) -> Result<(), &'static str> {
    let parts = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(());
    }
    for part in parts.split('/') {
        let decoded = decoded(part);
        match &decoded[..] {
            b"" => return Err("its path has an empty part (//)"),
            b"." | b".." => return Err("its path has a part . or .."),
            _ => {}
        }
        if decoded.iter().any(u8::is_ascii_control) {
            return Err("its path has an encoded control character");
        }
        if is_bucket && decoded.contains(&b'/') {
            return Err("its path has an encoded slash (%2F)");
        }
    }
    Ok(())
}

/// Letters, digits and what the three stores allow beside them (Azure has `$root`, `$logs`, `$web`). An empty name is another
/// fault.
fn is_bucket_name(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._$".contains(&byte));
    is_plain && !matches!(name, "." | "..")
}

/// Whether a byte is in a path as it is. Source: the WHATWG URL standard, "path percent-encode set".
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"<>^`{}".contains(&byte)
}

/// The bytes of a part of a path. A `%` without two digits is itself.
fn decoded(part: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let [first, more @ ..] = rest {
        let digits = (*first == b'%')
            .then(|| more.get(..2))
            .flatten()
            .filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &more[2..] } else { more };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths that each scheme takes, and those that lead elsewhere.
    const GOOD: [&str; 9] =
        ["", "/", "/a", "/a/", "/a/b.age", "/..a/b..", "/%25/%zz/%", "/a/.../b", "/a=b;c,d/~x@y"];
    const BAD: [&str; 22] = [
        "/../x",
        "/a/../b/",
        "/a/..",
        "/./x",
        "/a/.",
        "//x",
        "/a//b",
        "/a//",
        "//",
        "/%2e%2e/x",
        "/a/%2E./b",
        "/a/.%2e",
        "/%2e/x",
        "/a\\..\\b",
        "/a\\b",
        "\\a",
        "/a\tb",
        "/a\nb",
        "/a%00b",
        "/a%0ab",
        "/a\u{85}",
        "/a ",
    ];

    #[test]
    fn a_url_that_leads_elsewhere_is_refused_of_every_scheme() {
        for scheme in ["s3", "gs", "az", "https", "http"] {
            for path in GOOD {
                assert_eq!(check(&format!("{scheme}://bucket{path}")), Ok(()), "{scheme} {path}");
            }
            for path in BAD {
                assert!(check(&format!("{scheme}://bucket{path}")).is_err(), "{scheme} {path:?}");
            }
        }
    }

    #[test]
    fn buckets_and_servers_have_rules_of_their_own() {
        for good in [
            "s3://b/a b/\u{e9}",
            "az://$root/a",
            "https://h/a%2Fb?q=a//..\\",
            "https://u@h:1/a",
            "x",
            "/a//b",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "s3://../a",
            "gs://./a",
            "s3://a%2f/b",
            "s3://u:p@b/a",
            "s3://b:80/a",
            "s3://b/a%2Fb",
            "s3://b/a?b",
            "s3://b/a#b",
            "https://h/a#b",
            "https://h/a b",
            "https://h/\u{e9}",
            "https://h/{a}",
            "https:///h/a",
            "https://h%2eh/a",
            "https://u@localhos%74/a",
            "s3:///a",
            "S3://b/a",
            "HTTPS://h/a",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    /// What is accepted a client takes as it is.
    #[test]
    #[cfg(feature = "upload")]
    fn an_accepted_url_is_the_one_that_the_client_reads() {
        for byte in 0x20_u8..0x7f {
            let path = format!("/a{}b", char::from(byte));
            if let (Ok(()), false) = (check(&format!("https://host{path}")), byte == b'?') {
                let url = reqwest::Url::parse(&format!("https://host{path}")).unwrap();
                assert_eq!(url.path(), path);
            }
        }
        for host in ["host", "HOST:1", "[::1]:1", "10.0.0.1"] {
            let text = format!("https://{host}/a");
            let url = reqwest::Url::parse(&text).unwrap();
            let host = host.to_ascii_lowercase();
            assert!(check(&text).is_ok() && url.as_str().contains(&host), "{url}");
        }
        for path in GOOD.into_iter().filter(|path| !path.is_empty()) {
            for scheme in ["s3", "https"] {
                let url = reqwest::Url::parse(&format!("{scheme}://bucket{path}")).unwrap();
                assert_eq!(url.path(), path, "{scheme}");
            }
        }
    }
}
