//! Plugged memory in the capture kernel: it must not take that memory, which belongs to the crashed kernel, for its own.
//!
//! ACPI lists memory that was plugged in, and the capture kernel adds it as its own; reading it through `/proc/vmcore`
//! then fails. `acpi_no_memhotplug` keeps it from that. Source: Linux `drivers/acpi/acpi_memhotplug.c`
//! (v3.17, commit 00159a2013d6).

use super::CHECK;
use crate::check::findings::Findings;
use crate::check::machine::Machine;

const WORD: &str = "acpi_no_memhotplug";

/// Looks for the word among `words`, those of the capture kernel's command line, which `key` of `file` gives.
pub(super) fn check(machine: &Machine, words: &str, key: &str, file: &str, findings: &mut Findings) {
    if has_acpi(machine) && !words.split_whitespace().any(|word| word == WORD) {
        let text = format!(
            "{key} of {file} lacks {WORD}: memory that was plugged in would not be saved, and a dump of it fails"
        );
        findings.warning(CHECK, text, "add the word");
    }
}

/// Firmware of other kinds: Open Firmware and device trees, and that of s390x.
fn has_acpi(machine: &Machine) -> bool {
    let is_there = |path: &str| machine.path(path).exists();
    is_there("/sys/firmware/acpi") || !(is_there("/sys/firmware/devicetree") || is_there("/sys/firmware/ipl"))
}
