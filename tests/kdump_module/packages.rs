//! `make install` and the packages: what lands where, for which distribution.

use crate::common::scratch;
use crate::machine::make_install;
use crate::{has, module_dir, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// A stand-in for the built collector.
fn collector(directory: &Path) -> PathBuf {
    let path = directory.join("collector");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    path
}

fn make_package(target: &str, out: &Path) {
    let program = collector(out);
    let made = Command::new("make")
        .args(["--silent", "-C"])
        .arg(module_dir())
        .arg(target)
        .arg(format!("BIN={}", program.display()))
        .arg(format!("DECRYPT={}", program.display()))
        .arg(format!("OUT={}", out.display()))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
}

/// The Debian package, made once; `None` where dpkg-deb is absent.
fn debian_package() -> Option<&'static Path> {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let out = scratch("debian-package");
        make_package("deb", &out);
        find(&out, ".deb")
    };
    has("dpkg-deb").then(|| MADE.get_or_init(make).as_path())
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
    let Some(package) = debian_package() else { return };
    let read = |field: &str| text(&Command::new("dpkg-deb").arg(field).arg(package).output().unwrap());
    let (list, info) = (read("--contents"), read("--info"));
    for file in [
        "./usr/bin/vmcore-encrypt",
        "./usr/lib/vmcore-encrypt/vmcore-encrypt",
        "./usr/share/initramfs-tools/hooks/vmcore-encrypt",
        "./etc/vmcore-encrypt/config",
        "./usr/lib/systemd/system/vmcore-encrypt-load.service",
        "./usr/lib/udev/rules.d/98-vmcore-encrypt.rules",
        "./usr/share/vmcore-encrypt/examples/kdump-tools",
        "./usr/share/man/man1/vmcore-encrypt-check.1.gz",
        "./usr/share/man/man8/vmcore-encrypt-load.8.gz",
        "./usr/share/man/man8/vmcore-encrypt-mkinitrd.8.gz",
        "./usr/share/man/man8/vmcore-encrypt-presign.8.gz",
        "./usr/share/man/man8/vmcore-encrypt-rearm.8.gz",
        "./usr/sbin/vmcore-encrypt-presign",
        "./usr/share/doc/vmcore-encrypt/changelog.gz",
        "./usr/share/doc/vmcore-encrypt/copyright",
    ] {
        assert!(list.contains(file), "{list}");
    }
    assert!(list.lines().all(|line| line.contains(" root/root ")), "{list}");
    assert!(info.contains(&format!("Version: {}\n", env!("CARGO_PKG_VERSION"))), "{info}");
    assert!(!list.contains("/etc/vmcore-encrypt/recipients"), "recipients are the administrator's");
}

/// The bytes of a package depend on what is in it, not on when or where it was made.
#[test]
fn two_builds_of_a_package_have_the_same_bytes() {
    let Some(first) = debian_package() else { return };
    let out = TempDir::new().unwrap();
    make_package("deb", out.path());
    let [first, second] = [first, &find(out.path(), ".deb")].map(|package| fs::read(package).unwrap());
    assert!(!first.is_empty() && first == second);
}

#[test]
fn lintian_finds_no_error() {
    let Some(package) = debian_package().filter(|_| has("lintian")) else { return };
    let checked = Command::new("lintian").args(["--fail-on", "error"]).arg(package).output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked));
}

/// The presets name every unit that can be enabled, and both packages act on the same ones.
#[test]
fn the_lists_of_units_agree() {
    let read = |path: &str| fs::read_to_string(module_dir().join(path)).unwrap();
    let preset = read("systemd/90-vmcore-encrypt.preset");
    let listed = |verb| preset.lines().filter_map(|line| line.strip_prefix(verb)).collect::<Vec<_>>();
    let (on, choices) = (listed("enable "), listed("disable "));
    let mut all = [on.clone(), choices.clone()].concat();
    for entry in fs::read_dir(module_dir().join("systemd")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            continue;
        }
        let name = entry.file_name().into_string().unwrap();
        // A template is enabled for a device.
        let is_exempt = name.contains('@') || !read(&format!("systemd/{name}")).contains("[Install]");
        assert!(is_exempt || all.contains(&&*name), "no preset for {name}");
    }
    let spec = read("rpm/vmcore-encrypt.spec");
    for (list, units) in [("units", &on), ("choices", &choices)] {
        assert!(spec.contains(&format!("%global {list} {}\n", units.join(" "))), "{list} of the spec");
    }
    let postinst = read("debian/package/postinst");
    assert!(postinst.contains(&format!("for unit in {}; do\n", on.join(" "))), "{postinst}");
    let postrm = read("debian/package/postrm");
    let (_, purged) = postrm.split_once("deb-systemd-helper purge").unwrap();
    let mut purged: Vec<&str> =
        purged.split('>').next().unwrap().split_whitespace().filter(|word| *word != "\\").collect();
    purged.sort_unstable();
    all.sort_unstable();
    assert_eq!(purged, all);
}

/// Image builders and chroots install packages where systemd does not run.
#[test]
fn units_are_turned_on_where_systemd_does_not_run() {
    let Some(package) = debian_package().filter(|_| has("deb-systemd-helper")) else { return };
    let out = TempDir::new().unwrap();
    let root = out.path().join("root");
    let unpacked = Command::new("dpkg-deb").arg("-R").arg(package).arg(&root).output().unwrap();
    assert!(unpacked.status.success(), "{}", text(&unpacked));
    let run = |script: &str, action: &str| {
        let ran = Command::new(root.join("DEBIAN").join(script))
            .arg(action)
            .env("DPKG_ROOT", &root)
            .env("DPKG_MAINTSCRIPT_PACKAGE", "vmcore-encrypt")
            .output()
            .unwrap();
        assert!(ran.status.success(), "{script} {action}: {}", text(&ran));
    };
    let wanted = |unit: &str, target: &str| {
        let link = root.join("etc/systemd/system").join(format!("{target}.wants")).join(unit);
        link.symlink_metadata().is_ok()
    };
    run("postinst", "configure");
    let on = [
        ("vmcore-encrypt-check.service", "multi-user.target"),
        ("vmcore-encrypt-check.timer", "timers.target"),
        ("vmcore-encrypt-rearm.path", "multi-user.target"),
    ];
    for (unit, target) in on {
        assert!(wanted(unit, target), "{unit}");
    }
    for (unit, target) in
        [("kmsg", "multi-user.target"), ("load", "multi-user.target"), ("pstore", "sysinit.target")]
    {
        assert!(!wanted(&format!("vmcore-encrypt-{unit}.service"), target), "{unit} is a choice");
    }
    // What an administrator has turned off stays off.
    fs::remove_file(root.join("etc/systemd/system/multi-user.target.wants/vmcore-encrypt-rearm.path"))
        .unwrap();
    run("postinst", "configure");
    assert!(!wanted("vmcore-encrypt-rearm.path", "multi-user.target"));
    run("prerm", "remove");
    run("postrm", "remove");
    run("postrm", "purge");
    for (unit, target) in on {
        assert!(!wanted(unit, target), "{unit}");
    }
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
        "/usr/share/vmcore-encrypt/examples/sysconfig.kdump\n",
        "/usr/share/man/man8/vmcore-encrypt-load.8",
        "/usr/lib/udev/rules.d/98-vmcore-encrypt.rules\n",
    ] {
        assert!(list.contains(file), "{list}");
    }
    lint_rpm(&package);
    let scripts = text(&Command::new("rpm").args(["-qp", "--scripts"]).arg(&package).output().unwrap());
    let preset = scripts.contains("systemctl --no-reload preset vmcore-encrypt-check.service")
        || scripts.contains("systemd-update-helper install-system-units vmcore-encrypt-check.service");
    assert!(preset, "units are turned on where systemd does not run: {scripts}");
    let config = text(&Command::new("rpm").arg("-qcp").arg(&package).output().unwrap());
    assert_eq!(config, "/etc/vmcore-encrypt/config\n");
}

#[test]
fn the_analysts_rpm_package_is_complete() {
    if !has("rpmbuild") {
        return;
    }
    let out = TempDir::new().unwrap();
    make_package("rpm-analyst", out.path());
    let package = find(out.path(), ".rpm");
    let query =
        |what: &[&str]| text(&Command::new("rpm").arg("-qp").args(what).arg(&package).output().unwrap());
    let list = query(&["--list"]);
    for file in [
        "/usr/bin/vmcore-decrypt\n",
        "/usr/share/man/man1/vmcore-decrypt.1.gz\n",
        "/usr/share/man/man1/vmcore-decrypt-restore.1.gz\n",
        "/usr/share/bash-completion/completions/vmcore-decrypt\n",
        "/usr/share/zsh/site-functions/_vmcore-decrypt\n",
        "/usr/share/fish/vendor_completions.d/vmcore-decrypt.fish\n",
        "/usr/share/doc/vmcore-decrypt/analyst.md\n",
    ] {
        assert!(list.contains(file), "{file} {list}");
    }
    assert!(!list.contains("vmcore-encrypt"), "{list}");
    // Nothing runs on an analyst's machine when the package comes or goes.
    assert_eq!(query(&["--scripts"]), "");
    // The stand-in is a script: what a program needs is found by rpm.
    assert!(query(&["--requires"]).contains("/bin/sh"));
    lint_rpm(&package);
}

fn lint_rpm(package: &Path) {
    if !has("rpmlint") {
        return;
    }
    let filters = module_dir().join("rpm/rpmlintrc");
    let mut rpmlint = Command::new("rpmlint");
    rpmlint.arg("--ignore-unused-rpmlintrc").arg("-r").arg(filters).arg(package);
    let checked = text(&rpmlint.output().unwrap());
    // The stand-in for the program is a script.
    let is_error = |line: &str| line.contains(" E: ") && !line.ends_with(" E: no-binary");
    assert!(checked.contains(" checked; ") && !checked.lines().any(is_error), "{checked}");
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
