//! `suse-transfer`: KDUMP_TRANSFER of SUSE's kdump-save.

use crate::jail::{Jail, NO_ROUTE, ROUTE};

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
        let collect = format!("vmcore-encrypt -d 31 --keep-incomplete -L {limit} /proc/vmcore");
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
fn old_dumps_of_both_kinds_of_names_count() {
    Jail::each(|jail| {
        prepare(jail, "KDUMP_PROTO=file\nKDUMP_SAVEDIR=/var/crash\nKDUMP_KEEP_OLD_DUMPS=01\n");
        for time in ["2024-01-01-10:00", "2024-02-02-11-22", "2025-03-03-12:34", "2025-04-04-13-45"] {
            jail.write(&format!("/kdump/mnt/var/crash/{time}/vmcore"), "");
        }
        jail.write("/kdump/mnt/var/crash/2025-04-04-notes/keep", "");
        jail.run(TRANSFER);
        let files = jail.files("/kdump/mnt/var/crash");
        assert_eq!(files[..2], ["2025-04-04-13-45/vmcore", "2025-04-04-notes/keep"]);
        assert_eq!(files.len(), 2 + 3);
    });
}

#[test]
fn a_negative_number_keeps_none_and_nonsense_keeps_all() {
    for (number, stay) in [("-1", 0), ("-08", 0), ("0", 2), ("", 2), ("many", 2), ("99999999999999999999", 2)]
    {
        Jail::each(|jail| {
            prepare(
                jail,
                &format!("KDUMP_PROTO=file\nKDUMP_SAVEDIR=/var/crash\nKDUMP_KEEP_OLD_DUMPS='{number}'\n"),
            );
            for minute in ["00", "01"] {
                jail.write(&format!("/kdump/mnt/var/crash/2020-01-01-10-{minute}/vmcore"), "");
            }
            assert!(jail.run(TRANSFER).status.success());
            assert_eq!(jail.files("/kdump/mnt/var/crash").len(), stay + 3, "{number} under {:?}", jail.shell);
        });
    }
}

#[test]
fn two_crashes_in_one_minute_have_two_names_that_kdump_notify_knows() {
    for proto in ["file", "nfs", "ssh"] {
        Jail::each(|jail| {
            prepare(jail, &format!("KDUMP_PROTO={proto}\nKDUMP_SAVEDIR={proto}://server/crash\n"));
            for _ in 0..3 {
                let ran = jail.run(TRANSFER);
                assert!(ran.status.success(), "{}", crate::text(&ran));
            }
            let mut directories: Vec<String> = ["/kdump/mnt", "/crash"]
                .iter()
                .flat_map(|top| jail.files(top))
                .map(|file| file.rsplit_once('/').unwrap().0.trim_start_matches("host1-").to_owned())
                .collect();
            directories.dedup();
            assert_eq!(directories.len(), 3, "{directories:?}");
            for directory in directories {
                let date = directory.rsplit('/').next().unwrap().trim_start_matches("host1-");
                let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
                assert_eq!(shape, "9999-99-99-99-99");
            }
        });
    }
}

#[test]
fn urls_are_read_in_any_case() {
    let cases = [
        ("SSH://kdump@server/var/crash", "kdump@server", "/var/crash"),
        ("Ssh://server", "server", ""),
        ("ssh://kdump@server:2222/a/b", "ssh://kdump@server:2222", "/a/b"),
        ("ssh://[2001:db8::1]/crash", "ssh://[2001:db8::1]", "/crash"),
        ("SSH://kdump@[fe80::1%eth0]:2222/crash", "ssh://kdump@[fe80::1%eth0]:2222", "/crash"),
        ("ssh://kdump@2001:db8::1/crash", "kdump@2001:db8::1", "/crash"),
        ("ssh://kdump@server/it's@here:x", "kdump@server", "/it's@here:x"),
    ];
    for (url, host, directory) in cases {
        Jail::each(|jail| {
            prepare(jail, &format!("KDUMP_PROTO=ssh\nKDUMP_SAVEDIR=\"{url}\"\n"));
            let ran = jail.run(TRANSFER);
            assert!(ran.status.success(), "{url}: {}", crate::text(&ran));
            assert_eq!(jail.calls(&format!("ssh -o BatchMode=yes {host} ")), 7, "{:?}", jail.log());
            let top = fs_names(jail, directory);
            assert_eq!(top.iter().filter(|name| name.starts_with("host1-2")).count(), 1, "{top:?}");
        });
    }
    for url in ["FILE:///var/crash", "file:///var/crash", "/var/crash"] {
        Jail::each(|jail| {
            prepare(jail, &format!("KDUMP_PROTO=file\nKDUMP_SAVEDIR={url}\n"));
            assert!(jail.run(TRANSFER).status.success());
            assert_eq!(jail.files("/kdump/mnt/var/crash").len(), 3, "{url}");
        });
    }
}

fn fs_names(jail: &Jail, directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(jail.path(&format!("{directory}/"))).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// As SUSE's own kdump-save: a level out of range is 0, and all is saved.
#[test]
fn a_dump_level_out_of_range_is_0() {
    for (level, used) in
        [("32", "0"), ("-1", "0"), ("99999999999999999999", "0"), ("all", "0"), ("031", "31"), ("8", "8")]
    {
        Jail::each(|jail| {
            prepare(
                jail,
                &format!("KDUMP_PROTO=file\nKDUMP_SAVEDIR=/var/crash\nKDUMP_DUMPLEVEL='{level}'\n"),
            );
            assert!(jail.run(TRANSFER).status.success());
            assert_eq!(jail.calls(&format!("vmcore-encrypt -d {used} ")), 1, "{level}: {:?}", jail.log());
        });
    }
}

#[test]
fn exit_statuses_name_the_dump_and_are_in_the_readme() {
    let cases = [
        (6, "vmcore.age", "vmcore status: saved successfully, whole, with a warning: unfiltered"),
        (7, "vmcore.age-incomplete", "vmcore status: error while saving"),
    ];
    for (status, name, words) in cases {
        for (proto, top) in [("file", "/kdump/mnt/crash"), ("ssh", "/crash")] {
            Jail::each(|jail| {
                prepare(jail, &format!("KDUMP_PROTO={proto}\nKDUMP_SAVEDIR=ssh://server/crash\n"));
                if proto == "file" {
                    prepare(jail, "KDUMP_PROTO=file\nKDUMP_SAVEDIR=/crash\n");
                }
                jail.write(
                    "/stub/collector",
                    &format!(
                        "for last; do :; done; case \"$*\" in
                        dmesg*) ;;
                        *' /proc/vmcore') echo age; exit {status} ;;
                        *) echo age > $last; exit {status} ;; esac\n"
                    ),
                );
                assert_eq!(jail.run(TRANSFER).status.success(), status == 6);
                let files = jail.files(top);
                assert_eq!(names(&files), ["README.txt", "dmesg.age", name]);
                let readme = jail.read(&format!("{top}/{}", files[0]));
                assert!(readme.contains(words), "{readme}");
            });
        }
    }
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

#[test]
fn a_store_takes_the_place_of_the_directory() {
    for status in [0, 7] {
        Jail::each(|jail| {
            prepare(jail, "KDUMP_PROTO='file'\nKDUMP_SAVEDIR='/boot/crash'\n");
            jail.write("/etc/vmcore-encrypt/config", "TARGET=store\nURL=s3://crashes/4f0c/\n");
            jail.write("/proc/net/route", &format!("{NO_ROUTE}{ROUTE}"));
            jail.write("/stub/collector", &format!("[ {status} = 0 ] || exit {status}\n"));
            assert_eq!(jail.run(TRANSFER).status.success(), status == 0);
            assert_eq!(jail.log(), ["vmcore-encrypt -d 31 /proc/vmcore s3://crashes/4f0c/"]);
            jail.assert_no_plaintext();
        });
    }
}
