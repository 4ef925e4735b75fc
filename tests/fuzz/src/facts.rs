//! What our own frames hold: maps of blocks, index pieces, head and tail; and the KDUMP head behind them. What a map
//! says encodes to a map that says the same.

use vmcore_encrypt::blocks::{BlockMap, Head, IndexPiece, Tail};
use vmcore_encrypt::unstable::kdump;

/// Runs the target.
pub fn run(bytes: &[u8]) {
    if let Ok(map) = BlockMap::parse(bytes) {
        let mut encoded = Vec::new();
        map.encode(&mut encoded);
        assert_eq!(BlockMap::parse(&encoded).ok(), Some(map));
    }
    let _ = IndexPiece::parse(bytes);
    let _ = Head::parse(bytes);
    let _ = Tail::parse(bytes);
    if let Ok(head) = kdump::Head::parse(bytes) {
        let _ = head.encode();
    }
}
