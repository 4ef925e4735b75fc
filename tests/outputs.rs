//! Output files where others can write, where a signal or a kill ends the program, and where two programs meet.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod synth;

use common::{
    Absent, decrypt, encrypt, in_path, keys, or_skip, or_skip_anywhere, plugin, run, runs, succeed, text,
    wait_for,
};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use synth::{Content, Page, Synth, arch, kernel};
use tempfile::TempDir;

/// Another user.
const OTHER: u32 = 65534;

/// A dump, its key and its recipients, and a directory for outputs.
struct Given {
    home: TempDir,
    identity: PathBuf,
    recipients: PathBuf,
}

impl Given {
    fn new() -> Given {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        let (identity, recipients) = keys(home.path());
        let machine = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).ram(0x10_0000..0x80_0000);
        let core = machine.pages(0x400, 64, &Page::kernel().with(Content::Noise)).build();
        fs::write(home.path().join("vmcore"), core.to_bytes()).unwrap();
        fs::create_dir(home.path().join("out")).unwrap();
        let given = Given { home, identity, recipients };
        succeed(&mut given.collect(&given.path("dump")));
        given
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn collect(&self, to: &Path) -> Command {
        let mut collect = encrypt();
        collect.args(["-d", "0", "--message-level", "0", "-R"]).arg(&self.recipients);
        collect.arg(self.path("vmcore")).arg(to);
        collect
    }

    fn restore(&self, dump: &str, to: &Path) -> Command {
        let dump = if dump == "-" { PathBuf::from("-") } else { self.path(dump) };
        let mut restore = decrypt();
        restore.arg("-i").arg(&self.identity).arg(dump).arg(to);
        restore
    }

    fn rewrap(&self, dump: &Path) -> Command {
        let mut rewrap = decrypt();
        rewrap
            .args(["rewrap", "--in-place", "-i"])
            .arg(&self.identity)
            .arg("-R")
            .arg(&self.recipients)
            .arg(dump);
        rewrap
    }

    fn outputs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("out")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn assert_whole(&self, dump: &Path) {
        succeed(decrypt().args(["verify", "-i"]).args([&self.identity, dump]));
    }
}

/// The same command where a file without a name could get none: as on a file system without such files it has a name
/// from the first byte. The mount is the command's own.
fn with_named_files(command: &Command) -> Command {
    let mut sh = Command::new("unshare");
    sh.args([
        "--mount",
        "sh",
        "-c",
        "mount -t tmpfs none /proc/$$/fd && exec env -i PATH=\"$PATH\" \"$@\"",
        "sh",
    ]);
    sh.arg(command.get_program()).args(command.get_args());
    sh
}

fn root() -> Result<(), Absent> {
    geteuid().is_root().then_some(()).ok_or(Absent("root".to_owned()))
}

/// Restoring from a stream that stalls half-way.
fn stalled(given: &Given, mut restore: Command) -> Child {
    let dump = fs::read(given.path("dump")).unwrap();
    // With no variable that the program would leave out it does not start itself again.
    restore.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    let mut child = restore.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&dump[..dump.len() / 2]).unwrap();
    child
}

#[test]
fn a_signal_leaves_nothing_of_a_restore() {
    let given = Given::new();
    let out = given.path("out/restored");
    let may_mount = or_skip_anywhere(root()).is_some();
    for named in [false, true].into_iter().filter(|&named| may_mount || !named) {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let restore = given.restore("-", &out);
            let restore = if named { with_named_files(&restore) } else { restore };
            let mut child = stalled(&given, restore);
            let pid = Pid::from_child(&child);
            let caught = || {
                let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
                let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
                u64::from_str_radix(mask, 16).unwrap() >> (signal.as_raw() - 1) & 1 == 1
            };
            wait_for("the handler", caught);
            if named {
                wait_for("the file", || given.outputs().len() == 1);
                let name = &given.outputs()[0];
                assert!(name.starts_with("restored.incomplete-") && !name.contains(&child.id().to_string()));
            }
            // Waiting would close it, and the end of the stream ends the program too.
            let stream = child.stdin.take();
            kill_process(pid, signal).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(signal.as_raw()), "{signal:?}");
            drop(stream);
            assert!(given.outputs().is_empty(), "{signal:?}: {:?}", given.outputs());
        }
    }
    // Not even this, where files need no name.
    let mut child = stalled(&given, given.restore("-", &out));
    std::thread::sleep(Duration::from_millis(300));
    assert!(given.outputs().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(given.outputs().is_empty());
}

/// Whoever gets the status of a signal still has the old file; where the new one is there the work was done.
#[test]
fn a_signal_ends_a_restore_before_the_file_is_replaced_or_not_at_all() {
    let given = Given::new();
    let (out, mut seen) = (given.path("out/restored"), [0, 0]);
    for turn in 0..60 {
        fs::write(&out, "old").unwrap();
        let mut restore = given.restore("dump", &out);
        let mut child = restore.arg("-f").stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(turn * 3));
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        let end = child.wait().unwrap();
        let is_old = fs::read(&out).unwrap() == b"old";
        assert_eq!(given.outputs(), ["restored"], "{turn}");
        assert!(end.success() != is_old, "{turn}: {end}, old: {is_old}");
        seen[usize::from(is_old)] += 1;
    }
    assert!(seen[1] > 0, "{seen:?}");
}

/// A limit on the size of files is an error with a name, not a signal, and nothing stays.
#[test]
fn a_limit_on_the_size_of_files_is_reported_and_leaves_nothing() {
    let given = Given::new();
    let [identity, recipients, home] =
        [&given.identity, &given.recipients, &given.path("")].map(|path| path.display().to_string());
    let key = format!("-i {identity} {home}/dump");
    for words in [
        format!("vmcore-decrypt restore {key} restored"),
        format!("vmcore-decrypt restore --format elf {key} restored"),
        format!("vmcore-decrypt restore --format flattened {key} restored"),
        format!("vmcore-decrypt restore --format flattened {key} - > stream"),
        format!("vmcore-decrypt restore --salvage {key} restored"),
        format!("vmcore-decrypt rewrap -R {recipients} {key} rewrapped"),
        format!("vmcore-decrypt refilter -q -R {recipients} {key} filtered"),
        format!("vmcore-encrypt -d 0 -R {recipients} {home}/vmcore > stream"),
        // What is left out of the environment is kept in a file in memory, which is bounded, too.
        "ulimit -f 0; vmcore-decrypt keygen -o key".to_owned(),
        "ulimit -f 0; env -i \"$(command -v vmcore-decrypt)\" keygen -o key".to_owned(),
        format!("ulimit -f 0; env -i \"$(command -v vmcore-decrypt)\" info {key} > stream"),
    ] {
        let script = format!("ulimit -f 100; {words}");
        let mut sh = Command::new("bash");
        let end = run(sh
            .args(["-c", &script])
            .env("PATH", common::programs_in_path())
            .current_dir(given.path("out")));
        let said = text(&end.stderr);
        assert_eq!(end.status.code(), Some(1), "{words}: {said}");
        assert!(said.contains("File too large"), "{words}: {said}");
        let _ = fs::remove_file(given.path("out/stream"));
        assert!(given.outputs().is_empty(), "{words}: {:?}", given.outputs());
    }
}

/// What nohup and a shell's background jobs ignore stays ignored.
#[test]
fn an_ignored_signal_stays_so() {
    let given = Given::new();
    let dump = given.path("dump");
    let line = format!("trap '' HUP; exec \"$@\" < {}", dump.display());
    let mut sh = Command::new("sh");
    let restore = given.restore("-", &given.path("out/restored"));
    sh.args(["-c", &line, "sh"]).arg(restore.get_program()).args(restore.get_args());
    let mut child = sh.spawn().unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    assert!(status.contains("SigIgn:"));
    let _ = kill_process(Pid::from_child(&child), Signal::HUP);
    // It came before the trap, or was ignored.
    let end = child.wait().unwrap();
    assert!(end.success() || end.signal() == Some(1));
}

/// In a directory of another user's, who renames, links and reads what they can while root writes there.
#[test]
fn another_user_gets_no_plaintext_and_no_other_file_is_touched() {
    let Some(()) = or_skip_anywhere(root()) else { return };
    let given = Given::new();
    let (out, precious) = (given.path("out"), given.path("precious"));
    chown(&out, Some(OTHER), Some(OTHER)).unwrap();
    fs::set_permissions(&out, Permissions::from_mode(0o777)).unwrap();
    fs::write(&precious, "precious").unwrap();
    // Else the attacker's own links to it would look like a leak.
    fs::set_permissions(&precious, Permissions::from_mode(0o600)).unwrap();
    let attack = r#"cd "$1"; while :; do for f in *; do [ -e "$f" ] || continue
        [ -O "$f" ] || { cat "$f" >> /dev/null 2>&1 && echo read > leaked; ln "$f" taken 2> /dev/null; mv -f "$f" moved; ln -s "$2" "$f"; } 2> /dev/null
    done; done"#;
    let mut attacker = Command::new("setpriv");
    attacker.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", attack, "sh"]);
    let mut attacker =
        attacker.arg(&out).arg(&precious).stderr(Stdio::null()).process_group(0).spawn().unwrap();
    for turn in 0..20 {
        let to = out.join(format!("restored{turn}"));
        let restore = given.restore("dump", &to);
        let restores = [with_named_files(&restore), restore];
        for mut command in restores.into_iter().chain([given.collect(&out.join(format!("dump{turn}")))]) {
            // It may fail; it may not do harm.
            let _ = run(&mut command);
        }
    }
    rustix::process::kill_process_group(Pid::from_child(&attacker), Signal::KILL).unwrap();
    attacker.wait().unwrap();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(!out.join("leaked").exists(), "the other user read a file of root's");
    for entry in fs::read_dir(&out).unwrap() {
        let found = entry.unwrap().path().symlink_metadata().unwrap();
        let ours = found.is_file() && found.uid() == 0;
        assert!(!ours || found.mode() & 0o077 == 0);
    }
}

/// A name that this process would have had in the released version, prepared by somebody else.
#[test]
fn prepared_links_are_not_followed() {
    let given = Given::new();
    let precious = given.path("precious");
    fs::write(&precious, "precious").unwrap();
    let line = r#"ln -s ../precious "$1.incomplete-$$"; target=$1; shift; exec "$@""#;
    let out = given.path("out/restored");
    let mut sh = Command::new("sh");
    let restore = given.restore("dump", &out);
    sh.args(["-c", line, "sh"]).arg(&out).arg(restore.get_program()).args(restore.get_args());
    succeed(&mut sh);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(!out.is_symlink());

    // Nor a continuation's, nor one at the name itself.
    symlink("../precious", given.path("out/dump")).unwrap();
    for force in [&[][..], &["-f"]] {
        let refused = run(given.collect(&given.path("out/dump")).args(force));
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
}

/// Whatever its name: the same path, another one, a hard link, a link, standard output.
#[test]
fn no_output_is_an_input() {
    let given = Given::new();
    let dump = given.path("dump");
    fs::hard_link(&dump, given.path("out/hard")).unwrap();
    symlink(&dump, given.path("out/soft")).unwrap();
    let whole = || [&dump, &given.identity, &given.recipients].map(|path| fs::read(path).unwrap());
    let before = whole();
    let refused = |command: &mut Command| {
        let ended = run(command);
        let said = text(&ended.stderr);
        assert!(
            ended.status.code() == Some(2) && said.contains("is the same file as"),
            "{command:?}: {said}"
        );
        assert!(whole() == before, "{command:?}");
    };
    let others = ["dump", "out/../dump", "out/hard", "out/soft"].map(|name| given.path(name));
    for output in others.iter().chain([&given.identity]) {
        for format in ["kdump", "elf", "flattened"] {
            refused(given.restore("dump", output).args(["-f", "--format", format]));
        }
        refused(given.restore("dump", output).args(["-f", "--salvage"]));
    }
    refused(given.restore("-", &dump).arg("-f").stdin(fs::File::open(&dump).unwrap()));
    let appending = fs::OpenOptions::new().append(true).open(&dump).unwrap();
    refused(given.restore("dump", Path::new("-")).args(["--format", "flattened"]).stdout(appending));
    for output in others.iter().chain([&given.identity, &given.recipients]) {
        let mut rewrap = decrypt();
        rewrap.args(["rewrap", "-f", "-i"]).arg(&given.identity).arg("-R").arg(&given.recipients);
        refused(rewrap.arg(&dump).arg(output));
    }
    // Continuations of the dump are inputs too.
    let all = fs::read(&dump).unwrap();
    let (one, two) = all.split_at(all.len() / 2);
    fs::write(given.path("out/cut"), one).unwrap();
    fs::write(given.path("out/cut.001"), two).unwrap();
    refused(given.restore("out/cut", &given.path("out/cut.001")).arg("-f"));
    assert_eq!(fs::read(given.path("out/cut.001")).unwrap(), two);
    succeed(&mut given.restore("dump", &given.path("out/restored")));
}

/// In place of what a link leads to only where nobody else could have made it lead elsewhere.
#[test]
fn a_link_of_others_does_not_choose_what_is_replaced() {
    let given = Given::new();
    let open = given.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let before = fs::read(given.path("dump")).unwrap();
    let refused = |path: &Path| {
        let ended = run(&mut given.rewrap(path));
        let said = text(&ended.stderr);
        assert!(ended.status.code() == Some(1) && said.contains("others can change it"), "{said}");
        assert!(fs::read(given.path("dump")).unwrap() == before);
    };
    symlink(given.path("dump"), open.join("link")).unwrap();
    refused(&open.join("link"));
    // A directory that is a link, in one that is open.
    symlink(given.home.path(), open.join("directory")).unwrap();
    refused(&open.join("directory/dump"));
    // A link of one's own to a link there.
    symlink(open.join("link"), given.path("chain")).unwrap();
    refused(&given.path("chain"));
    symlink(given.path("dump"), given.path("own")).unwrap();
    succeed(&mut given.rewrap(&given.path("own")));
    assert!(fs::read(given.path("dump")).unwrap() != before);
    assert!(given.path("own").is_symlink());
    // Without a link the directory is the caller's own business.
    fs::copy(given.path("dump"), open.join("copy")).unwrap();
    succeed(&mut given.rewrap(&open.join("copy")));
}

#[test]
fn two_collectors_do_not_share_a_file_or_a_device() {
    let given = Given::new();
    let [file, device] = ["out/dump", "out/device"].map(|name| given.path(name));
    fs::write(&file, "old").unwrap();
    fs::write(&device, vec![0; 16 << 20]).unwrap();
    let to_device = || {
        let mut collect = encrypt();
        collect.args(["-d", "0", "--message-level", "0", "-R"]).arg(&given.recipients);
        collect.arg("--output-device").arg(&device).arg(given.path("vmcore"));
        collect
    };
    let to_file = || {
        let mut collect = given.collect(&file);
        collect.arg("-f");
        collect
    };
    for (path, mut command) in [(&file, to_file()), (&device, to_device())] {
        let held = fs::File::open(path).unwrap();
        rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let output = run(&mut command);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("another program is writing it"), "{said}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    // In earnest: whoever ends with 0 has left a whole dump.
    for make in [&to_file as &dyn Fn() -> Command, &to_device] {
        for _ in 0..10 {
            let both: Vec<Child> = (0..2).map(|_| make().stderr(Stdio::null()).spawn().unwrap()).collect();
            let ends: Vec<_> = both.into_iter().map(|mut child| child.wait().unwrap()).collect();
            assert!(ends.iter().any(|end| end.success()));
            assert!(ends.iter().all(|end| matches!(end.code(), Some(0 | 1))));
        }
    }
    given.assert_whole(&file);
    given.assert_whole(&device);
}

/// Killed at each step that changes a disk: what is at the name is the old file or the new one, whole.
#[test]
fn a_kill_at_any_step_leaves_the_old_file_or_the_new_one() {
    let Some(()) = or_skip(strace()) else { return };
    let given = Given::new();
    let [restored, rewrapped] = ["out/restored", "out/rewrapped"].map(|name| given.path(name));
    let mut new = given.restore("dump", &restored);
    let old = fs::read(given.path("dump")).unwrap();
    let mut kills = 0;
    for (path, command) in [(&restored, new.arg("-f")), (&rewrapped, &mut given.rewrap(&rewrapped))] {
        for step in ["fchmod", "write", "pwrite64", "fsync", "linkat", "renameat", "unlinkat"] {
            for nth in 1..12 {
                fs::remove_dir_all(given.path("out")).unwrap();
                fs::create_dir(given.path("out")).unwrap();
                fs::write(path, &old).unwrap();
                let mut strace = Command::new("strace");
                strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={step}")]);
                strace.args(["-e", &format!("inject={step}:signal=KILL:when={nth}")]);
                let end = run(strace.arg(command.get_program()).args(command.get_args())).status;
                let found = fs::read(path).unwrap();
                let is_restored = path == &restored && found.starts_with(b"KDUMP");
                assert!(is_restored || found.ends_with(&old[old.len() - 200_000..]), "{step} {nth}");
                for name in
                    given.outputs().iter().filter(|name| path == &restored && name.contains("incomplete"))
                {
                    // Between its two names it is whole, and private.
                    let found = fs::metadata(given.path("out").join(name)).unwrap();
                    assert!(found.mode() & 0o077 == 0 && step == "renameat", "{step} {nth}: {name}");
                }
                if end.success() {
                    break;
                }
                kills += 1;
            }
        }
    }
    assert!(kills > 8, "{kills}");
}

fn strace() -> Result<(), Absent> {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Absent(format!("permission to trace: {}", text(&output.stderr)))),
        Err(_) => Err(Absent("strace; see tests/vm/install-tools.sh".to_owned())),
    }
}

/// A collection into a FIFO that nobody reads any more, so that it hangs in a write.
fn hanging(given: &Given, signal: Signal) -> std::process::ExitStatus {
    let fifo = given.path("fifo");
    let _ = fs::remove_file(&fifo);
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = rustix::fs::open(&fifo, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let mut collect = given.collect(&fifo);
    collect.env_clear().stderr(Stdio::null());
    let mut child = collect.arg("-f").spawn().unwrap();
    wait_for("a full FIFO", || rustix::io::ioctl_fionread(&reader).unwrap() >= 0xf000);
    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait().unwrap()
}

/// A write that hangs, a FIFO without a reader and a plugin that does not answer end with the first signal.
#[test]
fn the_first_signal_ends_every_wait() {
    let given = Given::new();
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::ALARM, Signal::XCPU] {
        assert_eq!(hanging(&given, signal).signal(), Some(signal.as_raw()), "{signal:?}");
    }
    let fifo = given.path("unread");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    plugin::install(given.home.path(), "hangs", "#!/bin/sh\necho $$ > \"$HOME/plugin\"\nexec sleep 60\n");
    let mut to_fifo = given.collect(&fifo);
    let mut by_plugin = given.collect(&given.path("out/plugin"));
    by_plugin.args(["-r", &plugin::recipient("hangs")]);
    // The plugin writes its number before it hangs.
    let number = || fs::read_to_string(given.path("plugin")).unwrap_or_default();
    for (command, is_plugin) in [(to_fifo.arg("-f"), false), (&mut by_plugin, true)] {
        command
            .env_clear()
            .env("PATH", in_path(given.home.path()))
            .env("HOME", given.home.path())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        wait_for("the handler", || {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
            u64::from_str_radix(mask, 16).unwrap() >> (Signal::TERM.as_raw() - 1) & 1 == 1
        });
        wait_for("the plugin", || !is_plugin || number().ends_with('\n'));
        std::thread::sleep(Duration::from_millis(300));
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let start = std::time::Instant::now();
        let end = child.wait().unwrap();
        assert!(!end.success() && start.elapsed() < std::time::Duration::from_secs(6), "{end}");
    }
    // The plugin ends too.
    wait_for("the plugin's end", || !runs(number().trim()));
    assert!(!given.outputs().contains(&"plugin".to_owned()));
}

/// Signals that end a program leave nothing under the name of a whole dump, one that hangs up changes nothing, and a
/// limit on file sizes is where the next file begins.
#[test]
fn a_signal_leaves_no_unfinished_dump() {
    let given = Given::new();
    let vmcore = fs::read(given.path("vmcore")).unwrap();
    let out = given.path("out/dump");
    let has_strace = or_skip(strace()).is_some();
    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::QUIT,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::XCPU,
        Signal::POWER,
        Signal::IO,
        Signal::HUP,
        Signal::USR1,
    ] {
        // It comes when the file has just been made.
        if !has_strace {
            break;
        }
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", "trace=fchmod", "-e"]);
        strace.arg(format!("inject=fchmod:signal={}:when=1", signal.as_raw()));
        let collect = given.collect(&out);
        let end = run(strace.arg(collect.get_program()).args(collect.get_args())).status;
        let stays = [Signal::HUP, Signal::USR1].contains(&signal);
        assert_eq!((end.success(), out.exists()), (stays, stays), "{signal:?} {end}");
        if stays {
            given.assert_whole(&out);
        }
        let _ = fs::remove_file(&out);
    }
    let mut sh = Command::new("bash");
    let collect = given.collect(&out);
    sh.args(["-c", "ulimit -f 100; exec \"$@\"", "sh"]).arg(collect.get_program()).args(collect.get_args());
    succeed(&mut sh);
    assert_eq!(given.outputs()[..2], ["dump", "dump.001"]);
    given.assert_whole(&out);
    assert!(fs::read(given.path("vmcore")).unwrap() == vmcore);
}

/// Another user's FIFO is refused before anything waits for its reader.
#[test]
fn a_fifo_of_another_user_is_not_waited_for() {
    let Some(()) = or_skip_anywhere(root()) else { return };
    let given = Given::new();
    let fifo = given.path("out/fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    chown(&fifo, Some(OTHER), Some(OTHER)).unwrap();
    let mut timeout = Command::new("timeout");
    let mut collect = given.collect(&fifo);
    let collect = collect.arg("-f");
    let refused = run(timeout.args(["-s", "KILL", "20"]).arg(collect.get_program()).args(collect.get_args()));
    let said = text(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("belongs to another user"), "{said}");
    // Recipients from one that nobody writes to.
    let mut check = encrypt();
    check.args(["--check-params", "-R"]).arg(&fifo).arg("vmcore");
    chown(&fifo, Some(0), Some(0)).unwrap();
    let mut timeout = Command::new("timeout");
    let refused = run(timeout.args(["-s", "KILL", "30"]).arg(check.get_program()).args(check.get_args()));
    let said = text(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("nobody wrote to this FIFO"), "{said}");
}

/// An output that is the input, by whatever name, is refused before anything is touched.
#[test]
fn the_input_is_no_output() {
    let given = Given::new();
    let vmcore = fs::read(given.path("vmcore")).unwrap();
    fs::hard_link(given.path("vmcore"), given.path("out/link")).unwrap();
    let dump = fs::read(given.path("dump")).unwrap();
    for mut command in [
        given.collect(&given.path("vmcore")),
        given.collect(&given.path("out/link")),
        given.collect(&given.path("out/../vmcore")),
        given.restore("dump", &given.path("dump")),
    ] {
        let refused = run(command.arg("-f"));
        let said = text(&refused.stderr);
        assert!(refused.status.code() == Some(2) && said.contains("it is the same file as"), "{said}");
    }
    let mut log = encrypt();
    log.args(["dmesg", "-f", "-R"]).arg(&given.recipients).args([given.path("vmcore"), given.path("vmcore")]);
    assert_eq!(run(&mut log).status.code(), Some(2));
    assert!(
        fs::read(given.path("vmcore")).unwrap() == vmcore && fs::read(given.path("dump")).unwrap() == dump
    );
}

/// A limit below what every dump has is an error, and is not exceeded.
#[test]
fn a_limit_that_is_too_small_for_any_dump_is_met() {
    let given = Given::new();
    for limit in ["1", "100", "2000"] {
        let out = given.path("out/dump");
        let refused = run(given.collect(&out).args(["-L", limit]));
        let said = text(&refused.stderr);
        assert!(
            refused.status.code() == Some(1) && said.contains("the limit is too small for any dump"),
            "{said}"
        );
        assert!(!out.exists());
        let mut piped = encrypt();
        piped.args(["-d", "0", "--message-level", "0", "-L", limit, "-R"]).arg(&given.recipients);
        let piped = run(piped.arg(given.path("vmcore")));
        assert!(piped.status.code() == Some(1) && piped.stdout.len() <= limit.parse().unwrap());
    }
}

/// `-` is standard output in every command that writes a stream, and never a file of that name.
#[test]
fn a_hyphen_is_standard_output() {
    let given = Given::new();
    let mut log = encrypt();
    log.args(["dmesg", "-R"]).arg(&given.recipients).arg(given.path("vmcore")).arg("-");
    let mut refiltered = decrypt();
    refiltered.args(["refilter", "-d", "31", "-i"]).arg(&given.identity).arg("--to").arg(&given.recipients);
    refiltered.arg(given.path("dump")).arg("-");
    for mut command in [given.collect(Path::new("-")), log, refiltered] {
        let output = run(command.current_dir(given.home.path()));
        assert!(output.stdout.starts_with(b"age-encryption.org/v1\n"), "{}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("saved to"), "{}", text(&output.stderr));
        assert!(!given.path("-").exists());
    }
}
