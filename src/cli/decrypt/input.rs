//! The dump and the identities named on a command line, opened, with a message for each thing that can be wrong.
//! Shared by every sub-command.

use super::super::{Failure, Status, input_name, prompt, quoted, say};
use super::default_identity;
use super::plain::Plain;
use super::{PROGRAM, apart};
use crate::blocks::PartFacts;
use crate::crypt::header::Header;
use crate::crypt::stream::{NONCE_SIZE, chunk_count};
use crate::crypt::{self, Identities, StreamError, dearmored_as_far};
use crate::objects;
use crate::raw;
use crate::reader::{
    self, Dump, DumpHead, FirstObject, Met, Notice, Source, SourceReader, in_frame, is_in_pieces,
    local_noticing, without_armor, without_frame,
};
use clap::Args;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A dump is read in pieces of about this size.
const READ_BUFFER: usize = 1 << 20;

/// Who opens the dump.
#[derive(Args, Debug)]
pub(super) struct IdentityArgs {
    /// Identity file: age identities, an ssh private key; - is standard input; repeatable
    /// [default: ~/.config/vmcore-decrypt/identities]
    #[arg(short = 'i', long = "identity", value_name = "FILE")]
    identities: Vec<PathBuf>,
}

impl IdentityArgs {
    /// Reads the identity files, to open `dumps`.
    pub(super) fn read(&self, dumps: &[PathBuf]) -> Result<Identities, Failure> {
        if self.identities.is_empty() {
            return read_identities(&[default_identity::path()?], dumps);
        }
        read_identities(&self.identities, dumps)
    }

    /// Refuses an output that is one of the identity files, or one of `dumps`.
    pub(super) fn apart_from(&self, output: &Path, dumps: &[PathBuf]) -> Result<(), Failure> {
        let default = self.identities.is_empty().then(default_identity::path).and_then(Result::ok);
        let inputs = self.identities.iter().chain(&default).chain(dumps);
        apart::check(output, inputs.map(PathBuf::as_path))
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Reads identity files, to open `dumps`; passphrases are asked for on the terminal. Standard input can be named once,
/// as an identity or as a dump.
pub(super) fn read_identities(paths: &[PathBuf], dumps: &[PathBuf]) -> Result<Identities, Failure> {
    if paths.iter().any(|path| is_stdin(path))
        && paths.iter().chain(dumps).filter(|path| is_stdin(path)).count() > 1
    {
        let message = "standard input is named twice, and it can be read once only";
        return Err(Failure::new(Status::Usage, message).hint("name a file for one of the two"));
    }
    let mut identities = Identities::new(prompt::on_terminal());
    for path in paths {
        let doing = || {
            if is_stdin(path) {
                "reading an identity from standard input".to_owned()
            } else {
                format!("reading identity file {}", quoted(path))
            }
        };
        let file = open_identity(path)
            .map_err(|error| Failure::caused(doing(), &error).maybe_hint(typed_key_hint(path)))?;
        identities
            .add_file(&path.to_string_lossy(), BufReader::new(file))
            .map_err(|error| Failure::caused(doing(), &error).maybe_hint(error.hint()))?;
    }
    Ok(identities)
}

/// What helps who has typed a key where the name of its file belongs.
fn typed_key_hint(path: &Path) -> Option<&'static str> {
    let text = path.to_str()?.to_ascii_uppercase();
    if text.contains("AGE-SECRET-KEY-") || text.starts_with("AGE-PLUGIN-") {
        return Some("put the identity into a file that you alone can read: others see what is typed");
    }
    let is_recipient = text.starts_with("AGE1") || text.starts_with("SSH-");
    is_recipient.then_some("this is a recipient; -i takes the file of the identity that belongs to it")
}

/// Opens an identity file. Standard input without the buffer of the standard library, which would keep the secret.
fn open_identity(path: &Path) -> io::Result<File> {
    if is_stdin(path) { io::stdin().as_fd().try_clone_to_owned().map(File::from) } else { File::open(path) }
}

/// The default number of threads: one per CPU.
pub(super) fn threads(asked: Option<NonZero<usize>>) -> NonZero<usize> {
    asked.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN))
}

/// Opens a dump to be read from front to back, without its armor; `-` is standard input. `watch` gets the
/// file's length, where that is known, and every read passes what it returns.
pub(super) fn open_sequential(
    path: &Path,
    watch: impl FnOnce(Option<u64>, Box<dyn Read + Send>) -> Box<dyn Read + Send>,
) -> Result<Box<dyn BufRead + Send>, Failure> {
    let failed =
        |error: &dyn std::error::Error| Failure::caused(opening(path), error).maybe_hint(name_hint(path));
    let damaged = |error: raw::Error| failed(&error).status(Status::Damaged);
    refuse_directory(path)?;
    let source = match remote(path)? {
        Some(source) => Some(source),
        None if path == Path::new("-") || !is_seekable(path) => None,
        None => Some(local_noticing(path, notice(path)).map_err(|error| failed(&error))?),
    };
    let framed = source.as_ref().map(|source| in_frame(source).map_err(damaged)).transpose()?.flatten();
    source.iter().try_for_each(|source| check_first(path, source))?;
    let (len, input): (_, Box<dyn Read + Send>) = if path == Path::new("-") {
        (None, Box::new(io::stdin()))
    } else if let Some(framed) = framed {
        // What is in a frame is read by position: damage there hides nothing after it.
        (Some(framed.len()), Box::new(SourceReader::new(framed)))
    } else if let Some(source) = source.filter(|_| is_remote(path) || is_in_pieces(path)) {
        (Some(source.len()), Box::new(SourceReader::new(source)))
    } else {
        let file = File::open(path).map_err(|error| failed(&error))?;
        let metadata = file.metadata().map_err(|error| failed(&error))?;
        (metadata.is_file().then_some(metadata.len()), Box::new(file))
    };
    let bytes = BufReader::with_capacity(READ_BUFFER, watch(len, input));
    let mut bytes = raw::unframed(Box::new(bytes)).map_err(damaged)?;
    let start = bytes.fill_buf().map_err(|error| failed(&error))?;
    if start.is_empty() {
        return Err(empty(path));
    }
    Plain::check(path, start)?;
    dearmored_as_far(bytes).map_err(|error| failed(&error))
}

/// A directory is a dump only where it holds the objects of one.
fn refuse_directory(path: &Path) -> Result<(), Failure> {
    if !path.is_dir() || reader::is_set(path) {
        return Ok(());
    }
    let message = format!("{}: it is a directory, without the numbered objects of a dump", opening(path));
    Err(Failure::new(Status::Failure, message).hint("name the dump; list finds the dumps of a directory"))
}

/// What helps with a URL that lacks a slash.
fn name_hint(path: &Path) -> Option<String> {
    let (scheme, rest) = path.to_str()?.split_once(":/")?;
    let is_url =
        ["https", "http", "s3", "gs", "az"].contains(&scheme) && !rest.starts_with('/') && !path.exists();
    is_url.then(|| format!("a URL has two slashes: {scheme}://"))
}

fn opening(path: &Path) -> String {
    let kind = if path == Path::new("-") { "" } else { "dump " };
    format!("opening {kind}{}", input_name(path))
}

fn empty(path: &Path) -> Failure {
    let message = format!("{}: it is empty", opening(path));
    Failure::new(Status::Truncated, message).hint("the collector or its link died before the first byte")
}

/// Opens a dump to be read at any place. What is in the frame of a raw partition is read through it; an armored
/// dump is taken into memory without its armor.
pub(super) fn open_source(path: &Path) -> Result<Arc<dyn Source>, Failure> {
    let failed = |error: &io::Error| Failure::caused(opening(path), error).maybe_hint(name_hint(path));
    refuse_directory(path)?;
    if path == Path::new("-") {
        let message = "opening standard input: a dump is read here and there, which it does not allow";
        return Err(Failure::new(Status::Usage, message).hint("name a file"));
    }
    let source = match remote(path)? {
        #[cfg(feature = "remote")]
        Some(source) => super::slow::shown(source),
        #[cfg(not(feature = "remote"))]
        Some(source) => source,
        None => local_noticing(path, notice(path)).map_err(|error| failed(&error))?,
    };
    let source = without_frame(source)
        .map_err(|error| Failure::caused(opening(path), &error).status(Status::Damaged))?;
    if source.is_empty() {
        return Err(empty(path));
    }
    check_first(path, &source)?;
    let mut start = [0; Plain::START];
    let read = source.read_at(&mut start, 0).map_err(|error| failed(&error))?;
    Plain::check(path, &start[..read])?;
    without_armor(&source)
        .map_err(|error| failed(&error).status(read_status(&error)))
        .map(|plain| plain.unwrap_or(source))
}

/// What anybody can see of a dump: the types of its header's stanzas, and why no payload has its length.
///
/// # Errors
/// The header cannot be read.
pub(super) fn outside(
    path: &Path,
    source: &Arc<dyn Source>,
) -> Result<(Vec<String>, Option<StreamError>), Failure> {
    let header = Header::read(&mut BufReader::new(SourceReader::new(Arc::clone(source))))
        .map_err(|error| crypt_failure(path, &error))?;
    let start = (header.encoded_len() + NONCE_SIZE) as u64;
    let length = source.len().saturating_sub(start);
    Ok((header.stanza_types(), chunk_count(length).err()))
}

/// Refuses a set whose header is lost with its first object: what else is there cannot be decrypted. Warns where the header
/// is there. What is there of that object was read before.
fn check_first(path: &Path, source: &Arc<dyn Source>) -> Result<(), Failure> {
    let what = match source.set().map(|set| set.first) {
        Some(FirstObject::Missing) => "missing",
        Some(FirstObject::Cut) if !source.is_empty() => "cut",
        Some(FirstObject::Whole) if is_of_another(source) => "another one",
        _ => return Ok(()),
    };
    let first = objects::name(0);
    if what == "cut" && !is_header_lost(source) {
        notice(path)(&format!("object {first} of the dump is cut: what it held is lost"));
        return Ok(());
    }
    let message = format!(
        "{}: object {first} of the dump is {what}: nothing can be decrypted without its header",
        opening(path)
    );
    Err(Failure::new(Status::Damaged, message).hint("get that object from another copy of the set"))
}

/// Whether a set has the end mark of a dump, and its first object does not begin as one.
fn is_of_another(source: &Arc<dyn Source>) -> bool {
    let mut start = [0; 4];
    let is_read = source.read_at(&mut start, 0).is_ok_and(|have| have == start.len());
    source.set().is_some_and(|set| set.has_end) && is_read && start != *b"age-"
}

/// Whether a header begins and does not end. What begins otherwise is no dump, with or without the rest.
fn is_header_lost(source: &Arc<dyn Source>) -> bool {
    const AGE: &[u8] = b"age-encryption.org/v1\n";
    let mut start = [0; AGE.len()];
    let read = source.read_at(&mut start, 0).unwrap_or(0);
    let start = start[..read].trim_ascii_end();
    let there = start.iter().position(|&byte| byte == 0).unwrap_or(start.len());
    AGE.starts_with(&start[..there])
        && Header::read(&mut BufReader::new(SourceReader::new(Arc::clone(source)))).is_err()
}

/// Who reports what is unusual about how a dump is stored. Commands that open it several times report it once.
fn notice(path: &Path) -> Notice {
    /// The most warnings that are remembered.
    const MOST: usize = 1000;
    static REPORTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let name = input_name(path);
    Arc::new(move |text| {
        let text = format!("reading {name}: {text}");
        let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.contains(&text) {
            return;
        }
        say(PROGRAM, "warning", &text);
        if reported.len() < MOST {
            reported.insert(text);
        }
    })
}

/// Whether a file can be read at any place; what cannot be opened shows later why.
fn is_seekable(path: &Path) -> bool {
    is_in_pieces(path)
        || path.metadata().is_ok_and(|metadata| metadata.is_file() || metadata.file_type().is_block_device())
}

/// Whether `path` is on a server.
fn is_remote(path: &Path) -> bool {
    cfg!(feature = "remote") && path.to_str().is_some_and(|name| name.contains("://")) && !path.exists()
}

/// Whether a name is a URL.
pub(super) fn is_url(name: &str) -> bool {
    name.contains("://") && !Path::new(name).exists()
}

/// The dump on a server, when `path` is a URL.
#[cfg(feature = "remote")]
fn remote(path: &Path) -> Result<Option<Arc<dyn Source>>, Failure> {
    let Some(url) = path.to_str().filter(|name| name.contains("://") && !path.exists()) else {
        return Ok(None);
    };
    if !crate::remote::is_url(url) {
        let message = format!("{}: a URL of this kind cannot be read", opening(path));
        return Err(Failure::new(Status::Usage, message).hint("https, http, s3, gs and az can be read"));
    }
    let _waiting = super::slow::Wait::start(path);
    crate::remote::open_noticing(url, notice(path)).map(Some).map_err(|error| {
        let failure = Failure::caused(opening(path), &error);
        match error {
            crate::remote::Error::Url(_) => failure.status(Status::Usage),
            error => failure.maybe_hint(error.hint()),
        }
    })
}

/// Refuses a URL that is not to be asked for as it is written.
#[cfg(feature = "remote")]
pub(super) fn check_url(path: &Path) -> Result<(), Failure> {
    match path.to_str().filter(|name| is_url(name)).map(crate::remote::check) {
        Some(Err(error)) => Err(Failure::caused(opening(path), &error).status(Status::Usage)),
        _ => Ok(()),
    }
}

/// Without the feature, an error that distinguishes a URL from a file that does not exist.
#[cfg(not(feature = "remote"))]
fn remote(path: &Path) -> Result<Option<Arc<dyn Source>>, Failure> {
    let is_url = path.to_str().is_some_and(|name| name.contains("://")) && !path.exists();
    if is_url {
        let message = format!("{}: this program was built without the feature remote", opening(path));
        return Err(Failure::new(Status::Usage, message).hint(super::super::version::how_to_get("remote")));
    }
    Ok(None)
}

/// A dump that is read at any place, from one file or from those of all its parts.
pub(super) struct Opened {
    pub(super) dump: Arc<Dump>,
    /// What is wrong with the first file that something is wrong with.
    pub(super) fault: Option<Failure>,
}

/// Opens a dump, or all parts of one, to be read at any place. At most `cache` bytes of decompressed blocks are kept.
pub(super) fn open_parts(
    paths: &[PathBuf],
    identities: &Identities,
    cache: usize,
) -> Result<Opened, Failure> {
    let open = |path: &PathBuf| {
        let source = open_source(path)?;
        Dump::from_source(source, identities, cache).map_err(|error| reader_failure(path, &error))
    };
    let dumps = paths.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    joined(paths, dumps)
}

/// The dump of these files, each opened: the only one, or all parts together.
pub(super) fn joined(paths: &[PathBuf], mut dumps: Vec<Dump>) -> Result<Opened, Failure> {
    let faulty = paths.iter().zip(&dumps).find_map(|(path, dump)| Some((path, dump.fault()?)));
    let fault = faulty.map(|(path, fault)| stream_failure(path, &fault));
    let dump = match dumps.len() {
        1 => dumps.swap_remove(0),
        _ => Dump::join(dumps).map_err(|error| parts_failure(paths, &error))?,
    };
    Ok(Opened { dump: Arc::new(dump), fault })
}

impl Opened {
    /// How a command ends that has printed what could be had.
    ///
    /// # Errors
    /// The dump is damaged or cut, as far as opening it or reading its pages met that; or its source could not be read.
    pub(super) fn ended(&self, paths: &[PathBuf]) -> Result<(), Failure> {
        if let Some(fault) = self.fault.clone() {
            return Err(fault);
        }
        self.dump.met().map_or(Ok(()), |met| Err(met_failure(paths, met)))
    }
}

/// Pages that were asked for could not be read.
fn met_failure(paths: &[PathBuf], met: &Met) -> Failure {
    let failure = Failure::new(met_status(met), format!("reading pages of {}: {}", names(paths), met.why));
    failure.hint("what these pages hold is missing from the output; vmcore-decrypt verify reads all of them")
}

fn met_status(met: &Met) -> Status {
    if met.is_unread {
        return Status::Failure;
    }
    met.stream.map_or(Status::Damaged, |cause| stream_status(&cause))
}

/// What is wrong with several files as the parts of one dump.
fn parts_failure(paths: &[PathBuf], error: &reader::Error) -> Failure {
    let failure = Failure::caused(format!("opening {}", names(paths)), error);
    match error {
        reader::Error::Parts(_) => failure.hint("name every part of one dump once"),
        _ => failure.status(Status::Damaged),
    }
}

/// The names of a dump's files, for a message.
pub(super) fn names(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| input_name(path)).collect::<Vec<_>>().join(", ")
}

/// Warns that a dump is one part of a dump, and reports which.
pub(super) fn warn_of_part(path: &Path, part: Option<&PartFacts>) {
    if let Some(part) = part {
        let name = input_name(path);
        let text =
            format!("{name} is part {} of {}: the pages of the others are missing", part.number, part.of);
        say(PROGRAM, "warning", &text);
        say(PROGRAM, "hint", "name all parts of the dump");
    }
}

/// The copy of a dump's head at its end; `None` where there is none, or the dump is read from front to back only.
pub(super) fn head_copy(path: &Path, identities: &Identities) -> Option<DumpHead> {
    if !is_remote(path) && !is_seekable(path) {
        return None;
    }
    reader::head_copy(open_source(path).ok()?, identities).ok()
}

/// The head of a dump that may be damaged.
///
/// # Errors
/// It cannot be opened, or neither its head nor the copy of it can be read. A file that does not begin as a dump counts as
/// damaged: callers pass parts of a dump.
pub(super) fn any_head(path: &Path, identities: &Identities) -> Result<DumpHead, Failure> {
    reader::any_head(open_source(path)?, identities).map_err(|error| {
        let failure = reader_failure(path, &error);
        let is_lost = matches!(error, reader::Error::Crypt(crypt::Error::NotAge) | reader::Error::NotADump);
        if is_lost { failure.status(Status::Damaged) } else { failure }
    })
}

/// What is wrong with a header, or with the identities for it.
pub(super) fn crypt_failure(dump: &Path, cause: &crypt::Error) -> Failure {
    let status = match cause {
        crypt::Error::NoMatch { .. } | crypt::Error::WrongPassphrase => Status::WrongKey,
        crypt::Error::HeaderTruncated => Status::Truncated,
        crypt::Error::BadMac
        | crypt::Error::Header { .. }
        | crypt::Error::HeaderTooLong
        | crypt::Error::UnsupportedVersion
        | crypt::Error::BadStanza(_) => Status::Damaged,
        crypt::Error::Io(error) => read_status(error),
        _ => Status::Failure,
    };
    Failure::caused(format!("opening {}", input_name(dump)), cause).maybe_hint(cause.hint()).status(status)
}

/// The status of a read that failed: armor that is not well formed is damage.
pub(super) fn read_status(error: &io::Error) -> Status {
    if error.kind() == io::ErrorKind::InvalidData { Status::Damaged } else { Status::Failure }
}

/// What is wrong with a payload.
pub(super) fn stream_failure(dump: &Path, cause: &StreamError) -> Failure {
    let status = stream_status(cause);
    let hint = match (status, cause) {
        (Status::Truncated, _) => "the collector or its link died; see the console log of the capture kernel",
        (_, StreamError::TrailingData { .. }) => "all of the dump comes before them; cut them off",
        _ => "the dump changed after it was made; get another copy of it",
    };
    Failure::caused(format!("decrypting {}", input_name(dump)), cause).status(status).hint(hint)
}

/// A failure to find something in a dump: where the dump is damaged or cut, by that.
pub(super) fn by_fault(dump: &Dump, failure: Failure) -> Failure {
    match (dump.fault(), dump.met()) {
        (Some(fault), _) => failure.status(stream_status(&fault)).hint(format!("the dump is {fault}")),
        (None, Some(met)) => failure.status(met_status(met)).hint(format!("reading the dump: {}", met.why)),
        (None, None) => failure,
    }
}

/// Whether a payload is damaged or cut.
fn stream_status(cause: &StreamError) -> Status {
    match cause {
        StreamError::Truncated { .. } | StreamError::ImpossibleLength { .. } => Status::Truncated,
        _ => Status::Damaged,
    }
}

/// What is wrong with a dump that is read without restoring it.
pub(super) fn reader_failure(dump: &Path, error: &reader::Error) -> Failure {
    match error {
        reader::Error::Crypt(cause) => crypt_failure(dump, cause),
        reader::Error::Stream(cause) => stream_failure(dump, cause),
        reader::Error::Read(cause) => {
            Failure::caused(format!("reading {}", input_name(dump)), error).status(read_status(cause))
        }
        reader::Error::NotADump => Failure::caused(format!("opening {}", input_name(dump)), error),
        error => Failure::caused(format!("reading {}", input_name(dump)), error).status(Status::Damaged),
    }
}
