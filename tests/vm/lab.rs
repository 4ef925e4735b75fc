//! The lab itself: the collector it runs is what an initramfs gets, and its search for plaintext does find it.

use crate::common::judge::program;
use crate::common::leak::Secrets;
use crate::common::{collector, or_skip, run, scratch, succeed, vmcore};
use std::collections::BTreeSet;
use std::process::Command;

/// Most that the collector may add to an image, unpacked and packed. kdump's estimates count the latter three times.
const COLLECTOR_BYTES: u64 = 4 << 20;
const PACKED_BYTES: usize = (2 << 20) - (100 << 10);

#[test]
fn the_collector_is_one_small_static_file() {
    let file = collector();
    let size = file.metadata().unwrap().len();
    assert!(size <= COLLECTOR_BYTES, "{size} bytes");
    let packed = run(Command::new("gzip").args(["-9", "-c"]).arg(file)).stdout.len();
    assert!(packed > 0 && packed <= PACKED_BYTES, "{packed} bytes packed");
    let headers =
        succeed(Command::new("readelf").args(["--program-headers", "--dynamic", "--wide"]).arg(file));
    assert!(!headers.contains("INTERP") && !headers.contains("(NEEDED)"), "{headers}");
    let sections = succeed(Command::new("readelf").args(["--sections", "--wide"]).arg(file));
    assert!(!sections.contains(".symtab") && !sections.contains(".debug"), "not stripped:\n{sections}");
}

/// The proof that the other tests can fail: in plain dumps, compressed ones too, the search finds what was planted.
#[test]
fn secrets_are_found_in_plain_dumps() {
    let found = vmcore("bookworm-5level-kdump").and_then(|vmcore| Ok((vmcore, program("makedumpfile")?)));
    let Some((vmcore, makedumpfile)) = or_skip(found) else { return };
    let secrets = Secrets::load(&vmcore.with_extension("secrets"));
    let dir = scratch("plain-dumps");
    let dump = |options: &[&str]| {
        let dump = dir.join(options.concat());
        succeed(Command::new(&makedumpfile).args(options).args([&vmcore, &dump]));
        secrets.find(&dump)
    };
    let lines = set(["klog", "slab"]);
    let pages = set(["anon", "clean", "dirty", "tmpfs"]);
    assert!(secrets.find(&vmcore).is_superset(&(&lines | &pages)));
    assert!(dump(&["-d", "31"]).is_superset(&lines));
    assert!(dump(&["-c", "-d", "0"]).is_superset(&pages));
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}
