//! A machine with keys crashes: all of them are in the dump as it was collected, and none is in the one that is handed over.

use crate::common::guest::Disk;
use crate::common::{Absent, decrypt, encrypt, keys, lab, or_skip, scratch, succeed, text, top};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the machine does before it crashes. The volume key goes through the kernel's keyring into dm-crypt and from there into
/// two AES keys.
const JOB: &str = "
cp -r /mnt/running/root/. /
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
ip link set lo up
for module in /mnt/running/*.ko; do insmod $module; done
modprobe dm_crypt
cryptsetup open --type luks2 --volume-key-file /mnt/running/volume /dev/vdb crash
dd if=/dev/zero of=/dev/mapper/crash bs=4k count=4
/mnt/running/hold-keys > /tmp/held 2>&1 &
until grep -qE 'held|:' /tmp/held; do sleep 1; done
cat /tmp/held
";

/// Bytes of each secret by name, and what of the guest's command line nobody else has.
const SECRETS: [(&str, usize); 6] =
    [("user", 48), ("logon", 48), ("volume", 64), ("tls", 16), ("vector", 32), ("tty", 48)];
const COMMAND_LINE: &[u8] = b"printk.devkmsg=on lab.how=none";
/// Bytes of a piece of a secret.
const PIECE: usize = 16;

struct Machine {
    dir: PathBuf,
    vmcore: PathBuf,
    secrets: BTreeMap<&'static str, Vec<u8>>,
}

fn machine(suite: &str) -> Result<Machine, Absent> {
    let dir = scratch(&format!("vm-redact-{suite}"));
    let running = dir.join("running");
    fs::create_dir(&running).unwrap();
    fs::write(running.join("job"), JOB).unwrap();
    let mut secrets = BTreeMap::new();
    for (name, len) in SECRETS {
        let mut bytes = vec![0; len];
        fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
        if name == "tty" {
            bytes.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
        }
        fs::write(running.join(name), &bytes).unwrap();
        secrets.insert(name, bytes);
    }
    let holder = top().join("tests/vm/guest/hold-keys.c");
    succeed(Command::new("cc").args(["-static", "-O1", "-o"]).arg(running.join("hold-keys")).arg(holder));
    let install = ". \"$0\"; install_program /usr/sbin/cryptsetup \"$1\"";
    let library = top().join("tests/vm/lib.sh");
    succeed(Command::new("bash").args(["-c", install]).arg(library).arg(running.join("root")));
    let kernel = lab("kernel.sh", [suite])?;
    for (nth, module) in lab("initramfs.sh", ["--modules", &kernel, "tls"])?.lines().enumerate() {
        fs::copy(module, running.join(format!("{nth}.ko"))).unwrap();
    }
    let disk = Disk::luks2(&dir, "luks.img", 32, &running.join("volume"));
    let vmcore = dir.join("vmcore");
    let pairs = [
        ("--work", &dir.join("work")),
        ("--running", &running),
        ("--dump", &vmcore),
        ("--disk", &disk.image),
    ];
    let mut args: Vec<&std::ffi::OsStr> = vec!["--suite".as_ref(), suite.as_ref()];
    args.extend(pairs.iter().flat_map(|(option, path)| [option.as_ref(), path.as_os_str()]));
    lab("crash.sh", args)?;
    let console = text(&fs::read(dir.join("work/console.log")).unwrap());
    assert!(console.contains("LAB: keys are held"), "{console}");
    Ok(Machine { dir, vmcore, secrets })
}

/// The names of the secrets of which a piece is in a file.
fn found(file: &Path, secrets: &BTreeMap<&'static str, Vec<u8>>) -> Vec<&'static str> {
    let bytes = fs::read(file).unwrap();
    let mut pieces: BTreeMap<&[u8], &str> = BTreeMap::new();
    for (name, secret) in secrets {
        pieces.extend(secret.as_chunks::<PIECE>().0.iter().map(|piece| (piece.as_slice(), *name)));
    }
    let starts: Vec<bool> = (0..=255).map(|byte| pieces.keys().any(|piece| piece[0] == byte)).collect();
    let here = |at: usize| pieces.get(bytes.get(at..at + PIECE)?).copied();
    let mut names: Vec<&str> =
        (0..bytes.len()).filter(|&at| starts[usize::from(bytes[at])]).filter_map(here).collect();
    if bytes.windows(COMMAND_LINE.len()).any(|window| window == COMMAND_LINE) {
        names.push("command line");
    }
    names.sort_unstable();
    names.dedup();
    let all = secrets.keys().copied().chain(["command line"]);
    all.filter(|name| names.contains(name)).collect()
}

#[test]
fn keys_of_a_machine_are_not_handed_over() {
    assert_redacted("trixie");
}

#[test]
#[ignore = "make matrix"]
fn matrix_keys_of_other_kernels_are_not_handed_over() {
    ["bookworm", "sid"].into_iter().for_each(assert_redacted);
}

/// All secrets are in the dump of a guest, and none in the redacted one.
fn assert_redacted(suite: &str) {
    let Some(Machine { dir, vmcore, secrets }) = or_skip(machine(suite)) else { return };
    let (identity, recipients) = keys(&dir);
    let [dump, redacted, core] = ["dump.age", "redacted.age", "core"].map(|name| dir.join(name));
    succeed(encrypt().args(["-d", "31", "-R"]).args([&recipients, &vmcore, &dump]));
    let restore = |dump: &Path| {
        succeed(decrypt().args(["-f", "--format", "elf", "-i"]).arg(&identity).args([dump, &core]));
        found(&core, &secrets)
    };
    let all: Vec<&str> = secrets.keys().copied().chain(["command line"]).collect();
    assert_eq!(restore(&dump), all, "{suite}: not all of them are in the dump");
    let start = std::time::Instant::now();
    let mut refilter = decrypt();
    refilter.args(["refilter", "--redact", "-R"]).arg(&recipients).arg("-i").arg(&identity);
    let output = crate::common::run(refilter.args([&dump, &redacted]));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{suite}: {said}");
    eprintln!("{suite}: redacted in {:?}\n{said}", start.elapsed());
    assert_eq!(restore(&redacted), Vec::<&str>::new(), "{suite}: {said}");
    // The rest is there: the log, and an analyst's report.
    let log = succeed(decrypt().args(["dmesg", "-i"]).args([&identity, &redacted]));
    assert!(log.contains("Linux version") && log.contains("Kernel panic"), "{log}");
    let info = succeed(decrypt().args(["info", "-i"]).args([&identity, &redacted]));
    assert!(info.contains("dm-crypt: erased") && info.contains("wireguard: absent"), "{info}");
    fs::remove_dir_all(dir).unwrap();
}
