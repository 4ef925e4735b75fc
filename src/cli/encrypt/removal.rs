//! `--remove-source`: the plain input goes once the encrypted dump replaces it. Who may write to its directory may exchange
//! names meanwhile, so the file is held open from before it is read, and its name goes only while it leads there.

use super::super::signals::Stop;
use super::super::{Failure, Status, quoted, say};
use super::args::{Args, is_url};
use super::{PROGRAM, input};
use crate::collect::is_zero;
use crate::crypt::PayloadKey;
use crate::pipeline::at_once;
use crate::reader::{BLOCK_CACHE, Dump, Page, local};
use crate::sink::continued::following;
use crate::sink::{parent_of, special};
use crate::units::{Pfn, PfnRange, PfnSet};
use crate::vmcore::{ReadError, Vmcore};
use rustix::fs::{Advice, AtFlags, Mode, OFlags, fadvise, openat, unlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Pages that a thread compares at a time.
const AT_ONCE: u64 = 4096;
/// Bytes of notes compared at a time.
const NOTES: usize = 256 << 10;

/// Files that are to be removed: the input, or all parts of it.
pub(super) struct Removal {
    sources: Vec<Source>,
    output: PathBuf,
    may_leave_out: bool,
}

/// A file that is to be removed.
struct Source {
    path: PathBuf,
    file: File,
    before: Metadata,
    directory: File,
    name: std::ffi::OsString,
}

/// Pages of the input that are not in the dump.
#[derive(Default)]
struct LeftOut {
    /// The level leaves them out, or the kernel marked them as broken memory (hwpoison).
    by_level: u64,
    /// The dump level of the dump.
    level: u8,
    /// They are above all memory that the kernel has page structures for, as firmware in a hypervisor's dump is.
    above: u64,
}

impl LeftOut {
    /// Why the input stays, and what to do; nothing where all its pages are in the dump.
    fn reason(&self) -> Option<(String, &'static str)> {
        match (self.by_level, self.above) {
            (0, 0) => None,
            (0, above) => Some((
                format!(
                    "{above} of its pages are not in the dump: they are above the kernel's memory, as firmware is"
                ),
                "it stays; --allow-fewer-pages removes it all the same",
            )),
            (broken, _) if self.level == 0 => Some((
                format!("{broken} of its pages are not in the dump: they are broken memory (hwpoison)"),
                "it stays; --allow-fewer-pages removes it all the same",
            )),
            (by_level, _) => Some((
                format!("{by_level} of its pages are not in the dump, since the level leaves them out"),
                "it stays; --allow-fewer-pages removes it all the same, a lower level keeps the pages",
            )),
        }
    }
}

/// What differs, or cannot be compared.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("reading back {0}")]
    Output(String, #[source] io::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Dump(#[from] crate::reader::Error),
    #[error("reading it again")]
    Source(#[source] ReadError),
    #[error("{0}")]
    Differs(String),
}

fn differs(why: impl Into<String>) -> Error {
    Error::Differs(why.into())
}

fn usage(why: &str) -> Failure {
    Failure::new(Status::Usage, format!("--remove-source: {why}"))
}

impl Removal {
    /// Holds the input, where it is to be removed.
    ///
    /// # Errors
    /// It is no regular file, or the dump goes into none.
    pub(super) fn prepare(args: &Args) -> Result<Option<Removal>, Failure> {
        let Some((output, may_leave_out)) = args.removes_source() else { return Ok(None) };
        let output = output.ok_or_else(|| usage("a dump file must be named"))?;
        if special::is_stdout(output) || output.metadata().is_ok_and(|there| !there.is_file()) {
            return Err(usage("the dump must go into a regular file, which is read back"));
        }
        if output.to_str().is_some_and(is_url) {
            return Err(usage("the dump must go into a file: what is in a store is not read back"));
        }
        let sources = args.inputs().iter().map(|path| Source::hold(path)).collect::<Result<Vec<_>, _>>()?;
        if output.metadata().is_ok_and(|there| sources.iter().any(|source| is_same(&there, &source.before))) {
            return Err(usage("the input and the dump must be different files"));
        }
        Ok(Some(Removal { sources, output: output.to_owned(), may_leave_out }))
    }

    /// Opens the dump that the files held are.
    pub(super) fn open(&self) -> Result<Vmcore, Failure> {
        match &self.sources[..] {
            [source] => input::open_held(&source.path, &source.file),
            sources => {
                let files: Vec<PathBuf> = sources.iter().map(|source| input::name_of(&source.file)).collect();
                let first = sources.first().map_or(Path::new(""), |source| source.path.as_path());
                input::open_parts(first, &files)
            }
        }
    }

    /// Reports that the input stays where a dump was saved, and why.
    pub(super) fn keep(&self, end: Failure) -> Failure {
        if matches!(end.exit_status(), Status::Warned | Status::Incomplete) {
            let text = format!("{} stays: only a dump without a warning replaces it", self.names());
            say(PROGRAM, "note", &text);
        }
        end
    }

    fn names(&self) -> String {
        let names: Vec<String> = self.sources.iter().map(|source| quoted(&source.path)).collect();
        names.join(", ")
    }

    /// Reads the dump back with the key that made it, compares it with the input, and removes the input's names.
    ///
    /// # Errors
    /// Anything that is not as it must be; the input stays then.
    pub(super) fn remove(
        self,
        vmcore: &Vmcore,
        kept: Option<(PayloadKey, u64)>,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let doing = format!("removing {}", self.names());
        let (replacement, left_out) = self.check(vmcore, kept).map_err(|error| {
            Failure::caused(&doing, &error)
                .hint("it stays: the encrypted dump is no replacement; vmcore-decrypt verify tells its state")
        })?;
        if let Some((why, hint)) = left_out.reason().filter(|_| !self.may_leave_out) {
            return Err(Failure::new(Status::Failure, format!("{doing}: {why}")).hint(hint));
        }
        if stop.is_asked() {
            let why = format!("{doing}: a signal asked to stop");
            return Err(Failure::new(Status::Failure, why).hint("it stays; the encrypted dump is whole"));
        }
        // All are as they were, or none goes.
        self.sources.iter().try_for_each(|source| source.check().map_err(|error| source.stays(&error)))?;
        self.sources.iter().try_for_each(|source| {
            // As late as can be: what was read back must still be what the dump's name leads to.
            replacement.check().map_err(|error| {
                Failure::caused(&doing, &error).hint("it stays; look for what became of the encrypted dump")
            })?;
            source.remove()
        })
    }

    /// Whether the dump replaces the input: the files that it is in, and how many pages of the input are left out.
    fn check(
        &self,
        vmcore: &Vmcore,
        kept: Option<(PayloadKey, u64)>,
    ) -> Result<(Replacement, LeftOut), Error> {
        let (key, start) = kept.ok_or_else(|| differs("the dump was not made"))?;
        let replacement = Replacement::new(&self.output)?;
        if replacement.is_one_of(&self.sources) {
            return Err(differs("the dump is in no file of its own"));
        }
        let of_output = |error| Error::Output(quoted(&self.output), error);
        let dump = Dump::with_key(local(&self.output).map_err(of_output)?, start, key, BLOCK_CACHE)?;
        let dump = Arc::new(dump);
        dump.authenticate()?;
        if !dump.is_complete() {
            return Err(differs("the dump is incomplete"));
        }
        if let Some(at) = vmcore.contradiction().map_err(Error::Source)? {
            return Err(differs(format!("two of its segments have different data at physical address {at}")));
        }
        compare_notes(vmcore, &dump)?;
        let left_out = compare_pages(vmcore, &dump)?;
        Ok((replacement, left_out))
    }
}

/// The files that the dump is in, as they were when reading them back began.
struct Replacement(Vec<(PathBuf, Metadata)>);

impl Replacement {
    fn new(output: &Path) -> Result<Replacement, Error> {
        let files = std::iter::once(output.to_owned()).chain(following(output));
        let look = |path: PathBuf| {
            let there = Replacement::look(&path).map_err(|error| Error::Output(quoted(&path), error))?;
            Ok((path, there))
        };
        files.map(look).collect::<Result<_, Error>>().map(Replacement)
    }

    /// Opens a file, so that it is read from the disk and not from memory: it was synced, so the kernel may drop its pages.
    fn look(path: &Path) -> io::Result<Metadata> {
        // Without waiting for a writer, should it be a pipe now.
        let open = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, open, Mode::empty())?);
        let there = file.metadata()?;
        if !there.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        fadvise(&file, 0, None, Advice::DontNeed)?;
        Ok(there)
    }

    fn is_one_of(&self, sources: &[Source]) -> bool {
        let is_source = |there: &Metadata| sources.iter().any(|source| is_same(there, &source.before));
        self.0.iter().any(|(_, there)| is_source(there))
    }

    /// Whether the names lead to the same files, unchanged.
    fn check(&self) -> Result<(), Error> {
        for (path, before) in &self.0 {
            let now = path.metadata().map_err(|error| Error::Output(quoted(path), error))?;
            if !is_unchanged(&now, before) {
                let why = format!("{} changed since it was read back", quoted(path));
                return Err(differs(why));
            }
        }
        Ok(())
    }
}

impl Source {
    /// Holds a file.
    fn hold(path: &Path) -> Result<Source, Failure> {
        let name = path.file_name().ok_or_else(|| usage("the input must be a file"))?.to_owned();
        if path == Path::new("-") {
            return Err(usage("the input must be a file, and standard input is none"));
        }
        let failed = |error: &io::Error| Failure::caused(format!("opening {}", quoted(path)), error);
        let directory = File::open(parent_of(path)).map_err(|error| failed(&error))?;
        let no_file = || usage("the input must be a regular file, and no link to one");
        let file = open_name(&directory, &name, OFlags::RDONLY | OFlags::NONBLOCK);
        let is_link = |error: &io::Error| error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        let file = file.map_err(|error| if is_link(&error) { no_file() } else { failed(&error) })?;
        let before = file.metadata().map_err(|error| failed(&error))?;
        if !before.is_file() {
            return Err(no_file());
        }
        Ok(Source { path: path.to_owned(), file, before, directory, name })
    }

    /// Whether the name leads to the file that was read, and that file is as it was.
    fn check(&self) -> Result<(), Error> {
        let now = self.file.metadata()?;
        let as_it_was = |now: &Metadata| is_unchanged(now, &self.before);
        let named = open_name(&self.directory, &self.name, OFlags::PATH)?.metadata()?;
        if !as_it_was(&now) || !as_it_was(&named) {
            return Err(differs("it changed, or its name leads to another file now"));
        }
        Ok(())
    }

    fn stays(&self, error: &Error) -> Failure {
        Failure::caused(format!("removing {}", quoted(&self.path)), error)
            .hint("it stays; the encrypted dump is whole")
    }

    /// Removes the name while that holds.
    fn remove(&self) -> Result<(), Failure> {
        let links = self.file.metadata().map_err(|error| self.stays(&error.into()))?.nlink();
        if links > 1 {
            let more = match links - 1 {
                1 => "another name (hard link), which keeps it".to_owned(),
                more => format!("{more} more names (hard links), which keep it"),
            };
            say(PROGRAM, "warning", &format!("{} has {more}", quoted(&self.path)));
        }
        let unlink = || {
            self.check()?;
            unlinkat(&self.directory, &self.name, AtFlags::empty()).map_err(io::Error::from)?;
            Ok::<_, Error>(self.directory.sync_all()?)
        };
        unlink().map_err(|error| self.stays(&error))?;
        let text = format!(
            "{} is removed: its blocks are free and not overwritten, and snapshots and backups keep theirs",
            quoted(&self.path)
        );
        say(PROGRAM, "note", &text);
        Ok(())
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether a file is the same, and nobody wrote to it: the time of the last change is the kernel's own, and no program can set it.
fn is_unchanged(now: &Metadata, before: &Metadata) -> bool {
    let state =
        |file: &Metadata| (file.len(), file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec());
    is_same(now, before) && state(now) == state(before)
}

/// Opens a name of a directory, no symbolic link.
fn open_name(directory: &File, name: &OsStr, how: OFlags) -> io::Result<File> {
    Ok(openat(directory, name, how | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// All notes, bit for bit.
fn compare_notes(vmcore: &Vmcore, dump: &Arc<Dump>) -> Result<(), Error> {
    let again = dump.vmcore().map_err(|error| differs(error.to_string()))?;
    let (one, other) = (vmcore.notes(), again.notes());
    let mut same = one.bytes() == other.bytes() && one.streamed_len() == other.streamed_len();
    let (mut a, mut b) = (vec![0; NOTES], vec![0; NOTES]);
    for at in (0..one.streamed_len()).step_by(NOTES) {
        same = same
            && vmcore.read_streamed_notes(at, &mut a) + again.read_streamed_notes(at, &mut b) == 0
            && a == b;
    }
    if same { Ok(()) } else { Err(differs("the notes of the dump are others")) }
}

/// Every page of the input, bit for bit; how many the dump leaves out.
fn compare_pages(vmcore: &Vmcore, dump: &Dump) -> Result<LeftOut, Error> {
    let end = Pfn(dump.head().kdump.max_mapnr);
    let described: PfnSet = vmcore.backed().intersect(PfnRange { start: Pfn(0), end }).collect();
    let above = vmcore.backed().count() - described.count();
    let work = pieces(&described);
    let (next, by_level) = (AtomicUsize::new(0), AtomicU64::new(0));
    let compare = |_| -> Result<(), Error> {
        while let Some(range) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            by_level.fetch_add(compare_range(vmcore, dump, *range)?, Ordering::Relaxed);
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    at_once((0..threads).collect(), compare).into_iter().collect::<Result<(), _>>()?;
    Ok(LeftOut { by_level: by_level.into_inner(), level: dump.head().facts.dump_level, above })
}

fn pieces(pages: &PfnSet) -> Vec<PfnRange> {
    let cut = |range: PfnRange| {
        let step = usize::try_from(AT_ONCE).unwrap_or(1);
        (range.start.0..range.end.0)
            .step_by(step)
            .map(move |start| PfnRange::new(start, range.end.0.min(start + AT_ONCE)))
    };
    pages.iter().flat_map(cut).collect()
}

fn compare_range(vmcore: &Vmcore, dump: &Dump, range: PfnRange) -> Result<u64, Error> {
    let (mut page, mut left_out) = (vec![0; vmcore.page_size().len()], 0);
    for pfn in range.iter() {
        let same = match dump.page(pfn)? {
            Page::Excluded => {
                left_out += 1;
                continue;
            }
            Page::Absent => false,
            Page::Data(bytes) => {
                vmcore.read_pages(pfn, &mut page).map_err(Error::Source)?;
                page[..] == bytes[..]
            }
            Page::Zero => {
                vmcore.read_pages(pfn, &mut page).map_err(Error::Source)?;
                is_zero(&page)
            }
        };
        if !same {
            return Err(differs(format!("{pfn} of the dump differs")));
        }
    }
    Ok(left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, b"a dump").unwrap();
        path
    }

    /// Whoever can set the time of writing cannot set that of the last change. Its clock ticks every few milliseconds.
    fn rewrite_in_secret(path: &Path) {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let before = path.metadata().unwrap().modified().unwrap();
        fs::write(path, b"b dump").unwrap();
        File::options().write(true).open(path).unwrap().set_modified(before).unwrap();
    }

    #[test]
    fn a_dump_that_goes_or_changes_after_it_was_read_back_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let output = file(directory.path(), "dump");
        let goes: [&dyn Fn(&Path); 5] = [
            &|output| fs::remove_file(output).unwrap(),
            &|output| fs::rename(file(directory.path(), "other"), output).unwrap(),
            &|output| fs::write(output, b"shorter").unwrap(),
            &rewrite_in_secret,
            &|output| {
                fs::remove_file(output).unwrap();
                fs::create_dir(output).unwrap();
            },
        ];
        for (number, happens) in goes.iter().enumerate() {
            let replacement = Replacement::new(&output).unwrap();
            assert!(replacement.check().is_ok(), "{number}");
            happens(&output);
            let error = replacement.check().unwrap_err().to_string();
            assert!(error.contains("dump\""), "{number}: {error}");
            let _ = fs::write(&output, b"a dump");
        }
    }

    #[test]
    fn a_source_that_changes_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(directory.path(), "source");
        let source = Source::hold(&path).unwrap_or_else(|failure| panic!("{}", failure.message()));
        assert!(source.check().is_ok());
        rewrite_in_secret(&path);
        assert!(source.check().is_err() && source.remove().is_err() && path.exists());
    }
}
