//! What an upload needs to know: the place, the right to write there, whom to trust, and how long to wait. Files are read
//! by whoever calls; here is what may be in them. Values are secrets: no `Debug`, no message shows one.

use super::Error;
use reqwest::Url;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// The most bytes of a file of credentials, authorities or presigned URLs.
pub(crate) const MAX_FILE: u64 = 16 << 20;

/// An upload's settings.
pub(crate) struct Settings {
    /// `s3://BUCKET/PREFIX/` and the like; unused with presigned URLs.
    pub url: String,
    /// The right to write, with what is in the environment.
    pub credentials: Credentials,
    /// Presigned URLs, one for each object and the last for the end mark; empty without.
    pub presigned: Vec<Url>,
    /// The only authorities to trust; the system's where absent.
    pub authorities: Option<Authorities>,
    /// Addresses of servers by name in lower case.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// How long nothing may move.
    pub stall: Duration,
}

/// Certificates of authorities.
pub(crate) struct Authorities {
    /// In PEM.
    pub pem: Vec<u8>,
    /// When their file was written: no clock is right that is before.
    pub written: SystemTime,
}

/// Keys, as they are written, and values of a credentials file.
#[derive(Default)]
pub(crate) struct Credentials(Vec<(String, Zeroizing<String>)>);

impl Credentials {
    /// Parses `KEY=value` lines; empty lines and those that begin with `#` are comments. Whether letters of a key are capital
    /// makes no difference.
    ///
    /// # Errors
    /// The number of the line that is neither, or the key that is there twice or has a value that cannot be sent. No message repeats a line or a value.
    pub(crate) fn parse(text: &str) -> Result<Credentials, String> {
        let mut read = Credentials::default();
        for (at, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let is_key =
                |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let Some((key, value)) = line.split_once('=').filter(|(key, _)| is_key(key)) else {
                return Err(format!("line {} is not KEY=value", at + 1));
            };
            // The client panics with what cannot be in a header.
            if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(format!("the value of {key} has a character that is not printable ASCII"));
            }
            if read.get(key).is_some() {
                return Err(format!("{key} is there twice, in line {} again", at + 1));
            }
            read.0.push((key.to_owned(), Zeroizing::new(value.to_owned())));
        }
        Ok(read)
    }

    /// The pairs, keys as they are written.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A value.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.pairs().find_map(|(found, value)| found.eq_ignore_ascii_case(key).then_some(value))
    }
}

impl Settings {
    /// The place as a URL.
    ///
    /// # Errors
    /// [`Error::Url`]: it is no URL, or has a secret in it, which would be in the list of processes.
    pub(super) fn place(&self) -> Result<Url, Error> {
        let url = Url::parse(&self.url).map_err(|error| Error::Url(error.to_string()))?;
        if url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            let why = "it must hold no query, user or password: others can read command lines";
            return Err(Error::Url(why.to_owned()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(Error::Url("it names no bucket or server".to_owned()));
        }
        crate::url::check(&self.url).map_err(|why| Error::Url(why.to_owned()))?;
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_pairs_and_no_message_shows_them() {
        let read = Credentials::parse("# x\n\nAWS_SECRET_ACCESS_KEY=a=b \nAWS_REGION=eu\n").unwrap();
        assert_eq!(read.get("aws_secret_access_key"), Some("a=b "));
        assert_eq!(read.pairs().count(), 2);
        for bad in ["K=verysecret\u{1b}", "K=verysecret\u{e9}", "K=\tverysecret"] {
            let why = Credentials::parse(bad).err().unwrap();
            assert!(why.contains("the value of K") && !why.contains("verysecret"), "{why}");
        }
        for bad in ["verysecret", "=verysecret", "AWS KEY=verysecret", "export AWS_KEY=verysecret"] {
            let why = Credentials::parse(&format!("A=1\n{bad}\n")).err().unwrap();
            assert!(why.contains("line 2") && !why.contains("verysecret"), "{why}");
        }
        for twice in ["A=1\n\nA=verysecret\n", "A=verysecret\n#\na=verysecret\n"] {
            let why = Credentials::parse(twice).err().unwrap();
            assert!(why.to_uppercase().starts_with("A IS THERE TWICE") && why.contains("line 3"), "{why}");
            assert!(!why.contains("verysecret"), "{why}");
        }
    }

    #[test]
    fn a_place_has_no_secret() {
        let place = |url: &str| {
            let settings = Settings {
                url: url.to_owned(),
                credentials: Credentials::default(),
                presigned: Vec::new(),
                authorities: None,
                hosts: BTreeMap::new(),
                stall: Duration::from_secs(1),
            };
            settings.place().map(String::from)
        };
        assert!(place("s3://bucket/a/").is_ok() && place("https://host:8443/a").is_ok());
        for bad in [
            "https://host/a?sig=secret4711",
            "https://u:secret4711@host/",
            "s3://",
            "https://h/#a",
            "a",
            "s3://b/a/../4711/",
        ] {
            assert!(place(bad).is_err_and(|why| !why.to_string().contains("4711")), "{bad}");
        }
    }
}
