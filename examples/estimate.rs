//! Estimates how large a dump of a vmcore would be, by dump level, from its page structures alone.
//!
//! `cargo run --example estimate -- VMCORE`

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;
use std::path::Path;
use vmcore_encrypt::collect::estimate;
use vmcore_encrypt::vmcore::Vmcore;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: estimate VMCORE")?;
    let vmcore = Vmcore::open(Path::new(&path))?;
    let (counts, warnings) = estimate::count(&vmcore);
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    for level in [0, 1, 17, 31] {
        println!("level {level:>2}: {} bytes before compression", estimate::size(&vmcore, &counts, level));
    }
    Ok(())
}
