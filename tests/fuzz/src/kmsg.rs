//! The log of a running kernel: records of any form in, encrypted, and back; a log of any lines; and lines that a
//! forger sealed, whose entries hold anything.

use super::{IDENTITIES, RECIPIENTS, with_entropy};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use vmcore_encrypt::kmsg::{Findings, Form, Lines, Reader, Writer};

/// Runs the target.
pub fn run(bytes: &[u8]) {
    read(bytes, Form::Text);
    let mut writer =
        with_entropy(|entropy| Writer::open(Vec::new(), &RECIPIENTS, entropy, Some("boot"))).unwrap();
    let copied = writer.copy(&mut Lines::new(bytes)).is_ok();
    let log = writer.finish().unwrap();
    let findings = read(&log, Form::Records);
    assert_eq!(findings.damaged, 0);
    assert!(!copied || findings.openings.iter().all(|opening| opening.ended && opening.unopened.is_none()));
    read(forged(bytes).as_bytes(), Form::Text);
}

/// docs/kmsg.md section 1: a line of a key's single part, and a sealed line for each line of the input.
fn forged(bytes: &[u8]) -> String {
    let (start, key) = with_entropy(|entropy| RECIPIENTS.wrap_lines(entropy)).unwrap();
    let id = id_of(&start);
    let parts = start.chunks(640);
    let count = parts.len();
    let mut log = String::new();
    for (part, number) in parts.zip(1..) {
        log += &format!("VCEkey1.{id}.{number}.{count}.{}\n", BASE64.encode(part));
    }
    for (entry, number) in bytes.split(|&byte| byte == b'\n').zip(0..) {
        log += &format!("VCEmsg1.{id}.{number}.{}\n", BASE64.encode(key.seal(number, entry)));
    }
    log
}

fn id_of(start: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(start)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(log: &[u8], form: Form) -> Findings {
    let mut reader = Reader::new(&IDENTITIES, form, std::io::sink());
    for line in log.split(|&byte| byte == b'\n') {
        reader.line(line).unwrap();
    }
    reader.finish().unwrap()
}
