//! The splitter of frames, fed in two pieces and behind a gap, and the decompressor.

use vmcore_encrypt::blocks::{BlockDecompressor, Frame, MAX_FRAME_CONTENT, Splitter};

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut splitter = Splitter::default();
    splitter.feed(first);
    drain(&mut splitter);
    splitter.feed(second);
    drain(&mut splitter);
    splitter.skip_to(1 << 40);
    splitter.feed(bytes);
    drain(&mut splitter);
}

fn drain(splitter: &mut Splitter) {
    while let Ok(Some((_, _, frame))) = splitter.next_frame() {
        let Frame::Data(frame) = frame else { continue };
        let mut content = Vec::new();
        if let Ok(mut decompressor) = BlockDecompressor::new() {
            let _ = decompressor.decompress(&frame, &mut content);
        }
        assert!(content.len() <= MAX_FRAME_CONTENT);
    }
}
