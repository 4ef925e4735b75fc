//! The dump leaves its partition: when the power or a disk fails meanwhile, and beside other programs that look at the
//! same partition.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

#[path = "../common/mod.rs"]
mod common;

mod damaged;
mod hostile;
mod others;

mod place;
mod power;
mod pstore;
mod released;
