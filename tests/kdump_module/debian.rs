//! `debian-dump`: what kdump-tools' settings mean when the dump is encrypted.

use crate::jail::{ENCRYPTED, Jail, NO_ROUTE, ROUTE};

const DUMP: &str = "/usr/lib/vmcore-encrypt/debian-dump";

fn prepare(jail: &Jail, defaults: &str) {
    jail.write("/log", "");
    jail.write("/etc/default/kdump-tools", &format!("USE_KDUMP=1\nKDUMP_COREDIR=\"/var/crash\"\n{defaults}"));
}

/// File names with digits taken out: dates change.
fn shape(files: &[String]) -> Vec<String> {
    files.iter().map(|file| file.chars().filter(|c| !c.is_ascii_digit()).collect()).collect()
}

#[test]
fn local_dumps_are_named_as_kdump_tools_does() {
    Jail::each(|jail| {
        prepare(jail, "");
        jail.run(DUMP);
        assert_eq!(shape(&jail.files("/var/crash")), ["/dmesg..age", "/dump..age"]);
        assert!(jail.files("/var/crash")[0].starts_with('2'), "kdump-tools counts 2*");
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
        jail.assert_no_plaintext();
    });
}

#[test]
fn a_full_disk_has_no_plain_fallback() {
    Jail::each(|jail| {
        prepare(jail, "");
        jail.write("/stub/collector", "for last; do :; done; echo half > $last; exit 28\n");
        jail.run(DUMP);
        assert_eq!(shape(&jail.files("/var/crash")), ["/dmesg..age-incomplete", "/dump..age-incomplete"]);
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
        jail.assert_no_plaintext();
    });
}

#[test]
fn num_dumps_keeps_the_newest() {
    Jail::each(|jail| {
        prepare(jail, "KDUMP_NUM_DUMPS=2\n");
        for minute in ["201901010000", "201901010001", "201901010002"] {
            jail.write(&format!("/var/crash/{minute}/dump.{minute}"), "");
        }
        jail.write("/var/crash/kexec_cmd", "");
        jail.run(DUMP);
        let files = jail.files("/var/crash");
        assert_eq!(files.iter().filter(|file| file.contains("dump.2")).count(), 2, "{files:?}");
        assert_eq!(files[0], "201901010002/dump.201901010002");
        assert!(files.contains(&"kexec_cmd".to_owned()));
    });
}

#[test]
fn a_failed_dump_removes_no_older_one() {
    Jail::each(|jail| {
        prepare(jail, "KDUMP_NUM_DUMPS=1\n");
        jail.write("/var/crash/201901010000/dump.201901010000", "");
        jail.write("/stub/collector", "exit 1\n");
        jail.run(DUMP);
        assert_eq!(jail.files("/var/crash"), ["201901010000/dump.201901010000"]);
    });
}

#[test]
fn nfs_is_mounted_as_kdump_tools_does() {
    Jail::each(|jail| {
        prepare(jail, "NFS=\"nas:/export/crash\"\nNFS_TIMEO=100\n");
        jail.run(DUMP);
        let log = jail.log();
        assert_eq!(
            log[0],
            "mount -t nfs -o nolock,tcp,soft,timeo=100,retrans=3 nas:/export/crash /var/crash"
        );
        assert!(jail.files("/var/crash")[0].starts_with("192.0.2.7-2"));
        assert_eq!(log[log.len() - 2..], ["umount /var/crash", "reboot -f"]);
    });
}

#[test]
fn nothing_is_saved_under_an_nfs_that_does_not_mount() {
    Jail::each(|jail| {
        prepare(jail, "NFS=nas:/export/crash\n");
        jail.script("/bin/mount", "#!/bin/sh\necho mount >> /log\nexit 32\n");
        jail.run(DUMP);
        assert_eq!(jail.calls("mount"), 4);
        assert_eq!(jail.calls("vmcore-encrypt"), 0);
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
    });
}

#[test]
fn ssh_names_the_dump_on_the_other_host() {
    Jail::each(|jail| {
        prepare(jail, "SSH=\"kdump@server\"\nHOSTTAG=hostname\n");
        jail.script("/bin/hostname", "#!/bin/sh\necho host1\n");
        jail.write("/etc/vmcore-encrypt/config", "DUMP_LEVEL=17\n");
        let said = jail.run(DUMP);
        let files = jail.files("/var/crash");
        assert_eq!(shape(&files), ["host-/dmesg..age", "host-/dump..age"], "{}", crate::text(&said));
        let dump = jail.read(&format!("/var/crash/{}", files[1]));
        assert_eq!(dump.trim(), ENCRYPTED);
        assert_eq!(jail.calls("vmcore-encrypt -d 17 /proc/vmcore"), 1);
        assert_eq!(jail.calls("ssh -o BatchMode=yes -i /root/.ssh/kdump_id_rsa kdump@server umask 077"), 3);
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
        jail.assert_no_plaintext();
    });
}

#[test]
fn a_dead_collector_is_seen_through_the_pipe() {
    Jail::each(|jail| {
        prepare(jail, "SSH=kdump@server\n");
        jail.write("/stub/collector", "echo half; exit 3\n");
        jail.run(DUMP);
        assert_eq!(
            shape(&jail.files("/var/crash")),
            ["...-/dmesg..age-incomplete", "...-/dump..age-incomplete"]
        );
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
    });
}

#[test]
fn a_cut_link_is_seen_and_nothing_else_is_tried() {
    Jail::each(|jail| {
        prepare(jail, "SSH=kdump@server\n");
        jail.write("/stub/ssh", "case $* in *'cat >'*) exit 255 ;; esac\n");
        let said = jail.run(DUMP);
        assert_eq!(jail.files("/var/crash"), Vec::<String>::new());
        assert!(crate::text(&said).contains("ssh failed"), "{}", crate::text(&said));
        jail.assert_no_plaintext();
    });
}

#[test]
fn an_unreachable_host_is_tried_as_often_as_configured() {
    Jail::each(|jail| {
        prepare(jail, "SSH=kdump@server\nSSH_KDUMP_RETRY=5\n");
        jail.write("/stub/ssh", "exit 255\n");
        jail.run(DUMP);
        assert_eq!(jail.calls("ssh"), 5);
        assert_eq!(jail.calls("vmcore-encrypt"), 0);
    });
}

#[test]
fn numbers_that_shells_cannot_take_cost_no_dump() {
    for number in ["08", "09", "abc", "", "-1", "0x10", "99999999999999999999999", "1+1", "'3 '", "000"] {
        Jail::each(|jail| {
            let settings =
                ["KDUMP_NUM_DUMPS", "SSH_KDUMP_RETRY", "NFS_MOUNT_RETRY", "NFS_TIMEO", "NFS_RETRANS"];
            let settings: String = settings.iter().map(|name| format!("{name}={number}\n")).collect();
            for target in ["", "SSH=kdump@server\n", "NFS=nas:/export\n"] {
                let _ = std::fs::remove_dir_all(jail.path("/var/crash"));
                prepare(jail, &format!("{settings}{target}"));
                let said = crate::text(&jail.run(DUMP));
                assert_eq!(jail.files("/var/crash").len(), 2, "{number} under {:?}: {said}", jail.shell);
                assert_eq!(jail.log().last().unwrap(), "reboot -f");
            }
        });
    }
}

#[test]
fn tries_without_end_have_one() {
    Jail::each(|jail| {
        prepare(jail, "NFS=nas:/export\nNFS_MOUNT_RETRY=99999999999999999999999\n");
        jail.script("/bin/mount", "#!/bin/sh\necho mount >> /log\nexit 32\n");
        jail.run(DUMP);
        assert_eq!(jail.calls("mount"), 1200);
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
    });
}

/// 6 is a whole dump with a warning, 7 an incomplete one: locally and through the pipe.
#[test]
fn exit_statuses_name_the_dump() {
    for target in ["", "SSH=kdump@server\n"] {
        for (status, name, words) in [
            (6, "/dump..age", "whole, with a warning: unfiltered"),
            (7, "/dump..age-incomplete", "incomplete (exit status 7)"),
        ] {
            Jail::each(|jail| {
                prepare(jail, &format!("{target}HOSTTAG=hostname\n"));
                jail.script("/bin/hostname", "#!/bin/sh\necho\n");
                jail.write(
                    "/stub/collector",
                    &format!(
                        "for last; do :; done; case \"$*\" in
                        dmesg*) ;;
                        *' /proc/vmcore') echo {ENCRYPTED}; exit {status} ;;
                        *) echo {ENCRYPTED} > $last; exit {status} ;; esac\n"
                    ),
                );
                let said = crate::text(&jail.run(DUMP));
                let files = shape(&jail.files("/var/crash"));
                assert!(files[1].ends_with(name) && files.len() == 2, "{files:?}");
                assert!(said.contains(words), "{said}");
                assert_eq!(said.contains("was not saved"), status == 7, "{said}");
            });
        }
    }
}

#[test]
fn ftp_is_refused_and_the_fail_command_runs() {
    Jail::each(|jail| {
        prepare(jail, "FTP=server:/crash\nKDUMP_FAIL_CMD=\"poweroff -f\"\n");
        jail.run(DUMP);
        assert_eq!(jail.log(), ["poweroff -f"]);
    });
}

#[test]
fn a_fail_command_that_fails_ends_in_a_reboot() {
    Jail::each(|jail| {
        prepare(jail, "FTP=server:/crash\nKDUMP_FAIL_CMD=/no/such/program\n");
        jail.run(DUMP);
        assert_eq!(jail.log(), ["reboot -f"]);
    });
}

/// A store of our own configuration comes before every target of kdump-tools.
#[test]
fn a_store_is_the_only_target() {
    for status in [0, 1] {
        Jail::each(|jail| {
            prepare(jail, "SSH=kdump@host\nNFS=host:/dumps\nFTP=host\n");
            jail.write("/etc/vmcore-encrypt/config", "TARGET=store\nURL=s3://crashes/4f0c/\n");
            jail.write("/proc/net/route", &format!("{NO_ROUTE}{ROUTE}"));
            jail.write("/stub/collector", &format!("[ {status} = 0 ] || exit {status}\n"));
            jail.run(DUMP);
            assert_eq!(jail.log(), ["vmcore-encrypt -d 31 /proc/vmcore s3://crashes/4f0c/", "reboot -f"]);
            jail.assert_no_plaintext();
        });
    }
}
