//! `vmcore-decrypt rewrap DUMP [OUT]`: other recipients, by a new header; the payload stays as it is.

use super::super::creating::{creating, stdout_failure};
use super::super::recipients::RecipientArgs;
use super::super::signals::remove_unfinished_on_signals;
use super::super::{Failure, Status, input_name, output_name, quoted, say, status};
use super::input::{self, IdentityArgs};
use super::{PROGRAM, apart, with_entropy};
use crate::crypt::rewrap::{Former, Rewrapped};
use crate::crypt::{self, Header, Recipients, rewrap};
use crate::sink::{OutputFile, Stream, special};
use crate::trust;
use clap::Args as ClapArgs;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The arguments of `rewrap`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-decrypt rewrap -i key.txt -r age1... vmcore.age for-the-vendor.age
  vmcore-decrypt rewrap -i key.txt -R team.txt --in-place vmcore.age
  vmcore-decrypt rewrap -i key.txt -r age1... --add --in-place vmcore.age

The payload is copied, not decrypted, and the file key stays the same: whoever could open the old file can open \
the new one too, with the old header or the key they kept. This hands a dump over, it takes nothing back; only a \
new dump of the restored memory has a new key. The new file appears whole or not at all.", status::OPENING))]
pub(super) struct Args {
    #[command(flatten)]
    identities: IdentityArgs,
    #[command(flatten)]
    recipients: RecipientArgs,
    /// Overwrite an existing output file, or the dump itself where no output is named
    #[arg(short = 'f', long)]
    force: bool,
    /// Replace the dump itself
    #[arg(long, conflicts_with = "output")]
    in_place: bool,
    /// Keep the recipients that the dump has, beside the new ones
    #[arg(long)]
    add: bool,

    /// The encrypted dump, or an encrypted log
    dump: PathBuf,
    /// The file for the new recipients; - is standard output; absent with --in-place
    output: Option<PathBuf>,
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    args.check_replaced()?;
    if args.output.is_none() && crate::reader::is_in_pieces(&args.dump) {
        let message = format!("replacing {}: it is the first of several files", quoted(&args.dump));
        return Err(Failure::new(Status::Usage, message).hint("name another file for the new dump"));
    }
    let (path, overwrite) = args.place()?;
    let identities = args.identities.read(std::slice::from_ref(&args.dump))?;
    let recipients = args.recipients.read()?;
    // In place it is the file itself that is read: what a link leads to may change at any time.
    let from = if args.output.is_some() { &args.dump } else { &path };
    let mut dump = input::open_sequential(from, |_, bytes| bytes)?;
    let old = Header::read(&mut dump).map_err(|cause| input::crypt_failure(&args.dump, &cause))?;
    warn_of_downgrade(&old, &recipients);
    let former = if args.add { Former::Kept } else { Former::Dropped };
    remove_unfinished_on_signals()?;
    let mut stream = open_output(&path, overwrite)?;
    let result = with_entropy(|entropy| {
        rewrap::rewrap_rest(&old, dump, &mut stream, &identities, &recipients, former, entropy)
    });
    let Rewrapped { fault, .. } = result.map_err(|error| match &error {
        crypt::Error::Io(cause) => {
            Failure::caused(format!("copying {} to {}", input_name(&args.dump), quoted(&path)), cause)
                .status(input::read_status(cause))
        }
        cause => input::crypt_failure(&args.dump, cause),
    })?;
    stream.finish().map_err(|error| Failure::caused(format!("writing {}", quoted(&path)), &error))?;
    let (output, names) = (output_name(&path), names(&recipients));
    let text = match former {
        Former::Dropped => format!("{output} is now for {names}"),
        Former::Kept => format!("{output} is now for {names}, and as before for its former recipients"),
    };
    say(PROGRAM, "note", &text);
    fault.map_or(Ok(()), |fault| Err(input::stream_failure(&args.dump, &fault)))
}

/// Opens the output, which is a file beside `path` until it is whole.
pub(super) fn open_output(path: &Path, overwrite: bool) -> Result<Stream, Failure> {
    if path == Path::new("-") || special::is_stdout(path) {
        let terminal = "writing an encrypted stream to a terminal is refused";
        return Stream::stdout().map_err(|error| stdout_failure(&error, terminal));
    }
    let file = match special::kind(path) {
        Some(_) => OutputFile::special(path),
        None => OutputFile::create_beside(path, overwrite),
    };
    file.map(Stream::file).map_err(|error| creating(path, &error))
}

/// The file that is replaced in place: what a symlink points to, so that no copy with the old header stays there. Other
/// hard links to it would be such copies, and only their names can be taken away. A link that others can change would let
/// them choose which file is replaced.
fn replaced(dump: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: &io::Error| Failure::caused(format!("opening dump {}", quoted(dump)), error);
    let path = fs::canonicalize(dump).map_err(|error| failed(&error))?;
    if std::path::absolute(dump).map_err(|error| failed(&error))? != path {
        trust::check(Path::new("/"), dump).map_err(|error| {
            Failure::caused(format!("replacing {}: it is reached by a link", quoted(dump)), &error)
                .hint("name the file itself: links are followed only where nobody else can change them")
        })?;
    }
    let links = fs::metadata(&path).map_err(|error| failed(&error))?.nlink();
    if links > 1 {
        let text = format!(
            "{} has {} more names (hard links), which keep the dump with its old header",
            quoted(&path),
            links - 1
        );
        say(PROGRAM, "warning", &text);
    }
    Ok(path)
}

/// Before anything is written: the old header resists quantum computers, the new one would not.
pub(super) fn warn_of_downgrade(old: &Header, recipients: &Recipients) {
    if let Some(kind) = rewrap::downgrade(old, recipients) {
        let text = format!(
            "the dump was closed to quantum computers, and recipient {kind} does not keep it so: whoever stores the new \
             file may open it later"
        );
        say(PROGRAM, "warning", &text);
        say(PROGRAM, "hint", "vmcore-decrypt keygen --pq makes a post-quantum identity");
    }
}

impl Args {
    /// Where the new file goes, and whether it may replace one. Nothing that is read is overwritten on the way.
    fn place(&self) -> Result<(PathBuf, bool), Failure> {
        match &self.output {
            Some(path) => {
                self.identities.apart_from(path, std::slice::from_ref(&self.dump))?;
                apart::check(path, self.recipients.named_files().iter().map(PathBuf::as_path))?;
                Ok((path.clone(), self.force))
            }
            None if self.dump == Path::new("-") => Err(nowhere()),
            None => {
                let path = replaced(&self.dump)?;
                self.identities.apart_from(&path, &[])?;
                apart::check(&path, self.recipients.named_files().iter().map(PathBuf::as_path))?;
                Ok((path, true))
            }
        }
    }

    /// Without an output the dump is replaced, and its recipients can lose it: only when that is asked for.
    fn check_replaced(&self) -> Result<(), Failure> {
        if self.output.is_some() || self.in_place || self.force {
            return Ok(());
        }
        let message = format!("replacing {}: no other file is named", input_name(&self.dump));
        Err(Failure::new(Status::Usage, message)
            .hint("--in-place replaces the dump; or name a file for the new one"))
    }
}

/// Recipients by kind and text, of which post-quantum ones have two thousand letters.
fn names(recipients: &Recipients) -> String {
    let name = |text: &str| match text.get(..SHOWN) {
        Some(start) if text.len() > 2 * SHOWN => format!("{start}..."),
        _ => text.to_owned(),
    };
    let names = recipients.iter().map(|one| format!("{} ({})", name(&one.to_string()), one.kind()));
    names.collect::<Vec<_>>().join(", ")
}

/// Letters shown of a long recipient.
const SHOWN: usize = 40;

fn nowhere() -> Failure {
    Failure::new(Status::Usage, "rewrapping standard input: there is no file to replace")
        .hint("name a file for the new dump after the -")
}
