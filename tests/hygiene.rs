//! What must not get out of the two programs by accident: identities and page contents, into messages or core files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

mod common;
mod synth;

use common::{plugin, programs_in_path, wait_for};
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use synth::{Content, Page, Synth, arch, kernel};

/// A key pair of these tests alone.
const IDENTITY: &str = "AGE-SECRET-KEY-12T4FDAVR0PNY2YDYUNP8F5Q7DMUDVF0EWHA963DRZXSXLDCSZRZQNETYG4";
const RECIPIENT: &str = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv";
/// What the pages of the machine hold.
const PLANTED: &str = "customer-4711-password";

/// Runs a line of shell with both programs in the path and core files allowed.
fn shell(line: &str, home: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit -c unlimited 2> /dev/null; {line}")).current_dir(home);
    shell.env("PATH", programs_in_path()).stdin(Stdio::null());
    shell
}

/// A machine, its dump, and the keys, as files.
fn given() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let machine = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).ram(0x10_0000..0x80_0000);
    let core = machine.pages(0x400, 64, &Page::kernel().with(Content::Noise)).build();
    let (mut vmcore, planted) = (core.to_bytes(), PLANTED.repeat((64 << 12) / PLANTED.len()));
    for at in core.offsets_of(0x400 << 12) {
        let at = usize::try_from(at).unwrap();
        vmcore[at..at + planted.len()].copy_from_slice(planted.as_bytes());
    }
    assert!(String::from_utf8_lossy(&vmcore).contains(PLANTED));
    fs::write(home.path().join("vmcore"), vmcore).unwrap();
    fs::write(home.path().join("key"), format!("{IDENTITY}\n")).unwrap();
    fs::write(home.path().join("recipients"), format!("{RECIPIENT}\n")).unwrap();
    assert!(
        shell("vmcore-encrypt -d 0 -R recipients vmcore dump", home.path())
            .output()
            .unwrap()
            .status
            .success()
    );
    home
}

/// Everything that can go wrong around a secret, and what is said of it.
#[test]
fn no_message_holds_an_identity_or_what_a_page_holds() {
    let home = given();
    let failing = [
        format!("vmcore-encrypt -r {IDENTITY} vmcore out"),
        "vmcore-encrypt -R key vmcore out".to_owned(),
        format!("vmcore-encrypt -R {IDENTITY} vmcore out"),
        "vmcore-encrypt fingerprint -R key".to_owned(),
        "vmcore-encrypt kmsg -R key".to_owned(),
        "vmcore-encrypt kmsg -R recipients --input vmcore".to_owned(),
        "vmcore-encrypt -D -R recipients vmcore no/directory".to_owned(),
        "vmcore-encrypt -D -R recipients vmcore /dev/full".to_owned(),
        format!("vmcore-decrypt -i {IDENTITY} dump out"),
        format!("vmcore-decrypt kmsg -i {IDENTITY} dump"),
        "sed 's/G4$/G5/' key > bad; vmcore-decrypt -i bad dump out".to_owned(),
        "tr A-Z a-z < key > bad; echo x >> bad; vmcore-decrypt -i bad dump out".to_owned(),
        "cat key vmcore > bad; vmcore-decrypt -i bad dump out".to_owned(),
        "head -c 3000 dump > cut; vmcore-decrypt -i key cut out".to_owned(),
        "(head -c 2000 dump; printf XXXXXXXX; tail -c +2009 dump) > changed; vmcore-decrypt -i key changed out"
            .to_owned(),
        "vmcore-decrypt -i key vmcore out".to_owned(),
        "vmcore-decrypt -i dump dump out".to_owned(),
        "vmcore-decrypt -i key dump no/directory".to_owned(),
        "vmcore-decrypt -i key --format flattened dump - > /dev/full".to_owned(),
    ];
    for line in failing {
        let output = shell(&line, home.path()).output().unwrap();
        assert!(!output.status.success(), "{line}");
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!said.is_empty(), "{line}");
        // Any half of the key would be too much.
        for secret in [&IDENTITY[15..45], &IDENTITY[45..], "password", "4711"] {
            let found = said.to_ascii_lowercase().contains(&secret.to_ascii_lowercase());
            assert!(!found, "{line}: {said}");
        }
    }
}

/// A program that has read `input` through a FIFO and waits for more.
fn waiting(line: &str, home: &Path, fifo: &str, input: &str) -> (Child, fs::File) {
    let path = home.join(fifo);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut child = shell(&format!("exec {line}"), home);
    let child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut fifo = fs::OpenOptions::new().write(true).open(&path).unwrap();
    fifo.write_all(input.as_bytes()).unwrap();
    (child, fifo)
}

#[test]
fn a_killed_program_leaves_no_core_file() {
    let home = given();
    let lines = [
        ("vmcore-encrypt kmsg -R recipients --input records", "records", "6,1,0,-;text\n"),
        ("vmcore-decrypt kmsg -i key log", "log", "text\n"),
        ("vmcore-decrypt -i identities dump restored", "identities", IDENTITY),
    ];
    for (line, fifo, input) in lines {
        let (mut child, held) = waiting(line, home.path(), fifo, input);
        let limits = || fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap_or_default();
        let core = || {
            limits().lines().any(|line| {
                line.starts_with("Max core file size")
                    && line.split_whitespace().nth(4) == Some("0")
                    && line.split_whitespace().nth(5) == Some("0")
            })
        };
        wait_for("RLIMIT_CORE 0", core);
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::ABORT).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(6), "{line}");
        assert!(!status.core_dumped(), "{line}");
        drop(held);
    }
    let names = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with("core")));
}

/// What a plugin notes of its environment and its open files, before it does its work.
const NOTES: &str = r#"#!/bin/sh
env > "$HOME/environment"
ls /proc/$$/fd > "$HOME/descriptors"
"#;

#[test]
fn no_unknown_variable_reaches_libraries_and_plugins() {
    let home = tempfile::tempdir().unwrap();
    plugin::install(home.path(), "written", &[NOTES, plugin::WRITES_DOWN].concat());
    fs::write(home.path().join("recipients"), plugin::recipient("written") + "\n").unwrap();
    fs::write(home.path().join("identity"), plugin::identity("written") + "\n").unwrap();
    let core = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).ram(0x10_0000..0x80_0000);
    fs::write(home.path().join("vmcore"), core.build().to_bytes()).unwrap();
    for command in [
        "vmcore-encrypt -R recipients vmcore dump",
        "vmcore-encrypt --check-params -R recipients vmcore",
        "vmcore-decrypt verify -i identity dump",
    ] {
        let mut shell =
            shell(&format!("exec 7< recipients 9< vmcore; PATH=$HOME:$PATH {command}"), home.path());
        shell.env("HOME", home.path()).env("AGEDEBUG", "plugin").env("DATABASE_PASSWORD", "secret");
        let output = shell.output().unwrap();
        let messages = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{command}: {messages}");
        assert!(
            !messages.contains("file-key") && !messages.contains("written-down"),
            "{command}: {messages}"
        );
        let seen = fs::read_to_string(home.path().join("environment")).unwrap();
        assert!(seen.contains("HOME="), "{command}: {seen}");
        // The shell of the plugin has its own script open, at 10.
        let open = fs::read_to_string(home.path().join("descriptors")).unwrap();
        assert!(!open.lines().any(|number| matches!(number, "7" | "9")), "{command}: {open}");
        for name in ["AGEDEBUG", "DATABASE_PASSWORD", "CARGO"] {
            assert!(!seen.contains(&format!("{name}=")), "{command}: {seen}");
        }
    }
    // Whoever forges the mark of the second start keeps the variables from being left out, and gets nothing.
    let forged = "AGEDEBUG=plugin VMCORE_ENCRYPT_ENVIRONMENT= vmcore-decrypt verify -i identity dump";
    let output = shell(forged, home.path()).output().unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && messages.contains("unset AGEDEBUG"), "{messages}");
}

#[test]
fn a_dump_without_a_plugin_is_for_the_other_recipients_with_a_warning() {
    let home = given();
    let absent = plugin::recipient("nosuch");
    let mut recipients = fs::read_to_string(home.path().join("recipients")).unwrap();
    recipients.push_str(&format!("\n{absent}\n"));
    fs::write(home.path().join("both"), recipients).unwrap();
    fs::write(home.path().join("alone"), absent + "\n").unwrap();
    plugin::install(home.path(), "fails", "#!/bin/sh\nexit 1\n");
    fs::write(home.path().join("failing"), format!("{RECIPIENT}\n{}\n", plugin::recipient("fails"))).unwrap();
    fs::write(home.path().join("records"), "6,1,1,-;hello\n").unwrap();
    for (command, status, message) in [
        ("vmcore-encrypt -R both vmcore saved", 6, "not all recipients can open the dump"),
        (
            "vmcore-encrypt -R both vmcore again",
            6,
            "vmcore-encrypt: warning: plugin program \"age-plugin-nosuch\" is not found",
        ),
        ("vmcore-encrypt kmsg -R failing --input records > log", 6, "not all recipients can open it"),
        (
            "vmcore-encrypt -d 0 --warnings-exit-0 -R both vmcore zero",
            0,
            "not all recipients can open the dump",
        ),
        ("vmcore-encrypt --check-params -R both vmcore", 1, "age-plugin-nosuch"),
        ("vmcore-encrypt -R alone vmcore none", 1, "age-plugin-nosuch"),
        ("vmcore-decrypt verify -i key saved", 0, ""),
    ] {
        let mut shell = shell(&format!("PATH=$PWD:$PATH; {command}"), home.path());
        let output = shell.output().unwrap();
        let messages = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(status) && messages.contains(message), "{command}: {messages}");
        // A whole dump is no error; what is unusual about it is a warning.
        assert!(status != 6 || !messages.contains(": error: "), "{command}: {messages}");
        assert!(status != 6 || messages.contains(": warning: "), "{command}: {messages}");
    }
    assert!(!home.path().join("none").exists());
}
