//! What is given in the place of an encrypted dump by mistake, told by its first bytes.

use super::super::{Failure, Status, input_name};
use std::path::Path;

/// A file that is no age file, and is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// An ELF core.
    Elf,
    /// A kdump-compressed file.
    Kdump,
    /// makedumpfile's flattened stream.
    Flattened,
    /// An identity.
    Identity,
    /// A recipient.
    Recipient,
}

/// How each begins. Sources: ELF gABI; makedumpfile 1.7.9 `diskdump_mod.h` and `makedumpfile.h`; C2SP age.
const STARTS: [(&[u8], Plain); 7] = [
    (b"\x7fELF", Plain::Elf),
    (b"KDUMP   ", Plain::Kdump),
    (b"makedumpfile", Plain::Flattened),
    (b"AGE-SECRET-KEY-", Plain::Identity),
    (b"# created: ", Plain::Identity),
    (b"-----BEGIN OPENSSH", Plain::Identity),
    (b"age1", Plain::Recipient),
];

impl Plain {
    /// Bytes that tell.
    pub(super) const START: usize = 20;

    /// Refuses what is known to be no dump of ours, by its first bytes.
    ///
    /// # Errors
    /// What it is.
    pub(super) fn check(path: &Path, start: &[u8]) -> Result<(), Failure> {
        let Some(plain) = Plain::of(start) else { return Ok(()) };
        let message = format!("opening {}: not an age file: it is {}", input_name(path), plain.name());
        Err(Failure::new(Status::Failure, message).hint(plain.hint()))
    }

    fn of(start: &[u8]) -> Option<Plain> {
        STARTS.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, plain)| *plain)
    }

    fn name(self) -> &'static str {
        match self {
            Plain::Elf => "an ELF core, not encrypted",
            Plain::Kdump => "a kdump-compressed dump, not encrypted",
            Plain::Flattened => "a flattened dump of makedumpfile, not encrypted",
            Plain::Identity => "an identity",
            Plain::Recipient => "a recipient",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Plain::Elf | Plain::Kdump => "crash opens it as it is: crash vmlinux FILE",
            Plain::Flattened => "makedumpfile -R turns it into a file that crash opens",
            Plain::Identity | Plain::Recipient => "name the dump; -i names the identity file",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_dump_is_named() {
        assert_eq!(Plain::of(b"\x7fELF\x02\x01"), Some(Plain::Elf));
        assert_eq!(Plain::of(b"KDUMP   \x06\0"), Some(Plain::Kdump));
        for start in [&b"age-encryption.org/v1\n"[..], b"-----BEGIN AGE ENCRYPTED FILE-----", b"", b"text"] {
            assert_eq!(Plain::of(start), None);
        }
        assert!(STARTS.iter().all(|(magic, _)| magic.len() <= Plain::START));
    }
}
