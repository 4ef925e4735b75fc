//! Encrypted crash dumps of Linux machines: the rooms behind `vmcore-encrypt` and `vmcore-decrypt`.
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
//! Both ways run on one [`pipeline`]: two maps on several threads, with steps in order after each. Rooms take
//! readers, writers and slices; only `cli`, `check`, `sink`, `mount`, `trust` and [`vmcore::Vmcore::open`] see a path. Imports go
//! down this list only:
//!
//! | room | one line |
//! |---|---|
//! | `cli` | what was typed, what is said back, exit statuses |
//! | `check` | whether the next crash of this machine would be saved, encrypted |
//! | `config` | `/etc/vmcore-encrypt/config`: its keys, checked |
//! | `collect`, `restore` | the way out and the way back, top to bottom |
//! | `mount` | a dump as a read-only directory |
//! | `remote` | a dump on a server, by range |
//! | `reader` | an encrypted dump at any place: pages, and views as an ELF core or a KDUMP file |
//! | `pipeline` | a map on several threads, in order |
//! | `trust` | whether others than root can change a file |
//! | `image` | a kdump image read as data |
//! | `pin` | which recipients this machine may encrypt to |
//! | `kmsg` | the running kernel's log as encrypted lines |
//! | `sink` | the output: a file that appears whole or not at all, stdout, a partition |
//! | `raw` | the frame of a dump on a raw partition, readable without a key |
//! | `crypt` | the only room that knows the encryption format |
//! | `blocks` | the stream of zstd frames, its maps and index |
//! | `compress` | one page's compression in a KDUMP file |
//! | `kdump` | the KDUMP file and its flattened form |
//! | `klog` | the crashed kernel's log |
//! | `filter` | the class of a page, and whether the level excludes it |
//! | `mm` | Linux facts: where a `struct page` is, virtual to physical |
//! | `vmcore` | the ELF core: ranges, notes, keys, bytes at a physical address |
//! | `units` | pfn, addresses, page size, byte order |
//! | `text` | text for people: sizes, foreign text made printable |

pub mod blocks;
#[cfg(feature = "check")]
pub mod check;
pub mod cli;
pub mod collect;
#[cfg(feature = "analyst")]
pub mod compress;
pub mod config;
pub mod crypt;
pub mod filter;
#[cfg(feature = "check")]
pub mod image;
pub mod kdump;
pub mod klog;
pub mod kmsg;
pub mod mm;
#[cfg(feature = "analyst")]
pub mod mount;
pub mod pin;
pub mod pipeline;
pub mod raw;
#[cfg(feature = "analyst")]
pub mod reader;
#[cfg(feature = "remote")]
pub mod remote;
#[cfg(feature = "analyst")]
pub mod restore;
pub mod sink;
pub mod text;
pub mod trust;
pub mod units;
pub mod vmcore;
