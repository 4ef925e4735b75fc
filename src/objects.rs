//! A dump as numbered objects, the way it is kept in an object store or, copied from there, in a directory: `000000`,
//! `000001` and so on, in that order the age file byte for byte, and after them `end`, the end mark. Here are the names
//! and the text of the mark; who moves the bytes is in `upload`, `reader` and `remote`.
//!
//! The mark is a list that `sha256sum -c` reads, after comment lines with sizes. It has no key and proves nothing: it
//! tells a dump that is whole from one that is cut, and a reader where each byte is. What is authentic, only the
//! ciphertext's own chunks can tell.

#[cfg(any(feature = "upload", test))]
use std::fmt::Write as _;

/// Bytes of every object except the last: some seconds on a usual link, and two of them fit a capture kernel.
#[cfg(any(feature = "upload", test))]
pub(crate) const OBJECT: u64 = 16 << 20;
/// Name of the end mark.
pub(crate) const END: &str = "end";
/// The object by which `check` shows that a store can be written to. It stays there: nothing is ever deleted.
#[cfg(feature = "upload")]
pub(crate) const PROBE: &str = "vmcore-encrypt-probe";
/// The most objects of a dump: the numbers have six digits.
pub(crate) const MAX_OBJECTS: u32 = 1_000_000;
/// The most bytes of the end mark's lines about the whole dump.
pub(crate) const MAX_HEAD: usize = 512;
/// Object sizes are a multiple of this, so that a piece of a dump is in one object.
const UNIT: u64 = 1 << 20;
/// The largest object that a reader takes.
const MAX_OBJECT: u64 = 1 << 30;
/// How the end mark begins. Its number is the version of this form.
const TITLE: &str = "# vmcore-encrypt set 1";

/// Name of object `number`.
#[must_use]
pub(crate) fn name(number: u32) -> String {
    format!("{number:06}")
}

/// The number of an object with this name.
#[must_use]
pub(crate) fn number(name: &str) -> Option<u32> {
    (name.len() == 6 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok())?
}

/// The shape of a set of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bytes of the dump.
    pub size: u64,
    /// Bytes of every object except the last.
    pub object_size: u64,
}

impl Shape {
    /// The shape of a set without an end mark: the largest object's size, and number and size of the last one. `None`
    /// where those cannot be of a set.
    #[must_use]
    pub(crate) fn of_objects(largest: u64, last: u32, last_size: u64) -> Option<Shape> {
        let object_size =
            if last == 0 { last_size.div_ceil(UNIT).max(1).checked_mul(UNIT)? } else { largest };
        let fits =
            object_size % UNIT == 0 && (UNIT..=MAX_OBJECT).contains(&object_size) && last < MAX_OBJECTS;
        let size = u64::from(last).checked_mul(object_size)?.checked_add(last_size)?;
        (fits && last_size <= object_size).then_some(Shape { size, object_size })
    }

    /// How many objects there are.
    #[must_use]
    pub(crate) fn objects(&self) -> u32 {
        u32::try_from(self.size.div_ceil(self.object_size)).unwrap_or(u32::MAX)
    }

    /// Bytes of an object; 0 after the last.
    #[must_use]
    pub(crate) fn len_of(&self, number: u32) -> u64 {
        self.size.saturating_sub(u64::from(number).saturating_mul(self.object_size)).min(self.object_size)
    }

    /// Reads the lines at the beginning of an end mark; `None` when it is not one of ours. Whoever can write to the store
    /// can have written it, so sizes are checked: positions within them fit 64 bits.
    #[must_use]
    pub(crate) fn parse(mark: &[u8]) -> Option<Shape> {
        let head = &mark[..mark.len().min(MAX_HEAD)];
        let text: String =
            head.iter().take_while(|byte| byte.is_ascii()).map(|&byte| char::from(byte)).collect();
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return None;
        }
        let mut value = |name: &str| -> Option<u64> {
            lines.next()?.strip_prefix("# ")?.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()
        };
        let (size, objects, object_size) = (value("size")?, value("objects")?, value("object-size")?);
        let fits = (UNIT..=MAX_OBJECT).contains(&object_size) && object_size % UNIT == 0;
        let shape = Shape { size, object_size };
        let counted = fits && size.div_ceil(object_size) == objects && objects <= u64::from(MAX_OBJECTS);
        (counted && size > 0).then_some(shape)
    }
}

/// The text of the end mark: the shape, and for `sha256sum -c` the sum of each object in order.
#[cfg(any(feature = "upload", test))]
#[must_use]
pub(crate) fn end_mark(shape: &Shape, sums: &[[u8; 32]]) -> String {
    let (size, objects, object_size) = (shape.size, shape.objects(), shape.object_size);
    let mut text = format!("{TITLE}\n# size {size}\n# objects {objects}\n# object-size {object_size}\n");
    for (number, sum) in (0..).zip(sums) {
        for byte in sum {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        let _ = writeln!(text, "  {}", name(number));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_of_six_digits() {
        assert_eq!((name(0), name(31)), ("000000".to_owned(), "000031".to_owned()));
        assert_eq!((number("000031"), number("999999")), (Some(31), Some(999_999)));
        for other in ["end", "31", "0000031", "00003a", "+00031", ""] {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn a_mark_reads_back_and_sizes_add_up() {
        for (size, objects) in [(1, 1), (OBJECT, 1), (OBJECT + 1, 2), (3 * OBJECT, 3)] {
            let shape = Shape { size, object_size: OBJECT };
            let mark = end_mark(&shape, &vec![[0xab; 32]; objects]);
            assert_eq!(Shape::parse(mark.as_bytes()), Some(shape));
            assert_eq!(shape.objects() as usize, objects);
            assert_eq!((0..shape.objects()).map(|number| shape.len_of(number)).sum::<u64>(), size);
            assert_eq!(shape.len_of(shape.objects()), 0);
            assert_eq!(mark.lines().count(), 4 + objects);
        }
    }

    #[test]
    fn a_set_without_a_mark_has_the_shape_of_its_objects() {
        let shape = |size, object_size| Some(Shape { size, object_size });
        assert_eq!(Shape::of_objects(100, 0, 100), shape(100, UNIT));
        assert_eq!(Shape::of_objects(OBJECT, 0, OBJECT), shape(OBJECT, OBJECT));
        assert_eq!(Shape::of_objects(OBJECT, 2, 5), shape(2 * OBJECT + 5, OBJECT));
        for (largest, last, last_size) in
            [(5, 1, 5), (OBJECT, 1, OBJECT + 1), (u64::MAX, 0, u64::MAX), (OBJECT, MAX_OBJECTS, 1)]
        {
            assert_eq!(Shape::of_objects(largest, last, last_size), None, "{largest} {last} {last_size}");
        }
    }

    #[test]
    fn what_cannot_be_is_no_mark() {
        let mark = |size: &str, objects: &str, object_size: &str| {
            let text = format!("{TITLE}\n# size {size}\n# objects {objects}\n# object-size {object_size}\n");
            Shape::parse(text.as_bytes())
        };
        assert!(mark("1", "1", "1048576").is_some());
        for (size, objects, object_size) in [
            ("0", "0", "1048576"),
            ("1", "2", "1048576"),
            ("1", "1", "1"),
            ("1", "1", "0"),
            ("1", "1", "2147483648"),
            ("18446744073709551615", "17592186044416", "1048576"),
            ("-1", "1", "1048576"),
        ] {
            assert_eq!(mark(size, objects, object_size), None, "{size} {objects} {object_size}");
        }
        for other in ["", "# vmcore-encrypt set 2\n", "age-encryption.org/v1\n", TITLE] {
            assert_eq!(Shape::parse(other.as_bytes()), None, "{other}");
        }
        assert_eq!(Shape::parse(&[0xff; 9000]), None);
    }
}
