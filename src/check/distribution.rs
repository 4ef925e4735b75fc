//! Whose kdump scripts run after a crash, and the rule for each: every way that their configuration can go ends in
//! our collector or in no dump, and none opens a shell where `/proc/vmcore` can be read. The rule is written here
//! once: `check` applies it to the machine, `gate` to an image that is being built.

mod debian;
mod fedora;
mod hotplug;
mod none;
mod suse;

use super::collector::{Distribution, Plan};
use super::config::Config;
use super::findings::Findings;
use super::machine::Machine;
use super::words::ParseWords;
use crate::pin::Pins;

/// The name under which findings about the scripts are reported.
pub(super) const CHECK: &str = "collector";
/// The collector's name, and where it is in every image.
const NAME: &str = "vmcore-encrypt";
const PROGRAM: &str = "/usr/bin/vmcore-encrypt";
/// Our script that saves before the distribution's do.
const SAVE: &str = "/usr/lib/vmcore-encrypt/save";
const DOCS: &str = "docs/kdump.md has the lines to set";

/// Which tree is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A machine, whose configuration the image builder reads.
    Machine,
    /// The tree of an image, whose configuration the capture kernel reads.
    Image,
}

/// What a rule judges.
pub(super) struct View<'a> {
    /// The tree.
    pub(super) machine: &'a Machine,
    /// Our own configuration in it.
    pub(super) config: &'a Config,
    /// The collector's command line.
    pub(super) parse: ParseWords,
    /// Which tree it is.
    pub(super) place: Place,
}

/// A distribution's kdump scripts.
pub(super) trait Scripts {
    /// Their configuration file; empty where there is none.
    fn configuration(&self) -> &'static str;

    /// The rule. Anything that breaks it is a problem; fills in where the dump will go.
    fn rule(&self, view: &View<'_>, plan: &mut Plan, findings: &mut Findings);

    /// What else is worth knowing of a machine that runs them.
    fn look(&self, view: &View<'_>, plan: &Plan, findings: &mut Findings);

    /// How many CPUs the capture kernel uses at most.
    fn cpus(&self, _machine: &Machine) -> u64 {
        1
    }

    /// What becomes of a dump that the firmware assists (FADump, ppc64le), which is on.
    fn fadump(&self, view: &View<'_>, findings: &mut Findings);
}

/// The scripts of a distribution.
pub(super) fn scripts(distribution: Distribution) -> &'static dyn Scripts {
    match distribution {
        Distribution::Fedora => &fedora::KdumpUtils,
        Distribution::Debian => &debian::KdumpTools,
        Distribution::Suse => &suse::Kdump,
        Distribution::None => &none::Own,
    }
}

/// The distribution whose configuration is in the tree.
pub(super) fn find(machine: &Machine) -> Distribution {
    [Distribution::Fedora, Distribution::Debian, Distribution::Suse]
        .into_iter()
        .find(|&distribution| machine.path(scripts(distribution).configuration()).exists())
        .unwrap_or(Distribution::None)
}

/// A way to a dump in plain.
fn in_plain(what: &str, findings: &mut Findings) {
    findings.problem(CHECK, format!("{what}: the dump would be in plain"), DOCS);
}

/// A program of the configuration must exist: dracut leaves a missing one out and goes on.
fn check_program(machine: &Machine, name: &str, findings: &mut Findings) {
    match machine.program(name) {
        Some(path) => findings.ok(CHECK, format!("{} is what saves", path.display())),
        None => findings.problem(CHECK, format!("{name} is not there: every dump would fail"), "install it"),
    }
}

/// Words of a capture kernel's command line that open a shell or start another program than systemd.
/// Source: dracut.cmdline(7), initramfs-tools(7), systemd-debug-generator(8), Linux
/// `Documentation/admin-guide/kernel-parameters.txt`.
///
/// Words meant for us that pin nothing are problems too: the collector refuses them, after the crash.
fn check_command_line(words: &str, place: &str, findings: &mut Findings) {
    if let Err(error) = Pins::on_command_line(words) {
        findings.problem(CHECK, format!("{place}: {error}: every dump would fail"), error.hint());
    }
    const SHELLS: [&str; 7] = [
        "break",
        "rd.break",
        "rd.cmdline",
        "kgdbwait",
        "systemd.debug_shell",
        "systemd.debug-shell",
        "rd.systemd.debug_shell",
    ];
    for word in words.split_whitespace() {
        // The kernel takes quotes away.
        let plain = word.replace('"', "");
        let (name, value) = plain.split_once('=').unwrap_or((&plain, ""));
        let other_init =
            matches!(name, "init" | "rdinit") && !value.ends_with("/init") && !value.ends_with("/systemd");
        if SHELLS.contains(&name) || other_init {
            let text = format!("{word} in {place}: a shell would open beside /proc/vmcore");
            findings.problem(CHECK, text, "take the word out");
        }
    }
}

/// Whether FADump is on. Source: Linux `Documentation/ABI/testing/sysfs-kernel-fadump` (v5.10); before, the file was
/// `/sys/kernel/fadump_enabled`.
pub(super) fn has_fadump(machine: &Machine) -> bool {
    ["/sys/kernel/fadump/enabled", "/sys/kernel/fadump_enabled"]
        .iter()
        .any(|file| machine.number(file) == Some(1))
}

/// How many CPUs the machine has; `None` where that cannot be read. Source: Linux
/// `Documentation/ABI/testing/sysfs-devices-system-cpu`: "0-7" or "0,2-7".
pub(super) fn present_cpus(machine: &Machine) -> Option<u64> {
    let present = machine.read("/sys/devices/system/cpu/present").unwrap_or_default();
    let last = present.trim().rsplit(['-', ',']).next()?.parse::<u64>().ok()?;
    Some(last.saturating_add(1))
}

/// How many CPUs a kernel with such a command line uses: the last word counts, and without one all are used. One where
/// it is not known how many there are. Source: Linux `Documentation/admin-guide/kernel-parameters.txt`.
fn cpus_of(machine: &Machine, words: &str) -> u64 {
    let limits = |word: &str| {
        let count = word.strip_prefix("nr_cpus=").or_else(|| word.strip_prefix("maxcpus="))?;
        count.parse::<u64>().ok()
    };
    let limit = words.split_whitespace().filter_map(limits).next_back();
    let present = present_cpus(machine).unwrap_or_else(|| limit.unwrap_or(1));
    limit.unwrap_or(present).clamp(1, present.max(1))
}
