//! Each walk on a small kernel.

use super::super::testing::{A, B, C, D, E, Small, cipher, with_ciphers};
use super::{ipsec, ktls, macsec, wireguard};

#[test]
fn keys_of_wireguard_are_found() {
    let mut small = Small::new();
    small.st("identity", 64, "static_public:u8*32@0 static_private:u8*32@32");
    small.st("wg_device", 128, "static_identity:identity@0 device_list:list_head@64 peer_list:list_head@80");
    small.st("symmetric", 40, "key:u8*32@0");
    small.st("noise_keypair", 96, "sending:symmetric@0 receiving:symmetric@40");
    small.st(
        "noise_keypairs",
        24,
        "current_keypair:*noise_keypair@0 previous_keypair:*noise_keypair@8 next_keypair:*noise_keypair@16",
    );
    small.st(
        "noise_handshake",
        160,
        "ephemeral_private:u8*32@0 precomputed_static_static:u8*32@32 preshared_key:u8*32@64 hash:u8*32@96 chaining_key:u8*32@128",
    );
    small.st(
        "wg_peer",
        256,
        "keypairs:noise_keypairs@0 handshake:noise_handshake@32 peer_list:list_head@192",
    );
    small.symbol("device_list", A);
    small.list(A, &[B + 64]);
    small.list(B + 80, &[C + 192]);
    small.zeros(C, 256);
    small.words(C, &[D]);
    let found = small.find(wireguard).unwrap();
    let mut expected: Vec<(u64, u64)> = (0..5).map(|nth| (C + 32 + 32 * nth, 32)).collect();
    expected.insert(0, (B + 32, 32));
    expected.extend([(D, 32), (D + 40, 32)]);
    assert_eq!(found, expected);
}

/// The structures of network namespaces, and one at `A`.
fn with_net(members: &str) -> Small {
    let mut small = Small::new();
    with_ciphers(&mut small);
    small.st("xfrm", 16, "state_all:list_head@0");
    small.st("death", 8, "hashinfo:u64@0");
    small.st("ipv4", 8, "tcp_death_row:death@0");
    small.st("net", 128, &format!("list:list_head@0 {members}"));
    small.symbol("net_namespace_list", A + 0x400);
    small.list(A + 0x400, &[A]);
    small
}

#[test]
fn keys_of_ipsec_are_found() {
    let mut small = with_net("xfrm:xfrm@16");
    small.st("walk", 16, "all:list_head@0");
    small.st("xfrm_algo_aead", 80, "alg_key_len:u32@64 alg_key:u8*0@72");
    small.st("xfrm_algo", 72, "alg_key_len:u32@64 alg_key:u8*0@68");
    small.st("xfrm_algo_auth", 72, "alg_key_len:u32@64 alg_key:u8*0@72");
    small.st(
        "xfrm_state",
        64,
        "km:walk@0 aalg:*xfrm_algo_auth@16 ealg:*xfrm_algo@24 aead:*xfrm_algo_aead@32",
    );
    small.list(A + 16, &[B]);
    small.zeros(B, 64);
    small.words(B + 16, &[0, 0, C]);
    small.put(C + 64, &160_u32.to_le_bytes());
    assert_eq!(small.find(ipsec), Ok(vec![(C + 72, 20)]));
}

#[test]
fn keys_of_tls_are_found_on_connections() {
    let mut small = with_net("ipv4:ipv4@16");
    small.st("inet_hashinfo", 32, "ehash:u64@0 ehash_mask:u32@8");
    small.st("inet_ehash_bucket", 8, "chain:u64@0");
    small.st("sock_common", 64, "skc_state:u8@8 skc_nulls_node:u64*2@16");
    small.st("tcp_ulp_ops", 32, "name:u8*16@0");
    small.st("inet_connection_sock", 128, "icsk_ulp_ops:u64@64 icsk_ulp_data:u64@72");
    small.st(
        "tls_context",
        128,
        "crypto_send:u8*56@0 crypto_recv:u8*56@56 priv_ctx_tx:u64@112 priv_ctx_rx:u64@120",
    );
    small.st("tls_sw_context_tx", 16, "aead_send:u64@8");
    small.st("tls_sw_context_rx", 16, "aead_recv:u64@8");
    small.symbol("tcp_hashinfo", A + 0x800);
    small.words(A + 0x800, &[B, 1]);
    small.words(A + 16, &[0]);
    // An empty bucket, and one with a small socket, a plain one and one of TLS.
    small.words(B, &[1, C + 16]);
    for (socket, next, state, data) in
        [(C, C + 0x116, 6, 0), (C + 0x100, C + 0x210, 1, 0), (C + 0x200, 3, 1, D)]
    {
        let next = if next == C + 0x116 { C + 0x110 } else { next };
        small.zeros(socket, 128);
        small.put(socket + 8, &[state]);
        small.words(socket + 16, &[next]);
        small.words(socket + 64, &[if data == 0 { 0 } else { E }, data]);
    }
    small.put(E, b"tls\0\0\0\0\0\0\0\0\0\0\0\0\0");
    small.zeros(D, 128);
    small.words(D + 112, &[D + 0x100, 0]);
    small.words(D + 0x100, &[0, D + 0x200]);
    cipher(&mut small, D + 0x200);
    let found = small.find(ktls).unwrap();
    assert_eq!(found, [(D, 56), (D + 56, 56), (D + 0x200 + 56, 32)]);
}

#[test]
fn keys_of_macsec_are_found_in_ciphers() {
    let mut small = with_net("dev_base_head:list_head@16");
    small.st("rtnl_link_ops", 32, "kind:u64@16");
    small.st("net_device", 70, "dev_list:list_head@0 rtnl_link_ops:*rtnl_link_ops@16");
    small.st("macsec_key", 24, "tfm:u64@16");
    small.st("macsec_tx_sa", 32, "key:macsec_key@0");
    small.st("macsec_rx_sa", 32, "key:macsec_key@8");
    small.st("macsec_rx_sc", 64, "next:u64@0 sa:u64*4@8");
    small.st("tx_sc", 40, "sa:u64*4@8");
    small.st("secy", 64, "tx_sc:tx_sc@0 rx_sc:u64@40");
    small.st("macsec_dev", 72, "secy:secy@8");
    small.list(A + 16, &[B]);
    small.words(B + 16, &[B + 0x200]);
    small.words(B + 0x200 + 16, &[B + 0x300]);
    small.put(B + 0x300, &[&b"macsec"[..], &[0; 64]].concat());
    // What the driver keeps is after the device, aligned.
    let device = B + 96;
    small.zeros(device, 72);
    small.words(device + 8 + 8, &[C]);
    small.words(device + 8 + 40, &[D]);
    small.words(C + 16, &[E]);
    small.zeros(D, 64);
    small.words(D + 16, &[D + 0x100]);
    small.words(D + 0x100 + 24, &[E + 0x100]);
    cipher(&mut small, E);
    cipher(&mut small, E + 0x100);
    assert_eq!(small.find(macsec), Ok(vec![(E + 56, 32), (E + 0x100 + 56, 32)]));
}
