//! One object into a store: exclusively, and again for some time where a link or a server fails.

use super::client::Client;
use super::error::Code;
use super::settings::{Credentials, Settings};
use super::{Error, expiry};
use crate::objects;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{ClientConfigKey, ObjectStore, PutMode, PutOptions, RetryConfig};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{Method, Url};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::{Builder, Runtime};

/// The first wait before a request is repeated, and the longest.
const WAIT: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(15)];
/// An object is given up after so many times the stall limit without success.
const PATIENCE: u32 = 5;
/// Makes a directory on a WebDAV server (RFC 4918 section 9.3).
const MKCOL: &[u8] = b"MKCOL";

/// What a probe showed of a store that takes objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    /// It takes an object only where none of its name is.
    Exclusive,
    /// It overwrites although `If-None-Match: *` forbids that.
    Overwrites,
    /// Not asked: each presigned URL serves one object of a dump. They expire then, where that is known.
    NotAsked(Option<SystemTime>),
}

/// A place in a store.
pub(crate) struct Store {
    runtime: Runtime,
    client: Client,
    way: Way,
    patience: Duration,
    shown: String,
    /// Whether an object of a dump was put.
    holds_objects: Arc<AtomicBool>,
}

/// How objects are put.
enum Way {
    /// By the store's own requests, below a prefix.
    Objects { store: Arc<dyn ObjectStore>, prefix: Path },
    /// By PUT below a URL.
    Puts { base: Url, headers: HeaderMap },
    /// By PUT to URLs made beforehand.
    Presigned(Vec<Url>),
}

impl Store {
    /// Takes the settings; asks no server yet.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Settings`], [`Error::Client`].
    pub(crate) fn new(settings: &Settings) -> Result<Store, Error> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Client(error.to_string()))?;
        let plain = settings.url.starts_with("http://")
            || settings.presigned.iter().any(|url| url.scheme() == "http");
        let client = Client::new(settings, plain)?;
        let (way, client) = if settings.presigned.is_empty() {
            way(settings, client)?
        } else {
            (Way::Presigned(settings.presigned.clone()), client)
        };
        let shown = if matches!(way, Way::Presigned(_)) { String::new() } else { with_slash(&settings.url) };
        let patience = settings.stall.saturating_mul(PATIENCE);
        Ok(Store { runtime, client, way, patience, shown, holds_objects: Arc::default() })
    }

    /// The place of a set as messages show it: nothing secret is in it.
    #[must_use]
    pub(crate) fn shown(&self, set: &str) -> String {
        match &self.way {
            Way::Presigned(urls) => urls.first().map_or_else(String::new, |url| {
                let path = url.path().rsplit_once('/').map_or("", |(path, _)| path);
                let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
                format!("{}://{}{port}{path}/", url.scheme(), url.host_str().unwrap_or_default())
            }),
            _ => format!("{}{set}/", self.shown),
        }
    }

    /// Whether an object of a dump was put, also when the store itself is another thread's.
    #[must_use]
    pub(crate) fn holds_objects(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.holds_objects)
    }

    /// The most bytes a dump may have there, where that is known beforehand.
    #[must_use]
    pub(crate) fn capacity(&self) -> Option<u64> {
        match &self.way {
            Way::Presigned(urls) => Some((urls.len() as u64 - 1).saturating_mul(objects::OBJECT)),
            _ => None,
        }
    }

    /// Prepares the place of a set where the server needs that: a directory on a WebDAV server. Whether it did shows when
    /// the first object is put.
    pub(super) fn prepare(&self, set: &str) {
        let Way::Puts { base, headers } = &self.way else { return };
        let mut path = String::new();
        for part in set.split('/') {
            path = format!("{path}{part}/");
            let (Ok(method), Ok(url)) = (Method::from_bytes(MKCOL), base.join(&path)) else { return };
            let _ = self.runtime.block_on(self.client.send(method, url, headers.clone(), Bytes::new()));
        }
    }

    /// Puts an object of a set, whole and exclusively. What fails for now is tried again for five times the stall limit.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) fn put(&self, set: &str, object: &str, bytes: &Bytes) -> Result<(), Error> {
        self.put_patiently(set, object, bytes)?;
        self.holds_objects.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn put_patiently(&self, set: &str, object: &str, bytes: &Bytes) -> Result<(), Error> {
        let (start, mut wait, mut again) = (Instant::now(), WAIT[0], false);
        loop {
            match self.runtime.block_on(self.put_once(set, object, bytes)) {
                // The answer to the request before was lost. Nobody else knows the name, which has random digits.
                Err(Error::Exists) if again => return Ok(()),
                Err(error) if error.may_pass() && start.elapsed() + wait < self.patience => {
                    thread::sleep(wait);
                    wait = (wait * 2).min(WAIT[1]);
                    again = true;
                }
                result => return result,
            }
        }
    }

    /// Puts the object [`objects::PROBE`] twice. The first put is good when the object is new or there already, the second only when
    /// the store refuses to overwrite. No request is repeated.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) fn probe(&self) -> Result<Probed, Error> {
        if let Way::Presigned(urls) = &self.way {
            return match expiry(urls) {
                Some(until) if until < SystemTime::now() => Err(Error::Expired(Code::default())),
                until => Ok(Probed::NotAsked(until)),
            };
        }
        let bytes = Bytes::from_static(b"vmcore-encrypt check writes this object once.\n");
        let put = || self.runtime.block_on(self.put_once("", objects::PROBE, &bytes));
        match put() {
            Ok(()) | Err(Error::Exists) => {}
            Err(error) => return Err(error),
        }
        match put() {
            Ok(()) => Ok(Probed::Overwrites),
            Err(Error::Exists) => Ok(Probed::Exclusive),
            Err(error) => Err(error),
        }
    }

    async fn put_once(&self, set: &str, object: &str, bytes: &Bytes) -> Result<(), Error> {
        match &self.way {
            Way::Objects { store, prefix } => {
                let parts = set.split('/').filter(|part| !part.is_empty());
                let place = parts.fold(prefix.clone(), |path, part| path.join(part)).join(object);
                let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                let done = store.put_opts(&place, bytes.clone().into(), options).await;
                done.map(drop).map_err(|error| self.meaning(&error))
            }
            Way::Puts { base, headers } => {
                let name = format!("{set}/{object}");
                let url = base.join(name.trim_start_matches('/'));
                let url = url.map_err(|error| Error::Url(error.to_string()))?;
                self.put_to(url, headers, bytes).await
            }
            Way::Presigned(urls) => {
                self.put_to(presigned(urls, object)?.clone(), &HeaderMap::new(), bytes).await
            }
        }
    }

    async fn put_to(&self, url: Url, headers: &HeaderMap, bytes: &Bytes) -> Result<(), Error> {
        let mut headers = headers.clone();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        let answer = self.client.send(Method::PUT, url, headers, bytes.clone()).await?;
        answer.error().map_or(Ok(()), Err)
    }

    /// What an error of the library means. Its text may hold the URL or the server's words, so they come from the last
    /// request instead.
    fn meaning(&self, error: &object_store::Error) -> Error {
        match (error, self.client.take_last()) {
            (object_store::Error::AlreadyExists { .. }, _) => Error::Exists,
            (_, Some(last)) if last.is_metadata => {
                let why =
                    "there are no credentials for the store, and the cloud's metadata service gives none";
                Error::Settings(why.to_owned())
            }
            (_, Some(last)) => last
                .error
                .unwrap_or_else(|| Error::Settings("the store's answer is not understood".to_owned())),
            (_, None) => refused("they are not complete"),
        }
    }
}

/// The URL made for an object.
fn presigned<'a>(urls: &'a [Url], object: &str) -> Result<&'a Url, Error> {
    let last = urls.len().saturating_sub(1);
    let at = objects::number(object).map_or(last, |number| number as usize);
    let is_its_own = (at == last) == (object == objects::END);
    urls.get(at).filter(|_| is_its_own).ok_or(Error::TooFew(urls.len()))
}

fn with_slash(url: &str) -> String {
    if url.ends_with('/') { url.to_owned() } else { format!("{url}/") }
}

fn way(settings: &Settings, client: Client) -> Result<(Way, Client), Error> {
    let url = settings.place()?;
    let key = match url.scheme() {
        "https" | "http" => return puts(settings, &url).map(|way| (way, client)),
        scheme @ ("s3" | "gs" | "az") => scheme,
        other => return Err(Error::Url(format!("{other}: is not s3:, gs:, az: or https:"))),
    };
    let prefix = Path::from_url_path(url.path()).map_err(|error| Error::Url(error.to_string()))?;
    let bucket = url.host_str().unwrap_or_default();
    let (store, client) = match key {
        "s3" => s3(bucket, &settings.credentials, &client)?,
        "gs" => google(bucket, &settings.credentials, &client)?,
        _ => azure(bucket, &settings.credentials, &client)?,
    };
    Ok((Way::Objects { store, prefix }, client))
}

/// Requests are not repeated by the library: here it is known what moved.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// A fault in the credentials, without their values.
fn refused(why: impl Into<String>) -> Error {
    Error::Credentials(why.into())
}

/// The library's refusal: what it needs is not all there.
fn incomplete() -> Error {
    refused("they are not complete, or not of this kind")
}

type Built = (Arc<dyn ObjectStore>, Client);

/// A builder without settings, or, where no file has any, with those of the environment: never of both, which would sign with the key
/// of one and the secret of the other.
fn from<B>(credentials: &Credentials, empty: fn() -> B, of_environment: fn() -> B) -> B {
    if credentials.pairs().next().is_some() { empty() } else { of_environment() }
}

/// A store's builder with the credentials, each set by `set` under the key that the store knows it by.
fn with_pairs<'a, B, K: Copy + FromStr + PartialEq>(
    builder: B,
    credentials: &'a Credentials,
    set: impl Fn(B, K, &'a str) -> B,
) -> Result<B, Error> {
    let mut taken: Vec<(K, &str)> = Vec::new();
    credentials.pairs().try_fold(builder, |builder, (name, value)| {
        let key = name.to_ascii_lowercase().parse::<K>();
        let key = key.map_err(|_| refused(format!("unknown key {name}")))?;
        if let Some((_, other)) = taken.iter().find(|(known, _)| *known == key) {
            return Err(refused(format!("{other} and {name} are the same setting")));
        }
        taken.push((key, name));
        Ok(set(builder, key, value))
    })
}

/// What a value of the credentials becomes in the URL of a store.
#[derive(Clone, Copy)]
enum Place {
    /// All of it, or its host.
    Endpoint,
    /// A part of the host.
    Label,
}

/// Refuses a value of the file, or else of the environment, that cannot be in the URL of a store. The library takes any text, and
/// panics with it in its first request or asks another server.
fn check_host<K: FromStr + PartialEq + AsRef<str>>(
    credentials: &Credentials,
    value: Option<String>,
    key: &K,
    place: Place,
) -> Result<(), Error> {
    let is_its = |name: &str| name.to_ascii_lowercase().parse().is_ok_and(|known: K| known == *key);
    let name = credentials.pairs().find_map(|(name, _)| is_its(name).then_some(name));
    let name = name
        .map_or_else(|| format!("{} of the environment", key.as_ref().to_ascii_uppercase()), str::to_owned);
    let value = value.unwrap_or_default();
    let is_label = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match place {
        _ if value.is_empty() => Ok(()),
        Place::Endpoint if is_endpoint(&value) => Ok(()),
        Place::Endpoint => {
            Err(refused(format!("{name} cannot be part of a URL: it must be like https://HOST:PORT")))
        }
        Place::Label if is_label => Ok(()),
        Place::Label => Err(refused(format!(
            "{name} cannot be part of a URL: it is of letters, digits and -, as eu-central-1"
        ))),
    }
}

fn is_endpoint(value: &str) -> bool {
    let url = if value.contains("://") { value.to_owned() } else { format!("https://{value}/") };
    let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}@?#".contains(&byte));
    is_plain && crate::url::check(&url).is_ok() && Url::parse(&url).is_ok_and(|url| url.has_host())
}

/// Whether the credentials allow a server to be asked without TLS.
fn is_plain(allow_http: Option<&str>) -> bool {
    allow_http.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn s3(bucket: &str, credentials: &Credentials, client: &Client) -> Result<Built, Error> {
    use AmazonS3ConfigKey as Key;
    let builder = from(credentials, AmazonS3Builder::new, AmazonS3Builder::from_env)
        .with_bucket_name(bucket)
        .with_retry(once());
    let builder = with_pairs(builder, credentials, AmazonS3Builder::with_config)?;
    for key in [Key::Endpoint, Key::S3Endpoint, Key::MetadataEndpoint, Key::StsEndpoint] {
        check_host(credentials, builder.get_config_value(&key), &key, Place::Endpoint)?;
    }
    for key in [Key::Region, Key::DefaultRegion] {
        check_host(credentials, builder.get_config_value(&key), &key, Place::Label)?;
    }
    let plain = builder.get_config_value(&Key::Client(ClientConfigKey::AllowHttp));
    let client = client.with_plain(is_plain(plain.as_deref()));
    let store = builder.with_http_connector(client.clone()).build().map_err(|_| incomplete())?;
    Ok((Arc::new(store), client))
}

fn google(bucket: &str, credentials: &Credentials, client: &Client) -> Result<Built, Error> {
    use GoogleConfigKey as Key;
    let builder = from(credentials, GoogleCloudStorageBuilder::new, GoogleCloudStorageBuilder::from_env)
        .with_bucket_name(bucket)
        .with_retry(once());
    let builder = with_pairs(builder, credentials, GoogleCloudStorageBuilder::with_config)?;
    check_host(credentials, builder.get_config_value(&Key::BaseUrl), &Key::BaseUrl, Place::Endpoint)?;
    let plain = builder.get_config_value(&Key::Client(ClientConfigKey::AllowHttp));
    let client = client.with_plain(is_plain(plain.as_deref()));
    let store = builder.with_http_connector(client.clone()).build().map_err(|_| incomplete())?;
    Ok((Arc::new(store), client))
}

fn azure(container: &str, credentials: &Credentials, client: &Client) -> Result<Built, Error> {
    use AzureConfigKey as Key;
    let builder = from(credentials, MicrosoftAzureBuilder::new, MicrosoftAzureBuilder::from_env)
        .with_container_name(container)
        .with_retry(once());
    let builder = with_pairs(builder, credentials, MicrosoftAzureBuilder::with_config)?;
    for key in [Key::Endpoint, Key::AuthorityHost, Key::MsiEndpoint] {
        check_host(credentials, builder.get_config_value(&key), &key, Place::Endpoint)?;
    }
    check_host(credentials, builder.get_config_value(&Key::AccountName), &Key::AccountName, Place::Label)?;
    let plain = builder.get_config_value(&Key::Client(ClientConfigKey::AllowHttp));
    let client = client.with_plain(is_plain(plain.as_deref()));
    let store = builder.with_http_connector(client.clone()).build().map_err(|_| incomplete())?;
    Ok((Arc::new(store), client))
}

fn puts(settings: &Settings, url: &Url) -> Result<Way, Error> {
    let credentials = &settings.credentials;
    let is_known = |key: &str| {
        ["http_user", "http_password", "http_token"].iter().any(|known| key.eq_ignore_ascii_case(known))
    };
    if let Some((key, _)) = credentials.pairs().find(|(key, _)| !is_known(key)) {
        return Err(refused(format!("unknown key {key}")));
    }
    let text = match (credentials.get("http_user"), credentials.get("http_token")) {
        (Some(user), None) => {
            let password = credentials.get("http_password").unwrap_or_default();
            Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        }
        (None, Some(token)) => Some(format!("Bearer {token}")),
        (None, None) => None,
        (Some(_), Some(_)) => {
            return Err(refused("HTTP_USER and HTTP_TOKEN exclude each other"));
        }
    };
    if text.is_some() && url.scheme() != "https" {
        return Err(refused("HTTP_PASSWORD and HTTP_TOKEN are sent by https: alone"));
    }
    let mut headers = HeaderMap::new();
    if let Some(text) = text {
        let value = HeaderValue::try_from(text);
        let mut value = value.map_err(|_| refused("they cannot be in a header"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let base = Url::parse(&with_slash(url.as_str())).map_err(|error| Error::Url(error.to_string()))?;
    Ok(Way::Puts { base, headers })
}
