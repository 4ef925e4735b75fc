//! What a device holds by the look of it, so that a dump overwrites nothing that somebody keeps: known
//! signatures near its beginning and its end. Knows bytes, not devices.
//! Source of places and values: util-linux `libblkid/src/superblocks/`, `libblkid/src/partitions/`.

use super::FrameHeader;

/// Bytes of the device's beginning that are searched for signatures.
pub const HEAD_PROBE: usize = 264 << 10;
/// Bytes of its end that are searched.
pub const TAIL_PROBE: usize = 132 << 10;

/// What a device holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// Nothing known.
    Nothing,
    /// A dump of ours, or its beginning.
    Frame,
    /// Swap space, whose signature ends this many bytes from the device's beginning.
    Swap(usize),
    /// Something else that must stay: its name.
    Foreign(&'static str),
}

/// Signatures: name, place in bytes from the device's beginning, value. Two bytes that name a file system nobody keeps on a
/// partition any more (minix, hfs, sysv) are not among them: each would refuse one of 65,536 partitions of
/// random bytes, and that is what swap with a random key leaves behind.
const SIGNATURES: &[(&str, usize, &[u8])] = &[
    ("crypto_LUKS", 0, b"LUKS\xba\xbe"),
    ("crypto_LUKS", 0x4000, b"SKUL\xba\xbe"),
    ("crypto_LUKS", 0x8000, b"SKUL\xba\xbe"),
    ("crypto_LUKS", 0x1_0000, b"SKUL\xba\xbe"),
    ("crypto_LUKS", 0x2_0000, b"SKUL\xba\xbe"),
    ("crypto_LUKS", 0x4_0000, b"SKUL\xba\xbe"),
    ("LVM2_member", 0x018, b"LVM2 001"),
    ("LVM2_member", 0x218, b"LVM2 001"),
    ("LVM2_member", 0x418, b"LVM2 001"),
    ("LVM2_member", 0x618, b"LVM2 001"),
    ("LVM1_member", 0, b"HM\x01\0"),
    ("LVM1_member", 0, b"HM\x02\0"),
    ("DM_snapshot_cow", 0, b"SnAp"),
    ("DM_verity_hash", 0, b"verity\0\0"),
    ("linux_raid_member", 0, b"\xfc\x4e\x2b\xa9"),
    ("linux_raid_member", 4096, b"\xfc\x4e\x2b\xa9"),
    ("ext4", 1080, b"\x53\xef"),
    ("xfs", 0, b"XFSB"),
    ("btrfs", 0x1_0040, b"_BHRfS_M"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("f2fs", 4096 + 1024, b"\x10\x20\xf5\xf2"),
    ("ntfs", 3, b"NTFS    "),
    ("exfat", 3, b"EXFAT   "),
    ("BitLocker", 3, b"-FVE-FS-"),
    ("vfat", 54, b"FAT12   "),
    ("vfat", 54, b"FAT16   "),
    ("vfat", 82, b"FAT32   "),
    ("gpt", 512, b"EFI PART"),
    ("gpt", 4096, b"EFI PART"),
    ("bcache", 4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"),
    ("bcachefs", 4096 + 24, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"),
    ("squashfs", 0, b"hsqs"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("iso9660", 0x8001, b"CD001"),
    ("jfs", 0x8000, b"JFS1"),
    ("nilfs2", 1024 + 6, b"\x34\x34"),
    ("gfs2", 0x1_0000, b"\x01\x16\x19\x70"),
    ("ocfs", 8192, b"OracleCFS"),
    ("ocfs2", 1024, b"OCFSV2"),
    ("ocfs2", 2048, b"OCFSV2"),
    ("ocfs2", 4096, b"OCFSV2"),
    ("ocfs2", 8192, b"OCFSV2"),
    ("oracleasm", 32, b"ORCLDISK"),
    ("ceph_bluestore", 0, b"bluestore block device"),
    ("drbdmanage_control_volume", 0, b"$DRBDmgr=q"),
    ("drbdproxy_datalog", 0, b"DRBDdlh*"),
    ("reiserfs", 8192 + 52, b"ReIsErFs"),
    ("reiserfs", 0x1_0034, b"ReIsErFs"),
    ("reiserfs", 0x1_0034, b"ReIsEr2Fs"),
    ("reiserfs", 0x1_0034, b"ReIsEr3Fs"),
    ("reiser4", 0x1_0000, b"ReIsEr4"),
    ("apfs", 32, b"NXSB"),
    ("hfsplus", 1024, b"H+\0\x04"),
    ("hfsplus", 1024, b"HX\0\x05"),
    ("udf", 0x8001, b"BEA01"),
    ("ufs", 0x2000 + 1372, b"\x54\x19\x01\0"),
    ("ufs", 0x1_0000 + 1372, b"\x19\x01\x54\x19"),
    ("vxfs", 1024, b"\xf5\xfc\x01\xa5"),
    ("vxfs", 8192, b"\xa5\x01\xfc\xf5"),
    ("scoutfs", 0x1_0004, b"\x8b\x42\x3c\x10"),
    ("exfs", 0, b"EXFS"),
    ("befs", 32, b"BFS1"),
    ("befs", 512 + 32, b"BFS1"),
    ("hpfs", 0x2000, b"\x49\xe8\x95\xf9"),
    ("ReFS", 0, b"\0\0\0ReFS\0"),
    ("cramfs", 0, b"\x45\x3d\xcd\x28"),
    ("cramfs", 0, b"\x28\xcd\x3d\x45"),
    ("romfs", 0, b"-rom1fs-"),
    ("zonefs", 0, b"SFOZ"),
    ("ubi", 0, b"UBI#"),
    ("ubifs", 0, b"\x31\x18\x10\x06"),
    ("mpool", 0, b"mpoolDev"),
    ("stratis", 512 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("stratis", 9 * 512 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("DM_integrity", 0, b"integrt\0"),
    ("vdo", 0, b"dmvdo001"),
    ("hibernation image", 0, b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c"),
    ("bsd disk label", 64, b"\x57\x45\x56\x82"),
    ("bsd disk label", 512, b"\x57\x45\x56\x82"),
    ("dos partition table", 510, b"\x55\xaa"),
];

/// Signatures counted from the device's end.
const TAIL_SIGNATURES: &[(&str, usize, &[u8])] = &[
    ("gpt (its copy at the end)", 512, b"EFI PART"),
    ("gpt (its copy at the end)", 4096, b"EFI PART"),
    ("drbd", 4096 - 60, b"\x83\x74\x02\x6b"),
    ("drbd", 4096 - 60, b"\x83\x74\x02\x6c"),
    ("drbd", 4096 - 60, b"\x83\x74\x02\x6d"),
    ("isw_raid_member", 1024, b"Intel Raid ISM Cfg Sig. "),
    ("ddf_raid_member", 512, b"\xde\x11\xde\x11"),
    ("ddf_raid_member", 257 * 512, b"\xde\x11\xde\x11"),
];

/// md RAID superblock of versions 0.90 and 1.0, which are at the end.
const MD_MAGIC: &[u8] = b"\xfc\x4e\x2b\xa9";
/// Page sizes of kernels that write swap signatures: ten bytes before the first page's end.
const PAGE_SIZES: [usize; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];
/// The largest of them: what tells whether swap space starts with it.
pub(super) const SWAP_PAGE: usize = 64 << 10;
const SWAP: [&[u8]; 2] = [b"SWAPSPACE2", b"SWAP-SPACE"];
/// A hibernated machine's memory, in the place of a swap signature.
const HIBERNATED: [&[u8]; 4] = [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"];

/// What a device of `size` bytes holds: `head` are its first [`HEAD_PROBE`] bytes, `tail` its last
/// [`TAIL_PROBE`], each less where the device is smaller.
#[must_use]
pub fn occupant(head: &[u8], tail: &[u8], size: u64) -> Occupant {
    if FrameHeader::is_at(head) {
        return Occupant::Frame;
    }
    if let Some(name) = foreign(head).or_else(|| foreign_tail(tail, size)) {
        return Occupant::Foreign(name);
    }
    match swap_end(head, &SWAP) {
        Some(end) => Occupant::Swap(end),
        None => Occupant::Nothing,
    }
}

fn foreign(head: &[u8]) -> Option<&'static str> {
    let found = SIGNATURES.iter().find(|(_, at, value)| is_at(head, *at, value));
    let hibernated = swap_end(head, &HIBERNATED).map(|_| "hibernation image");
    found.map(|(name, ..)| *name).or(hibernated).or_else(|| zfs(head))
}

/// ZFS has a ring of uberblocks in its first label, each 1 KiB, in either byte order.
fn zfs(head: &[u8]) -> Option<&'static str> {
    const UBERBLOCK: u64 = 0x00ba_b10c;
    let ring = (128 << 10..256 << 10).step_by(1024);
    let is_one = |at| is_at(head, at, &UBERBLOCK.to_le_bytes()) || is_at(head, at, &UBERBLOCK.to_be_bytes());
    ring.into_iter().any(is_one).then_some("zfs_member")
}

fn foreign_tail(tail: &[u8], size: u64) -> Option<&'static str> {
    let start = size - (tail.len() as u64).min(size);
    let from_end = |distance: usize| tail.len().checked_sub(distance);
    let found = TAIL_SIGNATURES
        .iter()
        .find(|(_, distance, value)| from_end(*distance).is_some_and(|at| is_at(tail, at, value)));
    let raid = [(size.saturating_sub(8 << 10)) & !0xfff, (size & !0xffff).saturating_sub(64 << 10)];
    let raid = raid.iter().any(|&at| {
        at.checked_sub(start)
            .and_then(|at| usize::try_from(at).ok())
            .is_some_and(|at| is_at(tail, at, MD_MAGIC))
    });
    found.map(|(name, ..)| *name).or(raid.then_some("linux_raid_member"))
}

fn swap_end(head: &[u8], values: &[&[u8]]) -> Option<usize> {
    PAGE_SIZES.into_iter().find(|&page| values.iter().any(|value| is_at(head, page - 10, value)))
}

fn is_at(bytes: &[u8], at: usize, value: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|bytes| bytes.starts_with(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1 << 20;

    fn holding(at: usize, value: &[u8]) -> Occupant {
        let mut device = vec![0; SIZE];
        device[at..at + value.len()].copy_from_slice(value);
        occupant(&device[..HEAD_PROBE], &device[SIZE - TAIL_PROBE..], SIZE as u64)
    }

    #[test]
    fn every_signature_is_found() {
        for (name, at, value) in SIGNATURES {
            assert_eq!(holding(*at, value), Occupant::Foreign(name));
        }
        assert_eq!(holding(200 << 10, &0x00ba_b10c_u64.to_be_bytes()), Occupant::Foreign("zfs_member"));
        for at in [SIZE - (8 << 10), SIZE - (64 << 10)] {
            assert_eq!(holding(at, MD_MAGIC), Occupant::Foreign("linux_raid_member"));
        }
        for (name, distance, value) in TAIL_SIGNATURES {
            assert_eq!(holding(SIZE - distance, value), Occupant::Foreign(name));
        }
        assert!(matches!(holding(4086, b"S1SUSPEND"), Occupant::Foreign(_)));
    }

    #[test]
    fn swap_frames_and_nothing_are_told_apart() {
        assert_eq!(holding(4086, b"SWAPSPACE2"), Occupant::Swap(4096));
        assert_eq!(holding(65526, b"SWAPSPACE2"), Occupant::Swap(65536));
        assert_eq!(holding(0, &FrameHeader::MAGIC), Occupant::Frame);
        assert_eq!(holding(0, b"makedumpfile"), Occupant::Nothing);
        assert_eq!(occupant(b"", b"", 0), Occupant::Nothing);
    }
}
