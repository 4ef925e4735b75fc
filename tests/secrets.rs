//! What of its keys a collector leaves in memory, seen from outside, through `/proc/PID`: while a dump is written its
//! payload key is there, in one page that is locked and in no core file; once the dump is done, neither that key nor
//! the file key is anywhere.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

#[path = "common/mod.rs"]
mod common;
mod synth;

use age_core::format::FileKey;
use age_core::secrecy::ExposeSecret;
use common::{Absent, or_skip_anywhere, wait_for};
use hkdf::Hkdf;
use rustix::fs::OFlags;
use sha2::Sha256;
use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use synth::{Content, Page, Synth, arch, kernel};
use vmcore_encrypt::crypt::{DecryptReader, Header, Identities, NoPrompt};

/// A key pair of these tests alone.
const IDENTITY: &str = "AGE-SECRET-KEY-12T4FDAVR0PNY2YDYUNP8F5Q7DMUDVF0EWHA963DRZXSXLDCSZRZQNETYG4";
const RECIPIENT: &str = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv";

fn identities() -> Identities {
    let mut identities = Identities::new(Arc::new(NoPrompt));
    identities.add_file("key", IDENTITY.as_bytes()).unwrap();
    identities
}

/// A pipe that takes nothing any more: who writes to it hangs there.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[0]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// A collector on its way: it hangs while nobody reads the dump, and again, after the dump, in its report.
struct Collector {
    child: Child,
    _report: PipeReader,
}

impl Collector {
    /// Starts `program`, the last of these words, on a small machine's vmcore.
    fn start(words: &[&str], home: &Path) -> Collector {
        let core = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).ram(0x10_0000..0x80_0000);
        let core = core.pages(0x400, 512, &Page::kernel().with(Content::Noise)).build();
        fs::write(home.join("vmcore"), core.to_bytes()).unwrap();
        let (report, stderr) = full_pipe();
        let child = Command::new(words[0])
            .args(&words[1..])
            .args(["-d", "31", "--message-level", "16", "--num-threads", "3", "-r", RECIPIENT])
            .arg(home.join("vmcore"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(stderr))
            .spawn()
            .unwrap();
        Collector { child, _report: report }
    }

    /// Waits until every thread sleeps.
    fn hangs(&self) {
        let asleep = |stat: String| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'));
        wait_for("the collector to hang", || {
            let mut tasks = fs::read_dir(self.proc("task")).unwrap();
            tasks
                .all(|task| asleep(fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default()))
        });
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }

    /// Where in memory these bytes are, as addresses.
    fn find(&self, secret: &[u8]) -> Vec<u64> {
        let memory = File::open(self.proc("mem")).unwrap();
        let mut found = Vec::new();
        for (start, end) in self.mappings() {
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            // The kernel's own pages cannot be read.
            if memory.read_exact_at(&mut bytes, start).is_ok() {
                let places = bytes.windows(secret.len()).enumerate().filter(|(_, window)| window == &secret);
                found.extend(places.map(|(at, _)| start + at as u64));
            }
        }
        found
    }

    fn mappings(&self) -> Vec<(u64, u64)> {
        let maps = fs::read_to_string(self.proc("maps")).unwrap();
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let readable = maps.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with('r'));
        let ranges = readable.map(|line| line.split_once(' ').unwrap().0.split_once('-').unwrap());
        ranges.map(|(start, end)| (hex(start), hex(end))).collect()
    }

    /// The kernel's flags of the mapping that holds an address.
    fn flags(&self, address: u64) -> Vec<String> {
        let smaps = fs::read_to_string(self.proc("smaps")).unwrap();
        let mut inside = false;
        for line in smaps.lines() {
            let range = line.split(' ').next().unwrap().split_once('-');
            if let Some((Ok(start), Ok(end))) =
                range.map(|(start, end)| (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)))
            {
                inside = (start..end).contains(&address);
            } else if let Some(flags) = line.strip_prefix("VmFlags: ").filter(|_| inside) {
                return flags.split_whitespace().map(str::to_owned).collect();
            }
        }
        panic!("nothing is mapped at {address:#x}");
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The keys of a dump: file key and payload key, from its first bytes.
fn keys_of(mut dump: &[u8]) -> ([u8; 16], [u8; 32]) {
    let header = Header::read(&mut dump).unwrap();
    let file_key: FileKey = identities().unwrap(&header).unwrap();
    let mut payload_key = [0; 32];
    let nonce = &dump[..16];
    Hkdf::<Sha256>::new(Some(nonce), file_key.expose_secret()).expand(b"payload", &mut payload_key).unwrap();
    (*file_key.expose_secret(), payload_key)
}

fn is_whole(mut dump: &[u8]) -> bool {
    let opened = identities().open(&mut dump);
    opened.is_ok_and(|opened| {
        std::io::copy(&mut DecryptReader::new(dump, opened.key), &mut std::io::sink()).is_ok()
    })
}

#[test]
fn a_collectors_memory_holds_no_key_when_the_dump_is_done() {
    let no_place: [u64; 0] = [];
    // As it is tested, and as it goes into an initramfs: optimized otherwise, it leaves other things behind.
    for program in [env!("CARGO_BIN_EXE_vmcore-encrypt"), common::collector().to_str().unwrap()] {
        let home = tempfile::tempdir().unwrap();
        let mut collector = Collector::start(&[program], home.path());
        let seen =
            File::open(collector.proc("mem")).map_err(|_| Absent("root, to look into a program".into()));
        if or_skip_anywhere(seen).is_none() {
            return;
        }
        let mut stdout = collector.child.stdout.take().unwrap();
        let mut dump = vec![0; 1000];
        stdout.read_exact(&mut dump).unwrap();
        let (file_key, payload_key) = keys_of(&dump);

        collector.hangs();
        let locked = |&&place: &&u64| {
            let flags = collector.flags(place);
            ["lo", "dd"].iter().all(|flag| flags.iter().any(|other| other == flag))
        };
        let places = collector.find(&payload_key);
        assert_eq!(places.iter().filter(locked).count(), 1, "{program}: {places:x?}");
        assert_eq!(collector.find(&file_key), no_place, "{program}: the file key while pages are read");

        let dump = read_while_it_comes(stdout, dump);
        wait_for("the dump", || is_whole(&dump.lock().unwrap()));
        collector.hangs();
        assert_eq!(collector.find(&payload_key), no_place, "{program}: the payload key");
        assert_eq!(collector.find(&file_key), no_place, "{program}: the file key");
    }
}

/// Reads what a pipe gives, behind what came before, until it ends.
fn read_while_it_comes(mut pipe: impl Read + Send + 'static, start: Vec<u8>) -> Arc<Mutex<Vec<u8>>> {
    let all = Arc::new(Mutex::new(start));
    let shared = Arc::clone(&all);
    thread::spawn(move || {
        let mut piece = vec![0; 1 << 16];
        while let Ok(length @ 1..) = pipe.read(&mut piece) {
            shared.lock().unwrap().extend_from_slice(&piece[..length]);
        }
    });
    all
}

/// `/proc/PID` of a program that forbids core files and tracing belongs to root, whoever runs it (proc(5)).
#[test]
fn a_user_cannot_look_into_their_own_collector() {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = home.path().join("program");
    fs::copy(env!("CARGO_BIN_EXE_vmcore-encrypt"), &program).unwrap();
    let program = program.to_str().unwrap();
    let words = if rustix::process::geteuid().is_root() {
        vec!["setpriv", "--reuid", "65534", "--clear-groups", program]
    } else {
        vec![program]
    };
    let collector = Collector::start(&words, home.path());
    let owner = |file: &str| fs::metadata(collector.proc(file)).unwrap().uid();
    wait_for("the collector", || fs::read_to_string(collector.proc("comm")).unwrap() == "program\n");
    wait_for("/proc/PID to belong to root", || owner("mem") == 0 && owner("status") == 0);
    let status = fs::read_to_string(collector.proc("status")).unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).unwrap();
    assert!(!uid.starts_with("0\t"), "{uid}");
}
