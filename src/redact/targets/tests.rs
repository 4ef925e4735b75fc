//! Each walk on a small kernel.

use super::super::storage::{cifs, iscsi, nvme};
use super::super::testing::{A, B, C, D, E, F, Small};

fn with_ksmbd() -> Small {
    let mut small = Small::new();
    small.st("hlist_node", 16, "next:u64@0 pprev:u64@8");
    small.st("xarray", 16, "xa_head:u64@8");
    small.st("xa_node", 48, "shift:u8@0 slots:u64*4@16");
    small.st("ksmbd_user", 48, "passkey_sz:u64@24 passkey:u64@32");
    small.st("channel", 24, "smb3signingkey:u8*16@0");
    small.st(
        "ksmbd_session",
        256,
        "user:*ksmbd_user@0 sess_key:u8*40@8 hlist:hlist_node@48 ksmbd_chann_list:xarray@64 smb3encryptionkey:u8*32@80 \
         smb3decryptionkey:u8*32@112 smb3signingkey:u8*16@144",
    );
    small.function("ksmbd_conn_alloc");
    // Three buckets, of which the last one has two sessions, and a gap before the next variable.
    small.symbol("sessions_table", A);
    small.symbol("sessions_table_lock", A + 40);
    small.words(A, &[0, 0, B + 48, 0, 0]);
    for (session, next) in [(B, B + 0x100 + 48), (B + 0x100, 0)] {
        small.zeros(session, 256);
        small.words(session + 48, &[next]);
    }
    small
}

#[test]
fn keys_of_ksmbd_are_found() {
    let mut small = with_ksmbd();
    small.words(B, &[C]);
    small.words(C + 24, &[16, C + 0x100]);
    // An array of two levels, and one of a single pointer.
    small.words(B + 72, &[D + 2]);
    small.zeros(D, 0x200);
    small.words(D + 16, &[0, D + 0x100 + 2, 1026]);
    small.words(D + 0x100 + 16, &[0, 0, 0, E]);
    small.words(B + 0x100 + 72, &[E + 0x100]);
    let keys = |at: u64| [(at + 8, 40), (at + 80, 32), (at + 112, 32), (at + 144, 16)];
    let mut expected = [keys(B), keys(B + 0x100)].concat();
    expected.extend([(C + 0x100, 16), (E, 16), (E + 0x100, 16)]);
    assert_eq!(small.find(cifs), Ok(expected));
}

#[test]
fn sessions_of_ksmbd_that_contradict_themselves_stop_the_walk() {
    // A chain in a circle; a node that leads to itself; numbers where pointers should be.
    let mut small = with_ksmbd();
    small.words(B + 0x100 + 48, &[B + 48]);
    assert!(small.find(cifs).is_err());
    let mut small = with_ksmbd();
    small.words(B + 72, &[D + 2]);
    small.words(D + 16, &[D + 2, D + 2, D + 2, D + 2]);
    small.zeros(D, 16);
    assert!(small.find(cifs).is_err());
    let mut small = with_ksmbd();
    small.words(B + 72, &[D + 1]);
    assert!(small.find(cifs).unwrap_err().contains("numbers"));
    let mut small = with_ksmbd();
    small.words(B, &[C]);
    small.words(C + 24, &[u64::MAX, C + 0x100]);
    assert!(small.find(cifs).unwrap_err().contains("absurd"));
}

#[test]
fn passwords_of_an_iscsi_target_are_found() {
    let mut small = Small::new();
    small.st("iscsi_node_auth", 520, "password:u8*256@4 password_mutual:u8*256@260");
    small.st("se_node_acl", 32, "acl_list:list_head@16");
    small.st("iscsi_node_acl", 600, "se_node_acl:se_node_acl@0 node_auth:iscsi_node_auth@40");
    small.st("se_portal_group", 32, "acl_node_list:list_head@8");
    small.st(
        "iscsi_portal_group",
        700,
        "tpg_se_tpg:se_portal_group@0 tpg_demo_auth:iscsi_node_auth@40 tpg_list:list_head@600",
    );
    small.st("iscsi_tiqn", 64, "tiqn_list:list_head@0 tiqn_tpg_list:list_head@16");
    small.st("iscsit_global", 700, "discovery_acl:iscsi_node_acl@40");
    small.function("iscsit_add_np");
    small.symbol("g_tiqn_list", A);
    small.list(A, &[B]);
    small.list(B + 16, &[C + 600]);
    small.list(C + 8, &[D + 16]);
    small.symbol("iscsit_global", A + 0x100);
    small.words(A + 0x100, &[E]);
    let auth = |at: u64| [(at + 4, 256), (at + 260, 256)];
    let expected = [auth(C + 40), auth(D + 40), auth(E + 80)].concat();
    assert_eq!(small.find(iscsi), Ok(expected));
}

#[test]
fn keys_of_an_nvme_target_are_found() {
    let mut small = Small::new();
    small.st("config_item", 32, "ci_entry:list_head@8");
    small.st("config_group", 64, "cg_item:config_item@0 cg_children:list_head@32");
    small.st("nvmet_host", 96, "group:config_group@0 dhchap_secret:u64@64 dhchap_ctrl_secret:u64@72");
    small.st("nvmet_subsys", 128, "ctrls:list_head@0 max_qid:u16@16 group:config_group@24");
    small.st("nvme_dhchap_key", 16, "len:u64@0 hash:u8@8 key:u8*0@9");
    small.st("nvmet_sq", 32, "dhchap_skey:u64@8 dhchap_skey_len:u32@16");
    small.st(
        "nvmet_ctrl",
        96,
        "subsys_entry:list_head@0 sqs:u64@16 host_key:u64@24 ctrl_key:u64@32 dh_key:u64@40 dh_keysize:u64@48",
    );
    small.function("nvmet_register_transport");
    small.symbol("nvmet_hosts_group", A);
    small.symbol("nvmet_subsystems_group", A + 0x100);
    small.symbol("nvmet_disc_subsys", A + 0x200);
    small.list(A + 32, &[B + 8]);
    small.words(B + 64, &[C, 0]);
    small.put(C, &[&b"DHHC-1:00:"[..], &[0; 64]].concat());
    small.list(A + 0x100 + 32, &[D + 24 + 8]);
    small.words(A + 0x200, &[D + 0x200]);
    for subsystem in [D, D + 0x200] {
        small.zeros(subsystem, 128);
    }
    small.list(D, &[E]);
    small.put(D + 16, &[1, 0]);
    small.list(D + 0x200, &[]);
    small.words(E + 16, &[E + 0x100, E + 0x200, 0, E + 0x300, 32]);
    small.words(E + 0x100, &[0, F]);
    small.words(E + 0x200, &[48]);
    small.words(F + 8, &[F + 0x100, 32]);
    let expected = vec![(C, 10), (E + 0x200 + 9, 48), (E + 0x300, 32), (F + 0x100, 32)];
    assert_eq!(small.find(nvme), Ok(expected));
}
