//! The boot after a crash: a Debian whose init is systemd and on which `kdump-module/` is installed collects the dumps of
//! two swap partitions by itself, without a key, before either is swap again; the boot behind it finds nothing. One
//! partition is swap by its UUID in /etc/fstab, the other by /etc/crypttab, with a random key. A third, likewise with a
//! random key, holds what cannot be collected, and is left as it is.

use crate::common::guest::Disk;
use crate::common::{Absent, collector, lab, succeed, text, top};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use vmcore_encrypt::unstable::raw::{FrameHeader, show_id};

/// Disks of the system, in this order, by names that do not depend on what is on them.
const PARTITIONS: [&str; 3] =
    ["/dev/disk/by-id/virtio-disk1", "/dev/disk/by-id/virtio-disk2", "/dev/disk/by-id/virtio-disk3"];

const FSTAB: &str = "/dev/vda / ext4 rw 0 1
UUID=SWAP none swap sw 0 0
/dev/mapper/random none swap sw 0 0
";

const CRYPTTAB: &str = "random PARTITION2 /dev/urandom swap,cipher=aes-xts-plain64,size=256
kept PARTITION3 /dev/urandom swap,cipher=aes-xts-plain64,size=256
";

/// What docs/kdump.md has for partitions with a random key.
const DROP_IN: &str = "[Unit]\nRequires=COLLECTOR\n";

/// In place of the distribution's own.
const KDUMP: &str = "[Service]\nType=oneshot\nExecStart=/bin/true\n";

/// The system's only work: to tell how it booted.
const REPORT_UNIT: &str = "[Unit]
Wants=kdump-tools.service
After=kdump-tools.service
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
StandardOutput=tty
TTYPath=/dev/ttyS0
ExecStart=/bin/sh /etc/report
";

/// First a line of its own: a newer systemd resets the terminal in the middle of one.
const REPORT: &str = r#"
echo
show() {
    properties=ActiveState,Result,InactiveExitTimestampMonotonic,ExecMainExitTimestampMonotonic
    systemctl show -p $properties "$2" | sed "s/^/LAB: $1 /"
}
show collect1 'COLLECTOR1'
show collect2 'COLLECTOR2'
show collect3 'COLLECTOR3'
show fstab "$(systemd-escape -p --suffix=swap /dev/disk/by-uuid/SWAP)"
show random systemd-cryptsetup@random.service
show kept systemd-cryptsetup@kept.service
show kdump kdump-tools.service
sed 's/^/LAB: swaps /' /proc/swaps
SYSTEMD_COLORS=0 journalctl -b -o cat -u 'vmcore-encrypt-collect@*'
"#;

/// Units that say nothing about the order of the boot and take a tenth of it.
const MASKED: [&str; 5] = [
    "systemd-sysusers",
    "systemd-tmpfiles-setup",
    "systemd-update-utmp",
    "systemd-random-seed",
    "systemd-hwdb-update",
];

/// Lets the system collect the dumps that lie on `swap`, made by mkswap, and on `random`; gives the two files. `work` is
/// for the system's disks, `keep` for the files.
pub(crate) fn collect(work: &Path, keep: &Path, swap: &Disk, random: &Disk) -> Result<[PathBuf; 2], Absent> {
    let kept = Disk::raw(work, "kept.img", 16);
    // A frame without a header that this program knows.
    fs::write(&kept.image, [&FrameHeader::MAGIC[..], &vec![0; 8 << 20]].concat()).unwrap();
    let kept_before = fs::read(&kept.image).unwrap();
    let names = [swap, random].map(name_of_dump);
    let root = install(work, &saved_uuid(swap))?;

    let first = boot(work, &root, [swap, random, &kept])?;
    first.assert_in_use();
    // By its UUID swap is there only once it is restored.
    first.assert_order("collect1", "fstab");
    root.take_ext4_directory("var/crash", keep);
    let found: BTreeSet<String> = fs::read_dir(keep.join("crash"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, names.clone().into(), "{}", first.log);

    let second = boot(work, &root, [swap, random, &kept])?;
    second.assert_in_use();
    assert_eq!(second.log.matches("note: no dump is on").count(), 2, "{}", second.log);
    assert!(fs::read(&kept.image).unwrap() == kept_before, "what cannot be collected was overwritten");
    Ok(names.map(|name| keep.join("crash").join(name)))
}

/// The file that the dump on a disk becomes.
fn name_of_dump(disk: &Disk) -> String {
    let header = FrameHeader::read(fs::File::open(&disk.image).unwrap()).unwrap();
    format!("vmcore-{}.age", show_id(&header.id))
}

/// The UUID of the swap space that a dump on a disk stands for: at byte 1036 of mkswap's page, as of util-linux
/// `include/swapheader.h`.
fn saved_uuid(disk: &Disk) -> String {
    let saved = FrameHeader::read(fs::File::open(&disk.image).unwrap()).unwrap().saved;
    let hex: Vec<String> = saved[1036..1052].iter().map(|byte| format!("{byte:02x}")).collect();
    [0..4, 4..6, 6..8, 8..10, 10..16].map(|part| hex[part].concat()).join("-")
}

/// The name of the shipped unit for a partition, as the manual has it made.
fn unit(partition: &str) -> String {
    let escaped = succeed(Command::new("systemd-escape").args(["-p", partition]));
    format!("vmcore-encrypt-collect@{}.service", escaped.trim())
}

/// The tree of a Debian whose init is systemd, with `kdump-module/` installed and none of its units enabled.
pub(crate) fn unpacked(work: &Path) -> Result<PathBuf, Absent> {
    let tree = lab("root.sh", ["bookworm"])?;
    let root = work.join("root");
    succeed(Command::new("cp").arg("-a").arg(tree).arg(&root));
    let mut make = Command::new("make");
    make.args(["-s", "-C"]).arg(top().join("kdump-module")).arg("install-debian");
    succeed(make.arg(format!("DESTDIR={}", root.display())).arg(format!("BIN={}", collector().display())));
    let system = root.join("etc/systemd/system");
    fs::create_dir_all(&system).unwrap();
    for name in MASKED {
        std::os::unix::fs::symlink("/dev/null", system.join(format!("{name}.service"))).unwrap();
    }
    fs::write(root.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    Ok(root)
}

/// The root file system.
fn install(work: &Path, uuid: &str) -> Result<Disk, Absent> {
    let root = unpacked(work)?;
    let units = PARTITIONS.map(unit);
    let fill = |text: &str| {
        let mut text = text.replace("SWAP", uuid);
        for (number, (partition, unit)) in (1..).zip(PARTITIONS.iter().zip(&units)) {
            text = text.replace(&format!("PARTITION{number}"), partition);
            text = text.replace(&format!("COLLECTOR{number}"), unit);
        }
        text
    };
    let files = [
        ("etc/fstab", FSTAB),
        ("etc/crypttab", CRYPTTAB),
        ("etc/report", REPORT),
        ("etc/systemd/system/kdump-tools.service", KDUMP),
        ("etc/systemd/system/report.service", REPORT_UNIT),
        (
            "etc/systemd/system/systemd-cryptsetup@kept.service.d/collect.conf",
            &DROP_IN.replace("COLLECTOR", &units[2]),
        ),
    ];
    for (name, content) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, fill(content)).unwrap();
    }
    succeed(Command::new("systemctl").arg("--root").arg(&root).arg("enable").args(&units));
    let disk = Disk::filled(work, "root.img", 256, &root);
    fs::remove_dir_all(root).unwrap();
    Ok(disk)
}

/// One boot, from what the system said.
struct Boot {
    log: String,
}

fn boot(work: &Path, root: &Disk, disks: [&Disk; 3]) -> Result<Boot, Absent> {
    let mut args: Vec<&std::ffi::OsStr> =
        vec!["--work".as_ref(), work.as_ref(), "--root".as_ref(), root.image.as_ref()];
    args.extend(["--append", "systemd.unit=report.service"].map(std::ffi::OsStr::new));
    disks.iter().for_each(|disk| args.extend(["--disk".as_ref(), disk.image.as_os_str()]));
    lab("boot.sh", args)?;
    Ok(Boot { log: text(&fs::read(work.join("boot.log")).unwrap()) })
}

impl Boot {
    /// A property of one of the units that [`REPORT`] shows.
    fn get(&self, unit: &str, property: &str) -> &str {
        let start = format!("LAB: {unit} {property}=");
        let line = self.log.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {property} of {unit}:\n{}", self.log)).trim()
    }

    fn time(&self, unit: &str, property: &str) -> u64 {
        self.get(unit, &format!("{property}TimestampMonotonic")).parse().unwrap()
    }

    /// The two partitions are swap in the end, each looked at first; the third is not used.
    fn assert_in_use(&self) {
        for (collector, user) in [("collect1", "fstab"), ("collect2", "random")] {
            assert_eq!(self.get(collector, "Result"), "success", "{collector}:\n{}", self.log);
            assert_eq!(self.get(user, "ActiveState"), "active", "{user}:\n{}", self.log);
            self.assert_order(collector, "kdump");
        }
        self.assert_order("collect2", "random");
        let swaps = self.log.lines().filter(|line| line.starts_with("LAB: swaps /dev/")).count();
        assert_eq!(swaps, 2, "{}", self.log);
        assert_eq!(self.get("collect3", "Result"), "exit-code", "{}", self.log);
        assert_eq!(self.get("kept", "ActiveState"), "inactive", "{}", self.log);
    }

    /// The collector of a partition ends before another unit starts.
    fn assert_order(&self, collector: &str, then: &str) {
        let [end, start] = [self.time(collector, "ExecMainExit"), self.time(then, "InactiveExit")];
        assert!(0 < end && end <= start, "{collector} {end}, {then} {start}:\n{}", self.log);
    }
}
