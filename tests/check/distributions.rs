//! What each distribution's configuration of kdump means for the dump: it is saved, encrypted, or the check reports why not.

use crate::{DEBIAN, FEDORA, Machine, OWN, SUSE, lines_of};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn kdump_conf_means_what_kdump_utils_reads() {
    for conf in [
        FEDORA.replace("vmcore-encrypt -d 31", "\"vmcore-encrypt -d 31\""),
        FEDORA.replace("core_", "core_collector makedumpfile\ncore_"),
        FEDORA.replace("failure_action reboot", "failure_action shell\ndefault \"poweroff\""),
    ] {
        assert_eq!(Machine::fedora(&conf).problems(), Vec::<String>::new(), "{conf}");
    }
    Machine::fedora(&format!("{FEDORA}core_collector makedumpfile\n")).has_only("line 4: core_collector of");
    Machine::fedora(&FEDORA.replace("failure_action", "default").replace("reboot", "shell"))
        .has_only("shell");
    Machine::fedora(&FEDORA.replace("31", "310")).has_only("every dump would fail");
    Machine::fedora(&format!("kdump_pre /usr/lib/vmcore-encrypt/save\n{FEDORA}")).has_only("saves nothing");
    let machine = Machine::fedora("kdump_pre /usr/lib/vmcore-encrypt/save\n");
    machine.file("usr/lib/vmcore-encrypt/save", "").file("etc/vmcore-encrypt/config", OWN);
    assert_eq!(machine.problems_of("collector"), Vec::<String>::new());
    machine.file("etc/vmcore-encrypt/config", &format!("{OWN}COLLECTOR_ARGS=--levle 1\n"));
    assert!(machine.problems_of("collector")[0].contains("--levle"));
    let machine = Machine::fedora(FEDORA);
    machine
        .file("etc/sysconfig/kdump", "KDUMP_COMMANDLINE_APPEND=\"nr_cpus=1 rd.break\"\n")
        .has_only("rd.break");
}

#[test]
fn the_unit_of_debian_is_the_one_that_systemd_starts() {
    let append = |words: &str| DEBIAN.replace("panic=10", words);
    for bad in [
        append("panic=10 systemd.unit=kdump-tools-dump.service"),
        append("panic=10 single"),
        append("panic=10 $MORE"),
        DEBIAN.replace("vmcore-encrypt-dump.service", "vmcore-encrypt-dump.service.old"),
        format!("{DEBIAN}KDUMP_KEXEC_ARGS=\"--command-line=x\"\n"),
        format!("{DEBIAN}KDUMP_CMDLINE_APPEND=panic=10\n"),
    ] {
        Machine::debian(&bad).has_only("in plain");
        // No other place to save leaves the unit out: without our script in the image theirs would start.
        let machine = Machine::debian(&bad);
        machine.file("usr/lib/vmcore-encrypt/save", "").file("etc/vmcore-encrypt/config", OWN);
        let problems = machine.problems_of("collector");
        assert!(problems.len() == 1 && problems[0].contains("in plain"), "{problems:?}");
    }
    for good in [
        append("panic=10").replace("\"systemd", "\"$KDUMP_CMDLINE_APPEND single systemd"),
        format!("export {}", DEBIAN.replace('\n', "; ").replace("; USE", "\nUSE")),
    ] {
        assert_eq!(Machine::debian(&good).problems(), Vec::<String>::new(), "{good}");
    }
    Machine::debian(&append("panic=10 init=/bin/sh")).has_only("a shell would open");
    let machine = Machine::debian(&append("panic=10 systemd.unit=kdump-tools-dump.service"));
    let drop_in = "usr/lib/systemd/system/kdump-tools-dump.service.d/vmcore-encrypt.conf";
    let packaged = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/kdump-module/debian/kdump-tools-dump.service.d/vmcore-encrypt.conf"
    );
    machine.file(drop_in, &fs::read_to_string(packaged).unwrap());
    assert_eq!(machine.problems(), Vec::<String>::new(), "their unit saves as ours does");
}

#[test]
fn suse_hands_the_whole_saving_over() {
    for (from, to) in [("suse-transfer", "suse-transfer; makedumpfile"), ("/usr/lib", "/tmp/usr/lib")] {
        Machine::suse(&SUSE.replace(from, to)).has_only("in plain");
    }
    Machine::suse(&SUSE.replace("\"true\"\nKDUMP_IMM", "false\nKDUMP_IMM")).has_only("a shell would open");
    Machine::suse(&SUSE.replace("/var/crash", "nfs://a/b nfs://c/d")).has_only("several targets");
    Machine::suse(&SUSE.replace("/var/crash", "SFTP://a/b")).has_only("every dump would fail");
    for level in ["99", "-1"] {
        let machine = Machine::suse(&format!("{SUSE}KDUMP_DUMPLEVEL={level}\n"));
        assert_eq!(machine.problems(), Vec::<String>::new());
        let found = lines_of(&machine, "warning  collector");
        assert!(found.contains(&format!("KDUMP_DUMPLEVEL={level} of /etc/sysconfig/kdump")), "{found}");
        assert!(lines_of(&machine, "target ").contains("at level 0"));
    }
    assert_eq!(Machine::suse(&SUSE.replace("\"/var", "\"FILE:///var")).problems(), Vec::<String>::new());
}

/// As `suse-transfer` takes it: all but 0 to 31 is 0.
#[test]
fn a_dump_level_of_suse_is_the_one_that_saves() {
    for level in ["all", "+5", "'0x1f'", "32", "'1 2'"] {
        let machine = Machine::suse(&format!("{SUSE}KDUMP_DUMPLEVEL={level}\n"));
        assert!(lines_of(&machine, "warning  collector").contains("KDUMP_DUMPLEVEL="), "{level}");
        assert!(lines_of(&machine, "target ").contains("at level 0"), "{level}");
    }
    let machine = Machine::suse(&format!("{SUSE}KDUMP_DUMPLEVEL=031\n"));
    assert!(lines_of(&machine, "target ").contains("at level 31"));
}

/// What `check` finds about plugged memory.
fn hotplug(machine: &Machine) -> Option<String> {
    let text = machine.text();
    text.lines().find(|line| line.contains("lacks acpi_no_memhotplug")).map(str::to_owned)
}

#[test]
fn plugged_memory_is_not_for_the_capture_kernel() {
    let word = "acpi_no_memhotplug";
    let fedora = |sysconfig: &str| {
        let machine = Machine::fedora(FEDORA);
        machine.file("etc/sysconfig/kdump", sysconfig);
        machine
    };
    for machine in [
        fedora(""),
        fedora("KDUMP_COMMANDLINE_APPEND=\"nr_cpus=1 acpi_no_memhotplugs\"\n"),
        fedora(&format!("#KDUMP_COMMANDLINE_APPEND={word}\n")),
        Machine::debian(DEBIAN),
        Machine::suse(&format!("{SUSE}KDUMP_COMMANDLINE=\"console=ttyS0\"\n")),
    ] {
        let found = hotplug(&machine).unwrap();
        assert!(found.starts_with("warning  collector"), "{found}");
        assert_eq!(machine.problems(), Vec::<String>::new());
    }
    let debian = Machine::debian(DEBIAN);
    debian.file("proc/cmdline", &format!("quiet {word}\n"));
    for machine in [
        fedora(&format!("KDUMP_COMMANDLINE_APPEND=\"nr_cpus=1 {word} panic=10\"\n")),
        fedora(&format!("KDUMP_COMMANDLINE=\"{word}\"\n")),
        Machine::debian(&DEBIAN.replace("nr_cpus=1", word)),
        debian,
        Machine::suse(SUSE),
        Machine::suse(&format!("{SUSE}KDUMP_COMMANDLINE=\"a\"\nKDUMP_COMMANDLINE_APPEND={word}\n")),
    ] {
        assert_eq!(hotplug(&machine), None);
    }
    for firmware in ["devicetree/base/model", "ipl/ipl_type"] {
        let machine = fedora("");
        machine.file(&format!("sys/firmware/{firmware}"), "x");
        assert_eq!(hotplug(&machine), None, "no ACPI there");
        machine.file("sys/firmware/acpi/tables/DSDT", "x");
        assert!(hotplug(&machine).is_some());
    }
}

#[test]
fn a_machine_without_kdump_scripts_is_loaded_by_us() {
    let machine = Machine::new();
    machine
        .file("etc/vmcore-encrypt/config", "TARGET=file\nDEVICE=/dev/vda1\nFSTYPE=ext4\n")
        .file("usr/lib/vmcore-encrypt/save", "#!/bin/sh\n")
        .file("usr/lib/vmcore-encrypt/functions.sh", "");
    let text = |machine: &Machine| machine.text();
    let found = text(&machine);
    assert!(found.contains("warning  collector  vmcore-encrypt-load.service is not enabled"), "{found}");
    assert!(found.contains("start vmcore-encrypt-load.service; it builds the image"), "{found}");
    machine.file("sys/kernel/kexec_crash_loaded", "0\n");
    assert!(text(&machine).contains("hint: start vmcore-encrypt-load.service and look"));
    let wanted = machine.path("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wanted).unwrap();
    symlink(
        "/usr/lib/systemd/system/vmcore-encrypt-load.service",
        wanted.join("vmcore-encrypt-load.service"),
    )
    .unwrap();
    for name in ["initrd.img", "initrd.img-6.1.0"] {
        machine.image(&format!("var/lib/vmcore-encrypt/{name}"), machine.good_image());
        let found = text(&machine);
        assert!(found.contains("ok       collector  vmcore-encrypt-load.service loads"), "{found}");
        assert!(!found.contains("no kdump image"), "{name}: {found}");
        fs::remove_file(machine.path(&format!("var/lib/vmcore-encrypt/{name}"))).unwrap();
    }
}

#[test]
fn fadump_never_saves_in_plain() {
    let fadump = |machine: Machine| {
        machine.file("sys/kernel/fadump/enabled", "1\n").file("sys/kernel/kexec_crash_loaded", "0\n");
        machine
            .file("sys/kernel/fadump/registered", "1\n")
            .file("sys/kernel/fadump/mem_reserved", "536870912\n");
        machine
    };
    for machine in [fadump(Machine::fedora(FEDORA)), fadump(Machine::suse(SUSE))] {
        assert_eq!(machine.problems(), Vec::<String>::new());
        assert!(lines_of(&machine, "warning  collector").contains("FADump is on"));
    }
    let machine = fadump(Machine::debian(DEBIAN));
    machine.has_only("kdump-tools.service saves: the dump would be in plain");
    let drop_in = "usr/lib/systemd/system/kdump-tools.service.d/vmcore-encrypt.conf";
    let packaged =
        concat!(env!("CARGO_MANIFEST_DIR"), "/kdump-module/debian/kdump-tools.service.d/vmcore-encrypt.conf");
    machine.file(drop_in, &fs::read_to_string(packaged).unwrap()).has_only("no dump is saved");
    machine.file("sys/kernel/fadump/registered", "0\n");
    assert!(machine.problems().iter().any(|problem| problem.contains("no capture kernel")));
}

/// Words that are meant for the collector and pin nothing are found in each distribution's configuration of the capture
/// kernel's command line.
#[test]
fn a_word_that_pins_nothing_is_found_in_every_configuration() {
    let words = [
        "vmcore_encrypt.recipients",
        "vmcore-encrypt.recipents=x",
        "vmcore_encrypt_recipients=x",
        "vmcore_encrypt",
    ];
    for word in words {
        for key in ["KDUMP_COMMANDLINE", "KDUMP_COMMANDLINE_APPEND"] {
            let machine = Machine::fedora(FEDORA);
            machine.file("etc/sysconfig/kdump", &format!("{key}=\"irqpoll {word}\"\n"));
            machine.has_only(&format!("{key} of /etc/sysconfig/kdump: unknown parameter"));
            let machine = Machine::new();
            machine
                .file("etc/sysconfig/kdump", &format!("{SUSE}{key}=\"quiet {word}\"\n"))
                .file("usr/lib/vmcore-encrypt/suse-transfer", "");
            let problems = machine.problems_of("collector");
            assert!(problems.len() == 1 && problems[0].contains("unknown parameter"), "{problems:?}");
        }
        for key in ["KDUMP_CMDLINE", "KDUMP_CMDLINE_APPEND", "KDUMP_KERNEL_CMDLINE"] {
            let append = if key == "KDUMP_CMDLINE_APPEND" {
                "systemd.unit=vmcore-encrypt-dump.service panic=10 "
            } else {
                ""
            };
            Machine::debian(&format!("{DEBIAN}{key}=\"{append}{word}\"\n"))
                .has_only(&format!("{key} of /etc/default/kdump-tools: unknown parameter"));
        }
    }
}
