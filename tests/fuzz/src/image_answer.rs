//! What the process that decodes an image answers, should it have been taken over: any bytes. Read as root.

use vmcore_encrypt::image::{read_answer, write_answer};

/// Runs the target.
pub fn run(bytes: &[u8]) {
    if let Ok(tree) = read_answer(bytes) {
        tree.iter().for_each(|(path, _)| drop(tree.file(&String::from_utf8_lossy(path))));
        let mut again = Vec::new();
        let tree = Ok(tree);
        write_answer(&mut again, &tree).unwrap();
        assert_eq!(read_answer(&again).unwrap(), tree.unwrap());
    }
}
