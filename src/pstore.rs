//! What the firmware kept of a crash: records of the kernel's log below `/sys/fs/pstore`, taken over into an encrypted file
//! and only then removed from the store. Their names and bytes are what the store gave back, so nothing in them is believed;
//! the analyst's side joins them. The file is an age file around one zstd frame around a tar archive of the records, so that
//! `age -d | zstd -d | tar x` gives them back as they were.

#[cfg(feature = "analyst")]
mod joined;

use crate::crypt::{self, EncryptWriter, Entropy, PayloadKey, Recipients};
use crate::sink::safe_dir::{Entry, SafeDirectory};
use crate::sink::verified::{VerifiedFile, remove_unfinished};
use std::io::{self, Read, Write};
use std::time::UNIX_EPOCH;
use zeroize::Zeroizing;

#[cfg(feature = "analyst")]
pub(crate) use joined::{BLOCK, is_archive, print};

/// The largest record that is taken. ramoops may be given a few MiB; EFI variables and ERST have a few KiB.
const MAX_RECORD: u64 = 8 << 20;
/// The most bytes of records that are taken at once.
const MAX_ALL: u64 = 64 << 20;
/// zstd level: records are small, and text shrinks well.
const COMPRESSION: i32 = 3;
/// How the name of an unfinished file starts. A complete one is called `pstore-` and 16 digits, `.age`.
const UNFINISHED: &str = "pstore.copying-";

/// What stops the saving of records. The store then still has all of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file key could not be made or wrapped.
    #[error(transparent)]
    Crypt(#[from] crypt::Error),
    /// The file cannot be written, or reads back as something else.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// One record.
struct Record {
    name: String,
    /// Seconds since 1970; what the backend reports.
    time: u64,
    bytes: Zeroizing<Vec<u8>>,
}

/// The records of a store, in memory.
pub(crate) struct Records {
    records: Vec<Record>,
    /// Names of those that stay where they are: too large, not readable, no plain files.
    pub left: Vec<String>,
}

/// What became of the records.
pub(crate) struct Saved {
    /// The file that has them.
    pub name: String,
    /// How many it has.
    pub count: usize,
    /// Names of those that are saved, and could not be removed from the store.
    pub kept: Vec<String>,
}

impl Records {
    /// Reads a store. At most 8 MiB of one record and 64 MiB of all are taken; others are left.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn read(store: &SafeDirectory) -> io::Result<Records> {
        let mut all = Records { records: Vec::new(), left: Vec::new() };
        let mut names = store.names()?;
        names.retain(|name| name != "." && name != "..");
        names.sort();
        let mut room = MAX_ALL;
        for name in names {
            match read_record(store, &name, room.min(MAX_RECORD)) {
                Ok(Some(record)) => {
                    room -= record.bytes.len() as u64;
                    all.records.push(record);
                }
                // One record that cannot be read costs itself alone.
                Ok(None) | Err(_) => all.left.push(name),
            }
        }
        Ok(all)
    }

    /// Whether there is none to save.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Saves the records to a new file of `directory`, encrypted to `recipients`; when that is on the disk and reads back as it
    /// was written, removes them from `store`. A record that has changed meanwhile stays.
    ///
    /// # Errors
    /// See [`Error`]. Nothing was removed then.
    pub(crate) fn save(
        &self,
        store: &SafeDirectory,
        directory: &SafeDirectory,
        recipients: &Recipients,
        entropy: &mut Entropy<'_>,
    ) -> Result<Saved, Error> {
        remove_unfinished(directory, |name| name.starts_with(UNFINISHED))?;
        let (header, key) = recipients.wrap(entropy)?;
        let mut file = VerifiedFile::create(directory, UNFINISHED)?;
        self.write(&mut file, &header, key)?;
        let name = file.finish(|digits| Ok(format!("pstore-{digits}.age")))?;
        let kept = self.records.iter().filter(|record| record.remove(store).is_err());
        let kept = kept.map(|record| record.name.clone()).collect();
        Ok(Saved { name, count: self.records.len(), kept })
    }

    fn write(&self, out: &mut dyn Write, header: &[u8], key: PayloadKey) -> io::Result<()> {
        out.write_all(header)?;
        let compressor = zstd::Encoder::new(EncryptWriter::new(out, key), COMPRESSION)?;
        let mut archive = tar::Builder::new(compressor);
        for record in &self.records {
            let mut entry = tar::Header::new_ustar();
            entry.set_size(record.bytes.len() as u64);
            entry.set_mode(0o600);
            entry.set_mtime(record.time);
            archive.append_data(&mut entry, &record.name, record.bytes.as_slice())?;
        }
        archive.into_inner()?.finish()?.finish()?;
        Ok(())
    }
}

impl Record {
    /// Removes the record from the store if it is still what was saved.
    fn remove(&self, store: &SafeDirectory) -> io::Result<()> {
        let now = read_record(store, &self.name, MAX_RECORD)?;
        if now.is_some_and(|now| now.bytes == self.bytes) {
            store.remove(&self.name)
        } else {
            Err(io::Error::other("it has changed"))
        }
    }
}

/// A record of at most `limit` bytes; `None` for a larger one, and for what is no plain file.
fn read_record(store: &SafeDirectory, name: &str, limit: u64) -> io::Result<Option<Record>> {
    let Entry::File(file) = store.entry(name)? else { return Ok(None) };
    let metadata = file.metadata()?;
    let time = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    // In one allocation of the final size: growing would leave copies behind.
    let size = usize::try_from(metadata.len().min(limit)).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.saturating_add(1)));
    (&file).take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    let fits = bytes.len() as u64 <= limit;
    Ok(fits.then(|| Record { name: name.to_owned(), time: time.map_or(0, |time| time.as_secs()), bytes }))
}
