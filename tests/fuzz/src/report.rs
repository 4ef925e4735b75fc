//! A report on memory that holds anything: the first byte chooses the architecture, the rest is as in [`super::kallsyms`],
//! the registers of two CPUs are its last bytes.

use super::Garbage;
use vmcore_encrypt::report::{Options, Report, Source, show};
use vmcore_encrypt::vmcore::Machine;

const MACHINES: [Machine; 6] = [
    Machine::X86_64,
    Machine::Aarch64,
    Machine::Ppc64,
    Machine::S390x,
    Machine::Riscv64,
    Machine::Loongarch64,
];

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let machine = MACHINES[usize::from(*first) % MACHINES.len()];
    let memory = Garbage::new(rest);
    let note = &rest[rest.len().saturating_sub(480)..];
    let source = Source { memory: &memory, machine, notes: &[note, note] };
    let report = Report::gather(&source, Options { all_tasks: first & 0x80 != 0 });
    let text = show(&report, true);
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')));
    assert!(serde_json::to_string(&report).is_ok());
}
