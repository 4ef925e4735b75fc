//! `vmcore-encrypt gate`: whether a kdump image may be built from a configuration. The work is [`crate::check::judge`].

use super::super::{Failure, Status, say, status};
use super::PROGRAM;
use super::words::parse;
use crate::check::{Distribution, GateOptions, judge};
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;

/// The arguments of `gate`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-encrypt gate kdump-tools
  vmcore-encrypt gate kdump-utils --root /var/tmp/dracut.abc/initramfs

Image builders call it. It judges /etc/kdump.conf or its like and /etc/vmcore-encrypt/config below DIRECTORY.
A way to a dump in plain, to a shell or to no dump at all is a failure.", status::BASIC))]
pub(super) struct Args {
    /// Whose kdump scripts are in the image
    #[arg(value_name = "SCRIPTS")]
    scripts: Scripts,
    /// The tree of the image; for kdump-tools, whose configuration is not in its image, the machine
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    root: PathBuf,
}

/// Kdump scripts by the name of their package.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scripts {
    /// Fedora, RHEL, CentOS Stream
    KdumpUtils,
    /// Debian, Ubuntu
    KdumpTools,
    /// SUSE
    Kdump,
    /// Our own save alone
    Own,
}

/// Runs the sub-command.
///
/// # Errors
/// The configuration is refused; each reason was reported before.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let whose = match args.scripts {
        Scripts::KdumpUtils => Distribution::Fedora,
        Scripts::KdumpTools => Distribution::Debian,
        Scripts::Kdump => Distribution::Suse,
        Scripts::Own => Distribution::None,
    };
    let faults = judge(&GateOptions { whose, root: args.root.clone(), parse_words: parse });
    for fault in &faults {
        say(PROGRAM, if fault.refuses { "error" } else { "warning" }, &fault.text);
        if let Some(hint) = &fault.hint {
            say(PROGRAM, "hint", hint);
        }
    }
    match faults.iter().filter(|fault| fault.refuses).count() {
        0 => Ok(()),
        count => Err(Failure::new(
            Status::Failure,
            format!("judging the kdump configuration: refused, problems: {count}"),
        )),
    }
}
