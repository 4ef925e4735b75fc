//! Dumps over ssh, to a real server on the host: as the scripts of kdump-utils and Debian send them, and with the
//! link cut half-way.

use crate::common::guest::{Crash, Guest};
use crate::common::sshd::Server;
use crate::common::{Absent, decrypt, keys, lab, names, or_skip, run, scratch, succeed, text, top};
use std::path::{Path, PathBuf};

/// Bytes that pass before the link is cut: the handshake, and part of the dump.
const PASSED: u64 = 2 << 20;

/// `dd` and the options are those of kdump-utils; then Debian's settings with our script in place of its own. Where
/// that reboots, the lab goes on: its `reboot` ends the script.
const JOB: &str = r#"
chmod 600 /root/.ssh/kdump_id_rsa
to_host() {
    port=$1
    shift
    ssh -p "$port" -i /root/.ssh/kdump_id_rsa -o BatchMode=yes -o StrictHostKeyChecking=yes USER@10.0.2.2 "$@"
}
try mkdir to_host PORT mkdir -p REMOTE/kdump-utils
try collected vmcore-encrypt -d 31 /proc/vmcore |
    try sent to_host PORT "umask 0077 && dd bs=512 of='REMOTE/kdump-utils/vmcore-incomplete'"
try renamed to_host PORT "mv REMOTE/kdump-utils/vmcore-incomplete REMOTE/kdump-utils/vmcore.flat"

try cut-collected vmcore-encrypt -d 1 /proc/vmcore |
    try cut-sent to_host CUT "umask 0077 && dd bs=512 of='REMOTE/cut'"

mkdir -p /usr/sbin /usr/bin
ln -s /bin/vmcore-encrypt /usr/bin/vmcore-encrypt
printf '#!/bin/sh\nkill -9 $PPID\n' > /usr/sbin/reboot
chmod 755 /usr/sbin/reboot
try debian dash /usr/lib/vmcore-encrypt/debian-dump
"#;

#[test]
fn a_dump_over_ssh_arrives_and_a_cut_link_leaks_nothing() {
    let Some((crash, identity)) = or_skip(send()) else { return };
    for step in ["mkdir", "collected", "sent", "renamed"] {
        assert_eq!(crash.status(step), 0, "{step}:\n{}", crash.console);
    }
    assert_eq!(crash.status("debian"), 128 + 9, "the script ends in a reboot:\n{}", crash.console);
    // ssh says 255 when its link is gone; the collector, that nobody reads any more.
    assert_eq!((crash.status("cut-sent"), crash.status("cut-collected")), (255, 1), "{}", crash.console);
    crash.assert_no_plaintext();

    let remote = crash.work.join("remote");
    assert_eq!(names(&remote.join("kdump-utils")), ["vmcore.flat"]);
    assert_opens(&remote.join("kdump-utils/vmcore.flat"), &identity, &crash);
    let [debian] = &names(&remote.join("var/crash"))[..] else { panic!("{}", crash.console) };
    let debian = remote.join("var/crash").join(debian);
    let files = names(&debian);
    assert!(files.len() == 2 && files[0].starts_with("dmesg.") && files[1].starts_with("dump."), "{files:?}");
    assert_opens(&debian.join(&files[1]), &identity, &crash);
    assert_truncated(&remote.join("cut"), &identity);
}

fn send() -> Result<(Crash, PathBuf), Absent> {
    let guest = Guest::new("ssh", "bookworm");
    let keep = scratch("vm-ssh-keys");
    let (identity, recipients) = keys(&keep);
    let remote = guest.work().join("remote");
    std::fs::create_dir(&remote).unwrap();
    let user = lab("sshd.sh", ["keys", keep.to_str().unwrap()])?;
    lab("program.sh", ["sshd"])?;
    let (server, cut) = (Server::start(&keep, u64::MAX), Server::start(&keep, PASSED));

    let write = |name: &str, content: String| {
        let path = keep.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let module = top().join("kdump-module");
    let crash_dir = remote.join("var/crash");
    let settings = format!("SSH={user}@10.0.2.2\nKDUMP_COREDIR={}\n", crash_dir.display());
    let files = [
        (recipients, "etc/vmcore-encrypt/recipients"),
        (keep.join("key"), "root/.ssh/kdump_id_rsa"),
        (keep.join("known_hosts"), "root/.ssh/known_hosts"),
        (write("passwd.guest", "root:x:0:0::/root:/bin/sh\n".to_owned()), "etc/passwd"),
        (write("ssh_config", format!("Host 10.0.2.2\nPort {}\n", server.port)), "etc/ssh/ssh_config"),
        (write("kdump-tools", settings), "etc/default/kdump-tools"),
        (module.join("lib/functions.sh"), "usr/lib/vmcore-encrypt/functions.sh"),
        (module.join("debian/debian-dump"), "usr/lib/vmcore-encrypt/debian-dump"),
    ];
    let mut guest = guest.net().memory("512", "160M").program("/usr/bin/ssh").program("/bin/dash");
    for (source, target) in &files {
        guest = guest.file(source, target);
    }
    let job = JOB.replace("REMOTE", remote.to_str().unwrap()).replace("USER", &user);
    let job = job.replace("PORT", &server.port.to_string()).replace("CUT", &cut.port.to_string());
    let crash = guest.crash(&job)?;
    server.wait();
    cut.wait();
    Ok((crash, identity))
}

fn assert_opens(dump: &Path, identity: &Path, crash: &Crash) {
    let restored = identity.with_file_name("restored");
    succeed(decrypt().args(["--format", "elf", "-f", "-i"]).args([identity, dump, &restored]));
    let found = crash.secrets.find(&restored);
    assert!(found.contains("klog") && found.contains("slab"), "{found:?}");
}

fn assert_truncated(dump: &Path, identity: &Path) {
    assert!(dump.metadata().unwrap().len() > PASSED / 2, "{}", dump.display());
    let restored = identity.with_file_name("cut");
    let output = run(decrypt().arg("-i").arg(identity).args([dump, &restored]));
    let stderr = text(&output.stderr);
    assert!(!output.status.success() && stderr.contains("truncated"), "{stderr}");
    assert!(!restored.exists());
}
