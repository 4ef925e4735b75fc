//! The gate of the image builders: no image is built from a configuration that has a way to a dump in plain, to a
//! shell, or to words that can never save. It applies the same rule as `check`, to the tree of the image.

use super::collector::{self, Distribution};
use super::config;
use super::findings::{Findings, Verdict};
use super::machine::Machine;
use super::words::ParseWords;
use std::path::PathBuf;

/// What to judge.
pub struct GateOptions {
    /// Whose scripts are in the image.
    pub whose: Distribution,
    /// The tree of the image; the machine for kdump-tools.
    pub root: PathBuf,
    /// The collector's command line.
    pub parse_words: ParseWords,
}

/// One thing found: whether it keeps the image from being built, what it is, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whether no image may be built.
    pub refuses: bool,
    /// What was found, with the file and line.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Judges the configuration.
#[must_use]
pub fn judge(options: &GateOptions) -> Vec<Fault> {
    let machine = Machine::new(&options.root, None);
    let mut findings = Findings::default();
    let config = config::read(&machine, &mut findings);
    collector::gate(&machine, &config, options.parse_words, options.whose, &mut findings);
    let faults = findings.each().filter(|(verdict, ..)| *verdict != Verdict::Ok);
    faults
        .map(|(verdict, text, hint)| Fault {
            refuses: verdict == Verdict::Problem,
            text: text.to_owned(),
            hint: hint.map(str::to_owned),
        })
        .collect()
}
