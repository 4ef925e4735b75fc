//! Whatever goes wrong in the capture kernel, no plaintext comes out of it, and the status says that it failed.

use crate::common::guest::{Crash, Disk, Guest};
use crate::common::{Absent, decrypt, keys, or_skip, run, scratch, text};
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// Bytes that the host takes before it cuts the connection.
const TAKEN: usize = 1 << 20;

const EVERY_FAILURE: &str = r#"
echo "LAB: entropy $(cat /proc/sys/kernel/random/entropy_avail)"
mount -t ext4 /dev/vdb /mnt
written() { stat -c %s /mnt/vmcore 2> /dev/null || echo 0; }
half_way() {
    vmcore-encrypt -d 1 /proc/vmcore /mnt/vmcore &
    while [ -d /proc/$! ] && [ "$(written)" -lt 4000000 ]; do usleep 20000; done
    kill -9 $!
    wait $!
}
try killed half_way
umount /mnt

mount -t ext4 /dev/vdc /mnt
try full vmcore-encrypt -d 1 /proc/vmcore /mnt/vmcore
umount /mnt

encrypt_to_stdout() { vmcore-encrypt -d 1 -F "$@" /proc/vmcore; }
try cut encrypt_to_stdout | nc 10.0.2.2 PORT

mount -t ext4 /dev/vdd /mnt
keys=/etc/vmcore-encrypt
for case in missing empty garbage identity; do
    try $case vmcore-encrypt -R $keys/$case /proc/vmcore /mnt/$case
    try piped-$case encrypt_to_stdout -R $keys/$case > /mnt/piped-$case
done
rm $keys/recipients
try default vmcore-encrypt /proc/vmcore /mnt/default
rm /bin/vmcore-encrypt
try binary vmcore-encrypt /proc/vmcore /mnt/binary
umount /mnt
"#;

#[test]
fn no_failure_leaks_plaintext() {
    let Some(failures) = or_skip(every_failure()) else { return };
    let Failures { crash, killed, full, keyless, identity } = &failures;
    crash.assert_no_plaintext();
    assert_waited_for_random_numbers(&crash.console);

    assert_eq!(crash.status("killed"), 128 + 9);
    assert_refused_as_truncated(killed, identity, &crash.work);

    assert_eq!(crash.status("full"), 1);
    assert!(crash.console.contains("No space left on device"), "{}", crash.console);
    assert_eq!(full.names_ext4(), [] as [&str; 0]);

    assert_eq!(crash.status("cut"), 1);

    for case in ["missing", "empty", "garbage", "identity", "default"] {
        assert!([1, 2].contains(&crash.status(case)), "{case}:\n{}", crash.console);
    }
    assert_eq!(crash.status("binary"), 127);
    // Only what the shell's own redirections made, and nothing in it.
    let names = keyless.names_ext4();
    assert!(names.iter().all(|name| name.starts_with("piped-")), "{names:?}");
    for name in names {
        let copy = crash.work.join(&name);
        keyless.take_ext4(&format!("/{name}"), &copy);
        assert_eq!(copy.metadata().unwrap().len(), 0, "{name}");
    }
}

struct Failures {
    crash: Crash,
    killed: Disk,
    full: Disk,
    keyless: Disk,
    identity: PathBuf,
}

fn every_failure() -> Result<Failures, Absent> {
    let guest = Guest::new("failures", "bookworm");
    let work = guest.work().to_owned();
    let keep = scratch("vm-failures-keys");
    let (identity, recipients) = keys(&keep);
    let (empty, garbage) = (keep.join("empty"), keep.join("garbage"));
    std::fs::write(&empty, "# nobody\n").unwrap();
    std::fs::write(&garbage, "age1nobody\n").unwrap();
    let killed = Disk::ext4(&work, "killed.img", 96);
    let full = Disk::ext4(&work, "full.img", 8);
    let keyless = Disk::ext4(&work, "keyless.img", 64);
    let (port, receiver) = receive_and_cut(work.join("stream"));

    // No generator in the processor, and none in the first kernel either that could pass a seed on.
    let guest = guest.cpu("max,-rdrand,-rdseed").append("random.trust_cpu=off");
    let mut guest = guest.net().disk(&killed).disk(&full).disk(&keyless);
    for (file, name) in
        [(&recipients, "recipients"), (&empty, "empty"), (&garbage, "garbage"), (&identity, "identity")]
    {
        guest = guest.file(file, &format!("etc/vmcore-encrypt/{name}"));
    }
    let crash = guest.crash(&EVERY_FAILURE.replace("PORT", &port.to_string()))?;
    receiver.join().unwrap();
    Ok(Failures { crash, killed, full, keyless, identity })
}

/// Takes one connection and drops it with bytes unread, as a network that fails does to both ends.
fn receive_and_cut(to: PathBuf) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let receiver = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut taken = Vec::new();
        stream.take(TAKEN as u64).read_to_end(&mut taken).unwrap();
        std::fs::write(to, taken).unwrap();
    });
    (port, receiver)
}

/// The first collector finds the kernel's generator without a seed, says so once, and goes on when the kernel has
/// made one from the jitter of its timer.
fn assert_waited_for_random_numbers(console: &str) {
    let entropy = console.lines().find_map(|line| line.strip_prefix("LAB: entropy ")).unwrap();
    assert!(entropy.trim().parse::<u32>().unwrap() < 256, "the generator was ready: {entropy} bits");
    let waits = "vmcore-encrypt: note: waiting for the kernel's random number generator, at most 60 s";
    assert_eq!(console.matches(waits).count(), 1, "{console}");
}

fn assert_refused_as_truncated(disk: &Disk, identity: &Path, work: &Path) {
    let (dump, restored) = (work.join("killed.age"), work.join("restored"));
    disk.take_ext4("/vmcore", &dump);
    assert!(dump.metadata().unwrap().len() >= 4_000_000);
    let output = run(decrypt().arg("-i").arg(identity).args([&dump, &restored]));
    let stderr = text(&output.stderr);
    assert!(!output.status.success() && stderr.contains("truncated"), "{stderr}");
    assert!(!restored.exists());
}
