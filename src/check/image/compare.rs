//! What is in the image, held against what is installed. That both agree shows that the image was built from this
//! machine's files and is up to date. It does not show who built it: who can write the image can write one that agrees
//! and does something else besides.

use super::super::collector::{Distribution, Plan};
use super::super::config;
use super::super::findings::Findings;
use super::super::machine::Machine;
use super::hooks::{self, LOCAL_TOP};
use super::{CHECK, REARM, secrets};
use crate::crypt::Recipients;
use crate::image::{Kind, Member, Tree, same_program};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const BINARY: &str = "usr/bin/vmcore-encrypt";
const RECIPIENTS: &str = "etc/vmcore-encrypt/recipients";
const CONFIG: &str = "etc/vmcore-encrypt/config";
const PLUGIN_PLACES: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];
const PLUGIN: &str = "age-plugin-";
/// What saves where the distribution's scripts do not.
const OWN_SCRIPT: [&str; 2] = ["usr/lib/vmcore-encrypt/save", "usr/lib/vmcore-encrypt/functions.sh"];
const SCRIPTS: &str = "usr/lib/vmcore-encrypt/";
/// Where kdump-utils runs the program for the crashed kernel's log.
const DMESG: [&str; 4] =
    ["usr/sbin/vmcore-dmesg", "usr/bin/vmcore-dmesg", "sbin/vmcore-dmesg", "bin/vmcore-dmesg"];
/// dracut's hooks of ours, without the number before the name, and where dracut has modules.
const HOOKS: [&str; 2] = ["vmcore-encrypt-save.sh", "vmcore-encrypt-root.sh"];
const MODULES: &str = "/usr/lib/dracut/modules.d";
/// Where initramfs-tools has scripts.
const INITRAMFS: [&str; 2] = ["/etc/initramfs-tools", "/usr/share/initramfs-tools"];
/// No file of ours is larger.
const MAX_FILE: u64 = 48 << 20;
/// As many findings of a kind are enough.
pub(super) const MAX_FINDINGS: usize = 20;
/// What SUSE's kdump-save starts.
const TRANSFER: &str = "usr/lib/vmcore-encrypt/suse-transfer";
/// kdump-utils' hook of ours, where the administrator installed it.
const PRE: &str = "etc/kdump/pre.d/vmcore-encrypt";

/// An image beside its machine.
pub(super) struct View<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// What happens after a crash.
    pub plan: &'a Plan,
    /// The image.
    pub tree: &'a Tree,
    /// That of the installed recipients.
    pub fingerprint: Option<&'a str>,
}

/// Checks the files of the image.
pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    check_parts(view, findings);
    let before = findings.count(super::super::findings::Verdict::Problem);
    check_equality(view, findings);
    hooks::check(view, findings);
    check_dmesg(view, findings);
    let recipients = check_recipients(view, findings);
    if findings.count(super::super::findings::Verdict::Problem) == before {
        let text =
            "what it holds of ours is as installed: it is consistent, which does not prove it authentic";
        findings.ok(CHECK, text);
    }
    secrets::check(view, recipients.as_ref(), findings);
}

fn check_parts(view: &View<'_>, findings: &mut Findings) {
    let mut parts = vec![BINARY, RECIPIENTS];
    if view.machine.path(config::PATH).exists() {
        parts.push(CONFIG);
    }
    if view.plan.own_script {
        parts.extend(OWN_SCRIPT);
    }
    if view.plan.distribution == Distribution::Suse {
        parts.push(TRANSFER);
    }
    if view.machine.path(PRE).exists() && view.plan.distribution == Distribution::Fedora {
        parts.push(PRE);
    }
    let (there, missing): (Vec<&str>, Vec<&str>) =
        parts.into_iter().partition(|part| view.tree.file(part).is_some());
    match missing.as_slice() {
        [] => findings.ok(CHECK, format!("it holds {}", there.join(", "))),
        missing => findings.problem(CHECK, format!("it lacks {}", missing.join(", ")), REARM),
    }
}

/// Each file of ours in the image must be the installed one.
fn check_equality(view: &View<'_>, findings: &mut Findings) {
    let listed = view.tree.iter().filter(|(_, member)| member.kind() == Kind::File);
    let listed = listed.map(|(path, _)| String::from_utf8_lossy(path).into_owned());
    // By the paths that are used as well, wherever links lead.
    let used = [BINARY, CONFIG].into_iter().chain(OWN_SCRIPT).filter(|path| view.tree.file(path).is_some());
    let paths: BTreeSet<String> = listed.chain(used.map(str::to_owned)).collect();
    let mut faults = BTreeSet::new();
    for path in &paths {
        let Some(places) = installed(view.machine, path) else { continue };
        for member in view.members(path) {
            if !is_same(view.machine, member, &places) {
                faults.insert(format!("{path} in it is not the installed one"));
            }
            faults.extend(hooks::mode_faults(view, path, member, &places));
        }
    }
    for fault in faults.into_iter().take(MAX_FINDINGS) {
        findings.problem(CHECK, fault, REARM);
    }
}

impl View<'_> {
    /// All members that a path can mean: in each file system of the image, by itself and with links followed.
    fn members<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Member> {
        let files = self.tree.layers().filter_map(move |layer| layer.get(path));
        files.chain(self.tree.get(path)).filter(|member| member.kind() == Kind::File)
    }
}

fn is_same(machine: &Machine, member: &Member, places: &[PathBuf]) -> bool {
    let Some(content) = &member.content else { return false };
    places.iter().any(|place| {
        machine.read_whole(place, MAX_FILE).is_ok_and(|installed| same_program(content, &installed))
    })
}

/// Where the machine has what is at a path of the image; `None` for what is not ours.
fn installed(machine: &Machine, path: &str) -> Option<Vec<PathBuf>> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let hook = HOOKS
        .into_iter()
        .find(|hook| name.trim_start_matches(|char: char| char.is_ascii_digit() || char == '-') == *hook);
    match path {
        BINARY => Some(machine.collector().into_iter().collect()),
        CONFIG => Some(vec![config::PATH.into()]),
        PRE => Some(vec![Path::new("/").join(PRE)]),
        LOCAL_TOP => Some(INITRAMFS.map(|directory| Path::new(directory).join(LOCAL_TOP)).to_vec()),
        _ if hook.is_some() => {
            hook.map(|hook| modules(machine).into_iter().map(|module| module.join(hook)).collect())
        }
        _ if path.starts_with(SCRIPTS) => Some(vec![Path::new("/").join(path)]),
        _ if name.starts_with(PLUGIN) => Some(machine.program(name).into_iter().collect()),
        _ => None,
    }
}

/// Our module among those of dracut, whatever its number.
fn modules(machine: &Machine) -> Vec<PathBuf> {
    let entries = fs::read_dir(machine.path(MODULES)).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with("vmcore-encrypt")).map(|name| Path::new(MODULES).join(name)).collect()
}

/// kdump-utils always runs `vmcore-dmesg`; in the image it must be ours, which encrypts.
fn check_dmesg(view: &View<'_>, findings: &mut Findings) {
    if view.plan.distribution != Distribution::Fedora {
        return;
    }
    let ours = view.tree.file(BINARY).and_then(|member| member.content.as_ref());
    let is_plain = |name: &&str| {
        view.members(name).any(|member| member.content.is_none() || member.content.as_ref() != ours)
    };
    if let Some(name) = DMESG.into_iter().find(is_plain) {
        let text = format!("{name} in it saves the kernel log in plain");
        findings.problem(CHECK, text, "the dracut module 99vmcore-encrypt replaces it; rebuild the image");
    }
}

/// The recipients in the image, which must be the installed ones.
fn check_recipients(view: &View<'_>, findings: &mut Findings) -> Option<Recipients> {
    let member = view.tree.file(RECIPIENTS)?;
    let recipients = match Recipients::from_file_contents(member.content.as_deref().unwrap_or_default()) {
        Ok(recipients) => recipients,
        Err(error) => {
            findings.problem(CHECK, format!("the recipients in it: {error}"), REARM);
            return None;
        }
    };
    check_plugins(view, &recipients, findings);
    let inside = recipients.fingerprint();
    if Some(inside.as_str()) != view.fingerprint {
        findings.problem(CHECK, format!("the recipients in it are others, fingerprint {inside}"), REARM);
    }
    Some(recipients)
}

/// The collector looks for plugin programs where a capture kernel's `$PATH` does.
fn check_plugins(view: &View<'_>, recipients: &Recipients, findings: &mut Findings) {
    let is_there = |program: &String| {
        PLUGIN_PLACES.iter().any(|directory| view.tree.file(&format!("{directory}/{program}")).is_some())
    };
    for program in recipients.plugin_programs().iter().filter(|program| !is_there(program)) {
        findings.problem(CHECK, format!("it lacks {program}, which a recipient needs"), REARM);
    }
}
