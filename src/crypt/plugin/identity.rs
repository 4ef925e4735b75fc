//! The protocol `identity-v1`: unwraps a file key with a plugin's identity, on the analyst's machine. The plugin may ask
//! the user, through [`Prompt`]; its words are made printable on the way.

use super::super::Error;
use super::super::header::encode_stanza;
use super::super::prompt::Prompt;
use super::{Answer, Kind, Plugin, add_each};
use crate::text::one_line;
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::{ExposeSecret, SecretString};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use std::time::Duration;
use zeroize::Zeroizing;

impl Plugin {
    /// Unwraps the file key of a header's stanzas with `identity`; `None` when none of them is for it.
    ///
    /// # Errors
    /// [`Error::BadStanza`] when the plugin finds fault with a stanza; [`Error::PluginSilent`] after `limit`, time in
    /// which the user was asked not counted; [`Error::Plugin`] for every other failure.
    pub(in crate::crypt) fn unwrap(
        &self,
        identity: &str,
        stanzas: &[Stanza],
        prompt: &dyn Prompt,
        limit: Duration,
    ) -> Result<Option<FileKey>, Error> {
        let mut request = Vec::new();
        add_each("add-identity", [identity], &mut request)?;
        for stanza in stanzas {
            encode_stanza(&for_file(stanza), &mut request)?;
        }
        request.extend_from_slice(b"-> done\n\n");
        let request = Zeroizing::new(request);
        let mut answers = Answers { prompt, file_key: None, errors: Vec::new(), bad_stanza: None };
        self.run(Kind::Identity, limit, &request, &mut |stanza| answers.take(stanza))?;
        match (answers.file_key, answers.bad_stanza, answers.errors.as_slice()) {
            (Some(file_key), ..) => Ok(Some(file_key)),
            (None, Some(why), _) => Err(Error::BadStanza(one_line(&format!("{}: {why}", self.program)))),
            (None, None, []) => Ok(None),
            (None, None, errors) => Err(self.failed(&errors.join(", "))),
        }
    }
}

/// A header's stanza, as one of the only file that the plugin is asked about.
fn for_file(stanza: &Stanza) -> Stanza {
    let words = ["0".to_owned(), stanza.tag.clone()].into_iter();
    let args = words.chain(stanza.args.iter().cloned()).collect();
    Stanza { tag: "recipient-stanza".to_owned(), args, body: stanza.body.clone() }
}

/// What a plugin has answered so far.
struct Answers<'a> {
    prompt: &'a dyn Prompt,
    file_key: Option<FileKey>,
    errors: Vec<String>,
    bad_stanza: Option<String>,
}

impl Answers<'_> {
    /// Takes one command of the plugin; the reply to it.
    fn take(&mut self, stanza: Stanza) -> Answer {
        let words = one_line(&String::from_utf8_lossy(&stanza.body));
        match stanza.tag.as_str() {
            "msg" => {
                self.prompt.message(&words);
                Answer::ok()
            }
            "confirm" => self.confirm(&stanza.args, &words),
            "request-public" => by_user(self.prompt.public_text(&words).map(SecretString::from).as_ref()),
            "request-secret" => by_user(self.prompt.passphrase(&words).as_ref()),
            "file-key" => self.take_key(&stanza),
            "error" => {
                self.take_error(&stanza.args, words);
                Answer::ok()
            }
            _ => Answer::unsupported(),
        }
    }

    fn take_key(&mut self, stanza: &Stanza) -> Answer {
        let body = Zeroizing::new(stanza.body.clone());
        match <[u8; 16]>::try_from(body.as_slice()).map(Zeroizing::new) {
            Ok(key) if stanza.args == ["0"] && self.file_key.is_none() => {
                self.file_key = Some(FileKey::init_with_mut(|bytes| bytes.copy_from_slice(&*key)));
                Answer::ok()
            }
            _ => {
                self.errors.push("it answered with no file key, or with several".to_owned());
                Answer::fail()
            }
        }
    }

    fn take_error(&mut self, args: &[String], words: String) {
        match args.first().map(String::as_str) {
            Some("stanza") => _ = self.bad_stanza.get_or_insert(words),
            _ => self.errors.push(words),
        }
    }

    fn confirm(&mut self, args: &[String], question: &str) -> Answer {
        let label = |text: &String| {
            let bytes = BASE64.decode(text).ok()?;
            Some(one_line(&String::from_utf8_lossy(&bytes)))
        };
        let labels: Option<Vec<String>> = args.iter().take(2).map(label).collect();
        let Some([yes, no @ ..]) = labels.as_deref() else {
            self.errors.push("it asked for a confirmation without a label".to_owned());
            return Answer::fail();
        };
        let answer = match self.prompt.confirm(question, yes, no.first().map(String::as_str)) {
            Some(true) => Answer::fixed(b"-> ok yes\n\n"),
            Some(false) => Answer::fixed(b"-> ok no\n\n"),
            None => Answer::fail(),
        };
        Answer { by_user: true, ..answer }
    }
}

/// The user's answer as a stanza, in one allocation.
fn by_user(answer: Option<&SecretString>) -> Answer {
    let Some(answer) = answer else { return Answer::fail() };
    let body = Zeroizing::new(answer.expose_secret().as_bytes().to_vec());
    let base64 = Zeroizing::new(BASE64.encode(&*body));
    let mut text = Zeroizing::new(Vec::with_capacity(base64.len() + base64.len() / 64 + 16));
    text.extend_from_slice(b"-> ok\n");
    let mut lines = base64.as_bytes().chunks_exact(64);
    for line in lines.by_ref() {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.extend_from_slice(lines.remainder());
    text.push(b'\n');
    Answer { text, by_user: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_answer_is_a_stanza_of_any_length() {
        for length in [0, 1, 47, 48, 49, 200] {
            let secret = "p".repeat(length);
            let answer = by_user(Some(&SecretString::from(secret.clone())));
            let mut input = &answer.text[..];
            let stanza = super::super::super::header::StanzaReader::new(&mut input).read().unwrap();
            assert!(stanza.tag == "ok" && stanza.body == secret.as_bytes() && answer.by_user);
        }
        assert_eq!(&*by_user(None).text, b"-> fail\n\n");
    }
}
