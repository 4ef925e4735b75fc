//! Whether bytes can be a part of an encrypted dump. A record that a power cut tore, or whose write never reached the
//! disk, leaves in its place what the partition held before: memory that was swapped out, in plain. Ciphertext has
//! all byte values equally often; memory does not.

use super::HEADER_LEN;
use super::record::HEAD_LEN;

/// Bytes that are judged together: what a disk writes as a whole, and a page of memory.
const BLOCK: usize = HEADER_LEN;
/// Fewer bytes tell nothing.
const MIN: usize = 1024;
/// The largest chi-square of the 256 byte counts that ciphertext has: mean 255, standard deviation 22.6, so this is
/// eleven deviations away. Text, tables and code have thousands.
const MAX_CHI_SQUARE: f64 = 512.0;
/// How an age file begins, and the line that ends its header, which is text.
const AGE: &[u8] = b"age-encryption.org/v1\n";
const LAST_LINE: &[u8] = b"\n--- ";

/// Where the blocks of a record's data end: they are blocks of the device, which the record's head begins.
pub(super) fn blocks(data: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let first = data.len().min(BLOCK - HEAD_LEN);
    let (first, rest) = data.split_at_mut(first);
    std::iter::once(first).chain(rest.chunks_mut(BLOCK))
}

/// How many bytes at the beginning of record `number`'s data may be of the dump: all before the first block that
/// cannot be.
pub(super) fn credible_len(number: u64, data: &[u8]) -> usize {
    let text = text_len(number, data);
    let mut end = 0;
    for block in blocks(&mut data.to_vec()) {
        if end >= text && !is_credible(block) {
            break;
        }
        end += block.len();
    }
    end
}

/// Replaces by zeros what in record `number`'s data cannot be of the dump; returns how many bytes.
pub(super) fn clear_others(number: u64, data: &mut [u8]) -> u64 {
    let text = text_len(number, data);
    let (mut at, mut cleared) = (0, 0);
    for block in blocks(data) {
        if at >= text && !is_credible(block) {
            block.fill(0);
            cleared += block.len() as u64;
        }
        at += block.len();
    }
    cleared
}

/// Bytes of the age header in the dump's first record, which are text.
fn text_len(number: u64, data: &[u8]) -> usize {
    if number == 0 && data.starts_with(AGE) {
        data.windows(LAST_LINE.len()).position(|line| line == LAST_LINE).map_or(AGE.len(), |at| at + 1)
    } else {
        0
    }
}

fn is_credible(block: &[u8]) -> bool {
    if block.len() < MIN {
        return true;
    }
    let mut counts = [0_u32; 256];
    for &byte in block {
        counts[usize::from(byte)] += 1;
    }
    let expected = block.len() as f64 / 256.0;
    let chi_square =
        counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum::<f64>();
    chi_square < MAX_CHI_SQUARE
}

#[cfg(test)]
mod tests {
    use super::super::record::RECORD_DATA;
    use super::*;

    fn random(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map(drop).unwrap();
        bytes.chunks_mut(256).for_each(|piece| {
            rustix::rand::getrandom(piece, rustix::rand::GetRandomFlags::empty()).map(drop).unwrap();
        });
        bytes
    }

    #[test]
    fn ciphertext_passes_and_memory_does_not() {
        let good = random(RECORD_DATA);
        assert_eq!(credible_len(3, &good), RECORD_DATA);
        let mut same = good.clone();
        assert_eq!((clear_others(3, &mut same), same == good), (0, true));
        for stale in [vec![0; 4096], b"root:x:0:0:root:/root:/bin/sh\n".repeat(137)[..4096].to_vec()] {
            let mut torn = good.clone();
            let at = 5 * 4096 - HEAD_LEN;
            torn[at..at + 4096].copy_from_slice(&stale);
            assert_eq!(credible_len(3, &torn), at);
            assert_eq!(clear_others(3, &mut torn), 4096);
            assert!(torn[at..at + 4096].iter().all(|&byte| byte == 0) && torn[..at] == good[..at]);
        }
    }

    #[test]
    fn the_header_of_an_age_file_passes() {
        let mut data = b"age-encryption.org/v1\n".to_vec();
        data.extend_from_slice(&b"-> X25519 AAAA\nAAAA\n".repeat(400));
        data.extend_from_slice(b"--- AAAA\n");
        data.extend_from_slice(&random(40000));
        assert_eq!(credible_len(0, &data), data.len());
        assert!(credible_len(1, &data) < data.len());
        data.extend_from_slice(&[0; 9000]);
        assert!(credible_len(0, &data) < data.len() - 4096);
    }
}
