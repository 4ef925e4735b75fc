//! s390x: the back chain at 152 of a frame; a function saves r14, its return address, in its caller's frame.
//!
//! Source: Linux `arch/s390/include/asm/stacktrace.h` (`struct stack_frame`), `arch/s390/kernel/unwind_bc.c`.

use super::{End, Registers, Start, Walk};

/// The caller's frame, in a frame.
const BACK_CHAIN: u64 = 152;
/// r14 in the caller's frame, and r15 after it.
const R14: u64 = 136;
/// Where a frame without a back chain has `struct pt_regs`, and the program status word in that.
const PT_REGS: u64 = 160;
const PSW: u64 = 8;

pub(super) fn walk(walk: &mut Walk<'_>, start: Start<'_>) -> Result<(), End> {
    let mut frame = match start {
        Start::Registers(registers) => interrupted(walk, registers)?,
        Start::Sleeping(task) => {
            let saved = task.uint("thread.ksp")?;
            walk.call(walk.u64(saved.wrapping_add(R14))?)?;
            walk.u64(saved.wrapping_add(R14 + 8))?
        }
    };
    loop {
        let caller = walk.u64(frame.wrapping_add(BACK_CHAIN))?;
        if caller == 0 {
            let registers = walk.registers(frame.wrapping_add(PT_REGS + PSW))?;
            // A new task's stack ends in registers without an address.
            if registers.get("psw_addr") == 0 {
                return Ok(());
            }
            frame = interrupted(walk, &registers)?;
            continue;
        }
        walk.call(walk.u64(caller.wrapping_add(R14))?)?;
        frame = caller;
    }
}

fn interrupted(walk: &mut Walk<'_>, registers: &Registers) -> Result<u64, End> {
    walk.interrupted(registers, "psw_addr")?;
    Ok(registers.get("r15"))
}
