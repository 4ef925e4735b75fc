//! `vmcore-encrypt pstore`: records of a store that anybody may have filled go into one encrypted file, and only then out of
//! the store.

use crate::common::{decrypt, encrypt, keys, lab, names, run, scratch, text, top};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const SECRET: &str = "PLANTED-SECRET-of-the-log";

struct Store {
    dir: PathBuf,
    store: PathBuf,
    dest: PathBuf,
    identity: PathBuf,
    recipients: PathBuf,
}

impl Store {
    fn new(name: &str) -> Store {
        let dir = scratch(&format!("pstore-{name}"));
        let (identity, recipients) = keys(&dir);
        let (store, dest) = (dir.join("store"), dir.join("crash"));
        fs::create_dir(&store).unwrap();
        fs::set_permissions(&store, fs::Permissions::from_mode(0o750)).unwrap();
        Store { dir, store, dest, identity, recipients }
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.store.join(name), bytes).unwrap();
    }

    fn take(&self, options: &[&str]) -> (i32, String) {
        let mut pstore = encrypt();
        pstore.arg("pstore").arg("--store").arg(&self.store).arg("--dest").arg(&self.dest);
        let output = run(pstore.arg("--recipients-file").arg(&self.recipients).args(options));
        (output.status.code().unwrap(), text(&output.stderr))
    }

    fn dmesg(&self, file: &Path) -> String {
        let output = run(decrypt().args(["dmesg", "-i"]).arg(&self.identity).arg(file));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }
}

#[test]
fn records_are_saved_encrypted_and_leave_the_store() {
    let store = Store::new("whole");
    store.put("dmesg-ramoops-0", format!("Panic#1 Part2\n[    1.0] {SECRET}\n"));
    store.put("dmesg-ramoops-1", "Panic#1 Part1\n[    2.0] Kernel panic\n");
    store.put("console-ramoops-0", "[    0.5] hello\n");
    let (status, said) = store.take(&[]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("3 records are saved to"), "{said}");
    assert_eq!(names(&store.store), Vec::<String>::new());
    let [name] = names(&store.dest).try_into().unwrap();
    assert!(name.starts_with("pstore-") && name.ends_with(".age") && name.len() == 27, "{name}");
    let file = store.dest.join(name);
    let bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let shown = store.dmesg(&file);
    let (secret, panic) = (shown.find(SECRET).unwrap(), shown.find("Kernel panic").unwrap());
    assert!(secret < panic && shown.contains("hello"), "{shown}");
    // Nothing to do is no failure, and makes no file.
    assert_eq!(store.take(&[]).0, 0);
    assert_eq!(names(&store.dest).len(), 1);
}

/// Stock tools give the records back as they were.
#[test]
fn the_file_opens_without_us() {
    let age: PathBuf = lab("program.sh", ["age"]).unwrap().trim().into();
    let store = Store::new("stock");
    store.put("dmesg-efi_pstore-1.enc.z", b"\x00\x01packed\xff");
    assert_eq!(store.take(&[]).0, 0);
    let file = store.dest.join(&names(&store.dest)[0]);
    let out = store.dir.join("out");
    fs::create_dir(&out).unwrap();
    let pipe = r#""$1" -d -i "$2" "$3" | zstd -d | tar -C "$4" -x"#;
    let shell = Command::new("bash")
        .args(["-o", "pipefail", "-c", pipe, "bash"])
        .arg(age)
        .arg(&store.identity)
        .args([&file, &out])
        .current_dir(top())
        .status()
        .unwrap();
    assert!(shell.success());
    assert_eq!(fs::read(out.join("dmesg-efi_pstore-1.enc.z")).unwrap(), b"\x00\x01packed\xff");
}

/// What is no record stays, is named, and keeps no other from being saved.
#[test]
fn what_is_no_record_stays() {
    let store = Store::new("odd");
    store.put("dmesg-ramoops-0", "Panic#1 Part1\nx\n");
    store.put("dmesg-ramoops-1", vec![b'x'; (8 << 20) + 1]);
    symlink("/etc/passwd", store.store.join("link")).unwrap();
    fs::create_dir(store.store.join("directory")).unwrap();
    let made = Command::new("mkfifo").arg(store.store.join("fifo")).status().unwrap();
    assert!(made.success());
    let (status, said) = store.take(&[]);
    assert_eq!(status, 7, "{said}");
    assert_eq!(names(&store.store), ["directory", "dmesg-ramoops-1", "fifo", "link"]);
    assert!(
        ["directory", "dmesg-ramoops-1", "fifo", "link"].iter().all(|name| said.contains(name)),
        "{said}"
    );
    assert!(!store.dmesg(&store.dest.join(&names(&store.dest)[0])).contains("root:"));
}

/// Whatever goes wrong, the records stay, and no file is left that looks like a saved one.
#[test]
fn a_failure_removes_nothing() {
    let store = Store::new("failure");
    store.put("dmesg-ramoops-0", SECRET);
    let kept = || assert_eq!(names(&store.store), ["dmesg-ramoops-0"]);
    // A place that others can write to, and a link on the way.
    fs::create_dir(&store.dest).unwrap();
    fs::set_permissions(&store.dest, fs::Permissions::from_mode(0o777)).unwrap();
    let (status, said) = store.take(&[]);
    assert!(status == 1 && said.contains("others can write"), "{status} {said}");
    kept();
    fs::remove_dir(&store.dest).unwrap();
    symlink(&store.dir, &store.dest).unwrap();
    assert_eq!(store.take(&[]).0, 1);
    kept();
    fs::remove_file(&store.dest).unwrap();
    // No valid recipient.
    fs::write(&store.recipients, "age1nonsense\n").unwrap();
    assert_eq!(store.take(&[]).0, 1);
    kept();
    assert!(!store.dest.exists() || names(&store.dest).is_empty());
    // A store that others can write to is not the kernel's.
    fs::set_permissions(&store.store, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(store.take(&[]).0, 1);
    kept();
}

/// A run that was killed leaves an unfinished file; the next one removes it, and nothing else.
#[test]
fn an_unfinished_file_goes_at_the_next_run() {
    let store = Store::new("again");
    store.put("dmesg-ramoops-0", "Panic#1 Part1\nx\n");
    fs::create_dir(&store.dest).unwrap();
    fs::set_permissions(&store.dest, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(store.dest.join("pstore.copying-0123456789abcdef"), "half").unwrap();
    fs::write(store.dest.join("pstore-0123456789abcdef.age"), "an older one").unwrap();
    assert_eq!(store.take(&[]).0, 0);
    let left = names(&store.dest);
    assert!(left.len() == 2 && left.contains(&"pstore-0123456789abcdef.age".to_owned()), "{left:?}");
}
