//! Keys of the network: WireGuard, kernel TLS, IPsec. Those of MACsec are in cipher contexts alone.
//!
//! Source: Linux `drivers/net/wireguard` (`device.h`, `peer.h`, `noise.h`), `include/net/tls.h`, `include/net/xfrm.h`,
//! `include/net/inet_hashtables.h`.

use super::ciphers::Tfms;
use super::walk::Walk;
use crate::kernel::{Error, Object, Scope};
use crate::units::VirtAddr;
use std::collections::BTreeSet;

/// The most devices, peers of a device, associations, network namespaces, buckets and sockets.
const MAX_DEVICES: u64 = 1 << 16;
const MAX_PEERS: u64 = 1 << 20;
const MAX_STATES: u64 = 1 << 20;
const MAX_NAMESPACES: u64 = 1 << 20;
const MAX_BUCKETS: u64 = 1 << 24;
const MAX_SOCKETS: u64 = 1 << 26;
/// States of sockets that have no `struct inet_connection_sock`: `TCP_TIME_WAIT`, `TCP_NEW_SYN_RECV`. Source: Linux
/// `include/net/tcp_states.h`.
const SMALL: [u64; 2] = [6, 12];
/// Bytes of the text that names an upper-layer protocol.
const ULP_NAME: usize = 16;
/// How deep ciphers are inside the context of TLS.
const NESTING: u32 = 4;

/// Finds the keys of `WireGuard`.
pub(super) fn wireguard(walk: &Walk<'_>) -> Result<(), Error> {
    walk.with("wireguard", |scope| {
        let devices = scope.linked("wg_device", "device_list")?;
        for device in devices.on(scope.symbol("device_list")?, MAX_DEVICES, "list of WireGuard's devices") {
            let device = device?;
            walk.erase_member(&device, "static_identity.static_private", "wg_device.static_private")?;
            let peers = scope.linked("wg_peer", "peer_list")?;
            for peer in peers.on(device.address_of("peer_list")?, MAX_PEERS, "list of WireGuard's peers") {
                wireguard_peer(walk, &peer?)?;
            }
        }
        Ok(())
    })
}

fn wireguard_peer(walk: &Walk<'_>, peer: &Object<'_>) -> Result<(), Error> {
    for secret in ["ephemeral_private", "precomputed_static_static", "preshared_key", "hash", "chaining_key"]
    {
        walk.erase_member(peer, &format!("handshake.{secret}"), "wg_peer.handshake")?;
    }
    for pair in ["current_keypair", "previous_keypair", "next_keypair"] {
        if let Some(pair) = peer.follow(&format!("keypairs.{pair}"))? {
            walk.erase_member(&pair, "sending.key", "noise_keypair.key")?;
            walk.erase_member(&pair, "receiving.key", "noise_keypair.key")?;
        }
    }
    Ok(())
}

/// Finds the keys of IPsec: as user space gave them, in every network namespace. The ciphers' own are contexts.
pub(super) fn ipsec(walk: &Walk<'_>) -> Result<(), Error> {
    let kernel = walk.kernel();
    let scope = Scope::of(kernel)?;
    let states = scope.linked("xfrm_state", "km.all")?;
    for net in namespaces(walk, &scope)? {
        for state in states.on(net.address_of("xfrm.state_all")?, MAX_STATES, "list of IPsec's states") {
            let state = state?;
            for (member, structure, key) in [
                ("aalg", "xfrm_algo_auth", "alg_key"),
                ("ealg", "xfrm_algo", "alg_key"),
                ("aead", "xfrm_algo_aead", "alg_key"),
            ] {
                let Some(algorithm) = state.follow(member)? else { continue };
                let algorithm = scope.object(structure, algorithm.address())?;
                let len = (algorithm.uint("alg_key_len")? & 0xffff_ffff).div_ceil(8);
                walk.erase(algorithm.address_of(key)?, len, "xfrm_algo.alg_key")?;
            }
        }
    }
    Ok(())
}

/// The network namespaces.
pub(super) fn namespaces<'s>(walk: &Walk<'_>, scope: &Scope<'s>) -> Result<Vec<Object<'s>>, Error> {
    let linked = scope.linked("net", "list")?;
    let head = walk.kernel().symbol("net_namespace_list")?;
    linked.on(head, MAX_NAMESPACES, "list of network namespaces").collect()
}

/// Finds the keys of kernel TLS: of every TCP socket that is connected.
pub(super) fn ktls(walk: &Walk<'_>) -> Result<(), Error> {
    let kernel = walk.kernel();
    let scope = Scope::of(kernel)?;
    let mut tables = BTreeSet::from([kernel.symbol("tcp_hashinfo")?.0]);
    for net in namespaces(walk, &scope)? {
        // Of their own since commit d1e5e6408b30 ("tcp: Introduce optional per-netns ehash.") (in v6.1).
        if net.has("ipv4.tcp_death_row.hashinfo") {
            tables.insert(net.uint("ipv4.tcp_death_row.hashinfo")?);
        }
    }
    tables.remove(&0);
    let tfms = Tfms::of(walk)?;
    for table in tables {
        let table = scope.object("inet_hashinfo", VirtAddr(table))?;
        for socket in sockets(walk, &scope, &table)? {
            tls_socket(walk, &tfms, VirtAddr(socket))?;
        }
    }
    Ok(())
}

/// Addresses of the sockets of a table: chains that end with an odd number.
fn sockets(walk: &Walk<'_>, scope: &Scope<'_>, table: &Object<'_>) -> Result<Vec<u64>, Error> {
    const WHAT: &str = "table of connections";
    let kernel = walk.kernel();
    let (buckets, mask) = (VirtAddr(table.uint("ehash")?), table.uint("ehash_mask")? & 0xffff_ffff);
    let size = scope.size_of("inet_ehash_bucket")?;
    let node_at = scope.offset_of("sock_common", "skc_nulls_node")?;
    if mask >= MAX_BUCKETS {
        return Err(Error::Absurd { what: "number of connections' buckets", value: mask });
    }
    let mut found = Vec::new();
    for bucket in 0..=mask {
        let mut node = kernel.u64(buckets.wrapping_add(bucket * size), WHAT)?;
        let mut seen = BTreeSet::new();
        while node & 1 == 0 {
            if node == 0 || !seen.insert(node) || found.len() as u64 > MAX_SOCKETS {
                return Err(Error::Endless(WHAT));
            }
            found.push(node.wrapping_sub(node_at));
            node = kernel.u64(VirtAddr(node), WHAT)?;
        }
    }
    Ok(found)
}

fn tls_socket(walk: &Walk<'_>, tfms: &Tfms, at: VirtAddr) -> Result<(), Error> {
    let kernel = walk.kernel();
    let state = kernel.object("sock_common", at)?.uint("skc_state")?;
    if SMALL.contains(&(state & 0xff)) {
        return Ok(());
    }
    let socket = kernel.object("inet_connection_sock", at)?;
    let operations = socket.uint("icsk_ulp_ops")?;
    if operations == 0 {
        return Ok(());
    }
    let name = kernel.object("tcp_ulp_ops", VirtAddr(operations))?.text("name")?;
    let data = VirtAddr(socket.uint("icsk_ulp_data")?);
    if !name.starts_with(b"tls") || name.len() > ULP_NAME || data.0 == 0 {
        return Ok(());
    }
    walk.with("tls", |scope| {
        let context = scope.object("tls_context", data)?;
        for member in ["crypto_send", "crypto_recv"] {
            walk.erase_member(&context, member, "tls_context.crypto")?;
        }
        for (member, structure) in
            [("priv_ctx_tx", "tls_sw_context_tx"), ("priv_ctx_rx", "tls_sw_context_rx")]
        {
            let private = VirtAddr(context.uint(member)?);
            if private.0 != 0 {
                let len = scope.size_of(structure)?;
                tfms.erase_reachable(walk, private, len, "tls_context.aead", NESTING)?;
            }
        }
        Ok(())
    })
}

/// Bytes that what a driver keeps of a device is aligned to. Source: Linux `include/linux/netdevice.h`, `NETDEV_ALIGN`.
const PRIVATE_ALIGN: u64 = 32;
/// Associations of a channel. Source: Linux `include/uapi/linux/if_macsec.h`, `MACSEC_NUM_AN`.
const ASSOCIATIONS: u64 = 4;

/// Finds the keys of `MACsec`: of every association of every device. They are in cipher contexts.
pub(super) fn macsec(walk: &Walk<'_>) -> Result<(), Error> {
    let kernel = walk.kernel();
    let scope = Scope::of(kernel)?;
    let tfms = Tfms::of(walk)?;
    let devices = scope.linked("net_device", "dev_list")?;
    for net in namespaces(walk, &scope)? {
        for device in devices.on(net.address_of("dev_base_head")?, MAX_DEVICES, "list of network devices") {
            let device = device?;
            let Some(operations) = device.follow("rtnl_link_ops")? else { continue };
            let kind = VirtAddr(scope.object("rtnl_link_ops", operations.address())?.uint("kind")?);
            if kernel.text(kind, ULP_NAME, "the kind of a network device")? == b"macsec" {
                let size = device.size()?.next_multiple_of(PRIVATE_ALIGN);
                macsec_device(walk, &tfms, device.address().wrapping_add(size))?;
            }
        }
    }
    Ok(())
}

fn macsec_device(walk: &Walk<'_>, tfms: &Tfms, at: VirtAddr) -> Result<(), Error> {
    walk.with("macsec", |scope| {
        let device = scope.object("macsec_dev", at)?;
        macsec_keys(walk, scope, tfms, device.address_of("secy.tx_sc.sa")?, "macsec_tx_sa")?;
        let (mut channel, mut count) = (device.uint("secy.rx_sc")?, 0);
        while channel != 0 {
            let object = scope.object("macsec_rx_sc", VirtAddr(channel))?;
            macsec_keys(walk, scope, tfms, object.address_of("sa")?, "macsec_rx_sa")?;
            channel = object.uint("next")?;
            count += 1;
            if count > MAX_STATES {
                return Err(Error::Endless("list of MACsec's channels"));
            }
        }
        Ok(())
    })
}

fn macsec_keys(
    walk: &Walk<'_>,
    scope: &Scope<'_>,
    tfms: &Tfms,
    associations: VirtAddr,
    structure: &str,
) -> Result<(), Error> {
    for nth in 0..ASSOCIATIONS {
        let at = walk.pointer(associations, nth, "associations of MACsec")?;
        if at.0 == 0 {
            continue;
        }
        let tfm = VirtAddr(scope.object(structure, at)?.uint("key.tfm")?);
        if tfm.0 != 0 && !tfms.erase(walk, tfm, "macsec_key.tfm")? {
            return Err(Error::Unknown("what should be a cipher of MACsec is not one".into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
