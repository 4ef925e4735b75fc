//! `vmcore-encrypt check` on machines whose images were built by the real mkinitramfs and dracut: what is in them is
//! listed, and each thing that would lose the dump or give it away is found before the crash.

use crate::images::KDUMPBASE;
use crate::machine::{Machine, RECIPIENT};
use crate::{has, module_dir, text};
use std::fs;

const OWN_TARGET: &str = "TARGET=file\nDEVICE=/dev/vda1\nFSTYPE=ext4\n";
const OTHER_RECIPIENT: &str = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv";

/// Puts the image where kdump-tools has that of the running kernel. `/hook` changes it as it is built.
const MKINITRAMFS: &str = r#"build() {
    echo CONFIG_RD_GZIP=y > /boot/config-0.0.0
    mkdir -p /lib/modules/0.0.0 /var/lib/kdump/initramfs-tools/hooks
    cp -r /etc/initramfs-tools/. /var/lib/kdump/initramfs-tools/
    printf '#!/bin/sh\n[ "$1" != prereqs ] || { echo vmcore-encrypt; exit 0; }\n%s\n' "$1" \
        > /var/lib/kdump/initramfs-tools/hooks/zzz-change
    chmod 755 /var/lib/kdump/initramfs-tools/hooks/zzz-change
    mkinitramfs -c gzip -d "${2-/var/lib/kdump/initramfs-tools}" -o /var/lib/kdump/initrd.img-$(uname -r) 0.0.0
}
"#;

/// Puts the image where kdump-utils has that of the running kernel.
const DRACUT: &str = r#"build() {
    IN_KDUMP=1 dracut --force --quiet --no-kernel --no-compress "$@" /boot/initramfs-$(uname -r)kdump.img 0.0.0
}
"#;

/// The step that writes `/out/NAME` for [`findings`].
fn check(name: &str) -> String {
    format!("vmcore-encrypt check --json > /out/{name} || :\n")
}

/// What `check` found of the collector, the image and its trial: verdict, then the sentence.
fn findings(machine: &Machine, name: &str) -> Vec<String> {
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(machine.path(&format!("/out/{name}"))).unwrap()).unwrap();
    let of_image = ["collector", "image", "trial"].map(serde_json::Value::from);
    let findings = json["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| of_image.contains(&finding["check"]))
        .map(|finding| {
            format!("{}: {}", finding["verdict"].as_str().unwrap(), finding["text"].as_str().unwrap())
        })
        .collect()
}

fn assert_found(machine: &Machine, name: &str, expected: &str) {
    let found = findings(machine, name);
    assert!(found.iter().any(|line| line.contains(expected)), "{name}: no {expected:?} in {found:#?}");
}

fn assert_no_problem(machine: &Machine, name: &str) {
    let found = findings(machine, name);
    assert!(!found.iter().any(|line| line.starts_with("problem")), "{name}: {found:#?}");
}

fn run(machine: &Machine, script: &str) {
    let ran = machine.run(script);
    assert!(ran.status.success(), "{}", text(&ran));
}

#[test]
fn images_of_kdump_tools_are_looked_into() {
    if !has("mkinitramfs") {
        return;
    }
    let Some(machine) = Machine::new() else { return };
    machine.write("/etc/vmcore-encrypt/config", OWN_TARGET);
    let defaults = fs::read_to_string(module_dir().join("debian/kdump-tools")).unwrap();
    machine.write("/etc/default/kdump-tools", &defaults);
    let steps = [
        MKINITRAMFS.to_owned(),
        "build ''\n".to_owned() + &check("good"),
        format!("echo {OTHER_RECIPIENT} > /etc/vmcore-encrypt/recipients\n") + &check("stale"),
        "echo AGE-SECRET-KEY-1QQ > /etc/vmcore-encrypt/recipients\n".to_owned() + &check("private"),
        "rm /etc/vmcore-encrypt/recipients\n".to_owned() + &check("missing"),
        format!("echo {RECIPIENT} > /etc/vmcore-encrypt/recipients\n"),
        "build 'echo AGE-SECRET-KEY-1QQ > \"$DESTDIR/etc/forgotten\"'\n".to_owned() + &check("key"),
        "build 'echo typo > \"$DESTDIR/etc/vmcore-encrypt/recipients\"'\n".to_owned() + &check("invalid"),
        "build 'printf \"#!/bin/sh\\nexit 3\\n\" > \"$DESTDIR/usr/bin/vmcore-encrypt\"'\n".to_owned()
            + &check("broken"),
        "build '' /etc/initramfs-tools\n".to_owned() + &check("ordinary"),
    ];
    run(&machine, &steps.concat());
    assert_no_problem(&machine, "good");
    assert_found(
        &machine,
        "good",
        "ok: it holds usr/bin/vmcore-encrypt, etc/vmcore-encrypt/recipients, etc/vmcore-encrypt/config, \
         usr/lib/vmcore-encrypt/save, usr/lib/vmcore-encrypt/functions.sh",
    );
    assert_found(&machine, "good", "ok: what it holds of ours is as installed");
    assert_found(&machine, "good", "ok: the collector as installed encrypts a vmcore");
    assert_found(&machine, "stale", "is older than /etc/vmcore-encrypt/recipients");
    assert_found(&machine, "stale", "problem: the recipients in it are others, fingerprint ");
    for name in ["private", "missing"] {
        let json = fs::read_to_string(machine.path(&format!("/out/{name}"))).unwrap();
        assert!(json.contains("\"fingerprint\":null") && json.contains("\"ok\":false"), "{json}");
    }
    assert_found(&machine, "key", "problem: a private key is in it: etc/forgotten");
    assert_found(&machine, "invalid", "problem: the recipients in it: line 1 is not a recipient");
    assert_found(&machine, "broken", "problem: usr/bin/vmcore-encrypt in it is not the installed one");
    assert_found(&machine, "broken", "ok: the collector as installed encrypts a vmcore");
    assert_found(
        &machine,
        "ordinary",
        "problem: it lacks usr/bin/vmcore-encrypt, etc/vmcore-encrypt/recipients",
    );
}

#[test]
fn images_of_dracut_are_looked_into() {
    if !has("dracut") {
        return;
    }
    let Some(machine) = Machine::new() else { return };
    machine.script("/usr/lib/dracut/modules.d/99kdumpbase/module-setup.sh", KDUMPBASE);
    machine.write("/etc/vmcore-encrypt/config", "TARGET=kdump\n");
    machine.write("/etc/kdump.conf", "path /\ncore_collector vmcore-encrypt -d 31\nfailure_action reboot\n");
    // Without our module the image can hold our files, and kdump-utils' own program for the log all the same.
    let ours = "/etc/vmcore-encrypt/recipients /etc/vmcore-encrypt/config /usr/bin/vmcore-encrypt";
    let compressed = ["gzip", "xz", "zstd", "lz4 -l", "bzip2", "lzma"];
    let compressed = compressed.map(|tool| {
        let name = tool.split(' ').next().unwrap();
        format!(
            "build --modules 'base kdumpbase vmcore-encrypt'\nimage=/boot/initramfs-$(uname -r)kdump.img\n\
             {tool} -c < $image > /tmp/packed && cat /tmp/packed > $image\n"
        ) + &check(name)
    });
    // A directory in a file system, with what must be found in it, as dracut's squash modules arrange an image.
    let squashed = ["squashfs", "erofs"].map(|kind| {
        let make = match kind {
            "squashfs" => "mksquashfs /tree $root -no-xattrs -noappend -always-use-fragments -no-progress -comp zstd",
            _ => "mkfs.erofs -C 65536 -E fragments -x -1 -T 0 -z lz4 $root /tree",
        };
        format!(
            "if command -v mksquashfs && command -v mkfs.erofs; then\n\
             build --modules 'base kdumpbase vmcore-encrypt'\nimage=/boot/initramfs-$(uname -r)kdump.img\n\
             rm -rf /tree /outer; mkdir /tree /outer; (cd /tree && cpio -id < $image); echo AGE-SECRET-KEY-1QQ > /tree/root/forgotten\n\
             root=/outer/{kind}-root.img; {make}\n\
             (cd /outer && find . | cpio -o -H newc) > $image\n{}fi > /dev/null 2>&1\n",
            check(kind)
        )
    });
    let steps = [
        DRACUT.to_owned(),
        "build --modules 'base kdumpbase vmcore-encrypt'\n".to_owned() + &check("good"),
        compressed.concat(),
        squashed.concat(),
        format!("build --modules 'base kdumpbase' --install '{ours}'\n") + &check("plain-log"),
        "sed -i 's/reboot/shell/' /etc/kdump.conf\n".to_owned() + &check("shell"),
        "sed -i 's/vmcore-encrypt/makedumpfile/' /etc/kdump.conf\n".to_owned() + &check("plain"),
    ];
    run(&machine, &steps.concat());
    assert_no_problem(&machine, "good");
    assert_found(&machine, "good", "ok: it holds usr/bin/vmcore-encrypt, etc/vmcore-encrypt/recipients");
    assert_found(&machine, "good", "ok: what it holds of ours is as installed");
    assert_found(&machine, "good", "ok: the collector as installed encrypts a vmcore");
    for name in ["gzip", "xz", "zstd", "lz4", "bzip2", "lzma"] {
        assert_no_problem(&machine, name);
        assert_found(&machine, name, "ok: what it holds of ours is as installed");
    }
    for name in ["squashfs", "erofs"] {
        if has("mksquashfs") && has("mkfs.erofs") {
            assert_found(
                &machine,
                name,
                "ok: it holds usr/bin/vmcore-encrypt, etc/vmcore-encrypt/recipients",
            );
            assert_found(&machine, name, "problem: a private key is in it: root/forgotten");
        }
    }
    assert_found(&machine, "plain-log", "vmcore-dmesg in it saves the kernel log in plain");
    assert_found(&machine, "shell", "is shell: it opens beside /proc/vmcore");
    assert_found(&machine, "plain", "the dump would be in plain");
}
