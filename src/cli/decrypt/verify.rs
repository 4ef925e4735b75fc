//! `vmcore-decrypt verify DUMP`: everything is authenticated and decompressed, nothing is written.

use super::super::{Failure, Status, input_name, status, stdout};
use super::input::{self, IdentityArgs};
use super::restore::{failure, watched};
use crate::restore::{self, Output, Report};
use crate::text::{printable, size};
use clap::Args as ClapArgs;
use std::num::NonZero;
use std::path::PathBuf;

/// The statuses that `verify` has.
const VERIFYING: &[Status] = &[
    Status::Done,
    Status::Failure,
    Status::Usage,
    Status::WrongKey,
    Status::Damaged,
    Status::Truncated,
    Status::Incomplete,
];

/// The arguments of `verify`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-decrypt verify -i key.txt vmcore.age
  ssh host cat vmcore.age | vmcore-decrypt verify -i key.txt -

A dump that is authentic and lacks pages, by a size limit or since they could not be read, is incomplete.", VERIFYING))]
pub(super) struct Args {
    #[command(flatten)]
    identities: IdentityArgs,
    /// Threads that decrypt and decompress [default: one per CPU]
    #[arg(long, value_name = "N")]
    num_threads: Option<NonZero<usize>>,

    /// The encrypted dump; - is standard input
    dump: PathBuf,
}

/// Runs the sub-command.
///
/// # Errors
/// What stopped it, ready to be said.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let identities = args.identities.read(std::slice::from_ref(&args.dump))?;
    let mut dump = watched("verifying", &args.dump)?;
    let report = restore::restore(&mut *dump, &identities, Output::Nothing, input::threads(args.num_threads))
        .map_err(|error| failure(&args.dump, None, &error))?;
    stdout::print(&(printable(&verdict(args, &report)) + "\n"))?;
    if report.complete {
        Ok(())
    } else {
        let message = format!("verifying {}: it lacks pages that it should have", input_name(&args.dump));
        Err(Failure::new(Status::Incomplete, message)
            .hint("what it holds is authentic; it was incomplete when it was saved"))
    }
}

fn verdict(args: &Args, report: &Report) -> String {
    let Some(head) = &report.head else {
        return format!("{}: authentic; a stream of another collector", input_name(&args.dump));
    };
    let saved = size::show(report.pages.saved.saturating_mul(head.page_size));
    let pages = &report.pages;
    let end = match report.complete {
        true if pages.lost() == 0 => "complete".to_owned(),
        true => format!("complete but for {} lost pages", pages.lost()),
        false if pages.is_lacking() => {
            format!("INCOMPLETE, {} of {} pages are lost", pages.lost(), pages.asked())
        }
        false => "ended early by its size limit".to_owned(),
    };
    format!(
        "{}: authentic, {end}: {} pages with data ({saved}), {} zero pages",
        input_name(&args.dump),
        report.pages.saved,
        report.pages.zero
    )
}
