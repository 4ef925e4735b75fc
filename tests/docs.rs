//! Man pages and shell completions come from the same definitions as the commands themselves; these tests fail
//! when docs/man or docs/completions fell behind. `UPDATE_DOCS=1 cargo test --test docs` writes them anew.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::path::Path;
use vmcore_encrypt::cli::{decrypt, encrypt};

fn commands() -> [Command; 2] {
    let program = env!("CARGO_PKG_NAME");
    let encrypt = encrypt::Cli::command().display_name(program).version(env!("CARGO_PKG_VERSION"));
    [encrypt, decrypt::Cli::command()]
}

/// Compares a committed file with what it should be, or writes it.
fn check(path: &str, content: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
    }
    let committed = std::fs::read(&path).unwrap_or_default();
    assert!(committed == content, "{} is behind; run UPDATE_DOCS=1 cargo test --test docs", path.display());
}

#[test]
fn man_pages_are_up_to_date() {
    for command in commands() {
        let program = command.get_name().to_owned();
        let mut pages = vec![command.clone()];
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let page: &'static str = format!("{program}-{}", sub.get_name()).leak();
            pages.push(sub.clone().name(page).bin_name(format!("{program} {}", sub.get_name())));
        }
        for page in pages {
            let name = page.get_name().to_owned();
            let mut text = Vec::new();
            clap_mangen::Man::new(page).date("").render(&mut text).unwrap();
            check(&format!("docs/man/{name}.1"), &text);
        }
    }
}

#[test]
fn completions_are_up_to_date() {
    for mut command in commands() {
        let name = command.get_name().to_owned();
        for (shell, suffix) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, &name, &mut text);
            check(&format!("docs/completions/{name}.{suffix}"), &text);
        }
    }
}
