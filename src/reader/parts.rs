//! The parts of a dump that was written to several places at the same time: whether they are all there, each once,
//! and nothing else.

use crate::blocks::{ClassCounts, Head, PartFacts, Tail};

/// How many missing parts are named.
const NAMED: usize = 20;

/// The parts of a dump that are not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingParts {
    /// The numbers of the first of them.
    pub first: Vec<u32>,
    /// How many they are.
    pub count: u64,
    /// How many parts the dump has.
    pub of: u32,
}

impl std::fmt::Display for MissingParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let MissingParts { first, count, of } = self;
        let named = first.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        match count {
            0 => write!(f, "no part is missing"),
            1 => write!(f, "part {named} of {of} is missing"),
            _ if *count > first.len() as u64 => write!(f, "{count} of {of} parts are missing: {named}, ..."),
            _ => write!(f, "parts {named} of {of} are missing"),
        }
    }
}

/// What is known of the parts that came so far.
#[derive(Default)]
pub(crate) struct Joined {
    head: Option<Head>,
    seen: Vec<u32>,
    pages: ClassCounts,
    cut: bool,
}

impl Joined {
    /// A part begins.
    ///
    /// # Errors
    /// It is a whole dump, a part of another one, or came before.
    pub(crate) fn begin(&mut self, head: &Head) -> Result<(), String> {
        let part = part_of(head)?;
        let first = self.head.get_or_insert_with(|| head.clone());
        if !belong_together(first, head) {
            return Err(format!("part {} is of another dump than the first one", part.number));
        }
        if self.seen.contains(&part.number) {
            return Err(format!("part {} comes twice", part.number));
        }
        self.seen.push(part.number);
        Ok(())
    }

    /// A part has ended.
    pub(crate) fn end(&mut self, tail: &Tail) {
        self.pages = self.pages.join(tail.pages);
        self.cut |= !tail.complete;
    }

    /// The head of a dump of which not all parts are there, and which are not.
    ///
    /// # Errors
    /// There is no part.
    pub(crate) fn partial(self) -> Result<(Head, MissingParts), String> {
        let head = self.head.ok_or_else(|| "there is none".to_owned())?;
        let of = part_of(&head)?.of;
        let first = (1..=of).filter(|number| !self.seen.contains(number)).take(NAMED).collect();
        let count = u64::from(of).saturating_sub(self.seen.len() as u64);
        Ok((Head { part: None, ..head }, MissingParts { first, count, of }))
    }

    /// Head and tail of the whole.
    ///
    /// # Errors
    /// A part is missing.
    pub(crate) fn whole(self) -> Result<(Head, Tail), String> {
        let tail = Tail { pages: self.pages, last_index: None, complete: !self.cut, head_copy: None };
        let (head, missing) = self.partial()?;
        if missing.count > 0 { Err(missing.to_string()) } else { Ok((head, tail)) }
    }
}

fn part_of(head: &Head) -> Result<&PartFacts, String> {
    head.part.as_ref().ok_or_else(|| "one of them is a dump of its own, not a part".to_owned())
}

/// All but the part itself is the same, since one program wrote them at the same time.
fn belong_together(one: &Head, other: &Head) -> bool {
    let set = |head: &Head| head.part.as_ref().map(|part| (part.set.clone(), part.of));
    set(one) == set(other) && Head { part: None, ..one.clone() } == Head { part: None, ..other.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(set: &str, number: u32) -> Head {
        let part = PartFacts { set: set.into(), number, of: 3, start: 0, end: 9 };
        Head { part: Some(part), ..Head::sample() }
    }

    fn join(heads: &[Head]) -> Result<(Head, Tail), String> {
        let mut joined = Joined::default();
        let pages = ClassCounts { present: 9, saved: 2, ..ClassCounts::default() };
        for head in heads {
            joined.begin(head)?;
            joined.end(&Tail { pages, last_index: Some(1), complete: true, head_copy: None });
        }
        joined.whole()
    }

    #[test]
    fn all_parts_in_any_order_are_the_whole() {
        let (whole, tail) = join(&[head("a", 3), head("a", 1), head("a", 2)]).unwrap();
        assert_eq!((whole.part, tail.complete), (None, true));
        assert_eq!((tail.pages.present, tail.pages.saved), (9, 6));
    }

    #[test]
    fn missing_parts_are_named_and_counted() {
        let partial = |numbers: &[u32]| {
            let mut joined = Joined::default();
            numbers.iter().for_each(|&number| joined.begin(&head("a", number)).unwrap());
            joined.partial().unwrap().1
        };
        assert_eq!(partial(&[2]), MissingParts { first: vec![1, 3], count: 2, of: 3 });
        assert_eq!(partial(&[3, 1, 2]), MissingParts { first: vec![], count: 0, of: 3 });
        assert!(Joined::default().partial().is_err());
        let said = |first: &[u32], count| MissingParts { first: first.to_vec(), count, of: 9 }.to_string();
        assert_eq!(said(&[3], 1), "part 3 of 9 is missing");
        assert_eq!(said(&[3, 7], 2), "parts 3, 7 of 9 are missing");
        assert_eq!(said(&[3, 7], 5), "5 of 9 parts are missing: 3, 7, ...");
    }

    #[test]
    fn what_is_missing_foreign_or_double_is_said() {
        let said = |heads: &[Head]| join(heads).unwrap_err();
        assert_eq!(said(&[head("a", 1), head("a", 3)]), "part 2 of 3 is missing");
        assert_eq!(said(&[head("a", 1), head("b", 2)]), "part 2 is of another dump than the first one");
        assert_eq!(said(&[head("a", 1), head("a", 1)]), "part 1 comes twice");
        let whole = Head { part: None, ..head("a", 1) };
        assert_eq!(said(&[head("a", 1), whole]), "one of them is a dump of its own, not a part");
        assert_eq!(said(&[]), "there is none");
    }
}
