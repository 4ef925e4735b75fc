//! The header of an age file: stanzas that wrap the file key, and the MAC over them. A strict parser, linear
//! in the header's length and bounded before it reads; the encoder is its exact inverse. What stanzas
//! mean is left to identities and recipients. Source: C2SP age.md "Header".

use super::Error;
use age_core::format::{FileKey, Stanza, is_arbitrary_string};
use age_core::primitives::hkdf;
use age_core::secrecy::ExposeSecret;
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::io::{BufRead, Read};
use zeroize::Zeroizing;

/// Longest header read or written, in bytes. A stanza takes 100 (X25519) to 1,600 (post-quantum) bytes, so this
/// is room for 160 post-quantum recipients; the format itself sets no limit.
pub const MAX_HEADER: usize = 256 * 1024;

const VERSION_LINE: &[u8] = b"age-encryption.org/v1\n";
const VERSION_PREFIX: &[u8] = b"age-encryption.org/";
const STANZA_PREFIX: &[u8] = b"-> ";
const MAC_PREFIX: &[u8] = b"---";
/// Columns of a full line of a stanza's body; the line that ends a body is shorter.
const COLUMNS: usize = 64;
const MAC_SIZE: usize = 32;

/// A header that follows the grammar. Its MAC is true only after [`Header::verify`].
pub struct Header {
    stanzas: Vec<Stanza>,
    /// From the version line to `---`, what the MAC covers.
    covered: Vec<u8>,
    mac: [u8; MAC_SIZE],
}

impl Header {
    /// Makes the header that wraps `file_key` as `stanzas` say, and its MAC.
    ///
    /// # Errors
    /// [`Error::Header`] or [`Error::TooManyRecipients`] when the stanzas make no header that can be read back.
    pub fn new(stanzas: Vec<Stanza>, file_key: &FileKey) -> Result<Header, Error> {
        check_structure(&stanzas, 1)?;
        let mut covered = VERSION_LINE.to_vec();
        for stanza in &stanzas {
            encode_stanza(stanza, &mut covered)?;
        }
        covered.extend_from_slice(MAC_PREFIX);
        let mac = mac(file_key, &covered).finalize().into_bytes().into();
        let header = Header { stanzas, covered, mac };
        let bytes = header.encoded_len();
        if bytes > MAX_HEADER { Err(Error::TooManyRecipients { bytes }) } else { Ok(header) }
    }

    /// Reads a header and not a byte more: the nonce comes next.
    ///
    /// # Errors
    /// [`Error::NotAge`], [`Error::UnsupportedVersion`], [`Error::Header`] with the line,
    /// [`Error::HeaderTooLong`], [`Error::HeaderTruncated`], [`Error::Io`].
    pub fn read(input: &mut impl BufRead) -> Result<Header, Error> {
        let mut lines = Lines { input, read: Vec::new(), start: 0, count: 0 };
        read_version(&mut lines)?;
        let mut stanzas = Vec::new();
        loop {
            let line = lines.next()?;
            if let Some(arguments) = line.strip_prefix(STANZA_PREFIX) {
                let (tag, args) = parse_arguments(arguments).map_err(|what| lines.error(what))?;
                stanzas.push(Stanza { tag, args, body: read_body(&mut lines)? });
            } else if let Some(mac) = line.strip_prefix(MAC_PREFIX) {
                let mac = parse_mac(mac).ok_or_else(|| lines.error("the MAC line is malformed"))?;
                check_structure(&stanzas, lines.count)?;
                let mut covered = lines.read;
                covered.truncate(lines.start + MAC_PREFIX.len());
                return Ok(Header { stanzas, covered, mac });
            } else {
                return Err(lines.error("neither a stanza nor the MAC line"));
            }
        }
    }

    /// Checks that `file_key` is this header's and that nothing in it was changed.
    ///
    /// # Errors
    /// [`Error::BadMac`].
    pub fn verify(&self, file_key: &FileKey) -> Result<(), Error> {
        mac(file_key, &self.covered).verify_slice(&self.mac).map_err(|_| Error::BadMac)
    }

    /// The stanzas, in order.
    #[must_use]
    pub fn stanzas(&self) -> &[Stanza] {
        &self.stanzas
    }

    /// The stanzas, for another header.
    #[must_use]
    pub fn into_stanzas(self) -> Vec<Stanza> {
        self.stanzas
    }

    /// The types of the stanzas, in order.
    #[must_use]
    pub fn stanza_types(&self) -> Vec<String> {
        self.stanzas.iter().map(|stanza| stanza.tag.clone()).collect()
    }

    /// The header's bytes, up to and including the line feed after the MAC.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.covered.clone();
        bytes.push(b' ');
        bytes.extend_from_slice(BASE64.encode(self.mac).as_bytes());
        bytes.push(b'\n');
        bytes
    }

    /// Length of [`Header::encode`], in bytes; the nonce starts there.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.covered.len() + 1 + 43 + 1
    }
}

/// HMAC-SHA-256 keyed with HKDF(file key, no salt, `header`), over what the MAC covers.
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac(file_key: &FileKey, covered: &[u8]) -> Hmac<Sha256> {
    let key = Zeroizing::new(hkdf(&[], b"header", file_key.expose_secret()));
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(&*key).expect("internal error: HMAC key length");
    mac.chain_update(covered)
}

/// At least one stanza; a passphrase stanza is alone, so that whoever knows the passphrase knows that
/// only its holders could have written the file.
fn check_structure(stanzas: &[Stanza], line: usize) -> Result<(), Error> {
    let what = match stanzas {
        [] => "no stanza",
        [_, _, ..] if stanzas.iter().any(|stanza| stanza.tag == "scrypt") => {
            "a passphrase stanza must be the only stanza"
        }
        _ => return Ok(()),
    };
    Err(Error::Header { line, what })
}

/// Appends a stanza as it stands in a header.
pub(super) fn encode_stanza(stanza: &Stanza, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut words = std::iter::once(&stanza.tag).chain(&stanza.args);
    if !words.clone().all(is_arbitrary_string) {
        return Err(Error::Header { line: 1, what: "an argument of a stanza is not printable" });
    }
    out.extend_from_slice(b"->");
    words.by_ref().for_each(|word| {
        out.push(b' ');
        out.extend_from_slice(word.as_bytes());
    });
    out.push(b'\n');
    let body = BASE64.encode(&stanza.body);
    let mut lines = body.as_bytes().chunks_exact(COLUMNS);
    for line in lines.by_ref() {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(lines.remainder());
    out.push(b'\n');
    Ok(())
}

fn read_version(lines: &mut Lines<'_, impl BufRead>) -> Result<(), Error> {
    let result = lines.next_raw().map(|line| line == VERSION_LINE);
    let seen = &lines.read;
    let is_age = seen.starts_with(VERSION_PREFIX);
    match result {
        Ok(true) => Ok(()),
        Ok(false) if is_age => Err(Error::UnsupportedVersion),
        Err(Error::Io(error)) => Err(Error::Io(error)),
        // A cut before the version ends is a cut age file as far as anyone can tell.
        Err(Error::HeaderTruncated) if is_age => Err(Error::HeaderTruncated),
        Err(Error::HeaderTruncated) if !seen.is_empty() && VERSION_PREFIX.starts_with(seen) => {
            Err(Error::HeaderTruncated)
        }
        _ => Err(Error::NotAge),
    }
}

fn parse_arguments(text: &[u8]) -> Result<(String, Vec<String>), &'static str> {
    let mut words = text.split(|&byte| byte == b' ').map(|word| {
        let word = std::str::from_utf8(word).unwrap_or("").to_owned();
        if is_arbitrary_string(&word) { Ok(word) } else { Err("an argument is empty or not printable") }
    });
    let tag = words.next().unwrap_or(Err("a stanza without type"))?;
    Ok((tag, words.collect::<Result<_, _>>()?))
}

fn read_body(lines: &mut Lines<'_, impl BufRead>) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    loop {
        let line = lines.next()?;
        let length = line.len();
        let decoded = if length > COLUMNS { None } else { BASE64.decode(line).ok() };
        let Some(decoded) = decoded else {
            return Err(lines.error("a stanza's body is not canonical base64 in lines of 64"));
        };
        body.extend_from_slice(&decoded);
        if length < COLUMNS {
            return Ok(body);
        }
    }
}

/// Reads stanzas that a plugin sends, in a header's grammar and within [`MAX_HEADER`] bytes altogether.
pub(super) struct StanzaReader<'a, R>(Lines<'a, R>);

impl<'a, R: BufRead> StanzaReader<'a, R> {
    pub(super) fn new(input: &'a mut R) -> Self {
        StanzaReader(Lines { input, read: Vec::new(), start: 0, count: 0 })
    }

    /// The next stanza.
    ///
    /// # Errors
    /// [`Error::Header`], [`Error::HeaderTooLong`], [`Error::HeaderTruncated`], [`Error::Io`].
    pub(super) fn read(&mut self) -> Result<Stanza, Error> {
        let lines = &mut self.0;
        let line = lines.next()?;
        let arguments = line.strip_prefix(STANZA_PREFIX).map(parse_arguments);
        match arguments.unwrap_or(Err("not a stanza")) {
            Ok((tag, args)) => Ok(Stanza { tag, args, body: read_body(lines)? }),
            Err(what) => Err(lines.error(what)),
        }
    }
}

fn parse_mac(text: &[u8]) -> Option<[u8; MAC_SIZE]> {
    let encoded = text.strip_prefix(b" ")?;
    BASE64.decode(encoded).ok()?.try_into().ok()
}

/// Lines of the header, counted from 1, within [`MAX_HEADER`] bytes altogether.
struct Lines<'a, R> {
    input: &'a mut R,
    /// All bytes so far.
    read: Vec<u8>,
    /// Where the current line starts in them.
    start: usize,
    count: usize,
}

impl<R: BufRead> Lines<'_, R> {
    /// The next line without its line feed.
    fn next(&mut self) -> Result<&[u8], Error> {
        self.next_raw().map(|line| &line[..line.len() - 1])
    }

    /// The next line with its line feed.
    fn next_raw(&mut self) -> Result<&[u8], Error> {
        self.start = self.read.len();
        self.count += 1;
        let room = (MAX_HEADER - self.read.len()) as u64;
        (&mut self.input).take(room).read_until(b'\n', &mut self.read)?;
        match self.read[self.start..].ends_with(b"\n") {
            true => Ok(&self.read[self.start..]),
            false if self.read.len() == MAX_HEADER => Err(Error::HeaderTooLong),
            false => Err(Error::HeaderTruncated),
        }
    }

    fn error(&self, what: &'static str) -> Error {
        Error::Header { line: self.count, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_key() -> FileKey {
        FileKey::new(Box::new(*b"YELLOW SUBMARINE"))
    }

    fn stanza(tag: &str, args: &[&str], body: usize) -> Stanza {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Stanza { tag: tag.to_owned(), args, body: vec![0xa5; body] }
    }

    fn parse(text: &str) -> Result<Header, Error> {
        Header::read(&mut text.as_bytes())
    }

    fn message(text: &str) -> String {
        parse(text).err().expect("an error").to_string()
    }

    #[test]
    fn reads_what_it_writes_and_nothing_behind() {
        for body in [0, 1, 32, 47, 48, 49, 96, 1000] {
            let stanzas = vec![stanza("a", &["b", "~!"], body), stanza("X", &[], 0)];
            let header = Header::new(stanzas, &file_key()).unwrap();
            let mut file = header.encode();
            assert_eq!(file.len(), header.encoded_len());
            file.extend_from_slice(b"nonce");
            let mut input = &file[..];
            let back = Header::read(&mut input).unwrap();
            assert_eq!(input, b"nonce");
            assert_eq!(back.stanzas(), header.stanzas());
            assert_eq!(back.encode(), header.encode());
            back.verify(&file_key()).unwrap();
            assert!(matches!(back.verify(&FileKey::new(Box::new([0; 16]))), Err(Error::BadMac)));
        }
    }

    #[test]
    fn a_full_last_line_is_followed_by_an_empty_one() {
        let bytes = Header::new(vec![stanza("t", &[], 48)], &file_key()).unwrap().encode();
        let text = String::from_utf8(bytes).unwrap();
        let line = "paWl".repeat(16);
        assert!(text.starts_with(&format!("age-encryption.org/v1\n-> t\n{line}\n\n--- ")), "{text}");
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let mac = format!("--- {}\n", "A".repeat(43));
        let start = "age-encryption.org/v1\n";
        assert_eq!(message("hello\n"), "not an age file");
        assert_eq!(message(""), "not an age file");
        assert_eq!(message("age-encr"), "truncated inside the age header");
        assert_eq!(message("age-encryption.org/v2\n"), "an age file of an unsupported version");
        assert_eq!(message(&format!("{start}{mac}")), "corrupt age header, line 2: no stanza");
        assert_eq!(
            message(&format!("{start}-> x  y\n\n{mac}")),
            "corrupt age header, line 2: an argument is empty or not printable"
        );
        for body in ["AA==\n", "AB\n", "A\r\n", &"A".repeat(65), " \n"] {
            let text = format!("{start}-> x\n{body}\n{mac}");
            assert!(message(&text).starts_with("corrupt age header, line 3: a stanza's body"), "{body}");
        }
        assert!(
            message(&format!("{start}-> x\n\n--- {}\n", "A".repeat(42)))
                .ends_with("the MAC line is malformed")
        );
        assert!(
            message(&format!("{start}-> x\n\n---{}\n", "A".repeat(43)))
                .ends_with("the MAC line is malformed")
        );
        assert!(message(&format!("{start}-> scrypt\n\n-> x\n\n{mac}")).ends_with("must be the only stanza"));
    }

    #[test]
    fn every_truncation_is_noticed() {
        let bytes = Header::new(vec![stanza("t", &["a"], 60)], &file_key()).unwrap().encode();
        for cut in 1..bytes.len() {
            let result = Header::read(&mut &bytes[..cut]);
            assert!(matches!(result, Err(Error::HeaderTruncated)), "{cut}");
        }
    }

    #[test]
    fn an_endless_header_is_refused_after_the_limit() {
        let mut input = std::io::BufReader::new(VERSION_LINE.chain(std::io::repeat(b'x')));
        assert!(matches!(Header::read(&mut input), Err(Error::HeaderTooLong | Error::Header { .. })));
        let stanzas: String = "-> x\n\n".repeat(MAX_HEADER / 4);
        let text = format!("age-encryption.org/v1\n{stanzas}");
        assert!(matches!(parse(&text), Err(Error::HeaderTooLong)));
        let long = vec![stanza("x", &[], MAX_HEADER)];
        assert!(matches!(Header::new(long, &file_key()), Err(Error::TooManyRecipients { .. })));
    }

    /// Deterministic stand-in for a fuzzer: whatever a mutated header parses to encodes to the same bytes.
    #[test]
    fn mutations_are_refused_or_round_trip() {
        let header =
            Header::new(vec![stanza("X25519", &["abc"], 32), stanza("g", &[], 70)], &file_key()).unwrap();
        let original = header.encode();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        for _ in 0..20_000 {
            let mut bytes = original.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] = u8::try_from(random(256)).unwrap(),
                    1 if bytes.len() > 1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, b"\n ->-A="[random(7)]),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let mut input = &bytes[..];
            if let Ok(parsed) = Header::read(&mut input) {
                assert_eq!(parsed.encode(), bytes[..bytes.len() - input.len()]);
                assert!(parsed.verify(&file_key()).is_err() || parsed.encode() == original);
            }
        }
    }
}
