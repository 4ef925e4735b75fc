//! Real memory: guests of several kernels that crashed in the lab. makedumpfile judges the classes and bitmaps, the
//! vmcore itself every page, crash and drgn the restored dumps.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod readers;

use common::handover::{From, hand_over};
use common::mounted::{self, Mounted};
use common::{judge, or_skip, or_skip_anywhere, succeed, text};
use readers::{Elf, Found, Kdump};
use std::path::{Path, PathBuf};
use std::process::Command;
use vmcore_encrypt::filter::{Beyond, Classifier, DumpLevel, PageClass, Proof, Survey, Wanted};
use vmcore_encrypt::mm::{KernelMemory, MemMap};
use vmcore_encrypt::units::{Pfn, PfnRange, PfnSet};
use vmcore_encrypt::vmcore::Vmcore;

/// The lines of the report that both programs count alike; the others count the kernel image twice there.
const CLASSES: [&str; 7] = [
    "Pages filled with zero",
    "Non-private cache pages",
    "Private cache pages",
    "User process data pages",
    "Free pages",
    "Hwpoison pages",
    "Offline pages",
];

struct Keys {
    identity: PathBuf,
    recipients: PathBuf,
}

impl Keys {
    fn new(dir: &Path) -> Keys {
        let (identity, recipients) = common::keys(dir);
        Keys { identity, recipients }
    }

    /// Encrypts a vmcore; the report.
    fn encrypt(&self, vmcore: &Path, level: u8, out: &Path, more: &[&str]) -> String {
        let mut command = common::encrypt();
        command.args(["-f", "-d", &level.to_string(), "--recipients-file"]).arg(&self.recipients);
        let output = common::run(command.args(more).arg(vmcore).arg(out));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    }

    fn decrypt(&self, dump: &Path, out: &Path, more: &[&str]) {
        succeed(common::decrypt().args(more).args(["-f", "-i"]).arg(&self.identity).arg(dump).arg(out));
    }
}

fn counts(report: &str) -> Vec<u64> {
    CLASSES.into_iter().map(|name| count(report, name)).collect()
}

/// The number in a line of the report.
fn count(report: &str, name: &str) -> u64 {
    let line = report.lines().find(|line| line.trim_start().starts_with(name));
    let hex =
        line.and_then(|line| line.split("0x").nth(1)).unwrap_or_else(|| panic!("no {name:?} in\n{report}"));
    u64::from_str_radix(hex.trim(), 16).unwrap()
}

/// makedumpfile's report and its dump.
fn peer(program: &Path, vmcore: &Path, level: u8, out: &Path) -> (Vec<u64>, Kdump) {
    let _ = std::fs::remove_file(out);
    let mut command = Command::new(program);
    command.args(["--message-level", "16", "-l", "-d", &level.to_string()]).arg(vmcore).arg(out);
    (counts(&succeed(&mut command)), Kdump::open(out))
}

/// Counts and both bitmaps at these levels are makedumpfile's.
fn assert_peer_agrees(name: &str, levels: impl IntoIterator<Item = u8>) {
    let dir = common::scratch(&format!("real-{name}"));
    let keys = Keys::new(&dir);
    let Some(vmcore) = or_skip(common::vmcore(name)) else { return };
    let Some(makedumpfile) = or_skip(judge::program("makedumpfile")) else { return };
    let [dump, restored, theirs] = ["dump.age", "restored", "theirs"].map(|name| dir.join(name));
    for level in levels {
        let report = keys.encrypt(&vmcore, level, &dump, &["--as-makedumpfile"]);
        let (expected, kdump) = peer(&makedumpfile, &vmcore, level, &theirs);
        assert_eq!(counts(&report), expected, "{name}, level {level}");
        keys.decrypt(&dump, &restored, &["--compress", "none"]);
        assert!(Kdump::open(&restored).bitmaps() == kdump.bitmaps(), "{name}, level {level}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn makedumpfile_leaves_out_the_same_pages() {
    assert_peer_agrees("bookworm-5level-kdump", 0..=31);
    assert_peer_agrees("bookworm-4level-kdump", [0, 1, 2, 4, 8, 16, 31]);
    assert_peer_agrees("trixie-5level-kdump", [0, 1, 2, 4, 8, 16, 31]);
}

/// Without bit 8: there makedumpfile 1.7.8 takes tail pages of kernel 7.1 and later for user data, docs/filtering.md.
const LEVELS_OF_NEWER_KERNELS: [u8; 6] = [0, 1, 2, 4, 16, 23];

#[test]
fn makedumpfile_leaves_out_the_same_pages_of_newer_kernels_but_for_user_pages() {
    assert_peer_agrees("backports-5level-kdump", LEVELS_OF_NEWER_KERNELS);
    assert_peer_agrees("sid-5level-kdump", LEVELS_OF_NEWER_KERNELS);
}

/// Every kernel that the archive has, at both numbers of page table levels.
#[test]
#[ignore = "make matrix"]
fn matrix_kernels_are_filtered_as_makedumpfile_does_it() {
    for kernel in or_skip(common::kernels()).unwrap_or_default() {
        for paging in ["4level", "5level"] {
            let name = format!("{kernel}-{paging}-kdump");
            assert_peer_agrees(&name, LEVELS_OF_NEWER_KERNELS);
            assert_every_page(&name);
            assert_task_slabs(&name);
        }
    }
}

/// Every page that is not excluded has the vmcore's bytes, and what is excluded says so.
fn assert_every_page(name: &str) {
    let dir = common::scratch(&format!("pages-{name}"));
    let keys = Keys::new(&dir);
    let Some(vmcore) = or_skip(common::vmcore(name)) else { return };
    let [dump, restored, elf] = ["dump.age", "restored", "elf"].map(|name| dir.join(name));
    let source = Elf::open(&vmcore, 4096);
    for level in [0, 31] {
        keys.encrypt(&vmcore, level, &dump, &[]);
        keys.decrypt(&dump, &restored, &["--compress", "zlib"]);
        keys.decrypt(&dump, &elf, &["--format", "elf"]);
        let (kdump, elf) = (Kdump::open(&restored), Elf::open(&elf, 4096));
        let mut excluded = 0;
        for pfn in 0..kdump.max_mapnr {
            match kdump.page(pfn) {
                Found::Absent => {
                    assert_eq!((source.page(pfn), elf.page(pfn)), (None, None), "{name}, {pfn:#x}");
                }
                Found::Excluded => {
                    excluded += 1;
                    assert!(elf.page(pfn).is_none() && source.page(pfn).is_some(), "{name}, {pfn:#x}");
                }
                Found::Bytes(bytes) => {
                    assert!(source.page(pfn) == Some(&bytes[..]), "{name}, level {level}, {pfn:#x}");
                    assert!(elf.page(pfn) == Some(&bytes[..]), "{name}, level {level}, {pfn:#x}, ELF");
                }
            }
        }
        assert_eq!(excluded > 1000, level == 31, "{name}: {excluded} pages excluded at level {level}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn every_page_of_real_memory_comes_back() {
    for name in [
        "bookworm-5level-kdump",
        "bookworm-5level-qemu",
        "trixie-4level-qemu",
        "backports-5level-kdump",
        "sid-5level-kdump",
    ] {
        assert_every_page(name);
    }
}

/// crash and drgn show of a dump what the guest did; nothing where one of them is absent.
fn assert_shown(dump: &Path, vmlinux: &Path, vmcore: &Path) -> Option<()> {
    judge::assert_crash_shows(dump, vmlinux)?;
    judge::assert_drgn_shows(dump, vmlinux, &vmcore.with_extension("secrets")).map(drop)
}

/// The same on the mount's two views, without restoring; the ELF view to gdb as well.
fn assert_mounted_shows(keys: &Keys, dump: &Path, vmlinux: &Path, vmcore: &Path, sum: &str) {
    if !mounted::can_mount() {
        return;
    }
    let directory = dump.with_file_name("mnt");
    std::fs::create_dir(&directory).unwrap();
    let mount = Mounted::new(&keys.identity, dump, &directory);
    let views = ["vmcore", "vmcore.elf"].map(|name| mount.file(name));
    for view in &views {
        assert_shown(view, vmlinux, vmcore);
        assert_eq!(or_skip(judge::pages(view, MAX_MAPNR)).as_deref(), Some(sum), "{}", view.display());
    }
    let info = std::fs::read_to_string(mount.file("vmcoreinfo.txt")).unwrap();
    let uts = info.lines().find_map(|line| line.strip_prefix("SYMBOL(init_uts_ns)=")).unwrap();
    let commands = [&*format!("x/s 0x{uts}"), &format!("x/s 0x{uts} + 130")];
    let Some(seen) = or_skip(judge::gdb(&views[1], &commands)) else { return };
    let release = info.lines().find_map(|line| line.strip_prefix("OSRELEASE=")).unwrap();
    assert!(seen.contains("\"Linux\"") && seen.contains(release), "{seen}");
}

/// More pages than the lab's guests have.
const MAX_MAPNR: u64 = 1 << 17;

#[test]
fn crash_and_drgn_read_every_form_and_the_mount() {
    let dir = common::scratch("real-readers");
    let keys = Keys::new(&dir);
    let Some(vmcore) = or_skip(common::vmcore("bookworm-5level-kdump")) else { return };
    let Some(vmlinux) = or_skip(common::vmlinux("bookworm")) else { return };
    let dump = dir.join("dump.age");
    keys.encrypt(&vmcore, 31, &dump, &[]);
    let mut first = None;
    for form in [
        &["--compress", "zstd"][..],
        &["--compress", "zlib"],
        &["--compress", "lzo"],
        &["--compress", "snappy"],
        &["--compress", "none"],
        &["--format", "elf"],
        &["--format", "flattened"],
    ] {
        let restored = dir.join("restored");
        keys.decrypt(&dump, &restored, form);
        if assert_shown(&restored, &vmlinux, &vmcore).is_none() {
            return;
        }
        let Some(sum) = or_skip(judge::pages(&restored, MAX_MAPNR)) else { return };
        assert_eq!(*first.get_or_insert(sum.clone()), sum, "{form:?}");
    }
    let Some(sum) = first else { return };
    assert_mounted_shows(&keys, &dump, &vmlinux, &vmcore, &sum);
    std::fs::remove_dir_all(dir).unwrap();
}

/// What an analyst asks crash. Each answer is the same with and without the structures of pages that are left out.
const ASKED: [&str; 22] = [
    "sys",
    "bt -a",
    "ps",
    "log",
    "mod",
    "files",
    "kmem -i",
    "kmem -s",
    "kmem -f",
    "kmem -n",
    "kmem -v",
    "kmem -z",
    "vm",
    "foreach bt",
    "runq",
    "mount",
    "net",
    "irq",
    "timer",
    "dev",
    "swap",
    "foreach files",
];

/// Without the structures of pages that are left out crash and drgn show the very same, free lists and page cache included.
fn assert_structures_are_not_missed(name: &str, options: &[&str]) -> Option<()> {
    let dir = common::scratch(&format!("real-structures-{name}"));
    let keys = Keys::new(&dir);
    let vmcore = or_skip(common::vmcore(name))?;
    let suite = name.split('-').next().unwrap();
    let vmlinux = or_skip(common::vmlinux(suite))?;
    let [dump, with, without] = ["dump.age", "with", "without"].map(|name| dir.join(name));
    let report = keys.encrypt(&vmcore, 31, &dump, &[&["--keep-page-structures"], options].concat());
    assert!(!report.contains("Page structures"), "{report}");
    keys.decrypt(&dump, &with, &[]);
    let report = keys.encrypt(&vmcore, 31, &dump, options);
    let gone = count(&report, "Page structures");
    assert!(gone > 100, "{report}");
    keys.decrypt(&dump, &without, &[]);
    let info = succeed(common::decrypt().args(["info", "--json", "-i"]).arg(&keys.identity).arg(&dump));
    assert!(info.contains(&format!("\"structures\": {gone}")), "{info}");
    assert!(info.contains("\"without_structures\": true"), "{info}");
    let expected = or_skip(judge::objects(&with, &vmlinux))?;
    assert!(expected.contains("free blocks: ") && !expected.contains(": 0 "), "{expected}");
    assert_eq!(or_skip(judge::objects(&without, &vmlinux))?, expected);
    // crash 9 knows no kernel from 7.0 on.
    if std::fs::read_to_string(vmcore.with_extension("release")).unwrap().as_str() < "7" {
        let core = Vmcore::open(&vmcore).unwrap();
        let names = core.vmcoreinfo().unwrap().symbol("init_uts_ns").unwrap();
        let vtop = format!("vtop {:x}", names.0);
        let asked: Vec<&str> = ASKED.into_iter().chain([&*vtop]).collect();
        let expected = or_skip(judge::crash(&with, &vmlinux, &asked))?;
        assert!(expected.contains("FREE_AREA_STRUCT") && expected.contains("TOTAL MEM"), "{expected}");
        assert_eq!(or_skip(judge::crash(&without, &vmlinux, &asked))?, expected);
    }
    std::fs::remove_dir_all(dir).unwrap();
    Some(())
}

#[test]
fn crash_and_drgn_do_without_the_structures_of_pages_that_are_left_out() {
    for name in ["bookworm-5level-kdump", "trixie-5level-kdump", "sid-5level-kdump"] {
        if assert_structures_are_not_missed(name, &[]).is_none() {
            return;
        }
    }
}

/// Huge pages whose tails have their structures in one page of memory: those of tails 128 and 192 are where pages begin.
fn shared_structures(vmcore: &Vmcore) -> usize {
    let memory = KernelMemory::new(vmcore).unwrap();
    let map = MemMap::new(&memory, 64).unwrap();
    let place = |pfn: u64| memory.translate(map.struct_page(&memory, Pfn(pfn)).ok()??).ok();
    let shared = |first: u64| place(first + 128).is_some_and(|at| place(first + 192) == Some(at));
    let end = vmcore.present().iter().last().unwrap().end.0;
    (0..end).step_by(512).filter(|first| shared(*first)).count()
}

/// Every kernel whose debug information the archive has.
#[test]
#[ignore = "make matrix"]
fn matrix_structures_of_every_kernel_are_not_missed() {
    for kernel in or_skip(common::kernels()).unwrap_or_default() {
        let name = format!("{kernel}-5level-kdump");
        let Some(vmcore) = or_skip(common::vmcore(&name)) else { return };
        let release = std::fs::read_to_string(vmcore.with_extension("release")).unwrap();
        // libkdumpfile, by which drgn reads dumps, refuses a release of two numbers, as 7.3-cloud-amd64.
        let is_read = release.split(['-', '+']).next().unwrap().split('.').count() == 3;
        if is_read && or_skip_anywhere(common::vmlinux(&kernel)).is_some() {
            assert_structures_are_not_missed(&name, &[]);
        }
    }
}

/// The kernel maps a page of structures several times for huge pages; machines whose structures are most of the dump.
#[test]
#[ignore = "make matrix"]
fn matrix_structures_of_huge_pages_and_large_machines_are_not_missed() {
    for suite in ["bookworm", "trixie", "sid"] {
        let name = format!("{suite}-5level-hugetlb");
        let Some(vmcore) = or_skip(common::vmcore(&name)) else { return };
        assert_eq!(shared_structures(&Vmcore::open(&vmcore).unwrap()), 64, "{name}");
        assert_structures_are_not_missed(&name, &[]);
        assert_peer_agrees(&name, LEVELS_OF_NEWER_KERNELS);
    }
    for name in ["bookworm-5level-large18", "trixie-5level-large128"] {
        // Memory of QEMU's firmware has no structures, which is a warning.
        assert_structures_are_not_missed(name, &["--warnings-exit-0"]);
    }
}

/// Page by page, by a walker that knows the lists from the debug information: `tests/vm/drgn/lists.py`. A page that is
/// left out is on a list; one on a list is left out, unless its list is counted as doubtful.
fn assert_listed(suite: &str, guest: &str) {
    let name = format!("{suite}-{guest}");
    let Some(path) = or_skip(common::vmcore(&name)) else { return };
    // The archive drops the debug information of older kernels before the kernels.
    let machine = if guest.starts_with("ppc64el") { "-ppc64el" } else { "" };
    let Some(vmlinux) = or_skip_anywhere(common::vmlinux(&format!("{suite}{machine}"))) else { return };
    let Some(seen) = or_skip(judge::listed(&path, &vmlinux)) else { return };
    let vmcore = Vmcore::open(&path).unwrap();
    let (mut classifier, _) = Classifier::new(&vmcore, DumpLevel::ALL);
    let mut found = Vec::new();
    while let Some(window) = classifier.next_window() {
        let pages = (window.range.start.0..).zip(window.classes);
        found.extend(pages.filter(|(_, class)| **class == PageClass::CpuList).map(|(pfn, _)| pfn));
    }
    assert!(!found.is_empty(), "{name}");
    let wrong: Vec<u64> = found.iter().copied().filter(|pfn| seen.binary_search(pfn).is_err()).collect();
    assert!(wrong.is_empty(), "{name}: left out, and on no list: {wrong:x?}");
    let (missed, doubtful) = (seen.len() - found.len(), classifier.counts().doubtful_lists);
    assert!(missed == 0 || doubtful > 0, "{name}: {missed} of {} are missed", seen.len());
}

#[test]
fn pages_that_are_left_out_as_listed_are_on_lists_of_cpus() {
    for (suite, guest) in [
        ("bookworm", "5level-kdump"),
        ("bookworm", "5level-qemu"),
        ("trixie", "5level-kdump"),
        ("trixie", "4level-qemu"),
        ("sid", "5level-kdump"),
    ] {
        assert_listed(suite, guest);
    }
}

/// Every kernel that the archive has, at both numbers of page table levels, and machines of 4 GB, idle and busy.
#[test]
#[ignore = "make matrix"]
fn matrix_kernels_have_the_pages_on_lists_of_cpus_that_are_left_out() {
    for kernel in or_skip(common::kernels()).unwrap_or_default() {
        assert_listed(&kernel, "4level-kdump");
        assert_listed(&kernel, "5level-kdump");
    }
    for guest in ["5level-idle", "5level-busy"] {
        assert_listed("bookworm", guest);
    }
    assert_listed("sid", "ppc64el-kdump");
}

/// What a size limit leaves of a dump, as a share of one at level 31: a fifth lists every task, three quarters (this
/// guest is small, so its kernel's image is most of that) do for crash as well.
#[test]
fn a_dump_that_a_limit_cuts_lists_every_task() {
    let dir = common::scratch("real-limit");
    let keys = Keys::new(&dir);
    let Some(vmcore) = or_skip(common::vmcore("bookworm-5level-kdump")) else { return };
    let Some(vmlinux) = or_skip(common::vmlinux("bookworm")) else { return };
    let [dump, restored] = ["dump.age", "restored"].map(|name| dir.join(name));
    keys.encrypt(&vmcore, 31, &dump, &[]);
    keys.decrypt(&dump, &restored, &[]);
    let whole = std::fs::metadata(&dump).unwrap().len();
    let Some((tasks, stacks)) = or_skip(judge::tasks(&restored, &vmlinux)) else { return };
    assert!(tasks > 40 && stacks > 40, "{tasks} tasks, {stacks} stacks");
    for (level, percent) in [(31, 20), (0, 20), (31, 75)] {
        let limit = whole * percent / 100;
        let mut command = common::encrypt();
        command.args(["-f", "-d", &level.to_string(), "-L", &limit.to_string(), "--recipients-file"]);
        let output = common::run(command.arg(&keys.recipients).arg(&vmcore).arg(&dump));
        assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
        assert!(std::fs::metadata(&dump).unwrap().len() <= limit);
        keys.decrypt(&dump, &restored, &[]);
        let found = or_skip(judge::tasks(&restored, &vmlinux)).unwrap();
        assert_eq!(found.0, tasks, "level {level}, {percent} %");
        // Where module texts are missing a stack may end there.
        assert!(found.1 + 2 >= stacks, "level {level}, {percent} %: {} stacks of {stacks}", found.1);
    }
    let Some(seen) = or_skip(judge::crash(&restored, &vmlinux, &["sys", "bt", "ps", "log"])) else { return };
    for expected in judge::SHOWN.iter().filter(|text| !["TOTAL MEM", "virtio_blk"].contains(text)) {
        assert!(seen.contains(expected), "crash does not show {expected}:\n{seen}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

/// The slabs of tasks are told from the others, and by the kernel's types as without them.
fn assert_task_slabs(name: &str) {
    let Some(path) = or_skip(common::vmcore(name)) else { return };
    let vmcore = Vmcore::open(&path).unwrap();
    let found = [0, u64::MAX].map(|types_from| {
        let survey = Survey::of(&vmcore, &[], Beyond { types_from, ..Beyond::default() });
        assert_eq!(matches!(survey.proof(), Some(Proof::Zones)), types_from == 0, "{name}");
        let all = PfnRange { start: Pfn(0), end: survey.max_mapnr() };
        [Wanted::Tasks, Wanted::Kernel, Wanted::Essential].map(|wanted| {
            let mut pages = survey.pages(DumpLevel::ALL, wanted, all);
            let windows = std::iter::from_fn(|| pages.next_window());
            windows.flat_map(|pages| pages.wanted).collect::<PfnSet>()
        })
    });
    let [tasks, kernel, essential] = &found[0];
    let slabs = essential.count() - tasks.count() - kernel.count();
    // 80000 pages have 1250 pages of structures; the rest are slabs.
    assert!(slabs > 3000 && kernel.count() > slabs, "{name}: {slabs} late");
    assert!(tasks.count() > 100 && tasks.count() < slabs, "{name}: {} of tasks", tasks.count());
    // Without types the first slabs are the kernel's, until one leads to a name that every kernel has, and page tables are,
    // which are a type of their own since 6.12.
    let [more, missing] = [0, 1].map(|at| found[1][at].clone().without(&found[0][at]).count());
    assert!(more == 0 && missing < 2000, "{name}: {more} more, {missing} missing");
    assert!(found[0][0].clone().without(&found[1][0]).count() <= missing, "{name}");
}

/// Which slabs hold tasks follows from names that the kernel's memory leads to, differently by release.
#[test]
fn slabs_of_tasks_are_told_from_others_on_every_kernel() {
    for suite in ["bookworm", "trixie", "backports", "sid"] {
        assert_task_slabs(&format!("{suite}-5level-kdump"));
    }
}

#[test]
fn stock_tools_alone_give_a_dump_that_crash_reads() {
    let dir = common::scratch("real-stock");
    let keys = Keys::new(&dir);
    let Some(vmcore) = or_skip(common::vmcore("bookworm-5level-kdump")) else { return };
    let Some(vmlinux) = or_skip(common::vmlinux("bookworm")) else { return };
    let Some(makedumpfile) = or_skip(judge::program("makedumpfile")) else { return };
    let [dump, restored] = ["dump.age", "restored"].map(|name| dir.join(name));
    keys.encrypt(&vmcore, 31, &dump, &[]);
    let script = "set -e -o pipefail; age -d -i \"$1\" \"$2\" | zstd -d | \"$3\" -R \"$4\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash"]).arg(&keys.identity).arg(&dump).arg(makedumpfile).arg(&restored);
    succeed(&mut command);
    if judge::assert_crash_shows(&restored, &vmlinux).is_none() {
        return;
    }
    std::fs::remove_dir_all(dir).unwrap();
}

/// The dump that the commands of docs/handover.md make for a vendor is read by crash, which reports what was erased, and by
/// makedumpfile, which keeps the record of it in what it makes of the dump.
#[test]
#[ignore = "make matrix"]
fn matrix_what_is_handed_over_is_read_by_crash_and_makedumpfile() {
    let Some(vmcore) = or_skip(common::vmcore("bookworm-5level-kdump")) else { return };
    let Some(vmlinux) = or_skip(common::vmlinux("bookworm")) else { return };
    let Some(makedumpfile) = or_skip(judge::program("makedumpfile")) else { return };
    let dir = common::scratch("real-handover");
    let handed = hand_over(&dir, &vmcore, From::Kdump);
    let [theirs, low, kept, log] = ["vmcore", "vmcore.age", "kept.age", "log"].map(|name| dir.join(name));
    if judge::assert_crash_shows(&theirs, &vmlinux).is_none() {
        return;
    }
    let shown = judge::crash(&theirs, &vmlinux, &["help -D"]).unwrap();
    for line in ["erase cmdline.", "erase registers.", "# vmcore-decrypt redact dm-crypt: absent"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let mut command = Command::new(&makedumpfile);
    succeed(command.arg("--dump-dmesg").args([&theirs, &log]));
    assert!(std::fs::read_to_string(&log).unwrap().contains("Kernel panic"));
    // It filters only what has its page structures.
    let mut refilter = common::decrypt();
    refilter.args(["refilter", "-d", "31", "--redact", "--keep-page-structures", "-R"]);
    succeed(refilter.arg(dir.join("vendor.txt")).arg("-i").arg(&handed.identity).args([&low, &kept]));
    let [restored, again] = ["restored", "again"].map(|name| dir.join(name));
    succeed(common::decrypt().arg("-i").args([&handed.vendor, &kept, &restored]));
    succeed(Command::new(&makedumpfile).args(["-l", "-d", "31"]).args([&restored, &again]));
    let bytes = std::fs::read(&again).unwrap();
    assert!(bytes.windows(14).any(|window| window == b"erase cmdline."));
    std::fs::remove_dir_all(dir).unwrap();
}

/// What QEMU makes of the memory of one guest, which is what libvirt's `virsh dump --memory-only` asks it for: an ELF core
/// without and with the guest's page tables, and files in the KDUMP format of every compression, which are flattened.
#[test]
#[ignore = "make matrix"]
fn matrix_formats_of_a_hypervisor_give_the_same_dump() {
    let dir = common::scratch("real-hypervisor");
    let keys = Keys::new(&dir);
    let plain = dir.join("elf");
    let formats = [("-p", "paging"), ("-z", "kdump-zlib"), ("-l", "kdump-lzo"), ("-s", "kdump-snappy")];
    let mut args: Vec<String> = ["--suite", "bookworm", "--work"].map(str::to_owned).to_vec();
    args.extend([dir.join("work").display().to_string(), "--dump".into(), plain.display().to_string()]);
    for (option, name) in formats {
        args.extend(["--dump-as".into(), format!("{option}:{}", dir.join(name).display())]);
    }
    if or_skip(common::lab("crash.sh", &args)).is_none() {
        return;
    }
    let [dump, restored] = ["dump.age", "restored"].map(|name| dir.join(name));
    let read = |input: &Path, level: u8| {
        keys.encrypt(input, level, &dump, &[]);
        keys.decrypt(&dump, &restored, &["--compress", "none"]);
        let log = succeed(common::decrypt().args(["dmesg", "-i"]).arg(&keys.identity).arg(&dump));
        assert!(log.contains("Kernel panic"), "{}: {log}", input.display());
        Kdump::open(&restored)
    };
    for level in [1, 31] {
        let expected = read(&plain, level);
        for (_, name) in formats {
            let input = dir.join(name);
            // A QEMU that was built without a codec makes no file.
            if !input.exists() && name != "paging" && name != "kdump-zlib" {
                eprintln!("QEMU made no {name}");
                continue;
            }
            let found = read(&input, level);
            assert!(found.vmcoreinfo() == expected.vmcoreinfo() && !found.vmcoreinfo().is_empty(), "{name}");
            let page = |dump: &Kdump, pfn: u64| {
                if pfn < dump.max_mapnr { dump.page(pfn) } else { Found::Absent }
            };
            let (mut differ, mut lacking, mut more) = (Vec::new(), 0_u64, 0_u64);
            for pfn in 0..expected.max_mapnr.max(found.max_mapnr) {
                match (page(&expected, pfn), page(&found, pfn)) {
                    (Found::Bytes(one), Found::Bytes(other)) if one != other => differ.push(pfn),
                    (Found::Bytes(_), Found::Absent | Found::Excluded) => lacking += 1,
                    (Found::Absent | Found::Excluded, Found::Bytes(_)) => more += 1,
                    _ => {}
                }
            }
            assert!(differ.is_empty(), "{name} at level {level}: {differ:x?}");
            // With page tables QEMU lists mapped memory alone.
            assert!(lacking <= if name == "paging" { 64 } else { 0 }, "{name} at level {level}: {lacking}");
            assert_eq!(more, 0, "{name} at level {level}");
        }
    }
    std::fs::remove_dir_all(dir).unwrap();
}
