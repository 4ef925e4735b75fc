//! Text for people: sizes with units, messages of other programs and of the machine that are not ours to trust.
//! Ground floor: it knows no other room.

pub mod size;

/// The kernel's words without the `(os error N)` that Rust puts after them: the words are enough.
#[must_use]
pub fn without_numbers(text: &str) -> String {
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

/// Text from a dump or a file name may hold anything; a console gets printable ASCII and nothing else.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut line, char| {
        match char {
            ' '..='~' => line.push(char),
            _ => line.extend(char.escape_default()),
        }
        line
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
    fn nothing_a_dump_says_reaches_the_terminal_raw() {
        assert_eq!(printable("a\u{1b}[2Jb\u{e9}\n"), "a\\u{1b}[2Jb\\u{e9}\\n");
    }
}
