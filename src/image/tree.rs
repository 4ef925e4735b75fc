//! The files of an image by their paths. A path is a list of names joined by `/`, without a leading one: `usr/bin/sh`.
//! Links, `..` and absolute paths mean places of the image, as they do for the kernel, whose root it is.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// As many links as Linux follows in one path. Source: Linux `include/linux/namei.h`, `MAXSYMLINKS`.
const MAX_LINKS: usize = 40;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, a pipe, a socket.
    Other,
}

impl Kind {
    /// By the type bits of a mode. Source: Linux `include/uapi/linux/stat.h`.
    #[must_use]
    pub fn of_mode(mode: u32) -> Kind {
        match mode & 0o170_000 {
            0o100_000 => Kind::File,
            0o040_000 => Kind::Directory,
            0o120_000 => Kind::Link,
            _ => Kind::Other,
        }
    }
}

/// One file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Bytes of its content.
    pub size: u64,
    /// Where a link points.
    pub target: Vec<u8>,
    /// Its bytes, of the files that are compared.
    pub content: Option<Vec<u8>>,
    /// Whether an age identity is in it, or was before another member of that name replaced it: the image's bytes hold
    /// it still.
    pub has_identity: bool,
    /// The same for a private key in PEM, of ssh.com or of PuTTY.
    pub has_private_key: bool,
    /// The number of the user who owns it.
    pub owner: u32,
}

impl Member {
    /// A member without content.
    #[must_use]
    pub fn new(mode: u32) -> Member {
        Member {
            mode,
            size: 0,
            target: Vec::new(),
            content: None,
            has_identity: false,
            has_private_key: false,
            owner: 0,
        }
    }

    /// The same member of this owner.
    #[must_use]
    pub(super) fn of(self, owner: u32) -> Member {
        Member { owner, ..self }
    }

    /// Takes over that an earlier member of its name held a private key.
    fn holds_also(&mut self, earlier: &Member) {
        self.has_identity |= earlier.has_identity;
        self.has_private_key |= earlier.has_private_key;
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::of_mode(self.mode)
    }
}

/// The files of one file system.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Layer(BTreeMap<Vec<u8>, Member>);

impl Layer {
    /// Whether it has no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Paths and members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Member)> {
        self.0.iter().map(|(path, member)| (path.as_slice(), member))
    }

    /// Adds a member by its path in full.
    pub fn insert(&mut self, path: Vec<u8>, member: Member) {
        self.0.insert(path, member);
    }

    /// The member at a path, links followed.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Member> {
        self.0.get(&self.resolve(path.as_bytes(), true)?)
    }

    fn resolve(&self, path: &[u8], follow_last: bool) -> Option<Vec<u8>> {
        let target = |path: &[u8]| {
            Some(self.0.get(path).filter(|found| found.kind() == Kind::Link)?.target.as_slice())
        };
        resolve(path, follow_last, target)
    }
}

/// The files of an image.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Those that the kernel unpacks.
    pub outer: Layer,
    /// Those of the squashfs or EROFS file system inside, which becomes the root.
    pub inner: Option<Layer>,
}

impl Tree {
    /// Its file systems, the one first that becomes the root.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.inner.iter().chain([&self.outer])
    }

    /// The member at a path, links followed.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Member> {
        self.layers().find_map(|layer| layer.get(path))
    }

    /// The regular file at a path, links followed.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&Member> {
        self.get(path).filter(|member| member.kind() == Kind::File)
    }

    /// Paths and members of all file systems.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Member)> {
        self.layers().flat_map(Layer::iter)
    }
}

/// The path of what `path` names once the links on the way are followed, and with `follow_last` a link at its end;
/// `None` when there are too many. `target` gives where the link at a path points.
fn resolve<'a>(
    path: &[u8],
    follow_last: bool,
    target: impl Fn(&[u8]) -> Option<&'a [u8]>,
) -> Option<Vec<u8>> {
    let names = |path: &[u8]| -> Vec<Vec<u8>> {
        path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
    };
    let mut ahead: VecDeque<Vec<u8>> = names(path).into();
    let mut place: Vec<u8> = Vec::new();
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        match name.as_slice() {
            b"." => continue,
            b".." => {
                pop(&mut place);
                continue;
            }
            _ => {}
        }
        let parent = place.len();
        if parent > 0 {
            place.push(b'/');
        }
        place.extend_from_slice(&name);
        let Some(target) = target(&place).filter(|_| follow_last || !ahead.is_empty()) else { continue };
        links += 1;
        if links > MAX_LINKS {
            return None;
        }
        place.truncate(if target.starts_with(b"/") { 0 } else { parent });
        names(target).into_iter().rev().for_each(|name| ahead.push_front(name));
    }
    Some(place)
}

/// Takes the last name off a path. The parent of the root is the root.
fn pop(path: &mut Vec<u8>) {
    let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    path.truncate(end);
}

/// A file by which a cpio archive tells hard links: device, inode, type.
pub(super) type LinkKey = [u32; 4];

/// A layer while cpio archives are unpacked into it, one over the other. Names are apart from what they name, for the sake
/// of hard links. Source: Linux `init/initramfs.c`.
#[derive(Debug, Default)]
pub(super) struct Builder {
    names: BTreeMap<Vec<u8>, usize>,
    inodes: Vec<Member>,
    links: HashMap<LinkKey, Vec<u8>>,
    /// Files with more than one name.
    shared: HashSet<usize>,
}

impl Builder {
    /// Ends an archive: hard links do not reach into the next one.
    pub(super) fn forget_links(&mut self) {
        self.links.clear();
    }

    /// Where a name of an archive ends up. `None` when links on the way lead nowhere.
    #[must_use]
    pub(super) fn place(&self, name: &[u8]) -> Option<Vec<u8>> {
        let target = |path: &[u8]| {
            let member = &self.inodes[*self.names.get(path)?];
            (member.kind() == Kind::Link).then_some(member.target.as_slice())
        };
        resolve(name, false, target).filter(|path| !path.is_empty())
    }

    /// Whether a path is one of several names of a file: what is written there is seen under the others.
    #[must_use]
    pub(super) fn is_shared(&self, path: &[u8]) -> bool {
        self.names.get(path).is_some_and(|at| self.shared.contains(at))
    }

    /// Adds a directory, a link, a device. A directory stays what it is while something is in it.
    pub(super) fn add(&mut self, path: Vec<u8>, member: Member) {
        match self.names.get(&path) {
            Some(&at) if self.inodes[at].kind() == Kind::Directory && member.kind() == Kind::Directory => {
                self.inodes[at].mode = member.mode;
            }
            Some(_) if self.has_children(&path) => {}
            _ => self.put(path, member),
        }
    }

    /// Adds a regular file; with `key` it is one of several names of it. Its bytes go over those that an earlier name of
    /// the archive brought, whose end stays; otherwise they replace what a file of that path had, under all its names.
    pub(super) fn add_file(&mut self, path: Vec<u8>, key: Option<LinkKey>, mut member: Member) {
        if self.has_children(&path) {
            return;
        }
        let first = key.and_then(|key| self.links.get(&key)).and_then(|name| self.names.get(name)).copied();
        if let Some(at) = first {
            if let Some(&earlier) = self.names.get(&path) {
                member.holds_also(&self.inodes[earlier]);
            }
            self.names.insert(path, at);
            self.shared.insert(at);
            overwrite(&mut self.inodes[at], member);
            return;
        }
        if let Some(key) = key {
            self.links.insert(key, path.clone());
        }
        match self.names.get(&path).copied().filter(|&at| self.inodes[at].kind() == Kind::File) {
            Some(at) => {
                member.holds_also(&self.inodes[at]);
                self.inodes[at] = member;
            }
            None => self.put(path, member),
        }
    }

    fn put(&mut self, path: Vec<u8>, mut member: Member) {
        if let Some(&earlier) = self.names.get(&path) {
            member.holds_also(&self.inodes[earlier]);
        }
        self.inodes.push(member);
        self.names.insert(path, self.inodes.len() - 1);
    }

    fn has_children(&self, path: &[u8]) -> bool {
        let below = [path, b"/"].concat();
        self.names.range(below.clone()..).next().is_some_and(|(name, _)| name.starts_with(&below))
    }

    /// The layer.
    #[must_use]
    pub(super) fn finish(self) -> Layer {
        let member = |at: usize, path: &[u8]| {
            let member = &self.inodes[at];
            let is_kept = member.has_private_key || super::keep::is_compared(path);
            let content = member.content.as_ref().filter(|_| is_kept).cloned();
            let target = member.target.clone();
            Member { content, target, ..*member }
        };
        Layer(self.names.iter().map(|(path, &at)| (path.clone(), member(at, path))).collect())
    }
}

/// Writes the bytes of a further name over those that are there.
fn overwrite(file: &mut Member, with: Member) {
    (file.mode, file.owner) = (with.mode, with.owner);
    file.holds_also(&with);
    file.size = file.size.max(with.size);
    let mut bytes = with.content.unwrap_or_default();
    if let Some(old) = file.content.take() {
        bytes.extend_from_slice(old.get(bytes.len()..).unwrap_or_default());
    }
    file.content = Some(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(path: &[u8]) -> Option<&'static [u8]> {
        match path {
            b"bin" => Some(b"usr/bin"),
            b"lib" => Some(b"/usr/lib"),
            b"up" => Some(b"../../etc"),
            b"loop" => Some(b"loop2"),
            b"loop2" => Some(b"loop"),
            b"self" => Some(b"self/self"),
            _ => None,
        }
    }

    #[test]
    fn paths_stay_in_the_image() {
        let path =
            |path: &str| resolve(path.as_bytes(), true, links).map(|path| String::from_utf8(path).unwrap());
        for (from, to) in [
            ("./bin/sh", "usr/bin/sh"),
            ("/lib//x", "usr/lib/x"),
            ("../../../etc/passwd", "etc/passwd"),
            ("up/x", "etc/x"),
            ("a/b/../../..", ""),
            ("bin/../lib", "usr/lib"),
        ] {
            assert_eq!(path(from).as_deref(), Some(to), "{from}");
        }
        assert_eq!((path("loop"), path("self/x")), (None, None));
        assert_eq!(resolve(b"loop", false, links).as_deref(), Some(&b"loop"[..]));
    }
}
