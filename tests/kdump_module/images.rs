//! Images built by the real dracut and mkinitramfs: a kdump image has all it needs or is not built, an
//! ordinary one has nothing of ours or only what is inert.

use crate::common::plugin;
use crate::machine::{Machine, RECIPIENT};
use crate::{has, module_dir, text};
use std::fs;
use std::process::Command;
use vmcore_encrypt::unstable::image::same_program;

const OWN_TARGET: &str = "TARGET=file\nDEVICE=/dev/vda1\nFSTYPE=ext4\n";
const DRACUT: &str = "dracut --force --quiet --no-kernel --no-compress --modules 'base vmcore-encrypt' ";

/// mkinitramfs wants to know what the kernel can unpack, and its modules.
const MKINITRAMFS: &str =
    "echo CONFIG_RD_GZIP=y > /boot/config-0.0.0; mkdir -p /lib/modules/0.0.0 /var/lib/kdump
cp -r /etc/initramfs-tools /var/lib/kdump/
mkinitramfs -d $CONF -o /out/image 0.0.0; lsinitramfs /out/image > /out/list";

fn machine(tool: &str) -> Option<Machine> {
    let machine = if has(tool) { Machine::new()? } else { return None };
    machine.write("/etc/vmcore-encrypt/config", OWN_TARGET);
    machine.write("/etc/default/kdump-tools", &sample("debian/kdump-tools"));
    Some(machine)
}

/// A packaged sample.
/// Where recipients are that no header has room for.
const MANY: &str = "/usr/share/many";

fn many_recipients() -> String {
    let recipient = |_| format!("{}\n", age::x25519::Identity::generate().to_public());
    (0..3000).map(recipient).collect()
}

fn sample(name: &str) -> String {
    fs::read_to_string(module_dir().join(name)).unwrap()
}

/// The list of an image has what every one that saves by our script needs, and more.
fn assert_lists(machine: &Machine, more: &[&str]) {
    let list = fs::read_to_string(machine.path("/out/list")).unwrap();
    let always = [
        "usr/bin/vmcore-encrypt",
        "etc/vmcore-encrypt/recipients",
        "etc/vmcore-encrypt/config",
        "usr/lib/vmcore-encrypt/save",
        "usr/lib/vmcore-encrypt/functions.sh",
    ];
    for file in always.iter().chain(more) {
        assert!(list.contains(file), "{file} is missing:\n{list}");
    }
}

#[test]
fn a_dracut_kdump_image_holds_what_it_needs_and_no_private_key() {
    let Some(machine) = machine("dracut") else { return };
    machine.write("/etc/vmcore-encrypt/identity", "AGE-SECRET-KEY-1QQ\n");
    let built = machine
        .run(&format!("export IN_KDUMP=1; {DRACUT} /out/image 0.0.0; lsinitrd /out/image > /out/list"));
    assert!(built.status.success(), "{}", text(&built));
    assert_lists(
        &machine,
        &[
            "hooks/pre-trigger/99-vmcore-encrypt-save.sh",
            "hooks/cmdline/50-vmcore-encrypt-root.sh",
            "bin/df",
            "vmcore-dmesg -> /usr/bin/vmcore-encrypt",
        ],
    );
    let list = fs::read_to_string(machine.path("/out/list")).unwrap();
    assert!(!list.contains("bin/ssh"), "ssh would make the image twice as much larger");
    assert!(!holds(&machine, "AGE-SECRET-KEY-1QQ"));
    assert!(holds(&machine, RECIPIENT), "the scan finds what is there");
}

fn holds(machine: &Machine, needle: &str) -> bool {
    let image = fs::read(machine.path("/out/image")).unwrap();
    image.windows(needle.len()).any(|bytes| bytes == needle.as_bytes())
}

#[test]
fn an_ordinary_dracut_image_holds_nothing_of_ours() {
    let Some(machine) = machine("dracut") else { return };
    let built = machine.run(
        "dracut --force --quiet --no-kernel --no-compress --omit 'systemd ifcfg' /out/image 0.0.0; lsinitrd /out/image > /out/list",
    );
    assert!(built.status.success(), "{}", text(&built));
    let list = fs::read_to_string(machine.path("/out/list")).unwrap();
    assert!(list.contains("usr/bin/udevadm") && !list.contains("vmcore-encrypt"), "{list}");
}

#[test]
fn dracut_stops_when_a_crash_could_not_be_saved() {
    let Some(machine) = machine("dracut") else { return };
    machine.write(MANY, &many_recipients());
    let recipients = "/etc/vmcore-encrypt/recipients";
    for break_it in [
        format!("rm {recipients}"),
        format!(": > {recipients}"),
        format!("echo '# none' > {recipients}"),
        format!("echo age1typo > {recipients}"),
        format!("(echo; echo AGE-SECRET-KEY-1QQ) >> {recipients}"),
        format!("(echo; echo '# age-secret-key-1qq') >> {recipients}"),
        format!("cat {MANY} > {recipients}"),
        format!("chmod 0666 {recipients}"),
        format!("chown 1234 {recipients}"),
        "chmod 0777 /etc/vmcore-encrypt".to_owned(),
        "chmod 0602 /etc/vmcore-encrypt/config".to_owned(),
        "rm /usr/bin/vmcore-encrypt".to_owned(),
        "rm /usr/lib/vmcore-encrypt/functions.sh".to_owned(),
        "echo TARGET=kdump > /etc/vmcore-encrypt/config".to_owned(),
        "echo DIRECTORY=/../x >> /etc/vmcore-encrypt/config".to_owned(),
    ] {
        let built = machine.run(&format!("export IN_KDUMP=1; {break_it}; {DRACUT} /out/image 0.0.0"));
        assert!(!built.status.success(), "{break_it}: {}", text(&built));
        assert!(!machine.path("/out/image").exists(), "{break_it}");
    }
}

#[test]
fn the_plugin_of_a_recipient_is_in_the_image_or_there_is_none() {
    let recipient = plugin::recipient("imagetest");
    let dracut = format!("export IN_KDUMP=1; {DRACUT} /out/image 0.0.0; lsinitrd /out/image > /out/list");
    let mkinitramfs = MKINITRAMFS.replace("$CONF", "/var/lib/kdump/initramfs-tools");
    for (tool, build) in [("dracut", dracut), ("mkinitramfs", mkinitramfs)] {
        let Some(machine) = machine(tool) else { continue };
        machine.write("/etc/vmcore-encrypt/recipients", &recipient);
        let built = machine.run(&build);
        let missing = "plugin program \"age-plugin-imagetest\" is not found";
        assert!(!built.status.success() && text(&built).contains(missing), "{tool}: {}", text(&built));
        // Being there is not enough: it has to wrap a key.
        machine.script("/usr/bin/age-plugin-imagetest", "#!/bin/sh\n");
        let built = machine.run(&build);
        let broken = "it ended before it was done";
        assert!(!built.status.success() && text(&built).contains(broken), "{tool}: {}", text(&built));
        machine.script("/usr/bin/age-plugin-imagetest", plugin::WRITES_DOWN);
        let built = machine.run(&build);
        assert!(built.status.success(), "{tool}: {}", text(&built));
        let list = fs::read_to_string(machine.path("/out/list")).unwrap();
        assert!(list.contains("usr/bin/age-plugin-imagetest"), "{tool}: {list}");
    }
}

/// Stands in for kdumpbase: a kdump.sh, a kdump.conf, and the plain vmcore-dmesg.
pub(crate) const KDUMPBASE: &str = r#"
check() { return 0; }
install() {
    echo : > "$initdir/bin/kdump.sh"
    echo plain > "$initdir/sbin/vmcore-dmesg"
    cp /etc/kdump.conf "$initdir/etc/kdump.conf"
    local script
    for script in /etc/kdump/pre.d/*; do
        [ ! -x "$script" ] || inst_simple "$script"
    done
}
"#;

#[test]
fn in_an_image_of_kdump_utils_the_log_program_is_ours_and_so_must_be_the_collector() {
    let Some(machine) = machine("dracut") else { return };
    machine.script("/usr/lib/dracut/modules.d/99kdumpbase/module-setup.sh", KDUMPBASE);
    machine.write("/etc/vmcore-encrypt/config", "TARGET=kdump\n");
    let build = "export IN_KDUMP=1
        dracut --force --quiet --no-kernel --no-compress --modules 'base kdumpbase vmcore-encrypt' /out/image 0.0.0
        lsinitrd /out/image > /out/list";
    let save = "kdump_pre /usr/lib/vmcore-encrypt/save\n";
    let kdump = "TARGET=kdump\n";
    let cases = [
        ("core_collector vmcore-encrypt -d 31\n", OWN_TARGET, true),
        ("core_collector makedumpfile -l -d 31\n", kdump, false),
        (save, kdump, false),
        (save, OWN_TARGET, true),
        ("core_collector vmcore-encrypt -d 310\n", kdump, false),
        ("core_collector /usr/bin/vmcore-encrypt -d 31\n", kdump, true),
    ];
    for (conf, config, accepted) in cases {
        machine.write("/etc/kdump.conf", conf);
        machine.write("/etc/vmcore-encrypt/config", config);
        let built = machine.run(build);
        assert_eq!(built.status.success(), accepted, "{conf}: {}", text(&built));
    }
    let list = fs::read_to_string(machine.path("/out/list")).unwrap();
    assert!(list.contains("vmcore-dmesg -> /usr/bin/vmcore-encrypt"), "{list}");
    let built = machine.run(&format!("echo KEEP=x > /etc/vmcore-encrypt/config\n{build}"));
    assert!(!built.status.success() && text(&built).contains("KEEP is"), "{}", text(&built));
    assert!(!list.contains("vmcore-encrypt-save.sh"), "kdump.sh saves, not our hook:\n{list}");
}

/// What kdump-utils starts beside the `dd` of a raw target when the collector's line does not name its own collector: it
/// asks `pidof` for a `dd`, without a pause, until there is one. Here it gives up after some answers without one; `dd`
/// has its input only after that.
const MONITOR: &str = "#!/bin/sh
exec 3<> /pipe
dd if=/pipe of=/written bs=512 count=1 2> /dev/null &
tries=0
until found=$(pidof dd) && [ -n \"$found\" ] || [ \"$tries\" -gt 1000 ]; do
    tries=$((tries + 1))
done
printf %512s x >&3
wait
echo \"found: $found\"
";

#[test]
fn in_an_image_of_kdump_utils_the_monitor_of_a_raw_target_finds_its_dd() {
    let Some(machine) = machine("dracut").filter(|_| has("pidof")) else { return };
    machine.script("/usr/lib/dracut/modules.d/99kdumpbase/module-setup.sh", KDUMPBASE);
    machine.write("/etc/vmcore-encrypt/config", "TARGET=kdump\n");
    machine.script("/monitor", MONITOR);
    let sample = fs::read_to_string(module_dir().join("fedora/kdump.conf.raw")).unwrap();
    machine.write("/etc/kdump.conf", &sample);
    let ran = machine.run(
        "export IN_KDUMP=1
        dracut --force --quiet --no-kernel --no-compress --install 'dd' --modules 'base kdumpbase vmcore-encrypt' \
            /out/image 0.0.0
        mkdir /tmp/tree; cd /tmp/tree; cpio --quiet -id < /out/image; cp /monitor .; mkfifo pipe
        mkdir -p proc; mount --bind /proc proc; chroot . /bin/sh /monitor",
    );
    let said = text(&ran);
    assert!(ran.status.success(), "{said}");
    let found = said.lines().find_map(|line| line.strip_prefix("found: ")).unwrap();
    assert!(found.split(' ').all(|word| word.parse::<u32>().is_ok()), "no pidof in the image: {said}");
}

/// The small build is the one that goes into images, whoever copied the command before. What dracut's strip leaves of it
/// is the same program: it writes the table of sections anew, and nothing that is loaded.
#[test]
fn the_collector_in_an_image_is_the_small_build() {
    let Some(machine) = machine("dracut") else { return };
    let copies = "\ncheck() { return 0; }\ninstall() { inst /usr/bin/vmcore-encrypt; inst /usr/local/bin/vmcore-encrypt; }\n";
    machine.script("/usr/lib/dracut/modules.d/98copies/module-setup.sh", copies);
    machine.script("/usr/local/bin/vmcore-encrypt", "#!/bin/sh\n");
    for strip in ["--strip", "--strip --aggressive-strip", "--nostrip"] {
        let build = format!(
            "export IN_KDUMP=1
            dracut --force --quiet --no-kernel --no-compress {strip} --modules 'base copies vmcore-encrypt' /out/image 0.0.0
            rm -rf /out/tree; mkdir /out/tree; cd /out/tree; cpio --quiet -id < /out/image
            readlink usr/local/bin/vmcore-encrypt"
        );
        let built = machine.run(&build);
        assert!(built.status.success(), "{strip}: {}", text(&built));
        assert!(text(&built).ends_with("/usr/bin/vmcore-encrypt\n"), "{strip}: {}", text(&built));
        let read = |path: &str| fs::read(machine.path(path)).unwrap();
        let (inside, small) =
            (read("/out/tree/usr/bin/vmcore-encrypt"), read("/usr/lib/vmcore-encrypt/vmcore-encrypt"));
        assert!(
            same_program(&inside, &small) && !same_program(&inside, &read("/usr/bin/vmcore-encrypt")),
            "{strip}"
        );
        assert!(strip != "--nostrip" || inside == small);
    }
}

/// Stands in for SUSE's module "kdump".
const SUSE_KDUMP: &str = r#"
check() { [[ " $add_dracutmodules " == *" kdump "* ]]; }
install() {
    mkdir -p "$initdir/kdump"
    echo : > "$initdir/kdump/kdump-save"
    cp /etc/kdump.conf "$initdir/etc/kdump.conf"
}
"#;

#[test]
fn in_an_image_of_suse_the_transfer_must_be_ours_and_no_shell_allowed() {
    let Some(machine) = machine("dracut") else { return };
    machine.script("/usr/lib/dracut/modules.d/99kdump/module-setup.sh", SUSE_KDUMP);
    let build =
        "dracut --force --quiet --no-kernel --no-compress --omit 'systemd ifcfg' --add kdump /out/image 0.0.0
        lsinitrd /out/image > /out/list";
    let ours = "KDUMP_TRANSFER='/usr/lib/vmcore-encrypt/suse-transfer'\n";
    let no_shell = "KDUMP_CONTINUE_ON_ERROR='true'\nKDUMP_IMMEDIATE_REBOOT='true'\n";
    let cases = [
        (format!("{ours}{no_shell}"), true),
        (format!("KDUMP_TRANSFER=''\n{no_shell}"), false),
        (format!("{ours}KDUMP_CONTINUE_ON_ERROR='false'\nKDUMP_IMMEDIATE_REBOOT='true'\n"), false),
    ];
    for (conf, accepted) in cases {
        machine.write("/etc/kdump.conf", &conf);
        let built = machine.run(build);
        assert_eq!(built.status.success(), accepted, "{conf}: {}", text(&built));
    }
    let list = fs::read_to_string(machine.path("/out/list")).unwrap();
    assert!(list.contains("usr/lib/vmcore-encrypt/suse-transfer"), "{list}");
}

#[test]
fn the_dracut_module_takes_part_in_kdump_images_only() {
    let cases = [
        (":", 1),
        ("IN_KDUMP=1", 0),
        ("add_dracutmodules=' kdump '", 0),
        ("force_add_dracutmodules='drm kdump'", 0),
        ("add_dracutmodules=' kdumpbase earlykdump '", 1),
        ("dracutmodules=all", 1),
    ];
    for (state, expected) in cases {
        let status = Command::new("bash")
            .env_remove("IN_KDUMP")
            .arg("-c")
            .arg(format!("{state}; . dracut/99vmcore-encrypt/module-setup.sh; check"))
            .current_dir(module_dir())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(expected), "{state}");
    }
}

#[test]
fn an_initramfs_tools_kdump_image_saves_before_cryptroot() {
    let Some(machine) = machine("mkinitramfs") else { return };
    machine.script("/usr/share/initramfs-tools/scripts/local-top/cryptroot", CRYPTROOT);
    let conf = MKINITRAMFS.replace("$CONF", "/var/lib/kdump/initramfs-tools");
    let built = machine.run(&format!("{conf}; unmkinitramfs /out/image /out/tree"));
    assert!(built.status.success(), "{}", text(&built));
    assert_lists(&machine, &["bin/blkid"]);
    let order = fs::read_to_string(machine.path("/out/tree/scripts/local-top/ORDER")).unwrap();
    let place = |script: &str| order.find(&format!("/scripts/local-top/{script}"));
    assert!(place("vmcore-encrypt").unwrap() < place("cryptroot").unwrap(), "{order}");
}

/// Stands in for cryptsetup-initramfs: its prerequisites are all other scripts of local-top.
const CRYPTROOT: &str = r#"#!/bin/sh
if [ "$1" = prereqs ]; then
    for script in /usr/share/initramfs-tools/scripts/local-top/*; do
        [ "${script##*/}" = cryptroot ] || printf '%s ' "${script##*/}"
    done
fi
"#;

#[test]
fn initramfs_tools_images_are_inert_when_not_for_us() {
    let Some(machine) = machine("mkinitramfs") else { return };
    let kdump = MKINITRAMFS.replace("$CONF", "/var/lib/kdump/initramfs-tools");
    for (config, build) in
        [(OWN_TARGET, MKINITRAMFS.replace("$CONF", "/etc/initramfs-tools")), ("TARGET=kdump\n", kdump)]
    {
        machine.write("/etc/vmcore-encrypt/config", config);
        let built = machine.run(&build);
        assert!(built.status.success(), "{}", text(&built));
        let list = fs::read_to_string(machine.path("/out/list")).unwrap();
        let ours: Vec<&str> = list.lines().filter(|file| file.contains("vmcore-encrypt")).collect();
        assert_eq!(ours, ["scripts/local-top/vmcore-encrypt"], "inert without save and /proc/vmcore");
    }
}

#[test]
fn mkinitramfs_stops_when_a_crash_could_not_be_saved() {
    let Some(machine) = machine("mkinitramfs") else { return };
    machine.write(MANY, &many_recipients());
    let build = MKINITRAMFS.replace("$CONF", "/var/lib/kdump/initramfs-tools");
    for break_it in [
        "rm /etc/vmcore-encrypt/recipients",
        "(echo; echo AGE-SECRET-KEY-1QQ) >> /etc/vmcore-encrypt/recipients",
        "(echo; echo '# age-secret-key-1qq') >> /etc/vmcore-encrypt/recipients",
        &format!("cat {MANY} > /etc/vmcore-encrypt/recipients"),
        "chmod 0666 /etc/vmcore-encrypt/recipients",
        "chown 1234 /etc/vmcore-encrypt/recipients",
        "chmod 0777 /etc/vmcore-encrypt",
        "chmod 0602 /etc/vmcore-encrypt/config",
        "rm /usr/bin/vmcore-encrypt",
        "echo TARGET=usb > /etc/vmcore-encrypt/config",
        "echo COLLECTOR_ARGS=--levle >> /etc/vmcore-encrypt/config",
        "(echo TARGET=kdump; echo COLLECTOR_ARGS=--levle) > /etc/vmcore-encrypt/config",
        "(echo TARGET=kdump; echo DUMP_LEVEL=310) > /etc/vmcore-encrypt/config",
        "echo TARGET=kdump > /etc/vmcore-encrypt/config; rm /etc/vmcore-encrypt/recipients",
        "echo TARGET=store > /etc/vmcore-encrypt/config; chmod 0666 /etc/vmcore-encrypt/recipients",
        "echo KDUMP_CMDLINE_APPEND=systemd.unit=multi-user.target > /etc/default/kdump-tools",
        "echo 'KDUMP_CMDLINE_APPEND=\"$KDUMP_CMDLINE_APPEND single\"' >> /etc/default/kdump-tools",
    ] {
        let built = machine.run(&format!("{break_it}; {build}"));
        assert!(!built.status.success(), "{break_it}: {}", text(&built));
    }
}

#[test]
fn the_local_top_script_is_inert_in_an_ordinary_boot() {
    let script = module_dir().join("debian/initramfs-tools/local-top/vmcore-encrypt");
    let ran = Command::new("sh").arg(&script).output().unwrap();
    assert!(ran.status.success() && text(&ran).is_empty());
    let prereqs = Command::new("sh").arg(&script).arg("prereqs").output().unwrap();
    assert_eq!(text(&prereqs), "\n");
}
