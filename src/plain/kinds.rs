//! Dumps and files that are not read, known by their first bytes, with the cause and what helps.

use std::fmt;

/// A form that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    magic: &'static [u8],
    why: &'static str,
    hint: &'static str,
}

/// Sources: crash `sadump.h`, `vmware_vmss.h`, `diskdump.h`, `xendump.h`; QEMU `migration/`, `dump/win_dump.c`; libvirt
/// `qemu_saveimage.h`.
const KINDS: &[Kind] = &[
    kind(
        b"sadump\0\0",
        "a stand-alone dump (sadump), which is not supported: its blocks are laid out by the firmware of one vendor",
        "makedumpfile makes a kdump-compressed file of it: makedumpfile -d 0 DUMP FILE",
    ),
    kind(
        b"DISKDUMP",
        "a diskdump of a kernel before kdump, which is not supported",
        "its kernel is older than VMCOREINFO, which filtering needs",
    ),
    kind(
        &[0xed, 0xeb, 0x0f, 0xf0],
        "a core of a Xen guest, which is not supported: its pages are listed by the hypervisor's numbers",
        "kdump inside the guest makes a vmcore that is",
    ),
    kind(
        b"LibvirtQemud",
        "a saved guest of libvirt, not a dump",
        "virsh dump --memory-only GUEST FILE makes a dump",
    ),
    kind(
        b"QEVM",
        "a migration stream of QEMU, not a dump",
        "virsh dump --memory-only GUEST FILE makes a dump",
    ),
    kind(b"PAGEDU64", "a dump of Windows", "it must be the memory of a Linux kernel"),
    kind(b"PAGEDUMP", "a dump of Windows", "it must be the memory of a Linux kernel"),
    kind(&[0xd0, 0xbe, 0xd0, 0xbe], VMWARE, VMWARE_HINT),
    kind(&[0xd1, 0xba, 0xd1, 0xba], VMWARE, VMWARE_HINT),
    kind(&[0xd2, 0xbe, 0xd2, 0xbe], VMWARE, VMWARE_HINT),
    kind(&[0xd3, 0xbe, 0xd3, 0xbe], VMWARE, VMWARE_HINT),
    kind(
        b"age-encryption.org/",
        "encrypted already",
        "vmcore-decrypt refilter makes a new dump of it for other recipients, and rewrap gives them all of it",
    ),
    kind(
        b"-----BEGIN AGE",
        "encrypted already",
        "vmcore-decrypt refilter makes a new dump of it for other recipients, and rewrap gives them all of it",
    ),
    kind(&[0x28, 0xb5, 0x2f, 0xfd], "compressed", "zstd -dc FILE | vmcore-encrypt - DUMPFILE"),
    kind(&[0x1f, 0x8b], "compressed", "gzip -dc FILE | vmcore-encrypt - DUMPFILE"),
    kind(b"\xfd7zXZ\0", "compressed", "xz -dc FILE | vmcore-encrypt - DUMPFILE"),
];

const VMWARE: &str = "a snapshot of VMware, which is not supported";
const VMWARE_HINT: &str = "VMware's vmss2core -N makes an ELF core of it";

const fn kind(magic: &'static [u8], why: &'static str, hint: &'static str) -> Kind {
    Kind { magic, why, hint }
}

impl Kind {
    /// The kind of what begins with these bytes.
    #[must_use]
    pub(super) fn of(start: &[u8]) -> Option<Kind> {
        KINDS.iter().find(|kind| start.starts_with(kind.magic)).copied()
    }

    /// What helps.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is {}", self.why)
    }
}
