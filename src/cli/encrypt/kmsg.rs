//! `vmcore-encrypt kmsg [--follow]`: the running kernel's log as encrypted lines on standard output.

use super::super::recipients::{RecipientArgs, failure};
use super::super::{Failure, quoted, say, status, stdout};
use super::dmesg::left_out;
use super::{PROGRAM, with_entropy};
use crate::crypt;
use crate::kmsg::{Device, Error, Lines, RecordSource, Writer};
use clap::Args as ClapArgs;
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const DEVICE: &str = "/dev/kmsg";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The arguments of `kmsg`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-encrypt kmsg --follow | logger -t kmsg
  vmcore-encrypt kmsg > /dev/ttyS0

Read it with vmcore-decrypt kmsg. Lines are printable and at most 900 bytes long.", status::SAVING))]
pub(super) struct Args {
    #[command(flatten)]
    recipients: RecipientArgs,
    /// Go on with messages as they come; without it the log as it is now is printed
    #[arg(short = 'w', long)]
    follow: bool,
    /// Read records in the form of /dev/kmsg from this file instead
    #[arg(long, value_name = "FILE", conflicts_with = "follow")]
    input: Option<PathBuf>,
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message. Nothing was written unless the log could be opened.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let recipients = args.recipients.read_trusted()?;
    let path = args.input.as_deref().unwrap_or(Path::new(DEVICE));
    let mut source = open(path, args.follow).map_err(|error| {
        Failure::caused(format!("opening {}", quoted(path)), &error).maybe_hint(hint(&error))
    })?;
    if args.follow {
        // For as long as the machine runs, the key would have many chances to reach swap.
        lock_memory();
    }
    let out =
        stdout::text_that_counts().map_err(|error| Failure::caused("writing to standard output", &error))?;
    let boot = args.input.is_none().then(boot_id).flatten();
    with_entropy(|entropy| {
        let mut writer = Writer::open(out, &recipients, entropy, boot.as_deref())?;
        writer.copy(&mut *source)?;
        writer.finish().map(|_| ())
    })
    .map_err(|error| match error {
        Error::Crypt(error) => failure("encrypting the kernel log", &error),
        Error::NotARecord(_) => Failure::caused(format!("reading {}", quoted(path)), &error)
            .hint("the input must be what reading /dev/kmsg gives, not what dmesg prints"),
        error => Failure::caused(format!("encrypting {}", quoted(path)), &error),
    })?;
    left_out(&recipients, &format!("encrypting {}", quoted(path)))
}

fn open(path: &Path, follow: bool) -> io::Result<Box<dyn RecordSource>> {
    let wait = if follow { OFlags::empty() } else { OFlags::NONBLOCK };
    if !fs::metadata(path)?.file_type().is_char_device() {
        return Ok(Box::new(Lines::new(BufReader::new(File::open(path)?))));
    }
    let flags = wait.bits().cast_signed();
    Ok(Box::new(Device::new(OpenOptions::new().read(true).custom_flags(flags).open(path)?)))
}

fn hint(error: &io::Error) -> Option<&'static str> {
    (error.kind() == io::ErrorKind::PermissionDenied)
        .then_some("reading the kernel log takes CAP_SYSLOG where kernel.dmesg_restrict is 1")
}

fn lock_memory() {
    if let Err(error) = crypt::lock_memory() {
        let text = Failure::caused("memory is not locked, the key may reach swap", &error);
        say(PROGRAM, "note", text.message());
    }
}

/// Which boot this is, so that a log that is read twice is not printed twice.
fn boot_id() -> Option<String> {
    let id = fs::read_to_string(BOOT_ID).ok()?;
    let id = id.trim_end();
    (id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')).then(|| id.to_owned())
}
