//! Re-wrapping: giving a file to other recipients without touching its payload. The file key is unwrapped and
//! wrapped anew; nonce and chunks stay as they are, so a terabyte costs a copy, not a decryption. The file key stays
//! too: whoever could open the old file, or kept its header, opens the new one. This hands over, it does not revoke.

use super::entropy::Entropy;
use super::header::Header;
use super::identities::read_nonce;
use super::stream::{ENCRYPTED_CHUNK_SIZE, NONCE_SIZE, PayloadKey, StreamError};
use super::{Error, Identities, Recipient, RecipientKind, Recipients};
use age_core::format::{FileKey, Stanza};
use std::io::{self, BufRead, Read, Write};

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
    header_for(header, &identities.unwrap(header)?, recipients, former)
}

fn header_for(
    header: &Header,
    file_key: &FileKey,
    recipients: &Recipients,
    former: Former,
) -> Result<Header, Error> {
    let new = recipients.header(file_key)?;
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
            Header::new(stanzas.collect(), file_key)
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

/// What was made of a file.
#[derive(Debug)]
pub struct Rewrapped {
    /// Bytes written.
    pub written: u64,
    /// What is wrong with the end of the payload, which was copied all the same.
    pub fault: Option<StreamError>,
}

/// Copies the (binary) age file `input` to `output` with a header for `recipients`. The payload is copied as it is;
/// of it only the last chunk is opened, which tells whether the file is cut.
///
/// # Errors
/// As [`Header::read`] and [`rewrap_header`]; [`Error::HeaderTruncated`] when the nonce is cut; [`Error::Io`].
pub fn rewrap(
    mut input: impl BufRead,
    output: impl Write,
    identities: &Identities,
    recipients: &Recipients,
    former: Former,
    entropy: &mut Entropy<'_>,
) -> Result<Rewrapped, Error> {
    let old = Header::read(&mut input)?;
    entropy.wait()?;
    Opened::new(old, input, identities)?.copy(output, recipients, former)
}

/// A file whose key is unwrapped and whose payload is still to be copied, from its first chunk on, which can be looked into.
pub struct Opened<R> {
    old: Header,
    file_key: FileKey,
    nonce: [u8; NONCE_SIZE],
    first: Vec<u8>,
    rest: R,
}

impl<R: BufRead> Opened<R> {
    /// Opens the file whose header `old` was read from `input` already.
    ///
    /// # Errors
    /// As [`Identities::unwrap`]; [`Error::HeaderTruncated`] when the nonce is cut; [`Error::Io`].
    pub fn new(old: Header, mut input: R, identities: &Identities) -> Result<Opened<R>, Error> {
        let file_key = identities.unwrap(&old)?;
        let nonce = read_nonce(&mut input)?;
        let mut first = Vec::with_capacity(ENCRYPTED_CHUNK_SIZE);
        (&mut input).take(ENCRYPTED_CHUNK_SIZE as u64).read_to_end(&mut first)?;
        Ok(Opened { old, file_key, nonce, first, rest: input })
    }

    /// What its first chunk holds; `None` where that is damaged or cut.
    #[must_use]
    pub fn start(&self) -> Option<Vec<u8>> {
        let mut chunk = self.first.clone();
        PayloadKey::derive(&self.file_key, &self.nonce).open_next(0, &mut chunk).ok().map(|_| chunk)
    }

    /// Copies it with a header for `recipients`.
    ///
    /// # Errors
    /// As [`rewrap_header`]; [`Error::Io`].
    pub fn copy(
        self,
        mut output: impl Write,
        recipients: &Recipients,
        former: Former,
    ) -> Result<Rewrapped, Error> {
        let Opened { old, file_key, nonce, first, rest } = self;
        let new = header_for(&old, &file_key, recipients, former)?.encode();
        output.write_all(&new)?;
        output.write_all(&nonce)?;
        let mut end = End::default();
        let copied = end.copy(first.as_slice().chain(rest), &mut output)?;
        output.flush()?;
        let written = (new.len() + nonce.len()) as u64 + copied;
        Ok(Rewrapped { written, fault: end.judge(&PayloadKey::derive(&file_key, &nonce)) })
    }
}

/// The last two chunks of a payload that is copied: the second where the first may be the final one and bytes follow it.
#[derive(Default)]
struct End {
    before: Vec<u8>,
    last: Vec<u8>,
    /// Chunks in all, or pieces of their length.
    chunks: u64,
}

impl End {
    fn copy(&mut self, mut input: impl BufRead, output: &mut impl Write) -> io::Result<u64> {
        let mut copied = 0;
        loop {
            let mut chunk = Vec::with_capacity(ENCRYPTED_CHUNK_SIZE);
            if (&mut input).take(ENCRYPTED_CHUNK_SIZE as u64).read_to_end(&mut chunk)? == 0 {
                return Ok(copied);
            }
            output.write_all(&chunk)?;
            copied += chunk.len() as u64;
            self.before = std::mem::replace(&mut self.last, chunk);
            self.chunks += 1;
        }
    }

    fn judge(mut self, key: &PayloadKey) -> Option<StreamError> {
        let Some(last) = self.chunks.checked_sub(1) else {
            return Some(StreamError::Truncated { plaintext: 0, remainder: 0 });
        };
        let fault = key.open_last(last, &mut self.last).err()?;
        let Some(chunk) = last.checked_sub(1) else { return Some(fault) };
        match key.open_last(chunk, &mut self.before) {
            Ok(()) | Err(StreamError::TrailingData { .. }) => Some(StreamError::TrailingData { chunk }),
            Err(_) => Some(fault),
        }
    }
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
        assert_eq!((written.written, written.fault), (moved.len() as u64, None));
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
    fn a_cut_file_is_moved_as_far_as_it_goes_and_said_to_be_cut() {
        let ((old_identity, old), (_, new)) = (key(), key());
        let (start, payload_key) = with_entropy(|entropy| old.wrap(entropy)).unwrap();
        let payload_at = start.len();
        let mut writer = EncryptWriter::new(start, payload_key);
        writer.write_all(&[9; 2 * 65536]).unwrap();
        let file = writer.finish().unwrap();
        let moved = |file: &[u8]| {
            let mut moved = Vec::new();
            let result = with_entropy(|entropy| {
                rewrap(file, &mut moved, &old_identity, &new, Former::Dropped, entropy)
            });
            result.map(|result| (result.fault, result.written == moved.len() as u64))
        };
        for cut in [payload_at, payload_at + 10, payload_at + 65552, file.len() - 1] {
            let (fault, written) = moved(&file[..cut]).unwrap();
            assert!(matches!(fault, Some(StreamError::Truncated { .. })) && written, "{cut}: {fault:?}");
        }
        for cut in payload_at - 16..payload_at {
            assert!(matches!(moved(&file[..cut]), Err(Error::HeaderTruncated)), "{cut}");
        }
        let longer = [&file[..], b"\n"].concat();
        assert!(matches!(moved(&longer).unwrap().0, Some(StreamError::TrailingData { .. })));
        assert_eq!(moved(&file).unwrap(), (None, true));
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
