//! The encryption format: age v1 (C2SP age.md), byte for byte. The only room that knows it.
//!
//! ```text
//! recipients --wrap--> header, nonce, payload key      (the collector; holds no secret that opens the file)
//! identities + header --unwrap--> payload key          (the analyst)
//! payload key: chunks of 64 KiB, each sealed or opened on its own   (stream)
//! ```
//!
//! Recipient and identity types come from the age crate, the post-quantum one from `pq`; header and payload are
//! written here, because the crate's stream runs on one core and its header parser is quadratic.
//! Everything takes readers, writers and slices; nothing sees a path.

mod armor;
mod entropy;
mod error;
mod harden;
pub mod header;
mod hpke;
pub mod identities;
#[cfg(feature = "analyst")]
pub mod keygen;
mod lines;
mod plugin;
pub mod pq;
mod prompt;
pub mod recipient;
pub mod recipients;
pub mod rewrap;
mod secret;
mod ssh;
pub mod stream;

pub use age_core::secrecy::{ExposeSecret, SecretString};
pub use armor::{dearmored, dearmored_as_far};
pub use entropy::{ENTROPY_LIMIT, Entropy, Notice};
pub use error::{Error, RecipientError};
pub use harden::{harden_process, lock_memory};
pub use header::Header;
pub use identities::{Identities, Opened};
pub use lines::LineKey;
pub use plugin::{IDENTITY_PLUGIN_LIMIT, PLUGIN_LIMIT};
pub(crate) use plugin::{is_for_identity_plugins, kill_running as kill_plugins};
pub use prompt::{NoPrompt, Prompt};
pub use recipient::{Recipient, RecipientKind};
pub use recipients::Recipients;
pub use stream::{DecryptReader, EncryptWriter, PayloadKey, StreamError};
