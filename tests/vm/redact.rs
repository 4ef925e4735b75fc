//! A machine with keys crashes: all of them are in the dump as it was collected, and none is in the one that is handed over.

use crate::common::guest::Disk;
use crate::common::handover::{From, HandedOver, hand_over};
use crate::common::{Absent, decrypt, encrypt, judge, lab, or_skip, scratch, succeed, text, top};
use crate::readers::{Found, Kdump};
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
ip link add wg0 type wireguard
modprobe dm_crypt
cryptsetup open --type luks2 --volume-key-file /mnt/running/volume /dev/vdb crash
dd if=/dev/zero of=/dev/mapper/crash bs=4k count=4
/mnt/running/hold-keys > /tmp/held 2>&1 &
until grep -qE 'held|:' /tmp/held; do sleep 1; done
cat /tmp/held
";

/// Bytes of each secret by name, and what of the guest's command line nobody else has.
const SECRETS: [(&str, usize); 8] = [
    ("user", 48),
    ("logon", 48),
    ("volume", 64),
    ("tls", 16),
    ("private", 32),
    ("preshared", 32),
    ("vector", 32),
    ("tty", 48),
];
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
        match name {
            "tty" => bytes.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26),
            // As Curve25519 keeps a private key.
            "private" => (bytes[0], bytes[31]) = (bytes[0] & 0xf8, bytes[31] & 0x7f | 0x40),
            _ => {}
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
    let modules = lab("initramfs.sh", ["--modules", &kernel, "tls", "wireguard"])?;
    for (nth, module) in modules.lines().enumerate() {
        fs::copy(module, running.join(format!("{nth:02}.ko"))).unwrap();
    }
    let disk = Disk::luks2(&dir, "luks.img", 32, &running.join("volume"));
    let vmcore = dir.join("crashed");
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
    let Some((machine, handed)) = assert_redacted("trixie") else { return };
    for options in [&[][..], &["--keep-cpu-lists"]] {
        assert_refiltered(&machine, &handed, options);
    }
    fs::remove_dir_all(machine.dir).unwrap();
}

#[test]
#[ignore = "make matrix"]
fn matrix_keys_of_other_kernels_are_not_handed_over() {
    for suite in ["bookworm", "trixie", "sid"] {
        let Some((machine, handed)) = assert_redacted(suite) else { continue };
        for options in [&["--keep-page-structures"][..], &["--as-makedumpfile"]] {
            assert_refiltered(&machine, &handed, options);
        }
        if let Some(vmlinux) = or_skip(crate::common::vmlinux(suite)) {
            judge::assert_crash_shows(&machine.dir.join("vmcore"), &vmlinux);
        }
        fs::remove_dir_all(machine.dir).unwrap();
    }
}

/// All secrets are in the dump of a guest, and none in the one that the commands of docs/handover.md hand over.
fn assert_redacted(suite: &str) -> Option<(Machine, HandedOver)> {
    let machine = or_skip(machine(suite))?;
    let Machine { dir, vmcore, secrets } = &machine;
    let handed = hand_over(dir, vmcore, From::Hypervisor);
    let HandedOver { identity, vendor, said, .. } = &handed;
    let core = dir.join("core");
    let restored = |dump: &str, identity: &Path| {
        let mut restore = decrypt();
        restore.args(["-f", "--format", "elf", "-i"]).arg(identity).args([&dir.join(dump), &core]);
        succeed(&mut restore);
        found(&core, secrets)
    };
    let all: Vec<&str> = secrets.keys().copied().chain(["command line"]).collect();
    assert_eq!(restored("X.age", identity), all, "{suite}: not all of them are in the dump");
    assert_eq!(restored("for-the-vendor.age", vendor), Vec::<&str>::new(), "{suite}: {said}");
    // The rest is there: the log, and an analyst's report.
    let ask =
        |word: &str| succeed(decrypt().args([word, "-i"]).args([vendor, &dir.join("for-the-vendor.age")]));
    let log = ask("dmesg");
    assert!(log.contains("Linux version") && log.contains("Kernel panic"), "{log}");
    let info = ask("info");
    for kind in ["aes", "keyring", "dm-crypt", "ktls", "wireguard", "registers", "tty", "random", "cmdline"] {
        assert!(info.contains(&format!("{kind}: erased")), "{kind}: {info}");
    }
    assert!(info.contains("macsec: absent"), "{info}");
    Some((machine, handed))
}

/// The dump of level 1 becomes what collecting at level 31 with the same options gives: free pages on CPUs' lists and page
/// structures included.
fn assert_refiltered(machine: &Machine, handed: &HandedOver, options: &[&str]) {
    let HandedOver { identity, recipients, .. } = handed;
    let [low, fresh, new, restored] =
        ["vmcore.age", "fresh.age", "new.age", "restored"].map(|name| machine.dir.join(name));
    let mut encrypt = encrypt();
    succeed(encrypt.args(["-f", "-d", "31"]).args(options).arg("-R").args([
        recipients,
        &machine.vmcore,
        &fresh,
    ]));
    let mut refilter = decrypt();
    refilter.args(["refilter", "-f", "-d", "31"]).args(options).arg("-i").arg(identity);
    succeed(refilter.arg("-R").args([recipients, &low, &new]));
    let [one, other] = [&fresh, &new].map(|dump| {
        succeed(decrypt().args(["-f", "--compress", "none", "-i"]).arg(identity).args([dump, &restored]));
        Kdump::open(&restored)
    });
    // Firmware, which QEMU lists, ends above the memory; a dump that was made of a dump ends with the memory.
    let page = |dump: &Kdump, pfn: u64| if pfn < dump.max_mapnr { dump.page(pfn) } else { Found::Absent };
    let differs = (0..one.max_mapnr.max(other.max_mapnr)).find(|&pfn| page(&one, pfn) != page(&other, pfn));
    assert_eq!(differs, None, "{options:?}");
    assert!(one.notes() == other.notes() && one.dump_level == other.dump_level);
}
