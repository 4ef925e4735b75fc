//! Identities: the secret side, on the analyst's machine. Reads identity files (age's own, with or without a
//! passphrase, and ssh private keys), and unwraps a header's file key with whichever fits. Passphrases are
//! asked for through [`Prompt`]; no secret and no line of a file ever reaches a message.

use super::armor::dearmored;
use super::header::Header;
use super::lines::LineKey;
use super::plugin::{self, IDENTITY_PLUGIN_LIMIT};
use super::prompt::{NoPrompt, Prompt};
use super::recipients::has_byte_order_mark;
use super::stream::{DecryptReader, NONCE_SIZE, PayloadKey};
use super::{Error, pq, ssh};
use crate::text::one_line;
use age::{DecryptError, Identity};
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::{ExposeSecret, SecretString};
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Most scrypt work accepted, as log2 N: 1 GiB of memory and a few seconds. age writes 18.
const MAX_SCRYPT_LOG_N: u8 = 20;

/// Longest identity file read, in bytes; age's own limit is 16 MiB.
pub const MAX_IDENTITY_FILE: u64 = 1024 * 1024;
/// Room for it and the byte too many; pages never touched cost nothing.
const IDENTITY_BUFFER: usize = 1024 * 1024 + 4096;

/// A set of identities to try, in the order they were added.
pub struct Identities {
    list: Vec<Known>,
    prompt: Arc<dyn Prompt>,
    plugin_limit: Duration,
}

/// An identity, and what belongs to it.
struct Known {
    identity: Box<dyn Identity + Send + Sync>,
    /// The recipient of an identity of age's own; its program tells that of another.
    recipient: Option<String>,
}

impl Known {
    fn new(identity: impl Identity + Send + Sync + 'static) -> Known {
        Known { identity: Box::new(identity), recipient: None }
    }

    fn with(recipient: &impl ToString, identity: impl Identity + Send + Sync + 'static) -> Known {
        Known { recipient: Some(recipient.to_string()), ..Known::new(identity) }
    }
}

impl Identities {
    /// An empty set that asks `prompt` when it needs a passphrase.
    #[must_use]
    pub fn new(prompt: Arc<dyn Prompt>) -> Identities {
        Identities { list: Vec::new(), prompt, plugin_limit: IDENTITY_PLUGIN_LIMIT }
    }

    /// Changes how long to wait for the plugin programs of identities added from now on, from
    /// [`IDENTITY_PLUGIN_LIMIT`].
    #[must_use]
    pub fn plugin_limit(self, limit: Duration) -> Identities {
        Identities { plugin_limit: limit, ..self }
    }

    /// Number of identities.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The recipient of each identity, in order; none for an ssh key and a plugin's identity.
    pub fn recipients(&self) -> impl Iterator<Item = Option<&str>> {
        self.list.iter().map(|known| known.recipient.as_deref())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds what an identity file holds. `name` is what a passphrase prompt calls it. Recognised by the first
    /// bytes: an ssh private key, an age file (armored or not) with a passphrase, else lines of age identities.
    ///
    /// # Errors
    /// [`Error::NotAnIdentity`], [`Error::ChangedIdentity`], [`Error::RecipientForIdentity`] with the line number, [`Error::ByteOrderMark`], [`Error::NoIdentities`], [`Error::UnusableSshKey`],
    /// [`Error::IdentityNotPassphrase`], [`Error::NoPassphrase`], [`Error::WrongPassphrase`],
    /// [`Error::ExcessiveWork`], [`Error::Io`] when it is longer than [`MAX_IDENTITY_FILE`] or cannot be read.
    pub fn add_file(&mut self, name: &str, file: impl BufRead + Send) -> Result<(), Error> {
        let bytes = read_limited(file)?;
        let text = bytes.trim_ascii_start();
        if text.starts_with(b"-----BEGIN ") && !text.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
            let identity = ssh::load_identity(text, name, &self.prompt)?;
            self.list.push(Known { identity, recipient: None });
            return Ok(());
        }
        if text.starts_with(b"age-encryption.org/") || text.starts_with(b"-----BEGIN AGE") {
            let decrypted = decrypt_identity_file(name, text, &*self.prompt)?;
            return self.add_lines(&decrypted);
        }
        self.add_lines(&bytes)
    }

    /// Adds the passphrase of a file that was encrypted with one (`age -p`).
    pub fn add_passphrase(&mut self, passphrase: SecretString) {
        self.list.push(Known::new(Passphrase(scrypt_identity(passphrase))));
    }

    fn add_lines(&mut self, text: &[u8]) -> Result<(), Error> {
        if has_byte_order_mark(text) {
            return Err(Error::ByteOrderMark);
        }
        let before = self.list.len();
        for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let identity = std::str::from_utf8(line).ok().and_then(|line| self.parse_line(line));
            self.list.push(identity.ok_or_else(|| not_an_identity(number + 1, line))?);
        }
        if self.list.len() == before { Err(Error::NoIdentities) } else { Ok(()) }
    }

    fn parse_line(&self, line: &str) -> Option<Known> {
        if let Ok(identity) = line.parse::<age::x25519::Identity>() {
            return Some(Known::with(&identity.to_public(), identity));
        }
        if let Ok(identity) = line.parse::<pq::Identity>() {
            return Some(Known::with(&identity.to_recipient(), identity));
        }
        let identity: age::plugin::Identity = line.parse().ok()?;
        let (name, prompt) = (identity.plugin().to_owned(), Arc::clone(&self.prompt));
        let identity = SecretString::from(line.to_owned());
        Some(Known::new(Plugin { name, identity, prompt, limit: self.plugin_limit }))
    }

    /// Unwraps the file key of a header and checks the header's MAC with it.
    ///
    /// # Errors
    /// [`Error::NoMatch`] with the types of stanzas there are, [`Error::BadStanza`], [`Error::BadMac`],
    /// [`Error::WrongPassphrase`], [`Error::ExcessiveWork`], [`Error::PluginMissing`], [`Error::PluginSilent`],
    /// [`Error::Plugin`].
    pub fn unwrap(&self, header: &Header) -> Result<FileKey, Error> {
        // Another identity may still open the file, without the plugin or by an intact stanza.
        let mut first_failure = None;
        for known in &self.list {
            match known.identity.unwrap_stanzas(header.stanzas()) {
                None => {}
                Some(Ok(file_key)) => return header.verify(&file_key).map(|()| file_key),
                Some(Err(error)) => {
                    first_failure.get_or_insert_with(|| decrypt_error(error));
                }
            }
        }
        Err(first_failure.unwrap_or_else(|| Error::NoMatch { stanzas: header.stanza_types() }))
    }

    /// Reads header and nonce from `input`, which then stands at the first chunk, and gives the payload's key.
    ///
    /// # Errors
    /// As [`Header::read`] and [`Identities::unwrap`]; [`Error::HeaderTruncated`] when the nonce is cut.
    pub fn open(&self, input: &mut impl BufRead) -> Result<Opened, Error> {
        let (header, file_key, nonce) = self.open_start(input)?;
        let payload_start = (header.encoded_len() + NONCE_SIZE) as u64;
        Ok(Opened { key: PayloadKey::derive(&file_key, &nonce), header, payload_start })
    }

    /// Reads what [`super::Recipients::wrap_lines`] started a log with, and gives the key of its lines.
    ///
    /// # Errors
    /// As [`Identities::open`].
    pub fn open_lines(&self, input: &mut impl BufRead) -> Result<LineKey, Error> {
        let (_, file_key, nonce) = self.open_start(input)?;
        Ok(LineKey::derive(&file_key, &nonce))
    }

    fn open_start(&self, input: &mut impl BufRead) -> Result<(Header, FileKey, [u8; NONCE_SIZE]), Error> {
        let header = Header::read(input)?;
        let file_key = self.unwrap(&header)?;
        let nonce = read_nonce(input)?;
        Ok((header, file_key, nonce))
    }
}

/// Why a line is no identity. Of what it holds, nothing but the kind is reported.
fn not_an_identity(line: usize, text: &[u8]) -> Error {
    let upper = text.to_ascii_uppercase();
    let starts = |start: &str| upper.starts_with(start.as_bytes());
    match () {
        () if starts("AGE-SECRET-KEY-") => Error::ChangedIdentity { line },
        () if starts("AGE1") || starts("SSH-") => Error::RecipientForIdentity { line },
        () => Error::NotAnIdentity { line },
    }
}

/// A file whose header has been opened.
pub struct Opened {
    /// The header, MAC checked.
    pub header: Header,
    /// The key of the payload.
    pub key: PayloadKey,
    /// Where the first chunk starts, in bytes from the start of the (binary) age file.
    pub payload_start: u64,
}

/// Reads the nonce that follows the header.
pub(super) fn read_nonce(input: &mut impl Read) -> Result<[u8; NONCE_SIZE], Error> {
    let mut nonce = [0; NONCE_SIZE];
    input.read_exact(&mut nonce).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::HeaderTruncated,
        _ => Error::Io(error),
    })?;
    Ok(nonce)
}

fn read_limited(file: impl Read) -> Result<Zeroizing<Vec<u8>>, Error> {
    // In one allocation: growing would leave copies of the secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(IDENTITY_BUFFER));
    file.take(MAX_IDENTITY_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_IDENTITY_FILE {
        Err(io::Error::new(io::ErrorKind::FileTooLarge, "too long for an identity file").into())
    } else {
        Ok(bytes)
    }
}

fn scrypt_identity(passphrase: SecretString) -> age::scrypt::Identity {
    let mut identity = age::scrypt::Identity::new(passphrase);
    identity.set_max_work_factor(MAX_SCRYPT_LOG_N);
    identity
}

/// A passphrase for files. One that does not open a file is a wrong one, not a corrupt stanza.
struct Passphrase(age::scrypt::Identity);

impl Identity for Passphrase {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.0.unwrap_stanza(stanza).map(|result| {
            result.map_err(|error| match error {
                DecryptError::DecryptionFailed => DecryptError::KeyDecryptionFailed,
                other => other,
            })
        })
    }
}

/// A plugin's identity. The program is searched for when a file is opened, not when the identity is loaded.
struct Plugin {
    name: String,
    identity: SecretString,
    prompt: Arc<dyn Prompt>,
    limit: Duration,
}

impl Plugin {
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, Error> {
        let program = plugin::Plugin::find(&self.name)?;
        program.unwrap(self.identity.expose_secret(), stanzas, &*self.prompt, self.limit)
    }
}

impl Identity for Plugin {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        self.unwrap(stanzas).map_err(carried).transpose()
    }
}

/// An error of ours in one of the age crate's, for [`decrypt_error`] to take out.
fn carried(error: Error) -> DecryptError {
    DecryptError::Io(io::Error::other(error))
}

/// Decrypts an age file that holds identities under a passphrase.
fn decrypt_identity_file(name: &str, file: &[u8], prompt: &dyn Prompt) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut input = dearmored(file)?;
    let header = Header::read(&mut input)?;
    if header.stanza_types() != ["scrypt"] {
        return Err(Error::IdentityNotPassphrase);
    }
    let mut identities = Identities::new(Arc::new(NoPrompt));
    identities.add_passphrase(prompt.passphrase(name).ok_or(Error::NoPassphrase)?);
    let file_key = identities.unwrap(&header)?;
    let nonce = read_nonce(&mut input)?;
    read_limited(DecryptReader::new(input, PayloadKey::derive(&file_key, &nonce)))
}

fn decrypt_error(error: DecryptError) -> Error {
    match error {
        DecryptError::KeyDecryptionFailed => Error::WrongPassphrase,
        DecryptError::ExcessiveWork { required, .. } => {
            Error::ExcessiveWork { required, accepted: MAX_SCRYPT_LOG_N }
        }
        DecryptError::Io(error) => error.downcast().unwrap_or_else(Error::Io),
        DecryptError::InvalidHeader => Error::BadStanza("it breaks the format's rules".to_owned()),
        DecryptError::DecryptionFailed => Error::BadStanza("it does not decrypt".to_owned()),
        other => Error::Plugin { message: one_line(&other.to_string()) },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Recipients;
    use super::super::entropy::Entropy;
    use super::*;

    /// The identity whose 32 bytes are all 0x42: a pattern for tests, which guards nothing.
    pub(in crate::crypt) const SECRET: &str =
        "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

    struct Anything;
    impl Prompt for Anything {
        fn passphrase(&self, _: &str) -> Option<SecretString> {
            Some(SecretString::from("anything".to_owned()))
        }
    }

    fn add(file: &[u8]) -> Result<Identities, Error> {
        let mut identities = Identities::new(Arc::new(Anything));
        identities.add_file("key", file).map(|()| identities)
    }

    fn refusal(file: &[u8]) -> Error {
        add(file).err().expect("an error")
    }

    fn start_of_file() -> Vec<u8> {
        let recipients = Recipients::from_file_contents(RECIPIENT.as_bytes()).unwrap();
        let mut entropy = Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} };
        recipients.wrap(&mut entropy).unwrap().0
    }

    #[test]
    fn a_file_may_hold_several_identities_and_comments() {
        let file = format!("# created: once\r\n\r\n{SECRET}\r\n  # x\n{SECRET}\n");
        let identities = add(file.as_bytes()).unwrap();
        assert_eq!(identities.len(), 2);
        assert!(identities.recipients().all(|recipient| recipient == Some(RECIPIENT)));
        let start = start_of_file();
        let opened = identities.open(&mut &start[..]).unwrap();
        assert_eq!(opened.payload_start, start.len() as u64);
        assert!(matches!(identities.open(&mut &start[..start.len() - 1]), Err(Error::HeaderTruncated)));
    }

    #[test]
    fn what_is_no_identity_is_named_by_its_line_alone() {
        let changed = SECRET.replace("GAEX", "GAEZ");
        let error = refusal(format!("{SECRET}\n\n{changed}\n").as_bytes());
        assert_eq!(error.to_string(), "line 3 is not an identity: its checksum is wrong");
        assert!(matches!(refusal(RECIPIENT.as_bytes()), Error::RecipientForIdentity { line: 1 }));
        assert!(matches!(refusal(b"ssh-ed25519 AAAA me"), Error::RecipientForIdentity { line: 1 }));
        assert!(matches!(refusal(b"text"), Error::NotAnIdentity { line: 1 }));
        assert!(matches!(refusal(b"\xff\n"), Error::NotAnIdentity { line: 1 }));
        assert!(matches!(refusal(b"# none\n"), Error::NoIdentities));
        assert!(matches!(refusal(format!("\u{feff}{SECRET}\n").as_bytes()), Error::ByteOrderMark));
        assert!(matches!(refusal(b"\xff\xfeA\0G\0E\0"), Error::ByteOrderMark));
        let cut = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n";
        assert!(matches!(refusal(cut), Error::UnusableSshKey(_)));
    }

    #[test]
    fn an_endless_identity_file_is_refused() {
        let mut identities = Identities::new(Arc::new(NoPrompt));
        let endless = io::BufReader::new(io::repeat(b'#'));
        let Err(Error::Io(error)) = identities.add_file("key", endless) else { panic!("accepted") };
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn an_identity_file_encrypted_to_a_key_is_refused() {
        assert!(matches!(refusal(&start_of_file()), Error::IdentityNotPassphrase));
    }

    #[test]
    fn too_much_work_for_a_passphrase_is_refused() {
        let stanza = |work: &str| {
            let (salt, body, mac) = ("A".repeat(22), "A".repeat(43), "A".repeat(43));
            format!("age-encryption.org/v1\n-> scrypt {salt} {work}\n{body}\n--- {mac}\n")
        };
        let error = refusal(stanza("21").as_bytes());
        assert_eq!(error.to_string(), "scrypt work factor 2^21 is above the accepted 2^20");
        assert!(matches!(refusal(stanza("2").as_bytes()), Error::WrongPassphrase));
    }

    #[test]
    fn no_identity_at_all_tells_what_the_file_is_for() {
        let nobody = Identities::new(Arc::new(NoPrompt));
        let error = nobody.open(&mut &start_of_file()[..]).err().unwrap();
        assert_eq!(error.to_string(), "no identity matches, the file is for X25519");
    }
}
