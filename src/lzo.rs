//! LZO1X, decoding: what the `compress` room encodes, and what other tools did. The bytes are anybody's. Our own, since the
//! library in safe Rust under a licence that fits (`lzokay-native`) panics on damaged bytes, and makes up to 255 times
//! their length of them before anybody can stop it; the tests hold it against that library.
//!
//! Source: Linux `Documentation/staging/lzo.rst`, the instruction set. Bitstream version 1 (run lengths of zeros, of zram
//! alone) is not read.

use std::ops::ControlFlow;

/// The largest distance of an instruction for three bytes after four literals or more, where nearer ones have another.
const M2_MAX: usize = 2048;
/// Distances from here on have an instruction of their own, whose end mark is this distance.
const M4_BASE: usize = 16384;
/// A literal run, or the first byte, that leaves this state was four bytes or longer.
const LONG: usize = 4;

/// Decompresses a whole stream into at most `limit` bytes; `None` where it is no such stream, or makes more.
#[must_use]
pub(crate) fn decompress(packed: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut stream = Stream { packed, out: Vec::with_capacity(limit.min(64 << 10)), limit };
    let mut state = stream.begin()?;
    loop {
        match stream.step(state)? {
            ControlFlow::Continue(next) => state = next,
            ControlFlow::Break(()) => return stream.packed.is_empty().then_some(stream.out),
        }
    }
}

/// What is left to read, and what was made.
struct Stream<'a> {
    packed: &'a [u8],
    out: Vec<u8>,
    limit: usize,
}

impl Stream<'_> {
    fn byte(&mut self) -> Option<usize> {
        let (&first, rest) = self.packed.split_first()?;
        self.packed = rest;
        Some(first.into())
    }

    fn word(&mut self) -> Option<usize> {
        Some(self.byte()? | self.byte()? << 8)
    }

    /// A length in the low bits of an instruction; where they are 0, so many bytes of 0 count 255 each, and the byte after
    /// them comes on top.
    fn length(&mut self, own: usize, full: usize) -> Option<usize> {
        if own > 0 {
            return Some(own);
        }
        let mut length = full;
        loop {
            match self.byte()? {
                0 => length = length.checked_add(255).filter(|&length| length <= self.limit)?,
                last => return length.checked_add(last),
            }
        }
    }

    fn literals(&mut self, count: usize) -> Option<()> {
        let (run, rest) = self.packed.split_at_checked(count)?;
        if self.out.len() + count > self.limit {
            return None;
        }
        self.out.extend_from_slice(run);
        self.packed = rest;
        Some(())
    }

    /// Bytes again that were made `distance` before; they may be among those that it makes.
    fn matched(&mut self, distance: usize, count: usize) -> Option<()> {
        let mut from = self.out.len().checked_sub(distance)?;
        let end = self.out.len().checked_add(count).filter(|&end| end <= self.limit)?;
        while self.out.len() < end {
            let now = (self.out.len() - from).min(end - self.out.len());
            self.out.extend_from_within(from..from + now);
            from += now;
        }
        Some(())
    }

    /// The first byte may be a run of literals.
    fn begin(&mut self) -> Option<usize> {
        match self.packed.first() {
            Some(&first) if first > 17 => {
                let count = self.byte()? - 17;
                self.literals(count)?;
                Some(count.min(LONG))
            }
            Some(_) => Some(0),
            None => None,
        }
    }

    /// One instruction, and the few literals that it has after its match. The state is how many literals came before, up to
    /// [`LONG`].
    fn step(&mut self, state: usize) -> Option<ControlFlow<(), usize>> {
        let code = self.byte()?;
        let (distance, count, literals) = match (code, state) {
            (..16, 0) => {
                let count = self.length(code, 15)? + 3;
                self.literals(count)?;
                return Some(ControlFlow::Continue(LONG));
            }
            (..16, LONG) => ((code >> 2) + (self.byte()? << 2) + M2_MAX + 1, 3, code & 3),
            (..16, _) => ((code >> 2) + (self.byte()? << 2) + 1, 2, code & 3),
            (16..32, _) => {
                let count = self.length(code & 7, 7)? + 2;
                let word = self.word()?;
                let distance = ((code & 8) << 11) + (word >> 2) + M4_BASE;
                if distance == M4_BASE {
                    return Some(ControlFlow::Break(()));
                }
                (distance, count, word & 3)
            }
            (32..64, _) => {
                let count = self.length(code & 31, 31)? + 2;
                let word = self.word()?;
                ((word >> 2) + 1, count, word & 3)
            }
            _ => ((code >> 2 & 7) + (self.byte()? << 3) + 1, (code >> 5) + 1, code & 3),
        };
        self.matched(distance, count)?;
        self.literals(literals)?;
        Some(ControlFlow::Continue(literals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    struct Noise(u32);

    impl Noise {
        fn next(&mut self, below: u32) -> u32 {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) % below
        }
    }

    /// Words of a small language between noise, of any length.
    fn plain(noise: &mut Noise, len: usize) -> Vec<u8> {
        let mut plain = Vec::new();
        while plain.len() < len {
            let (word, count, kind) = (noise.next(9), noise.next(500), noise.next(3));
            let bytes = (0..count).map(|nth| match kind {
                0 => noise.next(256),
                1 => word * 31 + nth,
                _ => 0,
            });
            plain.extend(bytes.map(|byte| byte.to_le_bytes()[0]));
        }
        plain.truncate(len);
        plain
    }

    #[test]
    fn what_the_library_packs_comes_back() {
        let mut noise = Noise(1);
        for len in [1, 2, 3, 4, 20, 238, 239, 4096, 65536, 256 << 10] {
            let plain = plain(&mut noise, len);
            let packed = lzokay_native::compress(&plain).unwrap();
            assert!(decompress(&packed, len).as_ref() == Some(&plain), "{len}");
            assert_eq!(decompress(&packed, len - 1), None, "{len}");
            assert!((1..packed.len()).all(|cut| decompress(&packed[..cut], len).is_none()) || len > 4096);
            assert_eq!(decompress(&[&packed[..], &[0]].concat(), len), None);
        }
        assert_eq!(decompress(&[17, 0, 0], 9), Some(Vec::new()));
        assert_eq!(decompress(b"", 9), None);
    }

    /// Damaged streams make what the library makes of them, where it makes anything, and nothing else ends.
    #[test]
    fn damaged_bytes_are_refused_or_are_another_stream() {
        std::panic::set_hook(Box::new(|_| {}));
        let mut noise = Noise(2);
        let (mut same, mut refused) = (0, 0);
        for _ in 0..40 {
            let plain = plain(&mut noise, 4096);
            let packed = lzokay_native::compress(&plain).unwrap();
            for _ in 0..100 {
                let mut bad = packed.clone();
                for _ in 0..=noise.next(3) {
                    let at = noise.next(u32::try_from(bad.len()).unwrap()) as usize;
                    bad[at] = noise.next(256).to_le_bytes()[0];
                }
                let theirs = catch_unwind(|| lzokay_native::decompress_all(&bad, Some(4096)).ok());
                let theirs = theirs.ok().flatten().filter(|made| made.len() <= 8192);
                match (decompress(&bad, 8192), theirs) {
                    (Some(ours), Some(theirs)) => {
                        assert!(ours == theirs);
                        same += 1;
                    }
                    (None, _) => refused += 1,
                    (Some(ours), None) => assert!(ours.len() <= 8192),
                }
            }
        }
        drop(std::panic::take_hook());
        assert!(same > 100 && refused > 100, "{same} {refused}");
    }
}
