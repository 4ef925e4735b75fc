//! BTF, the kernel's own type information: a reader over a slice that keeps one number per type and decodes the rest
//! when it is asked for. Any byte order; split BTF of modules goes on where the kernel's own ends. What a member's value
//! is belongs to `object`.
//!
//! Source: Linux `Documentation/bpf/btf.rst`, `include/uapi/linux/btf.h`. Since commit f7a6b9eaff3e ("bpf: Extend BTF
//! UAPI vlen, kinds to use unused bits") (in v7.2) a kind has 7 bits and a count 24; the bits were zero before.

mod layout;
mod members;

use super::Error;
use crate::units::ByteOrder;
use layout::{Header, record_len};
use std::borrow::Cow;

pub(super) use layout::MAX_BTF;
pub use members::Member;

/// A type's number. 0 is void.
pub type TypeId = u32;

/// More types than any kernel has: the largest seen has 0.15 million.
const MAX_TYPES: usize = 4 << 20;
/// Modifiers and arrays around a type that are followed: C has no more in practice, and a cycle must end.
const MAX_DEPTH: u32 = 64;

/// Kinds of types. Source: Linux `include/uapi/linux/btf.h`, `BTF_KIND_*`.
pub(super) mod kind {
    pub(in crate::kernel) const INT: u8 = 1;
    pub(in crate::kernel) const PTR: u8 = 2;
    pub(in crate::kernel) const ARRAY: u8 = 3;
    pub(in crate::kernel) const STRUCT: u8 = 4;
    pub(in crate::kernel) const UNION: u8 = 5;
    pub(in crate::kernel) const ENUM: u8 = 6;
    pub(in crate::kernel) const FWD: u8 = 7;
    pub(in crate::kernel) const TYPEDEF: u8 = 8;
    pub(in crate::kernel) const VOLATILE: u8 = 9;
    pub(in crate::kernel) const CONST: u8 = 10;
    pub(in crate::kernel) const RESTRICT: u8 = 11;
    pub(in crate::kernel) const FUNC: u8 = 12;
    pub(in crate::kernel) const FUNC_PROTO: u8 = 13;
    pub(in crate::kernel) const VAR: u8 = 14;
    pub(in crate::kernel) const DATASEC: u8 = 15;
    pub(in crate::kernel) const FLOAT: u8 = 16;
    pub(in crate::kernel) const DECL_TAG: u8 = 17;
    pub(in crate::kernel) const TYPE_TAG: u8 = 18;
    pub(in crate::kernel) const ENUM64: u8 = 19;
}

/// Types of a kernel, or of a module.
pub struct Btf<'a> {
    bytes: Cow<'a, [u8]>,
    order: ByteOrder,
    header: Header,
    /// Position of each type's record in `bytes`.
    starts: Vec<u32>,
    base: Option<&'a Btf<'a>>,
}

/// The head of a type's record, and where what follows it starts.
#[derive(Clone, Copy, Debug)]
struct Record {
    name: u32,
    kind: u8,
    flag: bool,
    count: u32,
    /// A size in bytes or a type, by kind.
    word: u32,
    payload: usize,
}

/// What can be known of a type without looking at its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An integer, enumeration or floating-point number of this many bytes.
    Scalar(u64),
    /// An integer with a sign, of this many bytes.
    Signed(u64),
    /// A pointer to a type.
    Pointer(TypeId),
    /// So many elements of a type.
    Array(TypeId, u32),
    /// A structure or union.
    Struct(TypeId),
    /// Void, a function, a forward declaration.
    Opaque,
}

impl<'a> Btf<'a> {
    /// Reads a kernel's types.
    ///
    /// # Errors
    ///
    /// [`Error::NoTypes`], with what is wrong.
    pub fn parse(bytes: impl Into<Cow<'a, [u8]>>, order: ByteOrder) -> Result<Btf<'a>, Error> {
        Btf::build(bytes.into(), order, None)
    }

    /// Reads a module's types, which refer to those of `base`.
    ///
    /// # Errors
    ///
    /// [`Error::NoTypes`], with what is wrong.
    pub fn parse_split(bytes: impl Into<Cow<'a, [u8]>>, base: &'a Btf<'a>) -> Result<Btf<'a>, Error> {
        Btf::build(bytes.into(), base.order, Some(base))
    }

    fn build(bytes: Cow<'a, [u8]>, order: ByteOrder, base: Option<&'a Btf<'a>>) -> Result<Btf<'a>, Error> {
        let header = Header::parse(&bytes, order)?;
        let end = header.types.end;
        // The types of kernels take 24 bytes and more on average.
        let mut starts = Vec::with_capacity((header.types.len() / 24).min(MAX_TYPES));
        let mut at = header.types.start;
        while at < end {
            if starts.len() == MAX_TYPES {
                return Err(Error::NoTypes("it has more types than any kernel".into()));
            }
            let cut = || Error::NoTypes(format!("the type at byte {at} is cut"));
            let record = Record::read(&bytes, at, order).ok_or_else(cut)?;
            let len = record_len(&header, record.kind, record.count)
                .ok_or_else(|| Error::NoTypes(format!("the type at byte {at} is of kind {}", record.kind)))?;
            let next = record.payload.checked_add(len).filter(|&next| next <= end).ok_or_else(cut)?;
            starts.push(u32::try_from(at).map_err(|_| cut())?);
            at = next;
        }
        Ok(Btf { bytes, order, header, starts, base })
    }

    /// The bytes it was read from.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One more than the largest type.
    #[must_use]
    pub fn end_id(&self) -> TypeId {
        self.first_id().saturating_add(u32::try_from(self.starts.len()).unwrap_or(u32::MAX))
    }

    /// Bytes of all strings, those of the base included.
    #[must_use]
    pub fn strings_len(&self) -> u32 {
        let own = u32::try_from(self.header.strings.len()).unwrap_or(u32::MAX);
        self.first_string().saturating_add(own)
    }

    fn first_id(&self) -> TypeId {
        self.base.map_or(1, Btf::end_id)
    }

    fn first_string(&self) -> u32 {
        self.base.map_or(0, Btf::strings_len)
    }

    /// The record of a type, with the part that holds it.
    fn record(&self, id: TypeId) -> Option<(&Btf<'a>, Record)> {
        let Some(number) = id.checked_sub(self.first_id()) else { return self.base?.record(id) };
        let at = *self.starts.get(number as usize)?;
        Some((self, Record::read(&self.bytes, at as usize, self.order)?))
    }

    /// The name at a string offset; empty for an anonymous type, and where the offset is invalid.
    fn string(&self, offset: u32) -> &[u8] {
        self.strings_from(offset).split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// The strings from an offset on, each with a NUL; empty where the offset is invalid.
    fn strings_from(&self, offset: u32) -> &[u8] {
        let Some(own) = offset.checked_sub(self.first_string()) else {
            return self.base.map_or(&[], |base| base.strings_from(offset));
        };
        let strings = self.bytes.get(self.header.strings.clone()).unwrap_or_default();
        strings.get(own as usize..).unwrap_or_default()
    }

    /// The name of a type; empty when it has none.
    #[must_use]
    pub fn name(&self, id: TypeId) -> &[u8] {
        self.record(id).map_or(&[], |(btf, record)| btf.string(record.name))
    }

    /// The structures and unions of a name: several can share it.
    pub fn structs(&self, name: &str) -> impl Iterator<Item = TypeId> {
        self.named(name, |kind| matches!(kind, kind::STRUCT | kind::UNION))
    }

    /// A structure or union by name, or the one that a typedef of this name stands for; the first of several.
    #[must_use]
    pub fn find_struct(&self, name: &str) -> Option<TypeId> {
        let by_typedef = || {
            let mut types = self.named(name, |kind| kind == kind::TYPEDEF);
            types.find_map(|id| match self.shape(id) {
                Shape::Struct(id) => Some(id),
                _ => None,
            })
        };
        self.structs(name).next().or_else(by_typedef)
    }

    /// The structures, unions and enumerations of some names, all found in one pass over this part: for each name those that
    /// have it.
    #[must_use]
    pub fn find_all(&self, names: &[&str]) -> Vec<Vec<TypeId>> {
        let mut found = vec![Vec::new(); names.len()];
        for (id, record) in (self.first_id()..).zip(self.own_records()) {
            if !matches!(record.kind, kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64) {
                continue;
            }
            let name = self.strings_from(record.name);
            for (ids, _) in found.iter_mut().zip(names).filter(|(_, wanted)| begins_with(name, wanted)) {
                ids.push(id);
            }
        }
        found
    }

    /// Types of a name, this part's before the base's.
    fn named(&self, name: &str, wanted: impl Fn(u8) -> bool + Copy) -> impl Iterator<Item = TypeId> {
        let ids = self
            .parts()
            .flat_map(|btf| (btf.first_id()..).zip(btf.own_records()).map(move |found| (btf, found)));
        let is_named = move |btf: &Btf<'_>, record: &Record| {
            wanted(record.kind) && btf.string(record.name) == name.as_bytes()
        };
        ids.filter(move |(btf, (_, record))| is_named(btf, record)).map(|(_, (id, _))| id)
    }

    /// This part, and the base that it goes on from.
    fn parts(&self) -> impl Iterator<Item = &Btf<'a>> {
        std::iter::successors(Some(self), |btf| btf.base)
    }

    /// The records of this part, in order.
    fn own_records(&self) -> impl Iterator<Item = Record> {
        // Each was read before.
        self.starts.iter().map_while(|&at| Record::read(&self.bytes, at as usize, self.order))
    }

    /// The type without typedefs, const, volatile, restrict and tags.
    #[must_use]
    pub fn plain(&self, mut id: TypeId) -> TypeId {
        for _ in 0..MAX_DEPTH {
            match self.record(id) {
                Some((_, Record { kind, word, .. })) if layout::is_modifier(kind) => id = word,
                _ => return id,
            }
        }
        0
    }

    /// What kind of thing a type is, modifiers apart.
    #[must_use]
    pub fn shape(&self, id: TypeId) -> Shape {
        let id = self.plain(id);
        let Some((btf, record)) = self.record(id) else { return Shape::Opaque };
        let word = u64::from(record.word);
        match record.kind {
            kind::INT if btf.is_signed(&record) => Shape::Signed(word),
            kind::ENUM | kind::ENUM64 if record.flag => Shape::Signed(word),
            kind::INT | kind::ENUM | kind::ENUM64 | kind::FLOAT => Shape::Scalar(word),
            kind::PTR => Shape::Pointer(record.word),
            kind::STRUCT | kind::UNION => Shape::Struct(id),
            kind::ARRAY => {
                let word = |nth: usize| btf.order.u32_at(&btf.bytes, record.payload + 4 * nth).unwrap_or(0);
                Shape::Array(word(0), word(2))
            }
            _ => Shape::Opaque,
        }
    }

    /// Bytes of a value of a type; `None` where it has no size, or an absurd one.
    #[must_use]
    pub fn size(&self, id: TypeId) -> Option<u64> {
        let (mut id, mut times) = (id, 1_u64);
        for _ in 0..MAX_DEPTH {
            let size = match self.shape(id) {
                Shape::Scalar(size) | Shape::Signed(size) => size,
                Shape::Pointer(_) => 8,
                Shape::Struct(id) => u64::from(self.record(id)?.1.word),
                Shape::Array(element, count) => {
                    times = times.checked_mul(count.into())?;
                    id = element;
                    continue;
                }
                Shape::Opaque => return None,
            };
            return times.checked_mul(size);
        }
        None
    }

    /// The value of an enumerator, whatever enumeration it belongs to.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<i64> {
        let value = |btf: &Btf<'_>, record: &Record| {
            btf.values(record).find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
        };
        self.parts().find_map(|btf| {
            let mut enums =
                btf.own_records().filter(|record| matches!(record.kind, kind::ENUM | kind::ENUM64));
            enums.find_map(|record| value(btf, &record))
        })
    }

    /// The enumerators of an enumeration, in order.
    #[must_use]
    pub fn enumerators(&self, name: &str) -> Vec<(&[u8], i64)> {
        let ids = self.named(name, |kind| matches!(kind, kind::ENUM | kind::ENUM64));
        let records = ids.filter_map(|id| self.record(id));
        // A declaration without values may come first.
        let mut full = records.filter(|(_, record)| record.count > 0);
        full.next().map(|(btf, record)| btf.values(&record).collect()).unwrap_or_default()
    }

    /// The value of an enumerator of an enumeration.
    #[must_use]
    pub fn value_in(&self, enumeration: TypeId, name: &str) -> Option<i64> {
        let (btf, record) = self.record(enumeration)?;
        let is_one = matches!(record.kind, kind::ENUM | kind::ENUM64);
        let mut values = btf.values(&record).filter(|_| is_one);
        values.find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
    }

    /// Names and values of an enumeration's record in this part.
    fn values(&self, record: &Record) -> impl Iterator<Item = (&[u8], i64)> {
        let record = *record;
        let wide = record.kind == kind::ENUM64;
        let step = if wide { 12 } else { 8 };
        (0..record.count as usize).map_while(move |nth| {
            let at = record.payload.checked_add(nth.checked_mul(step)?)?;
            let word = |at| self.order.u32_at(&self.bytes, at);
            let (name, low) = (word(at)?, word(at + 4)?);
            let value = match (wide, record.flag) {
                (true, _) => (u64::from(word(at + 8)?) << 32 | u64::from(low)).cast_signed(),
                (false, true) => low.cast_signed().into(),
                (false, false) => low.into(),
            };
            Some((self.string(name), value))
        })
    }

    /// Whether an integer's encoding has the sign bit. Source: Linux `BTF_INT_SIGNED`, bit 0 of bits 24 to 27.
    fn is_signed(&self, record: &Record) -> bool {
        self.order.u32_at(&self.bytes, record.payload).is_some_and(|word| word >> 24 & 1 != 0)
    }
}

impl Record {
    fn read(bytes: &[u8], at: usize, order: ByteOrder) -> Option<Record> {
        let word = |nth: usize| order.u32_at(bytes, at.checked_add(4 * nth)?);
        let info = word(1)?;
        Some(Record {
            name: word(0)?,
            kind: (info >> 24 & 0x7f) as u8,
            flag: info >> 31 != 0,
            count: info & 0x00ff_ffff,
            word: word(2)?,
            payload: at.checked_add(12)?,
        })
    }
}

/// Whether the first of some strings is this name.
fn begins_with(strings: &[u8], name: &str) -> bool {
    // Most differ here.
    strings.first() == name.as_bytes().first()
        && strings.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
}

#[cfg(test)]
mod tests {
    use super::super::testing::description::Types;
    use super::*;

    /// int 1, pointer 2, array 3, and a structure with an anonymous union, a bit-field and a structure in it.
    fn types(big: bool) -> Types {
        let mut types = Types::new(big);
        let int = types.int("int", 4, true);
        let pointer = types.pointer(int);
        let array = types.array(pointer, 3);
        let inner = types.structure("inner", 8, &[("x", int, 0, 0), ("y", int, 32, 0)]);
        let typedef = types.typedef("inner_t", inner);
        let constant = types.constant(typedef);
        let union = types.union("", 8, &[("a", constant, 0, 0), ("b", pointer, 0, 0)]);
        let members =
            [("first", int, 0, 0), ("flag", int, 35, 3), ("", union, 64, 0), ("many", array, 128, 0)];
        types.structure("outer", 40, &members);
        types.enumeration("item", &[("ZERO", 0), ("LESS", -2)]);
        types
    }

    fn parse(types: &Types, big: bool) -> Btf<'static> {
        Btf::parse(types.bytes(), if big { ByteOrder::Big } else { ByteOrder::Little }).unwrap()
    }

    #[test]
    fn members_are_found_through_what_has_no_name() {
        for big in [false, true] {
            let btf = parse(&types(big), big);
            let outer = btf.find_struct("outer").unwrap();
            let at = |path| btf.member(outer, path).map(|found| (found.bits, found.width));
            assert_eq!(at("first"), Some((0, 0)));
            assert_eq!(at("flag"), Some((35, 3)));
            assert_eq!(at("a.y"), Some((96, 0)));
            assert_eq!(at("b"), Some((64, 0)));
            assert_eq!((at("c"), at("b.x"), at(""), at("first.x")), (None, None, None, None));
            let many = btf.member(outer, "many").unwrap().type_id;
            assert_eq!((btf.size(outer), btf.size(many)), (Some(40), Some(24)));
            assert_eq!(btf.shape(btf.member(outer, "first").unwrap().type_id), Shape::Signed(4));
            assert_eq!(btf.find_struct("inner_t"), btf.find_struct("inner"));
            assert_eq!((btf.enumerator("LESS"), btf.enumerator("MORE")), (Some(-2), None));
            assert_eq!(btf.enumerators("item"), [(&b"ZERO"[..], 0), (b"LESS", -2)]);
        }
    }

    #[test]
    fn split_types_go_on_where_the_base_ends() {
        let base = types(false);
        let mut module = base.split();
        let inner = parse(&base, false).find_struct("inner").unwrap();
        let own = module.structure("own", 16, &[("in", inner, 64, 0)]);
        module.structure("inner", 4, &[("z", 1, 0, 0)]);
        let btf = parse(&base, false);
        assert_eq!((btf.end_id(), btf.strings_len()), (base.end_id(), base.strings_len()));
        let split = Btf::parse_split(module.bytes(), &btf).unwrap();
        assert_eq!(split.find_struct("own"), Some(own));
        assert_eq!(split.member(own, "in.y").unwrap().bits, 96);
        assert_eq!(split.structs("inner").count(), 2);
        assert_eq!(split.enumerator("LESS"), Some(-2));
        assert_eq!(split.end_id(), base.end_id() + 2);
    }

    #[test]
    fn kinds_of_seven_bits_are_stepped_over_where_the_header_describes_them() {
        let mut types = types(false);
        types.raw("new", (77, 2, false), 0, &[1, 2, 3]);
        types.structure("after", 4, &[]);
        let unknown = Btf::parse(types.bytes(), ByteOrder::Little).err().unwrap();
        assert!(unknown.to_string().contains("of kind 77"), "{unknown}");
        types.layout = vec![(0, 0); 78];
        types.layout[77] = (4, 4);
        assert_eq!(parse(&types, false).size(types.end_id() - 1), Some(4));
    }

    #[test]
    fn types_that_contain_themselves_end() {
        let mut types = Types::new(false);
        // Type 1 is a typedef of itself, 2 an array of itself, 3 a structure with itself as an anonymous member, twice.
        types.typedef("loop", 1);
        types.array(2, u32::MAX);
        types.structure("self", 8, &[("", 3, 0, 0), ("", 3, 0, 0)]);
        let btf = parse(&types, false);
        assert_eq!((btf.shape(1), btf.size(1)), (Shape::Opaque, None));
        assert_eq!(btf.size(2), None);
        assert_eq!(btf.member(3, "x"), None);
        assert_eq!(btf.member(99, "x"), None);
    }

    #[test]
    fn every_cut_and_every_wrong_header_is_an_error() {
        let whole = types(false).bytes();
        for len in 0..whole.len() {
            assert!(Btf::parse(&whole[..len], ByteOrder::Little).is_err(), "{len}");
        }
        for (at, byte) in [(0, 0), (2, 2), (4, 23), (4, 0xff), (11, 1), (15, 1), (19, 1), (23, 1)] {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            assert!(Btf::parse(bytes, ByteOrder::Little).is_err(), "{at}");
        }
        assert!(Btf::parse(whole, ByteOrder::Big).is_err());
    }
}
