//! The inner layer of a dump: the kdump-compressed (KDUMP) file format and its flattened stream form,
//! both directions, as bytes. Which page goes where is decided in collect and restore; compression and
//! encryption are outside. Formats: makedumpfile `diskdump_mod.h` and `makedumpfile.h`;
//! `docs/format.md` section 4.

mod flat;
mod header;
mod page_desc;

#[cfg(feature = "convert")]
pub(crate) use flat::FLAT_FIELDS_LEN;
pub use flat::{
    END_RECORD, FLAT_HEADER_LEN, Records, flat_header, is_flattened, parse_record_head, record_head,
};
pub use header::{Head, Layout, STATUS_INCOMPLETE, STATUS_OFFSET, Uts};
#[cfg(feature = "convert")]
pub(crate) use header::{MAIN_LEN, SIGNATURE, SUB_LEN, UTS_FIELD, main_at, sub_at};
pub use page_desc::{DESC_LEN, DescFlags, PageDesc};

/// What is wrong with the head of a KDUMP file.
#[derive(Debug, thiserror::Error)]
#[error("reading the KDUMP header: {0}")]
pub struct Error(pub(crate) String);
