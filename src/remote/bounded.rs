//! An HTTP client whose requests end, whatever the server sends. One ask, its retries included, has one [`Budget`]: bytes that
//! were asked for and a margin, and a time. An answer that stops for [`Limits::stall`] ends earlier. Nothing here knows
//! what is asked.

use super::names;
use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, NoProxy, Proxy, Url};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

/// Bytes above those asked for that an ask may take: the texts of errors that are tried again, and credentials.
pub(super) const MARGIN: u64 = 64 << 10;
/// Bytes of an error's text that are read.
const ERROR_TEXT: usize = 8 << 10;
/// The client's own limit for one request. Longer than ours, whose messages report what came.
const TIMEOUT: Duration = Duration::from_secs(600);
/// How often an answer may lead on to another URL.
const MAX_REDIRECTS: usize = 10;
/// Where machines of a cloud get their rights. Sources: Amazon EC2 User Guide, "Access instance metadata"; Google Compute Engine,
/// "About VM metadata"; Azure Instance Metadata Service.
const MACHINE: [&str; 2] = ["169.254.169.254", "metadata.google.internal"];
/// How long such a service may take: it is on the machine's own network.
const MACHINE_LIMIT: Duration = Duration::from_secs(5);

/// The most names of a list that are left out.
const MAX_HIDDEN: u64 = 4_000_000;

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Without a byte.
    pub stall: Duration,
    /// For all bytes of one ask, retries included.
    pub whole: Duration,
}

/// A piece of 512 KiB in a minute is 9 KB/s.
pub(super) const LIMITS: Limits = Limits { stall: Duration::from_secs(20), whole: Duration::from_secs(60) };

/// Why an answer ended before the server ended it.
#[derive(Clone, Debug, thiserror::Error)]
enum Ended {
    #[error("{TOO_MUCH}")]
    TooMuch,
    #[error("{STALLED} {} s", .0.as_secs_f32())]
    Stalled(Duration),
    #[error("{SLOW}: {bytes} bytes came in {} s", .whole.as_secs_f32())]
    Slow { bytes: u64, whole: Duration },
    #[error("{LEADS_AWAY} {0}")]
    LeadsAway(&'static str),
    #[error("{MACHINE_FAILS} {0}")]
    Machine(String),
}

/// How the reasons begin: the client's errors hand on the text of a cause.
pub(super) const TOO_MUCH: &str = "it sends more than it was asked for";
pub(super) const STALLED: &str = "nothing came for";
pub(super) const SLOW: &str = "it is too slow";
pub(super) const LEADS_AWAY: &str = "it leads to";
pub(super) const MACHINE_FAILS: &str = "this machine's metadata service";

impl Ended {
    /// For the client: a server that stalled may be asked again, within the same budget.
    fn kind(&self) -> HttpErrorKind {
        match self {
            Ended::Stalled(_) => HttpErrorKind::Timeout,
            // Kinds that are not tried again.
            Ended::TooMuch | Ended::Slow { .. } | Ended::LeadsAway(_) | Ended::Machine(_) => {
                HttpErrorKind::Decode
            }
        }
    }
}

impl From<Ended> for HttpError {
    fn from(ended: Ended) -> HttpError {
        HttpError::new(ended.kind(), ended)
    }
}

/// What one ask may cost.
#[derive(Debug)]
pub(super) struct Budget {
    asked: u64,
    limits: Limits,
    /// Names of lists that cannot be read, and were left out.
    hidden: AtomicU64,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Bytes that came.
    taken: u64,
    until: Instant,
}

tokio::task_local! {
    static BUDGET: Arc<Budget>;
}

impl Budget {
    /// For an ask for `asked` bytes that begins now.
    pub(super) fn new(asked: u64, limits: Limits) -> Arc<Budget> {
        let state = State { taken: 0, until: Instant::now() + limits.whole };
        Arc::new(Budget { asked, limits, hidden: AtomicU64::new(0), state: Mutex::new(state) })
    }

    /// Runs `work`, all of whose requests have this budget.
    pub(super) async fn scope<T>(self: &Arc<Budget>, work: impl Future<Output = T>) -> T {
        BUDGET.scope(Arc::clone(self), work).await
    }

    /// Counts names that were left out. Entries they are all the same, so that the next one has its own time and bytes; a store
    /// has as many of them as of others.
    fn hide(&self, names: u64) {
        let before = self.hidden.fetch_add(names, Ordering::Relaxed);
        if names > 0 && before < MAX_HIDDEN {
            self.renew();
        }
    }

    /// How many names of lists were left out.
    pub(super) fn hidden(&self) -> u64 {
        self.hidden.load(Ordering::Relaxed)
    }

    /// Begins anew: the next entry of a list came.
    pub(super) fn renew(&self) {
        *self.state() = State { taken: 0, until: Instant::now() + self.limits.whole };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another request may begin.
    fn check(&self) -> Result<(), Ended> {
        self.take(0)?;
        let until = self.state().until;
        if Instant::now() < until { Ok(()) } else { Err(self.late()) }
    }

    fn take(&self, bytes: u64) -> Result<(), Ended> {
        let mut state = self.state();
        state.taken = state.taken.saturating_add(bytes);
        if state.taken <= self.asked.saturating_add(MARGIN) { Ok(()) } else { Err(Ended::TooMuch) }
    }

    /// When the next byte must have come.
    fn deadline(&self) -> Instant {
        (Instant::now() + self.limits.stall).min(self.state().until)
    }

    /// Why the deadline passed.
    fn late(&self) -> Ended {
        let State { taken, until } = *self.state();
        let whole = self.limits.whole;
        match (Instant::now() < until, taken) {
            (true, _) => Ended::Stalled(self.limits.stall),
            (false, 0) => Ended::Stalled(whole),
            (false, bytes) => Ended::Slow { bytes, whole },
        }
    }
}

/// Makes clients that keep to the budget they are used in, and send what gives rights to no other server.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    /// Whether an answer may lead to another server: not where requests are signed. Of the URL of a web server
    /// nothing is sent on.
    pub leaves: bool,
    /// Host and port of a service for rights that the user named, beside [`MACHINE`].
    pub machine: Option<String>,
    /// The URL whose user and password each request carries, where it has some.
    pub user: Option<Url>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = self.client(options).map_err(|error| object_store::Error::Generic {
            store: "HTTP client",
            source: Box::new(error.without_url()),
        })?;
        let (machine, authorization) = (self.machine.clone(), self.authorization(&client));
        Ok(HttpClient::new(Service { client: HttpClient::new(client), machine, authorization }))
    }
}

impl Connector {
    /// The header for the user and password of a URL, which the client takes off where it follows to another server.
    fn authorization(&self, client: &reqwest::Client) -> Option<HeaderValue> {
        let request = client.get(self.user.clone()?).build().ok()?;
        request.headers().get(AUTHORIZATION).cloned()
    }

    fn client(&self, options: &ClientOptions) -> reqwest::Result<reqwest::Client> {
        let value = |key| options.get_config_value(&key);
        let is = |key| value(key).is_some_and(|value| value == "true");
        let leaves = self.leaves;
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("vmcore-decrypt/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .https_only(!is(ClientConfigKey::AllowHttp))
            .danger_accept_invalid_certs(is(ClientConfigKey::AllowInvalidCertificates))
            // The URL that led there may hold the right to read.
            .referer(false)
            .redirect(Policy::custom(move |attempt| redirect(leaves, attempt)));
        if let Some(proxy) = value(ClientConfigKey::ProxyUrl) {
            let excludes = value(ClientConfigKey::ProxyExcludes);
            client = client
                .proxy(Proxy::all(proxy)?.no_proxy(excludes.and_then(|names| NoProxy::from_string(&names))));
        }
        if let Some(authority) = value(ClientConfigKey::ProxyCaCertificate) {
            client = client.tls_certs_merge([Certificate::from_pem(authority.as_bytes())?]);
        }
        client.build()
    }
}

/// Whether an answer that leads to another URL is followed.
fn redirect(leaves: bool, attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let origin =
        |url: &Url| (url.scheme() == "https", url.host_str().map(str::to_owned), url.port_or_known_default());
    let (to, from) = (origin(attempt.url()), attempt.previous().last().map(origin));
    let why = match from {
        _ if attempt.previous().len() > MAX_REDIRECTS => "one URL after the other",
        Some((true, ..)) if !to.0 => "a server without TLS",
        Some(from) if from != to && !leaves => "another server, which gets no credentials",
        _ => return attempt.follow(),
    };
    attempt.error(Ended::LeadsAway(why))
}

#[derive(Debug)]
struct Service {
    client: HttpClient,
    machine: Option<String>,
    authorization: Option<HeaderValue>,
}

impl Service {
    /// Whether a request is for the rights of this machine.
    fn asks_machine(&self, request: &HttpRequest) -> bool {
        let authority = request.uri().authority();
        authority.is_some_and(|authority| {
            MACHINE.contains(&authority.host()) || self.machine.as_deref() == Some(authority.as_str())
        })
    }

    /// The answer of the service for this machine's rights, which is there at once or not at all.
    async fn ask_machine(&self, request: HttpRequest, limits: Limits) -> Result<HttpResponse, HttpError> {
        let failed = |why: String| HttpError::from(Ended::Machine(why));
        let limit = MACHINE_LIMIT.min(limits.stall);
        let answer = timeout(limit, self.client.execute(request)).await;
        let answer =
            answer.map_err(|_| failed(format!("does not answer within {} s", limit.as_secs_f32())))?;
        let answer = answer.map_err(|_| failed("does not answer".to_owned()))?;
        let status = answer.status();
        if status.is_success() { Ok(answer) } else { Err(failed(format!("has none ({})", status.as_u16()))) }
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        // Requests that nobody gave a budget, if there are any, get the margin.
        let budget = BUDGET.try_with(Arc::clone).unwrap_or_else(|_| Budget::new(0, LIMITS));
        budget.check()?;
        let is_list = request.uri().query().is_some_and(names::asks_for_list);
        let (parts, body) = if self.asks_machine(&request) {
            self.ask_machine(request, budget.limits).await?.into_parts()
        } else {
            let answer = timeout_at(budget.deadline(), self.client.execute(request));
            answer.await.map_err(|_| budget.late())??.into_parts()
        };
        let body = if parts.status.is_success() && is_list {
            let list = Watched::new(body, Arc::clone(&budget)).collect().await?.to_bytes();
            let (kept, hidden) = names::readable(&String::from_utf8_lossy(&list));
            budget.hide(hidden);
            kept.into()
        } else if parts.status.is_success() {
            HttpResponseBody::new(Watched::new(body, budget))
        } else {
            let text = error_text(Watched::new(body, Arc::clone(&budget)));
            timeout(budget.limits.stall, text).await.unwrap_or_default().into()
        };
        Ok(HttpResponse::from_parts(parts, body))
    }
}

/// The beginning of an error's text. One that breaks off, stalls or never ends is as good: the status counts.
async fn error_text(mut body: Watched) -> String {
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.into_data().unwrap_or_default();
        text.extend_from_slice(&data[..data.len().min(ERROR_TEXT - text.len())]);
        if text.len() == ERROR_TEXT {
            break;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A body that ends with an error when its budget does.
struct Watched {
    inner: HttpResponseBody,
    budget: Arc<Budget>,
    timer: Pin<Box<Sleep>>,
}

impl Watched {
    fn new(inner: HttpResponseBody, budget: Arc<Budget>) -> Watched {
        let timer = Box::pin(sleep_until(budget.deadline()));
        Watched { inner, budget, timer }
    }

    fn took(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, HttpError> {
        self.budget.take(frame.data_ref().map_or(0, Bytes::len) as u64)?;
        let deadline = self.budget.deadline();
        self.timer.as_mut().reset(deadline);
        Ok(frame)
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| self.took(frame?))),
            Poll::Pending => self.timer.as_mut().poll(context).map(|()| Some(Err(self.budget.late().into()))),
        }
    }
}

#[cfg(test)]
mod tests;
