//! `vmcore-encrypt check` on machines that are directories: each distribution's good configuration passes, and each
//! way to lose a dump or save it in plain is found.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod synth;

use common::{Absent, or_skip};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

const RECIPIENT: &str = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv";
const COLLECTOR: &str = env!("CARGO_BIN_EXE_vmcore-encrypt");

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
        machine
    }

    fn fedora(conf: &str) -> Machine {
        let machine = Machine::new();
        machine.file("etc/kdump.conf", conf).file("boot/initramfs-6.1.0kdump.img", "not an image");
        machine
    }

    fn debian(defaults: &str) -> Machine {
        let machine = Machine::new();
        machine
            .file("etc/default/kdump-tools", defaults)
            .file("var/lib/kdump/initrd.img-6.1.0", "not an image");
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
        .file("var/lib/kdump/initrd-6.1.0-kdump", "not an image");
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
    Machine::fedora(FEDORA).file("etc/vmcore-encrypt/config", "TARGETS=raw\n").has_only("unknown key");
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

/// An image in the simplest form, a cpio archive of these files; `None` where nothing unpacks one.
fn image(files: &[(&str, &str)]) -> Option<Vec<u8>> {
    let unpacks = |tool: &str| Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
    let one = ["unmkinitramfs", "lsinitrd"].into_iter().find(|tool| unpacks(tool).unwrap().status.success());
    or_skip(one.ok_or(Absent("unmkinitramfs or lsinitrd".to_owned())))?;
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("usr/bin")).unwrap();
    fs::copy(COLLECTOR, tree.path().join("usr/bin/vmcore-encrypt")).unwrap();
    for (path, text) in files {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let archive = "find . | cpio --quiet -o -H newc";
    Some(Command::new("sh").args(["-c", archive]).current_dir(tree.path()).output().unwrap().stdout)
}

#[test]
fn an_image_without_the_plugin_of_a_recipient_is_found() {
    let hrp = bech32::Hrp::parse("age1checktest").unwrap();
    let recipient = age_core::primitives::bech32_encode(hrp, b"x");
    let recipients = ("etc/vmcore-encrypt/recipients", &*format!("{recipient}\n"));
    for (with_plugin, part) in [(false, "it lacks age-plugin-checktest, which a recipient needs"), (true, "")]
    {
        let plugin = with_plugin.then_some(("usr/bin/age-plugin-checktest", "#!/bin/sh\n"));
        let files: Vec<_> = [Some(recipients), plugin].into_iter().flatten().collect();
        let Some(image) = image(&files) else { return };
        let machine = Machine::fedora(FEDORA);
        machine.file(recipients.0, recipients.1);
        fs::write(machine.path("boot/initramfs-6.1.0kdump.img"), image).unwrap();
        let of_image = |problem: &String| problem.starts_with("image: ");
        let problems: Vec<String> = machine.problems().into_iter().filter(of_image).collect();
        match with_plugin {
            true => assert_eq!(problems, [] as [&str; 0]),
            false => assert!(problems.len() == 1 && problems[0].contains(part), "{problems:#?}"),
        }
    }
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
