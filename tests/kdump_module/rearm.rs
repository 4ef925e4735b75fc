//! What runs on the armed machine: `vmcore-encrypt-rearm` and `vmcore-encrypt-mkinitrd`. An image is built anew, or
//! that is an error and nothing is unloaded.

use crate::jail::Jail;
use crate::{module_dir, text};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

const REARM: &str = "/usr/sbin/vmcore-encrypt-rearm";
const MKINITRD: &str = "/usr/sbin/vmcore-encrypt-mkinitrd";
const CHECK_ONLY: &str = "vmcore-encrypt --check-params vmcore";
const LOG: &str = "#!/bin/sh\necho \"${0##*/} $*\" >> /log\n";
const HOOK: &str = "/etc/kernel/postinst.d/kdump-tools";

/// A distribution: its builder, the image that it builds, and what is called after the build.
struct Distribution {
    tools: &'static [&'static str],
    builder: &'static str,
    image: String,
    build: String,
    load: &'static [&'static str],
}

fn distributions() -> [Distribution; 3] {
    [
        Distribution {
            tools: &["/bin/kdumpctl"],
            builder: "/bin/kdumpctl",
            image: format!("/boot/initramfs-{}kdump.img", release()),
            build: "kdumpctl rebuild".to_owned(),
            load: &["kdumpctl restart"],
        },
        Distribution {
            tools: &["/bin/kdump-config", HOOK],
            builder: HOOK,
            image: format!("/var/lib/kdump/initrd.img-{}", release()),
            build: format!("kdump-tools {}", release()),
            load: &["kdump-config unload", "kdump-config load"],
        },
        Distribution {
            tools: &["/bin/mkdumprd"],
            builder: "/bin/mkdumprd",
            image: "/var/lib/kdump/initrd".to_owned(),
            build: "mkdumprd -f".to_owned(),
            load: &["systemctl restart kdump.service"],
        },
    ]
}

/// Runs a test for each shell and distribution, with an image in place and a builder of these lines.
fn each(builder: impl Fn(&Distribution) -> String, test: impl Fn(&Jail, &Distribution, &Output)) {
    Jail::each(|jail| {
        for distribution in distributions() {
            for other in distributions().iter().flat_map(|other| other.tools) {
                let _ = fs::remove_file(jail.path(other));
            }
            install(jail, distribution.tools);
            jail.write(&distribution.image, "stale");
            jail.script(
                distribution.builder,
                &format!("{LOG}[ \"$1\" != restart ] || exit 0\n{}\n", builder(&distribution)),
            );
            jail.write("/log", "");
            let ran = jail.run(REARM);
            test(jail, &distribution, &ran);
        }
    });
}

fn install(jail: &Jail, tools: &[&str]) {
    jail.script(REARM, &fs::read_to_string(module_dir().join("sbin/vmcore-encrypt-rearm")).unwrap());
    for tool in tools.iter().chain(&["/bin/touch", "/bin/systemctl"]) {
        jail.script(tool, LOG);
    }
    // busybox sh has a uname of its own, which prints what this machine's does
    jail.script("/bin/uname", &format!("#!/bin/sh\necho {}\n", release()));
    jail.write("/etc/kdump/pre.d/vmcore-encrypt", "");
}

fn release() -> String {
    crate::common::succeed(Command::new("uname").arg("-r")).trim().to_owned()
}

fn log(jail: &Jail) -> Vec<String> {
    let mut log = jail.log();
    log.retain(|call| !call.starts_with("touch"));
    log
}

/// Nothing was unloaded, and the image of before is in its place.
fn assert_left_alone(jail: &Jail, distribution: &Distribution, ran: &Output) {
    assert!(!ran.status.success(), "{}: {}", distribution.build, text(ran));
    assert_eq!(log(jail), [CHECK_ONLY, &distribution.build], "{:?}: {}", jail.shell, text(ran));
    assert_eq!(jail.read(&distribution.image), "stale", "{}", distribution.build);
}

#[test]
fn a_rebuilt_image_is_loaded() {
    for how in
        ["echo new > IMAGE", "rm -f IMAGE; echo new > IMAGE", "echo new > IMAGE.new; mv IMAGE.new IMAGE"]
    {
        each(
            |distribution| how.replace("IMAGE", &distribution.image),
            |jail, distribution, ran| {
                assert!(ran.status.success(), "{}", text(ran));
                let mut calls = vec![CHECK_ONLY.to_owned(), distribution.build.clone()];
                calls.extend(distribution.load.iter().map(|&call| call.to_owned()));
                assert_eq!(log(jail), calls, "{:?}", jail.shell);
                assert_eq!(jail.read(&distribution.image), "new\n");
                assert_eq!(jail.files("/var/lib/vmcore-encrypt"), Vec::<String>::new());
            },
        );
    }
}

#[test]
fn a_builder_that_builds_nothing_is_an_error() {
    for how in ["", "rm -f IMAGE", "true > IMAGE"] {
        each(
            |distribution| how.replace("IMAGE", &distribution.image),
            |jail, distribution, ran| {
                assert_left_alone(jail, distribution, ran);
                assert!(text(ran).contains("built no"), "{}", text(ran));
            },
        );
    }
}

#[test]
fn a_builder_that_fails_leaves_the_image_of_before() {
    for how in [
        "exit 3",
        "rm -f IMAGE; exit 1",
        "echo half > IMAGE; exit 28",
        "echo half > IMAGE; kill -9 $$",
        "kill -TERM $PPID",
    ] {
        each(|distribution| how.replace("IMAGE", &distribution.image), assert_left_alone);
    }
}

#[test]
fn debian_needs_an_image_also_when_there_was_none() {
    Jail::each(|jail| {
        install(jail, &["/bin/kdump-config", HOOK]);
        assert_eq!(jail.run(REARM).status.code(), Some(1));
        assert_eq!(log(jail).len(), 2);
    });
}

/// kdump-utils knows other places for its image than we do.
#[test]
fn fedora_and_suse_load_what_they_have_elsewhere() {
    for (tool, load) in
        [("/bin/kdumpctl", "kdumpctl restart"), ("/bin/mkdumprd", "systemctl restart kdump.service")]
    {
        Jail::each(|jail| {
            install(jail, &[tool]);
            assert!(jail.run(REARM).status.success());
            assert_eq!(log(jail).last().unwrap(), load);
        });
    }
}

#[test]
fn images_of_other_layouts_of_fedora_are_found() {
    for image in ["/boot/0123abcd/RELEASE/initrdkdump", "/var/lib/kdump/initramfs-RELEASEkdump.img"] {
        Jail::each(|jail| {
            install(jail, &["/bin/kdumpctl"]);
            jail.write("/etc/machine-id", "0123abcd\n");
            jail.write(&image.replace("RELEASE", &release()), "stale");
            assert_eq!(jail.run(REARM).status.code(), Some(1), "{image}");
            assert_eq!(log(jail), [CHECK_ONLY, "kdumpctl rebuild"]);
        });
    }
    Jail::each(|jail| {
        install(jail, &["/bin/kdumpctl"]);
        jail.write("/etc/sysconfig/kdump", "KDUMP_KERNELVER=\"1.2.3\"\n");
        jail.write("/boot/initramfs-1.2.3kdump.img", "stale");
        assert_eq!(jail.run(REARM).status.code(), Some(1));
    });
}

#[test]
fn a_loader_that_loads_nothing_is_an_error() {
    for (flag, status) in [("0\n", 1), ("1\n", 0)] {
        each(
            |distribution| format!("echo new > {}", distribution.image),
            |jail, _, _| {
                jail.write("/sys/kernel/kexec_crash_loaded", flag);
                assert_eq!(jail.run(REARM).status.code(), Some(status));
                fs::remove_file(jail.path("/sys/kernel/kexec_crash_loaded")).unwrap();
            },
        );
    }
}

#[test]
fn bad_recipients_leave_the_loaded_image() {
    Jail::each(|jail| {
        jail.write("/stub/collector", "exit 1\n");
        install(jail, &["/bin/kdumpctl", "/bin/kdump-config", "/bin/mkdumprd"]);
        assert_eq!(jail.run(REARM).status.code(), Some(1));
        assert_eq!(log(jail), [CHECK_ONLY]);
    });
}

/// dracut ends with 0 also where it built no image.
#[test]
fn mkinitrd_replaces_an_image_only_by_one_that_was_built() {
    let last = "for word; do image=$version version=$word; done\n";
    for (end, content, code) in [
        ("echo new > \"$image\"", "new\n", 0),
        ("", "stale", 1),
        ("true > \"$image\"", "stale", 1),
        ("echo half > \"$image\"; exit 1", "stale", 1),
    ] {
        Jail::each(|jail| {
            jail.script(
                MKINITRD,
                &fs::read_to_string(module_dir().join("sbin/vmcore-encrypt-mkinitrd")).unwrap(),
            );
            jail.script("/bin/dracut", &format!("{LOG}{last}{end}\n"));
            jail.write("/boot/-an image", "stale");
            jail.script("/bin/build", &format!("#!/bin/sh\ncd /boot && exec {MKINITRD} '-an image' 6.1.0\n"));
            let ran = jail.run("/bin/build");
            assert_eq!(ran.status.code(), Some(code), "{end} under {:?}: {}", jail.shell, text(&ran));
            assert_eq!(jail.read("/boot/-an image"), content, "{end}");
            assert_eq!(jail.files("/boot"), ["-an image"]);
            assert_eq!(jail.path(MKINITRD).metadata().unwrap().permissions().mode() & 0o777, 0o755);
        });
    }
}

const PRESIGN: &str = "/usr/sbin/vmcore-encrypt-presign";
const PRESIGNED: &str = "/etc/vmcore-encrypt/presigned";
const SIGNED: &str =
    "https://store/dumps/a/000000?X-Amz-Signature=new\nhttps://store/dumps/a/end?X-Amz-Signature=new\n";

/// Runs the renewal with a program of these lines that prints the URLs; the collector is the real one.
fn presigned(jail: &Jail, maker: &str) -> Output {
    jail.script(PRESIGN, &fs::read_to_string(module_dir().join("sbin/vmcore-encrypt-presign")).unwrap());
    jail.script(
        "/usr/lib/vmcore-encrypt/vmcore-encrypt",
        "#!/bin/sh\nls -l /etc/vmcore-encrypt/presigned.new >> /log\nexec /stub/vmcore-encrypt \"$@\"\n",
    );
    jail.script("/bin/vmcore-encrypt-rearm", LOG);
    jail.write("/etc/vmcore-encrypt/recipients", crate::machine::RECIPIENT);
    jail.write("/stub/urls", SIGNED);
    jail.script("/etc/vmcore-encrypt/presign", &format!("#!/bin/sh\n{maker}\n"));
    jail.write(PRESIGNED, "old");
    jail.write("/log", "");
    jail.run(PRESIGN)
}

#[test]
fn presigned_urls_are_renewed_and_put_into_the_image() {
    Jail::each(|jail| {
        let ran = presigned(jail, "cat /stub/urls");
        assert!(ran.status.success(), "{}", text(&ran));
        assert_eq!(jail.read(PRESIGNED), SIGNED);
        assert_eq!(jail.path(PRESIGNED).metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let log = jail.log();
        assert!(log[0].starts_with("-rw------- "), "nobody reads them meanwhile: {log:?}");
        assert_eq!(log[1..], ["vmcore-encrypt-rearm "]);
        assert!(!text(&ran).contains("Signature"), "{}", text(&ran));
    });
}

#[test]
fn urls_that_cannot_be_made_leave_those_that_are_there() {
    for maker in [
        "cat /stub/urls; exit 1",
        "echo https://store/dumps/a/000000",
        "echo an error of the signer",
        "cat /stub/urls; cat /stub/urls",
        ":",
    ] {
        Jail::each(|jail| {
            let ran = presigned(jail, maker);
            assert_eq!(ran.status.code(), Some(1), "{maker}: {}", text(&ran));
            assert!(text(&ran).contains("the URLs that are there stay"), "{maker}: {}", text(&ran));
            assert_eq!(jail.files("/etc/vmcore-encrypt"), ["presign", "presigned", "recipients"]);
            assert_eq!(jail.read(PRESIGNED), "old");
            assert_eq!(jail.calls("vmcore-encrypt-rearm"), 0);
        });
    }
    Jail::each(|jail| {
        presigned(jail, ":");
        fs::remove_file(jail.path("/etc/vmcore-encrypt/presign")).unwrap();
        assert_eq!(jail.run(PRESIGN).status.code(), Some(1));
    });
}
