//! What the fuzz targets do with bytes, one file each, so that `tests/fuzz_seeds.rs` can compile and run them without a
//! fuzzer; `fuzz_targets/` only hands the fuzzer's bytes on. Here is what several share: the tests' key pair, and
//! authentic files around any bytes, as a forger makes them who knows a recipient.

pub mod age_header;
pub mod btf;
pub mod check;
pub mod dump;
pub mod facts;
pub mod flattened;
pub mod frames;
pub mod image;
pub mod image_answer;
pub mod image_systems;
pub mod kallsyms;
pub mod keys;
pub mod klog;
pub mod kmsg;
pub mod payload;
pub mod plain;
pub mod raw_frame;
pub mod report;
pub mod vmcore;
pub mod vmcoreinfo;

use std::error::Error;
use std::io::Write;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use vmcore_encrypt::crypt::recipients::parse_lines;
use vmcore_encrypt::crypt::{EncryptWriter, Entropy, Identities, NoPrompt, Recipients};
use vmcore_encrypt::mm::KernelRead;
use vmcore_encrypt::units::{ByteOrder, VirtAddr};
use vmcore_encrypt::vmcore::VmcoreInfo;

/// What a target does with bytes.
type Run = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Run); 20] = [
    ("age_header", age_header::run),
    ("btf", btf::run),
    ("check", check::run),
    ("dump", dump::run),
    ("facts", facts::run),
    ("flattened", flattened::run),
    ("frames", frames::run),
    ("image", image::run),
    ("image_answer", image_answer::run),
    ("image_systems", image_systems::run),
    ("kallsyms", kallsyms::run),
    ("keys", keys::run),
    ("klog", klog::run),
    ("kmsg", kmsg::run),
    ("payload", payload::run),
    ("plain", plain::run),
    ("raw_frame", raw_frame::run),
    ("report", report::run),
    ("vmcore", vmcore::run),
    ("vmcoreinfo", vmcoreinfo::run),
];

/// The tests' identity, and its recipient in a comment.
pub const IDENTITY: &str = include_str!("../../vectors/identity.txt");

/// The identity, read.
pub static IDENTITIES: LazyLock<Identities> = LazyLock::new(|| {
    let mut identities = Identities::new(Arc::new(NoPrompt));
    identities.add_file("fuzz", IDENTITY.as_bytes()).unwrap();
    identities
});

/// The recipient, read.
pub static RECIPIENTS: LazyLock<Recipients> = LazyLock::new(|| {
    let line = IDENTITY.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    Recipients::new(parse_lines(line.as_bytes()).unwrap()).unwrap()
});

/// Calls `action` with randomness.
pub fn with_entropy<T>(action: impl FnOnce(&mut Entropy<'_>) -> T) -> T {
    action(&mut Entropy { limit: Duration::from_secs(10), notify: &mut |_| {} })
}

/// An authentic age file that holds `plain`.
pub fn sealed(plain: &[u8]) -> Vec<u8> {
    let (header, key) = with_entropy(|entropy| RECIPIENTS.wrap(entropy)).unwrap();
    let mut writer = EncryptWriter::new(header, key);
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}

/// A kernel's memory that holds anything: the first line of the input is VMCOREINFO with `;` for line feeds, the rest
/// is the memory at every address.
pub struct Garbage<'a> {
    info: VmcoreInfo,
    memory: &'a [u8],
}

impl Garbage<'_> {
    /// Takes an input apart.
    pub fn new(bytes: &[u8]) -> Garbage<'_> {
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
        let (line, memory) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
        let text: Vec<u8> = line.iter().map(|&byte| if byte == b';' { b'\n' } else { byte }).collect();
        Garbage { info: VmcoreInfo::parse(&text), memory }
    }
}

impl KernelRead for Garbage<'_> {
    fn info(&self) -> &VmcoreInfo {
        &self.info
    }

    fn byte_order(&self) -> ByteOrder {
        ByteOrder::Little
    }

    fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.memory.is_empty() {
            return Err("no memory".into());
        }
        for (byte, offset) in buf.iter_mut().zip(0..) {
            *byte = self.memory[(at.0.wrapping_add(offset) % self.memory.len() as u64) as usize];
        }
        Ok(())
    }
}
