//! Keys of the key retention service: every key of the machine, by its type.
//!
//! Source: Linux `include/linux/key.h`, `include/keys/*-type.h`, `security/keys`.

use super::ceph;
use super::walk::Walk;
use crate::kernel::{Error, Object};
use crate::units::VirtAddr;

/// The most keys: ten times the quota of root.
const MAX_KEYS: usize = 1 << 24;
/// The longest name of a type of keys.
const MAX_NAME: usize = 64;
/// Bytes of the key that a large payload in a file is encrypted with. Source: Linux `security/keys/big_key.c`.
const BIG_KEY: u64 = 32;
/// The most bytes of a payload. Source: Linux `security/keys/keyctl.c`.
const MAX_PAYLOAD: u64 = 1 << 20;

/// Types whose payload is a `struct user_key_payload`.
const USER_TYPES: [&[u8]; 8] =
    [b"user", b"logon", b"psk", b"dns_resolver", b"id_resolver", b"id_legacy", b"cifs.idmap.user", b"afs"];
/// Types without a secret: lists of keys, hashes that are refused, numbers of users.
const OPEN_TYPES: [&[u8]; 4] = [b"keyring", b"blacklist", b"cifs.idmap", b"pkcs7_test"];

/// Finds them.
pub(super) fn find(walk: &Walk<'_>) -> Result<(), Error> {
    let kernel = walk.kernel();
    let linked = kernel.linked("key", "serial_node")?;
    let (nodes, error) = kernel.tree(kernel.symbol("key_serial_tree")?, MAX_KEYS, "tree of keys");
    if let Some(error) = error {
        return Err(error);
    }
    nodes.into_iter().try_for_each(|node| key(walk, &linked.of(node)))
}

fn key(walk: &Walk<'_>, key: &Object<'_>) -> Result<(), Error> {
    let kind = kernel_name(walk, key)?;
    let data = key.address_of("payload.data")?;
    let first = walk.pointer(data, 0, "payload of a key")?;
    match kind.as_slice() {
        kind if OPEN_TYPES.contains(&kind) => Ok(()),
        // A key without a payload was not made yet, refused, or revoked. That of a large key may be empty.
        _ if first.0 == 0 => Ok(()),
        // Of a refused key the first word is an error number.
        _ if first.0 >= u64::MAX - 4095 => Ok(()),
        kind if USER_TYPES.contains(&kind) => user(walk, first),
        b"encrypted" => encrypted(walk, first),
        b"trusted" => walk.with("trusted", |scope| {
            let payload = scope.object("trusted_key_payload", first)?;
            walk.erase_member(&payload, "key", "trusted_key_payload.key")
        }),
        b"big_key" => big(walk, data, first),
        b"asymmetric" => asymmetric(walk, data),
        b"fscrypt-provisioning" => fscrypt(walk, key, first),
        b"ceph" => ceph::payload(walk, first),
        b"rxrpc" => ceph::tokens(walk, first),
        b"rxrpc_s" => ceph::server(walk, data, first),
        b".request_key_auth" => {
            let request = walk.kernel().object("request_key_auth", first)?;
            let len = request.uint("callout_len")?;
            walk.erase_target(&request, "callout_info", len, "request_key_auth.callout_info")
        }
        b"cifs.spnego" => walk.with("cifs", |scope| {
            let message = scope.object("cifs_spnego_msg", first)?;
            let len = message.uint("sesskey_len")?.saturating_add(message.uint("secblob_len")?);
            walk.erase(message.address_of("data")?, len, "cifs_spnego_msg.data")
        }),
        other => Err(not_known(other)),
    }
}

fn not_known(kind: &[u8]) -> Error {
    Error::Unknown(format!("the payload of keys of type {:?} is not known", String::from_utf8_lossy(kind)))
}

/// The name of a key's type.
fn kernel_name(walk: &Walk<'_>, key: &Object<'_>) -> Result<Vec<u8>, Error> {
    let kind = key.follow("type")?.ok_or_else(|| Error::Unknown("a key has no type".into()))?;
    let name = VirtAddr(walk.kernel().object("key_type", kind.address())?.uint("name")?);
    walk.kernel().text(name, MAX_NAME, "the name of a type of keys")
}

fn user(walk: &Walk<'_>, at: VirtAddr) -> Result<(), Error> {
    let payload = walk.kernel().object("user_key_payload", at)?;
    walk.erase(payload.address_of("data")?, payload.uint("datalen")?, "user_key_payload.data")
}

/// The plain key is inside the payload, or in what an eCryptfs token keeps there.
fn encrypted(walk: &Walk<'_>, at: VirtAddr) -> Result<(), Error> {
    const WHAT: &str = "encrypted_key_payload.decrypted_data";
    walk.with("encrypted_keys", |scope| {
        let payload = scope.object("encrypted_key_payload", at)?;
        walk.erase_target(&payload, "decrypted_data", payload.uint("decrypted_datalen")?, WHAT)?;
        walk.erase(payload.address_of("payload_data")?, payload.uint("payload_datalen")?, WHAT)
    })
}

/// A large payload is in a file of the machine's memory, encrypted; here is the key to it. A small one is here.
fn big(walk: &Walk<'_>, data: VirtAddr, first: VirtAddr) -> Result<(), Error> {
    const WHAT: &str = "big_key_payload.data";
    let kernel = walk.kernel();
    let len = kernel.object("big_key_payload", data)?.uint("length")?;
    let in_file = kernel.size_of("inode")? + kernel.size_of("dentry")? + walk.page().bytes();
    if len > MAX_PAYLOAD {
        return Err(Error::Absurd { what: WHAT, value: len });
    }
    walk.erase(first, if len > in_file { BIG_KEY } else { len }, WHAT)
}

/// Public keys are no secrets; a private key of PKCS #8 has the same structure.
fn asymmetric(walk: &Walk<'_>, data: VirtAddr) -> Result<(), Error> {
    let kernel = walk.kernel();
    let crypto = kernel.enumerator("asym_crypto")?.cast_unsigned();
    let subtype = kernel.enumerator("asym_subtype")?.cast_unsigned();
    let subtype = walk.pointer(data, subtype, "payload of a key")?;
    let name = kernel.object("asymmetric_key_subtype", subtype)?.uint("name")?;
    let name = kernel.text(VirtAddr(name), MAX_NAME, "the name of a kind of keys")?;
    if name != b"public_key" {
        return Err(not_known(&name));
    }
    walk.with("public_key", |scope| {
        let key = scope.object("public_key", walk.pointer(data, crypto, "payload of a key")?)?;
        if key.uint("key_is_private")? & 0xff == 0 {
            return Ok(());
        }
        let len = key.uint("keylen")?;
        walk.erase_target(&key, "key", len, "public_key.key")
    })
}

fn fscrypt(walk: &Walk<'_>, key: &Object<'_>, at: VirtAddr) -> Result<(), Error> {
    let payload = walk.kernel().object("fscrypt_provisioning_key_payload", at)?;
    let start = payload.address_of("raw")?;
    let len = key.uint("datalen")? & 0xffff;
    walk.erase(start, len, "fscrypt_provisioning_key_payload.raw")
}
