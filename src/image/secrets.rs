//! Private keys in a stream of bytes, by how their text begins: identities of age and of its plugins, private keys as ssh
//! and TLS programs keep them. Programs hold such beginnings too, to tell keys, so there more must follow.

/// What private keys a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Secrets {
    /// An identity of age or of a plugin.
    pub identity: bool,
    /// A private key in PEM, of ssh.com or of PuTTY.
    pub private_key: bool,
}

/// How an age identity begins, up to its separator. Both letter cases are read by age.
const IDENTITIES: [&[u8]; 2] = [b"AGE-SECRET-KEY-1", b"AGE-SECRET-KEY-PQ-1"];
/// How a plugin's begins; its name follows, then the separator. Source: C2SP age-plugin.md.
const PLUGIN: &[u8] = b"AGE-PLUGIN-";
const SEPARATOR: &[u8] = b"-1";
/// Characters after the separator that make an identity: in text, and in a program.
const LEAST: [usize; 2] = [1, 58];
const LEAST_OF_PLUGIN: [usize; 2] = [3, 16];
/// How private keys begin: RFC 7468 and its predecessors (OPENSSH, RSA, EC, DSA, ENCRYPTED or nothing before the last two
/// words), and SSH2 of ssh.com.
const ARMOR: [(&[u8], &[u8]); 2] =
    [(b"-----BEGIN ", b"PRIVATE KEY-----"), (b"---- BEGIN ", b"PRIVATE KEY ----")];
const MAX_LABEL: usize = 40;
/// PuTTY 0.52 and later, one digit for the version. Source: PuTTY `sshpubk.c`.
const PUTTY: &[u8] = b"PuTTY-User-Key-File-";
/// Characters of a line after the first that make it a key.
const LEAST_OF_KEY: usize = 16;
/// More than the longest beginning with what must follow.
const OVERLAP: usize = 384;

/// Looks for private keys in a stream.
#[derive(Debug, Default)]
pub(super) struct Search {
    tail: Vec<u8>,
    started: bool,
    is_program: bool,
    /// What was found so far.
    pub found: Secrets,
}

impl Search {
    /// Takes the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        if !self.started {
            self.started = true;
            self.is_program = bytes.starts_with(b"\x7fELF");
        }
        if self.found.identity && self.found.private_key {
            return;
        }
        self.tail.extend_from_slice(bytes);
        for at in 0..self.tail.len() {
            let text = &self.tail[at..];
            match text[0] {
                b'A' | b'a' => self.found.identity |= is_identity(text, self.is_program),
                b'-' => self.found.private_key |= is_armored(text),
                b'P' => self.found.private_key |= is_putty(text),
                _ => {}
            }
        }
        let keep = self.tail.len().saturating_sub(OVERLAP);
        self.tail.drain(..keep);
    }
}

/// What follows a beginning, in any letter case.
fn after<'a>(text: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

fn alphanumerics(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count()
}

fn is_identity(text: &[u8], in_program: bool) -> bool {
    let least = |counts: [usize; 2]| counts[usize::from(in_program)];
    let of_age = IDENTITIES.iter().filter_map(|start| after(text, start));
    if of_age.into_iter().any(|rest| alphanumerics(rest) >= least(LEAST)) {
        return true;
    }
    let Some(rest) = after(text, PLUGIN) else { return false };
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._".contains(byte);
    let word = &rest[..rest.iter().take_while(|byte| is_of_name(byte)).count()];
    let separators = word.windows(SEPARATOR.len()).enumerate().skip(1);
    separators
        .filter(|(_, window)| *window == SEPARATOR)
        .any(|(at, _)| alphanumerics(&word[at + SEPARATOR.len()..]) >= least(LEAST_OF_PLUGIN))
}

/// A line that begins a private key, and a line of it.
fn is_armored(text: &[u8]) -> bool {
    ARMOR.iter().any(|&(begin, end)| {
        let Some(rest) = text.strip_prefix(begin) else { return false };
        let is_of_label = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
        let most = &rest[..rest.len().min(MAX_LABEL)];
        let ends = most.windows(end.len()).position(|window| window == end);
        ends.is_some_and(|at| most[..at].iter().all(is_of_label) && has_line(&rest[at + end.len()..]))
    })
}

/// A line end, and enough of a line after it.
fn has_line(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\r").unwrap_or(text);
    let Some(line) = text.strip_prefix(b"\n") else { return false };
    let is_of_line = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=:-, \"".contains(byte);
    line.iter().take_while(|byte| is_of_line(byte)).count() >= LEAST_OF_KEY
}

fn is_putty(text: &[u8]) -> bool {
    let Some([version, b':', b' ', kind @ ..]) = text.strip_prefix(PUTTY) else { return false };
    version.is_ascii_digit() && alphanumerics(kind) >= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> Secrets {
        let mut search = Search::default();
        search.take(bytes);
        search.found
    }

    fn holds(text: &str) -> [bool; 2] {
        let Secrets { identity, private_key } = found(text.as_bytes());
        [identity, private_key]
    }

    const BASE64: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW";

    #[test]
    fn keys_are_found_across_steps_and_not_in_programs_that_know_how_they_begin() {
        let identity = format!("AGE-SECRET-KEY-1{}", "Q".repeat(58));
        let key = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{BASE64}");
        for text in [&identity, &identity.to_lowercase(), &key] {
            for cut in 1..text.len() {
                let mut search = Search::default();
                search.take(&text.as_bytes()[..cut]);
                search.take(&text.as_bytes()[cut..]);
                assert!(search.found != Secrets::default(), "{text}: {cut}");
            }
        }
        for text in [
            "AGE-SECRET-KEY-1 and AGE-SECRET-KEY-",
            "\x7fELF AGE-SECRET-KEY-1QQ",
            "age-plugin-x -1",
            "age-plugin-x-12",
        ] {
            assert_eq!(holds(text), [false; 2], "{text}");
        }
        assert_eq!(holds(&format!("\x7fELF {identity}")), [true, false]);
        assert_eq!(holds(&format!("\x7fELF {}", identity.to_lowercase())), [true, false]);
    }

    #[test]
    fn identities_of_every_kind_are_found() {
        for text in [
            "x AGE-SECRET-KEY-PQ-1Q",
            "AGE-SECRET-KEY-1QQ",
            "age-secret-key-1qq",
            "# mine: Age-Secret-Key-PQ-1qq",
            "AGE-PLUGIN-YUBIKEY-1QQQQ",
            "age-plugin-x-1qqq",
            "AGE-PLUGIN-A-1B-1QQQ",
        ] {
            assert_eq!(holds(text), [true, false], "{text}");
        }
    }

    #[test]
    fn private_keys_of_every_kind_are_found_and_public_ones_are_not() {
        for label in ["OPENSSH ", "RSA ", "EC ", "DSA ", "ENCRYPTED ", ""] {
            for end in ["\n", "\r\n"] {
                let text = format!("-----BEGIN {label}PRIVATE KEY-----{end}{BASE64}\n");
                assert_eq!(holds(&text), [false, true], "{text}");
            }
        }
        for text in [
            format!("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: \"mine and yours\"\n{BASE64}"),
            format!("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n{BASE64}"),
            "PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\n".to_owned(),
            "PuTTY-User-Key-File-3: ssh-ed25519\r\n".to_owned(),
        ] {
            assert_eq!(holds(&text), [false, true], "{text}");
        }
        for text in [
            format!("-----BEGIN PUBLIC KEY-----\n{BASE64}"),
            format!("-----BEGIN CERTIFICATE-----\n{BASE64}"),
            "grep -q -e '-----BEGIN RSA PRIVATE KEY-----' \"$1\"\necho a key".to_owned(),
            "\x7fELF-----BEGIN OPENSSH PRIVATE KEY----------END OPENSSH PRIVATE KEY-----".to_owned(),
            "PuTTY-User-Key-File-%d: %s".to_owned(),
        ] {
            assert_eq!(holds(&text), [false; 2], "{text}");
        }
    }
}
