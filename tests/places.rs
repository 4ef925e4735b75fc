//! Outputs on file systems that lack what those of Linux have: permissions, files without a name, links, exclusive renaming.
//! FAT by the kernel where it has it, FAT and ext4 by programs (FUSE), a directory seen through FUSE. Each command writes there
//! what it writes elsewhere; an error, a signal or a kill leaves nothing plain that others can read. And what stays of a dump that
//! an error or a signal ends, whichever it is.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod synth;

use common::{
    Absent, decrypt, encrypt, keys, names, or_skip, or_skip_anywhere, run, succeed, text, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use synth::{Content, Page, Synth, arch, kernel};
use tempfile::TempDir;

/// Bytes of the file systems; the dump takes some hundred KiB.
const SIZE: u64 = 16 << 20;
/// A file system, and the line for sh that mounts it: `$1` is an empty image, `$2` where it is seen, `$3` a directory.
const KINDS: [(&str, &str); 4] = [
    ("vfat", "mkfs.vfat \"$1\" && mount -t vfat -o loop \"$1\" \"$2\""),
    ("fusefat", "mkfs.vfat \"$1\" && fusefat -o rw+ \"$1\" \"$2\""),
    ("fuse2fs", "mkfs.ext4 -q \"$1\" && fuse2fs -o fakeroot \"$1\" \"$2\""),
    ("bindfs", "bindfs \"$3\" \"$2\""),
];

/// Nothing is mounted.
const PLAIN: &str = "true";

/// A dump, its keys, and a file system for outputs, mounted until this is dropped.
struct Given {
    home: TempDir,
    identity: PathBuf,
    recipients: PathBuf,
    out: PathBuf,
}

impl Given {
    fn new(kind: &str, mount: &str) -> Result<Given, Absent> {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let (identity, recipients) = keys(home.path());
        let machine = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).ram(0x10_0000..0x80_0000);
        let core = machine.pages(0x400, 64, &Page::kernel().with(Content::Noise)).build();
        fs::write(path("vmcore"), core.to_bytes()).unwrap();
        fs::File::create(path("image")).unwrap().set_len(SIZE).unwrap();
        let out = path("out");
        fs::create_dir(&out).unwrap();
        fs::create_dir(path("below")).unwrap();
        let before = fs::metadata(&out).unwrap().dev();
        let mut sh = Command::new("sh");
        sh.args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {mount}"), "sh"]);
        sh.args(["image", "out", "below"].map(path));
        // What a file system says when it is mounted is of no use, and its process holds the streams.
        let mounted = sh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        let is_mounted = fs::metadata(&out).unwrap().dev() != before || mount == PLAIN;
        if !mounted.success() || !is_mounted {
            return Err(Absent(format!("{kind}: not in this kernel, not installed, or not allowed")));
        }
        let given = Given { home, identity, recipients, out };
        succeed(&mut given.collect(&given.path("dump"), &[]));
        succeed(&mut given.restore("dump", &given.path("restored")));
        Ok(given)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn collect(&self, to: &Path, options: &[&str]) -> Command {
        let mut collect = encrypt();
        collect.args(["-d", "0", "--message-level", "0"]).args(options).arg("-R").arg(&self.recipients);
        collect.arg(self.path("vmcore")).arg(to);
        collect
    }

    fn restore(&self, dump: &str, to: &Path) -> Command {
        let mut restore = decrypt();
        let dump = if dump == "-" { PathBuf::from(dump) } else { self.path(dump) };
        restore.arg("-i").arg(&self.identity).arg(dump).arg(to);
        restore
    }

    fn rewrap(&self, dump: &Path) -> Command {
        let mut rewrap = decrypt();
        rewrap.args(["rewrap", "-i"]).arg(&self.identity).arg("-R").arg(&self.recipients).arg(dump);
        rewrap
    }

    /// Restores to a place, and again in its place only when that is asked for.
    fn assert_restores(&self, to: &Path) {
        let is_same = || fs::read(to).unwrap() == fs::read(self.path("restored")).unwrap();
        succeed(&mut self.restore("dump", to));
        assert!(is_same());
        let again = run(&mut self.restore("dump", to));
        assert!(text(&again.stderr).contains("File exists"), "{again:?}");
        succeed(self.restore("dump", to).arg("-f"));
        assert!(is_same());
    }

    fn assert_whole(&self, dump: &Path) {
        succeed(decrypt().args(["verify", "-i"]).args([&self.identity, dump]));
    }

    /// Restoring from a stream that stalls half-way.
    fn stalled(&self, to: &Path) -> Child {
        let dump = fs::read(self.path("dump")).unwrap();
        let mut restore = self.restore("-", to);
        // With no variable that the program would leave out it does not start itself again.
        restore.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        let mut child = restore.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(&dump[..dump.len() / 2]).unwrap();
        child
    }

    /// Nothing of it is anybody else's to read. Where files have no permissions that is for the mount options to say.
    fn assert_private(&self, name: &str) {
        let found = fs::metadata(self.out.join(name)).unwrap();
        let mode = found.permissions().mode();
        assert!(mode & 0o077 == 0 || self.has_no_modes(), "{name} has mode {mode:o}");
    }

    fn has_no_modes(&self) -> bool {
        let probe = self.out.join("probe");
        fs::write(&probe, "").unwrap();
        let _ = fs::set_permissions(&probe, fs::Permissions::from_mode(0o600));
        let mode = fs::metadata(&probe).unwrap().permissions().mode();
        fs::remove_file(probe).unwrap();
        mode & 0o777 != 0o600
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let unmount =
            "mountpoint -q \"$1\" || exit 0; umount \"$1\" || fusermount3 -u \"$1\" || fusermount -u \"$1\"";
        let _ = Command::new("sh").args(["-c", unmount, "sh"]).arg(&self.out).stderr(Stdio::null()).status();
    }
}

fn on_each(test: impl Fn(&str, &Given)) {
    for (kind, mount) in KINDS {
        if let Some(given) = or_skip_anywhere(Given::new(kind, mount)) {
            test(kind, &given);
        }
    }
}

#[test]
fn every_command_writes_there_what_it_writes_elsewhere() {
    on_each(|kind, given| {
        let at = |name: &str| given.out.join(name);
        // This one cannot give a file a length, and a restored dump has holes.
        if kind == "fusefat" {
            let restored = run(&mut given.restore("dump", &at("restored")));
            assert!(!restored.status.success() && !at("restored").exists(), "{restored:?}");
        } else {
            given.assert_restores(&at("restored"));
        }

        let mut keygen = decrypt();
        keygen.arg("keygen").arg("-o").arg(at("key"));
        succeed(&mut keygen);
        assert!(!run(&mut keygen).status.success(), "{kind}");
        assert!(fs::read_to_string(at("key")).unwrap().contains("AGE-SECRET-KEY-1"));

        succeed(&mut given.collect(&at("dump"), &[]));
        assert!(!run(&mut given.collect(&at("dump"), &[])).status.success(), "{kind}");
        succeed(&mut given.collect(&at("dump"), &["-f", "--keep-incomplete"]));
        given.assert_whole(&at("dump"));
        succeed(given.rewrap(&at("dump")).arg(at("rewrapped")));
        succeed(given.rewrap(&at("dump")).arg("--in-place"));
        given.assert_whole(&at("dump"));
        given.assert_whole(&at("rewrapped"));

        let left = names(&given.out).into_iter().filter(|name| name != "lost+found").collect::<Vec<_>>();
        let restored = (kind != "fusefat").then_some("restored");
        let expected: Vec<_> = ["dump", "key"].into_iter().chain(restored).chain(["rewrapped"]).collect();
        assert_eq!(left, expected, "{kind}");
        left.iter().for_each(|name| given.assert_private(name));
    });
}

#[test]
fn a_full_one_keeps_what_is_authentic_and_nothing_plain() {
    on_each(|kind, given| {
        if kind == "bindfs" {
            return;
        }
        let at = |name: &str| given.out.join(name);
        let mut filler = fs::File::create(at("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        drop(filler);
        let room = fs::metadata(given.path("dump")).unwrap().len() / 2;
        let filler = fs::File::options().write(true).open(at("filler")).unwrap();
        filler.set_len(filler.metadata().unwrap().len() - room).unwrap();
        let others = names(&given.out);

        for command in [&mut given.restore("dump", &at("restored")), &mut given.collect(&at("dump"), &[])] {
            assert!(!run(command).status.success(), "{kind}");
            assert_eq!(names(&given.out), others, "{kind}");
        }
        for (name, options) in [("vmcore-incomplete", &[][..]), ("kept", &["--keep-incomplete"])] {
            assert!(!run(&mut given.collect(&at(name), options)).status.success(), "{kind}");
            given.assert_private(name);
            let mut salvage = decrypt();
            salvage.args(["--salvage", "-i"]).arg(&given.identity).arg(at(name)).arg(given.path(name));
            let salvaged = run(&mut salvage);
            assert!(given.path(name).exists(), "{kind}: {salvaged:?}");
            // It may have no room to remove a name.
            fs::write(at(name), "").unwrap();
            fs::remove_file(at(name)).unwrap();
        }
    });
}

/// A kill is as a power cut to the program. What it leaves has an unpredictable name, where it has one.
#[test]
fn signals_leave_nothing_and_a_kill_nothing_that_others_read() {
    on_each(|kind, given| {
        let others = names(&given.out);
        for signal in [Signal::TERM, Signal::HUP, Signal::KILL] {
            let mut child = given.stalled(&given.out.join("restored"));
            wait_a_little(|| names(&given.out) != others);
            let stream = child.stdin.take();
            kill_process(Pid::from_child(&child), signal).unwrap();
            child.wait().unwrap();
            drop(stream);
            let left: Vec<String> =
                names(&given.out).into_iter().filter(|name| !others.contains(name)).collect();
            if signal == Signal::KILL {
                for name in left {
                    assert!(name.starts_with("restored.incomplete-"), "{kind}: {name}");
                    given.assert_private(&name);
                }
            } else {
                assert!(left.is_empty(), "{kind}: {signal:?}: {left:?}");
            }
        }
        let dump = given.out.join("cut");
        let mut collect = given.collect(&dump, &[]).spawn().unwrap();
        wait_for("the dump", || dump.exists() || collect.try_wait().unwrap().is_some());
        collect.kill().unwrap();
        collect.wait().unwrap();
        given.assert_private("cut");
        let start = fs::read(&dump).unwrap();
        assert!(start.is_empty() || start.starts_with(b"age-encryption.org/v1\n"), "{kind}");
    });
}

/// Where the name owns to it, what is authentic stays whatever ended the dump; elsewhere nothing does.
#[test]
fn whatever_ends_a_dump_leaves_what_an_incomplete_name_promises() {
    let strace = run(Command::new("sh").args(["-c", "strace -o /dev/null true"])).status.success();
    let Some(()) = or_skip(strace.then_some(()).ok_or(Absent("strace".to_owned()))) else { return };
    let given = Given::new("a directory", PLAIN).unwrap();
    let machine = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).ram(0x10_0000..0x100_0000);
    let core = machine.pages(0x400, 1100, &Page::kernel().with(Content::Noise)).build();
    fs::write(given.path("vmcore"), core.to_bytes()).unwrap();
    let end_by = |what: &str, name: &str| {
        let mut strace = Command::new("strace");
        let collect = given.collect(&given.out.join(name), &[]);
        strace.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(given.out.join(name));
        strace.args(["-e", "trace=write,fsync", "-e", &format!("inject={what}")]);
        run(strace.arg(collect.get_program()).args(collect.get_args()))
    };
    for what in [
        "write:error=EIO:when=3+",
        "write:error=ENOSPC:when=3+",
        "write:error=EDQUOT:when=3+",
        "write:error=EROFS:when=3+",
        "write:error=EPIPE:when=3+",
        "fsync:error=EIO",
        "write:signal=SIGTERM:when=3",
        "write:signal=SIGINT:when=3",
        "write:signal=SIGPIPE:when=3",
        "write:signal=SIGHUP:when=3",
    ] {
        for (name, stays) in [("vmcore-incomplete", true), ("vmcore", false)] {
            let ended = end_by(what, name);
            let goes_on = what.contains("SIGHUP") || what.contains("SIGPIPE");
            assert_eq!(ended.status.success(), goes_on, "{what}: {ended:?}");
            assert_eq!(given.out.join(name).exists(), stays || goes_on, "{what}: {ended:?}");
            if stays {
                let mut salvage = decrypt();
                salvage.args(["-f", "--salvage", "-i"]).arg(&given.identity).arg(given.out.join(name));
                let status = run(salvage.arg(given.path("salvaged"))).status.code();
                assert!(matches!(status, Some(0 | 5)), "{what}: {status:?}");
                assert!(fs::metadata(given.path("salvaged")).unwrap().len() > 1 << 20, "{what}");
            }
            let _ = fs::remove_file(given.out.join(name));
        }
    }
}

/// Half of the stream was taken: the file is there, or it has no name.
fn wait_a_little(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() && start.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(20));
    }
}
