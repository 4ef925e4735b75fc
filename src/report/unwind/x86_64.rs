//! x86-64: by the ORC tables. Interrupt and exception stacks need nothing special: a stack pointer is an address.
//!
//! Source: Linux `arch/x86/kernel/unwind_orc.c`.

use super::orc::{Entry, Kind, Orc, Reg};
use super::{End, Registers, Start, WHAT, Walk};
use crate::units::VirtAddr;

/// Words of the stack that are searched for the caller of a function without an entry.
const MAX_SCAN: u64 = 512;

/// Where a walk is.
struct State {
    ip: u64,
    exact: bool,
    sp: u64,
    bp: u64,
    /// All registers, where an interrupt or a note saved them.
    saved: Option<Registers>,
}

pub(super) fn walk(walk: &mut Walk<'_>, orc: &Result<Orc, String>, start: Start<'_>) -> Result<(), End> {
    let mut state = match start {
        Start::Registers(registers) => {
            walk.kernel_alone(registers)?;
            from_registers(registers.clone())
        }
        Start::Sleeping(task) => sleeping(walk, task.uint("thread.sp")?)?,
    };
    push(walk, &state)?;
    let orc = orc.as_ref().map_err(|why| End::Broken(why.clone()))?;
    loop {
        let at = state.ip.wrapping_sub(u64::from(!state.exact));
        let entry = orc.find(walk.kernel, at)?;
        match entry.kind {
            Kind::EndOfStack => return Ok(()),
            Kind::Undefined if walk.list.len() == 1 && state.exact => scan(walk, &mut state)?,
            Kind::Undefined => return Err(End::Broken(format!("nothing describes the stack at {at:#x}"))),
            _ => step(walk, &mut state, &entry)?,
        }
        push(walk, &state)?;
    }
}

fn push(walk: &mut Walk<'_>, state: &State) -> Result<(), End> {
    if state.exact { walk.exact(state.ip) } else { walk.call(state.ip) }
}

fn from_registers(registers: Registers) -> State {
    State {
        ip: registers.get("rip"),
        exact: true,
        sp: registers.get("rsp"),
        bp: registers.get("rbp"),
        saved: Some(registers),
    }
}

/// A task that was switched away from has a `struct inactive_task_frame` at its stack pointer. One that never ran
/// returns to the start of a function.
fn sleeping(walk: &Walk<'_>, sp: u64) -> Result<State, End> {
    let frame = walk.kernel.object("inactive_task_frame", VirtAddr(sp))?;
    let ip = frame.uint("ret_addr")?;
    let starts = ["ret_from_fork_asm", "ret_from_fork"];
    let exact = starts.iter().any(|name| walk.kernel.symbol(name).is_ok_and(|start| start.0 == ip));
    let size = walk.kernel.size_of("inactive_task_frame")?;
    Ok(State { ip, exact, sp: sp.wrapping_add(size), bp: frame.uint("bp")?, saved: None })
}

fn step(walk: &Walk<'_>, state: &mut State, entry: &Entry) -> Result<(), End> {
    let frame = caller_frame(walk, state, entry)?;
    let before = state.bp;
    match entry.kind {
        Kind::Regs => {
            let registers = walk.registers(frame)?;
            walk.kernel_alone(&registers)?;
            *state = State { bp: before, ..from_registers(registers) };
        }
        Kind::Iret => {
            // Address, code segment, flags, stack pointer, stack segment.
            if walk.u64(frame.wrapping_add(8))? & 3 != 0 {
                return Err(End::Bottom);
            }
            let sp = walk.u64(frame.wrapping_add(24))?;
            *state = State { ip: walk.u64(frame)?, exact: true, sp, bp: before, saved: None };
        }
        _ => {
            let ip = walk.u64(frame.wrapping_sub(8))?;
            *state = State { ip, exact: false, sp: frame, bp: before, saved: None };
        }
    }
    state.exact = entry.signal;
    state.bp = match entry.bp {
        Reg::PreviousSp => walk.u64(frame.wrapping_add_signed(entry.bp_offset))?,
        Reg::Bp => walk.u64(before.wrapping_add_signed(entry.bp_offset))?,
        _ => state.saved.as_ref().map_or(before, |registers| registers.get("rbp")),
    };
    Ok(())
}

/// The stack pointer before the call, or where an interrupt put the registers.
fn caller_frame(walk: &Walk<'_>, state: &State, entry: &Entry) -> Result<u64, End> {
    let offset = entry.sp_offset;
    Ok(match entry.sp {
        Reg::Sp => state.sp.wrapping_add_signed(offset),
        Reg::Bp => state.bp.wrapping_add_signed(offset),
        Reg::SpIndirect => walk.u64(state.sp)?.wrapping_add_signed(offset),
        Reg::BpIndirect => walk.u64(state.bp.wrapping_add_signed(offset))?,
        Reg::Saved(name) => match &state.saved {
            Some(registers) => registers.get(name),
            None => return Err(End::Broken(format!("the value of {name} is not known"))),
        },
        Reg::None | Reg::PreviousSp => {
            return Err(End::Broken("an unwind entry has no stack pointer".into()));
        }
    })
}

/// `__crash_kexec`, where every panic's registers point, has no entry. Its caller is proved: the first word on the stack
/// before which a call leads to the start of the function.
fn scan(walk: &Walk<'_>, state: &mut State) -> Result<(), End> {
    let none = || End::Broken("nothing describes the stack of the innermost function".into());
    let here = walk.kernel.location(VirtAddr(state.ip)).ok_or_else(none)?;
    let start = state.ip.wrapping_sub(here.offset);
    for nth in 0..MAX_SCAN {
        let place = state.sp.wrapping_add(8 * nth);
        let word = walk.u64(place)?;
        if walk.is_text(word) && calls(walk, word, start) {
            *state = State { ip: word, exact: false, sp: place.wrapping_add(8), bp: state.bp, saved: None };
            return Ok(());
        }
    }
    Err(none())
}

/// Whether the instruction before `back` is a call of `target`: e8 and a distance of 32 bits.
fn calls(walk: &Walk<'_>, back: u64, target: u64) -> bool {
    let mut bytes = [0; 5];
    if walk.kernel.bytes(VirtAddr(back.wrapping_sub(5)), &mut bytes, WHAT).is_err() {
        return false;
    }
    let [opcode, distance @ ..] = bytes;
    opcode == 0xe8 && back.wrapping_add_signed(i32::from_le_bytes(distance).into()) == target
}
