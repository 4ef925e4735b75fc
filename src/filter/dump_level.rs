//! The dump level: makedumpfile's bit mask of what to leave out.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A dump level, 0 to 31: each bit names a kind of page to exclude. 0 keeps every page.
/// Source: makedumpfile(8), option `-d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DumpLevel(u8);

/// An invalid dump level.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no dump level, a number from 0 to 31")]
pub struct LevelError(String);

impl DumpLevel {
    /// Bit: pages of zeros.
    pub const ZERO: u8 = 1;
    /// Bit: page cache without private data.
    pub const CACHE: u8 = 2;
    /// Bit: page cache, with and without private data.
    pub const PRIVATE_CACHE: u8 = 4;
    /// Bit: anonymous and hugetlb pages.
    pub const USER: u8 = 8;
    /// Bit: free pages.
    pub const FREE: u8 = 16;

    /// The level that excludes all there is to exclude.
    pub const ALL: DumpLevel = DumpLevel(31);

    /// The level of a number; `None` above 31.
    #[must_use]
    pub fn new(level: u8) -> Option<DumpLevel> {
        (level <= 31).then_some(DumpLevel(level))
    }

    /// The level as a number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// The same level with zero pages excluded, which judges page structures alike.
    pub(super) fn with_zero(self) -> DumpLevel {
        DumpLevel(self.0 | DumpLevel::ZERO)
    }

    /// Whether the level leaves out all that pages of no kernel data hold: free pages, all cache, user data.
    #[must_use]
    pub fn keeps_kernel_alone(self) -> bool {
        let bits = DumpLevel::PRIVATE_CACHE | DumpLevel::USER | DumpLevel::FREE;
        self.0 & bits == bits
    }

    /// Whether the level has a bit, one of the constants above.
    #[must_use]
    pub fn excludes(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

impl FromStr for DumpLevel {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<DumpLevel, LevelError> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let level = text.parse().ok().filter(|_| digits).and_then(DumpLevel::new);
        level.ok_or_else(|| LevelError(text.to_owned()))
    }
}

impl fmt::Display for DumpLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_0_to_31_are_levels() {
        assert_eq!("0".parse(), Ok(DumpLevel(0)));
        assert_eq!("31".parse(), Ok(DumpLevel(31)));
        for bad in ["32", "-1", "+1", "", " 1", "0x1f", "all", "999999999999"] {
            let error = bad.parse::<DumpLevel>().unwrap_err();
            assert_eq!(error.to_string(), format!("{bad:?} is no dump level, a number from 0 to 31"));
        }
    }

    #[test]
    fn bits_are_told_apart() {
        let level = DumpLevel::new(1 | 8).unwrap();
        assert!(level.excludes(DumpLevel::ZERO) && level.excludes(DumpLevel::USER));
        assert!(!level.excludes(DumpLevel::FREE) && !level.excludes(DumpLevel::CACHE));
    }
}
