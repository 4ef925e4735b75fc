//! Why a classifier cannot recognise a kind of page; known before it starts.

use crate::mm;
use thiserror::Error;

/// Something the dump level asks for that this vmcore does not allow. The pages concerned are kept.
#[derive(Debug, Error)]
pub enum Warning {
    /// No page can be judged: VMCOREINFO or the memory it points to is missing.
    #[error("no page can be classified, so all are kept")]
    NotJudged(#[source] mm::Error),
    /// No page can be judged: the tables know no `struct page` for any of the vmcore's memory.
    #[error("no page can be classified, so all are kept: no memory section has page structures")]
    NoStructPages,
    /// One kind of page cannot be recognised.
    #[error("{kind} pages cannot be recognised and are kept: VMCOREINFO has no usable {key}")]
    NotTold {
        /// The kind, as in the report.
        kind: &'static str,
        /// The key that would tell.
        key: &'static str,
    },
}

impl Warning {
    /// Whether nothing at all is excluded, whatever the level: a dump at a level above 1 is then far
    /// larger than its reader expects.
    #[must_use]
    pub fn keeps_everything(&self) -> bool {
        matches!(self, Warning::NotJudged(_) | Warning::NoStructPages)
    }
}
