//! Encrypted crash dumps of Linux machines: `vmcore-encrypt` makes them, `vmcore-decrypt` opens them, and this crate is
//! what both are made of.
//!
//! Open a dump, read a page, print the log:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use std::{fs::File, io::BufReader, path::Path, sync::Arc};
//! # use vmcore_encrypt::crypt::{Identities, NoPrompt};
//! # use vmcore_encrypt::{klog, mm::KernelMemory, reader::Dump, units::Pfn};
//! let mut identities = Identities::new(Arc::new(NoPrompt));
//! identities.add_file("key.txt", BufReader::new(File::open("key.txt")?))?;
//!
//! let dump = Arc::new(Dump::open(Path::new("vmcore.age"), &identities)?);
//! let page = dump.page(Pfn(0x1000))?;
//! klog::dmesg(&KernelMemory::new(&dump.vmcore()?)?, &mut std::io::stdout())?;
//! # Ok(())
//! # }
//! ```
//!
//! | to | use |
//! |---|---|
//! | read pages, facts, VMCOREINFO of a dump | [`reader::Dump`] |
//! | read the crashed kernel's memory by address, its log | [`mm::KernelMemory`], [`klog::dmesg`] |
//! | ask the crashed kernel for its symbols, types, modules | [`kernel::Kernel`] |
//! | report why it crashed | [`report::Report`] |
//! | turn a dump back into a file for crash or gdb | [`restore::restore`] |
//! | save a vmcore | [`collect::collect`] |
//! | judge the pages of a vmcore | [`filter::Classifier`] |
//! | check a machine | [`check::look`] |
//!
//! `examples/` has programs. The rooms that this documentation lists are what the crate promises. Some of the others are
//! public with the feature `unstable`, for the tests, benches and fuzz targets of this project, and may change.
//!
//! # The drawing
//!
//! ```text
//! vmcore-encrypt = collect
//!   /proc/vmcore -> vmcore ---> mm -----> filter --> collect --> blocks --> crypt ----> sink -> file | stdout
//!                   segments,   struct    page       reads,      zstd       age header,
//!                   notes,      page of   class vs   arranges    frames,    64 KiB
//!                   VMCOREINFO  a pfn     dump level kdump       index      chunks
//!                                                    records
//! vmcore-decrypt = restore
//!   file | stdin -> crypt ----> blocks -> kdump, compress -> sink -> kdump-compressed | ELF | flattened
//! ```
//!
//! Both ways run on one `pipeline`, a map on several threads whose results come in order. Rooms take readers, writers
//! and slices; only `cli`, `check`, `trust`, `sink`, `mount`, [`reader::Dump::open`] and [`vmcore::Vmcore::open`] see a path.
//! Imports go down this list only (`tests/structure.rs`):
//!
//! | room | one line |
//! |---|---|
//! | `cli` | what was typed, what is reported, exit statuses |
//! | `check` | whether the next crash of this machine would be saved, encrypted |
//! | `config` | `/etc/vmcore-encrypt/config`: its keys, checked |
//! | `collect`, `restore` | the way out and the way back, top to bottom |
//! | `mount` | a dump as a read-only directory |
//! | `report` | why a machine died, from its memory alone |
//! | `remote` | a dump on a server, by range |
//! | `redact` | secrets in a dump, found by the kernel's own types or by their form, overwritten and recorded |
//! | `reader` | an encrypted dump at any place: pages, and views as an ELF core or a KDUMP file |
//! | `pipeline` | a map on several threads, in order |
//! | `trust` | whether others than root can change a file |
//! | `image` | a kdump image read as data |
//! | `pin` | which recipients this machine may encrypt to |
//! | `kmsg` | the running kernel's log as encrypted lines |
//! | `plain` | a dump that another tool made in plain, of any form, as a vmcore |
//! | `pstore` | what the firmware kept of a crash: taken over encrypted, and joined |
//! | `sink` | the output: a file that appears whole or not at all, stdout, a partition |
//! | `upload` | a dump into object storage: numbered objects, each put whole and exclusively |
//! | `objects` | the names of a dump's numbered objects, and their end mark |
//! | `raw` | the frame of a dump on a raw partition, readable without a key |
//! | `crypt` | the only room that knows the encryption format |
//! | `blocks` | the stream of zstd frames, its maps and index |
//! | `compress` | one page's compression in a KDUMP file |
//! | `kdump` | the KDUMP file and its flattened form |
//! | `klog` | the crashed kernel's log |
//! | `filter` | the class of a page, and whether the level excludes it |
//! | `kernel` | the kernel's own description in its memory: symbols, types, modules, lists |
//! | `mm` | Linux facts: where a `struct page` is, virtual to physical |
//! | `vmcore` | the ELF core: ranges, notes, keys, bytes at a physical address |
//! | `arch` | what is known of each architecture |
//! | `units` | pfn, addresses, page size, byte order |
//! | `read_at` | bytes at any position: files and memory alike |
//! | `lzo` | LZO1X, decoding |
//! | `url` | the URL of a dump as typed: what a client would take for another one is refused |
//! | `text` | text for people: sizes, foreign text made printable |
//!
//! # Words
//!
//! Words of a format keep its meaning: *frame* is zstd's, *record* the flattened KDUMP form's, *chunk* and *header* age's.
//! Ours:
//!
//! | word | meaning |
//! |---|---|
//! | dump | what the collector writes: an age file around zstd frames around a flattened KDUMP file |
//! | vmcore | the crashed kernel's memory as an ELF core: `/proc/vmcore` or a copy |
//! | block | a run of dumped pages, compressed as one zstd frame |
//! | map | which pages a block holds, and which of them are zero |
//! | index, head, tail | skippable frames: where each block is; facts known before the first page; counts after the last |
//! | index piece | one of the frames that the index is in, each with the blocks since the one before it |
//! | batch | pages sent ahead of their turn because an analyst needs them first |
//! | part | one of several dumps that `--split` makes of one vmcore |
//! | continuation | a further file of one dump, where a file system ends files early |
//! | piece | a stretch of bytes that is handled at once |
//! | raw frame | what marks a dump on a partition without a file system, readable without a key |
//! | collect | the way out, in the room `collect`; the sub-command of that name copies a finished dump from a partition |
//! | level, class | the dump level asked for; what a page is used for |

// Without it these rooms are private, and have what only tests use.
#![cfg_attr(not(feature = "unstable"), allow(dead_code, unreachable_pub, unused_imports))]

mod arch;
pub mod blocks;
#[cfg(feature = "check")]
pub mod check;
// The two programs, which are crates of their own, call it.
#[doc(hidden)]
pub mod cli;
pub mod collect;
#[cfg(feature = "analyst")]
mod compress;
mod config;
pub mod crypt;
pub mod filter;
#[cfg(feature = "check")]
mod image;
mod kdump;
pub mod kernel;
pub mod klog;
pub mod kmsg;
#[cfg(any(feature = "check", feature = "convert"))]
mod lzo;
pub mod mm;
#[cfg(feature = "analyst")]
pub mod mount;
#[cfg(any(feature = "analyst", feature = "convert", feature = "upload"))]
mod objects;
mod pin;
mod pipeline;
#[cfg(feature = "convert")]
mod plain;
#[cfg(any(feature = "check", feature = "analyst"))]
mod pstore;
mod raw;
pub mod read_at;
#[cfg(any(feature = "analyst", feature = "convert"))]
pub mod reader;
#[cfg(feature = "analyst")]
pub mod redact;
#[cfg(feature = "remote")]
pub mod remote;
#[cfg(feature = "analyst")]
pub mod report;
#[cfg(feature = "analyst")]
pub mod restore;
mod sink;
mod text;
mod trust;
pub mod units;
#[cfg(feature = "upload")]
mod upload;
mod url;
pub mod vmcore;

/// Rooms that the tests, benches and fuzz targets of this project need. No promise: they change without notice.
#[cfg(feature = "unstable")]
#[doc(hidden)]
pub mod unstable {
    #[cfg(feature = "analyst")]
    pub mod compress {
        pub use crate::compress::*;
    }
    pub mod config {
        pub use crate::config::*;
    }
    #[cfg(feature = "check")]
    pub mod image {
        pub use crate::image::*;
    }
    pub mod kdump {
        pub use crate::kdump::*;
    }
    #[cfg(feature = "convert")]
    pub mod plain {
        pub use crate::plain::*;
    }
    pub mod raw {
        pub use crate::raw::*;
    }
}
