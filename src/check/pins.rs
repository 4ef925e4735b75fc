//! Pinned recipients: where pins stand, and whether the recipients are among them. kdump hands the running kernel's
//! command line on to the capture kernel, so that one is checked.

use super::findings::Findings;
use super::machine::Machine;
use super::shell::Settings;
use crate::crypt::Recipients;
use crate::pin::{Error, PARAMETER, Pins};
use std::path::Path;

const CHECK: &str = "pins";

/// Files of the distributions' kdump, and what in them gives words to the capture kernel's command line. Source:
/// kdump-tools 1.10.9 `kdump-config`, kdump-utils 1.0.61 `kdump-lib.sh`, SUSE kdump 2.1.9 `load.sh`.
pub(super) const COMMAND_LINES: [(&str, &[&str]); 2] = [
    (
        "/etc/default/kdump-tools",
        &["KDUMP_KERNEL_CMDLINE", "KDUMP_CMDLINE", "KDUMP_CMDLINE_APPEND", "KDUMP_KEXEC_ARGS"],
    ),
    (
        "/etc/sysconfig/kdump",
        &["KDUMP_COMMANDLINE", "KDUMP_COMMANDLINE_APPEND", "FADUMP_COMMANDLINE_APPEND", "KEXEC_ARGS"],
    ),
];

/// The first word that is meant for us and pins nothing, among those that the kdump configuration below `root` adds to the
/// command line of the capture kernel: the file, the key, and what is wrong. The collector would refuse it after the
/// crash.
#[must_use]
pub fn pins_nothing(root: &Path) -> Option<(&'static str, &'static str, Error)> {
    let machine = Machine::new(root, None);
    COMMAND_LINES.into_iter().find_map(|(file, keys)| {
        let settings = Settings::parse(&machine.read(file).unwrap_or_default());
        let wrong = |key: &&'static str| {
            let error = Pins::on_command_line(settings.text(key)).err()?;
            Some((file, *key, error))
        };
        keys.iter().find_map(wrong)
    })
}

/// Checks the pins; gives those there are.
pub(super) fn check(
    machine: &Machine,
    recipients: Option<&Recipients>,
    findings: &mut Findings,
) -> Vec<Pins> {
    let line = machine.read("/proc/cmdline").unwrap_or_default();
    let mut found = Vec::new();
    for place in [Pins::compiled(), Pins::on_command_line(&line)] {
        match place {
            Ok(pins) => found.extend(pins),
            Err(error) => {
                findings.problem(CHECK, format!("{error}: every dump would fail"), error.hint());
            }
        }
    }
    if found.is_empty() {
        findings.ok(CHECK, format!("no recipients are pinned ({PARAMETER}= on the kernel command line)"));
    }
    for pins in &found {
        say(pins, recipients, findings);
    }
    found
}

fn say(pins: &Pins, recipients: Option<&Recipients>, findings: &mut Findings) {
    let listed = format!("pinned {}: {}", pins.place, pins.fingerprints.join(", "));
    match recipients.map(|recipients| pins.check(recipients)) {
        Some(Err(error)) => {
            let hint =
                "if the recipients were changed on purpose, pin what vmcore-encrypt fingerprint prints";
            findings.problem(CHECK, format!("{listed}; {error}: every dump would fail"), hint);
        }
        Some(Ok(())) | None => findings.ok(CHECK, listed),
    }
}
