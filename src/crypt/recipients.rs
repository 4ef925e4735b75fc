//! Recipients: who will be able to open a file. Parses what users write into recipients files and on command
//! lines, refuses what cannot work or must not be there, and wraps a fresh file key to all of
//! them. The set's fingerprint is here too. Parsing reads text, never paths.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;

use age::NoCallbacks;
use age::Recipient as _;
use age::plugin::RecipientPluginV1;
use age_core::format::{FileKey, Stanza};
use age_core::primitives::bech32_decode;
use sha2::{Digest, Sha256};

use super::entropy::{self, Entropy};
use super::error::printable;
use super::header::Header;
use super::stream::{NONCE_SIZE, PayloadKey};
use super::{Error, pq, ssh};

/// Why a text is no recipient. Reads as the end of "line 3 ...".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// Not a recipient of any known form, or its checksum is wrong.
    #[error("is not a recipient")]
    NotARecipient,
    /// The secret half of a key.
    #[error("is a private key, which must not be on this machine")]
    PrivateKey,
    /// A key whose every file anybody can open.
    #[error("is a recipient without security (a point of low order)")]
    WeakKey,
    /// An ssh public key of a type age cannot encrypt to.
    #[error("is an ssh key of unsupported type {0}")]
    UnsupportedSshKey(String),
    /// An RSA key of a size outside 2048 to 4096 bits.
    #[error("is an ssh-rsa key of {0} bits, outside 2048 to 4096")]
    RsaSize(u64),
    /// Not UTF-8.
    #[error("is not text")]
    NotText,
}

impl RecipientError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            RecipientError::NotARecipient | RecipientError::NotText => {
                "one recipient per line; if this is an identity, remove it from this machine"
            }
            RecipientError::PrivateKey => {
                "put the recipient (age1..., or the .pub file of an ssh key) there, move the private key away, \
                 and consider it exposed if this file was ever in an image"
            }
            RecipientError::UnsupportedSshKey(_) | RecipientError::RsaSize(_) => {
                "use an age1... recipient, ssh-ed25519, or ssh-rsa with 2048 to 4096 bits"
            }
            RecipientError::WeakKey => "the recipient is corrupt or hostile: ask its owner for it again",
        })
    }
}

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
    kind: RecipientKind,
    text: String,
    key: Key,
}

enum Key {
    Direct(Box<dyn age::Recipient + Send + Sync>),
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
            return parse_age(human_part, text);
        }
        let (kind, key) = ssh::parse_recipient(text)?;
        Ok(Recipient::new(kind, key))
    }
}

/// Secret keys in any letter case, and any PEM block (whose label may be cut off in the middle of a file).
fn looks_private(text: &str) -> bool {
    const MARKS: [&str; 4] = ["AGE-SECRET-KEY-", "AGE-PLUGIN-", "PRIVATE KEY-----", "PUTTY-USER-KEY-FILE-"];
    let upper = text.to_ascii_uppercase();
    MARKS.iter().any(|mark| upper.contains(mark))
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
    let wrong = RecipientError::NotARecipient;
    bech32_decode(text, |_| wrong.clone(), |_| Ok(()), |_, bytes| Ok(bytes.collect()))
}

/// Parses a recipients file: one recipient per line, blank lines and lines that start with `#` are skipped.
/// Unlike age, an ssh key of an unsupported type is an error and not skipped: its owner would find out
/// after the crash.
///
/// # Errors
/// [`Error::RecipientLine`] with the number of the first bad line, never its text.
pub fn parse_lines(file: &[u8]) -> Result<Vec<Recipient>, Error> {
    let mut list = Vec::new();
    for (number, line) in file.split(|&byte| byte == b'\n').enumerate() {
        let parsed = match std::str::from_utf8(line).map(str::trim_ascii) {
            Ok("") => continue,
            Ok(text) if text.starts_with('#') => continue,
            Ok(text) => text.parse(),
            Err(_) => Err(RecipientError::NotText),
        };
        list.push(parsed.map_err(|cause| Error::RecipientLine { line: number + 1, cause })?);
    }
    Ok(list)
}

/// A set of recipients a file can be encrypted to: not empty, no doubles, mixed as age allows.
pub struct Recipients {
    list: Vec<Recipient>,
}

impl Recipients {
    /// Checks a set of recipients; doubles are dropped.
    ///
    /// # Errors
    /// [`Error::NoRecipients`]; [`Error::MixedRecipients`] when post-quantum and classic kinds are together
    /// (plugins tell theirs only while wrapping).
    pub fn new(list: Vec<Recipient>) -> Result<Recipients, Error> {
        let mut seen = HashSet::new();
        let list: Vec<_> = list.into_iter().filter(|recipient| seen.insert(recipient.text.clone())).collect();
        if list.is_empty() {
            return Err(Error::NoRecipients);
        }
        let first =
            |wanted| list.iter().find(|r| r.kind.is_postquantum() == Some(wanted)).map(Recipient::kind);
        if let (Some(postquantum), Some(classic)) = (first(true), first(false)) {
            let (postquantum, classic) = (postquantum.to_string(), classic.to_string());
            return Err(Error::MixedRecipients { postquantum, classic });
        }
        Ok(Recipients { list })
    }

    /// The set a recipients file names: [`parse_lines`], then [`Recipients::new`].
    ///
    /// # Errors
    /// As both.
    pub fn from_file_contents(file: &[u8]) -> Result<Recipients, Error> {
        Recipients::new(parse_lines(file)?)
    }

    /// The recipients, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &Recipient> {
        self.list.iter()
    }

    /// Fingerprint of the set, for pinning: SHA-256 in lower-case hex over the canonical texts, sorted by bytes,
    /// each followed by a line feed. For a file of bare canonical lines that is
    /// `LC_ALL=C sort -u recipients | sha256sum`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut texts: Vec<&str> = self.list.iter().map(|recipient| recipient.text.as_str()).collect();
        texts.sort_unstable();
        let mut hash = Sha256::new();
        for text in texts {
            hash.update(text);
            hash.update(b"\n");
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Checks that the plugin programs are there; nothing to check without plugin recipients.
    ///
    /// # Errors
    /// [`Error::PluginMissing`] with the first one that is not.
    pub fn check_plugins(&self) -> Result<(), Error> {
        self.plugins().map(|_| ())
    }

    /// Makes a new file: a fresh file key wrapped to every recipient, and a fresh nonce. Returns the first bytes
    /// of the file (header and nonce) and the key for the payload that follows them.
    ///
    /// # Errors
    /// [`Error::NoEntropy`], [`Error::PluginMissing`], [`Error::Plugin`], [`Error::Wrap`],
    /// [`Error::MixedRecipients`], [`Error::HeaderTooLong`].
    pub fn wrap(&self, entropy: &mut Entropy<'_>) -> Result<(Vec<u8>, PayloadKey), Error> {
        entropy.wait()?;
        let file_key = FileKey::try_init_with_mut(|key| entropy::fill(key))?;
        let mut nonce = [0; NONCE_SIZE];
        entropy::fill(&mut nonce)?;
        let mut start = self.header(&file_key)?.encode();
        start.extend_from_slice(&nonce);
        Ok((start, PayloadKey::derive(&file_key, &nonce)))
    }

    /// The header that wraps `file_key` to these recipients.
    pub(super) fn header(&self, file_key: &FileKey) -> Result<Header, Error> {
        let mut wrapped = Vec::new();
        for recipient in &self.list {
            if let Key::Direct(key) = &recipient.key {
                wrapped.push((recipient.kind.to_string(), key.wrap_file_key(file_key)));
            }
        }
        for (name, plugin) in self.plugins()? {
            wrapped.push((format!("plugin {name}"), plugin.wrap_file_key(file_key)));
        }
        Header::new(join_stanzas(wrapped)?, file_key)
    }

    /// One connection per plugin, for all its recipients.
    fn plugins(&self) -> Result<Vec<(String, RecipientPluginV1<NoCallbacks>)>, Error> {
        let mut by_name: BTreeMap<&str, Vec<age::plugin::Recipient>> = BTreeMap::new();
        for recipient in &self.list {
            if let Key::Plugin(key) = &recipient.key {
                by_name.entry(key.plugin()).or_default().push(key.clone());
            }
        }
        let resolve = |(name, keys): (&str, Vec<_>)| {
            let plugin = RecipientPluginV1::new(name, &keys, &[], NoCallbacks)
                .map_err(|_| Error::PluginMissing { program: format!("age-plugin-{name}") })?;
            Ok((name.to_owned(), plugin))
        };
        by_name.into_iter().map(resolve).collect()
    }
}

type Wrapped = Result<(Vec<Stanza>, HashSet<String>), age::EncryptError>;

/// All stanzas in order, if every recipient put the same labels on them: age's rule for what may be mixed.
fn join_stanzas(wrapped: Vec<(String, Wrapped)>) -> Result<Vec<Stanza>, Error> {
    let mut all = Vec::new();
    let mut first: Option<(String, HashSet<String>)> = None;
    for (kind, result) in wrapped {
        let (stanzas, labels) = result.map_err(|error| wrap_error(&kind, &error))?;
        all.extend(stanzas);
        match &first {
            None => first = Some((kind, labels)),
            Some((_, same)) if *same == labels => {}
            Some((other, _)) if labels.is_empty() => {
                return Err(Error::MixedRecipients { postquantum: other.clone(), classic: kind });
            }
            Some((other, _)) => {
                return Err(Error::MixedRecipients { postquantum: kind, classic: other.clone() });
            }
        }
    }
    Ok(all)
}

fn wrap_error(kind: &str, error: &age::EncryptError) -> Error {
    let message = printable(&error.to_string());
    match error {
        age::EncryptError::Plugin(_) => Error::Plugin { message },
        _ => Error::Wrap { kind: kind.to_owned(), message },
    }
}

#[cfg(test)]
mod tests {
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
        for text in ["", "age1", "hello", &upper, &changed, "ssh-rsa AAAA", "ssh-ed25519", "age1pq1qqqq"] {
            assert_eq!(refused(text), RecipientError::NotARecipient, "{text}");
        }
        for text in [
            "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX",
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

    #[test]
    fn a_file_names_the_line_and_not_its_text() {
        let file = format!("# who\r\n\r\n{X25519}\r\n  {ED25519} bob\n");
        assert_eq!(parse_lines(file.as_bytes()).unwrap().len(), 2);
        let error = parse_lines(format!("{file}\nAGE-SECRET-KEY-1QQQ\n").as_bytes()).err().unwrap();
        assert_eq!(error.to_string(), "line 6 is a private key, which must not be on this machine");
        let error = parse_lines(b"\n\xff\xfe\n").err().unwrap();
        assert_eq!(error.to_string(), "line 2 is not text");
    }

    #[test]
    fn an_empty_set_is_refused_and_doubles_are_dropped() {
        assert!(matches!(Recipients::from_file_contents(b"# nobody\n\n"), Err(Error::NoRecipients)));
        let twice = Recipients::from_file_contents(format!("{X25519}\n{X25519}\n").as_bytes()).unwrap();
        assert_eq!(twice.iter().count(), 1);
    }

    #[test]
    fn fingerprint_is_the_sum_of_sorted_lines() {
        let one = Recipients::from_file_contents(format!("{ED25519} bob\n# x\n{X25519}").as_bytes()).unwrap();
        let two = Recipients::from_file_contents(format!("{X25519}\n{ED25519} ann\n").as_bytes()).unwrap();
        assert_eq!(one.fingerprint(), two.fingerprint());
        let expected = Sha256::digest(format!("{X25519}\n{ED25519}\n"));
        assert_eq!(one.fingerprint(), expected.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }

    #[test]
    fn a_missing_plugin_is_named() {
        let hrp = bech32::Hrp::parse("age1nosuch").unwrap();
        let text = age_core::primitives::bech32_encode(hrp, b"x");
        let set = Recipients::from_file_contents(text.as_bytes()).unwrap();
        let Err(Error::PluginMissing { program }) = set.check_plugins() else { panic!("found it") };
        assert_eq!(program, "age-plugin-nosuch");
    }

    #[test]
    fn each_file_has_its_own_key() {
        let set = Recipients::from_file_contents(X25519.as_bytes()).unwrap();
        let mut notify = |_: &str| {};
        let mut entropy = Entropy { limit: std::time::Duration::from_secs(5), notify: &mut notify };
        let (first, _) = set.wrap(&mut entropy).unwrap();
        let (second, _) = set.wrap(&mut entropy).unwrap();
        assert_eq!(first.len(), second.len());
        assert_ne!(first[first.len() - NONCE_SIZE..], second[second.len() - NONCE_SIZE..]);
        assert_ne!(first, second);
    }
}
