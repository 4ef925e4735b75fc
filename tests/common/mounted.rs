//! A dump mounted by `vmcore-decrypt mount` in a process of its own.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// The mount; it ends when this is dropped.
pub(crate) struct Mounted {
    process: Child,
    directory: PathBuf,
}

impl Mounted {
    /// Mounts and waits until it is there.
    pub(crate) fn new(identity: &Path, dump: impl AsRef<OsStr>, directory: &Path) -> Mounted {
        Mounted::by(super::decrypt(), identity, dump, directory)
    }

    /// The same by a command that is prepared.
    pub(crate) fn by(
        mut command: Command,
        identity: &Path,
        dump: impl AsRef<OsStr>,
        directory: &Path,
    ) -> Mounted {
        // The prepared words may have the sub-command already.
        if command.get_args().next().is_none() {
            command.arg("mount");
        }
        let process = command.arg("-i").arg(identity).arg(dump).arg(directory).spawn().unwrap();
        let mut mounted = Mounted { process, directory: directory.to_owned() };
        let started = Instant::now();
        while !is_mounted(directory) {
            assert!(mounted.process.try_wait().unwrap().is_none(), "the mount has ended");
            assert!(started.elapsed() < Duration::from_secs(60), "not mounted");
            std::thread::sleep(Duration::from_millis(20));
        }
        mounted
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Ends it by a signal.
    pub(crate) fn end(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal)
    }

    fn signal(&mut self, signal: Signal) -> ExitStatus {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.process), signal);
        self.process.wait().unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            self.signal(Signal::TERM);
        }
    }
}

/// Whether something is mounted on a directory.
pub(crate) fn is_mounted(directory: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == directory.to_str())
}

/// Whether this machine lets us mount; says so where not.
pub(crate) fn can_mount() -> bool {
    let fuse = std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok();
    let helper = || Command::new("fusermount3").arg("-V").output().is_ok();
    let able = fuse && (rustix::process::geteuid().is_root() || helper());
    let absent = super::Absent("/dev/fuse, and root or fusermount3".to_owned());
    super::or_skip(able.then_some(()).ok_or(absent)).is_some()
}
