//! Dumps of synthetic machines as test programs make and judge them: the tests' key pair, collecting, what a reader must
//! find of a page. Taken with `#[path]` by programs that also have `synth` and `readers`.
#![allow(dead_code, missing_docs, clippy::unwrap_used, reason = "each test program uses another part")]

use crate::readers::Found;
use crate::synth::{Class, Core, Presence};
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use vmcore_encrypt::blocks::ClassCounts;
use vmcore_encrypt::collect::{self, Options};
use vmcore_encrypt::crypt::recipients::parse_lines;
use vmcore_encrypt::crypt::{DecryptReader, Entropy, Identities, NoPrompt, Recipients};
use vmcore_encrypt::filter::DumpLevel;
use vmcore_encrypt::vmcore::Vmcore;

/// An identity, and its recipient in a comment.
pub(crate) const IDENTITY: &str = include_str!("../vectors/identity.txt");

pub(crate) fn identities() -> Identities {
    let mut identities = Identities::new(Arc::new(NoPrompt));
    identities.add_file("test", IDENTITY.as_bytes()).unwrap();
    identities
}

pub(crate) fn recipients() -> Recipients {
    let line = IDENTITY.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    Recipients::new(parse_lines(line.as_bytes()).unwrap()).unwrap()
}

pub(crate) fn with_entropy<T>(action: impl FnOnce(&mut Entropy<'_>) -> T) -> T {
    action(&mut Entropy { limit: Duration::from_secs(10), notify: &mut |_| {} })
}

/// An encrypted dump and what its collector counted.
pub(crate) struct Dump {
    pub bytes: Vec<u8>,
    pub pages: ClassCounts,
    pub complete: bool,
}

pub(crate) fn collect(vmcore: &Path, level: u8, threads: usize, limit: Option<u64>) -> Dump {
    let options = Options {
        level: DumpLevel::new(level).unwrap(),
        threads: NonZero::new(threads).unwrap(),
        compression: 1,
        limit,
        part: None,
        live: false,
    };
    let vmcore = Vmcore::open(vmcore).unwrap();
    let mut bytes = Vec::new();
    let report = with_entropy(|entropy| {
        collect::collect(&vmcore, &recipients(), entropy, &options, &mut bytes, &mut |_| {}).unwrap()
    });
    assert_eq!(report.written, bytes.len() as u64);
    Dump { bytes, pages: report.pages, complete: report.complete }
}

/// The decrypted stream of a dump.
pub(crate) fn plaintext(dump: &[u8]) -> Vec<u8> {
    let mut rest = dump;
    let key = identities().open(&mut rest).unwrap().key;
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut DecryptReader::new(rest, key), &mut plain).unwrap();
    plain
}

/// What a reader must find of a page, from the description of the machine alone.
pub(crate) fn expected(core: &Core, classes: &[Class], pfn: u64) -> Found {
    match (core.presence(pfn), classes[usize::try_from(pfn).unwrap()]) {
        (Presence::Hole, _) => Found::Absent,
        (Presence::Data, Class::Kept) => {
            let mut bytes = vec![0; usize::try_from(core.page_size()).unwrap()];
            core.read_page(pfn, &mut bytes);
            Found::Bytes(bytes)
        }
        _ => Found::Excluded,
    }
}
