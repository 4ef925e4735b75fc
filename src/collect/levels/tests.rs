use super::*;
use crate::blocks::ClassCounts;
use crate::crypt::stream::test_key;
use crate::sink::OutputFile;
use crate::vmcore::Vmcore;
use crate::vmcore::testing::CoreBuilder;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What becomes of a part.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Fits,
    Cut,
    NoRoom,
    NoDevice,
}

/// Files in a directory; what happens to each part of a level is a function.
struct Files<F> {
    places: Vec<PathBuf>,
    anew: bool,
    fate: F,
    events: Mutex<Vec<String>>,
}

impl<F: Fn(u8, u32) -> Fate + Sync> Files<F> {
    fn new(directory: &Path, count: usize, fate: F) -> Files<F> {
        let places = (0..count).map(|number| directory.join(format!("dump{number}"))).collect();
        Files { places, anew: true, fate, events: Mutex::default() }
    }

    fn say(&self, event: String) {
        self.events.lock().unwrap().push(event);
    }

    fn run(&self, levels: &[u8], limit: Option<u64>) -> Result<Saved, String> {
        let core = CoreBuilder::new().load(0, vec![1; 8 << 12]).build();
        let vmcore = Vmcore::from_source(Box::new(core)).unwrap();
        let levels: Vec<DumpLevel> = levels.iter().map(|level| level.to_string().parse().unwrap()).collect();
        let survey = Survey::new(&vmcore, &levels);
        let threads = NonZero::new(4).unwrap();
        let job = Job {
            survey: &survey,
            levels: &levels,
            threads,
            compression: 1,
            limit,
            live: false,
            gives_key: true,
        };
        collect_first_fitting(&job, self)
    }

    fn events(&self) -> String {
        self.events.lock().unwrap().join(", ")
    }
}

impl<F: Fn(u8, u32) -> Fate + Sync> Target for Files<F> {
    type Place = PathBuf;
    type Failure = String;

    fn places(&self) -> &[PathBuf] {
        &self.places
    }

    fn can_begin_anew(&self, _: &PathBuf) -> bool {
        self.anew
    }

    fn begins(&self, level: DumpLevel) {
        self.say(format!("begin {level}"));
    }

    fn open(&self, place: &PathBuf, again: bool) -> Result<Stream, String> {
        let file = OutputFile::create_beside(place, false).map_err(|error| format!("open: {error}"))?;
        self.say(format!("open{}", if again { " again" } else { "" }));
        Ok(Stream::file(file))
    }

    fn collect(&self, options: &Options, stream: &mut Stream) -> Result<Collected, Error> {
        let number = options.part.as_ref().map_or(0, |part| part.number);
        let fate = (self.fate)(options.level.get(), number);
        stream.write_all(&[options.level.get()])?;
        match fate {
            Fate::NoRoom => Err(io::Error::from(io::ErrorKind::StorageFull).into()),
            Fate::NoDevice => Err(io::Error::other("the device is gone").into()),
            Fate::Fits | Fate::Cut => {
                let pages = ClassCounts { saved: options.threads.get() as u64, ..ClassCounts::default() };
                let report = Report { pages, complete: fate == Fate::Fits, ..Report::default() };
                Ok(Collected { report, key: test_key(), start: u64::from(number) })
            }
        }
    }

    fn retries(&self, level: DumpLevel, next: DumpLevel) {
        self.say(format!("{level} is too large, {next}"));
    }

    fn failure(&self, place: &PathBuf, error: &Error) -> String {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        format!("{}: {}", place.file_name().unwrap().display(), cause.unwrap_or_default())
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_dump_has_the_first_level_that_fits() {
    for fate in [Fate::NoRoom, Fate::Cut] {
        let directory = tempfile::tempdir().unwrap();
        let files =
            Files::new(directory.path(), 1, move |level, _| if level < 31 { fate } else { Fate::Fits });
        let saved = files.run(&[1, 3, 31], Some(100)).unwrap();
        assert_eq!((saved.level.get(), saved.outputs[0].cut_at), (31, None));
        let expected =
            "begin 1, open, 1 is too large, 3, begin 3, open again, 3 is too large, 31, begin 31, open again";
        assert_eq!(files.events(), expected);
        assert_eq!(names(directory.path()), ["dump0"]);
        assert_eq!(std::fs::read(directory.path().join("dump0")).unwrap(), [31]);
    }
}

#[test]
fn the_last_level_is_cut_or_fails() {
    let directory = tempfile::tempdir().unwrap();
    let saved = Files::new(directory.path(), 1, |_, _| Fate::Cut).run(&[1, 31], Some(100)).unwrap();
    assert_eq!((saved.level.get(), saved.outputs[0].cut_at), (31, Some(100)));
    let directory = tempfile::tempdir().unwrap();
    let failed = Files::new(directory.path(), 1, |_, _| Fate::NoRoom).run(&[1, 31], None);
    assert_eq!(failed.err().unwrap(), "dump0: no storage space");
    assert!(names(directory.path()).is_empty());
}

#[test]
fn no_other_level_helps_a_broken_output() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path(), 1, |_, _| Fate::NoDevice);
    assert_eq!(files.run(&[1, 31], None).err().unwrap(), "dump0: the device is gone");
    assert_eq!(files.events(), "begin 1, open");
}

#[test]
fn an_output_that_cannot_begin_anew_has_the_first_level() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files { anew: false, ..Files::new(directory.path(), 1, |_, _| Fate::NoRoom) };
    assert!(files.run(&[1, 31], None).is_err());
    assert_eq!(files.events(), "begin 1, open");
}

#[test]
fn parts_share_the_threads_and_are_joined() {
    let directory = tempfile::tempdir().unwrap();
    let saved = Files::new(directory.path(), 2, |_, _| Fate::Fits).run(&[31], None).unwrap();
    assert_eq!(saved.report.pages.saved, 4);
    assert_eq!(saved.key.unwrap().1, 1);
    assert_eq!(names(directory.path()), ["dump0", "dump1"]);
}

#[test]
fn no_part_is_finished_without_the_others() {
    for fate in [Fate::NoDevice, Fate::NoRoom] {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path(), 3, move |_, part| if part == 2 { fate } else { Fate::Fits });
        assert!(files.run(&[31], None).err().unwrap().starts_with("dump1: "));
        assert!(names(directory.path()).is_empty());
    }
}

#[test]
fn all_parts_are_written_again_where_one_does_not_fit() {
    let directory = tempfile::tempdir().unwrap();
    let fate = |level, part| if (level, part) == (1, 2) { Fate::NoRoom } else { Fate::Fits };
    let saved = Files::new(directory.path(), 2, fate).run(&[1, 31], None).unwrap();
    assert_eq!(saved.level.get(), 31);
    for name in ["dump0", "dump1"] {
        assert_eq!(std::fs::read(directory.path().join(name)).unwrap(), [31]);
    }
}

#[test]
fn nothing_is_collected_unless_every_output_opens() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("dump1"), "").unwrap();
    let files = Files::new(directory.path(), 2, |_, _| panic!("collected"));
    assert!(files.run(&[31], None).err().unwrap().starts_with("open: "));
    assert_eq!(names(directory.path()), ["dump1"]);
}
