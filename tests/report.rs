//! `vmcore-decrypt report`: on a machine that does not describe itself, and on guests that crashed, whose stacks drgn
//! unwinds with full debug information.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod synth;

use common::mounted::Mounted;
use common::{judge, or_skip, succeed, text};
use serde_json::Value;
use std::collections::HashSet;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use synth::{Synth, arch, kernel};

/// A dump of a vmcore at level 31, and its identity.
fn encrypted(dir: &Path, vmcore: &Path) -> (PathBuf, PathBuf) {
    let (identity, recipients) = common::keys(dir);
    let dump = dir.join("dump.age");
    succeed(common::encrypt().args(["-d", "31", "-R"]).arg(recipients).arg(vmcore).arg(&dump));
    (identity, dump)
}

/// A report that uses no cache but that in the dump's directory.
fn command(identity: &Path, dump: &Path, more: &[&str]) -> Command {
    let mut decrypt = common::decrypt();
    decrypt.env("XDG_CACHE_HOME", dump.with_file_name("cache"));
    decrypt.args(["report", "-i"]).arg(identity).args(more).arg(dump);
    decrypt
}

fn report(identity: &Path, dump: &Path, more: &[&str]) -> String {
    succeed(&mut command(identity, dump, more))
}

#[test]
fn a_kernel_that_does_not_describe_itself_still_has_a_log() {
    let dir = common::scratch("report-synth");
    let core = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).ram(0x10_0000..0x80_0000).build();
    core.write_to(&dir.join("vmcore"));
    let (identity, dump) = encrypted(&dir, &dir.join("vmcore"));
    let text = report(&identity, &dump, &[]);
    assert!(text.contains("Kernel         6.12"), "{text}");
    assert!(
        text.contains(
            "Not readable   the kernel's symbol table is not usable: VMCOREINFO does not lead to it"
        ),
        "{text}"
    );
    assert!(text.contains("Last lines of the log"), "{text}");
    let last = core.log.as_bytes().rsplit(|&byte| byte == b'\n').nth(1).unwrap().to_vec();
    assert!(text.contains(&String::from_utf8(last).unwrap()), "{text}");
    let json: Value = serde_json::from_str(&report(&identity, &dump, &["--json"])).unwrap();
    assert!(json["tasks"]["error"].as_str().unwrap().contains("not usable"), "{json}");
    assert_eq!(json["system"]["machine"], "x86_64");
    std::fs::remove_dir_all(dir).unwrap();
}

/// Every return address of every stack is drgn's.
fn assert_drgn_agrees(name: &str, suite: &str) {
    let Some(vmcore) = or_skip(common::vmcore(name)) else { return };
    let Some(vmlinux) = or_skip(common::vmlinux(suite)) else { return };
    let Some((expected, disks)) = or_skip(judge::stacks(&vmcore, &vmlinux)) else { return };
    let dir = common::scratch(&format!("report-{name}"));
    let (identity, dump) = encrypted(&dir, &vmcore);
    let json: Value = serde_json::from_str(&report(&identity, &dump, &["--json", "--tasks", "all"])).unwrap();
    assert_eq!(json["missing"], Value::Array(Vec::new()));
    judge::assert_stacks_are(&json, &expected, name);
    judge::assert_disks_are(&json, &disks, name);
    assert_eq!(json["crash"]["panic"], "Kernel panic - not syncing: sysrq triggered crash");
    assert_eq!(json["signature"][0], "sysrq_handle_crash", "{}", json["crash"]);
    assert_eq!(json["crash"]["task"]["name"], "crasher");
    std::fs::remove_dir_all(dir).unwrap();
}

/// A report, and what was printed on standard error.
fn with_messages(identity: &Path, dump: &Path) -> (String, String) {
    let output = common::run(&mut command(identity, dump, &["--tasks", "all"]));
    assert!(output.status.success(), "{output:?}");
    (text(&output.stdout), text(&output.stderr))
}

/// The only entry of the cache of a dump.
fn entry(dump: &Path) -> PathBuf {
    let tables = dump.with_file_name("cache/vmcore-decrypt/tables");
    let names = common::names(&tables);
    let [name] = &names[..] else { panic!("{names:?}") };
    tables.join(name)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn tables_of_a_build_are_kept_and_no_dump_changes_those_of_another() {
    let Some(vmcore) = or_skip(common::vmcore("trixie-5level-kdump")) else { return };
    let dir = common::scratch("report-cache");
    let (identity, dump) = encrypted(&dir, &vmcore);
    let expected = report(&identity, &dump, &["--tasks", "all", "--no-cache"]);
    assert!(!dir.join("cache").exists());
    let again = || with_messages(&identity, &dump);

    // The first report makes the entry; the second uses it, which its time shows.
    assert_eq!(again(), (expected.clone(), String::new()));
    let entry = entry(&dump);
    assert_eq!([mode(&entry), mode(entry.parent().unwrap())], [0o600, 0o700]);
    let kept = std::fs::read(&entry).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::open(&entry).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(again(), (expected.clone(), String::new()));
    assert!(entry.metadata().unwrap().modified().unwrap() > long_ago);
    assert!(std::fs::read(&entry).unwrap() == kept);

    // A mount's report uses it as well, unless it is not to.
    if common::mounted::can_mount() {
        let directory = dir.join("mnt");
        std::fs::create_dir(&directory).unwrap();
        for words in [&[][..], &["--no-cache"]] {
            File::open(&entry).unwrap().set_modified(long_ago).unwrap();
            let mut command = common::decrypt();
            command.env("XDG_CACHE_HOME", dump.with_file_name("cache"));
            command.args(["mount"]).args(words);
            let mounted = Mounted::by(command, &identity, &dump, &directory);
            let seen = std::fs::read_to_string(mounted.file("report.txt")).unwrap();
            drop(mounted);
            assert_eq!(seen, report(&identity, &dump, &["--no-cache"]));
            assert_eq!(entry.metadata().unwrap().modified().unwrap() > long_ago, words.is_empty());
        }
        assert!(std::fs::read(&entry).unwrap() == kept);
    }

    // What is no entry is made anew.
    for bytes in [&b""[..], b"not tables", &kept[..kept.len() / 2]] {
        std::fs::write(&entry, bytes).unwrap();
        assert_eq!(again(), (expected.clone(), String::new()));
        assert!(std::fs::read(&entry).unwrap() == kept);
    }

    // Nothing is read or kept where others can write.
    let cache = dump.with_file_name("cache");
    std::fs::set_permissions(&cache, Permissions::from_mode(0o777)).unwrap();
    std::fs::remove_file(&entry).unwrap();
    let (seen, messages) = again();
    assert_eq!(seen, expected);
    assert!(
        messages.contains("note: opening the cache of kernel tables") && messages.contains("0777"),
        "{messages}"
    );
    assert!(!entry.exists());
    std::fs::set_permissions(&cache, Permissions::from_mode(0o700)).unwrap();

    // Another kernel's dump has named this build id, and came first.
    let Some(other) = or_skip(common::vmcore("bookworm-5level-kdump")) else { return };
    let (other_identity, other_dump) = encrypted(&common::scratch("report-cache-other"), &other);
    report(&other_identity, &other_dump, &[]);
    let planted = std::fs::read(self::entry(&other_dump)).unwrap();
    std::fs::write(&entry, &planted).unwrap();
    let (seen, messages) = again();
    assert_eq!(seen, expected);
    assert!(messages.contains("warning: using the tables of kernel build"), "{messages}");
    assert!(
        messages.contains("the dump's own are used") && messages.contains("forged or damaged"),
        "{messages}"
    );
    assert!(std::fs::read(&entry).unwrap() == planted);
    std::fs::remove_dir_all(other_dump.parent().unwrap()).unwrap();
    std::fs::remove_dir_all(dir).unwrap();
}

/// The section of an ELF file.
fn section(path: &Path, name: &str) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let elf = goblin::elf::Elf::parse(&bytes).unwrap();
    let wanted = |header: &&goblin::elf::SectionHeader| elf.shdr_strtab.get_at(header.sh_name) == Some(name);
    let range = elf.section_headers.iter().find(wanted).unwrap().file_range().unwrap();
    bytes[range].to_vec()
}

/// Debian's readers of types take those of a kernel and of its modules.
fn assert_readers_agree(types: &Path) {
    let (btf, module) = (types.join("btf"), types.join("btf.d/virtio_blk"));
    if let Some(pahole) = or_skip(judge::program("pahole")) {
        let shown = succeed(Command::new(&pahole).args(["-C", "task_struct"]).arg(&btf));
        assert!(shown.contains("struct task_struct {") && shown.contains("comm[16]"), "{shown}");
        let shown =
            succeed(Command::new(&pahole).args(["-C", "virtblk_req", "--btf_base"]).arg(&btf).arg(&module));
        assert!(shown.contains("struct virtblk_req {") && shown.contains("struct scatterlist"), "{shown}");
    }
    if let Some(bpftool) = or_skip(judge::program("bpftool")) {
        let mut dump = Command::new(&bpftool);
        let shown = succeed(dump.args(["btf", "dump", "file"]).arg(&btf).args(["format", "c"]));
        assert!(shown.contains("struct task_struct {"), "{} bytes", shown.len());
        let mut dump = Command::new(&bpftool);
        let shown = succeed(dump.arg("-B").arg(&btf).args(["btf", "dump", "file"]).arg(&module));
        assert!(shown.contains("STRUCT 'virtblk_req'"), "{shown}");
    }
}

#[test]
fn symbols_and_types_are_files_for_other_programs() {
    let Some(vmcore) = or_skip(common::vmcore("trixie-5level-kdump")) else { return };
    let dir = common::scratch("report-symbols");
    let (identity, dump) = encrypted(&dir, &vmcore);
    let types = dir.join("types");
    report(&identity, &dump, &["--symbols", types.to_str().unwrap()]);
    let refused = common::run(&mut command(&identity, &dump, &["--symbols", types.to_str().unwrap()]));
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(text(&refused.stderr).contains("a directory that is not there yet"), "{refused:?}");
    assert_eq!([mode(&types), mode(&types.join("btf.d")), mode(&types.join("btf"))], [0o700, 0o700, 0o600]);

    // Every address that the kernel itself gives is among the symbols.
    let symbols = std::fs::read_to_string(types.join("kallsyms.txt")).unwrap();
    let known: HashSet<(&str, &str)> =
        symbols.lines().filter_map(|line| Some((line.get(19..)?, line.get(..16)?))).collect();
    let functions: HashSet<&str> = known.iter().map(|(name, _)| *name).collect();
    assert!(functions.len() > 100_000, "{}", functions.len());
    assert!(functions.iter().any(|name| name.ends_with("\t[virtio_blk]")));
    if let Some(vmlinux) = or_skip(common::vmlinux("trixie")) {
        assert!(std::fs::read(types.join("btf")).unwrap() == section(&vmlinux, ".BTF"));
    }
    assert_readers_agree(&types);

    // The mount has the same files.
    if common::mounted::can_mount() {
        let directory = dir.join("mnt");
        std::fs::create_dir(&directory).unwrap();
        let mounted = Mounted::new(&identity, &dump, &directory);
        let names = common::names(&types.join("btf.d"));
        assert_eq!(common::names(&mounted.file("btf.d")), names);
        let modules = names.iter().map(|name| format!("btf.d/{name}"));
        for name in ["kallsyms.txt".to_owned(), "btf".to_owned()].into_iter().chain(modules) {
            let (seen, written) = (std::fs::read(mounted.file(&name)), std::fs::read(types.join(&name)));
            assert!(seen.unwrap() == written.unwrap(), "{name}");
        }
        let mut info = std::fs::read_to_string(mounted.file("vmcoreinfo.txt")).unwrap();
        info.retain(|char| char != '\0');
        let lines = info.lines().filter_map(|line| line.strip_prefix("SYMBOL(")?.split_once(")="));
        // Some are no symbols by this name, and mem_section is what a variable holds, not where it is.
        let lines = lines.filter(|(name, _)| functions.contains(name) && *name != "mem_section");
        let lines: Vec<_> = lines.map(|(name, address)| (name, format!("{address:0>16}"))).collect();
        assert!(lines.len() > 10, "{lines:?}");
        for (name, address) in lines {
            assert!(known.contains(&(name, address.as_str())), "{name} is not at {address}");
        }
        drop(mounted);
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn stacks_are_those_that_drgn_finds_with_debug_information() {
    assert_drgn_agrees("bookworm-5level-kdump", "bookworm");
    assert_drgn_agrees("trixie-5level-kdump", "trixie");
    assert_drgn_agrees("sid-5level-kdump", "sid");
}

/// By the back chain, with radix tables.
#[test]
#[ignore = "make matrix"]
fn matrix_ppc64le_stacks_are_those_that_drgn_finds() {
    assert_drgn_agrees("sid-ppc64el-kdump", "sid-ppc64el");
}
