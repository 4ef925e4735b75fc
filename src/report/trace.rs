//! Back traces: addresses on a stack with the functions they are in.

use super::lossy;
use super::unwind::{Step, Steps};
use crate::kernel::Kernel;
use crate::units::VirtAddr;
use serde::{Serialize, Serializer};

/// Functions of a crash's signature.
const SIGNATURE: usize = 5;
/// Functions that every crash goes through, by the beginning of their names.
const MACHINERY: [&str; 22] = [
    "__crash_kexec",
    "crash_kexec",
    "machine_kexec",
    "crash_",
    "panic",
    "vpanic",
    "nmi_panic",
    "oops_",
    "die",
    "__die",
    "page_fault_oops",
    "kernelmode_fixup",
    "__bad_area",
    "bad_area",
    "no_context",
    "do_kern_addr_fault",
    "exc_",
    "asm_exc_",
    "handle_bug",
    "do_user_addr_fault",
    "__do_kernel_fault",
    "do_mem_abort",
];

/// A function that was being executed.
#[derive(Clone, Debug, Serialize)]
pub struct Frame {
    /// Where it goes on, or was interrupted.
    #[serde(serialize_with = "hex")]
    pub address: u64,
    /// The function; `None` where no symbol is known.
    pub function: Option<String>,
    /// Bytes from the function's start.
    pub offset: u64,
    /// Bytes of the function.
    pub size: u64,
    /// The module that holds it.
    pub module: Option<String>,
    /// Whether it was interrupted there: the address is not after a call.
    pub interrupted: bool,
}

/// A stack, innermost function first.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// The functions.
    pub frames: Vec<Frame>,
    /// Why the trace ends before the end of the stack.
    pub broken: Option<String>,
}

/// A 64-bit number as text, since readers of JSON keep 53 bits.
pub(super) fn hex<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{value:#x}"))
}

/// The trace of what an unwinder found.
pub(super) fn symbolised(kernel: &Kernel<'_>, steps: Steps) -> Trace {
    Trace { frames: steps.list.iter().map(|step| frame(kernel, *step)).collect(), broken: steps.broken }
}

/// After a call that never returns the address is in the next function, so that one byte before is looked up.
fn frame(kernel: &Kernel<'_>, step: Step) -> Frame {
    let back = u64::from(!step.exact);
    let found = kernel.location(VirtAddr(step.address.wrapping_sub(back)));
    let mut frame = Frame {
        address: step.address,
        function: None,
        offset: 0,
        size: 0,
        module: None,
        interrupted: step.exact,
    };
    if let Some(found) = found {
        frame.function = Some(lossy(&found.function));
        frame.offset = found.offset.wrapping_add(back);
        frame.size = found.size;
        frame.module = found.module.map(|name| lossy(&name));
    }
    frame
}

/// The functions that tell this crash from another: from where the kernel was interrupted, else those before the panic.
pub(super) fn signature(trace: &Trace) -> Vec<String> {
    let frames = trace.frames.as_slice();
    let fault = frames.iter().skip(1).position(|frame| frame.interrupted).map(|at| at + 1);
    let is_machinery = |frame: &&Frame| {
        let name = frame.function.as_deref().unwrap_or_default();
        MACHINERY.iter().any(|start| name.starts_with(start))
    };
    let own = || frames.iter().take_while(is_machinery).count();
    let names = frames.get(fault.unwrap_or_else(own)..).unwrap_or_default().iter();
    names.filter_map(|frame| frame.function.clone()).take(SIGNATURE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(frames: &[(&str, bool)]) -> Trace {
        let frame = |&(name, interrupted): &(&str, bool)| Frame {
            address: 1,
            function: Some(name.to_owned()),
            offset: 0,
            size: 0,
            module: None,
            interrupted,
        };
        Trace { frames: frames.iter().map(frame).collect(), broken: None }
    }

    #[test]
    fn a_signature_begins_where_the_fault_was() {
        let calls = [
            ("__crash_kexec", true),
            ("vpanic", false),
            ("panic", false),
            ("sysrq_handle_crash", false),
            ("a", false),
        ];
        assert_eq!(signature(&trace(&calls)), ["sysrq_handle_crash", "a"]);
        let oops = [
            ("__crash_kexec", true),
            ("oops_end", false),
            ("asm_exc_page_fault", false),
            ("driver_read", true),
            ("b", false),
        ];
        assert_eq!(signature(&trace(&oops)), ["driver_read", "b"]);
        assert!(signature(&trace(&[])).is_empty());
    }
}
