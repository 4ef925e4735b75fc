//! A partition with a dump on it, and where the dump shall go.

use crate::common::{encrypt, run, scratch, text};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use vmcore_encrypt::unstable::raw::{FrameHeader, FrameWriter};

/// The bytes of the partition.
pub(crate) const SIZE: u64 = 8 << 20;
/// The dump's id as names show it.
pub(crate) const ID: &str = "07070707070707070707070707070707";

/// How an age file begins, as far as `collect` can see.
pub(crate) const AGE: &str = "age-encryption.org/v1
-> X25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
";

/// An age header and bytes as random as ciphertext.
pub(crate) fn content(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    AGE.bytes().chain(std::iter::repeat_with(&mut random)).take(len).collect()
}

/// The partition, a file, and the directory.
pub(crate) struct Place {
    pub dir: PathBuf,
    pub device: PathBuf,
    pub dest: PathBuf,
    pub data: Vec<u8>,
}

impl Place {
    /// With a dump of `data` on swap space.
    pub(crate) fn new(name: &str, data: Vec<u8>) -> Place {
        let dir = scratch(&format!("collect-{name}"));
        let place = Place { device: dir.join("device"), dest: dir.join("crash"), dir, data };
        place.write(&frame(&place.data, true));
        place
    }

    pub(crate) fn write(&self, device: &[u8]) {
        fs::write(&self.device, device).unwrap();
    }

    /// Runs `collect`; its exit status and what it reported.
    pub(crate) fn collect(&self, options: &[&str]) -> (i32, String) {
        let mut collect = encrypt();
        collect.arg("collect").arg("--device").arg(&self.device).arg("--dest").arg(&self.dest).args(options);
        let output = run(&mut collect);
        (output.status.code().unwrap(), text(&output.stderr))
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dest).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn file(&self, end: &str) -> PathBuf {
        self.dest.join(format!("vmcore-{ID}{end}"))
    }

    /// Whether the swap signature is back and nothing of the frame is left.
    pub(crate) fn is_freed(&self) -> bool {
        let device = fs::read(&self.device).unwrap();
        device[4086..4096] == *b"SWAPSPACE2"
            && device[..16] == [3; 16]
            && is_zero(&device[device.len() - 4096..])
    }
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// The first page of swap space.
pub(crate) fn swap() -> Vec<u8> {
    let mut page = vec![3; 4096];
    page[4086..].copy_from_slice(b"SWAPSPACE2");
    page
}

/// A partition of [`SIZE`] bytes that was swap space, with a dump; as the first release wrote it or with a copy of the
/// header.
pub(crate) fn frame(data: &[u8], has_copy: bool) -> Vec<u8> {
    let header = FrameHeader { id: [7; 16], device_size: SIZE, saved: swap() };
    let mut writer = FrameWriter::new(Vec::new(), &header);
    writer.write_all(data).unwrap();
    let mut device = writer.finish().unwrap();
    device.resize(usize::try_from(SIZE).unwrap(), 0);
    if let Some((at, copy)) = header.copy().filter(|_| has_copy) {
        device.splice(usize::try_from(at).unwrap().., copy);
    }
    device
}

pub(crate) fn remove(dir: &Path) {
    fs::remove_dir_all(dir).unwrap();
}
