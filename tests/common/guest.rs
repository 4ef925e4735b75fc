//! A guest that crashes: [`Guest`] describes it, [`Guest::crash`] runs it by `tests/vm/crash.sh` with a job in its
//! capture kernel, [`Crash`] is what remains: console, secrets, and the [`Disk`]s the job wrote.

use super::leak::Secrets;
use super::{Absent, collector, lab, scratch, succeed};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every job can use: `try NAME COMMAND...` reports the command's status, on the console only.
pub(crate) const PRELUDE: &str = r#"
try() {
    name=$1
    shift
    "$@"
    echo "LAB: $name status $?" >&2
}
"#;

/// A guest to be.
pub(crate) struct Guest {
    work: PathBuf,
    args: Vec<OsString>,
}

impl Guest {
    /// A guest with a kernel of Debian's `suite`, with the collector in its capture image. `name` is the test's.
    pub(crate) fn new(name: &str, suite: &str) -> Guest {
        Guest::with(name, suite, collector())
    }

    /// The same with a collector of another machine's, which the suite names.
    pub(crate) fn with(name: &str, suite: &str, collector: &Path) -> Guest {
        let guest = Guest { work: scratch(&format!("vm-{name}")), args: Vec::new() };
        guest.arg("--suite", suite).arg("--program", collector)
    }

    /// Where the guest's files lie; every file in it is searched for plaintext.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    fn arg(mut self, option: &str, value: impl Into<OsString>) -> Guest {
        self.args.extend([option.into(), value.into()]);
        self
    }

    /// Attaches a disk: the first is /dev/vdb.
    pub(crate) fn disk(self, disk: &Disk) -> Guest {
        self.arg("--disk", &disk.image)
    }

    /// Puts a file into the capture image.
    pub(crate) fn file(self, source: &Path, target: &str) -> Guest {
        let pair = format!("{}:{target}", source.display());
        self.arg("--file", pair)
    }

    /// Puts a program of the host's into the capture image, as /bin/NAME with its libraries.
    pub(crate) fn program(self, path: &str) -> Guest {
        self.arg("--program", path)
    }

    /// Attaches a network card; the host is 10.0.2.2.
    pub(crate) fn net(mut self) -> Guest {
        self.args.push("--net".into());
        self
    }

    /// The same, and its NFS server is at this port of the host.
    pub(crate) fn serve(self, port: u16) -> Guest {
        self.arg("--serve", port.to_string())
    }

    /// Gives the guest memory and its capture kernel a part of it, as `512` MB and `192M`.
    pub(crate) fn memory(self, megabytes: &str, reserved: &str) -> Guest {
        self.arg("--memory", megabytes).arg("--crashkernel", reserved)
    }

    /// Runs `dir`/job, a shell script, in the first kernel before the crash; there `dir` is /mnt/running.
    pub(crate) fn running(self, dir: &Path) -> Guest {
        self.arg("--running", dir)
    }

    /// Adds words to the capture kernel's command line.
    pub(crate) fn append(self, words: &str) -> Guest {
        self.arg("--append", words)
    }

    /// Adds words to the command line of the kernel that crashes.
    pub(crate) fn first(self, words: &str) -> Guest {
        self.arg("--first", words)
    }

    /// Keeps what a firmware keeps: memory in the file, as over a warm start, or variables in the directory.
    pub(crate) fn keeping(self, kept: &Kept) -> Guest {
        let [option, path] = kept.option();
        self.arg(option, path)
    }

    /// Sets the processor, in QEMU's words.
    pub(crate) fn cpu(self, model: &str) -> Guest {
        self.arg("--cpu", model)
    }

    /// Boots the guest, crashes it, and runs the job, a shell script, in the capture kernel.
    pub(crate) fn crash(self, job: &str) -> Result<Crash, Absent> {
        let script = self.work.join("job");
        std::fs::write(&script, format!("{PRELUDE}\n{job}")).unwrap();
        self.arg("--job", script).boot()
    }

    /// Boots the guest and crashes it; the capture kernel has this whole image, and these words on its command line.
    pub(crate) fn crash_into(self, image: &Path, append: &str) -> Result<Crash, Absent> {
        self.arg("--image", image).arg("--append", append).boot()
    }

    fn boot(self) -> Result<Crash, Absent> {
        let work = self.work.clone();
        let guest = self.arg("--work", work);
        lab("crash.sh", &guest.args)?;
        let console = super::text(&std::fs::read(guest.work.join("console.log")).unwrap());
        Ok(Crash { secrets: Secrets::load(&guest.work.join("secrets")), console, work: guest.work })
    }
}

/// What outlives a guest and is there when the next one starts.
pub(crate) enum Kept {
    /// A file with its memory.
    Memory(PathBuf),
    /// A directory with the variables of its EFI firmware.
    Variables(PathBuf),
}

impl Kept {
    /// The option of `tests/vm/crash.sh` and `boot.sh`, with its value.
    pub(crate) fn option(&self) -> [&str; 2] {
        match self {
            Kept::Memory(path) => ["--ram", path.to_str().unwrap()],
            Kept::Variables(path) => ["--efi", path.to_str().unwrap()],
        }
    }
}

/// What remains of a guest.
pub(crate) struct Crash {
    pub work: PathBuf,
    pub console: String,
    pub secrets: Secrets,
}

impl Crash {
    /// The status of `try NAME`.
    pub(crate) fn status(&self, name: &str) -> i32 {
        let start = format!("LAB: {name} status ");
        let line = self.console.lines().find_map(|line| line.strip_prefix(&start));
        line.and_then(|status| status.trim().parse().ok())
            .unwrap_or_else(|| panic!("no status of {name} on the console:\n{}", self.console))
    }

    /// The most memory, in bytes, of each collector that was run with -D.
    pub(crate) fn peaks(&self) -> Vec<u64> {
        let lines = self.console.lines().filter_map(|line| line.split_once("debug: peak memory "));
        let kib = lines.map(|(_, kib)| kib.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap());
        kib.map(|kib| kib << 10).collect()
    }

    pub(crate) fn secrets_dir(&self) -> PathBuf {
        self.work.join("secrets")
    }

    /// Fails if a disk, the console or anything received holds plaintext of the crashed kernel.
    pub(crate) fn assert_no_plaintext(&self) {
        self.secrets.assert_nowhere_in(&self.work);
    }
}

impl Drop for Crash {
    /// What a test that passed leaves would fill the disk; what one that fails leaves is its evidence.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.work);
        }
    }
}

/// A disk image of the host's.
pub(crate) struct Disk {
    pub image: PathBuf,
}

impl Disk {
    /// An empty disk.
    pub(crate) fn raw(dir: &Path, name: &str, megabytes: u64) -> Disk {
        let image = dir.join(name);
        std::fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        Disk { image }
    }

    pub(crate) fn ext4(dir: &Path, name: &str, megabytes: u64) -> Disk {
        let disk = Disk::raw(dir, name, megabytes);
        succeed(sbin("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(&disk.image));
        disk
    }

    /// With the files of `tree`.
    pub(crate) fn filled(dir: &Path, name: &str, megabytes: u64, tree: &Path) -> Disk {
        let disk = Disk::raw(dir, name, megabytes);
        succeed(sbin("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(tree).arg(&disk.image));
        disk
    }

    pub(crate) fn vfat(dir: &Path, name: &str, megabytes: u64) -> Disk {
        let disk = Disk::raw(dir, name, megabytes);
        succeed(sbin("mkfs.vfat").arg(&disk.image));
        disk
    }

    /// Swap space.
    pub(crate) fn swap(dir: &Path, name: &str, megabytes: u64) -> Disk {
        let disk = Disk::raw(dir, name, megabytes);
        succeed(sbin("mkswap").args(["-q", "--label", "crash"]).arg(&disk.image));
        disk
    }

    /// A LUKS2 volume with this volume key of 64 bytes, and nothing in it.
    pub(crate) fn luks2(dir: &Path, name: &str, megabytes: u64, volume_key: &Path) -> Disk {
        let disk = Disk::raw(dir, name, megabytes);
        let mut format = sbin("cryptsetup");
        format.args(["luksFormat", "-q", "--type", "luks2", "--key-size", "512", "--volume-key-file"]);
        format.arg(volume_key).args(["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]);
        succeed(format.arg(&disk.image).arg(volume_key));
        disk
    }

    /// Copies a file out of an ext4 disk.
    pub(crate) fn take_ext4(&self, file: &str, to: &Path) {
        let request = format!("dump {file} {}", to.display());
        succeed(sbin("debugfs").args(["-R", &request]).arg(&self.image));
        assert!(to.exists(), "no {file} on {}", self.image.display());
    }

    /// Copies a file out of a FAT disk.
    pub(crate) fn take_vfat(&self, file: &str, to: &Path) {
        succeed(Command::new("mcopy").arg("-i").arg(&self.image).arg(format!("::{file}")).arg(to));
    }

    /// Copies a directory out of a FAT disk.
    pub(crate) fn take_vfat_directory(&self, directory: &str, to: &Path) {
        succeed(
            Command::new("mcopy").arg("-s").arg("-i").arg(&self.image).arg(format!("::{directory}")).arg(to),
        );
    }

    /// Copies a directory out of an ext4 disk.
    pub(crate) fn take_ext4_directory(&self, directory: &str, to: &Path) {
        let request = format!("rdump /{directory} {}", to.display());
        succeed(sbin("debugfs").args(["-R", &request]).arg(&self.image));
    }

    /// The names in the root of an ext4 disk.
    pub(crate) fn names_ext4(&self) -> Vec<String> {
        let listing = succeed(sbin("debugfs").args(["-R", "ls -p /"]).arg(&self.image));
        let names = listing.lines().filter_map(|line| line.split('/').nth(5)).map(str::to_owned);
        names.filter(|name| !["", ".", "..", "lost+found"].contains(&name.as_str())).collect()
    }
}

/// A program that only root has on the path.
fn sbin(name: &str) -> Command {
    let place =
        ["/usr/sbin", "/sbin"].map(|dir| Path::new(dir).join(name)).into_iter().find(|path| path.exists());
    Command::new(place.unwrap_or_else(|| PathBuf::from(name)))
}
