//! Passwords and keys of servers in the kernel: of SMB (ksmbd), iSCSI and `NVMe`.
//!
//! Source: Linux `fs/smb/server/mgmt/user_session.h`, `fs/smb/server/mgmt/user_config.h`;
//! `include/target/iscsi/iscsi_target_core.h`; `drivers/nvme/target/nvmet.h`, `include/linux/configfs.h`.

use super::walk::Walk;
use super::xarray;
use crate::kernel::{Error, Object, Scope};
use crate::units::VirtAddr;

/// The most buckets of sessions, sessions of one, channels of a session, and targets, groups and hosts.
const MAX_BUCKETS: u64 = 1 << 16;
const MAX_SESSIONS: u64 = 1 << 20;
const MAX_CHANNELS: usize = 1 << 12;
const MAX_TARGETS: u64 = 1 << 20;
/// The most queues of a controller. Source: Linux `drivers/nvme/target/nvmet.h`, `NVMET_NR_QUEUES`: 128.
const MAX_QUEUES: u64 = 1 << 12;
/// Bytes of the longest password or key.
const MAX_KEY: u64 = 4096;

/// Finds the users' keys and those of every session of ksmbd.
pub(super) fn ksmbd(walk: &Walk<'_>) -> Result<(), Error> {
    const WHAT: &str = "table of ksmbd's sessions";
    walk.with("ksmbd", |scope| {
        let table = scope.symbol("sessions_table")?;
        let symbols = match walk.module("ksmbd")? {
            Some(module) => walk.kernel().module_symbols(module)?,
            None => walk.kernel().symbols()?,
        };
        // What is between the table and the next variable is zero, as an empty bucket is.
        let end = symbols.end(table).ok_or_else(|| Error::Unknown(format!("the {WHAT} has no end")))?;
        let buckets = end.0.saturating_sub(table.0) / 8;
        if !(1..=MAX_BUCKETS).contains(&buckets) {
            return Err(Error::Absurd { what: WHAT, value: buckets });
        }
        let sessions = scope.linked("ksmbd_session", "hlist")?;
        for bucket in 0..buckets {
            for node in walk.chain(table.wrapping_add(bucket * 8), MAX_SESSIONS, WHAT)? {
                ksmbd_session(walk, scope, &sessions.of(node))?;
            }
        }
        Ok(())
    })
}

fn ksmbd_session(walk: &Walk<'_>, scope: &Scope<'_>, session: &Object<'_>) -> Result<(), Error> {
    const WHAT: &str = "ksmbd_session.keys";
    for member in ["sess_key", "smb3encryptionkey", "smb3decryptionkey", "smb3signingkey"] {
        walk.erase_member(session, member, WHAT)?;
    }
    if let Some(user) = session.follow("user")? {
        let len = user.uint("passkey_sz")?;
        if len > MAX_KEY {
            return Err(Error::Absurd { what: "length of a user's key", value: len });
        }
        walk.erase_target(&user, "passkey", len, "ksmbd_user.passkey")?;
    }
    // An array by the address of a connection since v5.17, a list before.
    let head = session.part("ksmbd_chann_list")?;
    if !head.has("xa_head") {
        return Err(Error::Unknown("the channels of a session of ksmbd are not known".into()));
    }
    for channel in xarray::pointers(walk, head.uint("xa_head")?, MAX_CHANNELS, "channels of a session")? {
        walk.erase_member(&scope.object("channel", channel)?, "smb3signingkey", "channel.smb3signingkey")?;
    }
    Ok(())
}

/// Finds the passwords of the iSCSI target: of every group of portals, every initiator, and of discovery.
pub(super) fn iscsi(walk: &Walk<'_>) -> Result<(), Error> {
    walk.with("iscsi_target_mod", |scope| {
        let targets = scope.linked("iscsi_tiqn", "tiqn_list")?;
        let groups = scope.linked("iscsi_portal_group", "tpg_list")?;
        let initiators = scope.linked("iscsi_node_acl", "se_node_acl.acl_list")?;
        for target in targets.on(scope.symbol("g_tiqn_list")?, MAX_TARGETS, "list of iSCSI targets") {
            let head = target?.address_of("tiqn_tpg_list")?;
            for group in groups.on(head, MAX_TARGETS, "list of an iSCSI target's groups") {
                let group = group?;
                iscsi_passwords(walk, &group.part("tpg_demo_auth")?)?;
                let head = group.address_of("tpg_se_tpg.acl_node_list")?;
                for initiator in initiators.on(head, MAX_TARGETS, "list of iSCSI initiators") {
                    iscsi_passwords(walk, &initiator?.part("node_auth")?)?;
                }
            }
        }
        let global = walk.kernel().u64(scope.symbol("iscsit_global")?, "iscsit_global")?;
        if global == 0 {
            return Ok(());
        }
        let global = scope.object("iscsit_global", VirtAddr(global))?;
        iscsi_passwords(walk, &global.part("discovery_acl.node_auth")?)
    })
}

fn iscsi_passwords(walk: &Walk<'_>, auth: &Object<'_>) -> Result<(), Error> {
    for member in ["password", "password_mutual"] {
        walk.erase_member(auth, member, "iscsi_node_auth.password")?;
    }
    Ok(())
}

/// A function of an `NVMe` target whose hosts prove who they are. Since commit db1312dd9548 ("nvmet: implement basic In-Band
/// Authentication") (in v6.0).
const NVMET_AUTH: &str = "nvmet_setup_auth";

/// Finds the keys of the `NVMe` target: those of hosts that may connect, of controllers and of their queues.
pub(super) fn nvmet(walk: &Walk<'_>) -> Result<(), Error> {
    walk.with("nvmet", |scope| {
        for host in children(scope, "nvmet_hosts_group", "nvmet_host")? {
            if Walk::expects(scope, &host, "dhchap_secret", NVMET_AUTH) {
                walk.erase_text(&host, "dhchap_secret", "nvmet_host.secret")?;
                walk.erase_text(&host, "dhchap_ctrl_secret", "nvmet_host.secret")?;
            }
        }
        let mut subsystems = children(scope, "nvmet_subsystems_group", "nvmet_subsys")?;
        let discovery = walk.kernel().u64(scope.symbol("nvmet_disc_subsys")?, "nvmet_disc_subsys")?;
        if discovery != 0 {
            subsystems.push(scope.object("nvmet_subsys", VirtAddr(discovery))?);
        }
        let controllers = scope.linked("nvmet_ctrl", "subsys_entry")?;
        for subsystem in subsystems {
            let queues = subsystem.uint("max_qid")? & 0xffff;
            let head = subsystem.address_of("ctrls")?;
            for controller in controllers.on(head, MAX_TARGETS, "list of an NVMe target's controllers") {
                nvmet_controller(walk, scope, &controller?, queues + 1)?;
            }
        }
        Ok(())
    })
}

/// What is in a directory of configfs.
fn children<'s>(scope: &Scope<'s>, group: &str, structure: &str) -> Result<Vec<Object<'s>>, Error> {
    let head = scope.symbol(group)?.wrapping_add(scope.offset_of("config_group", "cg_children")?);
    let linked = scope.linked(structure, "group.cg_item.ci_entry")?;
    linked.on(head, MAX_TARGETS, "directory of configfs").collect()
}

fn nvmet_controller(
    walk: &Walk<'_>,
    scope: &Scope<'_>,
    controller: &Object<'_>,
    queues: u64,
) -> Result<(), Error> {
    if !Walk::expects(scope, controller, "host_key", NVMET_AUTH) {
        return Ok(());
    }
    for member in ["host_key", "ctrl_key"] {
        let at = VirtAddr(controller.uint(member)?);
        if at.0 != 0 {
            let key = scope.object("nvme_dhchap_key", at)?;
            walk.erase(key.address_of("key")?, key.uint("len")?, "nvme_dhchap_key.key")?;
        }
    }
    walk.erase_target(controller, "dh_key", controller.uint("dh_keysize")?, "nvmet_ctrl.dh_key")?;
    if queues > MAX_QUEUES {
        return Err(Error::Absurd { what: "number of a controller's queues", value: queues });
    }
    let list = VirtAddr(controller.uint("sqs")?);
    for nth in 0..if list.0 == 0 { 0 } else { queues } {
        let at = walk.pointer(list, nth, "queues of a controller")?;
        if at.0 != 0 {
            let queue = scope.object("nvmet_sq", at)?;
            let len = queue.uint("dhchap_skey_len")? & 0xffff_ffff;
            walk.erase_target(&queue, "dhchap_skey", len, "nvmet_sq.dhchap_skey")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
