//! Plugins of recipients: programs `age-plugin-NAME` that wrap a file key (C2SP age-plugin.md, `recipient-v1`).
//!
//! The age crate's client waits for a plugin for ever, takes whatever it sends into memory and hands it the whole
//! environment. In a capture kernel nobody is there to end such a wait, so this one has a time limit and a limit of
//! bytes, and ends the plugin with every process of its group. What a plugin sends is not believed: the stanzas are
//! parsed as a header's are.

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use zeroize::Zeroizing;

use super::Error;
use super::error::printable;
use super::header::{StanzaReader, encode_stanza};

/// Longest wait for a plugin. To wrap a key to a recipient takes milliseconds, and nobody's touch.
pub const PLUGIN_LIMIT: Duration = Duration::from_secs(30);
/// Time that a plugin has to end by itself after its last word.
const GOODBYE: Duration = Duration::from_secs(1);
/// Variables that a plugin gets, and `LC_*`; no other, as ours may hold credentials.
const VARIABLES: [&str; 6] = ["PATH", "HOME", "LANG", "TMPDIR", "TZ", "XDG_RUNTIME_DIR"];

/// A plugin program and the recipients that it wraps for.
pub(super) struct Plugin {
    /// Name of the program.
    pub(super) program: String,
    path: PathBuf,
    recipients: Vec<String>,
}

/// What a plugin makes of a file key: its stanzas, and the labels that other recipients' must equal.
pub(super) type Wrapped = (Vec<Stanza>, HashSet<String>);

impl Plugin {
    /// Finds the program of plugin `name` in `$PATH`.
    ///
    /// # Errors
    /// [`Error::PluginMissing`].
    pub(super) fn find(name: &str, recipients: Vec<String>) -> Result<Plugin, Error> {
        let program = format!("age-plugin-{name}");
        let path = env::var_os("PATH").unwrap_or_default();
        let mut places = env::split_paths(&path).map(|directory| directory.join(&program));
        match places.find(|place| is_program(place)) {
            Some(path) => Ok(Plugin { program, path: std::path::absolute(path)?, recipients }),
            None => Err(Error::PluginMissing { program }),
        }
    }

    /// Wraps a file key to all recipients.
    ///
    /// # Errors
    /// [`Error::PluginSilent`] after `limit`; [`Error::Plugin`] for every other failure.
    pub(super) fn wrap(&self, file_key: &FileKey, limit: Duration) -> Result<Wrapped, Error> {
        let mut running =
            Running::start(&self.path, limit).map_err(|error| self.failed(&error.to_string()))?;
        let result = running.talk(&self.request(file_key)?);
        result.map_err(|error| match error {
            Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                Error::PluginSilent { program: self.program.clone(), limit }
            }
            Error::Plugin { message } => self.failed(&message),
            Error::HeaderTruncated => self.failed("it ended before it was done"),
            Error::HeaderTooLong => self.failed("it sent more than a header can hold"),
            error => self.failed(&error.to_string()),
        })
    }

    fn failed(&self, why: &str) -> Error {
        Error::Plugin { message: printable(&format!("{}: {why}", self.program)) }
    }

    /// What the plugin is told: recipients, and the key to wrap. Its text is in one allocation, wiped afterwards.
    fn request(&self, file_key: &FileKey) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut start = Vec::new();
        for recipient in &self.recipients {
            encode_stanza(&command("add-recipient", recipient), &mut start)?;
        }
        let mut request = Zeroizing::new(Vec::with_capacity(start.len() + 128));
        request.extend_from_slice(&start);
        request.extend_from_slice(b"-> extension-labels\n\n-> wrap-file-key\n");
        let key = file_key.expose_secret();
        let mut text = Zeroizing::new([0; 22]); // 16 bytes in base64
        BASE64.encode_slice(key, &mut *text).map_err(io::Error::other)?;
        request.extend_from_slice(&*text);
        request.extend_from_slice(b"\n-> done\n\n");
        Ok(request)
    }
}

fn command(tag: &str, argument: &str) -> Stanza {
    Stanza { tag: tag.to_owned(), args: vec![argument.to_owned()], body: Vec::new() }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The environment of a plugin.
fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| VARIABLES.contains(&name) || name.starts_with("LC_"))
    })
}

/// A plugin that runs, the leader of a process group of its own. Ends with all of the group when dropped.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    deadline: Instant,
}

impl Running {
    fn start(path: &Path, limit: Duration) -> io::Result<Running> {
        let mut child = Command::new(path)
            .arg("--age-plugin=recipient-v1")
            .env_clear()
            .envs(variables())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let running = Running { child, input, output, deadline: Instant::now() + limit };
        if let Some(input) = &running.input {
            fcntl_setfl(input, fcntl_getfl(input)? | OFlags::NONBLOCK)?;
        }
        Ok(running)
    }

    /// Sends the request and takes what the plugin answers.
    fn talk(&mut self, request: &[u8]) -> Result<Wrapped, Error> {
        let (Some(input), Some(output)) = (self.input.take(), self.output.take()) else {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        };
        let mut input = Timed { inner: input, deadline: self.deadline };
        let mut output = BufReader::new(Timed { inner: output, deadline: self.deadline });
        send(&mut input, request)?;
        let mut stanzas = StanzaReader::new(&mut output);
        let mut answers = Answers::default();
        loop {
            let stanza = stanzas.read()?;
            match stanza.tag.as_str() {
                "done" => return answers.finish(),
                _ => send(&mut input, answers.take(stanza))?,
            }
        }
    }

    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(Pid::from_child(&self.child)), options), Ok(None))
    }
}

impl Drop for Running {
    /// Lets a plugin end that has finished, then ends what is left. The plugin stays a zombie until the end, so that its
    /// number is no other process's.
    fn drop(&mut self) {
        let until = self.deadline.min(Instant::now() + GOODBYE);
        while !self.has_ended() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        // No group is left where all of it has ended.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Sends bytes to a plugin. One that reads no more may have answered in full: what it sent decides.
fn send(input: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    match input.write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// One end of a pipe, with a time until which it is waited for.
struct Timed<T> {
    inner: T,
    deadline: Instant,
}

impl<T: AsFd> Timed<T> {
    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let fd: BorrowedFd<'_> = self.inner.as_fd();
            match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<T: AsFd + Read> Read for Timed<T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.wait(PollFlags::IN)?;
        self.inner.read(out)
    }
}

impl<T: AsFd + Write> Write for Timed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(PollFlags::OUT)?;
        match self.inner.write(bytes) {
            // The pipe has less room than poll promises for all of it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
                Err(io::ErrorKind::Interrupted.into())
            }
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a plugin has answered so far.
#[derive(Default)]
struct Answers {
    stanzas: Vec<Stanza>,
    labels: Option<HashSet<String>>,
    errors: Vec<String>,
}

impl Answers {
    /// Takes one command of the plugin; the reply to it. Nobody is there to be asked.
    fn take(&mut self, mut stanza: Stanza) -> &'static [u8] {
        match stanza.tag.as_str() {
            "recipient-stanza" if stanza.args.len() >= 2 && stanza.args[0] == "0" => {
                stanza.args.remove(0);
                stanza.tag = stanza.args.remove(0);
                self.stanzas.push(stanza);
            }
            "recipient-stanza" => self.errors.push("it wrapped another file's key".to_owned()),
            "labels" => self.take_labels(stanza.args),
            "error" => self.errors.push(String::from_utf8_lossy(&stanza.body).into_owned()),
            "msg" => {}
            "confirm" | "request-public" | "request-secret" => return b"-> fail\n\n",
            _ => return b"-> unsupported\n\n",
        }
        b"-> ok\n\n"
    }

    fn take_labels(&mut self, labels: Vec<String>) {
        let count = labels.len();
        let labels: HashSet<String> = labels.into_iter().collect();
        if labels.len() != count || self.labels.replace(labels).is_some() {
            self.errors.push("its labels contradict themselves".to_owned());
        }
    }

    fn finish(self) -> Result<Wrapped, Error> {
        match (self.errors.is_empty(), self.stanzas.is_empty()) {
            (true, false) => Ok((self.stanzas, self.labels.unwrap_or_default())),
            (true, true) => Err(Error::Plugin { message: "it wrapped nothing".to_owned() }),
            (false, _) => Err(Error::Plugin { message: self.errors.join(", ") }),
        }
    }
}
