//! The kdump image: there, newer than what went into it, and with everything the collector needs. It is
//! unpacked with the distribution's own tools.

use super::collector::{Distribution, Plan};
use super::config;
use super::findings::Findings;
use super::machine::Machine;
use crate::crypt::Recipients;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const CHECK: &str = "image";
const BINARY: &str = "usr/bin/vmcore-encrypt";
const RECIPIENTS: &str = "etc/vmcore-encrypt/recipients";
const PLUGIN_PLACES: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];
const CONFIG: &str = "etc/vmcore-encrypt/config";
/// What saves where the distribution's scripts do not.
const OWN_SCRIPT: [&str; 2] = ["usr/lib/vmcore-encrypt/save", "usr/lib/vmcore-encrypt/functions.sh"];
/// How every age identity begins.
const IDENTITY: &[u8] = b"AGE-SECRET-KEY-";
/// No key file is larger.
const MAX_KEY_FILE: u64 = 1 << 20;
const REARM: &str = "run vmcore-encrypt-rearm";

/// The image of the running kernel.
pub struct Image {
    /// Its size in bytes.
    pub size: u64,
    unpacked: Option<Unpacked>,
}

impl Image {
    /// The collector out of it, where it could be unpacked.
    pub fn binary(&self) -> Option<PathBuf> {
        self.unpacked.as_ref()?.file(BINARY)
    }

    /// The recipients out of it, likewise.
    pub fn recipients(&self) -> Option<PathBuf> {
        self.unpacked.as_ref()?.file(RECIPIENTS)
    }
}

/// A directory that goes when the check ends.
struct Unpacked(PathBuf);

impl Unpacked {
    /// A file of the image; unmkinitramfs puts the main part of an image with microcode into `main`.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let found = ["", "main", "main2"].into_iter().map(|part| self.0.join(part).join(name));
        found.into_iter().find(|path| path.is_file())
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // What is left in the temporary directory is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Looks at the image; `None` when there is none.
pub fn check(
    machine: &Machine,
    plan: &Plan,
    fingerprint: Option<&str>,
    findings: &mut Findings,
) -> Option<Image> {
    let Some(path) = find(machine, plan.distribution) else {
        let hint = "start the kdump service; it builds the image";
        findings.problem(CHECK, "no kdump image of the running kernel is there", hint);
        return None;
    };
    let size = machine.path(&path).metadata().map_or(0, |data| data.len());
    check_age(machine, plan, &path, findings);
    let unpacked = plan.in_image.then(|| unpack(&machine.path(&path), findings)).flatten();
    if let Some(unpacked) = &unpacked {
        check_content(machine, plan, unpacked, fingerprint, findings);
    }
    Some(Image { size, unpacked })
}

/// Where kdump-utils, kdump-tools and SUSE's kdump put the image for a kernel release.
fn find(machine: &Machine, distribution: Distribution) -> Option<PathBuf> {
    let release = machine.read("/proc/sys/kernel/osrelease").ok()?;
    let release = release.trim();
    let names = match distribution {
        Distribution::Fedora => ["/boot", "/var/lib/kdump"]
            .map(|directory| format!("{directory}/initramfs-{release}kdump.img"))
            .to_vec(),
        Distribution::Debian => vec![format!("/var/lib/kdump/initrd.img-{release}")],
        Distribution::Suse => {
            vec![format!("/var/lib/kdump/initrd-{release}-kdump"), format!("/boot/initrd-{release}-kdump")]
        }
        Distribution::None => vec!["/var/lib/vmcore-encrypt/initrd.img".to_owned()],
    };
    names.into_iter().map(PathBuf::from).find(|path| machine.path(path).is_file())
}

/// No distribution rebuilds the image when the recipients change.
fn check_age(machine: &Machine, plan: &Plan, path: &Path, findings: &mut Findings) {
    let built = machine.changed(path);
    let mut parts = vec![machine.recipients.clone(), config::PATH.into()];
    if plan.distribution == Distribution::Fedora {
        parts.push("/etc/kdump.conf".into());
    }
    if plan.in_image {
        parts.extend(machine.program("vmcore-encrypt"));
    }
    let newer: Vec<String> = parts
        .iter()
        .filter(|part| machine.changed(part) > built)
        .map(|part| part.display().to_string())
        .collect();
    match newer.as_slice() {
        [] => findings.ok(CHECK, format!("{} is up to date", path.display())),
        _ if !plan.in_image => {}
        newer => {
            findings.problem(CHECK, format!("{} is older than {}", path.display(), newer.join(", ")), REARM);
        }
    }
}

fn check_content(
    machine: &Machine,
    plan: &Plan,
    unpacked: &Unpacked,
    fingerprint: Option<&str>,
    findings: &mut Findings,
) {
    let mut parts = vec![BINARY, RECIPIENTS];
    if machine.path(config::PATH).exists() {
        parts.push(CONFIG);
    }
    if plan.own_script {
        parts.extend(OWN_SCRIPT);
    }
    let (there, missing): (Vec<&str>, Vec<&str>) =
        parts.into_iter().partition(|part| unpacked.file(part).is_some());
    match missing.as_slice() {
        [] => findings.ok(CHECK, format!("it holds {}", there.join(", "))),
        missing => findings.problem(CHECK, format!("it lacks {}", missing.join(", ")), REARM),
    }
    check_dmesg(plan, unpacked, findings);
    check_fingerprint(unpacked, fingerprint, findings);
    for key in ["etc", "root", "home"].iter().flat_map(|top| identities(unpacked, top)) {
        findings.problem(
            CHECK,
            format!("a private key is in it: {key}"),
            "take it off this machine, then rearm",
        );
    }
}

/// The files below a directory of the image that hold an age identity.
fn identities(unpacked: &Unpacked, top: &str) -> Vec<String> {
    let holds_one = |path: &Path| {
        let mut bytes = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(MAX_KEY_FILE).read_to_end(&mut bytes));
        read.is_ok() && bytes.windows(IDENTITY.len()).any(|window| window == IDENTITY)
    };
    let mut open: Vec<PathBuf> = ["", "main", "main2"].map(|part| unpacked.0.join(part).join(top)).into();
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            // A link of the image would mean a file of this machine.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(path),
                Ok(kind) if kind.is_file() && holds_one(&path) => {
                    found.push(path.strip_prefix(&unpacked.0).unwrap_or(&path).display().to_string());
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// kdump-utils always runs `vmcore-dmesg`; in the image it must be ours, which encrypts.
fn check_dmesg(plan: &Plan, unpacked: &Unpacked, findings: &mut Findings) {
    if plan.distribution != Distribution::Fedora {
        return;
    }
    let plain = ["usr/sbin/vmcore-dmesg", "usr/bin/vmcore-dmesg", "sbin/vmcore-dmesg"]
        .into_iter()
        .find(|name| fs::symlink_metadata(unpacked.0.join(name)).is_ok_and(|data| data.is_file()));
    if let Some(name) = plain {
        let text = format!("{name} in it saves the kernel log in plain");
        findings.problem(CHECK, text, "the dracut module 99vmcore-encrypt replaces it; rebuild the image");
    }
}

fn check_fingerprint(unpacked: &Unpacked, fingerprint: Option<&str>, findings: &mut Findings) {
    let Some(path) = unpacked.file(RECIPIENTS) else { return };
    let bytes = fs::read(path).unwrap_or_default();
    let recipients = match Recipients::from_file_contents(&bytes) {
        Ok(recipients) => recipients,
        Err(error) => {
            findings.problem(CHECK, format!("the recipients in it: {error}"), REARM);
            return;
        }
    };
    check_plugins(unpacked, &recipients, findings);
    let inside = recipients.fingerprint();
    if Some(inside.as_str()) != fingerprint {
        findings.problem(CHECK, format!("the recipients in it are others, fingerprint {inside}"), REARM);
    }
}

/// The collector looks for plugin programs where a capture kernel's `$PATH` does.
fn check_plugins(unpacked: &Unpacked, recipients: &Recipients, findings: &mut Findings) {
    let is_there = |program: &String| {
        PLUGIN_PLACES.iter().any(|directory| unpacked.file(&format!("{directory}/{program}")).is_some())
    };
    for program in recipients.plugin_programs().iter().filter(|program| !is_there(program)) {
        findings.problem(CHECK, format!("it lacks {program}, which a recipient needs"), REARM);
    }
}

/// The image's files; says so where they cannot be had.
fn unpack(image: &Path, findings: &mut Findings) -> Option<Unpacked> {
    let unpacked = unpack_by_tools(image);
    if unpacked.is_none() {
        let hint = "install dracut (lsinitrd) or initramfs-tools-core (unmkinitramfs), run the check as root";
        findings.warning(CHECK, "what is in it could not be looked at", hint);
    }
    unpacked
}

fn unpack_by_tools(image: &Path) -> Option<Unpacked> {
    let image = fs::canonicalize(image).ok()?;
    let name = format!("vmcore-encrypt-check-{}", std::process::id());
    let unpacked = Unpacked(std::env::temp_dir().join(name));
    fs::create_dir(&unpacked.0).ok()?;
    let run = |command: &mut Command| {
        let quiet = command.current_dir(&unpacked.0).stdin(Stdio::null()).stdout(Stdio::null());
        quiet.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let done = run(Command::new("unmkinitramfs").arg(&image).arg("."))
        || run(Command::new("lsinitrd").arg("--unpack").arg(&image));
    done.then_some(unpacked)
}
