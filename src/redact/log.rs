//! The kernel's command line, wherever the kernel keeps it, and the log, which repeats it.
//!
//! Source: Linux `init/main.c` (`saved_command_line`, `boot_command_line`, `print_unknown_bootoptions`), `kernel/params.c`.

use super::walk::Walk;
use crate::kernel::{Error, Kernel};
use crate::klog;
use crate::units::VirtAddr;

/// The longest command line: `COMMAND_LINE_SIZE` is at most 4096 (s390x).
const MAX_LINE: usize = 4096;
/// Variables that point to it, and arrays that hold it. Arrays of the kernel's start may be given back by now.
const POINTERS: [&str; 4] =
    ["saved_command_line", "static_command_line", "initcall_command_line", "extra_command_line"];
const ARRAYS: [&str; 2] = ["boot_command_line", "command_line"];
/// What messages that repeat it have before it, in any case of the first letter.
const IN_LOG: [&[u8]; 2] = [b"ommand line", b"ommand-line"];

/// Finds the command line. One that no variable leads to is one that cannot be walked.
pub(super) fn find_command_line(walk: &Walk<'_>) -> Result<(), Error> {
    const WHAT: &str = "command_line";
    let kernel = walk.kernel();
    let saved = VirtAddr(kernel.u64(kernel.symbol("saved_command_line")?, WHAT)?);
    let line = kernel.text(saved, MAX_LINE, WHAT)?;
    for name in POINTERS {
        let Ok(at) = kernel.symbol(name) else { continue };
        let at = VirtAddr(kernel.u64(at, WHAT)?);
        if at.0 != 0 {
            let text = kernel.text(at, MAX_LINE, WHAT)?;
            // A parsed copy has NULs inside.
            walk.erase(at, text.len().max(in_common(kernel, at, &line)) as u64, WHAT)?;
        }
    }
    for name in ARRAYS {
        let Ok(at) = kernel.symbol(name) else { continue };
        if in_common(kernel, at, &line) == line.len() {
            walk.erase(at, line.len() as u64, WHAT)?;
        }
    }
    in_log(walk, &line)
}

/// How many bytes from an address on are those of the line, some of its blanks and signs replaced by NUL: the kernel parses a
/// copy in place (`lib/cmdline.c`, `next_arg`). Memory that is zero now is no copy. 0 where they cannot be read, as in pages
/// given back, which are not mapped.
fn in_common(kernel: &Kernel<'_>, at: VirtAddr, line: &[u8]) -> usize {
    let mut copy = vec![0; line.len()];
    match kernel.bytes(at, &mut copy, "command_line") {
        Ok(()) => {
            let is_parsed = |copy: u8, line: u8| copy == 0 && !line.is_ascii_alphanumeric();
            copy.iter().zip(line).take_while(|&(&copy, &line)| copy == line || is_parsed(copy, line)).count()
        }
        Err(_) => 0,
    }
}

/// Overwrites what the log repeats of it: lines that say so from there on, and messages that are a word of it, as those on
/// the arguments of init.
fn in_log(walk: &Walk<'_>, line: &[u8]) -> Result<(), Error> {
    const WHAT: &str = "log";
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
    let mut result = Ok(());
    let read = klog::each_text(walk.kernel().memory(), &mut |at, text| {
        let from = match IN_LOG.iter().find_map(|mark| end_of(text, mark)) {
            Some(from) => from,
            None if words.contains(&text.trim_ascii()) || is_continued(text, line) => 0,
            None => return,
        };
        let place = at.wrapping_add(from as u64);
        if let Err(error) = walk.erase(place, (text.len() - from) as u64, WHAT) {
            result = Err(error);
        }
    });
    read.map_err(|error| Error::Unknown(format!("the log cannot be searched: {error}")))?;
    result
}

/// Whether a message is a piece of the line: the kernel prints a long one in several.
fn is_continued(text: &[u8], line: &[u8]) -> bool {
    const LEAST: usize = 24;
    let text = text.strip_suffix(b" \\").unwrap_or(text);
    text.len() >= LEAST && end_of(line, text).is_some()
}

/// Where the first piece of a text ends that is the wanted one.
fn end_of(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted).map(|at| at + wanted.len())
}

/// Finds the text of the whole log, also that of messages that newer ones are about to replace.
pub(super) fn find(walk: &Walk<'_>) -> Result<(), Error> {
    const STEP: u64 = 1 << 20;
    let area = klog::text_area(walk.kernel().memory());
    let (at, len) = area.map_err(|error| Error::Unknown(format!("the log cannot be searched: {error}")))?;
    for start in (0..len).step_by(1 << 20) {
        walk.erase(at.wrapping_add(start), (len - start).min(STEP), "log")?;
    }
    Ok(())
}
