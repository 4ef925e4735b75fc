//! One recipient: who will be able to open a file, as users write it into recipients files and on command
//! lines. Refuses what cannot work or must not be there, with a reason that never repeats the text.

use super::error::RecipientError;
use super::{pq, ssh};
use age_core::primitives::bech32_decode;
use bech32::primitives::decode::{CheckedHrpstringError, ChecksumError};
use std::fmt;
use std::str::FromStr;

/// Letters of an `age1...` recipient.
const X25519_LEN: usize = 62;

/// What kind of key a recipient is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientKind {
    /// `age1...`: X25519.
    X25519,
    /// `age1pq1...`: ML-KEM-768 with X25519.
    MlKem768X25519,
    /// `age1tag1...`: P-256 on a hardware key.
    P256Tag,
    /// `age1tagpq1...`: ML-KEM-768 with P-256 on a hardware key.
    MlKem768P256Tag,
    /// `ssh-ed25519 ...`.
    SshEd25519,
    /// `ssh-rsa ...`.
    SshRsa,
    /// `age1NAME1...`: needs the program `age-plugin-NAME`.
    Plugin(String),
}

impl RecipientKind {
    /// Whether files stay closed to quantum computers; unknown for plugins.
    #[must_use]
    pub fn is_postquantum(&self) -> Option<bool> {
        match self {
            RecipientKind::MlKem768X25519 | RecipientKind::MlKem768P256Tag => Some(true),
            RecipientKind::Plugin(_) => None,
            _ => Some(false),
        }
    }
}

impl fmt::Display for RecipientKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecipientKind::X25519 => f.write_str("X25519"),
            RecipientKind::MlKem768X25519 => f.write_str("mlkem768x25519"),
            RecipientKind::P256Tag => f.write_str("p256tag"),
            RecipientKind::MlKem768P256Tag => f.write_str("mlkem768p256tag"),
            RecipientKind::SshEd25519 => f.write_str("ssh-ed25519"),
            RecipientKind::SshRsa => f.write_str("ssh-rsa"),
            RecipientKind::Plugin(name) => write!(f, "plugin {name}"),
        }
    }
}

/// One recipient. Displays as its canonical text: the `age1...` string, or type and key of an ssh key
/// without options and comment.
pub struct Recipient {
    pub(super) kind: RecipientKind,
    pub(super) text: String,
    pub(super) key: Key,
}

/// How the file key is wrapped to it.
pub(super) enum Key {
    /// By this program.
    Direct(Box<dyn age::Recipient + Send + Sync>),
    /// By a plugin program, together with its other recipients.
    Plugin(age::plugin::Recipient),
}

impl Recipient {
    /// The kind of key.
    #[must_use]
    pub fn kind(&self) -> &RecipientKind {
        &self.kind
    }

    fn new<R: age::Recipient + fmt::Display + Send + Sync + 'static>(kind: RecipientKind, key: R) -> Self {
        Recipient { kind, text: key.to_string(), key: Key::Direct(Box::new(key)) }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    /// Parses one recipient, as it stands on a line of a recipients file.
    fn from_str(text: &str) -> Result<Self, RecipientError> {
        let text = text.trim_ascii();
        if looks_private(text) {
            return Err(RecipientError::PrivateKey);
        }
        if let Some((human_part, _)) = text.rsplit_once('1').filter(|_| text.starts_with("age1")) {
            return parse_age(human_part, text).map_err(|error| match error {
                // Of a text that has all its letters, the checksum's error is more exact.
                RecipientError::NotARecipient if human_part != "age" || text.len() == X25519_LEN => {
                    decode_bech32(text).err().unwrap_or(error)
                }
                error => error,
            });
        }
        let key = ssh::parse_recipient(text)?;
        let kind = match key {
            age::ssh::Recipient::SshEd25519(..) => RecipientKind::SshEd25519,
            age::ssh::Recipient::SshRsa(..) => RecipientKind::SshRsa,
        };
        Ok(Recipient::new(kind, key))
    }
}

/// Whether a private key, or a line of one, is anywhere in a line: in any letter case, with its label cut, in a comment.
pub(super) fn looks_private(line: &str) -> bool {
    // The last is how the base64 of OpenSSH's own format begins.
    const MARKS: [&str; 4] =
        ["AGE-SECRET-KEY-", "PRIVATE KEY-----", "PUTTY-USER-KEY-FILE-", "B3BLBNNZAC1RZXKTDJEA"];
    let upper = line.to_ascii_uppercase();
    MARKS.iter().any(|mark| upper.contains(mark))
        || (upper.contains("BEGIN ") && upper.contains("PRIVATE KEY"))
        || upper.split("AGE-PLUGIN-").skip(1).any(is_plugin_identity)
}

/// Whether what follows `AGE-PLUGIN-` is the rest of an identity, `NAME-1DATA`, and not only a program's name.
fn is_plugin_identity(rest: &str) -> bool {
    let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && !"+-._".contains(char));
    let word = &rest[..end.unwrap_or(rest.len())];
    let data = word.rsplit_once("-1").map(|(_, data)| data);
    data.is_some_and(|data| data.len() >= 3 && data.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Parses `age1...` by the part before its last `1`. The canonical text must be the text given: bech32 leaves
/// room for upper case and stray padding bits, which other implementations refuse.
fn parse_age(human_part: &str, text: &str) -> Result<Recipient, RecipientError> {
    let wrong = |_| RecipientError::NotARecipient;
    let recipient = match human_part {
        "age" => {
            pq::check_x25519(&decode_bech32(text)?)?;
            let key: age::x25519::Recipient = text.parse().map_err(wrong)?;
            Recipient::new(RecipientKind::X25519, key)
        }
        "age1pq" => Recipient::new(RecipientKind::MlKem768X25519, text.parse::<pq::Recipient>()?),
        "age1tag" => {
            Recipient::new(RecipientKind::P256Tag, text.parse::<age::tag::Recipient>().map_err(wrong)?)
        }
        "age1tagpq" => Recipient::new(
            RecipientKind::MlKem768P256Tag,
            text.parse::<age::tagpq::Recipient>().map_err(wrong)?,
        ),
        _ => parse_plugin(text)?,
    };
    if recipient.text == text { Ok(recipient) } else { Err(RecipientError::NotARecipient) }
}

fn parse_plugin(text: &str) -> Result<Recipient, RecipientError> {
    let key: age::plugin::Recipient = text.parse().map_err(|_| RecipientError::NotARecipient)?;
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(RecipientError::NotARecipient);
    }
    let kind = RecipientKind::Plugin(key.plugin().to_owned());
    Ok(Recipient { kind, text: key.to_string(), key: Key::Plugin(key) })
}

fn decode_bech32(text: &str) -> Result<Vec<u8>, RecipientError> {
    let wrong = |error| match error {
        CheckedHrpstringError::Checksum(ChecksumError::InvalidResidue) => RecipientError::Checksum,
        _ => RecipientError::NotARecipient,
    };
    bech32_decode(text, wrong, |_| Ok(()), |_, bytes| Ok(bytes.collect()))
}

#[cfg(test)]
mod tests {
    use super::super::identities::tests::SECRET;
    use super::*;

    const X25519: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDE7nIXTGNuaRBN9toI/wNALuQec8mvlt0iJ7o3OaD2UvoKHJ7S8rmIn4FiQDUed/Vac3OhUibei1k+TBmm16u2Rj3klgWZOIDgi8d4vXKI5N3YBhxr3jsQ+kz1c+iZ4z/tTtz306+4K46XViVMWwyyg9j82Jn41mOAy9vdeDIfQ5fLeaGqn5KwlT61GNkZ+ozWK/ZNlQIlNCcoXxhJULIs9XrtczWyVBAea1nlDo0WHODePxoJjmsNHrpQXn5mf9O83xs10qfTUjnRUt48jRmedFy4tcra3QGmSTQ3KZne+wXXSb0cIpXLGvZjQSPHgG1hc4r3uBpiSzvesGLv79XL";

    fn parse(text: &str) -> Result<Recipient, RecipientError> {
        text.parse()
    }

    fn refused(text: &str) -> RecipientError {
        parse(text).err().unwrap_or_else(|| panic!("accepted: {text}"))
    }

    #[test]
    fn each_kind_is_recognised_and_canonical() {
        for (text, kind) in [
            (X25519, RecipientKind::X25519),
            (ED25519, RecipientKind::SshEd25519),
            (RSA, RecipientKind::SshRsa),
        ] {
            let recipient = parse(&format!("{text}  ")).unwrap();
            assert_eq!((recipient.kind(), recipient.to_string().as_str()), (&kind, text));
        }
        assert_eq!(parse(&format!("{ED25519} alice@host")).unwrap().to_string(), ED25519);
        assert_eq!(parse(&format!("{RSA} alice@host")).unwrap().to_string(), RSA);
    }

    #[test]
    fn refusals_are_told_apart() {
        let upper = X25519.to_uppercase();
        let changed = X25519.replace("zvk", "zvl");
        for text in ["", "age1", "hello", &upper, "ssh-rsa AAAA", "ssh-ed25519", "age1pq1qqqq"] {
            assert_eq!(refused(text), RecipientError::NotARecipient, "{text}");
        }
        assert_eq!(refused(&changed), RecipientError::Checksum);
        for text in [
            SECRET,
            "age-secret-key-pq-1xyz",
            "AGE-PLUGIN-YUBIKEY-1QQQ",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----",
        ] {
            assert_eq!(refused(text), RecipientError::PrivateKey, "{text}");
        }
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHFliOyIZs1gxGF3fmDxFykQhE88wy6AKDGFBfn0R6ZuvRmENABZQa9+pj9hMki+LX0qDJbmHTiWDbYv/cmFt/Q=";
        assert_eq!(refused(ecdsa), RecipientError::UnsupportedSshKey("ecdsa-sha2-nistp256".to_owned()));
    }

    #[test]
    fn an_rsa_key_that_breaks_the_parser_is_refused() {
        use base64::Engine;
        let field = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        let line = |exponent: &[u8], modulus: &[u8]| {
            let blob = [field(b"ssh-rsa"), field(exponent), field(modulus)].concat();
            format!("ssh-rsa {}", base64::prelude::BASE64_STANDARD.encode(blob))
        };
        assert_eq!(refused(&line(&[0], &[0xff; 256])), RecipientError::NotARecipient);
        assert_eq!(refused(&line(&[1, 0, 1], &[0, 0])), RecipientError::NotARecipient);
        assert_eq!(refused(&line(&[1, 0, 1], &[0x7f; 128])), RecipientError::RsaSize(1023));
        assert_eq!(refused(&line(&[1, 0, 1], &[0x7f; 1024])), RecipientError::RsaSize(8191));
    }

    #[test]
    fn points_of_low_order_are_refused() {
        let hrp = bech32::Hrp::parse("age").unwrap();
        for first in [0, 1] {
            let mut point = [0; 32];
            point[0] = first;
            let text = age_core::primitives::bech32_encode(hrp, &point);
            assert_eq!(refused(&text), RecipientError::WeakKey);
        }
        let identity_point =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(refused(identity_point), RecipientError::WeakKey);
    }
}
