//! Completions in the shells themselves, and manual pages as man(1) renders them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;

use common::tmux::Tmux;
use common::{has, run, text, top};
use std::fs;
use std::process::Command;

/// What is typed before the tab key, what is offered or completed, and what is not.
const CASES: [(&str, &str, &str); 6] = [
    ("vmcore-decrypt ver", "verify", "restore"),
    ("vmcore-decrypt verify --js", "--json", "--salvage"),
    ("vmcore-decrypt -i key dme", "dmesg", "verify"),
    ("vmcore-decrypt restore --format fl", "flattened", "kdump"),
    ("vmcore-encrypt estim", "estimate", "collect"),
    ("vmcore-encrypt --dump-d", "--dump-dmesg", "--diskset"),
];

fn completions() -> String {
    top().join("docs/completions").display().to_string()
}

/// Types each case and the tab key in a shell.
fn in_terminal(shell: &str, load: &str) {
    if !has(shell) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("key"), "").unwrap();
    for (typed, offered, absent) in CASES {
        let start = if shell == "bash" { "exec bash --norc -i" } else { "exec zsh -f -i" };
        let Some(terminal) = Tmux::new(home.path(), 120, start) else { return };
        terminal.enter(load);
        terminal.enter("echo read''y");
        terminal.wait("the shell", |screen| screen.contains("\nready"));
        terminal.write(typed);
        terminal.press(&["Tab"]);
        let last = |screen: &str| screen.rsplit("ready").next().unwrap_or_default().to_owned();
        let screen = terminal.wait(&format!("{typed} in {shell}"), |screen| last(screen).contains(offered));
        assert!(!last(&screen).contains(absent), "{shell}: {typed}: {screen}");
    }
}

#[test]
fn bash_completes() {
    let directory = completions();
    in_terminal(
        "bash",
        &format!("source {directory}/vmcore-decrypt.bash; source {directory}/vmcore-encrypt.bash"),
    );
}

#[test]
fn zsh_completes() {
    let directory = completions();
    let load = format!(
        "autoload -U compinit; compinit -u -D; source {directory}/vmcore-decrypt.zsh; source {directory}/vmcore-encrypt.zsh"
    );
    in_terminal("zsh", &load);
}

#[test]
fn fish_completes() {
    if !has("fish") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    for (typed, offered, absent) in CASES {
        let directory = completions();
        let script = format!(
            "source {directory}/vmcore-decrypt.fish; source {directory}/vmcore-encrypt.fish; complete -C '{typed}'"
        );
        let output =
            run(Command::new("fish").args(["-c", &script]).env("HOME", home.path()).current_dir(&home));
        let offers = text(&output.stdout);
        assert!(offers.contains(offered) && !offers.contains(absent), "{typed}: {offers}");
    }
}

/// No warning of man's, and every example on a line of its own, at the width of a terminal and at half of it.
#[test]
fn man_renders_every_page() {
    if !has("man") {
        return;
    }
    for entry in fs::read_dir(top().join("docs/man")).unwrap() {
        let path = entry.unwrap().path();
        let source = fs::read_to_string(&path).unwrap();
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXIT STATUS",
            "FILES",
            "ENVIRONMENT",
            "EXAMPLES",
            "SEE ALSO",
        ] {
            assert!(source.contains(&format!(".SH {section}\n")), "{}: {section}", path.display());
        }
        for width in ["40", "80"] {
            let mut man = Command::new("man");
            man.args(["--warnings=mac", "-l"]).arg(&path).env("MANWIDTH", width).env("LC_ALL", "C");
            let output = run(man.env("MANROFFOPT", "-c").env("MAN_KEEP_FORMATTING", ""));
            let warnings = text(&output.stderr);
            // A path that is longer than a narrow line stays in one piece.
            let wrong = warnings.lines().find(|line| !line.contains("can't break line"));
            assert!(output.status.success() && wrong.is_none(), "{}: {wrong:?}", path.display());
            let page = text(&output.stdout);
            let examples = source.split(".SH EXAMPLES\n.nf\n").nth(1).unwrap().split(".fi").next().unwrap();
            for example in examples.lines() {
                let example = example.replace("\\-", "-").replace("\\(aq", "'").replace("\\(ti", "~");
                assert!(page.contains(&example), "{} at {width}: {example}\n{page}", path.display());
            }
        }
        for page in source.split("\\fBvmcore\\-").skip(1).filter_map(|rest| rest.split_once("\\fR(1)")) {
            let name = format!("vmcore-{}.1", page.0.replace("\\-", "-"));
            assert!(!page.0.contains(' ') && top().join("docs/man").join(&name).exists(), "{name}");
        }
    }
}
