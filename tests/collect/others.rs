//! kdump-utils looks at a raw target at each boot too, for a dump of makedumpfile's: it leaves ours as it is, and we leave
//! that one.

use crate::common::{Absent, encrypt, judge, keys, or_skip, run, scratch, succeed, text, vmcore};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use vmcore_encrypt::unstable::raw::{HEAD_PROBE, Occupant, TAIL_PROBE, occupant};

/// What kdump-utils 1.0.61 does at the next boot with its raw target `$1`: where no file system is known it tries
/// makedumpfile, `$3`; when that finds a dump it frees the partition, else it removes what it made.
const SAVE_RAW: &str = r#"
[ -z "$(blkid -p -s TYPE -o value "$1")" ] || exit 2
mkdir "$2"
if "$3" -R "$2/vmcore" < "$1" > /dev/null 2>&1; then
    dd if=/dev/zero of="$1" bs=512 count=1 conv=notrunc 2> /dev/null
else
    rm -rf "$2"
    exit 1
fi
"#;

/// The most that the dumps here may take.
const PARTITION: u64 = 96 << 20;

struct Shared {
    dir: PathBuf,
    device: PathBuf,
    vmcore: PathBuf,
}

impl Shared {
    fn new() -> Result<Shared, Absent> {
        let dir = scratch("collect-others");
        let device = dir.join("device");
        fs::File::create(&device).unwrap().set_len(PARTITION).unwrap();
        succeed(
            Command::new("sh").args(["-c", "PATH=$PATH:/sbin:/usr/sbin mkswap -q \"$1\"", "sh"]).arg(&device),
        );
        Ok(Shared { dir, device, vmcore: vmcore("bookworm-5level-kdump")? })
    }

    fn save_raw(&self, makedumpfile: &Path) -> Option<i32> {
        let mut script = Command::new("sh");
        script.env("PATH", format!("{}:/sbin:/usr/sbin", std::env::var("PATH").unwrap()));
        script.args(["-c", SAVE_RAW, "sh"]).arg(&self.device).arg(self.dir.join("theirs")).arg(makedumpfile);
        run(&mut script).status.code()
    }

    fn collect(&self) -> String {
        let mut collect = encrypt();
        collect.arg("collect").arg("--device").arg(&self.device).arg("--dest").arg(self.dir.join("ours"));
        let output = run(&mut collect);
        assert!(output.status.success());
        text(&output.stderr)
    }

    fn content(&self) -> Vec<u8> {
        fs::read(&self.device).unwrap()
    }
}

#[test]
fn kdump_utils_and_we_leave_each_others_dumps() {
    let found = Shared::new().and_then(|shared| Ok((shared, judge::program("makedumpfile")?)));
    let Some((shared, newest)) = or_skip(found) else { return };
    let (_, recipients) = keys(&shared.dir);
    let versions = [PathBuf::from("makedumpfile"), newest];

    // Over swap: what the frame keeps of that looks like no swap to them.
    let mut save = encrypt();
    save.args(["-d", "31", "--message-level", "0", "-R"])
        .arg(recipients)
        .arg("--output-device")
        .arg(&shared.device);
    succeed(save.arg(&shared.vmcore));
    let ours = shared.content();
    for makedumpfile in &versions {
        assert_eq!(shared.save_raw(makedumpfile), Some(1));
        assert!(shared.content() == ours && !shared.dir.join("theirs").exists());
    }
    assert!(shared.collect().contains("note: the dump is collected to"));

    for makedumpfile in &versions {
        let flattened = fs::OpenOptions::new().write(true).open(&shared.device).unwrap();
        succeed(Command::new(makedumpfile).args(["-F", "-d", "31"]).arg(&shared.vmcore).stdout(flattened));
        let theirs = shared.content();
        assert!(shared.collect().contains("note: no dump is on"));
        assert!(shared.content() == theirs);
        assert_eq!(shared.save_raw(makedumpfile), Some(0));
        assert!(fs::metadata(shared.dir.join("theirs/vmcore")).unwrap().len() > 1 << 20);
        assert!(shared.collect().contains("note: no dump is on"));
        fs::remove_dir_all(shared.dir.join("theirs")).unwrap();
    }
    fs::remove_dir_all(shared.dir).unwrap();
}

/// What tools of this machine put on a partition is known, by blkid's names, and so refused.
#[test]
fn what_other_tools_made_is_known() {
    let dir = scratch("collect-occupied");
    let made = [
        ("ext4", "mke2fs -q -F -t ext4 device"),
        ("vfat", "mkfs.vfat device"),
        (
            "crypto_LUKS",
            "echo key | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 device -",
        ),
        (
            "crypto_LUKS",
            "echo key | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 device -",
        ),
        ("cramfs", "mkdir -p empty && mkfs.cramfs empty device && truncate -s 32M device"),
    ];
    for (name, make) in made {
        let device = dir.join("device");
        fs::File::create(&device).unwrap().set_len(32 << 20).unwrap();
        let script =
            format!("PATH=$PATH:/sbin:/usr/sbin; ({make}) > /dev/null && blkid -p -s TYPE -o value device");
        let seen = succeed(Command::new("sh").args(["-ec", &script]).current_dir(&dir));
        assert_eq!(seen.trim(), name);
        let bytes = fs::read(&device).unwrap();
        let (head, tail) = (&bytes[..HEAD_PROBE], &bytes[bytes.len() - TAIL_PROBE..]);
        assert_eq!(occupant(head, tail, bytes.len() as u64), Occupant::Foreign(name), "{make}");
    }
    fs::remove_dir_all(dir).unwrap();
}
