//! The compressed names, one after the other: a length, then as many bytes, each of which stands for a token. The first
//! character of the joined tokens is the symbol's type.

use super::super::Error;
use super::super::bytes::Reader;
use crate::units::VirtAddr;

/// The longest name in bytes, type letter included: the kernel's own limit. Source: Linux `include/linux/kallsyms.h`,
/// `KSYM_NAME_LEN`.
pub(super) const MAX_NAME: usize = 512;
/// The most bytes of compressed names: the largest kernel seen has 3.2 MB.
const MAX_NAMES: u64 = 64 << 20;
/// Bytes read at once, and the pages of memory that are tried alone where one of them is missing.
const PIECE: u64 = 64 << 10;
const PAGE: u64 = 4 << 10;

/// The strings that a byte of a name can stand for.
pub(super) struct Tokens {
    text: Vec<u8>,
    starts: Vec<u16>,
}

impl Tokens {
    /// `starts` gives the offset of each string in `text`, where NUL ends it.
    pub(super) fn new(text: Vec<u8>, starts: Vec<u16>) -> Tokens {
        Tokens { text, starts }
    }

    /// Bytes of the strings, with the NUL of the last.
    #[cfg(feature = "analyst")]
    pub(super) fn len(&self) -> usize {
        let last = usize::from(self.starts.iter().copied().max().unwrap_or(0));
        let rest = self.text.get(last..).unwrap_or_default();
        last + rest.iter().position(|&byte| byte == 0).map_or(rest.len(), |end| end + 1)
    }

    fn get(&self, byte: u8) -> &[u8] {
        let start = self.starts.get(usize::from(byte)).copied().unwrap_or(u16::MAX);
        let rest = self.text.get(usize::from(start)..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

/// Names that are searched for in the stream. Most of what the stream has is told apart by its first tokens and its length.
pub(super) struct Wanted<'a> {
    names: Vec<&'a [u8]>,
    /// What each token stands for.
    texts: [&'a [u8]; 256],
    /// Whether a symbol may be one of them that begins with the token, the type letter being its first character, and a
    /// name that does.
    starts: [bool; 256],
    name_starts: [bool; 256],
    /// Which lengths the names have, with a type letter.
    sums: Vec<bool>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(tokens: &'a Tokens, names: Vec<&'a [u8]>) -> Wanted<'a> {
        let texts: [&[u8]; 256] = std::array::from_fn(|byte| tokens.get(u8::try_from(byte).unwrap_or(0)));
        let fits = |text: &[u8]| names.iter().any(|name| name.starts_with(text));
        let starts = texts.map(|text| text.split_first().is_some_and(|(_, rest)| fits(rest)));
        let mut sums = vec![false; MAX_NAME + 1];
        for name in &names {
            if let Some(sum) = sums.get_mut(name.len() + 1) {
                *sum = true;
            }
        }
        Wanted { texts, starts, name_starts: texts.map(fits), sums, names }
    }

    fn text(&self, token: u8) -> &'a [u8] {
        self.texts.get(usize::from(token)).copied().unwrap_or_default()
    }

    /// Which of the names a symbol has.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let is_set = |table: &[bool; 256], token: u8| table.get(usize::from(token)).copied().unwrap_or(false);
        let (&first, rest) = bytes.split_first()?;
        // A token of the type letter alone leaves all of the name to the next.
        let is_letter = self.text(first).len() == 1;
        let fits_next = rest.first().is_none_or(|&next| is_set(&self.name_starts, next));
        if !is_set(&self.starts, first) || is_letter && !fits_next {
            return None;
        }
        let len: usize = bytes.iter().map(|&byte| self.text(byte).len()).sum();
        if !self.sums.get(len).copied().unwrap_or(false) {
            return None;
        }
        let text: Vec<u8> = bytes.iter().flat_map(|&byte| self.text(byte)).copied().collect();
        let (_, name) = text.split_first()?;
        self.names.iter().position(|wanted| *wanted == name)
    }
}

/// The names as a stream.
pub(super) struct Names<'a> {
    reader: Reader<'a>,
    next: VirtAddr,
    long_names: bool,
    piece: Vec<u8>,
    at: usize,
    left: u64,
}

impl<'a> Names<'a> {
    pub(super) fn new(reader: Reader<'a>, start: VirtAddr, long_names: bool) -> Names<'a> {
        Names { reader, next: start, long_names, piece: Vec::new(), at: 0, left: MAX_NAMES }
    }

    /// Takes the next symbol: its name goes to `name`, its type comes back.
    pub(super) fn next(&mut self, tokens: &Tokens, name: &mut Vec<u8>) -> Result<u8, Error> {
        let len = self.len()?;
        name.clear();
        for _ in 0..len {
            let token = tokens.get(self.byte()?);
            if token.is_empty() || name.len() + token.len() > MAX_NAME {
                return Err(Error::Absurd { what: "symbol name of this many tokens", value: len.into() });
            }
            name.extend_from_slice(token);
        }
        if name.is_empty() {
            return Err(Error::Absurd { what: "symbol name of this many tokens", value: 0 });
        }
        Ok(name.remove(0))
    }

    /// Takes symbols up to the next that has one of the names, and no more than `count`: how many it took, and which of
    /// the names the last has.
    pub(super) fn next_of(&mut self, wanted: &Wanted<'_>, count: u32) -> Result<(u32, Option<usize>), Error> {
        for taken in 1..=count {
            let found = match self.symbol_in_piece() {
                Some(bytes) => wanted.find(bytes),
                None => wanted.find(&self.symbol()?),
            };
            if found.is_some() {
                return Ok((taken, found));
            }
        }
        Ok((count, None))
    }

    /// The bytes of the next symbol, where the piece at hand has all of them and their number takes one byte.
    #[inline]
    fn symbol_in_piece(&mut self) -> Option<&[u8]> {
        let &len = self.piece.get(self.at)?;
        if len == 0 || self.long_names && len & 0x80 != 0 {
            return None;
        }
        let start = self.at + 1;
        let bytes = self.piece.get(start..start + usize::from(len))?;
        self.at = start + usize::from(len);
        Some(bytes)
    }

    fn symbol(&mut self) -> Result<Vec<u8>, Error> {
        let len = self.len()?;
        if len == 0 {
            return Err(Error::Absurd { what: "symbol name of this many tokens", value: 0 });
        }
        (0..len).map(|_| self.byte()).collect()
    }

    /// Takes the number of tokens of the next symbol.
    fn len(&mut self) -> Result<u32, Error> {
        let len = u32::from(self.byte()?);
        if self.long_names && len & 0x80 != 0 {
            return Ok(len & 0x7f | u32::from(self.byte()?) << 7);
        }
        Ok(len)
    }

    /// Bytes of the names that were taken.
    #[cfg(feature = "analyst")]
    pub(super) fn taken(&self) -> usize {
        let read = MAX_NAMES - self.left;
        usize::try_from(read).unwrap_or(0) - (self.piece.len() - self.at.min(self.piece.len()))
    }

    fn byte(&mut self) -> Result<u8, Error> {
        if self.at == self.piece.len() {
            self.refill()?;
        }
        let byte = self.piece.get(self.at).copied();
        self.at += 1;
        byte.ok_or(Error::Absurd { what: "length of the symbol names", value: MAX_NAMES })
    }

    /// Reads up to the next piece's border; where that fails, up to the next page's: the page after the names may be
    /// missing.
    fn refill(&mut self) -> Result<(), Error> {
        let piece = (PIECE - self.next.0 % PIECE).min(self.left);
        let page = (PAGE - self.next.0 % PAGE).min(piece);
        let read = |len: u64| self.reader.vec(self.next, usize::try_from(len).unwrap_or(0), "kallsyms_names");
        self.piece = read(piece).or_else(|_| read(page))?;
        self.next = self.next.wrapping_add(self.piece.len() as u64);
        self.left -= self.piece.len() as u64;
        self.at = 0;
        Ok(())
    }
}
