//! Who can open what is encrypted: the arguments that name recipients, and how they are read. Shared by
//! every sub-command that encrypts.

use super::super::{Failure, Status, quoted, say};
use super::PROGRAM;
use crate::crypt::recipients::parse_lines;
use crate::crypt::{self, ENTROPY_LIMIT, Entropy, Recipients};
use clap::Args;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where the machine's recipients are, unless said otherwise.
pub const DEFAULT_FILE: &str = "/etc/vmcore-encrypt/recipients";
/// A recipients file is text that people keep; anything larger is not one.
const MAX_FILE: u64 = 1 << 20;

/// The recipients as typed.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Recipients")]
pub struct RecipientArgs {
    /// Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable
    #[arg(short = 'r', long = "recipient", value_name = "RECIPIENT")]
    recipients: Vec<String>,
    /// Encrypt to the recipients in this file, one a line; repeatable
    /// [default: /etc/vmcore-encrypt/recipients when no -r is given]
    #[arg(short = 'R', long = "recipients-file", value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl RecipientArgs {
    /// Reads and checks the recipients, their plugin programs too.
    pub fn read(&self) -> Result<Recipients, Failure> {
        let mut list = Vec::new();
        for (at, recipient) in self.recipients.iter().enumerate() {
            let doing = format!("parsing recipient {} of the command line", at + 1);
            list.extend(parse_lines(recipient.as_bytes()).map_err(|error| failure(&doing, &error))?);
        }
        let default = [PathBuf::from(DEFAULT_FILE)];
        let no_other = list.is_empty() && self.files.is_empty();
        for path in if no_other { &default[..] } else { &self.files } {
            let doing = format!("parsing recipients file {}", quoted(path));
            let parsed = parse_lines(&read_file(path)?).map_err(|error| failure(&doing, &error))?;
            if parsed.is_empty() {
                return Err(failure(&doing, &crypt::Error::NoRecipients));
            }
            list.extend(parsed);
        }
        let recipients = Recipients::new(list).map_err(|error| failure("choosing recipients", &error))?;
        recipients.check_plugins().map_err(|error| failure("checking recipients", &error))?;
        Ok(recipients)
    }
}

/// Reads a recipients file of at most 1 MiB.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let doing = || format!("reading recipients file {}", quoted(path));
    let read = |file: File| {
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes = File::open(path).and_then(read).map_err(|error| {
        Failure::caused(doing(), &error)
            .hint("put the recipients there, or name another file with --recipients-file")
    })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::new(Status::Failure, format!("{}: larger than 1 MiB", doing())));
    }
    Ok(bytes)
}

/// An error of the encryption with its advice.
pub fn failure(doing: &str, error: &crypt::Error) -> Failure {
    Failure::caused(doing, error).maybe_hint(error.hint())
}

/// Runs `action` with the wait for random bytes that it may need; a wait is said on stderr.
pub fn with_entropy<T>(action: impl FnOnce(&mut Entropy<'_>) -> T) -> T {
    action(&mut Entropy { limit: ENTROPY_LIMIT, notify: &mut |text| say(PROGRAM, "note", text) })
}
