//! Re-wrapping: giving a file to other recipients without touching its payload. The file key is unwrapped and
//! wrapped anew; nonce and chunks stay as they are, so a terabyte costs a copy, not a decryption. The file key stays
//! too: whoever could open the old file, or kept its header, opens the new one. This hands over, it does not revoke.

use std::io::{self, BufRead, Write};

use age_core::format::Stanza;

use super::entropy::Entropy;
use super::header::Header;
use super::{Error, Identities, Recipient, RecipientKind, Recipients};

/// What becomes of the recipients that a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    /// The new header is not for them.
    Dropped,
    /// Their stanzas stay, before the new ones.
    Kept,
}

/// The header for `recipients` in place of `header`, which one of `identities` must open.
///
/// # Errors
/// As [`Identities::unwrap`] and [`Recipients::wrap`]; [`Error::MixedRecipients`] and [`Error::Wrap`] when the former
/// recipients are kept and the new ones may not be beside them.
pub fn rewrap_header(
    header: &Header,
    identities: &Identities,
    recipients: &Recipients,
    former: Former,
    entropy: &mut Entropy<'_>,
) -> Result<Header, Error> {
    entropy.wait()?;
    let file_key = identities.unwrap(header)?;
    let new = recipients.header(&file_key)?;
    match former {
        Former::Dropped => Ok(new),
        Former::Kept => {
            check_beside(header, recipients)?;
            // Stanzas cannot be copied but by hand.
            let copy = |stanza: &Stanza| Stanza {
                tag: stanza.tag.clone(),
                args: stanza.args.clone(),
                body: stanza.body.clone(),
            };
            let stanzas = header.stanzas().iter().map(copy).chain(new.into_stanzas());
            Header::new(stanzas.collect(), &file_key)
        }
    }
}

/// Checks age's rules for stanzas that share a header: no kind that resists quantum computers beside one that does not,
/// and nothing beside a passphrase. Stanzas of unknown types are plugins' and grease, and go with all.
fn check_beside(header: &Header, recipients: &Recipients) -> Result<(), Error> {
    for former in header.stanza_types() {
        let is_postquantum = match former.as_str() {
            "scrypt" => {
                let message = "a passphrase must be a file's only recipient".to_owned();
                return Err(Error::Wrap { kind: former, message });
            }
            "mlkem768x25519" | "mlkem768p256tag" => true,
            "X25519" | "p256tag" | "ssh-ed25519" | "ssh-rsa" => false,
            _ => continue,
        };
        let other = recipients.iter().find(|new| new.kind().is_postquantum() == Some(!is_postquantum));
        if let Some(other) = other.map(|other| other.kind().to_string()) {
            let (postquantum, classic) = if is_postquantum { (former, other) } else { (other, former) };
            return Err(Error::MixedRecipients { postquantum, classic });
        }
    }
    Ok(())
}

/// Copies the (binary) age file `input` to `output` with a header for `recipients`. Returns the bytes written.
/// The payload is copied unread: whether it is complete shows when it is decrypted.
///
/// # Errors
/// As [`Header::read`] and [`rewrap_header`]; [`Error::Io`].
pub fn rewrap(
    mut input: impl BufRead,
    output: impl Write,
    identities: &Identities,
    recipients: &Recipients,
    former: Former,
    entropy: &mut Entropy<'_>,
) -> Result<u64, Error> {
    let old = Header::read(&mut input)?;
    rewrap_rest(&old, input, output, identities, recipients, former, entropy)
}

/// As [`rewrap`], of a file whose header `old` was read from `input` already.
///
/// # Errors
/// As [`rewrap_header`]; [`Error::Io`].
pub fn rewrap_rest(
    old: &Header,
    mut input: impl BufRead,
    mut output: impl Write,
    identities: &Identities,
    recipients: &Recipients,
    former: Former,
    entropy: &mut Entropy<'_>,
) -> Result<u64, Error> {
    let new = rewrap_header(old, identities, recipients, former, entropy)?.encode();
    output.write_all(&new)?;
    let copied = io::copy(&mut input, &mut output)?;
    output.flush()?;
    Ok(new.len() as u64 + copied)
}

/// The kind of the first recipient that is not known to resist quantum computers, where the stanzas of `old` do: the
/// new header would give up what the old one had.
#[must_use]
pub fn downgrade<'a>(old: &Header, recipients: &'a Recipients) -> Option<&'a RecipientKind> {
    const POST_QUANTUM: [&str; 2] = ["mlkem768x25519", "mlkem768p256tag"];
    // age mixes no kinds, so one such stanza tells for all. Others than these are grease.
    let was_closed = old.stanzas().iter().any(|stanza| POST_QUANTUM.contains(&stanza.tag.as_str()));
    let mut kinds = recipients.iter().map(Recipient::kind);
    kinds.find(|kind| was_closed && kind.is_postquantum() != Some(true))
}

#[cfg(test)]
mod tests {
    use super::super::keygen::{Generated, KeyKind, generate};
    use super::super::{DecryptReader, EncryptWriter, NoPrompt};
    use super::*;
    use age_core::secrecy::ExposeSecret;
    use std::io::Read;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    fn with_entropy<T>(run: impl FnOnce(&mut Entropy<'_>) -> T) -> T {
        run(&mut Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} })
    }

    fn key() -> (Identities, Recipients) {
        key_of(KeyKind::X25519)
    }

    fn key_of(kind: KeyKind) -> (Identities, Recipients) {
        let Generated { identity_file, recipient } =
            with_entropy(|entropy| generate(kind, SystemTime::now(), entropy)).unwrap();
        let mut identities = Identities::new(Arc::new(NoPrompt));
        identities.add_file("", identity_file.expose_secret().as_bytes()).unwrap();
        (identities, Recipients::from_file_contents(recipient.as_bytes()).unwrap())
    }

    fn decrypt(mut file: &[u8], identities: &Identities) -> Result<Vec<u8>, Error> {
        let opened = identities.open(&mut file)?;
        let mut plain = Vec::new();
        DecryptReader::new(file, opened.key).read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn only_recipients_that_quantum_computers_open_are_a_downgrade() {
        let ((_, classic), (_, postquantum)) = (key(), key_of(KeyKind::PostQuantum));
        let header = |recipients: &Recipients| {
            let start = with_entropy(|entropy| recipients.wrap(entropy)).unwrap().0;
            Header::read(&mut &start[..]).unwrap()
        };
        assert_eq!(downgrade(&header(&postquantum), &classic), Some(&RecipientKind::X25519));
        assert_eq!(downgrade(&header(&postquantum), &postquantum), None);
        assert_eq!(downgrade(&header(&classic), &postquantum), None);
        assert_eq!(downgrade(&header(&classic), &classic), None);
    }

    #[test]
    fn only_the_header_changes() {
        let ((old_identity, old), (new_identity, new)) = (key(), key());
        let (start, payload_key) = with_entropy(|entropy| old.wrap(entropy)).unwrap();
        let mut writer = EncryptWriter::new(start, payload_key);
        writer.write_all(&[9; 70_000]).unwrap();
        let file = writer.finish().unwrap();
        let mut moved = Vec::new();
        let written = with_entropy(|entropy| {
            rewrap(&file[..], &mut moved, &old_identity, &new, Former::Dropped, entropy)
        })
        .unwrap();
        assert_eq!(written, moved.len() as u64);
        assert_eq!(decrypt(&moved, &new_identity).unwrap(), [9; 70_000]);
        assert!(matches!(decrypt(&moved, &old_identity), Err(Error::NoMatch { .. })));
        let payload = |file: &[u8]| file[Header::read(&mut &file[..]).unwrap().encoded_len()..].to_vec();
        assert_eq!(payload(&file), payload(&moved));
        let refused = with_entropy(|entropy| {
            rewrap(&file[..], Vec::new(), &new_identity, &old, Former::Dropped, entropy)
        });
        assert!(matches!(refused, Err(Error::NoMatch { .. })));
    }

    #[test]
    fn former_recipients_can_stay() {
        let ((old_identity, old), (new_identity, new)) = (key(), key());
        let (start, payload_key) = with_entropy(|entropy| old.wrap(entropy)).unwrap();
        let mut writer = EncryptWriter::new(start, payload_key);
        writer.write_all(&[9; 70_000]).unwrap();
        let file = writer.finish().unwrap();
        let add = |to: &Recipients| {
            let mut both = Vec::new();
            let former = Former::Kept;
            with_entropy(|entropy| rewrap(&file[..], &mut both, &old_identity, to, former, entropy))
                .map(|_| both)
        };
        let both = add(&new).unwrap();
        for identity in [&old_identity, &new_identity] {
            assert_eq!(decrypt(&both, identity).unwrap(), [9; 70_000]);
        }
        let generated =
            with_entropy(|entropy| generate(KeyKind::PostQuantum, SystemTime::now(), entropy)).unwrap();
        let postquantum = Recipients::from_file_contents(generated.recipient.as_bytes()).unwrap();
        assert!(matches!(add(&postquantum), Err(Error::MixedRecipients { .. })));
    }
}
