//! The lockless ring of Linux 5.10 and later: a ring of descriptors, a ring of infos beside it, and a ring of
//! text. Logical positions and ids only ever grow; their low bits index the rings.
//!
//! Source: Linux `kernel/printk/printk_ringbuffer.h` and `.c`, in use since commit 896fbe20b4e2 ("printk: use the lockless
//! ringbuffer") (in v5.10); the keys in `kernel/printk/printk.c`, `log_buf_vmcoreinfo_setup`.

use super::fields::{Bytes, Fields};
use super::{Error, KernelRead, Message, Sink, Start, Stats};
use crate::units::VirtAddr;

/// Log2 of the most descriptors believed. The kernel has one per 32 bytes of text, and at most 2 GiB of text.
const MAX_COUNT_BITS: u32 = 26;
/// Log2 of the most bytes of text believed: the kernel's own limit on `log_buf_len`.
const MAX_SIZE_BITS: u32 = 31;
/// An id is 62 bits; the two above hold the state.
const ID_BITS: u32 = 62;
const ID_MASK: u64 = (1 << ID_BITS) - 1;
/// States of a descriptor; the two between are "committed" and "finalized", both complete.
const RESERVED: u64 = 0;
const REUSABLE: u64 = 3;
/// Bytes of the id that every block of text begins with.
const BLOCK_ID: u64 = 8;
/// Position of a message without text. Another odd position means that there was no room for the text.
const EMPTY_LINE: u64 = 3;
/// Descriptors that cannot be read are skipped by as many as share a page of this size.
const SMALLEST_PAGE: u64 = 4096;

/// Damaged descriptors that are read one by one. Of an honest ring few are; of memory that is no ring all would be,
/// and there may be 2^26.
const MAX_DAMAGED: u64 = 1 << 20;

/// Reads the ring's messages in turn.
pub(super) fn read(kernel: &dyn KernelRead, start: Start, sink: Sink<'_>) -> Result<Stats, Error> {
    let ring = Ring::open(kernel)?;
    let clear = if start == Start::LastClear { cleared(Fields(kernel)) } else { 0 };
    let mut stats = Stats::default();
    let mut text = Vec::new();
    let mut done = 0;
    while done < ring.ids {
        let id = ring.tail.wrapping_add(done) & ID_MASK;
        done += 1;
        match ring.message(id, &mut text) {
            Found::Message(info) if info.seq >= clear => {
                stats.printed += 1;
                sink(&Message { nanos: info.nanos, caller: info.caller, at: info.at, text: &text })?;
            }
            Found::Message(_) | Found::Recycled => {}
            Found::Unfinished => stats.unfinished += 1,
            Found::Damaged if stats.damaged >= MAX_DAMAGED => {
                stats.damaged += 1 + ring.ids - done;
                break;
            }
            Found::Damaged => stats.damaged += 1,
            Found::UnreadablePage => {
                let skipped = ring.descriptors_to_page_end(id).min(ring.ids - done);
                stats.damaged += 1 + skipped;
                done += skipped;
            }
        }
    }
    Ok(stats)
}

/// Where the ring of texts is: address and bytes.
#[cfg(feature = "analyst")]
pub(super) fn area(kernel: &dyn KernelRead) -> Result<(VirtAddr, u64), Error> {
    let ring = Ring::open(kernel)?;
    Ok((ring.data, ring.size))
}

/// Sequence number of the first message after the last clear: a value with two copies, of which the
/// counter before them tells which is valid. 0 when the kernel has none.
fn cleared(fields: Fields<'_>) -> u64 {
    let read = || {
        let at = fields.symbol("clear_seq")?;
        let copies = fields.offset("latched_seq.val")? as u64;
        let copy = u64::from(fields.u32(at, "clear_seq")? & 1);
        fields.u64(at.wrapping_add(copies + 8 * copy), "clear_seq")
    };
    read().unwrap_or(0)
}

/// What a descriptor led to.
enum Found {
    /// A complete message; its text is in the buffer.
    Message(Info),
    /// The kernel was still writing it, or had no room for its text.
    Unfinished,
    /// Its text gave way to newer messages.
    Recycled,
    /// It contradicts itself or cannot be read.
    Damaged,
    /// Not even the descriptor can be read.
    UnreadablePage,
}

/// What stands beside the text.
struct Info {
    seq: u64,
    nanos: u64,
    text_len: u16,
    caller: Option<u32>,
    /// Where the text is, once that is known.
    at: Option<VirtAddr>,
}

/// Where in the ring a message's text is.
enum Block {
    /// Index of its id, and bytes of text after that.
    Text {
        at: u64,
        len: u64,
    },
    Empty,
    Lost,
    Nonsense,
}

/// The ring, with its description checked.
struct Ring<'a> {
    kernel: &'a dyn KernelRead,
    layout: Layout,
    descs: VirtAddr,
    infos: VirtAddr,
    data: VirtAddr,
    count: u64,
    size: u64,
    /// Id of the oldest descriptor.
    tail: u64,
    /// Descriptors from the oldest to the newest; at most `count`.
    ids: u64,
}

impl<'a> Ring<'a> {
    fn open(kernel: &'a dyn KernelRead) -> Result<Ring<'a>, Error> {
        let f = Fields(kernel);
        let ring = VirtAddr(f.u64(f.symbol("prb")?, "the pointer to the ring")?);
        let at = |field: &str| Ok::<_, Error>(ring.wrapping_add(f.offset(field)? as u64));
        let descs = at("printk_ringbuffer.desc_ring")?;
        let text = at("printk_ringbuffer.text_data_ring")?;
        let member = |base: VirtAddr, field: &str| Ok::<_, Error>(base.wrapping_add(f.offset(field)? as u64));
        let counter = f.offset("atomic_long_t.counter")? as u64;
        let id = |field: &str, what| f.u64(member(descs, field)?.wrapping_add(counter), what);
        let count_bits = f.u32(member(descs, "prb_desc_ring.count_bits")?, "the descriptor count")?;
        let size_bits = f.u32(member(text, "prb_data_ring.size_bits")?, "the text size")?;
        let count = 1 << checked_bits("log2 of the descriptor count", count_bits, MAX_COUNT_BITS)?;
        let head = id("prb_desc_ring.head_id", "the newest id")? & ID_MASK;
        let tail = id("prb_desc_ring.tail_id", "the oldest id")? & ID_MASK;
        let (tail, ids) = span(tail, head, count);
        Ok(Ring {
            kernel,
            layout: Layout::new(f)?,
            descs: VirtAddr(f.u64(member(descs, "prb_desc_ring.descs")?, "the descriptors' address")?),
            infos: VirtAddr(f.u64(member(descs, "prb_desc_ring.infos")?, "the infos' address")?),
            data: VirtAddr(f.u64(member(text, "prb_data_ring.data")?, "the text's address")?),
            count,
            size: 1 << checked_bits("log2 of the text size", size_bits, MAX_SIZE_BITS)?,
            tail,
            ids,
        })
    }

    /// Follows descriptor `id`; a complete message leaves its text in `text`.
    fn message(&self, id: u64, text: &mut Vec<u8>) -> Found {
        let Some(desc) = self.structure(self.descs, id, self.layout.desc_size) else {
            return Found::UnreadablePage;
        };
        let Some((state, begin, next)) = self.layout.desc(self.bytes(&desc)) else { return Found::Damaged };
        match state >> ID_BITS {
            _ if state & ID_MASK != id => return Found::Damaged,
            RESERVED => return Found::Unfinished,
            REUSABLE => return Found::Recycled,
            _committed_or_finalized => {}
        }
        let info = self.structure(self.infos, id, self.layout.info_size);
        let Some(info) = info.and_then(|info| self.layout.info(self.bytes(&info))) else {
            return Found::Damaged;
        };
        match self.block(begin, next) {
            Block::Text { at, len } => {
                let len = len.min(info.text_len.into());
                let info = Info { at: Some(self.data.wrapping_add(at + BLOCK_ID)), ..info };
                self.text(id, at, len, text, info)
            }
            Block::Empty => {
                text.clear();
                Found::Message(info)
            }
            Block::Lost => Found::Unfinished,
            Block::Nonsense => Found::Damaged,
        }
    }

    /// Where the block between two logical positions is. A block that would run over the ring's end starts
    /// at index 0 of the next lap instead. Since Linux 6.18 a block may end exactly at the ring's end; older
    /// kernels never have a block that ends at index 0, so the position alone tells.
    fn block(&self, begin: u64, next: u64) -> Block {
        if begin & 1 == 1 && next & 1 == 1 {
            return if begin == EMPTY_LINE && next == EMPTY_LINE { Block::Empty } else { Block::Lost };
        }
        let (from, to) = (begin & (self.size - 1), next & (self.size - 1));
        let lap = begin.wrapping_sub(from);
        let (at, end) = if next.wrapping_sub(lap) < self.size {
            (from, to)
        } else if next.wrapping_sub(lap) == self.size {
            (from, self.size)
        } else if next.wrapping_sub(lap) - self.size < self.size {
            (0, to)
        } else {
            return Block::Nonsense;
        };
        match end.checked_sub(at + BLOCK_ID) {
            Some(len) if begin & 7 == 0 && next & 7 == 0 => Block::Text { at, len },
            _ => Block::Nonsense,
        }
    }

    /// Reads a block's text and confirms that the block is this descriptor's.
    fn text(&self, id: u64, at: u64, len: u64, text: &mut Vec<u8>, info: Info) -> Found {
        let mut owner = [0; 8];
        text.resize(usize::try_from(len).unwrap_or(0), 0);
        let block = self.data.wrapping_add(at);
        let read = self
            .kernel
            .read(block, &mut owner)
            .and_then(|()| self.kernel.read(block.wrapping_add(BLOCK_ID), text));
        match read {
            Ok(()) if self.kernel.byte_order().u64(owner) == id => Found::Message(info),
            _ => Found::Damaged,
        }
    }

    /// The structure that belongs to `id` in an array of the ring.
    fn structure(&self, array: VirtAddr, id: u64, size: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; size];
        self.kernel.read(self.slot(array, id, size), &mut bytes).ok()?;
        Some(bytes)
    }

    fn slot(&self, array: VirtAddr, id: u64, size: usize) -> VirtAddr {
        array.wrapping_add((id & (self.count - 1)) * size as u64)
    }

    /// How many descriptors after that of `id` begin on the same page.
    fn descriptors_to_page_end(&self, id: u64) -> u64 {
        let at = self.slot(self.descs, id, self.layout.desc_size);
        let on_page = (SMALLEST_PAGE - 1 - at.0 % SMALLEST_PAGE) / self.layout.desc_size as u64;
        on_page.min(self.count - 1 - (id & (self.count - 1)))
    }

    fn bytes<'b>(&self, bytes: &'b [u8]) -> Bytes<'b> {
        Bytes { bytes, order: self.kernel.byte_order() }
    }
}

/// Sizes and offsets of the two structures, from VMCOREINFO.
struct Layout {
    desc_size: usize,
    state: usize,
    begin: usize,
    next: usize,
    info_size: usize,
    seq: usize,
    nanos: usize,
    text_len: usize,
    caller: Option<usize>,
}

impl Layout {
    fn new(f: Fields<'_>) -> Result<Layout, Error> {
        let positions = f.offset("prb_desc.text_blk_lpos")?;
        Ok(Layout {
            desc_size: f.size("prb_desc")?,
            state: f.offset("prb_desc.state_var")? + f.offset("atomic_long_t.counter")?,
            begin: positions + f.offset("prb_data_blk_lpos.begin")?,
            next: positions + f.offset("prb_data_blk_lpos.next")?,
            info_size: f.size("printk_info")?,
            seq: f.offset("printk_info.seq")?,
            nanos: f.offset("printk_info.ts_nsec")?,
            text_len: f.offset("printk_info.text_len")?,
            caller: f.offset("printk_info.caller_id").ok(),
        })
    }

    /// State word, first and next logical position.
    fn desc(&self, bytes: Bytes<'_>) -> Option<(u64, u64, u64)> {
        Some((bytes.u64(self.state)?, bytes.u64(self.begin)?, bytes.u64(self.next)?))
    }

    fn info(&self, bytes: Bytes<'_>) -> Option<Info> {
        Some(Info {
            seq: bytes.u64(self.seq)?,
            nanos: bytes.u64(self.nanos)?,
            text_len: bytes.u16(self.text_len)?,
            caller: match self.caller {
                Some(at) => Some(bytes.u32(at)?),
                None => None,
            },
            at: None,
        })
    }
}

fn checked_bits(what: &'static str, bits: u32, max: u32) -> Result<u32, Error> {
    if bits == 0 || bits > max { Err(Error::Absurd { what, value: bits.into() }) } else { Ok(bits) }
}

/// First id to visit and how many: from `tail` to `head`, or the last `count` ids up to `head` when the two
/// are further apart than the ring is long.
fn span(tail: u64, head: u64, count: u64) -> (u64, u64) {
    let ids = (head.wrapping_sub(tail) & ID_MASK) + 1;
    if ids <= count { (tail, ids) } else { (head.wrapping_sub(count - 1) & ID_MASK, count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ByteOrder;
    use crate::vmcore::VmcoreInfo;
    use std::cell::Cell;
    use std::error::Error;

    /// A ring of 2^26 descriptors in memory that is zero after its description, which is all that a page mapped again
    /// and again needs to be. Counts reads.
    struct Zeros {
        info: VmcoreInfo,
        reads: Cell<u64>,
    }

    impl KernelRead for Zeros {
        fn info(&self) -> &VmcoreInfo {
            &self.info
        }

        fn byte_order(&self) -> ByteOrder {
            ByteOrder::Little
        }

        fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
            self.reads.set(self.reads.get() + 1);
            // The pointer to the ring, log2 of its descriptors, the newest id, the oldest, log2 of the text.
            let words = [(0x1000, 0x1008), (0x1008, 26), (0x1010, 1 << 26), (0x1018, 1), (0x1020, 31)];
            buf.fill(0);
            let word = words.into_iter().find(|(place, _)| *place == at.0);
            if let (Some((_, word)), 4 | 8) = (word, buf.len()) {
                buf.copy_from_slice(&u64::to_le_bytes(word)[..buf.len()]);
            }
            Ok(())
        }
    }

    #[test]
    fn memory_that_is_no_ring_is_given_up() {
        let text = "SYMBOL(prb)=1000\nOFFSET(printk_ringbuffer.desc_ring)=0\nOFFSET(printk_ringbuffer.text_data_ring)=24\n\
            OFFSET(atomic_long_t.counter)=0\nOFFSET(prb_desc_ring.count_bits)=0\nOFFSET(prb_desc_ring.head_id)=8\n\
            OFFSET(prb_desc_ring.tail_id)=16\nOFFSET(prb_desc_ring.descs)=64\nOFFSET(prb_desc_ring.infos)=64\n\
            OFFSET(prb_data_ring.size_bits)=0\nOFFSET(prb_data_ring.data)=64\nOFFSET(prb_desc.text_blk_lpos)=8\n\
            OFFSET(prb_desc.state_var)=0\nOFFSET(prb_data_blk_lpos.begin)=0\nOFFSET(prb_data_blk_lpos.next)=8\n\
            SIZE(prb_desc)=24\nSIZE(printk_info)=88\nOFFSET(printk_info.seq)=0\nOFFSET(printk_info.ts_nsec)=8\n\
            OFFSET(printk_info.text_len)=16\n";
        let zeros = Zeros { info: VmcoreInfo::parse(text.as_bytes()), reads: Cell::default() };
        let stats = read(&zeros, Start::Oldest, &mut |_| panic!("a message")).unwrap();
        assert_eq!((stats.printed, stats.damaged), (0, 1 << 26));
        assert!(zeros.reads.get() < 2 * MAX_DAMAGED);
    }

    #[test]
    fn ids_wrap_at_62_bits() {
        assert_eq!(span(ID_MASK - 1, 1, 8), (ID_MASK - 1, 4));
        assert_eq!(span(5, 5, 8), (5, 1));
    }

    #[test]
    fn a_torn_tail_costs_no_more_than_the_ring() {
        assert_eq!(span(9, 3, 8), (ID_MASK - 3, 8));
        assert_eq!(span(0, 1000, 8), (993, 8));
    }

    #[test]
    fn sizes_no_kernel_has_are_refused() {
        assert!(checked_bits("x", 0, 26).is_err());
        assert!(checked_bits("x", 27, 26).is_err());
        assert!(checked_bits("x", 26, 26).is_ok());
    }
}
