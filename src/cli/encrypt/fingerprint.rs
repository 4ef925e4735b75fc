//! `vmcore-encrypt fingerprint`: what to pin (see `pin`).

use super::super::Failure;
use super::recipients::RecipientArgs;
use clap::Args as ClapArgs;
use std::io::{self, Write};

/// The arguments of `fingerprint`.
#[derive(ClapArgs, Debug)]
#[command(
    after_help = "Pin the recipients by adding vmcore_encrypt.recipients=FINGERPRINT to the kernel command line."
)]
pub struct Args {
    #[command(flatten)]
    recipients: RecipientArgs,
}

/// Runs the sub-command.
///
/// # Errors
/// What stopped it, ready to be said.
pub fn run(args: &Args) -> Result<(), Failure> {
    let fingerprint = args.recipients.choose()?.fingerprint();
    writeln!(io::stdout(), "{fingerprint}")
        .map_err(|error| Failure::caused("writing to standard output", &error))
}
