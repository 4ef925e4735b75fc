//! What test programs share: the crash lab ([`guest`]), the programs that judge dumps ([`judge`]), the search for
//! leaked secrets ([`leak`]), a real terminal ([`tmux`]), vmcores that fail to be read ([`faulty`], [`served`]), the way there and back
//! ([`pages`]), plugins ([`plugin`]), what an owner hands over ([`handover`]). Here: how a script of `tests/vm` is called, and what happens when it says that something cannot be had
//! on this machine.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test program uses another part, and a broken lab stops the test"
)]

pub(crate) mod faulty;
pub(crate) mod guest;
pub(crate) mod handover;
pub(crate) mod judge;
pub(crate) mod leak;
pub(crate) mod mounted;
pub(crate) mod pages;
pub(crate) mod plugin;
pub(crate) mod served;
pub(crate) mod sshd;
pub(crate) mod tmux;

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What is missing on this machine, in words.
#[derive(Debug, Clone)]
pub(crate) struct Absent(pub String);

/// The status with which the lab's scripts say that something is absent.
const ABSENT: i32 = 77;

pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A new, empty directory below `target/tmp`.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// What was found, or nothing after saying why the test is skipped. In continuous integration nothing may be
/// absent, or the tests would pass by not running.
pub(crate) fn or_skip<T>(found: Result<T, Absent>) -> Option<T> {
    match found {
        Err(Absent(what)) if std::env::var_os("CI").is_some() => panic!("absent: {what}"),
        found => or_skip_anywhere(found),
    }
}

/// The same for what not even continuous integration can promise: toolchains of other machines.
pub(crate) fn or_skip_anywhere<T>(found: Result<T, Absent>) -> Option<T> {
    found
        .inspect_err(|Absent(what)| {
            let test = std::thread::current().name().unwrap_or("test").to_owned();
            // Not by `eprintln`, which the test harness swallows.
            let line = format!("skipped {test}: absent: {what}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        })
        .ok()
}

/// Writes a program that everybody may run.
pub(crate) fn executable(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// `$PATH` with a directory before all others.
pub(crate) fn in_path(directory: &Path) -> String {
    format!("{}:{}", directory.display(), std::env::var("PATH").unwrap())
}

/// `$PATH` with both programs in it.
pub(crate) fn programs_in_path() -> String {
    in_path(Path::new(env!("CARGO_BIN_EXE_vmcore-encrypt")).parent().unwrap())
}

/// Whether a program is where root finds programs; says what is skipped when it is not.
pub(crate) fn has(program: &str) -> bool {
    let find = "PATH=$PATH:/usr/sbin:/sbin; command -v \"$1\" >/dev/null";
    let found = Command::new("sh").args(["-c", find, "sh", program]).status().unwrap();
    or_skip(found.success().then_some(()).ok_or(Absent(program.to_owned()))).is_some()
}

/// Whether a process is there and no zombie.
pub(crate) fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// The names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until something is so, for a minute at most.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("starting {command:?}: {error}"))
}

/// Runs a command that must succeed; its standard output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a script of `tests/vm`; its standard output, without the line end.
pub(crate) fn lab<S: AsRef<OsStr>>(
    script: &str,
    args: impl IntoIterator<Item = S>,
) -> Result<String, Absent> {
    let output = run(Command::new(top().join("tests/vm").join(script)).args(args));
    let stderr = text(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(text(&output.stdout).trim_end().to_owned()),
        Some(ABSENT) => Err(Absent(stderr.lines().last().unwrap_or(script).replace("lab: absent: ", ""))),
        _ => panic!("{script}: {}\n{stderr}", output.status),
    }
}

/// A plain vmcore of a crashed guest, captured once and kept; see `tests/vm/capture.sh` for names.
pub(crate) fn vmcore(name: &str) -> Result<PathBuf, Absent> {
    lab("capture.sh", [name]).map(PathBuf::from)
}

/// Every kernel that the archive has now, one of each series, as suites of `tests/vm/kernel.sh`, the oldest first.
pub(crate) fn kernels() -> Result<Vec<String>, Absent> {
    lab("kernel.sh", ["--list"]).map(|list| list.lines().map(str::to_owned).collect())
}

/// A kernel's `vmlinux` with debug information.
pub(crate) fn vmlinux(suite: &str) -> Result<PathBuf, Absent> {
    lab("kernel.sh", ["--debug", suite]).map(PathBuf::from)
}

/// The collector as it goes into an initramfs: one static file, built once per test program.
pub(crate) fn collector() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let made = succeed(Command::new("make").args(["-s", "-C"]).arg(top()).arg("collector"));
        PathBuf::from(made.lines().last().unwrap())
    })
}

/// The collector of another machine, as `cross.sh` names targets. Optimizing the whole program takes most of a build
/// and changes nothing of what is tested.
pub(crate) fn foreign_collector(target: &str) -> Result<PathBuf, Absent> {
    lab("cross.sh", [target])?;
    let mut make = Command::new("make");
    make.args(["-s", "-C"]).arg(top()).arg("collector").arg(format!("COLLECTOR_TARGET={target}"));
    make.envs([("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")]);
    Ok(PathBuf::from(succeed(&mut make).lines().last().unwrap()))
}

pub(crate) fn encrypt() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vmcore-encrypt"))
}

pub(crate) fn decrypt() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vmcore-decrypt"))
}

/// A new key pair in `dir`: the identity file and the recipients file.
pub(crate) fn keys(dir: &Path) -> (PathBuf, PathBuf) {
    let identity = dir.join("identity");
    let recipients = dir.join("recipients");
    let secret = age::x25519::Identity::generate();
    let shown = age::secrecy::ExposeSecret::expose_secret(&secret.to_string()).to_owned();
    std::fs::write(&identity, shown + "\n").unwrap();
    std::fs::write(&recipients, format!("{}\n", secret.to_public())).unwrap();
    (identity, recipients)
}
