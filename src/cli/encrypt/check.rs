//! `vmcore-encrypt check`: whether the next crash of this machine would be saved, encrypted. Here are the arguments;
//! the work is [`crate::check`].

use super::super::{Failure, Status, quoted, status, stdout};
use crate::check::{Options, Report, look};
use clap::Args as ClapArgs;
use std::path::{Path, PathBuf};

/// The arguments of `check`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-encrypt check
  vmcore-encrypt check --json | jq .

The kdump image is read as data, by a process without privileges: nothing in it is executed or
written. The collector, scripts, hooks, plugins, configuration and recipients in it are compared with
the installed ones, and the installed collector encrypts a page. That the image agrees with what is
installed does not prove that it is authentic. With --root the collector of that tree is run.

A problem is a failure; warnings alone are not.", status::BASIC))]
pub(super) struct Args {
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Check the recipients only
    #[arg(long)]
    recipients_only: bool,
    /// Recipients file that the collector is given, with --root by its path on that machine
    /// [default: /etc/vmcore-encrypt/recipients]
    #[arg(short = 'R', long, value_name = "FILE")]
    recipients_file: Option<PathBuf>,
    /// Check the machine below this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    root: PathBuf,
}

impl Args {
    /// The recipients file by its whole path on the machine. A relative name is one of the working directory, as in every
    /// other command; below another root that has no meaning.
    fn recipients_file(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(path) = &self.recipients_file else { return Ok(None) };
        if path.is_relative() && self.root != Path::new("/") {
            let message = format!("reading recipients file {}: with --root a relative name", quoted(path));
            return Err(
                Failure::new(Status::Usage, message).hint("name it by its path on that machine, from /")
            );
        }
        let absolute = std::path::absolute(path);
        absolute
            .map(Some)
            .map_err(|error| Failure::caused(format!("reading recipients file {}", quoted(path)), &error))
    }
}

/// Runs the sub-command.
///
/// # Errors
/// A problem was found, or standard output is gone.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let Report { text, problems } = look(&Options {
        root: args.root.clone(),
        recipients_file: args.recipients_file()?,
        recipients_only: args.recipients_only,
        json: args.json,
        parse_words: super::parse_words,
    });
    stdout::print(&text)?;
    match problems {
        0 => Ok(()),
        count => Err(Failure::new(
            Status::Failure,
            format!("checking the machine: {count} problems, the next crash may not be saved"),
        )),
    }
}
