//! Keys of file systems and storage over the network: fscrypt, CIFS, iSCSI, `NVMe`, Kerberos for NFS.
//!
//! Source: Linux `fs/crypto/fscrypt_private.h`, `fs/smb/client/cifsglob.h`, `include/scsi/libiscsi.h`,
//! `drivers/nvme/host/nvme.h`.

use super::targets;
use super::walk::Walk;
use crate::kernel::{Error, Object, Scope};
use crate::units::VirtAddr;

/// The most file systems, keys of one, servers, sessions and controllers.
const MAX_MOUNTS: u64 = 1 << 20;
const MAX_KEYS: u64 = 1 << 20;
const MAX_SESSIONS: u64 = 1 << 20;
/// Bytes of the largest answer that a session's key is in.
const MAX_RESPONSE: u64 = 1 << 16;
/// The most connections of a session. Source: Linux `fs/smb/client/cifsglob.h`, `CIFS_MAX_CHANNELS`.
const MAX_CHANNELS: u64 = 16;
/// Transports whose sessions are libiscsi's.
const LIBISCSI: [&[u8]; 7] = [b"tcp", b"iser", b"bnx2i", b"cxgb3i", b"cxgb4i", b"be2iscsi", b"qedi"];

/// Finds the master keys of fscrypt: of every file system that has some. Keys derived from them are in cipher contexts.
pub(super) fn fscrypt(walk: &Walk<'_>) -> Result<(), Error> {
    let kernel = walk.kernel();
    let scope = Scope::of(kernel)?;
    let mounts = scope.linked("super_block", "s_list")?;
    let keys = scope.linked("fscrypt_master_key", "mk_node")?;
    for mount in mounts.on(kernel.symbol("super_blocks")?, MAX_MOUNTS, "list of file systems") {
        let at = mount?.uint("s_master_keys")?;
        if at == 0 {
            continue;
        }
        // A keyring before commit d7e7b9af104c ("fscrypt: stop using keyrings subsystem for fscrypt_master_key") (in v6.2).
        let ring = scope.object("fscrypt_keyring", VirtAddr(at))?;
        let table = ring.address_of("key_hashtable")?;
        for bucket in 0..ring.size_of("key_hashtable")? / 8 {
            let bucket = table.wrapping_add(bucket * 8);
            for node in walk.chain(bucket, MAX_KEYS, "list of a file system's keys")? {
                walk.erase_member(&keys.of(node), "mk_secret", "fscrypt_master_key.mk_secret")?;
            }
        }
    }
    Ok(())
}

/// Finds the passwords and keys of CIFS: of every session with every server, and of the server in the kernel.
pub(super) fn cifs(walk: &Walk<'_>) -> Result<(), Error> {
    if walk.is_there("ksmbd", "ksmbd_conn_alloc")? {
        targets::ksmbd(walk)?;
    }
    if walk.is_there("cifs", "cifs_mount")? { cifs_client(walk) } else { Ok(()) }
}

fn cifs_client(walk: &Walk<'_>) -> Result<(), Error> {
    walk.with("cifs", |scope| {
        let servers = scope.linked("TCP_Server_Info", "tcp_ses_list")?;
        let sessions = scope.linked("cifs_ses", "smb_ses_list")?;
        for server in servers.on(scope.symbol("cifs_tcp_ses_list")?, MAX_SESSIONS, "list of CIFS' servers") {
            let server = server?;
            response(walk, &server, "session_key")?;
            for session in
                sessions.on(server.address_of("smb_ses_list")?, MAX_SESSIONS, "list of CIFS' sessions")
            {
                cifs_session(walk, &session?)?;
            }
        }
        Ok(())
    })
}

fn cifs_session(walk: &Walk<'_>, session: &Object<'_>) -> Result<(), Error> {
    const WHAT: &str = "cifs_ses.keys";
    walk.erase_text(session, "password", "cifs_ses.password")?;
    if session.has("password2") {
        walk.erase_text(session, "password2", "cifs_ses.password")?;
    }
    response(walk, session, "auth_key")?;
    for member in ["smb3signingkey", "smb3encryptionkey", "smb3decryptionkey"] {
        walk.erase_member(session, member, WHAT)?;
    }
    for nth in 0..MAX_CHANNELS {
        match session.element("chans", nth)? {
            Some(channel) => walk.erase_member(&channel, "signkey", WHAT)?,
            None => break,
        }
    }
    Ok(())
}

/// A `struct session_key`: a length, and a pointer.
fn response(walk: &Walk<'_>, of: &Object<'_>, member: &str) -> Result<(), Error> {
    let len = of.uint(&format!("{member}.len"))? & 0xffff_ffff;
    if len > MAX_RESPONSE {
        return Err(Error::Absurd { what: "length of a session's key", value: len });
    }
    walk.erase_target(of, &format!("{member}.response"), len, "session_key.response")
}

/// Finds the passwords of iSCSI: of every session, and of the target in the kernel.
pub(super) fn iscsi(walk: &Walk<'_>) -> Result<(), Error> {
    if walk.is_there("iscsi_target_mod", "iscsit_add_np")? {
        targets::iscsi(walk)?;
    }
    let is_client = walk.is_there("libiscsi", "iscsi_session_setup")? || walk.module("qla4xxx")?.is_some();
    if is_client { iscsi_client(walk) } else { Ok(()) }
}

fn iscsi_client(walk: &Walk<'_>) -> Result<(), Error> {
    let mut sessions = Vec::new();
    walk.with("scsi_transport_iscsi", |scope| {
        let linked = scope.linked("iscsi_cls_session", "sess_list")?;
        for session in linked.on(scope.symbol("sesslist")?, MAX_SESSIONS, "list of iSCSI's sessions") {
            let session = session?;
            let transport = VirtAddr(session.uint("transport")?);
            let name = VirtAddr(scope.object("iscsi_transport", transport)?.uint("name")?);
            let name = walk.kernel().text(name, 32, "the name of a transport")?;
            if !LIBISCSI.contains(&name.as_slice()) {
                return Err(Error::Unknown(format!(
                    "the sessions of {:?} are not known",
                    String::from_utf8_lossy(&name)
                )));
            }
            sessions.push(VirtAddr(session.uint("dd_data")?));
        }
        Ok(())
    })?;
    walk.with("libiscsi", |scope| {
        for at in &sessions {
            let session = scope.object("iscsi_session", *at)?;
            for member in ["password", "password_in"] {
                walk.erase_text(&session, member, "iscsi_session.password")?;
            }
        }
        Ok(())
    })
}

/// Finds the keys with which `NVMe` hosts and controllers prove who they are.
pub(super) fn nvme(walk: &Walk<'_>) -> Result<(), Error> {
    if walk.is_there("nvmet", "nvmet_register_transport")? {
        targets::nvmet(walk)?;
    }
    if walk.is_there("nvme_core", "nvme_init_ctrl")? { nvme_host(walk) } else { Ok(()) }
}

fn nvme_host(walk: &Walk<'_>) -> Result<(), Error> {
    walk.with("nvme_core", |scope| {
        let subsystems = scope.linked("nvme_subsystem", "entry")?;
        let controllers = scope.linked("nvme_ctrl", "subsys_entry")?;
        for subsystem in
            subsystems.on(scope.symbol("nvme_subsystems")?, MAX_SESSIONS, "list of NVMe's subsystems")
        {
            let head = subsystem?.address_of("ctrls")?;
            for controller in controllers.on(head, MAX_SESSIONS, "list of NVMe's controllers") {
                nvme_controller(walk, scope, &controller?)?;
            }
        }
        Ok(())
    })
}

/// A function of `NVMe` hosts that prove who they are. Since commit f50fff73d620 ("nvme: implement In-Band authentication")
/// (in v6.0).
const NVME_AUTH: &str = "nvme_auth_init_ctrl";

fn nvme_controller(walk: &Walk<'_>, scope: &Scope<'_>, controller: &Object<'_>) -> Result<(), Error> {
    for member in ["host_key", "ctrl_key"] {
        if !Walk::expects(scope, controller, member, NVME_AUTH) {
            continue;
        }
        let Some(key) = controller.follow(member)? else { continue };
        let key = scope.object("nvme_dhchap_key", key.address())?;
        walk.erase(key.address_of("key")?, key.uint("len")?, "nvme_dhchap_key.key")?;
    }
    if controller.has("opts") && controller.uint("opts")? != 0 {
        let options = scope.object("nvmf_ctrl_options", VirtAddr(controller.uint("opts")?))?;
        for member in ["dhchap_secret", "dhchap_ctrl_secret"] {
            if Walk::expects(scope, &options, member, NVME_AUTH) {
                walk.erase_text(&options, member, "nvmf_ctrl_options.secret")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
