//! Who can open what is encrypted: the arguments that name recipients, and how they are read. Shared by
//! every sub-command that encrypts.

use super::super::{Failure, Status, quoted, say};
use super::PROGRAM;
use crate::crypt::recipients::{DEFAULT_FILE, parse_lines};
use crate::crypt::{self, ENTROPY_LIMIT, Entropy, Recipients};
use crate::pin::{self, Pins};
use clap::Args;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where pins may stand.
const COMMAND_LINE: &str = "/proc/cmdline";
/// A recipients file is text that people keep; anything larger is not one.
const MAX_FILE: u64 = 1 << 20;

/// Under what the options stand in `--help`; given to each, since for a whole struct it would hold for those behind too.
const HEADING: &str = "Recipients";

/// The recipients as typed.
#[derive(Args, Debug, Default)]
pub struct RecipientArgs {
    /// Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable
    #[arg(short = 'r', long = "recipient", value_name = "RECIPIENT", help_heading = HEADING)]
    recipients: Vec<String>,
    /// Encrypt to the recipients in this file, one a line; repeatable
    /// [default: /etc/vmcore-encrypt/recipients when no -r is given]
    #[arg(short = 'R', long = "recipients-file", value_name = "FILE", help_heading = HEADING)]
    files: Vec<PathBuf>,
    /// Known only to be refused with the reason
    #[arg(long, hide = true)]
    passphrase: bool,
    /// Honour the pins on this kernel command line too
    #[arg(long, value_name = "FILE", hide = true)]
    cmdline: Option<PathBuf>,
}

impl RecipientArgs {
    /// Reads and checks the recipients, their plugin programs and the machine's pins too.
    pub fn read(&self) -> Result<Recipients, Failure> {
        let recipients = self.choose()?;
        for pins in self.pins()? {
            pins.check(&recipients).map_err(|error| pin_failure(&error))?;
        }
        recipients.check_plugins().map_err(|error| failure("checking recipients", &error))?;
        Ok(recipients)
    }

    /// The pins of this machine, one set per place; recipients must be in each.
    pub fn pins(&self) -> Result<Vec<Pins>, Failure> {
        let mut places = vec![Pins::compiled()];
        for path in [Some(Path::new(COMMAND_LINE)), self.cmdline.as_deref()].into_iter().flatten() {
            places.push(Pins::on_command_line(&read_command_line(path)?));
        }
        let places: Result<Vec<_>, _> = places.into_iter().collect();
        Ok(places.map_err(|error| pin_failure(&error))?.into_iter().flatten().collect())
    }

    /// Reads the recipients, pinned or not.
    pub fn choose(&self) -> Result<Recipients, Failure> {
        if self.passphrase {
            return Err(passphrase());
        }
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
        Recipients::new(list).map_err(|error| failure("choosing recipients", &error))
    }
}

fn passphrase() -> Failure {
    let message = "encrypting to a passphrase is refused: whoever crashes has nobody to type it, and a capture kernel \
                   has too little memory to make a key of it";
    Failure::new(Status::Usage, message)
        .hint("encrypt to a recipient; vmcore-decrypt keygen --passphrase protects its identity with one")
}

/// The kernel command line; empty where there is no `/proc`, and so no vmcore either.
fn read_command_line(path: &Path) -> Result<String, Failure> {
    match fs::read(path) {
        Ok(line) => Ok(String::from_utf8_lossy(&line).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path == Path::new(COMMAND_LINE) => {
            Ok(String::new())
        }
        Err(error) => Err(Failure::caused(format!("reading kernel command line {}", quoted(path)), &error)),
    }
}

fn pin_failure(error: &pin::Error) -> Failure {
    Failure::caused("checking recipients", error).hint(error.hint())
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
