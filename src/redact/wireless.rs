//! Keys of Wi-Fi and Bluetooth. Those of Wi-Fi are mac80211's, for drivers that leave the protocol to it; a driver that
//! keeps keys to itself stops the hand-over.
//!
//! Source: Linux `net/mac80211/key.h`, `net/mac80211/ieee80211_i.h`, `net/wireless/core.h`, `include/net/cfg80211.h`;
//! `include/net/bluetooth/hci_core.h`, `net/bluetooth/smp.c`.

use super::ciphers::Tfms;
use super::walk::Walk;
use crate::kernel::{Error, Object, Scope};
use crate::units::VirtAddr;

/// The most devices, interfaces of one, keys of an interface, and connections of a device.
const MAX_DEVICES: u64 = 1 << 12;
const MAX_INTERFACES: u64 = 1 << 12;
const MAX_KEYS: u64 = 1 << 20;
const MAX_CONNECTIONS: u64 = 1 << 16;
/// How deep ciphers are inside the state of a key.
const NESTING: u32 = 4;
/// The cipher whose state has keys of its own. Source: Linux `include/linux/ieee80211.h`, `WLAN_CIPHER_SUITE_TKIP`.
const TKIP: u64 = 0x000f_ac02;
/// Bytes of a link key.
const LINK_KEY: u64 = 16;

/// Finds the keys of both.
pub(super) fn find(walk: &Walk<'_>) -> Result<(), Error> {
    if walk.is_there("cfg80211", "cfg80211_init")? {
        wifi(walk)?;
    }
    if walk.is_there("bluetooth", "hci_register_dev")? {
        bluetooth(walk)?;
    }
    Ok(())
}

/// Keys that wait for a connection, and those of every device.
fn wifi(walk: &Walk<'_>) -> Result<(), Error> {
    let mut locals = Vec::new();
    walk.with("cfg80211", |scope| {
        let devices = scope.linked("cfg80211_registered_device", "list")?;
        let interfaces = scope.linked("wireless_dev", "list")?;
        let list = scope.symbol("cfg80211_rdev_list")?;
        for device in devices.on(list, MAX_DEVICES, "list of Wi-Fi devices") {
            let device = device?;
            let head = device.address_of("wiphy.wdev_list")?;
            for interface in interfaces.on(head, MAX_INTERFACES, "list of Wi-Fi interfaces") {
                waiting(walk, scope, &interface?)?;
            }
            // mac80211's own data follow.
            locals.push((device.uint("ops")?, device.address_of("wiphy.priv")?));
        }
        Ok(())
    })?;
    if locals.is_empty() {
        return Ok(());
    }
    let tfms = Tfms::of(walk)?;
    if !walk.is_there("mac80211", "ieee80211_register_hw")? {
        return Err(foreign());
    }
    walk.with("mac80211", |scope| {
        let ours = scope.symbol("mac80211_config_ops")?.0;
        for (operations, local) in &locals {
            if *operations != ours {
                return Err(foreign());
            }
            of_device(walk, scope, &tfms, &scope.object("ieee80211_local", *local)?)?;
        }
        Ok(())
    })
}

fn foreign() -> Error {
    Error::Unknown("a Wi-Fi driver does without mac80211, and where it keeps keys is not known".into())
}

/// Keys of WEP that a connection is to be made with.
fn waiting(walk: &Walk<'_>, scope: &Scope<'_>, interface: &Object<'_>) -> Result<(), Error> {
    for member in ["connect_keys", "wext.keys"] {
        // The second one is for an older interface, which need not be there.
        if !interface.has(member) {
            continue;
        }
        let at = VirtAddr(interface.uint(member)?);
        if at.0 != 0 {
            let keys = scope.object("cfg80211_cached_keys", at)?;
            walk.erase_member(&keys, "data", "cfg80211_cached_keys.data")?;
        }
    }
    Ok(())
}

/// The list of an interface has the keys of its stations, too.
fn of_device(walk: &Walk<'_>, scope: &Scope<'_>, tfms: &Tfms, local: &Object<'_>) -> Result<(), Error> {
    let interfaces = scope.linked("ieee80211_sub_if_data", "list")?;
    let keys = scope.linked("ieee80211_key", "list")?;
    let head = local.address_of("interfaces")?;
    for interface in interfaces.on(head, MAX_INTERFACES, "list of mac80211's interfaces") {
        for key in keys.on(interface?.address_of("key_list")?, MAX_KEYS, "list of mac80211's keys") {
            let key = key?;
            let len = key.uint("conf.keylen")? & 0xff;
            walk.erase(key.address_of("conf.key")?, len, "ieee80211_key.conf")?;
            let (state, bytes) = (key.address_of("u")?, key.size_of("u")?);
            tfms.erase_reachable(walk, state, bytes, "ieee80211_key.tfm", NESTING)?;
            if key.uint("conf.cipher")? & 0xffff_ffff == TKIP {
                walk.erase_around(state, bytes, "ieee80211_key.tkip")?;
            }
        }
    }
    Ok(())
}

/// Keys of devices that were paired with, and those of pairings under way.
fn bluetooth(walk: &Walk<'_>) -> Result<(), Error> {
    let tfms = Tfms::of(walk)?;
    walk.with("bluetooth", |scope| {
        let devices = scope.linked("hci_dev", "list")?;
        for device in devices.on(scope.symbol("hci_dev_list")?, MAX_DEVICES, "list of Bluetooth's devices") {
            let device = device?;
            stored(walk, scope, &device)?;
            for member in ["smp_data", "smp_bredr_data"] {
                own_pairing(walk, scope, &tfms, VirtAddr(device.uint(member)?))?;
            }
            let connections = scope.linked("hci_conn", "list")?;
            let head = device.address_of("conn_hash.list")?;
            for connection in connections.on(head, MAX_CONNECTIONS, "list of Bluetooth's connections") {
                pairing(walk, scope, &tfms, VirtAddr(connection?.uint("l2cap_data")?))?;
            }
        }
        Ok(())
    })
}

fn stored(walk: &Walk<'_>, scope: &Scope<'_>, device: &Object<'_>) -> Result<(), Error> {
    for (list, structure, members) in [
        ("link_keys", "link_key", &["val"][..]),
        ("long_term_keys", "smp_ltk", &["val"]),
        ("identity_resolving_keys", "smp_irk", &["val"]),
        ("remote_oob_data", "oob_data", &["rand192", "rand256"]),
    ] {
        let linked = scope.linked(structure, "list")?;
        for key in linked.on(device.address_of(list)?, MAX_KEYS, "list of Bluetooth's keys") {
            let key = key?;
            for member in members {
                walk.erase_member(&key, member, "hci_dev.keys")?;
            }
        }
    }
    // The device's own, where it hides its address.
    walk.erase_member(device, "irk", "hci_dev.irk")
}

/// What a channel's owner keeps; nothing where there is no channel.
fn data_of(scope: &Scope<'_>, channel: VirtAddr) -> Result<VirtAddr, Error> {
    match channel.0 {
        0 => Ok(VirtAddr(0)),
        _ => Ok(VirtAddr(scope.object("l2cap_chan", channel)?.uint("data")?)),
    }
}

/// The device's own half of pairings: its random number, and its private key, which is in a context.
fn own_pairing(walk: &Walk<'_>, scope: &Scope<'_>, tfms: &Tfms, channel: VirtAddr) -> Result<(), Error> {
    let at = data_of(scope, channel)?;
    if at.0 == 0 {
        return Ok(());
    }
    let own = scope.object("smp_dev", at)?;
    walk.erase_member(&own, "local_rand", "smp_dev.local_rand")?;
    tfms.erase_reachable(walk, at, own.size()?, "smp_dev.tfm", NESTING)
}

/// The pairing of a connection, given by its `struct l2cap_conn`.
fn pairing(walk: &Walk<'_>, scope: &Scope<'_>, tfms: &Tfms, connection: VirtAddr) -> Result<(), Error> {
    if connection.0 == 0 {
        return Ok(());
    }
    let channel = VirtAddr(scope.object("l2cap_conn", connection)?.uint("smp")?);
    let at = data_of(scope, channel)?;
    if at.0 == 0 {
        return Ok(());
    }
    let pairing = scope.object("smp_chan", at)?;
    for member in ["prnd", "tk", "irk", "dhkey", "mackey"] {
        walk.erase_member(&pairing, member, "smp_chan.keys")?;
    }
    // Names before and after v5.11.
    for member in ["csrk", "responder_csrk", "slave_csrk", "ltk", "responder_ltk", "slave_ltk", "remote_irk"]
    {
        if !pairing.has(member) {
            continue;
        }
        if let Some(key) = pairing.follow(member)? {
            walk.erase_member(&key, "val", "smp_chan.keys")?;
        }
    }
    walk.erase_target(&pairing, "link_key", LINK_KEY, "smp_chan.keys")?;
    tfms.erase_reachable(walk, at, pairing.size()?, "smp_chan.tfm", NESTING)
}

#[cfg(test)]
mod tests;
