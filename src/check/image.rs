//! The kdump image: there, newer than what went into it, with everything the collector needs, and equal to what is
//! installed. Whoever can write to a plain `/boot` can have written the image, so it is data here: `reader` has it
//! decoded without privileges, and nothing of it is executed or written anywhere.

#[cfg(feature = "check")]
mod compare;
#[cfg(feature = "check")]
mod hooks;
mod place;
#[cfg(feature = "check")]
mod reader;
#[cfg(feature = "check")]
mod secrets;

use super::collector::{Distribution, Plan};
use super::config;
use super::findings::Findings;
use super::machine::Machine;
use std::path::Path;

const CHECK: &str = "image";
const REARM: &str = "run vmcore-encrypt-rearm";

/// The image of the running kernel.
pub(super) struct Image {
    /// Its size in bytes.
    pub size: u64,
}

/// Checks the image; `None` when there is none.
pub(super) fn check(
    machine: &Machine,
    plan: &Plan,
    fingerprint: Option<&str>,
    findings: &mut Findings,
) -> Option<Image> {
    let path = place::find(machine, plan.distribution, findings)?;
    let size = machine.path(&path).symlink_metadata().map_or(0, |data| data.len());
    // What cannot be read is one finding, whatever else is wrong with it.
    match content::read(machine, plan, &path) {
        Err(why) => findings.problem(CHECK, format!("{} cannot be read: {why}", path.display()), REARM),
        Ok(content) => {
            check_age(machine, plan, &path, findings);
            content::check(content, machine, plan, fingerprint, findings);
        }
    }
    Some(Image { size })
}

/// What is in the image.
#[cfg(feature = "check")]
mod content {
    use super::{Findings, Machine, Path, Plan, compare, reader};
    use crate::image::Tree;

    /// Its files, where the collector runs from it.
    pub(super) fn read(machine: &Machine, plan: &Plan, path: &Path) -> Result<Option<Tree>, reader::Error> {
        plan.in_image.then(|| reader::read(&machine.path(path))).transpose()
    }

    /// Compares them.
    pub(super) fn check(
        tree: Option<Tree>,
        machine: &Machine,
        plan: &Plan,
        fingerprint: Option<&str>,
        findings: &mut Findings,
    ) {
        if let Some(tree) = tree {
            compare::check(&compare::View { machine, plan, tree: &tree, fingerprint }, findings);
        }
    }
}

/// The build for images has no readers of them.
#[cfg(not(feature = "check"))]
mod content {
    use super::{CHECK, Findings, Machine, Path, Plan};
    use std::convert::Infallible;

    pub fn read(_: &Machine, _: &Plan, _: &Path) -> Result<(), Infallible> {
        Ok(())
    }

    pub fn check((): (), _: &Machine, plan: &Plan, _: Option<&str>, findings: &mut Findings) {
        if plan.in_image {
            let hint = "run the vmcore-encrypt that the package puts into /usr/bin";
            findings.warning(CHECK, "it was not read: this build has no reader for images", hint);
        }
    }
}

/// No distribution rebuilds the image when the recipients change.
fn check_age(machine: &Machine, plan: &Plan, path: &Path, findings: &mut Findings) {
    let built = machine.changed(path);
    let mut parts = vec![machine.recipients.clone(), config::PATH.into()];
    if plan.distribution == Distribution::Fedora {
        parts.push("/etc/kdump.conf".into());
    }
    if plan.in_image {
        parts.extend(machine.collector());
    }
    let newer: Vec<String> = parts
        .iter()
        .filter(|part| machine.changed(part) > built)
        .map(|part| part.display().to_string())
        .collect();
    match newer.as_slice() {
        [] => findings.ok(CHECK, format!("{} is up to date", path.display())),
        _ if !plan.in_image => {}
        newer => {
            findings.problem(CHECK, format!("{} is older than {}", path.display(), newer.join(", ")), REARM);
        }
    }
}
