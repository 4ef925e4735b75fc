//! Each walk on a small kernel.

use super::super::testing::{A, B, C, D, E, Small};
use super::{cifs, fscrypt, iscsi, nvme};

#[test]
fn keys_of_fscrypt_are_found() {
    let mut small = Small::new();
    small.st("super_block", 64, "s_list:list_head@0 s_master_keys:u64@16");
    small.st("fscrypt_keyring", 32, "lock:u32@0 key_hashtable:u64*2@8");
    small.st("fscrypt_master_key", 160, "mk_node:u64*2@0 mk_secret:u8*96@24");
    small.symbol("super_blocks", A);
    small.list(A, &[B, B + 0x100]);
    small.words(B + 16, &[0]);
    small.words(B + 0x110, &[C]);
    small.words(C + 8, &[0, D]);
    small.words(D, &[0, 0]);
    assert_eq!(small.find(fscrypt), Ok(vec![(D + 24, 96)]));
}

#[test]
fn passwords_of_cifs_are_found() {
    let mut small = Small::new();
    small.st("session_key", 16, "len:u32@0 response:u64@8");
    small.st(
        "TCP_Server_Info",
        64,
        "tcp_ses_list:list_head@0 smb_ses_list:list_head@16 session_key:session_key@32",
    );
    small.st("cifs_chan", 24, "signkey:u8*16@8");
    small.st(
        "cifs_ses",
        160,
        "smb_ses_list:list_head@0 password:u64@16 auth_key:session_key@24 smb3signingkey:u8*16@40 smb3encryptionkey:u8*32@56 smb3decryptionkey:u8*32@88 chans:cifs_chan*1@120",
    );
    small.function("cifs_mount");
    small.symbol("cifs_tcp_ses_list", A);
    small.list(A, &[B]);
    small.list(B + 16, &[C]);
    small.words(B + 32, &[40, D]);
    small.words(C + 16, &[E, 0, 0]);
    small.put(E, &[&b"secret"[..], &[0; 64]].concat());
    let found = small.find(cifs).unwrap();
    assert_eq!(found, [(C + 40, 16), (C + 56, 32), (C + 88, 32), (C + 128, 16), (D, 40), (E, 6)]);
}

#[test]
fn passwords_of_iscsi_are_found() {
    let session = |transport: &str| {
        let mut small = Small::new();
        small.st("iscsi_transport", 16, "name:u64@8");
        small.st("iscsi_cls_session", 64, "sess_list:list_head@0 transport:u64@16 dd_data:u64@24");
        small.st("iscsi_session", 64, "password:u64@8 password_in:u64@16");
        small.function("iscsi_session_setup");
        small.symbol("sesslist", A);
        small.list(A, &[B]);
        small.words(B + 16, &[C, D]);
        small.words(C + 8, &[C + 64]);
        small.put(C + 64, &[transport.as_bytes(), &[0; 64]].concat());
        small.words(D + 8, &[E, 0]);
        small.put(E, &[&b"chap-secret"[..], &[0; 64]].concat());
        small.find(iscsi)
    };
    assert_eq!(session("tcp"), Ok(vec![(E, 11)]));
    assert!(session("qla4xxx").unwrap_err().contains("qla4xxx"));
}

/// A host's controller without the members for keys.
fn nvme_without_keys() -> Small {
    let mut small = Small::new();
    small.st("nvme_subsystem", 64, "entry:list_head@0 ctrls:list_head@16");
    small.st("nvme_ctrl", 64, "subsys_entry:list_head@0");
    small.function("nvme_init_ctrl");
    small.symbol("nvme_subsystems", A);
    small.list(A, &[B]);
    small.list(B + 16, &[C]);
    small
}

#[test]
fn nvme_without_keys_is_a_kernel_without_the_code_for_them() {
    assert_eq!(nvme_without_keys().find(nvme), Ok(vec![]));
    let mut small = nvme_without_keys();
    small.function("nvme_auth_init_ctrl");
    assert!(small.find(nvme).unwrap_err().contains("host_key"));
}

#[test]
fn keys_of_nvme_are_found() {
    let mut small = Small::new();
    small.st("nvme_subsystem", 64, "entry:list_head@0 ctrls:list_head@16");
    small.st("nvme_dhchap_key", 16, "len:u64@0 hash:u8@8 key:u8*0@9");
    small.st("nvmf_ctrl_options", 32, "dhchap_secret:u64@8 dhchap_ctrl_secret:u64@16");
    small.st(
        "nvme_ctrl",
        64,
        "subsys_entry:list_head@0 host_key:*nvme_dhchap_key@16 ctrl_key:*nvme_dhchap_key@24 opts:u64@32",
    );
    small.function("nvme_init_ctrl");
    small.symbol("nvme_subsystems", A);
    small.list(A, &[B]);
    small.list(B + 16, &[C]);
    small.words(C + 16, &[D, 0, E]);
    small.words(D, &[48]);
    small.words(E + 8, &[E + 0x100, 0]);
    small.put(E + 0x100, &[&b"DHHC-1:00:"[..], &[0; 64]].concat());
    assert_eq!(small.find(nvme), Ok(vec![(D + 9, 48), (E + 0x100, 10)]));
}
