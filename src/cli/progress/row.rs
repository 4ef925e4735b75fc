//! The text of one step: as a line of a log, and as a bar in a row of so many columns. ASCII alone.

use super::Step;
use crate::text::size;
use std::time::Duration;

/// Columns of the longest and of the shortest bar between its brackets.
const BAR: std::ops::RangeInclusive<usize> = 10..=30;

/// One step of a work.
pub(super) struct Row {
    /// What is done, as a gerund.
    pub doing: &'static str,
    /// How far it is.
    pub step: Step,
    /// Since it began.
    pub taken: Duration,
}

impl Row {
    /// For a log: `42 %, 12 s left`.
    pub(super) fn line(&self) -> String {
        match self.step.share() {
            Some(share) => format!("{} %, {} left", percent(share), self.left(share)),
            None => self.amount(),
        }
    }

    /// A bar of at most `room` columns: what does not fit is left out, the rate first, the percents last.
    pub(super) fn bar(&self, room: usize) -> String {
        let Some(share) = self.step.share() else {
            return fitting(room, [format!("{} {}", self.doing, self.amount()), self.doing.to_owned()]);
        };
        let done = format!("{} %", percent(share));
        let left = format!("{} left", self.left(share));
        let (of, rate) = match self.step {
            Step::Bytes(_, Some(all)) => (format!(" of {}", size::show(all)), format!(" {}/s,", self.rate())),
            _ => (String::new(), String::new()),
        };
        let ends =
            [format!("{done}{of},{rate} {left}"), format!("{done}{of}, {left}"), format!("{done}, {left}")];
        let with_bar = ends.iter().map(|end| {
            let columns = room.saturating_sub(self.doing.len() + end.len() + " [] ".len());
            let columns = columns.clamp(*BAR.start(), *BAR.end());
            format!("{} [{}] {end}", self.doing, filled(share, columns))
        });
        let doing = self.doing;
        fitting(
            room,
            with_bar.chain([format!("{doing} {done}, {left}"), format!("{doing} {done}"), done.clone()]),
        )
    }

    /// Bytes without an end: `12.3 MiB, 5.10 MiB/s`.
    fn amount(&self) -> String {
        match self.step {
            Step::Bytes(done, _) => format!("{}, {}/s", size::show(done), self.rate()),
            Step::Share(_) => String::new(),
        }
    }

    fn rate(&self) -> String {
        let Step::Bytes(done, _) = self.step else { return String::new() };
        let millis = self.taken.as_millis().max(1);
        size::show(u64::try_from(u128::from(done) * 1000 / millis).unwrap_or(u64::MAX))
    }

    fn left(&self, share: f64) -> String {
        let seconds = self.taken.mul_f64((1.0 - share).max(0.0) / share.max(0.001)).as_secs();
        match seconds {
            0..120 => format!("{seconds} s"),
            120..7200 => format!("{} min", seconds / 60),
            _ => format!("{} h", seconds / 3600),
        }
    }
}

/// Whole percents that are done, below 100 until all is.
pub(super) fn percent(share: f64) -> u64 {
    (0..100).rev().find(|&percent| share * 100.0 >= percent as f64).unwrap_or(0)
}

fn filled(share: f64, columns: usize) -> String {
    let full = (1..=columns).filter(|&column| share * columns as f64 >= column as f64).count();
    let head = if full < columns { ">" } else { "" };
    format!("{:<columns$}", "#".repeat(full) + head)
}

/// The first text that fits; none where not even the last does.
fn fitting(room: usize, texts: impl IntoIterator<Item = String>) -> String {
    texts.into_iter().find(|text| text.len() <= room).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: Step) -> Row {
        Row { doing: "restoring", step, taken: Duration::from_secs(10) }
    }

    #[test]
    fn the_time_that_is_left_follows_from_the_time_it_took() {
        assert_eq!(row(Step::Share(0.25)).line(), "25 %, 30 s left");
        assert_eq!(row(Step::Share(0.01)).line(), "1 %, 16 min left");
        assert_eq!(row(Step::Share(0.001)).line(), "0 %, 2 h left");
        assert_eq!(row(Step::Bytes(20 << 20, None)).line(), "20.0 MiB, 2.00 MiB/s");
    }

    #[test]
    fn a_bar_fits_any_width_and_says_less_where_it_must() {
        let all = Some(2 << 30);
        let wide = row(Step::Bytes(1 << 30, all)).bar(100);
        assert_eq!(
            wide,
            "restoring [###############>              ] 49 % of 2.00 GiB, 102 MiB/s, 10 s left"
                .replace("49", "50")
        );
        for step in
            [Step::Bytes(1 << 30, all), Step::Bytes(5, None), Step::Share(0.5), Step::Bytes(0, Some(0))]
        {
            for room in 0..120 {
                let bar = row(step).bar(room);
                assert!(bar.len() <= room && bar.is_ascii(), "{room}: {bar:?}");
            }
        }
        assert_eq!(row(Step::Bytes(1 << 30, all)).bar(39), "restoring [#####>     ] 50 %, 10 s left");
        assert_eq!(row(Step::Share(0.5)).bar(20), "restoring 50 %");
        assert_eq!(row(Step::Share(0.5)).bar(5), "50 %");
    }
}
