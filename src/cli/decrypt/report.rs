//! `vmcore-decrypt report DUMP`: why the machine died, from the dump alone.

use super::super::{Failure, Status, say, status, stdout};
use super::PROGRAM;
use super::input::{self, IdentityArgs};
use super::symbols;
use super::tables::UserCache;
use crate::kernel::{Kernel, TableCache};
use crate::mm::KernelMemory;
use crate::reader::BLOCK_CACHE;
use crate::report::{Options, Report, Source, show};
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;

/// The arguments of `report`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-decrypt report -i key.txt vmcore.age
  vmcore-decrypt report -i key.txt --tasks all vmcore.age | less
  vmcore-decrypt report -i key.txt --json vmcore.age | jq -r '.signature[]'
  vmcore-decrypt report -i key.txt --symbols types vmcore.age

The kernel's own symbols, types and unwind tables in the dump are enough: no vmlinux is needed. What cannot be read \
is reported in its place.

Symbols and types of a kernel are kept in ~/.cache/vmcore-decrypt/tables by build id, and used for its next dump, where \
that dump agrees with them.", status::OPENING))]
pub(super) struct Args {
    #[command(flatten)]
    identities: IdentityArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Which tasks are shown with their stacks
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Which::Blocked)]
    tasks: Which,
    /// Neither use nor keep the symbols and types of kernels in the cache
    #[arg(long)]
    no_cache: bool,
    /// Also write the kernel's symbols and types into this new directory: kallsyms.txt, btf (raw BTF), btf.d/MODULE
    #[arg(long, value_name = "DIRECTORY", value_hint = clap::ValueHint::DirPath)]
    symbols: Option<PathBuf>,

    /// The encrypted dump; of one in parts all parts
    #[arg(value_name = "DUMP", required = true)]
    dumps: Vec<PathBuf>,
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
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let identities = args.identities.read(&args.dumps)?;
    let opened = input::open_parts(&args.dumps, &identities, BLOCK_CACHE)?;
    let dump = &opened.dump;
    args.dumps.iter().for_each(|path| input::warn_of_part(path, dump.facts().part.as_ref()));
    let names = input::names(&args.dumps);
    if !dump.is_complete() {
        say(PROGRAM, "warning", &format!("{names} is incomplete: pages are missing"));
    }
    let doing = || format!("reporting on {names}");
    let vmcore = dump.vmcore().map_err(|error| Failure::caused(doing(), &error).status(Status::Damaged))?;
    let memory = KernelMemory::new(&vmcore)
        .map_err(|error| input::by_fault(dump, Failure::caused(doing(), &error)))?;
    let notes: Vec<&[u8]> = vmcore.notes().prstatus().collect();
    let source = Source { memory: &memory, machine: vmcore.machine(), notes: &notes };
    let mut done = Ok(());
    let cache = UserCache { wanted: !args.no_cache };
    cache.with_kernel(&memory, &mut |kernel| done = print(args, kernel, &source));
    done?;
    // The report is printed first; then the status tells that the dump is damaged or cut.
    opened.ended(&args.dumps)
}

/// Prints the report, and writes the symbols and types that are asked for.
fn print(args: &Args, kernel: &Kernel<'_>, source: &Source<'_>) -> Result<(), Failure> {
    let options = Options { all_tasks: args.tasks == Which::All };
    let report = Report::of_kernel(kernel, source, options);
    if args.json {
        stdout::print_json("the report", &report)?;
    } else {
        stdout::print(&show(&report, options.all_tasks))?;
    }
    args.symbols.as_ref().map_or(Ok(()), |directory| symbols::write(kernel, directory))
}
