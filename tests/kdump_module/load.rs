//! `vmcore-encrypt-load`: the capture kernel of machines without kdump scripts. What is loaded goes only for an image
//! that was built and checked, with words that open no shell and no disk of the crashed system.

use crate::jail::Jail;
use crate::{module_dir, text};
use std::fs;
use std::process::{Command, Output};

const LOAD: &str = "/usr/sbin/vmcore-encrypt-load";
const LOG: &str = "#!/bin/sh\necho \"${0##*/} $*\" >> /log\n";

fn release() -> String {
    crate::common::succeed(Command::new("uname").arg("-r")).trim().to_owned()
}

fn image() -> String {
    format!("/var/lib/vmcore-encrypt/initrd.img-{}", release())
}

/// A machine with a kernel, reserved memory, and programs that build and load.
fn prepare(jail: &Jail) {
    jail.write("/log", "");
    jail.script(LOAD, &fs::read_to_string(module_dir().join("sbin/vmcore-encrypt-load")).unwrap());
    jail.script("/usr/sbin/kexec", &format!("{LOG}echo 1 > /sys/kernel/kexec_crash_loaded\n"));
    jail.script("/usr/sbin/vmcore-encrypt-mkinitrd", &format!("{LOG}echo image > \"$1\"\n"));
    // busybox sh has a uname of its own, which prints what this machine's does
    jail.script("/bin/uname", &format!("#!/bin/sh\n[ \"$1\" = -m ] && echo x86_64 || echo {}\n", release()));
    jail.write(&format!("/boot/vmlinuz-{}", release()), "kernel");
    jail.write("/sys/kernel/kexec_crash_size", "268435456\n");
    jail.write("/sys/kernel/kexec_crash_loaded", "0\n");
    jail.write(
        "/proc/cmdline",
        "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet crashkernel=256M console=ttyS0\n",
    );
}

fn words(jail: &Jail) -> String {
    let log = jail.log();
    let call = log.iter().rfind(|call| call.starts_with("kexec ")).unwrap_or_else(|| panic!("{log:?}"));
    call.split_once("--command-line=").unwrap().1.rsplit_once(' ').unwrap().0.to_owned()
}

fn assert_nothing_loaded(jail: &Jail, ran: &Output) {
    assert_eq!(ran.status.code(), Some(1), "{:?}: {}", jail.shell, text(ran));
    assert_eq!(jail.calls("kexec "), 0, "{:?}: {:?}", jail.shell, jail.log());
}

#[test]
fn the_image_is_built_once_and_loaded() {
    Jail::each(|jail| {
        prepare(jail);
        for built in [1, 1] {
            let ran = jail.run(LOAD);
            assert!(ran.status.success(), "{:?}: {}", jail.shell, text(&ran));
            assert_eq!(jail.calls("vmcore-encrypt-mkinitrd "), built, "an image that is new enough stays");
        }
        assert_eq!(jail.calls("vmcore-encrypt --check-params vmcore"), 2);
        assert_eq!(jail.calls("vmcore-encrypt gate own"), 2);
        let call = format!("kexec -p -s --initrd={} --command-line=console=", image());
        assert_eq!(jail.calls(&call), 2, "{:?}", jail.log());
        assert!(jail.log().last().unwrap().ends_with(&format!(" /boot/vmlinuz-{}", release())));
    });
}

#[test]
fn an_image_older_than_what_goes_into_it_is_built_anew() {
    for path in ["/etc/vmcore-encrypt/recipients", "/etc/vmcore-encrypt/config", "/usr/bin/vmcore-encrypt"] {
        Jail::each(|jail| {
            prepare(jail);
            jail.write(&image(), "old");
            let old = std::time::SystemTime::now() - std::time::Duration::from_secs(86400);
            fs::File::options().write(true).open(jail.path(&image())).unwrap().set_modified(old).unwrap();
            if path != "/usr/bin/vmcore-encrypt" {
                let collector = fs::File::open(jail.path("/usr/bin/vmcore-encrypt")).unwrap();
                collector.set_modified(old - std::time::Duration::from_secs(9)).unwrap();
                jail.write(path, "");
            }
            assert!(jail.run(LOAD).status.success());
            assert_eq!(jail.calls("vmcore-encrypt-mkinitrd "), 1, "{path} under {:?}", jail.shell);
        });
    }
}

/// Words of the running kernel that open a shell, a disk or memory of the crashed system go; pins and consoles stay.
#[test]
fn the_command_line_is_one_for_a_capture_kernel() {
    Jail::each(|jail| {
        prepare(jail);
        jail.write(
            "/proc/cmdline",
            "BOOT_IMAGE=/x root=UUID=1 ro rootflags=subvol=a resume=/dev/b crashkernel=1G,high crashkernel=72M,low \
             rd.luks.uuid=2 rd.lvm.lv=a/b cryptdevice=/dev/c:d hugepages=512 init=/bin/sh rd.break systemd.unit=rescue.target \
             single systemd.debug_shell rd.shell=1 panic=0 nr_cpus=64 quiet console=tty0 console=ttyS0,115200 \
             vmcore_encrypt.recipients=0123 * iommu=pt",
        );
        let ran = jail.run(LOAD);
        assert!(ran.status.success(), "{}", text(&ran));
        assert_eq!(
            words(jail),
            "console=tty0 console=ttyS0,115200 vmcore_encrypt.recipients=0123 * iommu=pt irqpoll nr_cpus=1 \
             reset_devices cgroup_disable=memory udev.children-max=2 panic=10 acpi_no_memhotplug numa=off \
             transparent_hugepage=never rd.shell=0 rd.emergency=reboot"
        );
    });
}

/// The kernel reads what quotes hold as one word, and takes the quotes away: no word of ours gets into them, and none that
/// opens a shell hides in them.
#[test]
fn words_in_quotes_are_whole_words() {
    let ours = "irqpoll nr_cpus=1 reset_devices cgroup_disable=memory udev.children-max=2 panic=10 acpi_no_memhotplug \
                numa=off transparent_hugepage=never rd.shell=0 rd.emergency=reboot";
    Jail::each(|jail| {
        prepare(jail);
        for (running, kept) in [
            ("root=\"LABEL=my root\" ro a=1", "a=1 "),
            ("\"init=/bin/sh\" init=\"/bin/sh -i\" \"rd.break\" rd.\"break\" b", "b "),
            ("dyndbg=\"file a.c +p; file b.c +p\" c", "dyndbg=\"file a.c +p; file b.c +p\" c "),
            ("d e=\"f g", "d "),
            ("rd.cmdline=ask kgdbwait kgdboc=ttyS0 boot=live rd.auto recovery h", "h "),
        ] {
            jail.write("/proc/cmdline", running);
            let ran = jail.run(LOAD);
            assert!(ran.status.success(), "{}", text(&ran));
            assert_eq!(words(jail), format!("{kept}{ours}"), "{running}");
        }
    });
}

/// What is wrong with a machine.
type Fault<'a> = &'a dyn Fn(&Jail);

#[test]
fn what_is_loaded_stays_unless_all_is_well() {
    let faults: [(&str, Fault); 9] = [
        ("kdumpctl is here", &|jail| jail.script("/bin/kdumpctl", LOG)),
        ("kdump-config is here", &|jail| jail.script("/bin/kdump-config", LOG)),
        ("no memory is reserved", &|jail| jail.write("/sys/kernel/kexec_crash_size", "0\n")),
        ("the recipients are not valid", &|jail| {
            jail.write("/stub/collector", "[ \"$1\" != --check-params ] || exit 1\n");
        }),
        ("names no target", &|jail| jail.write("/stub/collector", "[ \"$1\" != gate ] || exit 1\n")),
        ("finding the kernel", &|jail| {
            fs::remove_file(jail.path(&format!("/boot/vmlinuz-{}", release()))).unwrap();
        }),
        ("building", &|jail| jail.script("/usr/sbin/vmcore-encrypt-mkinitrd", "#!/bin/sh\nexit 1\n")),
        ("kexec is not there", &|jail| fs::remove_file(jail.path("/usr/sbin/kexec")).unwrap()),
        ("reading /proc/cmdline", &|jail| jail.write("/proc/cmdline", "")),
    ];
    for (message, fault) in faults {
        Jail::each(|jail| {
            prepare(jail);
            fault(jail);
            let ran = jail.run(LOAD);
            assert_nothing_loaded(jail, &ran);
            assert!(text(&ran).contains(message), "{message} under {:?}: {}", jail.shell, text(&ran));
        });
    }
}

/// kexec of some releases ends well without having loaded anything.
#[test]
fn a_kexec_that_loads_nothing_is_an_error() {
    for script in [LOG.to_owned(), format!("{LOG}exit 255\n")] {
        Jail::each(|jail| {
            prepare(jail);
            jail.script("/usr/sbin/kexec", &script);
            assert_eq!(jail.run(LOAD).status.code(), Some(1));
        });
    }
}

#[test]
fn kernels_are_found_where_systems_have_them() {
    for place in [
        "/usr/lib/modules/RELEASE/vmlinuz",
        "/boot/0123abcd/RELEASE/linux",
        "/efi/0123abcd/RELEASE/linux",
        "/boot/Image-RELEASE",
        "/run/booted-system/kernel",
    ] {
        Jail::each(|jail| {
            prepare(jail);
            fs::remove_file(jail.path(&format!("/boot/vmlinuz-{}", release()))).unwrap();
            jail.write("/etc/machine-id", "0123abcd\n");
            let kernel = place.replace("RELEASE", &release());
            jail.write(&kernel, "kernel");
            let ran = jail.run(LOAD);
            assert!(ran.status.success(), "{place}: {}", text(&ran));
            assert!(jail.log().last().unwrap().ends_with(&format!(" {kernel}")), "{:?}", jail.log());
        });
    }
}

#[test]
fn rearming_builds_and_loads_the_image_of_our_own() {
    Jail::each(|jail| {
        prepare(jail);
        let rearm = "/usr/sbin/vmcore-encrypt-rearm";
        jail.script(rearm, &fs::read_to_string(module_dir().join("sbin/vmcore-encrypt-rearm")).unwrap());
        jail.write(&image(), "stale");
        jail.script("/bin/rearm-with-path", &format!("#!/bin/sh\nPATH=$PATH:/usr/sbin exec {rearm}\n"));
        let ran = jail.run("/bin/rearm-with-path");
        assert!(ran.status.success(), "{:?}: {}", jail.shell, text(&ran));
        assert_eq!(jail.read(&image()), "image\n");
        assert_eq!((jail.calls("vmcore-encrypt-mkinitrd "), jail.calls("kexec -p -s ")), (1, 1));
    });
}
