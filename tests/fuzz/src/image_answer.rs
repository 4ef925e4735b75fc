//! What the process that decodes an image answers, should it have been taken over: any bytes. Read as root.

use vmcore_encrypt::unstable::image::{Error, Kind, Member, read_answer, write_answer};

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let read = read_answer(bytes)
        .map_err(|error| Error::Cpio(if error.to_string().is_empty() { "" } else { "refused" }));
    if let Ok(tree) = &read {
        tree.iter()
            .for_each(|(path, _)| assert!(tree.file(&String::from_utf8_lossy(path)).is_none_or(is_file)));
    }
    let mut again = Vec::new();
    write_answer(&mut again, &read).unwrap();
    match (read_answer(&again), read) {
        (Ok(again), Ok(tree)) => assert_eq!(again, tree),
        (again, read) => assert!(again.is_err() && read.is_err()),
    }
}

fn is_file(member: &Member) -> bool {
    member.kind() == Kind::File
}
