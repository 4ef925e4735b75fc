//! The exit statuses of both programs: one table. `--help`, the man pages and docs/exit-statuses.md have their words
//! from here; a test holds them together.

use std::fmt::Write as _;

/// What a program's end means to whoever called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// What was asked for is done.
    Done = 0,
    /// Anything not named below.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No identity opens the dump.
    WrongKey = 3,
    /// The dump is damaged: a part of it is not authentic, or contradicts itself.
    Damaged = 4,
    /// The dump is cut: it ends before its final chunk.
    Truncated = 5,
    /// The dump is whole, and a warning names what is unusual: nothing could be filtered, a few pages are unreadable.
    Warned = 6,
    /// What was saved can be opened, but lacks pages that it should have.
    Incomplete = 7,
}

/// How [`help`] begins.
const HEADING: &str = "Exit status:";
/// The statuses that every command has.
pub(super) const BASIC: &[Status] = &[Status::Done, Status::Failure, Status::Usage];
/// The statuses of a command that encrypts something other than a dump.
pub(super) const SAVING: &[Status] = &[Status::Done, Status::Failure, Status::Usage, Status::Warned];
/// The statuses of a command that opens a dump.
#[cfg(feature = "analyst")]
pub(super) const OPENING: &[Status] =
    &[Status::Done, Status::Failure, Status::Usage, Status::WrongKey, Status::Damaged, Status::Truncated];

impl Status {
    /// The whole table.
    pub const ALL: &[Status] = &[
        Status::Done,
        Status::Failure,
        Status::Usage,
        Status::WrongKey,
        Status::Damaged,
        Status::Truncated,
        Status::Warned,
        Status::Incomplete,
    ];

    /// The number that the caller gets.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in a few words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Status::Done => "done",
            Status::Failure => "failure",
            Status::Usage => "usage",
            Status::WrongKey => "wrong key",
            Status::Damaged => "damaged",
            Status::Truncated => "truncated",
            Status::Warned => "whole, with a warning",
            Status::Incomplete => "saved but incomplete",
        }
    }
}

/// The end of a command's `--help`: `text`, and the statuses the command ends with.
#[must_use]
pub(super) fn help(text: &str, statuses: &[Status]) -> String {
    let mut all = format!("{text}\n{HEADING}");
    for (at, status) in statuses.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(all, "{comma} {} {}", status.code(), status.meaning());
    }
    all + "."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_one_meaning() {
        for (at, status) in Status::ALL.iter().enumerate() {
            assert_eq!(usize::from(status.code()), at);
            assert!(Status::ALL.iter().filter(|other| other.meaning() == status.meaning()).count() == 1);
        }
    }

    #[test]
    fn help_ends_with_the_statuses() {
        assert_eq!(help("Text.", BASIC), "Text.\nExit status: 0 done, 1 failure, 2 usage.");
    }
}
