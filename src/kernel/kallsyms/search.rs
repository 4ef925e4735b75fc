//! The symbol table of a kernel whose VMCOREINFO does not lead to it (before v6.0): found in the kernel's image by what
//! every table has, the strings "0" to "9" in sequence, and proved by its own index.
//!
//! Order in memory then: addresses or offsets, the base of offsets, the number of symbols, names, markers, tokens, index
//! of tokens; each aligned to 4 or 8 bytes. Source: Linux `scripts/kallsyms.c` (in v5.15), `write_src`.

use super::super::Error;
use super::super::bytes::Reader;
use super::addresses::Addresses;
use super::{MAX_SYMBOLS, TOKENS};
use crate::units::{ByteOrder, VirtAddr};

/// How much is searched after the start of the kernel's code, and in which steps.
const MAX_IMAGE: u64 = 64 << 20;
const STEP: usize = 1 << 20;
const PAGE: u64 = 4 << 10;
/// The ten tokens that always stand for themselves.
const DIGITS: &[u8; 20] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";
/// The token of the first of them.
const ZERO: usize = 0x30;
/// Bytes read after a hit: the tokens of any kernel have less than 4 KiB, their index 512 bytes.
const AROUND: usize = 16 << 10;
/// The most bytes of markers: one u32 for 256 symbols.
const MAX_MARKERS: usize = MAX_SYMBOLS as usize / 64;
/// Bytes that the names of 256 symbols take at most.
const MAX_BLOCK: u64 = 256 * 256;

/// Places of the digits that are tried: a forged image may hold nothing else.
const MAX_HITS: u32 = 256;

/// Where the tables are.
pub(super) struct Found {
    pub token_table: VirtAddr,
    pub token_index: VirtAddr,
    pub names: VirtAddr,
    pub count: u32,
    /// What the addresses may be; VMCOREINFO's own symbols decide.
    pub addresses: Vec<Addresses>,
}

/// Searches the image from an address in it.
pub(super) fn search(reader: Reader<'_>, start: VirtAddr) -> Result<Found, Error> {
    let first = start.0 / PAGE * PAGE;
    let (mut at, mut hits) = (first, 0);
    while at.wrapping_sub(first) < MAX_IMAGE {
        // A piece overlaps the next, so that no table is cut by a border.
        let piece = readable(reader, at, STEP + DIGITS.len());
        let mut from = 0;
        while let Some(place) = find(&piece, from) {
            from = place + 1;
            hits += 1;
            if hits > MAX_HITS {
                return Err(Error::Absurd {
                    what: "number of places that look like a symbol table",
                    value: hits.into(),
                });
            }
            if let Some(found) = tables(reader, at.wrapping_add(place as u64)) {
                return Ok(found);
            }
        }
        at = at.wrapping_add(STEP as u64);
    }
    Err(Error::NoSymbols(
        "VMCOREINFO does not lead to it, and a search of the kernel's image did not find it".into(),
    ))
}

/// Memory from an address on; pages that cannot be read are zeros.
fn readable(reader: Reader<'_>, at: u64, len: usize) -> Vec<u8> {
    let what = "the kernel's image";
    let mut bytes = vec![0; len];
    if reader.bytes(VirtAddr(at), &mut bytes, what).is_ok() {
        return bytes;
    }
    let (mut rest, mut place) = (bytes.as_mut_slice(), at);
    while !rest.is_empty() {
        let page = usize::try_from(PAGE - place % PAGE).unwrap_or(1).min(rest.len());
        let (page, after) = std::mem::take(&mut rest).split_at_mut(page);
        if reader.bytes(VirtAddr(place), page, what).is_err() {
            page.fill(0);
        }
        place = place.wrapping_add(page.len() as u64);
        rest = after;
    }
    bytes
}

fn find(piece: &[u8], from: usize) -> Option<usize> {
    let rest = piece.get(from..)?;
    rest.windows(DIGITS.len()).position(|window| window == DIGITS).map(|place| from + place)
}

/// The tables around the token "0" at an address; `None` where they do not agree with each other.
fn tables(reader: Reader<'_>, zero: u64) -> Option<Found> {
    let order = reader.0.byte_order();
    let after = readable(reader, zero, AROUND);
    // The tokens from "0" on; the index follows.
    let ends = after.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at + 1);
    let starts: Vec<usize> = std::iter::once(0).chain(ends).take(TOKENS - ZERO + 1).collect();
    let end = zero.wrapping_add(*starts.get(TOKENS - ZERO)? as u64);
    let (index_at, index) = [8, 4, 2].into_iter().find_map(|align| {
        let place = end.checked_next_multiple_of(align)?;
        let within = usize::try_from(place.wrapping_sub(zero)).ok()?;
        let index = read_index(after.get(within..)?, order)?;
        let base = usize::from(*index.get(ZERO)?);
        let agrees = index.iter().skip(ZERO).zip(&starts).all(|(at, start)| usize::from(*at) == base + start);
        (agrees && index.first() == Some(&0)).then_some((place, index))
    })?;
    let table = zero.wrapping_sub(u64::from(*index.get(ZERO)?));
    let (markers_at, markers) = read_markers(reader, table, order)?;
    let (names, count) = find_names(reader, markers_at, &markers)?;
    let number = names.wrapping_sub(8);
    Some(Found {
        token_table: VirtAddr(table),
        token_index: VirtAddr(index_at),
        names: VirtAddr(names),
        count,
        addresses: addresses(reader, number, count),
    })
}

fn read_index(bytes: &[u8], order: ByteOrder) -> Option<Vec<u16>> {
    (0..TOKENS).map(|nth| order.u16_at(bytes, 2 * nth)).collect()
}

/// The markers before the tokens: growing numbers that begin with 0, after which there may be 4 bytes of padding.
fn read_markers(reader: Reader<'_>, table: u64, order: ByteOrder) -> Option<(u64, Vec<u32>)> {
    let bytes = readable(reader, table.wrapping_sub(MAX_MARKERS as u64), MAX_MARKERS);
    let words: Vec<u32> = (0..bytes.len() / 4).filter_map(|nth| order.u32_at(&bytes, 4 * nth)).collect();
    let padding = usize::from(words.last() == Some(&0));
    let mut markers = Vec::new();
    let mut above = u32::MAX;
    for &word in words.iter().rev().skip(padding) {
        if word >= above {
            return None;
        }
        markers.push(word);
        above = word;
        if word == 0 {
            markers.reverse();
            let end = table.wrapping_sub(4 * padding as u64);
            return Some((end.wrapping_sub(4 * markers.len() as u64), markers));
        }
    }
    None
}

/// The start of the names, and their number before it: where the number, the markers and the lengths of the first names
/// agree.
fn find_names(reader: Reader<'_>, markers_at: u64, markers: &[u32]) -> Option<(u64, u32)> {
    let order = reader.0.byte_order();
    let last = u64::from(*markers.last()?);
    let lowest = markers_at.wrapping_sub(last).wrapping_sub(MAX_BLOCK) / 8 * 8;
    let len = usize::try_from(last + MAX_BLOCK + 8).ok().filter(|&len| len <= 64 << 20)?;
    let bytes = readable(reader, lowest, len);
    let blocks = u32::try_from(markers.len()).ok()?;
    let top = usize::try_from(MAX_BLOCK).ok()?;
    (8..=top.min(bytes.len())).step_by(8).find_map(|start| {
        let count = order.u32_at(&bytes, start - 8)?;
        let names = bytes.get(start..)?;
        let fits = count > 0 && count <= MAX_SYMBOLS && count.div_ceil(256) == blocks;
        (fits && agrees(names, markers, count)).then_some((lowest.wrapping_add(start as u64), count))
    })
}

/// Whether each 256 names are as long as the markers tell.
fn agrees(names: &[u8], markers: &[u32], count: u32) -> bool {
    let mut at = 0_usize;
    for nth in 0..count {
        if nth % 256 == 0 && markers.get((nth / 256) as usize).is_none_or(|&marker| marker as usize != at) {
            return false;
        }
        // Before v6.1 a length has one byte.
        match names.get(at) {
            Some(&len) if len > 0 => at += usize::from(len) + 1,
            _ => return false,
        }
    }
    true
}

/// Offsets with a base, or whole addresses, before the number of symbols.
fn addresses(reader: Reader<'_>, number: u64, count: u32) -> Vec<Addresses> {
    let base_at = number.wrapping_sub(8);
    let offsets = base_at.wrapping_sub((u64::from(count) * 4).next_multiple_of(8));
    let base = reader.u64(VirtAddr(base_at), "kallsyms_relative_base").ok();
    let relative = base.map(|base| Addresses::Offsets(VirtAddr(offsets), Some(base)));
    let absolute = Addresses::Absolute(VirtAddr(number.wrapping_sub(u64::from(count) * 8)));
    relative.into_iter().chain([absolute]).collect()
}
