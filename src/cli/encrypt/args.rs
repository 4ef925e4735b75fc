//! What can be typed to collect a dump, and what it amounts to: makedumpfile's command line with its
//! meanings, its refusals, and what is ours.

use super::super::beyond::BeyondArgs;
use super::super::progress::is_quiet;
use super::super::recipients::RecipientArgs;
use super::super::{Failure, Status, quoted};
use super::foreign::ForeignArgs;
use super::output::Place;
#[cfg(feature = "upload")]
use super::upload::{StorePlace, UploadArgs};
use crate::filter::{Beyond, DumpLevel};
use crate::sink::continued::is_named_after;
use crate::text::size;
use clap::Args as ClapArgs;
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// The most parts of a dump: more than any machine has disks for it.
const MAX_PARTS: usize = 64;
/// zstd level of `-l`, of the default, and of `-z`.
const LEVELS: [i32; 3] = [-1, 1, 3];

/// Whether a dump file is a URL: no file system has such a path.
pub(super) fn is_url(name: &str) -> bool {
    let scheme = name.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// The collector's own arguments.
#[derive(ClapArgs, Debug)]
// An optional group of arguments is there when a member is; clap fills no members in where groups nest.
#[group(id = "dump", args = ["vmcore"])]
pub(super) struct Args {
    #[cfg_attr(
        feature = "convert",
        doc = "The vmcore: /proc/vmcore in the capture kernel, or a dump that is there already: an ELF core, a kdump-compressed file \
               or a flattened one; - is standard input"
    )]
    #[cfg_attr(
        not(feature = "convert"),
        doc = "The vmcore: /proc/vmcore in the capture kernel, or a copy of one"
    )]
    pub vmcore: PathBuf,
    /// The dump file; standard output when absent, - or with -F. With --split several, one for each part
    #[arg(value_name = "DUMPFILE")]
    dumpfiles: Vec<PathBuf>,

    #[command(flatten)]
    filter: FilterArgs,
    /// Who can open the dump.
    #[command(flatten)]
    pub recipients: RecipientArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[cfg(feature = "upload")]
    #[command(flatten)]
    upload: UploadArgs,
    #[command(flatten)]
    messages: MessageArgs,
    #[command(flatten)]
    foreign: ForeignArgs,
}

#[derive(ClapArgs, Debug)]
#[command(next_help_heading = "Pages")]
struct FilterArgs {
    /// Which pages to leave out: sum of 1 zero, 2 non-private cache, 4 all cache, 8 user, 16 free.
    /// With several levels the next one is tried when the dump gets too large for the one before
    #[arg(
        short = 'd',
        long = "dump-level",
        value_name = "N[,N...]",
        value_delimiter = ',',
        default_value = "31"
    )]
    levels: Vec<DumpLevel>,
    #[command(flatten)]
    beyond: BeyondArgs,
    /// Save the kernel log alone, as the dmesg sub-command does
    #[arg(long, conflicts_with = "dry_run")]
    dump_dmesg: bool,
    /// With --dump-dmesg: only messages after the last clearing of the log
    #[arg(long, requires = "dump_dmesg")]
    partial_dmesg: bool,
}

#[derive(ClapArgs, Debug)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// Compress as makedumpfile's default would: zstd level 1 (the default)
    #[arg(short = 'c', group = "preset")]
    compress: bool,
    /// Compress fast: zstd level -1
    #[arg(short = 'l', group = "preset")]
    fast: bool,
    /// Compress fast: the same as -l
    #[arg(short = 'p', group = "preset")]
    snappy: bool,
    /// Compress small: zstd level 3
    #[arg(short = 'z', group = "preset")]
    small: bool,
    /// zstd level of the dump
    #[arg(long, value_name = "LEVEL", group = "preset", allow_hyphen_values = true,
          value_parser = clap::value_parser!(i32).range(-7..=19))]
    compress_level: Option<i32>,
    /// Write to standard output (the dump is a stream in any case)
    #[arg(short = 'F', conflicts_with = "dumpfiles")]
    flattened: bool,
    /// Write to this partition itself: no file system, nothing else on it; the next boot collects it
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["dumpfiles", "flattened", "framed"])]
    output_device: Option<PathBuf>,
    /// With --output-device /dev/disk/by-...: what may be overwritten there, as the refusal calls it
    #[arg(long, value_name = "NAME", requires = "output_device")]
    allow_signature: Option<String>,
    /// On standard output: frame the dump as --output-device does, for a program that writes the partition
    #[arg(long, conflicts_with = "dumpfiles")]
    framed: bool,
    /// Write the dump to several files at the same time, each a part of it: DUMPFILE DUMPFILE...
    #[arg(long, conflicts_with_all = ["flattened", "framed", "output_device"])]
    split: bool,
    /// Overwrite an existing dump file, which goes at once; a FIFO or character device is written to, a link refused
    #[arg(short = 'f', long)]
    force: bool,
    /// The most bytes the dump may take, with a suffix K M G T P E; a dump that would take more ends
    /// early and reports it
    #[arg(short = 'L', long, value_name = "SIZE", value_parser = size::parse)]
    limit: Option<u64>,
    /// Leave an unfinished dump file in place when an error or a signal ends the run; the default where its name
    /// contains "-incomplete" or ".incomplete"
    #[arg(long)]
    keep_incomplete: bool,
    /// Read /proc/vmcore page by page instead of mapping it: slower, for kernels that cannot map it right
    #[arg(long)]
    non_mmap: bool,
    /// Do everything but write
    #[arg(long)]
    dry_run: bool,
    /// Encrypt the files that makedumpfile --split made of one dump as one dump: PART PART... DUMPFILE
    #[cfg(feature = "convert")]
    #[arg(long, conflicts_with_all = ["split", "flattened", "framed", "output_device", "dump_dmesg"])]
    reassemble: bool,
    /// Remove the input, a file, once the dump is on the disk, was read back, and holds every page of it
    #[cfg(feature = "convert")]
    #[arg(long, conflicts_with_all = ["split", "flattened", "framed", "output_device", "dry_run", "dump_dmesg"])]
    remove_source: bool,
    /// With --remove-source: remove the input also where the level leaves pages of it out
    #[cfg(feature = "convert")]
    #[arg(long, requires = "remove_source")]
    allow_fewer_pages: bool,
    /// Threads that read, compress and encrypt [default: one per CPU]
    #[arg(long, value_name = "N")]
    num_threads: Option<usize>,
}

#[derive(ClapArgs, Debug)]
#[command(next_help_heading = "Messages")]
struct MessageArgs {
    /// Which messages: sum of 1 progress, 2 common, 4 errors (always shown), 8 debug, 16 report
    #[arg(long, value_name = "N", default_value_t = 23, hide_default_value = true,
          value_parser = clap::value_parser!(u8).range(0..=31))]
    message_level: u8,
    /// Debug messages too
    #[arg(short = 'D')]
    debug: bool,
    /// The report even where --message-level leaves it out
    #[arg(long)]
    show_stats: bool,
    /// Exit with 0 in place of 6 when the dump is whole but needs a warning: for scripts that know no other success
    #[arg(long)]
    warnings_exit_0: bool,
    /// Check the command line and the recipients, then exit
    #[arg(long)]
    check_params: bool,
}

/// makedumpfile's kinds of messages; errors are always shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message {
    /// Progress.
    Progress = 1,
    /// What was done.
    Common = 2,
    /// Details for finding faults.
    Debug = 8,
    /// Page counts.
    Report = 16,
}

impl Args {
    /// Dump levels, in the order they are tried.
    pub(super) fn levels(&self) -> &[DumpLevel] {
        &self.filter.levels
    }

    /// What is left out beyond makedumpfile, given the level of a dump that was made before: where that leaves out cache, user
    /// and free pages already, conversion keeps every page.
    pub(super) fn beyond(&self, former: Option<DumpLevel>) -> Beyond {
        self.filter.beyond.beyond(former.is_none_or(|level| !level.keeps_kernel_alone()))
    }

    /// Whether only the kernel log is wanted.
    pub(super) fn dumps_log(&self) -> bool {
        self.filter.dump_dmesg
    }

    /// Whether only the newer part of the log is wanted.
    pub(super) fn partial_log(&self) -> bool {
        self.filter.partial_dmesg
    }

    /// Whether the vmcore is to be read by position only.
    pub(super) fn is_unmapped(&self) -> bool {
        self.output.non_mmap
    }

    /// The dump file, where the input is to be removed after all; and whether pages may be left out then.
    #[cfg(feature = "convert")]
    pub(super) fn removes_source(&self) -> Option<(Option<&Path>, bool)> {
        let output = &self.output;
        let dump = || self.outputs().first().map(PathBuf::as_path);
        output.remove_source.then(|| (dump(), output.allow_fewer_pages))
    }

    /// Whether the input is several files.
    #[cfg(feature = "convert")]
    pub(super) fn reassembles(&self) -> bool {
        self.output.reassemble
    }

    #[cfg(not(feature = "convert"))]
    #[expect(clippy::unused_self, reason = "it has a use with the feature")]
    fn reassembles(&self) -> bool {
        false
    }

    /// How many of the words after the first are input as well: all but the last.
    fn more_inputs(&self) -> usize {
        if self.reassembles() { self.dumpfiles.len().saturating_sub(1) } else { 0 }
    }

    /// The files that are read.
    pub(super) fn inputs(&self) -> Vec<PathBuf> {
        let more = self.dumpfiles.iter().take(self.more_inputs());
        std::iter::once(&self.vmcore).chain(more).cloned().collect()
    }

    /// The dump files.
    fn outputs(&self) -> &[PathBuf] {
        self.dumpfiles.get(self.more_inputs()..).unwrap_or_default()
    }

    /// Whether checking the command line is all there is to do.
    pub(super) fn checks_only(&self) -> bool {
        self.messages.check_params
    }

    /// Whether a whole dump that needs a warning is a success.
    pub(super) fn warnings_exit_0(&self) -> bool {
        self.messages.warnings_exit_0
    }

    #[cfg(feature = "check")]
    /// Whether the words ask for a dump at all.
    pub(super) fn saves(&self) -> bool {
        !self.dumps_log() && !self.checks_only() && !self.output.dry_run
    }

    #[cfg(feature = "check")]
    /// Whether the end of the dump is marked on a raw partition.
    pub(super) fn marks_end(&self) -> bool {
        self.output.framed || self.output.output_device.is_some()
    }

    /// The most bytes the dump may take.
    pub(super) fn limit(&self) -> Option<u64> {
        self.output.limit
    }

    /// Whether messages of a kind are shown.
    pub(super) fn shows(&self, message: Message) -> bool {
        let messages = &self.messages;
        (messages.message_level & message as u8 != 0 && !is_quiet())
            || match message {
                Message::Debug => messages.debug,
                Message::Report => messages.show_stats,
                Message::Progress | Message::Common => false,
            }
    }

    /// zstd level of the dump.
    pub(super) fn compression(&self) -> i32 {
        let [fast, usual, small] = LEVELS;
        match &self.output {
            OutputArgs { compress_level: Some(level), .. } => *level,
            OutputArgs { fast: true, .. } | OutputArgs { snappy: true, .. } => fast,
            OutputArgs { small: true, .. } => small,
            _ => usual,
        }
    }

    /// How many threads work. makedumpfile's `--num-threads 0` means no extra thread.
    pub(super) fn threads(&self) -> NonZero<usize> {
        let cpus = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        self.output.num_threads.map_or(cpus, |threads| NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN))
    }

    /// Where the dump goes: one place, or with --split one for each part.
    pub(super) fn places(&self) -> Result<Vec<Place>, Failure> {
        let (output, files) = (&self.output, self.outputs());
        if self.reassembles() && self.more_inputs() == 0 {
            let message = "--reassemble needs the files that makedumpfile --split made, and a dump file";
            return Err(Failure::new(Status::Usage, message)
                .hint("vmcore-encrypt --reassemble PART PART... DUMPFILE"));
        }
        match (output.split, files.len()) {
            (true, 2..=MAX_PARTS) => {
                check_names(files)?;
                return files.iter().map(|path| self.file(path)).collect();
            }
            (true, _) => {
                let message = format!("--split needs 2 to {MAX_PARTS} dump files");
                return Err(Failure::new(Status::Usage, message).hint("name a dump file for each part"));
            }
            (false, 2..) => {
                let message = "several dump files without --split";
                return Err(Failure::new(Status::Usage, message)
                    .hint("name one dump file, or add --split for a part of the dump in each"));
            }
            (false, _) => {}
        }
        if let Some(path) = &output.output_device {
            return Ok(vec![self.device(path)?]);
        }
        #[cfg(feature = "upload")]
        if self.upload.is_presigned() && !output.dry_run {
            return Ok(vec![Place::Store(StorePlace::new("", &self.upload))]);
        }
        Ok(vec![match files.first() {
            _ if output.dry_run => Place::Nothing,
            None if output.framed => Place::FramedStdout,
            None => Place::Stdout,
            Some(path) => self.file(path)?,
        }])
    }

    fn file(&self, path: &Path) -> Result<Place, Failure> {
        let output = &self.output;
        match path.to_str().filter(|name| is_url(name)) {
            _ if output.dry_run => Ok(Place::Nothing),
            Some(url) => self.store(url),
            None => Ok(Place::file(path, output.force, output.keep_incomplete)),
        }
    }

    #[cfg(feature = "upload")]
    fn store(&self, url: &str) -> Result<Place, Failure> {
        Ok(Place::Store(StorePlace::new(url, &self.upload)))
    }

    #[cfg(not(feature = "upload"))]
    #[expect(clippy::unused_self, reason = "it has a use with the feature")]
    fn store(&self, url: &str) -> Result<Place, Failure> {
        let message =
            format!("opening {}: this program was built without the feature upload", quoted(Path::new(url)));
        Err(Failure::new(Status::Usage, message).hint(super::super::version::how_to_get("upload")))
    }

    /// The partition, in whose place another may be after a disk was added: only a lasting name may overwrite
    /// what is known to be something.
    fn device(&self, path: &Path) -> Result<Place, Failure> {
        let output = &self.output;
        let lasting = path.to_string_lossy().contains("/disk/by-");
        if output.allow_signature.is_some() && !lasting {
            let message =
                format!("--allow-signature needs a lasting name of the device, not {}", quoted(path));
            return Err(Failure::new(Status::Usage, message).hint("name it as /dev/disk/by-partuuid/..."));
        }
        if output.dry_run {
            Ok(Place::Nothing)
        } else {
            Ok(Place::Device { path: path.to_owned(), allowed: output.allow_signature.clone() })
        }
    }

    /// Refuses what cannot be done and combinations that contradict themselves; reports what has no effect.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.refuse()?;
        self.foreign.report();
        #[cfg(feature = "upload")]
        if !self.uses_store()? {
            self.upload.report_unused();
        }
        Ok(())
    }

    /// Refuses what cannot be done and combinations that contradict themselves.
    pub(super) fn refuse(&self) -> Result<(), Failure> {
        self.check_elf()?;
        self.foreign.refuse()?;
        #[cfg(feature = "upload")]
        if self.upload.probes() && !self.uses_store()? {
            let message = "--probe needs a store as the dump file";
            return Err(Failure::new(Status::Usage, message).hint("the words are VMCORE s3://BUCKET/PREFIX/"));
        }
        if self.places()?.iter().any(|place| !place.can_begin_anew())
            && self.levels().len() > 1
            && self.limit().is_some()
        {
            let message = "several dump levels with -L need a dump file: what went to standard output stays";
            return Err(Failure::new(Status::Usage, message).hint("give one level, or name a dump file"));
        }
        Ok(())
    }

    /// Whether the dump goes to a store, or would without --dry-run.
    #[cfg(feature = "upload")]
    fn uses_store(&self) -> Result<bool, Failure> {
        Ok(self.output.dry_run || self.places()?.iter().any(|place| matches!(place, Place::Store(_))))
    }

    /// makedumpfile's own rules for `-E`.
    fn check_elf(&self) -> Result<(), Failure> {
        let output = &self.output;
        let compressed = output.compress || output.fast || output.snappy || output.small;
        if self.foreign.has("-E") && (compressed || output.num_threads.is_some() || output.split) {
            Err(Failure::new(
                Status::Usage,
                "-E does not go with -c, -l, -p, -z, --num-threads and --split, as in makedumpfile",
            ))
        } else {
            Ok(())
        }
    }
}

/// Refuses parts of which one has the name that another would go on in.
fn check_names(parts: &[PathBuf]) -> Result<(), Failure> {
    let clash = parts.iter().find(|part| parts.iter().any(|other| is_named_after(part, other)));
    let Some(part) = clash else { return Ok(()) };
    let message = format!(
        "creating {}: another part goes on in it where the file system ends files early",
        quoted(part)
    );
    Err(Failure::new(Status::Usage, message).hint("give the parts other names, as part1, part2"))
}
