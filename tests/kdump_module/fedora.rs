//! The samples for `/etc/kdump.conf` under what kdump-utils does with a core collector, by a script of ours that says
//! the same in few words ([`CAPTURE`]): command lines, names given to whole dumps only, pipes without pipefail.

use crate::jail::{ENCRYPTED, Jail};
use crate::{module_dir, text};
use std::fs;

/// What the capture kernel of kdump-utils 1.0.61 does, by its documented configuration: the log is saved first, by
/// `vmcore-dmesg`; a dump has the name `vmcore` only after exit 0; over ssh and to a raw partition it goes through
/// `dd`, by a pipe whose status is that of `dd` unless the shell is bash; `kdump_pre` comes before everything but for
/// the directory of `kdumpctl test`, which has the place of the dated one and says what became of the test.
/// The collector's words are expanded without quotes.
const CAPTURE: &str = r#"#!/bin/sh
kind=file place='' path=/var/crash before='' mount=/target
while read -r key value; do
    case $key in
        core_collector) collector=$value ;;
        path) path=$value ;;
        kdump_pre) before=$value ;;
        ssh | raw) kind=$key place=$value mount='' ;;
    esac
done < /etc/kdump.conf

to_file() {
    mkdir -p "$1"
    /sbin/vmcore-dmesg /proc/vmcore > "$1/vmcore-dmesg-incomplete.txt" &&
        mv "$1/vmcore-dmesg-incomplete.txt" "$1/vmcore-dmesg.txt"
    $collector /proc/vmcore "$1/vmcore-incomplete" > /dev/console 2>&1 && mv "$1/vmcore-incomplete" "$1/vmcore"
}

to_ssh() {
    options='-i /root/.ssh/kdump_id_rsa -o BatchMode=yes -o StrictHostKeyChecking=yes'
    ssh -q $options "$place" mkdir -p "$1" || return 1
    /sbin/vmcore-dmesg /proc/vmcore | ssh $options "$place" "umask 0077 && dd of='$1/vmcore-dmesg.txt'"
    $collector /proc/vmcore | ssh $options "$place" "umask 0077 && dd bs=512 of='$1/vmcore-incomplete'" &&
        ssh $options "$place" "mv '$1/vmcore-incomplete' '$1/vmcore.flat'"
}

to_raw() {
    $collector /proc/vmcore | dd of="$place" bs=512 conv=notrunc
}

directory=$mount$path/127.0.0.1-2026-01-02-03:04:05 status=/dev/null
read -r words < /proc/cmdline
case $words in
    kdump_test_id=*)
        directory=$mount$path/kdump-test-${words#*=}
        status=$directory/vmcore-creation.status
        mkdir -p "$directory"
        ;;
esac
echo "fail $words" > "$status"
[ -z "$before" ] || $before || exec systemctl reboot -f
"to_$kind" "$directory" || exit 1
echo "success $words" > "$status"
exec systemctl reboot -f
"#;

const SCRIPT: &str = "/bin/capture";
const DATED: &str = "127.0.0.1-2026-01-02-03:04:05";
const PARTITION: &str = "/dev/disk/by-partlabel/crash";
const REBOOT: &str = "systemctl reboot -f";

/// Runs a test for each shell in a capture kernel with one of the samples as its configuration.
fn each(name: &str, test: impl Fn(&Jail)) {
    Jail::each(|jail| {
        jail.install_applets(&["dd"]);
        jail.script("/bin/systemctl", "#!/bin/sh\necho \"systemctl $*\" >> /log\n");
        jail.script(SCRIPT, CAPTURE);
        jail.copy(&jail.path("/usr/bin/vmcore-encrypt"), "/sbin/vmcore-dmesg");
        jail.write("/dev/console", "");
        jail.write("/proc/cmdline", "quiet\n");
        let sample = module_dir().join(format!("fedora/kdump.conf.{name}"));
        jail.write("/etc/kdump.conf", &fs::read_to_string(sample).unwrap());
        test(jail);
    });
}

fn dated(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{DATED}/{name}")).collect()
}

#[test]
fn a_file_dump_gets_its_name() {
    for (name, path, arguments) in
        [("boot", "/crash", "-d 31 -L 600M"), ("filesystem", "", "-d 31"), ("nfs", "", "-d 31")]
    {
        each(name, |jail| {
            let said = jail.run(SCRIPT);
            let directory = format!("/target{path}/{DATED}");
            assert_eq!(jail.files(&directory), ["vmcore", "vmcore-dmesg.txt"], "{}", text(&said));
            assert_eq!(
                jail.calls(&format!(
                    "vmcore-encrypt {arguments} --keep-incomplete --warnings-exit-0 /proc/vmcore /target{path}/"
                )),
                1,
                "{name}"
            );
            for file in jail.files(&directory) {
                assert_eq!(jail.read(&format!("{directory}/{file}")).trim(), ENCRYPTED);
            }
            assert_eq!(jail.log().last().unwrap(), REBOOT);
            jail.assert_no_plaintext();
        });
    }
}

#[test]
fn a_test_by_kdumpctl_finds_its_dump() {
    each("boot", |jail| {
        jail.write("/proc/cmdline", "kdump_test_id=1767322995-5\n");
        let said = jail.run(SCRIPT);
        let directory = "/target/crash/kdump-test-1767322995-5";
        let files = ["vmcore", "vmcore-creation.status", "vmcore-dmesg.txt"];
        assert_eq!(jail.files(directory), files, "{}", text(&said));
        let status = jail.read(&format!("{directory}/vmcore-creation.status"));
        assert_eq!(status, "success kdump_test_id=1767322995-5\n");
        assert_eq!(jail.read(&format!("{directory}/vmcore")).trim(), ENCRYPTED);
        jail.assert_no_plaintext();
    });
}

/// The collector's statuses 6 (whole, with a warning) and 7 (incomplete) under a script that knows 0 alone.
#[test]
fn a_whole_dump_with_a_warning_gets_its_name_and_an_incomplete_one_does_not() {
    for (status, file) in [(6, "vmcore"), (7, "vmcore-incomplete")] {
        each("filesystem", |jail| {
            let stub = format!(
                "case $*:{status} in *-d*) for last; do :; done; echo {ENCRYPTED} > $last
                case $*:{status} in *--warnings-exit-0*:6) exit 0 ;; *) exit {status} ;; esac ;; esac\n"
            );
            jail.write("/stub/collector", &stub);
            jail.run(SCRIPT);
            let files = jail.files(&format!("/target/{DATED}"));
            assert!(files.len() == 2 && files.iter().any(|name| name == file), "{files:?}");
            jail.assert_no_plaintext();
        });
    }
}

#[test]
fn a_failed_dump_does_not_get_its_name_and_stays() {
    each("boot", |jail| {
        // As the collector does when the disk is full: what was written stays only where it was asked to.
        let full = "for last; do :; done; [ $# = 1 ] ||
            { case \"$*\" in *' --keep-incomplete '*) echo half > $last ;; esac; exit 3; }\n";
        jail.write("/stub/collector", full);
        assert_eq!(jail.run(SCRIPT).status.code(), Some(1));
        assert_eq!(jail.files("/target/crash"), dated(&["vmcore-dmesg.txt", "vmcore-incomplete"]));
        jail.assert_no_plaintext();
    });
}

#[test]
fn a_dump_over_ssh_arrives_by_a_pipe() {
    each("ssh", |jail| {
        let said = jail.run(SCRIPT);
        let files = jail.files("/var/crash");
        assert_eq!(files, dated(&["vmcore-dmesg.txt", "vmcore.flat"]), "{}", text(&said));
        for file in &files {
            assert_eq!(jail.read(&format!("/var/crash/{file}")).trim(), ENCRYPTED);
        }
        jail.assert_no_plaintext();
    });
}

#[test]
fn a_raw_partition_gets_a_framed_dump_by_a_pipe() {
    each("raw", |jail| {
        jail.write(PARTITION, "left from before");
        let said = jail.run(SCRIPT);
        assert_eq!(
            jail.calls("vmcore-encrypt --framed -d 31 --warnings-exit-0 /proc/vmcore"),
            1,
            "{}",
            text(&said)
        );
        assert!(jail.read(PARTITION).starts_with(ENCRYPTED));
        assert_eq!(jail.log().last().unwrap(), REBOOT);
    });
}

#[test]
fn a_raw_partition_written_by_the_collector_is_left_alone_by_dd() {
    each("raw-direct", |jail| {
        jail.write(PARTITION, "written by the collector");
        jail.run(SCRIPT);
        assert_eq!(
            jail.calls(&format!(
                "vmcore-encrypt --output-device {PARTITION} -d 31 --warnings-exit-0 /proc/vmcore"
            )),
            1
        );
        assert_eq!(jail.read(PARTITION), "written by the collector");
        assert_eq!(jail.log().last().unwrap(), REBOOT);
    });
}

#[test]
fn kdump_pre_saves_to_the_esp_and_nothing_comes_after() {
    each("esp", |jail| {
        jail.write("/etc/vmcore-encrypt/config", "TARGET=file\nDEVICE=UUID=0000-0000\nFSTYPE=vfat\n");
        jail.write("/dev/disk/by-uuid/0000-0000", "");
        jail.run(SCRIPT);
        assert_eq!(jail.files("/run/vmcore-encrypt/target/crash").len(), 2);
        assert_eq!(jail.calls("reboot -f"), 1);
        // One log and one dump: the rest of the capture script saved nothing more.
        assert_eq!(jail.calls("vmcore-encrypt "), 2, "{:?}", jail.log());
        jail.assert_no_plaintext();
    });
}

#[test]
fn a_test_by_kdumpctl_does_not_hear_of_kdump_pre() {
    each("esp", |jail| {
        jail.write("/etc/vmcore-encrypt/config", "TARGET=file\nDEVICE=UUID=0000-0000\nFSTYPE=vfat\n");
        jail.write("/dev/disk/by-uuid/0000-0000", "");
        jail.write("/proc/cmdline", "kdump_test_id=1767322995-5\n");
        jail.run(SCRIPT);
        assert_eq!(jail.files("/run/vmcore-encrypt/target/crash").len(), 2);
        // Nobody came back to say otherwise.
        let status = jail.read("/target/var/crash/kdump-test-1767322995-5/vmcore-creation.status");
        assert_eq!(status, "fail kdump_test_id=1767322995-5\n");
    });
}
