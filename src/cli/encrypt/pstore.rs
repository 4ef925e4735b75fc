//! `vmcore-encrypt pstore --dest DIR`: takes what the firmware kept of a crash out of its store, encrypted. Runs as root at
//! boot, before systemd-pstore would copy the same records in plain.

use super::super::creating::refuse_url;
use super::super::recipients::{RecipientArgs, failure};
use super::super::status::{self, Status};
use super::super::{Failure, quoted, say};
use super::{PROGRAM, with_entropy};
use crate::pstore::{Error, Records, Saved};
use crate::sink::safe_dir::{self, SafeDirectory};
use clap::Args as ClapArgs;
use std::path::{Path, PathBuf};

/// The arguments of `pstore`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-encrypt pstore --dest /var/crash

Every plain file of the store goes into one new file, pstore-NUMBER.age. The records are removed once that file is on the \
disk and reads back as it was written. With status 6 some are saved and could not be removed; with 7 some are too large or \
not readable, and stay. Read the file with vmcore-decrypt dmesg, or with age -d -i key.txt FILE | zstd -d | tar x.",
    &[Status::Done, Status::Failure, Status::Usage, Status::Warned, Status::Incomplete]))]
pub(super) struct Args {
    #[command(flatten)]
    recipients: RecipientArgs,
    /// The directory for the file; made when absent. It and all above it must be root's, and nobody else may write
    /// there
    #[arg(long, value_name = "DIRECTORY")]
    dest: PathBuf,
    /// Where the records are
    #[arg(long, value_name = "DIRECTORY", default_value = "/sys/fs/pstore")]
    store: PathBuf,
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message; the records are then still in the store. Or that not all of them could be taken.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    refuse_url(&args.dest)?;
    let recipients = args.recipients.read()?;
    let reading = format!("reading the records in {}", quoted(&args.store));
    let store = SafeDirectory::open(&args.store).map_err(|error| Failure::caused(&reading, &error))?;
    let records = Records::read(&store).map_err(|error| Failure::caused(&reading, &error))?;
    if records.is_empty() && records.left.is_empty() {
        say(PROGRAM, "note", &format!("no record is in {}", quoted(&args.store)));
        return Ok(());
    }
    let saved = if records.is_empty() {
        None
    } else {
        let directory =
            SafeDirectory::open_or_create(&args.dest).map_err(|error| unsafe_directory(args, &error))?;
        let saved = with_entropy(|entropy| records.save(&store, &directory, &recipients, entropy));
        Some(saved.map_err(|error| failed(&args.dest, &error))?)
    };
    conclude(args, &records, saved.as_ref(), recipients.left_out())
}

fn unsafe_directory(args: &Args, error: &safe_dir::Error) -> Failure {
    Failure::caused(format!("opening the directory {}", quoted(&args.dest)), error)
}

fn failed(dest: &Path, error: &Error) -> Failure {
    match error {
        Error::Crypt(error) => failure("encrypting the records", error),
        Error::Write(error) => Failure::caused(format!("saving the records to {}", quoted(dest)), error)
            .hint("they are still in the store"),
    }
}

/// Reports what was saved, and ends with the status of the worst that happened.
fn conclude(args: &Args, records: &Records, saved: Option<&Saved>, left_out: bool) -> Result<(), Failure> {
    if let Some(saved) = saved {
        let place = quoted(&args.dest.join(&saved.name));
        say(PROGRAM, "note", &format!("{} records are saved to {place}", saved.count));
    }
    let kept = saved.map_or(&[][..], |saved| &saved.kept);
    let warn = |names: &[String], what: &str| {
        for name in names {
            say(PROGRAM, "warning", &format!("{} {what}", quoted(Path::new(name))));
        }
    };
    warn(kept, "is saved and could not be removed from the store");
    warn(&records.left, "is too large, not readable or no plain file, and stays in the store");
    let message = format!("saving the records in {}: not all could be taken", quoted(&args.store));
    let hint = "the warnings before this name them";
    match (records.left.is_empty(), kept.is_empty() && !left_out) {
        (false, _) => Err(Failure::new(Status::Incomplete, message).hint(hint)),
        (true, false) => {
            let message = format!("saving the records in {}: with a warning", quoted(&args.store));
            Err(Failure::new(Status::Warned, message).hint(hint))
        }
        (true, true) => Ok(()),
    }
}
