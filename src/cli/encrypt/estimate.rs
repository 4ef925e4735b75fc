//! `vmcore-encrypt estimate`: how large a dump of this machine would be now, by dump level, from the running kernel's
//! memory. Reads what the filter reads, no page of anybody's data.

use super::super::{Failure, say, status, stdout};
use super::{PROGRAM, input};
use crate::collect::estimate::{count, size};
use crate::text;
use clap::Args as ClapArgs;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The running kernel's memory.
const LIVE: &str = "/proc/kcore";
const CRASH_SIZE: &str = "/sys/kernel/kexec_crash_size";
/// The levels shown: the bits that matter for size, added one after the other.
const LEVELS: [u8; 5] = [0, 16, 16 | 2, 16 | 2 | 4, 31];

/// The arguments of `estimate`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-encrypt estimate
  vmcore-encrypt estimate --json | jq .

A dump takes less: pages of zeros, which level 31 and 1 leave out, are found only by \
reading them, and what is left shrinks by compression, usually to a third.", status::BASIC))]
pub(super) struct Args {
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// The memory to classify
    #[arg(value_name = "VMCORE", default_value = "/proc/kcore")]
    memory: PathBuf,
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let vmcore = input::open_vmcore(&args.memory)?;
    let (counts, warnings) = count(&vmcore);
    for warning in &warnings {
        say(PROGRAM, "warning", Failure::caused("judging pages", warning).message());
    }
    let reserved = if is_live(&args.memory) { reserved() } else { 0 };
    let sizes = LEVELS.map(|level| (level, size(&vmcore, &counts, level).saturating_sub(reserved)));
    let text = if args.json { json(&sizes) } else { lines(&sizes) };
    stdout::print(&text)
}

/// Whether this is the running kernel's memory: a moving target.
pub(super) fn is_live(memory: &Path) -> bool {
    fs::canonicalize(memory).is_ok_and(|path| path == Path::new(LIVE))
}

/// Bytes of memory that belong to the capture kernel: they are in `/proc/kcore` and will not be in `/proc/vmcore`.
/// Source: Linux `Documentation/ABI/testing/sysfs-kernel-kexec-kdump`.
fn reserved() -> u64 {
    fs::read_to_string(CRASH_SIZE).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn lines(sizes: &[(u8, u64)]) -> String {
    let mut text = "level  at most, before compression\n".to_owned();
    for (level, bytes) in sizes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{level:>5}  {}", text::size::show(*bytes));
    }
    text
}

fn json(sizes: &[(u8, u64)]) -> String {
    let levels: serde_json::Map<_, _> =
        sizes.iter().map(|(level, bytes)| (level.to_string(), serde_json::json!(bytes))).collect();
    format!("{}\n", serde_json::json!({ "bytes_before_compression": levels }))
}
