//! The set of recipients of a file: read from a recipients file, checked as a whole, and given a fresh file key.
//! The set's fingerprint is here too. Parsing reads bytes, never paths.

use super::Error;
use super::entropy::{self, Entropy, Notice};
use super::error::RecipientError;
use super::header::Header;
use super::lines::LineKey;
use super::plugin::{PLUGIN_LIMIT, Plugin};
use super::recipient::{Key, Recipient, RecipientKind, looks_private};
use super::stream::{NONCE_SIZE, PayloadKey};
use crate::text::one_line;
use age_core::format::{FileKey, Stanza};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where the machine's recipients are by default.
pub const DEFAULT_FILE: &str = "/etc/vmcore-encrypt/recipients";

/// A recipients file is text that people keep; anything larger is not one.
const MAX_FILE: u64 = 1 << 20;

/// Reads and parses a recipients file of at most 1 MiB, which must name a recipient.
///
/// # Errors
/// [`Error::Io`] when it cannot be read or is longer; [`Error::NoRecipients`]; as [`parse_lines`].
pub fn read_file(file: impl Read) -> Result<Vec<Recipient>, Error> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB").into());
    }
    let list = parse_lines(&bytes)?;
    if list.is_empty() { Err(Error::NoRecipients) } else { Ok(list) }
}

/// Parses a recipients file: one recipient per line, blank lines and lines that start with `#` are skipped.
/// Unlike age, an ssh key of an unsupported type is an error and not skipped: its owner would find out
/// after the crash. A private key is refused wherever it stands, in a comment too: the file goes into images.
///
/// # Errors
/// [`Error::RecipientLine`] with the number of the first bad line, never its text.
pub fn parse_lines(file: &[u8]) -> Result<Vec<Recipient>, Error> {
    if has_byte_order_mark(file) {
        return Err(Error::RecipientLine { line: 1, cause: RecipientError::ByteOrderMark });
    }
    let mut list = Vec::new();
    for (number, line) in file.split(|&byte| byte == b'\n').enumerate() {
        let parsed = match std::str::from_utf8(line).map(str::trim_ascii) {
            Ok("") => continue,
            _ if looks_private(&String::from_utf8_lossy(line)) => Err(RecipientError::PrivateKey),
            Ok(text) if text.starts_with('#') => continue,
            Ok(text) => text.parse(),
            Err(_) => Err(RecipientError::NotText),
        };
        list.push(parsed.map_err(|cause| Error::RecipientLine { line: number + 1, cause })?);
    }
    Ok(list)
}

/// Whether a text begins with a byte order mark, of UTF-8 or UTF-16, as editors on Windows write it.
pub(super) fn has_byte_order_mark(text: &[u8]) -> bool {
    const MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
    MARKS.iter().any(|mark| text.starts_with(mark))
}

/// A set of recipients a file can be encrypted to: not empty, no doubles, mixed as age allows.
pub struct Recipients {
    list: Vec<Recipient>,
    plugin_limit: Duration,
    /// Whether something was made that some of them cannot open.
    left_out: AtomicBool,
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
        Ok(Recipients { list, plugin_limit: PLUGIN_LIMIT, left_out: AtomicBool::new(false) })
    }

    /// Changes how long each plugin program is waited for from [`PLUGIN_LIMIT`].
    #[must_use]
    pub fn plugin_limit(self, limit: Duration) -> Recipients {
        Recipients { plugin_limit: limit, ..self }
    }

    /// Whether [`Recipients::wrap`] or [`Recipients::wrap_lines`] made something that not all of these recipients can
    /// open, as a plugin failed.
    #[must_use]
    pub fn left_out(&self) -> bool {
        self.left_out.load(Ordering::Relaxed)
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

    /// Names of the plugin programs that these recipients need.
    #[must_use]
    pub fn plugin_programs(&self) -> BTreeSet<String> {
        let program = |recipient: &Recipient| match &recipient.kind {
            RecipientKind::Plugin(name) => Some(format!("age-plugin-{name}")),
            _ => None,
        };
        self.list.iter().filter_map(program).collect()
    }

    /// Checks that the plugin programs are there; nothing to check without plugin recipients.
    ///
    /// # Errors
    /// [`Error::PluginMissing`] with the first one that is not.
    pub fn check_plugins(&self) -> Result<(), Error> {
        self.by_plugin().into_keys().try_for_each(|name| Plugin::find(name).map(|_| ()))
    }

    /// Makes a header as for a new file, plugins and all, and throws it away: whether a dump could be encrypted.
    ///
    /// # Errors
    /// As [`Recipients::wrap`].
    pub fn try_wrap(&self, entropy: &mut Entropy<'_>) -> Result<(), Error> {
        entropy.wait()?;
        let file_key = FileKey::try_init_with_mut(|key| entropy::fill(key))?;
        self.header(&file_key).map(|_| ())
    }

    /// Makes a new file: a fresh file key wrapped to every recipient, and a fresh nonce. Returns the first bytes
    /// of the file (header and nonce) and the key for the payload that follows them.
    ///
    /// A plugin that is missing or fails while the file key can be wrapped to others costs its own recipients alone: a
    /// dump that some can open is worth more than none. `entropy`'s `notify` gets the cause, and
    /// [`Recipients::left_out`] is true from then on.
    ///
    /// # Errors
    /// [`Error::NoEntropy`], [`Error::PluginMissing`], [`Error::PluginSilent`], [`Error::Plugin`], [`Error::Wrap`],
    /// [`Error::MixedRecipients`], [`Error::TooManyRecipients`].
    pub fn wrap(&self, entropy: &mut Entropy<'_>) -> Result<(Vec<u8>, PayloadKey), Error> {
        let (start, file_key, nonce) = self.start(entropy)?;
        Ok((start, PayloadKey::derive(&file_key, &nonce)))
    }

    /// Starts a log of single lines: as [`Recipients::wrap`], but the key is for lines.
    ///
    /// # Errors
    /// As [`Recipients::wrap`].
    pub fn wrap_lines(&self, entropy: &mut Entropy<'_>) -> Result<(Vec<u8>, LineKey), Error> {
        let (start, file_key, nonce) = self.start(entropy)?;
        Ok((start, LineKey::derive(&file_key, &nonce)))
    }

    /// A fresh file key and nonce, and the bytes that carry them.
    fn start(&self, entropy: &mut Entropy<'_>) -> Result<(Vec<u8>, FileKey, [u8; NONCE_SIZE]), Error> {
        entropy.wait()?;
        let file_key = FileKey::try_init_with_mut(|key| entropy::fill(key))?;
        let mut nonce = [0; NONCE_SIZE];
        entropy::fill(&mut nonce)?;
        let (wrapped, mut failed) = self.wrapped(&file_key)?;
        if wrapped.is_empty() && !failed.is_empty() {
            return Err(failed.swap_remove(0));
        }
        let header = Header::new(join_stanzas(&wrapped)?, &file_key)?;
        for error in failed {
            (entropy.notify)(&Notice::LeftOut(&error));
            self.left_out.store(true, Ordering::Relaxed);
        }
        let mut start = header.encode();
        start.extend_from_slice(&nonce);
        Ok((start, file_key, nonce))
    }

    /// The header that wraps `file_key` to all of these recipients.
    pub(super) fn header(&self, file_key: &FileKey) -> Result<Header, Error> {
        let (wrapped, failed) = self.wrapped(file_key)?;
        match failed.into_iter().next() {
            Some(error) => Err(error),
            None => Header::new(join_stanzas(&wrapped)?, file_key),
        }
    }

    /// The file key wrapped to each recipient, and why plugins could not. What a plugin gives must fit into one header with
    /// what is there already; else it costs that plugin alone.
    fn wrapped(&self, file_key: &FileKey) -> Result<(Vec<Wrapped>, Vec<Error>), Error> {
        let (mut wrapped, mut failed) = (Vec::new(), Vec::new());
        for recipient in &self.list {
            if let Key::Direct(key) = &recipient.key {
                let kind = recipient.kind.to_string();
                let (stanzas, labels) =
                    key.wrap_file_key(file_key).map_err(|error| wrap_error(&kind, &error))?;
                wrapped.push(Wrapped { kind, stanzas, labels });
            }
        }
        for (name, recipients) in self.by_plugin() {
            match self.wrap_by_plugin(name, &recipients, file_key) {
                Ok(more) => wrapped.push(more),
                Err(error) => {
                    failed.push(error);
                    continue;
                }
            }
            let header = join_stanzas(&wrapped).and_then(|stanzas| Header::new(stanzas, file_key));
            if let Err(error) = header {
                wrapped.pop();
                failed.push(error);
            }
        }
        Ok((wrapped, failed))
    }

    fn wrap_by_plugin(
        &self,
        name: &str,
        recipients: &[String],
        file_key: &FileKey,
    ) -> Result<Wrapped, Error> {
        let plugin = Plugin::find(name)?;
        let (stanzas, labels) = plugin.wrap(recipients, file_key, self.plugin_limit)?;
        Ok(Wrapped { kind: format!("of {}", plugin.program), stanzas, labels })
    }

    /// Names of plugins, each with all its recipients.
    fn by_plugin(&self) -> BTreeMap<&str, Vec<String>> {
        let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for recipient in &self.list {
            if let Key::Plugin(key) = &recipient.key {
                by_name.entry(key.plugin()).or_default().push(recipient.text.clone());
            }
        }
        by_name
    }
}

/// What wrapping to one recipient, or to those of a plugin, gave.
struct Wrapped {
    kind: String,
    stanzas: Vec<Stanza>,
    labels: HashSet<String>,
}

/// All stanzas in order, if every recipient put the same labels on them: age's rule for what may be mixed.
fn join_stanzas(wrapped: &[Wrapped]) -> Result<Vec<Stanza>, Error> {
    let mut all = Vec::new();
    let mut first: Option<(&String, &HashSet<String>)> = None;
    for Wrapped { kind, stanzas, labels } in wrapped {
        all.extend(stanzas.iter().map(copy));
        match &first {
            None => first = Some((kind, labels)),
            Some((_, same)) if *same == labels => {}
            Some((other, _)) if labels.is_empty() => {
                return Err(Error::MixedRecipients { postquantum: (*other).clone(), classic: kind.clone() });
            }
            Some((other, _)) => {
                return Err(Error::MixedRecipients { postquantum: kind.clone(), classic: (*other).clone() });
            }
        }
    }
    Ok(all)
}

fn copy(stanza: &Stanza) -> Stanza {
    Stanza { tag: stanza.tag.clone(), args: stanza.args.clone(), body: stanza.body.clone() }
}

fn wrap_error(kind: &str, error: &age::EncryptError) -> Error {
    Error::Wrap { kind: kind.to_owned(), message: one_line(&error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X25519: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";
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
    fn a_private_key_is_found_wherever_it_stands() {
        for line in [
            "# AGE-SECRET-KEY-1QQQ",
            "#age-secret-key-pq-1qqq",
            "  # mine: Age-Secret-Key-1QQQ (old)",
            "# AGE-PLUGIN-YUBIKEY-1QQQQQQ",
            "# -----BEGIN OPENSSH PRIVATE KEY-----",
            "# -----begin encrypted private key-----",
            "# ---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----",
            "#-----BEGIN PGP PRIVATE KEY BLOCK-----",
            "# b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ",
            "# PuTTY-User-Key-File-3: ssh-ed25519",
            &format!("{ED25519} AGE-SECRET-KEY-1QQQ"),
        ] {
            let Err(Error::RecipientLine { line: 2, cause }) =
                parse_lines(format!("{X25519}\n{line}\n").as_bytes())
            else {
                panic!("accepted: {line}")
            };
            assert_eq!(cause, RecipientError::PrivateKey, "{line}");
        }
        assert!(parse_lines(b"# \xff AGE-SECRET-KEY-1QQQ").is_err());
        for harmless in
            ["# needs age-plugin-yubikey", "# the private key is with Ann", "# age-plugin-tpm 1.0"]
        {
            assert!(parse_lines(harmless.as_bytes()).unwrap().is_empty(), "{harmless}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_named() {
        for mark in [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"] {
            let error = parse_lines(&[mark, X25519.as_bytes()].concat()).err().unwrap();
            assert_eq!(error.to_string(), "line 1 begins with a byte order mark");
            assert!(error.hint().unwrap().contains("without"));
        }
    }

    #[test]
    fn a_file_is_read_with_a_limit() {
        assert!(matches!(read_file(&b"# nobody"[..]), Err(Error::NoRecipients)));
        assert_eq!(read_file(X25519.as_bytes()).unwrap().len(), 1);
        let Err(Error::Io(error)) = read_file(io::repeat(b'#')) else { panic!("endless") };
        assert_eq!(error.to_string(), "larger than 1 MiB");
    }

    #[test]
    fn recipients_too_many_for_a_header_are_found_by_trying() {
        let key = || age::x25519::Identity::generate().to_public().to_string().parse().unwrap();
        let mut entropy = Entropy { limit: std::time::Duration::from_secs(5), notify: &mut |_| {} };
        let many = Recipients::new((0..3000).map(|_| key()).collect()).unwrap();
        assert!(matches!(many.try_wrap(&mut entropy), Err(Error::TooManyRecipients { .. })));
        let few = Recipients::new((0..20).map(|_| key()).collect()).unwrap();
        few.try_wrap(&mut entropy).unwrap();
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
        assert_eq!(set.plugin_programs(), BTreeSet::from([program]));
    }

    #[test]
    fn each_file_has_its_own_key() {
        let set = Recipients::from_file_contents(X25519.as_bytes()).unwrap();
        let mut notify = |_: &Notice<'_>| {};
        let mut entropy = Entropy { limit: std::time::Duration::from_secs(5), notify: &mut notify };
        let (first, _) = set.wrap(&mut entropy).unwrap();
        let (second, _) = set.wrap(&mut entropy).unwrap();
        assert_eq!(first.len(), second.len());
        assert_ne!(first[first.len() - NONCE_SIZE..], second[second.len() - NONCE_SIZE..]);
        assert_ne!(first, second);
    }
}
