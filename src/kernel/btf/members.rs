//! Members of structures and unions by name, through those that have none.

use super::{Btf, Record, Shape, TypeId};

/// Anonymous structures inside each other that are looked through.
const MAX_NESTING: u32 = 16;
/// Members read for one name: a forged type may name another many times over.
const MAX_MEMBERS: u32 = 1 << 16;

/// Where a member is in its structure, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bits from the start of the structure.
    pub bits: u64,
    /// Its type.
    pub type_id: TypeId,
    /// Bits of a bit-field; 0 of any other member.
    pub width: u32,
}

impl Member {
    /// Bytes from the start of the structure; of a bit-field the byte it begins in.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.bits / 8
    }
}

impl Btf<'_> {
    /// The member of a structure, by name; `a.b` is member b of the structure that is member a.
    #[must_use]
    pub fn member(&self, of: TypeId, path: &str) -> Option<Member> {
        let mut found = Member { bits: 0, type_id: of, width: 0 };
        for name in path.split('.') {
            if name.is_empty() {
                return None;
            }
            let Shape::Struct(id) = self.shape(found.type_id) else { return None };
            let mut left = MAX_MEMBERS;
            let inner = self.search(id, name.as_bytes(), MAX_NESTING, &mut left)?;
            found = Member { bits: found.bits.checked_add(inner.bits)?, ..inner };
        }
        Some(found)
    }

    fn search(&self, of: TypeId, name: &[u8], nesting: u32, left: &mut u32) -> Option<Member> {
        let (btf, record) = self.record(of)?;
        for nth in 0..record.count {
            *left = left.checked_sub(1)?;
            let (text, member) = btf.nth_member(&record, nth)?;
            if text == name {
                return Some(member);
            }
            if !text.is_empty() || nesting == 0 {
                continue;
            }
            if let Shape::Struct(inner) = self.shape(member.type_id)
                && let Some(inner) = self.search(inner, name, nesting - 1, left)
            {
                return Some(Member { bits: member.bits.checked_add(inner.bits)?, ..inner });
            }
        }
        None
    }

    /// With the kind flag, bits 0 to 23 of the third word are the offset and 24 to 31 the width of a bit-field.
    fn nth_member(&self, record: &Record, nth: u32) -> Option<(&[u8], Member)> {
        let at = record.payload.checked_add((nth as usize).checked_mul(12)?)?;
        let word = |nth: usize| self.order.u32_at(&self.bytes, at + 4 * nth);
        let (name, type_id, place) = (word(0)?, word(1)?, word(2)?);
        let (bits, width) = if record.flag { (place & 0x00ff_ffff, place >> 24) } else { (place, 0) };
        Some((self.string(name), Member { bits: bits.into(), type_id, width }))
    }

    /// Every member of a structure in order, the anonymous ones with an empty name.
    #[must_use]
    pub fn members(&self, of: TypeId) -> Vec<(&[u8], Member)> {
        let Shape::Struct(id) = self.shape(of) else { return Vec::new() };
        let Some((btf, record)) = self.record(id) else { return Vec::new() };
        (0..record.count).map_while(|nth| btf.nth_member(&record, nth)).collect()
    }
}
