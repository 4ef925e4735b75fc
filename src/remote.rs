//! A dump on a server, read by range: `https://`, `http://` and `s3://` URLs. Only what is looked at is
//! fetched, in pieces of which the last ones are kept. Nothing here knows what the bytes mean, and none
//! are trusted: chunks authenticate themselves, so a file that changes on the server reads as corrupt.

use crate::crypt::stream::ReadAt;
use crate::reader::Source;
use object_store::aws::AmazonS3Builder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt};
use reqwest::Url;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Bytes fetched at a time: a round trip's worth on a usual link, and several blocks of a dump.
const PIECE: u64 = 512 << 10;
/// Pieces kept: 16 MiB.
const KEPT: usize = 32;
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a URL cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a URL that can be read.
    #[error("not a URL of a file: {0}")]
    Url(String),
    /// The server refused, or cannot be reached.
    #[error("{0}")]
    Server(#[from] object_store::Error),
    /// No thread of execution for requests.
    #[error("starting the client")]
    Client(#[from] io::Error),
}

/// Whether a name is a URL that this room reads.
#[must_use]
pub fn is_url(name: &str) -> bool {
    ["https://", "http://", "s3://"].iter().any(|scheme| name.starts_with(scheme))
}

/// Opens the file at a URL. Credentials and endpoint of S3 come from the environment, as
/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`.
///
/// # Errors
/// See [`Error`].
pub fn open(url: &str) -> Result<Arc<dyn Source>, Error> {
    // Another part of the process may have chosen already; any choice will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (store, path) = store(url)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let len = runtime.block_on(store.head(&path))?.size;
    Ok(Arc::new(RemoteSource { runtime, store, path, len, kept: Mutex::default() }))
}

fn store(text: &str) -> Result<(Arc<dyn ObjectStore>, Path), Error> {
    let url = Url::parse(text).map_err(|error| Error::Url(error.to_string()))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::Url("it has a query or a fragment, which no file needs".to_owned()));
    }
    let path = Path::from_url_path(url.path()).map_err(|error| Error::Url(error.to_string()))?;
    let options = ClientOptions::new().with_timeout(TIMEOUT);
    if url.scheme() == "s3" {
        let store = AmazonS3Builder::from_env().with_url(text).build()?;
        return Ok((Arc::new(store), path));
    }
    let mut origin = url.clone();
    origin.set_path("/");
    let options = options.with_allow_http(url.scheme() == "http");
    let store = HttpBuilder::new().with_url(origin).with_client_options(options).build()?;
    Ok((Arc::new(store), path))
}

/// A file on a server.
struct RemoteSource {
    runtime: Runtime,
    store: Arc<dyn ObjectStore>,
    path: Path,
    len: u64,
    /// Pieces by number, the one used last in front.
    kept: Mutex<VecDeque<(u64, Arc<[u8]>)>>,
}

impl RemoteSource {
    fn piece(&self, number: u64) -> io::Result<Arc<[u8]>> {
        if let Some(piece) = touch(&mut self.lock(), number) {
            return Ok(piece);
        }
        let start = number * PIECE;
        let range = start..(start + PIECE).min(self.len);
        let fetched = self.runtime.block_on(self.store.get_range(&self.path, range.clone()));
        let piece: Arc<[u8]> = fetched.map_err(io::Error::other)?.as_ref().into();
        if piece.len() as u64 != range.end - range.start {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server sent another range"));
        }
        let mut kept = self.lock();
        kept.push_front((number, Arc::clone(&piece)));
        kept.truncate(KEPT);
        Ok(piece)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, Arc<[u8]>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn touch(kept: &mut VecDeque<(u64, Arc<[u8]>)>, number: u64) -> Option<Arc<[u8]>> {
    let at = kept.iter().position(|(kept, _)| *kept == number)?;
    let entry = kept.remove(at)?;
    let piece = Arc::clone(&entry.1);
    kept.push_front(entry);
    Some(piece)
}

impl ReadAt for RemoteSource {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.len || out.is_empty() {
            return Ok(0);
        }
        let piece = self.piece(offset / PIECE)?;
        let rest = usize::try_from(offset % PIECE).ok().and_then(|at| piece.get(at..)).unwrap_or(&[]);
        let take = rest.len().min(out.len());
        out[..take].copy_from_slice(&rest[..take]);
        Ok(take)
    }
}

impl Source for RemoteSource {
    fn len(&self) -> u64 {
        self.len
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
    fn queries_are_refused() {
        assert!(matches!(store("https://host/a?b=c"), Err(Error::Url(_))));
        assert!(matches!(store("https://"), Err(Error::Url(_))));
    }

    #[test]
    fn the_piece_used_last_stays() {
        let mut kept: VecDeque<(u64, Arc<[u8]>)> = (0..3).map(|n| (n, Arc::from([0u8; 1]))).collect();
        assert!(touch(&mut kept, 2).is_some());
        assert!(touch(&mut kept, 7).is_none());
        assert_eq!(kept.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 0, 1]);
    }
}
