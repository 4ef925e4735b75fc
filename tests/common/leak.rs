//! The search for planted secrets: [`Secrets`] are what one guest's memory held (see `tests/vm/guest/plant`), and
//! [`Secrets::find`] tells which of them are in a file, at any byte.
//!
//! The secrets are mostly random pages. No compressor can shorten those, so they stand in a compressed dump as they
//! stood in memory: a dump that is compressed but not encrypted is caught too.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes of each piece that is searched for: far beyond chance, short enough to lie whole in any compressed block.
const PIECE: usize = 16;
/// Distance between the pieces of a random file.
const PAGE: usize = 4096;

/// The secrets of one guest.
pub(crate) struct Secrets {
    names: BTreeSet<String>,
    pieces: HashMap<[u8; PIECE], String>,
    /// Whether a piece starts with these two bytes: one look per byte searched instead of a hash.
    starts: Vec<bool>,
}

impl Secrets {
    /// Reads what the lab planted: lines (`slab`, `klog`), known by their end, and files of random pages.
    pub(crate) fn load(dir: &Path) -> Secrets {
        let mut secrets =
            Secrets { names: BTreeSet::new(), pieces: HashMap::new(), starts: vec![false; 1 << 16] };
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let line = bytes.trim_ascii_end();
            if bytes.len() < PAGE {
                secrets.add(name, &line[line.len() - PIECE..]);
            } else {
                bytes.chunks_exact(PAGE).for_each(|page| secrets.add(name, &page[..PIECE]));
            }
        }
        assert!(!secrets.names.is_empty(), "no secrets in {}", dir.display());
        secrets
    }

    fn add(&mut self, name: &str, piece: &[u8]) {
        let piece: [u8; PIECE] = piece.try_into().unwrap();
        self.starts[usize::from(u16::from_le_bytes([piece[0], piece[1]]))] = true;
        self.names.insert(name.to_owned());
        self.pieces.insert(piece, name.to_owned());
    }

    /// The names of all secrets.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// The names of the secrets that a file holds.
    pub(crate) fn find(&self, path: &Path) -> BTreeSet<String> {
        let mut file = File::open(path).unwrap_or_else(|error| panic!("opening {}: {error}", path.display()));
        let mut found = BTreeSet::new();
        let mut buffer = Vec::new();
        loop {
            // The end of what was searched stays in front of what comes: a piece may lie across.
            buffer.drain(..buffer.len().saturating_sub(PIECE - 1));
            if file.by_ref().take(8 << 20).read_to_end(&mut buffer).unwrap() == 0 {
                return found;
            }
            self.search(&buffer, &mut found);
        }
    }

    fn search(&self, bytes: &[u8], found: &mut BTreeSet<String>) {
        for window in bytes.windows(PIECE) {
            if self.starts[usize::from(u16::from_le_bytes([window[0], window[1]]))]
                && let Some(name) = self.pieces.get(window)
            {
                found.insert(name.clone());
            }
        }
    }

    /// Fails if any file below `dir`, but for the secrets themselves, holds a secret.
    pub(crate) fn assert_nowhere_in(&self, dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with("secrets") => {}
                true => self.assert_nowhere_in(&path),
                false => {
                    let found = self.find(&path);
                    assert!(found.is_empty(), "plaintext of {found:?} in {}", path.display());
                }
            }
        }
    }
}
