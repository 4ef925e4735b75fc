//! Every script and unit as text: shellcheck, a head comment, unit files that systemd accepts.

use crate::jail::Jail;
use crate::{has, module_dir, text};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn scripts() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![module_dir()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if is_script(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_script(path: &PathBuf) -> bool {
    let content = fs::read_to_string(path).unwrap();
    content.starts_with("#!/bin/") || content.starts_with("# shellcheck shell=")
}

#[test]
fn shellcheck_finds_nothing() {
    assert!(scripts().len() >= 13, "{:?}", scripts());
    if !has("shellcheck") {
        return;
    }
    let checked = Command::new("shellcheck").args(scripts()).current_dir(module_dir()).output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked));
}

#[test]
fn every_script_says_who_runs_it() {
    for script in scripts() {
        let content = fs::read_to_string(&script).unwrap();
        let name = script.file_name().unwrap().to_string_lossy().into_owned();
        let head = content.lines().nth(1).unwrap();
        assert!(
            head.starts_with("# ") && head.contains(&format!("{name} - ")),
            "{}: {head}",
            script.display()
        );
    }
}

/// Only dracut's own module file may count on bash.
#[test]
fn scripts_of_the_capture_kernel_are_posix() {
    for script in scripts() {
        if !script.ends_with("module-setup.sh") {
            for shell in [&["dash"] as &[&str], &["busybox", "sh"]] {
                if has(shell[0]) {
                    let parsed =
                        Command::new(shell[0]).args(&shell[1..]).arg("-n").arg(&script).output().unwrap();
                    assert!(parsed.status.success(), "{}", text(&parsed));
                }
            }
        }
    }
}

#[test]
fn systemd_accepts_the_units() {
    if !has("systemd-analyze") {
        return;
    }
    let units = tempfile::TempDir::new().unwrap();
    for directory in ["systemd", "debian"] {
        for entry in fs::read_dir(module_dir().join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().replace("@.", "@dev-sda1.");
            if path.extension().is_some_and(|end| end == "service" || end == "timer" || end == "path") {
                // no program of these units is installed here
                let unit =
                    fs::read_to_string(&path).unwrap().replace("=/usr/bin/vmcore-encrypt", "=/bin/true");
                let unit = unit.replace("=/usr/sbin/vmcore-encrypt-rearm", "=/bin/true");
                let unit = unit.replace("=/usr/sbin/vmcore-encrypt-load", "=/bin/true");
                let unit = unit.replace("=/usr/sbin/vmcore-encrypt-presign", "=/bin/true");
                let unit = unit.replace("=/usr/sbin/kexec", "=/bin/true");
                let unit = unit.replace("=/usr/lib/vmcore-encrypt/debian-dump", "=/bin/true");
                fs::write(units.path().join(name), unit).unwrap();
            }
        }
    }
    let files: Vec<_> = fs::read_dir(units.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 13);
    let verified =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&files).output().unwrap();
    let said: Vec<String> =
        text(&verified).lines().filter(|line| line.contains("vmcore-encrypt")).map(str::to_owned).collect();
    assert_eq!(said, Vec::<String>::new());
}

/// The command of a unit, as systemd gives it to `execve`: `%f` is the device, `$$` a dollar.
fn exec_start(unit: &str, device: &str) -> String {
    let unit = fs::read_to_string(module_dir().join("systemd").join(unit)).unwrap().replace("\\\n", " ");
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    command.replace("%f", &format!("'{device}'")).replace("$$", "$")
}

#[test]
fn a_dump_is_collected_where_the_configuration_tells_whatever_is_in_it() {
    let unit = exec_start("vmcore-encrypt-collect@.service", "/dev/the disk");
    let called = |destination: &str, reserve: &str| {
        format!("vmcore-encrypt collect --device /dev/the disk --dest {destination} --reserve {reserve}M")
    };
    let directory = "/it's $(touch pwned) \"`touch pwned`\"";
    for (config, destination, reserve) in [
        ("", "/var/crash", "64"),
        (&*format!("COLLECT_DIR={directory}\nRESERVE=08\n"), directory, "8"),
        ("COLLECT_DIR=/elsewhere\nRESERVE=8\nKEEP=x\n", "/var/crash", "64"),
        ("COLLECT_DIR=elsewhere\n", "/var/crash", "64"),
    ] {
        Jail::each(|jail| {
            jail.write("/etc/vmcore-encrypt/config", config);
            jail.script("/bin/unit", &format!("#!/bin/sh\n{unit}\n"));
            jail.run("/bin/unit");
            assert_eq!(jail.log(), [called(destination, reserve)], "{config:?} under {:?}", jail.shell);
            assert!(!jail.path("/pwned").exists());
        });
    }
}
