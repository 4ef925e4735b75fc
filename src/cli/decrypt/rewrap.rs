//! `vmcore-decrypt rewrap DUMP [OUT]`: other recipients, by a new header; the payload stays as it is. Of a dump in parts all
//! are rewrapped together: no new file has its name before each of them is whole.

use super::super::creating::{creating, full_hint, stdout_failure};
use super::super::recipients::RecipientArgs;
use super::super::signals::remove_unfinished_on_signals;
use super::super::{Failure, Status, input_name, output_name, quoted, say, status};
use super::input::{self, IdentityArgs};
use super::restore::watched;
use super::{PROGRAM, apart, with_entropy};
use crate::blocks::{Frame, Head, Splitter};
use crate::crypt::rewrap::{Former, Opened, Rewrapped};
use crate::crypt::{self, Header, Identities, Recipients, rewrap};
use crate::reader::Joined;
use crate::sink::{OutputFile, Stream, special};
use crate::trust;
use clap::Args as ClapArgs;
use std::fs;
use std::io::{self, BufRead};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The arguments of `rewrap`.
#[derive(ClapArgs, Debug)]
#[command(override_usage = "vmcore-decrypt rewrap [OPTIONS] <DUMP> <OUTPUT>
       vmcore-decrypt rewrap [OPTIONS] <DUMP>... <DIRECTORY>
       vmcore-decrypt rewrap [OPTIONS] --in-place <DUMP>...")]
#[command(after_help = status::help("Examples:
  vmcore-decrypt rewrap -i key.txt -r age1... vmcore.age for-the-vendor.age
  vmcore-decrypt rewrap -i key.txt -R team.txt --in-place vmcore.age
  vmcore-decrypt rewrap -i key.txt -r age1... --add --in-place vmcore.age
  vmcore-decrypt rewrap -i key.txt -R vendor.txt part1.age part2.age for-the-vendor/

The payload is copied, not decrypted, and the file key stays the same: whoever could open the old file can open \
the new one too, with the old header or the key they kept. This hands a dump over, it takes nothing back; only a \
new dump of the restored memory has a new key. The new file appears whole or not at all.", status::OPENING))]
pub(super) struct Args {
    #[command(flatten)]
    identities: IdentityArgs,
    #[command(flatten)]
    recipients: RecipientArgs,
    /// Overwrite an existing output file, or the dump itself where no output is named
    #[arg(short = 'f', long)]
    force: bool,
    /// Replace the dump itself, or all parts of one
    #[arg(long)]
    in_place: bool,
    /// Keep the recipients that the dump has, beside the new ones
    #[arg(long)]
    add: bool,

    /// The encrypted dump, or an encrypted log; of a dump in parts all parts. The last word is OUTPUT, the file for the new
    /// recipients (- is standard output), or for several parts a directory; with --in-place there is none
    #[arg(value_name = "DUMP", required = true)]
    words: Vec<PathBuf>,
}

/// One file on its way.
struct Job {
    dump: PathBuf,
    /// The file that is read: in place it is the one that is replaced, since what a link leads to may change at any time.
    from: PathBuf,
    /// The file that is written, and whether it may replace one.
    to: PathBuf,
    overwrite: bool,
}

type Input = Box<dyn BufRead + Send>;

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    args.check_replaced()?;
    let jobs = args.jobs()?;
    let identities = args.identities.read(args.dumps())?;
    let recipients = args.recipients.read_typed()?;
    let former = if args.add { Former::Kept } else { Former::Dropped };
    let opened = jobs.iter().map(|job| open(job, &recipients, &identities)).collect::<Result<Vec<_>, _>>()?;
    check_parts(&jobs, &opened)?;
    check_places(&jobs)?;
    remove_unfinished_on_signals()?;
    let (mut made, mut fault) = (Vec::new(), None);
    for (job, opened) in jobs.iter().zip(opened) {
        let mut stream = open_output(&job.to, job.overwrite)?;
        let copied = with_entropy(|entropy| {
            entropy.wait()?;
            opened.copy(&mut stream, &recipients, former)
        });
        let Rewrapped { fault: found, .. } = copied.map_err(|error| job.failure(&error))?;
        fault = fault.or(found.map(|found| input::stream_failure(&job.dump, &found)));
        made.push(stream);
    }
    for (job, stream) in jobs.iter().zip(made) {
        stream.finish().map_err(|error| job.write_failure(&error))?;
    }
    let is_are = if jobs.len() == 1 { "is" } else { "are" };
    let outputs = jobs.iter().map(|job| output_name(&job.to)).collect::<Vec<_>>().join(", ");
    let text = format!("{outputs} {is_are} now for {}", names(&recipients));
    say(
        PROGRAM,
        "note",
        &match former {
            Former::Dropped => text,
            Former::Kept => text + ", and as before for its former recipients",
        },
    );
    fault.map_or(Ok(()), Err)
}

/// Opens a dump and unwraps its key.
fn open(job: &Job, recipients: &Recipients, identities: &Identities) -> Result<Opened<Input>, Failure> {
    let mut dump = watched("rewrapping", &job.from)?;
    let failed = |cause: &crypt::Error| input::crypt_failure(&job.dump, cause);
    let old = Header::read(&mut dump).map_err(|cause| failed(&cause))?;
    warn_of_downgrade(&old, recipients);
    Opened::new(old, dump, identities).map_err(|cause| failed(&cause))
}

/// Refuses several files that are not all parts of one dump; of one file reports which part it is. A part of which the beginning
/// is damaged may be any.
fn check_parts(jobs: &[Job], opened: &[Opened<Input>]) -> Result<(), Failure> {
    let heads: Vec<Option<Head>> = opened.iter().map(head).collect();
    if let ([job], [head]) = (jobs, &heads[..]) {
        input::warn_of_part(&job.dump, head.as_ref().and_then(|head| head.part.as_ref()));
        return Ok(());
    }
    let names = || input::names(&jobs.iter().map(|job| job.dump.clone()).collect::<Vec<_>>());
    let refused = |why: &str| {
        Failure::new(Status::Failure, format!("rewrapping {}: joining the parts of a dump: {why}", names()))
            .hint("name every part of one dump once; other dumps are rewrapped one by one")
    };
    let mut joined = Joined::default();
    heads.iter().flatten().try_for_each(|head| joined.begin(head)).map_err(|why| refused(&why))?;
    let unknown = heads.iter().filter(|head| head.is_none()).count();
    for job in jobs.iter().zip(&heads).filter(|(_, head)| head.is_none()).map(|(job, _)| job) {
        let text = format!("{}: its beginning does not tell which part it is", input_name(&job.dump));
        say(PROGRAM, "warning", &text);
    }
    match joined.partial() {
        Ok((_, missing)) if missing.count > unknown as u64 => Err(refused(&missing.to_string())),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Refuses two files of one name.
fn check_places(jobs: &[Job]) -> Result<(), Failure> {
    let mut places: Vec<&Path> = jobs.iter().map(|job| job.to.as_path()).collect();
    places.sort_unstable();
    match places.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let message = format!("rewrapping to {}: two files would have this name", quoted(pair[0]));
            Err(Failure::new(Status::Usage, message)
                .hint("rewrap them with --in-place, or give them other names"))
        }
        None => Ok(()),
    }
}

/// The head of a dump, where its first chunk has it.
fn head(opened: &Opened<Input>) -> Option<Head> {
    let mut frames = Splitter::default();
    frames.feed(&opened.start()?);
    match frames.next_frame().ok()?? {
        (_, _, Frame::Tagged { tag: Head::TAG, content }) => Head::parse(&content).ok(),
        _ => None,
    }
}

impl Job {
    /// What stopped the copy.
    fn failure(&self, error: &crypt::Error) -> Failure {
        match error {
            crypt::Error::Io(cause) => {
                Failure::caused(format!("copying {} to {}", input_name(&self.dump), quoted(&self.to)), cause)
                    .status(input::read_status(cause))
                    .maybe_hint(full_hint(cause, "free some room"))
            }
            cause => input::crypt_failure(&self.dump, cause),
        }
    }

    fn write_failure(&self, error: &io::Error) -> Failure {
        Failure::caused(format!("writing {}", output_name(&self.to)), error)
            .maybe_hint(full_hint(error, "free some room"))
    }
}

/// Opens the output, which is a file beside `path` until it is whole.
pub(super) fn open_output(path: &Path, overwrite: bool) -> Result<Stream, Failure> {
    if special::is_stdout(path) {
        let terminal = "writing an encrypted stream to a terminal is refused";
        return Stream::stdout().map_err(|error| stdout_failure(&error, terminal));
    }
    let file = match special::kind(path) {
        Some(_) => OutputFile::special(path),
        None => OutputFile::create_beside(path, overwrite),
    };
    file.map(Stream::file).map_err(|error| creating(path, &error))
}

/// The file that is replaced in place: what a symlink points to, so that no copy with the old header stays there. Other
/// hard links to it would be such copies, and only their names can be taken away. A link that others can change would let
/// them choose which file is replaced.
fn replaced(dump: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: &io::Error| Failure::caused(format!("opening dump {}", quoted(dump)), error);
    let path = fs::canonicalize(dump).map_err(|error| failed(&error))?;
    if std::path::absolute(dump).map_err(|error| failed(&error))? != path {
        trust::check(Path::new("/"), dump).map_err(|error| {
            Failure::caused(format!("replacing {}: it is reached by a link", quoted(dump)), &error)
                .hint("name the file itself: links are followed only where nobody else can change them")
        })?;
    }
    let links = fs::metadata(&path).map_err(|error| failed(&error))?.nlink();
    if links > 1 {
        let text = format!(
            "{} has {} more names (hard links), which keep the dump with its old header",
            quoted(&path),
            links - 1
        );
        say(PROGRAM, "warning", &text);
    }
    Ok(path)
}

/// Before anything is written: the old header resists quantum computers, the new one would not.
pub(super) fn warn_of_downgrade(old: &Header, recipients: &Recipients) {
    if let Some(kind) = rewrap::downgrade(old, recipients) {
        let text = format!(
            "the dump was closed to quantum computers, and recipient {kind} does not keep it so: whoever stores the new \
             file may open it later"
        );
        say(PROGRAM, "warning", &text);
        say(PROGRAM, "hint", "vmcore-decrypt keygen --pq makes a post-quantum identity");
    }
}

impl Args {
    /// The dump, or its parts, and the output where there is one.
    fn split(&self) -> (&[PathBuf], Option<&Path>) {
        match &self.words[..] {
            all if self.in_place => (all, None),
            [dumps @ .., output] if !dumps.is_empty() => (dumps, Some(output)),
            all => (all, None),
        }
    }

    fn dumps(&self) -> &[PathBuf] {
        self.split().0
    }

    /// What is read and where it goes. Nothing that is read is overwritten on the way.
    fn jobs(&self) -> Result<Vec<Job>, Failure> {
        let (dumps, output) = self.split();
        let jobs = dumps.iter().map(|dump| match output {
            None => self.in_place(dump),
            Some(output) if dumps.len() == 1 => self.to_file(dump, output.to_owned()),
            Some(directory) => self.to_directory(dump, directory),
        });
        jobs.collect()
    }

    fn to_file(&self, dump: &Path, to: PathBuf) -> Result<Job, Failure> {
        self.identities.apart_from(&to, self.dumps())?;
        apart::check(&to, self.recipients.named_files().iter().map(PathBuf::as_path))?;
        Ok(Job { dump: dump.to_owned(), from: dump.to_owned(), to, overwrite: self.force })
    }

    fn to_directory(&self, dump: &Path, directory: &Path) -> Result<Job, Failure> {
        let usage = |message: String, hint: &str| Err(Failure::new(Status::Usage, message).hint(hint));
        if !directory.is_dir() {
            let message = format!("rewrapping to {}: several files need a directory", output_name(directory));
            return usage(message, "name a directory at last, or replace the files with --in-place");
        }
        match dump.file_name() {
            Some(name) => self.to_file(dump, directory.join(name)),
            None => usage(format!("rewrapping {}: it has no name", input_name(dump)), "rewrap it by itself"),
        }
    }

    fn in_place(&self, dump: &Path) -> Result<Job, Failure> {
        if dump == Path::new("-") {
            return Err(nowhere());
        }
        let why = match dump.to_str() {
            Some(name) if input::is_url(name) => Some("it is on a server"),
            _ => crate::reader::is_in_pieces(dump).then_some("it is the first of several files"),
        };
        if let Some(why) = why {
            let message = format!("replacing {}: {why}", input_name(dump));
            return Err(Failure::new(Status::Usage, message).hint("name another file for the new dump"));
        }
        let path = replaced(dump)?;
        self.identities.apart_from(&path, &[])?;
        apart::check(&path, self.recipients.named_files().iter().map(PathBuf::as_path))?;
        Ok(Job { dump: dump.to_owned(), from: path.clone(), to: path, overwrite: true })
    }

    /// Without an output the dump is replaced, and its recipients can lose it: only when that is asked for.
    fn check_replaced(&self) -> Result<(), Failure> {
        let (dumps, output) = self.split();
        if output.is_some() || self.in_place || self.force {
            return Ok(());
        }
        let message = format!("replacing {}: no other file is named", input::names(dumps));
        Err(Failure::new(Status::Usage, message)
            .hint("--in-place replaces the dump; or name a file for the new one"))
    }
}

/// Recipients by kind and text, of which post-quantum ones have two thousand letters.
fn names(recipients: &Recipients) -> String {
    let name = |text: &str| match text.get(..SHOWN) {
        Some(start) if text.len() > 2 * SHOWN => format!("{start}..."),
        _ => text.to_owned(),
    };
    let names = recipients.iter().map(|one| format!("{} ({})", name(&one.to_string()), one.kind()));
    names.collect::<Vec<_>>().join(", ")
}

/// Letters shown of a long recipient.
const SHOWN: usize = 40;

fn nowhere() -> Failure {
    Failure::new(Status::Usage, "rewrapping standard input: there is no file to replace")
        .hint("name a file for the new dump after the -")
}
