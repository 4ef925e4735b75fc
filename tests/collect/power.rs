//! `vmcore-encrypt collect` stopped before each thing it does to a disk, as a power cut stops it, and failed by the
//! disk there: the dump is on the partition or in its file, whole, and the next run ends with one copy and with
//! the swap signature in its place. What was not flushed does not survive a power cut, so the order of flushes is
//! looked at too.

use crate::common::{Absent, encrypt, or_skip, run, scratch, text};
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output};
use vmcore_encrypt::unstable::raw::{
    FrameHeader, FrameReader, FrameWriter, HEADER_LEN, RECORD_DATA, RECORD_LEN,
};

/// What changes a disk, or makes a change last.
const STEPS: [&str; 6] = ["mkdirat", "write", "fsync", "renameat2", "unlinkat", "pwrite64"];
/// The dump.
const DATA: usize = 2 * RECORD_DATA + 1000;

/// How the dump begins.
const AGE: &str = "age-encryption.org/v1
-> X25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
";

/// A swap partition that holds a dump, and where it shall go.
struct Place {
    dir: PathBuf,
    device: PathBuf,
    swap: Vec<u8>,
    frame: Vec<u8>,
    /// What the file must hold.
    data: Vec<u8>,
    name: &'static str,
    status: i32,
}

impl Place {
    fn new(name: &str) -> Place {
        let dir = scratch(&format!("collect-{name}"));
        let mut swap: Vec<u8> = (0..HEADER_LEN).map(|at| at.to_le_bytes()[0] | 1).collect();
        swap[4086..].copy_from_slice(b"SWAPSPACE2");
        let mut data: Vec<u8> = (0..DATA).map(|at| at.to_le_bytes()[1] ^ at.to_le_bytes()[0]).collect();
        data[..AGE.len()].copy_from_slice(AGE.as_bytes());
        let header = FrameHeader { id: [7; 16], device_size: 0, saved: swap.clone() };
        let mut writer = FrameWriter::new(Vec::new(), &header);
        writer.write_all(&data).unwrap();
        let mut frame = writer.finish().unwrap();
        frame.resize(frame.len() + 5000, 0xdd);
        let name = "vmcore-07070707070707070707070707070707.age";
        Place { device: dir.join("device"), dir, swap, frame, data, name, status: 0 }
    }

    /// The same on a device that has room for a copy of the header.
    fn with_copy(mut self) -> Place {
        let header = FrameHeader { id: [7; 16], device_size: 2 << 20, saved: self.swap.clone() };
        let start = header.encode();
        self.frame[..start.len()].copy_from_slice(&start);
        let (at, copy) = header.copy().unwrap();
        self.frame.resize(usize::try_from(at).unwrap(), 0xdd);
        self.frame.extend_from_slice(&copy);
        self
    }

    /// The same with a dump that was cut in its second record.
    fn cut(mut self) -> Place {
        self.frame[2 * HEADER_LEN + RECORD_LEN + 5000..].fill(0);
        // What the disk got of that record: its first block, less the head.
        self.data.truncate(RECORD_DATA + 4096 - 48);
        self.status = 7;
        self.name = "vmcore-07070707070707070707070707070707-incomplete.age";
        self
    }

    fn dest(&self) -> PathBuf {
        self.dir.join("var/crash")
    }

    /// As it is after the crash.
    fn reset(&self) {
        let _ = fs::remove_dir_all(self.dir.join("var"));
        fs::write(&self.device, &self.frame).unwrap();
    }

    fn collect(&self, program: Command) -> Output {
        let mut collect = program;
        run(collect.arg("collect").arg("--device").arg(&self.device).arg("--dest").arg(self.dest()))
    }

    /// Runs it with strace, which does `inject` to it; gives also what was traced.
    fn traced(&self, steps: &str, inject: &str) -> (Output, String) {
        let log = self.dir.join("log");
        let mut strace = Command::new("strace");
        strace.arg("-o").arg(&log).args(["-y", "-e", &format!("trace={steps}")]);
        if !inject.is_empty() {
            strace.args(["-e", &format!("inject={inject}")]);
        }
        strace.arg(encrypt().get_program());
        (self.collect(strace), fs::read_to_string(log).unwrap())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dest()).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The dump can still be had: from the partition, or from its file.
    fn assert_not_lost(&self, after: &str) {
        let file = self.dest().join(self.name);
        let copied = file.exists().then(|| fs::read(&file).unwrap());
        assert!(
            copied.as_ref().is_none_or(|copied| *copied == self.data),
            "{after}: a file that is not whole"
        );
        assert!(copied.is_some() || self.on_device() == Some(self.data.clone()), "{after}: no dump");
    }

    fn on_device(&self) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        let mut reader = FrameReader::new(fs::File::open(&self.device).unwrap()).ok()?;
        reader.read_to_end(&mut data).unwrap();
        Some(data)
    }

    /// The next run ends with one copy and with swap, and the one behind it finds nothing.
    fn assert_done_by_the_next_run(&self, after: &str) {
        let again = self.collect(encrypt());
        let said = text(&again.stderr);
        // The run before may have been stopped after it freed the partition.
        let status = if said.contains("note: no dump is on") { 0 } else { self.status };
        assert_eq!(again.status.code(), Some(status), "{after}: {said}");
        assert_eq!(self.names(), [self.name], "{after}");
        assert!(fs::read(self.dest().join(self.name)).unwrap() == self.data, "{after}");
        assert!(fs::read(&self.device).unwrap()[..HEADER_LEN] == self.swap, "{after}: the swap signature");
        let last = text(&self.collect(encrypt()).stderr);
        assert!(last.contains("note: no dump is on"), "{after}: {last}");
    }
}

/// Whether this machine lets strace trace.
fn strace() -> Result<(), Absent> {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Absent(format!("permission to trace: {}", text(&output.stderr)))),
        Err(_) => Err(Absent("strace; see tests/vm/install-tools.sh".to_owned())),
    }
}

#[test]
fn a_power_cut_at_any_step_leaves_one_copy() {
    let Some(()) = or_skip(strace()) else { return };
    for place in [Place::new("killed"), Place::new("killed-cut").cut(), Place::new("killed-copy").with_copy()]
    {
        let mut kills = 0;
        for step in STEPS {
            for nth in 1.. {
                place.reset();
                let after = format!("{step} {nth}");
                let (output, log) = place.traced(step, &format!("{step}:signal=KILL:when={nth}"));
                if !log.contains("killed by SIGKILL") {
                    assert_eq!(output.status.code(), Some(place.status), "{after}: {}", text(&output.stderr));
                    break;
                }
                kills += 1;
                place.assert_not_lost(&after);
                place.assert_done_by_the_next_run(&after);
            }
        }
        // Two directories, the copy and its words, the flushes of all these, the name, two writes to the partition.
        assert!(kills >= 12, "{kills} steps");
        fs::remove_dir_all(place.dir).unwrap();
    }
}

#[test]
fn a_disk_that_fails_at_any_step_loses_nothing() {
    let Some(()) = or_skip(strace()) else { return };
    let place = Place::new("failed");
    for step in STEPS {
        for nth in 1.. {
            place.reset();
            let after = format!("{step} {nth}");
            let (output, log) = place.traced(step, &format!("{step}:error=EIO:when={nth}"));
            let Some(failed) = log.lines().find(|line| line.contains("INJECTED")) else { break };
            place.assert_not_lost(&after);
            // That nobody hears what it says is no failure.
            let said = text(&output.stderr);
            if !failed.starts_with("write(2") {
                assert!(
                    output.status.code() == Some(1) && said.contains("Input/output error"),
                    "{after}: {said}"
                );
            }
            if failed.contains(place.dest().to_str().unwrap()) {
                assert!(place.on_device().is_some(), "{after}: the partition was freed");
            }
            if place.on_device().is_some() {
                place.assert_done_by_the_next_run(&after);
            }
        }
    }
    fs::remove_dir_all(place.dir).unwrap();
}

/// Nothing is done that relies on what a power cut may still undo.
#[test]
fn each_step_is_flushed_before_the_next_relies_on_it() {
    let Some(()) = or_skip(strace()) else { return };
    let place = Place::new("order");
    place.reset();
    let (output, log) = place.traced(&STEPS.join(","), "");
    assert!(output.status.success());
    let dir = place.dir.display().to_string();
    let steps = |log: &str| {
        let ours = log.lines().filter(|line| line.contains(&dir) && !line.starts_with("write(2"));
        let mut steps: Vec<String> = ours.map(|line| step(line, &dir)).collect();
        steps.dedup();
        steps
    };
    let file = "/var/crash/vmcore-07070707070707070707070707070707.age";
    let copying = format!("{file}.copying-");
    // Of the first block the sector with the header goes last; what it saved goes after that.
    let freed = ["pwrite64 /device", "fsync /device"].map(str::to_owned);
    let freed = [freed.clone(), freed.clone(), freed].concat();
    let copied = [
        "mkdirat ".to_owned(),
        "fsync ".to_owned(),
        "mkdirat /var".to_owned(),
        "fsync /var".to_owned(),
        format!("write {copying}"),
        format!("fsync {copying}"),
        "renameat2 /var/crash".to_owned(),
        "fsync /var/crash".to_owned(),
    ];
    assert_eq!(steps(&log), [&copied[..], &freed].concat());

    // The copy of an earlier run counts once it is flushed.
    fs::write(&place.device, &place.frame).unwrap();
    let (output, log) = place.traced(&STEPS.join(","), "");
    assert!(output.status.success() && text(&output.stderr).contains("is already in"));
    let found = [format!("fsync {file}"), "fsync /var/crash".to_owned()];
    assert_eq!(steps(&log), [&found[..], &freed].concat());
    fs::remove_dir_all(place.dir).unwrap();
}

/// The call of a line of strace and the first path in it, below `dir`.
fn step(line: &str, dir: &str) -> String {
    let (call, arguments) = line.split_once('(').unwrap();
    let path = arguments.split_once(dir).unwrap().1.split(['"', '>']).next().unwrap();
    // The rest of an unfinished file's name is random.
    let path = path.split_once(".copying-").map_or(path.to_owned(), |(start, _)| format!("{start}.copying-"));
    format!("{call} {path}")
}
