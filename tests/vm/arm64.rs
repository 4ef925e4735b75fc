//! An arm64 machine that crashes: Debian's kernel with 4 KiB pages and 52-bit addresses (LPA2), and our collector in
//! its capture kernel, built for it by `make collector`.

use crate::common::guest::{Disk, Guest};
use crate::common::{decrypt, foreign_collector, keys, or_skip, or_skip_anywhere, succeed};

#[test]
fn an_arm64_kernel_is_captured_and_filtered() {
    let Some(collector) = or_skip_anywhere(foreign_collector("aarch64-unknown-linux-gnu")) else { return };
    let guest = Guest::with("arm64", "trixie-arm64", &collector).memory("448", "192M");
    let dir = guest.work().to_owned();
    let (identity, recipients) = keys(&dir);
    let recipient = std::fs::read_to_string(recipients).unwrap();
    let disk = Disk::ext4(&dir, "out.img", 200);
    let job = format!(
        "mkdir /out && mount -t ext4 /dev/vdb /out\n\
         try collect vmcore-encrypt -d 31 --message-level 18 -r {} /proc/vmcore /out/dump\n\
         umount /out",
        recipient.trim()
    );
    let Some(crash) = or_skip(guest.disk(&disk).crash(&job)) else { return };
    assert_eq!(crash.status("collect"), 0, "{}", crash.console);
    assert!(!crash.console.contains("could not be"), "{}", crash.console);
    let dump = dir.join("dump");
    disk.take_ext4("dump", &dump);
    let shown = succeed(decrypt().args(["info", "--json", "-i"]).arg(&identity).arg(&dump));
    let info: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let pages =
        |class: &str| info["dump"]["pages"][class].as_u64().unwrap_or_else(|| panic!("{class}: {shown}"));
    assert_eq!((pages("unjudged"), pages("unreadable"), pages("doubtful")), (0, 0, 0), "{shown}");
    // Two thirds of this guest are free, cache or somebody's.
    assert!(pages("free") > pages("present") / 4 && pages("cache") > 1000 && pages("user") > 200, "{shown}");
    assert!(pages("saved") < pages("present") / 2, "{shown}");
    let log = succeed(decrypt().args(["dmesg", "-i"]).arg(&identity).arg(&dump));
    let secret = std::fs::read_to_string(crash.secrets_dir().join("klog")).unwrap();
    assert!(log.contains(secret.trim()) && log.contains("sysrq triggered crash"));
    crash.assert_no_plaintext();
}
