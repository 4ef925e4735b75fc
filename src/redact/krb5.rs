//! Kerberos contexts of NFS: those that clients of RPC have for each user, and those that servers have for each client.
//!
//! Source: Linux `net/sunrpc/netns.h` (`struct sunrpc_net`), `include/linux/sunrpc/auth.h`, `auth_gss.h`, `cache.h`,
//! `net/sunrpc/auth_gss/svcauth_gss.c` (`struct rsc`), `include/linux/sunrpc/gss_krb5.h` (`struct krb5_ctx`).

use super::ciphers::Tfms;
use super::net::namespaces;
use super::walk::Walk;
use crate::kernel::{Error, Object, Scope};
use crate::units::VirtAddr;

/// The most clients, bits of a table's size, and entries of a bucket.
const MAX_CLIENTS: u64 = 1 << 20;
const MAX_BITS: u64 = 16;
const MAX_BUCKETS: u64 = 1 << 16;
const MAX_ENTRIES: u64 = 1 << 20;
/// Subsystems of a network namespace at most: each has a number.
const MAX_SUBSYSTEMS: u64 = 1 << 12;
/// How deep ciphers are inside a context.
const NESTING: u32 = 4;

/// Finds them.
pub(super) fn find(walk: &Walk<'_>) -> Result<(), Error> {
    let mut contexts = Vec::new();
    walk.with("sunrpc", |sunrpc| {
        walk.with("auth_rpcgss", |gss| {
            let number = walk.kernel().u32(sunrpc.symbol("sunrpc_net_id")?, "sunrpc_net_id")?;
            let scope = Scope::of(walk.kernel())?;
            for net in namespaces(walk, &scope)? {
                let of_net = subsystem(walk, &net, number.into())?;
                let of_net = sunrpc.object("sunrpc_net", of_net)?;
                of_clients(walk, sunrpc, gss, &of_net, &mut contexts)?;
                of_servers(walk, sunrpc, gss, &of_net, &mut contexts)?;
            }
            Ok(())
        })
    })?;
    let tfms = Tfms::of(walk)?;
    walk.with("rpcsec_gss_krb5", |scope| contexts.iter().try_for_each(|&at| context(walk, scope, &tfms, at)))
}

/// What a subsystem keeps of a network namespace.
fn subsystem(walk: &Walk<'_>, net: &Object<'_>, number: u64) -> Result<VirtAddr, Error> {
    const WHAT: &str = "subsystem of a network namespace";
    if number == 0 || number > MAX_SUBSYSTEMS {
        return Err(Error::Absurd { what: WHAT, value: number });
    }
    let all = walk.kernel().object("net_generic", VirtAddr(net.uint("gen")?))?;
    walk.pointer(all.address_of("ptr")?, number, WHAT)
}

/// Contexts of the credentials of every client that uses GSS.
fn of_clients(
    walk: &Walk<'_>,
    sunrpc: &Scope<'_>,
    gss: &Scope<'_>,
    net: &Object<'_>,
    contexts: &mut Vec<VirtAddr>,
) -> Result<(), Error> {
    let clients = sunrpc.linked("rpc_clnt", "cl_clients")?;
    let operations = gss.symbol("authgss_ops")?;
    for client in clients.on(net.address_of("all_clients")?, MAX_CLIENTS, "list of RPC's clients") {
        let auth = client?.uint("cl_auth")?;
        if auth == 0 {
            continue;
        }
        let auth = sunrpc.object("rpc_auth", VirtAddr(auth))?;
        let cache = auth.uint("au_credcache")?;
        if auth.uint("au_ops")? != operations.0 || cache == 0 {
            continue;
        }
        let cache = sunrpc.object("rpc_cred_cache", VirtAddr(cache))?;
        let bits = cache.uint("hashbits")? & 0xffff_ffff;
        if bits > MAX_BITS {
            return Err(Error::Absurd { what: "size of a table of credentials", value: bits });
        }
        let table = VirtAddr(cache.uint("hashtable")?);
        let back = sunrpc.offset_of("rpc_cred", "cr_hash")?;
        for node in chains(walk, table, 1 << bits)? {
            let credential = gss.object("gss_cred", VirtAddr(node.0.wrapping_sub(back)))?;
            let client = credential.uint("gc_ctx")?;
            if client != 0 {
                mechanism(gss, gss.object("gss_cl_ctx", VirtAddr(client))?.uint("gc_gss_ctx")?, contexts)?;
            }
        }
    }
    Ok(())
}

/// Contexts that a server has of its clients.
fn of_servers(
    walk: &Walk<'_>,
    sunrpc: &Scope<'_>,
    gss: &Scope<'_>,
    net: &Object<'_>,
    contexts: &mut Vec<VirtAddr>,
) -> Result<(), Error> {
    let cache = net.uint("rsc_cache")?;
    if cache == 0 {
        return Ok(());
    }
    let cache = sunrpc.object("cache_detail", VirtAddr(cache))?;
    let (table, count) = (VirtAddr(cache.uint("hash_table")?), cache.uint("hash_size")? & 0xffff_ffff);
    if count > MAX_BUCKETS {
        return Err(Error::Absurd { what: "size of a table of contexts", value: count });
    }
    let back = gss.offset_of("rsc", "h.cache_list")?;
    for node in chains(walk, table, if table.0 == 0 { 0 } else { count })? {
        mechanism(gss, gss.object("rsc", VirtAddr(node.0.wrapping_sub(back)))?.uint("mechctx")?, contexts)?;
    }
    Ok(())
}

/// Every node of a table of chains that end with null.
fn chains(walk: &Walk<'_>, table: VirtAddr, buckets: u64) -> Result<Vec<VirtAddr>, Error> {
    let mut nodes = Vec::new();
    for bucket in 0..buckets {
        nodes.extend(walk.chain(table.wrapping_add(bucket * 8), MAX_ENTRIES, "table of credentials")?);
    }
    Ok(nodes)
}

/// The mechanism's own context of a `struct gss_ctx`. Kerberos is the only mechanism that Linux has.
fn mechanism(gss: &Scope<'_>, at: u64, contexts: &mut Vec<VirtAddr>) -> Result<(), Error> {
    if at != 0 {
        let inner = gss.object("gss_ctx", VirtAddr(at))?.uint("internal_ctx_id")?;
        contexts.extend((inner != 0).then_some(VirtAddr(inner)));
    }
    Ok(())
}

fn context(walk: &Walk<'_>, scope: &Scope<'_>, tfms: &Tfms, at: VirtAddr) -> Result<(), Error> {
    let context = scope.object("krb5_ctx", at)?;
    walk.erase_member(&context, "Ksess", "krb5_ctx.Ksess")?;
    // Keys of each direction, in kernels before v6.3.
    for member in [
        "initiator_sign",
        "acceptor_sign",
        "initiator_seal",
        "acceptor_seal",
        "initiator_integ",
        "acceptor_integ",
    ] {
        if context.has(member) && context.size_of(member)? > 8 {
            walk.erase_member(&context, member, "krb5_ctx.key")?;
        }
    }
    tfms.erase_reachable(walk, at, context.size()?, "krb5_ctx.cipher", NESTING)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{A, B, C, D, E, F, Small, cipher, with_ciphers};
    use super::find;

    fn kerberos() -> Small {
        let mut small = Small::new();
        with_ciphers(&mut small);
        small.st("net_generic", 64, "ptr:u64*8@0");
        small.st("net", 64, "list:list_head@0 gen:u64@16");
        small.st("sunrpc_net", 64, "all_clients:list_head@0 rsc_cache:u64@16");
        small.st("rpc_clnt", 64, "cl_clients:list_head@0 cl_auth:u64@16");
        small.st("rpc_auth", 64, "au_ops:u64@0 au_credcache:u64@8");
        small.st("rpc_cred_cache", 16, "hashtable:u64@0 hashbits:u32@8");
        small.st("rpc_cred", 64, "cr_hash:u64*2@8");
        small.st("gss_cred", 96, "gc_base:rpc_cred@0 gc_ctx:u64@64");
        small.st("gss_cl_ctx", 32, "gc_gss_ctx:u64@8");
        small.st("gss_ctx", 32, "internal_ctx_id:u64@8");
        small.st("cache_head", 32, "cache_list:u64*2@0");
        small.st("cache_detail", 32, "hash_size:u32@8 hash_table:u64@16");
        small.st("rsc", 64, "h:cache_head@0 mechctx:u64@48");
        small.st("krb5_ctx", 96, "Ksess:u8*32@16 enc:u64@64");
        small.symbol("net_namespace_list", A);
        small.symbol("sunrpc_net_id", A + 0x100);
        small.symbol("authgss_ops", A + 0x200);
        small.words(A + 0x100, &[3]);
        small.list(A, &[B]);
        small.words(B + 16, &[B + 0x100]);
        small.words(B + 0x118, &[B + 0x200]);
        small.list(B + 0x200, &[B + 0x300]);
        small.words(B + 0x210, &[C]);
        small.words(B + 0x310, &[B + 0x400]);
        small.words(B + 0x400, &[A + 0x200, B + 0x500]);
        small.words(B + 0x500, &[B + 0x600, 1]);
        small.words(B + 0x600, &[0, B + 0x708]);
        small.zeros(B + 0x700, 96);
        small.words(B + 0x740, &[B + 0x800]);
        small.words(B + 0x808, &[B + 0x900]);
        small.words(B + 0x908, &[D]);
        // The server's.
        small.words(C + 8, &[1, C + 0x100]);
        small.words(C + 0x100, &[C + 0x200]);
        small.zeros(C + 0x200, 64);
        small.words(C + 0x230, &[C + 0x300]);
        small.words(C + 0x308, &[E]);
        small.zeros(D, 96);
        small.zeros(E, 96);
        small.words(D + 64, &[F + 0x1000]);
        cipher(&mut small, F + 0x1000);
        small
    }

    #[test]
    fn contexts_of_clients_and_servers_are_found() {
        assert_eq!(kerberos().find(find), Ok(vec![(D + 16, 32), (E + 16, 32), (F + 0x1000 + 56, 32)]));
    }

    #[test]
    fn broken_tables_stop_the_walk() {
        let mut small = kerberos();
        small.words(B + 0x508, &[40]);
        assert!(small.find(find).unwrap_err().contains("absurd"));
        let mut small = kerberos();
        small.words(B + 0x708, &[B + 0x708]);
        assert!(small.find(find).unwrap_err().contains("broken"));
        let mut small = kerberos();
        small.words(A + 0x100, &[1 << 20]);
        assert!(small.find(find).is_err());
    }
}
