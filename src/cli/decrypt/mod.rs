//! `vmcore-decrypt`: the analyst's command line and its sub-commands, one file each.

mod kmsg;
mod restore;

use super::Failure;
use clap::{ArgAction, Parser, Subcommand};

const PROGRAM: &str = "vmcore-decrypt";

/// Restore an encrypted crash dump for crash, drgn and gdb.
#[derive(Parser, Debug)]
#[command(name = PROGRAM, version, max_term_width = 100, disable_version_flag = true)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Examples:
  vmcore-decrypt -i key.txt vmcore.age vmcore
  vmcore-decrypt -i key.txt --format elf vmcore.age vmcore.elf
  ssh host cat vmcore.age | vmcore-decrypt -i key.txt - vmcore

Exit status: 0 done, 1 failure, 2 usage, 3 no identity opens the dump, 4 damaged, 5 truncated.")]
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
    /// Decrypt the kernel messages in a log
    Kmsg(kmsg::Args),
}

/// Runs the program.
///
/// # Errors
/// What stopped it, ready to be said.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    match (&cli.command, &cli.restore) {
        (Some(Command::Kmsg(args)), _) => kmsg::run(args),
        (None, Some(args)) => restore::run(args),
        (None, None) => Ok(()),
    }
}
