//! A dump on a server, read by range: `https://`, `http://`, `s3://`, `gs://` and `az://` URLs. Only what is read is
//! fetched, in pieces of which the last ones are kept (`pieces`). Nothing here knows what the bytes mean, and none
//! are trusted: chunks authenticate themselves. Its ETag, or else the time of its last
//! change, tells that the file stays the same one.
//!
//! A URL may carry the right to read in its query (a presigned one does), so no message shows more than the part
//! before it (`cli::quoted`).

mod aws;
mod bounded;
mod error;
mod list;
mod names;
mod pieces;
mod set;

use crate::read_at::ReadAt;
use crate::reader::{Notice, Source, unnoticed};
use bounded::{Budget, Connector, LIMITS, Limits};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
};
use pieces::{PIECE, Pieces};
use reqwest::Url;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

pub use error::Error;
pub use list::list;

/// How long one request may take, with what is repeated of it.
pub(crate) const REQUEST_TIME: Duration = LIMITS.whole;
/// How often a request is repeated when the link or the server fails. For how long, [`LIMITS`] has.
const RETRIES: usize = 4;
/// The status of a range outside of the file, as the client's errors name it.
const NO_SUCH_RANGE: &str = "416";

/// The size of a file; `None` where it is absent, or not to be seen.
fn head(place: &Place, path: &Path) -> Result<Option<u64>, Error> {
    match place.ask(0, place.store.head(path)).map_err(Error::from) {
        Ok(meta) => Ok(Some(meta.size)),
        Err(Error::NotFound | Error::Refused) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a name is a URL that this room reads.
#[must_use]
pub fn is_url(name: &str) -> bool {
    ["https://", "http://", "s3://", "gs://", "az://"].iter().any(|scheme| name.starts_with(scheme))
}

/// Opens the dump at a URL: a file, or a set of numbered objects by its prefix, with or without a slash, its end mark or
/// its first object. Credentials, region and endpoint of S3 come from the environment and from `~/.aws`, as with other S3
/// tools: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`,
/// `AWS_SKIP_SIGNATURE`.
///
/// # Errors
/// See [`Error`].
pub fn open(url: &str) -> Result<Arc<dyn Source>, Error> {
    open_noticing(url, unnoticed())
}

/// The same; `notice` hears of objects of a set that are missing, when they are found to be.
///
/// # Errors
/// See [`Error`].
pub fn open_noticing(url: &str, notice: Notice) -> Result<Arc<dyn Source>, Error> {
    let parsed = parse(url)?;
    if let Some(set) = set::named(&parsed) {
        return set::source(place(&set, Kind::Set)?, notice, false);
    }
    let failed = match open_file(&parsed) {
        Err(error @ (Error::NotFound | Error::Refused)) => error,
        result => return result,
    };
    match set::source(place(&set::below(&parsed), Kind::Set)?, notice, true) {
        Err(Error::NotFound | Error::Refused) => Err(failed),
        result => result,
    }
}

fn open_file(url: &Url) -> Result<Arc<dyn Source>, Error> {
    let mut file = RemoteFile { place: place(url, Kind::File)?, version: Version::default() };
    // The first piece, which holds the header, tells length and version too: a request less than asking for them.
    let (first, meta) = match file.get(0..PIECE) {
        Ok(first) => first,
        Err(error) => file.empty(&error).ok_or(error)?,
    };
    if i64::try_from(meta.size).is_err() {
        return Err(Error::Server("no file is as long as it claims".to_owned()));
    }
    file.version = Version::of(&meta);
    let pieces = Pieces::new(meta.size);
    pieces.put(0, &first);
    Ok(Arc::new(RemoteSource { file, pieces }))
}

/// Threads that look names up get no signal: which thread of the program gets them is the program's choice.
fn block_signals() {
    // A thread that blocks none ends the program by a signal's default, as without it.
    let _ = nix::sys::signal::SigSet::all().thread_block();
}

/// A file on a server, or the directory of several.
struct Place {
    runtime: Runtime,
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// Whether the server can be asked for a list.
    lists: bool,
    limits: Limits,
}

impl Place {
    /// Runs the requests of `work`, which together may take `bytes` bytes, a margin, and the time of [`LIMITS`].
    fn ask<T>(&self, bytes: u64, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(Budget::new(bytes, self.limits).scope(work))
    }
}

/// What a URL names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Set,
}

/// Whether a URL can be one of a dump, or of a place with dumps, as it is written.
///
/// # Errors
/// [`Error::Url`], with the reason.
pub fn check(url: &str) -> Result<(), Error> {
    parse(url).map(drop)
}

fn parse(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|error| Error::Url(error.to_string()))?;
    crate::url::check(text).map_err(|why| Error::Url(why.to_owned()))?;
    Ok(url)
}

fn place(url: &Url, kind: Kind) -> Result<Place, Error> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .on_thread_start(block_signals)
        .build()
        .map_err(|error| Error::Client(Arc::new(error)))?;
    // Another part of the process may have chosen already; any choice will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: LIMITS.whole, ..RetryConfig::default() };
    if ["s3", "gs", "az"].contains(&url.scheme()) {
        let path = Path::from_url_path(url.path()).map_err(|error| Error::Url(error.to_string()))?;
        return Ok(Place { runtime, store: bucket(url, retry)?, path, lists: true, limits: LIMITS });
    }
    let mut url = url.clone();
    // The library puts a slash before the name of an object.
    if let (Kind::Set, Ok(mut parts)) = (kind, url.path_segments_mut()) {
        parts.pop_if_empty();
    }
    // The URL as it is, query included, is the store, and the file its root: nothing is encoded anew.
    let options = ClientOptions::new().with_allow_http(url.scheme() == "http");
    let store = HttpBuilder::new()
        .with_url(url.as_str())
        .with_client_options(options)
        .with_retry(retry)
        .with_http_connector(Connector { leaves: true, machine: None, user: Some(url) })
        .build()?;
    Ok(Place { runtime, store: Arc::new(store), path: Path::default(), lists: false, limits: LIMITS })
}

/// A bucket, with what the environment and, for S3, the files of its tools have for it.
fn bucket(url: &Url, retry: RetryConfig) -> Result<Arc<dyn ObjectStore>, Error> {
    let text = url.as_str();
    if url.host_str().unwrap_or_default().is_empty() {
        return Err(Error::Url("it names no bucket".to_owned()));
    }
    let connector = Connector { leaves: false, machine: aws::machine(), user: None };
    Ok(match url.scheme() {
        "gs" => Arc::new(
            GoogleCloudStorageBuilder::from_env()
                .with_url(text)
                .with_retry(retry)
                .with_http_connector(connector)
                .build()?,
        ),
        "az" => Arc::new(
            MicrosoftAzureBuilder::from_env()
                .with_url(text)
                .with_retry(retry)
                .with_http_connector(connector)
                .build()?,
        ),
        _ => {
            Arc::new(aws::builder()?.with_url(text).with_retry(retry).with_http_connector(connector).build()?)
        }
    })
}

/// Bytes of a range of the file at `path`, fewer only where the file ends.
fn get(
    place: &Place,
    path: &Path,
    range: Range<u64>,
    if_match: Option<String>,
) -> Result<(Vec<u8>, ObjectMeta), Error> {
    let asked = range.end.saturating_sub(range.start);
    let options = GetOptions { range: Some(GetRange::Bounded(range)), if_match, ..GetOptions::default() };
    place.ask(asked, async {
        let answer = place.store.get_opts(path, options).await?;
        let (meta, range) = (answer.meta.clone(), answer.range.clone());
        let bytes = answer.bytes().await?;
        // The client compares the range of the answer with the one asked for, but not the bytes with the range.
        if bytes.len() as u64 == range.end.saturating_sub(range.start) {
            Ok((bytes.into(), meta))
        } else {
            Err(Error::Server("the answer has another length than its range".to_owned()))
        }
    })
}

/// What a file is that ends before a range which was asked for, by the error that this gave.
fn shorter(place: &Place, path: &Path, error: &Error) -> Option<ObjectMeta> {
    if !matches!(error, Error::Server(words) if words.contains(NO_SUCH_RANGE)) {
        return None;
    }
    place.ask(0, place.store.head(path)).ok()
}

/// What tells one content of a file from another.
#[derive(Default, Clone, PartialEq, Eq)]
struct Version {
    tag: Option<String>,
    /// Milliseconds since 1970; 0 where the server does not report it.
    changed: i64,
    /// Bytes of the whole file.
    size: u64,
}

impl Version {
    fn of(meta: &ObjectMeta) -> Version {
        let changed = meta.last_modified.timestamp_millis();
        Version { tag: meta.e_tag.clone(), changed, size: meta.size }
    }

    /// The tag to insist on. A weak one tells nothing about bytes, and no server matches it (RFC 9110 section 13.1.1).
    fn strong_tag(&self) -> Option<String> {
        self.tag.clone().filter(|tag| !tag.starts_with("W/"))
    }

    fn is(&self, other: &Version) -> bool {
        let same = match (&self.tag, &other.tag) {
            (Some(first), Some(now)) => first == now,
            _ => self.changed == other.changed,
        };
        same && self.size == other.size
    }
}

/// A file on a server.
struct RemoteFile {
    place: Place,
    /// As it was when it was opened.
    version: Version,
}

impl RemoteFile {
    fn get(&self, range: Range<u64>) -> Result<(Vec<u8>, ObjectMeta), Error> {
        get(&self.place, &self.place.path, range, self.version.strong_tag())
    }

    /// An empty file has no range to ask for, and to have one is not an error of the server's.
    fn empty(&self, error: &Error) -> Option<(Vec<u8>, ObjectMeta)> {
        let meta = shorter(&self.place, &self.place.path, error)?;
        (meta.size == 0).then(|| (Vec::new(), meta))
    }

    /// The bytes of a range of the same file as at first.
    fn get_again(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let len = range.end - range.start;
        let (bytes, meta) = self.get(range)?;
        if self.version.is(&Version::of(&meta)) && bytes.len() as u64 == len {
            Ok(bytes)
        } else {
            Err(Error::Changed)
        }
    }
}

/// A file on a server, and the pieces of it that are kept.
struct RemoteSource {
    file: RemoteFile,
    pieces: Pieces,
}

impl ReadAt for RemoteSource {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.pieces.read_at(out, offset, |range| self.file.get_again(range)).map_err(io::Error::other)
    }
}

impl Source for RemoteSource {
    fn len(&self) -> u64 {
        self.pieces.len()
    }

    fn is_remote(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for (name, url) in [
            ("https://host/a", true),
            ("s3://bucket/key", true),
            ("http://host:80/", true),
            ("file:///a", false),
            ("a/https://b", false),
        ] {
            assert_eq!(is_url(name), url, "{name}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for bad in ["https://", "s3://bucket/../other/", "https://host/a\\..\\b", "https://host/a/%2e%2e/b"] {
            assert!(matches!(parse(bad), Err(Error::Url(_))), "{bad}");
        }
        assert!(place(&parse("https://host/a?b=c").unwrap(), Kind::File).is_ok());
    }

    #[test]
    fn a_file_is_another_by_its_tag_or_else_its_time() {
        let version = |tag: Option<&str>, changed| Version { tag: tag.map(str::to_owned), changed, size: 1 };
        assert!(version(Some("\"a\""), 1).is(&version(Some("\"a\""), 2)));
        assert!(!version(Some("\"a\""), 1).is(&version(Some("\"b\""), 1)));
        assert!(version(None, 1).is(&version(None, 1)) && !version(None, 1).is(&version(None, 2)));
        assert!(!version(Some("\"a\""), 1).is(&Version { size: 2, ..version(Some("\"a\""), 1) }));
        assert_eq!(version(Some("W/\"a\""), 1).strong_tag(), None);
        assert_eq!(version(Some("\"a\""), 1).strong_tag(), Some("\"a\"".to_owned()));
    }
}
