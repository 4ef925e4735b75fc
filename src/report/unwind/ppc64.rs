//! ppc64le: the back chain. Each frame begins with the address of its caller's; a return address is in the caller's
//! frame at 16.
//!
//! Source: Linux `arch/powerpc/kernel/stacktrace.c`, `arch/powerpc/include/asm/ptrace.h` (`STACK_INT_FRAME_MARKER`).

use super::{End, Registers, Start, Walk};

/// "regs" in a frame that holds registers.
const MARKER: u64 = 0x7265_6773;
/// Where the marker and the registers are in such a frame: since 6.2, and before.
const PLACES: [(u64, u64); 2] = [(32, 48), (96, 112)];
/// Kernel stacks are in the linear map: a program's frame ends the chain.
const LINEAR: u64 = 0xc;
/// Where a frame's function keeps the return address into it.
const LINK: u64 = 16;

pub(super) fn walk(walk: &mut Walk<'_>, start: Start<'_>) -> Result<(), End> {
    let mut frame = match start {
        Start::Registers(registers) => interrupted(walk, registers)?,
        Start::Sleeping(task) => {
            let frame = walk.u64(task.uint("thread.ksp")?)?;
            let size = walk.kernel.size_of("pt_regs")?;
            let saved = walk.registers(frame.wrapping_sub(size))?;
            walk.call(saved.get("nip"))?;
            frame
        }
    };
    loop {
        if let Some(at) = registers_in(walk, frame) {
            let registers = walk.registers(at)?;
            frame = interrupted(walk, &registers)?;
            continue;
        }
        frame = walk.u64(frame)?;
        if frame >> 60 != LINEAR {
            return Ok(());
        }
        let link = walk.u64(frame.wrapping_add(LINK))?;
        // The outermost frame has no return address.
        if link == 0 {
            return Ok(());
        }
        walk.call(link)?;
    }
}

/// Adds the function that was interrupted; its frame comes back. Before commit b684c09f09e7 ("powerpc: update ppc_save_regs
/// to save current r1 in pt_regs") (in v6.5) a note's r1 was the frame of the caller, whose address is in the link
/// register.
fn interrupted(walk: &mut Walk<'_>, registers: &Registers) -> Result<u64, End> {
    walk.interrupted(registers, "nip")?;
    if walk.list.len() == 1 && is_old(walk) {
        walk.call(registers.get("link"))?;
    }
    Ok(registers.get("r1"))
}

fn is_old(walk: &Walk<'_>) -> bool {
    walk.kernel.memory().info().version().is_some_and(|version| version < (6, 5))
}

fn registers_in(walk: &Walk<'_>, frame: u64) -> Option<u64> {
    let marked = |place: u64| walk.u64(frame.wrapping_add(place)).is_ok_and(|word| word == MARKER);
    PLACES.iter().find(|(marker, _)| marked(*marker)).map(|(_, registers)| frame.wrapping_add(*registers))
}
