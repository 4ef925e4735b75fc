//! What was seen before, byte for byte, in 16 bytes each.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};

/// A set of things by two keyed hashes. The keys are random and never leave the process, so a forger cannot make two
/// things that are taken for one; by chance, a thousand million things have one pair in 10^21.
#[derive(Default)]
pub(super) struct Seen {
    keys: (RandomState, RandomState),
    hashes: HashSet<(u64, u64)>,
}

impl Seen {
    /// Adds a thing; whether it was new.
    pub(super) fn insert(&mut self, thing: &impl Hash) -> bool {
        self.hashes.insert((self.keys.0.hash_one(thing), self.keys.1.hash_one(thing)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.insert(&("a", 1)) && seen.insert(&("a", 2)) && seen.insert(&("b", 1)));
        assert!(!seen.insert(&("a", 1)) && !seen.insert(&("b", 1)));
    }
}
