//! There and back without a file of plain pages in between: a vmcore through the collector and the restorer.

use std::io::Cursor;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use vmcore_encrypt::blocks::ClassCounts;
use vmcore_encrypt::collect::{self, Options};
use vmcore_encrypt::crypt::recipients::parse_lines;
use vmcore_encrypt::crypt::{Entropy, Identities, NoPrompt, Recipients};
use vmcore_encrypt::filter::DumpLevel;
use vmcore_encrypt::restore::{self, Codec, Output, OutputFile};
use vmcore_encrypt::vmcore::Vmcore;

const IDENTITY: &str = include_str!("../vectors/identity.txt");
const THREADS: NonZero<usize> = NonZero::new(2).unwrap();

/// A dump and what the collector said of it.
pub(crate) struct Dump {
    pub bytes: Vec<u8>,
    pub pages: ClassCounts,
    /// The first page that could not be read, with its cause.
    pub first_failure: Option<String>,
}

/// Collects everything at a level.
pub(crate) fn collect(vmcore: &Vmcore, level: u8) -> Result<Dump, collect::Error> {
    let line = IDENTITY.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let recipients = Recipients::new(parse_lines(line.as_bytes()).unwrap()).unwrap();
    let options = Options {
        level: DumpLevel::new(level).unwrap(),
        threads: THREADS,
        compression: 1,
        limit: None,
        part: None,
        live: false,
    };
    let mut entropy = Entropy { limit: Duration::from_secs(10), notify: &mut |_| {} };
    let mut bytes = Vec::new();
    let report = collect::collect(vmcore, &recipients, &mut entropy, &options, &mut bytes, &mut |_| {})?;
    let first_failure = report.first_failure.map(|failure| format!("{failure}: {}", failure.cause));
    Ok(Dump { bytes, pages: report.pages, first_failure })
}

/// Restores a dump: to a KDUMP file at `path` with its pages as they are, or to nothing.
pub(crate) fn restore(dump: &[u8], path: Option<&Path>) {
    let mut identities = Identities::new(Arc::new(NoPrompt));
    identities.add_file("test", IDENTITY.as_bytes()).unwrap();
    let file = path.map(|path| OutputFile::create_hidden(path, true).unwrap());
    let output = file.as_ref().map_or(Output::Nothing, |file| Output::Kdump(file, Codec::None));
    restore::restore(&mut Cursor::new(dump), &identities, output, THREADS).unwrap();
    if let Some(file) = file {
        file.finish().unwrap();
    }
}
