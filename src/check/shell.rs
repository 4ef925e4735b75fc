//! Files that a shell reads as assignments, `/etc/default/kdump-tools` and `/etc/sysconfig/kdump`. They are read as
//! data: quotes and escapes as POSIX sh has them, expansions kept as text, anything that is no assignment listed.

/// What such a file assigns, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    values: Vec<(String, String)>,
    /// The lines, counted from 1, that hold anything else: what those do is not known.
    pub(super) others: Vec<usize>,
}

impl Settings {
    /// Reads the text of a file.
    pub(super) fn parse(text: &str) -> Settings {
        let mut settings = Settings::default();
        let mut reader = Reader { chars: text.chars().collect(), at: 0 };
        while reader.skip_to_statement() {
            let line = reader.line();
            match reader.statement() {
                Some(assigned) => settings.values.extend(assigned),
                None => {
                    settings.others.push(line);
                    reader.skip_line();
                }
            }
        }
        settings
    }

    /// The value that the last assignment of a key gives it.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The same; empty where nothing assigns the key.
    pub(super) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }
}

struct Reader {
    chars: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += 1;
        Some(char)
    }

    fn line(&self) -> usize {
        self.chars[..self.at].iter().filter(|char| **char == '\n').count() + 1
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|char| char != '\n') {}
    }

    /// Whether there is a statement; the next character is its first one.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            match self.peek() {
                Some('#') => self.skip_line(),
                Some(' ' | '\t' | '\n' | '\r' | ';') => self.at += 1,
                other => return other.is_some(),
            }
        }
    }

    /// A statement that does nothing but assign, after an optional `export`.
    fn statement(&mut self) -> Option<Vec<(String, String)>> {
        let mut assigned = Vec::new();
        loop {
            let name = self.name();
            match self.peek() {
                Some('=') if !name.is_empty() => self.at += 1,
                Some(' ' | '\t') if name == "export" && assigned.is_empty() => {
                    self.skip_blanks();
                    continue;
                }
                _ => return None,
            }
            assigned.push((name, self.value()?));
            self.skip_blanks();
            match self.peek() {
                None | Some('\n' | '\r' | ';' | '#') => return Some(assigned),
                Some(_) => {}
            }
        }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.at += 1;
        }
    }

    fn name(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|char| char == '_' || char.is_ascii_alphanumeric()) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    /// A value up to a blank; `None` where a quote does not end or something other than a word follows.
    fn value(&mut self) -> Option<String> {
        let mut value = String::new();
        loop {
            match self.peek() {
                None | Some(' ' | '\t' | '\n' | '\r' | ';') => return Some(value),
                Some('&' | '|' | '<' | '>' | '(' | ')') => return None,
                Some(quote @ ('\'' | '"')) => {
                    self.at += 1;
                    self.quoted(quote, &mut value)?;
                }
                Some('\\') => {
                    self.at += 1;
                    value.extend(self.next().filter(|char| *char != '\n'));
                }
                Some(char) => {
                    self.at += 1;
                    value.push(char);
                }
            }
        }
    }

    fn quoted(&mut self, quote: char, value: &mut String) -> Option<()> {
        loop {
            match self.next()? {
                char if char == quote => return Some(()),
                '\\' if quote == '"' => match self.next()? {
                    '\n' => {}
                    char @ ('$' | '`' | '"' | '\\') => value.push(char),
                    char => value.extend(['\\', char]),
                },
                char => value.push(char),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_a_shell_reads_them() {
        let text = "#A=0\nA=1\n  B=\"x y\" # z\nA='2 3'\nC=\nexport D=a E=b;F=\"p\"'q'\\ r\nG='it'\\''s'\nH=\"a\\\n\\\"b\"\n";
        let settings = Settings::parse(text);
        let value = |key| settings.get(key);
        assert_eq!((value("A"), value("B"), value("C")), (Some("2 3"), Some("x y"), Some("")));
        assert_eq!((value("D"), value("E"), value("F")), (Some("a"), Some("b"), Some("pq r")));
        assert_eq!((value("G"), value("H"), value("I")), (Some("it's"), Some("a\"b"), None));
        assert_eq!(settings.others, [] as [usize; 0]);
    }

    #[test]
    fn what_is_no_assignment_is_listed_and_assigns_nothing() {
        let settings =
            Settings::parse("A=1\n. /etc/other\nA=2 command\nA=3; A=4 | x\nif true; then\nB=5\nA='\n");
        assert_eq!((settings.get("A"), settings.get("B")), (Some("3"), Some("5")));
        assert_eq!(settings.others, [2, 3, 4, 5, 7]);
        assert_eq!(Settings::parse("A=\"$B `c`\"").get("A"), Some("$B `c`"), "an expansion stays text");
    }
}
