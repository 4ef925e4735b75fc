//! The machine that is checked: its files below a root, so that another machine's tree can be checked
//! too, and its block devices.

use crate::crypt::recipients::DEFAULT_FILE;
use crate::trust;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The collector as the packages install it for images, apart from the command, which can do more and is larger.
const COLLECTOR: &str = "/usr/lib/vmcore-encrypt/vmcore-encrypt";
/// Configuration and sysfs files are small; nothing larger is read.
const MAX_FILE: u64 = 1 << 20;
/// Device stacks are a few layers; a loop in a made-up sysfs must end.
const MAX_LAYERS: usize = 16;

/// A machine by its files.
pub(super) struct Machine {
    root: PathBuf,
    /// The recipients file, as the machine names it.
    pub recipients: PathBuf,
}

impl Machine {
    /// The machine below `root`.
    pub(super) fn new(root: &Path, recipients: Option<&Path>) -> Machine {
        Machine {
            root: root.to_owned(),
            recipients: recipients.unwrap_or(Path::new(DEFAULT_FILE)).to_owned(),
        }
    }

    /// Whether this is the running machine.
    pub(super) fn is_this(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a file of the machine is for us.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A file's text; bytes that are no UTF-8 are replaced.
    pub(super) fn read(&self, path: impl AsRef<Path>) -> io::Result<String> {
        self.read_bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A file's first bytes, at most 1 MiB.
    pub(super) fn read_bytes(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        trust::open(&self.path(path))?.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A whole file of at most `limit` bytes, such as a program.
    #[cfg(feature = "check")]
    pub(super) fn read_whole(&self, path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        trust::open(&self.path(path))?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 <= limit { Ok(bytes) } else { Err(io::ErrorKind::FileTooLarge.into()) }
    }

    /// A number in a file such as those of sysfs.
    pub(super) fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.read(path).ok()?.trim().parse().ok()
    }

    /// When a file was last changed.
    pub(super) fn changed(&self, path: impl AsRef<Path>) -> Option<SystemTime> {
        self.path(path).metadata().and_then(|data| data.modified()).ok()
    }

    /// Whether a unit is enabled for a target: systemd's link is there.
    pub(super) fn is_enabled(&self, unit: &str, target: &str) -> bool {
        self.path(format!("/etc/systemd/system/{target}.wants/{unit}")).symlink_metadata().is_ok()
    }

    /// A program by name or path, as the machine's kdump scripts would find it.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        let directories = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
        let candidates: Vec<PathBuf> = if name.contains('/') {
            vec![name.into()]
        } else {
            directories.iter().map(|directory| Path::new(directory).join(name)).collect()
        };
        candidates.into_iter().find(|path| self.path(path).is_file())
    }

    /// The collector that goes into images: the small build of the package, or the only one there is.
    pub(super) fn collector(&self) -> Option<PathBuf> {
        self.program(COLLECTOR).or_else(|| self.program("vmcore-encrypt"))
    }

    /// The kernel's name for a device given by path or as `UUID=`, `LABEL=`, `PARTUUID=`, `PARTLABEL=`.
    pub(super) fn device(&self, spec: &str) -> Option<String> {
        let path = match spec.split_once('=') {
            Some((tag, value)) => {
                format!("/dev/disk/by-{}/{}", tag.to_ascii_lowercase(), value.trim_matches('"'))
            }
            None => spec.to_owned(),
        };
        let path = fs::canonicalize(self.path(path)).ok()?;
        Some(path.file_name()?.to_string_lossy().into_owned())
    }

    /// The layers of encryption under a block device, by their device-mapper ids; none when it is plain.
    /// Source: cryptsetup `lib/libdevmapper.c`, ids that begin with `CRYPT-`.
    pub(super) fn encryption(&self, device: &str) -> Vec<String> {
        self.encryption_below(device, MAX_LAYERS)
    }

    fn encryption_below(&self, device: &str, layers: usize) -> Vec<String> {
        let directory = Path::new("/sys/class/block").join(device);
        let id = self.read(directory.join("dm/uuid")).unwrap_or_default();
        let mut found: Vec<String> =
            Some(id.trim().to_owned()).filter(|id| id.starts_with("CRYPT-")).into_iter().collect();
        let below = fs::read_dir(self.path(directory.join("slaves"))).into_iter().flatten().flatten();
        if let Some(layers) = layers.checked_sub(1) {
            // A loop in a made-up sysfs must not fan out either.
            for entry in below.take(MAX_LAYERS).take_while(|_| found.len() < MAX_LAYERS).collect::<Vec<_>>() {
                found.extend(self.encryption_below(&entry.file_name().to_string_lossy(), layers));
            }
        }
        found
    }
}
