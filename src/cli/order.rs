//! Where words may stand on a command line: options before, between and after the others, and before the name of a
//! sub-command. The parser wants the sub-command first, so it is put there.

use super::version::how_to_get;
use super::{Failure, Status, quoted};
use clap::Command;
use clap::error::{ContextKind, ContextValue};
use std::ffi::OsString;
use std::path::Path;

/// The words of a command line (the first is the program's name) with the sub-command in front: the one that was typed
/// or, where there is none but other words are, `default`.
#[must_use]
pub(super) fn sub_command_first(
    command: &Command,
    mut words: Vec<OsString>,
    default: Option<&str>,
) -> Vec<OsString> {
    let Some(at) = first_word(command, &words) else { return words };
    match (is_sub_command(command, &words[at]), default) {
        (true, _) => {
            let name = words.remove(at);
            words.insert(1, name);
        }
        (false, Some(default)) => words.insert(1, default.into()),
        (false, None) => {}
    }
    words
}

/// Refuses a first word that is neither a file nor a sub-command of this program, but looks like one: of the `other`
/// program (its name, its sub-commands), of a build with other `features` (sub-command, feature), misspelt, or what other
/// programs call it: `meant` has such words, and what helps.
///
/// # Errors
/// What was probably meant.
pub(super) fn check_first_word<'a>(
    command: &Command,
    words: &[OsString],
    other: (&str, impl IntoIterator<Item = &'a str>),
    features: &[(&str, &str)],
    meant: &[(&str, &str)],
) -> Result<(), Failure> {
    let Some(word) = first_word(command, words).and_then(|at| words[at].to_str()) else { return Ok(()) };
    let is_name = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if !is_name || is_sub_command(command, &word.into()) || Path::new(word).exists() {
        return Ok(());
    }
    let refused = |hint: String| {
        let message = format!(
            "{} is neither a file nor a sub-command of {}",
            quoted(Path::new(word)),
            command.get_name()
        );
        Err(Failure::new(Status::Usage, message).hint(hint))
    };
    let (program, mut names) = (other.0, other.1.into_iter());
    if let Some((_, feature)) = features.iter().find(|(name, _)| *name == word) {
        return refused(how_to_get(feature));
    }
    if let Some((_, hint)) = meant.iter().find(|(name, _)| *name == word) {
        return refused((*hint).to_owned());
    }
    match similar(command, word) {
        _ if names.any(|name| name == word) => refused(format!("{word} is a sub-command of {program}")),
        Some(name) => refused(format!("did you mean {name:?}?")),
        None => Ok(()),
    }
}

fn is_sub_command(command: &Command, word: &OsString) -> bool {
    word == "help" || command.get_subcommands().any(|sub| word == sub.get_name())
}

/// The sub-command with a name like this word, as the parser finds it.
fn similar(command: &Command, word: &str) -> Option<String> {
    let names = command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned();
    let names = Command::new("names").subcommand_required(true).subcommands(names);
    match names.try_get_matches_from(["names", word]).err()?.get(ContextKind::SuggestedSubcommand)? {
        // The most similar one comes last.
        ContextValue::Strings(names) => names.last().cloned(),
        ContextValue::String(name) => Some(name.clone()),
        _ => None,
    }
}

/// Where the first word is that is neither an option nor an option's value; before `--` only.
fn first_word(command: &Command, words: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(word) = words.get(at) {
        match word.to_str() {
            Some("--") => return None,
            Some(option) if option.len() > 1 && option.starts_with('-') => {
                at += if wants_next(command, option) { 2 } else { 1 };
            }
            _ => return Some(at),
        }
    }
    None
}

/// Whether the next word is this option's value, in the program or one of its sub-commands.
fn wants_next(command: &Command, option: &str) -> bool {
    match option.strip_prefix("--") {
        Some(long) => {
            !long.contains('=') && takes_value(command, |argument| argument.get_long() == Some(long))
        }
        None => {
            let mut letters = option.chars().skip(1);
            let short = |letter| move |argument: &clap::Arg| argument.get_short() == Some(letter);
            // What follows a letter with a value is that value.
            letters.find(|&letter| takes_value(command, short(letter))).is_some() && letters.next().is_none()
        }
    }
}

fn takes_value(command: &Command, is_it: impl Fn(&clap::Arg) -> bool + Copy) -> bool {
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let mut arguments = commands.flat_map(Command::get_arguments).filter(|argument| is_it(argument));
    arguments.any(|argument| argument.get_action().takes_values())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction};

    fn command() -> Command {
        let value = |name: &'static str| Arg::new(name).long(name).short(name.chars().next());
        let flag = |name: &'static str| value(name).action(ArgAction::SetTrue);
        Command::new("prog")
            .subcommand(Command::new("info").arg(value("identity")).arg(flag("json")))
            .subcommand(Command::new("restore").arg(value("identity")).arg(flag("force")))
    }

    fn ordered(line: &str) -> String {
        let words = line.split(' ').map(OsString::from).collect();
        let words = sub_command_first(&command(), words, Some("restore"));
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_sub_command_comes_first_wherever_it_was_typed() {
        for (typed, parsed) in [
            ("prog info a", "prog info a"),
            ("prog -i key info a", "prog info -i key a"),
            ("prog --json --identity key info a", "prog info --json --identity key a"),
            ("prog --identity=key info a", "prog info --identity=key a"),
            ("prog -ikey info a", "prog info -ikey a"),
            ("prog -fi info a", "prog restore -fi info a"),
            ("prog a -i key b", "prog restore a -i key b"),
            ("prog -i info a b", "prog restore -i info a b"),
            ("prog a info", "prog restore a info"),
            ("prog - b", "prog restore - b"),
            ("prog -- info b", "prog -- info b"),
            ("prog --help", "prog --help"),
            ("prog help info", "prog help info"),
            ("prog", "prog"),
        ] {
            assert_eq!(ordered(typed), parsed);
        }
    }

    /// The collector alone is built without the other program, so it has a list.
    #[cfg(all(feature = "analyst", feature = "check"))]
    #[test]
    fn the_collector_knows_the_sub_commands_of_the_other_program() {
        use super::super::{decrypt, encrypt};
        use clap::CommandFactory;
        let names = |command: &Command| -> Vec<String> {
            let seen = command.get_subcommands().filter(|sub| !sub.is_hide_set());
            seen.map(|sub| sub.get_name().to_owned()).collect()
        };
        let own = names(&encrypt::Cli::command());
        let mut foreign = names(&decrypt::Cli::command());
        foreign.retain(|name| !own.contains(name));
        foreign.sort();
        assert_eq!(foreign, encrypt::OTHER.1);
    }

    #[test]
    fn a_name_that_is_none_is_named() {
        let check = |line: &str| {
            let words: Vec<_> = line.split(' ').map(OsString::from).collect();
            check_first_word(
                &command(),
                &words,
                ("other", ["check"]),
                &[("gate", "rules"), ("info", "rules")],
                &[("decrypt", "info does it")],
            )
            .map_err(|failure| (failure.message().to_owned(), failure.hint.unwrap()))
        };
        let (message, hint) = check("prog -i k inof a").unwrap_err();
        assert_eq!(message, "\"inof\" is neither a file nor a sub-command of prog");
        assert_eq!(hint, "did you mean \"info\"?");
        assert_eq!(check("prog check").unwrap_err().1, "check is a sub-command of other");
        assert_eq!(check("prog decrypt a").unwrap_err().1, "info does it");
        let absent = check("prog gate").unwrap_err();
        assert_eq!(absent.1, "a build with the feature rules has it: cargo build --release -F rules");
        for fine in [
            "prog info x",
            "prog vmcore.age x",
            "prog ./inof",
            "prog src",
            "prog zzzzz",
            "prog -i inof",
            "prog",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
    }
}
