//! A dump as numbered objects, the way it is kept in an object store or, copied from there, in a directory: `000000`,
//! `000001` and so on, in that order the age file byte for byte, and after them `end`, the end mark. Here are the names
//! and the text of the mark; who moves the bytes is in `upload`, `reader` and `remote`.
//!
//! The mark is a list that `sha256sum -c` reads, after comment lines with sizes. It has no key and proves nothing: it
//! tells a dump that is whole from one that is cut, and a reader where each byte is. What is authentic, only the
//! ciphertext's own chunks can tell.

use std::cmp::Ordering;
use std::collections::BTreeMap;
#[cfg(any(feature = "upload", test))]
use std::fmt::Write as _;

/// Bytes of every object except the last: some seconds on a usual link, and two of them fit a capture kernel.
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
    /// Bytes of every object except the last.
    pub object_size: u64,
    /// The number of the last object.
    pub last: u32,
    /// Its bytes. More than the others have where something was appended to it.
    pub last_size: u64,
}

/// A set without an end mark has lost at most so many objects for each that is there, and some more.
pub(crate) const MOST_LOST: u32 = 4;
const SOME_LOST: u32 = 16;

impl Shape {
    /// The shape of a dump of `size` bytes in objects of `object_size`; `None` where there are more objects than names.
    #[must_use]
    pub(crate) fn of_size(size: u64, object_size: u64) -> Option<Shape> {
        let before = size.checked_sub(1)?.checked_div(object_size)?;
        let last = u32::try_from(before).ok().filter(|&last| last < MAX_OBJECTS)?;
        Some(Shape { object_size, last, last_size: size - before * object_size })
    }

    /// The shape of a set without an end mark, by the sizes of the objects that are there. Some of them may be cut, so
    /// most of those before the last one decide, then the last one; where no size can be that of an object before others,
    /// it is the size that the collector makes. What is far behind all others is none of the dump: whoever can add an object
    /// would make a dump of a petabyte. `None` where there are none, or they cannot be of a set.
    #[must_use]
    pub(crate) fn of_objects(sizes: &BTreeMap<u32, u64>) -> Option<Shape> {
        let near =
            (1..).zip(sizes).take_while(|&(count, (&number, _))| number <= count * MOST_LOST + SOME_LOST);
        let (_, (&last, &last_size)) = near.last()?;
        if last == 0 {
            return Shape {
                object_size: last_size.div_ceil(UNIT).max(1).checked_mul(UNIT)?,
                last,
                last_size,
            }
            .checked();
        }
        let mut counts = BTreeMap::new();
        for &size in sizes.range(..last).map(|(_, size)| size).filter(|&&size| is_object_size(size)) {
            *counts.entry(size).or_insert(0_u32) += 1;
        }
        let most = counts.into_iter().max_by_key(|&(_, count)| count).map(|(size, _)| size);
        let object_size = most.or(Some(last_size).filter(|&size| is_object_size(size))).unwrap_or(OBJECT);
        Shape { object_size, last, last_size }.checked()
    }

    fn checked(self) -> Option<Shape> {
        let fits =
            is_object_size(self.object_size) && self.last < MAX_OBJECTS && self.last_size <= MAX_OBJECT;
        fits.then_some(self)
    }

    /// The same set where its last object is longer: what follows the dump is read too, and judged as in a file.
    #[must_use]
    pub(crate) fn with_last(self, size: Option<u64>) -> Shape {
        let last_size = size.unwrap_or(0).max(self.last_size);
        Shape { last_size, ..self }.checked().unwrap_or(self)
    }

    /// Bytes of the dump, and of what follows it.
    #[must_use]
    pub(crate) fn size(&self) -> u64 {
        u64::from(self.last) * self.object_size + self.last_size
    }

    /// How many objects there are.
    #[must_use]
    pub(crate) fn objects(&self) -> u32 {
        self.last + 1
    }

    /// Bytes of an object; 0 after the last.
    #[must_use]
    pub(crate) fn len_of(&self, number: u32) -> u64 {
        match number.cmp(&self.last) {
            Ordering::Less => self.object_size,
            Ordering::Equal => self.last_size,
            Ordering::Greater => 0,
        }
    }

    /// The object that a position of the dump is in, and the position in it.
    #[must_use]
    pub(crate) fn place(&self, position: u64) -> (u32, u64) {
        let number = u32::try_from(position / self.object_size).unwrap_or(u32::MAX).min(self.last);
        (number, position - u64::from(number) * self.object_size)
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
        let shape = Shape::of_size(size, object_size).filter(|_| is_object_size(object_size))?;
        (u64::from(shape.objects()) == objects).then_some(shape)
    }
}

/// Whether an object before others can have this size.
fn is_object_size(size: u64) -> bool {
    (UNIT..=MAX_OBJECT).contains(&size) && size.is_multiple_of(UNIT)
}

/// The text of the end mark: the shape, and for `sha256sum -c` the sum of each object in order.
#[cfg(any(feature = "upload", test))]
#[must_use]
pub(crate) fn end_mark(shape: &Shape, sums: &[[u8; 32]]) -> String {
    let (size, objects, object_size) = (shape.size(), shape.objects(), shape.object_size);
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
            let shape = Shape::of_size(size, OBJECT).unwrap();
            let mark = end_mark(&shape, &vec![[0xab; 32]; objects]);
            assert_eq!(Shape::parse(mark.as_bytes()), Some(shape));
            assert_eq!((shape.size(), shape.objects() as usize), (size, objects));
            assert_eq!((0..shape.objects()).map(|number| shape.len_of(number)).sum::<u64>(), size);
            assert_eq!(shape.len_of(shape.objects()), 0);
            assert_eq!(mark.lines().count(), 4 + objects);
            let longer = shape.with_last(Some(2 * OBJECT));
            assert_eq!(longer.size() - size, 2 * OBJECT - shape.last_size);
            assert_eq!(longer.place(longer.size() - 1), (shape.last, 2 * OBJECT - 1));
            for less in [None, Some(0), Some(u64::MAX)] {
                assert_eq!(shape.with_last(less), shape, "{less:?}");
            }
        }
    }

    #[test]
    fn a_set_without_a_mark_has_the_shape_of_its_objects() {
        let shape = |sizes: &[(u32, u64)]| {
            let shape = Shape::of_objects(&sizes.iter().copied().collect())?;
            Some((shape.size(), shape.object_size))
        };
        assert_eq!(shape(&[(0, 100)]), Some((100, UNIT)));
        assert_eq!(shape(&[(0, 0)]), Some((0, UNIT)));
        assert_eq!(shape(&[(0, OBJECT)]), Some((OBJECT, OBJECT)));
        let whole = Some((3 * UNIT + 5, UNIT));
        for sizes in [
            &[(0, UNIT), (1, UNIT), (2, UNIT), (3, 5)][..],
            // The first one is missing, or cut.
            &[(1, UNIT), (2, UNIT), (3, 5)],
            &[(0, 10), (1, UNIT), (3, 5)],
            // One in the middle is longer than it was.
            &[(0, UNIT), (1, UNIT + 9), (2, UNIT), (3, 5)],
        ] {
            assert_eq!(shape(sizes), whole, "{sizes:?}");
        }
        assert_eq!(shape(&[(0, UNIT), (1, UNIT), (2, UNIT), (3, 5), (999_999, 1)]), whole);
        assert_eq!(shape(&[(0, UNIT), (24, 5)]), Some((24 * UNIT + 5, UNIT)));
        assert_eq!(shape(&[(0, 0), (1, UNIT)]), Some((2 * UNIT, UNIT)));
        assert_eq!(shape(&[(0, 10), (1, 5)]), Some((OBJECT + 5, OBJECT)));
        assert_eq!(shape(&[(2, 5)]), Some((2 * OBJECT + 5, OBJECT)));
        assert_eq!(shape(&[(0, UNIT), (1, UNIT + 1)]), Some((2 * UNIT + 1, UNIT)));
        for sizes in [&[][..], &[(0, u64::MAX)], &[(0, OBJECT), (1, u64::MAX)], &[(MAX_OBJECTS, 1)]] {
            assert_eq!(shape(sizes), None, "{sizes:?}");
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
