//! `vmcore-decrypt mount DUMP DIR [-- COMMAND]`: mounts, waits for a signal, a foreign unmount or the end
//! of the command, and unmounts.

use super::super::{Failure, Status, environment, quoted, say, status};
use super::PROGRAM;
use super::input::{self, IdentityArgs};
use crate::crypt;
use crate::mount::{DumpDirectory, Mounted};
use clap::Args as ClapArgs;
use nix::sys::signal::{SigSet, Signal};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// How often it is looked whether somebody else unmounted the directory.
const LOOK: Duration = Duration::from_millis(300);

/// Where the kernel lists its swap devices, one a line behind a heading. Source: Linux
/// `Documentation/filesystems/proc.rst`.
const SWAPS: &str = "/proc/swaps";

/// The arguments of `mount`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-decrypt mount -i key.txt vmcore.age /mnt
  vmcore-decrypt mount -i key.txt vmcore.age /mnt -- crash vmlinux /mnt/vmcore
  vmcore-decrypt mount -i key.txt vmcore.age /mnt -- drgn -c /mnt/vmcore -s vmlinux

The directory holds vmcore (kdump-compressed), vmcore.elf, dmesg.txt and vmcoreinfo.txt, each decrypted \
where it is read. It is unmounted when the command ends, or on Ctrl-C and SIGTERM.", status::OPENING))]
pub(super) struct Args {
    #[command(flatten)]
    identities: IdentityArgs,

    /// The encrypted dump
    dump: PathBuf,
    /// An existing directory
    directory: PathBuf,
    /// Run this while the dump is mounted
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What ends the wait.
enum Event {
    Signal(Signal),
    CommandEnded(std::io::Result<ExitStatus>),
}

/// Runs the sub-command.
///
/// # Errors
/// What stopped it, ready to be said.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let identities = args.identities.read(std::slice::from_ref(&args.dump))?;
    lock_memory();
    let source = input::open_source(&args.dump)?;
    let dump = input::open_dump(&args.dump, source, &identities)?;
    let fault = dump.fault().map(|fault| input::stream_failure(&args.dump, &fault));
    if let Some(fault) = &fault {
        say(PROGRAM, "warning", fault.message());
    } else if !dump.is_complete() {
        say(PROGRAM, "warning", &format!("{} is incomplete: pages are missing", quoted(&args.dump)));
    }
    let (events, received) = channel();
    // Blocked before any thread starts, so that one thread alone waits for them.
    catch_signals(events.clone())
        .map_err(|error| Failure::caused("waiting for signals", &std::io::Error::from(error)))?;
    let mounted = mount(args, &dump)?;
    let result = serve(args, &mounted, events, &received);
    unmount(args, mounted)?;
    // A command's own status is what its caller asked for.
    result.and_then(|()| fault.filter(|_| args.command.is_empty()).map_or(Ok(()), Err))
}

/// Decrypted pages are in this process's memory for as long as the mount lasts, and must not reach a disk from there.
fn lock_memory() {
    let Err(error) = crypt::lock_memory() else { return };
    if std::fs::read_to_string(SWAPS).is_ok_and(|swaps| swaps_to_disk(&swaps)) {
        let text = Failure::caused("memory is not locked, pages that are looked at may reach swap", &error);
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

fn mount(args: &Args, dump: &std::sync::Arc<crate::reader::Dump>) -> Result<Mounted, Failure> {
    let name = quoted(&args.dump);
    let doing = || format!("mounting {name} on {}", quoted(&args.directory));
    let on_error = {
        let name = name.clone();
        move |file: &str, offset: u64, error: &std::io::Error| {
            let doing = format!("reading {file} of {name} at {offset:#x}");
            say(PROGRAM, "error", Failure::caused(doing, error).message());
        }
    };
    let (content, missing) = DumpDirectory::new(dump, Box::new(on_error))
        .map_err(|error| Failure::caused(doing(), &error).status(Status::Damaged))?;
    for (file, why) in missing {
        say(PROGRAM, "warning", &format!("there is no {file}: {why}"));
    }
    Mounted::new(content, &args.directory, input::threads(None).get()).map_err(|error| {
        Failure::caused(doing(), &error)
            .hint("the directory must exist; who is not root needs fusermount3 (package fuse3)")
    })
}

/// Sends SIGINT, SIGTERM and SIGHUP as events from now on. Children start with all signals open.
fn catch_signals(events: Sender<Event>) -> nix::Result<()> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block()?;
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Waits for the end.
fn serve(
    args: &Args,
    mounted: &Mounted,
    events: Sender<Event>,
    received: &Receiver<Event>,
) -> Result<(), Failure> {
    let child = match args.command.split_first() {
        Some((program, words)) => Some(start(program, words, events)?),
        None => {
            say(PROGRAM, "note", &format!("mounted on {}, Ctrl-C ends it", quoted(&args.directory)));
            None
        }
    };
    loop {
        match (received.recv_timeout(LOOK), child) {
            (Ok(Event::CommandEnded(status)), _) => return conclude(&args.command[0], status),
            // Ctrl-C reaches the command too, which decides what it means.
            (Ok(Event::Signal(Signal::SIGINT)), Some(_)) => {}
            // Nothing can be done about a command that is gone already: its end is the next event.
            (Ok(Event::Signal(signal)), Some(child)) => drop(nix::sys::signal::kill(child, signal)),
            (Ok(Event::Signal(_)), None) | (Err(RecvTimeoutError::Disconnected), _) => return Ok(()),
            (Err(RecvTimeoutError::Timeout), _) if mounted.is_over() => return Ok(()),
            (Err(RecvTimeoutError::Timeout), _) => {}
        }
    }
}

fn start(program: &str, words: &[String], events: Sender<Event>) -> Result<nix::unistd::Pid, Failure> {
    let mut child = Command::new(program)
        .args(words)
        // The user's own command has the user's own environment.
        .envs(environment::left_out())
        .env_remove(environment::MARK)
        .spawn()
        .map_err(|error| Failure::caused(format!("running {program:?}"), &error))?;
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    // Whoever is gone when the command ends does not want to know.
    thread::spawn(move || drop(events.send(Event::CommandEnded(child.wait()))));
    Ok(id)
}

fn conclude(program: &str, status: std::io::Result<ExitStatus>) -> Result<(), Failure> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(Status::Failure, format!("running {program:?}: {status}"))),
        Err(error) => Err(Failure::caused(format!("running {program:?}"), &error)),
    }
}

fn unmount(args: &Args, mounted: Mounted) -> Result<(), Failure> {
    let busy = mounted
        .unmount()
        .map_err(|error| Failure::caused(format!("unmounting {}", quoted(&args.directory)), &error))?;
    if busy {
        say(PROGRAM, "warning", "a program still had a file of the dump open; it can read no more");
    }
    Ok(())
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
