//! Times as text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// A time as RFC 3339 text in UTC, whole seconds; `None` for times before 1970 and after the year 9999, which that form
/// does not have.
#[must_use]
pub(crate) fn rfc3339(time: SystemTime) -> Option<String> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    (seconds <= LAST_SECOND).then(|| humantime::format_rfc3339_seconds(time).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0).unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399).unwrap(), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400).unwrap(), "2000-02-29T00:00:00Z");
        assert_eq!(at(LAST_SECOND).unwrap(), "9999-12-31T23:59:59Z");
        assert_eq!(at(LAST_SECOND + 1), None);
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_nanos(1)), None);
    }
}
