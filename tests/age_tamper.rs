//! An age file that was cut or changed anywhere must end in an error, never in a plausible plaintext: every cut
//! of the header, cuts all over the last two chunks, every bit of a small file, every reader we have.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use age_core::secrecy::ExposeSecret;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use vmcore_encrypt::crypt::keygen::{KeyKind, generate};
use vmcore_encrypt::crypt::stream::{CHUNK_SIZE, RandomAccess};
use vmcore_encrypt::crypt::{
    DecryptReader, EncryptWriter, Entropy, Error, Header, Identities, NoPrompt, PayloadKey, Recipients,
    StreamError,
};

struct Sample {
    file: Vec<u8>,
    identities: Identities,
    payload_start: usize,
}

fn sample(kind: KeyKind, length: usize) -> Sample {
    let mut entropy = Entropy { limit: Duration::from_secs(5), notify: &mut |_| {} };
    let generated = generate(kind, SystemTime::now(), &mut entropy).unwrap();
    let mut identities = Identities::new(Arc::new(NoPrompt));
    identities.add_file("key", generated.identity_file.expose_secret().as_bytes()).unwrap();
    let recipients = Recipients::from_file_contents(generated.recipient.as_bytes()).unwrap();
    let (start, key) = recipients.wrap(&mut entropy).unwrap();
    let payload_start = start.len();
    let mut writer = EncryptWriter::new(start, key);
    writer.write_all(&vec![0x5a; length]).unwrap();
    Sample { file: writer.finish().unwrap(), identities, payload_start }
}

impl Sample {
    fn read(&self, mut file: &[u8]) -> Result<Vec<u8>, Error> {
        let opened = self.identities.open(&mut file)?;
        let mut plain = Vec::new();
        DecryptReader::new(file, opened.key).read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn read_at_random(&self, file: &[u8]) -> Result<Vec<u8>, Error> {
        let opened = self.identities.open(&mut &file[..])?;
        let encrypted = file.len() as u64 - opened.payload_start;
        let access = RandomAccess::new(file, opened.payload_start, encrypted, opened.key)?;
        let mut plain = vec![0; usize::try_from(access.len()).unwrap()];
        let got = access.read_at(&mut plain, 0)?;
        assert_eq!(got, plain.len());
        Ok(plain)
    }
}

#[test]
fn every_flipped_bit_of_a_small_file_is_an_error() {
    for kind in [KeyKind::X25519, KeyKind::PostQuantum] {
        let sample = sample(kind, 100);
        assert_eq!(sample.read(&sample.file).unwrap(), [0x5a; 100]);
        let step = if kind == KeyKind::X25519 { 1 } else { 7 };
        for bit in (0..sample.file.len() * 8).step_by(step) {
            let mut file = sample.file.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            assert!(sample.read(&file).is_err(), "{kind:?}: bit {bit} of {}", file.len() * 8);
        }
    }
}

#[test]
fn flipped_bits_in_a_file_of_three_chunks_are_errors() {
    let sample = sample(KeyKind::X25519, 2 * CHUNK_SIZE + 1000);
    for at in (sample.payload_start..sample.file.len()).step_by(4099) {
        let mut file = sample.file.clone();
        file[at] ^= 0x10;
        assert!(sample.read(&file).is_err(), "byte {at}");
        assert!(sample.read_at_random(&file).is_err(), "byte {at}, random access");
    }
}

#[test]
fn every_cut_of_the_header_is_an_error() {
    for kind in [KeyKind::X25519, KeyKind::PostQuantum] {
        let sample = sample(kind, 100);
        for cut in 0..sample.payload_start {
            let error = sample.read(&sample.file[..cut]).unwrap_err();
            assert!(matches!(error, Error::HeaderTruncated) || cut == 0, "{kind:?} at {cut}: {error}");
        }
    }
}

/// Where a payload of two chunks is cut: everywhere around its ends and the border of the chunks, and in each residue of
/// the 16-byte blocks between. A search for a final chunk that bytes follow goes through each of these.
fn cuts(sample: &Sample) -> impl Iterator<Item = usize> + use<> {
    const AROUND: usize = 350;
    let (start, end) = (sample.payload_start, sample.file.len());
    let border = start + CHUNK_SIZE + 16;
    (start..end).filter(move |&at| {
        at % 97 == 0 || [start, border, end].iter().any(|edge| at.abs_diff(*edge) < AROUND)
    })
}

#[test]
fn cuts_of_the_last_two_chunks_are_truncations() {
    let sample = sample(KeyKind::X25519, CHUNK_SIZE + 300);
    let header = Header::read(&mut &sample.file[..]).unwrap();
    let file_key = sample.identities.unwrap(&header).unwrap();
    let nonce = sample.file[..sample.payload_start].last_chunk().unwrap();
    for cut in cuts(&sample) {
        let key = PayloadKey::derive(&file_key, nonce);
        let payload = &sample.file[sample.payload_start..cut];
        let error = DecryptReader::new(payload, key).read_to_end(&mut Vec::new()).unwrap_err();
        assert!(matches!(StreamError::find(&error), Some(StreamError::Truncated { .. })), "{cut}: {error}");
        if cut % 101 == 0 {
            assert!(sample.read(&sample.file[..cut]).is_err(), "{cut}");
            assert!(sample.read_at_random(&sample.file[..cut]).is_err(), "{cut}");
        }
    }
}

#[test]
fn chunks_that_change_places_or_files_are_errors() {
    let sample = sample(KeyKind::X25519, 3 * CHUNK_SIZE);
    let chunk = |n: usize| sample.payload_start + n * (CHUNK_SIZE + 16);
    let swapped = [
        &sample.file[..chunk(0)],
        &sample.file[chunk(1)..chunk(2)],
        &sample.file[chunk(0)..chunk(1)],
        &sample.file[chunk(2)..],
    ];
    assert!(sample.read(&swapped.concat()).is_err());
    let dropped = [&sample.file[..chunk(1)], &sample.file[chunk(2)..]].concat();
    assert!(sample.read(&dropped).is_err());
    let doubled = [&sample.file[..], &sample.file[chunk(2)..]].concat();
    assert!(sample.read(&doubled).is_err());
}
