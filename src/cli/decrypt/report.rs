//! `vmcore-decrypt report DUMP`: why the machine died, from the dump alone.

use super::super::{Failure, Status, input_name, say, status, stdout};
use super::PROGRAM;
use super::input::{self, IdentityArgs};
use crate::report::{Options, Report, show};
use crate::text::ascii_json;
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;

/// The arguments of `report`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-decrypt report -i key.txt vmcore.age
  vmcore-decrypt report -i key.txt --tasks all vmcore.age | less
  vmcore-decrypt report -i key.txt --json vmcore.age | jq -r '.signature[]'

The kernel's own symbols, types and unwind tables in the dump are enough: no vmlinux is needed. What cannot be read \
is reported in its place.", status::OPENING))]
pub(super) struct Args {
    #[command(flatten)]
    identities: IdentityArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Which tasks are shown with their stacks
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Which::Blocked)]
    tasks: Which,

    /// The encrypted dump
    dump: PathBuf,
}

/// Tasks to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Those that wait and cannot be interrupted
    Blocked,
    /// Every task
    All,
}

/// Runs the sub-command.
///
/// # Errors
/// What stopped it, ready to be said.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let identities = args.identities.read(std::slice::from_ref(&args.dump))?;
    let source = input::open_source(&args.dump)?;
    let dump = input::open_dump(&args.dump, source, &identities)?;
    if !dump.is_complete() {
        let text = format!("{} is incomplete: pages are missing", input_name(&args.dump));
        say(PROGRAM, "warning", &text);
    }
    let doing = || format!("reporting on {}", input_name(&args.dump));
    let vmcore = dump.vmcore().map_err(|error| Failure::caused(doing(), &error).status(Status::Damaged))?;
    let options = Options { all_tasks: args.tasks == Which::All };
    let report = Report::of_vmcore(&vmcore, options).map_err(|error| Failure::caused(doing(), &error))?;
    if !args.json {
        return stdout::print(&show(&report, options.all_tasks));
    }
    let json = serde_json::to_string_pretty(&report)
        .map_err(|error| Failure::caused("encoding the report as JSON", &error))?;
    stdout::print(&(ascii_json(&json) + "\n"))
}
