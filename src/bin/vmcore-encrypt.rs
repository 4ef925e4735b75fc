//! vmcore-encrypt: filters, compresses and encrypts a vmcore.

use std::process::ExitCode;
use vmcore_encrypt::cli::{self, encrypt};

fn main() -> ExitCode {
    cli::run("vmcore-encrypt", std::env::args_os(), encrypt::order, encrypt::run)
}
