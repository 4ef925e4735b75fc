//! The parts of a dump that was written to several places at the same time: whether they are all there, each once,
//! and nothing else.

use crate::blocks::{ClassCounts, Head, PartFacts, Tail};

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

    /// Head and tail of the whole.
    ///
    /// # Errors
    /// A part is missing.
    pub(crate) fn whole(self) -> Result<(Head, Tail), String> {
        let head = self.head.ok_or_else(|| "there is none".to_owned())?;
        let of = part_of(&head)?.of;
        if let Some(missing) = (1..=of).find(|number| !self.seen.contains(number)) {
            return Err(format!("part {missing} of {of} is missing"));
        }
        let tail = Tail { pages: self.pages, last_index: None, complete: !self.cut, head_copy: None };
        Ok((Head { part: None, ..head }, tail))
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
