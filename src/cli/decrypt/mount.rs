//! `vmcore-decrypt mount DUMP DIR [-- COMMAND]`: mounts, waits for a signal, a foreign unmount or the end
//! of the command, and unmounts.

mod background;
mod command;

use super::super::creating::refuse_url;
use super::super::{Failure, Status, quoted, say, status};
use super::PROGRAM;
use super::input::{self, IdentityArgs, Opened};
use super::tables::UserCache;
use crate::crypt;
use crate::mount::table::{self, Occupant};
use crate::mount::{DumpDirectory, Hooks, Mounted};
use crate::reader::BLOCK_CACHE;
use clap::Args as ClapArgs;
use command::{Event, Signals};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often the program checks whether somebody else unmounted the directory.
const LOOK: Duration = Duration::from_millis(300);

/// Where the kernel lists its swap devices, one a line after a heading. Source: Linux
/// `Documentation/filesystems/proc.rst`.
const SWAPS: &str = "/proc/swaps";

/// The arguments of `mount`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-decrypt mount -i key.txt vmcore.age /mnt
  vmcore-decrypt mount -i key.txt vmcore.age /mnt -- crash vmlinux /mnt/vmcore
  vmcore-decrypt mount -i key.txt vmcore.age /mnt -- drgn -c /mnt/vmcore -s vmlinux
  vmcore-decrypt mount -i key.txt --background vmcore.age /mnt
  vmcore-decrypt mount --unmount /mnt

The directory holds vmcore (kdump-compressed), vmcore.elf, dmesg.txt, report.txt, vmcoreinfo.txt, kallsyms.txt and the \
kernel's types (btf, btf.d), each decrypted where it is read. report.txt uses and fills the cache of report. It is unmounted when the command ends, on Ctrl-C and SIGTERM, or by --unmount or umount.

With COMMAND the exit status is that of the command: 128 and the number of the signal that ended it, \
127 when it is not found, 126 when it cannot be run.", status::OPENING))]
#[command(override_usage = "vmcore-decrypt mount [OPTIONS] <DUMP>... <DIRECTORY> [-- <COMMAND>...]
       vmcore-decrypt mount --unmount <DIRECTORY>")]
pub(super) struct Args {
    #[command(flatten)]
    identities: IdentityArgs,
    /// Return when the dump is mounted, and serve it in the background
    #[arg(short = 'd', long, conflicts_with = "command")]
    background: bool,
    /// Mount on a directory that is not empty, and hide what is in it
    #[arg(long)]
    nonempty: bool,
    /// End the mount on this directory
    #[arg(short = 'u', long, value_name = "DIRECTORY", exclusive = true, value_hint = clap::ValueHint::DirPath)]
    unmount: Option<PathBuf>,
    /// Neither use nor keep the symbols and types of kernels in the cache
    #[arg(long)]
    no_cache: bool,
    /// The process in the background, which the one in front has started
    #[arg(long = background::SERVING, hide = true, requires = "background")]
    serving: bool,

    /// The encrypted dump; of a dump in parts all parts. The last word is DIRECTORY, an empty directory
    #[arg(value_name = "DUMP", required_unless_present = "unmount", value_hint = clap::ValueHint::AnyPath)]
    words: Vec<PathBuf>,
    /// Run this while the dump is mounted
    #[arg(last = true, value_name = "COMMAND", value_hint = clap::ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match (&args.unmount, &args.words[..]) {
        (Some(directory), _) => unmount_foreign(directory),
        (None, [_, .., directory]) if args.background && !args.serving => background::start(directory),
        (None, [dumps @ .., directory]) if !dumps.is_empty() => Job { args, dumps, directory }.run(),
        (None, [dump, ..]) => {
            Err(Failure::new(Status::Usage, format!("mounting {}: no directory is named", quoted(dump)))
                .hint("vmcore-decrypt mount DUMP DIRECTORY: name an empty directory after the dump"))
        }
        // The parser asks for a dump.
        (None, []) => Err(Failure::new(Status::Usage, "mounting: a dump and a directory must be named")),
    }
}

/// Ends a mount that another process serves.
fn unmount_foreign(directory: &Path) -> Result<(), Failure> {
    let doing = || format!("unmounting {}", quoted(directory));
    let failed = |error: &io::Error| Failure::caused(doing(), error);
    let none = |what: &str| Err(Failure::new(Status::Failure, format!("{}: {what}", doing())));
    match table::occupant(directory).map_err(|error| failed(&error))? {
        None => none("no dump is mounted on it"),
        Some(Occupant::Other) => none("what is mounted on it is not a dump"),
        Some(occupant) => table::unmount(directory, occupant == Occupant::Stale).map_err(|error| {
            let busy = error.kind() == io::ErrorKind::ResourceBusy;
            failed(&error).maybe_hint(
                busy.then_some("a program has a file of the dump open, or works in the directory"),
            )
        }),
    }
}

/// One mount of one dump.
struct Job<'a> {
    args: &'a Args,
    /// The dump, or all of its parts.
    dumps: &'a [PathBuf],
    directory: &'a Path,
}

impl Job<'_> {
    fn run(&self) -> Result<(), Failure> {
        self.check_words()?;
        refuse_url(self.directory)?;
        let identities = self.args.identities.read(self.dumps)?;
        lock_memory();
        let Opened { dump, fault } = input::open_parts(self.dumps, &identities, BLOCK_CACHE)?;
        self.dumps.iter().for_each(|path| input::warn_of_part(path, dump.facts().part.as_ref()));
        if let Some(fault) = &fault {
            say(PROGRAM, "warning", fault.message());
        } else if !dump.is_complete() {
            say(PROGRAM, "warning", &format!("{} is incomplete: pages are missing", self.names()));
        }
        self.check_directory()?;
        let (events, received) = channel();
        // Before any thread of the mount starts, so that one thread alone gets them.
        let signals = Signals::catch(events.clone())
            .map_err(|error| Failure::caused("waiting for signals", &io::Error::from(error)))?;
        #[cfg(feature = "remote")]
        super::slow::end();
        let mounted = self.mount(&dump)?;
        let result = self.serve(&mounted, &signals, events, &received);
        self.unmount(mounted)?;
        // A command's own status is what its caller asked for.
        result.and_then(|()| fault.filter(|_| self.args.command.is_empty()).map_or(Ok(()), Err))
    }
}

/// Decrypted pages are in this process's memory for as long as the mount lasts, and must not reach a disk from there.
fn lock_memory() {
    let Err(error) = crypt::lock_memory() else { return };
    if std::fs::read_to_string(SWAPS).is_ok_and(|swaps| swaps_to_disk(&swaps)) {
        let text = Failure::caused("memory is not locked, pages that are read may reach swap", &error);
        say(PROGRAM, "warning", text.message());
        say(
            PROGRAM,
            "hint",
            "root may lock it, and so may others with ulimit -l unlimited; swapoff -a turns swap off",
        );
    }
}

/// Whether any of these devices is more than compressed memory.
fn swaps_to_disk(swaps: &str) -> bool {
    swaps.lines().skip(1).any(|line| !line.starts_with("/dev/zram"))
}

impl Job<'_> {
    fn doing(&self) -> String {
        format!("mounting {} on {}", self.names(), quoted(self.directory))
    }

    fn names(&self) -> String {
        input::names(self.dumps)
    }

    /// Refuses a command without the `--` before it, whose words would be taken for more parts and the directory.
    fn check_words(&self) -> Result<(), Failure> {
        let directory = self.dumps.iter().find(|path| path.is_dir() && !crate::reader::is_set(path));
        directory.map_or(Ok(()), |directory| {
            let message = format!("mounting on {}: more words follow the directory", quoted(directory));
            Err(Failure::new(Status::Usage, message)
                .hint("-- goes before a command: vmcore-decrypt mount DUMP DIRECTORY -- COMMAND"))
        })
    }

    /// Refuses a directory that something is in or on. What a process of ours has left behind is cleared.
    fn check_directory(&self) -> Result<(), Failure> {
        let refused = |what: &str| Failure::new(Status::Failure, format!("{}: {what}", self.doing()));
        match table::occupant(self.directory) {
            Ok(Some(Occupant::Stale)) => self.clear()?,
            Ok(Some(Occupant::Ours)) => {
                let hint = format!("{PROGRAM} mount --unmount {} ends that mount", quoted(self.directory));
                return Err(refused("a dump is mounted on it").hint(hint));
            }
            // Whatever is amiss with the directory, mounting on it tells better.
            Ok(Some(Occupant::Other) | None) | Err(_) => {}
        }
        let mut entries = std::fs::read_dir(self.directory).into_iter().flatten();
        if self.args.nonempty || entries.next().is_none() {
            return Ok(());
        }
        Err(refused("it is not empty").hint("--nonempty hides what is in it while the dump is mounted"))
    }

    /// Takes away a mount whose process has ended without unmounting it.
    fn clear(&self) -> Result<(), Failure> {
        table::unmount(self.directory, true).map_err(|error| {
            Failure::caused(format!("{}: clearing a stale mount of a dump", self.doing()), &error)
        })?;
        let text = format!("a stale mount of a dump on {} is cleared", quoted(self.directory));
        say(PROGRAM, "note", &text);
        Ok(())
    }

    fn mount(&self, dump: &std::sync::Arc<crate::reader::Dump>) -> Result<Mounted, Failure> {
        let name = self.names();
        let doing = || self.doing();
        let on_error = {
            let name = name.clone();
            move |file: &str, offset: u64, error: &std::io::Error| {
                let doing = format!("reading {file} of {name} at {offset:#x}");
                say(PROGRAM, "error", Failure::caused(doing, error).message());
            }
        };
        let on_missing = move |missing: &[String]| {
            missing
                .iter()
                .for_each(|why| say(PROGRAM, "warning", &format!("symbols and types of {name}: {why}")));
        };
        let hooks = Hooks {
            on_error: Box::new(on_error),
            on_missing: Box::new(on_missing),
            cache: Box::new(UserCache { wanted: !self.args.no_cache }),
        };
        let (content, missing) = DumpDirectory::new(dump, hooks)
            .map_err(|error| Failure::caused(doing(), &error).status(Status::Damaged))?;
        for (file, why) in missing {
            say(PROGRAM, "warning", &format!("there is no {file}: {why}"));
        }
        Mounted::new(content, self.directory, input::threads(None).get()).map_err(|error| {
            Failure::caused(doing(), &error)
                .hint("the directory must exist; who is not root needs fusermount3 (package fuse3)")
        })
    }

    /// Waits for the end.
    fn serve(
        &self,
        mounted: &Mounted,
        signals: &Signals,
        events: Sender<Event>,
        received: &Receiver<Event>,
    ) -> Result<(), Failure> {
        let child = if self.args.command.is_empty() {
            self.announce()?;
            None
        } else {
            Some(signals.start(&self.args.command, events)?)
        };
        loop {
            match (received.recv_timeout(LOOK), child) {
                (Ok(Event::Ended(status)), _) => return command::conclude(status),
                // It has reached the command too, which decides what it means.
                (Ok(Event::Signal { from_terminal: true, .. }), Some(_)) => {}
                // Nothing can be done about a command that is gone already: its end is the next event.
                (Ok(Event::Signal { signal, .. }), Some(child)) => {
                    let _ = nix::sys::signal::kill(child, signal);
                }
                (Ok(Event::Signal { .. }), None) | (Err(RecvTimeoutError::Disconnected), _) => return Ok(()),
                // A command goes on without the mount, and has the last word.
                (Err(RecvTimeoutError::Timeout), None) if mounted.is_over() => return Ok(()),
                (Err(RecvTimeoutError::Timeout), _) => {}
            }
        }
    }

    /// Reports that the dump is mounted, to the user or to the process that waits for it.
    fn announce(&self) -> Result<(), Failure> {
        if self.args.serving {
            return background::leave_terminal()
                .map_err(|error| Failure::caused("leaving the terminal", &error));
        }
        say(PROGRAM, "note", &format!("mounted on {}, Ctrl-C ends it", quoted(self.directory)));
        Ok(())
    }

    fn unmount(&self, mounted: Mounted) -> Result<(), Failure> {
        let busy = mounted
            .unmount()
            .map_err(|error| Failure::caused(format!("unmounting {}", quoted(self.directory)), &error))?;
        if busy {
            say(PROGRAM, "warning", "a program still had a file of the dump open; it can read no more");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_in_memory_is_none() {
        let heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        let zram = "/dev/zram0                              partition\t8388604\t\t0\t\t100\n";
        let disk = "/swapfile                               file\t\t2097148\t\t0\t\t-2\n";
        let of = |devices: &[&str]| swaps_to_disk(&[&[heading], devices].concat().concat());
        assert_eq!([of(&[]), of(&[zram]), of(&[disk]), of(&[zram, disk])], [false, false, true, true]);
    }
}
