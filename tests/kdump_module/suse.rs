//! `suse-transfer`: KDUMP_TRANSFER of SUSE's kdump-save.

use crate::jail::Jail;

const TRANSFER: &str = "/usr/lib/vmcore-encrypt/suse-transfer";

fn prepare(jail: &Jail, settings: &str) {
    jail.write("/log", "");
    jail.write(
        "/etc/kdump.conf",
        &format!("KDUMP_DUMPLEVEL='31'\nKDUMP_KEEP_OLD_DUMPS='5'\nKDUMP_FREE_DISK_SIZE='64'\n{settings}"),
    );
    jail.write("/stub/df", "/dev/sda1 9000000 0 9000000 0% /kdump/mnt/boot/efi\n");
}

fn names(files: &[String]) -> Vec<&str> {
    files.iter().map(|file| file.rsplit('/').next().unwrap()).collect()
}

#[test]
fn a_local_dump_has_the_directory_kdump_notify_looks_for() {
    Jail::each(|jail| {
        prepare(jail, "KDUMP_PROTO='file'\nKDUMP_SAVEDIR='/boot/efi/crash'\n");
        assert!(jail.run(TRANSFER).status.success());
        let files = jail.files("/kdump/mnt/boot/efi/crash");
        assert_eq!(names(&files), ["README.txt", "dmesg.age", "vmcore.age"]);
        let date: String =
            files[0].chars().take(16).map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_eq!(date, "9999-99-99-99-99");
        let limit = 9_000_000 * 1024 - 64 * 1_048_576_u64;
        let collect = format!("vmcore-encrypt -d 31 -f --keep-incomplete -L {limit} /proc/vmcore");
        assert_eq!(jail.calls(&format!("{collect} /kdump/mnt/boot/efi/crash/")), 1);
        let readme = jail.read(&format!("/kdump/mnt/boot/efi/crash/{}", files[0]));
        assert!(
            readme.contains("vmcore status: saved successfully") && readme.contains("Host: host1"),
            "{readme}"
        );
        jail.assert_no_plaintext();
    });
}

#[test]
fn a_failure_is_the_exit_status_and_in_the_readme() {
    Jail::each(|jail| {
        prepare(jail, "KDUMP_PROTO='file'\nKDUMP_SAVEDIR='/var/crash'\n");
        jail.write("/stub/collector", "for last; do :; done; echo half > $last; exit 3\n");
        assert_eq!(jail.run(TRANSFER).status.code(), Some(1));
        let files = jail.files("/kdump/mnt/var/crash");
        assert_eq!(names(&files), ["README.txt", "dmesg.age-incomplete", "vmcore.age-incomplete"]);
        assert!(jail.read(&format!("/kdump/mnt/var/crash/{}", files[0])).contains("error while saving"));
        jail.assert_no_plaintext();
    });
}

#[test]
fn old_dumps_are_kept_as_configured() {
    Jail::each(|jail| {
        prepare(jail, "KDUMP_PROTO=file\nKDUMP_SAVEDIR=/var/crash\nKDUMP_KEEP_OLD_DUMPS=1\n");
        for minute in ["00", "01", "02"] {
            jail.write(&format!("/kdump/mnt/var/crash/2020-01-01-10-{minute}/vmcore"), "");
        }
        jail.run(TRANSFER);
        let files = jail.files("/kdump/mnt/var/crash");
        assert_eq!(files[0], "2020-01-01-10-02/vmcore");
        assert_eq!(files.len(), 1 + 3);
    });
}

#[test]
fn shares_are_mounted_already() {
    for proto in ["nfs", "cifs"] {
        Jail::each(|jail| {
            prepare(jail, &format!("KDUMP_PROTO={proto}\nKDUMP_SAVEDIR={proto}://server/export\n"));
            assert!(jail.run(TRANSFER).status.success());
            let files = jail.files("/kdump/mnt");
            assert_eq!(names(&files), ["README.txt", "dmesg.age", "vmcore.age"]);
            assert!(files[0].starts_with("host1-2"), "{files:?}");
        });
    }
}

#[test]
fn ssh_saves_on_the_other_host() {
    Jail::each(|jail| {
        prepare(jail, "KDUMP_PROTO=ssh\nKDUMP_SAVEDIR=ssh://kdump@server:2222/var/crash\n");
        assert!(jail.run(TRANSFER).status.success());
        assert_eq!(names(&jail.files("/var/crash")), ["README.txt", "dmesg.age", "vmcore.age"]);
        assert_eq!(jail.calls("ssh -o BatchMode=yes ssh://kdump@server:2222 "), 7);
        jail.assert_no_plaintext();
    });
}

#[test]
fn what_cannot_be_done_safely_is_refused() {
    let refused = [
        "KDUMP_PROTO=ftp\nKDUMP_SAVEDIR=ftp://server/crash\n",
        "KDUMP_PROTO=ssh\nKDUMP_SAVEDIR=ssh://kdump:secret@server/var/crash\n",
    ];
    for settings in refused {
        Jail::each(|jail| {
            prepare(jail, settings);
            let said = jail.run(TRANSFER);
            assert_eq!(said.status.code(), Some(1));
            assert!(!crate::text(&said).contains("secret"));
            assert_eq!(jail.log(), Vec::<String>::new());
        });
    }
}
