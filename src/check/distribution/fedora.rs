//! kdump-utils: Fedora, RHEL, CentOS Stream. Facts are of its release 1.0.61: `kdump.sh` in the capture kernel,
//! `kdump-lib-initramfs.sh` for how the configuration is read, `kdumpctl` for what it refuses.

mod conf;
mod hooks;

use super::super::collector::{Goal, Plan};
use super::super::config::{PATH, Target};
use super::super::findings::Findings;
use super::super::machine::Machine;
use super::super::shell::Settings;
use super::super::words::{Output, judge, judge_own};
use super::{
    CHECK, DOCS, NAME, PROGRAM, SAVE, Scripts, View, check_command_line, check_program, cpus_of, hotplug,
    in_plain, none,
};
use conf::{Conf, Setting};

const CONF: &str = "/etc/kdump.conf";
const SYSCONFIG: &str = "/etc/sysconfig/kdump";
/// Where a program named without a path is found before [`PROGRAM`].
const BEFORE: [&str; 5] = ["usr/local/sbin", "usr/local/bin", "usr/sbin", "sbin", "bin"];

pub(super) struct KdumpUtils;

impl Scripts for KdumpUtils {
    fn configuration(&self) -> &'static str {
        CONF
    }

    fn rule(&self, view: &View<'_>, plan: &mut Plan, findings: &mut Findings) {
        let conf = match Conf::read(view) {
            Ok(conf) => conf,
            Err(error) => {
                findings.problem(CHECK, format!("reading {CONF}: {error}"), DOCS);
                return;
            }
        };
        conf.check_form(findings);
        let ways = Ways::of(&conf);
        check_failure_action(&ways, findings);
        plan.own_script = check_save(view, &conf, findings);
        match conf.last("core_collector") {
            Some(line) => check_collector(view, line, &ways, plan, findings),
            // save does not return, so kdump.sh comes to its collector only by the failure action.
            None if plan.own_script && !ways.dumps_to_root => {}
            None => {
                in_plain(&format!("no core_collector in {CONF}, so kdump.sh runs makedumpfile"), findings);
            }
        }
        hooks::check(view, &conf, findings);
        if !plan.own_script {
            plan.goal = ways.goal;
        }
    }

    fn look(&self, view: &View<'_>, plan: &Plan, findings: &mut Findings) {
        let program = if plan.own_script { SAVE } else { PROGRAM };
        check_program(view.machine, program, findings);
        if view.config.target() != Target::Kdump && !plan.own_script {
            let text = format!("TARGET of {PATH} has no effect: {CONF} has no kdump_pre {SAVE}");
            findings.warning(CHECK, text, DOCS);
        }
        check_sysconfig(view.machine, findings);
    }

    fn cpus(&self, machine: &Machine) -> u64 {
        let settings = Settings::parse(&machine.read(SYSCONFIG).unwrap_or_default());
        cpus_of(machine, &command_line(machine, &settings))
    }

    fn fadump(&self, _view: &View<'_>, findings: &mut Findings) {
        findings.warning(
            CHECK,
            "FADump is on: kdump-utils puts its image, and our module with it, into the ordinary initramfs, which \
             this check does not read",
            "rebuild with kdumpctl rebuild after each change, and crash the machine once on purpose",
        );
    }
}

/// The ways that kdump.sh can go with a configuration.
struct Ways {
    goal: Goal,
    /// Where the collector writes first.
    output: Output,
    /// Whether a failed dump is tried once more on the root file system.
    dumps_to_root: bool,
    /// The line that opens a shell when a dump fails.
    shell: Option<Setting>,
}

impl Ways {
    fn of(conf: &Conf) -> Ways {
        // Values that kdump.sh does not know change nothing.
        const ACTIONS: [&str; 5] = ["reboot", "halt", "poweroff", "shell", "dump_to_rootfs"];
        let keys = ["failure_action", "default"];
        let action = conf.find(|line| keys.contains(&&*line.key) && ACTIONS.contains(&&*line.value));
        let is = |name| action.is_some_and(|line: &Setting| line.value == name);
        let goal = conf.goal();
        let output = match conf.target().map(|line| &*line.key) {
            Some("raw" | "ssh") => Output::Stdout,
            _ => Output::File,
        };
        let dumps_to_root = is("dump_to_rootfs");
        Ways { goal, output, dumps_to_root, shell: action.filter(|_| is("shell")).cloned() }
    }
}

fn check_failure_action(ways: &Ways, findings: &mut Findings) {
    if let Some(line) = &ways.shell {
        let text = format!("{}: {} is shell: it opens beside /proc/vmcore", line.place(), line.key);
        findings.problem(CHECK, text, "set failure_action reboot or poweroff");
    }
}

/// Whether our `save` runs first and does not return.
fn check_save(view: &View<'_>, conf: &Conf, findings: &mut Findings) -> bool {
    let Some(line) = conf.last("kdump_pre").filter(|line| line.value == SAVE) else { return false };
    match view.config.target() {
        Target::Kdump => {
            let text =
                format!("{}: kdump_pre runs save, which saves nothing with TARGET=kdump", line.place());
            findings.problem(CHECK, text, "take the kdump_pre line out, or set TARGET=file, raw or store");
            false
        }
        _ => {
            judge_own(view, CHECK, none::output(view.config), findings);
            true
        }
    }
}

fn check_collector(view: &View<'_>, line: &Setting, ways: &Ways, plan: &mut Plan, findings: &mut Findings) {
    let mut words = line.value.split([' ', '\t']).filter(|word| !word.is_empty());
    let program = words.next().unwrap_or_default();
    if ![NAME, PROGRAM, "/bin/vmcore-encrypt"].contains(&program) {
        let what = format!("{}: core_collector of {CONF} is {program:?}, not {NAME}", line.place());
        in_plain(&what, findings);
        return;
    }
    if program == NAME {
        check_name(view, line, findings);
    }
    // kdump.sh expands the words without quotes, and rewrites a line that has this word in it.
    if line.value.contains(['*', '?', '[', '"', '\'']) || line.value.contains("makedumpfile") {
        let text = format!(
            "{}: quotes, * ? [ or makedumpfile in core_collector: kdump.sh changes the words",
            line.place()
        );
        findings.problem(CHECK, text, "name files without such characters");
    }
    let words: Vec<&str> = words.collect();
    let place = format!("{}: core_collector", line.place());
    if let Some(parsed) = judge(view, CHECK, &place, &words, ways.output, findings) {
        plan.level = parsed.levels.last().map_or(31, |level| level.get());
        plan.limit = parsed.limit;
        check_raw(ways, parsed.marks_end, findings);
        if ways.dumps_to_root && ways.output == Output::Stdout {
            let place = format!("{place}, after failure_action dump_to_rootfs");
            judge(view, CHECK, &place, &words, Output::File, findings);
        }
    }
}

/// Another program of the same name that the capture kernel finds first.
fn check_name(view: &View<'_>, line: &Setting, findings: &mut Findings) {
    let root = view.machine.path("/");
    for directory in BEFORE {
        // A linked directory is another name of one that is listed.
        let is_link = root.join(directory).symlink_metadata().is_ok_and(|data| data.is_symlink());
        let program = root.join(directory).join(NAME);
        let is_ours = std::fs::read_link(&program).is_ok_and(|to| to.ends_with("usr/bin/vmcore-encrypt"));
        if !is_link && !is_ours && program.symlink_metadata().is_ok() {
            let text =
                format!("{}: core_collector {NAME} finds /{directory}/{NAME}, not {PROGRAM}", line.place());
            findings.problem(
                CHECK,
                text,
                "remove the other program, or write core_collector /usr/bin/vmcore-encrypt",
            );
        }
    }
}

/// kdump-utils keeps no length of a raw dump, so the dump must.
fn check_raw(ways: &Ways, marks_end: bool, findings: &mut Findings) {
    if matches!(ways.goal, Goal::Raw(_)) && !marks_end {
        findings.problem(
            CHECK,
            "a raw target without --framed or --output-device: nothing would mark where the dump ends",
            "add --framed to core_collector",
        );
    }
}

/// The command line of the capture kernel: the first kernel's, or a whole one, and more words.
/// Source: kdump-utils `kdump-lib.sh`, `prepare_cmdline`.
fn check_sysconfig(machine: &Machine, findings: &mut Findings) {
    let settings = Settings::parse(&machine.read(SYSCONFIG).unwrap_or_default());
    for key in ["KDUMP_COMMANDLINE", "KDUMP_COMMANDLINE_APPEND", "FADUMP_COMMANDLINE_APPEND"] {
        check_command_line(settings.text(key), &format!("{key} of {SYSCONFIG}"), findings);
    }
    let words = command_line(machine, &settings);
    hotplug::check(machine, &words, "KDUMP_COMMANDLINE_APPEND", SYSCONFIG, findings);
}

fn command_line(machine: &Machine, settings: &Settings) -> String {
    let base = match settings.text("KDUMP_COMMANDLINE") {
        "" => machine.read("/proc/cmdline").unwrap_or_default(),
        words => words.to_owned(),
    };
    format!("{base} {}", settings.text("KDUMP_COMMANDLINE_APPEND"))
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    #[test]
    fn kdump_conf_is_read_as_its_scripts_do() {
        let ways = |text: &str| Ways::of(&Conf::parse(text, Place::Machine));
        assert!(matches!(ways("ext4\tUUID=x").goal, Goal::OnDevice(device) if device == "UUID=x"));
        assert!(matches!(ways("path /c").goal, Goal::Directory(path) if path == "/c"));
        assert!(matches!(ways("raw /dev/a\nssh a@b").goal, Goal::Remote), "the last target counts");
        assert_eq!(ways("ssh a@b\nraw /dev/a").output, Output::Stdout);
        assert!(ways("default shell").shell.is_some());
        assert!(ways("default shell\nfailure_action reboot").shell.is_none());
        assert!(ways("failure_action reboot\ndefault shell\nfailure_action sehll").shell.is_some());
        assert!(ways("failure_action dump_to_rootfs").dumps_to_root);
    }
}
