//! That what the image holds of ours is run: the hooks are there and in the order, programs can be executed, and nobody but
//! root owns or may change any of it.

use super::super::collector::Distribution;
use super::super::findings::Findings;
use super::compare::View;
use super::{CHECK, REARM};
use crate::image::{Kind, Member};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The script of initramfs-tools, and the list of what runs beside it.
pub(super) const LOCAL_TOP: &str = "scripts/local-top/vmcore-encrypt";
const ORDER: &str = "scripts/local-top/ORDER";
/// What asks for passphrases.
const CRYPTROOT: &str = "/scripts/local-top/cryptroot";
/// dracut's hooks of ours: directory, and name after the number.
const OF_DRACUT: [(&str, &str); 2] =
    [("pre-trigger", "vmcore-encrypt-save.sh"), ("cmdline", "vmcore-encrypt-root.sh")];
/// What is read by a shell or a program, never executed.
const DATA: [&str; 3] = ["functions.sh", "recipients", "config"];
const SET_ID: u32 = 0o6000;
const OTHERS_WRITE: u32 = 0o022;
const OWNER_EXECUTES: u32 = 0o100;

/// The hooks that must run the collector; the distribution's scripts call it without.
pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    match view.plan.distribution {
        Distribution::Debian if view.plan.own_script => check_local_top(view, findings),
        Distribution::None if view.plan.own_script => {
            for (directory, name) in OF_DRACUT {
                if !view.tree.iter().any(|(path, member)| is_hook(path, member, directory, name)) {
                    let text = format!("it lacks the dracut hook {directory}/{name}: nothing would save");
                    findings.problem(CHECK, text, REARM);
                }
            }
        }
        _ => {}
    }
}

/// Whether a member is a hook: `.../hooks/DIRECTORY/NUMBER-NAME`.
fn is_hook(path: &[u8], member: &Member, directory: &str, name: &str) -> bool {
    let path = String::from_utf8_lossy(path);
    let Some((_, rest)) = path.rsplit_once(&format!("hooks/{directory}/")) else { return false };
    rest.ends_with(name) && !rest.contains('/') && member.kind() == Kind::File
}

/// initramfs-tools runs what `ORDER` lists, in its order. Source: initramfs-tools 0.142 `scripts/functions`, `run_scripts`.
fn check_local_top(view: &View<'_>, findings: &mut Findings) {
    if view.tree.file(LOCAL_TOP).is_none() {
        findings.problem(CHECK, format!("it lacks {LOCAL_TOP}: nothing would save"), REARM);
        return;
    }
    let order = view.tree.file(ORDER).and_then(|member| member.content.as_deref()).unwrap_or_default();
    let order = String::from_utf8_lossy(order);
    let place =
        |program: &str| order.lines().position(|line| line.split_ascii_whitespace().next() == Some(program));
    let own = place(&format!("/{LOCAL_TOP}"));
    let Some(own) = own else {
        findings.problem(CHECK, format!("{ORDER} in it does not run {LOCAL_TOP}: nothing would save"), REARM);
        return;
    };
    if place(CRYPTROOT).is_some_and(|cryptroot| cryptroot < own) {
        let text =
            format!("{ORDER} in it runs cryptroot first: a passphrase would be asked for before the dump");
        findings.problem(CHECK, text, REARM);
    }
}

/// What is wrong with owner and permissions of a file of ours in the image. `installed` are the files that it may have
/// come from.
pub(super) fn mode_faults(
    view: &View<'_>,
    path: &str,
    member: &Member,
    installed: &[PathBuf],
) -> impl Iterator<Item = String> {
    let mode_of = |place: &PathBuf| view.machine.path(place).metadata().map_or(0, |data| data.mode());
    let of_installed = installed.iter().map(mode_of).fold(0, |all, mode| all | mode);
    let shown = format!("{path} in it has mode {:04o}", member.mode & 0o7777);
    let owner =
        (member.owner != 0).then(|| format!("{path} in it belongs to user {}, not to root", member.owner));
    let wide = (member.mode & (SET_ID | OTHERS_WRITE) & !of_installed != 0)
        .then(|| format!("{shown}, unlike the installed one"));
    let idle = (is_executed(path) && member.mode & OWNER_EXECUTES == 0)
        .then(|| format!("{shown} and cannot be executed: every dump would fail"));
    [owner, wide, idle].into_iter().flatten()
}

/// dracut's hooks are read by its shell; all else of ours but data is started.
fn is_executed(path: &str) -> bool {
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
    !DATA.contains(&&*name) && !OF_DRACUT.iter().any(|(_, hook)| name.ends_with(hook))
}
