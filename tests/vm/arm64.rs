//! An arm64 machine that crashes: Debian's kernel with 4 KiB pages and 52-bit addresses (LPA2), and our collector in
//! its capture kernel, built for it by `make collector`.

use crate::common::guest::{Crash, Disk, Guest};
use crate::common::{decrypt, foreign_collector, judge, keys, or_skip, or_skip_anywhere, succeed, vmlinux};
use std::path::PathBuf;

/// The guest after it crashed, with its identity and dump; its memory in MB.
fn captured(name: &str, memory: &str) -> Option<(Crash, PathBuf, PathBuf)> {
    let collector = or_skip_anywhere(foreign_collector("aarch64-unknown-linux-gnu"))?;
    let guest = Guest::with(name, "trixie-arm64", &collector).memory(memory, "192M");
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
    let crash = or_skip(guest.disk(&disk).crash(&job))?;
    assert_eq!(crash.status("collect"), 0, "{}", crash.console);
    let dump = dir.join("dump");
    disk.take_ext4("dump", &dump);
    Some((crash, identity, dump))
}

#[test]
fn an_arm64_kernel_is_captured_and_filtered() {
    let Some((crash, identity, dump)) = captured("arm64", "448") else { return };
    assert!(!crash.console.contains("could not be"), "{}", crash.console);
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

/// Every stack of every task in the report of an arm64 machine is the one that drgn unwinds with debug information.
#[test]
#[ignore = "make matrix"]
fn matrix_arm64_stacks_are_those_that_drgn_finds() {
    let Some((crash, identity, dump)) = captured("arm64-stacks", "1024") else { return };
    // It is large enough for its types to be read in the capture kernel.
    let proof = "Proof of CPU lists      : by the zones' own counts";
    assert!(crash.console.contains(proof), "{}", crash.console);
    let Some(vmlinux) = or_skip_anywhere(vmlinux("trixie-arm64")) else { return };
    let restored = crash.work.join("restored");
    succeed(decrypt().arg("-i").arg(&identity).args([&dump, &restored]));
    let Some((expected, disks)) = or_skip(judge::stacks(&restored, &vmlinux)) else { return };
    let mut report = decrypt();
    report.args(["report", "--no-cache", "--json", "--tasks", "all", "-i"]).args([&identity, &dump]);
    let report: serde_json::Value = serde_json::from_str(&succeed(&mut report)).unwrap();
    assert_eq!(report["missing"], serde_json::json!([]));
    judge::assert_stacks_are(&report, &expected, "arm64");
    judge::assert_disks_are(&report, &disks, "arm64");
    assert_eq!(report["signature"][0], "sysrq_handle_crash", "{}", report["crash"]);
}
