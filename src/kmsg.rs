//! The log of the *running* kernel as encrypted lines (docs/kmsg.md): every line is printable, sealed on its own and
//! numbered, so it travels through syslog, the journal and serial consoles, and what is lost is noticed.
//!
//! ```text
//! /dev/kmsg -> source --> write: entry --> seal --> line -> any log
//! any log   -> line ----> read: open ---> entry --> text -> dmesg
//! ```
//!
//! Takes readers, writers and lines; keys and their wrapping are `crypt`'s.
#![cfg_attr(not(feature = "analyst"), allow(dead_code, reason = "the way back is the analyst's"))]

mod entry;
mod line;
mod numbers;
#[cfg(feature = "analyst")]
mod read;
mod record;
mod source;
mod write;

#[cfg(feature = "analyst")]
pub use read::{Findings, Form, OpeningFindings, Reader, Unopened};
pub use source::{Device, Lines, RecordSource};
pub use write::{Error, Writer};
