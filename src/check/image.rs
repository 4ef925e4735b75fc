//! The kdump image: there, newer than what went into it, with everything the collector needs, and equal to what is
//! installed. Whoever can write to a plain `/boot` can have written the image, so it is data here: `reader` has it
//! decoded without privileges, and nothing of it is executed or written anywhere.

#[cfg(feature = "check")]
mod compare;
mod place;
#[cfg(feature = "check")]
mod reader;

use super::collector::{Distribution, Plan};
use super::config;
use super::findings::Findings;
use super::machine::Machine;
use std::path::Path;

const CHECK: &str = "image";
const REARM: &str = "run vmcore-encrypt-rearm";

/// The image of the running kernel.
pub struct Image {
    /// Its size in bytes.
    pub size: u64,
}

/// Looks at the image; `None` when there is none.
pub fn check(
    machine: &Machine,
    plan: &Plan,
    fingerprint: Option<&str>,
    findings: &mut Findings,
) -> Option<Image> {
    let path = place::find(machine, plan.distribution, findings)?;
    let size = machine.path(&path).metadata().map_or(0, |data| data.len());
    check_age(machine, plan, &path, findings);
    if plan.in_image {
        check_content(machine, plan, &path, fingerprint, findings);
    }
    Some(Image { size })
}

#[cfg(feature = "check")]
fn check_content(
    machine: &Machine,
    plan: &Plan,
    path: &Path,
    fingerprint: Option<&str>,
    findings: &mut Findings,
) {
    match reader::read(&machine.path(path)) {
        Ok(tree) => compare::check(&compare::View { machine, plan, tree: &tree, fingerprint }, findings),
        Err(error) => {
            findings.problem(CHECK, format!("{} cannot be read: {error}", path.display()), REARM);
        }
    }
}

#[cfg(not(feature = "check"))]
fn check_content(_: &Machine, _: &Plan, path: &Path, _: Option<&str>, findings: &mut Findings) {
    let text = format!("{} was not read: this build has no reader for images", path.display());
    findings.warning(CHECK, text, "run the vmcore-encrypt that the package puts into /usr/bin");
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
