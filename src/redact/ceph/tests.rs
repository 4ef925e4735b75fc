//! Each walk on a small kernel.

use super::super::keyring;
use super::super::testing::{A, B, C, D, E, Small, cipher, with_ciphers};
use super::super::tests::one_key;
use super::find;

/// One client of a file system at `B`, which was mounted with a key and has a session and a ticket.
fn with_client(protocol: u32) -> Small {
    let mut small = Small::new();
    small.st("rb_node", 24, "__rb_parent_color:u64@0 rb_right:u64@8 rb_left:u64@16");
    small.st("ceph_crypto_key", 32, "type:u32@0 len:u32@12 key:u64@16");
    small.st("ceph_options", 32, "key:*ceph_crypto_key@8");
    small.st("ceph_auth_client", 64, "protocol:u32@0 private:u64@8 key:*ceph_crypto_key@48");
    small.st("ceph_mon_client", 32, "auth:*ceph_auth_client@8");
    small.st("ceph_client", 64, "options:*ceph_options@0 monc:ceph_mon_client@16");
    small.st("ceph_x_authorizer", 48, "session_key:ceph_crypto_key@8");
    small.st(
        "ceph_x_info",
        128,
        "secret:ceph_crypto_key@0 ticket_handlers:u64@56 auth_authorizer:ceph_x_authorizer@64",
    );
    small.st("ceph_x_ticket_handler", 64, "node:rb_node@0 session_key:ceph_crypto_key@32");
    small.st("ceph_fs_client", 32, "metric_wakeup:list_head@0 client:u64@16");
    small.function("ceph_crypto_key_decode");
    small.function("ceph_mdsc_init");
    small.symbol("ceph_fsc_list", A);
    small.list(A, &[A + 0x100]);
    small.words(A + 0x110, &[B]);
    small.words(B, &[B + 0x100]);
    small.words(B + 16, &[0, C]);
    small.words(B + 0x108, &[B + 0x200]);
    key(&mut small, B + 0x200, E);
    small.zeros(C, 64);
    small.put(C, &protocol.to_le_bytes());
    small.words(C + 8, &[D]);
    small.zeros(D, 0x200);
    key(&mut small, D, E + 0x100);
    key(&mut small, D + 72, E + 0x200);
    small.words(D + 56, &[D + 0x100]);
    key(&mut small, D + 0x120, E + 0x300);
    small
}

fn key(small: &mut Small, at: u64, bytes: u64) {
    small.zeros(at, 32);
    small.put(at + 12, &16_u32.to_le_bytes());
    small.words(at + 16, &[bytes]);
}

#[test]
fn keys_of_ceph_are_found() {
    let all = (0..4).map(|nth| (E + 0x100 * nth, 16)).collect();
    assert_eq!(with_client(2).find(find), Ok(all));
    // Without authentication there is nothing of it.
    assert_eq!(with_client(1).find(find), Ok(vec![(E, 16)]));
    let mut small = with_client(2);
    small.put(D + 12, &u32::MAX.to_le_bytes());
    assert!(small.find(find).unwrap_err().contains("absurd"));
    let mut small = with_client(2);
    small.words(D + 0x108, &[D + 0x100]);
    assert!(small.find(find).is_err());
}

/// A namespace at `A` with one connection of RxRPC at `C`.
fn with_connection(security: u8) -> Small {
    let mut small = Small::new();
    with_ciphers(&mut small);
    small.st("net_generic", 24, "ptr:u64*0@0");
    small.st("net", 64, "list:list_head@0 gen:u64@16");
    small.st("rxrpc_net", 64, "conn_proc_list:list_head@16");
    small.st("rxkad_state", 24, "cipher:u64@0");
    small.st("rxrpc_connection", 128, "proc_link:list_head@0 rxkad:rxkad_state@16 security_ix:u8@48");
    small.function("rxrpc_get_server_data_key");
    small.symbol("net_namespace_list", A + 0x400);
    small.list(A + 0x400, &[A]);
    small.words(A + 16, &[B]);
    small.symbol("rxrpc_net_id", A + 0x800);
    small.put(A + 0x800, &3_u32.to_le_bytes());
    small.words(B + 24, &[B + 0x100]);
    small.list(B + 0x110, &[C]);
    small.zeros(C, 128);
    small.put(C + 48, &[security]);
    small.words(C + 16, &[D]);
    cipher(&mut small, D);
    small
}

#[test]
fn ciphers_of_connections_are_found() {
    assert_eq!(with_connection(2).find(find), Ok(vec![(D + 56, 32)]));
    assert_eq!(with_connection(0).find(find), Ok(vec![]));
    assert!(with_connection(6).find(find).unwrap_err().contains("security 6"));
    let mut small = with_connection(2);
    small.words(C + 16, &[E]);
    small.zeros(E, 128);
    assert!(small.find(find).unwrap_err().contains("cipher"));
}

#[test]
fn keys_in_keyrings_are_found() {
    let mut small = one_key("ceph");
    small.st("ceph_crypto_key", 32, "type:u32@0 len:u32@12 key:u64@16");
    key(&mut small, D, E);
    assert_eq!(small.find(keyring::find), Ok(vec![(E, 16)]));

    let token = |index: u16, next: u64| {
        let mut small = one_key("rxrpc");
        small.st("rxkad_key", 32, "session_key:u8*8@20");
        small.st("rxrpc_key_token", 32, "security_index:u16@0 next:u64@8 kad:*rxkad_key@16");
        small.put(D, &index.to_le_bytes());
        small.words(D + 8, &[next, E]);
        small.find(keyring::find)
    };
    assert_eq!(token(2, 0), Ok(vec![(E + 20, 8)]));
    assert!(token(5, 0).unwrap_err().contains("security 5"));
    assert!(token(2, D).is_err());

    let mut small = one_key("rxrpc_s");
    with_ciphers(&mut small);
    cipher(&mut small, D);
    assert_eq!(small.find(keyring::find), Ok(vec![(B + 40 + 16, 8), (D + 56, 32)]));
    let mut small = one_key("rxrpc_s");
    with_ciphers(&mut small);
    assert!(small.find(keyring::find).is_err());
}
