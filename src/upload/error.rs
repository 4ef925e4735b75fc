//! What can go wrong on the way into a store, in our words, and what of it may pass.

use std::io;
use std::time::Duration;

/// Why an object is not put.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a URL of a place where objects can be put.
    #[error("not a URL of a place for objects: {0}")]
    Url(String),
    /// The settings for the store do not fit it, or each other. Names no value.
    #[error("{0}")]
    Settings(String),
    /// A fault in what gives the right to write, which the caller knows the file of. Names no value.
    #[error("the credentials for the store: {0}")]
    Credentials(String),
    /// An object of that name is there.
    #[error("an object of that name is there already, and is not overwritten")]
    Exists,
    /// Status 401 or 403.
    #[error("the store refuses it{0}")]
    Refused(Code),
    /// The right to write has expired.
    #[error("the right to write has expired{0}")]
    Expired(Code),
    /// The store's clock and this machine's differ too much.
    #[error("the store finds this machine's clock wrong{0}")]
    Clock(Code),
    /// No such bucket or directory.
    #[error("the store has no such place{0}")]
    NotFound(Code),
    /// There is no room, or a quota is used up.
    #[error("the store is full{0}")]
    Full(Code),
    /// It cannot put, or not exclusively.
    #[error("the store does not take objects this way (status {0})")]
    Unsupported(u16),
    /// Any other answer.
    #[error("the store answers with status {0}{1}")]
    Status(u16, Code),
    /// No connection, or it broke.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    /// The server's name has no address.
    #[error("the address of the store is not known: {0}")]
    Name(String),
    /// The certificate of the server is not good.
    #[error("the server's certificate: {0}")]
    Certificate(String),
    /// No byte went out or came in for so long.
    #[error("nothing moved for {} s", .0.as_secs())]
    Stalled(Duration),
    /// A list of presigned URLs has no URL left for an object.
    #[error("there are only {0} presigned URLs, and the dump is longer")]
    TooFew(usize),
    /// More objects than have names.
    #[error("the dump is larger than {} objects", crate::objects::MAX_OBJECTS)]
    TooLarge,
    /// Threads or files cannot be had.
    #[error("starting the client: {0}")]
    Client(String),
}

/// A server's name for what is wrong: letters alone, of its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code(String);

/// Longest name that is taken.
const MAX_CODE: usize = 40;

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

impl Code {
    /// From the body of an answer: the first `<Code>` element, as S3, Google's and Azure's errors have it.
    fn of(body: &str) -> Code {
        let inner = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        let word = inner.map_or("", |(code, _)| code);
        let plain =
            !word.is_empty() && word.len() <= MAX_CODE && word.bytes().all(|byte| byte.is_ascii_alphabetic());
        Code(if plain { word.to_owned() } else { String::new() })
    }

    fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.0.contains(word))
    }
}

impl Error {
    /// What an answer means; `None` for success. `body` is its beginning.
    pub(super) fn of_answer(status: u16, body: &str) -> Option<Error> {
        let code = Code::of(body);
        Some(match status {
            200..=299 => return None,
            412 => Error::Exists,
            507 => Error::Full(code),
            _ if code.has(&["Quota", "StorageFull"]) => Error::Full(code),
            400..=403 if code.has(&["TimeTooSkewed", "RequestExpired"]) => Error::Clock(code),
            400..=403 if code.has(&["Expired"]) || body.contains("Request has expired") => {
                Error::Expired(code)
            }
            // Azure's name for what is there already.
            409 if code.has(&["AlreadyExists"]) => Error::Exists,
            401 | 403 => Error::Refused(code),
            404 => Error::NotFound(code),
            // A WebDAV server without the directory (RFC 4918 section 9.7.1). A bucket's conflicts, which pass, have a name.
            409 if code.0.is_empty() => Error::NotFound(code),
            405 | 501 => Error::Unsupported(status),
            _ => Error::Status(status, code),
        })
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            // The network of a capture kernel, and its DNS servers with it, may come up late.
            Error::Unreachable(_) | Error::Name(_) | Error::Stalled(_) => true,
            // 409: a request for the same object is still under way.
            Error::Status(status, _) => matches!(status, 408 | 409 | 425 | 429 | 500..),
            _ => false,
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Refused(_) => Some("the credentials need the right to put objects below this prefix"),
            Error::Expired(_) => {
                Some("make new presigned URLs or credentials, and rebuild the kdump image with them")
            }
            Error::Clock(_) => {
                Some("set the hardware clock, or use presigned URLs, which need no clock here")
            }
            Error::Name(_) => Some("--resolve HOST=ADDRESS gives the address, without a lookup"),
            Error::Certificate(_) => {
                Some("--ca-file names the authorities to trust; a wrong clock makes good certificates bad")
            }
            Error::NotFound(_) => Some("make the bucket or directory first"),
            Error::Unsupported(_) => Some("the server must take PUT with If-None-Match"),
            Error::TooFew(_) => {
                Some("make more presigned URLs, one for each 16 MiB and one for the end mark")
            }
            _ => None,
        }
    }

    /// The reason inside an error of writing.
    #[must_use]
    pub fn find(error: &io::Error) -> Option<&Error> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error {
            // So that the collector tries its next dump level.
            Error::Full(_) | Error::TooFew(_) | Error::TooLarge => {
                io::Error::new(io::ErrorKind::StorageFull, error)
            }
            error => io::Error::other(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_stores_document() {
        let code =
            |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Key>a</Key></Error>");
        let of = |status, word: &str| Error::of_answer(status, &code(word)).unwrap();
        assert_eq!(Error::of_answer(200, ""), None);
        assert_eq!(of(412, "PreconditionFailed"), Error::Exists);
        assert_eq!(of(409, "BlobAlreadyExists"), Error::Exists);
        assert!(of(409, "ConditionalRequestConflict").may_pass());
        let no_directory = Error::of_answer(409, "<h1>409 Conflict</h1>").unwrap();
        assert!(matches!(no_directory, Error::NotFound(_)) && !no_directory.may_pass());
        assert!(matches!(of(403, "AccessDenied"), Error::Refused(_)));
        assert!(matches!(of(403, "RequestTimeTooSkewed"), Error::Clock(_)));
        assert!(matches!(of(400, "ExpiredToken"), Error::Expired(_)));
        assert!(matches!(of(403, "QuotaExceeded"), Error::Full(_)));
        assert!(matches!(of(507, ""), Error::Full(_)));
        assert!(of(503, "SlowDown").may_pass() && of(500, "").may_pass() && of(429, "").may_pass());
        assert!(
            !of(400, "InvalidDigest").may_pass()
                && !of(301, "").may_pass()
                && !of(404, "NoSuchBucket").may_pass()
        );
        assert_eq!(of(404, "NoSuchBucket").to_string(), "the store has no such place (NoSuchBucket)");
    }

    #[test]
    fn nothing_of_an_answer_but_a_plain_word_is_shown() {
        for body in ["<Code>\u{1b}[2J</Code>", "<Code>AWSAccessKeyId=4711</Code>", "secret words", "<Code>"] {
            assert_eq!(Error::of_answer(403, body), Some(Error::Refused(Code::default())), "{body}");
        }
        let long = format!("<Code>{}</Code>", "a".repeat(50));
        assert_eq!(Error::of_answer(403, &long), Some(Error::Refused(Code::default())));
    }

    #[test]
    fn a_full_store_is_a_full_disk() {
        let error = io::Error::from(Error::Full(Code::default()));
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(Error::find(&error), Some(&Error::Full(Code::default())));
    }
}
