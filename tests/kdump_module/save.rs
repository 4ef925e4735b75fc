//! `save`: the target of `/etc/vmcore-encrypt/config`, saved from the initramfs.

use crate::jail::{ENCRYPTED, Jail, NO_ROUTE, ROUTE};
use std::os::unix::fs::PermissionsExt;

const SAVE: &str = "/usr/lib/vmcore-encrypt/save";
const TARGET: &str = "/run/vmcore-encrypt/target";
const TO_FILE: &str = "TARGET=file\nDEVICE=/dev/sda1\nFSTYPE=ext4\n";

fn prepare(jail: &Jail, config: &str) {
    jail.write("/log", "");
    jail.write("/etc/vmcore-encrypt/config", config);
    jail.write("/dev/sda1", "");
}

/// The names under /crash with the changing date taken out.
fn dumps(jail: &Jail) -> Vec<String> {
    let files = jail.files(&format!("{TARGET}/crash"));
    files.iter().map(|file| file.rsplit('/').next().unwrap().to_owned()).collect()
}

#[test]
fn a_whole_dump_gets_its_name_and_the_machine_reboots() {
    Jail::each(|jail| {
        prepare(jail, TO_FILE);
        jail.run(SAVE);
        assert_eq!(dumps(jail), ["dmesg.age", "vmcore.age"]);
        let log = jail.log();
        let limit = 1_500_000 * 1024 - 64 * 1_048_576;
        assert!(log.contains(&format!("mount -t ext4 -o rw /dev/sda1 {TARGET}")), "{log:?}");
        assert!(log.iter().any(|call| {
            call.starts_with(&format!(
                "vmcore-encrypt -d 31 --keep-incomplete -L {limit} /proc/vmcore {TARGET}/crash/"
            )) && call.ends_with("/vmcore.age-incomplete")
        }));
        assert_eq!(log[log.len() - 2..], [format!("umount {TARGET}"), "reboot -f".into()]);
        jail.assert_no_plaintext();
    });
}

#[test]
fn dumps_are_for_root_only() {
    Jail::each(|jail| {
        prepare(jail, TO_FILE);
        jail.run(SAVE);
        for file in jail.files(TARGET) {
            let mode = jail.path(TARGET).join(file).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    });
}

#[test]
fn a_failed_or_killed_collector_leaves_an_incomplete_name() {
    for end in ["exit 3", "kill -9 $$"] {
        Jail::each(|jail| {
            prepare(jail, &format!("{TO_FILE}ON_FAILURE=poweroff\nDMESG=no\n"));
            let half = format!("for last; do :; done; echo {ENCRYPTED} > $last; {end}\n");
            jail.write("/stub/collector", &half);
            jail.run(SAVE);
            assert_eq!(dumps(jail), ["vmcore.age-incomplete"]);
            assert_eq!(jail.log().last().unwrap(), "poweroff -f");
            assert_eq!(jail.calls("vmcore-encrypt dmesg"), 0);
            jail.assert_no_plaintext();
        });
    }
}

#[test]
fn a_missing_collector_saves_nothing() {
    Jail::each(|jail| {
        prepare(jail, TO_FILE);
        std::fs::remove_file(jail.path("/usr/bin/vmcore-encrypt")).unwrap();
        jail.run(SAVE);
        assert_eq!(dumps(jail), Vec::<String>::new());
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
        jail.assert_no_plaintext();
    });
}

#[test]
fn a_lost_log_does_not_cost_the_dump() {
    Jail::each(|jail| {
        prepare(jail, TO_FILE);
        jail.write("/stub/collector", "[ \"$1\" != dmesg ] || exit 1\n");
        jail.run(SAVE);
        assert_eq!(dumps(jail), ["vmcore.age"]);
    });
}

#[test]
fn the_reserve_is_never_written_into() {
    Jail::each(|jail| {
        prepare(jail, TO_FILE);
        jail.write("/stub/df", "/dev/sda1 2000000 1950000 50000 98% /run/vmcore-encrypt/target\n");
        jail.run(SAVE);
        assert_eq!(jail.calls("vmcore-encrypt"), 0);
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
    });
}

#[test]
fn on_fat_a_dump_may_be_in_several_files() {
    Jail::each(|jail| {
        prepare(jail, "TARGET=file\nDEVICE=UUID=12AB-34CD\n");
        jail.write("/dev/disk/by-uuid/12AB-34CD", "");
        jail.write("/stub/blkid", "vfat\n");
        jail.write("/stub/collector", MORE_FILES);
        jail.run(SAVE);
        assert_eq!(dumps(jail), ["dmesg.age", "vmcore.age", "vmcore.age.001", "vmcore.age.002"]);
        assert!(jail.files(TARGET).iter().all(|name| !name.contains([':', '*', '?'])));
    });
}

/// A collector whose dump does not fit one file.
const MORE_FILES: &str = "if [ \"$1\" != dmesg ]; then
    for last; do :; done
    echo more > \"$last.001\"
    echo most > \"$last.002\"
fi
";

#[test]
fn a_luks_device_is_refused() {
    Jail::each(|jail| {
        prepare(jail, "TARGET=file\nDEVICE=/dev/sda1\n");
        jail.write("/stub/blkid", "crypto_LUKS\n");
        let said = jail.run(SAVE);
        assert!(crate::text(&said).contains("it is encrypted"));
        assert_eq!(jail.calls("mount"), 0);
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
    });
}

#[test]
fn old_dumps_make_room() {
    Jail::each(|jail| {
        prepare(jail, &format!("{TO_FILE}KEEP=2\n"));
        for day in ["01", "02", "03"] {
            jail.write(&format!("{TARGET}/crash/2020-01-{day}-10-00-00/vmcore.age"), "");
        }
        jail.write(&format!("{TARGET}/crash/lost+found/keep"), "");
        jail.run(SAVE);
        let files = jail.files(&format!("{TARGET}/crash"));
        assert_eq!(files.iter().filter(|file| file.ends_with("/vmcore.age")).count(), 2, "{files:?}");
        assert_eq!(files[0], "2020-01-03-10-00-00/vmcore.age");
        assert!(files.contains(&"lost+found/keep".to_owned()));
    });
}

#[test]
fn a_raw_device_is_written_by_the_collector() {
    Jail::each(|jail| {
        prepare(
            jail,
            "TARGET=raw\nDEVICE=PARTLABEL=crash\nDUMP_LEVEL=1,31\nCOLLECTOR_ARGS=--num-threads 2\n",
        );
        jail.write("/dev/disk/by-partlabel/crash", "");
        jail.run(SAVE);
        assert_eq!(
            jail.log(),
            [
                "vmcore-encrypt -d 1,31 --num-threads 2 --output-device /dev/disk/by-partlabel/crash /proc/vmcore",
                "reboot -f"
            ]
        );
    });
}

#[test]
fn an_absent_device_is_waited_for_and_given_up() {
    Jail::each(|jail| {
        prepare(jail, "TARGET=raw\nDEVICE=/dev/nvme0n1p9\nDEVICE_TIMEOUT=4\nON_FAILURE=halt\n");
        jail.run(SAVE);
        assert_eq!(jail.calls("sleep 1"), 4);
        assert_eq!(jail.calls("vmcore-encrypt"), 0);
        assert_eq!(jail.log().last().unwrap(), "halt -f");
    });
}

#[test]
fn a_bad_configuration_reboots_without_a_dump() {
    for bad in [
        "TARGET=usb\n",
        "KEEP=many\n",
        "DUMP_LEVEL=1,,31\n",
        "TARGTE=file\n",
        "just words\n",
        "ON_FAILURE=shell\n",
        "TARGET=file\n",
    ] {
        Jail::each(|jail| {
            prepare(jail, bad);
            jail.run(SAVE);
            assert_eq!(jail.log(), ["reboot -f"], "{bad:?} under {:?}", jail.shell);
        });
    }
}

#[test]
fn values_are_data() {
    Jail::each(|jail| {
        prepare(jail, &format!("{TO_FILE}DIRECTORY=/crash$(reboot)\nCOLLECTOR_ARGS=$(poweroff) `halt` *\n"));
        jail.run(SAVE);
        assert_eq!(jail.calls("vmcore-encrypt -d 31 $(poweroff) `halt` * --keep-incomplete -L"), 1);
        assert_eq!(jail.calls("poweroff") + jail.calls("halt"), 0);
        assert_eq!(jail.calls("reboot"), 1);
    });
}

#[test]
fn nothing_happens_without_a_vmcore() {
    Jail::each(|jail| {
        prepare(jail, TO_FILE);
        jail.write("/proc/vmcore", "");
        assert!(jail.run(SAVE).status.success());
        assert_eq!(jail.log(), Vec::<String>::new());
    });
}

/// kdump-utils goes on to its own collector only after a `kdump_pre` that ends with 0.
#[test]
fn when_kdump_chooses_nothing_is_saved_and_that_is_no_success() {
    Jail::each(|jail| {
        prepare(jail, "TARGET=kdump\n");
        assert_eq!(jail.run(SAVE).status.code(), Some(1));
        assert_eq!(jail.log(), Vec::<String>::new());
    });
}

#[test]
fn a_whole_dump_with_a_warning_gets_its_name_and_the_log_says_so() {
    Jail::each(|jail| {
        prepare(jail, TO_FILE);
        jail.write("/stub/collector", &ending_with(6));
        let said = crate::text(&jail.run(SAVE));
        assert_eq!(dumps(jail), ["dmesg.age", "vmcore.age"]);
        assert!(said.contains("saved whole, with a warning: unfiltered"), "{said}");
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
    });
}

#[test]
fn an_incomplete_dump_never_gets_its_name() {
    Jail::each(|jail| {
        prepare(jail, &format!("{TO_FILE}ON_FAILURE=halt\n"));
        jail.write("/stub/collector", &ending_with(7));
        let said = crate::text(&jail.run(SAVE));
        assert_eq!(dumps(jail), ["dmesg.age", "vmcore.age-incomplete"]);
        assert!(said.contains("incomplete (exit status 7)") && said.contains("was not saved"), "{said}");
        assert_eq!(jail.log().last().unwrap(), "halt -f");
        jail.assert_no_plaintext();
    });
}

/// A collector that writes its dump and ends with a status; the log it saves as ever.
fn ending_with(status: u8) -> String {
    format!("for last; do :; done; [ \"$1\" = dmesg ] || {{ echo {ENCRYPTED} > $last; exit {status}; }}\n")
}

#[test]
fn statuses_of_a_raw_dump_mean_the_same() {
    for (status, end) in [(0, "reboot -f"), (6, "reboot -f"), (7, "halt -f"), (1, "halt -f")] {
        Jail::each(|jail| {
            prepare(jail, "TARGET=raw\nDEVICE=/dev/sda1\nON_FAILURE=halt\n");
            jail.write("/stub/collector", &format!("exit {status}\n"));
            jail.run(SAVE);
            assert_eq!(jail.log().last().unwrap(), end, "{status}");
        });
    }
}

#[test]
fn numbers_are_decimal_and_of_any_size() {
    for numbers in [
        "KEEP=08\nRESERVE=09\nDEVICE_TIMEOUT=08\n",
        "KEEP=00\nRESERVE=000\n",
        "KEEP=99999999999999999999999999\nDEVICE_TIMEOUT=18446744073709551616\n",
    ] {
        Jail::each(|jail| {
            prepare(jail, &format!("{TO_FILE}{numbers}"));
            let said = crate::text(&jail.run(SAVE));
            assert_eq!(dumps(jail), ["dmesg.age", "vmcore.age"], "{numbers}{said}");
            assert_eq!(jail.log().last().unwrap(), "reboot -f");
        });
    }
}

#[test]
fn what_is_no_number_reboots_without_a_dump() {
    for bad in ["KEEP=\n", "KEEP=-1\n", "RESERVE=0x40\n", "DEVICE_TIMEOUT=1+1\n", "KEEP=3 \n"] {
        Jail::each(|jail| {
            prepare(jail, &format!("{TO_FILE}{bad}"));
            jail.run(SAVE);
            assert_eq!(jail.log(), ["reboot -f"], "{bad:?} under {:?}", jail.shell);
        });
    }
}

#[test]
fn the_directory_stays_on_the_device() {
    Jail::each(|jail| {
        prepare(jail, &format!("{TO_FILE}DIRECTORY=crash\n"));
        jail.run(SAVE);
        assert_eq!(dumps(jail), ["dmesg.age", "vmcore.age"]);
        prepare(jail, &format!("{TO_FILE}DIRECTORY=/crash/../../elsewhere\n"));
        let said = crate::text(&jail.run(SAVE));
        assert!(said.contains("must not leave the device"), "{said}");
        assert_eq!(jail.log(), ["reboot -f"]);
    });
}

#[test]
fn a_machine_that_cannot_reboot_never_gets_a_shell() {
    Jail::each(|jail| {
        prepare(jail, TO_FILE);
        jail.script("/bin/reboot", "#!/bin/sh\necho no reboot >> /log\n");
        jail.script("/bin/sleep", "#!/bin/sh\necho sleep >> /log\nkill -9 $PPID\n");
        jail.run(SAVE);
        assert_eq!(jail.log()[jail.log().len() - 2..], ["no reboot", "sleep"]);
        assert_eq!(jail.read("/proc/sysrq-trigger"), "b\n");
    });
}

const TO_STORE: &str =
    "TARGET=store\nURL=s3://crashes/4f0c/\nCOLLECTOR_ARGS=--ca-file /etc/ca.pem\nDEVICE_TIMEOUT=7\n";

#[test]
fn a_store_gets_the_dump_once_the_network_is_up() {
    for ipv6 in [false, true] {
        Jail::each(|jail| {
            prepare(jail, TO_STORE);
            if ipv6 {
                let zeros = "0".repeat(32);
                let route = format!("{zeros} 00 {zeros} 00 fe80 00000400 00000001 00000000 00000003 eth0\n");
                jail.write("/proc/net/ipv6_route", &route);
            } else {
                jail.write("/proc/net/route", &format!("{NO_ROUTE}{ROUTE}"));
            }
            jail.run(SAVE);
            let line = "vmcore-encrypt -d 31 --ca-file /etc/ca.pem /proc/vmcore s3://crashes/4f0c/";
            assert_eq!(jail.log(), [line, "reboot -f"], "neither mounted nor written elsewhere");
            jail.assert_no_plaintext();
        });
    }
}

/// A server beside the machine needs no route; the collector tries, and what it reports counts.
#[test]
fn a_network_that_does_not_come_up_is_waited_for_and_no_longer() {
    Jail::each(|jail| {
        prepare(jail, &format!("{TO_STORE}ON_FAILURE=poweroff\n"));
        let zeros = "0".repeat(32);
        // The kernel's own entry for what cannot be reached.
        let route = format!("{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200 lo\n");
        jail.write("/proc/net/ipv6_route", &route);
        jail.write("/stub/collector", "exit 1\n");
        jail.run(SAVE);
        assert_eq!(jail.calls("sleep 1"), 7);
        assert_eq!(jail.calls("vmcore-encrypt -d 31"), 1, "once, and nothing else: {:?}", jail.log());
        assert_eq!(jail.log().last().unwrap(), "poweroff -f");
        jail.assert_no_plaintext();
    });
}

#[test]
fn urls_made_beforehand_need_no_place() {
    Jail::each(|jail| {
        prepare(jail, "TARGET=store\nCOLLECTOR_ARGS=--presigned /etc/urls\n");
        jail.write("/proc/net/route", &format!("{NO_ROUTE}{ROUTE}"));
        jail.run(SAVE);
        assert_eq!(jail.log()[0], "vmcore-encrypt -d 31 --presigned /etc/urls /proc/vmcore");
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
    });
}
