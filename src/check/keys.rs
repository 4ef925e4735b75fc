//! The recipients: present, valid, no private key, changed by nobody but root, and a header can be made for them.

use super::findings::Findings;
use super::machine::Machine;
use crate::crypt::recipients::read_file;
use crate::crypt::{self, ENTROPY_LIMIT, Entropy, Recipients};
use crate::trust;
use std::collections::BTreeSet;
use std::fs::File;

const CHECK: &str = "recipients";

/// Checks the recipients; gives valid ones.
pub(super) fn check(machine: &Machine, findings: &mut Findings) -> Option<Recipients> {
    let name = machine.recipients.display();
    let recipients = match read(machine) {
        Ok(recipients) => recipients,
        Err((text, hint)) => {
            findings.problem(CHECK, text, &hint);
            return None;
        }
    };
    let fingerprint = recipients.fingerprint();
    let kinds: BTreeSet<String> = recipients.iter().map(|recipient| recipient.kind().to_string()).collect();
    let kinds: Vec<String> = kinds.into_iter().collect();
    let count = recipients.iter().count();
    findings.ok(CHECK, format!("{name}: {count} valid ({}), fingerprint {fingerprint}", kinds.join(", ")));
    check_modes(machine, findings);
    let mut entropy = Entropy { limit: ENTROPY_LIMIT, notify: &mut |_| {} };
    if let Err(error) = recipients.try_wrap(&mut entropy) {
        let text = format!("{name}: {error}: every dump would fail");
        findings.problem(CHECK, text, error.hint().unwrap_or_default());
    }
    check_fips(machine, findings);
    Some(recipients)
}

fn read(machine: &Machine) -> Result<Recipients, (String, String)> {
    let path = &machine.recipients;
    let file = File::open(machine.path(path)).map_err(crypt::Error::Io);
    file.and_then(read_file).and_then(Recipients::new).map_err(|error| match error {
        crypt::Error::Io(cause) => (
            format!("reading recipients file {path:?}: {cause}"),
            "put the analysts' recipients there, one a line".to_owned(),
        ),
        error => (format!("{}: {error}", path.display()), error.hint().unwrap_or_default().to_owned()),
    })
}

/// Whoever can write the recipients file decides who reads the next dump.
fn check_modes(machine: &Machine, findings: &mut Findings) {
    if let Err(error) = trust::check(&machine.path("/"), &machine.recipients) {
        findings.problem(CHECK, format!("{}: {error}", machine.recipients.display()), error.hint());
    }
}

/// Source: Linux `crypto/fips.c`.
fn check_fips(machine: &Machine, findings: &mut Findings) {
    if machine.number("/proc/sys/crypto/fips_enabled") == Some(1) {
        findings.warning(
            "fips",
            "the kernel runs in FIPS mode; age's X25519, ML-KEM hybrid and ChaCha20-Poly1305 are not approved",
            "dumps are encrypted all the same; ask who is responsible whether that is allowed",
        );
    }
}
