//! The flattened format: a header, then records of (offset, size, data) that say where their data lies
//! in the plain file. All framing numbers are big-endian i64. Source: makedumpfile `makedumpfile.h`,
//! struct `makedumpfile_header` and `makedumpfile_data_header`.

/// Bytes of the header in front of the first record.
pub const FLAT_HEADER_LEN: usize = 4096;

/// The record that ends a stream: offset and size are -1.
pub const END_RECORD: [u8; 16] = [0xff; 16];

/// The header: signature, type 1, version 1, zeros up to 4096 bytes.
#[must_use]
pub fn flat_header() -> Vec<u8> {
    let mut header = vec![0; FLAT_HEADER_LEN];
    header[..12].copy_from_slice(b"makedumpfile");
    header[16..24].copy_from_slice(&1i64.to_be_bytes());
    header[24..32].copy_from_slice(&1i64.to_be_bytes());
    header
}

/// The head of a record: `size` bytes of data belong at byte `offset` of the plain file.
#[must_use]
pub fn record_head(offset: u64, size: u64) -> [u8; 16] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&offset.to_be_bytes());
    head[8..].copy_from_slice(&size.to_be_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_bytes_of_the_format() {
        let header = flat_header();
        assert_eq!(header.len(), 4096);
        assert_eq!(&header[..32], b"makedumpfile\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01");
        assert!(header[32..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn record_heads_are_big_endian() {
        assert_eq!(record_head(0x1122, 3), *b"\0\0\0\0\0\0\x11\x22\0\0\0\0\0\0\0\x03");
    }
}
