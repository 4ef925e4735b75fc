//! Loaded modules, with what they tainted.

use super::{Section, lossy, taints};
use crate::kernel::Kernel;
use serde::Serialize;

/// A module.
#[derive(Debug, Serialize)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// `live`, `coming`, `going` or `unformed`.
    pub state: &'static str,
    /// Bytes of its memory.
    pub size: u64,
    /// Letters of its taints.
    pub taints: String,
    /// Their meanings.
    pub taints_in_words: Vec<String>,
}

/// The modules, those that taint first.
pub(super) fn read(kernel: &Kernel<'_>) -> Section<Vec<Module>> {
    let (modules, error) = kernel.modules();
    if let Some(error) = error.filter(|_| modules.is_empty()) {
        return Section::Error(error.line());
    }
    let mut list: Vec<Module> = modules
        .iter()
        .map(|module| Module {
            name: lossy(&module.name),
            state: state(module.state),
            size: module.ranges.iter().fold(0, |sum, (_, len)| sum.saturating_add(*len)),
            taints: taints::letters(module.taints),
            taints_in_words: taints::words(module.taints),
        })
        .collect();
    list.sort_by(|a, b| a.taints.is_empty().cmp(&b.taints.is_empty()).then_with(|| a.name.cmp(&b.name)));
    Section::Read(list)
}

/// Source: Linux `include/linux/module.h`, `enum module_state`.
fn state(state: u64) -> &'static str {
    match state {
        0 => "live",
        1 => "coming",
        2 => "going",
        _ => "unformed",
    }
}
