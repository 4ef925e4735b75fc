//! The person at the terminal, asked for passphrases and on behalf of age plugins. Talks to the
//! terminal itself, never to stdin or stdout, which may carry the dump.

use crate::crypt::{ExposeSecret, Prompt, SecretString};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;

/// Asks on the controlling terminal; where there is none, nobody can be asked.
#[must_use]
pub(super) fn on_terminal() -> Arc<dyn Prompt> {
    Arc::new(Terminal)
}

struct Terminal;

impl Prompt for Terminal {
    fn passphrase(&self, what: &str) -> Option<SecretString> {
        super::progress::clear();
        rpassword::prompt_password(format!("Passphrase for {what}: ")).ok().map(SecretString::from)
    }

    fn message(&self, text: &str) {
        super::say("vmcore-decrypt", "plugin", text);
    }

    fn confirm(&self, question: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let choices = no.map_or_else(|| format!("[{yes}]"), |no| format!("[y: {yes}, n: {no}]"));
        let answer = ask(&format!("{question} {choices} "))?;
        Some(no.is_none() || answer.trim().eq_ignore_ascii_case("y"))
    }

    fn public_text(&self, what: &str) -> Option<String> {
        ask(&format!("{what}: ")).map(|answer| answer.trim_end().to_owned())
    }
}

/// Shows a secret on the terminal itself; nothing where there is none.
#[must_use]
pub(super) fn show(text: &SecretString) -> Option<()> {
    let mut terminal = OpenOptions::new().write(true).open("/dev/tty").ok()?;
    terminal.write_all(text.expose_secret().as_bytes()).ok()
}

fn ask(question: &str) -> Option<String> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
    terminal.write_all(question.as_bytes()).ok()?;
    let mut answer = String::new();
    BufReader::new(terminal).read_line(&mut answer).ok()?;
    Some(answer)
}
