//! Block devices, and how many requests each was working on: a machine that hangs on a disk shows it here.
//!
//! Disks are found by the inodes of the block device file system. Requests that a driver has are found by the tags that are
//! taken, as in Linux `block/blk-mq-tag.c` (`blk_mq_queue_tag_busy_iter`); what takes bios, such as device mapper, counts
//! them for each CPU (`struct disk_stats.in_flight`, since commit 1226b8dd0e91 ("block: switch to per-cpu in-flight
//! counters") (in v5.0)).

#[cfg(test)]
mod tests;

use super::limit::Limit;
use super::{Section, lossy};
use crate::kernel::{Error, Kernel, MAX_CPUS, Object};
use crate::units::VirtAddr;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// The most block devices, partitions among them.
const MAX_DEVICES: u64 = 1 << 16;
/// The most hardware queues of a device: `NR_CPUS` at most, and as many for each of the three kinds of queues.
const MAX_QUEUES: u64 = 3 * MAX_CPUS as u64;
/// The most tags of a queue. Source: Linux `include/linux/blk-mq.h`, `BLK_MQ_MAX_DEPTH`, 10240.
const MAX_TAGS: u64 = 1 << 16;
/// The most requests in flight of all devices that share tags.
const MAX_REQUESTS: usize = 1 << 20;
/// The bit of a request's operation that all operations have which write. Source: Linux `include/linux/blk_types.h`
/// (`op_is_write`).
const WRITES: u64 = 1;

/// The disks.
#[derive(Debug, Serialize)]
pub struct Disks {
    /// Those that were found, the busy ones first.
    pub listed: Vec<Disk>,
    /// Why some are missing.
    pub damaged: Option<String>,
}

/// A disk, or what stands for one: a device of device mapper, a loop device.
#[derive(Debug, Serialize)]
pub struct Disk {
    /// Its name, as `vda`.
    pub name: String,
    /// What it was working on.
    pub in_flight: Section<InFlight>,
}

/// Numbers of requests that a device has and has not answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InFlight {
    /// Those that read.
    pub reads: u64,
    /// Those that write, discard and the like.
    pub writes: u64,
}

impl InFlight {
    /// All requests.
    #[must_use]
    pub fn all(self) -> u64 {
        self.reads.saturating_add(self.writes)
    }
}

impl Disk {
    /// Whether there is something to show: it works, or it is not known whether it does.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.read().is_some_and(|requests| requests.all() == 0)
    }
}

/// Reads the disks.
pub(super) fn read(kernel: &Kernel<'_>) -> Result<Disks, Error> {
    let mut reader = Reader { kernel, limit: Limit::new(false), busy: HashMap::new() };
    let mut listed = Vec::new();
    let damaged = match reader.list(&mut listed) {
        Err(error) if listed.is_empty() => return Err(error),
        result => result.err().map(|error| error.line()),
    };
    listed.sort_by(|a, b| a.is_idle().cmp(&b.is_idle()).then_with(|| a.name.cmp(&b.name)));
    Ok(Disks { listed, damaged })
}

/// The requests of each queue, by its address.
type Busy = HashMap<u64, InFlight>;

/// What disks are read with.
struct Reader<'k> {
    kernel: &'k Kernel<'k>,
    limit: Limit,
    /// What was found by sets of tags, by their addresses: several disks may share one.
    busy: HashMap<u64, Result<Busy, String>>,
}

impl<'k> Reader<'k> {
    /// Finds the disks. Since commit 22ae8ce8b892 ("block: simplify bdev/disk lookup in blkdev_get") (in v5.11) every
    /// device has an inode, before it those that are open.
    fn list(&mut self, disks: &mut Vec<Disk>) -> Result<(), Error> {
        let kernel = self.kernel;
        let at = kernel.u64(kernel.symbol("blockdev_superblock")?, "blockdev_superblock")?;
        let inodes = kernel.object("super_block", VirtAddr(at))?.address_of("s_inodes")?;
        let within = kernel.offset_of("bdev_inode", "vfs_inode")?;
        let mut seen = HashSet::new();
        for inode in kernel.linked("inode", "i_sb_list")?.on(inodes, MAX_DEVICES, "list of block devices") {
            if self.limit.is_over() {
                return Err(Error::Slow("list of block devices"));
            }
            let device = VirtAddr(inode?.address().0.wrapping_sub(within));
            let device = kernel.object("bdev_inode", device)?.part("bdev")?;
            // A device that was never opened has none before v5.11; partitions have that of their disk.
            let Some(disk) = device.follow("bd_disk")?.filter(|disk| seen.insert(disk.address())) else {
                continue;
            };
            disks.push(self.disk(&disk)?);
        }
        Ok(())
    }

    fn disk(&mut self, disk: &Object<'k>) -> Result<Disk, Error> {
        let name = lossy(&disk.text("disk_name")?);
        let in_flight = self.in_flight(disk).map_or_else(Section::Error, Section::Read);
        Ok(Disk { name, in_flight })
    }

    fn in_flight(&mut self, disk: &Object<'k>) -> Result<InFlight, String> {
        let line = |error: Error| error.line();
        let Some(queue) = disk.follow("queue").map_err(line)? else { return Ok(InFlight::default()) };
        let Some(set) = queue.follow("tag_set").map_err(line)? else {
            return self.counted(disk).map_err(line);
        };
        let (kernel, limit) = (self.kernel, self.limit);
        let busy = self.busy.entry(set.address().0);
        let busy = busy.or_insert_with(|| busy_requests(kernel, &set, limit).map_err(line));
        let found = busy.as_ref().map_err(Clone::clone)?;
        Ok(found.get(&queue.address().0).copied().unwrap_or_default())
    }

    /// What the CPUs counted. Since commit 0d02129e76ed ("block: merge struct block_device and struct hd_struct") (in v5.11)
    /// the disk points to its device.
    fn counted(&self, disk: &Object<'k>) -> Result<InFlight, Error> {
        let stats = match disk.follow("part0") {
            Ok(Some(device)) => device.uint("bd_stats")?,
            Ok(None) => return Ok(InFlight::default()),
            Err(_) => disk.part("part0")?.uint("dkstats")?,
        };
        let place = self.kernel.offset_of("disk_stats", "in_flight")?;
        let mut sums = [0_u64; 2];
        for cpu in self.kernel.cpus("possible")? {
            let own = VirtAddr(stats).wrapping_add(self.kernel.per_cpu_offset(cpu)?).wrapping_add(place);
            for (nth, sum) in (0..).zip(&mut sums) {
                // A request may end on another CPU than it began on: only the sum has a meaning.
                *sum = sum.wrapping_add(self.kernel.u64(own.wrapping_add(8 * nth), "numbers of a disk")?);
            }
        }
        let [reads, writes] = sums.map(|sum| sum.cast_signed().max(0).cast_unsigned());
        Ok(InFlight { reads, writes })
    }
}

/// The requests that have a tag of a set and were started.
fn busy_requests(kernel: &Kernel<'_>, set: &Object<'_>, limit: Limit) -> Result<Busy, Error> {
    let (count, table) = (set.uint("nr_hw_queues")?, set.uint("tags")?);
    if count > MAX_QUEUES {
        return Err(Error::Absurd { what: "number of hardware queues", value: count });
    }
    let mut requests = HashSet::new();
    let mut all = HashSet::new();
    for nth in 0..count {
        let tags = kernel.u64(VirtAddr(table).wrapping_add(8 * nth), "tags of a block device")?;
        // All queues of some devices share their tags.
        if tags != 0 && all.insert(tags) {
            add_requests(kernel, &kernel.object("blk_mq_tags", VirtAddr(tags))?, limit, &mut requests)?;
        }
    }
    let started = kernel.enumerator("MQ_RQ_IN_FLIGHT")?;
    let mut busy = Busy::new();
    for at in requests {
        let request = kernel.object("request", VirtAddr(at))?;
        if limit.is_over() {
            return Err(Error::Slow("list of requests"));
        }
        if request.uint("state")? != started.cast_unsigned() {
            continue;
        }
        let of_queue = busy.entry(request.uint("q")?).or_default();
        let is_write = request.uint("cmd_flags")? & WRITES != 0;
        *(if is_write { &mut of_queue.writes } else { &mut of_queue.reads }) += 1;
    }
    Ok(busy)
}

/// Adds the requests that have tags, each once: a tag that is given anew may still lead to an earlier one.
fn add_requests(
    kernel: &Kernel<'_>,
    tags: &Object<'_>,
    limit: Limit,
    requests: &mut HashSet<u64>,
) -> Result<(), Error> {
    let (table, reserved) = (tags.uint("rqs")?, tags.uint("nr_reserved_tags")?);
    // A pointer from commit 568f27006577 ("blk-mq: Use pointers for blk_mq_tags bitmap tags") (in v5.10) to commit ae0f1a732f4a
    // ("blk-mq: Stop using pointers for blk_mq_tags bitmap tags") (in v5.16).
    let bits = match tags.follow("bitmap_tags") {
        Ok(pointed) => pointed,
        Err(_) => Some(tags.part("bitmap_tags")?),
    };
    let Some(bits) = bits else { return Ok(()) };
    for tag in taken(kernel, &bits.part("sb")?, limit)? {
        let place = VirtAddr(table).wrapping_add(8 * tag.wrapping_add(reserved));
        let request = kernel.u64(place, "table of requests")?;
        if request != 0 && requests.insert(request) && requests.len() > MAX_REQUESTS {
            return Err(Error::Absurd { what: "number of requests", value: requests.len() as u64 });
        }
    }
    Ok(())
}

/// The bits that are set in a `struct sbitmap`. Those that were given back are cleared later, all at once.
///
/// Source: Linux `include/linux/sbitmap.h`.
fn taken(kernel: &Kernel<'_>, bitmap: &Object<'_>, limit: Limit) -> Result<Vec<u64>, Error> {
    let (depth, shift) = (bitmap.uint("depth")?, bitmap.uint("shift")?);
    let words = bitmap.uint("map_nr")?;
    if depth > MAX_TAGS || words > depth || shift > 6 {
        return Err(Error::Absurd { what: "number of tags", value: depth });
    }
    let (map, size) = (bitmap.uint("map")?, kernel.size_of("sbitmap_word")?);
    let mut found = Vec::new();
    for nth in 0..words {
        if limit.is_over() {
            return Err(Error::Slow("map of tags"));
        }
        let word = kernel.object("sbitmap_word", VirtAddr(map).wrapping_add(nth.wrapping_mul(size)))?;
        let set = word.uint("word")? & !word.uint("cleared")?;
        let bits = (0..1_u64 << shift).filter(|bit| set >> bit & 1 != 0).map(|bit| (nth << shift) + bit);
        found.extend(bits.filter(|&tag| tag < depth));
    }
    Ok(found)
}
