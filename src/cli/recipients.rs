//! Who can open what is encrypted: the arguments that name recipients, and how they are read. Shared by
//! every sub-command of both programs that encrypts.

use super::{Failure, Status, quoted};
use crate::crypt::recipients::{DEFAULT_FILE, parse_lines, read_file};
use crate::crypt::{self, Entropy, Recipient, Recipients};
use crate::pin::{self, Pins};
use crate::trust;
use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Where pins may stand.
const COMMAND_LINE: &str = "/proc/cmdline";

/// How many seconds the first byte of recipients from a FIFO may take.
const FIFO_LIMIT: i64 = 10;

/// `--help` heading, set per option: on the struct it would also apply to the options after it.
const HEADING: &str = "Recipients";

/// The recipients as typed.
#[derive(Args, Debug, Default)]
pub(super) struct RecipientArgs {
    /// Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable
    #[arg(short = 'r', long = "recipient", value_name = "RECIPIENT", help_heading = HEADING)]
    recipients: Vec<String>,
    /// Encrypt to the recipients in this file, one a line; repeatable
    /// [default: /etc/vmcore-encrypt/recipients when no -r is given]
    #[arg(short = 'R', long = "recipients-file", alias = "to", value_name = "FILE", help_heading = HEADING)]
    files: Vec<PathBuf>,
    /// Known only to be refused with the reason
    #[arg(long, hide = true)]
    passphrase: bool,
    /// Honour the pins on this kernel command line too
    #[arg(long, value_name = "FILE", hide = true)]
    cmdline: Option<PathBuf>,
}

impl RecipientArgs {
    #[cfg(any(feature = "check", feature = "analyst"))]
    /// The recipients files that were typed.
    pub(super) fn named_files(&self) -> &[PathBuf] {
        &self.files
    }

    #[cfg(feature = "check")]
    /// Refuses what can be refused before a file is read.
    ///
    /// # Errors
    /// A passphrase, or a typed recipient that is invalid.
    pub(super) fn refuse(&self) -> Result<(), Failure> {
        if self.passphrase {
            return Err(passphrase());
        }
        let parse = |recipient: &String| parse_lines(recipient.as_bytes()).map(drop);
        self.recipients.iter().try_for_each(parse).map_err(|error| failure("parsing a recipient", &error))
    }

    /// Reads and checks the recipients and the machine's pins. Not their plugin programs: a dump without one of them is
    /// for the other recipients.
    pub(super) fn read(&self) -> Result<Recipients, Failure> {
        let recipients = self.choose()?;
        for pins in self.pins()? {
            pins.check(&recipients).map_err(|error| pin_failure(&error))?;
        }
        Ok(recipients)
    }

    /// As [`RecipientArgs::read`], for who hands a dump over: an analyst's machine has no recipients of its own.
    #[cfg(feature = "analyst")]
    pub(super) fn read_typed(&self) -> Result<Recipients, Failure> {
        let is_default = self.recipients.is_empty() && self.files.is_empty();
        let hint =
            is_default.then_some("-r names who gets the new dump (age1...), and -R a file of recipients");
        self.read().map_err(|failure| failure.maybe_hint(hint))
    }

    /// Checks what encrypting a dump would need: [`RecipientArgs::read_trusted`], configuration that others cannot
    /// change, and a header made as it would be after a crash.
    pub(super) fn check(&self, entropy: &mut Entropy<'_>) -> Result<(), Failure> {
        let recipients = self.read_trusted()?;
        if let Some((path, error)) = trust::untrusted(Path::new("/")).into_iter().next() {
            return Err(untrusted("configuration", &path, &error));
        }
        recipients
            .try_wrap(entropy)
            .map_err(|error| failure("encrypting to the recipients, as after a crash", &error))
    }

    /// As [`RecipientArgs::read`], and refuses files that others can change. For a running machine: when kdump is
    /// armed, and for what runs for long. Not for a dump: in the capture kernel nobody else runs, files are as whoever
    /// built the image owned them, and refusing would lose the dump; that they could be changed was found when kdump was
    /// armed.
    pub(super) fn read_trusted(&self) -> Result<Recipients, Failure> {
        let default = [PathBuf::from(DEFAULT_FILE)];
        for path in self.files(&default) {
            match trust::check(Path::new("/"), path) {
                // Reading it tells better what is amiss.
                Err(trust::Error::Io { .. }) | Ok(()) => {}
                Err(error) => return Err(untrusted("recipients file", path, &error)),
            }
        }
        let recipients = self.read()?;
        recipients.check_plugins().map_err(|error| failure("checking recipients", &error))?;
        Ok(recipients)
    }

    /// The recipients files that are read: those that were typed, or the default.
    pub(super) fn read_files(&self) -> Vec<PathBuf> {
        self.files(&[PathBuf::from(DEFAULT_FILE)]).to_vec()
    }

    /// The recipients files: `default` when nobody is named otherwise.
    fn files<'a>(&'a self, default: &'a [PathBuf]) -> &'a [PathBuf] {
        if self.recipients.is_empty() && self.files.is_empty() { default } else { &self.files }
    }

    /// The pins of this machine, one set per place; recipients must be in each.
    pub(super) fn pins(&self) -> Result<Vec<Pins>, Failure> {
        let mut places = vec![Pins::compiled()];
        for path in [Some(Path::new(COMMAND_LINE)), self.cmdline.as_deref()].into_iter().flatten() {
            places.push(Pins::on_command_line(&read_command_line(path)?));
        }
        let places: Result<Vec<_>, _> = places.into_iter().collect();
        Ok(places.map_err(|error| pin_failure(&error))?.into_iter().flatten().collect())
    }

    /// Reads the recipients, pinned or not.
    pub(super) fn choose(&self) -> Result<Recipients, Failure> {
        if self.passphrase {
            return Err(passphrase());
        }
        let mut list = Vec::new();
        for (at, recipient) in self.recipients.iter().enumerate() {
            let doing = format!("parsing recipient {} of the command line", at + 1);
            let parsed = parse_lines(recipient.as_bytes());
            list.extend(parsed.map_err(|error| failure(&doing, &error).maybe_hint(file_hint(recipient)))?);
        }
        let default = [PathBuf::from(DEFAULT_FILE)];
        for path in self.files(&default) {
            list.extend(read(path)?);
        }
        Recipients::new(list).map_err(|error| failure("choosing recipients", &error))
    }
}

/// What helps who has typed a file's name where a recipient belongs.
fn file_hint(typed: &str) -> Option<&'static str> {
    Path::new(typed).is_file().then_some("it is the name of a file; -R takes a file of recipients")
}

fn passphrase() -> Failure {
    let message = "encrypting to a passphrase is refused: nobody can type it after a crash, and scrypt needs more memory \
                   than a capture kernel has";
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

/// Opens a recipients file. A FIFO that nobody writes to is not waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.file_type().is_fifo() {
        let timeout = Timespec { tv_sec: FIFO_LIMIT, tv_nsec: 0 };
        let mut waited = [PollFd::new(&file, PollFlags::IN)];
        if poll(&mut waited, Some(&timeout))? == 0 {
            let text = format!("nobody wrote to this FIFO within {FIFO_LIMIT} s");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
    }
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Reads a recipients file.
fn read(path: &Path) -> Result<Vec<Recipient>, Failure> {
    let result = open(path).map_err(crypt::Error::Io).and_then(read_file);
    result.map_err(|error| match &error {
        crypt::Error::Io(cause) => {
            let hint = match cause.kind() {
                _ if is_recipient(path) => {
                    Some("this is a recipient; -r takes it, and -R the name of a file")
                }
                io::ErrorKind::FileTooLarge => None,
                _ => Some("put the recipients there, or name another file with --recipients-file"),
            };
            Failure::caused(format!("reading recipients file {}", quoted(path)), cause).maybe_hint(hint)
        }
        error => failure(&format!("parsing recipients file {}", quoted(path)), error),
    })
}

/// Whether a recipient was typed where the name of a file belongs.
fn is_recipient(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.starts_with("age1") || text.starts_with("ssh-"))
}

fn untrusted(kind: &str, path: &Path, error: &trust::Error) -> Failure {
    Failure::caused(format!("checking {kind} {}", quoted(path)), error).hint(error.hint())
}

/// An error of the encryption with its advice.
pub(super) fn failure(doing: &str, error: &crypt::Error) -> Failure {
    Failure::caused(doing, error).maybe_hint(error.hint())
}
