//! Advice names options that exist: every `--option` in a hint is one that the program takes.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

use clap::{Command, CommandFactory};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use vmcore_encrypt::cli::{decrypt, encrypt};

/// Options of a command and of what is below it.
fn options(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned);
    let below = command.get_subcommands().flat_map(options);
    own.chain(below).chain(["help".to_owned()]).collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// What stands in the parentheses that open at the end of `start`.
fn arguments(rest: &str) -> &str {
    let mut depth = 1;
    let end = rest.char_indices().find(|(_, letter)| {
        depth += match letter {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    &rest[..end.map_or(rest.len(), |(at, _)| at)]
}

/// Texts that are hints: what `hint` and `maybe_hint` get, and the functions and constants that make it.
fn hints(source: &str) -> Vec<&str> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let calls = ["hint(", "then_some("]
        .into_iter()
        .flat_map(|call| source.match_indices(call).map(|(at, _)| arguments(&source[at + call.len()..])));
    let somes = source.match_indices("Some(\"").map(|(at, _)| arguments(&source[at + "Some(".len()..]));
    let constants = source.match_indices("const WHEN_FULL").map(|(at, _)| &source[at..]);
    let constants = constants.map(|rest| rest.split(';').next().unwrap());
    calls.chain(somes).chain(constants).collect()
}

fn named(hint: &str) -> Vec<String> {
    let words = hint.match_indices("--").filter(|(at, _)| !hint[..*at].ends_with('-'));
    let word = |at: usize| {
        let letters = hint[at + 2..].chars();
        letters.take_while(|letter| letter.is_ascii_lowercase() || *letter == '-').collect::<String>()
    };
    words.map(|(at, _)| word(at)).filter(|word| !word.is_empty()).collect()
}

#[test]
fn every_option_in_a_hint_exists() {
    let [ours, theirs] = [options(&encrypt::Cli::command()), options(&decrypt::Cli::command())];
    let both: BTreeSet<String> = ours.union(&theirs).cloned().collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let shown = path.display().to_string();
        for hint in hints(&text) {
            // A hint that names the other program means an option of that one's.
            let known = match (shown.contains("/cli/encrypt"), shown.contains("/cli/decrypt")) {
                (true, _) if !hint.contains("vmcore-decrypt") => &ours,
                (_, true) if !hint.contains("vmcore-encrypt") => &theirs,
                _ => &both,
            };
            for option in named(hint) {
                seen += 1;
                if !known.contains(&option) {
                    wrong.push(format!("{shown}: --{option} in {hint:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 5, "{seen} options in hints");
}

#[test]
fn an_option_that_does_not_exist_is_found() {
    assert_eq!(named(".hint(\"name one with --output, or --in-place\")"), ["output", "in-place"]);
    assert_eq!(hints("x.hint(\"a (b) --c\").y()"), ["\"a (b) --c\""]);
}
