//! A dump that was cut or changed, as `vmcore-decrypt` meets it: a cut at every byte of the header and around the ends
//! of both chunks, a flipped bit in every byte of a small dump's header and every seventh of its payload. Always an error, never a restored file. That the layer
//! below refuses every cut and every bit is shown in `age_tamper.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

mod synth;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::thread;

use synth::{Content, Page, Synth, arch, kernel};

/// A key pair of these tests alone.
const IDENTITY: &str = "AGE-SECRET-KEY-12T4FDAVR0PNY2YDYUNP8F5Q7DMUDVF0EWHA963DRZXSXLDCSZRZQNETYG4";
const RECIPIENT: &str = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv";
/// Bytes of a full chunk in the file (C2SP age.md "Payload").
const CHUNK: usize = 65552;

fn run(program: &str, arguments: &[&str], home: &Path) -> Output {
    Command::new(program).args(arguments).current_dir(home).env("LC_ALL", "C").output().unwrap()
}

/// The dump of a machine with so many pages that cannot be compressed.
fn dump(pages: u64) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    let machine = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).fill(Content::Zero);
    let machine = machine.ram(0x10_0000..0x30_0000).pages(0x110, pages, &Page::kernel().with(Content::Noise));
    fs::write(home.path().join("vmcore"), machine.build().to_bytes()).unwrap();
    let arguments = ["-d", "31", "-r", RECIPIENT, "vmcore", "dump"];
    let output = run(env!("CARGO_BIN_EXE_vmcore-encrypt"), &arguments, home.path());
    assert!(output.status.success(), "{output:?}");
    fs::read(home.path().join("dump")).unwrap()
}

/// Where the payload starts: behind the header's last line and the nonce.
fn payload_start(dump: &[u8]) -> usize {
    let last_line = dump.windows(5).position(|bytes| bytes == b"\n--- ").unwrap() + 1;
    let header = last_line + dump[last_line..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
    header + 16
}

/// Restores `dump`; its exit status, and what it left behind.
fn restore(dump: &[u8], home: &Path) -> (Option<i32>, bool, String) {
    fs::write(home.join("key"), IDENTITY).unwrap();
    fs::write(home.join("dump"), dump).unwrap();
    let arguments = ["-i", "key", "--num-threads", "1", "dump", "restored"];
    let output = run(env!("CARGO_BIN_EXE_vmcore-decrypt"), &arguments, home);
    let left = fs::read_dir(home).unwrap().count() > 2;
    (output.status.code(), left, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Restores the dump that `change` makes of each of these numbers, on two threads; each must end with one of these
/// statuses and leave nothing.
fn all_refused(numbers: &[usize], statuses: &[i32], change: impl Fn(usize) -> Vec<u8> + Sync) {
    let next = Mutex::new(numbers.iter());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let home = tempfile::tempdir().unwrap();
                loop {
                    let Some(&number) = next.lock().unwrap().next() else { return };
                    let (status, left, said) = restore(&change(number), home.path());
                    let refused = status.is_some_and(|status| statuses.contains(&status)) && !left;
                    assert!(refused, "{number}: status {status:?}, a file is left: {left}\n{said}");
                }
            });
        }
    });
}

#[test]
fn a_cut_dump_is_never_restored() {
    let dump = dump(24);
    let start = payload_start(&dump);
    assert!((start + CHUNK + 1..start + 2 * CHUNK).contains(&dump.len()), "{} bytes", dump.len());
    let home = tempfile::tempdir().unwrap();
    assert_eq!(restore(&dump, home.path()).0, Some(0));
    let near = |at: usize| (at - 40..at + 40).filter(|&cut| cut < dump.len()).collect::<Vec<_>>();
    let header: Vec<usize> = (0..start).collect();
    let payload: Vec<usize> = (start..dump.len()).step_by(997).collect();
    let ends = [near(start + CHUNK), near(dump.len())].concat();
    // Before its last line a header may also read as one of another kind of file.
    all_refused(&header, &[1, 4, 5], |cut| dump[..cut].to_vec());
    all_refused(&[payload, ends].concat(), &[5], |cut| dump[..cut].to_vec());
}

#[test]
fn a_flipped_bit_is_never_restored() {
    let dump = dump(0);
    let start = payload_start(&dump);
    assert!(dump.len() < 16_000, "{} bytes", dump.len());
    let bytes: Vec<usize> = (0..start).chain((start..dump.len()).step_by(7)).collect();
    all_refused(&bytes, &[1, 3, 4, 5], |at| {
        let mut dump = dump.clone();
        dump[at] ^= 1 << (at % 8);
        dump
    });
}
