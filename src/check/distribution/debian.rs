//! kdump-tools: Debian, Ubuntu. Facts are of its release 1.10.9: `kdump-config` for how the configuration is read, its
//! two units, and systemd's reading of the kernel command line.

use super::super::collector::{Goal, Plan};
use super::super::config::Target;
use super::super::findings::Findings;
use super::super::machine::Machine;
use super::super::shell::Settings;
use super::super::words::{Output, judge_own};
use super::{
    CHECK, DOCS, SAVE, Scripts, View, check_command_line, check_program, cpus_of, hotplug, in_plain, none,
};
use std::io::ErrorKind;

const CONF: &str = "/etc/default/kdump-tools";
const UNIT: &str = "vmcore-encrypt-dump.service";
const DUMP: &str = "/usr/lib/vmcore-encrypt/debian-dump";
/// The unit that kdump-tools starts in the capture kernel unless the command line names another one.
const THEIR_UNIT: &str = "kdump-tools-dump.service";
/// The unit that an ordinary boot starts; with a vmcore it saves in plain.
const BOOT_UNIT: &str = "kdump-tools.service";
/// Our additions to those units.
const DROP_IN: &str = "vmcore-encrypt.conf";
/// Words that let systemd start something else than the default unit. Source: systemd(1), "Kernel Command Line".
const RUN_LEVELS: [&str; 11] = ["emergency", "-b", "rescue", "single", "-s", "s", "S", "1", "2", "3", "5"];

pub(super) struct KdumpTools;

impl Scripts for KdumpTools {
    fn configuration(&self) -> &'static str {
        CONF
    }

    fn rule(&self, view: &View<'_>, plan: &mut Plan, findings: &mut Findings) {
        let text = match view.machine.read(CONF) {
            Ok(text) => text,
            // kdump-tools then has its defaults.
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                findings.problem(CHECK, format!("reading {CONF}: {error}"), DOCS);
                return;
            }
        };
        let settings = Settings::parse(&text);
        for line in &settings.others {
            let text = format!("{CONF}, line {line} is no plain assignment: what it does is not checked");
            findings.warning(CHECK, text, "write KEY=\"value\" lines only");
        }
        let output = match view.config.target() {
            Target::Kdump => kdump_target(&settings, plan),
            Target::Store => {
                (plan.in_image, plan.own_script) = (false, false);
                none::output(view.config)
            }
            Target::File | Target::Raw => none::output(view.config),
        };
        check_unit(view.machine, &settings, findings);
        check_shell(view.machine, &settings, findings);
        judge_own(view, CHECK, output, findings);
    }

    fn look(&self, view: &View<'_>, _plan: &Plan, findings: &mut Findings) {
        let settings = Settings::parse(&view.machine.read(CONF).unwrap_or_default());
        if settings.get("USE_KDUMP") == Some("0") {
            findings.problem(CHECK, format!("USE_KDUMP=0 in {CONF}: kdump is off"), "set USE_KDUMP=1");
        }
        let in_initramfs = matches!(view.config.target(), Target::File | Target::Raw);
        check_program(view.machine, if in_initramfs { SAVE } else { super::NAME }, findings);
        if !settings.text("FTP").is_empty() {
            findings.problem(CHECK, format!("FTP in {CONF}: not supported"), "use SSH, NFS or a directory");
        }
        if settings.get("KDUMP_DUMP_DMESG") != Some("0") {
            findings.warning(
                CHECK,
                format!(
                    "KDUMP_DUMP_DMESG is not 0 in {CONF}: kdump-config would save the kernel log in plain"
                ),
                "set KDUMP_DUMP_DMESG=0",
            );
        }
        let words = command_line(view.machine, &settings);
        hotplug::check(view.machine, &words, "KDUMP_CMDLINE_APPEND", CONF, findings);
    }

    /// The scripts' own words, used where the configuration has none, are for one CPU.
    fn cpus(&self, machine: &Machine) -> u64 {
        let settings = Settings::parse(&machine.read(CONF).unwrap_or_default());
        match settings.text("KDUMP_CMDLINE_APPEND") {
            "" => 1,
            _ => cpus_of(machine, &command_line(machine, &settings)),
        }
    }

    fn fadump(&self, view: &View<'_>, findings: &mut Findings) {
        let text = "FADump is on: the capture kernel starts with the ordinary command line";
        let hint = "boot with fadump=off and use kdump";
        if drop_in_holds(view.machine, BOOT_UNIT, "ConditionPathExists=!/proc/vmcore") {
            findings.problem(CHECK, format!("{text}, and no dump is saved"), hint);
        } else {
            findings.problem(
                CHECK,
                format!("{text}, and {BOOT_UNIT} saves: the dump would be in plain"),
                hint,
            );
        }
    }
}

/// Where `debian-dump` saves, and how it calls the collector.
fn kdump_target(settings: &Settings, plan: &mut Plan) -> Output {
    plan.in_image = false;
    let directory = settings.get("KDUMP_COREDIR").filter(|value| !value.is_empty()).unwrap_or("/var/crash");
    let is_remote = ["SSH", "NFS"].iter().any(|key| !settings.text(key).is_empty());
    plan.goal = if is_remote { Goal::Remote } else { Goal::Directory(directory.to_owned()) };
    if settings.text("SSH").is_empty() { Output::File } else { Output::Stdout }
}

/// What systemd starts in the capture kernel: the last word counts. The words are those of the running kernel, or all
/// that `KDUMP_CMDLINE` gives, then `KDUMP_CMDLINE_APPEND`.
fn check_unit(machine: &Machine, settings: &Settings, findings: &mut Findings) {
    let append = match settings.text("KDUMP_CMDLINE_APPEND") {
        "" => "systemd.unit=kdump-tools-dump.service",
        words => words,
    };
    let words = format!("{} {append}", base(machine, settings));
    let mut started = String::new();
    for word in words.split_whitespace() {
        match word.strip_prefix("systemd.unit=") {
            Some(unit) => started = unit.to_owned(),
            None if RUN_LEVELS.contains(&word) || word == "4" => started = word.to_owned(),
            // What a shell puts in place of such a word is not known.
            None if word.contains(['$', '`']) => started.clear(),
            None => {}
        }
    }
    let is_replaced = drop_in_holds(machine, THEIR_UNIT, &format!("ExecStart={DUMP}"));
    if started != UNIT && !(started == THEIR_UNIT && is_replaced) {
        let what = match &*started {
            "" => format!("KDUMP_CMDLINE_APPEND of {CONF} lacks systemd.unit={UNIT}"),
            started => {
                format!("KDUMP_CMDLINE_APPEND of {CONF} lacks systemd.unit={UNIT}, so {started} starts")
            }
        };
        in_plain(&what, findings);
    }
    let arguments = settings.text("KDUMP_KEXEC_ARGS");
    if ["--append", "--command-line", "--reuse-cmdline"].iter().any(|option| arguments.contains(option)) {
        in_plain(&format!("KDUMP_KEXEC_ARGS of {CONF} replaces the command line, and so the unit"), findings);
    }
}

/// Whether a file that adds to a unit has a line.
fn drop_in_holds(machine: &Machine, unit: &str, line: &str) -> bool {
    let path = format!("/usr/lib/systemd/system/{unit}.d/{DROP_IN}");
    machine.read(path).is_ok_and(|text| text.lines().any(|found| found.trim() == line))
}

/// The words of the capture kernel: the base and what is appended.
fn command_line(machine: &Machine, settings: &Settings) -> String {
    format!("{} {}", base(machine, settings), settings.text("KDUMP_CMDLINE_APPEND"))
}

fn base(machine: &Machine, settings: &Settings) -> String {
    match settings.text("KDUMP_CMDLINE") {
        "" => machine.read("/proc/cmdline").unwrap_or_default(),
        words => words.to_owned(),
    }
}

/// initramfs-tools opens a shell when it fails, unless `panic=` has the seconds after which it reboots.
fn check_shell(machine: &Machine, settings: &Settings, findings: &mut Findings) {
    let append = settings.text("KDUMP_CMDLINE_APPEND");
    let words = command_line(machine, settings);
    let reboots = words.split_whitespace().filter_map(|word| word.strip_prefix("panic=")).next_back();
    if reboots.is_none_or(str::is_empty) {
        let text =
            format!("no panic= in KDUMP_CMDLINE_APPEND of {CONF}: a shell would open beside /proc/vmcore");
        findings.problem(CHECK, text, "add panic=10: initramfs-tools then reboots when it fails");
    }
    check_command_line(append, &format!("KDUMP_CMDLINE_APPEND of {CONF}"), findings);
    for key in ["KDUMP_CMDLINE", "KDUMP_KERNEL_CMDLINE", "KDUMP_KEXEC_ARGS"] {
        check_command_line(settings.text(key), &format!("{key} of {CONF}"), findings);
    }
}
