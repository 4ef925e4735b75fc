//! A kernel's symbol table, modules and page allocator in memory that holds anything.

use super::Garbage;
use vmcore_encrypt::kernel::{Allocator, Kallsyms, Kernel};
use vmcore_encrypt::units::VirtAddr;

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let memory = Garbage::new(bytes);
    if let Ok(table) = Kallsyms::open(&memory) {
        let _ = table.find(&["_stext", "init_task", "__start_BTF"]);
    }
    if let Ok(Allocator { pagesets, .. }) = Allocator::read(&memory) {
        for head in (0..1 << 12).step_by(8).map(VirtAddr) {
            let pageset = pagesets.of_head(head);
            assert!(pageset.is_none_or(|pageset| pageset.heads().any(|(at, _)| at == head)));
        }
    }
    let kernel = Kernel::new(&memory);
    if let Ok(symbols) = kernel.symbols() {
        for symbol in symbols.iter().take(100) {
            assert!(symbols.at(symbol.address).is_some());
            let name = std::str::from_utf8(symbol.name);
            assert!(name.is_err() || name.is_ok_and(|name| symbols.find(name).is_some()));
        }
        let _ = symbols.end(VirtAddr(0));
    }
    let _ =
        (kernel.missing(), kernel.cpus("online"), kernel.per_cpu("runqueues", 1), kernel.modules().0.len());
    let _ = (kernel.is_text(VirtAddr(1 << 63)), kernel.location(VirtAddr(u64::MAX)));
}
