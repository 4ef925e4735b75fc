//! A file system inside a kdump image, squashfs or EROFS, of any bytes: the bytes are its content, in an image that is in
//! order. The first byte chooses the name that dracut gives it.

use super::image;

const NAMES: [&str; 2] = ["squashfs-root.img", "erofs-root.img"];

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let Some((&which, system)) = bytes.split_first() else { return };
    image::run(&around(NAMES[usize::from(which) % NAMES.len()], system));
}

/// The image around it.
fn around(name: &str, system: &[u8]) -> Vec<u8> {
    let mut image = Vec::new();
    for (name, content) in [(name, system), ("TRAILER!!!", &[])] {
        let fields = [1, 0o100_644, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        image.extend_from_slice(b"070701");
        fields.iter().for_each(|field| image.extend_from_slice(format!("{field:08x}").as_bytes()));
        for part in [format!("{name}\0").as_bytes(), content] {
            image.extend_from_slice(part);
            image.resize(image.len().next_multiple_of(4), 0);
        }
    }
    image
}
