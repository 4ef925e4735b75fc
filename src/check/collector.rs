//! What saves after a crash: finds the distribution's kdump scripts and applies their rule. Ends in a plan: where the
//! dump will go, and how large it may get.

use super::config::{Config, Target};
use super::distribution::{self, Place, View};
use super::findings::Findings;
use super::machine::Machine;
use super::words::ParseWords;

/// Where the dump will go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// A directory of a mounted file system.
    Directory(String),
    /// A directory on a device that the capture kernel mounts.
    OnDevice(String),
    /// A device itself.
    Raw(String),
    /// Another machine.
    Remote,
    /// An object store.
    Store,
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
    /// None of these: our own `save` alone.
    None,
}

/// What will happen after a crash.
#[derive(Clone, Debug)]
pub(super) struct Plan {
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
    pub own_script: bool,
    /// How many CPUs the capture kernel uses at most.
    pub cpus: u64,
}

/// Checks the distribution's configuration on the machine.
pub(super) fn check(machine: &Machine, config: &Config, parse: ParseWords, findings: &mut Findings) -> Plan {
    let distribution = distribution::find(machine);
    let view = View { machine, config, parse, place: Place::Machine };
    let scripts = distribution::scripts(distribution);
    let mut plan = plan(config, distribution);
    scripts.rule(&view, &mut plan, findings);
    scripts.look(&view, &plan, findings);
    plan.cpus = scripts.cpus(machine);
    if distribution::has_fadump(machine) {
        scripts.fadump(&view, findings);
    }
    plan
}

/// Applies the rule of a distribution to the tree of an image that is being built, or for kdump-tools, whose
/// configuration is not in its image, to the machine.
pub(super) fn gate(
    machine: &Machine,
    config: &Config,
    parse: ParseWords,
    whose: Distribution,
    findings: &mut Findings,
) {
    let place = match whose {
        Distribution::Debian => Place::Machine,
        Distribution::Fedora | Distribution::Suse | Distribution::None => Place::Image,
    };
    let view = View { machine, config, parse, place };
    distribution::scripts(whose).rule(&view, &mut plan(config, whose), findings);
}

/// The plan by our own configuration.
fn plan(config: &Config, distribution: Distribution) -> Plan {
    let device = config.get("DEVICE").to_owned();
    let goal = match config.target() {
        Target::Kdump => Goal::Unknown,
        Target::File => Goal::OnDevice(device),
        Target::Raw => Goal::Raw(device),
        Target::Store => Goal::Store,
    };
    let level = config.levels().last().map_or(31, |level| level.get());
    let own_script = config.target() != Target::Kdump;
    Plan { distribution, goal, level, limit: None, in_image: true, own_script, cpus: 1 }
}
