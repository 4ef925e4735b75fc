//! A machine that keeps user data compressed crashes: none of it is in a dump at level 31, page for page as the kernel
//! counts them.

use crate::common::{Absent, decrypt, encrypt, keys, lab, or_skip, scratch, succeed, text};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the machine does before it crashes. Data that does not compress is kept as it is, so that it can be found.
const JOB: &str = "
for module in /mnt/running/*.ko; do insmod $module; done
echo 64M > /sys/block/zram0/disksize
dd if=/mnt/running/secret of=/dev/zram0 bs=4k conv=fsync
cat /proc/sys/vm/stat_refresh
echo \"LAB: $(grep nr_zspages /proc/vmstat)\"
";
/// Bytes of the data.
const SECRET: usize = 4 << 20;
const PAGE: usize = 4096;

/// The dump of a guest, its secret, and how many pages the kernel counts.
fn machine(suite: &str, dir: &Path) -> Result<(PathBuf, Vec<u8>, u64), Absent> {
    let running = dir.join("running");
    fs::create_dir(&running).unwrap();
    fs::write(running.join("job"), JOB).unwrap();
    let mut secret = vec![0; SECRET];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut secret).unwrap();
    fs::write(running.join("secret"), &secret).unwrap();
    let kernel = lab("kernel.sh", [suite])?;
    for (nth, module) in lab("initramfs.sh", ["--modules", &kernel, "zram"])?.lines().enumerate() {
        fs::copy(module, running.join(format!("{nth}.ko"))).unwrap();
    }
    let (work, vmcore) = (dir.join("work"), dir.join("vmcore"));
    let pairs = [("--work", &work), ("--running", &running), ("--dump", &vmcore)];
    // With less memory the kernel's types are not read.
    let mut args: Vec<&OsStr> = ["--suite", suite, "--memory", "1024"].map(OsStr::new).to_vec();
    args.extend(pairs.iter().flat_map(|(option, path)| [option.as_ref(), path.as_os_str()]));
    lab("crash.sh", args)?;
    let console = text(&fs::read(work.join("console.log")).unwrap());
    let count = console.lines().find_map(|line| line.trim().strip_prefix("LAB: nr_zspages "));
    let count = count.unwrap_or_else(|| panic!("{console}")).trim().parse().unwrap();
    Ok((vmcore, secret, count))
}

/// How many pages of a secret are in a file, at a page of it each.
fn found(file: &Path, secret: &[u8]) -> usize {
    let bytes = fs::read(file).unwrap();
    let pages: std::collections::HashSet<&[u8]> = secret.chunks(PAGE).collect();
    // Pages of an ELF core are aligned to each other.
    let start = bytes.len() % PAGE;
    bytes[start..].chunks(PAGE).filter(|page| pages.contains(page)).count()
}

fn assert_left_out(suite: &str) {
    let dir = scratch(&format!("vm-zram-{suite}"));
    let Some((vmcore, secret, count)) = or_skip(machine(suite, &dir)) else { return };
    assert!(count >= (SECRET / PAGE) as u64, "{suite}: {count}");
    let (identity, recipients) = keys(&dir);
    let [dump, core] = ["dump.age", "core"].map(|name| dir.join(name));
    for (level, pages) in [("31", count), ("23", 0)] {
        succeed(encrypt().args(["-f", "-d", level, "-R"]).args([&recipients, &vmcore, &dump]));
        let info = succeed(decrypt().args(["info", "--json", "-i"]).args([&identity, &dump]));
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        assert_eq!(info["dump"]["pages"]["compressed"], pages, "{suite}: level {level}");
        succeed(decrypt().args(["-f", "--format", "elf", "-i"]).arg(&identity).args([&dump, &core]));
        let left = found(&core, &secret);
        let expected = if level == "31" { 0 } else { SECRET / PAGE };
        assert!(left == 0 || level == "23" && left >= expected, "{suite}: level {level}: {left} pages");
        assert!(left > 0 || level == "31", "{suite}: none of the data is in a dump that should have it");
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
#[ignore = "make matrix"]
fn matrix_user_data_that_is_compressed_is_left_out() {
    ["trixie", "sid"].into_iter().for_each(assert_left_out);
}
