//! From the name of a dump to its bytes: the files that it is in, the frame of a raw partition around it, its armor.

use super::set::{self, SetSource};
use super::{Dump, Error, FileSource, Notice, PieceSource, Source, SourceReader};
use crate::crypt::{Identities, dearmored_as_far};
use crate::raw::{self, FramedAt};
use crate::sink::continued;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// Bytes of decompressed blocks kept: enough for what crash touches again and again.
pub const BLOCK_CACHE: usize = 128 << 20;
/// The most bytes of an armored dump that are taken into memory to be read at any place.
const MAX_ARMORED: u64 = 1 << 30;
/// Bytes read at a time from an armored dump.
const READ_BUFFER: usize = 1 << 20;

impl Dump {
    /// Opens the dump in the file `path` with one of `identities`: a file, the first of several in which it goes on, an
    /// armored file, a raw partition or its image. Keeps at most [`BLOCK_CACHE`] bytes of decompressed blocks.
    ///
    /// # Errors
    /// As [`Dump::from_source`]; [`Error::Read`] where a file cannot be opened or cannot seek, [`Error::Frame`] where a
    /// partition's frame cannot be read.
    pub fn open(path: &Path, identities: &Identities) -> Result<Dump, Error> {
        let source = without_frame(local(path).map_err(Error::Read)?)?;
        let plain = without_armor(&source).map_err(Error::Read)?;
        Dump::from_source(plain.unwrap_or(source), identities, BLOCK_CACHE)
    }
}

/// Whether the dump is in several files: those that follow, or numbered objects.
pub fn is_in_pieces(path: &Path) -> bool {
    !continued::following(path).is_empty() || set::directory_of(path).is_some()
}

/// A file, and its continuations; or the set of numbered objects in a directory.
///
/// # Errors
/// One of them cannot be opened, or cannot seek.
pub fn local(path: &Path) -> io::Result<Arc<dyn Source>> {
    local_noticing(path, set::unnoticed())
}

/// The same; `notice` hears of objects of a set that are missing.
///
/// # Errors
/// As [`local`].
pub fn local_noticing(path: &Path, notice: Notice) -> io::Result<Arc<dyn Source>> {
    if let Some(directory) = set::directory_of(path) {
        return Ok(Arc::new(SetSource::open(directory, notice)?));
    }
    let open = |path: &Path| FileSource::new(File::open(path)?);
    let first = open(path)?;
    let following = continued::following(path);
    if following.is_empty() {
        return Ok(Arc::new(first));
    }
    let mut files = vec![first];
    for continuation in following {
        files.push(open(&continuation)?);
    }
    Ok(Arc::new(PieceSource::new(files)))
}

/// The dump inside a frame; a source without one stays as it is.
///
/// # Errors
/// As [`in_frame`].
pub fn without_frame(source: Arc<dyn Source>) -> Result<Arc<dyn Source>, raw::Error> {
    Ok(in_frame(&source)?.unwrap_or(source))
}

/// The dump inside the frame of a raw partition, damaged or not; `None` where there is no frame.
///
/// # Errors
/// Reading fails, or the frame has no place that can be trusted.
pub fn in_frame(source: &Arc<dyn Source>) -> Result<Option<Arc<dyn Source>>, raw::Error> {
    let mut first = [0];
    // A file that begins as an age file or its armor is not searched for records.
    if source.read_at(&mut first, 0)? == 0
        || first == *b"a"
        || first == *b"-"
        || first[0].is_ascii_whitespace()
    {
        return Ok(None);
    }
    match FramedAt::new(Arc::clone(source), source.len()) {
        Ok(frame) => Ok(Some(Arc::new(frame))),
        Err(raw::Error::NoFrame) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The binary file inside an armored one, in memory; `None` when it has no armor.
///
/// # Errors
/// Reading fails, the armor is not well formed, or the file is larger than 1 GiB.
pub fn without_armor(source: &Arc<dyn Source>) -> io::Result<Option<Arc<dyn Source>>> {
    let mut reader = BufReader::with_capacity(READ_BUFFER, SourceReader::new(Arc::clone(source)));
    let first = reader.fill_buf()?.trim_ascii_start().first().copied();
    if first != Some(b'-') {
        return Ok(None);
    }
    if source.len() > MAX_ARMORED {
        let why = "it is armored and larger than 1 GiB; take the armor off: grep -v ^---- DUMP | base64 -d";
        return Err(io::Error::other(why));
    }
    let mut bytes = Vec::new();
    dearmored_as_far(reader)?.read_to_end(&mut bytes)?;
    Ok(Some(Arc::new(bytes)))
}
