//! `vmcore-encrypt check` on machines that are directories: each distribution's good configuration passes, and each
//! way to lose a dump or save it in plain is found.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

#[path = "common/archive.rs"]
mod archive;
mod synth;

use archive::Archive;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

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

#[test]
fn good_machines_pass() {
    let suse = Machine::new();
    suse.file("etc/sysconfig/kdump", SUSE)
        .file("usr/lib/vmcore-encrypt/suse-transfer", "")
        .image("var/lib/kdump/initrd", suse.archive().file("usr/lib/vmcore-encrypt/suse-transfer", "").end());
    for machine in [Machine::fedora(FEDORA), Machine::debian(DEBIAN), suse] {
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
    let text = String::from_utf8(machine.check(&[]).stdout).unwrap();
    let (from, rest) = text.split_once(check).unwrap_or_else(|| panic!("no {check} in\n{text}"));
    let more = rest.lines().take_while(|line| !line.contains("trial ")).collect::<Vec<_>>().join("\n");
    format!("{}{check}{more}", from.lines().last().unwrap_or_default())
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
fn a_stale_image_is_found() {
    let machine = Machine::fedora(FEDORA);
    let image = fs::File::options().write(true).open(machine.path("boot/initramfs-6.1.0kdump.img")).unwrap();
    image.set_modified(std::time::UNIX_EPOCH).unwrap();
    machine.has_only("is older than /etc/vmcore-encrypt/recipients, /etc/kdump.conf");
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
    let text = String::from_utf8(machine.check(&[]).stdout).unwrap();
    assert!(text.contains("ok       pins       no recipients are pinned"), "{text}");

    let own = Command::new(COLLECTOR).args(["fingerprint", "-r", RECIPIENT]).output().unwrap();
    let own = String::from_utf8(own.stdout).unwrap().trim().to_owned();
    let other = "0".repeat(64);
    machine.file("proc/cmdline", &format!("ro vmcore_encrypt.recipients={other},{own}\n"));
    assert_eq!(machine.problems(), Vec::<String>::new());
    assert_eq!(pins(&machine), serde_json::json!({ "command_line": [other, own] }));
    let text = String::from_utf8(machine.check(&[]).stdout).unwrap();
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
    let text = String::from_utf8(machine.check(&[]).stdout).unwrap();
    assert!(text.contains("warning  fips       "), "{text}");
}

const OWN: &str = "TARGET=file\nDEVICE=/dev/vda1\n";

/// What is found of the kdump configuration alone.
fn of_collector(machine: &Machine) -> Vec<String> {
    machine.problems().into_iter().filter(|problem| problem.starts_with("collector: ")).collect()
}

fn suse(conf: &str) -> Machine {
    let machine = Machine::new();
    machine.file("etc/sysconfig/kdump", conf).file("usr/lib/vmcore-encrypt/suse-transfer", "").image(
        "var/lib/kdump/initrd",
        machine.archive().file("usr/lib/vmcore-encrypt/suse-transfer", "").end(),
    );
    machine
}

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
    assert_eq!(of_collector(&machine), Vec::<String>::new());
    machine.file("etc/vmcore-encrypt/config", &format!("{OWN}COLLECTOR_ARGS=--levle 1\n"));
    assert!(of_collector(&machine)[0].contains("--levle"));
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
        let problems = of_collector(&machine);
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
        suse(&SUSE.replace(from, to)).has_only("in plain");
    }
    suse(&SUSE.replace("\"true\"\nKDUMP_IMM", "false\nKDUMP_IMM")).has_only("a shell would open");
    suse(&SUSE.replace("/var/crash", "nfs://a/b nfs://c/d")).has_only("several targets");
    suse(&SUSE.replace("/var/crash", "SFTP://a/b")).has_only("every dump would fail");
    for level in ["99", "-1"] {
        let machine = suse(&format!("{SUSE}KDUMP_DUMPLEVEL={level}\n"));
        assert_eq!(machine.problems(), Vec::<String>::new());
        let found = lines_of(&machine, "warning  collector");
        assert!(found.contains(&format!("KDUMP_DUMPLEVEL={level} of /etc/sysconfig/kdump")), "{found}");
        assert!(lines_of(&machine, "target ").contains("at level 0"));
    }
    assert_eq!(suse(&SUSE.replace("\"/var", "\"FILE:///var")).problems(), Vec::<String>::new());
}

/// As `suse-transfer` takes it: all but 0 to 31 is 0.
#[test]
fn a_dump_level_of_suse_is_the_one_that_saves() {
    for level in ["all", "+5", "'0x1f'", "32", "'1 2'"] {
        let machine = suse(&format!("{SUSE}KDUMP_DUMPLEVEL={level}\n"));
        assert!(lines_of(&machine, "warning  collector").contains("KDUMP_DUMPLEVEL="), "{level}");
        assert!(lines_of(&machine, "target ").contains("at level 0"), "{level}");
    }
    let machine = suse(&format!("{SUSE}KDUMP_DUMPLEVEL=031\n"));
    assert!(lines_of(&machine, "target ").contains("at level 31"));
}

/// What `check` finds about plugged memory.
fn hotplug(machine: &Machine) -> Option<String> {
    let text = String::from_utf8(machine.check(&[]).stdout).unwrap();
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
        suse(&format!("{SUSE}KDUMP_COMMANDLINE=\"console=ttyS0\"\n")),
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
        suse(SUSE),
        suse(&format!("{SUSE}KDUMP_COMMANDLINE=\"a\"\nKDUMP_COMMANDLINE_APPEND={word}\n")),
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
    let text = |machine: &Machine| String::from_utf8(machine.check(&[]).stdout).unwrap();
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

#[test]
fn fadump_never_saves_in_plain() {
    let fadump = |machine: Machine| {
        machine.file("sys/kernel/fadump/enabled", "1\n").file("sys/kernel/kexec_crash_loaded", "0\n");
        machine
            .file("sys/kernel/fadump/registered", "1\n")
            .file("sys/kernel/fadump/mem_reserved", "536870912\n");
        machine
    };
    for machine in [fadump(Machine::fedora(FEDORA)), fadump(suse(SUSE))] {
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

#[test]
fn an_image_without_the_plugin_of_a_recipient_is_found() {
    let hrp = bech32::Hrp::parse("age1checktest").unwrap();
    let recipient = age_core::primitives::bech32_encode(hrp, b"x");
    let plugin = "usr/bin/age-plugin-checktest";
    let machine = Machine::fedora(FEDORA);
    machine.file("etc/vmcore-encrypt/recipients", &format!("{recipient}\n")).file(plugin, "#!/bin/sh\n");
    let of_image = |image: Archive| {
        machine.image(FEDORA_IMAGE, image.end());
        machine.problems_of("image")
    };
    let lacks = of_image(machine.archive());
    assert!(
        lacks.len() == 1 && lacks[0].contains("it lacks age-plugin-checktest, which a recipient needs"),
        "{lacks:?}"
    );
    assert_eq!(of_image(machine.archive().file(plugin, "#!/bin/sh\n")), [] as [&str; 0]);
    let other = of_image(machine.archive().file(plugin, "#!/bin/sh\nexec other\n"));
    assert!(
        other.len() == 1 && other[0].contains("age-plugin-checktest in it is not the installed one"),
        "{other:?}"
    );
}

/// Each file of ours in an image is held against the installed one, and what the image says is not believed.
#[test]
fn what_an_image_holds_is_compared_with_what_is_installed() {
    let machine = Machine::fedora(FEDORA);
    let hooks = "usr/lib/dracut/modules.d/99vmcore-encrypt";
    machine
        .file("usr/lib/vmcore-encrypt/save", "#!/bin/sh\nsave\n")
        .file("usr/lib/vmcore-encrypt/functions.sh", "functions\n")
        .file("etc/vmcore-encrypt/config", "TARGET=kdump\n")
        .file(&format!("{hooks}/vmcore-encrypt-save.sh"), "hook\n")
        .file("usr/share/initramfs-tools/scripts/local-top/vmcore-encrypt", "local-top\n");
    let parts = [
        ("usr/lib/vmcore-encrypt/save", "#!/bin/sh\nsave\n"),
        ("usr/lib/vmcore-encrypt/functions.sh", "functions\n"),
        ("etc/vmcore-encrypt/config", "TARGET=kdump\n"),
        ("usr/lib/dracut/hooks/pre-trigger/99-vmcore-encrypt-save.sh", "hook\n"),
        ("scripts/local-top/vmcore-encrypt", "local-top\n"),
    ];
    let with = |changed: &str, content: Option<&str>| {
        let parts = parts.iter().filter(|(path, _)| *path != changed);
        let image = parts.fold(machine.archive(), |image, (path, content)| image.file(path, content));
        let image = content.into_iter().fold(image, |image, content| image.file(changed, content));
        machine.image(FEDORA_IMAGE, image.end());
        machine.problems_of("image")
    };
    assert_eq!(with("nothing", None), [] as [&str; 0]);
    let text = String::from_utf8(machine.check(&[]).stdout).unwrap();
    assert!(text.contains("it is consistent, which does not prove it authentic"), "{text}");
    let further = [("usr/bin/vmcore-encrypt", ""), ("usr/lib/vmcore-encrypt/unknown", "")];
    for (path, _) in parts.iter().chain(&further) {
        let problems = with(path, Some("changed"));
        let expected = format!("image: {path} in it is not the installed one");
        assert_eq!(problems, [expected.as_str()], "{path}");
    }
    // A link to what the image brings besides is that file.
    let image = machine.archive().file("evil", "#!/bin/sh\n").link("usr/bin/vmcore-encrypt", "/evil");
    let image = parts.iter().fold(image, |image, (path, content)| image.file(path, content));
    machine.image(FEDORA_IMAGE, image.end());
    assert_eq!(
        machine.problems_of("image"),
        ["image: usr/bin/vmcore-encrypt in it is not the installed one"]
    );
    let plain = machine.archive().file("usr/sbin/vmcore-dmesg", "plain");
    let plain = parts.iter().fold(plain, |image, (path, content)| image.file(path, content));
    machine.image(FEDORA_IMAGE, plain.end());
    assert_eq!(
        machine.problems_of("image"),
        ["image: usr/sbin/vmcore-dmesg in it saves the kernel log in plain"]
    );
    let ours = machine.archive().link("sbin/vmcore-dmesg", "/usr/bin/vmcore-encrypt");
    let ours = parts.iter().fold(ours, |image, (path, content)| image.file(path, content));
    machine.image(FEDORA_IMAGE, ours.end());
    assert_eq!(machine.problems_of("image"), [] as [&str; 0]);
}

/// A member of an image: path, permissions, content.
type Part = (&'static str, u32, Vec<u8>);
/// Adds such a member, changed.
type Change<'a> = &'a dyn Fn(Archive, &str, u32, &[u8]) -> Archive;

/// A machine of Debian whose image saves by itself, and the members of that image beside the common ones.
fn debian_own() -> (Machine, Vec<Part>) {
    let machine = Machine::debian(DEBIAN);
    machine
        .file("etc/vmcore-encrypt/config", OWN)
        .file("usr/lib/vmcore-encrypt/save", "#!/bin/sh\nsave\n")
        .file("usr/lib/vmcore-encrypt/functions.sh", "functions\n")
        .file("usr/share/initramfs-tools/scripts/local-top/vmcore-encrypt", "#!/bin/sh\nlocal-top\n");
    for path in ["usr/lib/vmcore-encrypt/save", "usr/share/initramfs-tools/scripts/local-top/vmcore-encrypt"]
    {
        fs::set_permissions(machine.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let collector = fs::read(machine.path(SMALL)).unwrap();
    let members = vec![
        ("usr/bin/vmcore-encrypt", 0o755, collector),
        ("etc/vmcore-encrypt/config", 0o644, OWN.into()),
        ("usr/lib/vmcore-encrypt/save", 0o755, "#!/bin/sh\nsave\n".into()),
        ("usr/lib/vmcore-encrypt/functions.sh", 0o644, "functions\n".into()),
        ("scripts/local-top/vmcore-encrypt", 0o755, "#!/bin/sh\nlocal-top\n".into()),
        ("scripts/local-top/ORDER", 0o644, ORDER.into()),
    ];
    (machine, members)
}

const ORDER: &str = "/scripts/local-top/vmcore-encrypt \"$@\"\n[ -e /conf/param.conf ] && . /conf/param.conf\n\
    /scripts/local-top/cryptroot \"$@\"\n[ -e /conf/param.conf ] && . /conf/param.conf\n";

/// That a file is in the image is not enough: it must be run, by root, and be nobody else's.
#[test]
fn what_an_image_holds_must_be_run() {
    let (machine, members) = debian_own();
    let with = |changed: &str, change: Change<'_>| {
        let add = |image: Archive, (path, mode, content): &Part| {
            if *path == changed {
                change(image, path, *mode, content)
            } else {
                image.member(path, 0o100_000 | mode, content)
            }
        };
        let image = members.iter().fold(machine.archive(), add);
        machine.image("var/lib/kdump/initrd.img-6.1.0", image.end());
        machine.problems_of("image")
    };
    let absent = |image: Archive, _: &str, _: u32, _: &[u8]| image;
    assert_eq!(with("", &absent), [] as [&str; 0]);
    let of_mode = |bits: u32| {
        move |image: Archive, path: &str, _: u32, content: &[u8]| {
            image.member(path, 0o100_000 | bits, content)
        }
    };
    let executed =
        ["usr/bin/vmcore-encrypt", "usr/lib/vmcore-encrypt/save", "scripts/local-top/vmcore-encrypt"];
    for path in executed {
        for mode in [0o644, 0o000] {
            let expected = format!(
                "image: {path} in it has mode {mode:04o} and cannot be executed: every dump would fail"
            );
            assert_eq!(with(path, &of_mode(mode)), [expected.as_str()]);
        }
    }
    for (path, ..) in members.iter().filter(|(path, ..)| !path.ends_with("ORDER")) {
        for mode in [0o4755, 0o2755, 0o777, 0o757] {
            let expected = format!("image: {path} in it has mode {mode:04o}, unlike the installed one");
            assert_eq!(with(path, &of_mode(mode)), [expected.as_str()]);
        }
        let of_another = |image: Archive, path: &str, mode: u32, content: &[u8]| {
            let header =
                archive::Header { mode: 0o100_000 | mode, owner: 1000, ..archive::header(path, content) };
            image.raw(&header, format!("{path}\0").as_bytes(), content)
        };
        let expected = format!("image: {path} in it belongs to user 1000, not to root");
        assert_eq!(with(path, &of_another), [expected.as_str()]);
        let problems = with(path, &absent);
        // The configuration's absence is what a missing collector or script is.
        let is_it = |problem: &String| problem.contains("lacks") && problem.contains(path);
        // The common part of the image has a collector.
        assert!(
            *path == "usr/bin/vmcore-encrypt" || (problems.len() == 1 && is_it(&problems[0])),
            "{path}: {problems:?}"
        );
        let directory = |image: Archive, path: &str, _: u32, _: &[u8]| image.directory(path);
        let problems = with(path, &directory);
        assert!(*path == "usr/bin/vmcore-encrypt" || problems.iter().any(is_it), "{path}: {problems:?}");
    }
    for (order, fault) in [
        ("", "does not run scripts/local-top/vmcore-encrypt"),
        ("/scripts/local-top/cryptroot \"$@\"\n", "does not run scripts/local-top/vmcore-encrypt"),
        ("# /scripts/local-top/vmcore-encrypt\n", "does not run scripts/local-top/vmcore-encrypt"),
        (
            "/scripts/local-top/cryptroot \"$@\"\n/scripts/local-top/vmcore-encrypt \"$@\"\n",
            "runs cryptroot first",
        ),
    ] {
        let problems = with("scripts/local-top/ORDER", &|image: Archive, path: &str, _: u32, _: &[u8]| {
            image.file(path, order)
        });
        assert!(problems.len() == 1 && problems[0].contains(fault), "{order}: {problems:?}");
    }
    let problems = with("scripts/local-top/ORDER", &absent);
    assert!(problems.len() == 1 && problems[0].contains("does not run"), "{problems:?}");
}

/// An image of our own, by dracut, needs both hooks.
#[test]
fn the_hooks_of_dracut_must_be_in_an_image_of_our_own() {
    let machine = Machine::new();
    let hooks = "usr/lib/dracut/modules.d/99vmcore-encrypt";
    machine
        .file("etc/vmcore-encrypt/config", OWN)
        .file("usr/lib/vmcore-encrypt/save", "save\n")
        .file("usr/lib/vmcore-encrypt/functions.sh", "functions\n")
        .file(&format!("{hooks}/vmcore-encrypt-save.sh"), "hook\n")
        .file(&format!("{hooks}/vmcore-encrypt-root.sh"), "root\n");
    let parts = [
        ("etc/vmcore-encrypt/config", OWN),
        ("usr/lib/vmcore-encrypt/save", "save\n"),
        ("usr/lib/vmcore-encrypt/functions.sh", "functions\n"),
        ("var/lib/dracut/hooks/pre-trigger/99-vmcore-encrypt-save.sh", "hook\n"),
        ("usr/lib/dracut/hooks/cmdline/50-vmcore-encrypt-root.sh", "root\n"),
    ];
    let without = |absent: &str| {
        let parts = parts.iter().filter(|(path, _)| !path.ends_with(absent));
        let image = parts.fold(machine.archive(), |image, (path, content)| image.file(path, content));
        machine.image("var/lib/vmcore-encrypt/initrd.img", image.end());
        machine.problems_of("image")
    };
    assert_eq!(without("nothing"), [] as [&str; 0]);
    for hook in ["pre-trigger/99-vmcore-encrypt-save.sh", "cmdline/50-vmcore-encrypt-root.sh"] {
        let problems = without(hook);
        assert!(problems.len() == 1 && problems[0].contains("it lacks the dracut hook"), "{problems:?}");
    }
}

/// Private keys of every kind, wherever they are in the image; keys of ssh are there by design, unless they open dumps.
#[test]
fn a_private_key_in_an_image_is_found() {
    let machine = Machine::fedora(FEDORA);
    let ssh_key = |name: &str, kind: &[&str]| {
        let path = machine.path(name);
        let mut keygen = Command::new("ssh-keygen");
        let made = keygen.args(["-q", "-N", "", "-C", "x", "-f"]).arg(&path).args(kind).status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        (fs::read_to_string(path).unwrap(), public)
    };
    let with = |path: &str, content: &str| {
        machine.image(FEDORA_IMAGE, machine.archive().file(path, content).end());
        machine.problems_of("image")
    };
    let identity = "AGE-SECRET-KEY-12T4FDAVR0PNY2YDYUNP8F5Q7DMUDVF0EWHA963DRZXSXLDCSZRZQNETYG4";
    let (key, public) = ssh_key("id", &["-t", "ed25519"]);
    let (pem, _) = ssh_key("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]);
    let (pkcs8, _) = ssh_key("pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]);
    for content in [
        identity,
        &identity.to_lowercase(),
        "AGE-PLUGIN-YUBIKEY-1QQQQ",
        &key,
        &pem,
        &pkcs8,
        "PuTTY-User-Key-File-2: ssh-rsa\n",
    ] {
        assert_eq!(with("root/key", content), ["image: a private key is in it: root/key"], "{content}");
    }
    let replaced = machine.archive().file("usr/x", identity).file("usr/x", "good");
    machine.image(FEDORA_IMAGE, replaced.end());
    assert_eq!(machine.problems_of("image"), ["image: a private key is in it: usr/x"]);
    for path in ["root/.ssh/kdump_id_rsa", "etc/ssh/ssh_host_ed25519_key", "home/kdump/.ssh/id"] {
        assert_eq!(with(path, &key), [] as [&str; 0], "{path}");
        assert_eq!(with(path, identity), [format!("image: a private key is in it: {path}")]);
        let text = String::from_utf8(machine.check(&[]).stdout).unwrap();
        assert!(!text.contains(&identity[..30]), "{text}");
    }
    // It becomes a recipient's.
    machine.file("etc/vmcore-encrypt/recipients", &public);
    let problems = with("root/.ssh/kdump_id_rsa", &key);
    assert!(problems.len() == 1 && problems[0].contains("opens the dumps: ssh-ed25519 "), "{problems:?}");
    assert_eq!(with("root/.ssh/kdump_id_rsa", &ssh_key("other", &["-t", "ed25519"]).0), [] as [&str; 0]);
    assert_eq!(with("root/.ssh/kdump_id_rsa", &pem), [] as [&str; 0]);
    assert!(String::from_utf8(machine.check(&[]).stdout).unwrap().contains("of unknown form"));
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

/// A program in an image is data: it leaves no trace, whatever it is called, and neither does any other member.
#[test]
fn nothing_of_an_image_is_executed_or_written() {
    let machine = Machine::fedora(FEDORA);
    let trace = machine.path("trace");
    let script = format!("#!/bin/sh\ntouch {}\n", trace.display());
    let up = "../".repeat(12);
    let image = machine
        .archive()
        .file("usr/bin/vmcore-encrypt", &script)
        .file("init", &script)
        .file(&format!("{up}{}", trace.display()), "x")
        .file(trace.to_str().unwrap(), "x")
        .link("link", machine.0.path().to_str().unwrap())
        .file("link/trace", "x")
        .member("setuid", 0o104_755, "x");
    machine.image(FEDORA_IMAGE, image.end());
    let temporary = machine.path("temporary");
    fs::create_dir(&temporary).unwrap();
    let output = Command::new(COLLECTOR)
        .args(["check", "--root"])
        .arg(machine.0.path())
        .env("TMPDIR", &temporary)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("usr/bin/vmcore-encrypt in it is not the installed one"), "{text}");
    assert!(text.contains("the collector as installed encrypts a vmcore"), "{text}");
    assert!(!trace.exists());
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}

/// Some bytes and megabytes of zeros, compressed.
fn zeros(bytes: &[u8], megabytes: usize) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..megabytes).for_each(|_| packed.write_all(&zeros).unwrap());
    packed.finish().unwrap()
}

/// An image with a file of so many megabytes.
fn growing(archive: Archive, megabytes: usize) -> Vec<u8> {
    let size = u32::try_from(megabytes << 20).unwrap();
    let large = archive::Header { size, ..archive::header("large", b"") };
    zeros(&archive.raw(&large, b"large\0", b"").open(), megabytes)
}

/// Whatever is wrong with an image, it is one finding, and the rest of the check is done.
#[test]
fn a_hostile_image_is_one_finding() {
    let machine = Machine::fedora(FEDORA);
    let path = machine.path(FEDORA_IMAGE);
    let many = (0..120_000).fold(Archive::new(), |archive, number| archive.file(&format!("{number}"), ""));
    let cases: [(&str, Vec<u8>); 6] = [
        ("neither a cpio archive nor a compression", b"not an image".to_vec()),
        ("no file is in it", Vec::new()),
        ("too large: files", growing(machine.archive(), 1500)),
        ("too large: it decompresses to more", zeros(&machine.good_image(), 1500)),
        ("too large: too many files", many.end()),
        ("squashfs", Archive::new().file("squashfs-root.img", "hsqs").end()),
    ];
    for (why, image) in cases {
        machine.image(FEDORA_IMAGE, image);
        let problems = machine.problems();
        let is_it = |problem: &String| problem.contains("cannot be read: ") && problem.contains(why);
        assert!(problems.len() == 1 && problems.iter().all(is_it), "{why}: {problems:?}");
    }
    fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    machine.has_only("cannot be read: it is not a regular file");
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    machine.has_only("cannot be read: it is not a regular file");
}

/// The process that decodes has no rights: not the user, not a capability, not a further file.
#[test]
fn an_image_is_decoded_without_privileges() {
    let as_root = rustix::process::geteuid().is_root();
    if as_root {
        // By itself it refuses: whoever starts it as root must give that up.
        let output = Command::new(COLLECTOR).arg("read-image").stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
    }
    let machine = Machine::fedora(FEDORA);
    machine.image(FEDORA_IMAGE, growing(machine.archive(), 900));
    // The caller has another file open, for every child.
    let mut check = Command::new("sh")
        .args(["-c", "exec 9< /etc/passwd; exec \"$0\" check --root \"$1\"", COLLECTOR])
        .arg(machine.0.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", check.id());
    let read = |path: String| fs::read_to_string(path).unwrap_or_default();
    let (mut status, mut limits) = (String::new(), String::new());
    let (mut reader, mut open) = (String::new(), Vec::new());
    for _ in 0..2000 {
        for child in read(children.clone()).split_whitespace() {
            if read(format!("/proc/{child}/cmdline")).contains("read-image") {
                (status, limits) =
                    (read(format!("/proc/{child}/status")), read(format!("/proc/{child}/limits")));
                let links = fs::read_dir(format!("/proc/{child}/fd")).into_iter().flatten().flatten();
                open = links.map(|link| link.file_name().into_string().unwrap()).collect();
                reader = child.to_owned();
            }
        }
        if limits.contains("Max open files            3") {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    check.kill().unwrap();
    check.wait().unwrap();
    open.retain(|number| !matches!(&**number, "0" | "1" | "2"));
    assert_eq!(open, [] as [&str; 0], "descriptors of the caller");
    // It does not outlive whoever asked.
    let ended = || {
        let stat = read(format!("/proc/{reader}/stat"));
        stat.is_empty() || stat.contains(") Z ")
    };
    assert!((0..400).any(|_| ended() || {
        std::thread::sleep(Duration::from_millis(5));
        false
    }));
    let none = "\t0000000000000000";
    for line in
        ["NoNewPrivs:\t1", &format!("CapInh:{none}"), &format!("CapPrm:{none}"), &format!("CapEff:{none}")]
    {
        assert!(status.contains(line), "{line}: {status}");
    }
    for line in ["Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534", "Groups:\t \n"] {
        assert!(!as_root || status.contains(line), "{line}: {status}");
    }
    let limited = [
        ("address space", "1073741824"),
        ("cpu time", "60"),
        ("file size", "0"),
        ("processes", "0"),
        ("core", "0"),
    ];
    for (limit, value) in limited {
        let line = limits.lines().find(|line| line.contains(limit)).unwrap();
        assert_eq!(line.split_whitespace().filter(|word| *word == value).count(), 2, "{line}");
    }
}

/// Where distributions put images, the newer places as well.
#[test]
fn the_image_is_looked_for_where_it_is() {
    let place = |conf: &str, text: &str, path: &str| {
        let machine = Machine::new();
        machine
            .file(conf, text)
            .file("usr/lib/vmcore-encrypt/suse-transfer", "")
            .file("etc/machine-id", "0123abcd\n")
            .image(path, machine.archive().file("usr/lib/vmcore-encrypt/suse-transfer", "").end());
        let text = String::from_utf8(machine.check(&[]).stdout).unwrap();
        assert!(text.contains(&format!("/{path} is up to date")), "{path}: {text}");
        let transfer = "usr/lib/vmcore-encrypt/suse-transfer";
        assert!(text.contains("it holds usr/bin/vmcore-encrypt"), "{path}: {text} {transfer}");
    };
    for path in [
        "boot/initramfs-6.1.0kdump.img",
        "var/lib/kdump/initramfs-6.1.0kdump.img",
        "boot/0123abcd/6.1.0/initrdkdump",
        "efi/0123abcd/6.1.0/initrdkdump",
        "boot/efi/0123abcd/6.1.0/initrdkdump",
        "boot/ostree/default-1/initramfs-6.1.0kdump.img",
    ] {
        place("etc/kdump.conf", FEDORA, path);
    }
    for path in ["var/lib/kdump/initrd", "var/lib/kdump/initrd-6.1.0-kdump", "boot/initrd-6.1.0-kdump"] {
        place("etc/sysconfig/kdump", SUSE, path);
    }
    let machine = Machine::fedora(FEDORA);
    machine.file("boot/efi/EFI/Linux/x-6.1.0.efi.extra.d/kdump.addon.efi", "");
    assert_eq!(machine.problems(), [] as [&str; 0]);
    let text = String::from_utf8(machine.check(&[]).stdout).unwrap();
    assert!(text.contains("warning  image") && text.contains("kdump.addon.efi"), "{text}");
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
