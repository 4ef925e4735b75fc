//! Plugins: programs `age-plugin-NAME` that wrap or unwrap a file key (C2SP age-plugin.md).
//!
//! The age crate's client waits for a plugin for ever, takes whatever it sends into memory and gives it the whole
//! environment. This one has a limit of time and of bytes, passes on few variables, and kills a plugin that exceeds
//! them (`process`). What a plugin sends is foreign: its stanzas are parsed as those of a header. `recipient` and
//! `identity` are the two protocols.

mod identity;
mod process;
mod recipient;

use super::Error;
use super::header::encode_stanza;
use crate::text::one_line;
use age_core::format::Stanza;
use process::Running;
use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

pub(crate) use process::{is_for_identity_plugins, kill_running};

/// Longest wait for a recipients' plugin. To wrap a key to a recipient takes milliseconds, and nobody's touch.
pub const PLUGIN_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for an identities' plugin, which may need a token and a touch. Time in which it waits for an answer of
/// the user's does not count.
pub const IDENTITY_PLUGIN_LIMIT: Duration = Duration::from_secs(300);

/// A plugin program.
pub(super) struct Plugin {
    /// Name of the program.
    pub(super) program: String,
    path: PathBuf,
}

impl Plugin {
    /// Finds the program of plugin `name` in `$PATH`.
    ///
    /// # Errors
    /// [`Error::PluginMissing`].
    pub(super) fn find(name: &str) -> Result<Plugin, Error> {
        let program = format!("age-plugin-{name}");
        let path = env::var_os("PATH").unwrap_or_default();
        let mut places = env::split_paths(&path).map(|directory| directory.join(&program));
        match places.find(|place| is_program(place)) {
            Some(path) => Ok(Plugin { program, path: std::path::absolute(path)? }),
            None => Err(Error::PluginMissing { program }),
        }
    }

    /// Starts the plugin, sends `request`, and lets `answer` reply to each command until the plugin is done.
    ///
    /// # Errors
    /// [`Error::PluginSilent`] after `limit`; [`Error::Plugin`] for every other failure; those of `answer`.
    fn run(
        &self,
        kind: Kind,
        limit: Duration,
        request: &[u8],
        answer: &mut dyn FnMut(Stanza) -> Answer,
    ) -> Result<(), Error> {
        let started = Running::start(&self.path, kind, limit);
        let mut running = started.map_err(|error| self.failed(&error.to_string()))?;
        running.talk(request, answer).map_err(|error| match error {
            Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                Error::PluginSilent { program: self.program.clone(), limit }
            }
            Error::HeaderTruncated => self.failed("it ended before it was done"),
            Error::HeaderTooLong => self.failed("it sent more than a header can hold"),
            error => self.failed(&error.to_string()),
        })
    }

    fn failed(&self, why: &str) -> Error {
        Error::Plugin { message: one_line(&format!("{}: {why}", self.program)) }
    }
}

/// The protocol that a plugin is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Recipient,
    Identity,
}

/// The reply to a command of a plugin.
struct Answer {
    /// A stanza as it is sent. It may hold a secret of the user's.
    text: Zeroizing<Vec<u8>>,
    /// Whether the user was asked for it: that time is not the plugin's.
    by_user: bool,
}

impl Answer {
    fn fixed(text: &[u8]) -> Answer {
        Answer { text: Zeroizing::new(text.to_vec()), by_user: false }
    }

    fn ok() -> Answer {
        Answer::fixed(b"-> ok\n\n")
    }

    fn fail() -> Answer {
        Answer::fixed(b"-> fail\n\n")
    }

    fn unsupported() -> Answer {
        Answer::fixed(b"-> unsupported\n\n")
    }
}

fn command(tag: &str, argument: &str) -> Stanza {
    Stanza { tag: tag.to_owned(), args: vec![argument.to_owned()], body: Vec::new() }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Appends one command for each text, such as `add-recipient`.
fn add_each<'a>(tag: &str, texts: impl IntoIterator<Item = &'a str>, out: &mut Vec<u8>) -> Result<(), Error> {
    texts.into_iter().try_for_each(|text| encode_stanza(&command(tag, text), out))
}
