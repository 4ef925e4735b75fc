//! The images that dracut and mkinitramfs build with our parts, as the capture kernel's own image in a guest
//! that crashes: the dump lands on a plain disk and opens with the identity, nobody is asked for a
//! passphrase, and no planted secret is on the disk or the console.

use crate::common::guest::{Crash, Disk, Guest};
use crate::common::{Absent, decrypt, encrypt, keys, lab, or_skip, scratch, succeed};
use crate::has;
use crate::machine::Machine;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A machine like the guest: its kernel's modules, a fresh identity, and the second disk as target.
pub(crate) struct Lab {
    pub(crate) machine: Machine,
    release: String,
    /// What must not be searched for plaintext: the identity and what it opens.
    pub(crate) keep: PathBuf,
    pub(crate) identity: PathBuf,
}

impl Lab {
    pub(crate) fn new(name: &str, target: &str) -> Option<Lab> {
        let kernel = PathBuf::from(or_skip(lab("kernel.sh", ["bookworm"]))?);
        let release = fs::read_to_string(kernel.join("release")).unwrap().trim().to_owned();
        let keep = scratch(&format!("vm-{name}-received"));
        let (identity, recipients) = keys(&keep);
        let mut machine = Machine::new()?;
        let config =
            format!("{target}\nDEVICE=/dev/vdb\nRESERVE=1\nON_SUCCESS=poweroff\nON_FAILURE=poweroff\n");
        machine.write("/etc/vmcore-encrypt/config", &config);
        machine.write("/etc/vmcore-encrypt/recipients", &fs::read_to_string(recipients).unwrap());
        let modules = format!("lib/modules/{release}");
        machine.binds.push(format!("{}:/{modules}", kernel.join(&modules).display()));
        Some(Lab { machine, release, keep, identity })
    }

    /// Builds `/out/image` and more; `$release` is the guest's kernel.
    pub(crate) fn build(&self, script: &str) -> PathBuf {
        let built = self.machine.run(&format!("release={}\n{script}", self.release));
        assert!(built.status.success(), "{}", crate::text(&built));
        self.machine.path("/out/image")
    }

    /// The dump opens and holds what the guest planted; the disks and the console hold none of it.
    pub(crate) fn assert_only_the_dump_knows(&self, crash: &Crash, dump: &Path) {
        crash.assert_no_plaintext();
        let core = self.keep.join("core");
        succeed(decrypt().args(["--format", "elf", "-i"]).args([&self.identity, &dump.to_owned(), &core]));
        let found = crash.secrets.find(&core);
        assert!(found.contains("klog") && found.contains("slab"), "{found:?}");
        // Level 31. What is left of "anon" is what its pipe holds, and that is the kernel's.
        let excluded = BTreeSet::from(["clean", "dirty", "tmpfs"].map(str::to_owned));
        assert!(found.is_disjoint(&excluded), "{found:?}");
    }

    /// The directory of the one dump that was taken off a disk, below `crash`.
    fn saved(&self, crash: &Crash) -> PathBuf {
        let mut dated = fs::read_dir(self.keep.join("crash")).unwrap();
        dated.next().unwrap_or_else(|| panic!("no dump:\n{}", crash.console)).unwrap().path()
    }

    /// The log beside the dump, opened by programs that are not ours.
    fn assert_the_log_opens(&self, crash: &Crash, log: &Path) {
        let plain = self.keep.join("log");
        let mut open = Command::new("sh");
        open.args(["-euc", "age -d -i \"$1\" \"$2\" | zstd -dcq > \"$3\"", "sh"]);
        succeed(open.args([&self.identity, log, &plain]));
        assert!(crash.secrets.find(&plain).contains("klog"));
    }
}

impl Drop for Lab {
    /// What a test that passed leaves would fill the disk.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.keep);
        }
    }
}

/// A guest with what distributions reserve.
fn guest(name: &str) -> Guest {
    Guest::new(name, "bookworm").memory("512", "192M")
}

/// What vmcore-encrypt-mkinitrd builds on a machine like the guest, which this one is not: its drivers are
/// named, and what serves other hardware is left out.
pub(crate) const MKINITRD: &str = "vmcore-encrypt-mkinitrd /out/image $release --no-hostonly --gzip \
    --add-drivers 'virtio_pci virtio_blk' --omit 'kernel-modules kernel-modules-extra qemu dm lunmask lvm mdraid \
    multipath nvdimm virtiofs rootfs-block terminfo usrmount'";

#[test]
fn a_dracut_image_saves_to_a_fat_partition() {
    let Some(lab) = has("dracut").then(|| Lab::new("dracut-fat", "TARGET=file\nFSTYPE=vfat")).flatten()
    else {
        return;
    };
    let image = lab.build(MKINITRD);
    let guest = guest("dracut-fat");
    let disk = Disk::vfat(guest.work(), "esp.img", 128);
    let Some(crash) = or_skip(guest.disk(&disk).crash_into(&image, "")) else { return };
    disk.take_vfat_directory("crash", &lab.keep);
    let saved = lab.saved(&crash);
    lab.assert_only_the_dump_knows(&crash, &saved.join("vmcore.age"));
    lab.assert_the_log_opens(&crash, &saved.join("dmesg.age"));
}

#[test]
fn a_dracut_image_saves_to_a_raw_partition() {
    let Some(lab) = has("dracut").then(|| Lab::new("dracut-raw", "TARGET=raw")).flatten() else { return };
    let image = lab.build(MKINITRD);
    let guest = guest("dracut-raw");
    let disk = Disk::raw(guest.work(), "raw.img", 128);
    let Some(crash) = or_skip(guest.disk(&disk).crash_into(&image, "")) else { return };
    let collected = lab.keep.join("collected");
    succeed(encrypt().arg("collect").arg("--device").arg(&disk.image).arg("--dest").arg(&collected));
    let dump = fs::read_dir(collected).unwrap().next().unwrap().unwrap().path();
    lab.assert_only_the_dump_knows(&crash, &dump);
}

/// Debian's cryptsetup for the initramfs.
const CRYPTSETUP: [&str; 9] = [
    "cryptsetup-initramfs",
    "cryptsetup",
    "cryptsetup-bin",
    "libcryptsetup12",
    "libargon2-1",
    "libjson-c5",
    "libdevmapper1.02.1",
    "dmsetup",
    "libpopt0",
];

/// Puts it where a merged /usr has it.
fn install_cryptsetup(machine: &Machine, scratch: &Path) -> Result<(), Absent> {
    let tree = scratch.join("cryptsetup");
    let fetch = ["fetch", "bookworm", tree.to_str().unwrap()];
    lab("packages.sh", fetch.into_iter().chain(CRYPTSETUP))?;
    for (from, to) in [("usr", "/usr"), ("etc", "/etc"), ("lib", "/usr/lib"), ("sbin", "/usr/sbin")] {
        succeed(Command::new("cp").arg("-a").arg(tree.join(from).join(".")).arg(machine.path(to)));
    }
    Ok(())
}

/// As kdump-tools builds its image, with the guest's drivers named; and a root file system that only a
/// passphrase would open.
const KDUMP_TOOLS_IMAGE: &str = "ldconfig
truncate -s 32M /out/root.img
echo passphrase | cryptsetup luksFormat -q --type luks2 --pbkdf argon2id --pbkdf-memory 65536 /out/root.img -
mkdir -p /var/lib/kdump
cp -r /etc/initramfs-tools /var/lib/kdump/
echo MODULES=list > /var/lib/kdump/initramfs-tools/conf.d/zzz-kdump
printf 'virtio_pci\\nvirtio_blk\\n' > /var/lib/kdump/initramfs-tools/modules
sed -i 's/^#*CRYPTSETUP=.*/CRYPTSETUP=y/' /etc/cryptsetup-initramfs/conf-hook
echo CONFIG_RD_GZIP=y > /boot/config-$release
mkinitramfs -c gzip -d /var/lib/kdump/initramfs-tools -o /out/image $release
lsinitramfs /out/image > /out/list";

#[test]
fn a_kdump_tools_image_saves_before_root_is_unlocked() {
    let Some(lab) = has("mkinitramfs").then(|| Lab::new("kdump-tools", "TARGET=file")).flatten() else {
        return;
    };
    let Some(()) = or_skip(install_cryptsetup(&lab.machine, &lab.keep)) else { return };
    let image = lab.build(KDUMP_TOOLS_IMAGE);
    let list = fs::read_to_string(lab.machine.path("/out/list")).unwrap();
    assert!(list.contains("scripts/local-top/cryptroot") && list.contains("sbin/cryptsetup"), "{list}");

    let guest = guest("kdump-tools");
    let disk = Disk::ext4(guest.work(), "boot-partition.img", 128);
    let root = Disk { image: lab.machine.path("/out/root.img") };
    let append = "root=/dev/mapper/root cryptopts=source=/dev/vdc,target=root panic=10";
    let Some(crash) = or_skip(guest.disk(&disk).disk(&root).crash_into(&image, append)) else { return };
    disk.take_ext4_directory("crash", &lab.keep);
    let saved = lab.saved(&crash);
    lab.assert_only_the_dump_knows(&crash, &saved.join("vmcore.age"));
    lab.assert_the_log_opens(&crash, &saved.join("dmesg.age"));
    assert!(!crash.console.contains("unlock"), "nobody is there to type:\n{}", crash.console);
}
