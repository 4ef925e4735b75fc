//! Taints: what happened to a kernel that its developers want to know.
//!
//! Source: Linux `Documentation/admin-guide/tainted-kernels.rst`, `include/linux/panic.h`.

/// Letter and meaning of each bit, from bit 0 on.
const TAINTS: [(char, &str); 20] = [
    ('P', "proprietary module"),
    ('F', "module was force loaded"),
    ('S', "kernel runs on an out of specification system"),
    ('R', "module was force unloaded"),
    ('M', "processor reported a machine check"),
    ('B', "bad page"),
    ('U', "requested from user space"),
    ('D', "kernel died recently (oops or BUG)"),
    ('A', "ACPI table overridden"),
    ('W', "kernel issued a warning"),
    ('C', "staging driver"),
    ('I', "workaround for a firmware bug"),
    ('O', "out-of-tree module"),
    ('E', "unsigned module"),
    ('L', "soft lockup"),
    ('K', "live patched"),
    ('X', "distribution's own taint"),
    ('T', "structures were laid out at random"),
    ('N', "in-kernel test"),
    ('J', "fwctl changed a device"),
];

/// The letters of a mask.
pub(super) fn letters(mask: u64) -> String {
    (0..).zip(TAINTS).filter(|(bit, _)| mask >> bit & 1 != 0).map(|(_, (letter, _))| letter).collect()
}

/// The meanings of a mask, one per bit.
pub(super) fn words(mask: u64) -> Vec<String> {
    let known = (0..).zip(TAINTS).filter(|(bit, _)| mask >> bit & 1 != 0);
    let mut words: Vec<String> = known.map(|(_, (letter, word))| format!("{letter}: {word}")).collect();
    let unknown = mask >> TAINTS.len();
    if unknown != 0 {
        words.push(format!("unknown bits {:#x}", unknown << TAINTS.len()));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_letters_and_words() {
        assert_eq!((letters(0), words(0)), (String::new(), vec![]));
        assert_eq!(letters(1 << 12 | 1 << 13 | 1 << 7), "DOE");
        assert_eq!(words(1 << 12), ["O: out-of-tree module"]);
        assert_eq!(words(1 << 40), ["unknown bits 0x10000000000"]);
    }
}
