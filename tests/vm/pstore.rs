//! What the firmware keeps of a crash: with `crash_kexec_post_notifiers` the kernel's log is in ramoops or in EFI variables
//! before the capture kernel starts. The next boot is a Debian whose init is systemd; it first shows that the record is there
//! in plain, then `vmcore-encrypt-pstore.service` takes it over.

use crate::common::guest::{Disk, Guest, Kept};
use crate::common::leak::Secrets;
use crate::common::{Absent, decrypt, keys, lab, names, or_skip, scratch, succeed, text};
use crate::nextboot;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// One MiB at 256 MiB that no kernel uses as memory.
const RESERVED: &str = "memmap=1M$0x10000000";
const RAMOOPS: &str = "ramoops mem_address=0x10000000 mem_size=0x100000 record_size=0x20000";

/// Reports before and after the two units that take records over. The line to look for is on a disk of its own: in a file it
/// would be in plain on the disk that is searched.
const REPORT: &str = r#"
secret=$(head -n 1 /dev/disk/by-id/virtio-disk1)
when=$1
echo
ls /sys/fs/pstore | sed "s/^/LAB: $when store /"
ls /sys/firmware/efi/efivars 2> /dev/null | sed -n "s/^dump-type/LAB: $when variable &/p"
for file in /sys/fs/pstore/* /var/lib/systemd/pstore/* /var/lib/systemd/pstore/*/*; do
    [ -f "$file" ] || continue
    case $(tr -d '\0' < "$file" 2> /dev/null) in
        *"$secret"*) echo "LAB: $when holds $file" ;;
    esac
done
for unit in vmcore-encrypt-pstore systemd-pstore; do
    systemctl show -p ActiveState,Result "$unit.service" | sed "s/^/LAB: $when $unit /"
    SYSTEMD_COLORS=0 journalctl -b -o cat -u "$unit.service"
done
"#;

const BEFORE: &str = "[Unit]
DefaultDependencies=no
After=systemd-modules-load.service modprobe@efi_pstore.service systemd-remount-fs.service systemd-udev-settle.service
Wants=systemd-udev-settle.service
Before=vmcore-encrypt-pstore.service systemd-pstore.service
[Service]
Type=oneshot
StandardOutput=tty
TTYPath=/dev/ttyS0
ExecStart=/bin/sh /etc/report before
";

const AFTER: &str = "[Unit]
Wants=before.service
After=before.service vmcore-encrypt-pstore.service systemd-pstore.service sysinit.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
StandardOutput=tty
TTYPath=/dev/ttyS0
ExecStart=/bin/sh /etc/report after
";

/// A machine that has crashed, with what its firmware kept of that.
struct Machine {
    /// The firmware and the line that was planted; both hold it in plain.
    kept: Kept,
    secret: Disk,
    module: &'static str,
    /// Of a directory that is searched for it.
    work: PathBuf,
    recipients: PathBuf,
    identity: PathBuf,
    secrets: Secrets,
}

impl Machine {
    /// Crashes a guest whose log the firmware keeps by a module with these parameters.
    fn crashed(name: &str, module: &'static str, kept: fn(PathBuf) -> Kept) -> Result<Machine, Absent> {
        let (own, work) = (scratch(&format!("vm-{name}-firmware")), scratch(&format!("vm-{name}-next")));
        let kept = kept(own.join("kept"));
        let running = own.join("running");
        fs::create_dir(&running).unwrap();
        fs::write(running.join("job"), format!("modprobe {module}\n")).unwrap();
        let guest = Guest::new(name, "bookworm").memory("512", "112M").keeping(&kept).running(&running);
        let crash = guest.first(&format!("{RESERVED} crash_kexec_post_notifiers")).crash("true")?;
        let secret = Disk::raw(&own, "secret", 1);
        let mut line = fs::read(crash.secrets_dir().join("klog")).unwrap();
        line.resize(1 << 20, 0);
        fs::write(&secret.image, line).unwrap();
        let (identity, recipients) = keys(&own);
        let secrets = Secrets::load(&crash.secrets_dir());
        Ok(Machine { kept, secret, module, work, recipients, identity, secrets })
    }

    /// Its root file system, with these units enabled.
    fn install(&self, units: &[&str]) -> Result<Disk, Absent> {
        let root = nextboot::unpacked(&self.work)?;
        // The command of the packages; the collector of images has no part for pstore.
        let command = root.join("usr/bin/vmcore-encrypt");
        succeed(Command::new("strip").arg("-o").arg(command).arg(env!("CARGO_BIN_EXE_vmcore-encrypt")));
        let (module, parameters) = self.module.split_once(' ').unwrap();
        let files = [
            ("etc/report", REPORT),
            ("etc/fstab", "/dev/vda / ext4 rw 0 1\n"),
            ("etc/systemd/system/before.service", BEFORE),
            ("etc/systemd/system/after.service", AFTER),
            ("etc/modules-load.d/pstore.conf", module),
            ("etc/modprobe.d/pstore.conf", &format!("options {module} {parameters}\n")),
            ("etc/vmcore-encrypt/recipients", &fs::read_to_string(&self.recipients).unwrap()),
        ];
        for (name, content) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        succeed(Command::new("systemctl").arg("--root").arg(&root).arg("enable").args(units));
        let disk = Disk::filled(&self.work, "root.img", 256, &root);
        fs::remove_dir_all(root).unwrap();
        Ok(disk)
    }

    /// Boots it; what it reported.
    fn boot(&self, root: &Disk) -> Result<String, Absent> {
        let [option, kept] = self.kept.option();
        let append = format!("systemd.unit=after.service {RESERVED}");
        let [work, root, secret] =
            [&self.work, &root.image, &self.secret.image].map(|path| path.to_str().unwrap());
        lab(
            "boot.sh",
            ["--work", work, "--root", root, "--disk", secret, "--append", &append, option, kept],
        )?;
        Ok(text(&fs::read(self.work.join("boot.log")).unwrap()))
    }

    /// The record is in the store, in plain, until the unit takes it over; then nothing planted is on the disk in plain or
    /// can be read back from the firmware, and the analyst has it.
    fn assert_taken_over(&self, boots: u32) -> Result<(), Absent> {
        let root = self.install(&["vmcore-encrypt-pstore.service", "systemd-pstore.service"])?;
        let log = self.boot(&root)?;
        assert!(!lines(&log, "before holds /sys/fs/pstore/").is_empty(), "no record is there:\n{log}");
        assert_eq!(lines(&log, "after holds "), Vec::<&str>::new(), "{log}");
        assert_eq!(lines(&log, "after store "), Vec::<&str>::new(), "{log}");
        assert_eq!(lines(&log, "after variable "), Vec::<&str>::new(), "{log}");
        assert_eq!(lines(&log, "after vmcore-encrypt-pstore Result="), ["success"], "{log}");
        for _ in 1..boots {
            let log = self.boot(&root)?;
            assert_eq!(
                lines(&log, "before "),
                [
                    "vmcore-encrypt-pstore Result=success",
                    "vmcore-encrypt-pstore ActiveState=inactive",
                    "systemd-pstore Result=success",
                    "systemd-pstore ActiveState=inactive",
                ]
            );
        }
        let crash = self.work.join("crash");
        root.take_ext4_directory("var/crash", &self.work);
        let [name] = names(&crash).try_into().unwrap_or_else(|names| panic!("{names:?}\n{log}"));
        let seen = succeed(decrypt().args(["dmesg", "-i"]).arg(&self.identity).arg(crash.join(&name)));
        let line = fs::read_to_string(&self.secret.image).unwrap();
        let line = line.trim_end_matches('\0').trim_end();
        assert!(seen.contains(line) && seen.contains("sysrq triggered crash"), "{seen}");
        self.secrets.assert_nowhere_in(&self.work);
        Ok(())
    }
}

/// What the report has in lines that start so.
fn lines<'a>(log: &'a str, start: &str) -> Vec<&'a str> {
    let start = format!("LAB: {start}");
    log.lines().filter_map(|line| line.trim_end().strip_prefix(start.as_str())).collect()
}

#[test]
fn a_log_in_ramoops_is_taken_over_at_the_next_boot() {
    let Some(machine) = or_skip(Machine::crashed("ramoops", RAMOOPS, Kept::Memory)) else { return };
    or_skip(machine.assert_taken_over(1));
}

/// Without our unit systemd-pstore copies the record in plain, and the search finds it: what the other tests rely on.
#[test]
#[ignore = "make matrix"]
fn matrix_pstore_is_copied_in_plain_where_our_unit_is_off() {
    let Some(machine) = or_skip(Machine::crashed("ramoops-plain", RAMOOPS, Kept::Memory)) else { return };
    let Some(root) = or_skip(machine.install(&["systemd-pstore.service"])) else { return };
    let Some(log) = or_skip(machine.boot(&root)) else { return };
    assert!(!lines(&log, "after holds /var/lib/systemd/pstore/").is_empty(), "{log}");
    assert!(machine.secrets.find(&root.image).contains("klog"));
}

/// EFI variables, in the flash of Debian's OVMF.
#[test]
#[ignore = "make matrix"]
fn matrix_pstore_in_efi_variables_is_taken_over_at_the_next_boot() {
    let module = "efi_pstore pstore_disable=0";
    let Some(machine) = or_skip(Machine::crashed("efi", module, Kept::Variables)) else { return };
    or_skip(machine.assert_taken_over(2));
}
