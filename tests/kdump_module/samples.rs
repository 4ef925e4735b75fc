//! The sample configurations under the parsing rules of their readers.

use crate::module_dir;
use std::collections::BTreeSet;
use std::fs;

/// What kdump-utils accepts in `/etc/kdump.conf`, at most once each; any other word stops kdump.
/// Source: kdump-utils `kdumpctl`, parse_config.
const KDUMP_CONF_KEYS: &str = "dracut_args raw ext2 ext3 ext4 minix btrfs xfs nfs ssh virtiofs sshkey default path \
    core_collector kdump_post kdump_pre kdump_emergency extra_bins extra_modules failure_action final_action \
    force_rebuild force_no_rebuild fence_kdump_args fence_kdump_nodes auto_reset_crashkernel";

fn kdump_confs() -> Vec<(String, Vec<(String, String)>)> {
    let mut samples: Vec<_> = fs::read_dir(module_dir().join("fedora"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.to_string_lossy().into_owned(), settings(&fs::read_to_string(path).unwrap())))
        .collect();
    samples.sort();
    samples
}

/// Key and value of each line, as kdump-utils reads them: blanks around a line do not count, a value ends before its
/// first `#`, and a pair of double quotes around all of it goes.
/// Source: kdump-utils `kdump-lib-initramfs.sh`, kdump_get_conf_val.
fn settings(conf: &str) -> Vec<(String, String)> {
    conf.lines()
        .map(|line| line.trim_matches([' ', '\t']))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once([' ', '\t']).unwrap_or((line, "")))
        .map(|(key, value)| {
            let value = value.split('#').next().unwrap().trim_matches([' ', '\t']);
            let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            (key.to_owned(), inner.unwrap_or(value).to_owned())
        })
        .collect()
}

#[test]
fn values_are_read_as_kdump_utils_reads_them() {
    let read = settings(
        "# x\n\n  path\t /a b  # c\ndracut_args \"--mount x\"\nssh u@h#p\n\traw \"/dev/x\ndefault\n",
    );
    let read: Vec<_> = read.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [
        ("path", "/a b"),
        ("dracut_args", "--mount x"),
        ("ssh", "u@h"),
        ("raw", "\"/dev/x"),
        ("default", ""),
    ];
    assert_eq!(read, expected);
}

/// The same line means the same to readers with other rules: the collector's `gate`, `check`, and a person.
#[test]
fn no_rule_of_the_reader_changes_a_value() {
    for entry in fs::read_dir(module_dir().join("fedora")).unwrap().map(|entry| entry.unwrap().path()) {
        let Some(conf) = entry.is_file().then(|| fs::read_to_string(&entry).unwrap()) else { continue };
        let lines = conf.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
        let read = settings(&conf).into_iter().map(|(key, value)| format!("{key} {value}"));
        assert_eq!(lines.collect::<Vec<_>>(), read.collect::<Vec<_>>(), "{}", entry.display());
    }
}

/// A device has a name that it keeps when a disk beside it is missing, and comes up in another order.
#[test]
fn no_sample_names_a_device_by_its_place() {
    for (name, settings) in kdump_confs() {
        for (key, value) in settings.iter().filter(|(key, _)| key != "core_collector") {
            let stable = ["UUID=", "LABEL=", "/dev/disk/by-uuid/", "/dev/disk/by-partlabel/"];
            let disk = ["ext4", "xfs", "raw"].contains(&key.as_str());
            assert!(!disk || stable.iter().any(|prefix| value.starts_with(prefix)), "{name}: {key} {value}");
            let devices = value.split([' ', '"']).filter(|word| word.starts_with("/dev/"));
            assert!(
                devices.clone().all(|device| device.starts_with("/dev/disk/by-")),
                "{name}: {key} {value}"
            );
        }
    }
}

#[test]
fn kdump_utils_accepts_every_line() {
    assert_eq!(kdump_confs().len(), 8);
    for (name, settings) in kdump_confs() {
        let mut seen = BTreeSet::new();
        for (key, _) in settings {
            assert!(KDUMP_CONF_KEYS.split_whitespace().any(|known| known == key), "{name}: {key}");
            assert!(seen.insert(key.clone()), "{name}: {key} twice");
        }
    }
}

#[test]
fn the_collector_line_survives_the_shell() {
    for (name, settings) in kdump_confs() {
        let (_, line) = settings.iter().find(|(key, _)| key == "core_collector").unwrap();
        assert!(line.starts_with("vmcore-encrypt "), "{name}");
        // kdump.sh knows no success but 0.
        assert!(line.split(' ').any(|word| word == "--warnings-exit-0"), "{name}: {line}");
        // kdump.sh rewrites a line with that word, cuts at "#", and expands the rest unquoted
        assert!(
            !line.contains("makedumpfile") && !line.contains(['#', '"', '*', '?', '\'']),
            "{name}: {line}"
        );
    }
}

/// Where kdump-utils finds no target in the configuration it adds the file system of `path`, the root's: the capture
/// kernel then waits for it, and saves nothing where it cannot be mounted.
/// Source: kdump-utils `kdump-lib.sh`, is_user_configured_dump_target.
#[test]
fn every_sample_brings_its_target_and_needs_no_other_one() {
    let targets = "ext2 ext3 ext4 xfs btrfs minix raw nfs ssh virtiofs";
    for (name, settings) in kdump_confs() {
        let own = settings.iter().filter(|(key, _)| targets.split(' ').any(|target| target == key)).count();
        let mounts: Vec<&str> = settings
            .iter()
            .filter(|(key, _)| key == "dracut_args")
            .flat_map(|(_, value)| value.split("--mount ").skip(1))
            .collect();
        assert_eq!(own + mounts.len(), 1, "{name}");
        assert!(settings.iter().all(|(_, value)| !value.contains("dump_to_rootfs")), "{name}");
        // As kdump-utils cuts the device out of it: one character after the word, then up to a blank.
        if let [mount] = mounts[..] {
            let fields: Vec<&str> = mount.trim_matches('"').split(' ').collect();
            assert_eq!(fields, ["/dev/disk/by-uuid/0000-0000", "/esp", "vfat", "defaults"]);
            assert!(mount.starts_with('"') && mount.ends_with('"'));
        }
    }
}

/// What was written when the disk is full is all that is left of the crash.
#[test]
fn samples_for_files_keep_an_incomplete_dump() {
    for (name, settings) in kdump_confs() {
        let to_file = settings.iter().any(|(key, _)| ["ext4", "xfs", "nfs"].contains(&key.as_str()));
        let line = settings.iter().find(|(key, _)| key == "core_collector").unwrap();
        assert_eq!(line.1.contains(" --keep-incomplete"), to_file, "{name}");
    }
}

#[test]
fn no_sample_gives_a_shell() {
    for (name, settings) in kdump_confs() {
        let (_, action) = settings.iter().find(|(key, _)| key == "failure_action").unwrap();
        assert_eq!(action, "reboot", "{name}");
    }
    let suse = fs::read_to_string(module_dir().join("suse/sysconfig.kdump")).unwrap();
    assert!(
        suse.contains("\nKDUMP_CONTINUE_ON_ERROR=\"true\"\n")
            && suse.contains("\nKDUMP_IMMEDIATE_REBOOT=\"true\"\n")
    );
    let debian = fs::read_to_string(module_dir().join("debian/kdump-tools")).unwrap();
    assert!(debian.contains(" acpi_no_memhotplug panic=10\"") && debian.contains("\nKDUMP_DUMP_DMESG=0\n"));
}

#[test]
fn the_capture_kernel_starts_our_unit() {
    let debian = fs::read_to_string(module_dir().join("debian/kdump-tools")).unwrap();
    let unit = debian.split("systemd.unit=").nth(1).unwrap().split(' ').next().unwrap();
    assert!(module_dir().join("debian").join(unit).exists(), "{unit}");
}

#[test]
fn the_configuration_names_every_key_the_program_knows() {
    let config = fs::read_to_string(module_dir().join("config")).unwrap();
    let defaults = vmcore_encrypt::unstable::config::Config::default().assignments();
    let known: Vec<&str> = defaults.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert!(known.len() >= 13, "{known:?}");
    for key in known {
        assert!(
            config.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{key}="))),
            "{key}"
        );
    }
}
