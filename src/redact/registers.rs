//! Vector registers of user programs, saved with each task: a program that encrypts keeps its keys there.
//!
//! Source: Linux `arch/x86/include/asm/fpu/types.h`, `arch/arm64/include/asm/processor.h`, and the like.

use super::walk::Walk;
use crate::arch::Machine;
use crate::kernel::{Error, Object};

/// Bytes of the largest saved state: x86-64's with tiles is 11 KiB, arm64's with SVE of 2048 bits 8.7 KiB.
const MAX_STATE: u64 = 1 << 17;
/// `PF_KTHREAD`: such a task runs no program. Source: Linux `include/linux/sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Finds them.
pub(super) fn find(walk: &Walk<'_>) -> Result<(), Error> {
    let machine = walk.machine();
    for task in walk.kernel().tasks() {
        let task = &task?;
        if task.uint("flags")? & KERNEL_THREAD != 0 {
            continue;
        }
        match machine {
            Machine::X86_64 => x86_64(walk, task)?,
            Machine::Aarch64 => aarch64(walk, task)?,
            _ => others(walk, machine, task)?,
        }
    }
    Ok(())
}

/// `struct fpu` is in the task until commit cb7ca40a3882 ("x86/fpu: Make task_struct::thread constant size") (in v6.16),
/// and right after it since. Its state is a structure of its own since commit 87d0e5be0fac ("x86/fpu: Provide struct
/// fpstate") (in v5.16).
fn x86_64(walk: &Walk<'_>, task: &Object<'_>) -> Result<(), Error> {
    let kernel = walk.kernel();
    let inside = task.has("thread.fpu") && task.size_of("thread.fpu")? > 8;
    let at = if inside { task.address_of("thread.fpu")? } else { task.address().wrapping_add(task.size()?) };
    let fpu = kernel.object("fpu", at)?;
    if !fpu.has("fpstate") {
        let size = ["fpu_kernel_xstate_size", "xstate_size"].iter().find_map(|name| kernel.symbol(name).ok());
        let size = size.ok_or_else(|| Error::NoSymbol("fpu_kernel_xstate_size".into()))?;
        let len = u64::from(kernel.u32(size, "fpu_kernel_xstate_size")?);
        return walk.erase(fpu.address_of("state")?, bounded(len)?, "fpu.state");
    }
    for member in ["fpstate", "__task_fpstate"] {
        if !fpu.has(member) {
            continue;
        }
        let Some(state) = fpu.follow(member)? else { continue };
        let state = kernel.object("fpstate", state.address())?;
        walk.erase(state.address_of("regs")?, bounded(state.uint("size")?)?, "fpstate.regs")?;
    }
    Ok(())
}

fn bounded(len: u64) -> Result<u64, Error> {
    let what = "size of saved registers";
    Some(len).filter(|&len| (256..=MAX_STATE).contains(&len)).ok_or(Error::Absurd { what, value: len })
}

/// SVE keeps 32 registers of 16 bytes times `vq`, 16 of a bit for each byte, and one more of these; SME a square of such
/// registers and one of 64 bytes.
fn aarch64(walk: &Walk<'_>, task: &Object<'_>) -> Result<(), Error> {
    walk.erase_member(task, "thread.uw.fpsimd_state", "thread.fpsimd_state")?;
    if task.has("thread.kernel_fpsimd_state") && task.size_of("thread.kernel_fpsimd_state")? > 8 {
        walk.erase_member(task, "thread.kernel_fpsimd_state", "thread.kernel_fpsimd_state")?;
    }
    let lengths = ["thread.vl", "thread.sve_vl"].iter().find(|path| task.has(path));
    let Some(lengths) = lengths else { return Ok(()) };
    let first = task.address_of(lengths)?;
    let count = (task.size_of(lengths)? / 4).clamp(1, 2);
    let mut vq = 0;
    for nth in 0..count {
        vq = vq.max(u64::from(walk.kernel().u32(first.wrapping_add(4 * nth), "vector length")?) / 16);
    }
    if vq > 128 {
        return Err(Error::Absurd { what: "vector length", value: vq });
    }
    walk.erase_target(task, "thread.sve_state", (32 * 16 + 17 * 2) * vq, "thread.sve_state")?;
    for member in ["thread.sme_state", "thread.za_state"] {
        if task.has(member) {
            walk.erase_target(task, member, 256 * vq * vq + 64, "thread.sme_state")?;
        }
    }
    Ok(())
}

/// Machines that keep them in the task alone, by the members that their releases have.
fn others(walk: &Walk<'_>, machine: Machine, task: &Object<'_>) -> Result<(), Error> {
    let members: &[&str] = match machine {
        Machine::Ppc64 => &["thread.fp_state", "thread.vr_state", "thread.ckfp_state", "thread.ckvr_state"],
        Machine::S390x => &["thread.fpu", "thread.ufpu", "thread.kfpu"],
        Machine::Riscv64 => &["thread.fstate"],
        Machine::Loongarch64 => &["thread.fpu"],
        _ => &[],
    };
    let mut known = false;
    for member in members.iter().filter(|member| task.has(member)) {
        known = true;
        walk.erase_member(task, member, "thread.fpu")?;
    }
    if task.has("thread.fpu.vxrs") {
        // Before v6.8 it is a pointer to 32 registers of 16 bytes.
        walk.erase_target(task, "thread.fpu.regs", 512, "thread.fpu.vxrs")?;
    }
    if task.has("thread.vstate.datap") {
        let len = task.uint("thread.vstate.vlenb")?.saturating_mul(32);
        walk.erase_target(task, "thread.vstate.datap", len.min(MAX_STATE), "thread.vstate")?;
    }
    if known {
        Ok(())
    } else {
        Err(Error::Unknown("where a task keeps the registers of its program is not known".into()))
    }
}
