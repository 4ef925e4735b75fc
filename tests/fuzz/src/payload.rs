//! The chunks behind a header. The input is a place, what to do there, and a plaintext: the plaintext is sealed, the
//! sealed bytes are changed, cut, lengthened or left alone, and what is then read must be the plaintext or a part of
//! it with an error.

use super::{IDENTITIES, sealed};
use std::io::{self, Read};
use vmcore_encrypt::crypt::DecryptReader;
use vmcore_encrypt::crypt::stream::RandomAccess;

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let Some((head, seed)) = bytes.split_at_checked(6) else { return };
    let times = 1 + usize::from(head[5]) * 512 / seed.len().max(1);
    let plain = seed.repeat(times);
    let mut file = sealed(&plain);
    let start = IDENTITIES.open(&mut &file[..]).unwrap().payload_start as usize;
    let place = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize % (file.len() - start);
    match head[4] % 4 {
        0 => file[start + place] ^= 1 << (head[4] / 4 % 8),
        1 => file.truncate(start + place),
        2 => file.extend_from_slice(&seed[..seed.len().min(1 + place)]),
        _ => {}
    }
    let changed = head[4] % 4 != 3 && !(head[4] % 4 == 2 && seed.is_empty());
    front_to_back(&file, start, &plain, changed);
    at_places(&file, start, &plain, changed);
}

fn front_to_back(file: &[u8], start: usize, plain: &[u8], changed: bool) {
    let key = IDENTITIES.open(&mut &file[..]).unwrap().key;
    let mut found = Vec::new();
    let result = DecryptReader::new(&file[start..], key).read_to_end(&mut found);
    assert!(plain.starts_with(&found));
    assert_eq!(result.is_err(), changed);
    assert!(changed || found == plain);
}

fn at_places(file: &[u8], start: usize, plain: &[u8], changed: bool) {
    let key = IDENTITIES.open(&mut &file[..]).unwrap().key;
    let len = (file.len() - start) as u64;
    let Ok((access, cut)) = RandomAccess::new_or_cut(file, start as u64, len, key) else { return };
    let mut damaged = cut.is_some();
    let mut piece = vec![0; 50_000];
    let mut at = 0;
    while at < access.len() {
        match access.read_at(&mut piece, at) {
            Ok(0) => break,
            Ok(read) => assert_eq!(piece[..read], plain[at as usize..at as usize + read]),
            Err(error) => {
                assert!(error.kind() != io::ErrorKind::Interrupted);
                damaged = true;
            }
        }
        at += piece.len() as u64;
    }
    assert_eq!(damaged, changed);
}
