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
pub fn dearmored<'a>(mut input: impl BufRead + Send + 'a) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    skip_space(&mut input)?;
    let armored = input.fill_buf()?.first() == Some(&BEGIN[0]);
    Ok(if armored { Box::new(io::BufReader::new(ArmorReader::new(input))) } else { Box::new(input) })
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
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Begin,
    Body,
    /// After a line that decoded to less than a full one: only END may follow.
    ShortLine,
    End,
}

impl<R: BufRead> ArmorReader<R> {
    fn new(inner: R) -> Self {
        ArmorReader { inner, line: Vec::new(), decoded: Vec::new(), position: 0, state: State::Begin }
    }

    /// Reads one line into `self.line`, without its LF or CRLF.
    fn read_line(&mut self) -> io::Result<()> {
        self.line.clear();
        let longest = COLUMNS + b"\r\n".len();
        (&mut self.inner).take(longest as u64).read_until(b'\n', &mut self.line)?;
        if self.line.pop_if(|byte| *byte == b'\n').is_some() {
            self.line.pop_if(|byte| *byte == b'\r');
        }
        Ok(())
    }

    fn refill(&mut self) -> io::Result<()> {
        if self.state == State::Begin {
            self.read_line()?;
            if self.line != BEGIN {
                return Err(malformed("its first line is not the BEGIN line"));
            }
            self.state = State::Body;
        }
        self.decoded.clear();
        self.position = 0;
        self.read_line()?;
        if self.line == END {
            self.state = State::End;
            return self.check_end();
        }
        self.decode_line()
    }

    fn decode_line(&mut self) -> io::Result<()> {
        let length = self.line.len();
        if self.state == State::ShortLine || length == 0 || length > COLUMNS {
            return Err(malformed("lines are not 64 columns wide, or the END line is missing"));
        }
        BASE64
            .decode_vec(&self.line, &mut self.decoded)
            .map_err(|_| malformed("a line is not canonical base64"))?;
        if self.decoded.len() < BYTES_PER_LINE {
            self.state = State::ShortLine;
        }
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
}
