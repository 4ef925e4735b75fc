//! Prints the crashed kernel's log out of an encrypted dump.
//!
//! `cargo run --example dmesg -- DUMP IDENTITY`

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;
use vmcore_encrypt::crypt::{Identities, NoPrompt};
use vmcore_encrypt::klog;
use vmcore_encrypt::mm::KernelMemory;
use vmcore_encrypt::reader::Dump;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dump, identity] = &arguments[..] else { return Err("usage: dmesg DUMP IDENTITY".into()) };
    let mut identities = Identities::new(Arc::new(NoPrompt));
    identities.add_file(identity, BufReader::new(File::open(identity)?))?;
    let dump = Arc::new(Dump::open(Path::new(dump), &identities)?);

    let vmcore = dump.vmcore()?;
    let stats = klog::dmesg(&KernelMemory::new(&vmcore)?, &mut io::stdout().lock())?;
    eprintln!("{} messages, {} damaged", stats.printed, stats.damaged);
    Ok(())
}
