//! riscv64: a chain from s0: the previous s0 and the return address are below it.
//!
//! Source: Linux `arch/riscv/kernel/stacktrace.c`.

use super::{End, Registers, Start, Walk};
use crate::units::VirtAddr;

pub(super) fn walk(walk: &mut Walk<'_>, start: Start<'_>) -> Result<(), End> {
    let mut frame = match start {
        Start::Registers(registers) => interrupted(walk, registers)?,
        Start::Sleeping(task) => {
            walk.call(task.uint("thread.ra")?)?;
            // s[12] holds s0 to s11.
            walk.u64(task.address_of("thread.s")?.0)?
        }
    };
    // Code that ran before the kernel's own mapping was on left addresses of the lower half.
    while frame >> 63 != 0 {
        let (link, next) = (walk.u64(frame.wrapping_sub(8))?, walk.u64(frame.wrapping_sub(16))?);
        if link == 0 {
            return Ok(());
        }
        walk.call(link)?;
        // A new task begins here; s0 is whatever its creator had.
        if is_in(walk, link, &[b"ret_from_fork", b"ret_from_fork_kernel_asm", b"ret_from_fork_user_asm"]) {
            return Ok(());
        }
        // The entry code makes a frame record of its own; the registers that it saved are above it.
        if is_in(walk, link, &[b"handle_exception", b"ret_from_exception"]) {
            let registers = walk.registers(frame)?;
            frame = interrupted(walk, &registers)?;
            continue;
        }
        frame = next;
    }
    Ok(())
}

/// Adds the function that was interrupted; where the walk goes on comes back. A function that calls none saves s0 alone, in
/// the place of the return address, which is in its register then.
fn interrupted(walk: &mut Walk<'_>, registers: &Registers) -> Result<u64, End> {
    walk.interrupted(registers, "pc")?;
    let frame = registers.get("s0");
    if frame == 0 {
        return Ok(0);
    }
    let saved = walk.u64(frame.wrapping_sub(8))?;
    if saved & 7 == 0 && !walk.is_text(saved) && walk.is_text(registers.get("ra")) {
        walk.call(registers.get("ra"))?;
        return Ok(saved);
    }
    Ok(frame)
}

/// Whether a return address is in one of these functions.
fn is_in(walk: &Walk<'_>, address: u64, names: &[&[u8]]) -> bool {
    let found = walk.kernel.location(VirtAddr(address.wrapping_sub(1)));
    found.is_some_and(|found| names.contains(&&found.function[..]))
}
