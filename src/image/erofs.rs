//! An EROFS file system, `erofs-root.img` of dracut's module squash-erofs: `mkfs.erofs -C 65536 -E fragments -x -1`, with
//! or without `-z`. The crate erofs-rs reads it; here are the limits.

use super::Error;
use super::keep::Keeper;
use super::tree::{Kind, Layer, Member};
use erofs_rs::EroFS;
use erofs_rs::backend::SliceImage;
use erofs_rs::types::Inode;
use std::os::unix::fs::PermissionsExt;

/// No directory of an initramfs is deeper.
const MAX_DEPTH: usize = 64;
const MAX_TARGET: u64 = 4096;

/// Reads all files.
pub(super) fn read(bytes: &[u8], keeper: &mut Keeper) -> Result<Layer, Error> {
    let system = EroFS::new(SliceImage::new(bytes)).map_err(refused)?;
    let mut layer = Layer::default();
    for entry in system.walk_dir("/").map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.dir_entry.file_name();
        if matches!(name, b"." | b"..") {
            continue;
        }
        if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
            return Err(Error::Erofs("a name is invalid".to_owned()));
        }
        if entry.depth > MAX_DEPTH {
            return Err(Error::Limit("directories too deep"));
        }
        let path = entry.dir_entry.path();
        let path = path.as_bytes();
        let path = path.strip_prefix(b"/").unwrap_or(path).to_vec();
        keeper.count(path.len())?;
        let owner = entry.inode.uid();
        let member = read_member(&system, &path, entry.inode, keeper)?.of(owner);
        layer.insert(path, member);
    }
    Ok(layer)
}

fn read_member(
    system: &EroFS<SliceImage<'_>>,
    path: &[u8],
    inode: Inode,
    keeper: &mut Keeper,
) -> Result<Member, Error> {
    let mode = mode(&inode);
    let size = inode.data_size();
    match Kind::of_mode(mode) {
        Kind::File => {
            let mut file = system.open_inode_file(inode).map_err(refused)?;
            keeper.file(path, mode, size, &mut file, false)
        }
        Kind::Link if size > MAX_TARGET => Err(Error::Limit("the target of a link")),
        Kind::Link => {
            keeper.count_bytes(usize::try_from(size).unwrap_or(usize::MAX))?;
            let target = system.read_link_inode(inode).map_err(refused)?.as_bytes().to_vec();
            Ok(Member { size, target, ..Member::new(mode) })
        }
        Kind::Directory | Kind::Other => Ok(Member::new(mode)),
    }
}

/// As in `st_mode`.
fn mode(inode: &Inode) -> u32 {
    let kind = match (inode.is_file(), inode.is_dir(), inode.is_symlink()) {
        (true, _, _) => 0o100_000,
        (_, true, _) => 0o040_000,
        (_, _, true) => 0o120_000,
        _ => 0o020_000,
    };
    kind | (inode.permissions().mode() & 0o7777)
}

fn refused(error: erofs_rs::Error) -> Error {
    Error::Erofs(error.to_string())
}
