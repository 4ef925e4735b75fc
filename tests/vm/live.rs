//! A machine that runs: its memory is estimated and saved from `/proc/kcore`, and what is said of it is true.

use crate::common::guest::{Disk, Guest, PRELUDE};
use crate::common::{collector, decrypt, keys, or_skip, succeed};

/// A line of the running kernel's log.
const MARK: &str = "the memory of this kernel is a moving target";

#[test]
fn a_running_kernels_memory_is_estimated_and_saved() {
    let guest = Guest::new("live", "bookworm");
    let dir = guest.work().to_owned();
    let (identity, recipients) = keys(&dir);
    let recipient = std::fs::read_to_string(recipients).unwrap();
    let disk = Disk::ext4(&dir, "out.img", 200);
    let running = dir.join("running");
    std::fs::create_dir(&running).unwrap();
    std::fs::copy(collector(), running.join("vmcore-encrypt")).unwrap();
    let job = format!(
        "{PRELUDE}\n\
         echo '<7>{MARK}' > /dev/kmsg\n\
         mkdir /out && mount -t ext4 /dev/vdb /out && cd /mnt/running\n\
         try estimate ./vmcore-encrypt estimate --json > /out/estimate\n\
         try live ./vmcore-encrypt -d 31 --message-level 18 -r {} /proc/kcore /out/live.age 2> /out/said\n\
         cd / && umount /out",
        recipient.trim()
    );
    std::fs::write(running.join("job"), job).unwrap();
    let Some(crash) = or_skip(guest.disk(&disk).running(&running).crash("true")) else { return };
    assert_eq!(crash.status("estimate"), 0);
    let take = |name: &str| {
        disk.take_ext4(name, &dir.join(name));
        dir.join(name)
    };
    let said = std::fs::read_to_string(take("said")).unwrap();
    assert!(said.contains("warning: the kernel is running: its memory changes while it is saved"), "{said}");
    assert!(said.contains("Moving target   : the kernel was running"), "{said}");
    assert!(said.contains("LAB: live status 0"), "{said}");

    let dump = take("live.age");
    let mut info = decrypt();
    let shown = succeed(info.args(["info", "-i"]).arg(&identity).arg(&dump));
    assert!(shown.contains("a moving target"), "{shown}");
    let log = succeed(decrypt().args(["dmesg", "-i"]).arg(&identity).arg(&dump));
    assert!(log.contains(MARK), "the log of the running kernel lacks what was written to it");

    // Estimated before compression and with pages of zeros, so never less than what was saved, nor much more.
    let estimate = std::fs::read_to_string(take("estimate")).unwrap();
    let restored = dir.join("restored");
    succeed(decrypt().args(["--compress", "none", "-i"]).arg(&identity).args([&dump, &restored]));
    let (estimated, total) = (bytes(&estimate, "31"), bytes(&estimate, "0"));
    let pages = hex(&said, "Remaining pages");
    let zero = hex(&said, "Pages filled with zero");
    // The memory of the capture kernel is the running kernel's too, but no dump's.
    let saved = (pages + zero) * 4096 - (112 << 20);
    assert!(estimated < total / 2, "{estimate}");
    assert!(saved.abs_diff(estimated) < estimated / 4, "{saved} bytes were saved, {estimate}");
    std::fs::remove_file(restored).unwrap();
    crash.assert_no_plaintext();
}

/// A size of `estimate --json`.
fn bytes(json: &str, level: &str) -> u64 {
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    json["bytes_before_compression"][level].as_u64().unwrap()
}

/// A number of pages of the report.
fn hex(report: &str, name: &str) -> u64 {
    let line = report.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
    u64::from_str_radix(line.split("0x").nth(1).unwrap().trim(), 16).unwrap()
}
