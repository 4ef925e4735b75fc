//! Disks of a machine in the making: two that share their tags, one of device mapper, one that is broken.

use super::*;
use crate::kernel::testing::Pieces;
use crate::kernel::testing::description::{Generation, Types, kallsyms};
use crate::units::ByteOrder;

const BASE: u64 = 0xffff_ffff_8100_0000;
const TYPES: u64 = BASE + 0x10_0000;
const HEAP: u64 = 0xffff_8880_0000_0000;
const SUPER_BLOCK: u64 = HEAP + 0x100;
const CPU: [u64; 2] = [HEAP + 0x10_0000, HEAP + 0x20_0000];
/// Offsets of per-CPU memory that numbers are counted in.
const STATS: u64 = 0x4000;

/// The types of v5.10, or of what came after v5.16.
fn types(big: bool, is_old: bool) -> Types {
    let mut types = Types::new(big);
    let word = types.int("unsigned int", 4, false);
    let long = types.int("long unsigned int", 8, false);
    let pointer = types.pointer(0);
    let letter = types.int("char", 1, true);
    let name = types.array(letter, 32);
    let pair = types.array(long, 2);
    let head = types.structure("list_head", 16, &[("next", pointer, 0, 0), ("prev", pointer, 64, 0)]);
    types.structure("super_block", 64, &[("s_dev", word, 0, 0), ("s_inodes", head, 128, 0)]);
    let inode = types.structure("inode", 64, &[("i_ino", long, 0, 0), ("i_sb_list", head, 64, 0)]);
    types.structure("disk_stats", 64, &[("in_flight", pair, 128, 0)]);
    types.structure("cpumask", 16, &[("bits", pair, 0, 0)]);
    types.enumeration("mq_rq_state", &[("MQ_RQ_IDLE", 0), ("MQ_RQ_IN_FLIGHT", 1), ("MQ_RQ_COMPLETE", 2)]);
    types.structure(
        "request",
        64,
        &[("q", pointer, 0, 0), ("cmd_flags", word, 64, 0), ("state", word, 96, 0)],
    );
    types.structure("sbitmap_word", 128, &[("word", long, 0, 0), ("cleared", long, 512, 0)]);
    let numbers = [("depth", word, 0, 0), ("shift", word, 32, 0), ("map_nr", word, 64, 0)];
    let bitmap =
        types.structure("sbitmap", 24, &[numbers[0], numbers[1], numbers[2], ("map", pointer, 128, 0)]);
    let mut bits = types.structure("sbitmap_queue", 32, &[("sb", bitmap, 0, 0)]);
    if is_old {
        bits = types.pointer(bits);
    }
    let members = [("nr_reserved_tags", word, 0, 0), ("rqs", pointer, 64, 0), ("bitmap_tags", bits, 128, 0)];
    types.structure("blk_mq_tags", 64, &members);
    let set = [("nr_hw_queues", word, 0, 0), ("tags", pointer, 64, 0)];
    let set = types.structure("blk_mq_tag_set", 64, &set);
    let set = types.pointer(set);
    let queue = types.structure("request_queue", 64, &[("id", long, 0, 0), ("tag_set", set, 64, 0)]);
    let queue = types.pointer(queue);
    // The disk and its device lead to each other.
    let device = types.end_id() + 3;
    let part = if is_old {
        types.structure("hd_struct", 16, &[("nr_sects", long, 0, 0), ("dkstats", pointer, 64, 0)])
    } else {
        types.pointer(device)
    };
    let members = [("disk_name", name, 0, 0), ("queue", queue, 256, 0), ("part0", part, 320, 0)];
    let disk = types.structure("gendisk", 64, &members);
    let disk = types.pointer(disk);
    let members = [("bd_disk", disk, 0, 0), ("bd_stats", pointer, 64, 0)];
    assert_eq!(types.structure("block_device", 32, &members), device);
    types.structure("bdev_inode", 96, &[("bdev", device, 0, 0), ("vfs_inode", inode, 256, 0)]);
    types
}

/// Tags of a hardware queue: bits that are taken, those of them that were given back, and which request each tag leads to.
type Queue<'a> = (u64, u64, &'a [(u64, u64)]);

struct World {
    memory: Pieces,
    order: ByteOrder,
    is_old: bool,
    devices: Vec<u64>,
}

impl World {
    fn new(big: bool, is_old: bool) -> World {
        let types = types(big, is_old).bytes();
        let symbols = [
            ('D', "_stext", BASE),
            ('D', "__start_BTF", TYPES),
            ('D', "__stop_BTF", TYPES + types.len() as u64),
            ('D', "blockdev_superblock", BASE + 0x20_0000),
            ('D', "__per_cpu_offset", BASE + 0x20_0100),
            ('D', "nr_cpu_ids", BASE + 0x20_0200),
            ('D', "__cpu_possible_mask", BASE + 0x20_0300),
        ];
        let table = kallsyms(big, Generation::PlaceRelative, BASE + 0x1000, &symbols);
        let order = if big { ByteOrder::Big } else { ByteOrder::Little };
        let mut memory = Pieces::new(order, &format!("{}SYMBOL(_stext)={BASE:x}\n", table.lines));
        let mut bytes = table.bytes;
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        memory.put(table.at, bytes);
        memory.put(TYPES, types);
        memory.put(HEAP, vec![0; 0x8000]);
        for (at, value) in [(0, SUPER_BLOCK), (0x100, CPU[0]), (0x108, CPU[1]), (0x300, 3)] {
            memory.put_u64(BASE + 0x20_0000 + at, value);
        }
        let mut world = World { memory, order, is_old, devices: Vec::new() };
        world.u32(BASE + 0x20_0200, 2);
        world
    }

    fn u32(&mut self, at: u64, value: u32) {
        self.memory.put(at, self.order.u32_bytes(value));
    }

    fn u64(&mut self, at: u64, value: u64) {
        self.memory.put_u64(at, value);
    }

    /// A device whose disk is at `disk`, or that has none.
    fn device(&mut self, at: u64, disk: u64) {
        self.u64(at, disk);
        self.u64(at + 8, STATS);
        self.devices.push(at + 32 + 8);
    }

    /// A disk at `at`, its device and its queue after it.
    fn disk(&mut self, at: u64, name: &str, tag_set: u64) {
        self.memory.put(at, name);
        self.u64(at + 32, at + 0x80);
        let part = if self.is_old { [0, STATS] } else { [at + 0x100, 0] };
        self.u64(at + 40, part[0]);
        self.u64(at + 48, part[1]);
        self.u64(at + 0x88, tag_set);
        self.device(at + 0x100, at);
    }

    /// A set of tags at `at`, of one queue after another, 8 each.
    fn tag_set(&mut self, at: u64, queues: &[Queue<'_>]) {
        self.u32(at, u32::try_from(queues.len()).unwrap());
        self.u64(at + 8, at + 0x20);
        for (nth, &(word, cleared, requests)) in (0..).zip(queues) {
            let tags = at + 0x100 + 0x200 * nth;
            self.u64(at + 0x20 + 8 * nth, tags);
            self.u32(tags, 2);
            self.u64(tags + 8, tags + 0x80);
            let bits = if self.is_old { tags + 0x40 } else { tags + 16 };
            if self.is_old {
                self.u64(tags + 16, bits);
            }
            [8, 3, 1].into_iter().zip(0..).for_each(|(value, nth)| self.u32(bits + 4 * nth, value));
            self.u64(bits + 16, tags + 0x100);
            self.u64(tags + 0x100, word);
            self.u64(tags + 0x140, cleared);
            for &(tag, request) in requests {
                self.u64(tags + 0x80 + 8 * (2 + tag), request);
            }
        }
    }

    fn request(&mut self, at: u64, queue: u64, operation: u32, state: u32) {
        self.u64(at, queue);
        self.u32(at + 8, operation);
        self.u32(at + 12, state);
    }

    fn read(mut self) -> Result<Disks, Error> {
        let head = SUPER_BLOCK + 16;
        let ring: Vec<u64> = [head].into_iter().chain(self.devices.clone()).collect();
        for (nth, &at) in ring.iter().enumerate() {
            self.u64(at, ring[(nth + 1) % ring.len()]);
            self.u64(at + 8, ring[(nth + ring.len() - 1) % ring.len()]);
        }
        super::read(&Kernel::new(&self.memory))
    }
}

fn numbers(disks: &Disks) -> Vec<(&str, Option<(u64, u64)>)> {
    let numbers = |disk: &Disk| disk.in_flight.read().map(|found| (found.reads, found.writes));
    disks.listed.iter().map(|disk| (disk.name.as_str(), numbers(disk))).collect()
}

#[test]
fn requests_in_flight_are_those_that_have_a_tag_and_were_started() {
    for (big, is_old) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut world = World::new(big, is_old);
        let (set, requests) = (HEAP + 0x3000, HEAP + 0x2000);
        let (vda, vdb) = (HEAP + 0x1000, HEAP + 0x1200);
        world.disk(vda, "vda", set);
        world.disk(vdb, "vdb", set);
        world.disk(HEAP + 0x1400, "dm-0", 0);
        // A partition, and what was never opened.
        world.device(HEAP + 0x1600, vda);
        world.device(HEAP + 0x1700, 0);
        let nth = |nth: u64| requests + 0x40 * nth;
        // A read, a write and a discard; one of the other disk; three that are not in flight. Request 1 has two tags.
        world.request(nth(0), vda + 0x80, 0, 1);
        world.request(nth(1), vda + 0x80, 1 | 0x800, 1);
        world.request(nth(2), vda + 0x80, 3, 1);
        world.request(nth(3), vdb + 0x80, 0, 1);
        world.request(nth(4), vda + 0x80, 0, 0);
        world.request(nth(5), vda + 0x80, 0, 2);
        let first = [(0, nth(0)), (1, nth(1)), (3, nth(2)), (4, nth(4)), (5, nth(5)), (6, nth(3))];
        world.tag_set(
            set,
            &[(0b0111_1011, 0b0100_0000, &first), (0b1000_0110, 0, &[(1, nth(1)), (7, nth(3))])],
        );
        for (cpu, reads, writes) in [(CPU[0], 5, 2), (CPU[1], (-3_i64).cast_unsigned(), 4)] {
            world.u64(cpu + STATS + 16, reads);
            world.u64(cpu + STATS + 24, writes);
        }
        let disks = world.read().unwrap();
        let expected = [("dm-0", Some((2, 6))), ("vda", Some((1, 2))), ("vdb", Some((1, 0)))];
        assert_eq!(numbers(&disks), expected, "{big} {is_old}");
        assert_eq!(disks.damaged, None);
    }
}

#[test]
fn a_disk_that_is_not_readable_leaves_the_others() {
    let mut world = World::new(false, false);
    let set = HEAP + 0x3000;
    world.disk(HEAP + 0x1000, "sda", set);
    world.disk(HEAP + 0x1200, "loop0", 0x123);
    world.disk(HEAP + 0x1400, "sdb", HEAP + 0x4000);
    world.tag_set(set, &[(0, 0, &[])]);
    world.tag_set(HEAP + 0x4000, &[(1, 0, &[])]);
    // More tags than any device has.
    world.u32(HEAP + 0x4100 + 16, 1 << 30);
    let disks = world.read().unwrap();
    assert_eq!(numbers(&disks), [("loop0", None), ("sdb", None), ("sda", Some((0, 0)))]);
    let Section::Error(why) = &disks.listed[1].in_flight else { panic!("read") };
    assert_eq!(why, "absurd number of tags: 0x40000000");
}

#[test]
fn a_list_that_is_broken_gives_what_is_before_the_break() {
    let mut world = World::new(false, false);
    world.disk(HEAP + 0x1000, "sda", HEAP + 0x3000);
    world.tag_set(HEAP + 0x3000, &[(0, 0, &[])]);
    world.devices.push(0xdead_0000);
    let disks = world.read().unwrap();
    assert_eq!(numbers(&disks), [("sda", Some((0, 0)))]);
    assert!(disks.damaged.unwrap().starts_with("reading "));
    assert!(World::new(false, false).read().unwrap().listed.is_empty());
    let mut world = World::new(false, false);
    world.devices.push(0xdead_0000);
    assert!(world.read().is_err());
}
