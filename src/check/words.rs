//! The collector's command line as somebody configured it, before any crash: whether those words can save a dump.
//! The command line itself is `cli`'s; it comes in as a function.

use super::config::{PATH, Target};
use super::distribution::View;
use super::findings::Findings;
use crate::filter::DumpLevel;
use std::path::PathBuf;

/// Where the kdump scripts let the collector write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A file, named by a last argument that the scripts append.
    File,
    /// Standard output, or what the words name.
    Stdout,
    /// A store at a URL that the scripts append.
    Store,
}

/// What a command line that can save a dump amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Dump levels, in the order in which they are tried.
    pub levels: Vec<DumpLevel>,
    /// The most bytes that the dump may take.
    pub limit: Option<u64>,
    /// Whether the end of the dump is marked on a raw partition.
    pub marks_end: bool,
    /// Recipients files that the words name.
    pub recipients_files: Vec<PathBuf>,
}

/// Judges the words between the program's name and what the scripts append.
pub type ParseWords = fn(&[&str], Output) -> Result<Line, String>;

/// Judges words as configured at `place`. Words that can never save a dump are a problem.
pub(super) fn judge(
    view: &View<'_>,
    check: &'static str,
    place: &str,
    words: &[&str],
    output: Output,
    findings: &mut Findings,
) -> Option<Line> {
    let line = match (view.parse)(words, output) {
        Ok(line) => line,
        Err(why) => {
            let text = format!("{place}: {why}: every dump would fail");
            findings.problem(check, text, "vmcore-encrypt --check-params with these words reports it too");
            return None;
        }
    };
    for file in &line.recipients_files {
        if !view.machine.path(file).is_file() {
            let text =
                format!("{place}: recipients file {} is not there: every dump would fail", file.display());
            findings.problem(check, text, "/etc/vmcore-encrypt/recipients is in every kdump image");
        }
    }
    Some(line)
}

/// Judges `COLLECTOR_ARGS` and `DUMP_LEVEL` as our own scripts use them: with a file, a
/// device or a pipe.
pub(super) fn judge_own(view: &View<'_>, check: &'static str, output: Output, findings: &mut Findings) {
    let levels = view.config.get("DUMP_LEVEL");
    let mut words = vec!["-d", levels];
    words.extend(view.config.get("COLLECTOR_ARGS").split([' ', '\t']).filter(|word| !word.is_empty()));
    match output {
        Output::File => words.extend(["-f", "--keep-incomplete"]),
        Output::Stdout if view.config.target() == Target::Raw => {
            words.extend(["--output-device", "/dev/disk/by-id/x"]);
        }
        Output::Stdout | Output::Store => {}
    }
    let place = format!("{}, DUMP_LEVEL={levels} with COLLECTOR_ARGS", PATH);
    judge(view, check, &place, &words, output, findings);
}
