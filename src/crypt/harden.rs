//! Memory hygiene of the process: what to ask of the kernel so that keys leave memory neither in a core
//! file nor in swap. Keys themselves are wiped by their types on drop.

use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use std::io;

/// Forbids core files and tracing by other processes of the same user: `PR_SET_DUMPABLE` 0 and
/// `RLIMIT_CORE` 0. Call first thing in `main`, in both programs.
///
/// # Errors
/// What the kernel reports; the program can run on, less protected.
pub fn harden_process() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// Keeps every page the process touches from now on out of swap. For a process that holds a key or decrypted pages for
/// long in bounded memory; not in the capture kernel, which has no swap, and where mapped pages of a vmcore would be
/// pinned too.
///
/// # Errors
/// `PermissionDenied` without `CAP_IPC_LOCK` under a limit of `RLIMIT_MEMLOCK`, where locking might succeed but
/// allocating later would not; what else the kernel reports. The program can run on.
pub fn lock_memory() -> io::Result<()> {
    let limited = getrlimit(Resource::Memlock).current.is_some();
    if limited && !capabilities(None)?.effective.contains(CapabilitySet::IPC_LOCK) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_core_file_is_possible_afterwards() {
        harden_process().unwrap();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
    }
}
