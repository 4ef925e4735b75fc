//! Page descriptors: 24 bytes for every page of the second bitmap, in pfn order. Source: makedumpfile
//! `diskdump_mod.h`, struct `page_desc`.

use crate::units::ByteOrder;

/// Bytes of a descriptor.
pub const DESC_LEN: usize = 24;

/// How a page is stored: the codec bits of a descriptor, and of the header's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DescFlags(pub u32);

impl DescFlags {
    /// As it is.
    pub const RAW: DescFlags = DescFlags(0);
    /// A zlib stream.
    pub const ZLIB: DescFlags = DescFlags(0x01);
    /// An LZO1X block.
    pub const LZO: DescFlags = DescFlags(0x02);
    /// A raw snappy block.
    pub const SNAPPY: DescFlags = DescFlags(0x04);
    /// A zstd frame.
    pub const ZSTD: DescFlags = DescFlags(0x20);
}

/// Where and how one page is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageDesc {
    /// Position in the file, bytes.
    pub offset: u64,
    /// Stored length, bytes.
    pub size: u32,
    /// Descriptor flags.
    pub flags: DescFlags,
}

impl PageDesc {
    /// Encodes a descriptor in the dump's byte order: offset (u64, bytes from file start), size (u32,
    /// bytes), descriptor flags (u32), page flags (u64, 0). Cannot fail.
    #[must_use]
    pub fn encode(&self, order: ByteOrder) -> [u8; DESC_LEN] {
        let mut bytes = [0; DESC_LEN];
        bytes[..8].copy_from_slice(&order.u64_bytes(self.offset));
        bytes[8..12].copy_from_slice(&order.u32_bytes(self.size));
        bytes[12..16].copy_from_slice(&order.u32_bytes(self.flags.0));
        bytes
    }

    /// Reads a descriptor back; its page flags are not kept.
    #[must_use]
    pub fn parse(bytes: &[u8; DESC_LEN], order: ByteOrder) -> PageDesc {
        let (offset, rest) = bytes.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let word = |at: usize| rest.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        PageDesc {
            offset: order.u64(*offset),
            size: order.u32(word(0)),
            flags: DescFlags(order.u32(word(4))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let desc = PageDesc { offset: 0x0102_0304_0506_0708, size: 0x1000, flags: DescFlags::ZSTD };
        let little = *b"\x08\x07\x06\x05\x04\x03\x02\x01\0\x10\0\0\x20\0\0\0\0\0\0\0\0\0\0\0";
        let big = *b"\x01\x02\x03\x04\x05\x06\x07\x08\0\0\x10\0\0\0\0\x20\0\0\0\0\0\0\0\0";
        assert_eq!(desc.encode(ByteOrder::Little), little);
        assert_eq!(desc.encode(ByteOrder::Big), big);
        assert_eq!(PageDesc::parse(&little, ByteOrder::Little), desc);
        assert_eq!(PageDesc::parse(&big, ByteOrder::Big), desc);
    }
}
