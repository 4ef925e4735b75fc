//! A dump into object storage: `s3://`, `gs://`, `az://`, and `https://` by PUT. The stream goes as numbered objects
//! (`crate::objects`), each put whole, exclusively and in order (`writer`), the end mark last; one that fails is put
//! again for some time (`store`). The connection is in `client`, `tls` and `names`, and how a dump is called in
//! `template`.
//!
//! Nothing here reads, lists or deletes anything in a store, so that credentials that may only write are enough. What
//! servers answer is foreign: of their words at most a code of letters reaches a message. No message shows a URL's
//! query or a credential.

mod client;
mod error;
mod names;
mod presigned;
mod settings;
mod store;
mod template;
mod tls;
mod writer;

pub(crate) use error::Error;
pub(crate) use presigned::{expiry, parse_presigned};
pub(crate) use settings::{Authorities, Credentials, MAX_FILE, Settings};
pub(crate) use store::{Probed, Store};
pub(crate) use template::{Facts, Template};
pub(crate) use writer::Upload;
