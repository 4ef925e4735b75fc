//! What is kept of a file while it streams by: the bytes of those that are compared and of a file system inside, and
//! whether a private key is in it. Counts everything against the limits.

use super::secrets::Search;
use super::tree::Member;
use super::{Error, Limits};
use std::io::{self, Read};

/// A file system as dracut's squash modules name it. Source: dracut 059 `dracut.sh`, dracut-ng 104 and later
/// `95squash-squashfs`, `95squash-erofs`.
const NESTED: [&[u8]; 3] = [b"squashfs-root.img", b"erofs-root.img", b"squash-root.img"];
/// What initramfs-tools runs before it opens the root file system, in order.
const ORDER: &[u8] = b"scripts/local-top/ORDER";
/// A private key is no larger. Its file is kept: the public half in it is compared with the recipients.
const MAX_KEY: u64 = 64 << 10;
const STEP: usize = 64 << 10;

/// Whether a file of an image is compared with an installed one, by its path.
pub(super) fn is_compared(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let ours = b"vmcore-encrypt";
    path.windows(ours.len()).any(|window| window == ours)
        || name.starts_with(b"age-plugin-")
        || name == b"vmcore-dmesg"
        || path == ORDER
}

/// What the bytes of a file are read for. Every file is searched for private keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// They are a file system.
    Nested,
    /// They are compared.
    Compare,
    /// They are kept if a private key is among them.
    Key,
    /// Nothing else.
    Search,
}

/// Takes in the files of an image.
#[derive(Debug)]
pub(super) struct Keeper {
    left: Limits,
    nested: Option<Vec<u8>>,
    is_nested: bool,
}

impl Keeper {
    /// With these limits.
    pub(super) fn new(limits: Limits) -> Keeper {
        Keeper { left: limits, nested: None, is_nested: false }
    }

    /// The file system inside. It is searched for no further one.
    pub(super) fn take_nested(&mut self) -> Option<Vec<u8>> {
        self.is_nested = true;
        self.nested.take()
    }

    /// Bytes that may still come out of decompression.
    pub(super) fn unpacked_left(&self) -> u64 {
        self.left.unpacked
    }

    /// Counts a member and its name.
    pub(super) fn count(&mut self, name: usize) -> Result<(), Error> {
        self.left.members = self.left.members.checked_sub(1).ok_or(Error::Limit("too many files"))?;
        self.left.names = self.left.names.checked_sub(name).ok_or(Error::Limit("names too long"))?;
        Ok(())
    }

    /// Counts the target of a link.
    pub(super) fn count_bytes(&mut self, bytes: usize) -> Result<(), Error> {
        self.left.names = self.left.names.checked_sub(bytes).ok_or(Error::Limit("names too long"))?;
        Ok(())
    }

    /// Reads a file of `size` bytes. `keep` keeps its bytes in any case.
    pub(super) fn file(
        &mut self,
        path: &[u8],
        mode: u32,
        size: u64,
        source: &mut dyn Read,
        keep: bool,
    ) -> Result<Member, Error> {
        let purpose = self.purpose(path, size, keep);
        let (mut kept, mut search) = (Vec::new(), Search::default());
        self.pass(size, source, |keeper, bytes| {
            search.take(bytes);
            match purpose {
                Purpose::Search => return Ok(()),
                Purpose::Nested if kept.len().saturating_add(bytes.len()) > keeper.left.nested => {
                    return Err(Error::Limit("the file system inside"));
                }
                Purpose::Compare => keeper.count_kept(bytes.len())?,
                Purpose::Nested | Purpose::Key => {}
            }
            kept.extend_from_slice(bytes);
            Ok(())
        })?;
        let member = Member { size, ..Member::new(mode) };
        if purpose == Purpose::Nested {
            // What is in it is searched file by file.
            self.nested = Some(kept);
            return Ok(member);
        }
        let (has_identity, has_private_key) = (search.found.identity, search.found.private_key);
        let is_key = purpose == Purpose::Key && has_private_key && !kept.is_empty();
        if is_key {
            self.count_kept(kept.len())?;
        }
        let content = (is_key || purpose == Purpose::Compare).then_some(kept);
        Ok(Member { has_identity, has_private_key, content, ..member })
    }

    /// What the bytes of a file are read for.
    fn purpose(&self, path: &[u8], size: u64, keep: bool) -> Purpose {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        if !self.is_nested && NESTED.contains(&name) {
            Purpose::Nested
        } else if keep || is_compared(path) {
            Purpose::Compare
        } else if size <= MAX_KEY {
            Purpose::Key
        } else {
            Purpose::Search
        }
    }

    /// Counts bytes of files that are kept.
    fn count_kept(&mut self, bytes: usize) -> Result<(), Error> {
        let left = self.left.kept.checked_sub(bytes);
        self.left.kept = left.ok_or(Error::Limit("files that are compared"))?;
        Ok(())
    }

    /// Reads bytes of no use.
    pub(super) fn skip(&mut self, size: u64, source: &mut dyn Read) -> Result<(), Error> {
        self.pass(size, source, |_, _| Ok(()))
    }

    fn pass(
        &mut self,
        size: u64,
        source: &mut dyn Read,
        mut take: impl FnMut(&mut Keeper, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.left.unpacked = self.left.unpacked.checked_sub(size).ok_or(Error::Limit("files"))?;
        let mut buffer = vec![0; STEP.min(usize::try_from(size).unwrap_or(STEP))];
        let mut left = size;
        while left > 0 {
            let step = buffer.len().min(usize::try_from(left).unwrap_or(STEP));
            let got = source.read(&mut buffer[..step])?;
            if got == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            take(self, &buffer[..got])?;
            left -= got as u64;
        }
        Ok(())
    }
}
