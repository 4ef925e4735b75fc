//! LZO1X, encoding only: greedy matches by a hash of four bytes, instructions for literals and for matches of up to
//! 16 KiB back. Pages are at most 64 KiB, and what repeats in them mostly does so nearby.
//! Our own, since the encoder of the crate that decodes (`lzokay-native`) searches as hard as it can: 31 s where this takes
//! one. Source: the instruction set as Linux `Documentation/staging/lzo.rst` describes it.

/// Bytes that a match must have, for its instruction to be shorter than they are.
const MIN_MATCH: usize = 4;
/// The largest distance of a two-byte instruction, and of a three-byte one.
const NEAR: usize = 2048;
const FAR: usize = 16384;
/// The longest match of a two-byte instruction.
const SHORT: usize = 8;
/// The largest length in a three-byte instruction's own five bits.
const LENGTH_BITS: usize = 31;
/// Entries of the table of places.
const TABLE: usize = 1 << 12;
/// A distance that no match has: the end of the stream.
const END: [u8; 3] = [0x11, 0, 0];
/// After this many bytes without a match, every second place is tried, and so on.
const PATIENCE: u32 = 5;

/// Compresses pages, one after the other.
pub(super) struct Encoder {
    /// Where bytes of a hash were seen last, from 1; of the page in hand.
    places: Box<[u16; TABLE]>,
}

impl Encoder {
    /// An encoder.
    pub(super) fn new() -> Encoder {
        Encoder { places: Box::new([0; TABLE]) }
    }

    /// Replaces `out` with `page` compressed; `None` for a page larger than 64 KiB, and as soon as it is clear that it
    /// would not become smaller.
    pub(super) fn compress(&mut self, page: &[u8], out: &mut Vec<u8>) -> Option<()> {
        out.clear();
        if page.len() > usize::from(u16::MAX) + 1 {
            return None;
        }
        self.places.fill(0);
        let mut stream = Stream { out, tail: None };
        let (mut at, mut literals) = (0, 0);
        while let Some(word) = word_at(page, at) {
            let place = &mut self.places[hash(word)];
            let from = usize::from(*place);
            // Of a page of 64 KiB the last place has no number; it starts no match either.
            *place = u16::try_from(at + 1).unwrap_or(0);
            match from.checked_sub(1).filter(|&from| at - from <= FAR && word_at(page, from) == Some(word)) {
                Some(from) => {
                    let len = MIN_MATCH + common(&page[from + MIN_MATCH..], &page[at + MIN_MATCH..]);
                    stream.literals(&page[literals..at]);
                    stream.matched(at - from, len);
                    at += len;
                    literals = at;
                }
                None => at += 1 + ((at - literals) >> PATIENCE),
            }
            if stream.out.len() >= page.len() {
                return None;
            }
        }
        stream.literals(&page[literals..]);
        stream.out.extend_from_slice(&END);
        Some(())
    }
}

fn word_at(page: &[u8], at: usize) -> Option<u32> {
    page.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// The upper bits of a product, which every byte of the word moves.
fn hash(word: u32) -> usize {
    (word.wrapping_mul(0x9e37_79b1) >> (u32::BITS - TABLE.ilog2())) as usize
}

/// How many bytes two slices have in common at their beginning; the second is the shorter one.
fn common(a: &[u8], b: &[u8]) -> usize {
    let (words_a, words_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let words = words_a.iter().zip(words_b).take_while(|(a, b)| a == b).count() * 8;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

/// The stream of instructions.
struct Stream<'a> {
    out: &'a mut Vec<u8>,
    /// Where the last match keeps the number of literals after it, 0 to 3; nothing before the first instruction.
    tail: Option<usize>,
}

impl Stream<'_> {
    fn literals(&mut self, bytes: &[u8]) {
        let count = bytes.len();
        match (count, self.tail) {
            (0, _) => {}
            (1..=3, Some(tail)) => self.out[tail] |= low_byte(count),
            // The first instruction alone has a form for few literals.
            (1..=238, None) => self.out.push(low_byte(count + 17)),
            (4..=18, Some(_)) => self.out.push(low_byte(count - 3)),
            _ => {
                self.out.push(0);
                self.length(count - 18);
            }
        }
        self.out.extend_from_slice(bytes);
    }

    fn matched(&mut self, distance: usize, len: usize) {
        let back = distance - 1;
        if len <= SHORT && distance <= NEAR {
            self.tail = Some(self.out.len());
            self.out.push(low_byte((len - 1) << 5 | (back & 7) << 2));
            self.out.push(low_byte(back >> 3));
            return;
        }
        if len - 2 <= LENGTH_BITS {
            self.out.push(low_byte(32 | (len - 2)));
        } else {
            self.out.push(32);
            self.length(len - 2 - LENGTH_BITS);
        }
        self.tail = Some(self.out.len());
        self.out.push(low_byte(back << 2));
        self.out.push(low_byte(back >> 6));
    }

    /// A length that is at least 1: zeros for 255 each, and what is left.
    fn length(&mut self, len: usize) {
        let zeros = (len - 1) / 255;
        self.out.resize(self.out.len() + zeros, 0);
        self.out.push(low_byte(len - zeros * 255));
    }
}

/// The lowest byte of a number, whose other bits belong to another byte or are zero.
fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compress(page: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        Encoder::new().compress(page, &mut out).map(|()| out)
    }

    #[test]
    fn instructions_are_as_documented() {
        let mut out = Vec::new();
        let mut stream = Stream { out: &mut out, tail: None };
        stream.literals(b"ab");
        stream.matched(2, 4);
        stream.literals(b"c");
        stream.matched(2049, 33);
        stream.literals(b"1234");
        stream.matched(16384, 34 + 255);
        assert_eq!(out[..3], [19, b'a', b'b']);
        // 0 1 1 D D D S S, H: length 4, distance 2, one literal.
        assert_eq!(out[3..6], [0b0110_0101, 0, b'c']);
        // 0 0 1 L L L L L, then the distance less 1 and S: 31 + 2 bytes.
        assert_eq!(out[6..9], [0b0011_1111, 0, 32]);
        assert_eq!(out[9..14], [1, b'1', b'2', b'3', b'4']);
        // 31 + 2 + 255 + 1 bytes.
        assert_eq!(out[14..], [32, 0, 1, 0b1111_1100, 0xff]);
    }

    #[test]
    fn pages_of_all_kinds_come_back() {
        let mut state = 7_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 24
        };
        for len in [1, 3, 4, 5, 21, 238, 239, 240, 255 + 18, 4096, 65536] {
            for alphabet in [1, 2, 3, 17, 256] {
                // Words of a small language, with noise of a small alphabet between them.
                let mut page = Vec::new();
                while page.len() < len {
                    let (word, count) = (noise() % 8, noise() % 300);
                    page.extend((0..count % 40).map(|i| low_byte((word * 31 + i) as usize)));
                    page.extend((0..count / 8).map(|_| low_byte((noise() % alphabet) as usize)));
                }
                page.truncate(len);
                let Some(packed) = compress(&page) else { continue };
                let plain = lzokay_native::decompress_all(&packed, Some(len)).unwrap();
                assert!(plain == page, "{len} bytes of {alphabet}");
            }
        }
    }

    #[test]
    fn what_does_not_become_smaller_is_given_up() {
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..4096)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        assert!(compress(&noise).is_none_or(|packed| packed.len() >= noise.len()));
        assert!(compress(&[0; 65537]).is_none());
        assert!(compress(&[0; 65536]).unwrap().len() < 300);
    }
}
