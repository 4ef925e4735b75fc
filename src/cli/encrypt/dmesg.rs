//! `vmcore-encrypt dmesg VMCORE [OUT]`: the crashed kernel's log, encrypted. Also what `vmcore-dmesg VMCORE` and
//! `--dump-dmesg VMCORE OUT` run, so that scripts which save the log in plain save it encrypted.

use super::super::creating::refuse_url;
use super::super::recipients::{RecipientArgs, failure};
use super::super::signals::{Stop, Stoppable};
use super::super::{Failure, Status, quoted, say, status};
use super::output::Place;
use super::{PROGRAM, input, with_entropy};
use crate::collect::log;
use crate::crypt::Recipients;
use crate::klog::{Start, Stats};
use crate::mm::KernelMemory;
use clap::Args as ClapArgs;
use std::path::{Path, PathBuf};

/// The arguments of `dmesg`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-encrypt dmesg /proc/vmcore /var/crash/vmcore-dmesg.txt.age
  vmcore-encrypt dmesg -r age1... /proc/vmcore | ssh host 'cat > vmcore-dmesg.txt.age'

Read it with vmcore-decrypt dmesg, or with age -d -i key.txt LOG | zstd -d.", status::SAVING))]
pub(super) struct Args {
    #[command(flatten)]
    recipients: RecipientArgs,
    /// Only messages after the last clearing of the log
    #[arg(long = "partial-dmesg", visible_alias = "partial")]
    partial: bool,
    /// Overwrite an existing file, which goes at once; a FIFO or character device is written to, a link refused
    #[arg(short = 'f', long)]
    force: bool,

    /// The vmcore: /proc/vmcore in the capture kernel, or a copy of one
    vmcore: PathBuf,
    /// The encrypted log; standard output when absent or -
    output: Option<PathBuf>,
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let place = match &args.output {
        Some(path) => {
            refuse_url(path)?;
            Place::file(path, args.force, false)
        }
        None => Place::Stdout,
    };
    save(&args.vmcore, args.partial, &args.recipients, &place)
}

/// Saves the log of `vmcore`, all of it or the `partial` one, to `place`.
///
/// # Errors
/// The failure, as a message. Nothing was written unless the log could be read.
pub(super) fn save(vmcore: &Path, partial: bool, to: &RecipientArgs, place: &Place) -> Result<(), Failure> {
    let reading = format!("reading the kernel log of {}", quoted(vmcore));
    let failed = |error: &log::Error| match error {
        log::Error::Write(error) => place.write_failure(error, "free some room"),
        log::Error::Crypt(error) => failure("encrypting the kernel log", error),
        log::Error::Log(error) => Failure::caused(&reading, error),
    };
    place.check_apart(&[vmcore.to_owned()], to)?;
    let recipients = to.read()?;
    let core = input::open_vmcore(vmcore)?;
    let memory = KernelMemory::new(&core).map_err(|error| Failure::caused(&reading, &error))?;
    let start = if partial { Start::LastClear } else { Start::Oldest };
    log::check(&memory, start).map_err(|error| failed(&error))?;

    let stop = Stop::install()?;
    let mut stream = place.open()?;
    let mut out = Stoppable { inner: &mut stream, stop: &stop, left: None };
    let stats = with_entropy(|entropy| log::encrypt(&memory, start, &recipients, entropy, &mut out))
        .map_err(|error| failed(&error))?;
    stream.finish().map_err(|error| failed(&error.into()))?;
    report(stats);
    left_out(&recipients, &format!("saving the kernel log to {}", place.name()))
}

/// The end of a command whose output not all recipients can open.
///
/// # Errors
/// That, with a status of its own.
pub(super) fn left_out(recipients: &Recipients, doing: &str) -> Result<(), Failure> {
    if !recipients.left_out() {
        return Ok(());
    }
    let message = format!("{doing}: not all recipients can open it");
    Err(Failure::new(Status::Warned, message)
        .hint("the log is whole; the warning before this names the plugin"))
}

fn report(stats: Stats) {
    if stats.damaged > 0 {
        say(PROGRAM, "warning", &format!("{} messages of the kernel log were damaged", stats.damaged));
    }
}
