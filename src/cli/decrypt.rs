//! `vmcore-decrypt`: the analyst's command line and its sub-commands, one file each.

mod apart;
mod dmesg;
mod info;
mod input;
mod keygen;
mod kmsg;
mod mount;
mod restore;
mod rewrap;
mod salvage;
mod verify;

use super::{Failure, Status, say, status};
use crate::crypt::{ENTROPY_LIMIT, Entropy};
use clap::{ArgAction, ColorChoice, Parser, Subcommand};

const PROGRAM: &str = "vmcore-decrypt";

/// Restore an encrypted crash dump for crash, drgn and gdb, or look into it.
#[derive(Parser, Debug)]
#[command(name = PROGRAM, version, about, max_term_width = 100, disable_version_flag = true)]
#[command(color = ColorChoice::Never)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
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

    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show what a dump holds and who can open it
    Info(info::Args),
    /// Check that a dump is whole and authentic, without writing it
    Verify(verify::Args),
    /// Print the crashed kernel's log
    Dmesg(dmesg::Args),
    /// Show a dump as files, without restoring it
    Mount(mount::Args),
    /// Give a dump to other recipients
    Rewrap(rewrap::Args),
    /// Make an identity and its recipient
    Keygen(keygen::Args),
    /// Decrypt the kernel messages in a log
    Kmsg(kmsg::Args),
}

/// Runs the program.
///
/// # Errors
/// What stopped it, ready to be said.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    match (&cli.command, &cli.restore) {
        (Some(Command::Info(args)), _) => info::run(args),
        (Some(Command::Verify(args)), _) => verify::run(args),
        (Some(Command::Dmesg(args)), _) => dmesg::run(args),
        (Some(Command::Mount(args)), _) => mount::run(args),
        (Some(Command::Rewrap(args)), _) => rewrap::run(args),
        (Some(Command::Keygen(args)), _) => keygen::run(args),
        (Some(Command::Kmsg(args)), _) => kmsg::run(args),
        (None, Some(args)) => restore::run(args),
        (None, None) => Ok(()),
    }
}

/// Runs `action` with the wait for random bytes that it may need; a wait is said on stderr.
fn with_entropy<T>(action: impl FnOnce(&mut Entropy<'_>) -> T) -> T {
    action(&mut Entropy { limit: ENTROPY_LIMIT, notify: &mut |text| say(PROGRAM, "note", text) })
}
