//! A vmcore that gives I/O errors to a program of its own: a [`Faulty`] source as the only file of a mounted
//! directory.

use super::Absent;
use super::faulty::Faulty;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, Request,
};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use vmcore_encrypt::read_at::ReadAt;
use vmcore_encrypt::vmcore::PhysSource;

const FILE: INodeNo = INodeNo(2);
const UNCHANGED: Duration = Duration::from_secs(3600);

/// The mounted directory; unmounted when dropped.
pub(crate) struct Served {
    session: Option<BackgroundSession>,
    directory: tempfile::TempDir,
}

impl Served {
    pub(crate) fn new(source: Faulty) -> Result<Served, Absent> {
        let directory = tempfile::tempdir().unwrap();
        match fuser::spawn_mount(Directory(source), directory.path(), &Config::default()) {
            Ok(session) => Ok(Served { session: Some(session), directory }),
            Err(error) => Err(Absent(format!("mounting by FUSE: {error}"))),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("vmcore")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.session.take().into_iter().for_each(|session| session.umount_and_join().unwrap());
    }
}

struct Directory(Faulty);

impl Directory {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let (kind, perm, size) = match inode {
            FILE => (FileType::RegularFile, 0o400, self.0.len()),
            _ => (FileType::Directory, 0o500, 0),
        };
        let time = UNIX_EPOCH;
        let times = (time, time, time, time);
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        FileAttr {
            ino: inode,
            size,
            blocks: size.div_ceil(512),
            atime: times.0,
            mtime: times.1,
            ctime: times.2,
            crtime: times.3,
            kind,
            perm,
            nlink: 1,
            uid: owner.0,
            gid: owner.1,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Directory {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == Path::new("vmcore") {
            reply.entry(&UNCHANGED, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&UNCHANGED, &self.attributes(inode));
    }

    /// Direct: the kernel's page cache would ask for more than the program does.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        match self.0.read_at(&mut bytes, offset) {
            Ok(read) => reply.data(&bytes[..read]),
            Err(_) => reply.error(Errno::EIO),
        }
    }
}
