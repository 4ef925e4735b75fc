//! Files written here open with age and rage, and theirs open here: at the sizes around a chunk's border, for every
//! kind of recipient the program knows. Judges are what is in `$PATH` and the newer ones of `tests/vm/program.sh`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use age_core::secrecy::ExposeSecret;
use common::{Absent, judge, or_skip};
use std::fs;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use vmcore_encrypt::crypt::keygen::{KeyKind, generate, protect};
use vmcore_encrypt::crypt::rewrap::{Former, rewrap};
use vmcore_encrypt::crypt::{
    DecryptReader, EncryptWriter, Entropy, Error, Identities, NoPrompt, Prompt, Recipients, SecretString,
    dearmored,
};

/// 0, 1, around one chunk, three chunks, last chunk full.
const SIZES: [usize; 7] = [0, 1, 65535, 65536, 65537, 150_000, 3 * 65536];

/// The fixed recipients whose identity is the plugin `tagtest` of age's own tests.
const TAG_RECIPIENTS: &str = include_str!("interop/tagtest-recipients");

/// One age program.
struct Judge {
    program: PathBuf,
    knows_postquantum: bool,
}

impl Judge {
    /// All programs that run: new ones that were fetched, and what the machine has.
    fn all() -> Vec<Judge> {
        let new = ["age", "rage"].into_iter().filter_map(new_judge);
        let own = ["age", "rage"].into_iter().filter_map(|name| Judge::at(PathBuf::from(name)));
        new.chain(own).collect()
    }

    fn at(program: PathBuf) -> Option<Judge> {
        let version = Command::new(&program).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&version.stdout).trim().trim_start_matches('v').to_owned();
        let numbers: Vec<u32> = text.split('.').map_while(|number| number.parse().ok()).collect();
        Some(Judge { program, knows_postquantum: numbers >= vec![1, 3] })
    }

    /// Runs the program; plugins that lie beside it are in its `$PATH`.
    fn run(&self, arguments: &[&str], input: &[u8], passphrase: &str) -> Output {
        let path =
            format!("{}:{}", self.program.with_file_name("").display(), std::env::var("PATH").unwrap());
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env("PATH", path)
            .env("AGE_PASSPHRASE", passphrase)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        output
    }

    fn must(&self, arguments: &[&str], input: &[u8], passphrase: &str) -> Vec<u8> {
        let output = self.run(arguments, input, passphrase);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {errors}", self.program.display());
        output.stdout
    }
}

/// The fetched age, for what only a new one can do, with the plugins that these tests use.
fn new_age() -> Option<Judge> {
    for plugin in ["age-plugin-batchpass", "age-plugin-tagtest"] {
        or_skip(judge::program(plugin))?;
    }
    new_judge("age")
}

fn new_judge(name: &str) -> Option<Judge> {
    let program = or_skip(judge::program(name))?;
    or_skip(Judge::at(program).ok_or_else(|| Absent(format!("a {name} that runs"))))
}

/// A key pair in files.
struct Key {
    recipient: String,
    identity: PathBuf,
    postquantum: bool,
}

fn entropy<T>(run: impl FnOnce(&mut Entropy<'_>) -> T) -> T {
    run(&mut Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} })
}

fn age_key(folder: &TempDir, kind: KeyKind) -> Key {
    let generated = entropy(|entropy| generate(kind, SystemTime::now(), entropy)).unwrap();
    let identity = folder.path().join(format!("{kind:?}"));
    fs::write(&identity, generated.identity_file.expose_secret()).unwrap();
    Key { recipient: generated.recipient, identity, postquantum: kind == KeyKind::PostQuantum }
}

fn ssh_key(folder: &TempDir, kind: &str, passphrase: &str) -> Option<Key> {
    let identity = folder.path().join(format!("{kind}{passphrase}"));
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "a comment", "-f"])
        .arg(&identity)
        .status();
    let made = made.ok().filter(ExitStatus::success);
    or_skip(made.ok_or_else(|| Absent("ssh-keygen".to_owned())))?;
    let recipient = fs::read_to_string(identity.with_extension("pub")).unwrap().trim().to_owned();
    Some(Key { recipient, identity, postquantum: false })
}

fn keys(folder: &TempDir) -> Vec<Key> {
    let ours = [age_key(folder, KeyKind::X25519), age_key(folder, KeyKind::PostQuantum)];
    let ssh = ["ed25519", "rsa"].into_iter().filter_map(|kind| ssh_key(folder, kind, ""));
    ours.into_iter().chain(ssh).collect()
}

fn encrypt(recipients: &str, plain: &[u8]) -> Vec<u8> {
    let recipients = Recipients::from_file_contents(recipients.as_bytes()).unwrap();
    let (start, key) = entropy(|entropy| recipients.wrap(entropy)).unwrap();
    let mut writer = EncryptWriter::new(start, key);
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}

fn decrypt(identities: &Identities, file: &[u8]) -> Result<Vec<u8>, Error> {
    let mut input = dearmored(file)?;
    let opened = identities.open(&mut input)?;
    let mut plain = Vec::new();
    DecryptReader::new(input, opened.key).read_to_end(&mut plain)?;
    Ok(plain)
}

fn load(identity: &Path, prompt: impl Prompt + 'static) -> Result<Identities, Error> {
    let mut identities = Identities::new(Arc::new(prompt));
    identities.add_file("the key", BufReader::new(fs::File::open(identity).unwrap()))?;
    Ok(identities)
}

fn plaintext(size: usize) -> Vec<u8> {
    (0..size).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1].wrapping_mul(31)).collect()
}

#[test]
fn both_ways_at_every_boundary() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder);
    for judge in Judge::all() {
        for key in keys.iter().filter(|key| !key.postquantum || judge.knows_postquantum) {
            let identity = key.identity.to_str().unwrap();
            let identities = load(&key.identity, NoPrompt).unwrap();
            for size in SIZES {
                let plain = plaintext(size);
                let opened = judge.must(&["-d", "-i", identity], &encrypt(&key.recipient, &plain), "");
                assert!(opened == plain, "{} opens {size} bytes", judge.program.display());
                let sealed = judge.must(&["-r", &key.recipient], &plain, "");
                let back = decrypt(&identities, &sealed).unwrap();
                assert!(back == plain, "{size} bytes of {}", judge.program.display());
            }
            let armored = judge.must(&["-a", "-r", &key.recipient], &plaintext(70_000), "");
            assert_eq!(decrypt(&identities, &armored).unwrap(), plaintext(70_000));
        }
    }
}

#[test]
fn every_recipient_of_a_file_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    let keys: Vec<Key> = keys(&folder).into_iter().filter(|key| !key.postquantum).collect();
    let list: Vec<&str> = keys.iter().map(|key| key.recipient.as_str()).collect();
    let sealed = encrypt(&list.join("\n# and\n"), b"for all");
    for judge in Judge::all() {
        for key in &keys {
            let identity = key.identity.to_str().unwrap();
            assert_eq!(judge.must(&["-d", "-i", identity], &sealed, ""), b"for all");
        }
    }
    for key in &keys {
        assert_eq!(decrypt(&load(&key.identity, NoPrompt).unwrap(), &sealed).unwrap(), b"for all");
    }
}

#[test]
fn keys_of_age_keygen_are_ours_too() {
    let Some(keygen) = or_skip(judge::program("age-keygen")) else { return };
    for arguments in [&[][..], &["-pq"]] {
        let made = Command::new(&keygen).args(arguments).output().unwrap();
        let text = String::from_utf8(made.stdout).unwrap();
        let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
        let mut identities = Identities::new(Arc::new(NoPrompt));
        identities.add_file("key", text.as_bytes()).unwrap();
        assert_eq!(decrypt(&identities, &encrypt(recipient, b"hello")).unwrap(), b"hello");
    }
}

#[test]
fn tagged_recipients_open_with_ages_own_test_plugin() {
    let Some(age) = new_age() else { return };
    for recipient in TAG_RECIPIENTS.lines() {
        let sealed = encrypt(recipient, b"for a hardware key");
        assert_eq!(age.must(&["-d", "-j", "tagtest"], &sealed, ""), b"for a hardware key");
    }
}

#[test]
fn postquantum_and_classic_recipients_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let (classic, postquantum) = (age_key(&folder, KeyKind::X25519), age_key(&folder, KeyKind::PostQuantum));
    let both = format!("{}\n{}\n", classic.recipient, postquantum.recipient);
    let refused = Recipients::from_file_contents(both.as_bytes());
    assert!(matches!(refused, Err(Error::MixedRecipients { .. })));
    let tagged = format!("{}\n{}\n", TAG_RECIPIENTS.lines().nth(1).unwrap(), postquantum.recipient);
    assert!(Recipients::from_file_contents(tagged.as_bytes()).is_ok());
    if let Some(age) = new_age() {
        let output = age.run(&["-r", &classic.recipient, "-r", &postquantum.recipient], b"", "");
        assert!(!output.status.success(), "age mixes them now");
    }
}

struct Typed(&'static str, Arc<AtomicUsize>);

impl Typed {
    fn new(passphrase: &'static str) -> (Typed, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        (Typed(passphrase, Arc::clone(&asked)), asked)
    }
}

impl Prompt for Typed {
    fn passphrase(&self, what: &str) -> Option<SecretString> {
        assert_eq!(what, "the key");
        self.1.fetch_add(1, Ordering::Relaxed);
        Some(SecretString::from(self.0.to_owned()))
    }
}

#[test]
fn locked_ssh_keys_ask_only_when_the_file_is_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let other = encrypt(&age_key(&folder, KeyKind::X25519).recipient, b"not ours");
    for key in ["ed25519", "rsa"].into_iter().filter_map(|kind| ssh_key(&folder, kind, "secret")) {
        let sealed = encrypt(&key.recipient, b"locked");
        let (prompt, asked) = Typed::new("secret");
        let identities = load(&key.identity, prompt).unwrap();
        assert!(matches!(decrypt(&identities, &other), Err(Error::NoMatch { .. })));
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        assert_eq!(decrypt(&identities, &sealed).unwrap(), b"locked");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let wrong = load(&key.identity, Typed::new("guess").0).unwrap();
        assert!(matches!(decrypt(&wrong, &sealed), Err(Error::WrongPassphrase)));
        let nobody = load(&key.identity, NoPrompt).unwrap();
        assert!(matches!(decrypt(&nobody, &sealed), Err(Error::NoPassphrase)));
    }
}

#[test]
fn identities_protected_by_a_passphrase_are_exchanged_with_age() {
    let Some(age) = new_age() else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = age_key(&folder, KeyKind::PostQuantum);
    let text = fs::read_to_string(&key.identity).unwrap();
    let secret = SecretString::from(text.clone());
    let passphrase = SecretString::from("correct horse".to_owned());
    let ours = entropy(|entropy| protect(&secret, passphrase, entropy)).unwrap();
    assert_eq!(age.must(&["-d", "-j", "batchpass"], &ours, "correct horse"), text.as_bytes());

    let theirs = folder.path().join("theirs.age");
    fs::write(&theirs, age.must(&["-e", "-j", "batchpass"], text.as_bytes(), "correct horse")).unwrap();
    let sealed = encrypt(&key.recipient, b"hello");
    let identities = load(&theirs, Typed::new("correct horse").0).unwrap();
    assert_eq!(decrypt(&identities, &sealed).unwrap(), b"hello");
    assert!(matches!(load(&theirs, Typed::new("wrong").0), Err(Error::WrongPassphrase)));
    assert!(matches!(load(&theirs, NoPrompt), Err(Error::NoPassphrase)));
}

#[test]
fn age_opens_a_file_handed_over_to_another_key() {
    let folder = tempfile::tempdir().unwrap();
    let old = age_key(&folder, KeyKind::PostQuantum);
    let identities = load(&old.identity, NoPrompt).unwrap();
    let new = age_key(&folder, KeyKind::X25519);
    let recipients = Recipients::from_file_contents(new.recipient.as_bytes()).unwrap();
    let sealed = encrypt(&old.recipient, &plaintext(100_000));
    let mut moved = Vec::new();
    entropy(|entropy| rewrap(&sealed[..], &mut moved, &identities, &recipients, Former::Dropped, entropy))
        .unwrap();
    for judge in Judge::all() {
        let opened = judge.must(&["-d", "-i", new.identity.to_str().unwrap()], &moved, "");
        assert!(opened == plaintext(100_000));
    }
}

/// What docs/threat-model.md says of the origin of a dump: the machine that received it signs it as it lies.
#[test]
fn ssh_keygen_signs_a_dump_and_notices_another() {
    let folder = tempfile::tempdir().unwrap();
    let Some(key) = ssh_key(&folder, "ed25519", "") else { return };
    let (dump, signature) = (folder.path().join("vmcore.age"), folder.path().join("vmcore.age.sig"));
    let signers = folder.path().join("allowed_signers");
    fs::write(&dump, encrypt(&key.recipient, &plaintext(100_000))).unwrap();
    fs::write(&signers, format!("host1 {}\n", key.recipient)).unwrap();
    let sign = |arguments: &[&str], file: &Path| {
        let mut command = Command::new("ssh-keygen");
        command.args(arguments).arg(file).args(["-n", "vmcore-encrypt"]).stderr(Stdio::null());
        command
    };
    let made = sign(&["-Y", "sign", "-f"], &key.identity).arg(&dump).status().unwrap();
    assert!(made.success() && signature.exists());
    let verify = || {
        let mut command = sign(&["-Y", "verify", "-f"], &signers);
        command.args(["-I", "host1", "-s"]).arg(&signature).stdin(fs::File::open(&dump).unwrap());
        command.stdout(Stdio::null()).status().unwrap().success()
    };
    assert!(verify());
    fs::write(&dump, encrypt(&key.recipient, &plaintext(100_000))).unwrap();
    assert!(!verify(), "a dump that was exchanged");
}
