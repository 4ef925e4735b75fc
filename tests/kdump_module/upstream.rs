//! Our parts among the real kdump scripts of Fedora, SUSE and Debian, fetched by `upstream.sh`: the samples are
//! accepted, the images are built, and the real `kdump.sh` saves with our command lines under the shells an
//! initramfs may have. Skipped where the scripts were not fetched.

use crate::jail::{ENCRYPTED, Jail};
use crate::machine::Machine;
use crate::{has, module_dir, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A fetched source tree.
fn upstream(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let tree = target.join("upstream").join(name);
    if !tree.exists() {
        eprintln!("skipped: {name} was not fetched (tests/kdump_module/upstream.sh)");
        return None;
    }
    Some(tree)
}

/// A sample kdump.conf.
fn sample(name: &str) -> String {
    fs::read_to_string(module_dir().join(format!("fedora/kdump.conf.{name}"))).unwrap()
}

const KDUMP_SH: &str = "/bin/kdump.sh";
const TARGET: &str = "/target";

/// What kdump.sh takes for granted, beyond our own scripts' needs.
const KDUMP_SH_TOOLS: &[&str] =
    &["awk", "cut", "dd", "grep", "head", "id", "nproc", "sed", "stat", "tail", "tr", "true"];

/// What kdump.sh uses of dracut's library.
const DRACUT_LIB: &str = r#"
getarg() { [ "$1" != kdump_remote_ip= ] || echo 192.0.2.1; }
isdigit() { case $1 in '' | *[!0-9]*) return 1 ;; esac; }
make_trace_mem() { :; }
dmesg() { :; }
"#;

const IP: &str = "#!/bin/sh
case $* in
    *route*) echo '192.0.2.1 dev eth0 src 192.0.2.7' ;;
    *) echo '    inet 192.0.2.7/24 scope global eth0' ;;
esac
";

/// The capture kernel of kdump-utils: its scripts unchanged but for the test that a raw target is a block
/// device, which a plain file stands in for.
fn install_kdump_sh(jail: &Jail, source: &Path, conf: &str) {
    jail.install_applets(KDUMP_SH_TOOLS);
    for tool in ["dmesg", "logger"] {
        jail.script(&format!("/bin/{tool}"), "#!/bin/sh\n");
    }
    jail.script(
        "/bin/findmnt",
        &format!("#!/bin/sh\ncase $* in *OPTIONS*) echo rw ;; *) echo {TARGET} ;; esac\n"),
    );
    jail.script("/bin/systemctl", "#!/bin/sh\necho \"systemctl $*\" >> /log\nkill -9 $PPID\n");
    jail.script("/kdumpscripts/monitor_dd_progress.sh", "#!/bin/sh\n");
    let stubs = jail.stub_functions().replace("dd() {", "unused() {");
    jail.write("/lib/dracut-lib.sh", &(DRACUT_LIB.to_owned() + &stubs));
    jail.copy(&source.join("kdump-logger.sh"), "/lib/kdump-logger.sh");
    jail.copy(&source.join("kdump-lib-initramfs.sh"), "/lib/kdump-lib-initramfs.sh");
    let kdump_sh = fs::read_to_string(source.join("dracut/99kdumpbase/kdump.sh")).unwrap();
    jail.script(KDUMP_SH, &kdump_sh.replace("[ -b \"$1\" ]", "[ -e \"$1\" ]"));
    jail.copy(&jail.path("/usr/bin/vmcore-encrypt"), "/sbin/vmcore-dmesg");
    jail.script("/sbin/ip", IP);
    jail.write("/dev/disk/by-partlabel/crash", "left from before");
    jail.write("/dev/console", "");
    jail.write("/run/initramfs/log", "");
    jail.write("/tmp/log", "");
    jail.write("/var/lib/random-seed", "seed");
    jail.write("/target/present", "");
    jail.write("/etc/kdump.conf", conf);
}

fn each_kdump_sh(name: &str, test: impl Fn(&Jail)) {
    let Some(source) = upstream("kdump-utils") else { return };
    Jail::each(|jail| {
        install_kdump_sh(jail, &source, &sample(name));
        test(jail);
    });
}

/// The files of a dump directory without the changing date.
fn names(files: &[String]) -> Vec<&str> {
    let names = files.iter().filter(|file| file.contains('-') && file.contains('/'));
    names.map(|file| file.rsplit('/').next().unwrap()).collect()
}

#[test]
fn kdump_sh_names_a_file_dump() {
    for (name, arguments) in [("boot", "-d 31 -L 600M"), ("filesystem", "-d 31"), ("nfs", "-d 31")] {
        each_kdump_sh(name, |jail| {
            let said = jail.run(KDUMP_SH);
            let files = jail.files(TARGET);
            assert_eq!(names(&files), ["kexec-dmesg.log", "vmcore", "vmcore-dmesg.txt"], "{}", text(&said));
            assert_eq!(jail.calls(&format!("vmcore-encrypt {arguments} /proc/vmcore {TARGET}/")), 1);
            for file in files.iter().filter(|file| file.contains("vmcore")) {
                assert_eq!(jail.read(&format!("{TARGET}/{file}")).trim(), ENCRYPTED);
            }
            assert_eq!(jail.log().last().unwrap(), "systemctl reboot -f");
            assert_eq!(jail.leaks(), Vec::<String>::new());
        });
    }
}

#[test]
fn kdump_sh_does_not_name_a_failed_dump() {
    each_kdump_sh("filesystem", |jail| {
        jail.write("/stub/collector", "for last; do :; done; [ $# = 1 ] || { echo half > $last; exit 3; }\n");
        assert_eq!(jail.run(KDUMP_SH).status.code(), Some(1));
        let files = jail.files(TARGET);
        assert_eq!(names(&files), ["kexec-dmesg.log", "vmcore-dmesg.txt", "vmcore-incomplete"]);
        assert_eq!(jail.leaks(), Vec::<String>::new());
    });
}

#[test]
fn kdump_sh_pipes_a_dump_over_ssh() {
    each_kdump_sh("ssh", |jail| {
        let said = jail.run(KDUMP_SH);
        let files = jail.files("/var/crash");
        assert_eq!(names(&files), ["vmcore-dmesg.txt", "vmcore.flat"], "{}", text(&said));
        for file in &files {
            assert_eq!(jail.read(&format!("/var/crash/{file}")).trim(), ENCRYPTED);
        }
        assert_eq!(jail.leaks(), Vec::<String>::new());
    });
}

#[test]
fn kdump_sh_pipes_a_dump_to_a_raw_partition() {
    each_kdump_sh("raw", |jail| {
        jail.run(KDUMP_SH);
        assert_eq!(jail.calls("vmcore-encrypt --framed -d 31 /proc/vmcore"), 1);
        assert!(jail.read("/dev/disk/by-partlabel/crash").starts_with(ENCRYPTED));
        assert_eq!(jail.log().last().unwrap(), "systemctl reboot -f");
    });
}

#[test]
fn the_collector_can_write_a_raw_partition_past_kdump_sh() {
    each_kdump_sh("raw-direct", |jail| {
        jail.run(KDUMP_SH);
        assert_eq!(
            jail.calls("vmcore-encrypt --output-device /dev/disk/by-partlabel/crash -d 31 /proc/vmcore"),
            1
        );
        // dd of nothing empties a plain file, and leaves a block device as it is
        assert_eq!(jail.read("/dev/disk/by-partlabel/crash"), "");
        assert_eq!(jail.log().last().unwrap(), "systemctl reboot -f");
    });
}

#[test]
fn kdump_pre_saves_to_the_esp_and_kdump_sh_comes_no_further() {
    each_kdump_sh("esp", |jail| {
        let config = "TARGET=file\nDEVICE=UUID=0000-0000\nFSTYPE=vfat\n";
        jail.write("/etc/vmcore-encrypt/config", config);
        jail.write("/dev/disk/by-uuid/0000-0000", "");
        jail.run(KDUMP_SH);
        assert_eq!(jail.files("/run/vmcore-encrypt/target/crash").len(), 2);
        assert_eq!(jail.calls("reboot -f"), 1);
        assert_eq!(jail.leaks(), Vec::<String>::new());
    });
}

#[test]
fn kdumpctl_accepts_the_samples() {
    let Some(source) = upstream("kdump-utils") else { return };
    let Some(machine) = Machine::new() else { return };
    for script in ["kdump-lib.sh", "kdump-lib-initramfs.sh", "kdump-logger.sh", "kdumpctl"] {
        machine.write(&format!("/usr/lib/kdump/{script}"), &fs::read_to_string(source.join(script)).unwrap());
    }
    machine.script("/usr/bin/ssh", "#!/bin/sh\necho hostname server.example.com\n");
    machine.write("/usr/lib/kdump/parse", "__SOURCED__=1\n. ./kdumpctl\nparse_config\n");
    for name in ["boot", "filesystem", "nfs", "ssh", "raw", "raw-direct", "esp"] {
        machine.write("/etc/kdump.conf", &sample(name));
        let parsed = machine.run("cd /usr/lib/kdump && bash parse");
        assert!(parsed.status.success(), "{name}: {}", text(&parsed));
    }
    machine.write("/etc/kdump.conf", "vfat UUID=0000-0000\n");
    assert!(!machine.run("cd /usr/lib/kdump && bash parse").status.success(), "an unknown key is refused");
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    crate::run(Command::new("cp").arg("-a").arg(from.join(".")).arg(to));
}

#[test]
fn mkdumprds_own_dracut_module_and_ours_make_one_image() {
    let Some(source) = upstream("kdump-utils") else { return };
    if !has("dracut") {
        return;
    }
    let Some(machine) = Machine::new() else { return };
    copy_tree(&source.join("dracut/99kdumpbase"), &machine.path("/usr/lib/dracut/modules.d/99kdumpbase"));
    for script in ["kdump-lib.sh", "kdump-lib-initramfs.sh", "kdump-logger.sh"] {
        machine.write(&format!("/usr/lib/kdump/{script}"), &fs::read_to_string(source.join(script)).unwrap());
    }
    machine.script("/usr/sbin/vmcore-dmesg", "#!/bin/sh\necho plain\n");
    machine.write("/etc/kdump.conf", "path /\ncore_collector vmcore-encrypt -d 31\nfailure_action reboot\n");
    let built = machine.run(
        "export IN_KDUMP=1
        chmod +x /usr/lib/dracut/modules.d/99kdumpbase/*.sh
        dracut --force --quiet --no-kernel --modules 'base systemd systemd-initrd kdumpbase vmcore-encrypt' /out/image 0.0.0
        lsinitrd /out/image > /out/list",
    );
    assert!(built.status.success(), "{}", text(&built));
    let list = fs::read_to_string(machine.path("/out/list")).unwrap();
    for file in [
        "usr/bin/kdump.sh",
        "etc/kdump/pre.d/vmcore-encrypt",
        "vmcore-dmesg -> /usr/bin/vmcore-encrypt",
        "vmcore-encrypt/recipients",
    ] {
        assert!(list.contains(file), "{file}:\n{list}");
    }
}

#[test]
fn suses_own_dracut_module_and_ours_make_one_image() {
    let Some(source) = upstream("suse-kdump") else { return };
    if !has("dracut") {
        return;
    }
    let Some(machine) = Machine::new() else { return };
    copy_tree(&source.join("dracut"), &machine.path("/usr/lib/dracut/modules.d/99kdump"));
    machine.script(
        "/usr/lib/kdump/kdump-read-config.sh",
        &fs::read_to_string(source.join("kdump-read-config.sh")).unwrap(),
    );
    machine.script("/usr/bin/makedumpfile", "#!/bin/sh\n");
    let sysconfig = fs::read_to_string(module_dir().join("suse/sysconfig.kdump")).unwrap();
    machine.write("/etc/sysconfig/kdump", &sysconfig);
    let build =
        "dracut --force --quiet --no-kernel --add kdump --omit 'plymouth resume usrmount' /out/image 0.0.0
        lsinitrd /out/image > /out/list; lsinitrd -f etc/kdump.conf /out/image > /out/conf";
    let built = machine.run(build);
    assert!(built.status.success(), "{}", text(&built));
    let list = fs::read_to_string(machine.path("/out/list")).unwrap();
    assert!(list.contains("kdump/kdump-save") && list.contains("suse-transfer"), "{list}");
    let conf = fs::read_to_string(machine.path("/out/conf")).unwrap();
    assert!(conf.contains("KDUMP_TRANSFER='/usr/lib/vmcore-encrypt/suse-transfer'\n"), "{conf}");
    machine.write("/etc/sysconfig/kdump", "KDUMP_CONTINUE_ON_ERROR=false\n");
    assert!(!machine.run(build).status.success(), "without our settings there is no image");
}

#[test]
fn kdump_tools_builds_the_image_and_starts_our_unit() {
    let Some(source) = upstream("kdump-tools") else { return };
    if !has("mkinitramfs") {
        return;
    }
    let Some(machine) = Machine::new() else { return };
    copy_tree(&source.join("etc"), &machine.path("/etc"));
    copy_tree(&source.join("usr"), &machine.path("/usr"));
    machine.script("/usr/bin/ischroot", "#!/bin/sh\nexit 1\n");
    machine.script("/usr/bin/linux-version", "#!/bin/sh\necho 0.0.0\n");
    machine.write("/etc/initramfs-tools/conf.d/modules", "MODULES=list\n");
    machine.write("/etc/vmcore-encrypt/config", "TARGET=raw\nDEVICE=/dev/vda9\n");
    let defaults = fs::read_to_string(source.join("usr/share/kdump-tools/kdump-tools.conf")).unwrap();
    let ours = fs::read_to_string(module_dir().join("debian/kdump-tools")).unwrap();
    machine.write("/etc/default/kdump-tools", &(defaults + &ours));
    let built = machine.run(
        "echo CONFIG_RD_GZIP=y > /boot/config-0.0.0; mkdir -p /lib/modules/0.0.0
        /etc/kernel/postinst.d/kdump-tools 0.0.0
        lsinitramfs /var/lib/kdump/initrd.img-0.0.0 > /out/list
        : > /boot/vmlinuz-$(uname -r); touch /var/lib/kdump/vmlinuz /var/lib/kdump/initrd.img
        kdump-config test > /out/test 2>&1 || :",
    );
    assert!(built.status.success(), "{}", text(&built));
    let list = fs::read_to_string(machine.path("/out/list")).unwrap();
    assert!(list.contains("usr/bin/vmcore-encrypt\n") && list.contains("vmcore-encrypt/save\n"), "{list}");
    let test = fs::read_to_string(machine.path("/out/test")).unwrap();
    assert!(test.contains("systemd.unit=vmcore-encrypt-dump.service"), "{test}");
}
