//! What a check found, and how it is reported: lines for people, JSON for monitoring.

use crate::pin::{Pins, Place};
use crate::text::{ascii_json, printable, without_numbers};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing; a crash would be saved.
    Warning,
    /// A crash would not be saved, or not encrypted.
    Problem,
}

/// One thing that was checked.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Everything that was found, in order.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// Something is as it should be.
    pub(super) fn ok(&mut self, check: &'static str, text: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Ok, text: text.into(), hint: None });
    }

    /// Something is worth knowing, with what to do about it.
    pub(super) fn warning(&mut self, check: &'static str, text: impl Into<String>, hint: &str) {
        self.push(check, Verdict::Warning, text.into(), hint);
    }

    /// Something is wrong, with what to do about it.
    pub(super) fn problem(&mut self, check: &'static str, text: impl Into<String>, hint: &str) {
        self.push(check, Verdict::Problem, text.into(), hint);
    }

    fn push(&mut self, check: &'static str, verdict: Verdict, text: String, hint: &str) {
        let text = without_numbers(&text);
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.0.push(Finding { check, verdict, text, hint });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Each in order: verdict, text on one line, hint.
    pub(super) fn each(&self) -> impl Iterator<Item = (Verdict, &str, Option<&str>)> {
        self.0.iter().map(|finding| (finding.verdict, finding.text.as_str(), finding.hint.as_deref()))
    }

    /// How many are of a kind.
    pub(super) fn count(&self, verdict: Verdict) -> usize {
        self.0.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// Lines for people.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        for finding in &self.0 {
            let verdict = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => "warning",
                Verdict::Problem => "problem",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{verdict:<8} {:<10} {}", finding.check, printable(&finding.text));
            if let Some(hint) = &finding.hint {
                let _ = writeln!(text, "{:<19} hint: {}", "", printable(hint));
            }
        }
        text
    }

    /// One JSON object: `ok`, `problems`, `warnings`, `fingerprint` of the recipients, `pins` by the place where they
    /// stand, and the list `findings`.
    pub(super) fn json(&self, fingerprint: Option<&str>, pins: &[Pins]) -> String {
        let (problems, warnings) = (self.count(Verdict::Problem), self.count(Verdict::Warning));
        let object = serde_json::json!({
            "ok": problems == 0, "problems": problems, "warnings": warnings,
            "fingerprint": fingerprint, "pins": by_place(pins), "findings": self.0,
        });
        ascii_json(&format!("{object}\n"))
    }
}

fn by_place(pins: &[Pins]) -> BTreeMap<&'static str, &[String]> {
    let name = |place| match place {
        Place::Program => "program",
        Place::CommandLine => "command_line",
    };
    pins.iter().map(|pins| (name(pins.place), pins.fingerprints.as_slice())).collect()
}
