//! The recipients: present, valid, no private key, plugins at hand, and their fingerprint.

use super::findings::Findings;
use super::machine::Machine;
use crate::crypt::Recipients;
use std::collections::BTreeSet;

const CHECK: &str = "recipients";

/// Looks at the recipients; gives valid ones.
pub fn check(machine: &Machine, findings: &mut Findings) -> Option<Recipients> {
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
    if let Err(error) = recipients.check_plugins() {
        findings.problem(CHECK, format!("{name}: {error}"), error.hint().unwrap_or_default());
    }
    check_fips(machine, findings);
    Some(recipients)
}

fn read(machine: &Machine) -> Result<Recipients, (String, String)> {
    let bytes = machine.read_bytes(&machine.recipients).map_err(|error| {
        let text = format!("reading recipients file {:?}: {error}", machine.recipients);
        (text, "put the analysts' recipients there, one a line".to_owned())
    })?;
    Recipients::from_file_contents(&bytes).map_err(|error| {
        let text = format!("{}: {error}", machine.recipients.display());
        (text, error.hint().unwrap_or_default().to_owned())
    })
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
