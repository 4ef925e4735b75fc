//! `vmcore-encrypt`: the collector's command line and its sub-commands, one file each.

mod args;
#[cfg(feature = "check")]
mod check;
mod collect;
mod config;
mod dmesg;
mod dump;
mod estimate;
mod fingerprint;
mod foreign;
#[cfg(feature = "check")]
mod gate;
mod input;
mod kmsg;
mod output;
#[cfg(feature = "check")]
mod pstore;
#[cfg(feature = "check")]
mod read_image;
#[cfg(feature = "convert")]
mod removal;
#[cfg(feature = "upload")]
mod upload;
#[cfg(feature = "check")]
mod words;

use super::{Failure, Status, order, progress, say_notice, status, version};
use crate::crypt::{ENTROPY_LIMIT, Entropy};
use clap::{ArgAction, ColorChoice, CommandFactory, Parser, Subcommand};
use std::ffi::{OsStr, OsString};
use std::path::Path;

#[cfg(feature = "check")]
pub use words::parse as parse_words;

const PROGRAM: &str = "vmcore-encrypt";
/// The program of kexec-tools that prints the crashed kernel's log; called by its name, this one saves
/// the log encrypted instead.
const DMESG_NAME: &str = "vmcore-dmesg";
/// The other program and its sub-commands, for who takes one for the other. A list, since the collector is built without
/// the other program.
pub(super) const OTHER: (&str, &[&str]) = (
    "vmcore-decrypt",
    &["info", "keygen", "list", "mount", "refilter", "report", "restore", "rewrap", "verify"],
);
/// Sub-commands that not every build has, each with its feature.
const FEATURES: &[(&str, &str)] = &[("check", "check"), ("gate", "check"), ("pstore", "check")];

/// Save a crashed kernel's memory, filtered, compressed and encrypted to public keys.
#[derive(Parser, Debug)]
#[command(name = PROGRAM, max_term_width = 100, disable_version_flag = true, color = ColorChoice::Never)]
// Scripts parse makedumpfile's "name: version X".
#[command(display_name = "vmcore-encrypt:", version = concat!("version ", env!("CARGO_PKG_VERSION")))]
#[command(long_version = version::collector())]
// A repeated option counts once, as with makedumpfile.
#[command(args_override_self = true)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = status::help("Examples:
  vmcore-encrypt -d 31 /proc/vmcore /var/crash/vmcore-incomplete
  vmcore-encrypt -d 31 -r age1... /proc/vmcore | ssh host 'dd of=vmcore.age'
  vmcore-encrypt -d 1,31 -L 900M /proc/vmcore /boot/crash/vmcore

The machine that crashes needs recipients only; vmcore-decrypt opens the dump with an identity.", Status::ALL))]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    dump: Option<args::Args>,

    /// Warnings and errors alone: no progress, no notes, no report
    #[arg(short = 'q', long, global = true)]
    quiet: bool,
    /// Print the version; --version tells commit, features and targets too
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Save the crashed kernel's log, encrypted
    Dmesg(dmesg::Args),
    #[cfg(feature = "check")]
    /// Tell whether the next crash of this machine would be saved, encrypted
    Check(check::Args),
    #[cfg(feature = "check")]
    /// Tell image builders whether a kdump configuration has a way to a dump in plain
    Gate(gate::Args),
    /// Print the configuration of the saving scripts, checked, as shell assignments
    Config(config::Args),
    /// Estimate how large a dump of the running machine would be
    Estimate(estimate::Args),
    /// Copy a dump from a raw partition into a file; needs no key
    Collect(collect::Args),
    /// Print the fingerprint of the recipients, to pin them
    Fingerprint(fingerprint::Args),
    /// Print the running kernel's log as encrypted lines
    Kmsg(kmsg::Args),
    #[cfg(feature = "check")]
    /// Take what the firmware kept of a crash (pstore), encrypted; needs no key
    Pstore(pstore::Args),
    /// Decode a kdump image for check
    #[cfg(feature = "check")]
    #[command(hide = true, after_help = status::help("Examples:
  cat IMAGE | vmcore-encrypt read-image

check starts it as user nobody; root is refused, and standard output is not for people.", status::BASIC))]
    ReadImage,
}

/// The command line; called as `vmcore-dmesg` the program is its sub-command `dmesg`.
#[must_use]
pub fn with_sub_command(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    let name = words.first().and_then(|word| Path::new(word).file_name());
    if name == Some(OsStr::new(DMESG_NAME)) {
        words.insert(1, "dmesg".into());
    }
    words
}

/// What other programs call what this one does.
const MEANT: [(&str, &str); 5] = [
    ("encrypt", "vmcore-encrypt -R RECIPIENTS VMCORE DUMPFILE saves a vmcore encrypted"),
    ("collect", "vmcore-encrypt -R RECIPIENTS VMCORE DUMPFILE saves a vmcore encrypted"),
    ("save", "vmcore-encrypt -R RECIPIENTS VMCORE DUMPFILE saves a vmcore encrypted"),
    ("decrypt", "vmcore-decrypt restores a dump, on the analyst's machine"),
    ("test", "check reports whether the next crash of this machine would be saved"),
];

/// The words of a command line with their sub-command first, which may stand anywhere.
///
/// # Errors
/// The first word is neither a file nor a sub-command, but looks like one.
pub fn order(words: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let words = with_sub_command(words.into_iter());
    let command = Cli::command();
    let (other, names) = OTHER;
    order::check_first_word(&command, &words, (other, names.iter().copied()), FEATURES, &MEANT)?;
    Ok(order::sub_command_first(&command, words, None))
}

/// Runs the program.
///
/// # Errors
/// The failure, as a message.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    if cli.quiet {
        progress::be_quiet();
    }
    match (&cli.command, &cli.dump) {
        (Some(Command::Dmesg(args)), _) => dmesg::run(args),
        #[cfg(feature = "check")]
        (Some(Command::Check(args)), _) => check::run(args),
        #[cfg(feature = "check")]
        (Some(Command::Gate(args)), _) => gate::run(args),
        (Some(Command::Config(args)), _) => config::run(args),
        (Some(Command::Estimate(args)), _) => estimate::run(args),
        (Some(Command::Collect(args)), _) => collect::run(args),
        (Some(Command::Fingerprint(args)), _) => fingerprint::run(args),
        (Some(Command::Kmsg(args)), _) => kmsg::run(args),
        #[cfg(feature = "check")]
        (Some(Command::Pstore(args)), _) => pstore::run(args),
        #[cfg(feature = "check")]
        (Some(Command::ReadImage), _) => read_image::run(),
        (None, Some(args)) => dump::run(args),
        (None, None) => Ok(()),
    }
}

/// Runs `action` with the wait for random bytes that it may need; a wait is reported on stderr, and so is a plugin that
/// cannot wrap the key.
fn with_entropy<T>(action: impl FnOnce(&mut Entropy<'_>) -> T) -> T {
    action(&mut Entropy { limit: ENTROPY_LIMIT, notify: &mut |notice| say_notice(PROGRAM, notice) })
}
