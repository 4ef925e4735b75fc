//! ssh keys as recipients and identities, on top of the age crate. What this adds: checks of the public
//! key's wire format (RFC 4253 section 6.6) before the crate sees it, and locked private keys that ask for
//! their passphrase only when a file is for them.

use super::error::{Error, RecipientError};
use super::prompt::{Prompt, no_passphrase};
use crate::text::one_line;
use age::ssh::{EncryptedKey, ParseRecipientKeyError};
use age_core::format::{FileKey, Stanza};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD as BASE64, BASE64_STANDARD_NO_PAD as BASE64_NO_PAD};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Parses `TYPE BASE64 [COMMENT]`, one line of an ssh `.pub` file.
pub(super) fn parse_recipient(text: &str) -> Result<age::ssh::Recipient, RecipientError> {
    let wrong = RecipientError::NotARecipient;
    let mut words = text.split_ascii_whitespace();
    let (key_type, blob) = words.next().zip(words.next()).ok_or(wrong.clone())?;
    let fields = BASE64.decode(blob).ok().and_then(|bytes| split_fields(&bytes)).ok_or(wrong.clone())?;
    match (key_type, fields.as_slice()) {
        (_, [name, ..]) if name != key_type.as_bytes() => return Err(wrong),
        ("ssh-ed25519", [_, _]) => {}
        ("ssh-rsa", [_, exponent, modulus]) => check_rsa(exponent, modulus)?,
        ("ssh-ed25519" | "ssh-rsa", _) | (_, []) => return Err(wrong),
        _ => return Err(RecipientError::UnsupportedSshKey(one_line(key_type))),
    }
    // The crate's parser wants to see the end of the key.
    let key = format!("{key_type} {blob} ").parse().map_err(|_| wrong)?;
    match &key {
        age::ssh::Recipient::SshEd25519(_, point) if point.is_small_order() => Err(RecipientError::WeakKey),
        _ => Ok(key),
    }
}

/// Splits into fields of a 4-byte big-endian length and that many bytes; `None` when they do not fill `bytes`.
fn split_fields(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (field, rest) = rest.split_at_checked(length)?;
        fields.push(field.to_vec());
        bytes = rest;
    }
    Some(fields)
}

/// The crate's reader of RSA numbers cannot take a zero one; sizes are distinguished for the message.
fn check_rsa(exponent: &[u8], modulus: &[u8]) -> Result<(), RecipientError> {
    let nonzero = |number: &[u8]| number.iter().any(|&byte| byte != 0);
    if !nonzero(exponent) || !nonzero(modulus) {
        return Err(RecipientError::NotARecipient);
    }
    let zeros: u64 = modulus.iter().take_while(|&&byte| byte == 0).count() as u64;
    let top = modulus.iter().find(|&&byte| byte != 0).map_or(0, |byte| byte.leading_zeros());
    let bits = (modulus.len() as u64 - zeros) * 8 - u64::from(top);
    if (2048..=4096).contains(&bits) { Ok(()) } else { Err(RecipientError::RsaSize(bits)) }
}

/// An ssh private key with a passphrase. Asks for it only when a stanza carries the key's tag.
pub(super) struct LockedKey {
    key: EncryptedKey,
    tag: String,
    name: String,
    prompt: Arc<dyn Prompt>,
}

impl age::Identity for LockedKey {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        let ours = stanza.tag.starts_with("ssh-") && stanza.args.first() == Some(&self.tag);
        ours.then(|| {
            let passphrase = self.prompt.passphrase(&self.name).ok_or_else(no_passphrase)?;
            let key = age::ssh::Identity::from(self.key.decrypt(passphrase)?);
            key.unwrap_stanza(stanza).unwrap_or(Err(age::DecryptError::KeyDecryptionFailed))
        })
    }
}

/// Loads an ssh private key file (OpenSSH or PKCS #1 PEM); `name` is what the prompt calls it.
pub(super) fn load_identity(
    pem: &[u8],
    name: &str,
    prompt: &Arc<dyn Prompt>,
) -> Result<Box<dyn age::Identity + Send + Sync>, Error> {
    let unusable = |what: &str| Error::UnusableSshKey(what.to_owned());
    let parsed = age::ssh::Identity::from_buffer(pem, None)
        .map_err(|_| unusable("not a well-formed OpenSSH or RSA private key"))?;
    match parsed {
        age::ssh::Identity::Unsupported(age::ssh::UnsupportedKey::EncryptedPem) => {
            Err(unusable("encrypted in the old PEM format; convert it with ssh-keygen -o -p"))
        }
        age::ssh::Identity::Unsupported(age::ssh::UnsupportedKey::EncryptedSsh(_)) => {
            Err(unusable("encrypted with an unsupported cipher"))
        }
        age::ssh::Identity::Unsupported(_) => Err(unusable("a type that cannot decrypt files")),
        age::ssh::Identity::Encrypted(key) => {
            let public = age::ssh::Recipient::try_from(age::ssh::Identity::from(key.clone()))
                .map_err(|error: ParseRecipientKeyError| unusable(&format!("{error:?}")))?;
            let (tag, name) = (tag_of(&public), name.to_owned());
            Ok(Box::new(LockedKey { key, tag, name, prompt: Arc::clone(prompt) }))
        }
        key @ age::ssh::Identity::Unencrypted(_) => Ok(Box::new(key)),
    }
}

/// First argument of a stanza for this key: base64 of the first 4 bytes of SHA-256 over its wire format.
/// Source: C2SP age.md "ssh-ed25519 recipient stanza".
fn tag_of(key: &age::ssh::Recipient) -> String {
    let (age::ssh::Recipient::SshRsa(wire, _) | age::ssh::Recipient::SshEd25519(wire, _)) = key;
    BASE64_NO_PAD.encode(&Sha256::digest(wire)[..4])
}
