//! What was typed, and what is reported: arguments, error and hint lines, reports, exit statuses.
//! The two `main`s only call [`run`].

mod beyond;
mod creating;
#[cfg(feature = "analyst")]
pub mod decrypt;
pub mod encrypt;
mod environment;
#[cfg(feature = "analyst")]
mod meter;
mod order;
mod progress;
#[cfg(feature = "analyst")]
mod prompt;
mod recipients;
mod report;
mod signals;
mod status;
mod stdout;
mod usage;
mod version;

use crate::crypt::Notice;
use crate::text::{printable, without_numbers};
use clap::Parser;
use std::error::Error as StdError;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

pub use status::Status;

/// The first descriptor after the standard streams.
const FIRST_INHERITED: i32 = 3;

/// Why a program gives up: one line, a hint where one helps, and an exit status.
#[derive(Clone, Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    status: Status,
    /// The exit status of another program, which stands for ours.
    code: Option<u8>,
}

impl Failure {
    /// A failure with a finished sentence: `DOING WHAT to WHICH THING: CAUSE`.
    #[must_use]
    pub fn new(status: Status, message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None, status, code: None }
    }

    /// The end with another program's exit status, which has reported its own error.
    #[cfg(feature = "analyst")]
    fn silent(code: u8) -> Failure {
        Failure::new(Status::Failure, "").code(code)
    }

    /// Ends the program with the exit status of another one, or of a shell.
    #[cfg(feature = "analyst")]
    fn code(self, code: u8) -> Failure {
        Failure { code: Some(code), ..self }
    }

    /// The number that the caller of the program gets.
    fn exit_code(&self) -> u8 {
        self.code.unwrap_or(self.status.code())
    }

    /// A failure of `doing` something, caused by `error` and what caused that.
    #[must_use]
    pub fn caused(doing: impl Into<String>, error: &dyn StdError) -> Failure {
        let mut message = doing.into();
        let mut cause = Some(error);
        while let Some(error) = cause {
            let text = without_numbers(&error.to_string());
            // Some errors already quote their cause.
            if !message.ends_with(&text) {
                let _ = write!(message, ": {text}");
            }
            cause = error.source();
        }
        Failure::new(Status::Failure, message)
    }

    /// The sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How the program ends.
    #[must_use]
    pub fn exit_status(&self) -> Status {
        self.status
    }

    /// Adds advice.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// Adds advice where there is some.
    #[must_use]
    pub fn maybe_hint(self, hint: Option<impl Into<String>>) -> Failure {
        Failure { hint: hint.map(Into::into).or(self.hint), ..self }
    }

    /// Changes the exit status.
    #[must_use]
    pub fn status(self, status: Status) -> Failure {
        Failure { status, ..self }
    }
}

/// A path as messages show it: quoted, with control bytes escaped. An identity that was typed where a file's name
/// belongs is not shown, and of a URL neither password nor query, which may hold the right to read: messages end up
/// in logs.
#[must_use]
pub fn quoted(path: &Path) -> String {
    let path = shown_name(&path.to_string_lossy());
    if path.to_ascii_uppercase().contains("AGE-SECRET-KEY-") {
        "\"AGE-SECRET-KEY-...\" (this is a key, not the name of a file)".to_owned()
    } else {
        format!("{path:?}")
    }
}

/// An input as messages show it: `-` is standard input.
#[must_use]
pub fn input_name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { quoted(path) }
}

/// An output as messages show it: `-` is standard output.
#[must_use]
pub fn output_name(path: &Path) -> String {
    if path == Path::new("-") { "standard output".to_owned() } else { quoted(path) }
}

/// Runs one of the programs: orders the words of its command line, parses them, does what they ask for, and gives the
/// exit status.
pub fn run<C: Parser>(
    program: &str,
    words: impl IntoIterator<Item = OsString>,
    order: impl FnOnce(Vec<OsString>) -> Result<Vec<OsString>, Failure>,
    action: impl FnOnce(&C) -> Result<(), Failure>,
) -> ExitCode {
    signals::report_file_limit();
    if let Err(failure) = clean_environment(program) {
        return exit(program, Err(failure));
    }
    harden(program);
    // What the caller left open is no plugin's and no decoder's: they get what they are given. Not closed, since a caller
    // can name a descriptor as input or output (`/dev/fd/3`, `<(...)`).
    close_fds::set_fds_cloexec_threadsafe(FIRST_INHERITED, &[]);
    let words = match order(words.into_iter().collect()) {
        Ok(words) => words,
        Err(failure) => return exit(program, Err(failure)),
    };
    match C::try_parse_from(words) {
        Ok(cli) => exit(program, action(&cli)),
        Err(error) => usage::answer(program, &error),
    }
}

/// A name as others may see it: of a URL neither password nor query.
pub(crate) fn shown_name(name: &str) -> String {
    if name.contains("://") { shown_url(name) } else { name.to_owned() }
}

/// A URL without what may be secret in it.
fn shown_url(url: &str) -> String {
    let (bare, query) = url.split_once('?').map_or((url, ""), |(bare, _)| (bare, "?..."));
    let (scheme, rest) = bare.split_once("://").unwrap_or(("", bare));
    let host_end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..host_end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}{query}", &rest[host..])
}

/// Before anything else in both programs: an environment without unknown variables. A collector that cannot start again
/// (no `/proc`, an emulator) goes on, so that no dump is lost for it, unless a variable is set that prints secrets.
fn clean_environment(program: &str) -> Result<(), Failure> {
    let list = match program {
        "vmcore-encrypt" => environment::Program::Collector,
        _ => environment::Program::Analyst,
    };
    let Err(error) = environment::clean(list) else { return Ok(()) };
    let failure = Failure::caused("leaving unknown variables out of the environment", &error);
    match (std::env::var_os("AGEDEBUG"), list) {
        (Some(_), _) => Err(failure.hint("unset AGEDEBUG, which prints file keys")),
        (None, environment::Program::Analyst) => {
            Err(failure.hint("start it with env -i and the variables that it needs"))
        }
        (None, environment::Program::Collector) => {
            say(program, "warning", failure.message());
            Ok(())
        }
    }
}

/// Before anything else that a library does: no core files, no tracing. A kernel that refuses is worth a word only.
fn harden(program: &str) {
    if let Err(error) = crate::crypt::harden_process() {
        say(program, "warning", Failure::caused("ruling out core files", &error).message());
    }
}

/// Says one line on stderr as `PROGRAM: KIND: TEXT`; notes only to who has not asked for quiet. A console that is gone is
/// no reason to fail.
pub fn say(program: &str, kind: &str, text: &str) {
    if kind == "note" && progress::is_quiet() {
        return;
    }
    progress::clear();
    let _ = writeln!(std::io::stderr(), "{program}: {kind}: {}", printable(text));
}

/// Reports what happens while a file key is made and wrapped. Recipients that are left out are a warning: the exit status
/// names one.
fn say_notice(program: &str, notice: &Notice<'_>) {
    let kind = match notice {
        Notice::Waiting(_) => "note",
        Notice::LeftOut(_) => "warning",
    };
    say(program, kind, &notice.to_string());
}

/// Turns a result into an exit status, with its error and hint lines. Of a whole dump the line is a warning.
fn exit(program: &str, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::from(Status::Done.code()),
        Err(failure) => {
            if !failure.message.is_empty() {
                say(
                    program,
                    if failure.status == Status::Warned { "warning" } else { "error" },
                    &failure.message,
                );
            }
            if let Some(hint) = &failure.hint {
                say(program, "hint", hint);
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("reading the disk")]
    struct Outer(#[source] io::Error);

    #[test]
    fn causes_make_a_sentence_and_none_comes_twice() {
        let failure = Failure::caused("saving \"a\"", &Outer(io::Error::other("it is gone")));
        assert_eq!(failure.message, "saving \"a\": reading the disk: it is gone");
        let failure = Failure::caused("saving \"a\": it is gone", &io::Error::other("it is gone"));
        assert_eq!(failure.message, "saving \"a\": it is gone");
    }

    #[test]
    fn numbers_of_the_kernels_errors_are_left_out() {
        let gone = io::Error::from_raw_os_error(2);
        let failure = Failure::caused("opening \"a\"", &gone);
        assert_eq!(failure.message, "opening \"a\": No such file or directory");
    }

    #[test]
    fn urls_are_shown_without_secrets() {
        let shown = |url: &str| quoted(Path::new(url));
        assert_eq!(shown("https://host/a/b.age"), "\"https://host/a/b.age\"");
        assert_eq!(shown("https://me:pass@host/a@b"), "\"https://host/a@b\"");
        assert_eq!(shown("https://host/a?X-Amz-Signature=12&b"), "\"https://host/a?...\"");
        assert_eq!(shown("s3://bucket"), "\"s3://bucket\"");
    }
}
