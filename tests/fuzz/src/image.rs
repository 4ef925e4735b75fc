//! A kdump image of any bytes, as the process without privileges decodes it: archives, compressions, and file systems
//! inside. What comes out stays in the image, within the limits, and is the same after it was handed over.

use vmcore_encrypt::unstable::image::{Limits, Tree, read, read_answer, same_program, write_answer};

/// Small, so that an input that grows is noticed.
const LIMITS: Limits =
    Limits { unpacked: 32 << 20, members: 2000, names: 1 << 20, kept: 4 << 20, nested: 4 << 20 };

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let read = read(bytes, LIMITS);
    if let Ok(tree) = &read {
        check(tree);
    }
    let mut answer = Vec::new();
    write_answer(&mut answer, &read).unwrap();
    let handed = read_answer(&answer);
    match read {
        Ok(tree) => assert_eq!(handed.unwrap(), tree),
        Err(error) => assert!(error.to_string().starts_with(&handed.unwrap_err().to_string())),
    }
}

fn check(tree: &Tree) {
    assert!(tree.iter().count() <= 2 * LIMITS.members);
    for (path, member) in tree.iter() {
        let is_plain = |name: &[u8]| !name.is_empty() && name != b".." && name != b".";
        assert!(path.split(|&byte| byte == b'/').all(is_plain), "{path:?}");
        if let Ok(path) = std::str::from_utf8(path) {
            let _ = tree.file(path);
        }
        let kept = member.content.as_deref().unwrap_or_default();
        assert!(kept.len() <= LIMITS.kept && same_program(kept, kept));
        assert!(kept.is_empty() || !same_program(kept, &kept[1..]));
    }
}
