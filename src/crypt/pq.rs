//! The post-quantum hybrid recipient `mlkem768x25519` (`age1pq1...`): ML-KEM-768 and X25519 together as one
//! KEM (X-Wing), under HPKE base mode with HKDF-SHA-256 and ChaCha20-Poly1305. Files stay closed while
//! either half holds. The age crate (0.12) has no such type; once it has one, on the
//! `hpke` crate with ML-KEM, it replaces this file and `hpke`. Sources: C2SP age.md "mlkem768x25519 recipient
//! stanza", RFC 9180, draft-connolly-cfrg-xwing-kem.

use super::entropy;
use super::error::RecipientError;
use super::hpke::{SealedKey, Suite};
use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::primitives::{bech32_decode, bech32_encode};
use age_core::secrecy::ExposeSecret;
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use bech32::Hrp;
use ml_kem::kem::Decapsulate;
use ml_kem::{EncapsulateDeterministic, EncodedSizeUser, KemCore, MlKem768};
use sha3::digest::{ExtendableOutput, Update, XofReader};
use sha3::{Digest, Sha3_256, Shake256};
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

const TAG: &str = "mlkem768x25519";
const LABEL: &str = "postquantum";
const HPKE: Suite = Suite { kem_id: 0x647a, info: b"age-encryption.org/mlkem768x25519" };
const RECIPIENT_HRP: Hrp = Hrp::parse_unchecked("age1pq");
const IDENTITY_HRP: Hrp = Hrp::parse_unchecked("AGE-SECRET-KEY-PQ-");
/// Mark of the construction in its shared secret.
const XWING_LABEL: &[u8; 6] = b"\\.//^\\";

/// Bytes of an ML-KEM-768 encapsulation key, and of its ciphertext.
const MLKEM_KEY: usize = 1184;
const MLKEM_CIPHERTEXT: usize = 1088;
const X25519_SIZE: usize = 32;
/// Bytes of a recipient: ML-KEM key, then X25519 point.
const RECIPIENT_SIZE: usize = MLKEM_KEY + X25519_SIZE;
/// Bytes of a stanza's argument: ML-KEM ciphertext, then ephemeral X25519 point.
const ENC_SIZE: usize = MLKEM_CIPHERTEXT + X25519_SIZE;
const SEED_SIZE: usize = 32;

type EncapsulationKey = <MlKem768 as KemCore>::EncapsulationKey;
type DecapsulationKey = <MlKem768 as KemCore>::DecapsulationKey;

/// The public half: who can open a file.
#[derive(Clone)]
pub struct Recipient {
    mlkem: EncapsulationKey,
    x25519: PublicKey,
}

impl Recipient {
    fn encapsulate(&self) -> std::io::Result<(SharedSecret, Vec<u8>)> {
        let mut randomness = Zeroizing::new([0_u8; 2 * 32]);
        entropy::fill(&mut *randomness)?;
        let (message, ephemeral) = randomness.split_at(32);
        Ok(self.encapsulate_with(message, ephemeral))
    }

    /// The KEM, with the ML-KEM message and the X25519 ephemeral key given: 32 bytes each.
    #[expect(
        clippy::expect_used,
        reason = "lengths are fixed by the types; ML-KEM encapsulation cannot fail"
    )]
    fn encapsulate_with(&self, message: &[u8], ephemeral: &[u8]) -> (SharedSecret, Vec<u8>) {
        let message = message.try_into().expect("internal error: ML-KEM message length");
        let (ciphertext, mut mlkem_secret) =
            self.mlkem.encapsulate_deterministic(&message).expect("internal error: ML-KEM encapsulation");
        let ephemeral: [u8; 32] = ephemeral.try_into().expect("internal error: X25519 key length");
        let ephemeral = StaticSecret::from(ephemeral);
        let share = PublicKey::from(&ephemeral);
        let x25519_secret = ephemeral.diffie_hellman(&self.x25519);
        let secret = combine(&mlkem_secret, x25519_secret.as_bytes(), &share, &self.x25519);
        mlkem_secret.as_mut_slice().zeroize();
        (secret, [&ciphertext[..], share.as_bytes()].concat())
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Self, RecipientError> {
        let wrong = || RecipientError::NotARecipient;
        let right_kind = |hrp| if hrp == RECIPIENT_HRP { Ok(()) } else { Err(wrong()) };
        let bytes: Vec<u8> = bech32_decode(text, |_| wrong(), right_kind, |_, bytes| Ok(bytes.collect()))?;
        let (mlkem, x25519) = bytes.split_at_checked(MLKEM_KEY).ok_or_else(wrong)?;
        if !is_reduced(mlkem) {
            return Err(wrong());
        }
        let x25519 = check_x25519(x25519)?;
        let mlkem = EncapsulationKey::from_bytes(&mlkem.try_into().map_err(|_| wrong())?);
        Ok(Recipient { mlkem, x25519 })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.mlkem.as_bytes()[..], self.x25519.as_bytes()].concat();
        debug_assert_eq!(bytes.len(), RECIPIENT_SIZE);
        f.write_str(&bech32_encode(RECIPIENT_HRP, &bytes))
    }
}

/// Whether every 12-bit coefficient of an encoded ML-KEM key is below the modulus 3329: the check FIPS 203
/// (section 7.2) asks for before encapsulating. The last 32 bytes are a seed and free.
fn is_reduced(key: &[u8]) -> bool {
    const MODULUS: u16 = 3329;
    let coefficients = &key[..key.len() - 32];
    coefficients.chunks_exact(3).all(|pair| {
        let [a, b, c] = [pair[0], pair[1], pair[2]].map(u16::from);
        (a | (b & 0xf) << 8) < MODULUS && (b >> 4 | c << 4) < MODULUS
    })
}

/// A point that leaves the shared secret to chance: for one of low order it is zero whatever the other side's key.
pub(super) fn check_x25519(bytes: &[u8]) -> Result<PublicKey, RecipientError> {
    let bytes: [u8; X25519_SIZE] = bytes.try_into().map_err(|_| RecipientError::NotARecipient)?;
    let point = PublicKey::from(bytes);
    // Clamped keys are multiples of the cofactor, so any one of them finds out.
    let contributes = StaticSecret::from([1; 32]).diffie_hellman(&point).was_contributory();
    if contributes { Ok(point) } else { Err(RecipientError::WeakKey) }
}

impl age::Recipient for Recipient {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let (secret, enc) = self.encapsulate()?;
        let body = HPKE.seal(&secret, file_key.expose_secret());
        let stanza = Stanza { tag: TAG.to_owned(), args: vec![BASE64.encode(enc)], body };
        Ok((vec![stanza], HashSet::from([LABEL.to_owned()])))
    }
}

/// The secret half: a 32-byte seed. Wiped on drop.
pub struct Identity {
    seed: Zeroizing<[u8; SEED_SIZE]>,
}

impl Identity {
    #[cfg(feature = "analyst")]
    /// A fresh identity from the kernel's random number generator, which must be ready.
    pub(super) fn generate() -> std::io::Result<Identity> {
        let mut seed = Zeroizing::new([0; SEED_SIZE]);
        entropy::fill(&mut *seed)?;
        Ok(Identity { seed })
    }

    /// The recipient that belongs to it.
    #[must_use]
    pub fn to_recipient(&self) -> Recipient {
        let (mlkem, x25519) = self.expand();
        Recipient { mlkem: mlkem.encapsulation_key().clone(), x25519: PublicKey::from(&x25519) }
    }

    #[cfg(feature = "analyst")]
    /// The line of an identity file.
    pub(super) fn to_secret_string(&self) -> age_core::secrecy::SecretString {
        let lower = Zeroizing::new(bech32_encode(IDENTITY_HRP, &*self.seed));
        age_core::secrecy::SecretString::from(lower.to_ascii_uppercase())
    }

    /// SHAKE-256 of the seed: d and z of ML-KEM key generation (FIPS 203), then the X25519 key; 32 bytes each.
    fn expand(&self) -> (DecapsulationKey, StaticSecret) {
        let mut xof = Shake256::default().chain(*self.seed).finalize_xof();
        let mut next = || {
            let mut part = Zeroizing::new([0_u8; 32]);
            xof.read(&mut *part);
            part
        };
        let (d, z, x25519) = (next(), next(), next());
        let (mut d, mut z) = ((*d).into(), (*z).into());
        let (mlkem, _) = MlKem768::generate_deterministic(&d, &z);
        d.as_mut_slice().zeroize();
        z.as_mut_slice().zeroize();
        (mlkem, StaticSecret::from(*x25519))
    }

    /// `None` when the X25519 half is of low order: then one half of the hybrid would be missing.
    #[expect(clippy::expect_used, reason = "ML-KEM decapsulation cannot fail, it gives another secret")]
    fn decapsulate(&self, enc: &[u8; ENC_SIZE]) -> Option<SharedSecret> {
        let (mlkem, x25519) = self.expand();
        let (ciphertext, share) = enc.split_last_chunk::<X25519_SIZE>()?;
        let share = PublicKey::from(*share);
        let x25519_secret = x25519.diffie_hellman(&share);
        if !x25519_secret.was_contributory() {
            return None;
        }
        let ciphertext = ciphertext.try_into().ok()?;
        let mut mlkem_secret = mlkem.decapsulate(&ciphertext).expect("internal error: ML-KEM decapsulation");
        let secret = combine(&mlkem_secret, x25519_secret.as_bytes(), &share, &PublicKey::from(&x25519));
        mlkem_secret.as_mut_slice().zeroize();
        Some(secret)
    }
}

impl FromStr for Identity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let right_kind = |hrp| if hrp == IDENTITY_HRP { Ok(()) } else { Err(()) };
        let bytes: Vec<u8> = bech32_decode(text, |_| (), right_kind, |_, bytes| Ok(bytes.collect()))?;
        let bytes = Zeroizing::new(bytes);
        let seed = bytes.as_slice().try_into().map_err(|_| ())?;
        Ok(Identity { seed: Zeroizing::new(seed) })
    }
}

impl age::Identity for Identity {
    /// A stanza that does not open may be another recipient's: the type carries no key tag.
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        if stanza.tag != TAG {
            return None;
        }
        let Some((enc, body)) = parse_stanza(stanza) else {
            return Some(Err(age::DecryptError::InvalidHeader));
        };
        let Some(secret) = self.decapsulate(&enc) else {
            return Some(Err(age::DecryptError::InvalidHeader));
        };
        let file_key: Zeroizing<[u8; FILE_KEY_BYTES]> = HPKE.open(&secret, body)?;
        Some(Ok(FileKey::init_with_mut(|key| key.copy_from_slice(&*file_key))))
    }
}

/// One argument of exactly 1120 bytes and a body of exactly a sealed file key; the length is checked before
/// anything is decrypted, so that no ciphertext can be made to open under several keys.
fn parse_stanza(stanza: &Stanza) -> Option<(Box<[u8; ENC_SIZE]>, &SealedKey)> {
    let [enc] = stanza.args.as_slice() else { return None };
    let enc = BASE64.decode(enc).ok()?.into_boxed_slice().try_into().ok()?;
    Some((enc, stanza.body.as_slice().try_into().ok()?))
}

type SharedSecret = Zeroizing<[u8; 32]>;

/// X-Wing's combiner: SHA3-256 over both secrets, the ephemeral point, the recipient's point and the label.
fn combine(mlkem: &[u8], x25519: &[u8; 32], share: &PublicKey, recipient: &PublicKey) -> SharedSecret {
    let mut hash = Sha3_256::new();
    for part in [mlkem, x25519, share.as_bytes(), recipient.as_bytes(), XWING_LABEL] {
        Digest::update(&mut hash, part);
    }
    let mut digest = hash.finalize();
    let secret = Zeroizing::new(digest.into());
    digest.as_mut_slice().zeroize();
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::{Identity as _, Recipient as _};

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn identity() -> Identity {
        let seed = hex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26");
        Identity { seed: Zeroizing::new(seed.try_into().unwrap()) }
    }

    /// First vector of draft-connolly-cfrg-xwing-kem, appendix C: seed, eseed, shared secret.
    #[test]
    fn the_kem_is_x_wing() {
        let randomness = hex(concat!(
            "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2",
            "35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2"
        ));
        let expected = hex("d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384");
        let (message, ephemeral) = randomness.split_at(32);
        let (secret, enc) = identity().to_recipient().encapsulate_with(message, ephemeral);
        assert_eq!(secret.to_vec(), expected);
        assert_eq!(identity().decapsulate(&enc.try_into().unwrap()).unwrap().to_vec(), expected);
    }

    #[test]
    fn texts_round_trip() {
        let recipient = identity().to_recipient().to_string();
        assert_eq!(recipient.len(), 1959);
        assert_eq!(recipient.parse::<Recipient>().unwrap().to_string(), recipient);
        let secret = identity().to_secret_string();
        assert!(secret.expose_secret().starts_with("AGE-SECRET-KEY-PQ-1"));
        assert_eq!(secret.expose_secret().parse::<Identity>().unwrap().seed, identity().seed);
    }

    #[test]
    fn hostile_recipients_are_refused() {
        let good = identity().to_recipient();
        let mlkem = good.mlkem.as_bytes();
        let text = |mlkem: &[u8], x25519: &[u8]| bech32_encode(RECIPIENT_HRP, &[mlkem, x25519].concat());
        let low_order = text(&mlkem, &[0; 32]).parse::<Recipient>();
        assert_eq!(low_order.err(), Some(RecipientError::WeakKey));
        let mut unreduced = mlkem.to_vec();
        unreduced[..3].copy_from_slice(&[0x01, 0x0d, 0]); // 3329
        assert!(text(&unreduced, good.x25519.as_bytes()).parse::<Recipient>().is_err());
        unreduced[..3].copy_from_slice(&[0x00, 0x0d, 0]); // 3328
        assert!(text(&unreduced, good.x25519.as_bytes()).parse::<Recipient>().is_ok());
        assert!(text(&mlkem[1..], good.x25519.as_bytes()).parse::<Recipient>().is_err());
    }

    #[test]
    fn only_its_own_stanza_opens() {
        let file_key = FileKey::new(Box::new(*b"YELLOW SUBMARINE"));
        let (mut stanzas, labels) = identity().to_recipient().wrap_file_key(&file_key).unwrap();
        assert!(labels.contains("postquantum"));
        let opened = identity().unwrap_stanza(&stanzas[0]).unwrap().unwrap();
        assert_eq!(opened.expose_secret(), file_key.expose_secret());
        assert!(Identity::generate().unwrap().unwrap_stanza(&stanzas[0]).is_none());
        stanzas[0].body.push(0);
        assert!(matches!(identity().unwrap_stanza(&stanzas[0]), Some(Err(age::DecryptError::InvalidHeader))));
    }
}
