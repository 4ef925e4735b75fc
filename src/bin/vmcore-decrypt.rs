//! vmcore-decrypt: restores an encrypted crash dump.

use std::process::ExitCode;
use vmcore_encrypt::cli::{self, decrypt};

fn main() -> ExitCode {
    cli::run("vmcore-decrypt", std::env::args_os(), decrypt::order, decrypt::run)
}
