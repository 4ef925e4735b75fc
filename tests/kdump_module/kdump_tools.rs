//! Our parts among Debian's own kdump-tools, fetched from the archive: its kernel hook builds the image with ours in
//! it, and the capture kernel's command line, as `kdump-config` makes it, starts our unit.

use crate::common::{Absent, lab, or_skip, scratch, succeed};
use crate::machine::Machine;
use crate::{has, module_dir, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release after the one the image builders come from: its scripts are those of Ubuntu 25.10, too.
fn kdump_tools() -> Result<PathBuf, Absent> {
    let tree = scratch("kdump-tools");
    lab("packages.sh", ["fetch", "trixie", tree.to_str().unwrap(), "kdump-tools"])?;
    Ok(tree)
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    succeed(Command::new("cp").arg("-a").arg(from.join(".")).arg(to));
}

#[test]
fn kdump_tools_builds_the_image_and_starts_our_unit() {
    if !has("mkinitramfs") {
        return;
    }
    let Some(source) = or_skip(kdump_tools()) else { return };
    let Some(machine) = Machine::new() else { return };
    copy_tree(&source.join("etc"), &machine.path("/etc"));
    copy_tree(&source.join("usr"), &machine.path("/usr"));
    machine.script("/usr/bin/ischroot", "#!/bin/sh\nexit 1\n");
    machine.script("/usr/bin/linux-version", "#!/bin/sh\necho 0.0.0\n");
    machine.write("/etc/initramfs-tools/conf.d/modules", "MODULES=list\n");
    machine.write("/etc/vmcore-encrypt/config", "TARGET=raw\nDEVICE=/dev/vda9\n");
    let defaults = fs::read_to_string(source.join("usr/share/kdump-tools/kdump-tools.conf")).unwrap();
    let ours = fs::read_to_string(module_dir().join("debian/kdump-tools")).unwrap();
    machine.write("/etc/default/kdump-tools", &(defaults + &ours));
    // All there is of initramfs-tools is its core, as where dracut is the generator of the system's own images.
    let built = machine.run(
        "rm -f /usr/sbin/update-initramfs; echo CONFIG_RD_GZIP=y > /boot/config-0.0.0; mkdir -p /lib/modules/0.0.0
        /etc/kernel/postinst.d/kdump-tools 0.0.0
        lsinitramfs /var/lib/kdump/initrd.img-0.0.0 > /out/list
        : > /boot/vmlinuz-$(uname -r); touch /var/lib/kdump/vmlinuz /var/lib/kdump/initrd.img
        kdump-config test > /out/test 2>&1 || :",
    );
    assert!(built.status.success(), "{}", text(&built));
    let list = fs::read_to_string(machine.path("/out/list")).unwrap();
    assert!(list.contains("usr/bin/vmcore-encrypt\n") && list.contains("vmcore-encrypt/save\n"), "{list}");
    let test = fs::read_to_string(machine.path("/out/test")).unwrap();
    assert!(test.contains("systemd.unit=vmcore-encrypt-dump.service"), "{test}");
    fs::remove_dir_all(source).unwrap();
}
