//! SUSE's kdump. Facts are of its release 2.1.9: `kdump-read-config.sh` for how the configuration is read,
//! `dracut/kdump-save` in the capture kernel.

use super::super::collector::{Goal, Plan};
use super::super::config::Target;
use super::super::findings::Findings;
use super::super::machine::Machine;
use super::super::shell::Settings;
use super::super::words::{Output, judge_own};
use super::{
    CHECK, DOCS, Place, Scripts, View, check_command_line, check_program, hotplug, in_plain, none,
    present_cpus,
};

const SYSCONFIG: &str = "/etc/sysconfig/kdump";
/// The same in an image, as SUSE's dracut module writes it.
const CONF: &str = "/etc/kdump.conf";
const TRANSFER: &str = "/usr/lib/vmcore-encrypt/suse-transfer";

pub(super) struct Kdump;

impl Scripts for Kdump {
    fn configuration(&self) -> &'static str {
        SYSCONFIG
    }

    fn rule(&self, view: &View<'_>, plan: &mut Plan, findings: &mut Findings) {
        let path = path(view.place);
        let settings = match view.machine.read(path) {
            Ok(text) => Settings::parse(&text),
            Err(error) => {
                findings.problem(CHECK, format!("reading {path}: {error}"), DOCS);
                return;
            }
        };
        check_lines(&settings, path, findings);
        // kdump-save evaluates the value as shell, and does nothing else when there is one.
        if settings.text("KDUMP_TRANSFER").trim() != TRANSFER {
            in_plain(&format!("KDUMP_TRANSFER of {path} is not {TRANSFER} alone"), findings);
        }
        for key in ["KDUMP_CONTINUE_ON_ERROR", "KDUMP_IMMEDIATE_REBOOT"] {
            if !is_true(settings.text(key)) {
                let text = format!("{key} of {path} is false: a shell would open beside /proc/vmcore");
                findings.problem(CHECK, text, "set it to \"true\"");
            }
        }
        for key in ["KDUMP_COMMANDLINE", "KDUMP_COMMANDLINE_APPEND", "FADUMP_COMMANDLINE_APPEND"] {
            check_command_line(settings.text(key), &format!("{key} of {path}"), findings);
        }
        let output = match view.config.target() {
            Target::Store => none::output(view.config),
            _ => check_target(&settings, path, plan, findings),
        };
        plan.own_script = false;
        plan.level = dump_level(view, &settings, path, findings);
        judge_own(view, CHECK, output, findings);
    }

    /// As many as `KDUMP_CPUS` has, of those there are; 0 means all.
    fn cpus(&self, machine: &Machine) -> u64 {
        const USUAL: u64 = 32;
        let settings = Settings::parse(&machine.read(SYSCONFIG).unwrap_or_default());
        match (settings.text("KDUMP_CPUS").parse().unwrap_or(USUAL), present_cpus(machine)) {
            (0, present) => present.unwrap_or(USUAL),
            (count, present) => present.map_or(count, |present| present.min(count)),
        }
    }

    fn look(&self, view: &View<'_>, plan: &Plan, findings: &mut Findings) {
        check_program(view.machine, TRANSFER, findings);
        let settings = Settings::parse(&view.machine.read(SYSCONFIG).unwrap_or_default());
        if !settings.text("KDUMP_REQUIRED_PROGRAMS").contains("/etc/vmcore-encrypt/recipients") {
            let text = format!(
                "KDUMP_REQUIRED_PROGRAMS of {SYSCONFIG} does not bring the recipients into the image"
            );
            findings.problem(CHECK, text, DOCS);
        }
        if !matches!(view.config.target(), Target::Kdump | Target::Store) {
            let text =
                "TARGET of /etc/vmcore-encrypt/config has no effect: SUSE's kdump-save chooses the target";
            findings.warning(CHECK, text, "set KDUMP_SAVEDIR");
        }
        let _ = plan;
        // Where it is empty, SUSE's load.sh makes a command line that has the word.
        let whole = settings.text("KDUMP_COMMANDLINE");
        if !whole.is_empty() {
            let words = format!("{whole} {}", settings.text("KDUMP_COMMANDLINE_APPEND"));
            hotplug::check(view.machine, &words, "KDUMP_COMMANDLINE", SYSCONFIG, findings);
        }
    }

    fn fadump(&self, _view: &View<'_>, findings: &mut Findings) {
        findings.warning(
            CHECK,
            "FADump is on: SUSE's kdump puts its image, and our module with it, into the ordinary initramfs, which \
             this check does not read",
            "rebuild with dracut -f after each change, and crash the machine once on purpose",
        );
    }
}

fn path(place: Place) -> &'static str {
    match place {
        Place::Machine => SYSCONFIG,
        Place::Image => CONF,
    }
}

fn check_lines(settings: &Settings, path: &str, findings: &mut Findings) {
    for line in &settings.others {
        let text = format!("{path}, line {line} is no plain assignment: what it does is not checked");
        findings.warning(CHECK, text, "write KEY=\"value\" lines only");
    }
}

/// SUSE's defaults are true; a value that is no boolean is ignored.
fn is_true(value: &str) -> bool {
    !matches!(value, "false" | "no" | "0")
}

/// Where the dump goes, and how the collector is called for it.
fn check_target(settings: &Settings, path: &str, plan: &mut Plan, findings: &mut Findings) -> Output {
    let directory = settings.get("KDUMP_SAVEDIR").filter(|value| !value.is_empty()).unwrap_or("/var/crash");
    let lower = directory.to_ascii_lowercase();
    let mut refuse = |why: &str, hint: &str| {
        let text = format!("KDUMP_SAVEDIR of {path} {why}: every dump would fail");
        findings.problem(CHECK, text, hint);
    };
    if directory.contains(char::is_whitespace) {
        refuse("names several targets", "name one: suse-transfer saves to a single target");
    }
    let (scheme, rest) = lower.split_once("://").unwrap_or(("file", &lower));
    plan.goal = match scheme {
        "file" => Goal::Directory(directory[directory.len() - rest.len()..].to_owned()),
        _ => Goal::Remote,
    };
    match scheme {
        "file" if !rest.starts_with('/') => refuse("is not a path", "begin it with /"),
        "file" | "nfs" | "smb" | "cifs" => {}
        "ssh"
            if rest.split(['/', '@']).next().is_some_and(|user| rest.contains('@') && user.contains(':')) =>
        {
            refuse("holds a password", "use a key: KDUMP_SSH_IDENTITY");
        }
        "ssh" => return Output::Stdout,
        _ => refuse("is of a kind that suse-transfer does not have", "use a path, nfs, cifs or ssh"),
    }
    Output::File
}

/// The level that `suse-transfer` uses, which takes bad values as SUSE's own kdump-save does.
fn dump_level(view: &View<'_>, settings: &Settings, path: &str, findings: &mut Findings) -> u8 {
    let value = settings.text("KDUMP_DUMPLEVEL");
    if value.is_empty() {
        return view.config.levels().last().map_or(31, |level| level.get());
    }
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    let level = value.parse::<u8>().ok().filter(|level| is_number && *level <= 31);
    level.unwrap_or_else(|| {
        let text = format!(
            "KDUMP_DUMPLEVEL={value} of {path} is no dump level: 0, which leaves nothing out, is used"
        );
        findings.warning(CHECK, text, "set a number from 0 to 31");
        0
    })
}
