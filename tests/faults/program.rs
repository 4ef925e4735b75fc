//! The program itself, on files: what it says, how it ends, and what is restored.

use crate::common;
use crate::common::served::Served;
use crate::machine::{FILE_OFFSET, FILE_SIZE, FIRST, HEADERS, Machine, PAGE, SECOND, pages_of};
use crate::readers::Kdump;
use std::collections::BTreeSet;

/// What the program did.
struct Run {
    status: i32,
    said: String,
    kdump: Kdump,
}

fn run(name: &str, vmcore: &std::path::Path, level: u8) -> Run {
    let dir = common::scratch(&format!("faults-{name}"));
    let (identity, recipients) = common::keys(&dir);
    let [dump, restored] = ["dump", "restored"].map(|name| dir.join(name));
    // What is expected here are classes of pages; which page structures go too is a matter of other tests.
    let mut encrypt = common::encrypt();
    encrypt
        .arg("--keep-page-structures")
        .args(["-d", &level.to_string(), "--recipients-file"])
        .arg(recipients)
        .arg(vmcore)
        .arg(&dump);
    let output = common::run(&mut encrypt);
    common::succeed(
        common::decrypt().arg("-i").arg(identity).args(["--compress", "none"]).args([&dump, &restored]),
    );
    let kdump = Kdump::open(&restored);
    std::fs::remove_dir_all(dir).unwrap();
    Run { status: output.status.code().unwrap(), said: common::text(&output.stderr), kdump }
}

impl Run {
    fn assert_says(&self, expected: &[&str]) {
        for line in expected {
            assert!(self.said.contains(line), "{line:?} is not said:\n{}", self.said);
        }
    }
}

#[test]
fn the_program_survives_memory_that_cannot_be_read() {
    let machine = Machine::new();
    let mut expected = machine.kept(31);
    let mut source = machine.source();
    for pfn in [FIRST + 0x100, SECOND + 0x20, SECOND + 0x21] {
        source = source.bad(machine.offset(pfn)..machine.offset(pfn) + PAGE);
        expected.remove(&pfn);
    }
    let frame = machine.core.struct_frames[&SECOND];
    source = source.bad(machine.offset(frame / PAGE)..machine.offset(frame / PAGE) + PAGE);
    expected.remove(&(frame / PAGE));
    expected.extend((SECOND..SECOND + 0x100).filter(|pfn| ![SECOND + 0x20, SECOND + 0x21].contains(pfn)));
    let Some(served) = common::or_skip(Served::new(source)) else { return };
    let run = run("eio", &served.path(), 31);
    assert_eq!((run.status, pages_of(&run.kdump)), (7, expected), "{}", run.said);
    machine.compare(&run.kdump, "eio");
    run.assert_says(&[
        "warning: 4 pages could not be read and are missing, the first: reading physical address 0x",
        ": Input/output error",
        "warning: 256 pages could not be classified and are kept: their page structures cannot be read",
        "    Unreadable pages        : 0x0000000000000004",
        "    Unclassified pages      : 0x0000000000000100",
        "pages that it should hold are lost",
    ]);
}

/// How many pages are lost decides what the dump is called: none, a few, a share of those that it should hold. A file
/// whose segments promise no more than it has lacks nothing.
#[test]
fn the_exit_status_tells_how_much_is_lost() {
    let machine = Machine::new();
    let page = |pfn| machine.offset(pfn)..machine.offset(pfn) + PAGE;
    for (name, bad, status) in [
        ("one", page(FIRST + 0x100), 6),
        ("most", machine.offset(FIRST)..machine.offset(SECOND), 7),
        ("excluded", page(SECOND + 4), 0),
    ] {
        let Some(served) = common::or_skip(Served::new(machine.source().bad(bad))) else { return };
        let run = run(name, &served.path(), 31);
        assert_eq!(run.status, status, "{name}: {}", run.said);
    }
    let path = tempfile::NamedTempFile::new().unwrap();
    let len = machine.bytes.len();
    for (name, end, status) in [("page", len - 4096, 6), ("byte", len - 1, 6), ("quarter", len - len / 4, 7)]
    {
        std::fs::write(path.path(), &machine.bytes[..end]).unwrap();
        let run = run(name, path.path(), 31);
        assert_eq!(run.status, status, "{name}: {}", run.said);
        assert_eq!(run.said.contains("Missing pages"), name != "byte", "{name}: {}", run.said);
    }
    // A filtered ELF core: memory without data, and a file that has all that is promised.
    let mut bytes = machine.bytes.to_vec();
    let at = usize::try_from(HEADERS + 56 + FILE_SIZE).unwrap();
    bytes[at..at + 8].copy_from_slice(&PAGE.to_le_bytes());
    bytes.truncate(usize::try_from(machine.offset(SECOND) + PAGE).unwrap());
    std::fs::write(path.path(), bytes).unwrap();
    let filtered = run("filtered", path.path(), 31);
    assert_eq!(filtered.status, 0, "{}", filtered.said);
}

#[test]
fn the_program_survives_a_vmcore_that_lies() {
    let machine = Machine::new();
    let path = tempfile::NamedTempFile::new().unwrap();
    let save = |patches: &[(u64, Vec<u8>)]| {
        let mut bytes = machine.bytes.to_vec();
        for (at, patch) in patches {
            let at = usize::try_from(*at).unwrap();
            bytes[at..at + patch.len()].copy_from_slice(patch);
        }
        std::fs::write(path.path(), bytes).unwrap();
    };
    let header = HEADERS + 56;
    let first: BTreeSet<u64> = machine.kept(31).into_iter().filter(|&pfn| pfn < SECOND).collect();
    save(&[(header + FILE_OFFSET, (1u64 << 40).to_le_bytes().to_vec())]);
    let outside = run("outside", path.path(), 31);
    assert_eq!((outside.status, pages_of(&outside.kdump)), (7, first), "{}", outside.said);
    outside.assert_says(&["warning: opening vmcore", "inside a segment of memory: 256 pages are missing"]);

    // Cut at the end of its page, inside a line that some other tool needs.
    let text = &machine.core.vmcoreinfo;
    let cut = text.find("NUMBER(PG_lru)").unwrap() + 9;
    save(&[(machine.text_at() + cut as u64, vec![0; text.len() - cut])]);
    let thin = run("thin", path.path(), 31);
    thin.assert_says(&[
        "its VMCOREINFO is cut: keys at its end are missing",
        "user pages cannot be recognised and are kept: VMCOREINFO has no usable NUMBER(PG_slab)",
        "cache pages cannot be recognised and are kept: VMCOREINFO has no usable NUMBER(PG_lru)",
    ]);
    assert!(pages_of(&thin.kdump).is_superset(&machine.kept(31)), "{}", thin.said);
    assert_eq!(thin.status, 6);

    // Without its page tables nothing can be judged, and the status tells.
    let root = machine.symbol("init_top_pgt").wrapping_sub(machine.core.arch.image);
    save(&[(machine.offset(root / PAGE), vec![0xff; 4096])]);
    let blind = run("blind", path.path(), 31);
    assert_eq!((blind.status, pages_of(&blind.kdump)), (6, machine.with_data()), "{}", blind.said);
}
