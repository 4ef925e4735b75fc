//! The running kernel's log as encrypted lines: through a real syslog and back (`carriers`), what is left after
//! loss, damage and disorder (`lines`), and what a forger can do (`forged`). Here: logs of made-up records, and how they are read.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

#[path = "../common/mod.rs"]
mod common;

mod carriers;
mod forged;
mod lines;

use std::sync::Arc;
use std::time::Duration;
use vmcore_encrypt::crypt::{Entropy, Identities, NoPrompt, Recipients};
use vmcore_encrypt::kmsg::{Findings, Form, Lines, Reader, Writer};

/// A key pair of these tests alone.
const IDENTITY: &str = "AGE-SECRET-KEY-12T4FDAVR0PNY2YDYUNP8F5Q7DMUDVF0EWHA963DRZXSXLDCSZRZQNETYG4";
const RECIPIENT: &str = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv";

fn entropy<T>(action: impl FnOnce(&mut Entropy<'_>) -> T) -> T {
    action(&mut Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} })
}

fn identities(file: &str) -> Identities {
    let mut identities = Identities::new(Arc::new(NoPrompt));
    identities.add_file("key", file.as_bytes()).unwrap();
    identities
}

/// Records as a machine has them: `count` of them from number `first`, every tenth with a dictionary, one long.
fn records(first: u64, count: u64) -> String {
    let record = |number: u64| {
        let text = if number % 50 == 7 { "long ".repeat(300) } else { format!("message {number}: a\\x09b") };
        let dictionary = if number.is_multiple_of(10) { " SUBSYSTEM=pci\n DEVICE=+pci:0\n" } else { "" };
        format!("6,{number},{},-,caller=T1;{text}\n{dictionary}", number * 1000)
    };
    (first..first + count).map(record).collect()
}

/// What `dmesg` would print of them.
fn text(first: u64, count: u64) -> String {
    let line = |number: u64| {
        let text = if number % 50 == 7 { "long ".repeat(300) } else { format!("message {number}: a\tb") };
        format!("[    {}.{:06}] [      T1] {text}\n", number / 1000, number % 1000 * 1000)
    };
    (first..first + count).map(line).collect()
}

/// The encrypted log of some records.
fn log_of(records: &str, recipient: &str, boot: Option<&str>) -> String {
    let recipients = Recipients::from_file_contents(recipient.as_bytes()).unwrap();
    let mut writer = entropy(|entropy| Writer::open(Vec::new(), &recipients, entropy, boot)).unwrap();
    writer.copy(&mut Lines::new(records.as_bytes())).unwrap();
    String::from_utf8(writer.finish().unwrap()).unwrap()
}

fn log(first: u64, count: u64) -> String {
    log_of(&records(first, count), RECIPIENT, None)
}

fn read_as(log: &[u8], identity: &str, form: Form) -> (String, Findings) {
    let identities = identities(identity);
    let mut out = Vec::new();
    let mut reader = Reader::new(&identities, form, &mut out);
    log.split_inclusive(|&byte| byte == b'\n').for_each(|line| reader.line(line).unwrap());
    let findings = reader.finish().unwrap();
    (String::from_utf8(out).unwrap(), findings)
}

fn read(log: &str) -> (String, Findings) {
    read_as(log.as_bytes(), IDENTITY, Form::Text)
}

fn is_clean(findings: &Findings) -> bool {
    let clean = |opening: &vmcore_encrypt::kmsg::OpeningFindings| {
        opening.unopened.is_none()
            && opening.ended
            && opening.missing.is_empty()
            && opening.late + opening.repeated + opening.overwritten == 0
            && opening.contradicting + opening.malformed + opening.misplaced == 0
    };
    findings.damaged == 0 && findings.openings.iter().all(clean)
}
