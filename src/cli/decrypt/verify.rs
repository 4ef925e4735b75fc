//! `vmcore-decrypt verify DUMP`: everything is authenticated and decompressed, nothing is written.

use super::super::{Failure, Status, status, stdout};
use super::input::{self, IdentityArgs};
use super::restore::{failure, watched};
use crate::blocks::ClassCounts;
use crate::restore::{self, Output, Report};
use crate::text::{printable, size};
use clap::Args as ClapArgs;
use serde::Serialize;
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
  vmcore-decrypt verify -i key.txt --json vmcore.age | jq .verdict

A dump that is authentic and lacks pages, by a size limit or since they could not be read, is incomplete.", VERIFYING))]
pub(super) struct Args {
    #[command(flatten)]
    identities: IdentityArgs,
    /// Threads that decrypt and decompress [default: one per CPU]
    #[arg(long, value_name = "N")]
    num_threads: Option<NonZero<usize>>,
    /// One JSON object, of a dump that fails, too
    #[arg(long)]
    json: bool,

    /// The encrypted dump; - is standard input. Of a dump in parts all parts, or one
    #[arg(value_name = "DUMP", required = true)]
    dumps: Vec<PathBuf>,
}

/// What `--json` prints; docs/json.md describes it.
#[derive(Serialize)]
struct Verdict {
    /// In a word: the meaning of the exit status, or `complete`.
    verdict: &'static str,
    /// The exit status.
    status: u8,
    /// What went wrong.
    error: Option<String>,
    /// Whether every byte that was read is authentic.
    authentic: bool,
    /// Whether the dump holds all that its level asks for.
    complete: bool,
    /// Bytes of a page; absent where the dump is not ours or could not be read to its end.
    page_size: Option<u64>,
    /// Number and count, of one part of a dump.
    part: Option<(u32, u32)>,
    /// Pages per class, in pages, where they are known.
    pages: Option<ClassCounts>,
}

impl Verdict {
    fn of(result: &Result<Report, Failure>, end: &Result<(), Failure>) -> Verdict {
        let report = result.as_ref().ok();
        let status = end.as_ref().map_or_else(Failure::exit_status, |()| Status::Done);
        let head = report.and_then(|report| report.head.as_ref());
        Verdict {
            verdict: match status {
                Status::Done => "complete",
                Status::Incomplete => "incomplete",
                Status::Damaged => "damaged",
                Status::Truncated => "truncated",
                Status::WrongKey => "wrong-key",
                Status::Failure | Status::Usage | Status::Warned => "failure",
            },
            status: status.code(),
            error: end.as_ref().err().map(|failure| failure.message().to_owned()),
            authentic: report.is_some(),
            complete: report.is_some_and(|report| report.complete),
            page_size: head.map(|head| head.page_size),
            part: head.and_then(|head| head.part.as_ref()).map(|part| (part.number, part.of)),
            pages: head.and(report).map(|report| report.pages),
        }
    }
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let result = verify(args);
    let end = match &result {
        Ok(report) if !report.complete => {
            let message =
                format!("verifying {}: it lacks pages that it should have", input::names(&args.dumps));
            Err(Failure::new(Status::Incomplete, message)
                .hint("what it holds is authentic; it was incomplete when it was saved"))
        }
        Ok(_) => Ok(()),
        Err(failure) => Err(failure.clone()),
    };
    match &result {
        _ if args.json => stdout::print_json("the verdict", &Verdict::of(&result, &end))?,
        Ok(report) => stdout::print(&(printable(&verdict(args, report)) + "\n"))?,
        Err(_) => {}
    }
    end
}

fn verify(args: &Args) -> Result<Report, Failure> {
    let identities = args.identities.read(&args.dumps)?;
    let opened: Result<Vec<_>, _> = args.dumps.iter().map(|dump| watched("verifying", dump)).collect();
    let threads = input::threads(args.num_threads);
    let report = match &mut opened?[..] {
        [dump] => {
            restore::restore(&mut **dump, &identities, Output::Nothing, threads).map_err(|error| (0, error))
        }
        parts => restore::join(parts, &identities, Output::Nothing, threads),
    };
    report.map_err(|(at, error)| match (&error, args.dumps.get(at)) {
        (restore::Error::Parts(_), _) | (_, None) => {
            Failure::caused(format!("verifying {}", input::names(&args.dumps)), &error)
                .hint("name every part of one dump once")
        }
        (_, Some(dump)) => failure(dump, None, &error),
    })
}

fn verdict(args: &Args, report: &Report) -> String {
    let Some(head) = &report.head else {
        return format!("{}: authentic; a stream of another collector", input::names(&args.dumps));
    };
    let saved = size::show(report.pages.saved.saturating_mul(head.page_size));
    let pages = &report.pages;
    let end = match report.complete {
        true if pages.lost() == 0 => "complete".to_owned(),
        true => format!("complete except for {} lost pages", pages.lost()),
        false if pages.is_lacking() => {
            format!("INCOMPLETE, {} of {} pages are lost", pages.lost(), pages.asked())
        }
        false => "ended early, by a size limit or as its source was".to_owned(),
    };
    let part = head.part.as_ref().map(|part| format!(" (part {} of {})", part.number, part.of));
    format!(
        "{}{}: authentic, {end}: {} pages with data ({saved}), {} zero pages",
        input::names(&args.dumps),
        part.unwrap_or_default(),
        report.pages.saved,
        report.pages.zero
    )
}
