//! No output of the two programs commands a terminal, whatever a dump, a log or a configuration holds.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

#[path = "common/dump.rs"]
mod dump;
mod readers;
mod synth;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use synth::{Content, Page, Synth, arch, kernel};
use vmcore_encrypt::crypt::EncryptWriter;

const ENCRYPT: &str = env!("CARGO_BIN_EXE_vmcore-encrypt");
const DECRYPT: &str = env!("CARGO_BIN_EXE_vmcore-decrypt");
/// ESC sequences, C1, carriage return, BEL, backspace, DEL, bidirectional overrides and isolates, separators of lines, what
/// has no width.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\r\u{8}\u{b}\u{c}\u{7f}\u{85}\u{202e}\u{2066}\u{200e}\u{61c}\u{2028}\u{feff}\u{200b}";

/// Both streams of a command.
fn said(program: &str, arguments: &[&str], home: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(home).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

fn assert_harmless(text: &str, what: &str) {
    let bad = text.bytes().find(|byte| !matches!(byte, b' '..=b'~' | b'\t' | b'\n'));
    assert_eq!(bad, None, "{what}: {text:?}");
}

/// A dump of a kernel whose release is hostile, and the key.
fn given() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let release: &'static str = format!("6.12.0{HOSTILE}").leak();
    let machine = Synth::new(arch::x86_64::four_level(), kernel::Kernel { release, ..kernel::v6_12() });
    let core =
        machine.ram(0x10_0000..0x80_0000).pages(0x400, 64, &Page::kernel().with(Content::Noise)).build();
    fs::write(home.path().join("vmcore"), core.to_bytes()).unwrap();
    fs::write(home.path().join("key"), dump::IDENTITY).unwrap();
    let dumped = dump::collect(&home.path().join("vmcore"), 31, 1, None);
    fs::write(home.path().join("dump.age"), dumped.bytes).unwrap();
    home
}

#[test]
fn what_a_dump_holds_is_shown_escaped() {
    let home = given();
    let commands: [&[&str]; 6] = [
        &["info", "-i", "key", "dump.age"],
        &["info", "-i", "key", "--json", "dump.age"],
        &["verify", "-i", "key", "dump.age"],
        &["dmesg", "-i", "key", "dump.age"],
        &["-i", "key", "dump.age", "restored"],
        &["info", "-i", "key", &format!("no such dump{HOSTILE}")],
    ];
    for arguments in commands {
        assert_harmless(&said(DECRYPT, arguments, home.path()), &format!("{arguments:?}"));
    }
    let json = said(DECRYPT, commands[1], home.path());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json.to_string().contains('\u{202e}'), "escaped, not lost: {json}");
}

#[test]
fn a_saved_log_is_filtered() {
    let home = given();
    let text = format!("[    0.000000] plain \\x1b text\n{HOSTILE}end\n");
    let compressed = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (name, content) in [("text.age", text.as_bytes()), ("zstd.age", &compressed)] {
        let (header, key) = dump::with_entropy(|entropy| dump::recipients().wrap(entropy)).unwrap();
        let mut writer = EncryptWriter::new(header, key);
        writer.write_all(content).unwrap();
        fs::write(home.path().join(name), writer.finish().unwrap()).unwrap();
        let shown = said(DECRYPT, &["dmesg", "-i", "key", name], home.path());
        assert_harmless(&shown, name);
        assert!(
            shown.starts_with("[    0.000000] plain \\x1b text\n\\x1b[2J") && shown.ends_with("end\n"),
            "{shown}"
        );
    }
}

#[test]
fn what_a_configuration_holds_is_shown_escaped() {
    let home = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("etc/vmcore-encrypt/config", format!("DUMP_{HOSTILE}=1\n")),
        ("etc/kdump.conf", format!("core_collector {HOSTILE}\npath {HOSTILE}\n")),
        ("proc/cmdline", format!("vmcore_encrypt.recipients={HOSTILE}\n")),
    ] {
        let path = home.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    for arguments in [&["check", "--root", "."][..], &["check", "--root", ".", "--json"]] {
        assert_harmless(&said(ENCRYPT, arguments, home.path()), &format!("{arguments:?}"));
    }
}
