//! What a newcomer tries first works: what README's first screen installs is installed into a bare Debian, and its three
//! commands run there, with nothing else of this machine; the programs of `examples/` run.
#![cfg(feature = "analyst")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod synth;

use common::{Absent, lab, or_skip, scratch, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use synth::{Content, Page, Synth, arch, kernel, zoo};

const README: &str = include_str!("../README.md");
/// Lines of a large terminal.
const SCREEN: usize = 40;

/// README up to its first heading after the title.
fn first_screen() -> &'static str {
    README.split("\n## ").next().unwrap()
}

/// The commands of its code blocks, without the words after `#`.
fn blocks() -> Vec<Vec<&'static str>> {
    let blocks = first_screen().split("```\n").skip(1).step_by(2);
    let command = |line: &'static str| line.split("  #").next().unwrap().trim();
    blocks.map(|block| block.lines().map(command).collect()).collect()
}

/// A copy of a Debian of this machine's release without a program of ours.
fn bare_root() -> Result<PathBuf, Absent> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = suite.ok_or_else(|| Absent("the name of this machine's release".to_owned()))?;
    let tree = lab("root.sh", [suite])?;
    let root = scratch("readme").join("root");
    let copied = Command::new("cp").arg("-a").arg(tree).arg(&root).status().unwrap();
    assert!(copied.success());
    Ok(root)
}

/// What `make install` does once both programs are built.
fn install(root: &Path) {
    let built = |name: &str| {
        Path::new(env!("CARGO_BIN_EXE_vmcore-encrypt")).with_file_name(name).display().to_string()
    };
    let made = Command::new("make")
        .args(["--silent", "-C"])
        .arg(common::top().join("kdump-module"))
        .args(["install", "install-analyst"])
        .arg(format!("DESTDIR={}", root.display()))
        .arg(format!("BIN={}", built("vmcore-encrypt")))
        .arg(format!("DECRYPT={}", built("vmcore-decrypt")))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
}

#[test]
fn the_first_screen_fits_a_screen_and_has_what_it_needs() {
    let screen = first_screen();
    assert!(screen.lines().count() <= SCREEN, "{} lines", screen.lines().count());
    let [install, commands] = &blocks()[..] else { panic!("{:?}", blocks()) };
    assert_eq!(install.len(), 2);
    assert_eq!(commands.len(), 3);
    let makefile = fs::read_to_string(common::top().join("Makefile")).unwrap();
    for line in install {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["make", target] => assert!(makefile.contains(&format!("\n{target}: ")), "{line}"),
            ["cargo", "install", "--path", "."] => {}
            _ => panic!("{line}"),
        }
    }
}

#[test]
fn the_commands_of_the_first_screen_work_on_a_bare_system() {
    let Some(root) = or_skip(bare_root()) else { return };
    install(&root);
    let home = root.join("root");
    fs::create_dir_all(&home).unwrap();
    // There is no crashed kernel: a machine that was made up stands for it, with nothing doubtful in its memory.
    let machine = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).fill(Content::Zero);
    let machine = machine.ram(0x10_0000..0x80_0000).pages(0x400, 64, &Page::kernel().with(Content::Noise));
    machine.build().write_to(&home.join("crashed"));
    let commands = blocks()[1].join("\n").replace("/proc/vmcore", "crashed");
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let proc = format!("--mount-proc={}", root.join("proc").display());
    unshare.args(["--fork", "--pid", "--mount", &proc, "chroot"]).arg(&root);
    unshare.args(["/bin/sh", "-exc"]).arg(format!("cd /root\n{commands}\n"));
    unshare.env_clear().env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
    let output = unshare.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(fs::read(home.join("vmcore")).unwrap().starts_with(b"KDUMP   "));
    let recipient = fs::read_to_string(home.join("recipients")).unwrap();
    assert!(recipient.starts_with("age1") && recipient.lines().count() == 1, "{recipient}");
    fs::remove_dir_all(root.parent().unwrap()).unwrap();
}

/// Runs a program of `examples/`; cargo builds them with all the tests, and not with a single one.
fn example(name: &str, arguments: &[&str], home: &Path) -> Option<String> {
    let programs = Path::new(env!("CARGO_BIN_EXE_vmcore-encrypt")).parent().unwrap();
    let program = programs.join("examples").join(name);
    let built =
        program.exists().then_some(&program).ok_or(Absent(format!("example {name}: cargo build --examples")));
    Some(common::succeed(Command::new(or_skip(built)?).args(arguments).current_dir(home)))
}

#[test]
fn the_examples_run() {
    let home = scratch("examples");
    zoo::zoo(arch::x86_64::four_level(), kernel::v6_12()).build().write_to(&home.join("vmcore"));
    let (identity, recipients) = common::keys(&home);
    let mut encrypt = common::encrypt();
    encrypt
        .args(["-d", "31", "-R"])
        .arg(recipients)
        .args(["vmcore", "dump.age"])
        .current_dir(&home)
        .output()
        .unwrap();
    let identity = identity.to_str().unwrap();
    let Some(opened) = example("open_dump", &["dump.age", identity, "4096"], &home) else { return };
    assert!(opened.starts_with("kernel 6.12") && opened.contains("\npage 4096"), "{opened}");
    let Some(log) = example("dmesg", &["dump.age", identity], &home) else { return };
    let expected =
        common::succeed(common::decrypt().args(["dmesg", "-i", identity, "dump.age"]).current_dir(&home));
    assert!(!log.is_empty() && log == expected, "{log}");
    let Some(sizes) = example("estimate", &["vmcore"], &home) else { return };
    assert_eq!(sizes.lines().filter(|line| line.contains("before compression")).count(), 4, "{sizes}");
    fs::remove_dir_all(home).unwrap();
}
