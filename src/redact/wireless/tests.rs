//! Each walk on a small kernel.

use super::super::testing::{A, B, C, D, E, F, Small, cipher, with_ciphers};
use super::find;

/// One Wi-Fi device at `B` with an interface at `C`, and one key of mac80211 at `D`.
fn with_wifi(suite: u32) -> Small {
    let mut small = Small::new();
    with_ciphers(&mut small);
    small.st("wiphy", 48, "wdev_list:list_head@8 priv:u8*0@48");
    small.st("cfg80211_registered_device", 112, "ops:u64@0 list:list_head@8 wiphy:wiphy@64");
    small.st("cfg80211_cached_keys", 64, "data:u8*52@8");
    small.st("wext", 16, "keys:u64@8");
    small.st("wireless_dev", 64, "list:list_head@0 connect_keys:u64@16 wext:wext@24");
    small.st("ieee80211_local", 64, "interfaces:list_head@16");
    small.st("ieee80211_sub_if_data", 64, "list:list_head@0 key_list:list_head@16");
    small.st("state", 32, "tfm:u64@8");
    small.st("conf", 24, "cipher:u32@8 keylen:u8@19 key:u8*0@20");
    small.st("ieee80211_key", 96, "list:list_head@0 u:state@16 conf:conf@64");
    for function in ["cfg80211_init", "ieee80211_register_hw"] {
        small.function(function);
    }
    small.symbol("cfg80211_rdev_list", A);
    small.symbol("mac80211_config_ops", A + 0x100);
    small.list(A, &[B + 8]);
    small.words(B, &[A + 0x100]);
    small.list(B + 64 + 8, &[C]);
    small.words(C + 16, &[C + 0x100, 0, 0]);
    small.list(B + 112 + 16, &[C + 0x200]);
    small.list(C + 0x210, &[D]);
    small.zeros(D, 96);
    small.words(D + 24, &[E]);
    cipher(&mut small, E);
    small.put(D + 64 + 8, &suite.to_le_bytes());
    small.put(D + 64 + 19, &[16]);
    small
}

#[test]
fn keys_of_wifi_are_found() {
    let usual = vec![(C + 0x108, 52), (D + 84, 16), (E + 56, 32)];
    assert_eq!(with_wifi(0x000f_ac04).find(find), Ok(usual.clone()));
    let mut tkip = usual;
    tkip.insert(1, (D + 16, 32));
    assert_eq!(with_wifi(0x000f_ac02).find(find), Ok(tkip));
    // A driver that does without mac80211.
    let mut small = with_wifi(0x000f_ac04);
    small.words(B, &[A + 0x200]);
    assert!(small.find(find).unwrap_err().contains("mac80211"));
    // A list that ends nowhere.
    let mut small = with_wifi(0x000f_ac04);
    small.words(C + 0x210, &[0]);
    assert!(small.find(find).is_err());
}

#[test]
fn keys_of_bluetooth_are_found() {
    let mut small = Small::new();
    with_ciphers(&mut small);
    small.st("conn_hash", 16, "list:list_head@0");
    small.st(
        "hci_dev",
        256,
        "list:list_head@0 link_keys:list_head@16 long_term_keys:list_head@32 identity_resolving_keys:list_head@48 \
         remote_oob_data:list_head@64 smp_data:u64@80 smp_bredr_data:u64@88 conn_hash:conn_hash@96 irk:u8*16@112",
    );
    for (name, members) in [
        ("link_key", "list:list_head@0 val:u8*16@16"),
        ("smp_ltk", "list:list_head@0 val:u8*16@24"),
        ("smp_irk", "list:list_head@0 val:u8*16@32"),
        ("oob_data", "list:list_head@0 rand192:u8*16@16 rand256:u8*16@48"),
        ("smp_csrk", "val:u8*16@8"),
        ("hci_conn", "list:list_head@0 l2cap_data:u64@16"),
        ("l2cap_conn", "smp:u64@8"),
        ("l2cap_chan", "data:u64@8"),
        ("smp_dev", "local_rand:u8*16@0 tfm_ecdh:u64@16"),
    ] {
        small.st(name, 80, members);
    }
    small.st(
        "smp_chan",
        192,
        "prnd:u8*16@0 tk:u8*16@16 irk:u8*16@32 dhkey:u8*32@48 mackey:u8*16@80 csrk:*smp_csrk@96 ltk:*smp_ltk@104 \
         link_key:u64@112 tfm_cmac:u64@120",
    );
    small.function("hci_register_dev");
    small.symbol("hci_dev_list", A);
    small.list(A, &[B]);
    for (head, key) in [(16, C), (32, C + 0x100), (48, C + 0x200), (64, C + 0x300)] {
        small.list(B + head, &[key]);
    }
    small.words(B + 80, &[D, 0]);
    small.words(D + 8, &[D + 0x100]);
    small.zeros(D + 0x100, 80);
    small.words(D + 0x110, &[E]);
    cipher(&mut small, E);
    small.list(B + 96, &[D + 0x200]);
    small.words(D + 0x210, &[D + 0x300]);
    small.words(D + 0x308, &[D + 0x400]);
    small.words(D + 0x408, &[F + 0x1000]);
    let pairing = F + 0x1000;
    small.zeros(pairing, 192);
    small.words(pairing + 96, &[0, C + 0x400, C + 0x500, E + 0x100]);
    cipher(&mut small, E + 0x100);
    let expected = vec![
        (B + 112, 16),
        (C + 16, 16),
        (C + 0x118, 16),
        (C + 0x220, 16),
        (C + 0x310, 16),
        (C + 0x330, 16),
        (C + 0x418, 16),
        (C + 0x500, 16),
        (D + 0x100, 16),
        (E + 56, 32),
        (E + 0x100 + 56, 32),
        (pairing, 16),
        (pairing + 16, 16),
        (pairing + 32, 16),
        (pairing + 48, 32),
        (pairing + 80, 16),
    ];
    assert_eq!(small.find(find), Ok(expected));
}
