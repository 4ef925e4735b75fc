//! `vmcore-decrypt dmesg DUMP`: the crashed kernel's log, from the few blocks of a dump that hold it, from a log that
//! `vmcore-encrypt dmesg` saved, or from the records that `vmcore-encrypt pstore` took over.

use super::super::{Failure, Status, input_name, say, status, stdout};
use super::PROGRAM;
use super::input::{self, IdentityArgs, Opened};
use crate::blocks::{FRAME_MAGIC, SKIPPABLE_MAGIC};
use crate::crypt::{DecryptReader, Identities, StreamError};
use crate::klog;
use crate::mm::KernelMemory;
use crate::pstore;
use crate::reader::{self, Dump, Source, SourceReader};
use crate::text::write_shown;
use clap::Args as ClapArgs;
use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The arguments of `dmesg`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-decrypt dmesg -i key.txt vmcore.age
  vmcore-decrypt dmesg -i key.txt vmcore-dmesg.txt.age | less
", status::OPENING))]
pub(super) struct Args {
    #[command(flatten)]
    identities: IdentityArgs,

    /// The encrypted dump, or an encrypted file of vmcore-encrypt dmesg or pstore (then - is standard input). Of a dump in
    /// parts all parts
    #[arg(value_name = "DUMP", required = true)]
    dumps: Vec<PathBuf>,
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let identities = args.identities.read(&args.dumps)?;
    let mut out = io::BufWriter::new(stdout::text());
    let [path] = &args.dumps[..] else {
        return print_log(&args.dumps, &input::open_parts(&args.dumps, &identities, BLOCKS)?, &mut out);
    };
    if path == Path::new("-") {
        let mut dump = input::open_sequential(path, |_, bytes| bytes)?;
        print_saved_log(path, &mut *dump, &identities, &mut out)?;
    } else {
        let source = input::open_source(path)?;
        match Dump::from_source(Arc::clone(&source), &identities, BLOCKS) {
            Ok(dump) => return print_log(&args.dumps, &input::joined(&args.dumps, vec![dump])?, &mut out),
            Err(reader::Error::NotADump) => print_from_source(path, source, &identities, &mut out)?,
            Err(error) => return Err(input::reader_failure(path, &error)),
        }
    }
    out.flush().map_err(|error| written(&error))
}

/// Decompressed blocks kept: a log is in a few neighbouring ones, and page tables in a few more.
const BLOCKS: usize = 16 << 20;

fn written(error: &io::Error) -> Failure {
    Failure::caused("writing to standard output", error)
}

/// Prints the log inside the crashed kernel's memory, and reports what is wrong with the dump.
fn print_log(paths: &[PathBuf], opened: &Opened, out: &mut dyn Write) -> Result<(), Failure> {
    let dump = &opened.dump;
    paths.iter().for_each(|path| input::warn_of_part(path, dump.facts().part.as_ref()));
    print_messages(paths, dump, out)?;
    out.flush().map_err(|error| written(&error))?;
    opened.ended(paths)
}

fn print_messages(paths: &[PathBuf], dump: &Arc<Dump>, out: &mut dyn Write) -> Result<(), Failure> {
    let doing = || format!("reading the kernel log of {}", input::names(paths));
    let vmcore = dump.vmcore().map_err(|error| Failure::caused(doing(), &error).status(Status::Damaged))?;
    let memory = KernelMemory::new(&vmcore).map_err(|error| Failure::caused(doing(), &error))?;
    let stats = klog::dmesg(&memory, out).map_err(|error| {
        let part = dump.facts().part.as_ref();
        let failure = Failure::caused(doing(), &error);
        input::by_fault(dump, failure.maybe_hint(part.map(|_| "the log may be in another part")))
    })?;
    if stats.damaged > 0 {
        say(PROGRAM, "warning", &format!("{} messages of the kernel log are damaged", stats.damaged));
    }
    Ok(())
}

fn print_from_source(
    path: &Path,
    source: Arc<dyn Source>,
    identities: &Identities,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    print_saved_log(path, &mut BufReader::new(SourceReader::new(source)), identities, out)
}

/// Prints a log that was saved on its own: text, or text in zstd frames. What comes before damage or a
/// cut is printed all the same.
fn print_saved_log(
    path: &Path,
    mut file: &mut (dyn BufRead + Send),
    identities: &Identities,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let key = identities.open(&mut file).map_err(|error| input::crypt_failure(path, &error))?.key;
    let mut plain = BufReader::new(DecryptReader::new(file, key));
    let failed = |error: &io::Error| match StreamError::find(error) {
        Some(cause) => input::stream_failure(path, &cause),
        None => Failure::caused(format!("reading {}", input_name(path)), error).status(Status::Damaged),
    };
    let start = plain.fill_buf().map_err(|error| failed(&error))?;
    if start.starts_with(FLATTENED) || start.starts_with(&SKIPPABLE_MAGIC.to_le_bytes()) {
        return Err(not_a_log(path));
    }
    if start.starts_with(&FRAME_MAGIC.to_le_bytes()) {
        let taken = Cell::new(0);
        let plain = Counted { inner: plain, taken: &taken };
        let mut text = zstd::Decoder::with_buffer(plain).map_err(|error| failed(&error))?;
        // 8 MiB: what `zstd -d` takes without being told to.
        text.window_log_max(23).map_err(|error| failed(&error))?;
        let mut text = Bounded { inner: text, made: 0, taken: &taken };
        let mut start = Vec::new();
        (&mut text).take(pstore::BLOCK as u64).read_to_end(&mut start).map_err(|error| failed(&error))?;
        if start.starts_with(FLATTENED) {
            return Err(not_a_log(path));
        }
        let mut text = start.as_slice().chain(text);
        if pstore::is_archive(&start) {
            return pstore::print(&mut text, out).map_err(|error| failed(&error));
        }
        return copy(&mut text, out, failed);
    }
    copy(&mut plain, out, failed)
}

/// What a compressed log may make: so many bytes, or so many times its own length, as of dumps. Whoever knows a recipient
/// can forge one.
const MOST: u64 = 64 << 20;
const MOST_TIMES: u64 = 4096;

/// Counts what is taken.
struct Counted<'c, R> {
    inner: R,
    taken: &'c Cell<u64>,
}

impl<R: BufRead> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.taken.set(self.taken.get() + count as u64);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.taken.set(self.taken.get() + count as u64);
        self.inner.consume(count);
    }
}

/// Ends with an error where more is made than [`MOST`] and [`MOST_TIMES`] allow.
struct Bounded<'c, R> {
    inner: R,
    made: u64,
    taken: &'c Cell<u64>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.made += count as u64;
        if self.made > MOST && self.made / MOST_TIMES > self.taken.get() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it makes thousands of times its own length: no kernel writes such a log",
            ));
        }
        Ok(count)
    }
}

/// How makedumpfile's flattened stream starts.
const FLATTENED: &[u8] = b"makedumpfile";

fn not_a_log(path: &Path) -> Failure {
    let message = format!("reading the kernel log of {}: it is a dump, not a log", input_name(path));
    let hint = if path == Path::new("-") {
        "a dump must be a file that can seek"
    } else {
        "it is another collector's: restore it, and crash prints its log"
    };
    Failure::new(Status::Failure, message).hint(hint)
}

fn copy(
    from: &mut dyn Read,
    out: &mut dyn Write,
    failed: impl Fn(&io::Error) -> Failure,
) -> Result<(), Failure> {
    let mut piece = vec![0; 64 << 10];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            // Whoever knows a recipient can make a log that holds anything.
            Ok(read) => write_shown(&piece[..read], out).map_err(|error| written(&error))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(&error)),
        }
    }
}
