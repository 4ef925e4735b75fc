//! Whether the next crash of this machine would be saved, encrypted, and readable by the right people. Run when
//! kdump is armed and daily. Each file beside this one checks one part of the machine.

mod collector;
mod config;
mod distribution;
mod findings;
mod gate;
mod image;
mod keys;
mod log_paths;
mod machine;
mod memory;
mod modes;
mod pins;
mod shell;
mod store;
mod target;
mod trial;
mod words;

use crate::crypt::Recipients;
use findings::{Findings, Verdict};
use machine::Machine;
use std::path::PathBuf;

pub use collector::Distribution;
pub use gate::{Fault, GateOptions, judge};
pub use pins::pins_nothing;
pub use words::{Line, Output, ParseWords};

/// What to check.
pub struct Options {
    /// The machine is the tree below this directory.
    pub root: PathBuf,
    /// Its recipients file, where it is not the default one.
    pub recipients_file: Option<PathBuf>,
    /// Nothing but the recipients.
    pub recipients_only: bool,
    /// One JSON object instead of lines.
    pub json: bool,
    /// The collector's command line, by which configured words are judged.
    pub parse_words: ParseWords,
}

/// The findings about a machine.
pub struct Report {
    /// Lines, or one JSON object.
    pub text: String,
    /// How many problems are among the findings.
    pub problems: usize,
}

/// Checks the machine. Whatever its files hold becomes a finding.
#[must_use]
pub fn look(options: &Options) -> Report {
    let machine = Machine::new(&options.root, options.recipients_file.as_deref());
    let mut findings = Findings::default();
    let recipients = keys::check(&machine, &mut findings);
    let fingerprint = recipients.as_ref().map(Recipients::fingerprint);
    let pins = if options.recipients_only {
        Vec::new()
    } else {
        pins::check(&machine, recipients.as_ref(), &mut findings)
    };
    if !options.recipients_only {
        check_all(&machine, options.parse_words, fingerprint.as_deref(), &mut findings);
    }
    let text = if options.json { findings.json(fingerprint.as_deref(), &pins) } else { findings.lines() };
    Report { text, problems: findings.count(Verdict::Problem) }
}

fn check_all(machine: &Machine, parse: ParseWords, fingerprint: Option<&str>, findings: &mut Findings) {
    modes::check(machine, findings);
    let config = config::read(machine, findings);
    let plan = collector::check(machine, &config, parse, findings);
    target::check(machine, &config, &plan, findings);
    let image = image::check(machine, &plan, fingerprint, findings);
    trial::check(machine, findings);
    memory::check(machine, &plan, image.as_ref(), findings);
    log_paths::check(machine, findings);
}
