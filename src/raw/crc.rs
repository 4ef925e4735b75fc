//! CRC-32 as zlib, gzip and Ethernet have it (polynomial 0xEDB88320, reflected). It finds what a disk or a
//! power cut did to a record; who means harm is found by the encryption inside.

/// Bytes per step.
const STEP: usize = 8;

/// `TABLES[k][byte]`: what `byte` does to the sum `k` bytes later.
static TABLES: [[u32; 256]; STEP] = tables();

/// The sum of a byte row.
#[must_use]
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let (steps, rest) = bytes.as_chunks::<STEP>();
    let sum = steps.iter().fold(!0, |sum: u32, step| {
        let [a, b, c, d, e, f, g, h] = *step;
        let [i, j, k, l] = sum.to_le_bytes();
        [a ^ i, b ^ j, c ^ k, d ^ l, e, f, g, h]
            .iter()
            .zip(TABLES.iter().rev())
            .fold(0, |sum, (&byte, table)| sum ^ table[usize::from(byte)])
    });
    !rest.iter().fold(sum, |sum, &byte| TABLES[0][usize::from(sum.to_le_bytes()[0] ^ byte)] ^ (sum >> 8))
}

const fn tables() -> [[u32; 256]; STEP] {
    let mut tables = [[0; 256]; STEP];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut sum = byte;
        let mut step = 0;
        while step < STEP {
            let mut bit = 0;
            while bit < 8 {
                sum = (sum >> 1) ^ (0xEDB8_8320 * (sum & 1));
                bit += 1;
            }
            tables[step][byte as usize] = sum;
            step += 1;
        }
        byte += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn known_sums() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b"The quick brown fox jumps over the lazy dog"), 0x414F_A339);
        assert_eq!(crc32(&[0; 32]), 0x190A_55AD);
    }
}
