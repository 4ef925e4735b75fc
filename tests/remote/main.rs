//! Dumps on servers: real ones on loopback, S3, HTTP with and without ranges, TLS. What a command asks for is counted on
//! the wire, and what can go wrong with a server is said in one line.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the tests of uploading use more of it")]
mod server;

use common::{mounted, or_skip, run, scratch, succeed, text};
use server::Server;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, SystemTime};
use vmcore_encrypt::crypt::stream::ReadAt;

/// A dump of a real machine's whole memory, alone in a directory that servers serve.
struct Sample {
    identity: PathBuf,
    served: PathBuf,
    size: u64,
    log: String,
}

/// Made once for all tests that run at the same time; nothing when there is no vmcore.
fn sample() -> Option<Arc<Sample>> {
    static SAMPLE: Mutex<Weak<Sample>> = Mutex::new(Weak::new());
    let mut made = SAMPLE.lock().unwrap();
    if let Some(sample) = made.upgrade() {
        return Some(sample);
    }
    let sample = Arc::new(make(&or_skip(common::vmcore("bookworm-5level-kdump"))?));
    *made = Arc::downgrade(&sample);
    Some(sample)
}

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.served.parent().unwrap());
    }
}

fn make(vmcore: &Path) -> Sample {
    let home = scratch("remote");
    let (identity, recipients) = common::keys(&home);
    let served = home.join("served");
    fs::create_dir(&served).unwrap();
    let dump = served.join("dump.age");
    succeed(common::encrypt().args(["-d", "0", "-R"]).arg(recipients).arg(vmcore).arg(&dump));
    let size = fs::metadata(&dump).unwrap().len();
    let log = succeed(common::decrypt().args(["dmesg", "-i"]).arg(&identity).arg(&dump));
    Sample { identity, served, size, log }
}

impl Sample {
    /// A command on a URL.
    fn decrypt(&self, command: &str, url: &str) -> Command {
        let mut decrypt = common::decrypt();
        decrypt.args([command, "-i"]).arg(&self.identity).arg(url);
        decrypt
    }

    /// A directory with a copy that a test may change.
    fn copy(&self, name: &str) -> PathBuf {
        let served = scratch(name);
        fs::copy(self.served.join("dump.age"), served.join("dump.age")).unwrap();
        served
    }
}

const MIB: u64 = 1 << 20;

/// `info`, `dmesg` and a mount of which a little is read fetch little of the dump, and the right bytes.
fn assert_little_is_fetched(sample: &Sample, server: &Server, url: &str, prepare: impl Fn(&mut Command)) {
    assert!(sample.size > 30 * MIB, "{} bytes are too few to tell a part from all", sample.size);
    server.carried();
    let mut info = sample.decrypt("info", url);
    prepare(&mut info);
    let shown = succeed(info.arg("--json"));
    assert!(shown.contains(&format!("\"file_size\": {}", sample.size)), "{shown}");
    assert!(shown.contains("\"index\": \"whole\""), "{shown}");
    let fetched = server.carried();
    assert!(fetched < 3 * MIB, "info fetched {fetched} bytes of {}", sample.size);

    let mut dmesg = sample.decrypt("dmesg", url);
    prepare(&mut dmesg);
    assert!(succeed(&mut dmesg) == sample.log);
    let fetched = server.carried();
    assert!(fetched < 6 * MIB, "dmesg fetched {fetched} bytes of {}", sample.size);

    let caches = scratch(&format!("remote-cache-{}", url.len()));
    let report = || {
        let mut report = sample.decrypt("report", url);
        prepare(&mut report);
        (succeed(report.env("XDG_CACHE_HOME", &caches)), server.carried())
    };
    let ((first, without), (second, with)) = (report(), report());
    assert!(first == second && first.contains("sysrq triggered crash"), "{first}");
    assert!(without < 20 * MIB, "report fetched {without} bytes of {}", sample.size);
    // Samples of every table are read to know that they are those at hand, each at the cost of a block.
    assert!(
        with <= without,
        "report with the kernel's tables at hand fetched {with} bytes, without {without}"
    );

    if !mounted::can_mount() {
        return;
    }
    let directory = scratch(&format!("remote-mnt-{}", url.len()));
    let mut mount = sample.decrypt("mount", url);
    prepare(&mut mount);
    let script =
        "cat \"$0/dmesg.txt\" && dd if=\"$0/vmcore\" of=/dev/null bs=64k skip=300 count=1 status=none";
    mount.arg(&directory).args(["--", "sh", "-c", script]).arg(&directory);
    assert!(succeed(&mut mount) == sample.log);
    let fetched = server.carried();
    assert!(fetched < 8 * MIB, "the mount fetched {fetched} bytes of {}", sample.size);

    // The report in a mount is the same, by the same tables.
    let mut mount = sample.decrypt("mount", url);
    prepare(&mut mount);
    mount
        .env("XDG_CACHE_HOME", &caches)
        .arg(&directory)
        .args(["--", "cat"])
        .arg(directory.join("report.txt"));
    assert!(succeed(&mut mount) == first);
    let fetched = server.carried();
    assert!(fetched < with + 6 * MIB, "the mount's report fetched {fetched} bytes, another {with}");
    fs::remove_dir_all(caches).unwrap();
    fs::remove_dir(directory).unwrap();
}

#[test]
fn an_object_in_a_bucket_is_looked_at_and_mounted_by_its_parts() {
    let Some(sample) = sample() else { return };
    let Some(server) = or_skip(Server::start("s3", &sample.served)) else { return };
    assert_little_is_fetched(&sample, &server, "s3://dumps/dump.age", |command| server.s3(command));
    // The presigned URL holds all that is needed, and is a secret.
    let url = &server.presigned[0];
    assert_little_is_fetched(&sample, &server, url, |_| {});
    let refused = run(common::decrypt().args(["info", "-i", "/dev/null"]).arg(url));
    assert!(!refused.status.success() && !text(&refused.stderr).contains("Signature"), "{refused:?}");
}

#[test]
fn a_file_of_a_web_server_is_read_by_its_parts() {
    let Some(sample) = sample() else { return };
    let Some(server) = or_skip(Server::start("ranges", &sample.served)) else { return };
    let url = server.origin("http") + "/dump.age";
    assert_little_is_fetched(&sample, &server, &url, |_| {});
    let restored = scratch("remote-restored").join("vmcore");
    succeed(common::decrypt().arg("-i").arg(&sample.identity).arg(&url).arg(&restored));
    assert!(server.carried() < sample.size + sample.size / 50, "each part is fetched once");
    let local = restored.with_file_name("local");
    succeed(
        common::decrypt().arg("-i").arg(&sample.identity).arg(sample.served.join("dump.age")).arg(&local),
    );
    assert!(fs::read(&restored).unwrap() == fs::read(local).unwrap());
    fs::remove_dir_all(restored.parent().unwrap()).unwrap();
}

#[test]
fn tls_is_checked_against_the_systems_authorities() {
    let Some(sample) = sample() else { return };
    let served = sample.copy("remote-tls");
    let Some(server) = or_skip(Server::start("tls", &served)) else { return };
    let url = server.origin("https") + "/dump.age";
    let unknown = run(&mut sample.decrypt("info", &url));
    let said = text(&unknown.stderr);
    assert!(said.contains("certificate") && said.contains("hint: SSL_CERT_FILE names"), "{unknown:?}");
    let mut known = sample.decrypt("dmesg", &url);
    assert!(succeed(known.env("SSL_CERT_FILE", served.join("certificate.pem"))) == sample.log);
    fs::remove_dir_all(served).unwrap();
}

#[test]
fn what_a_server_cannot_do_is_said_in_one_line() {
    let Some(sample) = sample() else { return };
    let Some(server) = or_skip(Server::start("whole", &sample.served)) else { return };
    let Some(ranges) = or_skip(Server::start("ranges", &sample.served)) else { return };
    let says = |url: &str, words: &str| {
        let output = run(&mut sample.decrypt("info", url));
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(words), "{url}: {said}");
        assert!(said.lines().all(|line| line.starts_with("vmcore-decrypt: ") && line.len() < 300), "{said}");
    };
    let origin = server.origin("http");
    says(&format!("{origin}/dump.age"), "the server does not hand out parts of the file");
    says(&format!("{origin}/none.age"), "the server has no such file");
    fs::write(sample.served.join("empty.age"), "").unwrap();
    let empty = run(&mut sample.decrypt("info", &format!("{}/empty.age", ranges.origin("http"))));
    assert!(empty.status.code() == Some(5) && text(&empty.stderr).contains("it is empty"), "{empty:?}");
    drop(server);
    says("http://127.0.0.1:1/dump.age", "asking the server: ");
}

/// Where S3 is and who asks is found as other tools find it, and what is missing is named with what helps.
#[test]
fn s3_is_found_in_the_environment_and_in_profiles() {
    let Some(sample) = sample() else { return };
    let Some(server) = or_skip(Server::start("s3", &sample.served)) else { return };
    let home = scratch("remote-aws");
    fs::create_dir(home.join(".aws")).unwrap();
    let origin = server.origin("http");
    let config = format!("[profile lab]\nregion = us-east-1\nendpoint_url = {origin}\n");
    fs::write(home.join(".aws/config"), config).unwrap();
    let credentials = "[lab]\naws_access_key_id = test\naws_secret_access_key = test\n";
    fs::write(home.join(".aws/credentials"), credentials).unwrap();
    let info = |url: &str, variables: &[(&str, &str)]| {
        let mut info = sample.decrypt("info", url);
        let ours = std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("AWS_"));
        info.env_clear().envs(ours).env("HOME", &home).envs(variables.iter().copied());
        let output = run(&mut info);
        (output.status.success(), text(&output.stderr))
    };
    let url = "s3://dumps/dump.age";
    let (lab, plain) = (("AWS_PROFILE", "lab"), ("AWS_ALLOW_HTTP", "true"));
    let found = info(url, &[lab, plain]);
    assert!(found.0, "{found:?}");
    let by_url = [
        ("AWS_ENDPOINT_URL", origin.as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    let found = info(url, &[by_url[0], by_url[1], by_url[2], plain]);
    assert!(found.0, "{found:?}");
    let off = ("AWS_EC2_METADATA_DISABLED", "true");
    for (url, variables, error, hint) in [
        (url, vec![lab], "without TLS", "AWS_ALLOW_HTTP=true"),
        (url, vec![by_url[0], plain, off], "there are no credentials for S3", "AWS_PROFILE"),
        (url, vec![("AWS_PROFILE", "lba"), plain], "using the profile of AWS_PROFILE", "AWS_ACCESS_KEY_ID"),
        ("s3://other/dump.age", vec![lab, plain], "the server has no such bucket", "AWS_ENDPOINT_URL"),
        ("s3://dumps/none.age", vec![lab, plain], "the server has no such file", "exact"),
    ] {
        let (succeeds, said) = info(url, &variables);
        assert!(
            !succeeds && said.contains(error) && said.contains("hint: ") && said.contains(hint),
            "{url} {variables:?}: {said}"
        );
    }
    // Nobody answers where a machine of the cloud would ask.
    let start = std::time::Instant::now();
    let (succeeds, said) = info(url, &[by_url[0], plain]);
    assert!(!succeeds && start.elapsed() < Duration::from_secs(20), "{:?}: {said}", start.elapsed());
    fs::remove_dir_all(home).unwrap();
}

/// A server that takes a connection and is silent is named after a second.
#[test]
fn a_server_that_is_silent_is_reported_at_once() {
    let Some(sample) = sample() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/dump.age", listener.local_addr().unwrap());
    let mut info = sample.decrypt("info", &url);
    let mut child = info.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = [0; 60];
    child.stderr.take().unwrap().read_exact(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let line = String::from_utf8_lossy(&line);
    assert!(line.starts_with("vmcore-decrypt: note: waiting for the server of \"http://"), "{line}");
}

#[test]
fn a_broken_connection_is_tried_again_but_not_for_ever() {
    let Some(sample) = sample() else { return };
    let Some(server) = or_skip(Server::start("ranges", &sample.served)) else { return };
    let url = server.origin("http") + "/dump.age";
    server.break_off(1, 0);
    assert!(succeed(&mut sample.decrypt("dmesg", &url)) == sample.log);
    server.break_off(u64::MAX, 100);
    let output = run(&mut sample.decrypt("dmesg", &url));
    assert!(!output.status.success() && text(&output.stderr).contains("asking the server: "), "{output:?}");
}

#[test]
fn a_file_that_changes_meanwhile_is_noticed() {
    let Some(sample) = sample() else { return };
    for kind in ["ranges", "s3"] {
        let served = sample.copy(&format!("remote-changed-{kind}"));
        let Some(mut server) = or_skip(Server::start(kind, &served)) else { return };
        let url = match kind {
            "s3" => server.presigned[0].clone(),
            _ => server.origin("http") + "/dump.age",
        };
        let source = vmcore_encrypt::remote::open(&url).unwrap();
        let mut bytes = [0; 100];
        assert_eq!(source.read_at(&mut bytes, 5 * MIB).unwrap(), 100);
        let dump = served.join("dump.age");
        fs::write(&dump, vec![7; usize::try_from(sample.size).unwrap()]).unwrap();
        if kind == "s3" {
            server.upload("dump.age");
        }
        // This server has no tags, and times of whole seconds.
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::options().write(true).open(&dump).unwrap().set_modified(later).unwrap();
        let error = source.read_at(&mut bytes, 9 * MIB).unwrap_err();
        assert!(error.to_string().contains("changed"), "{kind}: {error}");
        // What was fetched before is still there.
        assert_eq!(source.read_at(&mut bytes, 5 * MIB + 9).unwrap(), 100);
        fs::remove_dir_all(served).unwrap();
    }
}

/// A server that answers every request with `head` and then with bytes for as long as somebody takes them. Its URL, and how
/// many bytes it sent.
fn endless(head: &'static str) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/dump.age", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let _ = client.read(&mut [0; 4096]);
            let mut alive = client.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).is_ok();
            while alive {
                counter.fetch_add(1 << 16, Ordering::Relaxed);
                alive = client.write_all(&[b'x'; 1 << 16]).is_ok();
            }
        }
    });
    (url, sent)
}

#[test]
fn a_server_that_sends_more_than_was_asked_for_is_bounded() {
    let part = "206 Partial Content\r\nContent-Length: 9000000000\r\nContent-Range: bytes 0-524287/9000000000\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: close";
    let other = "206 Partial Content\r\nContent-Length: 9000000000\r\nContent-Range: bytes 100-524387/9000000000\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: close";
    for (head, reason) in [
        (part, "sends more than it was asked for"),
        (other, ""),
        ("200 OK\r\nConnection: close", "does not hand out parts"),
        ("404 Not Found\r\nConnection: close", ""),
        ("403 Forbidden\r\nConnection: close", ""),
    ] {
        let (url, sent) = endless(head);
        let error = vmcore_encrypt::remote::open(&url).err().unwrap().to_string();
        assert!(error.contains(reason), "{head}: {error}");
        assert!(error.len() < 300, "{error}");
        // What was asked for, once, and what the sockets hold.
        assert!(sent.load(Ordering::Relaxed) < 16 * MIB, "{head}: {sent:?}");
    }
}

/// A URL that a client would read as another place, and one where a file is to be written, are mistakes of who typed them.
#[test]
fn urls_that_lead_elsewhere_and_urls_as_outputs_are_refused() {
    let home = scratch("remote-urls");
    let (identity, _) = common::keys(&home);
    let decrypt = |words: &[&str]| {
        let mut command = common::decrypt();
        command.args(words).arg("-i").arg(&identity);
        command
    };
    for url in [
        "s3://bucket/../x/",
        "s3://bucket/h1/../x/",
        "s3://bucket/./x",
        "s3://bucket//x/",
        "gs://bucket/%2e%2E/x",
        "az://bucket/a\\b",
        "https://host/a/../x",
        "https://host/a\nb",
        "https://host/a b",
        "http://host/a#b",
    ] {
        for command in ["info", "verify", "list", "dmesg"] {
            let output = run(decrypt(&[command]).arg(url));
            let said = text(&output.stderr);
            assert!(
                output.status.code() == Some(2) && said.contains("not a URL of a"),
                "{command} {url}: {said}"
            );
        }
    }
    let (dump, key) =
        (home.join("none.age"), ["-r", "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"]);
    for (words, keys) in [
        (&["restore"][..], &[][..]),
        (&["refilter"], &key),
        (&["rewrap"], &key),
        (&["mount"], &[]),
        (&["--salvage"], &[]),
    ] {
        for url in ["s3://bucket/x", "https://host/x/"] {
            let output = run(decrypt(words).args(keys).arg(&dump).arg(url));
            let said = text(&output.stderr);
            assert!(
                output.status.code() == Some(2) && said.contains("it is a URL"),
                "{words:?} {url}: {said}"
            );
        }
    }
    let output = run(decrypt(&["rewrap", "--in-place"]).args(key).arg("s3://bucket/x"));
    assert!(
        output.status.code() == Some(2) && text(&output.stderr).contains("it is on a server"),
        "{output:?}"
    );
    let output = run(common::decrypt().args(["keygen", "-o", "s3://bucket/x"]));
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("it is a URL"), "{output:?}");
    for words in [
        &["dmesg", "vmcore", "s3://b/x"][..],
        &["collect", "--device", "x", "--dest", "s3://b/x"],
        &["pstore", "--dest", "gs://b/"],
    ] {
        let output = run(common::encrypt().args(words));
        assert!(
            output.status.code() == Some(2) && text(&output.stderr).contains("it is a URL"),
            "{output:?}"
        );
    }
}
