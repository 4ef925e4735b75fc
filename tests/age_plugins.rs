//! Plugin recipients and identities, with a plugin of our own making: a shell script that "wraps" the file key by
//! writing it down (C2SP age-plugin.md). `$PATH` is set for a second run of this program, since tests share one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use age_core::primitives::bech32_encode;
use vmcore_encrypt::crypt::{DecryptReader, EncryptWriter, Entropy, Error, Identities, NoPrompt, Recipients};

const PLUGIN: &str = r#"#!/bin/sh
case "$1" in
--age-plugin=recipient-v1)
    while read -r line; do
        case "$line" in
        *refused*) refuse=yes ;;
        "-> wrap-file-key") read -r key ;;
        "-> done") read -r _; break ;;
        esac
    done
    if [ "$refuse" ]; then
        printf -- '-> error internal\n%s\n' "$(printf 'no\nthank\033you' | base64 | tr -d =)"
    else
        printf -- '-> recipient-stanza 0 written-down\n%s\n' "$key"
    fi ;;
--age-plugin=identity-v1)
    while read -r line; do
        case "$line" in
        "-> recipient-stanza 0 written-down") read -r key ;;
        "-> done") read -r _; break ;;
        esac
    done
    [ "$key" ] && printf -- '-> file-key 0\n%s\n' "$key" ;;
esac
[ "$key$refuse" ] && { read -r _; read -r _; }
printf -- '-> done\n\n'
"#;

fn text(prefix: &str, data: &[u8]) -> String {
    bech32_encode(bech32::Hrp::parse(prefix).unwrap(), data)
}

#[test]
fn plugins_work_when_they_are_in_the_path() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["written", "refused"] {
        let program = folder.path().join(format!("age-plugin-{name}"));
        fs::write(&program, PLUGIN).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "with_plugins_in_the_path"])
        .env("PATH", path)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && log.contains("1 passed"), "{log}");
}

#[test]
#[ignore = "run by plugins_work_when_they_are_in_the_path"]
fn with_plugins_in_the_path() {
    let mut entropy = Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} };
    let file = format!("{}\n{}\n", text("age1written", b"a"), text("age1written", b"b"));
    let recipients = Recipients::from_file_contents(file.as_bytes()).unwrap();
    recipients.check_plugins().unwrap();
    let (start, key) = recipients.wrap(&mut entropy).unwrap();
    let mut writer = EncryptWriter::new(start, key);
    writer.write_all(b"plain").unwrap();
    let sealed = writer.finish().unwrap();

    let mut identities = Identities::new(Arc::new(NoPrompt));
    let absent = text("age-plugin-absent-", b"").to_uppercase();
    identities.add_file("key", absent.as_bytes()).unwrap();
    let mut input = &sealed[..];
    let Err(Error::PluginMissing { program }) = identities.open(&mut input) else { panic!("opened") };
    assert_eq!(program, "age-plugin-absent");

    let present = text("age-plugin-written-", b"").to_uppercase();
    identities.add_file("key", present.as_bytes()).unwrap();
    let mut input = &sealed[..];
    let opened = identities.open(&mut input).unwrap();
    let mut plain = String::new();
    DecryptReader::new(input, opened.key).read_to_string(&mut plain).unwrap();
    assert_eq!(plain, "plain");

    let refused = Recipients::from_file_contents(text("age1refused", b"").as_bytes()).unwrap();
    let Err(Error::Plugin { message }) = refused.wrap(&mut entropy) else { panic!("wrapped") };
    assert!(message.contains("no thank?you"), "{message}");
}
