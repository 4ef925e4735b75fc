//! One cpio archive of an initramfs: `newc` (070701) or with checksums (070702), as the kernel takes it.
//! Source: Linux `Documentation/driver-api/early-userspace/buffer-format.rst` and `init/initramfs.c`.

use super::Error;
use super::keep::Keeper;
use super::tree::{Builder, Kind, LinkKey, Member};
use std::io::Read;

/// How an archive begins.
pub(super) const MAGICS: [&[u8; 6]; 2] = [b"070701", b"070702"];
const HEADER: usize = 110;
/// `PATH_MAX`, with the final zero byte.
const MAX_NAME: u32 = 4096;
const TRAILER: &[u8] = b"TRAILER!!!";

/// The header of a member: 8 hexadecimal digits a field.
struct Header {
    has_sum: bool,
    inode: u32,
    mode: u32,
    owner: u32,
    links: u32,
    size: u32,
    device: [u32; 2],
    name: u32,
    sum: u32,
}

impl Header {
    fn parse(bytes: &[u8; HEADER]) -> Result<Header, Error> {
        let (magic, fields) = bytes.split_at(6);
        if !MAGICS.iter().any(|known| magic == *known) {
            return Err(Error::Cpio("no header where one must be"));
        }
        let mut values = [0; 13];
        for (value, digits) in values.iter_mut().zip(fields.chunks_exact(8)) {
            *value = number(digits).ok_or(Error::Cpio("a header field is not a number"))?;
        }
        let [inode, mode, owner, _, links, _, size, major, minor, _, _, name, sum] = values;
        let has_sum = magic == MAGICS[1];
        Ok(Header { has_sum, inode, mode, owner, links, size, device: [major, minor], name, sum })
    }

    /// What tells the names of one file from those of others.
    fn link_key(&self) -> Option<LinkKey> {
        let [major, minor] = self.device;
        (self.links >= 2).then_some([major, minor, self.inode, self.mode & 0o170_000])
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Reads an archive up to and with its trailer.
pub(super) fn read(source: &mut dyn Read, builder: &mut Builder, keeper: &mut Keeper) -> Result<(), Error> {
    loop {
        let mut header = [0; HEADER];
        source.read_exact(&mut header)?;
        let header = Header::parse(&header)?;
        let name = read_name(source, header.name)?;
        if name == TRAILER {
            keeper.skip(header.size.into(), source)?;
            builder.forget_links();
            return Ok(());
        }
        keeper.count(name.len())?;
        let mut body = Summed { source: &mut *source, sum: 0 };
        read_body(&header, &name, &mut body, builder, keeper)?;
        let sum = body.sum;
        if header.has_sum && Kind::of_mode(header.mode) == Kind::File && sum != header.sum {
            return Err(Error::Cpio("a checksum is wrong"));
        }
        skip_padding(source, header.size as usize)?;
    }
}

fn read_body(
    header: &Header,
    name: &[u8],
    body: &mut dyn Read,
    builder: &mut Builder,
    keeper: &mut Keeper,
) -> Result<(), Error> {
    let size = u64::from(header.size);
    let Some(path) = builder.place(name) else { return keeper.skip(size, body) };
    match Kind::of_mode(header.mode) {
        Kind::File => {
            let key = header.link_key();
            let keep = key.is_some() || builder.is_shared(&path);
            let member = keeper.file(&path, header.mode, size, body, keep)?.of(header.owner);
            builder.add_file(path, key, member);
        }
        Kind::Link => {
            let target = read_target(header.size, body, keeper)?;
            builder.add(path, Member { size, target, ..Member::new(header.mode).of(header.owner) });
        }
        Kind::Directory | Kind::Other => {
            keeper.skip(size, body)?;
            builder.add(path, Member::new(header.mode).of(header.owner));
        }
    }
    Ok(())
}

/// The name up to its first zero byte, which is where the kernel stops.
fn read_name(source: &mut dyn Read, length: u32) -> Result<Vec<u8>, Error> {
    if length == 0 || length > MAX_NAME {
        return Err(Error::Cpio("a name is empty or too long"));
    }
    let mut name = vec![0; length as usize];
    source.read_exact(&mut name)?;
    skip_padding(source, HEADER + name.len())?;
    let end = name.iter().position(|&byte| byte == 0).ok_or(Error::Cpio("a name does not end"))?;
    name.truncate(end);
    Ok(name)
}

fn read_target(length: u32, body: &mut dyn Read, keeper: &mut Keeper) -> Result<Vec<u8>, Error> {
    if length > MAX_NAME {
        return Err(Error::Cpio("the target of a link is too long"));
    }
    let mut target = vec![0; length as usize];
    body.read_exact(&mut target)?;
    keeper.count_bytes(target.len())?;
    let end = target.iter().position(|&byte| byte == 0).unwrap_or(target.len());
    target.truncate(end);
    Ok(target)
}

/// Everything starts at a multiple of 4.
fn skip_padding(source: &mut dyn Read, length: usize) -> Result<(), Error> {
    let mut padding = [0; 3];
    Ok(source.read_exact(&mut padding[..length.wrapping_neg() % 4])?)
}

/// Adds up the bytes that are read.
struct Summed<'a> {
    source: &'a mut dyn Read,
    sum: u32,
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.source.read(buffer)?;
        self.sum = buffer[..got].iter().fold(self.sum, |sum, &byte| sum.wrapping_add(byte.into()));
        Ok(got)
    }
}
