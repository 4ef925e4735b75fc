//! Which program the distribution's kdump scripts run after a crash, and whether anything of theirs would
//! save in plain or open a shell. Ends in a plan: where the dump will go, and how large it may get.

use super::config::{Config, Target};
use super::findings::Findings;
use super::machine::{Machine, shell_value};
use crate::text::size;

const CHECK: &str = "collector";
const NAME: &str = "vmcore-encrypt";
const SAVE: &str = "/usr/lib/vmcore-encrypt/save";
const FEDORA: &str = "/etc/kdump.conf";
const DEBIAN: &str = "/etc/default/kdump-tools";
const SUSE: &str = "/etc/sysconfig/kdump";

/// Where the dump will go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// A directory of a mounted file system.
    Directory(String),
    /// A directory on a device that the capture kernel mounts.
    OnDevice(String),
    /// A device itself.
    Raw(String),
    /// Another machine.
    Remote,
    /// Not known.
    Unknown,
}

/// Whose kdump scripts these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// kdump-utils: Fedora, RHEL, CentOS Stream.
    Fedora,
    /// kdump-tools: Debian, Ubuntu.
    Debian,
    /// SUSE's kdump.
    Suse,
    /// None of these.
    None,
}

/// What will happen after a crash.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whose scripts run.
    pub distribution: Distribution,
    /// Where the dump goes.
    pub goal: Goal,
    /// The least dump level that is tried.
    pub level: u8,
    /// The most bytes it may take.
    pub limit: Option<u64>,
    /// Whether the collector runs from the kdump image, and not from the root file system.
    pub in_image: bool,
    /// Whether our own script saves, and not the distribution's.
    #[cfg_attr(not(feature = "check"), expect(dead_code, reason = "only the reader of images asks"))]
    pub own_script: bool,
    /// How many CPUs the capture kernel uses at most.
    pub cpus: u64,
}

/// Looks at the distribution's configuration.
pub fn check(machine: &Machine, config: &Config, findings: &mut Findings) -> Plan {
    let (path, distribution) =
        [(FEDORA, Distribution::Fedora), (DEBIAN, Distribution::Debian), (SUSE, Distribution::Suse)]
            .into_iter()
            .find(|(path, _)| machine.path(path).exists())
            .unwrap_or(("", Distribution::None));
    let text = machine.read(path).unwrap_or_default();
    let mut plan = own_plan(config, distribution);
    match distribution {
        Distribution::Fedora => fedora(machine, &text, config, &mut plan, findings),
        Distribution::Debian => debian(machine, &text, config, &mut plan, findings),
        Distribution::Suse => suse(machine, &text, config, &mut plan, findings),
        Distribution::None if config.target() == Target::Kdump => findings.problem(
            CHECK,
            format!("neither {FEDORA} nor {DEBIAN} nor {SUSE} is here, and TARGET=kdump relies on one"),
            "install kdump, or set TARGET=file or raw and build an image with vmcore-encrypt-mkinitrd",
        ),
        Distribution::None => findings.ok(CHECK, "our own script saves, from an image of its own"),
    }
    plan
}

/// The plan by our own configuration.
fn own_plan(config: &Config, distribution: Distribution) -> Plan {
    let device = config.get("DEVICE").to_owned();
    let goal = match config.target() {
        Target::Kdump => Goal::Unknown,
        Target::File => Goal::OnDevice(device),
        Target::Raw => Goal::Raw(device),
    };
    let level = config.levels().last().map_or(31, |level| level.get());
    let own_script = config.target() != Target::Kdump;
    Plan { distribution, goal, level, limit: None, in_image: true, own_script, cpus: 1 }
}

/// A program of the configuration must exist: dracut leaves a missing one out without a word.
fn check_program(machine: &Machine, name: &str, findings: &mut Findings) {
    match machine.program(name) {
        Some(path) => findings.ok(CHECK, format!("{} is what saves", path.display())),
        None => findings.problem(CHECK, format!("{name} is not there: every dump would fail"), "install it"),
    }
}

fn plaintext(what: &str, findings: &mut Findings) {
    findings.problem(
        CHECK,
        format!("{what}: the dump would be in plain"),
        "docs/kdump.md has the lines to set",
    );
}

fn fedora(machine: &Machine, text: &str, config: &Config, plan: &mut Plan, findings: &mut Findings) {
    let value = |key: &str| kdump_conf_value(text, key);
    let command = value("core_collector").unwrap_or_default();
    let program = command.split_whitespace().next().unwrap_or_default();
    let saved_before = value("kdump_pre") == Some(SAVE) && config.target() != Target::Kdump;
    if saved_before {
        check_program(machine, SAVE, findings);
    } else if program.rsplit('/').next() == Some(NAME) {
        check_program(machine, program, findings);
        plan_of_command(command, plan);
        plan.goal = fedora_goal(text);
    } else {
        plaintext(&format!("core_collector of {FEDORA} is not {NAME}"), findings);
    }
    check_raw_command(command, plan, findings);
    let action = value("failure_action").or_else(|| value("default")).unwrap_or("reboot");
    if action == "shell" {
        let text = format!("failure_action of {FEDORA} is shell: it opens beside /proc/vmcore");
        findings.problem(CHECK, text, "set failure_action reboot or poweroff");
    }
}

/// kdump-utils keeps no length of a raw dump, so the dump must.
fn check_raw_command(command: &str, plan: &Plan, findings: &mut Findings) {
    let marked = command.contains("--framed") || command.contains("--output-device");
    if matches!(plan.goal, Goal::Raw(_)) && plan.distribution == Distribution::Fedora && !marked {
        findings.problem(
            CHECK,
            "a raw target without --framed or --output-device: nothing would mark where the dump ends",
            "add --framed to core_collector",
        );
    }
}

/// Source: kdump-utils `kdump-lib-initramfs.sh`, `kdump_get_conf_val`: text behind `#` is dropped, one pair of
/// quotes as well.
fn kdump_conf_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().rev().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default().trim();
        let value = line.strip_prefix(key)?.strip_prefix(char::is_whitespace)?.trim();
        Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
    })
}

fn fedora_goal(text: &str) -> Goal {
    let value = |key: &str| kdump_conf_value(text, key).map(str::to_owned);
    if let Some(device) = value("raw") {
        return Goal::Raw(device);
    }
    if ["ssh", "nfs", "virtiofs"].iter().any(|key| value(key).is_some()) {
        return Goal::Remote;
    }
    let file_systems = ["ext2", "ext3", "ext4", "minix", "btrfs", "xfs"];
    if let Some(device) = file_systems.iter().find_map(|key| value(key)) {
        return Goal::OnDevice(device);
    }
    Goal::Directory(value("path").unwrap_or_else(|| "/var/crash".to_owned()))
}

/// Dump level and limit of a command line.
fn plan_of_command(command: &str, plan: &mut Plan) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let option = |name: &str| {
        words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(name)? {
            "" => words.get(at + 1).copied(),
            value => Some(value),
        })
    };
    let last = option("-d").and_then(|levels| levels.split(',').next_back());
    plan.level = last.and_then(|level| level.parse().ok()).unwrap_or(31);
    plan.limit = option("-L").and_then(|limit| size::parse(limit).ok());
}

fn debian(machine: &Machine, text: &str, config: &Config, plan: &mut Plan, findings: &mut Findings) {
    const UNIT: &str = "systemd.unit=vmcore-encrypt-dump.service";
    if shell_value(text, "USE_KDUMP") == Some("0") {
        findings.problem(CHECK, format!("USE_KDUMP=0 in {DEBIAN}: kdump is off"), "set USE_KDUMP=1");
    }
    if config.target() == Target::Kdump {
        plan.in_image = false;
        match shell_value(text, "KDUMP_CMDLINE_APPEND").is_some_and(|words| words.contains(UNIT)) {
            true => check_program(machine, NAME, findings),
            false => plaintext(&format!("KDUMP_CMDLINE_APPEND of {DEBIAN} lacks {UNIT}"), findings),
        }
        let remote = ["SSH", "NFS"].iter().any(|key| shell_value(text, key).is_some_and(|v| !v.is_empty()));
        let directory = shell_value(text, "KDUMP_COREDIR").unwrap_or("/var/crash").to_owned();
        plan.goal = if remote { Goal::Remote } else { Goal::Directory(directory) };
    } else {
        check_program(machine, SAVE, findings);
    }
    let words =
        [shell_value(text, "KDUMP_CMDLINE_APPEND").unwrap_or_default(), &command_line(machine)].join(" ");
    if !words.split_whitespace().any(|word| word.starts_with("panic=")) {
        let text =
            format!("no panic= in KDUMP_CMDLINE_APPEND of {DEBIAN}: a shell would open beside /proc/vmcore");
        findings.problem(CHECK, text, "add panic=10: initramfs-tools then reboots when it fails");
    }
    if shell_value(text, "FTP").is_some_and(|value| !value.is_empty()) {
        findings.problem(CHECK, format!("FTP in {DEBIAN}: not supported"), "use SSH, NFS or a directory");
    }
    if shell_value(text, "KDUMP_DUMP_DMESG") != Some("0") {
        findings.warning(
            CHECK,
            format!("KDUMP_DUMP_DMESG is not 0 in {DEBIAN}: kdump-config would save the kernel log in plain"),
            "set KDUMP_DUMP_DMESG=0",
        );
    }
}

/// What kdump-tools hands on to the capture kernel, before its own words.
fn command_line(machine: &Machine) -> String {
    machine.read("/proc/cmdline").unwrap_or_default()
}

fn suse(machine: &Machine, text: &str, config: &Config, plan: &mut Plan, findings: &mut Findings) {
    const TRANSFER: &str = "/usr/lib/vmcore-encrypt/suse-transfer";
    let value = |key| shell_value(text, key).unwrap_or_default();
    match value("KDUMP_TRANSFER").contains(NAME) {
        true => check_program(machine, TRANSFER, findings),
        false => plaintext(&format!("KDUMP_TRANSFER of {SUSE} is not {TRANSFER}"), findings),
    }
    for key in ["KDUMP_CONTINUE_ON_ERROR", "KDUMP_IMMEDIATE_REBOOT"] {
        if value(key) != "true" {
            let text = format!("{key} of {SUSE} is not true: a shell would open beside /proc/vmcore");
            findings.problem(CHECK, text, "set it to \"true\"");
        }
    }
    if !value("KDUMP_REQUIRED_PROGRAMS").contains("/etc/vmcore-encrypt/recipients") {
        let text = format!("KDUMP_REQUIRED_PROGRAMS of {SUSE} does not bring the recipients into the image");
        findings.problem(CHECK, text, "docs/kdump.md has the line to set");
    }
    plan.cpus = suse_cpus(machine, value("KDUMP_CPUS"));
    if config.target() == Target::Kdump {
        let directory = value("KDUMP_SAVEDIR");
        plan.goal = match directory.strip_prefix("file://").or(directory.strip_prefix("file:")) {
            Some(path) => Goal::Directory(path.to_owned()),
            None if directory.starts_with('/') => Goal::Directory(directory.to_owned()),
            None => Goal::Remote,
        };
        plan.level = value("KDUMP_DUMPLEVEL").parse().unwrap_or(31);
    }
}

/// As many as `KDUMP_CPUS` says, of those there are; 0 means all. Source: SUSE kdump 2.1.9 `kdump-read-config.sh`,
/// `init/load.sh`.
fn suse_cpus(machine: &Machine, configured: &str) -> u64 {
    const USUAL: u64 = 32;
    // "0-7"; Linux Documentation/ABI/testing/sysfs-devices-system-cpu.
    let present = machine.read("/sys/devices/system/cpu/present").unwrap_or_default();
    let last = present.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<u64>().ok());
    let present = last.map_or(u64::MAX, |last| last.saturating_add(1));
    match configured.parse().unwrap_or(USUAL) {
        0 if present == u64::MAX => USUAL,
        0 => present,
        count => present.min(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kdump_conf_is_read_as_its_scripts_do() {
        let text = "#core_collector a\ncore_collector  vmcore-encrypt -d 1,31 -L 600M # why\next4\tUUID=x\n";
        assert_eq!(kdump_conf_value(text, "core_collector"), Some("vmcore-encrypt -d 1,31 -L 600M"));
        assert_eq!(kdump_conf_value("path \"/crash\"", "path"), Some("/crash"));
        assert_eq!(kdump_conf_value("paths /crash", "path"), None);
        assert_eq!(fedora_goal(text), Goal::OnDevice("UUID=x".into()));
        assert_eq!(fedora_goal("path /c"), Goal::Directory("/c".into()));
        let mut plan = own_plan(&Config::default(), Distribution::Fedora);
        plan_of_command("vmcore-encrypt -d 1,17 -L 600M", &mut plan);
        assert_eq!((plan.level, plan.limit), (17, Some(600 << 20)));
        plan_of_command("vmcore-encrypt", &mut plan);
        assert_eq!((plan.level, plan.limit), (31, None));
    }
}
