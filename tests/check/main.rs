//! `vmcore-encrypt check` on machines that are directories: each distribution's good configuration passes, and each
//! way to lose a dump or save it in plain is found.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

#[path = "../common/archive.rs"]
mod archive;
mod distributions;
mod image;
#[path = "../synth/mod.rs"]
mod synth;

use archive::Archive;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

const RECIPIENT: &str = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv";
const COLLECTOR: &str = env!("CARGO_BIN_EXE_vmcore-encrypt");
const SMALL: &str = "usr/lib/vmcore-encrypt/vmcore-encrypt";
const FEDORA_IMAGE: &str = "boot/initramfs-6.1.0kdump.img";

/// A machine with 1 GiB of RAM, 256 MiB reserved, kdump loaded, and `/` on the plain device vda1.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Machine {
        let machine = Machine(tempfile::tempdir().unwrap());
        machine
            .file("etc/vmcore-encrypt/recipients", &format!("# analysts\n{RECIPIENT}\n"))
            .file("proc/sys/kernel/osrelease", "6.1.0\n")
            .file("proc/self/mountinfo", "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n")
            .file(
                "proc/meminfo",
                "MemTotal: 1048576 kB\nMemFree: 524288 kB\nCached: 262144 kB\nAnonPages: 131072 kB\n",
            )
            .file("sys/kernel/kexec_crash_loaded", "1\n")
            .file("sys/kernel/kexec_crash_size", "268435456\n")
            .file("sys/class/block/vda1/size", "20971520\n")
            .file("dev/vda1", "");
        fs::create_dir_all(machine.path("usr/bin")).unwrap();
        symlink(COLLECTOR, machine.path("usr/bin/vmcore-encrypt")).unwrap();
        // The small build: another program, smaller, and a collector.
        machine.file(SMALL, &format!("#!/bin/sh\nexec {COLLECTOR} \"$@\"\n"));
        fs::set_permissions(machine.path(SMALL), fs::Permissions::from_mode(0o755)).unwrap();
        machine
    }

    /// What an image has that was built from this machine.
    fn archive(&self) -> Archive {
        let read = |path: &str| fs::read(self.path(path)).unwrap();
        Archive::new()
            .directory("usr")
            .directory("usr/bin")
            .file("usr/bin/vmcore-encrypt", read(SMALL))
            .link("bin", "usr/bin")
            .directory("etc")
            .directory("etc/vmcore-encrypt")
            .file("etc/vmcore-encrypt/recipients", read("etc/vmcore-encrypt/recipients"))
    }

    fn good_image(&self) -> Vec<u8> {
        self.archive().end()
    }

    /// Makes the image newer than all that went into it.
    fn new_image(&self) -> &Machine {
        let image = fs::File::options().write(true).open(self.path(FEDORA_IMAGE)).unwrap();
        image.set_modified(std::time::SystemTime::now()).unwrap();
        self
    }

    fn image(&self, path: &str, bytes: impl AsRef<[u8]>) -> &Machine {
        self.file(path, "");
        fs::write(self.path(path), bytes).unwrap();
        self
    }

    fn fedora(conf: &str) -> Machine {
        let machine = Machine::new();
        machine.file("etc/kdump.conf", conf).image(FEDORA_IMAGE, machine.good_image());
        machine
    }

    fn debian(defaults: &str) -> Machine {
        let machine = Machine::new();
        machine
            .file("etc/default/kdump-tools", defaults)
            .image("var/lib/kdump/initrd.img-6.1.0", b"not looked into");
        machine
    }

    fn suse(conf: &str) -> Machine {
        let machine = Machine::new();
        let transfer = "usr/lib/vmcore-encrypt/suse-transfer";
        machine
            .file("etc/sysconfig/kdump", conf)
            .file(transfer, "")
            .image("var/lib/kdump/initrd", machine.archive().file(transfer, "").end());
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn file(&self, path: &str, text: &str) -> &Machine {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Puts vda1 on an encrypted volume.
    fn encrypt(&self) -> &Machine {
        self.file("sys/class/block/vda1/slaves/dm-0/x", "")
            .file("sys/class/block/dm-0/dm/uuid", "CRYPT-LUKS2-0123-root\n")
    }

    fn check(&self, words: &[&str]) -> Output {
        Command::new(COLLECTOR).arg("check").arg("--root").arg(self.0.path()).args(words).output().unwrap()
    }

    /// What it prints for people.
    fn text(&self) -> String {
        String::from_utf8(self.check(&[]).stdout).unwrap()
    }

    /// Verdict, check and text of everything found that is not in order.
    fn problems(&self) -> Vec<String> {
        let output = self.check(&["--json"]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["ok"], output.status.success());
        let findings = json["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["verdict"] == "problem")
            .map(|finding| {
                format!("{}: {}", finding["check"].as_str().unwrap(), finding["text"].as_str().unwrap())
            })
            .collect()
    }

    fn problems_of(&self, check: &str) -> Vec<String> {
        let of_check = |problem: &String| problem.starts_with(&format!("{check}: "));
        self.problems().into_iter().filter(of_check).collect()
    }

    fn has_only(&self, part: &str) {
        let problems = self.problems();
        assert!(problems.len() == 1 && problems[0].contains(part), "{part}: {problems:#?}");
    }
}

const FEDORA: &str = "path /crash\ncore_collector vmcore-encrypt -d 31\nfailure_action reboot\n";
const DEBIAN: &str = "USE_KDUMP=1\nKDUMP_COREDIR=/var/crash\nKDUMP_DUMP_DMESG=0\n\
    KDUMP_CMDLINE_APPEND=\"systemd.unit=vmcore-encrypt-dump.service nr_cpus=1 panic=10\"\n";
const SUSE: &str = "KDUMP_SAVEDIR=\"/var/crash\"\nKDUMP_TRANSFER=\"/usr/lib/vmcore-encrypt/suse-transfer\"\n\
    KDUMP_REQUIRED_PROGRAMS=\"/usr/bin/vmcore-encrypt /etc/vmcore-encrypt/recipients\"\n\
    KDUMP_CONTINUE_ON_ERROR=\"true\"\nKDUMP_IMMEDIATE_REBOOT=\"true\"\n";
/// Our own configuration: the image saves by itself.
const OWN: &str = "TARGET=file\nDEVICE=/dev/vda1\n";

#[test]
fn good_machines_pass() {
    for machine in [Machine::fedora(FEDORA), Machine::debian(DEBIAN), Machine::suse(SUSE)] {
        assert_eq!(machine.problems(), Vec::<String>::new());
        let output = machine.check(&[]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(text.contains("ok       trial      the collector as installed encrypts a vmcore"), "{text}");
        assert!(text.contains("ok       target     "), "{text}");
    }
}

/// The lines of a check.
fn lines_of(machine: &Machine, check: &str) -> String {
    let text = machine.text();
    let (from, rest) = text.split_once(check).unwrap_or_else(|| panic!("no {check} in\n{text}"));
    let more = rest.lines().take_while(|line| !line.contains("trial ")).collect::<Vec<_>>().join("\n");
    format!("{}{check}{more}", from.lines().last().unwrap_or_default())
}

/// Two objects of a dump are in memory on their way into a store.
#[test]
fn memory_for_a_store_is_reckoned_with() {
    let machine = Machine::new();
    for (config, collector) in
        [(OWN, "collector 32.0 MiB"), ("TARGET=store\nURL=s3://crashes/4f0c/\n", "collector 48.0 MiB")]
    {
        machine.file("etc/vmcore-encrypt/config", config);
        let found = lines_of(&machine, "memory ");
        assert!(found.contains(collector), "{found}");
    }
}

#[test]
fn memory_for_the_cpus_of_suse_is_reckoned_with_and_advised() {
    let suse = Machine::new();
    suse.file("etc/sysconfig/kdump", SUSE).file("sys/kernel/kexec_crash_size", "100663296\n");
    // As many as KDUMP_CPUS says, 32 when it says nothing, but no more than there are.
    for (present, cpus, further, advised) in
        [("0-63", "", "31 further CPUs 62.0 MiB", 144), ("0-7", "", "7 further CPUs 14.0 MiB", 96)]
    {
        suse.file("sys/devices/system/cpu/present", present)
            .file("etc/sysconfig/kdump", &format!("{SUSE}{cpus}"));
        let found = lines_of(&suse, "memory ");
        assert!(found.contains(further), "{found}");
        let advice = format!("set KDUMP_CRASHKERNEL=\"crashkernel={advised}M\"");
        assert_eq!(found.contains(&advice), advised > 96, "{found}");
    }
    suse.file("etc/sysconfig/kdump", &format!("{SUSE}KDUMP_CPUS=1\n"));
    assert!(!lines_of(&suse, "memory ").contains("further"));
    suse.file("etc/sysconfig/kdump", &format!("{SUSE}KDUMP_CPUS=0\n"));
    assert!(lines_of(&suse, "memory ").contains("7 further CPUs"));
}

/// What more CPUs would bring is reported where the machine has them and the reservation has room for them.
#[test]
fn more_cpus_are_proposed_where_there_is_room() {
    let fedora = Machine::fedora(FEDORA);
    let found = |words: &str, present: &str, megabytes: u64| {
        fedora
            .file(
                "etc/sysconfig/kdump",
                &format!("KDUMP_COMMANDLINE_APPEND=\"{words} acpi_no_memhotplug\"\n"),
            )
            .file("sys/devices/system/cpu/present", present)
            .file("sys/kernel/kexec_crash_size", &format!("{}\n", megabytes << 20));
        lines_of(&fedora, "memory ")
    };
    let proposed = found("nr_cpus=1", "0-63", 256);
    assert!(
        proposed.contains("uses 1 of 64 CPUs: 4 would take 6.00 MiB more and 0.28 of the time"),
        "{proposed}"
    );
    assert!(found("nr_cpus=1", "0-1", 256).contains("uses 1 of 2 CPUs: 2 would take 2.00 MiB more and 0.52"));
    assert!(
        found("nr_cpus=4 nr_cpus=2", "0-63", 256).contains("uses 2 of 64 CPUs: 8 would"),
        "the last word counts"
    );
    assert!(!found("nr_cpus=1", "0", 256).contains("would take"), "the machine has no other");
    assert!(!found("nr_cpus=1", "0-63", 81).contains("would take"), "no room");
    assert!(found("quiet", "0-7", 256).contains("7 further CPUs"), "without the word all are used");
}

#[test]
fn what_others_can_change_is_a_problem() {
    let mode = |machine: &Machine, path: &str, mode| {
        fs::set_permissions(machine.path(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, open, usual) in [
        ("etc/vmcore-encrypt/recipients", 0o664, 0o644),
        ("etc/vmcore-encrypt", 0o777, 0o755),
        ("etc/kdump.conf", 0o646, 0o644),
    ] {
        let machine = Machine::fedora(FEDORA);
        mode(&machine, path, open);
        let problems = machine.problems();
        assert!(
            problems.iter().any(|problem| problem.contains("others can change it")),
            "{path}: {problems:?}"
        );
        mode(&machine, path, usual);
        assert_eq!(machine.problems(), Vec::<String>::new());
    }
    let machine = Machine::debian(DEBIAN);
    machine.file("etc/vmcore-encrypt/config", "TARGET=kdump\n");
    assert_eq!(machine.problems(), Vec::<String>::new());
    mode(&machine, "etc/vmcore-encrypt/config", 0o606);
    machine.has_only("config\" has mode 0606");
    // Nobody writes to it: it is not waited for.
    let config = machine.path("etc/vmcore-encrypt/config");
    fs::remove_file(&config).unwrap();
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    mode(&machine, "etc/vmcore-encrypt/config", 0o644);
    let problems = machine.problems();
    assert!(problems.iter().any(|problem| problem.contains("it is a pipe, not a file")), "{problems:?}");
}

#[test]
fn a_header_is_made_for_the_recipients() {
    let machine = Machine::new();
    let key = |_| format!("{}\n", age::x25519::Identity::generate().to_public());
    machine.file("etc/vmcore-encrypt/recipients", &(0..3000).map(key).collect::<String>());
    let output = machine.check(&["--recipients-only"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.code() == Some(1) && text.contains("the header for these recipients takes"),
        "{text}"
    );
    let mut params = Command::new(env!("CARGO_BIN_EXE_vmcore-encrypt"));
    params.args(["--check-params", "-R"]).arg(machine.path("etc/vmcore-encrypt/recipients"));
    let output = params.args(["/proc/vmcore", "/nowhere/dump"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && text.contains("the header for these recipients takes"),
        "{text}"
    );
}

#[test]
fn a_word_of_the_command_line_that_pins_nothing_is_a_problem() {
    for line in ["ro vmcore_encrypt.recipients", "vmcore-encrypt.recipents=0123", "vmcore_encrypt.mode=1"] {
        let machine = Machine::fedora(FEDORA);
        machine.file("proc/cmdline", line);
        machine.has_only("pins: unknown parameter");
    }
}

#[test]
fn recipients_are_looked_at_alone_on_demand() {
    let machine = Machine::new();
    let output = machine.check(&["--recipients-only"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.lines().count() == 1 && text.contains("1 valid (X25519)"),
        "{text}"
    );
    machine.file("etc/vmcore-encrypt/recipients", "AGE-SECRET-KEY-1QQQ\n");
    let output = machine.check(&["--recipients-only"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("line 1 is a private key"), "{text}");
    assert!(!text.contains("QQQ"));
    fs::remove_file(machine.path("etc/vmcore-encrypt/recipients")).unwrap();
    assert_eq!(machine.check(&["--recipients-only"]).status.code(), Some(1));
}

#[test]
fn what_would_be_in_plain_is_found() {
    Machine::fedora("path /crash\n").has_only("core_collector");
    Machine::fedora("core_collector makedumpfile -l -d 31\n").has_only("in plain");
    let without_unit = "KDUMP_DUMP_DMESG=0\nKDUMP_CMDLINE_APPEND=panic=10\n";
    Machine::debian(without_unit).has_only("in plain");
    Machine::fedora(&FEDORA.replace("reboot", "shell")).has_only("shell");
    Machine::debian(&DEBIAN.replace(" panic=10", "")).has_only("a shell would open");
    let machine = Machine::debian(&DEBIAN.replace(" panic=10", ""));
    machine.file("proc/cmdline", "quiet panic=30\n");
    assert_eq!(machine.problems(), Vec::<String>::new(), "kdump-tools hands that on");
    Machine::debian(&format!("{DEBIAN}FTP=host:x\n")).has_only("FTP");
}

#[test]
fn what_would_not_save_is_found() {
    let machine = Machine::fedora(FEDORA);
    fs::remove_file(machine.path("usr/bin/vmcore-encrypt")).unwrap();
    machine.has_only("is not there: every dump would fail");
    let machine = Machine::fedora(FEDORA);
    machine.encrypt().has_only("CRYPT-LUKS2-0123-root");
    Machine::fedora(FEDORA).file("sys/kernel/kexec_crash_loaded", "0\n").has_only("no capture kernel");
    Machine::fedora(FEDORA).file("sys/kernel/kexec_crash_size", "0\n").has_only("no memory is reserved");
    let machine = Machine::fedora(FEDORA);
    let image = machine.archive().file("etc/vmcore-encrypt/config", "TARGETS=raw\n").end();
    machine.image(FEDORA_IMAGE, image).file("etc/vmcore-encrypt/config", "TARGETS=raw\n");
    machine.new_image().has_only("unknown key");
    Machine::fedora(&FEDORA.replace("path /crash", "raw /dev/vda1")).has_only("where the dump ends");
    Machine::fedora(&FEDORA.replace("path /crash", "ext4 UUID=1234")).has_only("UUID=1234 is not there");
    let machine = Machine::fedora(FEDORA);
    fs::create_dir(machine.path("etc/vmcore-encrypt/config")).unwrap();
    let unreadable = |problem: &String| problem.ends_with("config: Is a directory");
    assert!(machine.problems().iter().any(unreadable), "{:?}", machine.problems());
    let machine = Machine::fedora(FEDORA);
    fs::remove_file(machine.path("boot/initramfs-6.1.0kdump.img")).unwrap();
    machine.has_only("no kdump image");
}

#[test]
fn a_partition_with_something_on_it_is_found() {
    let conf = FEDORA.replace("path /crash", "raw /dev/vda1").replace("-d 31", "--framed -d 31");
    let machine = Machine::fedora(&conf);
    assert_eq!(machine.problems(), Vec::<String>::new());
    machine.file("dev/vda1", "XFSB").has_only("holds xfs, which is not overwritten");
}

/// What `check --json` says of pins.
fn pins(machine: &Machine) -> serde_json::Value {
    let json: serde_json::Value = serde_json::from_slice(&machine.check(&["--json"]).stdout).unwrap();
    json["pins"].clone()
}

#[test]
fn pins_are_shown_and_must_name_the_recipients() {
    let machine = Machine::fedora(FEDORA);
    assert_eq!(pins(&machine), serde_json::json!({}));
    let text = machine.text();
    assert!(text.contains("ok       pins       no recipients are pinned"), "{text}");

    let own = Command::new(COLLECTOR).args(["fingerprint", "-r", RECIPIENT]).output().unwrap();
    let own = String::from_utf8(own.stdout).unwrap().trim().to_owned();
    let other = "0".repeat(64);
    machine.file("proc/cmdline", &format!("ro vmcore_encrypt.recipients={other},{own}\n"));
    assert_eq!(machine.problems(), Vec::<String>::new());
    assert_eq!(pins(&machine), serde_json::json!({ "command_line": [other, own] }));
    let text = machine.text();
    assert!(text.contains(&format!("pinned on the kernel command line: {other}, {own}")), "{text}");
    assert!(text.contains(&format!("1 valid (X25519), fingerprint {own}")), "{text}");

    machine.file("proc/cmdline", &format!("vmcore_encrypt.recipients={other}\n"));
    machine.has_only("is not pinned on the kernel command line: every dump would fail");
    machine.file("proc/cmdline", "vmcore_encrypt.recipients=typo\n").has_only("is not a fingerprint");
}

#[test]
fn fips_mode_is_a_warning() {
    let machine = Machine::fedora(FEDORA);
    machine.file("proc/sys/crypto/fips_enabled", "1\n");
    assert_eq!(machine.problems(), Vec::<String>::new());
    let text = machine.text();
    assert!(text.contains("warning  fips       "), "{text}");
}

#[test]
fn ways_of_the_log_beside_the_dump_are_reported() {
    let machine = Machine::fedora(FEDORA);
    let found = |machine: &Machine| lines_of(machine, " log ");
    assert!(found(&machine).starts_with("ok       log        nothing hands the kernel log on"));
    let cases = [
        (
            "sys/module/kernel/parameters/crash_kexec_post_notifiers",
            "Y\n",
            "crash_kexec_post_notifiers is set",
        ),
        (
            "sys/module/pstore/parameters/backend",
            "efi_pstore\n",
            "every panic, before the capture kernel starts",
        ),
        ("proc/sys/kernel/hyperv_record_panic_msg", "1\n", "sysctl kernel.hyperv_record_panic_msg=0"),
        ("sys/module/kernel/parameters/panic_print", "64\n", "panic_print prints tasks"),
        ("proc/consoles", "tty0 -WU (EC p  )  4:1\nttyS0 -W- (EC p a)  4:64\n", "serial console ttyS0 gets"),
        ("sys/kernel/config/netconsole/far/enabled", "1\n", "netconsole sends every line"),
    ];
    for (file, text, part) in cases {
        assert!(!found(&machine).contains(part), "{part}");
        machine.file(file, text);
        assert!(found(&machine).contains(part), "{part}: {}", found(&machine));
    }
    assert_eq!(machine.problems(), Vec::<String>::new(), "the dump itself is encrypted");
    machine.file("sys/module/kernel/parameters/crash_kexec_post_notifiers", "N\n");
    let late = found(&machine);
    assert!(
        late.contains("every oops that is no panic")
            && !late.contains("Hyper-V")
            && !late.contains("panic_print")
    );
    machine.file("proc/sys/kernel/panic_on_oops", "1\n");
    assert!(found(&machine).contains("ok       log        pstore keeps the kernel log"));
    assert!(found(&machine).contains("systemd-pstore copies it to disk"));
    machine.file("etc/systemd/system/sysinit.target.wants/vmcore-encrypt-pstore.service", "");
    assert!(!found(&machine).contains("systemd-pstore copies it to disk"));
    machine.file("sys/module/ramoops/parameters/console_size", "4096\n");
    assert!(found(&machine).contains("every line when it is logged"));
}

#[test]
fn a_volume_whose_key_is_handed_over_is_no_problem() {
    let machine = Machine::fedora(FEDORA);
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    machine.file("sys/class/block/vda1/slaves/dm-0/x", "");
    machine.file("sys/class/block/dm-0/dm/uuid", &format!("CRYPT-LUKS2-{}-root\n", uuid.replace('-', "")));
    machine.has_only("is on an encrypted volume");
    let keys = "sys/kernel/config/crash_dm_crypt_keys";
    machine.file(&format!("{keys}/count"), "0\n").has_only("is on an encrypted volume");
    machine
        .file(&format!("{keys}/other/description"), "kdump-cryptsetup:vk-9\n")
        .has_only("encrypted volume");
    machine.file(&format!("{keys}/{uuid}/description"), &format!("kdump-cryptsetup:vk-{uuid}\n"));
    assert_eq!(machine.problems(), Vec::<String>::new());
    assert!(lines_of(&machine, "target ").contains("the key of the disk is in reserved memory"));
    // A volume below it, whose key nobody hands over.
    machine.file("sys/class/block/dm-0/slaves/dm-1/x", "");
    machine.file("sys/class/block/dm-1/dm/uuid", "CRYPT-PLAIN-below\n").has_only("is on an encrypted volume");
}

/// Of a running kernel the pages themselves are judged; what the capture kernel has for itself is in no dump.
#[test]
fn the_room_for_a_dump_is_told_by_the_pages_of_the_running_kernel() {
    let machine = Machine::fedora(FEDORA);
    let core = synth::zoo::zoo(synth::arch::x86_64::four_level(), synth::kernel::v6_12()).build();
    core.write_to(&machine.path("proc/kcore"));
    machine.file("sys/kernel/kexec_crash_size", "1048576\n");
    let kept = core.classes(31).into_iter().filter(|class| *class == synth::Class::Kept).count();
    let megabytes = (kept * 4096) as f64 / f64::from(1 << 20) - 1.0;
    let output = machine.check(&["--json"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!("for a dump of up to {megabytes:.1} MiB at level 31")), "{said}");
}
