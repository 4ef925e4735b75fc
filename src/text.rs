//! Text for people: sizes with units, messages of other programs and of the machine that are not ours to trust.
//! Ground floor: it knows no other room.

pub(crate) mod size;
#[cfg(any(feature = "analyst", feature = "upload"))]
mod time;

use std::io::{self, Write};

#[cfg(any(feature = "analyst", feature = "upload"))]
pub(crate) use time::rfc3339;

/// The kernel's words without the `(os error N)` that Rust puts after them: the words are enough.
#[must_use]
pub(crate) fn without_numbers(text: &str) -> String {
    const BEFORE: &str = " (os error ";
    let mut parts = text.split(BEFORE);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.parse::<u32>().is_ok() => plain.push_str(rest),
            _ => plain.extend([BEFORE, part]),
        }
    }
    plain
}

/// A number of things: `1 CPU`, `2 CPUs`.
#[must_use]
#[cfg(feature = "analyst")]
pub(crate) fn counted(number: impl Into<u64>, one: &str) -> String {
    let number = number.into();
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// Text from a dump or a file name may hold anything; a console gets printable ASCII and nothing else.
#[must_use]
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut line, char| {
        match char {
            ' '..='~' => line.push(char),
            _ => line.extend(char.escape_default()),
        }
        line
    })
}

/// Text of others in a message (a plugin's, a stanza's name): one line of printable ASCII, at most 200 characters.
#[must_use]
pub(crate) fn one_line(text: &str) -> String {
    const LONGEST: usize = 200;
    let words: Vec<&str> = text.split_whitespace().collect();
    let shown = |char: char| if char.is_ascii_graphic() || char == ' ' { char } else { '?' };
    words.join(" ").chars().take(LONGEST).map(shown).collect()
}

/// Writes text that may hold anything where a terminal shows it, now or from a file: printable ASCII, tabs and line
/// feeds stay, every other byte becomes `\xNN`, as the kernel escapes its log. What is escaped already stays as it is.
///
/// # Errors
/// Those of writing.
pub(crate) fn write_shown(bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| !matches!(byte, b' '..=b'~' | b'\t' | b'\n')) {
        out.write_all(&rest[..at])?;
        write!(out, "\\x{:02x}", rest[at])?;
        rest = &rest[at + 1..];
    }
    out.write_all(rest)
}

/// JSON in ASCII: characters outside it and DEL become `\uNNNN`, in UTF-16. They stand in strings only, and serde escapes
/// what is below a space, so no byte of it commands a terminal.
#[must_use]
pub(crate) fn ascii_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut out, char| {
        match char {
            ' '..='~' | '\n' => out.push(char),
            _ => {
                char.encode_utf16(&mut [0; 2])
                    .iter()
                    .for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_kernels_errors_are_left_out() {
        assert_eq!(without_numbers("a (os error 5) b (os error 28)"), "a b");
        assert_eq!(without_numbers("a (os error x) (os error 5"), "a (os error x) (os error 5");
    }

    #[test]
    fn foreign_text_becomes_one_printable_line() {
        assert_eq!(one_line("a\n\tb\u{1b}[2J c\u{e9}"), "a b?[2J c?");
        assert_eq!(one_line(&"x".repeat(1000)).len(), 200);
    }

    #[test]
    fn nothing_a_dump_says_reaches_the_terminal_raw() {
        assert_eq!(printable("a\u{1b}[2Jb\u{e9}\n"), "a\\u{1b}[2Jb\\u{e9}\\n");
    }

    #[test]
    fn no_byte_and_no_character_commands_a_terminal() {
        let all: Vec<u8> = (0..=255).collect();
        let mut shown = Vec::new();
        write_shown(&all, &mut shown).unwrap();
        assert!(shown.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n')));
        let text = String::from_utf8(shown).unwrap();
        assert!(
            text.starts_with("\\x00\\x01")
                && text.contains("\\x08\t\n\\x0b\\x0c\\x0d")
                && text.ends_with("\\xff")
        );
        let mut again = Vec::new();
        write_shown(text.as_bytes(), &mut again).unwrap();
        assert_eq!(again, text.as_bytes(), "nothing is escaped twice");
        for code in 0..=0x10_ffff {
            let Some(char) = char::from_u32(code) else { continue };
            let json = ascii_json(&serde_json::to_string(&char).unwrap());
            assert!(json.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{code:x}");
            assert_eq!(serde_json::from_str::<char>(&json).unwrap(), char);
            assert!(printable(&char.to_string()).bytes().all(|byte| matches!(byte, b' '..=b'~')));
        }
    }
}
