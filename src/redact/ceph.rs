//! Keys of Ceph and of RxRPC, the transport of AFS: of every mounted file system, block device and connection. Keys that are
//! in keyrings have the same structures; `keyring` comes here for them.
//!
//! Source: Linux `net/ceph/crypto.h`, `net/ceph/auth_x.h`, `include/linux/ceph/libceph.h`, `fs/ceph/super.h`,
//! `drivers/block/rbd.c`; `include/keys/rxrpc-type.h`, `net/rxrpc/ar-internal.h`, `net/rxrpc/rxkad.c`.

use super::ciphers::Tfms;
use super::net::namespaces;
use super::walk::Walk;
use crate::kernel::{Error, Object, Scope};
use crate::units::VirtAddr;

/// The most clients, tickets of a client, connections of a namespace, and tokens of a key.
const MAX_CLIENTS: u64 = 1 << 16;
const MAX_TICKETS: usize = 1 << 10;
const MAX_CONNECTIONS: u64 = 1 << 20;
const MAX_TOKENS: u64 = 64;
/// Bytes of the longest key.
const MAX_KEY: u64 = 4096;
/// The protocol of Ceph that has keys. Source: Linux `include/linux/ceph/ceph_fs.h`, `CEPH_AUTH_CEPHX`.
const CEPHX: u64 = 2;
/// Kinds of security of RxRPC: none, Kerberos 4, GSS-API. Source: Linux `include/uapi/linux/rxrpc.h`, `RXRPC_SECURITY_*`.
const PLAIN: u64 = 0;
const RXKAD: u64 = 2;
const RXGK: [u64; 2] = [4, 6];
/// Where the words of a server's key are: its cipher, and its 8 bytes. Source: Linux `net/rxrpc/rxkad.c`,
/// `rxkad_preparse_server_key`.
const SERVER_KEY: (u64, u64) = (16, 8);

/// Finds the keys of both.
pub(super) fn find(walk: &Walk<'_>) -> Result<(), Error> {
    if walk.is_there("libceph", "ceph_crypto_key_decode")? {
        ceph(walk)?;
    }
    if walk.is_there("rxrpc", "rxrpc_get_server_data_key")? {
        connections(walk)?;
    }
    Ok(())
}

fn ceph(walk: &Walk<'_>) -> Result<(), Error> {
    let mut clients = Vec::new();
    for (module, function, list, structure, node) in [
        ("ceph", "ceph_mdsc_init", "ceph_fsc_list", "ceph_fs_client", "metric_wakeup"),
        ("rbd", "rbd_queue_rq", "rbd_client_list", "rbd_client", "node"),
    ] {
        if walk.is_there(module, function)? {
            clients.extend(walk.with(module, |scope| {
                let linked = scope.linked(structure, node)?;
                let owners = linked.on(scope.symbol(list)?, MAX_CLIENTS, "list of Ceph's clients");
                owners.map(|owner| Ok(VirtAddr(owner?.uint("client")?))).collect::<Result<Vec<_>, Error>>()
            })?);
        }
    }
    walk.with("libceph", |scope| {
        clients.iter().filter(|at| at.0 != 0).try_for_each(|at| client(walk, scope, *at))
    })
}

/// The key that a client was mounted with, and what it got for it.
fn client(walk: &Walk<'_>, scope: &Scope<'_>, at: VirtAddr) -> Result<(), Error> {
    let client = scope.object("ceph_client", at)?;
    let owners = [client.follow("options")?, client.follow("monc.auth")?];
    for owner in owners.iter().flatten() {
        if let Some(key) = owner.follow("key")? {
            secret(walk, &key)?;
        }
    }
    let [_, Some(auth)] = owners else { return Ok(()) };
    let private = VirtAddr(auth.uint("private")?);
    if private.0 == 0 || auth.uint("protocol")? & 0xffff_ffff != CEPHX {
        return Ok(());
    }
    let info = scope.object("ceph_x_info", private)?;
    secret(walk, &info.part("secret")?)?;
    secret(walk, &info.part("auth_authorizer.session_key")?)?;
    let tickets = scope.linked("ceph_x_ticket_handler", "node")?;
    let (nodes, error) =
        walk.kernel().tree(info.address_of("ticket_handlers")?, MAX_TICKETS, "tree of Ceph's tickets");
    nodes.into_iter().try_for_each(|node| secret(walk, &tickets.of(node).part("session_key")?))?;
    error.map_or(Ok(()), Err)
}

/// A `struct ceph_crypto_key`. Its cipher is a context.
fn secret(walk: &Walk<'_>, key: &Object<'_>) -> Result<(), Error> {
    let len = key.uint("len")? & 0xffff_ffff;
    if len > MAX_KEY {
        return Err(Error::Absurd { what: "length of a key of Ceph", value: len });
    }
    walk.erase_target(key, "key", len, "ceph_crypto_key.key")
}

/// The payload of a key of type `ceph`.
pub(super) fn payload(walk: &Walk<'_>, at: VirtAddr) -> Result<(), Error> {
    walk.with("libceph", |scope| secret(walk, &scope.object("ceph_crypto_key", at)?))
}

/// Ciphers of all connections of RxRPC, in every network namespace.
fn connections(walk: &Walk<'_>) -> Result<(), Error> {
    const WHAT: &str = "network namespace of RxRPC";
    let kernel = walk.kernel();
    let core = Scope::of(kernel)?;
    let tfms = Tfms::of(walk)?;
    let all = namespaces(walk, &core)?;
    walk.with("rxrpc", |scope| {
        let number = kernel.u32(scope.symbol("rxrpc_net_id")?, WHAT)?;
        let linked = scope.linked("rxrpc_connection", "proc_link")?;
        for net in &all {
            let slots = core.object("net_generic", VirtAddr(net.uint("gen")?))?.address_of("ptr")?;
            let own = scope.object("rxrpc_net", walk.pointer(slots, number.into(), WHAT)?)?;
            let head = own.address_of("conn_proc_list")?;
            for connection in linked.on(head, MAX_CONNECTIONS, "list of RxRPC's connections") {
                cipher(walk, &tfms, &connection?)?;
            }
        }
        Ok(())
    })
}

fn cipher(walk: &Walk<'_>, tfms: &Tfms, connection: &Object<'_>) -> Result<(), Error> {
    match connection.uint("security_ix")? & 0xff {
        PLAIN => return Ok(()),
        RXKAD => {}
        other => return Err(unknown_security(other)),
    }
    // Inside of a union since v4.9's second half; both are read by name.
    let member = if connection.has("rxkad.cipher") { "rxkad.cipher" } else { "cipher" };
    let at = VirtAddr(connection.uint(member)?);
    if at.0 == 0 { Ok(()) } else { erase_cipher(walk, tfms, at, "rxrpc_connection.cipher") }
}

fn erase_cipher(walk: &Walk<'_>, tfms: &Tfms, at: VirtAddr, what: &'static str) -> Result<(), Error> {
    if tfms.erase(walk, at, what)? {
        return Ok(());
    }
    Err(Error::Unknown("what should be a cipher of RxRPC is not one".into()))
}

fn unknown_security(kind: u64) -> Error {
    Error::Unknown(format!("RxRPC's kind of security {kind} is not known"))
}

/// The payload of a key of type `rxrpc`: tokens, one after the other.
pub(super) fn tokens(walk: &Walk<'_>, first: VirtAddr) -> Result<(), Error> {
    walk.with("rxrpc", |scope| {
        let (mut at, mut count) = (first, 0);
        while at.0 != 0 {
            let token = scope.object("rxrpc_key_token", at)?;
            match token.uint("security_index")? & 0xffff {
                PLAIN => {}
                RXKAD => {
                    let key = token.follow("kad")?;
                    key.map_or(Ok(()), |key| {
                        walk.erase_member(&key, "session_key", "rxkad_key.session_key")
                    })?;
                }
                // Since v6.16.
                kind if RXGK.contains(&kind) && token.has("rxgk") => {
                    if let Some(key) = token.follow("rxgk")? {
                        let len = key.uint("key.len")? & 0xffff_ffff;
                        walk.erase_target(&key, "key.data", len, "rxgk_key.key")?;
                    }
                }
                other => return Err(unknown_security(other)),
            }
            at = VirtAddr(token.uint("next")?);
            count += 1;
            if count > MAX_TOKENS {
                return Err(Error::Endless("tokens of a key of RxRPC"));
            }
        }
        Ok(())
    })
}

/// The payload of a key of type `rxrpc_s`, that of a server: a cipher, and the key itself.
pub(super) fn server(walk: &Walk<'_>, data: VirtAddr, first: VirtAddr) -> Result<(), Error> {
    erase_cipher(walk, &Tfms::of(walk)?, first, "rxrpc_s.cipher")?;
    walk.erase(data.wrapping_add(SERVER_KEY.0), SERVER_KEY.1, "rxrpc_s.key")
}

#[cfg(test)]
mod tests;
