//! `vmcore-decrypt`: the analyst's command line and its sub-commands, one file each.

mod restore;

use super::Failure;
use clap::{ArgAction, Parser};

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
    #[command(flatten)]
    restore: restore::Args,

    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// Runs the program.
///
/// # Errors
/// What stopped it, ready to be said.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    restore::run(&cli.restore)
}
