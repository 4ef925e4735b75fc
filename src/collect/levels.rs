//! A dump at the first of several levels at which it fits, into one output or in parts into several at the same time.
//! The [`Target`] knows the output, and reports meanwhile.

#[cfg(test)]
mod tests;

use super::{Collected, Error, Options, Part, Report, divide};
use crate::crypt::PayloadKey;
use crate::filter::{DumpLevel, Survey};
use crate::pipeline;
use crate::sink::Stream;
use std::io::{self, Write};
use std::num::NonZero;

/// What to collect and how.
pub(crate) struct Job<'a> {
    /// What is known of the vmcore; prepared for all of the levels.
    pub survey: &'a Survey<'a>,
    /// Dump levels in the order in which they are tried; at least one.
    pub levels: &'a [DumpLevel],
    /// Threads of all parts together.
    pub threads: NonZero<usize>,
    /// zstd level of the blocks.
    pub compression: i32,
    /// The most bytes of each part.
    pub limit: Option<u64>,
    /// Whether it is the memory of a kernel that is running.
    pub live: bool,
    /// Whether the key of the first part is given back; otherwise each is wiped when its part is written.
    pub gives_key: bool,
}

/// Where a dump goes: outputs, one for each part, and who hears of what happens.
pub(crate) trait Target: Sync {
    /// One output.
    type Place: Sync;
    /// Why there is no dump.
    type Failure: Send;

    /// The outputs, at least one.
    fn places(&self) -> &[Self::Place];
    /// Whether another attempt can take the place of one that was written there.
    fn can_begin_anew(&self, place: &Self::Place) -> bool;
    /// A level is tried; nothing was opened for it yet.
    fn begins(&self, level: DumpLevel);
    /// Opens an output, `again` where an earlier attempt left something there.
    ///
    /// # Errors
    /// It cannot be opened.
    fn open(&self, place: &Self::Place, again: bool) -> Result<Stream, Self::Failure>;
    /// Collects one part into its stream.
    ///
    /// # Errors
    /// As [`super::collect`].
    fn collect(&self, options: &Options, stream: &mut Stream) -> Result<Collected, Error>;
    /// The dump does not fit at `level`; the next one is tried.
    fn retries(&self, level: DumpLevel, next: DumpLevel);
    /// What an error at an output means.
    fn failure(&self, place: &Self::Place, error: &Error) -> Self::Failure;
}

/// A dump in its outputs.
pub(crate) struct Saved {
    /// The level that it has.
    pub level: DumpLevel,
    /// The report of all parts.
    pub report: Report,
    /// The payload key of the first part and where its payload starts there, bytes; where the job gives it back.
    pub key: Option<(PayloadKey, u64)>,
    /// What became of each output, in their order.
    pub outputs: Vec<Output>,
}

/// What became of an output.
pub(crate) struct Output {
    /// Files that the part takes.
    pub files: usize,
    /// Bytes that there was room for, where the part did not fit.
    pub cut_at: Option<u64>,
}

/// A part that was written; its output has no end yet.
struct Written {
    report: Report,
    key: Option<(PayloadKey, u64)>,
    limit: Option<u64>,
    stream: Stream,
}

/// What ends an attempt.
enum End<F> {
    Failed(F),
    /// At the output with this number.
    Collecting(usize, Error),
}

type Attempt<F> = Result<Vec<Written>, End<F>>;

/// Collects at one level after the other until the dump fits. Where an output cannot begin anew, the first level is the
/// last.
///
/// # Errors
/// Those of the target. With a further level to try, too little room is not one of them.
pub(crate) fn collect_first_fitting<T: Target>(job: &Job<'_>, target: &T) -> Result<Saved, T::Failure> {
    let can_retry = target.places().iter().all(|place| target.can_begin_anew(place));
    let tried = if can_retry { job.levels.len() } else { 1 };
    let mut level = job.levels.first().copied().unwrap_or(DumpLevel::ALL);
    let mut attempt = write(job, target, level, false);
    for &next in job.levels.iter().take(tried).skip(1) {
        if !is_too_large(&attempt) {
            break;
        }
        target.retries(level, next);
        // Its files go before the next attempt makes its own.
        drop(attempt);
        level = next;
        attempt = write(job, target, level, true);
    }
    finish(target, level, attempt)
}

/// Writes all parts at one level.
fn write<T: Target>(job: &Job<'_>, target: &T, level: DumpLevel, again: bool) -> Attempt<T::Failure> {
    target.begins(level);
    let places = target.places();
    // All of them before the first page: one that cannot be opened costs no work.
    let streams = places.iter().map(|place| target.open(place, again));
    let streams = streams.collect::<Result<Vec<_>, _>>().map_err(End::Failed)?;
    let parts = parts(job.survey, level, places.len()).map_err(|error| End::Collecting(0, error))?;
    let threads = NonZero::new(job.threads.get() / places.len()).unwrap_or(NonZero::<usize>::MIN);
    let write = |(at, (mut stream, part)): (usize, (Stream, Option<Part>))| {
        let limit = [job.limit, stream.capacity()].into_iter().flatten().min();
        let Job { compression, live, .. } = *job;
        let options = Options { level, threads, compression, limit, part, live };
        let collected = target.collect(&options, &mut stream).and_then(|collected| {
            // The buffer's bytes may find no room.
            stream.flush()?;
            Ok(collected)
        });
        let Collected { report, key, start } = collected.map_err(|error| End::Collecting(at, error))?;
        let key = (job.gives_key && at == 0).then_some((key, start));
        Ok(Written { report, key, limit, stream })
    };
    pipeline::at_once(streams.into_iter().zip(parts).enumerate().collect(), write).into_iter().collect()
}

/// A part for each output, or the whole for the only one.
fn parts(survey: &Survey<'_>, level: DumpLevel, count: usize) -> Result<Vec<Option<Part>>, Error> {
    if count < 2 {
        return Ok(vec![None]);
    }
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let parts = divide(survey, level, count).map_err(Error::Divide)?;
    Ok(parts.into_iter().map(Some).collect())
}

/// Whether another level may help.
fn is_too_large<F>(attempt: &Attempt<F>) -> bool {
    match attempt {
        Ok(parts) => parts.iter().any(|part| !part.report.complete),
        Err(End::Collecting(_, Error::Write(error))) => error.kind() == io::ErrorKind::StorageFull,
        Err(_) => false,
    }
}

/// Gives all parts their end. A part is worth nothing without the others: none has its end before all are written.
fn finish<T: Target>(
    target: &T,
    level: DumpLevel,
    attempt: Attempt<T::Failure>,
) -> Result<Saved, T::Failure> {
    let places = target.places();
    let written = attempt.map_err(|end| match end {
        End::Failed(failure) => failure,
        End::Collecting(at, error) => target.failure(&places[at], &error),
    })?;
    let mut saved = Saved { level, report: Report::default(), key: None, outputs: Vec::new() };
    for (place, Written { report, key, limit, stream }) in places.iter().zip(written) {
        let files = stream.finish().map_err(|error| target.failure(place, &Error::Write(error)))?;
        let cut_at = (!report.complete).then(|| limit.unwrap_or_default());
        saved.report = if saved.outputs.is_empty() { report } else { saved.report.join(report) };
        saved.key = saved.key.or(key);
        saved.outputs.push(Output { files, cut_at });
    }
    Ok(saved)
}
