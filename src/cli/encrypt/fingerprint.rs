//! `vmcore-encrypt fingerprint`: what to pin (see `pin`), and which plugin programs an image needs.

use super::super::recipients::RecipientArgs;
use super::super::{Failure, status, stdout};
use clap::Args as ClapArgs;

/// The arguments of `fingerprint`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-encrypt fingerprint
  vmcore-encrypt fingerprint -R team.txt

Pin the recipients by adding vmcore_encrypt.recipients=FINGERPRINT to the kernel command line.", status::BASIC))]
pub(super) struct Args {
    #[command(flatten)]
    recipients: RecipientArgs,
    /// Print the plugin programs that the recipients need instead, one a line, for what builds an image
    #[arg(long)]
    plugins: bool,
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let recipients = args.recipients.choose()?;
    let lines: Vec<String> = if args.plugins {
        recipients.plugin_programs().into_iter().collect()
    } else {
        vec![recipients.fingerprint()]
    };
    stdout::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}
