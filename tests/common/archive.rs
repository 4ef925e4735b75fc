//! cpio archives of an initramfs, written by the format and by nothing of `src`, with whatever headers a test wants.
//! Source: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`.
#![allow(dead_code, missing_docs, reason = "each test program uses another part")]

/// An archive in the making.
#[derive(Clone, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

/// One header, every field of which can be a lie.
#[derive(Clone)]
pub(crate) struct Header {
    pub magic: &'static str,
    pub inode: u32,
    pub mode: u32,
    pub owner: u32,
    pub links: u32,
    pub size: u32,
    pub name: u32,
    pub sum: u32,
}

impl Archive {
    pub(crate) fn new() -> Archive {
        Archive::default()
    }

    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Archive {
        self.member(name, 0o100_755, content)
    }

    pub(crate) fn directory(self, name: &str) -> Archive {
        self.member(name, 0o040_755, "")
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Archive {
        self.member(name, 0o120_777, target)
    }

    pub(crate) fn member(mut self, name: &str, mode: u32, content: impl AsRef<[u8]>) -> Archive {
        self.inode += 1;
        let (inode, content) = (self.inode, content.as_ref());
        let header = Header { inode, mode, ..header(name, content) };
        self.raw(&header, format!("{name}\0").as_bytes(), content)
    }

    /// One of several names of file `inode`.
    pub(crate) fn hard_link(self, inode: u32, name: &str, content: &str) -> Archive {
        let header = Header { inode, links: 2, ..header(name, content.as_bytes()) };
        self.raw(&header, format!("{name}\0").as_bytes(), content.as_bytes())
    }

    pub(crate) fn raw(mut self, header: &Header, name: &[u8], content: &[u8]) -> Archive {
        let fields = [
            header.inode,
            header.mode,
            header.owner,
            0,
            header.links,
            0,
            header.size,
            8,
            1,
            0,
            0,
            header.name,
            header.sum,
        ];
        self.bytes.extend_from_slice(header.magic.as_bytes());
        fields.iter().for_each(|field| self.bytes.extend_from_slice(format!("{field:08x}").as_bytes()));
        for part in [name, content] {
            self.bytes.extend_from_slice(part);
            self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        }
        self
    }

    /// The archive, with its trailer.
    pub(crate) fn end(self) -> Vec<u8> {
        let name = "TRAILER!!!";
        let trailer = Header { mode: 0, ..header(name, b"") };
        self.raw(&trailer, format!("{name}\0").as_bytes(), b"").bytes
    }

    /// The same without one.
    pub(crate) fn open(self) -> Vec<u8> {
        self.bytes
    }
}

/// What is true of a regular file.
pub(crate) fn header(name: &str, content: &[u8]) -> Header {
    let size = u32::try_from(content.len()).unwrap();
    let name = u32::try_from(name.len() + 1).unwrap();
    Header { magic: "070701", inode: 0, mode: 0o100_644, owner: 0, links: 1, size, name, sum: 0 }
}
