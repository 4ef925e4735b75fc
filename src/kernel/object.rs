//! A structure at an address: its members by name, as integers, pointers, text or structures inside it.

use super::btf::{Btf, Member, Shape, TypeId};
use super::bytes::{Reader, uint};
use super::{Error, Kernel};
use crate::units::{ByteOrder, VirtAddr};

/// The most bytes of a text inside a structure.
const MAX_TEXT: u64 = 4096;

/// A structure in the kernel's memory. Nothing of it is read before a member is asked for.
#[derive(Clone, Copy)]
pub struct Object<'k> {
    kernel: &'k Kernel<'k>,
    types: &'k Btf<'k>,
    reader: Reader<'k>,
    address: VirtAddr,
    type_id: TypeId,
}

impl<'k> Object<'k> {
    pub(super) fn new(
        kernel: &'k Kernel<'k>,
        types: &'k Btf<'k>,
        address: VirtAddr,
        type_id: TypeId,
    ) -> Object<'k> {
        Object { kernel, types, reader: kernel.reader(), address, type_id }
    }

    /// One that no dump of a build differs in.
    pub(super) fn constant(
        kernel: &'k Kernel<'k>,
        types: &'k Btf<'k>,
        address: VirtAddr,
        type_id: TypeId,
    ) -> Object<'k> {
        Object { kernel, types, reader: kernel.constant(), address, type_id }
    }

    /// A structure of the same kernel and types at another address.
    fn other(&self, address: VirtAddr, type_id: TypeId) -> Object<'k> {
        Object { address, type_id, ..*self }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> VirtAddr {
        self.address
    }

    /// Whether it has a member; `a.b` is member b of the structure that is member a.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.member(path).is_ok()
    }

    fn member(&self, path: &str) -> Result<Member, Error> {
        // The types of modules have numbers of their own: what is known is of the kernel's.
        let own = self.kernel.types().is_ok_and(|types| std::ptr::eq(types, self.types));
        let found =
            if own { self.kernel.member(self.type_id, path)? } else { self.types.member(self.type_id, path) };
        found.ok_or_else(|| {
            let name = String::from_utf8_lossy(self.types.name(self.type_id)).into_owned();
            Error::NoMember(format!("{name}.{path}"))
        })
    }

    /// Bytes of the whole structure.
    ///
    /// # Errors
    ///
    /// [`Error::NoType`] for what has no size.
    pub fn size(&self) -> Result<u64, Error> {
        let name = || String::from_utf8_lossy(self.types.name(self.type_id)).into_owned();
        self.types.size(self.type_id).ok_or_else(|| Error::NoType(name()))
    }

    /// Bytes of a member; 0 of an array of no declared length.
    ///
    /// # Errors
    ///
    /// As [`Object::address_of`].
    pub fn size_of(&self, path: &str) -> Result<u64, Error> {
        Ok(self.types.size(self.member(path)?.type_id).unwrap_or(0))
    }

    /// The address of a member.
    ///
    /// # Errors
    ///
    /// [`Error::NoMember`]; so for the others, which also may not be able to read it.
    pub fn address_of(&self, path: &str) -> Result<VirtAddr, Error> {
        Ok(self.address.wrapping_add(self.member(path)?.offset()))
    }

    /// An integer, enumeration, pointer or bit-field, its bits as they are: a negative `int` is large.
    ///
    /// # Errors
    ///
    /// As [`Object::address_of`]; [`Error::Absurd`] for what is no integer.
    pub fn uint(&self, path: &str) -> Result<u64, Error> {
        let member = self.member(path)?;
        if member.width > 0 {
            return self.bits(&member);
        }
        let size = self.types.size(member.type_id).unwrap_or(0);
        self.reader.uint(self.address.wrapping_add(member.offset()), size, "a member of a structure")
    }

    /// An integer with its sign.
    ///
    /// # Errors
    ///
    /// As [`Object::uint`].
    pub fn int(&self, path: &str) -> Result<i64, Error> {
        let member = self.member(path)?;
        let value = self.uint(path)?;
        Ok(match self.types.shape(member.type_id) {
            Shape::Signed(size @ 1..=7) if member.width == 0 => {
                let unused = 64 - 8 * size;
                (value << unused).cast_signed() >> unused
            }
            _ => value.cast_signed(),
        })
    }

    /// A bit-field: bits count from the least significant one of its bytes, on a big-endian machine from the most
    /// significant one.
    fn bits(&self, member: &Member) -> Result<u64, Error> {
        let (shift, width) = (member.bits % 8, u64::from(member.width));
        let len = (shift + width).div_ceil(8);
        let absurd = || Error::Absurd { what: "width of a bit-field", value: width };
        let len_here = usize::try_from(len).ok().filter(|&len| len <= 8 && width < 64).ok_or_else(absurd)?;
        let at = self.address.wrapping_add(member.offset());
        let bytes = self.reader.vec(at, len_here, "a member of a structure")?;
        let order = self.kernel.memory().byte_order();
        let shift = match order {
            ByteOrder::Little => shift,
            ByteOrder::Big => len * 8 - shift - width,
        };
        Ok(uint(&bytes, order) >> shift & ((1 << width) - 1))
    }

    /// The structure that is a member.
    ///
    /// # Errors
    ///
    /// As [`Object::address_of`].
    pub fn part(&self, path: &str) -> Result<Object<'k>, Error> {
        let member = self.member(path)?;
        Ok(self.other(self.address.wrapping_add(member.offset()), member.type_id))
    }

    /// An element of an array, as a structure; `None` past the array's end. An array of no declared length, at the end of a
    /// structure, has no end that is known.
    ///
    /// # Errors
    ///
    /// As [`Object::address_of`].
    pub fn element(&self, path: &str, nth: u64) -> Result<Option<Object<'k>>, Error> {
        let (member, types) = (self.member(path)?, self.types);
        let Shape::Array(element, count) = types.shape(member.type_id) else { return Ok(None) };
        let size = types.size(element).filter(|_| count == 0 || nth < u64::from(count));
        let place = size.and_then(|size| size.checked_mul(nth)?.checked_add(member.offset()));
        Ok(place.map(|place| self.other(self.address.wrapping_add(place), element)))
    }

    /// The structure that a pointer leads to; `None` where the pointer is null.
    ///
    /// # Errors
    ///
    /// As [`Object::uint`].
    pub fn follow(&self, path: &str) -> Result<Option<Object<'k>>, Error> {
        let member = self.member(path)?;
        let Shape::Pointer(target) = self.types.shape(member.type_id) else {
            return Err(Error::NoMember(format!("{path} that is a pointer")));
        };
        let at = self.uint(path)?;
        Ok((at != 0).then(|| self.other(VirtAddr(at), target)))
    }

    /// Text in an array of characters, up to its NUL. Its bytes come from the dump.
    ///
    /// # Errors
    ///
    /// As [`Object::uint`].
    pub fn text(&self, path: &str) -> Result<Vec<u8>, Error> {
        let member = self.member(path)?;
        let size = self.types.size(member.type_id).unwrap_or(0).min(MAX_TEXT);
        let at = self.address.wrapping_add(member.offset());
        let len = usize::try_from(size).unwrap_or(0);
        let mut text = self.reader.vec(at, len, "text in a structure")?;
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        text.truncate(end);
        Ok(text)
    }
}
