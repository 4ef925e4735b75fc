//! Where a dump may go, and that an analyst can work with what arrives there.

use crate::common::guest::{Crash, Disk, Guest};
use crate::common::{Absent, decrypt, judge, keys, or_skip, scratch, succeed, vmlinux};
use crate::nextboot;
use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use vmcore_encrypt::unstable::raw::FrameReader;

/// Every target of one capture, after the other: a capture kernel can be asked more than once.
const EVERY_TARGET: &str = r#"
mount -t ext4 /dev/vdb /mnt
try ext4 vmcore-encrypt -d 31 /proc/vmcore /mnt/vmcore-incomplete
try dmesg vmcore-encrypt dmesg /proc/vmcore /mnt/dmesg.age
umount /mnt

mount -t vfat /dev/vdc /mnt
try vfat vmcore-encrypt -d 1 --non-mmap /proc/vmcore /mnt/vmcore.age
umount /mnt

try dd vmcore-encrypt -d 31 --framed /proc/vmcore | dd of=/dev/vdd bs=512
try device vmcore-encrypt -d 31 --output-device /dev/vde /proc/vmcore
try socket vmcore-encrypt -d 31 /proc/vmcore | nc 10.0.2.2 PORT
"#;

/// One dump that arrived.
struct Arrived {
    identity: PathBuf,
    dump: PathBuf,
}

impl Arrived {
    fn restore(&self) -> PathBuf {
        let restored = self.dump.with_extension("restored");
        succeed(decrypt().arg("-i").arg(&self.identity).args([&self.dump, &restored]));
        restored
    }
}

#[test]
fn a_dump_arrives_at_every_target() {
    let Some((crash, arrived)) = or_skip(every_target()) else { return };
    for target in ["ext4", "dmesg", "vfat", "dd", "device", "socket"] {
        assert_eq!(crash.status(target), 0, "{target}:\n{}", crash.console);
    }
    crash.assert_no_plaintext();

    let Some(vmlinux) = or_skip(vmlinux("bookworm")) else { return };
    let [ext4, vfat, dd, device, socket] = arrived.each_ref().map(Arrived::restore);
    for dump in [&ext4, &dd, &device, &socket] {
        assert_planted(dump, &vmlinux, &crash, &["klog", "slab"]);
    }
    assert_planted(&vfat, &vmlinux, &crash, &["klog", "slab", "anon", "clean", "dirty", "tmpfs"]);
    judge::assert_crash_shows(&ext4, &vmlinux);
}

fn every_target() -> Result<(Crash, [Arrived; 5]), Absent> {
    let guest = Guest::new("targets", "bookworm");
    let work = guest.work().to_owned();
    let keep = scratch("vm-targets-received");
    let (identity, recipients) = keys(&keep);
    let ext4 = Disk::ext4(&work, "ext4.img", 64);
    let vfat = Disk::vfat(&work, "vfat.img", 128);
    let dd = Disk::raw(&work, "dd.img", 64);
    let device = Disk::swap(&work, "device.img", 64);
    let (port, receiver) = receive(work.join("stream"));

    let guest = guest.net().file(&recipients, "etc/vmcore-encrypt/recipients");
    let guest = guest.disk(&ext4).disk(&vfat).disk(&dd).disk(&device);
    let crash = guest.crash(&EVERY_TARGET.replace("PORT", &port.to_string()))?;
    receiver.join().unwrap();

    let dumps = ["ext4", "vfat", "dd", "device", "socket"].map(|name| keep.join(name).with_extension("age"));
    ext4.take_ext4("/vmcore-incomplete", &dumps[0]);
    vfat.take_vfat("vmcore.age", &dumps[1]);
    // A framed dump is read off the partition as it is, or collected from there at the next boot.
    std::fs::copy(&dd.image, &dumps[2]).unwrap();
    let collected = nextboot::collect(&work, &keep, &device, &dd)?;
    std::fs::rename(&collected[0], &dumps[3]).unwrap();
    let mut in_frame = Vec::new();
    FrameReader::new(File::open(&dumps[2]).unwrap()).unwrap().read_to_end(&mut in_frame).unwrap();
    assert!(in_frame == std::fs::read(&collected[1]).unwrap());
    std::fs::copy(work.join("stream"), &dumps[4]).unwrap();
    ext4.take_ext4("/dmesg.age", &keep.join("dmesg.age"));
    assert_log(&keep.join("dmesg.age"), &identity, &crash);
    Ok((crash, dumps.map(|dump| Arrived { identity: identity.clone(), dump })))
}

/// The encrypted log opens with stock tools and holds what the kernel was told to log.
fn assert_log(log: &Path, identity: &Path, crash: &Crash) {
    let opened = log.with_extension("zst");
    succeed(Command::new("age").args(["-d", "-o"]).arg(&opened).arg("-i").arg(identity).arg(log));
    let text = succeed(Command::new("zstd").args(["-q", "-d", "-c"]).arg(&opened));
    let planted = std::fs::read_to_string(crash.secrets_dir().join("klog")).unwrap();
    assert!(text.contains(planted.trim()), "{text}");
}

/// Takes one connection and keeps what comes.
fn receive(to: PathBuf) -> (u16, JoinHandle<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::copy(&mut stream, &mut File::create(to).unwrap()).unwrap()
    });
    (port, receiver)
}

/// drgn sees what the guest did and exactly these secrets.
fn assert_planted(dump: &Path, vmlinux: &Path, crash: &Crash, expected: &[&str]) {
    let Some(seen) = judge::assert_drgn_shows(dump, vmlinux, &crash.secrets_dir()) else { return };
    let found: Vec<&str> = seen.lines().filter_map(|line| line.strip_suffix(": found")).collect();
    assert_eq!(found, expected, "{}:\n{seen}", dump.display());
}

/// The same on the kernels to come: one capture each, to a file.
#[test]
fn the_collector_runs_in_newer_kernels() {
    for suite in ["trixie", "sid"] {
        let guest = Guest::new(suite, suite);
        let keep = scratch(&format!("vm-{suite}-received"));
        let (identity, recipients) = keys(&keep);
        let disk = Disk::ext4(guest.work(), "ext4.img", 64);
        let guest = guest.file(&recipients, "etc/vmcore-encrypt/recipients").disk(&disk);
        let job =
            "mount -t ext4 /dev/vdb /mnt; try ext4 vmcore-encrypt /proc/vmcore /mnt/vmcore; umount /mnt";
        let Some(crash) = or_skip(guest.crash(job)) else { return };
        assert_eq!(crash.status("ext4"), 0, "{suite}:\n{}", crash.console);
        crash.assert_no_plaintext();
        let arrived = Arrived { identity, dump: keep.join("vmcore.age") };
        disk.take_ext4("/vmcore", &arrived.dump);
        let Some(vmlinux) = or_skip(vmlinux(suite)) else { return };
        assert_planted(&arrived.restore(), &vmlinux, &crash, &["klog", "slab"]);
    }
}
