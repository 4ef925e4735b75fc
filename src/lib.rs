//! Encrypted crash dumps of Linux machines: the rooms behind `vmcore-encrypt` and `vmcore-decrypt`.

pub mod blocks;
pub mod crypt;
pub mod kdump;
pub mod pipeline;
pub mod units;
