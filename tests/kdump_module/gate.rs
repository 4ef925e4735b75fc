//! The gate of the image builders: `module-setup.sh` sourced as dracut sources it, with a tree of an image in which
//! there is nothing but the configuration. An image is built only if every way ends in our collector or in no dump.

use crate::module_dir;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const OWN: &str = "TARGET=file\nDEVICE=/dev/vda1\nFSTYPE=vfat\n";

struct Tree(TempDir);

impl Tree {
    fn new() -> Tree {
        Tree(TempDir::new().unwrap())
    }

    fn file(&self, path: &str, text: &str) -> &Tree {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn program(&self, path: &str, text: &str) -> &Tree {
        self.file(path, text);
        fs::set_permissions(self.0.path().join(path), fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Calls a gate function of the dracut module with a program that judges.
    fn judge_by(&self, program: &Path, function: &str) -> Output {
        let script = format!("initdir=$1; dfatal() {{ echo \"$*\" >&2; }}; . \"$2\"; {function}");
        Command::new("bash")
            .args(["-c", &script, "bash"])
            .arg(self.0.path())
            .arg(module_dir().join("dracut/99vmcore-encrypt/module-setup.sh"))
            .env("VMCORE_ENCRYPT_PROGRAM", program)
            .output()
            .unwrap()
    }

    fn judge(&self, function: &str) -> Output {
        self.judge_by(Path::new(env!("CARGO_BIN_EXE_vmcore-encrypt")), function)
    }

    fn fedora(&self) -> Output {
        self.judge("vmcore_encrypt_fedora_calls_us")
    }
}

fn accepts(conf: &str, config: &str) -> Output {
    let tree = Tree::new();
    tree.file("etc/kdump.conf", conf).file("etc/vmcore-encrypt/config", config).fedora()
}

#[test]
fn a_configuration_that_ends_in_the_collector_is_accepted() {
    for conf in [
        "core_collector vmcore-encrypt -d 31\n",
        "core_collector vmcore-encrypt -d 31",
        "core_collector \"vmcore-encrypt -d 31\"\n",
        "\t core_collector\t/usr/bin/vmcore-encrypt -d 1,31 -L 600M  # why\n",
        "core_collector makedumpfile\ncore_collector vmcore-encrypt\n",
        "core_collector vmcore-encrypt\nfailure_action dump_to_rootfs\n",
        "core_collector vmcore-encrypt\nfailure_action shell\ndefault poweroff\n",
        "raw /dev/vda\ncore_collector vmcore-encrypt --framed -d 31\n",
        "raw /dev/vda\ncore_collector vmcore-encrypt --output-device /dev/vda\n",
        "ssh a@b\nsshkey /root/.ssh/k\npath /var/crash\ncore_collector vmcore-encrypt -E --message-level 7\n",
        "dracut_args --add-device /dev/a --mount \"/dev/a /esp vfat defaults\"\ncore_collector vmcore-encrypt\n",
    ] {
        let output = accepts(conf, "");
        assert!(output.status.success(), "{conf:?}: {}", crate::text(&output));
    }
    let save = "kdump_pre /usr/lib/vmcore-encrypt/save\n";
    assert!(accepts(save, OWN).status.success());
    assert!(
        accepts(&format!("{save}core_collector vmcore-encrypt\nfailure_action dump_to_rootfs\n"), OWN)
            .status
            .success()
    );
}

/// Each with a part of the message, which names the line at fault.
#[test]
fn every_other_way_is_refused() {
    let ours = "core_collector vmcore-encrypt\n";
    for (conf, part) in [
        ("", "no core_collector in /etc/kdump.conf"),
        ("path /crash\n#core_collector vmcore-encrypt\n", "makedumpfile: the dump would be in plain"),
        ("core_collector makedumpfile -l\n", "line 1: core_collector of /etc/kdump.conf is \"makedumpfile\""),
        ("core_collector vmcore-encrypt\ncore_collector makedumpfile\n", "line 2: core_collector of"),
        ("core_collector\n", "no core_collector"),
        ("core_collector env vmcore-encrypt -d 31\n", "is \"env\""),
        ("core_collector sh -c vmcore-encrypt\n", "is \"sh\""),
        ("core_collector /opt/vmcore-encrypt -d 31\n", "is \"/opt/vmcore-encrypt\""),
        ("core_collector scp\n", "is \"scp\""),
        ("core_collector \"vmcore-encrypt # \"\n", "is \"\\\"vmcore-encrypt\""),
        ("core_collector vmcore-encrypt -d 310\n", "310"),
        ("core_collector vmcore-encrypt -d 31\r\n", "every dump would fail"),
        ("core_collector vmcore-encrypt --levle 31\n", "--levle"),
        ("core_collector vmcore-encrypt -x vmlinux\n", "option -x of makedumpfile is refused"),
        ("core_collector vmcore-encrypt dmesg\n", "every dump would fail"),
        ("core_collector vmcore-encrypt --dump-dmesg\n", "save no dump"),
        ("core_collector vmcore-encrypt -R /etc/team\n", "recipients file /etc/team is not there"),
        ("core_collector vmcore-encrypt -R /makedumpfile/*\n", "kdump.sh changes the words"),
        ("core_collector vmcore-encrypt --framed\n", "every dump would fail"),
        ("ssh a@b\ncore_collector vmcore-encrypt /dev/mem\n", "would be taken for the vmcore"),
        ("raw /dev/vda\ncore_collector vmcore-encrypt\n", "where the dump ends"),
        (
            "raw /dev/vda\ncore_collector vmcore-encrypt --framed\nfailure_action dump_to_rootfs\n",
            "dump_to_rootfs",
        ),
        ("kdump_pre /usr/lib/vmcore-encrypt/save\n", "save, which saves nothing with TARGET=kdump"),
        (&format!("kdump_pre /usr/lib/vmcore-encrypt/save\n{ours}"), "line 1: kdump_pre runs save"),
        (&format!("{ours}failure_action shell\n"), "line 2: failure_action is shell"),
        (&format!("{ours}default \"shell\"\n"), "line 2: default is shell"),
        (&format!("{ours}failure_action shell\nfailure_action sehll\n"), "line 2: failure_action is shell"),
        (&format!("{ours}path /x\\nfailure_action shell\n"), "a backslash"),
        (&format!("raw /dev/vda; makedumpfile\n{ours}"), "runs as shell in raw"),
        (&format!("path /x'$(reboot)'\n{ours}"), "runs as shell in path"),
        (&format!("{ours}dracut_args --omit \"vmcore-encrypt\"\n"), "leaves our dracut module out"),
        (&format!("{ours}kdump_post /sbin/makedumpfile\n"), "it could save in plain"),
    ] {
        let output = accepts(conf, "");
        let said = crate::text(&output);
        assert!(!output.status.success() && said.contains(part), "{conf:?}: no {part:?} in {said}");
    }
    let save = "kdump_pre /usr/lib/vmcore-encrypt/save\n";
    for (conf, config) in [
        (format!("{save}failure_action dump_to_rootfs\n"), OWN.to_owned()),
        (save.to_owned(), format!("{OWN}COLLECTOR_ARGS=-d 310\n")),
        (save.to_owned(), "TARGET=file\n".to_owned()),
        (save.to_owned(), "TARGET=raw\nDEVICE=/dev/a\nCOLLECTOR_ARGS=--framed\n".to_owned()),
    ] {
        assert!(!accepts(&conf, &config).status.success(), "{conf:?} {config:?}");
    }
}

#[test]
fn programs_beside_the_vmcore_are_read() {
    let tree = Tree::new();
    tree.file("etc/kdump.conf", "core_collector vmcore-encrypt\nkdump_post /usr/bin/report\n");
    tree.program("usr/bin/report", "#!/bin/sh\n# not /proc/vmcore\necho done\n");
    let output = tree.fedora();
    assert!(
        output.status.success() && crate::text(&output).contains("/usr/bin/report runs beside /proc/vmcore")
    );
    tree.file("etc/kdump/post.d/inert", "cp /proc/vmcore /x\n");
    assert!(tree.fedora().status.success(), "kdump-utils takes executable files only");
    tree.program("etc/kdump/post.d/copy", "#!/bin/sh\ncp /proc/vmcore /x\n");
    let output = tree.fedora();
    assert!(
        !output.status.success()
            && crate::text(&output).contains("/etc/kdump/post.d/copy names /proc/vmcore")
    );
}

#[test]
fn another_program_of_the_name_is_refused() {
    let tree = Tree::new();
    tree.file("etc/kdump.conf", "core_collector vmcore-encrypt\n").program("usr/bin/vmcore-encrypt", "");
    assert!(tree.fedora().status.success());
    tree.program("usr/local/bin/vmcore-encrypt", "#!/bin/sh\nexec makedumpfile \"$@\"\n");
    let output = tree.fedora();
    assert!(!output.status.success() && crate::text(&output).contains("finds /usr/local/bin/vmcore-encrypt"));
    tree.file("etc/kdump.conf", "core_collector /usr/bin/vmcore-encrypt\n");
    assert!(tree.fedora().status.success());
}

#[test]
fn without_the_program_or_the_configuration_there_is_no_image() {
    let tree = Tree::new();
    assert!(!tree.fedora().status.success(), "no kdump.conf");
    tree.file("etc/kdump.conf", "core_collector vmcore-encrypt\n");
    assert!(tree.fedora().status.success());
    for program in ["/nonexistent", "/bin/false"] {
        let output = tree.judge_by(Path::new(program), "vmcore_encrypt_fedora_calls_us");
        assert!(!output.status.success() && crate::text(&output).contains("no image"), "{program}");
    }
}

#[test]
fn suse_hands_the_whole_saving_over_or_there_is_no_image() {
    let ours = "KDUMP_TRANSFER='/usr/lib/vmcore-encrypt/suse-transfer'\nKDUMP_SAVEDIR='/var/crash'\n";
    let judge = |conf: &str| Tree::new().file("etc/kdump.conf", conf).judge("vmcore_encrypt_suse_calls_us");
    for conf in [
        ours.to_owned(),
        format!("{ours}KDUMP_CONTINUE_ON_ERROR='true'\nKDUMP_IMMEDIATE_REBOOT='true'\nKDUMP_PRESCRIPT='x'\n"),
        format!("{ours}KDUMP_DUMPLEVEL='99'\n"),
        format!("{ours}KDUMP_SAVEDIR='SSH://root@host/crash'\n"),
        format!("{ours}KDUMP_SMTP_USER='it'\\''s'\n"),
    ] {
        let output = judge(&conf);
        assert!(output.status.success(), "{conf}: {}", crate::text(&output));
    }
    for (conf, part) in [
        ("KDUMP_TRANSFER=''\n".to_owned(), "in plain"),
        (ours.replace("suse-transfer'", "suse-transfer || makedumpfile'"), "in plain"),
        (ours.replace("'/usr/lib", "'/tmp/usr/lib"), "in plain"),
        (ours.replace("transfer'\n", "transfer''; x'\n"), "in plain"),
        (format!("{ours}KDUMP_TRANSFER='x'\n"), "in plain"),
        (format!("{ours}KDUMP_CONTINUE_ON_ERROR='false'\n"), "a shell would open"),
        (format!("{ours}KDUMP_IMMEDIATE_REBOOT='no'\n"), "a shell would open"),
        (format!("{ours}KDUMP_SAVEDIR='/a nfs://b/c'\n"), "several targets"),
        (format!("{ours}KDUMP_SAVEDIR='ftp://b/c'\n"), "does not have"),
        (format!("{ours}KDUMP_SAVEDIR='ssh://a:b@c/d'\n"), "holds a password"),
    ] {
        let output = judge(&conf);
        let said = crate::text(&output);
        assert!(!output.status.success() && said.contains(part), "{conf}: {said}");
    }
}

#[test]
fn an_image_of_our_own_needs_a_target_of_our_own() {
    let judge = |config: &str| {
        Tree::new()
            .file("etc/vmcore-encrypt/config", config)
            .judge("vmcore_encrypt_own_target")
            .status
            .success()
    };
    assert!(judge(OWN) && judge("TARGET=raw\nDEVICE=PARTLABEL=crash\nCOLLECTOR_ARGS=-z\n"));
    assert!(!judge("") && !judge("TARGET=file\n") && !judge(&format!("{OWN}KEEP=x\n")));
    assert!(!judge(&format!("{OWN}COLLECTOR_ARGS=--dry-run\n")));
}
