//! `vmcore-decrypt keygen`: a new identity for the analyst, and the recipient line for the machines; `keygen -y`: the
//! recipient lines of an identity that is there.

use super::super::creating::{creating, full_hint, refuse_url, stdout_failure};
use super::super::signals::remove_unfinished_on_signals;
use super::super::{Failure, Status, input_name, prompt, quoted, say, status, stdout};
use super::input::read_identities;
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
  vmcore-decrypt keygen > key.txt
  vmcore-decrypt keygen -y key.txt

With -o the recipient line goes to standard output, and without it the identity does; put the line into \
/etc/vmcore-encrypt/recipients of the machines. The identity file stays with whoever looks at dumps; age and rage \
read it too. A terminal as output is refused: what it shows stays in its history and in recordings.", status::BASIC))]
pub(super) struct Args {
    /// Post-quantum: dumps stay closed to quantum computers too (age 1.3 and later, or this program)
    #[arg(long)]
    pq: bool,
    /// Protect the identity file with a passphrase, asked for on the terminal; an empty one has a passphrase made
    #[arg(long)]
    passphrase: bool,
    /// The identity file, or with -y the recipients file; it must not exist [default: standard output]
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the recipients of an identity file instead
    #[arg(short = 'y', long = "to-recipient", conflicts_with_all = ["pq", "passphrase"])]
    to_recipient: bool,

    /// With -y: the identity file [default: -, standard input]
    #[arg(value_name = "IDENTITY")]
    identity: Option<PathBuf>,
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.identity {
        _ if args.to_recipient => print_recipients(args),
        None => generate(args),
        Some(name) => {
            let message = format!("making an identity: {} is a word too many", quoted(name));
            Err(Failure::new(Status::Usage, message)
                .hint("-o names the file of a new identity; -y prints the recipients of one that is there"))
        }
    }
}

fn generate(args: &Args) -> Result<(), Failure> {
    let kind = if args.pq { KeyKind::PostQuantum } else { KeyKind::X25519 };
    // The output is opened before a passphrase is asked for, so that nobody types one in vain.
    remove_unfinished_on_signals()?;
    let mut stream = open(args.output.as_deref())?;
    let failed =
        |error: &crate::crypt::Error| Failure::caused("making an identity", error).maybe_hint(error.hint());
    let Generated { identity_file, recipient } =
        with_entropy(|entropy| keygen::generate(kind, SystemTime::now(), entropy))
            .map_err(|error| failed(&error))?;
    let name = args.output.as_deref().map_or("the identity".to_owned(), quoted);
    let written = if args.passphrase {
        let passphrase = new_passphrase(&name)?;
        let protected = with_entropy(|entropy| keygen::protect(&identity_file, passphrase, entropy))
            .map_err(|error| failed(&error))?;
        stream.write_all(&protected)
    } else {
        stream.write_all(identity_file.expose_secret().as_bytes())
    };
    finish(written, stream, args.output.as_deref())?;
    match &args.output {
        Some(path) => {
            say(PROGRAM, "note", &format!("the identity is in {}; its recipient:", quoted(path)));
            stdout::print(&format!("{recipient}\n"))
        }
        None => {
            say(PROGRAM, "note", &format!("recipient: {recipient}"));
            Ok(())
        }
    }
}

fn finish(written: io::Result<()>, stream: Stream, output: Option<&Path>) -> Result<(), Failure> {
    let name = output.map_or("standard output".to_owned(), quoted);
    written.and_then(|()| stream.finish().map(drop)).map_err(|error| {
        Failure::caused(format!("writing {name}"), &error).maybe_hint(full_hint(&error, "free some room"))
    })
}

/// Where the identity goes.
fn open(output: Option<&Path>) -> Result<Stream, Failure> {
    match output {
        Some(path) => create(path).map(Stream::file),
        None => {
            let terminal =
                "writing an identity to a terminal is refused: it would stay in what the terminal keeps";
            let stream = Stream::stdout().map_err(|error| stdout_failure(&error, terminal))?;
            warn_if_readable();
            Ok(stream)
        }
    }
}

/// A shell's redirection makes a file that others may read.
fn warn_if_readable() {
    let readable = rustix::fs::fstat(io::stdout()).is_ok_and(|file| {
        rustix::fs::FileType::from_raw_mode(file.st_mode) == rustix::fs::FileType::RegularFile
            && file.st_mode & 0o077 != 0
    });
    if readable {
        say(PROGRAM, "warning", "others can read the file that the identity is written to");
        say(PROGRAM, "hint", "-o makes a file for you alone; chmod 600 closes this one");
    }
}

fn create(path: &Path) -> Result<OutputFile, Failure> {
    refuse_url(path)?;
    OutputFile::create_hidden(path, false).map_err(|error| {
        let hint = (error.kind() == io::ErrorKind::AlreadyExists)
            .then_some("an identity is never overwritten: dumps made for it could not be opened any more");
        creating(path, &error).maybe_hint(hint)
    })
}

/// Prints the recipient of each identity in a file, one a line.
fn print_recipients(args: &Args) -> Result<(), Failure> {
    let path = args.identity.clone().unwrap_or_else(|| PathBuf::from("-"));
    let identities = read_identities(std::slice::from_ref(&path), &[])?;
    let mut lines = String::new();
    for recipient in identities.recipients() {
        let Some(recipient) = recipient else {
            let message =
                format!("printing the recipient of {}: it is of another program", input_name(&path));
            return Err(Failure::new(Status::Failure, message).hint(
                "ssh-keygen -y prints the public half of an ssh key, age-plugin-NAME that of its identity",
            ));
        };
        lines.extend([recipient, "\n"]);
    }
    let Some(output) = &args.output else { return stdout::print(&lines) };
    let mut stream = Stream::file(create(output)?);
    let written = stream.write_all(lines.as_bytes());
    finish(written, stream, Some(output))
}

/// Asks twice: a typing error would lock the identity away for good. Makes a passphrase where none is typed.
fn new_passphrase(name: &str) -> Result<SecretString, Failure> {
    let prompt = prompt::on_terminal();
    let nobody = || Failure::new(Status::Failure, "asking for a passphrase: there is no terminal");
    let ask = |what: String| prompt.passphrase(&what).ok_or_else(nobody);
    let first = ask(format!("{name} (empty: one is made)"))?;
    if first.expose_secret().is_empty() {
        let made = with_entropy(keygen::passphrase)
            .map_err(|error| Failure::caused("making a passphrase", &error).maybe_hint(error.hint()))?;
        let text = SecretString::from(format!("The passphrase is: {}\n", made.expose_secret()));
        return prompt::show(&text).map(|()| made).ok_or_else(nobody);
    }
    let second = ask(format!("{name} again"))?;
    if first.expose_secret() != second.expose_secret() {
        return Err(Failure::new(Status::Failure, "asking for a passphrase: the two differ"));
    }
    Ok(first)
}
