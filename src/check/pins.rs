//! Pinned recipients: where pins stand, and whether the recipients are among them. kdump hands the running kernel's
//! command line on to the capture kernel, so that one is looked at.

use super::findings::Findings;
use super::machine::Machine;
use crate::crypt::Recipients;
use crate::pin::{PARAMETER, Pins};

const CHECK: &str = "pins";

/// Looks at the pins; gives those there are.
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
