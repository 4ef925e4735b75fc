//! The dump target: there, in plain (the dump encrypts itself, and nobody unlocks a volume after a crash),
//! and with room for the dump.

use super::collector::{Goal, Plan};
use super::config::Config;
use super::findings::Findings;
use super::machine::Machine;
use super::store;
use crate::collect::estimate;
use crate::filter::DumpLevel;
use crate::raw::{self, Found, HEAD_PROBE, Occupant, Search, TAIL_PROBE};
use crate::text::size;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

const CHECK: &str = "target";
const PLAIN: &str = "choose a target that is not encrypted: the dump encrypts itself";

/// Checks the target of the plan.
pub(super) fn check(machine: &Machine, config: &Config, plan: &Plan, findings: &mut Findings) {
    match &plan.goal {
        Goal::Store => store::check(machine, config, findings),
        Goal::Remote => findings.ok(CHECK, "another machine"),
        Goal::Unknown => {}
        Goal::Raw(device) => check_device(machine, plan, device, true, findings),
        Goal::OnDevice(device) => check_device(machine, plan, device, false, findings),
        Goal::Directory(path) => check_directory(machine, plan, path, findings),
    }
}

fn check_device(machine: &Machine, plan: &Plan, spec: &str, is_raw: bool, findings: &mut Findings) {
    let Some(name) = machine.device(spec) else {
        findings.problem(CHECK, format!("{spec} is not there"), "correct it, or attach the device");
        return;
    };
    if check_plain(machine, &format!("{spec} ({name})"), &name, findings).is_break() {
        return;
    }
    if is_raw {
        check_content(machine, spec, &name, findings);
        let sectors = machine.number(Path::new("/sys/class/block").join(&name).join("size"));
        check_room(machine, plan, spec, sectors.map(|sectors| sectors.saturating_mul(512)), findings);
    } else {
        let mounted = mounts(machine).into_iter().find(|mount| mount.device == name);
        let free = mounted.and_then(|mount| free_bytes(&machine.path(mount.directory)));
        check_room(machine, plan, spec, free, findings);
    }
}

/// Whether the target can be opened after a crash: it is plain, or its volume keys are handed over.
fn check_plain(machine: &Machine, place: &str, device: &str, findings: &mut Findings) -> ControlFlow<()> {
    let layers = machine.encryption(device);
    if layers.is_empty() {
        return ControlFlow::Continue(());
    }
    let listed = layers.join(", ");
    if layers.iter().all(|layer| is_handed_over(machine, layer)) {
        findings.warning(
            CHECK,
            format!(
                "{place} is on an encrypted volume, {listed}, whose key is handed to the capture kernel: the key \
                 of the disk is in reserved memory"
            ),
            "a plain target needs no key there: the dump encrypts itself",
        );
        ControlFlow::Continue(())
    } else {
        findings.problem(CHECK, format!("{place} is on an encrypted volume, {listed}"), PLAIN);
        ControlFlow::Break(())
    }
}

/// Whether the volume key of a LUKS device is in the list that a crash kernel is loaded with. Its id is
/// `CRYPT-LUKS2-UUID-NAME`, the UUID without dashes. Source: Linux `kernel/crash_dump_dm_crypt.c` (v6.16); kdump-utils
/// names entries by that UUID.
fn is_handed_over(machine: &Machine, layer: &str) -> bool {
    const KEYS: &str = "/sys/kernel/config/crash_dm_crypt_keys";
    let Some(id) = layer.strip_prefix("CRYPT-LUKS2-").and_then(|rest| rest.split('-').next()) else {
        return false;
    };
    let holds = |text: &str| !id.is_empty() && text.replace('-', "").to_ascii_lowercase().contains(id);
    let entries = std::fs::read_dir(machine.path(KEYS)).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let description = machine.read(format!("{KEYS}/{name}/description")).unwrap_or_default();
        holds(&description) || (!description.trim().is_empty() && holds(&name))
    })
}

/// A raw partition that holds something is refused after the crash.
fn check_content(machine: &Machine, spec: &str, name: &str, findings: &mut Findings) {
    let occupant = File::open(machine.path(Path::new("/dev").join(name))).and_then(|file| occupant(&file));
    let occupant = match occupant {
        Ok(occupant) => occupant,
        Err(error) => {
            findings.warning(CHECK, format!("reading {spec}: {error}"), "run the check as root");
            return;
        }
    };
    match occupant {
        Occupant::Foreign(what) => {
            let hint = "if nothing on it is needed: wipefs -a";
            findings.problem(CHECK, format!("{spec} holds {what}, which is not overwritten"), hint);
        }
        Occupant::Frame => findings.warning(
            CHECK,
            format!("{spec} holds a dump that was not collected; the next crash overwrites it"),
            "vmcore-encrypt collect copies it",
        ),
        Occupant::Swap(_) | Occupant::Nothing => {}
    }
}

/// What the collector would find there, at both ends of the device. A dump whose header is damaged is one too.
fn occupant(mut file: &File) -> io::Result<Occupant> {
    let size = file.seek(SeekFrom::End(0))?;
    let mut read = |from: u64, length: usize| {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.take(length as u64).read_to_end(&mut bytes).map(|_| bytes)
    };
    let head = read(0, HEAD_PROBE)?;
    let tail = read(size.saturating_sub(TAIL_PROBE as u64), TAIL_PROBE)?;
    let is_dump = Found::search(&file, size, Search::Unasked).is_ok();
    Ok(if is_dump { Occupant::Frame } else { raw::occupant(&head, &tail, size) })
}

fn check_directory(machine: &Machine, plan: &Plan, path: &str, findings: &mut Findings) {
    let Some(mount) = mount_of(machine, path) else {
        findings.warning(CHECK, format!("{path}: no mounted file system is known"), "");
        return;
    };
    if check_plain(machine, &format!("{path} on {}", mount.device), &mount.device, findings).is_break() {
        return;
    }
    check_room(machine, plan, path, free_bytes(&machine.path(&mount.directory)), findings);
}

/// A mounted file system.
struct Mount {
    directory: String,
    /// The kernel's name for its device; the file system's type where there is none.
    device: String,
}

fn mount_of(machine: &Machine, path: &str) -> Option<Mount> {
    mounts(machine)
        .into_iter()
        .filter(|mount| Path::new(path).starts_with(&mount.directory))
        .max_by_key(|mount| mount.directory.len())
}

/// Source: Linux `Documentation/filesystems/proc.rst`, `/proc/<pid>/mountinfo`.
fn mounts(machine: &Machine) -> Vec<Mount> {
    let text = machine.read("/proc/self/mountinfo").unwrap_or_default();
    let parse = |line: &str| {
        let (place, source) = line.split_once(" - ")?;
        let directory = place.split(' ').nth(4)?.replace("\\040", " ");
        let source = source.split(' ').nth(1)?;
        let device = machine.device(source).unwrap_or_else(|| source.to_owned());
        Some(Mount { directory, device })
    };
    text.lines().filter_map(parse).collect()
}

fn free_bytes(directory: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(directory).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

fn check_room(machine: &Machine, plan: &Plan, name: &str, room: Option<u64>, findings: &mut Findings) {
    let Some(room) = room else {
        findings.warning(CHECK, format!("{name}: free space unknown"), "");
        return;
    };
    let Some(need) = expected_size(machine, plan) else {
        findings.ok(CHECK, format!("{name}: not encrypted, {} of room", size::show(room)));
        return;
    };
    let text = format!(
        "{name}: not encrypted, {} of room for a dump of up to {} at level {}",
        size::show(room),
        size::show(need),
        plan.level
    );
    match room {
        room if room >= need => findings.ok(CHECK, text),
        room if room >= need / 3 => {
            findings.warning(CHECK, text, "compression may make it fit; a dump that does not is cut");
        }
        _ => findings.problem(CHECK, text, "make room, or use a higher dump level or another target"),
    }
}

/// What a dump of now would take at most, before compression: as the filter judges the running kernel's pages, or
/// where that cannot be read by the use of its memory that the kernel reports.
fn expected_size(machine: &Machine, plan: &Plan) -> Option<u64> {
    let reserved = machine.number("/sys/kernel/kexec_crash_size").unwrap_or(0);
    let judged = estimate::size_at(&machine.path("/proc/kcore"), plan.level);
    let size = judged.map(|size| size.saturating_sub(reserved)).or_else(|| size_told(machine, plan))?;
    Some(plan.limit.map_or(size, |limit| limit.min(size)))
}

/// Source: Linux `Documentation/filesystems/proc.rst`, `meminfo`.
fn size_told(machine: &Machine, plan: &Plan) -> Option<u64> {
    let text = machine.read("/proc/meminfo").ok()?;
    let bytes = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.saturating_mul(1 << 10))
    };
    let excluded = [
        (
            DumpLevel::PRIVATE_CACHE | DumpLevel::CACHE,
            bytes("Cached")?.saturating_add(bytes("Buffers").unwrap_or(0)),
        ),
        (DumpLevel::USER, bytes("AnonPages").unwrap_or(0)),
        (DumpLevel::FREE, bytes("MemFree").unwrap_or(0)),
    ];
    let left_out = excluded.iter().filter(|(bits, _)| plan.level & bits != 0).map(|&(_, size)| size);
    Some(left_out.fold(bytes("MemTotal")?, u64::saturating_sub))
}
