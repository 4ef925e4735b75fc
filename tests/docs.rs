//! Man pages and shell completions come from the same definitions as the commands themselves; these tests fail
//! when docs/man or docs/completions fell behind. `UPDATE_DOCS=1 cargo test --test docs` writes them anew. What
//! documents link to and name must be there, and examples are what the commands take.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

#[path = "docs/completions.rs"]
mod completions;
#[path = "docs/man.rs"]
mod man;

use clap::{Command, CommandFactory};
use man::Page;
use std::path::Path;
use vmcore_encrypt::cli::{Status, decrypt, encrypt};

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

/// Every page: name and text.
fn pages() -> Vec<(String, String)> {
    let commands = commands().map(|mut command| {
        command.build();
        command
    });
    let visible = |command: &Command| -> Vec<Command> {
        let subs = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
        subs.cloned().collect()
    };
    let names: Vec<String> = commands
        .iter()
        .flat_map(|command| {
            let program = command.get_name().to_owned();
            let subs =
                visible(command).into_iter().map(|sub| format!("{}-{}", command.get_name(), sub.get_name()));
            std::iter::once(program).chain(subs).collect::<Vec<_>>()
        })
        .collect();
    let mut pages = Vec::new();
    for program in &commands {
        let subs = visible(program);
        for sub in std::iter::once(None).chain(subs.iter().map(Some)) {
            let page = Page { program, sub, pages: &names };
            pages.push((page.name(), page.render()));
        }
    }
    pages
}

#[test]
fn man_pages_are_up_to_date() {
    let pages = pages();
    for (name, text) in &pages {
        check(&format!("docs/man/{name}.1"), text.as_bytes());
    }
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man")).unwrap() {
        let path = entry.unwrap().path();
        let known = pages.iter().any(|(name, _)| path.ends_with(format!("{name}.1")));
        assert!(known, "{} is the page of nothing", path.display());
    }
}

#[test]
fn completions_are_up_to_date() {
    for (command, default) in commands().into_iter().zip(["dump", "restore"]) {
        let name = command.get_name().to_owned();
        for (suffix, text) in [
            ("bash", completions::bash(&command, default)),
            ("zsh", completions::zsh(&command, default)),
            ("fish", completions::fish(&command, default)),
        ] {
            check(&format!("docs/completions/{name}.{suffix}"), text.as_bytes());
        }
    }
}

/// What `--help` ends with, and that nothing stands under a heading that is not its own.
#[test]
fn every_help_has_examples_that_parse() {
    for command in commands() {
        let help = clap::builder::StyledStr::to_string;
        for page in std::iter::once(&command).chain(command.get_subcommands()) {
            let name = page.get_name();
            let text = page.get_after_help().map(help).unwrap_or_default();
            let examples = text.strip_prefix("Examples:\n").and_then(|rest| rest.split("\n\n").next());
            let examples = examples.unwrap_or_else(|| panic!("{name} has no examples"));
            for example in examples.lines() {
                let (_, ours) = example.split_at(example.find(command.get_name()).unwrap());
                let words = ours.split(['|', '>']).next().unwrap().split_whitespace();
                let parsed = command.clone().try_get_matches_from(words);
                assert!(parsed.is_ok(), "{name}: {example}: {}", parsed.unwrap_err());
            }
            for argument in page.get_positionals() {
                assert_eq!(argument.get_help_heading(), None, "{name}: {argument}");
            }
        }
    }
}

/// The statuses that a help text names: numbers and words.
fn named_statuses(text: &str) -> Vec<(u8, String)> {
    let list = text.split("Exit status:").nth(1).unwrap_or_else(|| panic!("no exit statuses: {text}"));
    let list = list.split('.').next().unwrap_or_default();
    let list = list.split_whitespace().collect::<Vec<_>>().join(" ");
    let rows = list.split_inclusive(", ").fold(Vec::<String>::new(), |mut rows, part| {
        match rows.last_mut() {
            // A comma within a meaning, not between two.
            Some(last) if !part.starts_with(|first: char| first.is_ascii_digit()) => last.push_str(part),
            _ => rows.push(part.to_owned()),
        }
        rows
    });
    rows.iter()
        .map(|row| row.trim_end_matches(", ").split_once(' ').unwrap())
        .map(|(number, meaning)| (number.parse().unwrap(), meaning.to_owned()))
        .collect()
}

/// One table of exit statuses: in the code, in every `--help` and man page, in the documents.
#[test]
fn exit_statuses_are_one_table() {
    let table: Vec<(u8, String)> =
        Status::ALL.iter().map(|status| (status.code(), status.meaning().to_owned())).collect();
    for command in commands() {
        let help = command.get_after_help().unwrap().to_string();
        assert_eq!(named_statuses(&help), table, "{}", command.get_name());
        for sub in command.get_subcommands() {
            let named = named_statuses(&sub.get_after_help().unwrap().to_string());
            assert!(named.len() >= 3, "{}: {named:?}", sub.get_name());
            assert!(named.iter().all(|status| table.contains(status)), "{}: {named:?}", sub.get_name());
        }
        let man = format!("docs/man/{}.1", command.get_name());
        let man = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(man)).unwrap();
        let section =
            man.split(".SH EXIT STATUS\n").nth(1).and_then(|rest| rest.split(".SH ").next()).unwrap();
        let mut lines = section.lines().filter(|line| *line != ".TP");
        let mut rows = Vec::new();
        while let (Some(number), Some(meaning)) = (lines.next(), lines.next()) {
            rows.push((number.parse().unwrap(), meaning.to_owned()));
        }
        assert_eq!(rows, table);
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/exit-statuses.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows: Vec<(u8, String)> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            Some((cells.next()?.parse().ok()?, cells.next()?.to_owned()))
        })
        .collect();
    assert_eq!(rows, table);
}

/// Files that the documents link to, and parts of the tree that they name.
#[test]
fn links_and_paths_in_documents_lead_somewhere() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(top.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let documents = docs.chain(["README.md", "tests/vm/README.md"].map(|name| top.join(name)));
    let mut seen = 0;
    for document in documents.filter(|path| path.extension().is_some_and(|suffix| suffix == "md")) {
        let text = std::fs::read_to_string(&document).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        let links = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
        let beside = document.parent().unwrap();
        let links = links.map(|link| beside.join(link.split('#').next().unwrap_or(link)));
        let rooms = ["src/", "tests/", "docs/", "benches/", "kdump-module/"];
        let named = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        let named = named.filter(|name| rooms.iter().any(|room| name.starts_with(room)));
        for path in links.chain(named.map(|name| top.join(name))) {
            assert!(path.exists(), "{}: {} is not there", document.display(), path.display());
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} were found");
}
