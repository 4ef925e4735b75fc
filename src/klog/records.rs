//! The record buffer of Linux 3.5 to 5.9: records one after the other in one buffer, the oldest overwritten first.
//! A record of length 0 means "go on at the start".
//!
//! Source: Linux `kernel/printk/printk.c` (in v5.9), `log_store`, `log_next` and `struct printk_log`, which was `struct log`
//! before commit 62e32ac3505a ("printk: rename struct log to struct printk_log") (in v3.11).

use super::fields::{Bytes, Fields};
use super::{Error, KernelRead, Message, Sink, Start, Stats};
use crate::units::VirtAddr;

/// The most bytes of log believed: the kernel's own limit on `log_buf_len`.
const MAX_BUFFER: u32 = 1 << 31;
/// Smallest record header any of these kernels has; a smaller one would make the bound on records useless.
const MIN_HEADER: usize = 16;

/// Reads the buffer's records in turn.
pub(super) fn read(kernel: &dyn KernelRead, start: Start, sink: Sink<'_>) -> Result<Stats, Error> {
    let mut buffer = Buffer::open(kernel)?;
    let mut stats = Stats::default();
    let mut text = Vec::new();
    let mut skip = if start == Start::LastClear { cleared(kernel)? } else { 0 };
    while let Some(next) = buffer.step(&mut text) {
        match next {
            Step::Message { .. } if skip > 0 => skip -= 1,
            Step::Message { nanos, caller } => {
                stats.printed += 1;
                sink(&Message { nanos, caller, at: Some(buffer.text_at), text: &text })?;
            }
            Step::Wrapped => {}
            Step::Damaged => stats.damaged += 1,
        }
    }
    Ok(stats)
}

/// Where the buffer is: address and bytes.
#[cfg(feature = "analyst")]
pub(super) fn area(kernel: &dyn KernelRead) -> Result<(VirtAddr, u64), Error> {
    let buffer = Buffer::open(kernel)?;
    Ok((buffer.start, buffer.len))
}

/// Records before the one where the last clear happened; 0 when the kernel does not say, or when that record
/// has been overwritten since: then no record begins there.
fn cleared(kernel: &dyn KernelRead) -> Result<u64, Error> {
    let f = Fields(kernel);
    let index = f.symbol("clear_idx").and_then(|at| f.u32(at, "clear_idx"));
    let Ok(index) = index.map(u64::from) else { return Ok(0) };
    let mut buffer = Buffer::open(kernel)?;
    let mut text = Vec::new();
    let mut records = 0;
    while buffer.at != index {
        match buffer.step(&mut text) {
            Some(Step::Message { .. }) => records += 1,
            Some(Step::Wrapped) => {}
            Some(Step::Damaged) | None => return Ok(0),
        }
    }
    Ok(records)
}

/// What one step through the buffer met.
enum Step {
    /// A record; its text is in the buffer given.
    Message { nanos: u64, caller: Option<u32> },
    /// The mark before the end of the buffer.
    Wrapped,
    /// A record that cannot be true; nothing after it can be found.
    Damaged,
}

/// The buffer and a position in it.
struct Buffer<'a> {
    kernel: &'a dyn KernelRead,
    layout: Layout,
    start: VirtAddr,
    len: u64,
    /// Index of the record to read.
    at: u64,
    /// Where the text of the record read last is.
    text_at: VirtAddr,
    /// Index after the newest record.
    end: u64,
    /// Steps left: no log of this length has more records.
    steps: u64,
}

impl<'a> Buffer<'a> {
    fn open(kernel: &'a dyn KernelRead) -> Result<Buffer<'a>, Error> {
        let f = Fields(kernel);
        let layout = Layout::new(f)?;
        let len = f.u32(f.symbol("log_buf_len")?, "log_buf_len")?;
        if len == 0 || len > MAX_BUFFER {
            return Err(Error::Absurd { what: "log_buf_len", value: len.into() });
        }
        let index = |name| -> Result<u64, Error> { Ok(f.u32(f.symbol(name)?, "an index")?.into()) };
        Ok(Buffer {
            kernel,
            start: VirtAddr(f.u64(f.symbol("log_buf")?, "the pointer to the buffer")?),
            len: len.into(),
            at: index("log_first_idx")?,
            text_at: VirtAddr(0),
            end: index("log_next_idx")?,
            steps: u64::from(len) / layout.header as u64 + 2,
            layout,
        })
    }

    /// Reads the record at the position and goes on to the next; `None` at the end.
    fn step(&mut self, text: &mut Vec<u8>) -> Option<Step> {
        if self.at == self.end || self.steps == 0 {
            return None;
        }
        self.steps -= 1;
        let step = self.record(text);
        if step.is_none() {
            self.steps = 0;
        }
        Some(step.unwrap_or(Step::Damaged))
    }

    /// `None` when the record leaves the buffer, overlaps itself or cannot be read.
    fn record(&mut self, text: &mut Vec<u8>) -> Option<Step> {
        let header_len = self.layout.header as u64;
        let mut header = vec![0; self.layout.header];
        self.within(self.at, header_len)?;
        self.kernel.read(self.start.wrapping_add(self.at), &mut header).ok()?;
        let header = Bytes { bytes: &header, order: self.kernel.byte_order() };
        let len = u64::from(header.u16(self.layout.len)?);
        if len == 0 {
            self.at = 0;
            return Some(Step::Wrapped);
        }
        self.within(self.at, len)?;
        let text_len = u64::from(header.u16(self.layout.text_len)?).min(len.checked_sub(header_len)?);
        text.resize(usize::try_from(text_len).ok()?, 0);
        self.kernel.read(self.start.wrapping_add(self.at + header_len), text).ok()?;
        self.text_at = self.start.wrapping_add(self.at + header_len);
        self.at += len;
        let caller = match self.layout.caller {
            Some(offset) => Some(header.u32(offset)?),
            None => None,
        };
        Some(Step::Message { nanos: header.u64(self.layout.nanos)?, caller })
    }

    fn within(&self, at: u64, len: u64) -> Option<()> {
        (at.checked_add(len)? <= self.len).then_some(())
    }
}

/// Size and offsets of a record's header, from VMCOREINFO.
struct Layout {
    header: usize,
    nanos: usize,
    len: usize,
    text_len: usize,
    caller: Option<usize>,
}

impl Layout {
    fn new(f: Fields<'_>) -> Result<Layout, Error> {
        let header = f.size("printk_log")?;
        if header < MIN_HEADER {
            return Err(Error::Absurd { what: "SIZE(printk_log)", value: header as u64 });
        }
        Ok(Layout {
            header,
            nanos: f.offset("printk_log.ts_nsec")?,
            len: f.offset("printk_log.len")?,
            text_len: f.offset("printk_log.text_len")?,
            caller: f.offset("printk_log.caller_id").ok(),
        })
    }
}
