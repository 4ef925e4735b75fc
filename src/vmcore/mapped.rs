//! Windows of a vmcore mapped into memory. The only room with `unsafe`: mapping a file is unsafe
//! because the bytes may change, and because touching a page after the end of a file that shrank kills
//! the program (SIGBUS). So only /proc/vmcore is mapped: its size never changes, and the memory that it maps
//! belongs to a kernel that does not run any more. Everything else is read by position.
//!
//! What mapping saves there: a positioned read of /proc/vmcore maps, copies and unmaps every page in the
//! kernel one at a time; a window is mapped at once, and its pages are read where they are.
//! Source: Linux `fs/proc/vmcore.c` (`read_from_oldmem`, `mmap_vmcore`).
//!
//! A page with a memory error that the level did not exclude kills a program that touches it in a window
//! (SIGBUS), as it stops the capture kernel itself in a read.

use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of a window. Each thread has one; 1 MiB is eight blocks, so mapping costs little per page.
const WINDOW: u64 = 1 << 20;

/// `f_type` of procfs. Source: Linux `include/uapi/linux/magic.h`, `PROC_SUPER_MAGIC`.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Whether a file is the kernel's own, as /proc/vmcore is.
pub(crate) fn is_on_procfs(file: &File) -> bool {
    rustix::fs::fstatfs(file.as_fd())
        .is_ok_and(|info| u64::try_from(info.f_type).is_ok_and(|kind| kind == PROC_SUPER_MAGIC))
}

/// Whether a file may be mapped, and whether that works.
pub(super) struct Mappable {
    works: AtomicBool,
}

impl Mappable {
    /// Only files of procfs may be mapped.
    pub(super) fn of(file: &File) -> Mappable {
        Mappable { works: AtomicBool::new(is_on_procfs(file)) }
    }

    /// Nothing may be mapped.
    pub(super) fn never() -> Mappable {
        Mappable { works: AtomicBool::new(false) }
    }

    /// Maps the window of `file` that starts at page-aligned `offset`; `None` when that cannot be done.
    /// Once the kernel refused it is not asked again.
    pub(super) fn map(&self, file: &File, offset: u64, file_len: u64) -> Option<Mmap> {
        if !self.works.load(Ordering::Relaxed) {
            return None;
        }
        let len = usize::try_from(file_len.checked_sub(offset)?.min(WINDOW)).ok()?;
        // SAFETY: the file is on procfs (`Mappable::of`), so it cannot shrink, and the memory it shows
        // belongs to the crashed kernel, in which nothing runs. The map is shared, read-only.
        #[expect(unsafe_code, reason = "mapping /proc/vmcore; see the top of this file")]
        let map = unsafe { MmapOptions::new().offset(offset).len(len).map(file) };
        self.works.store(map.is_ok(), Ordering::Relaxed);
        map.ok()
    }
}

/// One thread's view of a vmcore file: the part that was mapped last.
#[derive(Default)]
pub struct Window {
    offset: u64,
    map: Option<Mmap>,
}

impl Window {
    /// The bytes of the file from `offset` on, `len` of them. `map` maps the window from a given offset.
    pub(super) fn bytes(
        &mut self,
        offset: u64,
        len: usize,
        map: impl FnOnce(u64) -> Option<Mmap>,
    ) -> Option<&[u8]> {
        if self.find(offset, len).is_none() {
            // One window at a time: the old one goes first.
            self.map = None;
            self.offset = offset / PAGE * PAGE;
            self.map = map(self.offset);
        }
        self.find(offset, len)
    }

    fn find(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        self.map.as_deref()?.get(start..start.checked_add(len)?)
    }
}

/// Windows start at multiples of this: the largest page of any kernel we run on.
const PAGE: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_regular_file_is_not_mapped() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 8192]).unwrap();
        assert!(Mappable::of(&file).map(&file, 0, 8192).is_none());
        assert!(Mappable::never().map(&file, 0, 8192).is_none());
    }

    #[test]
    fn windows_follow_what_is_asked_for() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..3u32 << 18).flat_map(u32::to_le_bytes).collect();
        file.write_all(&content).unwrap();
        let mappable = Mappable { works: AtomicBool::new(true) };
        let mut window = Window::default();
        let len = content.len();
        for at in [0, 5, 0xff_fff0, len - 0x1_0000, len - 7, 0x20_0000] {
            let size = 0x1_0000.min(len.saturating_sub(at));
            let bytes = window.bytes(at as u64, size, |offset| mappable.map(&file, offset, len as u64));
            assert_eq!(bytes, content.get(at..at + size).filter(|_| at < len), "{at:#x}");
        }
        assert!(window.bytes(len as u64, 1, |offset| mappable.map(&file, offset, len as u64)).is_none());
    }

    #[test]
    fn what_cannot_be_mapped_is_not_tried_again() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(reader));
        let mappable = Mappable { works: AtomicBool::new(true) };
        assert!(mappable.map(&file, 0, 4096).is_none());
        assert!(!mappable.works.load(Ordering::Relaxed));
    }
}
