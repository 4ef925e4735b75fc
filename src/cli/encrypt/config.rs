//! `vmcore-encrypt config`: the checked configuration as shell assignments, for the saving scripts.

use super::super::{Failure, Status, quoted, status};
use crate::config::{Config, MAX_SIZE, PATH};
use clap::Args as ClapArgs;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The arguments of `config`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-encrypt config
  vmcore-encrypt config /etc/vmcore-encrypt/config

A script evaluates the output. Every value is in single quotes; nothing is printed when a line is at fault.
An absent file has the defaults. A fault is a failure.", status::BASIC))]
pub(super) struct Args {
    /// The configuration file
    #[arg(value_name = "FILE", default_value = PATH)]
    file: PathBuf,
}

/// Runs the sub-command.
///
/// # Errors
/// The file cannot be read, or a line of it is at fault; nothing was printed.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let doing = || format!("reading configuration {}", quoted(&args.file));
    let bytes = read(&args.file).map_err(|error| Failure::caused(doing(), &error))?;
    let config = Config::parse(&bytes).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Failure::new(Status::Failure, format!("{}: {}", doing(), faults.join("; ")))
            .hint("the packaged file explains every key; vmcore-encrypt check finds such faults")
    })?;
    let mut out = io::stdout();
    out.write_all(config.assignments().as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::caused("writing to standard output", &error))
}

/// The bytes of the file; none where it is absent.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    if bytes.len() as u64 > MAX_SIZE { Err(io::Error::other("larger than 1 MiB")) } else { Ok(bytes) }
}
