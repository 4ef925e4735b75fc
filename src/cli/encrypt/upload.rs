//! An object store as the place of a dump: what can be typed about it, the files that are read for it, and what is
//! reported when it fails. Credentials and presigned URLs are in files of root alone, never on the command line.

use super::super::{Failure, Status, quoted, say};
use super::PROGRAM;
use crate::sink::Stream;
use crate::text::rfc3339;
use crate::trust;
use crate::upload::{
    Authorities, Credentials, Error, Facts, MAX_FILE, Probed, Settings, Store, Template, Upload,
    parse_presigned,
};
use clap::Args;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// The credentials file that is read when it is there.
const CREDENTIALS: &str = "/etc/vmcore-encrypt/credentials";
const MACHINE_ID: &str = "/etc/machine-id";
/// Permissions for anybody but the owner.
const OTHERS: u32 = 0o077;

/// What can be typed about an object store.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Object storage (DUMPFILE is s3://BUCKET/PREFIX/, gs://, az://, https://)")]
pub(super) struct UploadArgs {
    /// KEY=value lines with the right to write, mode 0600: AWS_ACCESS_KEY_ID and the like, GOOGLE_..., AZURE_..., HTTP_USER
    /// [default: /etc/vmcore-encrypt/credentials if it is there]
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Put to these URLs, made beforehand: one a line for each object of 16 MiB, the last for the end mark; mode 0600
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dumpfiles", "flattened", "framed", "output_device", "credentials"])]
    presigned: Option<PathBuf>,
    /// How the set of objects is called: of {date}, {machine} (a hash), {random}, {host} and plain text
    #[arg(long, value_name = "TEMPLATE", default_value = "{date}-{machine}-{random}", value_parser = Template::parse)]
    object_name: Template,
    /// Trust servers by these certificates alone
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The address of a server, which is then used without a lookup; repeatable
    #[arg(long, value_name = "HOST=ADDRESS", value_parser = host)]
    resolve: Vec<(String, IpAddr)>,
    /// Give a request up when nothing moves for so many seconds, and an object after five times that
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u16).range(1..))]
    stall: u16,
    /// With --check-params: put a small object, vmcore-encrypt-probe, to show that the store can be written to
    #[arg(long, requires = "check_params")]
    probe: bool,
}

fn host(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once('=').ok_or("not HOST=ADDRESS")?;
    let address = address.parse().map_err(|_| "not HOST=ADDRESS with an address of numbers")?;
    Ok((name.to_ascii_lowercase(), address))
}

impl UploadArgs {
    /// Whether the dump goes to presigned URLs.
    pub(super) fn is_presigned(&self) -> bool {
        self.presigned.is_some()
    }

    /// Whether a store is to be asked.
    pub(super) fn probes(&self) -> bool {
        self.probe
    }

    /// Reports what was typed for a store, where the dump goes to none.
    pub(super) fn report_unused(&self) {
        let typed = [
            ("--credentials", self.credentials.is_some()),
            ("--ca-file", self.ca_file.is_some()),
            ("--resolve", !self.resolve.is_empty()),
        ];
        for (name, _) in typed.iter().filter(|(_, typed)| *typed) {
            say(PROGRAM, "note", &format!("{name} has no effect: the dump goes to no store"));
        }
    }
}

/// What follows when others can read or write a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is refused: when kdump is armed.
    Needed,
    /// A warning: while a dump is saved the file is in the image, and refusing it would lose the dump.
    Reported,
}

impl Trust {
    fn judge(self, failure: Failure) -> Result<(), Failure> {
        match self {
            Trust::Needed => Err(failure),
            Trust::Reported => {
                say(PROGRAM, "warning", failure.message());
                Ok(())
            }
        }
    }
}

/// The name of a set of objects, and whether one of them was put.
type Begun = (String, Arc<AtomicBool>);

/// A place in a store. Clones are the same place.
#[derive(Clone, Debug)]
pub(super) struct StorePlace {
    url: String,
    args: UploadArgs,
    /// The set that was begun last, as messages show it, and whether an object of it was put.
    begun: Arc<Mutex<Option<Begun>>>,
}

impl PartialEq for StorePlace {
    fn eq(&self, other: &StorePlace) -> bool {
        self.url == other.url && self.args == other.args
    }
}

impl Eq for StorePlace {}

impl StorePlace {
    /// The place at a URL, or where presigned URLs lead.
    pub(super) fn new(url: &str, args: &UploadArgs) -> StorePlace {
        StorePlace { url: url.to_owned(), args: args.clone(), begun: Arc::default() }
    }

    /// Begins a set of objects with a new name. No server is asked before the first object is full.
    pub(super) fn open(&self) -> Result<Stream, Failure> {
        let store = Arc::new(self.store(Trust::Reported)?);
        let set = self.args.object_name.name(&facts()?);
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((store.shown(&set), store.holds_objects()));
        let upload = Upload::begin(store, set).map_err(|error| self.failure("opening", &error))?;
        Ok(Stream::Upload(Box::new(upload)))
    }

    /// Reads the files and prepares the client, without a request.
    pub(super) fn store(&self, trust: Trust) -> Result<Store, Failure> {
        let args = &self.args;
        let file = self.credentials_file();
        let credentials = file.map(|path| read_credentials(path, trust)).transpose()?.unwrap_or_default();
        let presigned = args.presigned.as_deref().map(|path| read_presigned(path, trust)).transpose()?;
        let presigned = presigned.unwrap_or_default();
        let mut hosts: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for (name, address) in &args.resolve {
            hosts.entry(name.clone()).or_default().push(*address);
        }
        let authorities = args.ca_file.as_deref().map(|path| read_authorities(path, trust)).transpose()?;
        let stall = Duration::from_secs(args.stall.into());
        let settings = Settings { url: self.url.clone(), credentials, presigned, authorities, hosts, stall };
        Store::new(&settings).map_err(|error| match (error, file) {
            (Error::Credentials(why), Some(path)) => refused("credentials", path, &why),
            (error, _) => self.failure("opening", &error).status(Status::Usage),
        })
    }

    /// The file that gives the right to write, if one does.
    fn credentials_file(&self) -> Option<&Path> {
        let by_default = || (!self.args.is_presigned()).then_some(Path::new(CREDENTIALS));
        self.args.credentials.as_deref().or_else(|| by_default().filter(|path| path.exists()))
    }

    /// Reads the files and prepares the client; asks the store with --probe alone.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let store = self.store(Trust::Needed)?;
        if !self.args.probe {
            return Ok(());
        }
        let (kind, text) = match store.probe().map_err(|error| self.failure("putting a probe to", &error))? {
            Probed::Exclusive => ("note", format!("{} takes objects, and overwrites none", self.name())),
            Probed::Overwrites => ("warning", format!("{} takes objects, and overwrites them", self.name())),
            Probed::NotAsked(until) => ("note", not_asked(until)),
        };
        say(PROGRAM, kind, &text);
        Ok(())
    }

    /// How messages call it: the set that was begun, or the place.
    pub(super) fn name(&self) -> String {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        match &*begun {
            Some((set, _)) => quoted(Path::new(set)),
            None if self.url.is_empty() => "the presigned URLs".to_owned(),
            None => quoted(Path::new(&self.url)),
        }
    }

    /// Whether an object of the set that was begun is there.
    pub(super) fn holds_objects(&self) -> bool {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.as_ref().is_some_and(|(_, holds)| holds.load(Ordering::Relaxed))
    }

    /// Whether another attempt can begin: a set of presigned URLs serves one.
    pub(super) fn can_begin_anew(&self) -> bool {
        !self.args.is_presigned()
    }

    fn failure(&self, doing: &str, error: &Error) -> Failure {
        Failure::caused(format!("{doing} {}", self.name()), error).maybe_hint(error.hint())
    }
}

/// What is known of presigned URLs.
fn not_asked(until: Option<SystemTime>) -> String {
    let until = until.and_then(rfc3339).map(|until| format!("; they expire at {until}")).unwrap_or_default();
    format!("presigned URLs are not probed, since each serves one object{until}")
}

/// What helps where an error of writing came from a store.
pub(super) fn hint(error: &io::Error) -> Option<&'static str> {
    Error::find(error).and_then(Error::hint)
}

fn facts() -> Result<Facts, Failure> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Failure::caused("naming the dump", &io::Error::from(error)))?;
    Ok(Facts {
        now: SystemTime::now(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        machine_id: std::fs::read_to_string(MACHINE_ID).ok(),
        random: u64::from_ne_bytes(random),
    })
}

fn read_credentials(path: &Path, trust: Trust) -> Result<Credentials, Failure> {
    let text = read("credentials", path, trust, OTHERS)?;
    Credentials::parse(&text).map_err(|why| refused("credentials", path, &why))
}

fn read_presigned(path: &Path, trust: Trust) -> Result<Vec<reqwest::Url>, Failure> {
    let text = read("presigned URLs", path, trust, OTHERS)?;
    parse_presigned(&text).map_err(|why| refused("presigned URLs", path, &why))
}

fn read_authorities(path: &Path, trust: Trust) -> Result<Authorities, Failure> {
    let pem = read("certificates", path, trust, 0)?.as_bytes().to_vec();
    let written = path.metadata().and_then(|data| data.modified());
    let written =
        written.map_err(|error| Failure::caused(format!("reading certificates {}", quoted(path)), &error))?;
    Ok(Authorities { pem, written })
}

fn refused(what: &str, path: &Path, why: &str) -> Failure {
    Failure::new(Status::Usage, format!("reading {what} {}: {why}", quoted(path)))
}

/// Reads a text file; `forbidden` are the permissions that it must not have. The file is examined as opened.
fn read(what: &str, path: &Path, trust: Trust, forbidden: u32) -> Result<Zeroizing<String>, Failure> {
    let caused = |error: &io::Error| Failure::caused(format!("reading {what} {}", quoted(path)), error);
    let file = File::open(path).map_err(|error| caused(&error))?;
    let mode = file.metadata().map_err(|error| caused(&error))?.mode();
    if mode & forbidden != 0 {
        let why = format!("others may read or write it (mode {:04o})", mode & 0o7777);
        trust.judge(
            refused(what, path, &why).hint("chmod 600, and make new ones if others could read them"),
        )?;
    }
    if let Err(error) = trust::check(Path::new("/"), path) {
        let doing = format!("reading {what} {}", quoted(path));
        trust.judge(Failure::caused(doing, &error).hint(error.hint()))?;
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| caused(&error))?;
    Ok(text)
}
