//! Whom to ask for passphrases and on a plugin's behalf: the person at the terminal, or nobody. How they are asked is
//! the caller's; no secret is kept here.

use super::error::Error;
use age::DecryptError;
use age_core::secrecy::SecretString;
use std::io;

/// The person at the terminal, for passphrases and for plugins.
pub trait Prompt: Send + Sync {
    /// Asks for the passphrase of `what`; `None` when nobody can be asked.
    fn passphrase(&self, what: &str) -> Option<SecretString>;

    /// Shows a plugin's message.
    fn message(&self, text: &str) {
        let _ = text;
    }

    /// Asks a plugin's question; `None` when nobody can be asked.
    fn confirm(&self, question: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let _ = (question, yes, no);
        None
    }

    /// Asks for something not secret on a plugin's behalf; `None` when nobody can be asked.
    fn public_text(&self, what: &str) -> Option<String> {
        let _ = what;
        None
    }
}

/// Nobody is there: every passphrase stays unknown.
pub struct NoPrompt;

impl Prompt for NoPrompt {
    fn passphrase(&self, _: &str) -> Option<SecretString> {
        None
    }
}

/// Nobody could be asked. The age crate has no word for it, so ours travels inside an I/O error.
pub(super) fn no_passphrase() -> DecryptError {
    DecryptError::Io(io::Error::other(Error::NoPassphrase))
}
