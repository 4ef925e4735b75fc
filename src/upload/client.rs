//! One HTTP request: a body that reports how far it went, an end where nothing moves for some time, an answer of which
//! the beginning is read, and what went wrong in our words. As a service it carries the requests of `object_store` too.

use super::names::{Names, Unresolved};
use super::settings::Settings;
use super::{Error, tls};
use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode, Url};
use std::convert::Infallible;
use std::error::Error as StdError;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Bytes handed to the connection at a time; each time counts as progress.
const STEP: usize = 64 << 10;
/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 << 10;
/// How often it is checked whether something moved.
const TICK: Duration = Duration::from_millis(200);
/// Bytes of an error's words in a message.
const MAX_WORDS: usize = 200;
/// Where clouds hand out credentials to their machines, by plain HTTP that leaves no host.
const METADATA: [&str; 4] =
    ["169.254.169.254", "169.254.170.2", "[fd00:ec2::254]", "metadata.google.internal"];

/// The client of one upload. Clones are the same client.
#[derive(Clone)]
pub(super) struct Client {
    inner: reqwest::Client,
    stall: Duration,
    /// Whether a server may be asked without TLS.
    plain: bool,
    /// What became of the last request.
    last: Arc<Mutex<Option<Last>>>,
}

/// The end of a request.
#[derive(Clone)]
pub(super) struct Last {
    /// Whether it asked the cloud for credentials.
    pub is_metadata: bool,
    /// The meaning of the answer, or what failed.
    pub error: Option<Error>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// How far a request went.
#[derive(Clone)]
struct Progress(Arc<Mutex<Moved>>);

struct Moved {
    begun: Instant,
    /// When something moved last.
    last: Instant,
    /// Whether the kernel has all of the body.
    handed_over: bool,
}

impl Progress {
    fn new() -> Progress {
        let now = Instant::now();
        Progress(Arc::new(Mutex::new(Moved { begun: now, last: now, handed_over: false })))
    }

    fn touch(&self, handed_over: bool) {
        let mut moved = lock(&self.0);
        moved.last = Instant::now();
        moved.handed_over |= handed_over;
    }

    /// Whether it has been still for so long. The kernel takes some megabytes of a body before the link does: after the
    /// last of them as much time as all of it took may go by as well.
    fn is_stalled(&self, stall: Duration) -> bool {
        let moved = lock(&self.0);
        let more = if moved.handed_over { moved.last - moved.begun } else { Duration::ZERO };
        moved.last.elapsed() >= stall + more
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body in steps.
struct Steps {
    left: Bytes,
    progress: Progress,
}

impl Body for Steps {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let step = self.left.len().min(STEP);
        self.progress.touch(step == self.left.len());
        Poll::Ready((step > 0).then(|| Ok(Frame::data(self.left.split_to(step)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

/// An answer, of whose body only the beginning is read.
pub(super) struct Answer {
    pub status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// What it means; `None` for success.
    pub(super) fn error(&self) -> Option<Error> {
        Error::of_answer(self.status.as_u16(), &String::from_utf8_lossy(&self.body))
    }
}

impl Client {
    /// Connects to nothing yet. `plain` allows servers without TLS.
    pub(super) fn new(settings: &Settings, plain: bool) -> Result<Client, Error> {
        let inner = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(settings.authorities.as_ref())?)
            .dns_resolver(Arc::new(Names::new(settings.hosts.clone(), settings.stall / 2)))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(settings.stall)
            .build()
            .map_err(|error| Error::Client(words(&error)))?;
        Ok(Client { inner, stall: settings.stall, plain, last: Arc::default() })
    }

    /// What became of the last request, once.
    pub(super) fn take_last(&self) -> Option<Last> {
        lock(&self.last).take()
    }

    /// The same, for a server that is asked without TLS or not.
    pub(super) fn with_plain(&self, plain: bool) -> Client {
        Client { plain, ..self.clone() }
    }

    /// Sends a request. An answer of any status is an answer.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Error> {
        let is_metadata = url.host_str().is_some_and(|host| METADATA.contains(&host));
        if url.scheme() != "https" && !self.plain && !is_metadata {
            return Err(Error::Settings("the server would be asked without TLS".to_owned()));
        }
        let progress = Progress::new();
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        if !body.is_empty() {
            *request.body_mut() = Some(reqwest::Body::wrap(Steps { left: body, progress: progress.clone() }));
        }
        let work = async {
            let mut answer = self.inner.execute(request).await.map_err(|error| failure(&error))?;
            progress.touch(false);
            // The status counts: an answer whose text does not end within that time has none.
            let body = tokio::time::timeout(self.stall / 2, beginning(&mut answer)).await;
            let body = body.unwrap_or_default();
            Ok(Answer { status: answer.status(), headers: answer.headers().clone(), body })
        };
        self.watched(&progress, work).await?
    }

    /// Ends what does not move.
    async fn watched<T>(&self, progress: &Progress, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut work = pin!(work);
        loop {
            match tokio::time::timeout(TICK, work.as_mut()).await {
                Ok(done) => return Ok(done),
                Err(_) if progress.is_stalled(self.stall) => return Err(Error::Stalled(self.stall)),
                Err(_) => {}
            }
        }
    }
}

/// The beginning of a body. One that breaks off is as good: the status counts.
async fn beginning(answer: &mut Response) -> Bytes {
    let mut read = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        read.extend_from_slice(&piece[..piece.len().min(MAX_ANSWER - read.len())]);
        if read.len() == MAX_ANSWER {
            break;
        }
    }
    read.into()
}

/// Why there is no answer, without the URL.
fn failure(error: &reqwest::Error) -> Error {
    for cause in causes(error) {
        if let Some(rustls::Error::InvalidCertificate(why)) = cause.downcast_ref() {
            return Error::Certificate(short(&why.to_string()));
        }
        if let Some(why) = cause.downcast_ref::<Unresolved>() {
            return Error::Name(short(&why.to_string()));
        }
    }
    Error::Unreachable(words(error))
}

/// An error and what caused it, the innermost last. An I/O error hides the one inside it from `source`, and there may be one inside
/// the other.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}

/// The innermost cause; those around it repeat it, or show the URL.
fn words(error: &(dyn StdError + 'static)) -> String {
    short(&causes(error).last().unwrap_or(error).to_string())
}

fn short(text: &str) -> String {
    text.chars().take(MAX_WORDS).collect()
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse::<Url>();
        let url = url.map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        let is_metadata = url.host_str().is_some_and(|host| METADATA.contains(&host));
        let body = body.collect().await?.to_bytes();
        let sent = self.send(parts.method, url, parts.headers, body).await;
        let error = sent.as_ref().map_or_else(|error| Some(error.clone()), Answer::error);
        *lock(&self.last) = Some(Last { is_metadata, error });
        // A kind that is not tried again: that is for the caller to decide.
        let answer = sent.map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        let mut response = HttpResponse::new(HttpResponseBody::from(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

impl HttpConnector for Client {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}
