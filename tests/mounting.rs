//! A mount as its user meets it: what the command that it serves can be sent, how the mount ends, in front and in the
//! background, and on which directories it mounts.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;

use common::mounted::{self, Mounted, is_mounted};
use common::tmux::Tmux;
use common::{decrypt, programs_in_path, run, text, top, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A dump, its key and an empty directory.
struct Given {
    home: tempfile::TempDir,
}

impl Given {
    fn new() -> Option<Given> {
        if !mounted::can_mount() {
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let vectors = top().join("tests/vectors");
        fs::copy(vectors.join("released/dump.age"), home.path().join("dump")).unwrap();
        fs::copy(vectors.join("identity.txt"), home.path().join("key")).unwrap();
        fs::create_dir(home.path().join("mnt")).unwrap();
        Some(Given { home })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn mount(&self) -> Command {
        let mut mount = decrypt();
        mount.current_dir(&self.home).args(["mount", "-i", "key", "dump", "mnt"]);
        mount
    }

    fn serving(&self, script: &str) -> Output {
        run(self.mount().args(["--", "bash", "-c", script]))
    }

    fn unmount(&self) -> Output {
        run(decrypt().current_dir(&self.home).args(["mount", "--unmount", "mnt"]))
    }

    fn is_mounted(&self) -> bool {
        is_mounted(&self.path("mnt"))
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        // A test that has failed leaves none.
        let _ = Command::new("umount").args(["-q", "-l"]).arg(self.path("mnt")).output();
    }
}

/// Processes whose working directory is `home`.
fn processes(home: &Path) -> Vec<Pid> {
    let entries =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let ours = |id: &i32| fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd == home);
    entries.filter_map(|name| name.parse().ok()).filter(ours).filter_map(Pid::from_raw).collect()
}

/// What the command is given is what the shell gave the mount: nothing blocked, nothing ignored that was not.
#[test]
fn a_command_starts_with_the_signals_of_the_user() {
    let Some(given) = Given::new() else { return };
    let script = "grep -E 'Sig(Blk|Ign):' /proc/self/status";
    let expected = text(&run(Command::new("bash").args(["-c", script])).stdout);
    assert_eq!(text(&given.serving(script).stdout), expected);
    let ignoring = format!("trap '' HUP INT; exec \"$@\" -- {script}");
    let mut outer = Command::new("bash");
    outer.current_dir(&given.home).args(["-c", &ignoring, "bash", env!("CARGO_BIN_EXE_vmcore-decrypt")]);
    let output = run(outer.args(["mount", "-i", "key", "dump", "mnt"]));
    let shown = text(&output.stdout);
    let ignored = shown.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & 3, 3, "{output:?}");
}

#[test]
fn signals_to_the_mount_reach_its_command_and_end_it() {
    let Some(given) = Given::new() else { return };
    for (signal, name) in [
        (Signal::INT, "INT"),
        (Signal::TERM, "TERM"),
        (Signal::HUP, "HUP"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
    ] {
        let output = given.serving(&format!("(sleep 0.3; kill -{name} $PPID) & exec sleep 60"));
        let status = 128 + signal.as_raw();
        assert_eq!(output.status.code(), Some(status), "{name}: {output:?}");
        let handled =
            given.serving(&format!("trap 'exit 9' {name}; kill -{name} $PPID; while :; do sleep 0.1; done"));
        assert_eq!(handled.status.code(), Some(9), "{name}: {handled:?}");
        assert!(!given.is_mounted(), "{name}");
    }
}

#[test]
fn a_command_s_status_is_the_mount_s() {
    let Some(given) = Given::new() else { return };
    assert_eq!(given.serving("exit 0").status.code(), Some(0));
    let seven = given.serving("exit 7");
    assert_eq!((seven.status.code(), text(&seven.stderr).contains("error")), (Some(7), false));
    for (program, status) in [("no-such-program", 127), ("/etc/passwd", 126), ("/", 126)] {
        let output = run(given.mount().args(["--", program]));
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert!(text(&output.stderr).contains(&format!("error: running \"{program}\": ")), "{output:?}");
    }
}

/// Ctrl-C is the command's, which gets it once; the mount goes on and ends with it.
#[test]
fn control_c_at_a_terminal_is_the_command_s() {
    let Some(given) = Given::new() else { return };
    let script = "trap 'echo interrupted' INT; echo started; for i in 1 2 3 4 5 6; do sleep 0.5; done; ls mnt | grep -cx vmcore; exit 5";
    fs::write(given.path("script"), script).unwrap();
    let Some(terminal) = Tmux::new(given.home.path(), 80, "exec bash --norc -i") else { return };
    terminal.enter("vmcore-decrypt mount -i key dump mnt -- bash script; echo status $?");
    terminal.wait("the command", |screen| screen.contains("\nstarted"));
    terminal.press(&["C-c"]);
    let screen = terminal.wait("the end", |screen| screen.contains("\nstatus "));
    assert!(screen.contains("\n1\nstatus 5"), "{screen}");
    assert_eq!(
        screen.matches("\n^Cinterrupted").count() + screen.matches("\ninterrupted").count(),
        1,
        "{screen}"
    );
    terminal.enter("vmcore-decrypt mount -i key dump mnt -- sleep 60; echo status $?");
    wait_for("the mount", || given.is_mounted());
    terminal.press(&["C-c"]);
    terminal.wait("the end", |screen| screen.contains("\nstatus 130") || screen.contains("^C"));
    wait_for("the unmount", || !given.is_mounted());
}

#[test]
fn an_unmount_from_outside_ends_it_well() {
    let Some(given) = Given::new() else { return };
    for by in ["umount mnt || fusermount3 -u mnt", "vmcore-decrypt mount --unmount mnt"] {
        let mut mount = given.mount();
        let mut process = mount.stderr(std::process::Stdio::piped()).spawn().unwrap();
        wait_for("the mount", || given.is_mounted());
        let mut shell = Command::new("sh");
        let output = run(shell.args(["-c", by]).env("PATH", programs_in_path()).current_dir(&given.home));
        assert!(output.status.success(), "{by}: {output:?}");
        assert!(process.wait().unwrap().success(), "{by}");
        let output = process.wait_with_output().unwrap();
        assert!(!text(&output.stderr).contains("error"), "{by}: {output:?}");
    }
}

/// The directory may be somebody else's by the time the mount ends; that is left alone.
#[test]
fn what_is_mounted_there_afterwards_stays() {
    let Some(given) = Given::new() else { return };
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let script = "umount mnt && mount -t tmpfs none mnt && touch mnt/theirs; sleep 1";
    assert!(given.serving(script).status.success());
    assert!(given.path("mnt/theirs").exists());
    assert!(run(Command::new("umount").arg(given.path("mnt"))).status.success());
}

#[test]
fn a_mount_in_the_background_is_there_and_ends_by_name() {
    let Some(given) = Given::new() else { return };
    for flag in ["--background", "-d"] {
        // Both streams are pipes, which end with the process in front.
        let output = run(given.mount().arg(flag));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            text(&output.stderr).lines().last(),
            Some("vmcore-decrypt: note: mounted on \"mnt\"; vmcore-decrypt mount --unmount \"mnt\" ends it")
        );
        assert!(given.path("mnt/vmcore").exists());
        let again = run(given.mount().arg(flag));
        assert_eq!(again.status.code(), Some(1));
        assert!(text(&again.stderr).contains("a dump is mounted on it"), "{again:?}");
        let open = fs::File::open(given.path("mnt/vmcore")).unwrap();
        let busy = given.unmount();
        assert!(
            !busy.status.success() && text(&busy.stderr).contains("hint: a program has a file"),
            "{busy:?}"
        );
        drop(open);
        assert!(given.unmount().status.success() && !given.is_mounted());
        wait_for("the end of the process", || processes(given.home.path()).is_empty());
        assert!(
            text(&given.unmount().stderr).contains("error: unmounting \"mnt\": no dump is mounted on it")
        );
    }
}

/// What fails before there is a mount is reported in front, with its status.
#[test]
fn a_mount_in_the_background_that_fails_does_so_in_front() {
    let Some(given) = Given::new() else { return };
    fs::write(
        given.path("other"),
        "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX",
    )
    .unwrap();
    for (words, status) in [
        (["-i", "other", "dump", "mnt"], 3),
        (["-i", "key", "absent", "mnt"], 1),
        (["-i", "key", "dump", "absent"], 1),
    ] {
        let output = run(decrypt().current_dir(&given.home).args(["mount", "-d"]).args(words));
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert!(text(&output.stderr).contains("vmcore-decrypt: error: "), "{output:?}");
        assert!(processes(given.home.path()).is_empty());
    }
    let command = run(given.mount().args(["-d", "--", "true"]));
    assert_eq!(command.status.code(), Some(2));
}

#[test]
fn a_stale_mount_is_cleared() {
    let Some(given) = Given::new() else { return };
    for unmount in [false, true] {
        assert!(run(given.mount().arg("-d")).status.success());
        for process in processes(given.home.path()) {
            kill_process(process, Signal::KILL).unwrap();
        }
        wait_for("a stale mount", || fs::metadata(given.path("mnt")).is_err());
        if unmount {
            assert!(given.unmount().status.success() && !given.is_mounted());
        } else {
            let output = given.serving("ls mnt");
            assert!(output.status.success() && text(&output.stdout).contains("vmcore.elf"), "{output:?}");
            assert!(text(&output.stderr).contains("note: a stale mount of a dump on \"mnt\" is cleared"));
        }
    }
}

#[test]
fn a_directory_with_something_in_it_is_refused_unless_asked_for() {
    let Some(given) = Given::new() else { return };
    fs::write(given.path("mnt/.hidden"), "").unwrap();
    let output = given.serving("true");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("on \"mnt\": it is not empty"), "{output:?}");
    let output = run(given.mount().args(["--nonempty", "--", "ls", "-A", "mnt"]));
    assert!(output.status.success() && !text(&output.stdout).contains(".hidden"), "{output:?}");
    let proc = run(decrypt().args(["mount", "--unmount", "/proc"]));
    assert!(text(&proc.stderr).contains("what is mounted on it is not a dump"), "{proc:?}");
}

#[test]
fn every_signal_that_would_end_it_unmounts() {
    let Some(given) = Given::new() else { return };
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2] {
        let mount = Mounted::new(&given.path("key"), given.path("dump"), &given.path("mnt"));
        assert!(mount.end(signal).success() && !given.is_mounted(), "{signal:?}");
    }
}
