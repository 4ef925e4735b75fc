//! Dumps to an NFS export over a network, as kdump-utils writes them, and with the network cut half-way. The export is
//! the capture kernel's own, but every byte between its client and its server goes to the host and back, by
//! a [`link`] that keeps what it carries.

use crate::common::guest::{Crash, Disk, Guest};
use crate::common::{Absent, decrypt, keys, lab, or_skip, run, scratch, succeed};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// Bytes from the client that pass before the network is cut.
const PASSED: u64 = 3 << 20;

/// First the server, by what the kernel takes in place of an answer of mountd: who the client is, what it may have
/// (read and write, by fsid, as the client's own user, from any port), and that file handle 0 is that. Then what
/// kdump-utils 1.0.61 does for a file system, with its names.
const JOB: &str = r#"
for module in /lab/nfs/*; do insmod "$module"; done
mkdir -p /export /nfs /var/lib/nfs/v4recovery
mount -t ext4 /dev/vdb /export
mount -t nfsd nfsd /proc/fs/nfsd
echo "-2 -3 +4 +4.1 +4.2" > /proc/fs/nfsd/versions
rpc=/proc/net/rpc never=2147483647
echo "nfsd 10.0.2.2 $never lab" > $rpc/auth.unix.ip/channel
echo "lab /export $never 9218 65534 65534 0" > $rpc/nfsd.export/channel
echo "lab 1 \\x00000000 $never /export" > $rpc/nfsd.fh/channel
echo "tcp 2049" > /proc/fs/nfsd/portlist
echo 2 > /proc/fs/nfsd/threads
echo Y > /proc/fs/nfsd/v4_end_grace

mount_by() {
    mount -i -t nfs4 -o vers=4.2,addr=10.0.2.2,clientaddr=10.0.2.15,proto=tcp,soft,port=$1,timeo=$2,retrans=$3 10.0.2.2:/ /nfs
}
save() {
    mkdir -p "$1"
    vmcore-dmesg /proc/vmcore > "$1/vmcore-dmesg-incomplete.txt" && mv "$1/vmcore-dmesg-incomplete.txt" "$1/vmcore-dmesg.txt"
    vmcore-encrypt $2 /proc/vmcore "$1/vmcore-incomplete" > /dev/console 2>&1 || return $?
    sync -f "$1/vmcore-incomplete"
    mv "$1/vmcore-incomplete" "$1/vmcore"
}
ln -s vmcore-encrypt /bin/vmcore-dmesg
try mounted mount_by LINK 600 3
try saved save /nfs//var/crash/10.0.2.15-2026-01-02-03:04:05/ "-d 31"
try unmounted umount /nfs

try mounted-again mount_by CUT 20 0
try cut save /nfs/cut "-d 1"
umount -f -l /nfs
echo 0 > /proc/fs/nfsd/threads
umount /export
"#;

#[test]
fn a_dump_over_nfs_arrives_and_a_cut_network_leaks_nothing() {
    let Some((crash, export, keep)) = or_skip(send()) else { return };
    for step in ["mounted", "saved", "unmounted", "mounted-again"] {
        assert_eq!(crash.status(step), 0, "{step}:\n{}", crash.console);
    }
    // The collector ends, with the kernel's word for a soft mount whose server is gone.
    assert_eq!(crash.status("cut"), 1, "{}", crash.console);
    assert!(crash.console.contains("Input/output error"), "{}", crash.console);
    // The export's disk, and all that went over the network.
    let carried = |name: &str| crash.work.join(name).metadata().unwrap().len();
    assert!(carried("link") > 8 << 20 && carried("cut") == PASSED);
    crash.assert_no_plaintext();

    let identity = keep.join("identity");
    export.take_ext4_directory("var", &keep);
    let dated = keep.join("var/crash/10.0.2.15-2026-01-02-03:04:05");
    assert_eq!(fs::read_dir(&dated).unwrap().count(), 2);
    let restored = keep.join("restored");
    succeed(decrypt().args(["--format", "elf", "-i"]).args([&identity, &dated.join("vmcore"), &restored]));
    let found = crash.secrets.find(&restored);
    assert!(found.contains("klog") && found.contains("slab"), "{found:?}");
    let log = succeed(decrypt().args(["dmesg", "-i"]).args([&identity, &dated.join("vmcore-dmesg.txt")]));
    assert!(log.contains("sysrq triggered crash"), "{log}");

    // What arrived before the cut is no whole dump.
    let part = keep.join("part");
    export.take_ext4("/cut/vmcore-incomplete", &part);
    let output = run(decrypt().args(["-f", "-i"]).args([&identity, &part, &restored]));
    assert!(!output.status.success());
    fs::remove_dir_all(keep).unwrap();
}

fn send() -> Result<(Crash, Disk, PathBuf), Absent> {
    let guest = Guest::new("nfs", "bookworm");
    let work = guest.work().to_owned();
    let keep = scratch("vm-nfs-received");
    let (_, recipients) = keys(&keep);
    let export = Disk::ext4(&work, "export.img", 96);
    let server = unused_port();
    let whole = link(server, work.join("link"), u64::MAX);
    let cut = link(server, work.join("cut"), PASSED);

    let kernel = lab("kernel.sh", ["bookworm"])?;
    let modules = lab("initramfs.sh", ["--modules", &kernel, "nfsd", "nfsv4"])?;
    let mut guest = guest.serve(server).memory("512", "160M").disk(&export);
    for (number, module) in (10..).zip(modules.lines()) {
        guest = guest.file(Path::new(module), &format!("lab/nfs/{number}.ko"));
    }
    let guest = guest.file(&recipients, "etc/vmcore-encrypt/recipients");
    let job = JOB.replace("LINK", &whole.to_string()).replace("CUT", &cut.to_string());
    Ok((guest.crash(&job)?, export, keep))
}

fn unused_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The network: connections to the port it gives go on to the server's. What the client sends is also kept in `record`;
/// after `passed` bytes of that there is no network any more.
fn link(server: u16, record: PathBuf, passed: u64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut record = File::create(record).unwrap();
        let mut left = passed;
        for client in listener.incoming() {
            left -= carry(&client.unwrap(), server, &mut record, left);
            if left == 0 {
                return;
            }
        }
    });
    port
}

/// Carries one connection until an end closes it or the client has sent `most`; gives how much it sent. In the second
/// case the server's end stays open: a server does not hear of a cut network, and QEMU's user network ends with an assertion when
/// a connection is closed to a guest that still has to take what came by it.
fn carry(client: &TcpStream, server: u16, record: &mut File, most: u64) -> u64 {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return 0 };
    let (mut sent, mut buffer) = (0, [0; 1 << 16]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &server, &mut &*client);
            let _ = client.shutdown(Shutdown::Both);
        });
        let mut source = client.take(most);
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            sent += count as u64;
            record.write_all(&buffer[..count]).unwrap();
            if (&server).write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let what = if sent == most { Shutdown::Read } else { Shutdown::Both };
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(what));
    });
    if sent == most {
        std::mem::forget(server);
    }
    sent
}
