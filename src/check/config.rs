//! `/etc/vmcore-encrypt/config` of the machine. A line at fault stops the saving scripts in the capture kernel, so
//! each is a problem now. What a line may hold, [`crate::config`] defines.

use super::findings::Findings;
use super::machine::Machine;
use std::io;

pub(super) use crate::config::{Config, PATH, Target};

const CHECK: &str = "config";

/// Reads the configuration; an absent file has the defaults, and so has a key whose line is at fault.
pub(super) fn read(machine: &Machine, findings: &mut Findings) -> Config {
    let bytes = match machine.read_bytes(PATH) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            findings.problem(CHECK, format!("reading {PATH}: {error}"), "");
            Vec::new()
        }
    };
    let (config, faults) = Config::parse_with_faults(&bytes);
    for fault in faults {
        findings.problem(CHECK, format!("{PATH}, {fault}"), "the packaged file explains every key");
    }
    config
}
