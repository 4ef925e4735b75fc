//! What a process gives up before it decodes an image that somebody else may have written.

use rustix::process::{Resource, Rlimit, Signal, getuid, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use std::{fs, io};

/// Address space: what [`Limits`](super::Limits) allow, decoders, and the program itself.
const MEMORY: u64 = 1 << 30;
/// Seconds of CPU time. The largest ordinary image takes a tenth.
const CPU: u64 = 60;
/// Standard input, output and error; nothing else can be opened.
const FILES: u64 = 3;

/// Gives up what reading standard input and writing to a pipe does not take: capabilities, further files, files that
/// grow, processes, memory and CPU time without end. Nothing gives it back, no `exec` either.
///
/// # Errors
/// The kernel refused one of them, or the process is still the machine's root.
pub fn confine() -> io::Result<()> {
    // Whoever asked is not there to stop it any more.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    if getuid().is_root() && is_machines_root() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "still root"));
    }
    let limits = [
        (Resource::As, MEMORY),
        (Resource::Cpu, CPU),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Nproc, 0),
        (Resource::Nofile, FILES),
    ];
    for (resource, limit) in limits {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}

/// Whether user 0 is that of the machine, and not that of a user namespace. Source: Linux user_namespaces(7).
fn is_machines_root() -> bool {
    const EVERYBODY: [&str; 3] = ["0", "0", "4294967295"];
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.is_empty() || map.split_whitespace().eq(EVERYBODY)
}
