//! Expanded AES keys, recognised by their form: each word follows from two before it, so a schedule proves itself. Keys of
//! 128, 192 and 256 bits, as encryption needs them and as the equivalent inverse cipher does, at any multiple of 4 bytes,
//! the bytes of a word in either order. Not found: schedules in bit slices, or with words kept elsewhere.
//!
//! Source: FIPS 197, sections 5.2 and 5.3.5. What Linux keeps: `include/crypto/aes.h`, `struct crypto_aes_ctx`.

use super::kinds::Kind;
use super::scan::{Hit, What};

/// Words of the longest schedule.
const MAX_WORDS: usize = 60;

/// The tables that prove a schedule.
pub(super) struct Schedules {
    sbox: [u8; 256],
}

/// A form that a schedule has: words of the key, and whether it is one for decryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    key: usize,
    inverse: bool,
}

impl Form {
    const ALL: [Form; 6] = [
        Form { key: 4, inverse: false },
        Form { key: 6, inverse: false },
        Form { key: 8, inverse: false },
        Form { key: 4, inverse: true },
        Form { key: 6, inverse: true },
        Form { key: 8, inverse: true },
    ];

    fn rounds(self) -> usize {
        self.key + 6
    }

    fn words(self) -> usize {
        4 * (self.rounds() + 1)
    }

    /// Whether words at the start of a schedule are related as words are that no S-box is between: `a == b ^ c`. That
    /// holds in either order of bytes, and after the inverse `MixColumns`, which is linear.
    fn may_be(self, w: &[u32]) -> bool {
        let follows = |places: [(usize, usize, usize); 3]| {
            let holds = |&(a, b, c): &(usize, usize, usize)| w[a] == w[b] ^ w[c];
            places.iter().all(holds) && places.iter().any(|&(a, ..)| w[a] != 0)
        };
        match (self.key, self.inverse) {
            (4, false) => follows([(5, 4, 1), (6, 5, 2), (7, 6, 3)]),
            (6, false) => follows([(7, 6, 1), (8, 7, 2), (9, 8, 3)]),
            (_, false) => follows([(9, 8, 1), (10, 9, 2), (11, 10, 3)]),
            (4, true) => follows([(5, 4, 9), (6, 5, 10), (7, 6, 11)]),
            (6, true) => follows([(7, 6, 9), (6, 5, 8), (5, 4, 15)]),
            (_, true) => follows([(5, 4, 13), (6, 5, 14), (7, 6, 15)]),
        }
    }
}

/// The product of two elements of the field.
fn times(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = a << 1 ^ if a & 0x80 != 0 { 0x1b } else { 0 };
        b >>= 1;
    }
    product
}

/// A column, its first byte highest, times a circulant matrix.
fn mix(column: u32, matrix: [u8; 4]) -> u32 {
    let bytes = column.to_be_bytes();
    let row = |row: usize| (0..4).fold(0, |sum, at| sum ^ times(bytes[at], matrix[(at + 4 - row) % 4]));
    u32::from_be_bytes([row(0), row(1), row(2), row(3)])
}

fn mix_columns(column: u32) -> u32 {
    mix(column, [2, 3, 1, 1])
}

fn inverse_mix_columns(column: u32) -> u32 {
    mix(column, [14, 11, 13, 9])
}

impl Schedules {
    /// Makes the S-box: the inverse in the field, then an affine map.
    pub(super) fn new() -> Schedules {
        let mut sbox = [0; 256];
        for byte in 0..=255_u8 {
            let inverse = (1..=255).find(|&other| times(byte, other) == 1).unwrap_or(0);
            let affine = (1..5).fold(inverse, |sum, turn| sum ^ inverse.rotate_left(turn));
            sbox[usize::from(byte)] = affine ^ 0x63;
        }
        Schedules { sbox }
    }

    fn sub_word(&self, word: u32) -> u32 {
        u32::from_be_bytes(word.to_be_bytes().map(|byte| self.sbox[usize::from(byte)]))
    }

    /// The schedule of a key.
    fn expand(&self, key: &[u32]) -> Vec<u32> {
        let len = Form { key: key.len(), inverse: false }.words();
        let (mut w, mut constant) = (key.to_vec(), 1);
        for at in key.len()..len {
            let mut word = w[at - 1];
            if at % key.len() == 0 {
                word = self.sub_word(word.rotate_left(8)) ^ u32::from(constant) << 24;
                constant = times(constant, 2);
            } else if key.len() == 8 && at % 8 == 4 {
                word = self.sub_word(word);
            }
            w.push(w[at - key.len()] ^ word);
        }
        w
    }

    /// The schedule for decryption: the rounds in reverse, those between the first and the last mixed.
    fn invert(schedule: &[u32]) -> Vec<u32> {
        let rounds = schedule.len() / 4 - 1;
        let word = |at: usize| {
            let word = schedule[4 * (rounds - at / 4) + at % 4];
            if (4..4 * rounds).contains(&at) { inverse_mix_columns(word) } else { word }
        };
        (0..schedule.len()).map(word).collect()
    }

    /// The key of a schedule, if it is one. The bytes of `w` are those of memory, the first highest.
    fn prove(&self, form: Form, w: &[u32]) -> Option<Vec<u32>> {
        let w = w.get(..form.words())?;
        let last = 4 * form.rounds();
        let key: Vec<u32> = if form.inverse {
            let second = w[last - 4..last].iter().map(|&word| mix_columns(word));
            w[last..].iter().copied().chain(second).take(form.key).collect()
        } else {
            w[..form.key].to_vec()
        };
        let mut schedule = self.expand(&key);
        if form.inverse {
            schedule = Schedules::invert(&schedule);
        }
        (schedule == w).then_some(key)
    }

    /// The schedules that begin in the first `own` bytes.
    pub(super) fn hits(&self, bytes: &[u8], own: usize) -> Vec<Hit> {
        let words: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect();
        let mut hits = Vec::new();
        for (at, w) in words.windows(16).take(own / 4).enumerate() {
            for form in Form::ALL {
                if form.may_be(w) {
                    hits.extend(self.hit(form, &words[at..], at * 4));
                }
            }
        }
        hits
    }

    fn hit(&self, form: Form, words: &[u32], at: usize) -> Option<Hit> {
        let words = &words[..words.len().min(MAX_WORDS)];
        let swapped: Vec<u32> = words.iter().map(|word| word.swap_bytes()).collect();
        let proved = self.prove(form, words).map(|key| bytes_of(&key));
        let secret = proved.or_else(|| self.prove(form, &swapped).map(|key| bytes_of(&key)))?;
        let (at, len) = (at as u64, form.words() as u64 * 4);
        Some(Hit { kind: Kind::Aes, what: What::Named("schedule"), at, len, secret: Some(secret) })
    }
}

fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys and the last word of their schedules. Source: FIPS 197, appendix A.
    const VECTORS: [(&[u32], u32); 3] = [
        (&[0x2b7e_1516, 0x28ae_d2a6, 0xabf7_1588, 0x09cf_4f3c], 0xb663_0ca6),
        (&[0x8e73_b0f7, 0xda0e_6452, 0xc810_f32b, 0x8090_79e5, 0x62f8_ead2, 0x522c_6b7b], 0x0100_2202),
        (
            &[
                0x603d_eb10,
                0x15ca_71be,
                0x2b73_aef0,
                0x857d_7781,
                0x1f35_2c07,
                0x3b61_08d7,
                0x2d98_10a3,
                0x0914_dff4,
            ],
            0x706c_631e,
        ),
    ];

    #[test]
    fn schedules_are_those_of_the_standard() {
        let aes = Schedules::new();
        assert_eq!((aes.sbox[0], aes.sbox[0x53], aes.sbox[255]), (0x63, 0xed, 0x16));
        for (key, last) in VECTORS {
            assert_eq!(aes.expand(key).last(), Some(&last));
        }
        // FIPS 197, section 5.1.3 by its inverse.
        for word in [0, 1, 0x8000_0000, 0xdb13_5345, u32::MAX] {
            assert_eq!(mix_columns(inverse_mix_columns(word)), word);
        }
        assert_eq!(mix_columns(0xdb13_5345), 0x8e4d_a1bc);
    }

    #[test]
    fn every_form_is_found_at_any_word_and_in_either_order() {
        let aes = Schedules::new();
        for (key, _) in VECTORS {
            let schedule = aes.expand(key);
            for words in [schedule.clone(), Schedules::invert(&schedule)] {
                for order in [u32::to_be_bytes, u32::to_le_bytes] {
                    for at in [0, 4, 100, 1024 - 4 * words.len()] {
                        let mut memory = vec![0xa5; 1024];
                        for (place, word) in memory[at..].chunks_mut(4).zip(&words) {
                            place.copy_from_slice(&order(*word));
                        }
                        let hits = aes.hits(&memory, memory.len());
                        let found: Vec<_> = hits.iter().map(|hit| (hit.at, hit.len)).collect();
                        assert_eq!(found, [(at as u64, 4 * words.len() as u64)], "{} {at}", key.len());
                        assert_eq!(hits[0].secret.as_deref(), Some(&bytes_of(key)[..]));
                        // One bit less is no schedule; what begins in the next piece is that one's.
                        memory[at + 70] ^= 1;
                        assert!(aes.hits(&memory, memory.len()).is_empty());
                        memory[at + 70] ^= 1;
                        assert!(aes.hits(&memory, at).is_empty());
                    }
                }
            }
        }
    }

    /// A false one would need 96 bits to be right by chance before the proof, which no random memory survives.
    #[test]
    fn nothing_is_found_in_other_memory() {
        let aes = Schedules::new();
        let mut state = 0x1234_5678_9abc_def1_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let noise: Vec<u8> = (0..1 << 17).flat_map(|_| random().to_le_bytes()).collect();
        assert!(aes.hits(&noise, noise.len()).is_empty());
        let counting: Vec<u8> = (0..1_u32 << 14).flat_map(u32::to_le_bytes).collect();
        for memory in [vec![0; 4096], vec![0xff; 4096], counting, b"0123456789abcdef".repeat(256)] {
            assert!(aes.hits(&memory, memory.len()).is_empty());
        }
    }
}
