//! A set of numbers that come nearly in order: kept as ranges, so a log of any length takes little memory.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Numbers seen so far, as ranges that neither touch nor overlap: first to last.
#[derive(Debug, Default)]
pub(super) struct Numbers(BTreeMap<u64, u64>);

impl Numbers {
    /// Adds a number; whether it was new.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let before = self.0.range(..=number).next_back().map(|(&first, &last)| (first, last));
        if before.is_some_and(|(_, last)| number <= last) {
            return false;
        }
        let first = match before {
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        let last = number.checked_add(1).and_then(|next| self.0.remove(&next)).unwrap_or(number);
        self.0.insert(first, last);
        true
    }

    /// Smallest number that is larger than all.
    pub(super) fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, last)| last.saturating_add(1))
    }

    /// What is missing below the largest, from 0.
    pub(super) fn missing(&self) -> Vec<RangeInclusive<u64>> {
        let mut next = 0;
        let mut missing = Vec::new();
        for (&first, &last) in &self.0 {
            if first > next {
                missing.push(next..=first - 1);
            }
            next = last.saturating_add(1);
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_and_join() {
        let mut numbers = Numbers::default();
        assert_eq!((numbers.end(), numbers.missing()), (0, vec![]));
        for (number, new) in [(2, true), (3, true), (2, false), (6, true), (5, true), (3, false)] {
            assert_eq!(numbers.insert(number), new, "{number}");
        }
        assert_eq!((numbers.end(), numbers.missing()), (7, vec![0..=1, 4..=4]));
        assert!(numbers.insert(4) && numbers.insert(0) && numbers.insert(1));
        assert_eq!(numbers.0, BTreeMap::from([(0, 6)]));
        assert!(numbers.insert(u64::MAX) && !numbers.insert(u64::MAX));
        assert_eq!(numbers.missing(), [7..=u64::MAX - 1]);
    }
}
