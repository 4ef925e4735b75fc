//! `vmcore-decrypt info DUMP`: what the header tells without a key, and with one what the dump holds.

mod text;

use super::super::{Failure, status, stdout};
use super::{crash_facts, input};
use crate::blocks::ClassCounts;
use crate::klog::CrashFacts;
use crate::reader::{BLOCK_CACHE, Dump, IndexState, Source};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The arguments of `info`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-decrypt info vmcore.age
  vmcore-decrypt info -i key.txt vmcore.age
  vmcore-decrypt info -i key.txt --json vmcore.age | jq .dump.pages
", status::OPENING))]
pub(super) struct Args {
    /// Identity file, to look inside; repeatable
    #[arg(short = 'i', long = "identity", value_name = "FILE")]
    identities: Vec<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,

    /// The encrypted dump; of a dump in parts all parts, or one
    #[arg(value_name = "DUMP", required = true)]
    dumps: Vec<PathBuf>,
}

/// What is known of a dump.
#[derive(Serialize)]
struct Info {
    /// Bytes of the file.
    file_size: u64,
    /// Types of the header's stanzas, in order.
    recipients: Vec<String>,
    payload: Payload,
    /// The numbered objects that it is in; absent where it is in files.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<Set>,
    /// What it holds; absent without an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    dump: Option<Inside>,
}

/// Whether the encrypted payload is all there.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Payload {
    /// Its final chunk is authentic.
    Complete,
    /// Its final chunk is missing or damaged, or no payload has this length.
    Cut,
    /// Its length is possible; only an identity can tell.
    Unknown,
}

/// Numbered objects of an object store.
#[derive(Serialize)]
struct Set {
    objects: u32,
    end_mark: bool,
}

#[derive(Serialize)]
struct Inside {
    creator: String,
    release: String,
    /// Whether the kernel was running while its memory was saved.
    live: bool,
    /// Whether page structures that describe only pages that were left out were left out too.
    without_structures: bool,
    /// Which of how many parts it is; none of a whole dump.
    part: Option<(u32, u32)>,
    machine: String,
    node: String,
    /// Seconds since 1970; 0 when unknown.
    crash_time: i64,
    page_size: u64,
    dump_level: u8,
    max_mapnr: u64,
    cpus: u32,
    /// Whether the dump holds all that its level asks for.
    complete: bool,
    index: &'static str,
    blocks: u64,
    data_pages: u64,
    zero_pages: u64,
    /// What was redacted, by kind; absent where nothing was.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    redaction: BTreeMap<String, String>,
    /// What the log tells of the crash; absent where it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    crash: Option<CrashFacts>,
    /// Pages per class; absent when the dump is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<ClassCounts>,
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let sources = args.dumps.iter().map(|dump| input::open_source(dump)).collect::<Result<Vec<_>, _>>()?;
    let (info, fault) = gather(args, &sources)?;
    if args.json {
        stdout::print_json("the facts", &info)?;
    } else {
        stdout::print(&text::show(&input::names(&args.dumps), &info))?;
    }
    fault.map_or(Ok(()), Err)
}

/// What is known, and what is wrong with the first file that something is wrong with.
fn gather(args: &Args, sources: &[Arc<dyn Source>]) -> Result<(Info, Option<Failure>), Failure> {
    let (recipients, mut fault) = all_outside(args, sources)?;
    let set = set_of(sources);
    let is_cut = fault.is_some() || set.as_ref().is_some_and(|set| !set.end_mark);
    let payload = if is_cut { Payload::Cut } else { Payload::Unknown };
    let file_size = sources.iter().map(|source| source.len()).sum();
    let mut info = Info { file_size, recipients, payload, set, dump: None };
    if !args.identities.is_empty() {
        let identities = input::read_identities(&args.identities, &args.dumps)?;
        let open = |(dump, source): (&PathBuf, &Arc<dyn Source>)| {
            Dump::from_source(Arc::clone(source), &identities, BLOCK_CACHE)
                .map_err(|error| input::reader_failure(dump, &error))
        };
        let dumps = args.dumps.iter().zip(sources).map(open).collect::<Result<Vec<_>, _>>()?;
        let opened = input::joined(&args.dumps, dumps)?;
        info.payload = if opened.dump.cut().is_some() { Payload::Cut } else { Payload::Complete };
        info.dump = Some(inside(&opened.dump));
        fault = opened.ended(&args.dumps).err();
    }
    Ok((info, fault))
}

/// What anybody can see of all files. Parts are for the same recipients: one program wrote them.
fn all_outside(args: &Args, sources: &[Arc<dyn Source>]) -> Result<(Vec<String>, Option<Failure>), Failure> {
    let (mut recipients, mut fault) = (None, None);
    for (dump, source) in args.dumps.iter().zip(sources) {
        let (of_this, wrong) = input::outside(dump, source)?;
        recipients.get_or_insert(of_this);
        fault = fault.or(wrong.map(|wrong| input::stream_failure(dump, &wrong)));
    }
    Ok((recipients.unwrap_or_default(), fault))
}

/// The numbered objects that the dump, or its parts, are in.
fn set_of(sources: &[Arc<dyn Source>]) -> Option<Set> {
    let sets = sources.iter().filter_map(|source| source.set());
    sets.map(|set| Set { objects: set.objects, end_mark: set.has_end }).reduce(|one, other| Set {
        objects: one.objects + other.objects,
        end_mark: one.end_mark && other.end_mark,
    })
}

fn inside(dump: &Arc<Dump>) -> Inside {
    let (facts, kdump, held) = (dump.facts(), &dump.head().kdump, dump.held());
    Inside {
        creator: facts.creator.clone(),
        release: facts.release.clone(),
        live: facts.live,
        without_structures: facts.without_structures,
        part: facts.part.as_ref().map(|part| (part.number, part.of)),
        machine: kdump.uts.name(UTS_MACHINE),
        node: kdump.uts.name(UTS_NODE),
        crash_time: facts.crash_time,
        page_size: facts.page_size,
        dump_level: facts.dump_level,
        max_mapnr: facts.max_mapnr,
        cpus: kdump.nr_cpus,
        complete: dump.is_complete(),
        index: match dump.index_state() {
            IndexState::Whole => "whole",
            IndexState::ReadThrough => "missing",
        },
        blocks: held.blocks,
        data_pages: held.data,
        zero_pages: held.zero,
        redaction: crate::redact::summary(&kdump.eraseinfo).into_iter().collect(),
        crash: crash_facts(dump),
        pages: dump.tail().map(|tail| tail.pages),
    }
}

/// Places of names in `struct utsname`.
pub(super) const UTS_NODE: usize = 1;
const UTS_MACHINE: usize = 4;
