//! The log's text taken apart again: lines of a bounded length as they are written (`line`), and what each begins with.
//! What a line means is for whoever asks.

/// The longest line that is taken in, bytes; the rest of it is left out. The kernel's own messages end at 1 KiB.
const MAX_LINE: usize = 4 << 10;

/// Makes lines of text that comes in pieces.
#[derive(Default)]
pub(crate) struct LineSplitter {
    line: Vec<u8>,
}

impl LineSplitter {
    /// Takes a piece; `each` gets every line that it ends, without its newline.
    pub(crate) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.end(&mut each);
            }
        }
    }

    /// Ends the line at hand, which `each` gets.
    pub(crate) fn end(&mut self, each: impl FnOnce(&str)) {
        each(&String::from_utf8_lossy(&std::mem::take(&mut self.line)));
    }
}

/// The seconds since boot and the text of `[    1.234567] [    T42] text`; the whole line where it has no time: a further
/// line of a message.
pub(crate) fn without_prefix(line: &str) -> (Option<f64>, &str) {
    let timed = bracket(line).and_then(|(time, text)| Some((time.parse().ok()?, text)));
    let Some((time, text)) = timed else { return (None, line) };
    match bracket(text).filter(|(inner, _)| is_caller(inner)) {
        Some((_, text)) => (Some(time), text),
        None => (Some(time), text),
    }
}

/// What is in the brackets that a line begins with, and what follows them and a space.
fn bracket(line: &str) -> Option<(&str, &str)> {
    let (inner, rest) = line.strip_prefix('[')?.split_once(']')?;
    Some((inner.trim(), rest.strip_prefix(' ').unwrap_or(rest)))
}

/// A task or a CPU, as `line` writes it.
fn is_caller(inner: &str) -> bool {
    let digits = inner.strip_prefix(['T', 'C']).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_in_any_pieces_and_have_an_end() {
        let long = "x".repeat(MAX_LINE + 5);
        let text = format!("a\n\n{long}\nb\u{e9}\nrest");
        for size in [1, 2, 7, text.len()] {
            let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                splitter.push(piece, |line| lines.push(line.to_owned()));
            }
            assert_eq!(lines, ["a", "", &long[..MAX_LINE], "b\u{e9}"], "{size}");
            splitter.end(|line| assert_eq!(line, "rest"));
        }
    }

    #[test]
    fn a_prefix_is_a_time_and_perhaps_a_caller() {
        for (line, time, text) in [
            ("[    1.234567] a", Some(1.234_567), "a"),
            ("[    1.234567] [    T42] a", Some(1.234_567), "a"),
            ("[    1.234567] [     C7]  ? a", Some(1.234_567), " ? a"),
            ("[    1.234567] [CPU] a", Some(1.234_567), "[CPU] a"),
            ("[    1.234567] [T] a", Some(1.234_567), "[T] a"),
            ("[    1.234567] ", Some(1.234_567), ""),
            ("               a", None, "               a"),
            ("[drm] a", None, "[drm] a"),
            ("[", None, "["),
            ("", None, ""),
        ] {
            assert_eq!(without_prefix(line), (time, text), "{line}");
        }
    }
}
