//! The frame of a dump on a raw partition, and what a device holds by the look of it.

use std::io::Read;
use vmcore_encrypt::unstable::raw::{
    End, FrameHeader, FrameReader, FrameWriter, HEADER_LEN, occupant, unframed,
};

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let _ = occupant(bytes, bytes, bytes.len() as u64);
    read(bytes);
    // Behind an honest header, so that records are reached.
    let header = FrameHeader { id: [7; 16], device_size: 0, saved: Vec::new() };
    let honest = FrameWriter::new(Vec::new(), &header).finish().unwrap();
    read(&[&honest[..HEADER_LEN], bytes].concat());
}

fn read(frame: &[u8]) {
    let mut inside = Vec::new();
    if let Ok(mut reader) = FrameReader::new(frame) {
        reader.read_to_end(&mut inside).unwrap();
        assert!(inside.len() <= frame.len());
        let total = inside.len() as u64;
        assert!(matches!(reader.end(), Some(End::Whole)) || reader.end() == Some(End::Cut(total)));
    }
    if let Ok(mut reader) = unframed(Box::new(frame)) {
        inside.clear();
        reader.read_to_end(&mut inside).unwrap();
        assert!(inside.len() <= frame.len());
    }
}
