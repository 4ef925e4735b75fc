//! Every walk on a small kernel that has what it looks for, and what it must stop at; those of network and storage have tests
//! of their own.

use super::kinds::{Finder, Kind};
use super::testing::{A, B, C, D, E, F, Small, cipher, with_ciphers};
use super::{dm, keyring, log, random, registers, tty};
use crate::arch::Machine;

/// A kernel with one key of a type, whose payload is at `D`.
pub(super) fn one_key(kind: &str) -> Small {
    let mut small = Small::new();
    small.st("rb_node", 24, "__rb_parent_color:u64@0 rb_right:u64@8 rb_left:u64@16");
    small.st("key_payload", 32, "data:u64*4@0");
    small.st("key_type", 16, "name:u64@0");
    small.st("key", 96, "serial_node:rb_node@8 type:*key_type@32 payload:key_payload@40 datalen:u16@72");
    small.st("user_key_payload", 24, "datalen:u16@16 data:u8*0@24");
    small.st("trusted_key_payload", 160, "key_len:u32@16 key:u8*129@24");
    small.st(
        "encrypted_key_payload",
        80,
        "payload_datalen:u16@16 decrypted_datalen:u16@18 decrypted_data:u64@24 payload_data:u8*0@80",
    );
    small.st("inode", 600, "i_ino:u64@0");
    small.st("dentry", 192, "d_flags:u32@0");
    small.st("big_key_payload", 32, "data:u64@0 length:u64@24");
    small.symbol("key_serial_tree", A);
    small.words(A, &[B + 8]);
    small.zeros(B, 96);
    small.words(B + 32, &[C, D]);
    small.words(C, &[C + 64]);
    small.put(C + 64, &[kind.as_bytes(), &[0; 64]].concat());
    small.zeros(D, 256);
    small
}

#[test]
fn keys_are_found_by_their_type() {
    for kind in ["user", "logon"] {
        let mut small = one_key(kind);
        small.put(D + 16, &40_u16.to_le_bytes());
        assert_eq!(small.find(keyring::find), Ok(vec![(D + 24, 40)]));
    }
    assert_eq!(one_key("trusted").find(keyring::find), Ok(vec![(D + 24, 129)]));
    let mut small = one_key("encrypted");
    small.put(D + 16, &[48, 0, 32, 0]);
    small.words(D + 24, &[D + 88]);
    assert_eq!(small.find(keyring::find), Ok(vec![(D + 80, 48), (D + 88, 32)]));
    for (len, erased) in [(100, 100), (1 << 19, 32)] {
        let mut small = one_key("big_key");
        small.words(B + 40 + 24, &[len]);
        assert_eq!(small.find(keyring::find), Ok(vec![(D, erased)]));
    }
    for (private, expected) in [(0, vec![]), (1, vec![(E, 20)])] {
        let mut small = one_key("asymmetric");
        small.enumeration(&[("asym_crypto", 0), ("asym_subtype", 1)]);
        small.st("asymmetric_key_subtype", 16, "name:u64@8");
        small.st("public_key", 16, "key:u64@0 keylen:u32@8 key_is_private:u8@12");
        small.words(B + 40, &[D, F]);
        small.words(F + 8, &[F + 64]);
        small.put(F + 64, &[&b"public_key"[..], &[0; 64]].concat());
        small.words(D, &[E, 20 | private << 32]);
        assert_eq!(small.find(keyring::find), Ok(expected));
    }
    assert_eq!(one_key("keyring").find(keyring::find), Ok(vec![]));
}

#[test]
fn keys_of_an_unknown_type_and_broken_trees_stop_the_walk() {
    let error = one_key("no-such-type").find(keyring::find).unwrap_err();
    assert!(error.contains("no-such-type"), "{error}");
    // Without a payload there is nothing to know.
    let mut small = one_key("no-such-type");
    small.words(B + 40, &[0]);
    assert_eq!(small.find(keyring::find), Ok(vec![]));
    let mut small = one_key("user");
    small.words(B + 16, &[B + 8]);
    assert!(small.find(keyring::find).unwrap_err().contains("broken"));
    let mut small = one_key("user");
    small.words(A, &[0x10]);
    assert!(small.find(keyring::find).is_err());
    let mut small = one_key("big_key");
    small.words(B + 40 + 24, &[u64::MAX]);
    assert!(small.find(keyring::find).unwrap_err().contains("absurd"));
}

fn with_dm(kind: &str) -> Small {
    let mut small = Small::new();
    with_ciphers(&mut small);
    small.st("rb_node", 24, "__rb_parent_color:u64@0 rb_right:u64@8 rb_left:u64@16");
    small.st("mapped_device", 64, "map:u64@8");
    small.st("hash_cell", 64, "name_node:rb_node@0 md:*mapped_device@24 new_map:u64@32");
    small.st("dm_table", 64, "num_targets:u32@0 targets:u64@8");
    small.st("target_type", 32, "name:u64@8");
    small.st("dm_target", 32, "type:*target_type@8 private:u64@16");
    small.st("tfms", 8, "tfms:u64@0");
    small.st(
        "crypt_config",
        128,
        "key_string:u64@0 cipher_tfm:tfms@8 tfms_count:u32@16 key_size:u32@20 iv_gen_ops:u64@24 key:u8*0@64",
    );
    small.function("crypt_ctr");
    small.symbol("name_rb_tree", A);
    small.words(A, &[A + 0x100]);
    small.zeros(A + 0x100, 64);
    small.words(A + 0x118, &[A + 0x200, 0]);
    small.words(A + 0x208, &[B]);
    small.words(B, &[1, B + 0x100]);
    small.words(B + 0x108, &[B + 0x200, C]);
    small.words(B + 0x208, &[B + 0x300]);
    small.put(B + 0x300, &[kind.as_bytes(), &[0; 64]].concat());
    small.zeros(C, 128);
    small.put(C + 16, &[1, 0, 0, 0, 64, 0, 0, 0]);
    small.words(C + 8, &[D]);
    small.words(D, &[D + 0x100]);
    cipher(&mut small, D + 0x100);
    small
}

#[test]
fn volume_keys_and_their_ciphers_are_found() {
    // A cipher inside the context of the cipher.
    let mut small = with_dm("crypt");
    cipher(&mut small, E);
    small.words(D + 0x100 + 56 + 8, &[E]);
    let key = (C + 64, 64);
    assert_eq!(small.find(dm::find), Ok(vec![key, (D + 0x138, 32), (E + 56, 32)]));
    // A table that waits has keys, too.
    let mut small = with_dm("crypt");
    small.words(A + 0x208, &[0]);
    small.words(A + 0x120, &[B]);
    assert_eq!(small.find(dm::find), Ok(vec![key, (D + 0x138, 32)]));
    assert_eq!(with_dm("linear").find(dm::find), Ok(vec![]));
}

#[test]
fn a_device_that_contradicts_itself_is_not_walked() {
    // What should be a cipher is not one.
    let mut small = with_dm("crypt");
    small.words(D + 0x100 + 16 + 24, &[0]);
    assert!(small.find(dm::find).unwrap_err().contains("cipher"));
    let mut small = with_dm("crypt");
    small.put(C + 20, &u32::MAX.to_le_bytes());
    assert!(small.find(dm::find).unwrap_err().contains("absurd"));
    let mut small = with_dm("crypt");
    small.put(B, &u32::MAX.to_le_bytes());
    assert!(small.find(dm::find).unwrap_err().contains("absurd"));
}

#[test]
fn a_kind_is_absent_only_where_the_kernel_is_known_to_lack_it() {
    let absent = |small: Small, kind: Kind| {
        small.walk(Machine::X86_64, |walk| walk.absent(kind.facts()).map_err(|error| error.line()))
    };
    let why = absent(Small::new(), Kind::Wireguard).unwrap().unwrap();
    assert!(why.contains("no module wireguard"), "{why}");
    // Built in.
    let mut small = Small::new();
    small.function("wg_xmit");
    assert_eq!(absent(small, Kind::Wireguard), Ok(None));
    // As a module.
    let mut small = Small::new();
    small.list(0xffff_ffff_8300_0000, &[A]);
    small.put(A + 16, b"wireguard\0\0\0\0\0\0\0");
    small.zeros(A, 64);
    assert_eq!(absent(small, Kind::Wireguard), Ok(None));
    // Nobody knows: the list of modules is broken.
    let mut small = Small::new();
    small.words(0xffff_ffff_8300_0000, &[0]);
    assert!(absent(small, Kind::Wireguard).is_err());
    assert_eq!(absent(Small::new(), Kind::Random), Ok(None));
}

/// A kernel that has a kind built in, or one of its modules loaded, and describes no structure of it.
#[test]
fn a_kind_that_the_kernel_does_not_describe_stops_the_walk() {
    for kind in Kind::ALL {
        let Finder::Walk(find) = kind.facts().finder else { continue };
        // Those of NVMe are a library's, which holds no key.
        let (functions, modules) = match kind {
            Kind::Nvme => (&["nvme_init_ctrl"][..], &["nvme_core", "nvmet"][..]),
            kind => (kind.facts().functions, kind.facts().modules),
        };
        let mut small = Small::new();
        for function in functions {
            small.function(function);
        }
        let found = small.find(find);
        assert!(found.is_err(), "{}: {found:?}", kind.name());
        for module in modules {
            let mut small = Small::new();
            small.list(0xffff_ffff_8300_0000, &[A]);
            small.zeros(A, 64);
            small.put(A + 16, &[module.as_bytes(), &[0]].concat());
            let found = small.find(find);
            assert!(found.is_err(), "{}: {module}: {found:?}", kind.name());
        }
    }
}

/// One process at `B`, on the list of init, with `struct signal_struct` at `C`.
fn one_task(members: &str, size: u32) -> Small {
    let mut small = Small::new();
    small.st("signal_struct", 64, "thread_head:list_head@0 tty:u64@16");
    small.st(
        "task_struct",
        size,
        &format!("flags:u32@0 tasks:list_head@8 thread_node:list_head@24 signal:*signal_struct@40 {members}"),
    );
    small.symbol("init_task", A);
    small.zeros(A, 0x400);
    small.list(A + 8, &[B + 8]);
    small.zeros(B, 0x400);
    small.words(B + 40, &[C]);
    small.list(C, &[B + 24]);
    small.words(C + 16, &[0]);
    small
}

#[test]
fn vector_registers_are_found_where_each_release_has_them() {
    let fpu = |small: &mut Small| {
        small.st("fpstate", 64, "size:u32@0 regs:u8*0@64");
        small.st("fpu", 24, "fpstate:*fpstate@8 __task_fpstate:*fpstate@16");
    };
    // In the task.
    let mut small = Small::new();
    fpu(&mut small);
    small.st("thread_struct", 32, "fpu:fpu@8");
    let task = |small: &mut Small, at: u64| {
        small.words(at + 8, &[D, 0]);
        small.zeros(D, 0x1000);
        small.put(D, &832_u32.to_le_bytes());
    };
    small.st("signal_struct", 64, "thread_head:list_head@0 tty:u64@16");
    small.st(
        "task_struct",
        128,
        "flags:u32@0 tasks:list_head@8 thread_node:list_head@24 signal:*signal_struct@40 thread:thread_struct@64",
    );
    small.symbol("init_task", A);
    small.zeros(A, 0x400);
    small.list(A + 8, &[B + 8]);
    small.zeros(B, 0x400);
    small.words(B + 40, &[C]);
    small.list(C, &[B + 24]);
    task(&mut small, B + 64 + 8);
    assert_eq!(small.find(registers::find), Ok(vec![(D + 64, 832)]));
    // Right after it.
    let mut small = one_task("", 128);
    fpu(&mut small);
    task(&mut small, B + 128);
    assert_eq!(small.find(registers::find), Ok(vec![(D + 64, 832)]));
    // A kernel thread runs no program.
    let mut small = one_task("", 128);
    fpu(&mut small);
    small.put(B, &0x0020_0000_u32.to_le_bytes());
    assert_eq!(small.find(registers::find), Ok(vec![]));
    // An absurd size.
    let mut small = one_task("", 128);
    fpu(&mut small);
    task(&mut small, B + 128);
    small.put(D, &u32::MAX.to_le_bytes());
    assert!(small.find(registers::find).unwrap_err().contains("absurd"));
    // A machine of which nothing is known.
    assert!(one_task("", 128).find_on(Machine::Other(1), registers::find).is_err());
}

#[test]
fn the_random_generator_is_found() {
    let mut small = Small::new();
    small.st("blake2s_state", 112, "h:u32*8@0");
    small.st("crng", 40, "key:u8*32@0 generation:u64@32");
    small.st("batch_u64", 120, "entropy:u64*12@0 generation:u64@96");
    small.st("cpumask", 8, "bits:u64@0");
    for (name, at) in [("base_crng", A), ("input_pool", A + 64), ("crngs", B), ("batched_entropy_u64", C)] {
        small.symbol(name, at);
    }
    small.symbol("__cpu_possible_mask", D);
    small.symbol("nr_cpu_ids", D + 8);
    small.symbol("__per_cpu_offset", D + 16);
    small.words(D, &[3, 2, 0, 0x1000]);
    let found = small.find(random::find).unwrap();
    let expected = [(A, 32), (A + 64, 112), (B, 32), (B + 0x1000, 32), (C, 96), (C + 0x1000, 96)];
    assert_eq!(found, expected);
    assert!(Small::new().find(random::find).is_err());
}

#[test]
fn text_of_terminals_is_found() {
    let terminal = |discipline: u32| {
        let mut small = Small::new();
        small.st("node", 8, "first:u64@0");
        small.st("tty_bufhead", 24, "head:u64@0 free:node@8");
        small.st("tty_port", 64, "buf:tty_bufhead@0");
        small.st("tty_buffer", 32, "next:u64@0 free:u64@0 used:u32@8 size:u32@12 data:u64*0@32");
        small.st("tty_ldisc_ops", 32, "name:u64@0 num:u32@8");
        small.st("tty_ldisc", 16, "ops:u64@0");
        small.st("n_tty_data", 256, "read_buf:u8*64@64 echo_buf:u8*64@128");
        small.st(
            "tty_struct",
            128,
            "port:*tty_port@0 ldisc:*tty_ldisc@8 disc_data:u64@16 write_buf:u64@24 write_cnt:u32@32 link:u64@40",
        );
        small.st("tty_driver", 64, "tty_drivers:list_head@0 num:u32@16 ttys:u64@24");
        small.st("signal_struct", 64, "thread_head:list_head@0 tty:u64@16");
        small.st("files_struct", 16, "fdt:u64@0");
        small.st("fdtable", 16, "max_fds:u32@0 fd:u64@8");
        small.st("file", 32, "f_op:u64@0 private_data:u64@8");
        small.st("tty_file_private", 16, "tty:u64@0");
        small.st(
            "task_struct",
            128,
            "tasks:list_head@8 thread_node:list_head@24 signal:*signal_struct@40 files:*files_struct@48",
        );
        small.symbol("tty_drivers", A);
        small.symbol("tty_fops", A + 0x100);
        small.list(A, &[]);
        small.symbol("init_task", A + 0x200);
        small.zeros(A + 0x200, 128);
        small.list(A + 0x208, &[B + 8]);
        small.words(B + 40, &[B + 0x100, B + 0x200]);
        small.list(B + 0x100, &[B + 24]);
        small.words(B + 0x110, &[0]);
        small.words(B + 0x200, &[B + 0x300]);
        small.words(B + 0x300, &[2, B + 0x400]);
        small.words(B + 0x400, &[0, B + 0x500]);
        small.words(B + 0x500, &[A + 0x100, B + 0x600]);
        small.words(B + 0x600, &[C]);
        small.zeros(C, 128);
        small.words(C, &[D, C + 0x100, E, F]);
        small.words(C + 32, &[100]);
        small.words(C + 0x100, &[C + 0x200]);
        small.put(C + 0x208, &discipline.to_le_bytes());
        small.words(D, &[D + 0x100, D + 0x200]);
        small.words(D + 0x100, &[0, 48 << 32]);
        small.words(D + 0x200, &[0, 16 << 32]);
        small.find(tty::find)
    };
    let found = terminal(0).unwrap();
    assert_eq!(found, [(D + 0x120, 48), (D + 0x220, 16), (E + 64, 64), (E + 128, 64), (F, 100)]);
    assert!(terminal(3).unwrap_err().contains("line discipline 3"));
}

#[test]
fn a_command_line_without_a_log_is_not_walked() {
    let mut small = Small::new();
    small.symbol("saved_command_line", A);
    small.words(A, &[B]);
    small.put(B, &[&b"root=/dev/vda1 quiet"[..], &[0; 64]].concat());
    assert!(small.find(log::find_command_line).unwrap_err().contains("log"));
    assert!(Small::new().find(log::find_command_line).is_err());
}

#[test]
fn a_parsed_command_line_goes_whole() {
    let line = b"root=/dev/vda1 secret=0123456789 quiet";
    let mut parsed = *line;
    for at in [14, 21, 32] {
        parsed[at] = 0;
    }
    // Memory that was given back and is zero now is no copy.
    let copies = [(parsed, line.len()), (*b"root=/dev/vda1\0anothr=9876543210 quiet", 15), ([0; 38], 0)];
    for (copy, len) in copies {
        let mut small = Small::new();
        small.symbol("boot_command_line", D);
        for (name, at, to, bytes) in
            [("saved_command_line", A, B, line), ("static_command_line", C, D, &copy)]
        {
            small.symbol(name, at);
            small.words(at, &[to]);
            small.put(to, &[&bytes[..], &[0; 64]].concat());
        }
        // There is no log in this kernel, so the walk ends after the copies.
        let erased: Vec<_> = small.walk(Machine::X86_64, |walk| {
            log::find_command_line(walk).unwrap_err();
            walk.take().into_iter().map(|piece| (piece.at.0, piece.len)).collect()
        });
        assert_eq!(erased.contains(&(D, len as u64)), len > 0, "{erased:x?}");
        assert!(len > 0 || erased == [(B, line.len() as u64)], "{erased:x?}");
    }
}
