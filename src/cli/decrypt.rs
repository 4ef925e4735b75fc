//! `vmcore-decrypt`: the analyst's command line and its sub-commands, one file each.

mod apart;
mod crash;
mod default_identity;
mod dmesg;
mod info;
mod input;
mod keygen;
mod kmsg;
mod list;
mod mount;
mod plain;
mod refilter;
mod report;
mod restore;
mod rewrap;
mod salvage;
#[cfg(feature = "remote")]
mod slow;
mod symbols;
mod tables;
mod verify;

use super::{Failure, Status, encrypt, order, progress, say_notice, status, version};
use crate::crypt::{ENTROPY_LIMIT, Entropy};
use clap::{ArgAction, ColorChoice, CommandFactory, Parser, Subcommand};
use crash::crash_facts;
use std::ffi::OsString;

const PROGRAM: &str = "vmcore-decrypt";
/// The sub-command that is meant where none is typed.
const DEFAULT: &str = "restore";

/// What other programs call what this one does.
const MEANT: [(&str, &str); 11] = [
    ("decrypt", "vmcore-decrypt -i KEY DUMP OUTPUT restores a dump"),
    ("open", "mount shows a dump as files, and restore writes it to a file"),
    ("extract", "restore writes a dump to a file"),
    ("unpack", "restore writes a dump to a file"),
    ("salvage", "restore --salvage restores what is authentic of a damaged dump"),
    ("log", "dmesg prints the crashed kernel's log"),
    ("show", "info shows what a dump holds, dmesg its log, report why the machine died"),
    ("umount", "mount --unmount DIRECTORY ends a mount"),
    ("unmount", "mount --unmount DIRECTORY ends a mount"),
    (
        "recipients",
        "info shows for which kinds of recipients a dump is, and keygen -y the recipient of an identity",
    ),
    ("encrypt", "vmcore-encrypt saves a vmcore encrypted; rewrap gives a dump to other recipients"),
];

/// Restore an encrypted crash dump for crash, drgn and gdb, or read it without restoring.
#[derive(Parser, Debug)]
#[command(name = PROGRAM, version, long_version = version::analyst(), max_term_width = 100, disable_version_flag = true)]
#[command(color = ColorChoice::Never)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(override_usage = "vmcore-decrypt [restore] [OPTIONS] <DUMP>... <OUTPUT>
       vmcore-decrypt <COMMAND> ...")]
#[command(after_help = status::help("Examples:
  vmcore-decrypt -i key.txt vmcore.age vmcore
  vmcore-decrypt -i key.txt --format elf vmcore.age vmcore.elf
  ssh host cat vmcore.age | vmcore-decrypt -i key.txt - vmcore
  vmcore-decrypt dmesg -i key.txt vmcore.age
", Status::ALL))]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    restore: Option<restore::Args>,

    /// Warnings and errors alone: no progress, no notes
    #[arg(short = 'q', long, global = true)]
    quiet: bool,
    /// Print the version; --version tells commit and features too
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Turn a dump back into a file that crash, drgn and gdb read; so does the command line without a sub-command
    Restore(Box<restore::Args>),
    /// Show what a dump holds and who can open it
    Info(info::Args),
    /// List the crashes of a fleet: the dumps of directories and buckets
    List(list::Args),
    /// Check that a dump is whole and authentic, without writing it
    Verify(verify::Args),
    /// Print the crashed kernel's log
    Dmesg(dmesg::Args),
    /// Report why the machine died
    Report(report::Args),
    /// Show a dump as files, without restoring it
    Mount(mount::Args),
    /// Give a dump to other recipients
    Rewrap(rewrap::Args),
    /// Make a dump at a higher level, for other recipients, of a dump
    Refilter(refilter::Args),
    /// Make an identity and its recipient
    Keygen(keygen::Args),
    /// Decrypt the kernel messages in a log
    Kmsg(kmsg::Args),
}

/// The words of a command line with their sub-command first, which may stand anywhere and may be absent.
///
/// # Errors
/// The first word is neither a file nor a sub-command, but looks like one.
pub fn order(words: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let command = Cli::command();
    let other = encrypt::Cli::command();
    let names = other.get_subcommands().map(clap::Command::get_name);
    order::check_first_word(&command, &words, (other.get_name(), names), &[], &MEANT)?;
    Ok(order::sub_command_first(&command, words, Some(DEFAULT)))
}

/// Runs the program.
///
/// # Errors
/// The failure, as a message.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    if cli.quiet {
        progress::be_quiet();
    }
    match (&cli.command, &cli.restore) {
        (Some(Command::Restore(args)), _) => restore::run(args),
        (Some(Command::Info(args)), _) => info::run(args),
        (Some(Command::List(args)), _) => list::run(args),
        (Some(Command::Verify(args)), _) => verify::run(args),
        (Some(Command::Dmesg(args)), _) => dmesg::run(args),
        (Some(Command::Report(args)), _) => report::run(args),
        (Some(Command::Mount(args)), _) => mount::run(args),
        (Some(Command::Rewrap(args)), _) => rewrap::run(args),
        (Some(Command::Refilter(args)), _) => refilter::run(args),
        (Some(Command::Keygen(args)), _) => keygen::run(args),
        (Some(Command::Kmsg(args)), _) => kmsg::run(args),
        (None, Some(args)) => restore::run(args),
        (None, None) => Ok(()),
    }
}

/// Runs `action` with the wait for random bytes that it may need; a wait is reported on stderr.
fn with_entropy<T>(action: impl FnOnce(&mut Entropy<'_>) -> T) -> T {
    action(&mut Entropy { limit: ENTROPY_LIMIT, notify: &mut |notice| say_notice(PROGRAM, notice) })
}
