//! Block devices as the capture kernel has them: a swap partition that takes dumps and is swap again once they are
//! collected, devices in use that are left alone, a LUKS2 volume opened with its volume key. And what memory
//! the collector takes on a larger machine.

use crate::common::guest::{Crash, Disk, Guest};
use crate::common::{Absent, decrypt, keys, or_skip, scratch, succeed};
use std::path::{Path, PathBuf};

/// What the collector may take at its peak, whatever the size of RAM.
pub(crate) const PEAK: u64 = 32 << 20;
/// Where the volume key is in the guest.
const VOLUME_KEY: &str = "lab/volume.key";

/// vdb is a plain file system, vdc swap, vdd the LUKS2 volume. What is written to that is read after it was
/// closed and opened again.
const JOB: &str = r#"
mkdir /luks
mount -t ext4 /dev/vdb /mnt
try mounted vmcore-encrypt -d 31 --output-device /dev/vdb /proc/vmcore
swapon /dev/vdc
try swapping vmcore-encrypt -d 31 --output-device /dev/vdc /proc/vmcore
swapoff /dev/vdc

try first vmcore-encrypt -D -d 17 --output-device /dev/vdc /proc/vmcore
try second vmcore-encrypt -D -d 31 --output-device /dev/vdc /proc/vmcore
try swap-hidden swapon /dev/vdc
try collected vmcore-encrypt collect --device /dev/vdc --dest /mnt/collected
try collected-again vmcore-encrypt collect --device /dev/vdc --dest /mnt/again
try swap-again swapon /dev/vdc
swapoff /dev/vdc

open() { modprobe dm_crypt && cryptsetup open --type luks2 --volume-key-file /VOLUME_KEY /dev/vdd crash; }
try open open
mkfs.ext4 -q /dev/mapper/crash
try filled mount -t ext4 /dev/mapper/crash /luks
try luks vmcore-encrypt -d 31 /proc/vmcore /luks/vmcore.age
umount /luks
cryptsetup close crash
open
mount -t ext4 /dev/mapper/crash /luks
cp /luks/vmcore.age /mnt/luks.age
umount /luks
umount /mnt
"#;

struct Devices {
    crash: Crash,
    plain: Disk,
    swap: Disk,
    swap_before: Vec<u8>,
    luks: Disk,
    keep: PathBuf,
}

#[test]
fn block_devices_are_written_with_care() {
    let Some(devices) = or_skip(crash_with_devices()) else { return };
    let Devices { crash, plain, swap, swap_before, luks, keep } = &devices;
    for step in ["first", "second", "collected", "collected-again", "swap-again", "open", "filled", "luks"] {
        assert_eq!(crash.status(step), 0, "{step}:\n{}", crash.console);
    }
    for step in ["mounted", "swapping", "swap-hidden"] {
        assert_eq!(crash.status(step), 1, "{step}:\n{}", crash.console);
    }
    assert_eq!(crash.console.matches("Device or resource busy").count(), 2, "{}", crash.console);
    crash.assert_no_plaintext();

    let swap_after = std::fs::read(&swap.image).unwrap();
    assert!(swap_after[..4096] == swap_before[..4096], "the swap signature is another");
    plain.take_ext4_directory("collected", keep);
    let mut collected = std::fs::read_dir(keep.join("collected")).unwrap();
    assert_dump(crash, keep, &collected.next().unwrap().unwrap().path());
    assert!(collected.next().is_none(), "the second dump, and only that");
    assert_eq!(plain.names_ext4(), ["collected", "luks.age"]);

    // The same encrypted dump, and on the volume encrypted once more.
    let dump = keep.join("luks.age");
    plain.take_ext4("/luks.age", &dump);
    assert_dump(crash, keep, &dump);
    let start = &std::fs::read(&dump).unwrap()[..64];
    assert!(!std::fs::read(&luks.image).unwrap().chunks_exact(512).any(|sector| sector.starts_with(start)));

    let peaks = crash.peaks();
    assert!(peaks.len() == 2 && peaks.iter().all(|&peak| peak > 0 && peak <= PEAK), "{peaks:?} bytes");
    std::fs::remove_dir_all(keep).unwrap();
}

fn crash_with_devices() -> Result<Devices, Absent> {
    let guest = Guest::new("devices", "bookworm");
    let work = guest.work().to_owned();
    let keep = scratch("vm-devices-received");
    let (_, recipients) = keys(&keep);
    let volume_key = keep.join("volume.key");
    std::fs::write(&volume_key, [7; 64]).unwrap();
    let plain = Disk::ext4(&work, "plain.img", 160);
    let swap = Disk::swap(&work, "swap.img", 128);
    let luks = Disk::luks2(&work, "luks.img", 96, &volume_key);
    let swap_before = std::fs::read(&swap.image).unwrap();

    let guest = guest.memory("2048", "192M").disk(&plain).disk(&swap).disk(&luks);
    let guest = guest.file(&recipients, "etc/vmcore-encrypt/recipients").file(&volume_key, VOLUME_KEY);
    let crash = guest
        .program("/usr/sbin/cryptsetup")
        .program("/usr/sbin/mkfs.ext4")
        .crash(&JOB.replace("VOLUME_KEY", VOLUME_KEY))?;
    Ok(Devices { crash, plain, swap, swap_before, luks, keep })
}

fn assert_dump(crash: &Crash, keep: &Path, dump: &Path) {
    let core = keep.join("core");
    let identity = keep.join("identity");
    succeed(decrypt().args(["--format", "elf", "-f", "-i"]).args([&identity, &dump.to_owned(), &core]));
    let found = crash.secrets.find(&core);
    assert!(found.contains("klog") && found.contains("slab"), "{}: {found:?}", dump.display());
}
