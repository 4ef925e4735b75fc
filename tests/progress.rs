//! Progress in a real terminal, at several widths: a bar takes one row, tears nothing, and goes with its work.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;

use common::tmux::Tmux;
use common::{decrypt, programs_in_path, run, text, top};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// A dump, its key and recipients, a vmcore, and a script that passes its input on with a pause in it.
fn given() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let vectors = top().join("tests/vectors");
    let (old, key) = (vectors.join("released/dump.age"), vectors.join("identity.txt"));
    let mut restore = decrypt();
    restore.current_dir(&home).args(["restore", "--format", "elf", "-i"]).args([&key, &old]).arg("vmcore");
    assert!(run(&mut restore).status.success());
    fs::write(at("key"), "AGE-SECRET-KEY-12T4FDAVR0PNY2YDYUNP8F5Q7DMUDVF0EWHA963DRZXSXLDCSZRZQNETYG4\n")
        .unwrap();
    let recipient = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv\n";
    fs::write(at("recipients"), recipient).unwrap();
    let mut collect = common::encrypt();
    collect.current_dir(&home).args(["-d", "0", "-R", "recipients", "vmcore", "dump"]);
    assert!(run(&mut collect).status.success());
    let dump = fs::read(at("dump")).unwrap();
    fs::write(at("cut"), &dump[..dump.len() - 9]).unwrap();
    let slow = "head -c 70000; for i in 1 2 3 4 5 6 7 8; do head -c 10000; sleep 0.3; done; cat";
    fs::write(home.path().join("slow"), slow).unwrap();
    home
}

/// A line of shell with standard error in a pipe.
fn piped(line: &str, home: &Path) -> Output {
    run(Command::new("sh").args(["-c", line]).env("PATH", programs_in_path()).current_dir(home))
}

/// The words on a screen, whatever the width at which they were broken.
fn words(screen: &str) -> String {
    screen.split_whitespace().collect()
}

#[test]
fn a_bar_takes_one_row_at_any_width_and_goes_with_its_work() {
    let home = given();
    for columns in [20, 40, 80, 200] {
        let line = "sh slow < dump | vmcore-decrypt verify -i key -; echo status $?; read x";
        let Some(terminal) = Tmux::new(home.path(), columns, line) else { return };
        let screen = terminal.wait("the bar", |screen| screen.contains("verifying"));
        assert_eq!(screen.lines().count(), 1, "{columns}: {screen}");
        let screen = terminal.wait("the verdict", |screen| screen.contains("status 0"));
        assert!(words(&screen).starts_with("standardinput:authentic,"), "{columns}: {screen}");
        assert!(
            words(&screen).ends_with("zeropagesstatus0") && !screen.contains("verifying"),
            "{columns}: {screen}"
        );
    }
}

/// Copying takes as long as reading.
#[test]
fn what_copies_a_dump_has_the_same_bar() {
    let home = given();
    let line = "sh slow < dump | vmcore-decrypt rewrap -i key -R recipients - new; echo status $?; read x";
    let Some(terminal) = Tmux::new(home.path(), 40, line) else { return };
    terminal.wait("the bar", |screen| screen.contains("rewrapping"));
    let screen = terminal.wait("the end", |screen| screen.contains("status 0"));
    assert!(words(&screen).starts_with("vmcore-decrypt:note:\"new\"isnowfor"), "{screen}");
    assert!(!screen.contains("rewrapping"), "{screen}");
}

#[test]
fn an_error_stands_alone_on_its_rows() {
    let home = given();
    for columns in [20, 80] {
        let line = "sh slow < cut | vmcore-decrypt -i key - restored; echo status $?; read x";
        let Some(terminal) = Tmux::new(home.path(), columns, line) else { return };
        terminal.wait("the bar", |screen| screen.contains("restoring"));
        let screen = terminal.wait("the error", |screen| screen.contains("status 5"));
        assert!(words(&screen).starts_with("vmcore-decrypt:error:"), "{columns}: {screen}");
        assert!(!screen.contains("restoring 1"), "{columns}: {screen}");
    }
}

/// A piece of the bar may stay in the row above, and nothing is lost.
#[test]
fn a_terminal_that_becomes_narrower_loses_nothing() {
    let home = given();
    let line = "echo before; sh slow < dump | vmcore-decrypt verify -i key -; echo status $?; read x";
    let Some(terminal) = Tmux::new(home.path(), 80, line) else { return };
    terminal.wait("the bar", |screen| screen.contains("verifying"));
    terminal.resize(18);
    let screen = words(&terminal.wait("the verdict", |screen| screen.contains("status 0")));
    assert!(screen.starts_with("before") && screen.contains("standardinput:authentic,complete:"), "{screen}");
    assert!(screen.ends_with("zeropagesstatus0"), "{screen}");
}

/// The collector has the same bar, with shares: its reader waits, so it does.
#[test]
fn the_collector_has_the_same_bar() {
    let home = given();
    let collect = "vmcore-encrypt -d 0 --num-threads 1 -R recipients vmcore | sh slow > out.age";
    for columns in [40, 80] {
        let line = format!("{collect}; echo status $?; read x");
        let Some(terminal) = Tmux::new(home.path(), columns, &line) else { return };
        let screen = terminal.wait("the end", |screen| screen.contains("status 0"));
        assert!(screen.starts_with("Original pages"), "{columns}: {screen}");
        assert!(!screen.contains("collecting"), "{columns}: {screen}");
    }
}

#[test]
fn what_is_no_terminal_gets_lines_and_no_escapes() {
    let home = given();
    let line = "sh slow < dump | vmcore-decrypt verify -i key -";
    for (name, line) in [
        ("pipe", format!("{line} 2>&1 | cat")),
        ("dumb", format!("script -qec 'export TERM=dumb; {line}' /dev/null < /dev/null")),
    ] {
        let said = text(&piped(&line, home.path()).stdout).replace("\r\n", "\n");
        assert!(said.contains("vmcore-decrypt: verifying: ") && said.contains("/s\n"), "{name}: {said}");
        assert!(said.bytes().all(|byte| byte == b'\n' || !byte.is_ascii_control()), "{name}: {said:?}");
    }
}

#[test]
fn quiet_leaves_warnings_errors_and_what_was_asked_for() {
    let home = given();
    for flag in ["-q", "--quiet"] {
        let verify = piped(&format!("sh slow < dump | vmcore-decrypt {flag} verify -i key -"), home.path());
        assert!(verify.stderr.is_empty() && !verify.stdout.is_empty(), "{verify:?}");
        let collect = piped(&format!("vmcore-encrypt {flag} -R recipients vmcore x.age"), home.path());
        assert!(collect.status.success() && collect.stderr.is_empty(), "{collect:?}");
        let warned = piped(&format!("vmcore-encrypt {flag} -E -R recipients vmcore absent/x"), home.path());
        assert!(text(&warned.stderr).starts_with("vmcore-encrypt: error: "), "{warned:?}");
        let log = piped(&format!("vmcore-decrypt dmesg -i key dump {flag}"), home.path());
        assert!(log.status.success() && log.stderr.is_empty() && !log.stdout.is_empty(), "{log:?}");
        let made =
            piped(&format!("vmcore-decrypt refilter -i key {flag} -R recipients dump y.age"), home.path());
        assert!(made.status.success() && made.stderr.is_empty(), "{made:?}");
        fs::remove_file(home.path().join("x.age")).unwrap();
        fs::remove_file(home.path().join("y.age")).unwrap();
    }
}

/// Locales, colours and terminals that programs are started with, and that change nothing.
#[test]
fn surroundings_change_nothing() {
    let home = given();
    let line = "vmcore-decrypt info -i key dump; vmcore-decrypt -i absent dump x; vmcore-decrypt --help";
    let plain = piped(&format!("({line}) 2>&1"), home.path()).stdout;
    assert!(plain.is_ascii() && !plain.contains(&0x1b));
    for setting in [
        "LC_ALL=xx_XX.UTF-8",
        "LANG=tlh",
        "NO_COLOR=1",
        "CLICOLOR_FORCE=1",
        "TERM=dumb",
        "TERM=",
        "TERM=nowhere",
    ] {
        let other = piped(&format!("export {setting}; ({line}) 2>&1"), home.path()).stdout;
        assert_eq!(text(&other), text(&plain), "{setting}");
    }
}
