//! vmcore-decrypt: restores an encrypted crash dump.

use clap::Parser;
use std::process::ExitCode;
use vmcore_encrypt::cli::{self, decrypt};

fn main() -> ExitCode {
    cli::harden("vmcore-decrypt");
    cli::exit("vmcore-decrypt", decrypt::run(&decrypt::Cli::parse()))
}
