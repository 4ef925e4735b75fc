//! Broken machines: memory that gives I/O errors or garbage (`memory`), VMCOREINFO with absurd numbers or cut
//! (`vmcoreinfo`), and what the program says of them (`program`). The dump goes on, holds every page that can be read
//! and is not known to be of an excluded class, and says what it could not read. `mutations.rs` looks for what nobody
//! thought of.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../readers/mod.rs"]
mod readers;
#[path = "../synth/mod.rs"]
mod synth;

mod machine;
mod memory;
mod program;
mod vmcoreinfo;
