//! The one list of kinds of secrets: their names, how it is known that a kernel has none of them, and who finds them.

use super::walk::Walk;
use super::{ceph, dm, keyring, krb5, log, net, random, registers, storage, tty, wireless};
use crate::kernel::Error;
use std::str::FromStr;

/// A kind of secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Expanded AES keys, wherever they are.
    Aes,
    /// Contexts of the kernel's ciphers and hashes.
    Ciphers,
    /// Keys of the key retention service.
    Keyring,
    /// Volume keys of dm-crypt and dm-integrity.
    DmCrypt,
    /// Kernel TLS.
    Ktls,
    /// `WireGuard`.
    Wireguard,
    /// IPsec.
    Ipsec,
    /// `MACsec`.
    Macsec,
    /// fscrypt.
    Fscrypt,
    /// CIFS and SMB.
    Cifs,
    /// iSCSI, both ends.
    Iscsi,
    /// Kerberos of NFS.
    Krb5,
    /// `NVMe` in-band authentication.
    Nvme,
    /// Ceph and `RxRPC`.
    Ceph,
    /// Wi-Fi and Bluetooth.
    Wireless,
    /// Vector registers of user programs.
    Registers,
    /// Text typed and shown on terminals.
    Tty,
    /// The random number generator.
    Random,
    /// The kernel's command line.
    CommandLine,
    /// Notes that drivers wrote of their devices.
    DeviceDumps,
    /// The kernel's log.
    Log,
}

/// How a kind is found.
#[derive(Clone, Copy)]
pub(super) enum Finder {
    /// By a walk through the kernel's structures.
    Walk(fn(&Walk<'_>) -> Result<(), Error>),
    /// By a scan of memory alone.
    Scan,
    /// Among the notes.
    Notes,
}

/// What is known of a kind.
pub(super) struct Facts {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Whether it is asked for by `default`.
    pub(super) default: bool,
    /// Modules without which, unless one of `functions` is built in, the kernel has none of it. Both are empty for a kind
    /// that every kernel has.
    pub(super) modules: &'static [&'static str],
    pub(super) functions: &'static [&'static str],
    pub(super) finder: Finder,
    /// Whether all memory is searched for copies of what is found.
    pub(super) copies: bool,
}

const NONE: &[&str] = &[];

impl Facts {
    /// A kind that a walk finds, asked for by default.
    const fn walked(
        name: &'static str,
        what: &'static str,
        [modules, functions]: [&'static [&'static str]; 2],
        walk: fn(&Walk<'_>) -> Result<(), Error>,
    ) -> Facts {
        Facts { name, what, default: true, modules, functions, finder: Finder::Walk(walk), copies: true }
    }

    /// A kind that is found otherwise.
    const fn other(
        name: &'static str,
        what: &'static str,
        [modules, functions]: [&'static [&'static str]; 2],
        finder: Finder,
    ) -> Facts {
        Facts { name, what, default: true, modules, functions, finder, copies: true }
    }

    /// Copies of it are not searched: it is large, and changes all the time.
    const fn without_copies(self) -> Facts {
        Facts { copies: false, ..self }
    }
}

/// Each kind's facts, in the order of [`Kind::ALL`]. After the names come the modules and functions that tell of it.
static FACTS: [Facts; Kind::ALL.len()] = [
    Facts::other("aes", "expanded AES keys wherever they are", [NONE, NONE], Finder::Scan),
    Facts::other(
        "ciphers",
        "contexts of the kernel's ciphers",
        [NONE, &["crypto_register_alg"]],
        Finder::Scan,
    )
    .without_copies(),
    Facts::walked("keyring", "keys of the key retention service", [NONE, &["key_alloc"]], keyring::find),
    Facts::walked(
        "dm-crypt",
        "volume keys of dm-crypt and dm-integrity",
        [&["dm_crypt", "dm_integrity"], &["crypt_ctr", "dm_integrity_ctr"]],
        dm::find,
    ),
    Facts::walked("ktls", "keys of kernel TLS", [&["tls"], &["tls_sw_sendmsg"]], net::ktls),
    Facts::walked("wireguard", "keys of WireGuard", [&["wireguard"], &["wg_xmit"]], net::wireguard),
    Facts::walked("ipsec", "keys of IPsec", [NONE, &["xfrm_state_alloc"]], net::ipsec),
    Facts::walked("macsec", "keys of MACsec", [&["macsec"], &["macsec_start_xmit"]], net::macsec),
    Facts::walked("fscrypt", "keys of fscrypt", [NONE, &["fscrypt_ioctl_add_key"]], storage::fscrypt),
    Facts::walked(
        "cifs",
        "passwords and keys of CIFS and SMB",
        [&["cifs", "ksmbd"], &["cifs_mount", "ksmbd_conn_alloc"]],
        storage::cifs,
    ),
    Facts::walked(
        "iscsi",
        "passwords of iSCSI",
        [&["libiscsi", "qla4xxx", "iscsi_target_mod"], &["iscsi_session_setup", "iscsit_add_np"]],
        storage::iscsi,
    ),
    Facts::walked(
        "krb5",
        "Kerberos contexts of NFS",
        [&["rpcsec_gss_krb5"], &["gss_import_sec_context_kerberos"]],
        krb5::find,
    ),
    Facts::walked(
        "nvme",
        "NVMe in-band authentication",
        [&["nvme_auth", "nvme_common"], &["nvme_auth_parse_key", "nvme_auth_generate_key"]],
        storage::nvme,
    ),
    Facts::walked(
        "ceph",
        "keys of Ceph and RxRPC",
        [&["libceph", "rxrpc"], &["ceph_crypto_key_decode", "rxrpc_get_server_data_key"]],
        ceph::find,
    ),
    Facts::walked(
        "wireless",
        "keys of Wi-Fi and Bluetooth",
        [&["cfg80211", "bluetooth"], &["cfg80211_init", "hci_register_dev"]],
        wireless::find,
    ),
    Facts::walked("registers", "vector registers of user programs", [NONE, NONE], registers::find)
        .without_copies(),
    Facts::walked("tty", "text typed and shown on terminals", [NONE, &["tty_open"]], tty::find)
        .without_copies(),
    Facts::walked("random", "state of the random number generator", [NONE, NONE], random::find)
        .without_copies(),
    Facts::walked(
        "cmdline",
        "the kernel's command line, also in its log",
        [NONE, NONE],
        log::find_command_line,
    ),
    Facts::other("device-dumps", "notes of drivers on their devices", [NONE, NONE], Finder::Notes),
    Facts { default: false, ..Facts::walked("log", "the kernel's log", [NONE, NONE], log::find) }
        .without_copies(),
];

impl Kind {
    /// All kinds, in the order in which they are listed.
    pub const ALL: &[Kind] = &[
        Kind::Aes,
        Kind::Ciphers,
        Kind::Keyring,
        Kind::DmCrypt,
        Kind::Ktls,
        Kind::Wireguard,
        Kind::Ipsec,
        Kind::Macsec,
        Kind::Fscrypt,
        Kind::Cifs,
        Kind::Iscsi,
        Kind::Krb5,
        Kind::Nvme,
        Kind::Ceph,
        Kind::Wireless,
        Kind::Registers,
        Kind::Tty,
        Kind::Random,
        Kind::CommandLine,
        Kind::DeviceDumps,
        Kind::Log,
    ];

    /// Its name on the command line and in the record.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// What it is, in a few words.
    #[must_use]
    pub fn what(self) -> &'static str {
        self.facts().what
    }

    /// Whether it is asked for by `default`.
    #[must_use]
    pub fn is_default(self) -> bool {
        self.facts().default
    }

    /// Whether it cannot be found without the kernel's description.
    pub(super) fn needs_kernel(self) -> bool {
        !matches!(self.facts().finder, Finder::Notes) && self != Kind::Aes
    }

    pub(super) fn facts(self) -> &'static Facts {
        &FACTS[self as usize]
    }
}

/// The kinds that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinds(Vec<Kind>);

/// A word that names no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of secret; the kinds are default, all, {names}, and no-KIND for all but one", names = names())]
pub struct Unknown(String);

fn names() -> String {
    Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

impl Kinds {
    /// Whether a kind is asked for.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.0.contains(&kind)
    }

    fn add(&mut self, kinds: impl Iterator<Item = Kind>) {
        self.0.extend(kinds);
        self.0.sort();
        self.0.dedup();
    }
}

impl FromStr for Kinds {
    type Err = Unknown;

    /// Names with commas between. `default` and `all` stand for several; `no-NAME` takes one out again, of the default
    /// where nothing is before it.
    fn from_str(text: &str) -> Result<Kinds, Unknown> {
        let mut kinds = Kinds(Vec::new());
        let named = |name: &str| Kind::ALL.iter().copied().find(|kind| kind.name() == name);
        let default = || Kind::ALL.iter().copied().filter(|kind| kind.is_default());
        for (nth, word) in text.split(',').enumerate() {
            match (word, word.strip_prefix("no-").and_then(named)) {
                ("default", _) => kinds.add(default()),
                ("all", _) => kinds.add(Kind::ALL.iter().copied()),
                (_, Some(without)) => {
                    if nth == 0 {
                        kinds.add(default());
                    }
                    kinds.0.retain(|kind| *kind != without);
                }
                (name, None) => {
                    let kind = named(name).ok_or_else(|| Unknown(name.to_owned()))?;
                    kinds.add(std::iter::once(kind));
                }
            }
        }
        Ok(kinds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<&'static str> {
        text.parse::<Kinds>().unwrap().0.iter().map(|kind| kind.name()).collect()
    }

    #[test]
    fn the_table_has_the_order_of_the_kinds() {
        assert!((0..).zip(Kind::ALL).all(|(nth, kind)| *kind as usize == nth));
        assert_eq!(Kind::Macsec.name(), "macsec");
        assert_eq!(Kind::Log.name(), "log");
    }

    /// The table of docs/handover.md has every kind once, and how it was tried: in a guest, on a small kernel, or by type.
    #[test]
    fn the_document_has_every_kind_and_how_it_was_tried() {
        let rows = include_str!("../../docs/handover.md").lines().filter(|line| line.starts_with("| `"));
        let cells = |row: &'static str| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
        let table: Vec<Vec<&str>> = rows.map(cells).collect();
        for kind in Kind::ALL {
            let named: Vec<_> = table.iter().filter(|row| row[0] == format!("`{}`", kind.name())).collect();
            let [row] = named[..] else { panic!("{}: {} rows", kind.name(), named.len()) };
            let tried = ["guest", "synthetic", "by type only"];
            assert!(tried.iter().any(|word| row[3].contains(word)), "{}: {}", kind.name(), row[3]);
        }
        assert_eq!(table.len(), Kind::ALL.len());
    }

    #[test]
    fn kinds_are_named_one_by_one_or_together() {
        assert_eq!(kinds("keyring,aes,keyring"), ["aes", "keyring"]);
        assert_eq!(kinds("all").len(), Kind::ALL.len());
        assert!(!kinds("default").contains(&"log") && kinds("default,log").contains(&"log"));
        assert_eq!(kinds("no-tty").len() + 1, kinds("default").len());
        assert!(!kinds("all,no-log").contains(&"log"));
        for wrong in ["", "key", "aes,", "no-such", "AES"] {
            let error = wrong.parse::<Kinds>().unwrap_err().to_string();
            assert!(error.contains("dm-crypt") && error.contains("default"), "{error}");
        }
    }
}
