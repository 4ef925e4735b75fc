//! A dump as a read-only directory: `vmcore` (a KDUMP file), `vmcore.elf`, `dmesg.txt`, `report.txt`, `vmcoreinfo.txt`,
//! and the kernel's symbols and types: `kallsyms.txt`, `btf`, `btf.d/MODULE`. Nothing is restored: each read decrypts the blocks it touches, of which a bounded
//! number is kept in memory, and no plain byte is written to a disk. The FUSE protocol is spoken
//! directly to the kernel; who waits for the end of the mount is the caller's matter.

mod description;
pub(crate) mod table;

use self::description::Described;
use crate::kdump;
use crate::kernel::TableCache;
use crate::klog;
use crate::mm::KernelMemory;
use crate::read_at::{ReadAt, read_full_at};
use crate::reader::{Dump, ElfView, KdumpView};
use crate::report::{Options, Report, show};
use crate::text::printable;
use crate::vmcore::PhysSource;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen,
    Request, SessionACL,
};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nothing in the directory ever changes.
const UNCHANGED: Duration = Duration::from_secs(24 * 3600);
/// What the kernel's list of mounts names as the source of each of ours.
const SOURCE: &str = "vmcore-decrypt";
/// The inode number of the first file; 1 is the directory.
const FIRST_INODE: u64 = 2;
/// The directory of modules' types, its inode, and that of the first file in it.
const MODULES: &str = "btf.d";
const MODULES_INODE: INodeNo = INodeNo(1 << 32);
const FIRST_MODULE: u64 = MODULES_INODE.0 + 1;

/// Told what could not be read: name of the file, offset, cause.
pub type OnError = Box<dyn Fn(&str, u64, &io::Error) + Send + Sync>;

/// Told what of the kernel's symbols and types cannot be read, a line each.
pub type OnMissing = Box<dyn FnOnce(&[String]) + Send>;

/// What a directory asks of its caller.
pub struct Hooks {
    /// Told of errors.
    pub on_error: OnError,
    /// Told what is missing of the kernel's symbols and types.
    pub on_missing: OnMissing,
    /// Where tables of kernels are kept between two reports.
    pub cache: Box<dyn TableCache>,
}

/// A file that a directory does not have, and why.
pub type Missing = (&'static str, String);

/// A file of the directory.
struct Entry {
    name: &'static str,
    content: Box<dyn PhysSource>,
}

/// The directory.
pub struct DumpDirectory {
    entries: Vec<Entry>,
    /// The kernel's symbols and types, where VMCOREINFO leads to them.
    described: Option<Arc<Described>>,
    time: SystemTime,
    owner: (u32, u32),
    on_error: OnError,
}

impl DumpDirectory {
    /// The directory of a dump, and which files are not in it, each with the cause: `dmesg.txt` where the log cannot be
    /// read, `vmcore.elf` where the dump has too many runs of pages for an ELF core.
    ///
    /// # Errors
    /// The dump's tables would leave 64 bits.
    pub fn new(
        dump: &Arc<Dump>,
        Hooks { on_error, on_missing, cache }: Hooks,
    ) -> Result<(DumpDirectory, Vec<Missing>), kdump::Error> {
        let mut entries =
            vec![Entry { name: "vmcore", content: Box::new(KdumpView::new(Arc::clone(dump))?) }];
        let mut missing = Vec::new();
        match ElfView::new(Arc::clone(dump)) {
            Some(view) => entries.push(Entry { name: "vmcore.elf", content: Box::new(view) }),
            None => {
                missing.push(("vmcore.elf", "the dump has more runs of pages than an ELF core names".into()));
            }
        }
        let log = log(dump);
        missing.extend(log.as_ref().err().map(|why| ("dmesg.txt", why.clone())));
        if let Ok(text) = log {
            entries.push(Entry { name: "dmesg.txt", content: Box::new(text) });
        }
        entries.push(Entry { name: "report.txt", content: Box::new(ReportText::new(dump, cache)) });
        entries.push(Entry { name: "vmcoreinfo.txt", content: Box::new(dump.vmcoreinfo().to_vec()) });
        let described = Described::new(dump, on_missing);
        if let Some(described) = &described {
            let symbols = description::File::symbols(described);
            entries.push(Entry { name: "kallsyms.txt", content: Box::new(symbols) });
            entries.push(Entry { name: "btf", content: Box::new(description::File::types(described)) });
        }
        let seconds = u64::try_from(dump.facts().crash_time).unwrap_or(0);
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Ok((DumpDirectory { entries, described, time, owner, on_error }, missing))
    }

    /// Name and content of a file.
    fn file(&self, inode: INodeNo) -> Option<(&str, &dyn PhysSource)> {
        if let Some(nth) = inode.0.checked_sub(FIRST_MODULE) {
            let (name, types) = self.described.as_ref()?.module(usize::try_from(nth).ok()?)?;
            return Some((name, types));
        }
        let number = inode.0.checked_sub(FIRST_INODE)?;
        let entry = self.entries.get(usize::try_from(number).ok()?)?;
        Some((entry.name, &*entry.content))
    }

    /// The files of a directory, and the inode of the first.
    fn names(&self, directory: INodeNo) -> Option<(u64, Vec<&str>)> {
        match directory {
            INodeNo::ROOT => Some((FIRST_INODE, self.entries.iter().map(|entry| entry.name).collect())),
            MODULES_INODE => Some((FIRST_MODULE, self.described.as_ref()?.modules().collect())),
            _ => None,
        }
    }

    /// The inode of a name in a directory.
    fn inode(&self, parent: INodeNo, name: &OsStr) -> Option<INodeNo> {
        if parent == INodeNo::ROOT && name == MODULES && self.described.is_some() {
            return Some(MODULES_INODE);
        }
        let (first, names) = self.names(parent)?;
        (first..).zip(names).find(|(_, other)| name == *other).map(|(inode, _)| INodeNo(inode))
    }

    /// What is in a directory: inode, kind, name.
    fn listed(&self, directory: INodeNo) -> Option<Vec<(INodeNo, FileType, &str)>> {
        let (first, names) = self.names(directory)?;
        let files = (first..).zip(names).map(|(inode, name)| (INodeNo(inode), FileType::RegularFile, name));
        let modules = self.described.as_ref().filter(|_| directory == INodeNo::ROOT);
        let modules = modules.map(|_| (MODULES_INODE, FileType::Directory, MODULES));
        Some(files.chain(modules).collect())
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, perm, nlink, size) = match inode {
            INodeNo::ROOT => (FileType::Directory, 0o500, 3, 0),
            MODULES_INODE => (FileType::Directory, 0o500, 2, 0),
            _ => (FileType::RegularFile, 0o400, 1, self.file(inode)?.1.len()),
        };
        let time = self.time;
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// Reads as much of a file as is asked for, less only at its end.
    fn read_full(content: &dyn PhysSource, offset: u64, size: u32) -> io::Result<Vec<u8>> {
        let left = content.len().saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(left.min(size.into())).unwrap_or(0)];
        let read = read_full_at(content, &mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

fn log(dump: &Arc<Dump>) -> Result<Vec<u8>, String> {
    let vmcore = dump.vmcore().map_err(|error| error.to_string())?;
    let memory = KernelMemory::new(&vmcore).map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    klog::dmesg(&memory, &mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// The report, made when somebody first looks at the file: it reads more of the dump than all other files need.
struct ReportText {
    dump: Arc<Dump>,
    cache: Box<dyn TableCache>,
    text: OnceLock<Vec<u8>>,
}

impl ReportText {
    fn new(dump: &Arc<Dump>, cache: Box<dyn TableCache>) -> ReportText {
        ReportText { dump: Arc::clone(dump), cache, text: OnceLock::new() }
    }

    fn text(&self) -> &Vec<u8> {
        self.text.get_or_init(|| report(&self.dump, &*self.cache))
    }
}

impl ReadAt for ReportText {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.text().read_at(buf, offset)
    }
}

impl PhysSource for ReportText {
    fn len(&self) -> u64 {
        self.text().len() as u64
    }
}

/// The report; where nothing can be read of the memory, why.
fn report(dump: &Arc<Dump>, cache: &dyn TableCache) -> Vec<u8> {
    let vmcore = dump.vmcore().map_err(|error| error.to_string());
    let report = vmcore.and_then(|vmcore| {
        Report::of_vmcore_by(&vmcore, Options::default(), cache).map_err(|error| error.to_string())
    });
    let text = report
        .map_or_else(|why| format!("not readable: {}\n", printable(&why)), |report| show(&report, false));
    text.into_bytes()
}

impl Filesystem for DumpDirectory {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.inode(parent, name).and_then(|inode| self.attributes(inode)) {
            Some(attributes) => reply.entry(&UNCHANGED, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&UNCHANGED, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.file(inode) {
            Some(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            None => reply.error(Errno::EISDIR),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some((name, content)) = self.file(inode) else { return reply.error(Errno::EISDIR) };
        match Self::read_full(content, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => {
                (self.on_error)(name, offset, &error);
                reply.error(Errno::EIO);
            }
        }
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let Some(files) = self.listed(inode) else { return reply.error(Errno::ENOTDIR) };
        let dots = [(inode, FileType::Directory, "."), (INodeNo::ROOT, FileType::Directory, "..")];
        let listed = dots.into_iter().chain(files).zip(1..);
        for ((inode, kind, name), next) in listed.skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            if reply.add(inode, next, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}

/// A mounted directory. Dropping it unmounts.
pub struct Mounted {
    session: BackgroundSession,
    directory: PathBuf,
}

impl Mounted {
    /// Mounts a dump's directory, served by `threads` threads, readable by the caller alone.
    ///
    /// # Errors
    /// What the kernel or `fusermount3` reports; `NotADirectory` for a file, on which Linux would mount, too.
    pub fn new(content: DumpDirectory, directory: &Path, threads: usize) -> io::Result<Mounted> {
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::RO,
            MountOption::NoSuid,
            MountOption::NoDev,
            MountOption::NoExec,
            MountOption::DefaultPermissions,
            MountOption::FSName(SOURCE.to_owned()),
        ];
        config.acl = SessionACL::Owner;
        config.n_threads = Some(threads);
        let directory = directory.canonicalize()?;
        if !directory.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let session = fuser::spawn_mount(content, &directory, &config)?;
        Ok(Mounted { session, directory })
    }

    /// Whether somebody else unmounted it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.session.guard.is_finished()
    }

    /// Unmounts. Where a program still has a file open, the directory goes at once and the file stays
    /// readable until this process ends; then `true` comes back.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn unmount(self) -> io::Result<bool> {
        let over = self.is_over();
        let Mounted { session, directory } = self;
        if over {
            // fuser would unmount whatever is on the directory by now.
            std::mem::forget(session);
            return Ok(false);
        }
        match session.umount_and_join() {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                match nix::mount::umount2(&directory, nix::mount::MntFlags::MNT_DETACH) {
                    Ok(()) => Ok(true),
                    // Somebody else was faster.
                    Err(_) if !is_ours(&directory) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            }
            // Somebody else was faster, or one of its threads had an error that no file depends on any more.
            Err(_) if !is_ours(&directory) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether a dump is still mounted on a directory.
fn is_ours(directory: &Path) -> bool {
    matches!(table::occupant(directory), Ok(Some(table::Occupant::Ours | table::Occupant::Stale)))
}
