//! Why a file on a server cannot be read, in our words and without the URL: it may hold the right to read.

use super::bounded::{LEADS_AWAY, MACHINE_FAILS, SLOW, STALLED, TOO_MUCH};
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

/// Bytes of a server's own words in a message.
const MAX_WORDS: usize = 200;
/// How the client's errors about a certificate begin.
const CERTIFICATE: &str = "invalid peer certificate: ";
/// How the client's errors about a status begin.
const STATUS: &str = "Server returned non-2xx status code: ";
/// Words of errors where no answer comes in time: the client's, and ours with the limit.
const SILENT: [&str; 4] = ["timed out", "deadline has elapsed", STALLED, SLOW];

/// Why a file on a server cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Not a URL that can be read.
    #[error("not a URL of a file: {0}")]
    Url(String),
    /// Status 404.
    #[error("the server has no such file")]
    NotFound,
    /// Status 404, of the bucket.
    #[error("the server has no such bucket")]
    NoBucket,
    /// Status 401 or 403.
    #[error("the server does not allow it to be read")]
    Refused,
    /// Neither the environment nor a file nor the machine has a key.
    #[error("there are no credentials for S3")]
    NoCredentials,
    /// Only the machine could have rights, and its metadata service gives none.
    #[error("there are no credentials, and {0}")]
    NoMachine(String),
    /// It leads to another server, or away from TLS.
    #[error("the server does not have it itself: {0}")]
    LeadsAway(String),
    /// The profile that is to be used cannot be.
    #[error("using the profile of AWS_PROFILE: {0}")]
    Profile(String),
    /// A region that cannot be in the name of a server.
    #[error("the region of S3 (AWS_REGION, or that of the profile) has characters that no region has")]
    Region,
    /// A value that the client cannot send, and panics with.
    #[error("the value of {0} has characters that no such value has")]
    Setting(&'static str),
    /// An endpoint of S3 without TLS.
    #[error("the server would be asked without TLS")]
    PlainHttp,
    /// The whole file came where a part was asked for.
    #[error("the server does not hand out parts of the file")]
    NoRanges,
    /// Its ETag or time is another one than at first.
    #[error("the file has changed on the server while it was read")]
    Changed,
    /// More bytes came than were asked for.
    #[error("the server sends more than it was asked for")]
    TooMuch,
    /// The server's certificate is not accepted.
    #[error("the server's certificate: {0}")]
    Certificate(String),
    /// No answer came in time, or not all of it.
    #[error("the server does not answer in time: {0}")]
    Silent(String),
    /// Any other failure: no connection, or an unexpected status.
    #[error("asking the server: {0}")]
    Server(String),
    /// The client could not be started.
    #[error("starting the client")]
    Client(#[source] Arc<io::Error>),
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::NotFound => {
                "the names of buckets and files are exact, and some servers answer so where reading is not allowed"
            }
            Error::NoBucket => "AWS_ENDPOINT_URL and AWS_REGION tell where the bucket is",
            Error::Refused => {
                "https: a presigned URL may have expired; s3: AWS_ACCESS_KEY_ID or AWS_PROFILE must name an account that may read it"
            }
            Error::NoCredentials => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; AWS_SKIP_SIGNATURE=true reads public buckets"
            }
            Error::NoMachine(_) => {
                "s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; gs: GOOGLE_APPLICATION_CREDENTIALS; AWS_SKIP_SIGNATURE=true reads public buckets"
            }
            Error::LeadsAway(_) => {
                "name the server that has it; of a bucket AWS_ENDPOINT_URL and AWS_REGION tell where it is"
            }
            Error::Profile(_) => {
                "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, as aws configure export-credentials prints them"
            }
            Error::Region => "a region is of letters, digits and -, as eu-central-1",
            Error::PlainHttp => {
                "name the endpoint as https://...; AWS_ALLOW_HTTP=true allows it, and others on the way see what is read"
            }
            Error::NoRanges => "download the dump, or pipe it to standard input",
            Error::Changed => "start again",
            Error::Certificate(why) => certificate_hint(why),
            Error::Silent(_) => {
                "check the name in the URL, the proxy (https_proxy, no_proxy) and the firewall"
            }
            _ => return None,
        })
    }
}

/// What helps against a certificate that is not accepted. The reasons are rustls's words.
fn certificate_hint(why: &str) -> &'static str {
    match why {
        _ if why.contains("UnknownIssuer") => {
            "SSL_CERT_FILE names a file of authorities to trust (PEM), a self-signed certificate among them"
        }
        _ if why.contains("CaUsedAsEndEntity") => {
            "the server uses the certificate of an authority; it needs one with CA:FALSE and a subjectAltName"
        }
        _ if why.contains("name") || why.contains("Name") => {
            "the certificate needs the host's name of the URL as a subjectAltName"
        }
        _ if why.contains("xpired") || why.contains("alidYet") || why.contains("valid yet") => {
            "the certificate's time is over or has not begun, or this machine's clock is wrong"
        }
        _ => {
            "the server needs a certificate of X.509 version 3 with a subjectAltName, signed by an authority in SSL_CERT_FILE"
        }
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Error {
        use object_store::Error as Cause;
        match error {
            Cause::NotFound { source, .. } if source.to_string().contains("NoSuchBucket") => Error::NoBucket,
            Cause::NotFound { .. } => Error::NotFound,
            Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => Error::Refused,
            Cause::NotSupported { .. } => Error::NoRanges,
            Cause::Precondition { .. } => Error::Changed,
            error => Error::of_words(&root(&error).to_string()),
        }
    }
}

impl Error {
    fn of_words(words: &str) -> Error {
        let short = |words: &str| words.chars().take(MAX_WORDS).collect();
        if let Some(why) = words.strip_prefix(CERTIFICATE) {
            return Error::Certificate(short(why));
        }
        // Lists come without the meaning of a status.
        if let Some(status) = words.strip_prefix(STATUS) {
            return match status.get(..3) {
                Some("401" | "403") => Error::Refused,
                Some("404") if words.contains("NoSuchBucket") => Error::NoBucket,
                Some("404") => Error::NotFound,
                // What follows is the server's page, which may repeat the URL with what it holds.
                _ => Error::Server(short(status.split(':').next().unwrap_or_default())),
            };
        }
        match words {
            // The client's name for status 200, where its kind is not `NotSupported`.
            _ if words.contains("non-partial response") => Error::NoRanges,
            _ if words.contains(TOO_MUCH) => Error::TooMuch,
            _ if words.starts_with(MACHINE_FAILS) => Error::NoMachine(short(words)),
            _ if words.starts_with(LEADS_AWAY) => Error::LeadsAway(short(words)),
            _ if SILENT.iter().any(|silent| words.contains(silent)) => Error::Silent(short(words)),
            _ => Error::Server(short(words)),
        }
    }
}

/// The innermost cause; those around it repeat it, or show the URL.
fn root<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_words_become_ours() {
        for (words, expected, hint) in [
            (
                "invalid peer certificate: UnknownIssuer",
                "the server's certificate: UnknownIssuer",
                "SSL_CERT_FILE",
            ),
            (
                "invalid peer certificate: Other(CaUsedAsEndEntity)",
                "the server's certificate: Other(CaUsedAsEndEntity)",
                "CA:FALSE",
            ),
            (
                "invalid peer certificate: certificate not valid for name \"a\"",
                "the server's certificate: certificate not",
                "subjectAltName",
            ),
            (
                "invalid peer certificate: certificate expired: verification time 1",
                "the server's certificate: certificate exp",
                "clock",
            ),
            ("operation timed out", "the server does not answer in time: operation", "https_proxy"),
            (
                "this machine's metadata service does not answer",
                "there are no credentials, and this machine's metadata service does not",
                "AWS_PROFILE",
            ),
            (
                "it leads to another server",
                "the server does not have it itself: it leads to another",
                "AWS_ENDPOINT_URL",
            ),
            (
                "nothing came for 20 s",
                "the server does not answer in time: nothing came for 20 s",
                "https_proxy",
            ),
        ] {
            let error = Error::of_words(words);
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(error.hint().unwrap().contains(hint), "{words}");
        }
        let status = |words: &str| Error::of_words(&format!("{STATUS}{words}"));
        assert!(matches!(status("403 Forbidden: <Code>AccessDenied</Code>"), Error::Refused));
        assert!(matches!(status("404 Not Found: <Code>NoSuchBucket</Code>"), Error::NoBucket));
        assert!(matches!(status("404 Not Found: "), Error::NotFound));
        let repeats = status("410 Gone: <Error>/a?X-Amz-Signature=secret</Error>").to_string();
        assert_eq!(repeats, "asking the server: 410 Gone");
        let long = Error::of_words(&"x".repeat(1000)).to_string();
        assert_eq!(long.len(), "asking the server: ".len() + MAX_WORDS);
    }
}
