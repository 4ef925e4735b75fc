//! What keys need of a machine, on one guest: the log of the running kernel leaves it encrypted over the serial
//! console and through a burst that overruns the kernel's buffer; then the collector in its capture kernel obeys the
//! pin on the command line.

use crate::common::guest::{Crash, Disk, Guest};
use crate::common::{Absent, collector, decrypt, encrypt, keys, or_skip, run, scratch, succeed, text};
use std::path::{Path, PathBuf};

/// The running machine. The console carries the log among ordinary lines; the follower that is held up while
/// others write has a file on the first disk.
const RUNNING: &str = r#"
log() { echo "<7>$*" > /dev/kmsg; }
follow() { exec /mnt/running/vmcore-encrypt kmsg --follow -R /mnt/running/recipients; }
# Until a file has not grown for a second.
settled() {
    size=none
    until [ -s "$1" ] && [ "$size" = "$(stat -c %s "$1")" ]; do
        size=$(stat -c %s "$1")
        sleep 1
    done
}

log "on the console: $(cat /mnt/secrets/klog)"
mkfifo /tmp/lines
tee /tmp/seen < /tmp/lines > /dev/ttyS0 &
follow > /tmp/lines &
follower=$!
settled /tmp/seen
echo "an ordinary line of the console"
log "while it is followed: $(cat /mnt/secrets/klog)"
settled /tmp/seen
echo "LAB: follower $(grep VmLck /proc/$follower/status)"
kill $follower
wait

mkdir /tmp/disk
mount -t ext4 /dev/vdb /tmp/disk
follow > /tmp/disk/overrun &
follower=$!
settled /tmp/disk/overrun
kill -STOP $follower
# Twice what the kernel's buffer of 128 KiB holds.
filler=$(head -c 600 /dev/zero | tr '\0' x)
for i in $(seq 400); do log "burst $i $filler"; done
log "behind the burst: $(cat /mnt/secrets/klog)"
kill -CONT $follower
settled /tmp/disk/overrun
kill $follower
wait
umount /tmp/disk
"#;

const CAPTURE: &str = r#"
mount -t ext4 /dev/vdb /mnt
try pinned vmcore-encrypt -d 31 /proc/vmcore /mnt/pinned
other=/etc/vmcore-encrypt/other
try swapped vmcore-encrypt -R $other /proc/vmcore /mnt/swapped
try swapped-pipe vmcore-encrypt -F -R $other /proc/vmcore > /mnt/piped
try swapped-log vmcore-encrypt dmesg -R $other /proc/vmcore /mnt/swapped-log
umount /mnt
"#;

#[test]
fn logs_and_pins_in_a_guest() {
    let Some(Machine { crash, disk, identity }) = or_skip(machine()) else { return };
    crash.assert_no_plaintext();
    let secret = std::fs::read_to_string(crash.secrets_dir().join("klog")).unwrap();
    let received = scratch("vm-keys-received");

    let console = received.join("console");
    std::fs::copy(crash.work.join("console.log"), &console).unwrap();
    let (log, remarks) = read_log(&console, &identity);
    assert!(log.contains("Linux version 6.1"), "{log}");
    for message in ["on the console: ", "while it is followed: "] {
        assert!(log.contains(&format!("{message}{secret}")), "{message}\n{log}");
    }
    let locked = crash.console.split("LAB: follower VmLck:").nth(1).unwrap();
    let locked: u64 = locked.split_whitespace().next().unwrap().parse().unwrap();
    assert!(locked > 1000, "{locked} kB of the follower's memory are locked");
    assert!(!log.contains("-- missing") && !remarks.contains("missing"), "{remarks}");
    assert!(crash.console.contains("an ordinary line of the console"), "{}", crash.console);

    let overrun = received.join("overrun");
    disk.take_ext4("/overrun", &overrun);
    let (log, remarks) = read_log(&overrun, &identity);
    assert!(log.contains("\n-- overwritten before it was read: messages "), "{log}");
    assert!(remarks.contains("messages overwritten in the kernel before they were read: "), "{remarks}");
    assert!(!log.contains("] burst 1 x") && log.contains("] burst 400 x"), "{log}");
    assert!(log.contains(&format!("behind the burst: {secret}")), "{log}");

    assert_pinned(&crash, &disk, &identity, &received);
}

struct Machine {
    crash: Crash,
    disk: Disk,
    identity: PathBuf,
}

fn machine() -> Result<Machine, Absent> {
    let guest = Guest::new("keys", "bookworm");
    let keep = scratch("vm-keys-keys");
    let (identity, recipients) = keys(&keep);
    let others = scratch("vm-keys-others");
    let (_, other) = keys(&others);
    let running = keep.join("running");
    std::fs::create_dir(&running).unwrap();
    std::fs::write(running.join("job"), RUNNING).unwrap();
    std::fs::copy(&recipients, running.join("recipients")).unwrap();
    std::fs::copy(collector(), running.join("vmcore-encrypt")).unwrap();
    let disk = Disk::ext4(guest.work(), "disk.img", 64);
    let pin = succeed(encrypt().args(["fingerprint", "-R"]).arg(&recipients));
    let crash = guest
        .running(&running)
        .append(&format!("vmcore_encrypt.recipients={}", pin.trim()))
        .file(&recipients, "etc/vmcore-encrypt/recipients")
        .file(&other, "etc/vmcore-encrypt/other")
        .disk(&disk)
        .crash(CAPTURE)?;
    Ok(Machine { crash, disk, identity })
}

/// What an encrypted log holds, and what is said of it.
fn read_log(log: &Path, identity: &Path) -> (String, String) {
    let output = run(decrypt().arg("kmsg").arg("-i").arg(identity).arg(log));
    let remarks = text(&output.stderr);
    assert!(output.status.success(), "{}: {remarks}", log.display());
    (text(&output.stdout), remarks)
}

/// The pinned recipients get a dump; others not a byte.
fn assert_pinned(crash: &Crash, disk: &Disk, identity: &Path, received: &Path) {
    assert_eq!(crash.status("pinned"), 0, "{}", crash.console);
    for case in ["swapped", "swapped-pipe", "swapped-log"] {
        assert_eq!(crash.status(case), 1, "{case}:\n{}", crash.console);
    }
    let refusals = crash.console.matches("is not pinned on the kernel command line").count();
    assert_eq!(refusals, 3, "{}", crash.console);
    let mut names = disk.names_ext4();
    names.sort();
    assert_eq!(names, ["overrun", "pinned", "piped"]);
    let [piped, dump] = ["piped", "pinned"].map(|name| received.join(name));
    disk.take_ext4("/piped", &piped);
    assert_eq!(piped.metadata().unwrap().len(), 0);
    disk.take_ext4("/pinned", &dump);
    succeed(decrypt().args(["verify", "-i"]).arg(identity).arg(&dump));
}
