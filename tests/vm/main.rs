//! A kernel crashes in a virtual machine and the collector runs in its capture kernel: what arrives at each target,
//! what an analyst then sees, and that no byte outside the guest holds plaintext, whatever goes wrong.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

#[path = "../common/mod.rs"]
mod common;

#[path = "../readers/mod.rs"]
mod readers;

mod arm64;
mod devices;
mod failures;
mod keys;
mod lab;
mod live;
mod nextboot;
mod nfs;
#[cfg(feature = "upload")]
#[path = "../upload/store.rs"]
#[allow(dead_code, reason = "the tests of uploading use more of it")]
mod object_store;
mod pstore;
mod redact;
#[cfg(feature = "upload")]
#[path = "../remote/server.rs"]
#[allow(dead_code, reason = "the tests of reading use more of it")]
mod server;
mod ssh;
#[cfg(feature = "upload")]
mod store;
mod targets;
mod zram;
