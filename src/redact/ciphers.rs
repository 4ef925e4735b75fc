//! Contexts of the kernel's ciphers and hashes: what a driver derives from a key. Each follows a `struct crypto_tfm`, which
//! names its algorithm, and the kernel lists all algorithms. So every cipher in memory is found by that word, whoever owns
//! it: dm-crypt, TLS, IPsec, MACsec, fscrypt, CIFS, Kerberos.
//!
//! Source: Linux `include/linux/crypto.h` (`struct crypto_tfm`, `struct crypto_alg`), `crypto/api.c` (`crypto_alg_list`,
//! `crypto_create_tfm_node`), `crypto/algapi.c` (`crypto_alg_extsize`).

use super::kinds::Kind;
use super::scan::{Hit, What};
use super::walk::Walk;
use crate::kernel::{Error, Kernel, Scope};
use crate::units::{ByteOrder, PhysAddr, VirtAddr};
use crate::vmcore::Vmcore;
use std::collections::HashMap;

/// More algorithms than any kernel registers.
const MAX_ALGORITHMS: u64 = 1 << 14;
/// Bytes of the largest context: those of the largest have some kilobytes of tables.
const MAX_CONTEXT: u64 = 64 << 10;
/// Ciphers inside each other: of a template in a template in a wrapper.
const MAX_NESTING: u32 = 8;
/// What `crt_flags` may have. Source: Linux `include/linux/crypto.h`, `CRYPTO_TFM_*`.
const FLAGS: u32 = 0x000f_ffff;
/// Structures that begin before their `struct crypto_tfm`, and the member that it is.
const FRONTS: [(&str, &str); 9] = [
    ("crypto_skcipher", "base"),
    ("crypto_aead", "base"),
    ("crypto_shash", "base"),
    ("crypto_ahash", "base"),
    ("crypto_lskcipher", "base"),
    ("crypto_cipher", "base"),
    ("crypto_kpp", "base"),
    ("crypto_akcipher", "base"),
    ("crypto_rng", "base"),
];

/// How to find a cipher by the word that names its algorithm.
pub(super) struct Tfms {
    /// Bytes of the context by the address of the algorithm.
    contexts: HashMap<u64, u64>,
    lowest: u64,
    highest: u64,
    order: ByteOrder,
    layout: Layout,
    /// Where the `struct crypto_tfm` is in what points lead to, bytes.
    fronts: Vec<u64>,
}

/// Where members are in `struct crypto_tfm`, bytes.
struct Layout {
    flags: usize,
    exit: usize,
    algorithm: usize,
    context: usize,
}

impl Tfms {
    /// Lists the algorithms.
    pub(super) fn of(walk: &Walk<'_>) -> Result<Tfms, Error> {
        let kernel = walk.kernel();
        let scope = Scope::of(kernel)?;
        let linked = scope.linked("crypto_alg", "cra_list")?;
        let mut contexts = HashMap::new();
        for algorithm in linked.on(kernel.symbol("crypto_alg_list")?, MAX_ALGORITHMS, "list of algorithms") {
            let algorithm = algorithm?;
            // A driver that aligns by hand reserves the room after the context.
            let len = algorithm.uint("cra_ctxsize")?.saturating_add(algorithm.uint("cra_alignmask")?);
            if len > MAX_CONTEXT {
                return Err(Error::Absurd { what: "size of a cipher's context", value: len });
            }
            contexts.insert(algorithm.address().0, len);
        }
        let place = |member: &str| -> Result<usize, Error> {
            let at = scope.offset_of("crypto_tfm", member)?;
            usize::try_from(at).map_err(|_| Error::Absurd { what: "place of a member", value: at })
        };
        let layout = Layout {
            flags: place("crt_flags")?,
            exit: place("exit")?,
            algorithm: place("__crt_alg")?,
            context: place("__crt_ctx")?,
        };
        // Which of them the kernel has depends on its release.
        let mut fronts: Vec<u64> =
            FRONTS.iter().filter_map(|(front, member)| scope.offset_of(front, member).ok()).collect();
        fronts.push(0);
        fronts.sort_unstable();
        fronts.dedup();
        let (lowest, highest) =
            contexts.keys().fold((u64::MAX, 0), |(low, high), &at| (low.min(at), high.max(at)));
        let order = kernel.memory().byte_order();
        Ok(Tfms { contexts, lowest, highest, order, layout, fronts })
    }

    /// The words that name an algorithm and begin in the first `own` bytes.
    pub(super) fn hits(&self, bytes: &[u8], own: usize) -> Vec<Hit> {
        let words = bytes.as_chunks::<8>().0.iter().take(own / 8).enumerate();
        let named = words.filter(|(_, word)| {
            let word = self.order.u64(**word);
            (self.lowest..=self.highest).contains(&word) && self.contexts.contains_key(&word)
        });
        let hit = |(at, _): (usize, _)| Hit {
            kind: Kind::Ciphers,
            what: What::Algorithm,
            at: at as u64 * 8,
            len: 8,
            secret: None,
        };
        named.map(hit).collect()
    }

    /// The context of the cipher whose word is at a physical address, as start and bytes; `None` where the word is
    /// something else that knows the algorithm.
    pub(super) fn context_at(&self, vmcore: &Vmcore, walk: &Walk<'_>, at: u64) -> Option<(u64, u64)> {
        let start = at.checked_sub(self.layout.algorithm as u64)?;
        let mut bytes = vec![0; self.layout.algorithm + 8];
        vmcore.read_phys(PhysAddr(start), &mut bytes).ok()?;
        let len = self.context_len(walk.kernel(), &bytes)?;
        Some((start + self.layout.context as u64, len)).filter(|&(_, len)| len > 0)
    }

    /// Bytes of the context of a `struct crypto_tfm`; `None` where the bytes are not one.
    fn context_len(&self, kernel: &Kernel<'_>, bytes: &[u8]) -> Option<u64> {
        let algorithm = self.order.u64_at(bytes, self.layout.algorithm)?;
        let len = self.contexts.get(&algorithm)?;
        let exit = VirtAddr(self.order.u64_at(bytes, self.layout.exit)?);
        let flags = self.order.u32_at(bytes, self.layout.flags)?;
        let is_function = exit.0 == 0 || is_text(kernel, exit);
        (is_function && flags & !FLAGS == 0).then_some(*len)
    }

    /// Overwrites the context of the cipher that a pointer leads to, and those of the ciphers that it leads to in turn;
    /// false where it leads to no cipher.
    pub(super) fn erase(&self, walk: &Walk<'_>, at: VirtAddr, what: &'static str) -> Result<bool, Error> {
        self.erase_nested(walk, at, what, MAX_NESTING)
    }

    fn erase_nested(
        &self,
        walk: &Walk<'_>,
        at: VirtAddr,
        what: &'static str,
        nesting: u32,
    ) -> Result<bool, Error> {
        let Some((start, len)) =
            self.fronts.iter().find_map(|&front| self.context(walk, at.wrapping_add(front)))
        else {
            return Ok(false);
        };
        walk.erase_around(start, len, what)?;
        if nesting > 0 {
            self.erase_reachable(walk, start, len, what, nesting - 1)?;
        }
        Ok(true)
    }

    /// Overwrites the contexts of all ciphers that words of some memory lead to.
    pub(super) fn erase_reachable(
        &self,
        walk: &Walk<'_>,
        start: VirtAddr,
        len: u64,
        what: &'static str,
        nesting: u32,
    ) -> Result<(), Error> {
        let mut bytes = vec![0; usize::try_from(len.min(MAX_CONTEXT)).unwrap_or(0)];
        walk.kernel().bytes(start, &mut bytes, what)?;
        for word in bytes.as_chunks::<8>().0 {
            let at = self.order.u64(*word);
            if at >= 1 << 63 && at.is_multiple_of(8) {
                self.erase_nested(walk, VirtAddr(at), what, nesting)?;
            }
        }
        Ok(())
    }

    /// The context of a `struct crypto_tfm` at an address.
    fn context(&self, walk: &Walk<'_>, tfm: VirtAddr) -> Option<(VirtAddr, u64)> {
        let mut bytes = vec![0; self.layout.algorithm + 8];
        walk.kernel().bytes(tfm, &mut bytes, "a cipher").ok()?;
        let len = self.context_len(walk.kernel(), &bytes)?;
        Some((tfm.wrapping_add(self.layout.context as u64), len))
    }
}

/// Whether an address is in the kernel's code, or in a module's memory.
fn is_text(kernel: &Kernel<'_>, at: VirtAddr) -> bool {
    let inside = match (kernel.symbol("_stext"), kernel.symbol("_etext")) {
        (Ok(start), Ok(end)) => (start.0..end.0).contains(&at.0),
        _ => true,
    };
    inside || kernel.module_at(at).is_some()
}
