//! The kdump image: where it is, what it must hold and must not, and that reading one which somebody else wrote harms nothing.

use crate::archive::{self, Archive};
use crate::{COLLECTOR, DEBIAN, FEDORA, FEDORA_IMAGE, Machine, OWN, SMALL, SUSE};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_stale_image_is_found() {
    let machine = Machine::fedora(FEDORA);
    let image = fs::File::options().write(true).open(machine.path("boot/initramfs-6.1.0kdump.img")).unwrap();
    image.set_modified(std::time::UNIX_EPOCH).unwrap();
    machine.has_only("is older than /etc/vmcore-encrypt/recipients, /etc/kdump.conf");
}

#[test]
fn an_image_without_the_plugin_of_a_recipient_is_found() {
    let hrp = bech32::Hrp::parse("age1checktest").unwrap();
    let recipient = age_core::primitives::bech32_encode(hrp, b"x");
    let plugin = "usr/bin/age-plugin-checktest";
    let machine = Machine::fedora(FEDORA);
    machine.file("etc/vmcore-encrypt/recipients", &format!("{recipient}\n")).file(plugin, "#!/bin/sh\n");
    let of_image = |image: Archive| {
        machine.image(FEDORA_IMAGE, image.end());
        machine.problems_of("image")
    };
    let lacks = of_image(machine.archive());
    assert!(
        lacks.len() == 1 && lacks[0].contains("it lacks age-plugin-checktest, which a recipient needs"),
        "{lacks:?}"
    );
    assert_eq!(of_image(machine.archive().file(plugin, "#!/bin/sh\n")), [] as [&str; 0]);
    let other = of_image(machine.archive().file(plugin, "#!/bin/sh\nexec other\n"));
    assert!(
        other.len() == 1 && other[0].contains("age-plugin-checktest in it is not the installed one"),
        "{other:?}"
    );
}

/// Each file of ours in an image is held against the installed one, and what the image says is not believed.
#[test]
fn what_an_image_holds_is_compared_with_what_is_installed() {
    let machine = Machine::fedora(FEDORA);
    let hooks = "usr/lib/dracut/modules.d/99vmcore-encrypt";
    machine
        .file("usr/lib/vmcore-encrypt/save", "#!/bin/sh\nsave\n")
        .file("usr/lib/vmcore-encrypt/functions.sh", "functions\n")
        .file("etc/vmcore-encrypt/config", "TARGET=kdump\n")
        .file(&format!("{hooks}/vmcore-encrypt-save.sh"), "hook\n")
        .file("usr/share/initramfs-tools/scripts/local-top/vmcore-encrypt", "local-top\n");
    let parts = [
        ("usr/lib/vmcore-encrypt/save", "#!/bin/sh\nsave\n"),
        ("usr/lib/vmcore-encrypt/functions.sh", "functions\n"),
        ("etc/vmcore-encrypt/config", "TARGET=kdump\n"),
        ("usr/lib/dracut/hooks/pre-trigger/99-vmcore-encrypt-save.sh", "hook\n"),
        ("scripts/local-top/vmcore-encrypt", "local-top\n"),
    ];
    let with = |changed: &str, content: Option<&str>| {
        let parts = parts.iter().filter(|(path, _)| *path != changed);
        let image = parts.fold(machine.archive(), |image, (path, content)| image.file(path, content));
        let image = content.into_iter().fold(image, |image, content| image.file(changed, content));
        machine.image(FEDORA_IMAGE, image.end());
        machine.problems_of("image")
    };
    assert_eq!(with("nothing", None), [] as [&str; 0]);
    let text = machine.text();
    assert!(text.contains("it is consistent, which does not prove it authentic"), "{text}");
    let further = [("usr/bin/vmcore-encrypt", ""), ("usr/lib/vmcore-encrypt/unknown", "")];
    for (path, _) in parts.iter().chain(&further) {
        let problems = with(path, Some("changed"));
        let expected = format!("image: {path} in it is not the installed one");
        assert_eq!(problems, [expected.as_str()], "{path}");
    }
    // A link to what the image brings besides is that file.
    let image = machine.archive().file("evil", "#!/bin/sh\n").link("usr/bin/vmcore-encrypt", "/evil");
    let image = parts.iter().fold(image, |image, (path, content)| image.file(path, content));
    machine.image(FEDORA_IMAGE, image.end());
    assert_eq!(
        machine.problems_of("image"),
        ["image: usr/bin/vmcore-encrypt in it is not the installed one"]
    );
    let plain = machine.archive().file("usr/sbin/vmcore-dmesg", "plain");
    let plain = parts.iter().fold(plain, |image, (path, content)| image.file(path, content));
    machine.image(FEDORA_IMAGE, plain.end());
    assert_eq!(
        machine.problems_of("image"),
        ["image: usr/sbin/vmcore-dmesg in it saves the kernel log in plain"]
    );
    let ours = machine.archive().link("sbin/vmcore-dmesg", "/usr/bin/vmcore-encrypt");
    let ours = parts.iter().fold(ours, |image, (path, content)| image.file(path, content));
    machine.image(FEDORA_IMAGE, ours.end());
    assert_eq!(machine.problems_of("image"), [] as [&str; 0]);
}

/// A member of an image: path, permissions, content.
type Part = (&'static str, u32, Vec<u8>);

/// Adds such a member, changed.
type Change<'a> = &'a dyn Fn(Archive, &str, u32, &[u8]) -> Archive;

/// A machine of Debian whose image saves by itself, and the members of that image beside the common ones.
fn debian_own() -> (Machine, Vec<Part>) {
    let machine = Machine::debian(DEBIAN);
    machine
        .file("etc/vmcore-encrypt/config", OWN)
        .file("usr/lib/vmcore-encrypt/save", "#!/bin/sh\nsave\n")
        .file("usr/lib/vmcore-encrypt/functions.sh", "functions\n")
        .file("usr/share/initramfs-tools/scripts/local-top/vmcore-encrypt", "#!/bin/sh\nlocal-top\n");
    for path in ["usr/lib/vmcore-encrypt/save", "usr/share/initramfs-tools/scripts/local-top/vmcore-encrypt"]
    {
        fs::set_permissions(machine.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let collector = fs::read(machine.path(SMALL)).unwrap();
    let members = vec![
        ("usr/bin/vmcore-encrypt", 0o755, collector),
        ("etc/vmcore-encrypt/config", 0o644, OWN.into()),
        ("usr/lib/vmcore-encrypt/save", 0o755, "#!/bin/sh\nsave\n".into()),
        ("usr/lib/vmcore-encrypt/functions.sh", 0o644, "functions\n".into()),
        ("scripts/local-top/vmcore-encrypt", 0o755, "#!/bin/sh\nlocal-top\n".into()),
        ("scripts/local-top/ORDER", 0o644, ORDER.into()),
    ];
    (machine, members)
}

const ORDER: &str = "/scripts/local-top/vmcore-encrypt \"$@\"\n[ -e /conf/param.conf ] && . /conf/param.conf\n\
    /scripts/local-top/cryptroot \"$@\"\n[ -e /conf/param.conf ] && . /conf/param.conf\n";

/// That a file is in the image is not enough: it must be run, by root, and be nobody else's.
#[test]
fn what_an_image_holds_must_be_run() {
    let (machine, members) = debian_own();
    let with = |changed: &str, change: Change<'_>| {
        let add = |image: Archive, (path, mode, content): &Part| {
            if *path == changed {
                change(image, path, *mode, content)
            } else {
                image.member(path, 0o100_000 | mode, content)
            }
        };
        let image = members.iter().fold(machine.archive(), add);
        machine.image("var/lib/kdump/initrd.img-6.1.0", image.end());
        machine.problems_of("image")
    };
    let absent = |image: Archive, _: &str, _: u32, _: &[u8]| image;
    assert_eq!(with("", &absent), [] as [&str; 0]);
    let of_mode = |bits: u32| {
        move |image: Archive, path: &str, _: u32, content: &[u8]| {
            image.member(path, 0o100_000 | bits, content)
        }
    };
    let executed =
        ["usr/bin/vmcore-encrypt", "usr/lib/vmcore-encrypt/save", "scripts/local-top/vmcore-encrypt"];
    for path in executed {
        for mode in [0o644, 0o000] {
            let expected = format!(
                "image: {path} in it has mode {mode:04o} and cannot be executed: every dump would fail"
            );
            assert_eq!(with(path, &of_mode(mode)), [expected.as_str()]);
        }
    }
    for (path, ..) in members.iter().filter(|(path, ..)| !path.ends_with("ORDER")) {
        for mode in [0o4755, 0o2755, 0o777, 0o757] {
            let expected = format!("image: {path} in it has mode {mode:04o}, unlike the installed one");
            assert_eq!(with(path, &of_mode(mode)), [expected.as_str()]);
        }
        let of_another = |image: Archive, path: &str, mode: u32, content: &[u8]| {
            let header =
                archive::Header { mode: 0o100_000 | mode, owner: 1000, ..archive::header(path, content) };
            image.raw(&header, format!("{path}\0").as_bytes(), content)
        };
        let expected = format!("image: {path} in it belongs to user 1000, not to root");
        assert_eq!(with(path, &of_another), [expected.as_str()]);
        let problems = with(path, &absent);
        // The configuration's absence is what a missing collector or script is.
        let is_it = |problem: &String| problem.contains("lacks") && problem.contains(path);
        // The common part of the image has a collector.
        assert!(
            *path == "usr/bin/vmcore-encrypt" || (problems.len() == 1 && is_it(&problems[0])),
            "{path}: {problems:?}"
        );
        let directory = |image: Archive, path: &str, _: u32, _: &[u8]| image.directory(path);
        let problems = with(path, &directory);
        assert!(*path == "usr/bin/vmcore-encrypt" || problems.iter().any(is_it), "{path}: {problems:?}");
    }
    for (order, fault) in [
        ("", "does not run scripts/local-top/vmcore-encrypt"),
        ("/scripts/local-top/cryptroot \"$@\"\n", "does not run scripts/local-top/vmcore-encrypt"),
        ("# /scripts/local-top/vmcore-encrypt\n", "does not run scripts/local-top/vmcore-encrypt"),
        (
            "/scripts/local-top/cryptroot \"$@\"\n/scripts/local-top/vmcore-encrypt \"$@\"\n",
            "runs cryptroot first",
        ),
    ] {
        let problems = with("scripts/local-top/ORDER", &|image: Archive, path: &str, _: u32, _: &[u8]| {
            image.file(path, order)
        });
        assert!(problems.len() == 1 && problems[0].contains(fault), "{order}: {problems:?}");
    }
    let problems = with("scripts/local-top/ORDER", &absent);
    assert!(problems.len() == 1 && problems[0].contains("does not run"), "{problems:?}");
}

/// An image of our own, by dracut, needs both hooks.
#[test]
fn the_hooks_of_dracut_must_be_in_an_image_of_our_own() {
    let machine = Machine::new();
    let hooks = "usr/lib/dracut/modules.d/99vmcore-encrypt";
    machine
        .file("etc/vmcore-encrypt/config", OWN)
        .file("usr/lib/vmcore-encrypt/save", "save\n")
        .file("usr/lib/vmcore-encrypt/functions.sh", "functions\n")
        .file(&format!("{hooks}/vmcore-encrypt-save.sh"), "hook\n")
        .file(&format!("{hooks}/vmcore-encrypt-root.sh"), "root\n");
    let parts = [
        ("etc/vmcore-encrypt/config", OWN),
        ("usr/lib/vmcore-encrypt/save", "save\n"),
        ("usr/lib/vmcore-encrypt/functions.sh", "functions\n"),
        ("var/lib/dracut/hooks/pre-trigger/99-vmcore-encrypt-save.sh", "hook\n"),
        ("usr/lib/dracut/hooks/cmdline/50-vmcore-encrypt-root.sh", "root\n"),
    ];
    let without = |absent: &str| {
        let parts = parts.iter().filter(|(path, _)| !path.ends_with(absent));
        let image = parts.fold(machine.archive(), |image, (path, content)| image.file(path, content));
        machine.image("var/lib/vmcore-encrypt/initrd.img", image.end());
        machine.problems_of("image")
    };
    assert_eq!(without("nothing"), [] as [&str; 0]);
    for hook in ["pre-trigger/99-vmcore-encrypt-save.sh", "cmdline/50-vmcore-encrypt-root.sh"] {
        let problems = without(hook);
        assert!(problems.len() == 1 && problems[0].contains("it lacks the dracut hook"), "{problems:?}");
    }
}

/// Private keys of every kind, wherever they are in the image; keys of ssh are there by design, unless they open dumps.
#[test]
fn a_private_key_in_an_image_is_found() {
    let machine = Machine::fedora(FEDORA);
    let ssh_key = |name: &str, kind: &[&str]| {
        let path = machine.path(name);
        let mut keygen = Command::new("ssh-keygen");
        let made = keygen.args(["-q", "-N", "", "-C", "x", "-f"]).arg(&path).args(kind).status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        (fs::read_to_string(path).unwrap(), public)
    };
    let with = |path: &str, content: &str| {
        machine.image(FEDORA_IMAGE, machine.archive().file(path, content).end());
        machine.problems_of("image")
    };
    let identity = "AGE-SECRET-KEY-12T4FDAVR0PNY2YDYUNP8F5Q7DMUDVF0EWHA963DRZXSXLDCSZRZQNETYG4";
    let (key, public) = ssh_key("id", &["-t", "ed25519"]);
    let (pem, _) = ssh_key("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]);
    let (pkcs8, _) = ssh_key("pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]);
    for content in [
        identity,
        &identity.to_lowercase(),
        "AGE-PLUGIN-YUBIKEY-1QQQQ",
        &key,
        &pem,
        &pkcs8,
        "PuTTY-User-Key-File-2: ssh-rsa\n",
    ] {
        assert_eq!(with("root/key", content), ["image: a private key is in it: root/key"], "{content}");
    }
    let replaced = machine.archive().file("usr/x", identity).file("usr/x", "good");
    machine.image(FEDORA_IMAGE, replaced.end());
    assert_eq!(machine.problems_of("image"), ["image: a private key is in it: usr/x"]);
    for path in ["root/.ssh/kdump_id_rsa", "etc/ssh/ssh_host_ed25519_key", "home/kdump/.ssh/id"] {
        assert_eq!(with(path, &key), [] as [&str; 0], "{path}");
        assert_eq!(with(path, identity), [format!("image: a private key is in it: {path}")]);
        let text = machine.text();
        assert!(!text.contains(&identity[..30]), "{text}");
    }
    // It becomes a recipient's.
    machine.file("etc/vmcore-encrypt/recipients", &public);
    let problems = with("root/.ssh/kdump_id_rsa", &key);
    assert!(problems.len() == 1 && problems[0].contains("opens the dumps: ssh-ed25519 "), "{problems:?}");
    assert_eq!(with("root/.ssh/kdump_id_rsa", &ssh_key("other", &["-t", "ed25519"]).0), [] as [&str; 0]);
    assert_eq!(with("root/.ssh/kdump_id_rsa", &pem), [] as [&str; 0]);
    assert!(machine.text().contains("of unknown form"));
}

/// A program in an image is data: it leaves no trace, whatever it is called, and neither does any other member.
#[test]
fn nothing_of_an_image_is_executed_or_written() {
    let machine = Machine::fedora(FEDORA);
    let trace = machine.path("trace");
    let script = format!("#!/bin/sh\ntouch {}\n", trace.display());
    let up = "../".repeat(12);
    let image = machine
        .archive()
        .file("usr/bin/vmcore-encrypt", &script)
        .file("init", &script)
        .file(&format!("{up}{}", trace.display()), "x")
        .file(trace.to_str().unwrap(), "x")
        .link("link", machine.0.path().to_str().unwrap())
        .file("link/trace", "x")
        .member("setuid", 0o104_755, "x");
    machine.image(FEDORA_IMAGE, image.end());
    let temporary = machine.path("temporary");
    fs::create_dir(&temporary).unwrap();
    let output = Command::new(COLLECTOR)
        .args(["check", "--root"])
        .arg(machine.0.path())
        .env("TMPDIR", &temporary)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("usr/bin/vmcore-encrypt in it is not the installed one"), "{text}");
    assert!(text.contains("the collector as installed encrypts a vmcore"), "{text}");
    assert!(!trace.exists());
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}

/// Some bytes and megabytes of zeros, compressed.
fn zeros(bytes: &[u8], megabytes: usize) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..megabytes).for_each(|_| packed.write_all(&zeros).unwrap());
    packed.finish().unwrap()
}

/// An image with a file of so many megabytes.
fn growing(archive: Archive, megabytes: usize) -> Vec<u8> {
    let size = u32::try_from(megabytes << 20).unwrap();
    let large = archive::Header { size, ..archive::header("large", b"") };
    zeros(&archive.raw(&large, b"large\0", b"").open(), megabytes)
}

/// Whatever is wrong with an image, it is one finding, and the rest of the check is done.
#[test]
fn a_hostile_image_is_one_finding() {
    let machine = Machine::fedora(FEDORA);
    let path = machine.path(FEDORA_IMAGE);
    let many = (0..120_000).fold(Archive::new(), |archive, number| archive.file(&format!("{number}"), ""));
    let cases: [(&str, Vec<u8>); 6] = [
        ("neither a cpio archive nor a compression", b"not an image".to_vec()),
        ("no file is in it", Vec::new()),
        ("too large: files", growing(machine.archive(), 1500)),
        ("too large: it decompresses to more", zeros(&machine.good_image(), 1500)),
        ("too large: too many files", many.end()),
        ("squashfs", Archive::new().file("squashfs-root.img", "hsqs").end()),
    ];
    for (why, image) in cases {
        machine.image(FEDORA_IMAGE, image);
        let problems = machine.problems();
        let is_it = |problem: &String| problem.contains("cannot be read: ") && problem.contains(why);
        assert!(problems.len() == 1 && problems.iter().all(is_it), "{why}: {problems:?}");
    }
    fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    machine.has_only("cannot be read: it is not a regular file");
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    machine.has_only("cannot be read: it is not a regular file");
}

/// The process that decodes has no rights: not the user, not a capability, not a further file.
#[test]
fn an_image_is_decoded_without_privileges() {
    let as_root = rustix::process::geteuid().is_root();
    if as_root {
        // By itself it refuses: whoever starts it as root must give that up.
        let output = Command::new(COLLECTOR).arg("read-image").stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
    }
    let machine = Machine::fedora(FEDORA);
    machine.image(FEDORA_IMAGE, growing(machine.archive(), 900));
    // The caller has another file open, for every child.
    let mut check = Command::new("sh")
        .args(["-c", "exec 9< /etc/passwd; exec \"$0\" check --root \"$1\"", COLLECTOR])
        .arg(machine.0.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", check.id());
    let read = |path: String| fs::read_to_string(path).unwrap_or_default();
    let (mut status, mut limits) = (String::new(), String::new());
    let (mut reader, mut open) = (String::new(), Vec::new());
    for _ in 0..2000 {
        for child in read(children.clone()).split_whitespace() {
            if read(format!("/proc/{child}/cmdline")).contains("read-image") {
                (status, limits) =
                    (read(format!("/proc/{child}/status")), read(format!("/proc/{child}/limits")));
                let links = fs::read_dir(format!("/proc/{child}/fd")).into_iter().flatten().flatten();
                open = links.map(|link| link.file_name().into_string().unwrap()).collect();
                reader = child.to_owned();
            }
        }
        if limits.contains("Max open files            3") {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    check.kill().unwrap();
    check.wait().unwrap();
    open.retain(|number| !matches!(&**number, "0" | "1" | "2"));
    assert_eq!(open, [] as [&str; 0], "descriptors of the caller");
    // It does not outlive whoever asked.
    let ended = || {
        let stat = read(format!("/proc/{reader}/stat"));
        stat.is_empty() || stat.contains(") Z ")
    };
    assert!((0..400).any(|_| ended() || {
        std::thread::sleep(Duration::from_millis(5));
        false
    }));
    let none = "\t0000000000000000";
    for line in
        ["NoNewPrivs:\t1", &format!("CapInh:{none}"), &format!("CapPrm:{none}"), &format!("CapEff:{none}")]
    {
        assert!(status.contains(line), "{line}: {status}");
    }
    for line in ["Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534", "Groups:\t \n"] {
        assert!(!as_root || status.contains(line), "{line}: {status}");
    }
    let limited = [
        ("address space", "1073741824"),
        ("cpu time", "60"),
        ("file size", "0"),
        ("processes", "0"),
        ("core", "0"),
    ];
    for (limit, value) in limited {
        let line = limits.lines().find(|line| line.contains(limit)).unwrap();
        assert_eq!(line.split_whitespace().filter(|word| *word == value).count(), 2, "{line}");
    }
}

/// Where distributions put images, the newer places as well.
#[test]
fn the_image_is_looked_for_where_it_is() {
    let place = |conf: &str, text: &str, path: &str| {
        let machine = Machine::new();
        machine
            .file(conf, text)
            .file("usr/lib/vmcore-encrypt/suse-transfer", "")
            .file("etc/machine-id", "0123abcd\n")
            .image(path, machine.archive().file("usr/lib/vmcore-encrypt/suse-transfer", "").end());
        let text = machine.text();
        assert!(text.contains(&format!("/{path} is up to date")), "{path}: {text}");
        let transfer = "usr/lib/vmcore-encrypt/suse-transfer";
        assert!(text.contains("it holds usr/bin/vmcore-encrypt"), "{path}: {text} {transfer}");
    };
    for path in [
        "boot/initramfs-6.1.0kdump.img",
        "var/lib/kdump/initramfs-6.1.0kdump.img",
        "boot/0123abcd/6.1.0/initrdkdump",
        "efi/0123abcd/6.1.0/initrdkdump",
        "boot/efi/0123abcd/6.1.0/initrdkdump",
        "boot/ostree/default-1/initramfs-6.1.0kdump.img",
    ] {
        place("etc/kdump.conf", FEDORA, path);
    }
    for path in ["var/lib/kdump/initrd", "var/lib/kdump/initrd-6.1.0-kdump", "boot/initrd-6.1.0-kdump"] {
        place("etc/sysconfig/kdump", SUSE, path);
    }
    let machine = Machine::fedora(FEDORA);
    machine.file("boot/efi/EFI/Linux/x-6.1.0.efi.extra.d/kdump.addon.efi", "");
    assert_eq!(machine.problems(), [] as [&str; 0]);
    let text = machine.text();
    assert!(text.contains("warning  image") && text.contains("kdump.addon.efi"), "{text}");
}
