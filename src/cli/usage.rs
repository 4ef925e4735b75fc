//! Turns the parser's errors into the `PROGRAM: error:` and `PROGRAM: hint:` lines of all other messages: consoles keep
//! them in logs, and scripts read those. Each kind of error has its sentence, made of what the error names. Help and
//! version go to standard output as they are.

use super::stdout::end_without_reader;
use super::{Status, say};
use clap::Error;
use clap::error::ContextKind::{self, *};
use clap::error::{ContextValue, ErrorKind};
use std::error::Error as _;
use std::num::{IntErrorKind, ParseIntError};
use std::process::ExitCode;

/// What other programs call the option that names the output, as [`quoted`] shows it.
const OUTPUT: [&str; 3] = ["'-o'", "'--output'", "'--out'"];
const OUTPUT_HINT: &str = "no option names the output, it is a word of its own";

/// What other programs call the option that names the identity, and the one that decrypts.
const IDENTITY: [&str; 5] = ["'-k'", "'--key'", "'--identity-file'", "'--private-key'", "'--keyfile'"];
const DECRYPT: [&str; 2] = ["'-d'", "'--decrypt'"];

/// Reports what the parser found, or prints the help that was asked for.
pub(super) fn answer(program: &str, error: &Error) -> ExitCode {
    if !error.use_stderr() {
        // Whoever asked for help and does not read it needs no error.
        let _ = error.print().inspect_err(end_without_reader);
        return ExitCode::SUCCESS;
    }
    say(program, "error", &message(error));
    hints(program, error).iter().for_each(|hint| say(program, "hint", hint));
    ExitCode::from(Status::Usage.code())
}

#[cfg(feature = "check")]
/// The parser's error as one sentence.
pub(super) fn sentence(error: &Error) -> String {
    if error.use_stderr() { message(error) } else { "help and version save no dump".to_owned() }
}

/// The sentence of an error. An error without the facts that its kind has gets the kind's own name.
fn message(error: &Error) -> String {
    let text = match error.kind() {
        ErrorKind::ArgumentConflict => conflict(error),
        ErrorKind::InvalidValue => invalid_value(error),
        ErrorKind::ValueValidation => refused_value(error),
        ErrorKind::UnknownArgument => {
            quoted(error, InvalidArg).map(|name| format!("unexpected argument {name} found"))
        }
        ErrorKind::InvalidSubcommand => {
            quoted(error, InvalidSubcommand).map(|name| format!("unrecognized subcommand {name}"))
        }
        ErrorKind::MissingRequiredArgument => list(error, InvalidArg, " ")
            .map(|names| format!("the following required arguments were not provided: {names}")),
        ErrorKind::TooManyValues => pair(error, InvalidValue, InvalidArg)
            .map(|(value, name)| format!("unexpected value {value} for {name} found; no more were expected")),
        ErrorKind::NoEquals => quoted(error, InvalidArg)
            .map(|name| format!("equal sign is needed when assigning values to {name}")),
        _ => None,
    };
    text.unwrap_or_else(|| error.source().map_or_else(|| error.kind().to_string(), ToString::to_string))
}

fn conflict(error: &Error) -> Option<String> {
    let name = quoted(error, InvalidArg);
    let what = match name {
        Some(_) => "argument",
        None => "subcommand",
    };
    let name = name.or_else(|| quoted(error, InvalidSubcommand))?;
    let prior = match error.get(PriorArg) {
        prior if prior == error.get(InvalidArg) => {
            return Some(format!("the argument {name} cannot be used multiple times"));
        }
        Some(ContextValue::String(prior)) => format!(" '{prior}'"),
        Some(ContextValue::Strings(prior)) => format!(": {}", prior.join(" ")),
        _ => " one or more of the other specified arguments".to_owned(),
    };
    Some(format!("the {what} {name} cannot be used with{prior}"))
}

fn invalid_value(error: &Error) -> Option<String> {
    let (value, name) = pair(error, InvalidValue, InvalidArg)?;
    let possible = list(error, ValidValue, ", ").filter(|values| !values.is_empty());
    let possible = possible.map(|values| format!(" [possible values: {values}]")).unwrap_or_default();
    match value.as_str() {
        "''" => Some(format!("a value is required for {name} but none was supplied{possible}")),
        _ => Some(format!("invalid value {value} for {name}{possible}")),
    }
}

fn refused_value(error: &Error) -> Option<String> {
    let (value, name) = pair(error, InvalidValue, InvalidArg)?;
    let cause = error.source().map(|cause| match cause.downcast_ref::<ParseIntError>() {
        Some(cause) if *cause.kind() == IntErrorKind::Zero => ": it must be 1 or more".to_owned(),
        Some(_) => ": it must be a number".to_owned(),
        None => format!(": {cause}"),
    });
    let cause = cause.unwrap_or_default();
    Some(format!("invalid value {value} for {name}{cause}"))
}

/// What may help.
fn hints(program: &str, error: &Error) -> Vec<String> {
    let similar =
        [(SuggestedSubcommand, "subcommand"), (SuggestedArg, "argument"), (SuggestedValue, "value")];
    let mut hints: Vec<String> =
        similar.iter().filter_map(|&(kind, what)| did_you_mean(error, kind, what)).collect();
    if let Some(hint) = meant(program, error) {
        hints.push(hint.to_owned());
    } else if let Some(ContextValue::StyledStrs(tips)) = error.get(Suggested) {
        // Whoever mistypes an option does not mean a file of that name.
        let tips = tips.iter().map(|tip| joined(&tip.to_string())).filter(|tip| !tip.starts_with("to pass "));
        hints.extend(tips);
    }
    // One form of the command a line.
    let usage = error.get(Usage).map(ToString::to_string).unwrap_or_default();
    let forms =
        usage.lines().map(|form| joined(form.trim_start_matches("Usage: "))).filter(|form| !form.is_empty());
    hints.extend(forms.map(|form| format!("usage: {form}")));
    hints.push("--help tells all options".to_owned());
    hints
}

/// What helps with an option that other programs have.
fn meant(program: &str, error: &Error) -> Option<&'static str> {
    let option = quoted(error, InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument)?;
    let usage = error.get(Usage).map(ToString::to_string).unwrap_or_default();
    let opens_dumps = program == "vmcore-decrypt";
    Some(match option.as_str() {
        option if OUTPUT.contains(&option) => OUTPUT_HINT,
        option if IDENTITY.contains(&option) && opens_dumps => "-i names the identity file",
        option if DECRYPT.contains(&option) && opens_dumps => {
            "a dump is decrypted without such an option: vmcore-decrypt -i KEY DUMP OUTPUT"
        }
        "'-p'" if usage.contains("keygen") => "--passphrase protects the identity with a passphrase",
        _ => return None,
    })
}

fn did_you_mean(error: &Error, kind: ContextKind, what: &str) -> Option<String> {
    let names = match error.get(kind)? {
        ContextValue::String(name) => vec![name.as_str()],
        ContextValue::Strings(names) => names.iter().map(String::as_str).collect(),
        _ => return None,
    };
    let quoted = names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    Some(match names.len() {
        1 => format!("a similar {what} exists: {quoted}"),
        _ => format!("some similar {what}s exist: {quoted}"),
    })
}

/// One fact of an error, in the quotes that all messages of the parser have.
fn quoted(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(format!("'{text}'")),
        _ => None,
    }
}

fn pair(error: &Error, one: ContextKind, other: ContextKind) -> Option<(String, String)> {
    Some((quoted(error, one)?, quoted(error, other)?))
}

fn list(error: &Error, kind: ContextKind, between: &str) -> Option<String> {
    match error.get(kind)? {
        ContextValue::Strings(texts) => Some(texts.join(between)),
        _ => None,
    }
}

fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction, Command};

    fn command() -> Command {
        Command::new("prog")
            .arg(Arg::new("vmcore").required(true))
            .arg(Arg::new("level").long("level").value_parser(["a", "b"]))
            .arg(Arg::new("count").long("count").value_parser(clap::value_parser!(u8).range(0..=31)))
            .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).conflicts_with("count"))
            .arg(Arg::new("pair").long("pair").num_args(2))
            .arg(Arg::new("equals").long("equals").require_equals(true))
            .subcommand(Command::new("check"))
            .subcommand_negates_reqs(true)
            .args_conflicts_with_subcommands(true)
    }

    fn error(line: &str) -> Error {
        command().try_get_matches_from(line.split(' ')).unwrap_err()
    }

    #[test]
    fn each_kind_of_error_is_a_sentence() {
        for (typed, said) in [
            ("prog", "the following required arguments were not provided: <vmcore>"),
            ("prog --levle a x", "unexpected argument '--levle' found"),
            ("prog --level z x", "invalid value 'z' for '--level <level>' [possible values: a, b]"),
            (
                "prog x --level",
                "a value is required for '--level <level>' but none was supplied [possible values: a, b]",
            ),
            ("prog --count 99 x", "invalid value '99' for '--count <count>': 99 is not in 0..=31"),
            ("prog --count 1 --all x", "the argument '--count <count>' cannot be used with '--all'"),
            ("prog --all --all x", "the argument '--all' cannot be used multiple times"),
            ("prog --equals a x", "equal sign is needed when assigning values to '--equals=<equals>'"),
            ("prog x check", "the subcommand 'check' cannot be used with '<vmcore>'"),
        ] {
            let error = error(typed);
            assert_eq!(message(&error), said, "{typed}");
            // What the parser prints is the same, on several lines.
            let rendered = joined(&error.render().to_string());
            assert!(rendered.starts_with(&format!("error: {said} ")), "{rendered}");
        }
    }

    #[test]
    fn an_error_without_facts_has_a_name() {
        let bare = Error::new(ErrorKind::UnknownArgument);
        assert_eq!(message(&bare), "unexpected argument found");
        assert_eq!(hints("prog", &bare), ["--help tells all options"]);
    }

    #[test]
    fn options_of_other_programs_are_known() {
        let hint = |program, line: &str| hints(program, &error(line)).swap_remove(0);
        assert_eq!(hint("vmcore-decrypt", "prog -k a"), "-i names the identity file");
        assert_eq!(hint("vmcore-decrypt", "prog --out a"), OUTPUT_HINT);
        // The collector has no such option: nothing to suggest.
        assert!(hint("vmcore-encrypt", "prog -k a").starts_with("usage: "));
    }

    #[test]
    fn hints_are_what_is_similar_then_the_usage() {
        assert_eq!(hints("prog", &error("prog"))[..1], ["usage: prog <vmcore>"].map(str::to_owned));
        let hints = hints("prog", &error("prog --levle a x"));
        assert_eq!(hints[0], "a similar argument exists: '--level'");
        assert!(hints[1].starts_with("usage: prog"), "{hints:?}");
        assert_eq!(hints.last().unwrap(), "--help tells all options");
    }
}
