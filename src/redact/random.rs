//! State of the random number generator: whoever has it knows what came and what comes.
//!
//! Source: Linux `drivers/char/random.c`; of `base_crng` and `input_pool` the types have no name, so places in them are
//! taken from there: since commit 186873c549df ("random: use simpler fast key erasure flow on per-cpu keys") (in v5.18) the
//! key comes first in both.

use super::walk::Walk;
use crate::kernel::Error;

/// Bytes of a `ChaCha` key.
const KEY: u64 = 32;
/// Names that the hash in `input_pool` had.
const HASHES: [&str; 2] = ["blake2s_ctx", "blake2s_state"];
/// Batches of numbers drawn in advance, for each CPU, and their types.
const BATCHES: [(&str, &str); 4] = [
    ("batched_entropy_u8", "batch_u8"),
    ("batched_entropy_u16", "batch_u16"),
    ("batched_entropy_u32", "batch_u32"),
    ("batched_entropy_u64", "batch_u64"),
];

/// Finds it.
pub(super) fn find(walk: &Walk<'_>) -> Result<(), Error> {
    let kernel = walk.kernel();
    walk.erase(kernel.symbol("base_crng")?, KEY, "base_crng.key")?;
    let hash = HASHES.iter().find_map(|name| kernel.size_of(name).ok());
    let hash = hash.ok_or_else(|| Error::NoType("struct blake2s_ctx".into()))?;
    walk.erase(kernel.symbol("input_pool")?, hash, "input_pool.hash")?;
    for cpu in kernel.cpus("possible")? {
        walk.erase_member(&kernel.per_cpu_object("crngs", "crng", cpu)?, "key", "crngs.key")?;
        // Kernels before v6.2 have two of the batches.
        for (name, structure) in BATCHES {
            if kernel.symbol(name).is_ok() {
                let batch = kernel.per_cpu_object(name, structure, cpu)?;
                walk.erase_member(&batch, "entropy", "batched_entropy.entropy")?;
            }
        }
    }
    Ok(())
}
