//! The lines on their way: written by the program as records come, through syslog and the journal, and read back out of
//! what those made of them.

use super::{IDENTITY, RECIPIENT, log, read_as, records, text};
use crate::common::{Absent, or_skip, or_skip_anywhere, wait_for};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use vmcore_encrypt::kmsg::Form;

fn command(name: &str) -> Command {
    let program = match name {
        "vmcore-encrypt" => env!("CARGO_BIN_EXE_vmcore-encrypt"),
        _ => env!("CARGO_BIN_EXE_vmcore-decrypt"),
    };
    let mut command = Command::new(program);
    command.arg("kmsg");
    command
}

fn decrypt(directory: &Path, log: &Path) -> Output {
    let key = directory.join("key");
    fs::write(&key, IDENTITY).unwrap();
    command("vmcore-decrypt").arg("-i").args([&key, log]).output().unwrap()
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a program is there; says what is skipped when it is not.
fn has(program: &str) -> bool {
    let version = if program == "rsyslogd" { "-v" } else { "--version" };
    let found = Command::new(program).arg(version).output();
    or_skip(found.map_err(|_| Absent(program.to_owned()))).is_some()
}

fn rsyslogd(directory: &Path) -> Running {
    let (socket, log, conf) = (directory.join("socket"), directory.join("log"), directory.join("conf"));
    let config = format!(
        "global(workDirectory=\"{}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
         input(type=\"imuxsock\" Socket=\"{}\" RateLimit.Interval=\"0\")\naction(type=\"omfile\" file=\"{}\")\n",
        directory.display(),
        socket.display(),
        log.display()
    );
    fs::write(&conf, config).unwrap();
    let child =
        Command::new("rsyslogd").args(["-n", "-iNONE", "-f"]).arg(&conf).stderr(Stdio::null()).spawn();
    let running = Running(child.unwrap());
    wait_for("rsyslogd's socket", || socket.exists());
    running
}

#[test]
fn a_log_goes_through_logger_and_rsyslog_and_comes_back() {
    if !has("rsyslogd") || !has("logger") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    let _syslog = rsyslogd(directory.path());
    fs::write(path("records"), records(0, 120)).unwrap();
    let mut encrypt = command("vmcore-encrypt")
        .args(["-r", RECIPIENT, "--input"])
        .arg(path("records"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut logger = Command::new("logger");
    logger.args(["--socket-errors=on", "-t", "kmsg", "-u"]).arg(path("socket"));
    let ordinary =
        Command::new(logger.get_program()).args(logger.get_args()).arg("an ordinary line").status();
    assert!(ordinary.unwrap().success());
    assert!(logger.stdin(encrypt.stdout.take().unwrap()).status().unwrap().success());
    assert!(encrypt.wait().unwrap().success());
    // 120 records, six more pieces of two long ones, start, end, a key line, and the ordinary line.
    let lines = log(0, 120).lines().count() + 1;
    let mut logged = String::new();
    wait_for("rsyslogd's file", || {
        logged = fs::read_to_string(path("log")).unwrap_or_default();
        logged.lines().count() == lines
    });
    assert!(!logged.contains("message 5") && logged.contains("an ordinary line"));
    let output = decrypt(directory.path(), &path("log"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), text(0, 120));
}

/// Runs a journald of its own in a mount namespace, gives it the lines of a file, and prints what it has of them.
const JOURNAL: &str = r#"
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/systemd/journald.conf.d || exit 77
printf '[Journal]\nReadKMsg=no\nStorage=volatile\n' > /run/systemd/journald.conf.d/test.conf
/lib/systemd/systemd-journald > /dev/null 2>&1 &
tries=0
until [ -S /run/systemd/journal/stdout ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || exit 77
    sleep 0.1
done
(echo "an ordinary line"; cat "$1") | systemd-cat -t kmsg
journalctl --sync
journalctl -q -t kmsg -o short
kill $!
"#;

#[test]
fn a_log_goes_through_the_journal_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    fs::write(path("lines"), log(0, 120)).unwrap();
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let output = unshare.args(["--mount", "sh", "-c", JOURNAL, "sh"]).arg(path("lines")).output().unwrap();
    let starts = (output.status.code() != Some(77)).then_some(());
    if or_skip(starts.ok_or(Absent("a journald that starts".to_owned()))).is_none() {
        return;
    }
    let logged = String::from_utf8(output.stdout).unwrap();
    assert!(!logged.contains("message 5") && logged.contains("an ordinary line"), "{logged}");
    fs::write(path("log"), logged).unwrap();
    let output = decrypt(directory.path(), &path("log"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), text(0, 120));
}

#[test]
fn every_line_is_out_as_soon_as_its_record_is_in() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let encrypt = command("vmcore-encrypt")
        .args(["-r", RECIPIENT, "--input"])
        .arg(&fifo)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut encrypt = Running(encrypt);
    let mut records_in = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let mut lines_out = encrypt.0.stdout.take().unwrap();
    let mut out = Vec::new();
    for number in 1..4 {
        // A record ends where the next begins.
        records_in.write_all(records(number, 1).as_bytes()).unwrap();
        let wanted = usize::try_from(number).unwrap() + 1;
        let mut buffer = [0; 4096];
        while out.iter().filter(|&&byte| byte == b'\n').count() < wanted {
            let length = lines_out.read(&mut buffer).unwrap();
            assert!(length > 0, "the log ended");
            out.extend_from_slice(&buffer[..length]);
        }
        assert_eq!(out.last(), Some(&b'\n'));
    }
    let (printed, _) = read_as(&out, IDENTITY, Form::Text);
    assert_eq!(printed, text(1, 2));
}

#[test]
fn the_running_kernels_log_is_what_dmesg_prints() {
    let dmesg = Command::new("dmesg").env("LC_ALL", "C").output();
    let dmesg = dmesg.ok().filter(|output| output.status.success());
    let Some(dmesg) = or_skip_anywhere(dmesg.ok_or(Absent("a kernel log we may read".to_owned()))) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let output = command("vmcore-encrypt").args(["-r", RECIPIENT]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::write(&log, output.stdout).unwrap();
    let output = decrypt(directory.path(), &log);
    assert!(output.status.success(), "{output:?}");
    let (printed, expected) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&dmesg.stdout).into_owned(),
    );
    // The log may have grown in between; dmesg shows bytes beyond ASCII where we show their code.
    let ascii = |line: &&str| line.is_ascii() && !line.contains("\\x");
    let same = expected.lines().zip(printed.lines()).filter(|(line, _)| ascii(line)).all(|(a, b)| a == b);
    assert!(same && printed.lines().count() >= expected.lines().count());
}
