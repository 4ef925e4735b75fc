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

/// A header, and whether it is damaged (4), cut (5), or may as well be for another identity (3).
fn headers(dump: &[u8]) -> Vec<(&'static str, i32, Vec<u8>)> {
    let start = payload_start(dump) - 16;
    let text = String::from_utf8(dump[..start].to_vec()).unwrap();
    let [version, stanza, body, mac] = text.lines().collect::<Vec<_>>().try_into().unwrap();
    let with = |lines: &[&str]| [(lines.join("\n") + "\n").as_bytes(), &dump[start..]].concat();
    let grease = |lines: usize| ["-> grease".to_owned(), "A".repeat(64) + "\n"].join("\n").repeat(lines);
    let other = |line: &str| line.replace(&line[line.len() - 4..], "AAAA");
    vec![
        ("version 2", 4, with(&["age-encryption.org/v2", stanza, body, mac])),
        ("version 10", 4, with(&["age-encryption.org/v10", stanza, body, mac])),
        ("no version", 4, with(&["age-encryption.org/", stanza, body, mac])),
        ("another line end", 4, with(&[&format!("{version}\r"), stanza, body, mac])),
        ("a stanza without its share", 4, with(&[version, "-> X25519", body, mac])),
        ("a stanza without a kind", 4, with(&[version, "->", body, mac])),
        ("a longer stanza", 4, with(&[version, &format!("{stanza} x"), body, mac])),
        ("a share that is no base64", 4, with(&[version, "-> X25519 !!!!", body, mac])),
        ("a control character", 4, with(&[version, stanza, &body.replacen(&body[..1], "\u{1b}", 1), mac])),
        ("a shorter body", 4, with(&[version, stanza, &body[4..], mac])),
        ("a longer body", 4, with(&[version, stanza, &format!("{body}AAAA"), mac])),
        ("one more stanza", 4, with(&[version, "-> grease", "AAAA", stanza, body, mac])),
        (
            "a passphrase beside it",
            4,
            with(&[version, "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 10", body, stanza, body, mac]),
        ),
        ("another MAC", 4, with(&[version, stanza, body, &other(mac)])),
        ("no MAC", 4, with(&[version, stanza, body, "--- "])),
        (
            "a long body",
            4,
            with(&[version, "-> grease", &("A".repeat(64) + "\n").repeat(6000), stanza, body, mac]),
        ),
        ("many stanzas", 4, with(&[version, &grease(5000), stanza, body, mac])),
        ("a long line", 4, with(&[version, &format!("-> {}", "a ".repeat(200_000)), body, mac])),
        ("no line end", 4, [version.as_bytes(), b"\n", "A".repeat(400_000).as_bytes()].concat()),
        ("cut in the version", 5, dump[..10].to_vec()),
        ("cut in the MAC", 5, dump[..start - 3].to_vec()),
        ("cut in the nonce", 5, dump[..start + 9].to_vec()),
        ("another body", 3, with(&[version, stanza, &other(body), mac])),
        ("another kind", 3, with(&[version, &stanza.replace("X25519", "X25518"), body, mac])),
    ]
}

/// An altered stanza, a header that is too long and an unknown version are damage, to every command that opens a dump.
#[test]
fn every_command_tells_a_damaged_header_from_a_wrong_key() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("key"), IDENTITY).unwrap();
    let to = format!("rewrap -f -r {RECIPIENT}");
    let commands = ["verify", "info", "dmesg", "report", "restore -f", "restore -f --salvage", &to];
    for (what, status, dump) in headers(&dump(0)) {
        fs::write(home.path().join("dump"), &dump).unwrap();
        for command in commands {
            let mut words: Vec<&str> = command.split(' ').collect();
            words.extend(["-i", "key", "dump"]);
            words.extend((command.contains("-f")).then_some("out"));
            let output = run(env!("CARGO_BIN_EXE_vmcore-decrypt"), &words, home.path());
            assert_eq!(output.status.code(), Some(status), "{what}, {command}: {output:?}");
            assert!(!home.path().join("out").exists(), "{what}, {command}");
        }
    }
}
