//! aarch64: frame records, pairs of the previous record's address and a return address, in a chain from x29.
//!
//! Source: Linux `arch/arm64/kernel/stacktrace.c`, `arch/arm64/include/asm/stacktrace/frame.h`. Records inside `struct
//! pt_regs` mark where an exception was taken: two zeros and a type since commit c2c6b27b5aa1 ("arm64: stacktrace: unwind
//! exception boundaries") (in v6.13), a copy of x29 and pc before.

use super::{End, Registers, Start, Walk};

/// Type of a record of two zeros inside `struct pt_regs`; the last one has 1.
const PT_REGS: u64 = 2;

/// What is known of the kernel.
struct Layout {
    /// Bits of a kernel address that a pointer's signature is in.
    pac: u64,
    /// Where the record is in `struct pt_regs`; `None` without type information.
    record: Option<u64>,
}

pub(super) fn walk(walk: &mut Walk<'_>, start: Start<'_>) -> Result<(), End> {
    let pac = walk.kernel.memory().info().address("KERNELPACMASK").unwrap_or(0);
    let layout = Layout { pac, record: walk.kernel.offset_of("pt_regs", "stackframe").ok() };
    let mut record = match start {
        Start::Registers(registers) => interrupted(walk, &layout, registers)?,
        Start::Sleeping(task) => {
            walk.call(layout.plain(task.uint("thread.cpu_context.pc")?))?;
            task.uint("thread.cpu_context.fp")?
        }
    };
    while record != 0 {
        record = step(walk, &layout, record)?;
    }
    Ok(())
}

impl Layout {
    /// A kernel's address without its signature: the bits that hold one are set.
    fn plain(&self, address: u64) -> u64 {
        address | self.pac
    }
}

/// Adds the function that was interrupted; where the walk goes on comes back.
fn interrupted(walk: &mut Walk<'_>, layout: &Layout, registers: &Registers) -> Result<u64, End> {
    walk.interrupted(registers, "pc")?;
    let (pc, record) = (registers.get("pc"), registers.get("x29"));
    // A function without a record of its own, or before it made one, has its caller in x30. The value may also be left
    // over from a call: then it is in the function itself, or in its record already.
    let link = layout.plain(registers.get("x30"));
    let in_record = walk.u64(record.wrapping_add(8)).map(|link| layout.plain(link)).ok();
    if walk.is_text(link) && in_record != Some(link) && !walk.is_same_function(link.wrapping_sub(1), pc) {
        walk.call(link)?;
    }
    Ok(record)
}

/// Adds what a record tells; the next record comes back, 0 at the end.
fn step(walk: &mut Walk<'_>, layout: &Layout, record: u64) -> Result<u64, End> {
    let (next, link) = (walk.u64(record)?, walk.u64(record.wrapping_add(8))?);
    let registers = layout.record.map(|offset| record.wrapping_sub(offset));
    if next == 0 && link == 0 {
        return match (walk.u64(record.wrapping_add(16))?, registers) {
            (PT_REGS, Some(at)) => {
                let registers = walk.registers(at)?;
                interrupted(walk, layout, &registers)
            }
            // The last record; before 6.13 two zeros alone.
            _ => Ok(0),
        };
    }
    let link = layout.plain(link);
    if let Some(at) = registers
        && let Ok(registers) = walk.registers(at)
        && registers.get("x29") == next
        && layout.plain(registers.get("pc")) == link
    {
        return interrupted(walk, layout, &registers);
    }
    walk.call(link)?;
    Ok(next)
}
