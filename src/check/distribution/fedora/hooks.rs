//! Programs that kdump.sh runs beside `/proc/vmcore`: `kdump_pre`, `kdump_post`, `kdump_emergency` and the executable
//! files of three directories. They are the administrator's own; one that names the vmcore or makedumpfile could save
//! in plain and is refused, others are reported.

use super::super::super::findings::Findings;
use super::super::{CHECK, SAVE, View};
use super::conf::Conf;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const DIRECTORIES: [&str; 3] = ["/etc/kdump/pre.d", "/etc/kdump/post.d", "/etc/kdump/emergency.d"];
/// Ours, which hides the core of OpenPower's firmware.
const OWN: &str = "/etc/kdump/pre.d/vmcore-encrypt";
/// What a program names that copies the crashed kernel's memory.
const NAMES: [&str; 3] = ["/proc/vmcore", "makedumpfile", "mpipl/core"];
/// The most programs of a directory.
const MOST: usize = 64;

pub(super) fn check(view: &View<'_>, conf: &Conf, findings: &mut Findings) {
    let named = ["kdump_pre", "kdump_post", "kdump_emergency"].into_iter().filter_map(|key| conf.last(key));
    let named = named.filter(|line| line.value != SAVE).map(|line| (line.place(), line.value.clone()));
    let mut programs: Vec<(String, String)> = named.collect();
    programs.extend(DIRECTORIES.iter().flat_map(|directory| executables(view, directory)));
    for (place, program) in programs {
        match copies(view, &program) {
            Some(name) => {
                let text = format!("{place}: {program} names {name}: it could save in plain");
                findings.problem(CHECK, text, "let the collector save, and this program do something else");
            }
            None => findings.warning(
                CHECK,
                format!("{place}: {program} runs beside /proc/vmcore; what it does is not checked"),
                "see to it that it saves nothing of the crashed kernel",
            ),
        }
    }
    check_firmware_core(view, findings);
}

/// kdump.sh copies the core of OpenPower's firmware in plain, unless our hook hides it.
fn check_firmware_core(view: &View<'_>, findings: &mut Findings) {
    let has_firmware =
        fs::exists("/sys/firmware/opal").unwrap_or(true) || view.machine.path("/sys/firmware/opal").exists();
    if has_firmware && !is_executable(view, OWN) {
        let text =
            format!("{OWN} is not there or not executable: kdump.sh would copy the firmware's core in plain");
        findings.problem(CHECK, text, "install it, mode 755");
    }
}

/// The programs of a directory that kdump-utils copies into the image: the executable ones. Ours is not listed.
fn executables(view: &View<'_>, directory: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(view.machine.path(directory)).into_iter().flatten().flatten().take(MOST);
    let mut paths: Vec<String> =
        entries.map(|entry| format!("{directory}/{}", entry.file_name().to_string_lossy())).collect();
    paths.retain(|path| path != OWN && is_executable(view, path));
    paths.sort();
    paths.into_iter().map(|path| (directory.to_owned(), path)).collect()
}

fn is_executable(view: &View<'_>, path: &str) -> bool {
    let data = view.machine.path(path).metadata();
    data.is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// What a program names outside comments, if it is one that copies memory.
fn copies(view: &View<'_>, program: &str) -> Option<&'static str> {
    let base = program.rsplit('/').next().unwrap_or_default();
    let text = view.machine.read(program).unwrap_or_default();
    let lines = || text.lines().filter(|line| !line.trim_start().starts_with('#'));
    NAMES.into_iter().find(|name| base == *name || lines().any(|line| line.contains(name)))
}
