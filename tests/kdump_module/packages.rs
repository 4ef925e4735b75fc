//! `make install` and the packages: what lands where, for which distribution.

use crate::machine::make_install;
use crate::{has, module_dir, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A stand-in for the built collector.
fn collector(directory: &Path) -> PathBuf {
    let path = directory.join("collector");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    path
}

fn make_package(target: &str, out: &Path) {
    let made = Command::new("make")
        .args(["--silent", "-C"])
        .arg(module_dir())
        .arg(target)
        .arg(format!("BIN={}", collector(out).display()))
        .arg(format!("OUT={}", out.display()))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
}

/// The analyst's half honours the usual two variables, and the links of its documents lead to files beside them.
#[test]
fn the_analysts_program_installs_below_its_prefix() {
    let root = TempDir::new().unwrap();
    let made = Command::new("make")
        .args(["--silent", "-C"])
        .arg(module_dir())
        .args(["install-analyst", "PREFIX=/opt/x"])
        .arg(format!("DECRYPT={}", collector(root.path()).display()))
        .arg(format!("DESTDIR={}/stage", root.path().display()))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let prefix = root.path().join("stage/opt/x");
    for path in [
        "bin/vmcore-decrypt",
        "share/man/man1/vmcore-decrypt.1",
        "share/man/man1/vmcore-decrypt-restore.1",
        "share/bash-completion/completions/vmcore-decrypt",
        "share/zsh/site-functions/_vmcore-decrypt",
        "share/fish/vendor_completions.d/vmcore-decrypt.fish",
        "share/doc/vmcore-decrypt/json.md",
    ] {
        assert!(prefix.join(path).is_file(), "{path}");
    }
    let documents = prefix.join("share/doc/vmcore-decrypt");
    for name in ["analyst.md", "json.md", "exit-statuses.md"] {
        let page = fs::read_to_string(documents.join(name)).unwrap();
        for link in page.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let there = link.is_empty() || link.contains("://") || documents.join(link).is_file();
            assert!(there, "{name}: {link}");
        }
    }
}

#[test]
fn each_distribution_gets_its_own_part() {
    let cases: [(&str, &[&str], &[&str]); 3] = [
        (
            "install-fedora",
            &["etc/kdump/pre.d/vmcore-encrypt", "usr/lib/dracut/modules.d/99vmcore-encrypt/module-setup.sh"],
            &["usr/share/initramfs-tools", "usr/lib/vmcore-encrypt/suse-transfer"],
        ),
        (
            "install-suse",
            &[
                "usr/lib/vmcore-encrypt/suse-transfer",
                "usr/lib/dracut/modules.d/99vmcore-encrypt/module-setup.sh",
            ],
            &["usr/share/initramfs-tools", "etc/kdump"],
        ),
        (
            "install-debian",
            &[
                "usr/share/initramfs-tools/hooks/vmcore-encrypt",
                "usr/share/initramfs-tools/scripts/local-top/vmcore-encrypt",
                "usr/lib/vmcore-encrypt/debian-dump",
                "usr/lib/systemd/system/vmcore-encrypt-dump.service",
                "usr/lib/systemd/system/kdump-tools.service.d/vmcore-encrypt.conf",
                "usr/lib/systemd/system/kdump-tools-dump.service.d/vmcore-encrypt.conf",
            ],
            &["etc/kdump", "usr/lib/vmcore-encrypt/suse-transfer"],
        ),
    ];
    for (target, present, absent) in cases {
        let root = TempDir::new().unwrap();
        make_install(target, root.path(), &collector(root.path()));
        let common = ["usr/bin/vmcore-encrypt", "etc/vmcore-encrypt/config", "usr/lib/vmcore-encrypt/save"];
        for file in common.iter().chain(present) {
            assert!(root.path().join(file).exists(), "{target}: {file}");
        }
        for file in absent {
            assert!(!root.path().join(file).exists(), "{target}: {file}");
        }
    }
}

#[test]
fn the_debian_package_is_complete() {
    if !has("dpkg-deb") {
        return;
    }
    let out = TempDir::new().unwrap();
    make_package("deb", out.path());
    let package = find(out.path(), ".deb");
    let read = |field: &str| text(&Command::new("dpkg-deb").arg(field).arg(&package).output().unwrap());
    let (list, info) = (read("--contents"), read("--info"));
    for file in [
        "./usr/bin/vmcore-encrypt",
        "./usr/lib/vmcore-encrypt/vmcore-encrypt",
        "./usr/share/initramfs-tools/hooks/vmcore-encrypt",
        "./etc/vmcore-encrypt/config",
    ] {
        assert!(list.contains(file), "{list}");
    }
    assert!(list.lines().all(|line| line.contains(" root/root ")), "{list}");
    assert!(info.contains(&format!("Version: {}\n", env!("CARGO_PKG_VERSION"))), "{info}");
    assert!(!list.contains("/etc/vmcore-encrypt/recipients"), "recipients are the administrator's");
}

#[test]
fn the_rpm_package_is_complete() {
    if !has("rpmbuild") {
        return;
    }
    let out = TempDir::new().unwrap();
    make_package("rpm", out.path());
    let package = find(out.path(), ".rpm");
    let list = text(&Command::new("rpm").arg("-qlp").arg(&package).output().unwrap());
    for file in [
        "/usr/bin/vmcore-encrypt\n",
        "/usr/lib/vmcore-encrypt/vmcore-encrypt\n",
        "/etc/kdump/pre.d/vmcore-encrypt\n",
        "/usr/lib/vmcore-encrypt/suse-transfer\n",
    ] {
        assert!(list.contains(file), "{list}");
    }
    let config = text(&Command::new("rpm").arg("-qcp").arg(&package).output().unwrap());
    assert_eq!(config, "/etc/vmcore-encrypt/config\n");
}

fn find(directory: &Path, end: &str) -> PathBuf {
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                return path;
            }
        }
    }
    panic!("no {end} in {}", directory.display());
}
