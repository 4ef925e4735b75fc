//! Plugin recipients and identities, with a plugin of our own making: a shell script that "wraps" the file key by
//! writing it down (C2SP age-plugin.md). `$PATH` is set for a second run of this program, since tests share one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use age_core::secrecy::SecretString;
use common::plugin::{self, encoded};
use common::{in_path, runs};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use vmcore_encrypt::crypt::{
    DecryptReader, EncryptWriter, Entropy, Error, Identities, NoPrompt, Notice, Recipients,
};

/// Leaves a process of its own session, twice removed, and one of another user where that can be.
const ESCAPES: &str = r#"#!/bin/sh
setsid sh -c 'sleep 1000 & echo $$ $! >> "$HOME/escaped"; wait' &
( setsid sleep 1000 & echo $! >> "$HOME/escaped" )
while read -r line; do
    case "$line" in
    "-> wrap-file-key") read -r key ;;
    "-> done") read -r _; break ;;
    esac
done
while [ "$(wc -l < "$HOME/escaped")" -lt 2 ]; do sleep 0.01; done
printf -- '-> recipient-stanza 0 written-down\n%s\n' "$key"
read -r _; read -r _
printf -- '-> done\n\n'
"#;
/// Sends a stanza that leaves no room in the header for others.
const FILLS: &str = r#"#!/bin/sh
printf -- '-> recipient-stanza 0 long\n'
yes AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA | head -n 4032
printf -- '\n'
read -r _; read -r _
printf -- '-> done\n\n'
"#;
/// Sends a stanza that may not stand beside others.
const PRETENDS: &str = "#!/bin/sh\nprintf -- '-> recipient-stanza 0 scrypt AAAA 18\\nAAAA\\n-> done\\n\\n'\n";
/// Asks the user, who takes longer than the plugin may.
const ASKS: &str = r#"#!/bin/sh
while read -r line; do
    case "$line" in
    "-> recipient-stanza 0 written-down") read -r key ;;
    "-> done") read -r _; break ;;
    esac
done
printf -- '-> request-secret\nUElO\n'
read -r reply; read -r pin
[ "$reply $pin" = '-> ok MTIzNA' ] || exit 1
printf -- '-> confirm eWVz bm8\ndG91Y2g\n'
read -r reply; read -r _
[ "$reply" = '-> ok yes' ] || exit 1
printf -- '-> file-key 0\n%s\n' "$key"
read -r _; read -r _
printf -- '-> done\n\n'
"#;

#[test]
fn plugins_work_when_they_are_in_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = [
        ("written", plugin::WRITES_DOWN),
        ("refused", plugin::WRITES_DOWN),
        // A child of its own holds the pipe too.
        ("hangs", "#!/bin/sh\nsleep 1000 & echo $$ $! > \"$HOME/pids\"\nwait\n"),
        ("deaf", "#!/bin/sh\nexec sleep 1000 < /dev/null\n"),
        ("floods", "#!/bin/sh\nyes '' | sed 's/.*/-> msg\\n/'\n"),
        ("endless", "#!/bin/sh\nexec tr '\\0' x < /dev/zero\n"),
        ("dies", "#!/bin/sh\nread -r line\nexit 1\n"),
        ("silent", "#!/bin/sh\nprintf -- '-> done\\n\\n'\n"),
        ("looks", "#!/bin/sh\nenv > \"$HOME/environment\"\nexit 1\n"),
        ("escapes", ESCAPES),
        ("fills", FILLS),
        ("pretends", PRETENDS),
        (
            "bad",
            "#!/bin/sh\nprintf -- '-> error stanza 0 0\\nbm8\\n'\nread -r _\nread -r _\nprintf -- '-> done\\n\\n'\n",
        ),
        ("asks", ASKS),
    ];
    for (name, text) in plugins {
        plugin::install(folder.path(), name, text);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--test-threads=1"])
        .env("PATH", in_path(folder.path()))
        .env("HOME", folder.path())
        .env("AGEDEBUG", "plugin")
        .env("PASSWORD", "secret")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && log.contains("9 passed"), "{log}");
    // Of what AGEDEBUG makes a library print, nothing came from wrapping.
    assert!(!String::from_utf8_lossy(&output.stderr).contains("wrap-file-key"));
}

#[test]
#[ignore = "run by plugins_work_when_they_are_in_the_path"]
fn with_plugins_in_the_path() {
    let mut entropy = Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} };
    let file = format!("{}\n{}\n", encoded("age1written", b"a"), encoded("age1written", b"b"));
    let recipients = Recipients::from_file_contents(file.as_bytes()).unwrap();
    recipients.check_plugins().unwrap();
    let (start, key) = recipients.wrap(&mut entropy).unwrap();
    let mut writer = EncryptWriter::new(start, key);
    writer.write_all(b"plain").unwrap();
    let sealed = writer.finish().unwrap();

    let mut identities = Identities::new(Arc::new(NoPrompt));
    let absent = plugin::identity("absent");
    identities.add_file("key", absent.as_bytes()).unwrap();
    let mut input = &sealed[..];
    let Err(Error::PluginMissing { program }) = identities.open(&mut input) else { panic!("opened") };
    assert_eq!(program, "age-plugin-absent");

    let present = plugin::identity("written");
    identities.add_file("key", present.as_bytes()).unwrap();
    let mut input = &sealed[..];
    let opened = identities.open(&mut input).unwrap();
    let mut plain = String::new();
    DecryptReader::new(input, opened.key).read_to_string(&mut plain).unwrap();
    assert_eq!(plain, "plain");

    let refused = Recipients::from_file_contents(plugin::recipient("refused").as_bytes()).unwrap();
    let Err(Error::Plugin { message }) = refused.wrap(&mut entropy) else { panic!("wrapped") };
    assert!(message.contains("no thank?you"), "{message}");
}

/// The recipients of some plugins, and whoever is named besides.
fn set(plugins: &[&str], others: &str) -> Recipients {
    let texts: Vec<String> = plugins.iter().map(|name| plugin::recipient(name)).collect();
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
        ("nosuch", "is not found"),
    ] {
        let start = std::time::Instant::now();
        let mut said = Vec::new();
        let mut notify = |notice: &Notice<'_>| said.push(notice.to_string());
        let mut entropy = Entropy { limit: Duration::from_secs(5), notify: &mut notify };
        let error = set(&[name], "").wrap(&mut entropy).err().unwrap().to_string();
        assert!(error.contains(reason) && error.contains(name), "{name}: {error}");
        // With others the file is theirs, and it is said; where nothing may be missing, it is an error.
        let (header, _) = set(&[name], X25519).wrap(&mut entropy).unwrap();
        let stanzas = vmcore_encrypt::crypt::Header::read(&mut &header[..]).unwrap().stanza_types();
        assert_eq!(stanzas, ["X25519"]);
        let others = set(&[name], X25519);
        assert!(!others.left_out());
        others.wrap(&mut Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} }).unwrap();
        assert!(others.left_out());
        assert!(set(&[name], X25519).try_wrap(&mut entropy).is_err());
        assert!(said.len() == 1 && said[0].contains(reason), "{said:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "{name}");
    }
    let pids =
        fs::read_to_string(std::path::Path::new(&std::env::var("HOME").unwrap()).join("pids")).unwrap();
    for pid in pids.split_whitespace() {
        assert!(!runs(pid), "{pid} runs on");
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

#[test]
#[ignore = "run by plugins_work_when_they_are_in_the_path"]
fn what_a_plugin_wraps_costs_no_other_recipient() {
    let mut entropy = Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} };
    for name in ["fills", "pretends"] {
        let recipients = set(&[name], X25519);
        let (header, _) = recipients.wrap(&mut entropy).unwrap();
        let stanzas = vmcore_encrypt::crypt::Header::read(&mut &header[..]).unwrap().stanza_types();
        assert!(recipients.left_out() && stanzas == ["X25519"], "{name}: {stanzas:?}");
        assert!(set(&[name], X25519).try_wrap(&mut entropy).is_err(), "{name}");
    }
}

#[test]
#[ignore = "run by plugins_work_when_they_are_in_the_path"]
fn a_plugin_that_leaves_its_group_is_killed_too() {
    let mut own = Command::new("sleep").arg("1000").spawn().unwrap();
    let mut entropy = Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} };
    let recipients = set(&["escapes"], X25519).plugin_limit(Duration::from_secs(20));
    let (header, _) = recipients.wrap(&mut entropy).unwrap();
    let stanzas = vmcore_encrypt::crypt::Header::read(&mut &header[..]).unwrap().stanza_types();
    assert_eq!(stanzas, ["X25519", "written-down"]);
    let home = std::env::var("HOME").unwrap();
    let pids = fs::read_to_string(std::path::Path::new(&home).join("escaped")).unwrap();
    assert_eq!(pids.split_whitespace().count(), 3, "{pids}");
    for pid in pids.split_whitespace() {
        assert!(!runs(pid), "{pid} runs on");
    }
    // Children that were there before are none of the plugin's.
    assert!(runs(&own.id().to_string()));
    own.kill().unwrap();
    own.wait().unwrap();
}

/// A plugin that became another user's cannot be killed by a collector that is not root; it is not waited for.
#[test]
#[ignore = "run by plugins_work_when_they_are_in_the_path"]
fn a_plugin_that_cannot_be_killed_is_not_waited_for() {
    let setpriv = std::path::Path::new("/usr/bin/setpriv");
    if !rustix::process::geteuid().is_root() || !setpriv.exists() {
        return eprintln!("skipped: needs root and setpriv");
    }
    let home = std::path::PathBuf::from(std::env::var("HOME").unwrap());
    let own = home.join("setpriv");
    fs::copy(setpriv, &own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    // Root's in every respect, and holds the pipes.
    let script = format!("#!/bin/sh\nexec {} --reuid=0 --regid=0 --clear-groups sleep 30\n", own.display());
    plugin::install(&home, "stays", &script);
    let start = std::time::Instant::now();
    let status = Command::new(&own)
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "as_nobody"])
        .env("AS_NOBODY", "yes")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success() && log.contains("1 passed"), "{log}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

/// Run by the test above, as a user who is not root.
#[test]
#[ignore = "run by a_plugin_that_cannot_be_killed_is_not_waited_for"]
fn as_nobody() {
    if std::env::var_os("AS_NOBODY").is_none() {
        return;
    }
    let mut entropy = Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} };
    let recipients = set(&["stays"], X25519);
    recipients.wrap(&mut entropy).unwrap();
    assert!(recipients.left_out());
    // It lives: nothing but its pipes ended.
    let names = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        (status.contains("Name:\tsleep") && status.contains(&format!("PPid:\t{}\n", std::process::id())))
            .then_some(status)
    });
    assert_eq!(names.filter(|status| !status.contains("State:\tZ")).count(), 1);
}

/// The user, who takes a while.
struct Slow;

impl vmcore_encrypt::crypt::Prompt for Slow {
    fn passphrase(&self, what: &str) -> Option<SecretString> {
        assert_eq!(what, "PIN");
        std::thread::sleep(Duration::from_secs(1));
        Some(SecretString::from("1234".to_owned()))
    }

    fn confirm(&self, question: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        assert_eq!((question, yes, no), ("touch", "yes", Some("no")));
        std::thread::sleep(Duration::from_secs(1));
        Some(true)
    }
}

/// What a file that a plugin wrapped reads as with an identity of plugin `name`.
fn opened(name: &str, prompt: Arc<dyn vmcore_encrypt::crypt::Prompt>) -> Result<(), Error> {
    let mut entropy = Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} };
    let written = set(&["written"], "").plugin_limit(Duration::from_secs(20));
    let (start, _) = written.wrap(&mut entropy).unwrap();
    let mut identities = Identities::new(prompt).plugin_limit(Duration::from_millis(900));
    let line = plugin::identity(name);
    identities.add_file("key", line.as_bytes()).unwrap();
    identities.open(&mut &start[..]).map(|_| ())
}

#[test]
#[ignore = "run by plugins_work_when_they_are_in_the_path"]
fn an_identitys_plugin_has_limits_too() {
    for (name, reason) in [
        ("hangs", "did not answer within 0.9 s and was ended"),
        ("deaf", "did not answer within 0.9 s and was ended"),
        ("floods", "did not answer within 0.9 s and was ended"),
        ("endless", "it sent more than a header can hold"),
        ("dies", "it ended before it was done"),
    ] {
        let error = opened(name, Arc::new(NoPrompt)).err().unwrap().to_string();
        assert!(error.contains(reason) && error.contains(name), "{name}: {error}");
    }
    assert!(matches!(opened("silent", Arc::new(NoPrompt)), Err(Error::NoMatch { .. })));
    assert!(matches!(opened("bad", Arc::new(NoPrompt)), Err(Error::BadStanza(_))));
    assert!(matches!(opened("looks", Arc::new(NoPrompt)), Err(Error::Plugin { .. })));
    let home = std::env::var("HOME").unwrap();
    let seen = fs::read_to_string(std::path::Path::new(&home).join("environment")).unwrap();
    assert!(seen.contains("HOME=") && !seen.contains("PASSWORD") && !seen.contains("AWS_"), "{seen}");
}

#[test]
#[ignore = "run by plugins_work_when_they_are_in_the_path"]
fn the_users_time_is_not_the_plugins() {
    opened("asks", Arc::new(Slow)).unwrap();
    assert!(matches!(opened("asks", Arc::new(NoPrompt)), Err(Error::Plugin { .. })));
}
