//! `refilter --redact`: secrets are overwritten on the way into the new dump, or there is no new dump.

use super::super::super::progress::{Progress, Step};
use super::super::super::{Failure, Status, input_name, say};
use super::super::{PROGRAM, input};
use super::Args;
use crate::reader::Dump;
use crate::redact::{Finding, Kinds, Plan, State};
use crate::text::{counted, printable};
use crate::vmcore::Vmcore;
use std::io::{self, IsTerminal};
use std::sync::Arc;

/// The dump's memory with the secrets of these kinds overwritten.
///
/// # Errors
/// A kind that is or may be there cannot be walked; the dump lacks pages, so that nobody knows what they lead to.
pub(super) fn without_secrets(
    args: &Args,
    kinds: &Kinds,
    dump: &Arc<Dump>,
    vmcore: &Vmcore,
) -> Result<Vmcore, Failure> {
    let doing = || format!("redacting {}", input_name(args.dump()));
    if !dump.is_complete() || dump.facts().part.is_some() {
        let why = "the dump is incomplete: what it lacks may lead to secrets that it has";
        return Err(Failure::new(Status::Failure, format!("{}: {why}", doing())).hint("nothing was written"));
    }
    let mut progress = Progress::new(PROGRAM, "searching secrets", io::stderr().is_terminal());
    let mut update = |share| progress.update(Step::Share(share));
    let plan = Plan::make(vmcore, kinds, input::threads(args.num_threads), &mut update);
    drop(progress);
    let unwalked: Vec<String> = plan.unwalked().map(|(kind, _)| format!("no-{}", kind.name())).collect();
    for (kind, why) in plan.unwalked() {
        say(
            PROGRAM,
            "warning",
            &format!("{} ({}) cannot be searched: {}", kind.name(), kind.what(), printable(why)),
        );
    }
    if !unwalked.is_empty() {
        // Where the dump is damaged, leaving kinds out is no help.
        if let Err(error) = dump.authenticate() {
            let hint = "nothing was written: what is damaged may lead to secrets; hand over another copy";
            return Err(Failure::caused(doing(), &error).status(Status::Damaged).hint(hint));
        }
        let message =
            format!("{}: {} kinds are or may be there and cannot be searched", doing(), unwalked.len());
        let hint = format!("nothing was written; --redact=default,{} hands these over", unwalked.join(","));
        return Err(Failure::new(Status::Failure, message).hint(&hint));
    }
    plan.findings().iter().for_each(tell);
    Ok(Vmcore::from_pages(plan.apply(dump.pages())))
}

/// The failure where pages turned out to be damaged while the new dump was made: what they held may lead to secrets in other
/// pages. The unfinished dump goes as after any other failure.
pub(super) fn damaged(args: &Args, pages: u64) -> Failure {
    let what = input_name(args.dump());
    let message =
        format!("redacting {what}: {pages} pages are damaged: what they held may lead to secrets elsewhere");
    Failure::new(Status::Damaged, message).hint("there is no new dump; hand over another one")
}

/// Reports a kind that is in the dump.
fn tell(finding: &Finding) {
    let name = finding.kind.name();
    match &finding.state {
        State::Erased { places, bytes } if *places > 0 => {
            let places = counted(*places, "place");
            say(PROGRAM, "note", &format!("{name}: {bytes} bytes in {places} are overwritten"));
        }
        State::Kept => say(PROGRAM, "note", &format!("{name} ({}): not redacted", finding.kind.what())),
        State::Erased { .. } | State::Absent(_) | State::Unwalked(_) => {}
    }
}
