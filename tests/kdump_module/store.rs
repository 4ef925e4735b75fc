//! An object store as the target, on a machine: what `check` asks of it, and what the image brings for it.

use crate::common::guest::{Crash, Guest};
use crate::common::mounted::{Mounted, can_mount};
use crate::common::{Absent, decrypt, names, or_skip, run, scratch, succeed};
use crate::machine::Machine;
use crate::object_store::{Fault, Store};
use crate::server::Server;
use crate::vm::{Lab, MKINITRD};
use crate::{has, module_dir, text};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Gives a machine the right to write to a server of S3.
fn write_credentials(machine: &Machine, endpoint: &str) {
    const CREDENTIALS: &str = "/etc/vmcore-encrypt/credentials";
    let text = format!(
        "AWS_ACCESS_KEY_ID=test\nAWS_SECRET_ACCESS_KEY=verysecret\nAWS_REGION=us-east-1\n\
         AWS_ENDPOINT={endpoint}\nAWS_ALLOW_HTTP=true\n"
    );
    machine.write(CREDENTIALS, &text);
    fs::set_permissions(machine.path(CREDENTIALS), fs::Permissions::from_mode(0o600)).unwrap();
}

/// A machine whose dumps go to a store.
fn machine(store: &Store, more: &str) -> Option<Machine> {
    let machine = Machine::new()?;
    machine.write("/etc/vmcore-encrypt/config", &format!("TARGET=store\nURL=s3://crashes/4f0c/\n{more}"));
    write_credentials(&machine, &format!("http://127.0.0.1:{}", store.port()));
    // The collector of the packages has no part for stores: here both builds are the one that has.
    fs::remove_file(machine.path("/usr/lib/vmcore-encrypt/vmcore-encrypt")).unwrap();
    Some(machine)
}

/// What `check` finds about the target.
fn target(machine: &Machine) -> String {
    let output = machine.run("vmcore-encrypt check || true");
    let said = text(&output);
    assert!(!said.contains("verysecret"), "{said}");
    said.lines().find(|line| line.contains(" target ")).unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn check_asks_the_store_with_the_collectors_words_and_deletes_nothing() {
    let store = Store::start();
    let Some(machine) = machine(&store, "COLLECTOR_ARGS=--stall 5\n") else { return };
    for _ in 0..2 {
        let found = target(&machine);
        assert!(found.starts_with("ok ") && found.contains("takes objects, and overwrites none"), "{found}");
        assert_eq!(store.objects().into_keys().collect::<Vec<_>>(), ["crashes/4f0c/vmcore-encrypt-probe"]);
    }
    store.fail("/vmcore-encrypt-probe", Fault::Answer(200, "", 2));
    let found = target(&machine);
    assert!(found.starts_with("warning ") && found.contains("overwrites them"), "{found}");
    store.fail("/vmcore-encrypt-probe", Fault::Answer(403, "<Code>AccessDenied</Code>", 9));
    let found = target(&machine);
    assert!(found.starts_with("problem ") && found.contains("AccessDenied"), "{found}");
    assert!(!store.heads().contains("DELETE ") && !store.heads().contains("GET "));
}

/// Of words that the collector does not know no dump comes; a build without stores says so.
#[test]
fn check_finds_a_collector_that_knows_no_store() {
    let store = Store::start();
    let Some(machine) = machine(&store, "") else { return };
    let small = crate::common::collector();
    fs::copy(small, machine.path("/usr/lib/vmcore-encrypt/vmcore-encrypt")).unwrap();
    let found = target(&machine);
    assert!(found.starts_with("problem ") && found.contains("cannot write to the store"), "{found}");
    assert!(store.puts().is_empty());
}

#[test]
fn an_image_brings_the_right_to_write_certificates_and_the_network() {
    if !has_network() {
        return;
    }
    let store = Store::start();
    let words =
        "NETWORK=10.0.0.9::10.0.0.1:255.255.255.0::eth0:none\nCOLLECTOR_ARGS=--ca-file /etc/our-ca.pem\n";
    let Some(machine) = machine(&store, words) else { return };
    machine.write("/etc/our-ca.pem", "-----BEGIN CERTIFICATE-----\n");
    let script = "release=$(ls /lib/modules | head -n 1)
        vmcore-encrypt-mkinitrd /out/image ${release:-none} --no-kernel
        cd /tmp && gzip -dc /out/image 2> /dev/null | cpio -idm --quiet || zstd -dc /out/image | cpio -idm --quiet
        cat etc/cmdline.d/99-vmcore-encrypt.conf; stat -c '%a %n' etc/vmcore-encrypt/credentials etc/our-ca.pem
        find var/lib/dracut/hooks usr/lib/dracut/hooks -name '*vmcore-encrypt*' 2> /dev/null | sort";
    let seen = text(&machine.run(script));
    for expected in [
        "rd.neednet=1 ip=10.0.0.9::10.0.0.1:255.255.255.0::eth0:none\n",
        "600 etc/vmcore-encrypt/credentials\n",
        "etc/our-ca.pem\n",
        "hooks/initqueue/finished/99-vmcore-encrypt-wait.sh\n",
        "hooks/initqueue/settled/99-vmcore-encrypt-online.sh\n",
        "hooks/initqueue/timeout/99-vmcore-encrypt-save.sh\n",
    ] {
        assert!(seen.contains(expected), "{expected}: {seen}");
    }
    assert!(!seen.contains("pre-trigger"), "before the network is up: {seen}");
}

/// Whether dracut can bring up a network.
fn has_network() -> bool {
    let module = Path::new("/usr/lib/dracut/modules.d/35network-legacy");
    let found = module.exists().then_some(()).ok_or(Absent("dracut-network".to_owned()));
    has("dracut") && has("dhclient") && or_skip(found).is_some()
}

/// A machine whose dumps go to a store on the host, which has this port.
fn lab_of_a_store(name: &str, port: u16, words: &str) -> Option<Lab> {
    let config =
        format!("TARGET=store\nURL=s3://dumps/host1/\nDUMP_LEVEL=1\nCOLLECTOR_ARGS=--num-threads 1 {words}");
    let lab = Lab::new(name, &config)?;
    write_credentials(&lab.machine, &format!("http://10.0.2.2:{port}"));
    // This test's own build has the part for stores.
    let collector = lab.machine.path("/usr/lib/vmcore-encrypt/vmcore-encrypt");
    succeed(Command::new("strip").arg("-o").arg(collector).arg(env!("CARGO_BIN_EXE_vmcore-encrypt")));
    Some(lab)
}

/// A guest crashes into an image that saves to a store on the host, by the emulated network. What it leaves.
fn crash_over_the_network(name: &str, port: u16, words: &str) -> Option<(Lab, Crash)> {
    let lab = lab_of_a_store(name, port, words)?;
    let drivers = MKINITRD.replace("virtio_blk'", "virtio_blk virtio_net'");
    let image = lab.build(&drivers);
    let guest = Guest::new(name, "bookworm").memory("1024", "320M").net();
    let crash = or_skip(guest.crash_into(&image, "net.ifnames=0"))?;
    Some((lab, crash))
}

/// The network of the capture kernel comes up, the dump is in the bucket of a real server, and nothing planted is in plain
/// on the wire, in the store or on the console.
#[test]
#[ignore = "make matrix"]
fn matrix_store_gets_a_dump_over_the_network_of_the_capture_kernel() {
    let served = scratch("store-served");
    let Some(mut server) = has_network().then(|| or_skip(Server::start("s3", &served))).flatten() else {
        return;
    };
    let record = scratch("store-wire");
    server.record(&record.join("wire"));
    let Some((lab, crash)) = crash_over_the_network("store", server.port(), "") else { return };
    assert_it_arrived(&mut server, &lab, &crash, &record);
}

/// Takes every object out of the bucket, to beside the record of the wire. The names of both; nothing planted is in plain there.
fn taken(server: &mut Server, crash: &Crash, record: &Path) -> Vec<String> {
    server.save(record);
    let found = names(record);
    found.iter().for_each(|name| assert_eq!(crash.secrets.find(&record.join(name)), [].into(), "{name}"));
    found
}

/// A directory with the objects of one dump, of those that were taken.
fn copied_set(lab: &Lab, taken: &[String], record: &Path) -> PathBuf {
    let set = lab.keep.join("set");
    fs::create_dir(&set).unwrap();
    for name in taken.iter().filter(|name| name.contains("...")) {
        fs::copy(record.join(name), set.join(name.rsplit("...").next().unwrap())).unwrap();
    }
    set
}

/// One whole dump is in the bucket, and nothing planted is in plain on the wire, in the store or on the console.
fn assert_it_arrived(server: &mut Server, lab: &Lab, crash: &Crash, record: &Path) {
    let found = taken(server, crash, record);
    assert!(
        found.iter().any(|name| name.ends_with("...end")) && found.len() >= 4,
        "{found:?}\n{}",
        crash.console
    );
    let set = copied_set(lab, &found, record);
    crash.assert_no_plaintext();
    let core = lab.keep.join("core");
    succeed(decrypt().args(["--format", "elf", "-i"]).args([&lab.identity, &set, &core]));
    let in_core = crash.secrets.find(&core);
    // At level 1 freed memory is in the dump too, where nobody has used it since.
    assert!(in_core.len() >= crash.secrets.names().len() - 1, "{in_core:?}");
    let mut list = decrypt();
    server.s3(list.args(["list", "s3://dumps/", "-i"]).arg(&lab.identity));
    let listed = succeed(&mut list);
    assert!(listed.lines().count() == 1 && listed.contains("complete"), "{listed}");
}

/// Units that take a tenth of the boot and have no part in it.
const MASKED: [&str; 5] = [
    "systemd-sysusers",
    "systemd-tmpfiles-setup",
    "systemd-update-utmp",
    "systemd-random-seed",
    "systemd-hwdb-update",
];
/// The network of a Debian machine.
const NETWORK: &str = "[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n";
const USERS: &str = "root:x:0:0::/root:/bin/sh\nsystemd-network:x:998:998::/:/bin/false\n";
const GROUPS: &str = "root:x:0:\nsystemd-network:x:998:\n";

/// The root file system that kdump-tools' capture kernel boots, Debian's with systemd, as its image.
fn debian_root(lab: &Lab, work: &Path) -> Result<PathBuf, Absent> {
    let root = work.join("root");
    succeed(Command::new("cp").arg("-a").arg(crate::common::lab("root.sh", ["bookworm"])?).arg(&root));
    let collector = lab.machine.path("/usr/lib/vmcore-encrypt/vmcore-encrypt");
    let mut make = Command::new("make");
    make.args(["-s", "-C"])
        .arg(module_dir())
        .arg("install-debian")
        .arg(format!("DESTDIR={}", root.display()));
    succeed(make.arg(format!("BIN={}", collector.display())));
    for name in ["config", "recipients", "credentials"] {
        let from = lab.machine.path("/etc/vmcore-encrypt").join(name);
        fs::copy(from, root.join("etc/vmcore-encrypt").join(name)).unwrap();
    }
    for library in ["libgcc_s.so.1", "libm.so.6"] {
        let from = Path::new("/lib/x86_64-linux-gnu").join(library);
        fs::copy(from, root.join("usr/lib/x86_64-linux-gnu").join(library)).unwrap();
    }
    for (name, content) in [
        ("etc/systemd/network/eth0.network", NETWORK),
        ("etc/passwd", USERS),
        ("etc/group", GROUPS),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ] {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), content).unwrap();
    }
    for name in MASKED {
        symlink("/dev/null", root.join(format!("etc/systemd/system/{name}.service"))).unwrap();
    }
    succeed(Command::new("systemctl").arg("--root").arg(&root).args(["enable", "systemd-networkd"]));
    install_drivers(&root)?;
    symlink("lib/systemd/systemd", root.join("init")).unwrap();
    let image = work.join("image");
    let pack = "cd \"$1\" && find . -print0 | cpio -0 -o -H newc --quiet | gzip -1 > \"$2\"";
    succeed(Command::new("sh").args(["-ec", pack, "sh"]).args([&root, &image]));
    fs::remove_dir_all(root).unwrap();
    Ok(image)
}

/// The drivers of the guest's network card.
fn install_drivers(root: &Path) -> Result<(), Absent> {
    let kernel = PathBuf::from(crate::common::lab("kernel.sh", ["bookworm"])?);
    let release = fs::read_to_string(kernel.join("release")).unwrap();
    let copy = "cd \"$1/lib/modules/$3\" && mkdir -p \"$2/lib/modules/$3\" && cp modules.builtin* modules.order \"$2/lib/modules/$3/\" &&
        find . -name 'virtio*.ko*' -o -name 'net_failover.ko*' -o -name 'failover.ko*' | cpio -pdm --quiet \"$2/lib/modules/$3\" &&
        /sbin/depmod -b \"$2\" \"$3\"";
    succeed(Command::new("sh").args(["-ec", copy, "sh"]).args([&kernel, root]).arg(release.trim()));
    Ok(())
}

/// Debian's way: the capture kernel boots the root file system, and our unit saves once the machine's own network is up.
#[test]
#[ignore = "make matrix"]
fn matrix_store_gets_a_dump_from_the_root_file_system_of_debian() {
    let served = scratch("store-debian-served");
    let Some(mut server) = or_skip(Server::start("s3", &served)) else { return };
    let record = scratch("store-debian-wire");
    server.record(&record.join("wire"));
    let Some(lab) = lab_of_a_store("store-debian", server.port(), "") else { return };
    let work = scratch("store-debian-image");
    let Some(image) = or_skip(debian_root(&lab, &work)) else { return };
    let guest = Guest::new("store-debian", "bookworm").memory("2048", "640M").net();
    let words = "net.ifnames=0 systemd.unit=vmcore-encrypt-dump.service";
    let Some(crash) = or_skip(guest.crash_into(&image, words)) else { return };
    assert_it_arrived(&mut server, &lab, &crash, &record);
}

/// Bytes that the network takes before it is cut: the first object, and a part of the second.
const BEFORE_THE_CUT: u64 = 18 << 20;

/// A network that is cut half-way leaves what arrived: it is listed as cut and read where it is and as a copy, the machine leaves as
/// configured, and nothing planted is in plain in the store, or on the wire, the lost part included.
#[test]
#[ignore = "make matrix"]
fn matrix_store_keeps_what_arrived_before_a_cut() {
    let served = scratch("store-cut-served");
    let Some(mut server) = has_network().then(|| or_skip(Server::start("s3", &served))).flatten() else {
        return;
    };
    let record = scratch("store-cut-wire");
    server.record(&record.join("wire"));
    server.wire().cut_after(BEFORE_THE_CUT);
    let Some((lab, crash)) = crash_over_the_network("store-cut", server.port(), "--stall 1") else { return };
    assert!(crash.console.contains("the store cannot be reached"), "{}", crash.console);
    assert!(record.join("wire").metadata().unwrap().len() > BEFORE_THE_CUT);
    server.wire().mend();
    let found = taken(&mut server, &crash, &record);
    let [object, _] = &found[..] else { panic!("{found:?}") };
    let url = format!("s3://dumps/{}/", object.strip_suffix("...000000").unwrap().replace("...", "/"));
    let set = copied_set(&lab, &found, &record);
    crash.assert_no_plaintext();
    for dump in [url.as_ref(), set.as_os_str()] {
        assert_what_arrived_is_read(&server, &lab, &crash, dump);
    }
}

/// What an analyst gets of a cut dump: each command notices the cut, and has the log of the crashed kernel.
fn assert_what_arrived_is_read(server: &Server, lab: &Lab, crash: &Crash, dump: &OsStr) {
    let reading = |words: &[&str]| {
        let mut command = decrypt();
        server.s3(command.args(words));
        command
    };
    let opened = |words: &[&str]| {
        let output = run(reading(words).arg("-i").arg(&lab.identity).arg(dump));
        (output.status.code().unwrap(), text(&output))
    };
    let (status, listed) = opened(&["list"]);
    assert!(status == 0 && listed.contains(" cut "), "{listed}");
    for words in ["verify", "info"] {
        assert_eq!(opened(&[words]).0, 5, "{words}");
    }
    let kept = lab.keep.join("salvaged");
    let mut salvage = reading(&["--salvage", "--format", "elf", "-i"]);
    let output = run(salvage.arg(&lab.identity).arg(dump).arg(&kept));
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(crash.secrets.find(&kept).contains("klog"));
    let log = lab.keep.join("log");
    fs::write(&log, opened(&["dmesg"]).1).unwrap();
    assert!(crash.secrets.find(&log).contains("klog"), "{}", fs::read_to_string(log).unwrap());
    if can_mount() {
        let directory = scratch("store-cut-mount");
        let mounted = Mounted::by(reading(&["mount"]), &lab.identity, dump, &directory);
        for name in ["dmesg.txt", "vmcore.elf"] {
            assert!(crash.secrets.find(&mounted.file(name)).contains("klog"), "{name}");
        }
    }
    fs::remove_file(kept).unwrap();
}
