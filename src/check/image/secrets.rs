//! Private keys in the image. The capture kernel needs none but that of ssh, where the dump goes to a server: such a key is
//! there by design, and opens dumps where its public half is among the recipients.

use super::super::findings::Findings;
use super::CHECK;
use super::compare::{MAX_FINDINGS, View};
use crate::crypt::{Recipient, RecipientKind, Recipients};
use crate::image::Member;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// How OpenSSH's own form begins, as bytes. Source: OpenSSH `PROTOCOL.key`.
const OPENSSH: &[u8] = b"openssh-key-v1\0";
const HINT: &str = "take it off this machine, then rearm";

/// Checks every file that holds a private key.
pub(super) fn check(view: &View<'_>, recipients: Option<&Recipients>, findings: &mut Findings) {
    let identities = view.tree.iter().filter(|(_, member)| member.has_identity);
    for (path, _) in identities.take(MAX_FINDINGS) {
        findings.problem(CHECK, format!("a private key is in it: {}", String::from_utf8_lossy(path)), HINT);
    }
    let keys = view.tree.iter().filter(|(_, member)| member.has_private_key && !member.has_identity);
    for (path, member) in keys.take(MAX_FINDINGS) {
        let path = String::from_utf8_lossy(path);
        match opens(member, recipients) {
            Opens::Dumps(recipient) => {
                let text = format!(
                    "{path} in it is the private key of a recipient and opens the dumps: {recipient}"
                );
                findings.problem(CHECK, text, "use a recipient whose key is on no machine that crashes");
            }
            Opens::Unknown if is_of_ssh(&path) => {
                let text = format!(
                    "{path} in it is a private key of unknown form, and ssh keys are among the recipients"
                );
                findings.warning(CHECK, text, "see to it that its public half is no recipient");
            }
            Opens::Nothing if is_of_ssh(&path) => {
                let text = format!("it holds the ssh key {path}: whoever reads the image can use it");
                findings.ok(CHECK, text);
            }
            Opens::Unknown | Opens::Nothing => {
                findings.problem(CHECK, format!("a private key is in it: {path}"), HINT);
            }
        }
    }
}

/// Whether kdump scripts put ssh keys to such a path: those of a user, named by `sshkey` of kdump.conf,
/// `KDUMP_SSH_IDENTITY` or `SSH_KEY`, and those of the server in the image.
fn is_of_ssh(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    path.split('/').any(|part| part == ".ssh")
        || (path.contains("etc/ssh/") && name.starts_with("ssh_host_") && name.ends_with("_key"))
        || name.starts_with("kdump_id_")
}

/// What a private key opens.
enum Opens {
    /// The dumps: it is this recipient's.
    Dumps(String),
    /// No dump.
    Nothing,
    /// Perhaps dumps: its public half is not in plain beside it.
    Unknown,
}

fn opens(member: &Member, recipients: Option<&Recipients>) -> Opens {
    let is_ssh = |one: &&Recipient| matches!(one.kind(), RecipientKind::SshEd25519 | RecipientKind::SshRsa);
    let of_ssh: Vec<String> =
        recipients.into_iter().flat_map(Recipients::iter).filter(is_ssh).map(ToString::to_string).collect();
    if of_ssh.is_empty() {
        return Opens::Nothing;
    }
    let Some(public) = member.content.as_deref().and_then(public_half) else { return Opens::Unknown };
    let public = BASE64_STANDARD.encode(public);
    let is_its = |text: &&String| text.split_ascii_whitespace().nth(1) == Some(public.as_str());
    of_ssh.iter().find(is_its).map_or(Opens::Nothing, |text| Opens::Dumps(text.clone()))
}

/// The public half that OpenSSH keeps in plain before the private one, locked or not.
fn public_half(file: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(file).ok()?;
    let (_, rest) = text.split_once("-----BEGIN OPENSSH PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END")?;
    let body: String = body.split_ascii_whitespace().collect();
    let bytes = BASE64_STANDARD.decode(body).ok()?;
    let mut rest = bytes.strip_prefix(OPENSSH)?;
    // Cipher, key derivation, its options.
    for _ in 0..3 {
        take_string(&mut rest)?;
    }
    // How many keys; there is one.
    rest = rest.get(4..)?;
    take_string(&mut rest).map(<[u8]>::to_vec)
}

/// A string of RFC 4251: its length (u32, big endian), its bytes.
fn take_string<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = from.split_first_chunk()?;
    let (string, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *from = rest;
    Some(string)
}
