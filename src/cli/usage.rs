//! What is said of a wrong command line: the parser's finding in the form of all other messages, since a console
//! log and the scripts that read it know no other. Help and version go to standard output as they are.

use super::stdout::end_without_reader;
use super::{Status, say};
use std::process::ExitCode;

/// Says what the parser found, or prints the help that was asked for.
pub(super) fn answer(program: &str, error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Whoever asked for help and does not read it has no need of a complaint.
        let _ = error.print().inspect_err(end_without_reader);
        return ExitCode::SUCCESS;
    }
    let Finding { message, hints } = Finding::of(&error.render().to_string());
    say(program, "error", &message);
    hints.iter().for_each(|hint| say(program, "hint", hint));
    ExitCode::from(Status::Usage.code())
}

#[cfg(feature = "check")]
/// The parser's finding as one sentence.
pub(super) fn sentence(error: &clap::Error) -> String {
    if error.use_stderr() {
        Finding::of(&error.render().to_string()).message
    } else {
        "help and version save no dump".to_owned()
    }
}

/// A finding of the parser's: a sentence, and what may help.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    message: String,
    hints: Vec<String>,
}

impl Finding {
    /// Takes the parser's text apart: paragraphs, of which the first is the finding; then tips, the usage, and a
    /// pointer to the help.
    fn of(text: &str) -> Finding {
        let mut paragraphs = text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
        let first = paragraphs.next().unwrap_or("the command line is wrong");
        let mut hints: Vec<String> = Vec::new();
        for paragraph in paragraphs {
            match paragraph.split_once(": ") {
                Some(("tip", _)) => hints.extend(paragraph.lines().map(|line| one_line(line, "tip: "))),
                Some(("Usage", _)) => hints.push(format!("usage: {}", one_line(paragraph, "Usage: "))),
                _ => {}
            }
        }
        hints.push("--help tells all options".to_owned());
        Finding { message: one_line(first, "error: "), hints }
    }
}

/// A paragraph as one line, without the word it starts with.
fn one_line(paragraph: &str, start: &str) -> String {
    let words: Vec<&str> = paragraph.trim().trim_start_matches(start).split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, Command};

    fn finding(words: &[&str]) -> Finding {
        let command = Command::new("prog")
            .arg(Arg::new("vmcore").required(true))
            .arg(Arg::new("level").long("level").value_parser(["a", "b"]));
        Finding::of(&command.try_get_matches_from(words).unwrap_err().render().to_string())
    }

    #[test]
    fn findings_are_sentences_and_hints() {
        let missing = finding(&["prog"]);
        assert_eq!(missing.message, "the following required arguments were not provided: <vmcore>");
        assert_eq!(missing.hints, ["usage: prog <vmcore>", "--help tells all options"]);
        let unknown = finding(&["prog", "--levle", "a", "x"]);
        assert_eq!(unknown.message, "unexpected argument '--levle' found");
        assert_eq!(unknown.hints[0], "a similar argument exists: '--level'");
        let value = finding(&["prog", "--level", "z", "x"]);
        assert_eq!(value.message, "invalid value 'z' for '--level <level>' [possible values: a, b]");
    }

    #[test]
    fn a_text_of_another_form_is_said_whole() {
        let finding = Finding::of("something\nelse");
        assert_eq!(finding.message, "something else");
        assert_eq!(Finding::of("").message, "the command line is wrong");
    }
}
