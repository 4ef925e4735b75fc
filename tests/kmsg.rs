//! The running kernel's log as encrypted lines: through a real syslog and back, and what is left after loss,
//! damage, disorder and forgery.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use age_core::secrecy::ExposeSecret;
use vmcore_encrypt::crypt::keygen::{self, KeyKind};
use vmcore_encrypt::crypt::{Entropy, Identities, NoPrompt, Recipients};
use vmcore_encrypt::kmsg::{Findings, Form, Lines, Reader, Unopened, Writer};

/// A key pair of these tests alone.
const IDENTITY: &str = "AGE-SECRET-KEY-12T4FDAVR0PNY2YDYUNP8F5Q7DMUDVF0EWHA963DRZXSXLDCSZRZQNETYG4";
const RECIPIENT: &str = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv";

fn entropy<T>(action: impl FnOnce(&mut Entropy<'_>) -> T) -> T {
    action(&mut Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} })
}

fn identities(file: &str) -> Identities {
    let mut identities = Identities::new(Arc::new(NoPrompt));
    identities.add_file("key", file.as_bytes()).unwrap();
    identities
}

/// Records as a machine has them: `count` of them from number `first`, every tenth with a dictionary, one long.
fn records(first: u64, count: u64) -> String {
    let record = |number: u64| {
        let text = if number % 50 == 7 { "long ".repeat(300) } else { format!("message {number}: a\\x09b") };
        let dictionary = if number.is_multiple_of(10) { " SUBSYSTEM=pci\n DEVICE=+pci:0\n" } else { "" };
        format!("6,{number},{},-,caller=T1;{text}\n{dictionary}", number * 1000)
    };
    (first..first + count).map(record).collect()
}

/// What `dmesg` would print of them.
fn text(first: u64, count: u64) -> String {
    let line = |number: u64| {
        let text = if number % 50 == 7 { "long ".repeat(300) } else { format!("message {number}: a\tb") };
        format!("[    {}.{:06}] [      T1] {text}\n", number / 1000, number % 1000 * 1000)
    };
    (first..first + count).map(line).collect()
}

/// The encrypted log of some records.
fn log_of(records: &str, recipient: &str, boot: Option<&str>) -> String {
    let recipients = Recipients::from_file_contents(recipient.as_bytes()).unwrap();
    let mut writer = entropy(|entropy| Writer::open(Vec::new(), &recipients, entropy, boot)).unwrap();
    writer.copy(&mut Lines::new(records.as_bytes())).unwrap();
    String::from_utf8(writer.finish().unwrap()).unwrap()
}

fn log(first: u64, count: u64) -> String {
    log_of(&records(first, count), RECIPIENT, None)
}

fn read_as(log: &[u8], identity: &str, form: Form) -> (String, Findings) {
    let identities = identities(identity);
    let mut out = Vec::new();
    let mut reader = Reader::new(&identities, form, &mut out);
    log.split_inclusive(|&byte| byte == b'\n').for_each(|line| reader.line(line).unwrap());
    let findings = reader.finish().unwrap();
    (String::from_utf8(out).unwrap(), findings)
}

fn read(log: &str) -> (String, Findings) {
    read_as(log.as_bytes(), IDENTITY, Form::Text)
}

fn is_clean(findings: &Findings) -> bool {
    let clean = |opening: &vmcore_encrypt::kmsg::OpeningFindings| {
        opening.unopened.is_none()
            && opening.ended
            && opening.missing.is_empty()
            && opening.late + opening.repeated + opening.overwritten == 0
    };
    findings.damaged == 0 && findings.openings.iter().all(clean)
}

#[test]
fn a_log_comes_back_as_it_was() {
    for count in [0, 1, 7, 60, 2500] {
        let (out, findings) = read(&log(0, count));
        assert_eq!(out, text(0, count));
        assert!(is_clean(&findings), "{findings:?}");
        let (out, _) = read_as(log(0, count).as_bytes(), IDENTITY, Form::Records);
        assert_eq!(out, records(0, count));
    }
}

#[test]
fn lines_show_neither_text_nor_time_nor_level_and_few_lengths() {
    let log = log(0, 200);
    assert!(log.lines().all(|line| line.len() <= 900 && line.is_ascii()));
    assert!(!log.contains("message") && !log.contains("caller"));
    let lengths: std::collections::BTreeSet<usize> = log.lines().map(|line| line.len() / 64).collect();
    assert!(lengths.len() < 8, "{lengths:?}");
}

#[test]
fn a_log_is_found_among_other_lines_and_behind_prefixes() {
    let mixed: String = log(0, 30)
        .lines()
        .enumerate()
        .map(|(at, line)| match at % 3 {
            0 => format!(
                "Nov 22 07:00:00 host kmsg[{at}]: {line}\r\nNov 22 07:00:00 host cron: VCEmsg is no line\n"
            ),
            1 => format!("[{at}.000000] {line}\n\u{1b}[0mordinary\n"),
            _ => format!("{line} (trailing)\n"),
        })
        .collect();
    let (out, findings) = read(&mixed);
    assert_eq!(out, text(0, 30));
    assert!(is_clean(&findings), "{findings:?}");
}

#[test]
fn missing_lines_are_named_where_they_were_and_at_the_end() {
    let lines: Vec<String> = log(0, 6).lines().map(|line| format!("{line}\n")).collect();
    // One key line, the start line, six messages, the end line.
    assert_eq!(lines.len(), 9);
    let cut = [&lines[..3], &lines[5..8]].concat().concat();
    let (out, findings) = read(&cut);
    assert_eq!(out, format!("{}-- missing here: lines 2 to 3 --\n{}", text(0, 1), text(3, 3)));
    assert_eq!(findings.openings[0].missing, [2..=3]);
    assert!(!findings.openings[0].ended);
}

#[test]
fn disorder_and_repetition_are_noticed_and_cost_nothing() {
    let mut lines: Vec<String> = log(0, 6).lines().map(|line| format!("{line}\n")).collect();
    lines.swap(3, 4);
    lines.insert(6, lines[5].clone());
    let (out, findings) = read(&lines.concat());
    let (mut found, mut expected): (Vec<_>, Vec<_>) = (
        out.lines().filter(|line| !line.starts_with("--")).map(str::to_owned).collect(),
        text(0, 6).lines().map(str::to_owned).collect(),
    );
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let opening = &findings.openings[0];
    assert_eq!((opening.late, opening.repeated, opening.missing.len()), (1, 1, 0));
}

#[test]
fn a_long_message_shows_where_a_piece_of_it_is_missing() {
    let lines: Vec<String> = log(7, 1).lines().map(|line| format!("{line}\n")).collect();
    assert_eq!(lines.len(), 7, "key, start, four pieces, end");
    let (whole, _) = read(&lines.concat());
    let body = whole.strip_prefix("[    0.007000] [      T1] ").unwrap().trim_end_matches('\n').to_owned();
    let without = |at: usize| {
        let mut lines = lines.clone();
        lines.remove(at);
        read(&lines.concat()).0
    };
    let first = without(2);
    assert!(first.starts_with("-- missing here: line 1 --\n[    0.007000] [      T1] [...]"));
    assert!(body.ends_with(first.trim_end_matches('\n').split("[...]").nth(1).unwrap()));
    let second: Vec<String> = without(3).lines().map(str::to_owned).collect();
    assert!(second[0].ends_with("[...]") && second[1].starts_with("--") && second[2].contains("] [...]"));
}

#[test]
fn records_the_kernel_overwrote_are_a_gap_in_the_log() {
    let (out, findings) = read(&log_of(&(records(0, 2) + &records(40, 2)), RECIPIENT, None));
    let gap = "-- overwritten before it was read: messages 2 to 39 --\n";
    assert_eq!(out, format!("{}{gap}{}", text(0, 2), text(40, 2)));
    assert_eq!(findings.openings[0].overwritten, 38);
    assert!(findings.openings[0].missing.is_empty());
}

#[test]
fn a_rotated_log_is_read_from_the_next_key_line_on_and_before() {
    let log = log(0, 1500);
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let (out, findings) = read(&lines[500..].concat());
    let shown = out.lines().count() as u64;
    assert!(shown > 950 && out.ends_with(&text(1490, 10)), "{shown}");
    assert_eq!(findings.openings[0].missing.len(), 1);
    assert_eq!(findings.damaged, 0);
}

#[test]
fn a_log_that_is_read_again_is_printed_once() {
    let first = log_of(&records(0, 5), RECIPIENT, Some("boot-a"));
    let again = log_of(&records(0, 8), RECIPIENT, Some("boot-a"));
    let other = log_of(&records(0, 2), RECIPIENT, Some("boot-b"));
    let (out, findings) = read(&(first + &again + &other));
    let lines: Vec<&str> = out.lines().filter(|line| !line.starts_with("-- opening ")).collect();
    assert_eq!(lines.join("\n") + "\n", text(0, 8) + &text(0, 2));
    assert!(is_clean(&findings));
    assert_eq!(findings.openings.len(), 3);
}

#[test]
fn a_post_quantum_key_takes_several_lines_and_all_of_them() {
    let generated =
        entropy(|entropy| keygen::generate(KeyKind::PostQuantum, SystemTime::now(), entropy)).unwrap();
    let identity = generated.identity_file.expose_secret();
    let log = log_of(&records(0, 3), &generated.recipient, None);
    let keys = log.lines().filter(|line| line.starts_with("VCEkey1.")).count();
    assert_eq!(keys, 3);
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    // Key lines may come last and in any order.
    let turned: Vec<&str> =
        lines.iter().rev().take(5).rev().chain(lines[..keys].iter().rev()).copied().collect();
    for order in [lines.concat(), turned.concat()] {
        let (out, findings) = read_as(order.as_bytes(), identity, Form::Text);
        assert_eq!(out, text(0, 3));
        assert!(is_clean(&findings));
    }
    let (out, findings) = read_as(lines[1..].concat().as_bytes(), identity, Form::Text);
    assert!(out.is_empty() && matches!(findings.openings[0].unopened, Some(Unopened::NoKey)));
    assert_eq!(findings.openings[0].lines, 5);
    let (out, findings) = read_as(log.as_bytes(), IDENTITY, Form::Text);
    assert!(out.is_empty() && matches!(findings.openings[0].unopened, Some(Unopened::Key(_))));
}

/// xorshift64*, so that every run tries the same.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % limit
    }

    fn mangle(&mut self, log: &mut Vec<u8>) {
        let (at, other) = (self.below(log.len()), self.below(log.len()));
        let end = (at + self.below(200)).min(log.len());
        match self.below(6) {
            0 => log[at] ^= 1 << self.below(8),
            1 => drop(log.drain(at..end)),
            2 => log.insert(at, u8::try_from(self.below(256)).unwrap()),
            3 => log.swap(at, other),
            4 => log.truncate(at.max(1)),
            _ => {
                let piece = log[at..end].to_vec();
                log.splice(other..other, piece);
            }
        }
    }
}

#[test]
fn whatever_happens_to_a_log_nothing_false_is_printed() {
    let original = (log(0, 20) + &log(100, 5)).into_bytes();
    let all = text(0, 20) + &text(100, 5);
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut damaged = 0;
    for _ in 0..3000 {
        let mut log = original.clone();
        (0..=chance.below(6)).for_each(|_| chance.mangle(&mut log));
        let (out, findings) = read_as(&log, IDENTITY, Form::Text);
        damaged += u64::from(findings.damaged > 0);
        for line in out.lines().filter(|line| !line.starts_with("-- ") && !line.contains("[...]")) {
            assert!(all.contains(&format!("{line}\n")), "{line}");
        }
    }
    assert!(damaged > 1000, "{damaged}");
}

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

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited too long for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a program is there; CI has all of them.
fn has(program: &str) -> bool {
    let found =
        Command::new(program).arg(if program == "rsyslogd" { "-v" } else { "--version" }).output().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} is missing");
        eprintln!("skipped: {program} is missing");
    }
    found
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
    if output.status.code() == Some(77) {
        assert!(std::env::var_os("CI").is_none(), "journald does not start");
        eprintln!("skipped: journald does not start here");
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
    let Some(dmesg) = dmesg.ok().filter(|output| output.status.success()) else {
        eprintln!("skipped: dmesg may not read the kernel log here");
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
