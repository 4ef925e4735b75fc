//! One dump in a list: what can be known of it without a key, and with one.

use super::super::super::{Failure, Status, quoted, shown_name};
use super::super::info::UTS_NODE;
use super::super::{crash_facts, input};
use super::Args;
use crate::crypt::{Identities, StreamError};
use crate::klog::{CrashFacts, signature};
use crate::reader::{self, Dump, Source};
use crate::text::{rfc3339, size};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Bytes of decompressed blocks kept for one dump.
const CACHE: usize = 8 << 20;
/// Bytes that are read of a cut dump, which has no index: what an analyst needs first is at its beginning.
const GLANCE: u64 = 64 << 20;

/// A line of the list.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    /// Time of the crash, RFC 3339.
    pub(super) time: Option<String>,
    host: Option<String>,
    kernel: Option<String>,
    /// Bytes of the dump.
    size: Option<u64>,
    /// `complete`, `incomplete`, `damaged`, `cut`, or `unknown` where only an identity can tell.
    state: &'static str,
    /// Of a set of numbered objects whether its end mark is there; absent of other dumps.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_mark: Option<bool>,
    /// Number and count, of one part of a dump.
    part: Option<(u32, u32)>,
    /// What the parts of one dump have in common.
    #[serde(skip)]
    pub(super) set: Option<String>,
    /// Types of the header's stanzas.
    recipients: Vec<String>,
    crash: Option<CrashFacts>,
    /// What crashes of one kind have in common.
    pub(super) signature: Option<String>,
    /// Why nothing more is known.
    error: Option<String>,
}

impl Row {
    /// Reads what can be known of a dump; `None` for what an identity opens and is no dump, such as a saved log.
    pub(super) fn read(path: &Path, identities: Option<&Identities>) -> Option<Row> {
        let mut row = Row {
            // JSON is kept, and must hold no right to read.
            name: shown_name(&path.to_string_lossy()),
            time: None,
            host: None,
            kernel: None,
            size: None,
            state: "unknown",
            end_mark: None,
            part: None,
            set: None,
            recipients: Vec::new(),
            crash: None,
            signature: None,
            error: None,
        };
        let source = match input::open_source(path) {
            Ok(source) => source,
            Err(failure) => {
                row.fail(&failure);
                return Some(row);
            }
        };
        row.outside(path, &source);
        let (Some(identities), None) = (identities, &row.error) else { return Some(row) };
        match Dump::glance(source, identities, CACHE, GLANCE) {
            Ok(dump) => row.inside(&Arc::new(dump)),
            Err(reader::Error::NotADump) => return None,
            Err(error) => row.fail(&input::reader_failure(path, &error)),
        }
        Some(row)
    }

    /// Takes note of why no more can be known.
    fn fail(&mut self, failure: &Failure) {
        self.error = Some(failure.message().to_owned());
        match failure.exit_status() {
            Status::Damaged => self.state = "damaged",
            Status::Truncated => self.state = "cut",
            _ => {}
        }
    }

    /// What anybody can see.
    fn outside(&mut self, path: &Path, source: &Arc<dyn Source>) {
        self.size = Some(source.len());
        match input::outside(path, source) {
            Ok((recipients, wrong)) => {
                self.end_mark = source.set().map(|set| set.has_end);
                // All that can be known without an identity; with one the dump's own end decides.
                let has_end = self.end_mark.unwrap_or(true);
                self.state = if wrong.is_none() && has_end { "unknown" } else { "cut" };
                self.recipients = recipients;
            }
            Err(failure) => self.fail(&failure),
        }
    }

    fn inside(&mut self, dump: &Arc<Dump>) {
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        let seconds = u64::try_from(dump.facts().crash_time).ok().filter(|&seconds| seconds > 0);
        let time = seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        self.time = time.and_then(rfc3339);
        self.host = known(dump.head().kdump.uts.name(UTS_NODE));
        self.kernel = known(dump.facts().release.clone());
        // A dump that is damaged and cut counts as damaged, as in the exit status of other commands.
        self.state = match dump.fault() {
            Some(StreamError::Truncated { .. } | StreamError::ImpossibleLength { .. }) => "cut",
            Some(_) => "damaged",
            None if dump.is_complete() => "complete",
            None => "incomplete",
        };
        if let Some(part) = &dump.facts().part {
            (self.part, self.set) = (Some((part.number, part.of)), Some(part.set.clone()));
        }
        self.crash = crash_facts(dump);
        self.signature = self.crash.as_ref().map(signature);
        if let Some(met) = dump.met() {
            self.error = Some(format!("reading pages: {}", met.why));
            // A server that cannot be read tells nothing of the dump.
            if self.state == "complete" {
                self.state = if met.is_unread { "unknown" } else { "damaged" };
            }
        }
    }

    /// Whether it is one of those asked for.
    pub(super) fn is_wanted(&self, args: &Args) -> bool {
        let kernel = args.kernel.as_ref();
        let kernel =
            kernel.is_none_or(|text| self.kernel.as_ref().is_some_and(|kernel| kernel.contains(text)));
        let panic = self.crash.as_ref().and_then(|crash| crash.panic.as_deref()).unwrap_or("").to_lowercase();
        let words = args.panic.as_deref().unwrap_or("").to_lowercase();
        kernel && words.split_whitespace().all(|word| panic.contains(word))
    }

    /// `TIME STATE SIZE HOST KERNEL NAME: PANIC`; after the name ` (part N of M)` of a part of a dump, and ` (no end mark)` of
    /// a set without one.
    pub(super) fn line(&self) -> String {
        let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let panic = self.crash.as_ref().and_then(|crash| crash.panic.clone());
        let what = self.error.as_ref().map(|error| format!("error: {error}")).or(panic);
        format!(
            "{:<20} {:<10} {:>10} {:<16} {:<24} {}{}{}{}",
            shown(&self.time),
            self.state,
            self.size.map_or_else(|| "-".to_owned(), size::show),
            shown(&self.host),
            shown(&self.kernel),
            quoted(Path::new(&self.name)),
            self.part.map(|(number, of)| format!(" (part {number} of {of})")).unwrap_or_default(),
            if self.end_mark == Some(false) { " (no end mark)" } else { "" },
            what.map(|what| format!(": {what}")).unwrap_or_default()
        )
    }
}
