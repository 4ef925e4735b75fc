//! What may not be believed: names that a remote shell would run, directories made in advance, files that end the
//! shell which reads them. Whatever happens the machine leaves, and nothing is in plain.

use crate::jail::{ENCRYPTED, Jail, Shell};
use crate::text;
use std::fs;
use std::os::unix::fs::symlink;

const SAVE: &str = "/usr/lib/vmcore-encrypt/save";
const DUMP: &str = "/usr/lib/vmcore-encrypt/debian-dump";
const TRANSFER: &str = "/usr/lib/vmcore-encrypt/suse-transfer";
const FUNCTIONS: &str = "/usr/lib/vmcore-encrypt/functions.sh";
pub(crate) const STAMP: &str = "20260102030405";
const CRASH: &str = "/run/vmcore-encrypt/target/crash";

/// Names that mean something to a shell, to ssh or to `echo`.
pub(crate) const NAMES: &[&str] = &[
    "it's",
    "a'; touch pwned; '",
    "'",
    "''",
    "\"$(touch pwned)`touch pwned`\"",
    "$HOME; touch pwned #",
    "-rf",
    "--",
    "a b  c",
    "*",
    "two\nlines; touch pwned",
    "back\\slash\\c\\0101\\'",
    "!history",
    "~root",
    "&& touch pwned",
];

/// Both the file and the name of a host: what `hostname` prints and `/etc/hostname.kdump` holds.
pub(crate) fn name_host(jail: &Jail, name: &str) {
    jail.script("/bin/hostname", "#!/bin/sh\ncat /stub/hostname\n");
    jail.write("/stub/hostname", name);
    jail.write("/etc/hostname.kdump", name);
}

/// It is 2026-01-02 03:04:05 here, also by `date -d @SECONDS`.
pub(crate) fn stop_clock(jail: &Jail) {
    let date = "#!/bin/sh\ncase $* in
        +%s) echo 1767323045 ;;
        -d*) exec /bin/busybox date -u \"$@\" ;;
        *) exec /bin/busybox date -u -d @1767323045 \"$@\" ;;\nesac\n";
    jail.write("/bin/date.own", "");
    fs::remove_file(jail.path("/bin/date")).unwrap();
    jail.script("/bin/date", date);
    if let Shell::Busybox = jail.shell {
        jail.write(FUNCTIONS, &(jail.read(FUNCTIONS) + "date() { /bin/date \"$@\"; }\n"));
    }
}

fn append(jail: &Jail, path: &str, lines: &str) {
    jail.write(path, &format!("{}\n{lines}\n", jail.read(path)));
}

fn assert_harmless(jail: &Jail, what: &str) {
    assert!(
        !jail.path("/pwned").exists() && !jail.path("/remote/pwned").exists(),
        "{what}: {:?}",
        jail.shell
    );
    jail.assert_no_plaintext();
}

#[test]
fn no_host_name_runs_a_command_on_the_server() {
    Jail::each(|jail| {
        stop_clock(jail);
        jail.write("/etc/default/kdump-tools", "SSH=kdump@server\nHOSTTAG=hostname\n");
        for name in NAMES {
            let _ = fs::remove_dir_all(jail.path("/var/crash"));
            name_host(jail, name);
            let said = text(&jail.run(DUMP));
            assert_harmless(jail, name);
            let directory = format!("/var/crash/{name}-{STAMP}");
            let files = [format!("dmesg.{STAMP}.age"), format!("dump.{STAMP}.age")];
            assert_eq!(jail.files(&directory), files, "{name:?} under {:?}: {said}", jail.shell);
        }
    });
}

#[test]
fn no_directory_runs_a_command_on_the_server() {
    Jail::each(|jail| {
        stop_clock(jail);
        name_host(jail, "host1");
        for name in NAMES {
            let settings = format!("SSH=kdump@server\nHOSTTAG=hostname\nKDUMP_COREDIR={}\n", quoted(name));
            jail.write("/etc/default/kdump-tools", &settings);
            let said = text(&jail.run(DUMP));
            assert_harmless(jail, name);
            let directory = format!("/remote/{name}/host1-{STAMP}");
            assert_eq!(jail.files(&directory).len(), 2, "{name:?} under {:?}: {said}", jail.shell);
        }
    });
}

pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[test]
fn no_name_of_suse_runs_a_command_on_the_server() {
    Jail::each(|jail| {
        stop_clock(jail);
        for name in NAMES {
            let one_line = name.replace('\n', " ");
            name_host(jail, &one_line);
            let settings =
                format!("KDUMP_PROTO=ssh\nKDUMP_SAVEDIR={}\n", quoted(&format!("SSH://server/top/{name}")));
            jail.write("/etc/kdump.conf", &settings);
            let run = jail.run(TRANSFER);
            assert_harmless(jail, name);
            let directory = format!("/top/{name}/{}-2026-01-02-03-04", one_line.trim_matches(' '));
            assert_eq!(jail.files(&directory).len(), 3, "{name:?} under {:?}: {}", jail.shell, text(&run));
            assert!(run.status.success());
        }
    });
}

#[test]
fn local_names_are_no_options() {
    Jail::each(|jail| {
        stop_clock(jail);
        for name in NAMES {
            let settings = format!("KDUMP_COREDIR={}\nKDUMP_NUM_DUMPS=1\n", quoted(name));
            jail.write("/etc/default/kdump-tools", &settings);
            jail.write(&format!("/{name}/20200101/dump.20200101.age"), "old");
            let said = text(&jail.run(DUMP));
            assert_harmless(jail, name);
            let files = [format!("{STAMP}/dmesg.{STAMP}.age"), format!("{STAMP}/dump.{STAMP}.age")];
            assert_eq!(jail.files(&format!("/{name}")), files, "{name:?} under {:?}: {said}", jail.shell);
        }
    });
}

#[test]
fn a_host_name_is_never_a_path() {
    Jail::each(|jail| {
        stop_clock(jail);
        name_host(jail, "../../etc/x");
        for settings in ["NFS=nas:/export\nHOSTTAG=hostname\n", "SSH=kdump@server\nHOSTTAG=hostname\n"] {
            let _ = fs::remove_dir_all(jail.path("/var/crash"));
            jail.write("/etc/default/kdump-tools", settings);
            jail.run(DUMP);
            assert_eq!(jail.files(&format!("/var/crash/.._.._etc_x-{STAMP}")).len(), 2, "{settings}");
        }
    });
}

#[test]
fn a_server_that_looks_like_an_option_is_refused() {
    Jail::each(|jail| {
        jail.write("/etc/default/kdump-tools", "SSH=-oProxyCommand=touch$IFS/pwned\nSSH_KDUMP_RETRY=2\n");
        let said = text(&jail.run(DUMP));
        assert!(said.contains("is not a host"), "{said}");
        assert_eq!(jail.calls("ssh") + jail.calls("vmcore-encrypt"), 0);
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
    });
}

/// What another user makes in a directory that everybody may write to, before the crash.
fn make_in_advance(jail: &Jail, directory: &str, files: &[&str]) {
    fs::create_dir_all(jail.path(directory)).unwrap();
    for file in files {
        symlink("/victim", jail.path(&format!("{directory}/{file}"))).unwrap();
        symlink("/victim", jail.path(&format!("{directory}/{file}-incomplete"))).unwrap();
    }
}

#[test]
fn a_directory_made_in_advance_is_not_written_into() {
    let ours = [format!("dump.{STAMP}.age"), format!("dmesg.{STAMP}.age")];
    let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
    let cases: [(&str, &str, &str, &[&str]); 5] = [
        (DUMP, "", "/var/crash/20260102030405", &ours),
        (DUMP, "SSH=kdump@server\n", "/var/crash/192.0.2.7-20260102030405", &ours),
        (DUMP, "NFS=nas:/export\n", "/var/crash/192.0.2.7-20260102030405", &ours),
        (SAVE, "", "/run/vmcore-encrypt/target/crash/2026-01-02-03-04-05", &["vmcore.age", "dmesg.age"]),
        (TRANSFER, "", "/kdump/mnt/var/crash/2026-01-02-03-04", &["vmcore.age", "dmesg.age", "README.txt"]),
    ];
    for (script, settings, directory, files) in cases {
        Jail::each(|jail| {
            stop_clock(jail);
            jail.write("/victim", "precious");
            jail.write("/dev/sda1", "");
            jail.write("/etc/vmcore-encrypt/config", "TARGET=file\nDEVICE=/dev/sda1\nFSTYPE=ext4\n");
            jail.write("/etc/kdump.conf", "KDUMP_PROTO=file\nKDUMP_SAVEDIR=/var/crash\n");
            jail.write("/etc/default/kdump-tools", settings);
            make_in_advance(jail, directory, files);
            let said = text(&jail.run(script));
            assert_eq!(jail.read("/victim"), "precious", "{said}");
            let parent = directory.rsplit_once('/').unwrap().0;
            let saved = jail
                .files(parent)
                .iter()
                .filter(|file| !file.starts_with(&directory[parent.len() + 1..]) || file.contains("-1/"))
                .count();
            assert_eq!(saved, files.len(), "{:?}: {:?} {said}", jail.shell, jail.files(parent));
            jail.assert_no_plaintext();
        });
    }
}

/// A link to nowhere, to a directory, a file: all in the place of the new directory.
#[test]
fn neither_is_a_link_in_its_place() {
    for target in ["/nowhere", "/elsewhere", "/victim"] {
        Jail::each(|jail| {
            stop_clock(jail);
            jail.write("/victim", "precious");
            jail.write("/elsewhere/keep", "");
            jail.write("/etc/default/kdump-tools", "");
            fs::create_dir_all(jail.path("/var/crash")).unwrap();
            symlink(target, jail.path(&format!("/var/crash/{STAMP}"))).unwrap();
            jail.run(DUMP);
            assert_eq!(jail.files(&format!("/var/crash/{STAMP}-1")).len(), 2);
            assert_eq!(jail.files("/elsewhere"), ["keep"]);
            assert!(!jail.path("/nowhere").exists());
            assert_eq!(jail.read("/victim"), "precious");
        });
    }
}

#[test]
fn where_all_names_are_taken_it_has_one_that_nobody_knew() {
    Jail::each(|jail| {
        stop_clock(jail);
        jail.write("/etc/default/kdump-tools", "");
        for suffix in ["", "-1", "-2", "-3", "-4", "-5", "-6", "-7", "-8", "-9"] {
            fs::create_dir_all(jail.path(&format!("/var/crash/{STAMP}{suffix}"))).unwrap();
        }
        jail.run(DUMP);
        assert_eq!(jail.files("/var/crash"), Vec::<String>::new(), "no random name here");
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
        jail.write("/proc/sys/kernel/random/uuid", "00c0ffee-0000\n");
        jail.run(DUMP);
        assert_eq!(jail.files(&format!("/var/crash/{STAMP}-00c0ffee-0000")).len(), 2);
    });
}

/// Lines after which a POSIX shell ends at once, or a script that counts on its settings goes astray.
const FATAL: &[&str] = &[
    ": $((08))",
    "echo $((1 +))",
    ". /no/such/file",
    "readonly fatal=1; fatal=2",
    "set -u; : $no_such_variable",
    ": ${no_such_variable?}",
    "eval 'if'",
    "exec 7< /no/such/file",
    "exit 0",
    "exit 99",
    "kill -TERM $$",
    "kill -HUP $$",
    "unset -f leave_alone; return 3; false",
];

#[test]
fn an_error_anywhere_in_a_script_ends_in_a_reboot() {
    for (script, function) in
        [(SAVE, "load_config"), (SAVE, "whole"), (DUMP, "load_config"), (DUMP, "numbered")]
    {
        for fatal in FATAL {
            Jail::each(|jail| an_error_in(jail, script, function, fatal));
        }
    }
}

fn an_error_in(jail: &Jail, script: &str, function: &str, fatal: &str) {
    jail.write("/dev/sda1", "");
    jail.write("/etc/vmcore-encrypt/config", "TARGET=file\nDEVICE=/dev/sda1\nFSTYPE=ext4\n");
    jail.write("/etc/default/kdump-tools", "KDUMP_NUM_DUMPS=2\n");
    append(jail, FUNCTIONS, &format!("{function}() {{\n{fatal}\n}}"));
    jail.run(script);
    assert_eq!(
        jail.calls("reboot -f"),
        1,
        "{script}: {function}: {fatal} under {:?}: {:?}",
        jail.shell,
        jail.log()
    );
    assert_eq!(jail.log().last().unwrap(), "reboot -f");
    jail.assert_no_plaintext();
}

#[test]
fn an_error_in_the_file_of_kdump_tools_ends_in_a_reboot() {
    for fatal in FATAL.iter().chain(&[
        "if",
        "KDUMP_COREDIR='",
        "PATH=/nowhere",
        "IFS=/0",
        "set -eu",
        "set +f; cd /",
        "STAMP=x; readonly STAMP",
    ]) {
        Jail::each(|jail| {
            jail.write("/etc/default/kdump-tools", &format!("{fatal}\n"));
            jail.run(DUMP);
            assert_eq!(jail.calls("reboot -f"), 1, "{fatal} under {:?}: {:?}", jail.shell, jail.log());
            assert_eq!(jail.log().last().unwrap(), "reboot -f");
            for file in jail.files("/var/crash") {
                assert_eq!(jail.read(&format!("/var/crash/{file}")).trim(), ENCRYPTED);
            }
            jail.assert_no_plaintext();
        });
    }
}

/// The settings of the file do not become those of the script.
#[test]
fn settings_of_the_shell_in_that_file_cost_no_dump() {
    for harmless in ["PATH=/nowhere", "IFS=/0", "set -eu", "set +f; cd /var", "umask 0", "LC_ALL=de_DE.UTF-8"]
    {
        Jail::each(|jail| {
            jail.write("/etc/default/kdump-tools", &format!("{harmless}\n"));
            let said = text(&jail.run(DUMP));
            assert_eq!(jail.files("/var/crash").len(), 2, "{harmless} under {:?}: {said}", jail.shell);
        });
    }
}

#[test]
fn suse_hears_of_every_error() {
    for fatal in FATAL.iter().chain(&["if", "KDUMP_SAVEDIR='"]) {
        Jail::each(|jail| {
            jail.write("/etc/kdump.conf", &format!("KDUMP_PROTO=file\nKDUMP_SAVEDIR=/var/crash\n{fatal}\n"));
            let ran = jail.run(TRANSFER);
            assert!(!ran.status.success(), "{fatal} under {:?}: {}", jail.shell, text(&ran));
            jail.assert_no_plaintext();
        });
    }
    Jail::each(|jail| {
        let _ = fs::remove_file(jail.path("/etc/kdump.conf"));
        assert!(!jail.run(TRANSFER).status.success());
    });
}

#[test]
fn without_functions_the_kernel_reboots() {
    for broken in [None, Some("if\n"), Some("exit 0\n"), Some(": $((08))\n")] {
        for script in [SAVE, DUMP] {
            Jail::each(|jail| {
                jail.write("/etc/vmcore-encrypt/config", "TARGET=file\n");
                match broken {
                    None => fs::remove_file(jail.path(FUNCTIONS)).unwrap(),
                    Some(text) => jail.write(FUNCTIONS, text),
                }
                let ran = jail.run(script);
                assert_eq!(ran.status.code(), Some(1), "{broken:?} under {:?}", jail.shell);
                assert_eq!(jail.read("/proc/sysrq-trigger"), "b\n");
                assert_eq!(jail.files(CRASH), Vec::<String>::new());
            });
        }
    }
}

/// What may become of the program that knows the configuration. Half an answer is no answer.
const NO_CONFIGURATION: &[&str] = &[
    "exit 0",
    "exit 1",
    "exit 2",
    "kill -9 $$",
    "echo TARGET=\\'file\\'; exit 1",
    "echo DEVICE=\\'/dev/sda1\\'; kill -9 $$",
    "echo 'if'; exit 0",
    "echo \"TARGET='\"; exit 0",
];

#[test]
fn without_a_checked_configuration_nothing_is_saved() {
    for failing in NO_CONFIGURATION {
        for script in [SAVE, DUMP, TRANSFER] {
            Jail::each(|jail| {
                jail.write("/dev/sda1", "");
                jail.write("/etc/vmcore-encrypt/config", "TARGET=file\nDEVICE=/dev/sda1\nFSTYPE=ext4\n");
                jail.write("/etc/default/kdump-tools", "");
                jail.write("/etc/kdump.conf", "KDUMP_PROTO=file\nKDUMP_SAVEDIR=/var/crash\n");
                jail.write("/stub/config", &format!("{failing}\n"));
                let ran = jail.run(script);
                let what = format!("{script}: {failing} under {:?}: {}", jail.shell, text(&ran));
                assert!(!ran.status.success(), "{what}");
                let left: &[&str] = if script == TRANSFER { &[] } else { &["reboot -f"] };
                assert_eq!(jail.log(), left, "{what}");
                for directory in [CRASH, "/var/crash", "/kdump/mnt"] {
                    assert_eq!(jail.files(directory), Vec::<String>::new(), "{what}");
                }
                jail.assert_no_plaintext();
            });
        }
    }
}
