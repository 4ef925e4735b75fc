//! Dumps into stores that are slow, refuse or are full, over the emulated network: one guest tries one after the other. What
//! arrives can be read, and nothing planted is in plain on a wire or in a store.

use crate::common::guest::{Crash, Guest};
use crate::common::{Absent, decrypt, keys, names, or_skip, run, scratch, succeed, text};
use crate::object_store::{Fault, Store};
use crate::server::{Server, Wire};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Bytes that the slow network takes in a second: an object takes longer than the stall limit of that dump.
const RATE: u64 = 2 << 20;
/// A right that a store's user has, elsewhere.
const ELSEWHERE: &str = r#"{ "Version": "2012-10-17", "Statement": [
  { "Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::dumps/elsewhere/*" } ] }"#;

const JOB: &str = r#"
save() {
    name=$1
    shift
    try $name vmcore-encrypt --num-threads 1 --credentials /$name /proc/vmcore "$@" s3://dumps/$name/
}
save slow -d 1 --stall 6
save denied -d 1 --stall 2
save unavailable -d 1 --stall 1
save passing -d 1 --stall 20
save full -d 1 --stall 2
save quota -d 1,31 --stall 2
"#;

/// A store with a planned fault, and the wire to it.
struct Faulty {
    store: Store,
    wire: Wire,
}

impl Faulty {
    fn new(record: &Path, object: &str, fault: Fault) -> Faulty {
        let store = Store::start();
        store.fail(object, fault);
        let wire = Wire::to(store.port());
        wire.record(record);
        Faulty { store, wire }
    }

    /// Copies a set into a directory of its own below `into`; that directory and the names of the objects.
    fn copied(&self, set: &str, into: &Path) -> (PathBuf, Vec<String>) {
        let directory = into.join(set.replace('/', "-"));
        fs::create_dir(&directory).unwrap();
        for (path, bytes) in self.store.objects() {
            if let Some(object) = path.strip_prefix(&format!("{set}/")) {
                fs::write(directory.join(object), bytes).unwrap();
            }
        }
        let objects = names(&directory);
        (directory, objects)
    }
}

/// The guest and the stores that it tried.
struct Tried {
    crash: Crash,
    identity: PathBuf,
    /// A real server: slow, or without a right for this user.
    slow: Server,
    denied: Server,
    unavailable: Faulty,
    passing: Faulty,
    full: Faulty,
    quota: Faulty,
}

#[test]
#[ignore = "make matrix"]
fn matrix_store_that_is_slow_refuses_or_is_full() {
    let Some(mut tried) = or_skip(try_stores()) else { return };
    assert!(!tried.crash.console.contains("verysecret"), "{}", tried.crash.console);
    assert_slow_is_waited_for(&mut tried);
    assert_refusals_keep_nothing(&tried);
    assert_what_passes_is_tried_again(&tried);
    assert_a_full_store_keeps_what_it_has(&tried);
    tried.crash.assert_no_plaintext();
}

fn try_stores() -> Result<Tried, Absent> {
    let guest = Guest::with("store-faults", "bookworm", &collector()).memory("384", "192M").net();
    let keep = scratch("vm-store-faults-keys");
    let (identity, recipients) = keys(&keep);
    let slow = Server::start("s3", &scratch("vm-store-faults-slow"))?;
    slow.wire().throttle(RATE);
    let served = scratch("vm-store-faults-denied");
    fs::write(served.join("writer.policy"), ELSEWHERE).unwrap();
    let denied = Server::start("iam", &served)?;
    for (name, server) in [("slow", &slow), ("denied", &denied)] {
        server.record(&guest.work().join(format!("wire-{name}")));
    }
    let faulty = |name: &str, object: &str, fault| {
        Faulty::new(&guest.work().join(format!("wire-{name}")), object, fault)
    };
    let busy = |times| Fault::Answer(503, "<Code>SlowDown</Code>", times);
    let unavailable = faulty("unavailable", "", busy(u32::MAX));
    let passing = faulty("passing", "", busy(3));
    let full = faulty("full", "/000001", Fault::Answer(507, "", u32::MAX));
    let quota = faulty("quota", "/000001", Fault::Answer(403, "<Code>QuotaExceeded</Code>", 1));

    let mut guest = guest.file(&recipients, "etc/vmcore-encrypt/recipients");
    let user = denied.presigned[0].split(' ').collect::<Vec<_>>();
    for (name, port, key, secret) in [
        ("slow", slow.port(), "test", "verysecret"),
        ("denied", denied.port(), user[1], user[2]),
        ("unavailable", unavailable.wire.port(), "test", "verysecret"),
        ("passing", passing.wire.port(), "test", "verysecret"),
        ("full", full.wire.port(), "test", "verysecret"),
        ("quota", quota.wire.port(), "test", "verysecret"),
    ] {
        let file = keep.join(name);
        let text = format!(
            "AWS_ACCESS_KEY_ID={key}\nAWS_SECRET_ACCESS_KEY={secret}\nAWS_REGION=us-east-1\n\
             AWS_ENDPOINT=http://10.0.2.2:{port}\nAWS_ALLOW_HTTP=true\n"
        );
        fs::write(&file, text).unwrap();
        guest = guest.file(&file, name);
    }
    let crash = guest.crash(JOB)?;
    Ok(Tried { crash, identity, slow, denied, unavailable, passing, full, quota })
}

/// This test's own build has the part for stores.
fn collector() -> PathBuf {
    let path = scratch("vm-store-faults-collector").join("vmcore-encrypt");
    succeed(
        std::process::Command::new("strip").arg("-o").arg(&path).arg(env!("CARGO_BIN_EXE_vmcore-encrypt")),
    );
    path
}

/// How many objects clients asked to put.
fn puts(crash: &Crash, name: &str) -> usize {
    let record = fs::read(crash.work.join(format!("wire-{name}"))).unwrap();
    let line = format!("PUT /dumps/{name}/");
    record.windows(line.len()).filter(|part| *part == line.as_bytes()).count()
}

/// No request is given up that moves: every object is put once, and the dump is whole.
fn assert_slow_is_waited_for(tried: &mut Tried) {
    assert_eq!(tried.crash.status("slow"), 0, "{}", tried.crash.console);
    let set = scratch("vm-store-faults-set");
    tried.slow.save(&set);
    let objects = names(&set);
    assert!(objects.len() >= 3 && objects.last().unwrap().ends_with("...end"), "{objects:?}");
    assert_eq!(puts(&tried.crash, "slow"), objects.len());
    for object in objects {
        let name = object.rsplit("...").next().unwrap();
        fs::rename(set.join(&object), set.join(name)).unwrap();
    }
    tried.crash.secrets.assert_nowhere_in(&set);
    let core = assert_opens(tried, &set, 0);
    let found = tried.crash.secrets.find(&core);
    assert!(found.contains("klog") && found.contains("anon"), "{found:?}");
}

/// A right that is not there is not asked for again; a store that answers "later" is, and given up in the end.
fn assert_refusals_keep_nothing(tried: &Tried) {
    let Tried { crash, denied, unavailable, .. } = tried;
    assert_eq!(crash.status("denied"), 1);
    assert!(crash.console.contains("the store refuses it (AccessDenied)"), "{}", crash.console);
    assert_eq!((puts(crash, "denied"), denied.presigned.len()), (1, 1));
    assert_eq!(crash.status("unavailable"), 1);
    assert!(crash.console.contains("the store answers with status 503 (SlowDown)"), "{}", crash.console);
    assert!(unavailable.store.objects().is_empty() && unavailable.store.puts().len() > 1);
    for name in ["denied", "unavailable"] {
        let promised = format!("is kept in \"s3://dumps/{name}/");
        assert!(!crash.console.contains(&promised), "{}", crash.console);
    }
}

fn assert_what_passes_is_tried_again(tried: &Tried) {
    assert_eq!(tried.crash.status("passing"), 0, "{}", tried.crash.console);
    let [set] = &tried.passing.store.sets()[..] else { panic!("{:?}", tried.passing.store.puts()) };
    assert_eq!(tried.passing.store.puts().len(), tried.passing.store.objects().len() + 3);
    let (set, objects) = tried.passing.copied(set, &scratch("vm-store-faults-passing"));
    assert!(objects.len() >= 3, "{objects:?}");
    assert_opens(tried, &set, 0);
}

/// Full for good, the store keeps a dump that is cut; full at one level, it gets the next one whole.
fn assert_a_full_store_keeps_what_it_has(tried: &Tried) {
    let Tried { crash, full, quota, .. } = tried;
    let into = scratch("vm-store-faults-full");
    assert_eq!(crash.status("full"), 1, "{}", crash.console);
    assert!(crash.console.contains("the store is full"), "{}", crash.console);
    let [set] = &full.store.sets()[..] else { panic!("{:?}", full.store.puts()) };
    let (set, objects) = full.copied(set, &into);
    assert_eq!(objects, ["000000"]);
    let core = assert_opens(tried, &set, 5);
    assert!(crash.secrets.find(&core).contains("klog"));

    assert_eq!(crash.status("quota"), 0, "{}", crash.console);
    let sets: Vec<_> = quota.store.sets().iter().map(|set| quota.copied(set, &into)).collect();
    let is_whole = |set: &&(PathBuf, Vec<String>)| set.1.last().unwrap() == "end";
    let (whole, cut): (Vec<_>, Vec<_>) = sets.iter().partition(is_whole);
    assert!(whole.len() == 1 && cut.len() == 1 && cut[0].1 == ["000000"], "{sets:?}");
    assert_opens(tried, &cut[0].0, 5);
    let core = assert_opens(tried, &whole[0].0, 0);
    let found = crash.secrets.find(&core);
    assert!(found.contains("klog") && !found.contains("dirty"), "level 31: {found:?}");
}

/// What a dump holds, restored: it is whole, or cut.
fn assert_opens(tried: &Tried, set: &Path, status: i32) -> PathBuf {
    let core = scratch("vm-store-faults-core").join("core");
    let mut restore = decrypt();
    restore.args(["--salvage", "--format", "elf", "-i"]).args([&tried.identity, set, &core]);
    let check = |output: Output| assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
    check(run(decrypt().args(["verify", "-i"]).args([&tried.identity, set])));
    check(run(&mut restore));
    core
}
