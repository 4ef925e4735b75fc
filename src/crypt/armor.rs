//! Armor: an age file as base64 text between BEGIN and END lines (C2SP age.md "ASCII armor"). Recognised on reading,
//! strictly and in constant memory; what is inside is for the other modules. The `age` crate (0.12) has a reader too, but it
//! takes a line of any length into memory.

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use std::io::{self, BufRead, Read};

const BEGIN: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const END: &[u8] = b"-----END AGE ENCRYPTED FILE-----";
const COLUMNS: usize = 64;
const BYTES_PER_LINE: usize = COLUMNS / 4 * 3;
/// White space allowed before and after an armored file; the limits of age's own reader.
const MAX_SPACE: usize = 1024;

/// Gives the binary age file inside `input`, whether it is armored or not. White space before it is skipped
/// when armor follows.
///
/// # Errors
/// What `input` reports. Malformed armor shows later, as `InvalidData` from the reader returned.
pub fn dearmored<'a>(input: impl BufRead + Send + 'a) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    reader(input, Damage::Fails)
}

/// The same of a dump, of which as much is read as there is: armor that is cut ends there, and a full line after the first that
/// cannot be decoded is zeros. The encryption tells the one as a cut and the other as a chunk that is not authentic.
///
/// # Errors
/// As [`dearmored`].
pub fn dearmored_as_far<'a>(input: impl BufRead + Send + 'a) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    reader(input, Damage::Passes)
}

fn reader<'a>(
    mut input: impl BufRead + Send + 'a,
    damage: Damage,
) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    skip_space(&mut input)?;
    let armored = input.fill_buf()?.first() == Some(&BEGIN[0]);
    Ok(if armored { Box::new(io::BufReader::new(ArmorReader::new(input, damage))) } else { Box::new(input) })
}

/// What becomes of armor that is cut, and of a line that cannot be decoded.
#[derive(Clone, Copy, PartialEq)]
enum Damage {
    /// An error.
    Fails,
    /// The end of what there is; zeros.
    Passes,
}

/// Skips at most [`MAX_SPACE`] bytes of white space. No binary age file starts with any.
fn skip_space(input: &mut impl BufRead) -> io::Result<()> {
    let mut room = MAX_SPACE;
    loop {
        let buffer = input.fill_buf()?;
        let spaces = buffer.iter().take(room).take_while(|byte| byte.is_ascii_whitespace()).count();
        input.consume(spaces);
        room -= spaces;
        if spaces == 0 {
            return Ok(());
        }
    }
}

/// Decodes armor line by line.
struct ArmorReader<R> {
    inner: R,
    line: Vec<u8>,
    decoded: Vec<u8>,
    position: usize,
    state: State,
    damage: Damage,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Begin,
    /// The line that tells what is inside.
    FirstLine,
    Body,
    /// After a line that decoded to less than a full one: only END may follow.
    ShortLine,
    End,
}

impl<R: BufRead> ArmorReader<R> {
    fn new(inner: R, damage: Damage) -> Self {
        ArmorReader { inner, line: Vec::new(), decoded: Vec::new(), position: 0, state: State::Begin, damage }
    }

    /// Reads one line into `self.line`, without its LF or CRLF; whether it had one.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let longest = COLUMNS + b"\r\n".len();
        (&mut self.inner).take(longest as u64).read_until(b'\n', &mut self.line)?;
        let has_end = self.line.pop_if(|byte| *byte == b'\n').is_some();
        if has_end {
            self.line.pop_if(|byte| *byte == b'\r');
        }
        Ok(has_end)
    }

    fn refill(&mut self) -> io::Result<()> {
        if self.state == State::Begin {
            self.read_line()?;
            if self.line != BEGIN {
                return Err(malformed("its first line is not the BEGIN line"));
            }
            self.state = State::FirstLine;
        }
        self.decoded.clear();
        self.position = 0;
        let has_end = self.read_line()?;
        if self.line == END {
            self.state = State::End;
            return self.check_end();
        }
        // A line without its end that is not too long is the last one there is.
        if !has_end && self.line.len() <= COLUMNS && self.damage == Damage::Passes {
            self.decode_cut_line();
            return Ok(());
        }
        self.decode_line()
    }

    /// As much of a cut line as makes whole bytes.
    fn decode_cut_line(&mut self) {
        self.state = State::End;
        self.line.truncate(self.line.len() / 4 * 4);
        // What is not base64 begins the END line, or is damage after which nothing comes.
        if BASE64.decode_vec(&self.line, &mut self.decoded).is_err() {
            self.decoded.clear();
        }
    }

    fn decode_line(&mut self) -> io::Result<()> {
        let length = self.line.len();
        if self.state == State::ShortLine || length == 0 || length > COLUMNS {
            return Err(malformed("lines are not 64 columns wide, or the END line is missing"));
        }
        if BASE64.decode_vec(&self.line, &mut self.decoded).is_err() {
            let may_pass = length == COLUMNS && self.state == State::Body;
            if !may_pass || self.damage == Damage::Fails {
                return Err(malformed("a line is not canonical base64"));
            }
            self.decoded.clear();
            self.decoded.resize(BYTES_PER_LINE, 0);
        }
        let is_full = self.decoded.len() == BYTES_PER_LINE;
        self.state = if is_full { State::Body } else { State::ShortLine };
        Ok(())
    }

    fn check_end(&mut self) -> io::Result<()> {
        skip_space(&mut self.inner)?;
        if self.inner.fill_buf()?.is_empty() { Ok(()) } else { Err(malformed("data follows the END line")) }
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("corrupt armor: {what}"))
}

impl<R: BufRead> Read for ArmorReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.position == self.decoded.len() && self.state != State::End {
            self.refill()?;
        }
        let rest = &self.decoded[self.position..];
        let take = rest.len().min(out.len());
        out[..take].copy_from_slice(&rest[..take]);
        self.position += take;
        Ok(take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        match dearmored(text.as_bytes()).and_then(|mut reader| reader.read_to_end(&mut out)) {
            Ok(_) => Ok(out),
            Err(error) => Err(error.to_string()),
        }
    }

    fn armor(lines: &str) -> String {
        format!("-----BEGIN AGE ENCRYPTED FILE-----\n{lines}-----END AGE ENCRYPTED FILE-----\n")
    }

    #[test]
    fn binary_passes_through() {
        assert_eq!(read("age-encryption.org/v1\n\0").unwrap(), b"age-encryption.org/v1\n\0");
        assert_eq!(read("").unwrap(), b"");
    }

    #[test]
    fn armor_is_decoded() {
        let full = "QUFB".repeat(16);
        assert_eq!(read(&armor(&format!("{full}\nQQ==\n"))).unwrap(), [b'A'; 49]);
        let crlf = armor(&format!("{full}\n")).replace('\n', "\r\n");
        assert_eq!(read(&format!(" \n\t{crlf}  \n")).unwrap(), [b'A'; 48]);
    }

    #[test]
    fn malformed_armor_is_refused() {
        let full = "QUFB".repeat(16);
        for lines in
            ["\n", "QQ=\n", "QQ\n", "QR==\n", "QQ==\nQQ==\n", " QQ==\n", "QQ== \n", &format!("{full}QUFB\n")]
        {
            assert!(read(&armor(lines)).unwrap_err().starts_with("corrupt armor: "), "{lines:?}");
        }
        let whole = armor("QQ==\n");
        for cut in 1..whole.len() - 1 {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(read(&format!("{whole}x")).is_err());
    }

    #[test]
    fn of_a_dump_there_is_as_much_as_its_armor_has() {
        let read = |text: &str| {
            let mut out = Vec::new();
            dearmored_as_far(text.as_bytes()).and_then(|mut reader| reader.read_to_end(&mut out)).map(|_| out)
        };
        let full = "QUFB".repeat(16);
        let whole = armor(&format!("{full}\n{full}\nQUE=\n"));
        assert_eq!(read(&whole).unwrap(), [b'A'; 98]);
        let begin = whole.find('\n').unwrap() + 1;
        for cut in begin..whole.len() - 1 {
            let there = read(&whole[..cut]).unwrap();
            // Without padding a last group that is cut has no byte.
            let (lines, rest) = ((cut - begin) / 65, (cut - begin) % 65);
            let expected =
                if lines < 2 { lines * 48 + rest / 4 * 3 } else { 96 + if rest >= 4 { 2 } else { 0 } };
            assert_eq!(there, vec![b'A'; expected], "{cut}");
        }
        let bad = whole.replace("QUFB\nQUFB", "QUFB\nQU*B");
        assert_eq!(read(&bad).unwrap(), [&[b'A'; 48][..], &[0; 48], b"AA"].concat());
        assert!(read(&whole.replacen("QUFB", "QU*B", 1)).is_err());
        // Lines that were lost or joined are no such damage.
        for bad in [armor(&format!("{full}QUFB\n")), armor(&format!("{}\n{full}\n", &full[1..]))] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
