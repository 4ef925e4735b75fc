//! An HTTP client whose answers end at a limit, whatever the server sends: the bytes of a file, an error's text, a list.

use async_trait::async_trait;
use http_body_util::{BodyExt, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService, ReqwestConnector,
};
use std::error::Error as StdError;
use std::fmt;

/// Makes clients that take at most `limit` bytes as the body of one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connector {
    /// Bytes of one body.
    pub limit: usize,
}

/// A server sent more than it was asked for.
#[derive(Debug)]
pub(super) struct TooMuch;

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TOO_MUCH)
    }
}

impl StdError for TooMuch {}

/// What [`TooMuch`] reads as: the client's errors hand on the text of a cause.
pub(super) const TOO_MUCH: &str = "it sends more than it was asked for";

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service { inner, limit: self.limit }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    limit: usize,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = self.inner.execute(request).await?.into_parts();
        let body = Limited::new(body, self.limit).map_err(|error| match error.downcast::<HttpError>() {
            Ok(error) => *error,
            // A kind that is not tried again.
            Err(_) => HttpError::new(HttpErrorKind::Decode, TooMuch),
        });
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}
