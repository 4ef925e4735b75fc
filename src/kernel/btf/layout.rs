//! The header of BTF, and how long what follows a type's head is.

use super::super::Error;
use super::kind;
use crate::units::ByteOrder;
use std::ops::Range;

/// The first two bytes.
const MAGIC: u16 = 0xeb9f;
/// Header of all releases so far; 32 bytes where it tells the layout of kinds.
const HEADER: u32 = 24;
const HEADER_WITH_LAYOUT: u32 = 32;
/// The most bytes of all parts: ten times the largest kernel seen.
pub(in crate::kernel) const MAX_BTF: u64 = 64 << 20;

/// Where the parts are.
pub(super) struct Header {
    pub types: Range<usize>,
    pub strings: Range<usize>,
    /// Bytes after the head of each kind, and per counted element: for kinds that this reader does not know. Since
    /// commit 222edc843c15 ("btf: Add BTF kind layout encoding to UAPI") (in v7.1).
    kinds: Vec<(u8, u8)>,
}

impl Header {
    pub(super) fn parse(bytes: &[u8], order: ByteOrder) -> Result<Header, Error> {
        let cut = || Error::NoTypes("its header is cut".into());
        let word = |at| order.u32_at(bytes, at).ok_or_else(cut);
        let version = *bytes.get(2).ok_or_else(cut)?;
        if order.u16_at(bytes, 0) != Some(MAGIC) || version != 1 {
            return Err(Error::NoTypes("it does not begin as BTF does".into()));
        }
        let len = word(4)?;
        if len < HEADER || bytes.len() as u64 > MAX_BTF {
            return Err(Error::NoTypes(format!("its header has {len} bytes, its whole {}", bytes.len())));
        }
        let part = |at: usize| -> Result<Range<usize>, Error> {
            let start = u64::from(len) + u64::from(word(at)?);
            let end = start + u64::from(word(at + 4)?);
            let outside = || Error::NoTypes(format!("a part of it ends at byte {end}, after the whole"));
            if end > bytes.len() as u64 {
                return Err(outside());
            }
            Ok(usize::try_from(start).map_err(|_| outside())?..usize::try_from(end).map_err(|_| outside())?)
        };
        let kinds = if len >= HEADER_WITH_LAYOUT { part(24)? } else { 0..0 };
        let kinds = bytes.get(kinds).unwrap_or_default();
        let kinds = kinds.as_chunks::<4>().0.iter().map(|chunk| (chunk[0], chunk[1])).collect();
        let (types, strings) = (part(8)?, part(16)?);
        let text = bytes.get(strings.clone()).unwrap_or_default();
        if text.last().is_some_and(|&byte| byte != 0) {
            return Err(Error::NoTypes("its strings have no end".into()));
        }
        Ok(Header { types, strings, kinds })
    }
}

/// Bytes after the head of a type; `None` for a kind that nobody describes.
pub(super) fn record_len(header: &Header, kind: u8, count: u32) -> Option<usize> {
    let count = count as usize;
    let (fixed, each) = match kind {
        kind::INT | kind::VAR | kind::DECL_TAG => (4, 0),
        kind::ARRAY => (12, 0),
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => (0, 12),
        kind::ENUM | kind::FUNC_PROTO => (0, 8),
        kind::PTR
        | kind::FWD
        | kind::TYPEDEF
        | kind::VOLATILE
        | kind::CONST
        | kind::RESTRICT
        | kind::FUNC
        | kind::FLOAT
        | kind::TYPE_TAG => (0, 0),
        other => {
            let &(fixed, each) = header.kinds.get(usize::from(other)).filter(|_| other != 0)?;
            (usize::from(fixed), usize::from(each))
        }
    };
    count.checked_mul(each)?.checked_add(fixed)
}

/// Whether a kind only qualifies another type.
pub(super) fn is_modifier(kind: u8) -> bool {
    matches!(kind, kind::TYPEDEF | kind::CONST | kind::VOLATILE | kind::RESTRICT | kind::TYPE_TAG)
}
