//! vmcore-encrypt: filters, compresses and encrypts a vmcore.

use std::process::ExitCode;
use vmcore_encrypt::cli::{self, encrypt};

fn main() -> ExitCode {
    cli::harden("vmcore-encrypt");
    cli::exit("vmcore-encrypt", encrypt::run(&encrypt::Cli::from_command_line()))
}
