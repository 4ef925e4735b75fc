//! The protocol `recipient-v1`: wraps a file key to a plugin's recipients. Nobody is there to be asked.

use super::super::Error;
use super::{Answer, Kind, Plugin, add_each};
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use std::collections::HashSet;
use std::io;
use std::time::Duration;
use zeroize::Zeroizing;

/// What a plugin makes of a file key: its stanzas, and the labels that other recipients' must equal.
pub(in crate::crypt) type Wrapped = (Vec<Stanza>, HashSet<String>);

impl Plugin {
    /// Wraps a file key to all of `recipients`.
    ///
    /// # Errors
    /// [`Error::PluginSilent`] after `limit`; [`Error::Plugin`] for every other failure.
    pub(in crate::crypt) fn wrap(
        &self,
        recipients: &[String],
        file_key: &FileKey,
        limit: Duration,
    ) -> Result<Wrapped, Error> {
        let mut answers = Answers::default();
        let request = request(recipients, file_key)?;
        self.run(Kind::Recipient, limit, &request, &mut |stanza| answers.take(stanza))?;
        answers.finish().map_err(|why| self.failed(&why))
    }
}

/// What the plugin gets: recipients, and the key to wrap. Its text is in one allocation, wiped afterwards.
fn request(recipients: &[String], file_key: &FileKey) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut start = Vec::new();
    add_each("add-recipient", recipients.iter().map(String::as_str), &mut start)?;
    let mut request = Zeroizing::new(Vec::with_capacity(start.len() + 128));
    request.extend_from_slice(&start);
    request.extend_from_slice(b"-> extension-labels\n\n-> wrap-file-key\n");
    let key = file_key.expose_secret();
    let mut text = Zeroizing::new([0; 22]); // 16 bytes in base64
    BASE64.encode_slice(key, &mut *text).map_err(io::Error::other)?;
    request.extend_from_slice(&*text);
    request.extend_from_slice(b"\n-> done\n\n");
    Ok(request)
}

/// What a plugin has answered so far.
#[derive(Default)]
struct Answers {
    stanzas: Vec<Stanza>,
    labels: Option<HashSet<String>>,
    errors: Vec<String>,
}

impl Answers {
    /// Takes one command of the plugin; the reply to it.
    fn take(&mut self, mut stanza: Stanza) -> Answer {
        match stanza.tag.as_str() {
            "recipient-stanza" if stanza.args.len() >= 2 && stanza.args[0] == "0" => {
                stanza.args.remove(0);
                stanza.tag = stanza.args.remove(0);
                self.stanzas.push(stanza);
            }
            "recipient-stanza" => self.errors.push("it wrapped another file's key".to_owned()),
            "labels" => self.take_labels(stanza.args),
            "error" => self.errors.push(String::from_utf8_lossy(&stanza.body).into_owned()),
            "msg" => {}
            "confirm" | "request-public" | "request-secret" => return Answer::fail(),
            _ => return Answer::unsupported(),
        }
        Answer::ok()
    }

    fn take_labels(&mut self, labels: Vec<String>) {
        let count = labels.len();
        let labels: HashSet<String> = labels.into_iter().collect();
        if labels.len() != count || self.labels.replace(labels).is_some() {
            self.errors.push("its labels contradict themselves".to_owned());
        }
    }

    fn finish(self) -> Result<Wrapped, String> {
        match (self.errors.is_empty(), self.stanzas.is_empty()) {
            (true, false) => Ok((self.stanzas, self.labels.unwrap_or_default())),
            (true, true) => Err("it wrapped nothing".to_owned()),
            (false, _) => Err(self.errors.join(", ")),
        }
    }
}
