//! `vmcore-encrypt collect --device D --dest DIR`: at the boot after a crash, copies the dump from a raw partition
//! into a file and frees the partition. Needs no key; what it copies stays encrypted.

use super::super::{Failure, quoted, say, status};
use super::PROGRAM;
use crate::raw::{self, End};
use crate::sink::device::FoundDump;
use crate::sink::{OnFailure, OutputFile, create_directory, sync_file};
use clap::Args as ClapArgs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes copied at a time.
const BUFFER: usize = 1 << 20;

/// The arguments of `collect`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-encrypt collect --device /dev/disk/by-partlabel/crash --dest /var/crash

The file is called vmcore-ID.age, or vmcore-ID-incomplete.age when the dump was cut.
With nothing to collect it is done; after a failure the dump is still on the device.", status::BASIC))]
pub struct Args {
    /// The partition that --output-device or --framed wrote
    #[arg(long)]
    device: PathBuf,
    /// The directory for the file; made when absent
    #[arg(long, value_name = "DIRECTORY")]
    dest: PathBuf,
}

/// Runs the sub-command.
///
/// # Errors
/// What stopped it, ready to be said; the dump is then still on the device.
pub fn run(args: &Args) -> Result<(), Failure> {
    let device = quoted(&args.device);
    let opened = FoundDump::open(&args.device);
    let Some(mut dump) = opened.map_err(|error| Failure::caused(format!("opening {device}"), &error))? else {
        say(PROGRAM, "note", &format!("no dump is on {device}"));
        return Ok(());
    };
    let names = Names::new(&args.dest, &raw::show_id(&dump.reader.header().id));
    // The power may have failed behind the copying: the same dump is not copied twice.
    match names.whole.exists() {
        true => find_again(&device, &names)?,
        false => copy(&device, &mut dump, &names)?,
    }
    dump.wipe().map_err(|error| Failure::caused(format!("freeing {device}"), &error))
}

/// The names a dump may get.
struct Names {
    whole: PathBuf,
    incomplete: PathBuf,
    copying: PathBuf,
}

impl Names {
    fn new(directory: &Path, id: &str) -> Names {
        let name = |end: &str| directory.join(format!("vmcore-{id}{end}"));
        Names { whole: name(".age"), incomplete: name("-incomplete.age"), copying: name(".age.copying") }
    }

    /// Why there is no copy.
    fn failed(&self, error: &io::Error) -> Failure {
        let hint = (error.kind() == io::ErrorKind::StorageFull).then_some("free some room and run it again");
        Failure::caused(format!("writing {}", quoted(&self.whole)), error).maybe_hint(hint)
    }
}

/// Takes the copy of an earlier run, which may have failed where it made the copy last.
fn find_again(device: &str, names: &Names) -> Result<(), Failure> {
    sync_file(&names.whole).map_err(|error| names.failed(&error))?;
    say(PROGRAM, "note", &format!("the dump on {device} is already in {}", quoted(&names.whole)));
    Ok(())
}

/// Copies a dump to a file that lasts.
fn copy(device: &str, dump: &mut FoundDump, names: &Names) -> Result<(), Failure> {
    let writing = |error| names.failed(&error);
    create_directory(names.whole.parent().unwrap_or(Path::new(""))).map_err(writing)?;
    let mut output = OutputFile::create(&names.copying, true, OnFailure::Remove).map_err(writing)?;
    let unreadable = copy_data(&mut dump.reader, output.file()).map_err(writing)?;
    let whole = dump.reader.end() == Some(End::Whole);
    let name = if whole { &names.whole } else { &names.incomplete };
    output.set_name(name);
    output.finish().map_err(writing)?;
    if let Some(error) = unreadable {
        let message = format!("reading {device}: what came before is in {}", quoted(name));
        return Err(Failure::caused(message, &error));
    }
    match whole {
        true => say(PROGRAM, "note", &format!("the dump is collected to {}", quoted(name))),
        false => say(
            PROGRAM,
            "warning",
            &format!("the dump on {device} was cut; what is good of it is collected to {}", quoted(name)),
        ),
    }
    Ok(())
}

/// Copies until the end or the first place that cannot be read, and returns why it cannot.
///
/// # Errors
/// Those of writing.
fn copy_data(reader: &mut impl Read, mut file: &std::fs::File) -> io::Result<Option<io::Error>> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(count) => file.write_all(&buffer[..count])?,
            Err(error) => return Ok(Some(error)),
        }
    }
}
