//! Tables of kernels, kept in the user's cache directory from one report to the next (of `report`, of a mount's `report.txt`), by build id: most of what a report
//! reads of a dump is the same for every dump of a build.
//!
//! An entry is made by the first dump of a build that is read whole, and no dump ever replaces it: a forged dump that
//! names a build of others finds their entry there, differs from it, and is read by its own tables.

use super::super::{Failure, quoted, say};
use super::PROGRAM;
use crate::kernel::{Kernel, Mismatch, Placed, TableCache, Tables};
use crate::mm::KernelRead;
use crate::sink::safe_dir::{self, Entry, SafeDirectory};
use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The directory below that for caches (XDG Base Directory Specification).
const DIRECTORY: &str = "vmcore-decrypt/tables";
/// How the name of an entry in the making begins.
const NEW: &str = ".new-";
/// An entry in the making that is older is of a program that died.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// The most entries, of 3 to 5 MB each. When there are as many, the one used longest ago makes room, if that is so long ago.
const MAX_ENTRIES: usize = 64;
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);
/// Digits of a build id: a hash of 8 to 32 bytes.
const DIGITS: std::ops::RangeInclusive<usize> = 16..=64;
/// Tables shrink to a third.
const COMPRESSION: i32 = 3;
/// Bytes of an entry, decompressed.
const MAX_ENTRY: u64 = Tables::MAX_LEN + (1 << 16);

/// The cache of the user who runs this program.
pub(super) struct UserCache {
    /// Whether it is to be used and added to.
    pub(super) wanted: bool,
}

impl TableCache for UserCache {
    fn with_kernel(&self, memory: &dyn KernelRead, ask: &mut dyn FnMut(&Kernel<'_>)) {
        let cached = Cached::find(memory, self.wanted);
        let placed = cached.placed(memory);
        let kernel =
            placed.as_ref().map_or_else(|| Kernel::new(memory), |tables| Kernel::with_tables(memory, tables));
        ask(&kernel);
        cached.keep(&kernel);
    }
}

/// The place of one build's tables in the cache.
struct Place {
    directory: SafeDirectory,
    path: PathBuf,
    build: String,
}

/// What the cache has for a dump.
struct Cached {
    tables: Option<Tables>,
    place: Option<Place>,
}

impl Cached {
    /// The entry of the build that a memory names, unless no cache is wanted.
    fn find(memory: &dyn KernelRead, wanted: bool) -> Cached {
        let place = wanted.then(|| Place::of(memory)).flatten();
        Cached { tables: place.as_ref().and_then(Place::read), place }
    }

    /// The entry's tables in the memory, where that agrees with them.
    fn placed<'a>(&'a self, memory: &'a dyn KernelRead) -> Option<Placed<'a>> {
        let (tables, place) = (self.tables.as_ref()?, self.place.as_ref()?);
        tables.place(memory).inspect_err(|mismatch| place.report(mismatch)).ok()
    }

    /// Keeps the tables that a kernel has read for the next dump of the build, unless there are some.
    fn keep(&self, kernel: &Kernel<'_>) {
        let (Some(place), None) = (&self.place, &self.tables) else { return };
        // A kernel that does not describe itself has nothing to keep; the report tells why.
        let Ok(tables) = Tables::of(kernel) else { return };
        if let Err(error) = place.write(&tables) {
            let doing = format!("keeping the tables of this kernel in {}", quoted(&place.path));
            say(PROGRAM, "note", Failure::caused(doing, &error).message());
        }
    }
}

/// The cache's directory, by the environment.
fn directory(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // The specification has relative paths ignored.
    let set = |name: &str| variable(name).filter(|path| path.is_absolute());
    let caches = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    caches.map(|caches| caches.join(DIRECTORY))
}

/// A build id as a name: lower-case digits of a hash. It comes from the dump.
fn build_of(memory: &dyn KernelRead) -> Option<String> {
    // Since Linux commit 0935288c6e00 ("kdump: append kernel build-id string to VMCOREINFO") (in v5.9).
    let build = memory.info().string("BUILD-ID")?;
    let is_hash = DIGITS.contains(&build.len()) && build.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| build.to_ascii_lowercase())
}

impl Place {
    /// The place of a dump's build; `None` where the dump names none, or the directory cannot be used.
    fn of(memory: &dyn KernelRead) -> Option<Place> {
        let build = build_of(memory)?;
        let path = directory(&|name| env::var_os(name).map(PathBuf::from))?;
        Place::below(&path, build)
            .inspect_err(|error| {
                let doing = format!("opening the cache of kernel tables {}", quoted(&path));
                say(PROGRAM, "note", Failure::caused(doing, error).message());
            })
            .ok()
    }

    fn below(path: &Path, build: String) -> Result<Place, safe_dir::Error> {
        let directory = SafeDirectory::open_or_create(path)?;
        Ok(Place { directory, path: path.join(&build), build })
    }

    /// The entry; `None` where there is none. A damaged one is removed: no dump can damage it.
    fn read(&self) -> Option<Tables> {
        let Ok(Entry::File(mut file)) = self.directory.entry(&self.build) else { return None };
        let tables = decode(&mut file);
        match &tables {
            // When it was used last decides what makes room; without that it only goes earlier.
            Some(_) => drop(file.set_modified(SystemTime::now())),
            None => drop(self.directory.remove(&self.build)),
        }
        tables
    }

    fn report(&self, mismatch: &Mismatch) {
        let doing = format!("using the tables of kernel build {} in the cache", self.build);
        let failure = Failure::caused(doing, mismatch);
        let Mismatch::Differs(_) = mismatch else { return say(PROGRAM, "note", failure.message()) };
        say(PROGRAM, "warning", &format!("{}; the dump's own are used", failure.message()));
        let path = quoted(&self.path);
        say(
            PROGRAM,
            "hint",
            &format!(
                "one of two dumps that name this build is forged or damaged: this one, or the one that {path} was made of"
            ),
        );
    }

    /// Writes the entry, unless there is one.
    fn write(&self, tables: &Tables) -> io::Result<()> {
        let bytes = tables.encode();
        if bytes.len() as u64 > MAX_ENTRY {
            return Err(io::Error::other("they are larger than those of any kernel"));
        }
        self.make_room()?;
        let bytes = zstd::bulk::compress(&bytes, COMPRESSION)?;
        let (mut file, name) = self.directory.create(NEW)?;
        let named = file.write_all(&bytes).and_then(|()| self.directory.rename(&name, &self.build));
        match named {
            Ok(()) => Ok(()),
            Err(error) => {
                // What cannot be removed now is removed when it is a day old.
                let _ = self.directory.remove(&name);
                // Another report of the same build was first.
                if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
            }
        }
    }

    fn make_room(&self) -> io::Result<()> {
        let now = SystemTime::now();
        let age = |name: &str| {
            let Ok(Entry::File(file)) = self.directory.entry(name) else { return Duration::ZERO };
            let modified = file.metadata().and_then(|file| file.modified());
            modified.ok().and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default()
        };
        let (new, entries): (Vec<_>, Vec<_>) = self
            .directory
            .names()?
            .into_iter()
            .filter(|name| !matches!(name.as_str(), "." | ".."))
            .partition(|name| name.starts_with(NEW));
        for name in new.iter().filter(|name| age(name) > ABANDONED) {
            self.directory.remove(name)?;
        }
        if entries.len() < MAX_ENTRIES {
            return Ok(());
        }
        let oldest = entries.iter().map(|name| (age(name), name)).max();
        match oldest {
            Some((age, name)) if age > UNUSED => self.directory.remove(name),
            _ => Err(io::Error::other(format!("{MAX_ENTRIES} kernels are kept, none unused for 30 days"))),
        }
    }
}

fn decode(file: &mut File) -> Option<Tables> {
    let mut bytes = Vec::new();
    file.take(MAX_ENTRY).read_to_end(&mut bytes).ok()?;
    let bytes = zstd::bulk::decompress(&bytes, usize::try_from(MAX_ENTRY).ok()?).ok()?;
    Tables::decode(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::safe_dir::testing::scratch;

    #[test]
    fn the_directory_is_the_users_own_for_caches() {
        let directory = |set: &[(&str, &str)]| {
            directory(&|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
        };
        let home = ("HOME", "/home/a");
        assert_eq!(directory(&[home]), Some("/home/a/.cache/vmcore-decrypt/tables".into()));
        assert_eq!(directory(&[home, ("XDG_CACHE_HOME", "/c")]), Some("/c/vmcore-decrypt/tables".into()));
        assert_eq!(directory(&[home, ("XDG_CACHE_HOME", "c")]), directory(&[home]));
        assert_eq!(directory(&[("HOME", "")]), None);
    }

    #[test]
    fn a_full_cache_gives_up_what_nobody_used_for_a_month_alone() {
        let top = scratch();
        let path = top.path().join("tables");
        let place = Place::below(&path, "ab".repeat(20)).unwrap();
        let day = Duration::from_secs(24 * 3600);
        let make = |name: &str, days: u32| {
            let file = File::create(path.join(name)).unwrap();
            file.set_modified(SystemTime::now() - days * day).unwrap();
        };
        (0..MAX_ENTRIES).for_each(|nth| make(&format!("{nth:040x}"), 29));
        assert!(place.make_room().unwrap_err().to_string().contains("64 kernels are kept"));
        make(&format!("{:040x}", 5), 31);
        make(&format!("{:040x}", 6), 32);
        make(".new-0123456789abcdef", 2);
        make(".new-1123456789abcdef", 0);
        place.make_room().unwrap();
        assert!(!path.join(format!("{:040x}", 6)).exists());
        assert!(path.join(format!("{:040x}", 5)).exists());
        assert!(!path.join(".new-0123456789abcdef").exists() && path.join(".new-1123456789abcdef").exists());
    }

    #[test]
    fn a_build_id_that_is_no_hash_names_no_entry() {
        use crate::kernel::testing::Pieces;
        use crate::units::ByteOrder;
        let build = |id: &str| build_of(&Pieces::new(ByteOrder::Little, &format!("BUILD-ID={id}\n")));
        assert_eq!(build(&"AB".repeat(20)), Some("ab".repeat(20)));
        for id in
            ["", "../../../../etc/passwd", "..", "abcdef", &"a".repeat(65), &format!("{}/x", "a".repeat(20))]
        {
            assert_eq!(build(id), None, "{id}");
        }
        assert_eq!(build_of(&Pieces::new(ByteOrder::Little, "")), None);
    }

    #[test]
    fn a_place_that_others_could_choose_is_not_used() {
        let top = scratch();
        let build = "ab".repeat(20);
        std::fs::create_dir(top.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", top.path().join("link")).unwrap();
        let parent = top.path().join("real/../real/tables");
        for path in [top.path().join("link/tables"), top.path().join("link"), parent] {
            assert!(Place::below(&path, build.clone()).is_err(), "{path:?}");
        }
        assert!(std::fs::read_dir(top.path().join("real")).unwrap().next().is_none());
        let path = top.path().join("real/tables");
        let place = Place::below(&path, build.clone()).unwrap();
        std::fs::write(&place.path, b"").unwrap();
        if !rustix::process::geteuid().is_root() {
            return;
        }
        // An entry of somebody else's is neither used nor taken away.
        std::os::unix::fs::chown(&place.path, Some(65534), None).unwrap();
        assert!(place.read().is_none() && place.path.exists());
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert!(Place::below(&path, build).is_err());
    }

    #[test]
    fn of_reports_that_write_at_once_one_makes_the_entry() {
        use crate::kernel::memory_with_tables;
        let top = scratch();
        let path = top.path().join("tables");
        let memory = memory_with_tables();
        let tables = Tables::of(&Kernel::new(&memory)).unwrap();
        let place = || Place::below(&path, "ef".repeat(20)).unwrap();
        let places: Vec<Place> = (0..8).map(|_| place()).collect();
        std::thread::scope(|scope| {
            for place in &places {
                let tables = &tables;
                scope.spawn(move || place.write(tables).unwrap());
            }
        });
        assert_eq!(
            place().directory.names().unwrap().iter().filter(|name| !name.starts_with('.')).count(),
            1
        );
        assert!(place().read().unwrap() == tables);
        let left = std::fs::read_dir(&path).unwrap().count();
        assert_eq!(left, 1, "files in the making are left");
    }

    #[test]
    fn an_entry_that_is_damaged_or_no_file_is_not_read() {
        let top = scratch();
        let path = top.path().join("tables");
        let place = Place::below(&path, "cd".repeat(20)).unwrap();
        assert!(place.read().is_none());
        for bytes in [&b""[..], b"text", &zstd::bulk::compress(b"{}\n", 3).unwrap()] {
            std::fs::write(&place.path, bytes).unwrap();
            assert!(place.read().is_none());
            assert!(!place.path.exists());
        }
        std::os::unix::fs::symlink("/etc/passwd", &place.path).unwrap();
        assert!(place.read().is_none());
        assert!(place.path.is_symlink());
    }
}
