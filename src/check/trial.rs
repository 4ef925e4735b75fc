//! A trial: the installed collector saves a vmcore of one page with the installed recipients. What comes out must be an
//! age file that does not hold the page in plain. The collector in the image is not run: it is compared with the installed
//! one ([`super::image`]), and so are the recipients there.

use super::findings::Findings;
use super::machine::Machine;
use crate::crypt::Header;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const CHECK: &str = "trial";
const PAGE: usize = 4096;
/// What the page is full of.
const MARKER: &[u8] = b"vmcore-encrypt check: this page must not be seen in plain. ";
/// The vmcore for the collector: a file in memory, of no other process, and gone when the trial ends.
const VMCORE: &str = "/proc/self/fd/0";

/// Runs the trial.
pub(super) fn check(machine: &Machine, findings: &mut Findings) {
    let installed = machine.collector().map(|path| machine.path(path));
    let own = machine.is_this().then(std::env::current_exe).and_then(Result::ok);
    let Some(program) = installed.or(own) else { return };
    match run(&program, &machine.path(&machine.recipients)) {
        Ok(()) => findings.ok(CHECK, "the collector as installed encrypts a vmcore"),
        Err(why) => findings.problem(CHECK, format!("the collector as installed failed: {why}"), ""),
    }
}

fn run(program: &Path, recipients: &Path) -> Result<(), String> {
    let vmcore = vmcore().map_err(|error| format!("making a vmcore: {error}"))?;
    let output = Command::new(program)
        .args(["-d", "0", "--message-level", "0", "-R"])
        .arg(recipients)
        .arg(VMCORE)
        .stdin(vmcore)
        .output()
        .map_err(|error| format!("running {}: {error}", program.display()))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}, {}", output.status, messages.lines().next().unwrap_or("without a word")));
    }
    Header::read(&mut &output.stdout[..]).map_err(|error| error.to_string())?;
    if output.stdout.windows(MARKER.len()).any(|bytes| bytes == MARKER) {
        Err("the dump is in plain".to_owned())
    } else {
        Ok(())
    }
}

fn vmcore() -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("vmcore-encrypt-trial", MemfdFlags::CLOEXEC)?);
    file.write_all(&one_page_core())?;
    Ok(file.into())
}

/// An ELF core of one x86-64 page at physical address 1 MiB. Source: System V ABI, ELF-64.
fn one_page_core() -> Vec<u8> {
    let mut core = b"\x7fELF\x02\x01\x01".to_vec();
    core.resize(16, 0);
    let halves: [u16; 2] = [4, 62]; // ET_CORE, EM_X86_64
    halves.iter().for_each(|half| core.extend_from_slice(&half.to_le_bytes()));
    core.extend_from_slice(&1_u32.to_le_bytes());
    let words: [u64; 3] = [0, 64, 0]; // entry, program headers, sections
    words.iter().for_each(|word| core.extend_from_slice(&word.to_le_bytes()));
    core.extend_from_slice(&0_u32.to_le_bytes());
    let halves: [u16; 6] = [64, 56, 1, 0, 0, 0]; // sizes and counts: header, program header, one of them
    halves.iter().for_each(|half| core.extend_from_slice(&half.to_le_bytes()));
    let halves: [u32; 2] = [1, 7]; // PT_LOAD, read, write and execute
    halves.iter().for_each(|half| core.extend_from_slice(&half.to_le_bytes()));
    let page = PAGE as u64;
    let words: [u64; 6] = [page, 0, 1 << 20, page, page, page]; // offset, vaddr, paddr, sizes, alignment
    words.iter().for_each(|word| core.extend_from_slice(&word.to_le_bytes()));
    core.resize(PAGE, 0);
    core.extend(MARKER.iter().cycle().take(PAGE));
    core
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trial_s_vmcore_is_one() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&one_page_core()).unwrap();
        let vmcore = crate::vmcore::Vmcore::open(file.path()).unwrap();
        let mut page = vec![0; PAGE];
        vmcore.read_phys(crate::units::PhysAddr(1 << 20), &mut page).unwrap();
        assert!(page.starts_with(MARKER));
    }
}
