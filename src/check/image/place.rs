//! Where the distributions' kdump scripts put the image of the running kernel.

use super::super::collector::Distribution;
use super::super::findings::Findings;
use super::super::machine::Machine;
use super::super::shell::Settings;
use super::CHECK;
use std::fs;
use std::path::{Path, PathBuf};

/// Directories that may have kernels. Source: kdump-utils `kdump-lib.sh`, `prepare_kdump_kernel`.
const BOOT: [&str; 4] = ["/boot", "/boot/efi", "/efi", ""];
/// Below [`BOOT`]: unified kernel images, and what is added to all of them. Source: systemd-stub(7).
const UNIFIED: &str = "EFI/Linux";
const ADDED_TO_ALL: &str = "loader/addons";

/// The image; a finding where there is none.
pub(super) fn find(
    machine: &Machine,
    distribution: Distribution,
    findings: &mut Findings,
) -> Option<PathBuf> {
    let release = machine.read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let places = match distribution {
        Distribution::Fedora => fedora(machine, release.trim()),
        Distribution::Debian => vec![format!("/var/lib/kdump/initrd.img-{}", release.trim())],
        Distribution::Suse => suse(release.trim()),
        Distribution::None => own(release.trim()),
    };
    // A link counts as there, and is refused when it is opened.
    let is_there = |path: &PathBuf| machine.path(path).symlink_metadata().is_ok_and(|data| !data.is_dir());
    let found = places.into_iter().map(PathBuf::from).find(is_there);
    let unified = unified(machine);
    if found.is_none() {
        let hint = match distribution {
            Distribution::None => "start vmcore-encrypt-load.service; it builds the image",
            _ => "start the kdump service; it builds the image",
        };
        findings.problem(CHECK, "no kdump image of the running kernel is there", hint);
    }
    if let Some(path) = unified {
        findings.warning(
            CHECK,
            format!(
                "{} and other add-ons of unified kernel images are not supported: they are not read",
                path.display()
            ),
            "keep the kdump image in a file of its own; see docs/kdump.md",
        );
    }
    found
}

/// As `vmcore-encrypt-load` has it, and as docs/kdump.md names it for `vmcore-encrypt-mkinitrd`.
fn own(release: &str) -> Vec<String> {
    vec![
        format!("/var/lib/vmcore-encrypt/initrd.img-{release}"),
        "/var/lib/vmcore-encrypt/initrd.img".to_owned(),
    ]
}

/// Source: kdump-utils `kdump-lib.sh`, `prepare_kdump_bootinfo`; kernel-install(8) for the directories by machine id or
/// entry token.
fn fedora(machine: &Machine, running: &str) -> Vec<String> {
    let settings = Settings::parse(&machine.read("/etc/sysconfig/kdump").unwrap_or_default());
    let set = |key| settings.get(key).filter(|value| !value.is_empty());
    let without_debug = running.strip_suffix("+debug").or(running.strip_suffix("-debug"));
    let releases = [set("KDUMP_KERNELVER"), without_debug, Some(running)];
    let directories: Vec<String> = set("KDUMP_BOOTDIR")
        .map(str::to_owned)
        .into_iter()
        .chain(BOOT.map(str::to_owned))
        .chain(below(machine, "/boot/ostree"))
        .collect();
    let tokens = ["/etc/machine-id", "/etc/kernel/entry-token"];
    let tokens: Vec<String> = tokens
        .iter()
        .filter_map(|path| machine.read(path).ok())
        .map(|token| token.trim().to_owned())
        .collect();
    let mut places = Vec::new();
    for release in releases.into_iter().flatten() {
        let name = format!("initramfs-{release}kdump.img");
        for directory in &directories {
            places.push(format!("{directory}/{name}"));
            for token in tokens.iter().filter(|token| !token.is_empty()) {
                places.extend(
                    ["initrdkdump", &name].map(|name| format!("{directory}/{token}/{release}/{name}")),
                );
            }
        }
        places.extend([name.as_str(), "initrdkdump"].map(|name| format!("/var/lib/kdump/{name}")));
    }
    places
}

/// Source: SUSE kdump 1.9 and later `init/mkdumprd`; older ones `sbin/mkdumprd`.
fn suse(release: &str) -> Vec<String> {
    vec![
        "/var/lib/kdump/initrd".to_owned(),
        format!("/var/lib/kdump/initrd-{release}-kdump"),
        format!("/boot/initrd-{release}-kdump"),
    ]
}

/// The directories in a directory.
fn below(machine: &Machine, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(machine.path(directory)).into_iter().flatten().flatten();
    entries.map(|entry| format!("{directory}/{}", entry.file_name().to_string_lossy())).collect()
}

/// An add-on of a unified kernel image, if there is one.
fn unified(machine: &Machine) -> Option<PathBuf> {
    let is_addon = |path: &String| path.ends_with(".addon.efi");
    let of_images = |directory: &str| -> Vec<String> {
        let images = below(machine, &format!("{directory}/{UNIFIED}"));
        let images = images.into_iter().filter(|path| path.ends_with(".efi.extra.d"));
        images.flat_map(|path| below(machine, &path)).collect()
    };
    let mut directories = BOOT.iter().filter(|directory| !directory.is_empty());
    directories.find_map(|directory| {
        let for_all = below(machine, &format!("{directory}/{ADDED_TO_ALL}"));
        for_all.into_iter().chain(of_images(directory)).find(is_addon).map(|path| Path::new(&path).to_owned())
    })
}
