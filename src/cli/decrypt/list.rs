//! `vmcore-decrypt list PLACE...`: a fleet's crashes at a glance, one line for each dump of a directory or bucket. Several
//! are read at once, by range; what is kept meanwhile is bounded by their number, and by the number of lines where these
//! are sorted.

mod find;
mod row;

use super::super::{Failure, Status, say, status, stdout};
use super::{PROGRAM, input};
use crate::crypt::Identities;
use crate::pipeline::{self, Cost};
use crate::text::{ascii_json, printable};
use clap::Args as ClapArgs;
use row::Row;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

/// Dumps that are found ahead of their turn.
const FOUND: usize = 256;
/// Dumps that each thread reads ahead of the line that is printed next.
const AHEAD: usize = 4 * 512;

/// The arguments of `list`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-decrypt list s3://crashes/
  vmcore-decrypt list -i team.key --sort --panic 'soft lockup' s3://crashes/ /var/crash
  vmcore-decrypt list -i team.key --group s3://crashes/
  vmcore-decrypt list -i team.key --json s3://crashes/ | jq -r 'select(.kernel == \"6.12.0\") | .name'

A dump that cannot be opened has a line with the reason, and a damaged or cut one has its state there: the exit status is \
that of the search. verify has one for each dump.", status::BASIC))]
pub(super) struct Args {
    /// Identity file, to look inside; repeatable
    #[arg(short = 'i', long = "identity", value_name = "FILE")]
    identities: Vec<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// In the order of the crashes' time
    #[arg(long)]
    sort: bool,
    /// Only crashes of kernels whose release contains this
    #[arg(long, value_name = "TEXT", requires = "identities")]
    kernel: Option<String>,
    /// Only crashes whose panic line has each of these words, in any case
    #[arg(long, value_name = "WORDS", requires = "identities")]
    panic: Option<String>,
    /// Count crashes of the same kind: one line for each, the most frequent first
    #[arg(long, requires = "identities")]
    group: bool,
    /// How many dumps are read at once
    #[arg(long, value_name = "N", default_value = "4")]
    jobs: NonZero<usize>,

    /// Directories, buckets, dumps; for a bucket AWS_REGION and the like are in the environment
    #[arg(required = true, value_name = "PLACE")]
    places: Vec<PathBuf>,
}

/// A dump that was found.
struct Item(PathBuf);

impl Cost for Item {
    fn bytes(&self) -> usize {
        512
    }
}

/// Runs the sub-command.
///
/// # Errors
/// A place could not be searched; the cause, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    #[cfg(feature = "remote")]
    args.places.iter().try_for_each(|place| input::check_url(place))?;
    let identities = match &args.identities[..] {
        [] => None,
        paths => Some(input::read_identities(paths, &args.places)?),
    };
    let mut lines = Lines::new(args);
    let mut unsearched = false;
    let work = |(): &mut (), Item(path): Item| Ok(Row::read(&path, identities.as_ref()));
    let (sender, found) = sync_channel(FOUND);
    std::thread::scope(|scope| {
        scope.spawn(move || find::all(&args.places, &mut |item| sender.send(item).is_ok()));
        let scratch = || Ok::<(), Failure>(());
        pipeline::with(args.jobs, AHEAD, scratch, |pool| {
            let items = found.iter().filter_map(|item| {
                // The other places count all the same.
                let path = item.map_err(|failure| report_unsearched(&failure)).ok();
                unsearched |= path.is_none();
                path.map(Item).map(Ok)
            });
            for row in pool.ordered(items, &work) {
                if let Some(row) = row?.filter(|row: &Row| row.is_wanted(args)) {
                    lines.take(row)?;
                }
            }
            drop(found);
            Ok(())
        })
    })?;
    lines.end()?;
    if unsearched || args.places.iter().any(|place| find::is_absent(place)) {
        return Err(Failure::new(Status::Failure, "listing dumps: not every place could be searched"));
    }
    Ok(())
}

fn report_unsearched(failure: &Failure) {
    say(PROGRAM, "error", failure.message());
    failure.hint.iter().for_each(|hint| say(PROGRAM, "hint", hint));
}

/// Crashes of one kind.
#[derive(Serialize)]
struct Group {
    signature: String,
    count: u64,
    /// Time of the first and of the last one, RFC 3339.
    first: Option<String>,
    last: Option<String>,
    /// One of them.
    name: String,
}

/// What is printed, now or in the end.
struct Lines<'a> {
    args: &'a Args,
    out: BufWriter<Box<dyn Write>>,
    rows: Vec<Row>,
    groups: BTreeMap<String, Group>,
    /// Dumps in parts that are counted.
    sets: BTreeSet<String>,
}

impl Lines<'_> {
    fn new(args: &Args) -> Lines<'_> {
        let out = BufWriter::new(Box::new(stdout::text()) as Box<dyn Write>);
        Lines { args, out, rows: Vec::new(), groups: BTreeMap::new(), sets: BTreeSet::new() }
    }

    fn take(&mut self, row: Row) -> Result<(), Failure> {
        if self.args.group {
            self.count(row);
            return Ok(());
        }
        if self.args.sort {
            self.rows.push(row);
            return Ok(());
        }
        self.print(&row.line(), &row)?;
        // Whoever watches sees each line when it is known.
        self.out.flush().map_err(|error| written(&error))
    }

    fn count(&mut self, row: Row) {
        let Some(signature) = row.signature else { return };
        // The parts of a dump are of one crash.
        if row.set.is_some_and(|set| !self.sets.insert(set)) {
            return;
        }
        let group = self.groups.entry(signature.clone()).or_insert_with(|| Group {
            signature,
            count: 0,
            first: row.time.clone(),
            last: row.time.clone(),
            name: row.name.clone(),
        });
        group.count += 1;
        // RFC 3339 sorts as text.
        group.first = group.first.take().into_iter().chain(row.time.clone()).min();
        group.last = group.last.take().max(row.time);
    }

    fn end(mut self) -> Result<(), Failure> {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_by(|one, other| (&one.time, &one.name).cmp(&(&other.time, &other.name)));
        rows.iter().try_for_each(|row| self.print(&row.line(), row))?;
        let mut groups: Vec<Group> = std::mem::take(&mut self.groups).into_values().collect();
        groups.sort_by_key(|group| Reverse(group.count));
        groups.iter().try_for_each(|group| self.print(&group.line(), group))?;
        self.out.flush().map_err(|error| written(&error))
    }

    fn print(&mut self, line: &str, value: &impl Serialize) -> Result<(), Failure> {
        let text = if self.args.json {
            let json = serde_json::to_string(value);
            ascii_json(&json.map_err(|error| Failure::caused("encoding a line as JSON", &error))?)
        } else {
            printable(line)
        };
        writeln!(self.out, "{text}").map_err(|error| written(&error))
    }
}

impl Group {
    /// `COUNT FIRST LAST SIGNATURE`.
    fn line(&self) -> String {
        let shown = |time: &Option<String>| time.clone().unwrap_or_else(|| "unknown".to_owned());
        format!("{:>6} {:<20} {:<20} {}", self.count, shown(&self.first), shown(&self.last), self.signature)
    }
}

fn written(error: &std::io::Error) -> Failure {
    Failure::caused("writing to standard output", error)
}

/// Whether identities are shared by the threads that read: a build that cannot does not compile.
const _: fn(&Identities) = |identities| {
    fn shared<T: Sync>(_: &T) {}
    shared(identities);
};
