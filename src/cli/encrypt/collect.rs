//! `vmcore-encrypt collect --device D --dest DIR`: at the boot after a crash, copies the dump from a raw partition
//! into a file and frees the partition. Needs no key; what it copies stays encrypted. Runs as root on bytes that
//! whoever had the disk may have written: it takes only an age file, into a directory that is root's alone.

use super::super::creating::refuse_url;
use super::super::status::{self, Status};
use super::super::{Failure, quoted, say};
use super::PROGRAM;
use crate::crypt::header::Header;
use crate::crypt::stream::ReadAt;
use crate::raw::{End, Quality};
use crate::sink::collected::{self, Collected, Tally};
use crate::sink::device::FoundDump;
use crate::sink::safe_dir::{self, SafeDirectory};
use crate::text::size;
use clap::Args as ClapArgs;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// How every age file begins that a dump can be: a stanza follows the version.
const AGE: &[u8] = b"age-encryption.org/v1\n-> ";

/// The arguments of `collect`.
#[derive(ClapArgs, Debug)]
#[command(after_help = help())]
pub(super) struct Args {
    /// The partition that --output-device or --framed wrote
    #[arg(long)]
    device: PathBuf,
    /// The directory for the file; made when absent. It and all above it must be root's, and nobody else may write
    /// there
    #[arg(long, value_name = "DIRECTORY")]
    dest: PathBuf,
    /// What stays free on the file system of that directory, with a suffix K M G T P E
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = reserve)]
    reserve: u64,
    /// Free the partition of a damaged dump too, once all that can be read of it is copied
    #[arg(long)]
    free_damaged: bool,
}

fn help() -> String {
    let text = "Examples:
  vmcore-encrypt collect --device /dev/disk/by-partlabel/crash --dest /var/crash

The file is called vmcore-ID.age, or vmcore-ID-incomplete.age when the dump was cut or is damaged; a number follows \
the ID where something else has that name. The partition is freed once the copy is read back and equal. That of a \
damaged dump is kept unless --free-damaged is given; that of a cut one is freed.
With status 4 the dump is damaged, or no age file; with 7 it was cut. With 1 it is still on the device.
";
    status::help(
        text.trim_end(),
        &[Status::Done, Status::Failure, Status::Usage, Status::Damaged, Status::Incomplete],
    )
}

/// A reserve, which may be nothing.
fn reserve(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    if !digits.is_empty() && digits.bytes().all(|digit| digit == b'0') { Ok(0) } else { size::parse(text) }
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message; the dump is then still on the device. Or that the dump is cut or damaged.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    refuse_url(&args.dest)?;
    let device = quoted(&args.device);
    let opened = FoundDump::open(&args.device);
    let Some(dump) = opened.map_err(|error| Failure::caused(format!("opening {device}"), &error))? else {
        say(PROGRAM, "note", &format!("no dump is on {device}"));
        return Ok(());
    };
    if !dump.frame().found().is_sound {
        say(
            PROGRAM,
            "warning",
            &format!("the header of the dump on {device} is damaged; its records are used"),
        );
    }
    if dump.frame().is_empty() {
        return free_empty(args, &device, dump);
    }
    check_content(&device, &dump)?;
    let directory =
        SafeDirectory::open_or_create(&args.dest).map_err(|error| unsafe_directory(args, &error))?;
    let collected = collected::collect(&dump, &directory, args.reserve);
    let collected = collected.map_err(|error| failed(args, &dump, &error))?;
    conclude(args, &device, dump, &collected)
}

/// A dump without any data: the capture kernel died at once, and nothing can be lost. With a damaged end record there
/// may have been some.
fn free_empty(args: &Args, device: &str, dump: FoundDump) -> Result<(), Failure> {
    let is_damaged = dump.frame().is_end_damaged();
    if !is_damaged || args.free_damaged {
        free(device, dump)?;
    }
    let message = format!("collecting the dump on {device}: it has no data");
    let status = if is_damaged { Status::Damaged } else { Status::Incomplete };
    Err(Failure::new(status, message).hint("see the console log of the capture kernel"))
}

/// What is no age file was not written by the collector, or its beginning is lost.
fn check_content(device: &str, dump: &FoundDump) -> Result<(), Failure> {
    let frame = dump.frame();
    let header = Header::read(&mut BufReader::new(Front { dump, position: 0 }));
    let mut first = Vec::new();
    let quality = frame
        .read_record(0, &mut first)
        .map_err(|error| Failure::caused(format!("reading {device}"), &error))?;
    // In a damaged or cut header the rest may be what somebody can mend.
    let is_harmed = quality != Quality::Sound || (frame.records() == 1 && frame.end() != End::Whole);
    if header.is_ok() || (is_harmed && first.starts_with(AGE)) {
        Ok(())
    } else {
        let message = format!("collecting the dump on {device}: what is there is no age file");
        Err(Failure::new(Status::Damaged, message)
            .hint("it stays there; if nobody needs it, overwrite the first 4096 bytes of the partition"))
    }
}

/// The dump from its beginning.
struct Front<'a> {
    dump: &'a FoundDump,
    position: u64,
}

impl Read for Front<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.dump.frame().read_at(out, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

fn unsafe_directory(args: &Args, error: &safe_dir::Error) -> Failure {
    let hint = match error {
        safe_dir::Error::Io(_) => None,
        safe_dir::Error::Owner(..) | safe_dir::Error::Writable(..) => {
            Some("choose a directory that root alone can write to, with all above it (COLLECT_DIR)")
        }
        safe_dir::Error::NoDirectory(_) | safe_dir::Error::Parent => {
            Some("name the directory itself, by its full path")
        }
    };
    Failure::caused(format!("opening directory {}", quoted(&args.dest)), error).maybe_hint(hint)
}

fn failed(args: &Args, dump: &FoundDump, error: &io::Error) -> Failure {
    let doing = format!("copying the dump on {} to {}", quoted(&args.device), quoted(&args.dest));
    let hint = (error.kind() == io::ErrorKind::StorageFull).then(|| {
        let (dump, reserve) = (size::show(dump.frame().len()), size::show(args.reserve));
        format!("it takes {dump}, and {reserve} stay free (--reserve): make room and run it again")
    });
    Failure::caused(doing, error).maybe_hint(hint)
}

/// Reports what was collected, and frees the partition where nothing more is to be had of it.
fn conclude(args: &Args, device: &str, dump: FoundDump, collected: &Collected) -> Result<(), Failure> {
    let name = quoted(&Path::new(&args.dest).join(&collected.name));
    let tally = &collected.tally;
    if collected.is_old {
        say(PROGRAM, "note", &format!("the dump on {device} is already in {name}"));
    }
    if tally.is_damaged() && !args.free_damaged {
        return Err(damaged(device, &name, tally)
            .hint("the partition keeps the dump until another crash; --free-damaged frees it"));
    }
    free(device, dump)?;
    if tally.is_damaged() {
        return Err(damaged(device, &name, tally));
    }
    if tally.is_cut {
        let message =
            format!("collecting the dump on {device}: it was cut; what there is of it is in {name}");
        return Err(
            Failure::new(Status::Incomplete, message).hint("see the console log of the capture kernel")
        );
    }
    if !collected.is_old {
        say(PROGRAM, "note", &format!("the dump is collected to {name}"));
    }
    Ok(())
}

fn damaged(device: &str, name: &str, tally: &Tally) -> Failure {
    let counts = [
        (tally.damaged, format!("{} records are damaged", tally.damaged)),
        (tally.absent, format!("{} records are missing", tally.absent)),
        (tally.unreadable, format!("{} bytes cannot be read", tally.unreadable)),
        (u64::from(tally.is_cut), "its end is missing".to_owned()),
    ];
    let found: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
    let message =
        format!("collecting the dump on {device}: {}; all that can be read is in {name}", found.join(", "));
    Failure::new(Status::Damaged, message)
}

fn free(device: &str, dump: FoundDump) -> Result<(), Failure> {
    if !dump.knows_beginning() {
        let text = format!("what was at the beginning of {device} is damaged and does not come back");
        say(PROGRAM, "warning", &text);
    }
    dump.wipe().map_err(|error| Failure::caused(format!("freeing {device}"), &error))
}

#[cfg(test)]
mod tests {
    use super::reserve;

    #[test]
    fn a_reserve_may_be_nothing() {
        assert_eq!(
            ["0", "0M", "00", "64M", "064M"].map(reserve),
            [Ok(0), Ok(0), Ok(0), Ok(64 << 20), Ok(64 << 20)]
        );
        assert!(["", "M", "-1", "x", "1.5G"].into_iter().all(|bad| reserve(bad).is_err()));
    }
}
