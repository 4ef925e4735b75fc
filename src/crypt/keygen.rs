//! New identities, as the text of an identity file in age-keygen's form, and passphrase protection for
//! them as `age -p` gives. The text is secret and wiped on drop.

use super::entropy::{self, Entropy};
use super::header::Header;
use super::stream::{EncryptWriter, NONCE_SIZE, PayloadKey};
use super::{Error, pq};
use crate::text::rfc3339;
use age::Recipient as _;
use age::armor::{ArmoredWriter, Format};
use age_core::format::FileKey;
use age_core::secrecy::{ExposeSecret, SecretString};
use std::io::{self, Write};
use std::time::SystemTime;

/// log2 of the scrypt work for new protected identities: what age uses, about a second and 256 MiB.
const SCRYPT_LOG_N: u8 = 18;

/// Kinds of identity that can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `AGE-SECRET-KEY-1...`, for every age since 1.0.
    X25519,
    /// `AGE-SECRET-KEY-PQ-1...`: also closed to quantum computers; age 1.3 or newer, or this program.
    PostQuantum,
}

/// A new identity and its recipient.
pub struct Generated {
    /// Contents of the identity file: two comment lines (time, recipient), the secret, each with a line feed.
    pub identity_file: SecretString,
    /// The recipient, `age1...`.
    pub recipient: String,
}

/// Generates an identity; `created` goes into its file as a comment.
///
/// # Errors
/// [`Error::NoEntropy`], [`Error::Io`].
pub fn generate(kind: KeyKind, created: SystemTime, entropy: &mut Entropy<'_>) -> Result<Generated, Error> {
    entropy.wait()?;
    let (secret, recipient) = match kind {
        KeyKind::X25519 => {
            let identity = age::x25519::Identity::generate();
            (identity.to_string(), identity.to_public().to_string())
        }
        KeyKind::PostQuantum => {
            let identity = pq::Identity::generate()?;
            (identity.to_secret_string(), identity.to_recipient().to_string())
        }
    };
    // A clock that is before 1970 or after 9999 knows no date.
    let created = rfc3339(created).unwrap_or_else(|| "unknown".to_owned());
    let comments = format!("# created: {created}\n# public key: {recipient}\n");
    let secret = secret.expose_secret();
    // In one allocation of the final size: growing would leave copies of the secret behind.
    let mut file = String::with_capacity(comments.len() + secret.len() + 1);
    [&comments, secret, "\n"].iter().for_each(|part| file.push_str(part));
    Ok(Generated { identity_file: SecretString::from(file), recipient })
}

/// Encrypts an identity file with a passphrase: an armored age file, as `age -p -a` writes it.
///
/// # Errors
/// [`Error::NoEntropy`], [`Error::Wrap`], [`Error::Io`].
pub fn protect(
    identity_file: &SecretString,
    passphrase: SecretString,
    entropy: &mut Entropy<'_>,
) -> Result<Vec<u8>, Error> {
    entropy.wait()?;
    let mut recipient = age::scrypt::Recipient::new(passphrase);
    recipient.set_work_factor(SCRYPT_LOG_N);
    let file_key = FileKey::try_init_with_mut(|key| entropy::fill(key))?;
    let (stanzas, _) = recipient
        .wrap_file_key(&file_key)
        .map_err(|error| Error::Wrap { kind: "scrypt".to_owned(), message: error.to_string() })?;
    let mut nonce = [0; NONCE_SIZE];
    entropy::fill(&mut nonce)?;
    let header = Header::new(stanzas, &file_key)?;
    let key = PayloadKey::derive(&file_key, &nonce);
    Ok(write_armored(&header, nonce, key, identity_file.expose_secret().as_bytes())?)
}

/// Makes a passphrase: 25 letters and digits in groups of five, each one of 32, so 125 random bits. None looks like
/// another.
///
/// # Errors
/// [`Error::NoEntropy`], [`Error::Io`].
pub fn passphrase(entropy: &mut Entropy<'_>) -> Result<SecretString, Error> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    entropy.wait()?;
    let mut random = zeroize::Zeroizing::new([0; 25]);
    entropy::fill(&mut *random)?;
    let mut text = String::with_capacity(random.len() + 4);
    for (at, byte) in random.iter().enumerate() {
        if at > 0 && at % 5 == 0 {
            text.push('-');
        }
        text.push(char::from(LETTERS[usize::from(byte % 32)]));
    }
    Ok(SecretString::from(text))
}

fn write_armored(
    header: &Header,
    nonce: [u8; NONCE_SIZE],
    key: PayloadKey,
    text: &[u8],
) -> io::Result<Vec<u8>> {
    let mut armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
    armor.write_all(&header.encode())?;
    armor.write_all(&nonce)?;
    let mut payload = EncryptWriter::new(armor, key);
    payload.write_all(text)?;
    payload.finish()?.finish()
}

#[cfg(test)]
mod tests {
    use super::super::{Identities, Prompt, Recipients};
    use super::*;
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    struct Typed(&'static str);
    impl Prompt for Typed {
        fn passphrase(&self, what: &str) -> Option<SecretString> {
            assert_eq!(what, "key.txt");
            Some(SecretString::from(self.0.to_owned()))
        }
    }

    fn new(kind: KeyKind) -> Generated {
        let created = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        generate(kind, created, &mut Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} }).unwrap()
    }

    fn opens(identities: &Identities, recipient: &str) -> bool {
        let set = Recipients::from_file_contents(recipient.as_bytes()).unwrap();
        let (start, _) =
            set.wrap(&mut Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} }).unwrap();
        identities.open(&mut &start[..]).is_ok()
    }

    #[test]
    fn identity_files_have_age_keygens_form_and_work() {
        for (kind, prefix, public) in [
            (KeyKind::X25519, "AGE-SECRET-KEY-1", "age1"),
            (KeyKind::PostQuantum, "AGE-SECRET-KEY-PQ-1", "age1pq1"),
        ] {
            let generated = new(kind);
            let text = generated.identity_file.expose_secret();
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines[0], "# created: 2023-11-14T22:13:20Z");
            assert_eq!(lines[1], format!("# public key: {}", generated.recipient));
            assert!(lines[2].starts_with(prefix) && generated.recipient.starts_with(public));
            assert!(text.ends_with('\n') && lines.len() == 3);
            let mut identities = Identities::new(Arc::new(Typed("")));
            identities.add_file("key.txt", text.as_bytes()).unwrap();
            assert!(opens(&identities, &generated.recipient));
            assert!(!opens(&identities, &new(kind).recipient));
        }
    }

    #[test]
    fn a_passphrase_is_groups_of_letters_and_never_the_same() {
        let new = || passphrase(&mut Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} }).unwrap();
        let (first, second) = (new(), new());
        assert_eq!(first.expose_secret().split('-').map(str::len).collect::<Vec<_>>(), [5; 5]);
        assert_ne!(first.expose_secret(), second.expose_secret());
        assert!(first.expose_secret().bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric()));
    }

    #[test]
    fn a_protected_identity_opens_with_its_passphrase_only() {
        let generated = new(KeyKind::PostQuantum);
        let mut entropy = Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} };
        let file = protect(&generated.identity_file, SecretString::from("hunter2".to_owned()), &mut entropy)
            .unwrap();
        assert!(file.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n"));
        let mut identities = Identities::new(Arc::new(Typed("hunter2")));
        identities.add_file("key.txt", &file[..]).unwrap();
        assert!(opens(&identities, &generated.recipient));
        let wrong = Identities::new(Arc::new(Typed("hunter3"))).add_file("key.txt", &file[..]);
        assert!(matches!(wrong, Err(Error::WrongPassphrase)));
    }
}
