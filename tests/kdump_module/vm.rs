//! The images that dracut and mkinitramfs build with our parts, as the capture kernel's own image in a guest
//! that crashes: the dump lands on a plain disk and opens with the identity, nobody is asked for a
//! passphrase, and no planted secret is on the disk or the console.

use crate::machine::Machine;
use crate::{has, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const TO_SECOND_DISK: &str =
    "TARGET=file\nDEVICE=/dev/vdb\nFSTYPE=ext4\nRESERVE=1\nON_SUCCESS=poweroff\nON_FAILURE=poweroff\n";

/// Secrets of the lab that are lines, planted in the kernel log and in slab memory.
const SECRET_LINES: [&str; 2] = ["klog", "slab"];

struct Lab {
    machine: Machine,
    kernel: PathBuf,
    work: TempDir,
}

impl Lab {
    /// A machine with the real collector, a fresh identity and the guest's kernel modules.
    fn new() -> Option<Lab> {
        let tools = ["kexec", "age-keygen", "debugfs"];
        if !tools.iter().all(|tool| has(tool)) {
            return None;
        }
        let work = TempDir::new().unwrap();
        let machine = Machine::new()?;
        machine.write("/etc/vmcore-encrypt/config", TO_SECOND_DISK);
        let identity = run(&mut Command::new("age-keygen"));
        fs::write(work.path().join("identity"), &identity).unwrap();
        let recipient = identity.split("public key: ").nth(1).unwrap().lines().next().unwrap();
        machine.write("/etc/vmcore-encrypt/recipients", recipient);
        let kernel = PathBuf::from(run(lab_script("kernel.sh").arg("bookworm")));
        let lab = Lab { machine, kernel, work };
        Some(lab.with_kernel_modules())
    }

    fn with_kernel_modules(mut self) -> Lab {
        let modules = format!("lib/modules/{}", self.release());
        let source = self.kernel.join(&modules);
        self.machine.binds.push(format!("{}:/{modules}", source.display()));
        self
    }

    fn release(&self) -> String {
        fs::read_to_string(self.kernel.join("release")).unwrap().trim().to_owned()
    }

    /// Builds `/out/image` and more; `$release` is the guest's kernel.
    fn build(&self, script: &str) {
        let built = self.machine.run(&format!("release={}\n{script}", self.release()));
        assert!(built.status.success(), "{}", crate::text(&built));
    }

    /// Crashes a guest whose capture kernel has the built image, an empty disk `/dev/vdb`, and these others.
    fn crash(&self, append: &str, disks: &[PathBuf]) {
        let dump_disk = self.work.path().join("dump.img");
        run(Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(&dump_disk).arg("128M"));
        let mut crash = lab_script("crash.sh");
        crash.arg("--work").arg(self.work.path()).arg("--image").arg(self.machine.path("/out/image"));
        crash.args(["--memory", "512", "--crashkernel", "192M", "--append", append]);
        for disk in std::iter::once(&dump_disk).chain(disks) {
            crash.arg("--disk").arg(disk);
        }
        let crashed = crash.output().unwrap();
        assert!(crashed.status.success(), "{}\n{}", crate::text(&crashed), self.console());
    }

    fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.work.path().join("console.log")).unwrap()).into_owned()
    }

    /// The directory of the dump, off the guest's disk.
    fn saved(&self) -> PathBuf {
        let disk = self.work.path().join("dump.img");
        let request = format!("rdump /crash {}", self.work.path().display());
        run(Command::new("debugfs").arg("-R").arg(request).arg(disk));
        let dated = fs::read_dir(self.work.path().join("crash")).unwrap().next();
        dated.unwrap_or_else(|| panic!("no dump:\n{}", self.console())).unwrap().path()
    }

    fn secret(&self, name: &str) -> String {
        let secret = fs::read_to_string(self.work.path().join("secrets").join(name)).unwrap();
        secret.trim().to_owned()
    }

    /// The log, opened by programs that are not ours.
    fn log(&self, saved: &Path) -> String {
        let mut open = Command::new("sh");
        open.args(["-euc", "age -d -i \"$1\" \"$2\" | zstd -dcq", "sh"]);
        run(open.arg(self.work.path().join("identity")).arg(saved.join("dmesg.age")))
    }

    /// Dump and log open and hold what the guest planted; the disk and the console hold none of it.
    fn assert_only_the_dump_knows(&self) {
        let saved = self.saved();
        let core = self.work.path().join("core");
        let identity = self.work.path().join("identity");
        run(Command::new(env!("CARGO_BIN_EXE_vmcore-decrypt")).args(["--format", "elf", "-i"]).args([
            &identity,
            &saved.join("vmcore.age"),
            &core,
        ]));
        let (core, disk) = (fs::read(core).unwrap(), fs::read(self.work.path().join("dump.img")).unwrap());
        for name in SECRET_LINES {
            let secret = self.secret(name);
            assert!(holds(&core, &secret), "{name} is not in the restored dump");
            assert!(!holds(&disk, &secret), "{name} is on the disk in plain");
            assert!(!self.console().contains(&secret), "{name} is on the console");
        }
        assert!(self.log(&saved).contains(&self.secret("klog")));
    }
}

fn lab_script(script: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm").join(script))
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    // Most bytes are not the needle's first: skipping them fast is what makes a debug build bearable.
    let (first, rest) = needle.as_bytes().split_first().unwrap();
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| byte == first) {
        from += at + 1;
        if bytes[from..].starts_with(rest) {
            return true;
        }
    }
    false
}

/// What vmcore-encrypt-mkinitrd builds on a machine like the guest, which this one is not: its drivers are
/// named, and what serves other hardware is left out.
const MKINITRD: &str = "vmcore-encrypt-mkinitrd /out/image $release --no-hostonly --gzip \
    --add-drivers 'virtio_pci virtio_blk' --omit 'kernel-modules kernel-modules-extra qemu dm lunmask lvm mdraid \
    multipath nvdimm virtiofs rootfs-block resume terminfo usrmount'";

#[test]
fn an_image_built_by_dracut_saves_the_crash() {
    if !has("dracut") {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    lab.build(MKINITRD);
    lab.crash("", &[]);
    lab.assert_only_the_dump_knows();
}

/// Debian's cryptsetup for the initramfs, put where a merged /usr has it.
const CRYPTSETUP: &str = "cryptsetup-initramfs cryptsetup cryptsetup-bin libcryptsetup12 libargon2-1 libjson-c5 \
    libdevmapper1.02.1 dmsetup libpopt0";

fn install_cryptsetup(lab: &Lab) {
    let unpacked = lab.work.path().join("cryptsetup");
    run(lab_script("packages.sh").args(["fetch", "bookworm"]).arg(&unpacked).args(CRYPTSETUP.split(' ')));
    for (from, to) in [("usr", "/usr"), ("etc", "/etc"), ("lib", "/usr/lib"), ("sbin", "/usr/sbin")] {
        let from = unpacked.join(from).join(".");
        run(Command::new("cp").arg("-a").arg(from).arg(lab.machine.path(to)));
    }
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
fn an_image_of_kdump_tools_saves_the_crash_before_root_is_unlocked() {
    if !has("mkinitramfs") {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    install_cryptsetup(&lab);
    lab.build(KDUMP_TOOLS_IMAGE);
    let list = fs::read_to_string(lab.machine.path("/out/list")).unwrap();
    assert!(list.contains("scripts/local-top/cryptroot") && list.contains("sbin/cryptsetup"), "{list}");
    let root = lab.machine.path("/out/root.img");
    lab.crash("root=/dev/mapper/root cryptopts=source=/dev/vdc,target=root panic=10", &[root]);
    lab.assert_only_the_dump_knows();
    assert!(!lab.console().contains("unlock"), "nobody is there to type: {}", lab.console());
}
