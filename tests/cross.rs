//! The collector of other machines: built by `make collector`, run by QEMU's user mode. A big-endian program must make
//! the same dumps as this machine's, of vmcores of either byte order.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod synth;

use common::{decrypt, encrypt, foreign_collector, keys, or_skip_anywhere, scratch, succeed};
use std::path::{Path, PathBuf};
use std::process::Command;
use synth::{arch, kernel, zoo};

/// What is restored of a vmcore that `collector` saves.
fn restored(
    mut collector: Command,
    dir: &Path,
    vmcore: &Path,
    keys: &(PathBuf, PathBuf),
    level: &str,
) -> Vec<u8> {
    let [dump, out] = ["dump", "restored"].map(|name| dir.join(name));
    // The zoo has a page whose structure is doubtful: it is kept, with a warning.
    collector
        .args(["-f", "-d", level, "--warnings-exit-0", "--recipients-file"])
        .arg(&keys.1)
        .arg(vmcore)
        .arg(&dump);
    succeed(&mut collector);
    succeed(decrypt().args(["-f", "--compress", "none", "-i"]).arg(&keys.0).args([&dump, &out]));
    std::fs::read(out).unwrap()
}

#[test]
fn a_big_endian_collector_makes_the_same_dumps() {
    let Some(collector) = or_skip_anywhere(foreign_collector("s390x-unknown-linux-gnu")) else { return };
    let emulated = || {
        // Nothing that is not on the collector's list of variables: to leave it out the program would start itself again, and
        // the kernel cannot start a program of another machine.
        let mut command = Command::new("qemu-s390x");
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path))).arg(&collector);
        command
    };
    let dir = scratch("cross");
    let keys = keys(&dir);
    let vmcore = dir.join("vmcore");
    for arch in [arch::s390x::z(), arch::x86_64::four_level()] {
        let name = arch.name;
        zoo::zoo(arch, kernel::v6_12()).build().write_to(&vmcore);
        for level in ["1", "31"] {
            let theirs = restored(emulated(), &dir, &vmcore, &keys, level);
            assert!(theirs == restored(encrypt(), &dir, &vmcore, &keys, level), "{name}, level {level}");
        }
    }
    std::fs::remove_dir_all(dir).unwrap();
}
