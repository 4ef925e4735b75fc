//! Opens an encrypted dump, reads one page and prints what the dump is of.
//!
//! `cargo run --example open_dump -- DUMP IDENTITY [PFN]`

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use vmcore_encrypt::crypt::{Identities, NoPrompt};
use vmcore_encrypt::reader::{Dump, Page};
use vmcore_encrypt::units::Pfn;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dump, identity, pfn @ ..] = &arguments[..] else {
        return Err("usage: open_dump DUMP IDENTITY [PFN]".into());
    };
    let mut identities = Identities::new(Arc::new(NoPrompt));
    identities.add_file(identity, BufReader::new(File::open(identity)?))?;
    let dump = Dump::open(Path::new(dump), &identities)?;

    println!("kernel {}, {} pages with data", dump.facts().release, dump.held().data);
    let pfn = pfn.first().map_or(Ok(0), |pfn| pfn.parse())?;
    match dump.page(Pfn(pfn))? {
        Page::Data(bytes) => println!("page {pfn}: {} bytes, the first {:02x?}", bytes.len(), &bytes[..16]),
        Page::Zero => println!("page {pfn} is all zeros"),
        Page::Excluded => println!("page {pfn} was left out by the dump level"),
        Page::Absent => println!("page {pfn} is no memory"),
    }
    Ok(())
}
