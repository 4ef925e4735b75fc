//! An object store as the dump target: the installed collector, with the words that it gets after a crash, puts a small object
//! of a fixed name there. It needs no right beyond the one that a dump needs, and deletes nothing.

use super::config::Config;
use super::findings::Findings;
use super::machine::Machine;
use std::path::Path;
use std::process::{Command, Stdio};

const CHECK: &str = "target";
/// The collector does not read it here.
const VMCORE: &str = "/proc/vmcore";

/// Whether the store takes objects, and only new ones.
pub(super) fn check(machine: &Machine, config: &Config, findings: &mut Findings) {
    // The credentials and the network of another root are not those of this machine.
    if !machine.is_this() {
        findings.warning(CHECK, "an object store, which is not asked with --root", "");
        return;
    }
    let Some(program) = machine.collector() else { return };
    match probe(&program, machine, config) {
        Ok(said) if said.contains("warning: ") => findings.warning(
            CHECK,
            last_line(&said),
            "the store ignores If-None-Match: turn on versioning or Object Lock, docs/fleet.md",
        ),
        Ok(said) => findings.ok(CHECK, last_line(&said)),
        Err(said) => {
            let text = format!("the collector as installed cannot write to the store: {}", first_line(&said));
            findings.problem(CHECK, text, "docs/fleet.md has the policy, and what a capture kernel needs");
        }
    }
}

/// Runs the collector; what it reports.
fn probe(program: &Path, machine: &Machine, config: &Config) -> Result<String, String> {
    let words = config.get("COLLECTOR_ARGS").split([' ', '\t']).filter(|word| !word.is_empty());
    let url = Some(config.get("URL")).filter(|url| !url.is_empty());
    let output = Command::new(program)
        .args(["-d", config.get("DUMP_LEVEL")])
        .args(words)
        .args(["--check-params", "--probe", "--recipients-file"])
        .arg(&machine.recipients)
        .arg(VMCORE)
        .args(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("running {}: {error}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(said) } else { Err(said) }
}

/// A message without the program's name.
fn bare(line: &str) -> String {
    line.split_once(": ").map_or(line, |(_, text)| text).to_owned()
}

fn first_line(said: &str) -> String {
    bare(said.lines().next().unwrap_or("without a word"))
}

fn last_line(said: &str) -> String {
    bare(said.lines().next_back().unwrap_or("the store takes objects"))
}
