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
    let plugins = [
        ("written", PLUGIN),
        ("refused", PLUGIN),
        // A child of its own holds the pipe too.
        ("hangs", "#!/bin/sh\nsleep 1000 & echo $$ $! > \"$HOME/pids\"\nwait\n"),
        ("deaf", "#!/bin/sh\nexec sleep 1000 < /dev/null\n"),
        ("floods", "#!/bin/sh\nyes '' | sed 's/.*/-> msg\\n/'\n"),
        ("endless", "#!/bin/sh\nexec tr '\\0' x < /dev/zero\n"),
        ("dies", "#!/bin/sh\nread -r line\nexit 1\n"),
        ("silent", "#!/bin/sh\nprintf -- '-> done\\n\\n'\n"),
        ("looks", "#!/bin/sh\nenv > \"$HOME/environment\"\nexit 1\n"),
    ];
    for (name, text) in plugins {
        let program = folder.path().join(format!("age-plugin-{name}"));
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--test-threads=1"])
        .env("PATH", path)
        .env("HOME", folder.path())
        .env("AGEDEBUG", "plugin")
        .env("PASSWORD", "secret")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && log.contains("3 passed"), "{log}");
    // Of what AGEDEBUG makes a library print, nothing came from wrapping.
    assert!(!String::from_utf8_lossy(&output.stderr).contains("wrap-file-key"));
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

/// The recipients of some plugins, and whoever is named besides.
fn set(plugins: &[&str], others: &str) -> Recipients {
    let texts: Vec<String> = plugins.iter().map(|name| text(&format!("age1{name}"), b"x")).collect();
    let file = format!("{}\n{others}\n", texts.join("\n"));
    Recipients::from_file_contents(file.as_bytes()).unwrap().plugin_limit(Duration::from_millis(700))
}

const X25519: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

#[test]
#[ignore = "run by plugins_work_when_they_are_in_the_path"]
fn plugins_that_misbehave_end_and_cost_their_recipients_alone() {
    for (name, reason) in [
        ("hangs", "did not answer within 0.7 s and was ended"),
        ("deaf", "did not answer within 0.7 s and was ended"),
        ("floods", "did not answer within 0.7 s and was ended"),
        ("endless", "it sent more than a header can hold"),
        ("dies", "it ended before it was done"),
        ("silent", "it wrapped nothing"),
        ("refused", "no thank?you"),
    ] {
        let start = std::time::Instant::now();
        let mut said = Vec::new();
        let mut notify = |text: &str| said.push(text.to_owned());
        let mut entropy = Entropy { limit: Duration::from_secs(5), notify: &mut notify };
        let error = set(&[name], "").wrap(&mut entropy).err().unwrap().to_string();
        assert!(error.contains(reason) && error.contains(name), "{name}: {error}");
        // With others the file is theirs, and it is said; where nothing may be missing, it is an error.
        let (header, _) = set(&[name], X25519).wrap(&mut entropy).unwrap();
        let stanzas = vmcore_encrypt::crypt::Header::read(&mut &header[..]).unwrap().stanza_types();
        assert_eq!(stanzas, ["X25519"]);
        assert!(set(&[name], X25519).try_wrap(&mut entropy).is_err());
        assert!(said.len() == 1 && said[0].contains(reason), "{said:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "{name}");
    }
    let pids =
        fs::read_to_string(std::path::Path::new(&std::env::var("HOME").unwrap()).join("pids")).unwrap();
    for pid in pids.split_whitespace() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{pid} runs on: {stat}");
    }
}

#[test]
#[ignore = "run by plugins_work_when_they_are_in_the_path"]
fn a_plugin_gets_no_more_of_the_environment_than_it_needs() {
    let mut entropy = Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} };
    assert!(set(&["looks"], "").wrap(&mut entropy).is_err());
    let home = std::env::var("HOME").unwrap();
    let seen = fs::read_to_string(std::path::Path::new(&home).join("environment")).unwrap();
    assert!(seen.contains("PATH=") && seen.contains("HOME="), "{seen}");
    assert!(!seen.contains("PASSWORD") && !seen.contains("AGEDEBUG") && !seen.contains("CARGO"), "{seen}");
}
