//! `vmcore-decrypt rewrap DUMP [OUT]`: other recipients, by a new header; the payload stays as it is.

use super::super::encrypt::recipients::RecipientArgs;
use super::super::{Failure, Status, exists_hint, input_name, quoted, say, status};
use super::input::{self, IdentityArgs};
use super::{PROGRAM, with_entropy};
use crate::crypt::{self, rewrap};
use crate::sink::{OutputFile, Stream};
use clap::Args as ClapArgs;
use std::io;
use std::path::{Path, PathBuf};

/// The arguments of `rewrap`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-decrypt rewrap -i key.txt -r age1... vmcore.age for-the-vendor.age
  vmcore-decrypt rewrap -i key.txt -R team.txt vmcore.age

The payload is copied, not decrypted. Whoever could open the old file still opens copies of it: this hands \
a dump over, it takes nothing back. The new file appears whole or not at all.", status::OPENING))]
pub struct Args {
    #[command(flatten)]
    identities: IdentityArgs,
    #[command(flatten)]
    recipients: RecipientArgs,
    /// Overwrite an existing output file
    #[arg(short = 'f', long)]
    force: bool,

    /// The encrypted dump, or an encrypted log
    dump: PathBuf,
    /// The file for the new recipients; the dump itself is replaced when absent
    output: Option<PathBuf>,
}

/// Runs the sub-command.
///
/// # Errors
/// What stopped it, ready to be said.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.output.is_none() && input::is_in_pieces(&args.dump) {
        let message = format!("replacing {}: it is the first of several files", quoted(&args.dump));
        return Err(Failure::new(Status::Usage, message).hint("name another file for the new dump"));
    }
    let identities = args.identities.read()?;
    let recipients = args.recipients.read()?;
    let dump = input::open_sequential(&args.dump, |_, bytes| bytes)?;
    let (path, overwrite) = match &args.output {
        Some(path) => (path, args.force),
        None if args.dump == Path::new("-") => return Err(nowhere()),
        None => (&args.dump, true),
    };
    let failed = |error: &io::Error| Failure::caused(format!("writing {}", quoted(path)), error);
    let file = OutputFile::create_hidden(path, overwrite).map_err(|error| {
        let hint = exists_hint(path, &error);
        Failure::caused(format!("creating {}", quoted(path)), &error).maybe_hint(hint)
    })?;
    let mut stream = Stream::file(file);
    let result = with_entropy(|entropy| rewrap::rewrap(dump, &mut stream, &identities, &recipients, entropy));
    result.map_err(|error| match &error {
        crypt::Error::Io(cause) => {
            Failure::caused(format!("copying {} to {}", input_name(&args.dump), quoted(path)), cause)
        }
        cause => input::crypt_failure(&args.dump, cause),
    })?;
    stream.finish().map_err(|error| failed(&error))?;
    let kinds: Vec<String> = recipients.iter().map(|recipient| recipient.kind().to_string()).collect();
    say(PROGRAM, "note", &format!("{} is now for {}", quoted(path), kinds.join(", ")));
    Ok(())
}

fn nowhere() -> Failure {
    Failure::new(Status::Usage, "rewrapping standard input: there is no file to replace")
        .hint("name one with --output")
}
