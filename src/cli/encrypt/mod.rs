//! `vmcore-encrypt`: the collector's command line and its sub-commands, one file each.

mod dump;

use super::Failure;
use clap::{ArgAction, Parser};

const PROGRAM: &str = "vmcore-encrypt";

/// Save a crashed kernel's memory, filtered, compressed and encrypted to public keys.
#[derive(Parser, Debug)]
#[command(name = PROGRAM, version, max_term_width = 100, disable_version_flag = true)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Examples:
  vmcore-encrypt -d 31 /proc/vmcore /var/crash/vmcore-incomplete
  vmcore-encrypt -d 31 -r age1... /proc/vmcore | ssh host 'dd of=vmcore.age'
  vmcore-encrypt -d 1,31 -L 900M /proc/vmcore /boot/crash/vmcore

The machine that crashes needs recipients only; vmcore-decrypt opens the dump with an identity.
Exit status: 0 saved, 1 failure, 2 usage, 6 saved, but nothing could be filtered.")]
pub struct Cli {
    #[command(flatten)]
    dump: dump::Args,

    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// Runs the program.
///
/// # Errors
/// What stopped it, ready to be said.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    dump::run(&cli.dump)
}
