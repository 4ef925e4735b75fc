//! `vmcore-encrypt check`: whether the next crash of this machine would be saved, encrypted, and readable by the
//! right people. Run when kdump is armed and daily. Each file beside this one looks at one part; here
//! are the arguments and the report.

mod collector;
mod config;
mod findings;
mod image;
mod keys;
mod machine;
mod memory;
mod pins;
mod target;
mod trial;

use super::super::{Failure, Status};
use crate::crypt::Recipients;
use clap::Args as ClapArgs;
use config::Config;
use findings::{Findings, Verdict};
use machine::Machine;
use std::io::{self, Write};
use std::path::PathBuf;

/// The arguments of `check`.
#[derive(ClapArgs, Debug)]
#[command(after_help = "Examples:
  vmcore-encrypt check
  vmcore-encrypt check --json | jq .

Exit status: 0 no problem (there may be warnings), 1 a problem.")]
pub struct Args {
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
    /// Look at the recipients only
    #[arg(long)]
    pub recipients_only: bool,
    /// Recipients file that the collector is given [default: /etc/vmcore-encrypt/recipients]
    #[arg(short = 'R', long, value_name = "FILE")]
    pub recipients_file: Option<PathBuf>,
    /// Look at the machine below this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    pub root: PathBuf,
}

/// What is said of a machine.
pub struct Report {
    /// Lines, or one JSON object.
    pub text: String,
    /// How many problems are among the findings.
    pub problems: usize,
}

/// Runs the sub-command.
///
/// # Errors
/// A problem was found, or standard output is gone.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Report { text, problems } = look(args);
    let mut out = io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::caused("writing the findings", &error))?;
    match problems {
        0 => Ok(()),
        count => Err(Failure::new(
            Status::Failure,
            format!("checking the machine: {count} problems, the next crash may not be saved"),
        )),
    }
}

/// Looks at the machine. Whatever its files hold becomes a finding.
#[must_use]
pub fn look(args: &Args) -> Report {
    let machine = Machine::new(&args.root, args.recipients_file.as_deref());
    let mut findings = Findings::default();
    let recipients = keys::check(&machine, &mut findings);
    let fingerprint = recipients.as_ref().map(Recipients::fingerprint);
    let pins = match args.recipients_only {
        true => Vec::new(),
        false => pins::check(&machine, recipients.as_ref(), &mut findings),
    };
    if !args.recipients_only {
        check_all(&machine, fingerprint.as_deref(), &mut findings);
    }
    let text = if args.json { findings.json(fingerprint.as_deref(), &pins) } else { findings.lines() };
    Report { text, problems: findings.count(Verdict::Problem) }
}

fn check_all(machine: &Machine, fingerprint: Option<&str>, findings: &mut Findings) {
    let config = Config::read(machine, findings);
    let plan = collector::check(machine, &config, findings);
    target::check(machine, &plan, findings);
    let image = image::check(machine, &plan, fingerprint, findings);
    trial::check(machine, image.as_ref(), findings);
    memory::check(machine, &plan, image.as_ref(), findings);
}
