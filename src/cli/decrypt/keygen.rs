//! `vmcore-decrypt keygen`: a new identity for the analyst, and the recipient line for the machines.

use super::super::creating::creating;
use super::super::signals::remove_unfinished_on_signals;
use super::super::{Failure, Status, prompt, quoted, say, status, stdout};
use super::{PROGRAM, with_entropy};
use crate::crypt::keygen::{self, Generated, KeyKind};
use crate::crypt::{ExposeSecret, SecretString};
use crate::sink::{OutputFile, Stream};
use clap::Args as ClapArgs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The arguments of `keygen`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-decrypt keygen -o key.txt >> recipients
  vmcore-decrypt keygen --pq --passphrase -o key.txt

The recipient line goes to standard output; put it into /etc/vmcore-encrypt/recipients of the machines. The \
identity file stays with whoever looks at dumps; age and rage read it too.", status::BASIC))]
pub(super) struct Args {
    /// Post-quantum: dumps stay closed to quantum computers too (age 1.3 and later, or this program)
    #[arg(long)]
    pq: bool,
    /// Protect the identity file with a passphrase, asked for on the terminal
    #[arg(long)]
    passphrase: bool,
    /// The identity file; it must not exist
    #[arg(short = 'o', long, value_name = "FILE")]
    output: PathBuf,
}

/// Runs the sub-command.
///
/// # Errors
/// What stopped it, ready to be said.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let kind = if args.pq { KeyKind::PostQuantum } else { KeyKind::X25519 };
    // The file is opened before a passphrase is asked for, so that nobody types one in vain.
    remove_unfinished_on_signals()?;
    let output = create(&args.output)?;
    let failed =
        |error: &crate::crypt::Error| Failure::caused("making an identity", error).maybe_hint(error.hint());
    let Generated { identity_file, recipient } =
        with_entropy(|entropy| keygen::generate(kind, SystemTime::now(), entropy))
            .map_err(|error| failed(&error))?;
    let mut stream = Stream::file(output);
    let written = if args.passphrase {
        let passphrase = new_passphrase(&args.output)?;
        let protected = with_entropy(|entropy| keygen::protect(&identity_file, passphrase, entropy))
            .map_err(|error| failed(&error))?;
        stream.write_all(&protected)
    } else {
        stream.write_all(identity_file.expose_secret().as_bytes())
    };
    written
        .and_then(|()| stream.finish().map(drop))
        .map_err(|error| Failure::caused(format!("writing {}", quoted(&args.output)), &error))?;
    say(PROGRAM, "note", &format!("the identity is in {}; its recipient:", quoted(&args.output)));
    stdout::print(&format!("{recipient}\n"))
}

fn create(path: &Path) -> Result<OutputFile, Failure> {
    OutputFile::create_hidden(path, false).map_err(|error| {
        let hint = (error.kind() == io::ErrorKind::AlreadyExists)
            .then_some("an identity is never overwritten: dumps made for it could not be opened any more");
        creating(path, &error).maybe_hint(hint)
    })
}

/// Asks twice: a typing error would lock the identity away for good.
fn new_passphrase(path: &Path) -> Result<SecretString, Failure> {
    let prompt = prompt::on_terminal();
    let ask = |what: String| {
        prompt
            .passphrase(&what)
            .ok_or_else(|| Failure::new(Status::Failure, "asking for a passphrase: there is no terminal"))
    };
    let first = ask(quoted(path))?;
    let second = ask(format!("{} again", quoted(path)))?;
    if first.expose_secret() != second.expose_secret() {
        return Err(Failure::new(Status::Failure, "asking for a passphrase: the two differ"));
    }
    if first.expose_secret().is_empty() {
        return Err(Failure::new(Status::Failure, "asking for a passphrase: it is empty"));
    }
    Ok(first)
}
