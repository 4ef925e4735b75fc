//! The configuration that decides how the next crash is saved: that nobody but root can change it. The recipients file
//! is checked with the recipients (`keys`).

use super::findings::Findings;
use super::machine::Machine;
use crate::trust;

const CHECK: &str = "modes";

/// Checks the machine's configuration.
pub(super) fn check(machine: &Machine, findings: &mut Findings) {
    for (path, error) in trust::untrusted(&machine.path("/")) {
        findings.problem(CHECK, format!("{}: {error}", path.display()), error.hint());
    }
}
