//! The kernel's log: messages in words, laid out as the lockless ring (Linux kernel/printk/printk_ringbuffer.c)
//! or as the record buffer before it (kernel/printk/printk.c to 5.9), and the text a reader must print.

use super::kernel::LogKind;
use super::memory::Memory;

/// How far a message got when the machine died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Reserved,
    Committed,
    Finalized,
    Reusable,
}

/// Where a message's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Stored,
    /// It has none: both positions say "empty line".
    Empty,
    /// The ring had no room for it.
    Lost,
}

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub nanos: u64,
    /// Task id, or CPU number with bit 31 set.
    pub caller: u32,
    pub text: Vec<u8>,
    pub state: State,
    pub place: Place,
}

impl Message {
    /// An empty line, which the ring keeps without a block of text.
    pub(crate) fn empty(nanos: u64) -> Message {
        Message { place: Place::Empty, ..Message::new(nanos, 0, "") }
    }

    /// A message whose text found no room.
    pub(crate) fn lost(nanos: u64) -> Message {
        Message { place: Place::Lost, ..Message::new(nanos, 0, "") }
    }

    pub(crate) fn new(nanos: u64, caller: u32, text: &str) -> Message {
        Message { nanos, caller, text: text.into(), state: State::Finalized, place: Place::Stored }
    }

    /// The line a reader prints, newline included; `caller` when the kernel says where the caller's id is.
    pub(crate) fn line(&self, caller: bool) -> String {
        let micros = self.nanos / 1000;
        let mut line = format!("[{:5}.{:06}] ", micros / 1_000_000, micros % 1_000_000);
        if caller {
            let kind = if self.caller >> 31 == 1 { 'C' } else { 'T' };
            line += &format!("[{:>8}] ", format!("{kind}{}", self.caller & 0x7fff_ffff));
        }
        let indent = line.len();
        for &byte in &self.text {
            match byte {
                b'\n' => line += &format!("\n{:indent$}", ""),
                b' '..=b'~' | b'\t' | 0x0b | 0x0c | b'\r' => line.push(byte.into()),
                _ => line += &format!("\\x{byte:02x}"),
            }
        }
        line + "\n"
    }
}

/// A log to lay out.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub messages: Vec<Message>,
    /// Log2 of the descriptors (ring only).
    pub count_bits: u32,
    /// Log2 of the bytes of text.
    pub size_bits: u32,
    /// Messages before this number were cleared by `dmesg -c`.
    pub clear_seq: u64,
}

/// Addresses (physical) of the variables VMCOREINFO names, and of the text; and which messages survive.
pub(crate) struct Placed {
    pub places: Vec<(&'static str, u64)>,
    pub surviving: Vec<usize>,
}

impl Placed {
    /// The surviving messages from number `clear_seq` on.
    pub(crate) fn since_clear(&self, clear_seq: u64) -> Vec<usize> {
        self.surviving.iter().copied().filter(|&n| n as u64 >= clear_seq).collect()
    }
}

/// A block of text in the ring: logical positions begin and next, and where its bytes start.
struct Block {
    begin: u64,
    next: u64,
    index: u64,
}

impl Log {
    /// A log of these messages in a ring of 256 descriptors and 8 KiB of text.
    pub(crate) fn of(messages: Vec<Message>) -> Log {
        Log { messages, count_bits: 8, size_bits: 13, clear_seq: 0 }
    }

    /// Some hundred messages, more than fit, so that the ring wrapped.
    pub(crate) fn sample() -> Log {
        let mut messages: Vec<Message> = (0..300u64)
            .map(|n| {
                let caller = if n % 5 == 0 { (1 << 31) | (n as u32 % 4) } else { n as u32 };
                let text = format!("synth: message {n} {}", "x".repeat((n * 7 % 60) as usize));
                Message::new(n * 123_456_789, caller, &text)
            })
            .collect();
        messages[280].text = b"two\nlines, a tab\t and \x01\xc3\xa9 bytes".to_vec();
        messages[290].state = State::Committed;
        messages[295].state = State::Reserved;
        Log { messages, count_bits: 8, size_bits: 13, clear_seq: 290 }
    }

    pub(crate) fn place(&self, kind: LogKind, memory: &mut Memory, va: &dyn Fn(u64) -> u64) -> Placed {
        match kind {
            LogKind::Ring { info_size, exact_end } => self.ring(info_size, exact_end, memory, va),
            LogKind::Records { caller } => self.records(caller, memory, va),
        }
    }

    /// What a reader must print.
    pub(crate) fn text(&self, kind: LogKind, surviving: &[usize]) -> String {
        let caller = !matches!(kind, LogKind::Records { caller: false });
        let printed = |n: &&usize| {
            let message = &self.messages[**n];
            let complete = matches!(message.state, State::Committed | State::Finalized);
            matches!(kind, LogKind::Records { .. }) || (message.place != Place::Lost && complete)
        };
        surviving.iter().filter(printed).map(|&n| self.messages[n].line(caller)).collect()
    }

    /// The blocks of all messages in turn, as the kernel reserves them.
    fn blocks(&self, exact_end: bool) -> Vec<Block> {
        let size = 1u64 << self.size_bits;
        let mut begin = size.wrapping_neg();
        let mut blocks = Vec::new();
        for message in &self.messages {
            if message.place != Place::Stored {
                let odd = if message.place == Place::Empty { 3 } else { 1 };
                blocks.push(Block { begin: odd, next: odd, index: 0 });
                continue;
            }
            let bytes = (8 + message.text.len() as u64).next_multiple_of(8);
            let next = begin.wrapping_add(bytes);
            let last = if exact_end { next.wrapping_sub(1) } else { next };
            let wraps = begin >> self.size_bits != last >> self.size_bits;
            let (next, index) = if wraps {
                ((next & !(size - 1)).wrapping_add(bytes), 0)
            } else {
                (next, begin & (size - 1))
            };
            blocks.push(Block { begin, next, index });
            begin = next;
        }
        blocks
    }

    /// First message whose descriptor and text are both still there.
    fn tail(&self, blocks: &[Block]) -> usize {
        let head = blocks.iter().rev().find(|b| b.begin & 1 == 0).map_or(0, |b| b.next);
        let kept = |b: &Block| b.begin & 1 == 1 || head.wrapping_sub(b.begin) <= 1 << self.size_bits;
        let by_text = blocks.iter().rposition(|b| !kept(b)).map_or(0, |at| at + 1);
        by_text.max(self.messages.len().saturating_sub(1 << self.count_bits))
    }

    fn ring(&self, info_size: u64, exact_end: bool, memory: &mut Memory, va: &dyn Fn(u64) -> u64) -> Placed {
        let count = 1u64 << self.count_bits;
        let blocks = self.blocks(exact_end);
        let tail = self.tail(&blocks);
        let (ring, pointer) = (memory.alloc(88, 64), memory.alloc(8, 8));
        let (descs, infos) = (memory.alloc(count * 24, 64), memory.alloc(count * info_size, 64));
        let (data, clear) = (memory.alloc(1 << self.size_bits, 64), memory.alloc(24, 8));
        let id = |n: usize| ((1u64 << 62) - count + n as u64) & ((1 << 62) - 1);
        for (n, (message, block)) in self.messages.iter().zip(&blocks).enumerate() {
            let slot = id(n) % count;
            self.write_desc(memory, descs + slot * 24, id(n), message.state, block);
            let info = infos + slot * info_size;
            memory.put_u64(info, n as u64);
            memory.put_u64(info + 8, message.nanos);
            let len = memory.order.u16(message.text.len() as u16);
            memory.write(info + 16, &len);
            memory.put_u32(info + 20, message.caller);
            if message.place == Place::Stored {
                let begin = block.begin & ((1 << self.size_bits) - 1);
                memory.put_u64(data + begin, id(n));
                memory.put_u64(data + block.index, id(n));
                memory.write(data + block.index + 8, &message.text);
            }
        }
        if self.messages.is_empty() {
            let none = Block { begin: 1, next: 1, index: 0 };
            self.write_desc(memory, descs + (count - 1) * 24, id(0) - 1, State::Reusable, &none);
        }
        let last = self.messages.len().checked_sub(1).map_or(id(0) - 1, id);
        memory.put_u64(pointer, va(ring));
        memory.put_u32(ring, self.count_bits);
        memory.put_u64(ring + 8, va(descs));
        memory.put_u64(ring + 16, va(infos));
        memory.put_u64(ring + 24, last);
        memory.put_u64(ring + 32, if self.messages.is_empty() { last } else { id(tail) });
        memory.put_u32(ring + 48, self.size_bits);
        memory.put_u64(ring + 56, va(data));
        memory.put_u32(clear, 1);
        memory.put_u64(clear + 16, self.clear_seq);
        Placed {
            places: vec![("prb", pointer), ("printk_rb_static", ring), ("clear_seq", clear), ("text", data)],
            surviving: (tail..self.messages.len()).collect(),
        }
    }

    fn write_desc(&self, memory: &mut Memory, at: u64, id: u64, state: State, block: &Block) {
        let state = match state {
            State::Reserved => 0u64,
            State::Committed => 1,
            State::Finalized => 2,
            State::Reusable => 3,
        };
        memory.put_u64(at, id | (state << 62));
        memory.put_u64(at + 8, block.begin);
        memory.put_u64(at + 16, block.next);
    }

    fn records(&self, caller: bool, memory: &mut Memory, va: &dyn Fn(u64) -> u64) -> Placed {
        let (size, header) = (1u64 << self.size_bits, if caller { 20u64 } else { 16 });
        let buffer = memory.alloc(size, 64);
        let mut alive: Vec<(usize, u64, u64)> = Vec::new();
        let (mut next, mut clear) = (0u64, 0);
        for (n, message) in self.messages.iter().enumerate() {
            let len = (header + message.text.len() as u64).next_multiple_of(4);
            let overwrites = |from: u64, to: u64| move |r: &(usize, u64, u64)| r.1 < to && from < r.2;
            if next + len + header > size {
                alive.retain(|r| !overwrites(next, size)(r));
                memory.write(buffer + next, &vec![0; header as usize]);
                next = 0;
            }
            alive.retain(|r| !overwrites(next, next + len + header)(r));
            if n as u64 == self.clear_seq {
                clear = next;
            }
            self.write_record(memory, buffer + next, message, len, caller.then_some(header));
            alive.push((n, next, next + len));
            next += len;
        }
        let (pointer, numbers) = (memory.alloc(8, 8), memory.alloc(16, 8));
        memory.put_u64(pointer, va(buffer));
        let first = alive.first().map_or(next, |record| record.1);
        for (at, value) in [(0, size), (4, first), (8, next), (12, clear)] {
            memory.put_u32(numbers + at, value as u32);
        }
        Placed {
            places: vec![
                ("text", buffer),
                ("log_buf", pointer),
                ("log_buf_len", numbers),
                ("log_first_idx", numbers + 4),
                ("log_next_idx", numbers + 8),
                ("clear_idx", numbers + 12),
            ],
            surviving: alive.into_iter().map(|record| record.0).collect(),
        }
    }

    fn write_record(&self, memory: &mut Memory, at: u64, message: &Message, len: u64, caller: Option<u64>) {
        memory.put_u64(at, message.nanos);
        for (offset, value) in [(8, len), (10, message.text.len() as u64), (12, 0)] {
            let half = memory.order.u16(value as u16);
            memory.write(at + offset, &half);
        }
        memory.write(at + 14, &[0, 6 << 5]);
        if caller.is_some() {
            memory.put_u32(at + 16, message.caller);
        }
        memory.write(at + caller.unwrap_or(16), &message.text);
    }
}
