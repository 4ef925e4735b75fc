//! Volume keys of dm-crypt and dm-integrity: of every device that the device mapper has, in the tables that are in use and in
//! those that wait to be.
//!
//! Source: Linux `drivers/md/dm-ioctl.c` (`struct hash_cell`), `drivers/md/dm-core.h`, `drivers/md/dm-crypt.c` (`struct
//! crypt_config`), `drivers/md/dm-integrity.c`.

use super::ciphers::Tfms;
use super::walk::Walk;
use crate::kernel::{Error, Object, Scope};
use crate::units::VirtAddr;

/// The most devices and targets of a table: more than minor numbers, and than anybody has.
const MAX_DEVICES: usize = 1 << 20;
const MAX_TARGETS: u64 = 1 << 16;
/// Buckets of names before commit b82096afc8af ("dm ioctl: replace device hash with red-black tree") (in v5.13).
const OLD_BUCKETS: u64 = 64;
/// Ciphers of a target at most: one for each of 64 keys.
const MAX_TFMS: u64 = 64;
/// What `authenc` puts before the keys: an attribute with one number.
const AUTHENC_HEAD: u64 = 8;
/// Bytes of a seed of loop-AES, and of TrueCrypt's whitening. Source: Linux `drivers/md/dm-crypt.c`.
const LMK_SEED: u64 = 64;
const TCW_WHITENING: u64 = 16;

/// Finds them.
pub(super) fn find(walk: &Walk<'_>) -> Result<(), Error> {
    let tables = walk.with("dm_mod", |scope| tables(walk, scope))?;
    for (target, kind) in tables {
        match kind.as_slice() {
            b"crypt" => walk.with("dm_crypt", |scope| crypt(walk, scope, target))?,
            b"integrity" => walk.with("dm_integrity", |scope| integrity(walk, scope, target))?,
            _ => {}
        }
    }
    Ok(())
}

/// Every target, as its private data and its type's name.
fn tables(walk: &Walk<'_>, scope: &Scope<'_>) -> Result<Vec<(VirtAddr, Vec<u8>)>, Error> {
    let mut targets = Vec::new();
    for cell in cells(walk, scope)? {
        let device = cell.follow("md")?;
        let current = device.map(|device| scope.object("mapped_device", device.address())?.uint("map"));
        for table in [current.transpose()?.unwrap_or(0), cell.uint("new_map")?] {
            if table != 0 {
                take_table(walk, scope, VirtAddr(table), &mut targets)?;
            }
        }
    }
    Ok(targets)
}

/// The devices by name.
fn cells<'s>(walk: &Walk<'_>, scope: &Scope<'s>) -> Result<Vec<Object<'s>>, Error> {
    const WHAT: &str = "tree of mapped devices";
    if let Ok(root) = scope.symbol("name_rb_tree") {
        let linked = scope.linked("hash_cell", "name_node")?;
        let (nodes, error) = walk.kernel().tree(root, MAX_DEVICES, WHAT);
        return error.map_or_else(|| Ok(nodes.into_iter().map(|node| linked.of(node)).collect()), Err);
    }
    let buckets = scope.symbol("_name_buckets")?;
    let linked = scope.linked("hash_cell", "name_list")?;
    let mut cells = Vec::new();
    for nth in 0..OLD_BUCKETS {
        let head = buckets.wrapping_add(16 * nth);
        cells.extend(linked.on(head, MAX_DEVICES as u64, WHAT).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(cells)
}

fn take_table(
    walk: &Walk<'_>,
    scope: &Scope<'_>,
    at: VirtAddr,
    targets: &mut Vec<(VirtAddr, Vec<u8>)>,
) -> Result<(), Error> {
    let table = scope.object("dm_table", at)?;
    let (count, array) = (table.uint("num_targets")?, VirtAddr(table.uint("targets")?));
    if count > MAX_TARGETS {
        return Err(Error::Absurd { what: "number of a table's targets", value: count });
    }
    let size = scope.size_of("dm_target")?;
    for nth in 0..count {
        let target = scope.object("dm_target", array.wrapping_add(nth * size))?;
        // A table that is being loaded has room for targets that are not there yet.
        let Some(kind) = target.follow("type")? else { continue };
        let name = VirtAddr(scope.object("target_type", kind.address())?.uint("name")?);
        targets
            .push((VirtAddr(target.uint("private")?), walk.kernel().text(name, 32, "the name of a target")?));
    }
    Ok(())
}

fn crypt(walk: &Walk<'_>, scope: &Scope<'_>, at: VirtAddr) -> Result<(), Error> {
    let config = scope.object("crypt_config", at)?;
    let size = config.uint("key_size")?;
    walk.erase(config.address_of("key")?, size, "crypt_config.key")?;
    // A key string is the name of a key, or the key in hexadecimal digits.
    walk.erase_text(&config, "key_string", "crypt_config.key_string")?;
    if config.has("authenc_key") {
        walk.erase_target(&config, "authenc_key", size + AUTHENC_HEAD, "crypt_config.authenc_key")?;
    }
    let count = config.uint("tfms_count")?;
    if count > MAX_TFMS {
        return Err(Error::Absurd { what: "number of a device's ciphers", value: count });
    }
    let array = VirtAddr(config.uint("cipher_tfm.tfms")?);
    for nth in 0..if array.0 == 0 { 0 } else { count } {
        let tfm = walk.pointer(array, nth, "a device's ciphers")?;
        if tfm.0 != 0 && !Tfms::of(walk)?.erase(walk, tfm, "crypt_config.cipher_tfm")? {
            return Err(Error::Unknown("what should be a cipher of a mapped device is not one".into()));
        }
    }
    vector_keys(walk, scope, &config)
}

/// In two old modes, making initial vectors takes keys of its own.
fn vector_keys(walk: &Walk<'_>, scope: &Scope<'_>, config: &Object<'_>) -> Result<(), Error> {
    let mode = config.uint("iv_gen_ops")?;
    let is = |name: &str| mode != 0 && scope.symbol(name).is_ok_and(|at| at.0 == mode);
    if is("crypt_iv_lmk_ops") {
        walk.erase_target(config, "iv_gen_private.lmk.seed", LMK_SEED, "iv_lmk_private.seed")?;
    }
    if is("crypt_iv_tcw_ops") {
        let size = config.uint("iv_size")?;
        walk.erase_target(config, "iv_gen_private.tcw.iv_seed", size, "iv_tcw_private.iv_seed")?;
        walk.erase_target(config, "iv_gen_private.tcw.whitening", TCW_WHITENING, "iv_tcw_private.whitening")?;
    }
    Ok(())
}

fn integrity(walk: &Walk<'_>, scope: &Scope<'_>, at: VirtAddr) -> Result<(), Error> {
    let config = scope.object("dm_integrity_c", at)?;
    for algorithm in ["internal_hash_alg", "journal_crypt_alg", "journal_mac_alg"] {
        let size = config.uint(&format!("{algorithm}.key_size"))?;
        walk.erase_target(&config, &format!("{algorithm}.key"), size, "dm_integrity_c.key")?;
        walk.erase_text(&config, &format!("{algorithm}.key_string"), "dm_integrity_c.key_string")?;
    }
    Ok(())
}
