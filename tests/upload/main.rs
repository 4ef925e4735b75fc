//! Dumps into object storage and back: a store on loopback that breaks, stalls, refuses and fills up, and a real
//! S3-compatible server. What reaches the store is ciphertext alone, nothing there is overwritten, and what was saved
//! before a fault can be read.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod clouds;
#[path = "../common/mod.rs"]
mod common;
#[path = "../remote/server.rs"]
#[allow(dead_code, reason = "the tests of reading use more of it")]
mod server;
mod store;
#[path = "../synth/mod.rs"]
mod synth;

use common::{run, scratch, succeed, text};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use store::{Fault, Store};
use synth::{Content, Page, Synth, arch, kernel};

const OBJECT: usize = 16 << 20;
/// What a page of the machine holds.
const PLANTED: &str = "customer-4711-password ";

/// A machine of 40 MiB that does not compress, and a key pair, made once.
fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = scratch("upload");
        common::keys(&home);
        let machine = Synth::new(arch::x86_64::four_level(), kernel::v6_12()).ram(0x10_0000..0x290_0000);
        let core = machine.pages(0x400, 64, &Page::kernel()).fill(Content::Noise).build();
        let mut bytes = core.to_bytes();
        for at in core.offsets_of(0x400 << 12) {
            let (at, planted) = (usize::try_from(at).unwrap(), PLANTED.repeat(100));
            bytes[at..at + planted.len()].copy_from_slice(planted.as_bytes());
        }
        fs::write(home.join("vmcore"), bytes).unwrap();
        succeed(&mut collect(&home, &["-d", "0", home.join("plain.age").to_str().unwrap()]));
        home
    })
}

/// The collector on the machine; the last of `words` is the place.
fn collect(home: &Path, words: &[&str]) -> Command {
    let mut command = common::encrypt();
    command.arg("-R").arg(home.join("recipients"));
    let (place, options) = words.split_last().unwrap();
    command.args(options).arg(home.join("vmcore"));
    if !place.is_empty() {
        command.arg(place);
    }
    command
}

fn decrypt(words: &[&str]) -> Command {
    let mut command = common::decrypt();
    let (sub, rest) = words.split_first().unwrap();
    if *sub != "restore" {
        command.arg(sub);
    }
    command.arg("-i").arg(home().join("identity")).args(rest);
    command
}

fn fails(output: &Output, status: i32, words: &[&str]) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
    said
}

/// Copies a set of the store into a directory.
fn copied(store: &Store, set: &str, name: &str) -> PathBuf {
    let directory = scratch(name);
    for (path, bytes) in store.objects() {
        if let Some(object) = path.strip_prefix(&format!("{set}/")) {
            fs::write(directory.join(object), bytes).unwrap();
        }
    }
    directory
}

fn restored(dump: &str, name: &str) -> Vec<u8> {
    let out = scratch(name).join("out");
    succeed(decrypt(&["restore", dump]).arg(&out));
    fs::read(out).unwrap()
}

#[test]
fn a_dump_goes_as_objects_and_comes_back_from_everywhere() {
    let (home, store) = (home(), Store::start());
    let mut command =
        collect(home, &["-d", "0", "--num-threads", "1", "--non-mmap", "-D", &store.url("prefix")]);
    let said = text(&run(&mut command).stderr);
    let peak = said.lines().find_map(|line| line.split_once("peak memory ")).unwrap().1;
    let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(peak < 48 << 10, "{peak} kB");

    let [set] = &store.sets()[..] else { panic!("{:?}", store.puts()) };
    assert!(said.contains(&format!("is saved to \"{}/\"", store.url(set))), "{said}");
    let names: Vec<String> =
        store.puts().iter().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["000000", "000001", "000002", "end"], "in this order, each once");
    let objects = store.objects();
    let size_of = |name: &str| objects[&format!("{set}/{name}")].len();
    assert!(size_of("000000") == OBJECT && size_of("000001") == OBJECT && size_of("000002") < OBJECT);

    // Everything in the store and on the wire: no page, no name of the machine.
    let host = text(&run(Command::new("uname").arg("-n")).stdout);
    for (path, bytes) in &objects {
        assert!(!path.contains(host.trim()), "{path}");
        assert!(!bytes.windows(12).any(|part| part == &PLANTED.as_bytes()[..12]), "{path}");
    }
    let directory = copied(&store, set, "upload-copied");
    succeed(
        Command::new("sha256sum").args(["--check", "--strict", "--quiet", "end"]).current_dir(&directory),
    );

    let expected = restored(home.join("plain.age").to_str().unwrap(), "upload-expected");
    let local = directory.to_str().unwrap();
    for (at, dump) in [
        store.url(set) + "/",
        store.url(set),
        store.url(set) + "/end",
        local.to_owned(),
        local.to_owned() + "/end",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("upload-restored-{at}");
        assert!(restored(dump, &name).len() == expected.len(), "{dump}");
        assert!(succeed(&mut decrypt(&["verify", dump])).contains("authentic, complete"), "{dump}");
        assert!(succeed(&mut decrypt(&["info", "--json", dump])).contains("\"complete\": true"), "{dump}");
        assert_eq!(
            succeed(&mut decrypt(&["dmesg", dump])),
            succeed(decrypt(&["dmesg"]).arg(home.join("plain.age")))
        );
    }
}

#[test]
fn what_passes_is_tried_again_and_nothing_comes_twice() {
    let (home, store) = (home(), Store::start());
    store.fail("/000000", Fault::BreakHalfWay(2));
    store.fail("/000001", Fault::LoseAnswer);
    store.fail("/000002", Fault::Stall(1));
    store.fail("/end", Fault::Answer(503, "<Code>SlowDown</Code>", 2));
    succeed(&mut collect(home, &["-d", "0", "--stall", "2", &store.url("a/b/")]));
    let [set] = &store.sets()[..] else { panic!("{:?}", store.puts()) };
    assert!(set.starts_with("a/b/"), "{set}");
    assert!(succeed(decrypt(&["verify"]).arg(store.url(set))).contains("authentic, complete"));
}

#[test]
fn a_slow_store_is_waited_for() {
    let (home, store) = (home(), Store::start());
    store.fail("/000001", Fault::Slow);
    succeed(&mut collect(home, &["-d", "0", "--stall", "4", &store.url("slow")]));
    assert_eq!(store.sets().len(), 1);
    assert_eq!(store.puts().len(), 4, "nothing is given up that moves");
}

#[test]
fn a_cut_keeps_what_was_saved() {
    for (fault, words) in [
        (Fault::Stall(100), "nothing moved for 1 s"),
        (Fault::BreakHalfWay(100), "the store cannot be reached"),
        (Fault::Answer(403, "<Code>AccessDenied</Code>", 100), "the store refuses it (AccessDenied)"),
        (Fault::Answer(403, "<Message>Request has expired</Message>", 9), "the right to write has expired"),
        (Fault::Answer(403, "<Code>RequestTimeTooSkewed</Code>", 9), "this machine's clock wrong"),
    ] {
        let (home, store) = (home(), Store::start());
        store.fail("/000002", fault);
        let output = run(&mut collect(home, &["-d", "0", "--stall", "1", &store.url("cut")]));
        fails(&output, 1, &[words, "what is authentic of it is kept in"]);
        let [set] = &store.sets()[..] else { panic!("{:?}", store.puts()) };
        assert_eq!(store.objects().len(), 2, "no end mark");
        let directory = copied(&store, set, "upload-cut");
        for dump in [store.url(set), store.url(set) + "/", directory.to_str().unwrap().to_owned()] {
            let out = scratch("upload-salvaged").join("out");
            fails(&run(&mut decrypt(&["verify", &dump])), 5, &[]);
            fails(&run(decrypt(&["restore", "--salvage", &dump]).arg(&out)), 5, &[]);
            assert!(fs::metadata(&out).unwrap().len() > 20 << 20, "{dump}");
            let info = run(&mut decrypt(&["info", &dump]));
            assert!(info.status.code() == Some(5) && text(&info.stdout).contains("CUT"), "{info:?}");
            assert!(
                text(&run(common::decrypt().args(["info", &dump])).stdout).contains("no end mark"),
                "{dump}"
            );
        }
    }
}

#[test]
fn where_nothing_is_kept_nothing_is_promised() {
    let (home, store) = (home(), Store::start());
    store.fail("/000000", Fault::Answer(403, "<Code>AccessDenied</Code>", 100));
    let output = run(&mut collect(home, &["-d", "0", &store.url("nothing")]));
    let said = fails(&output, 1, &["the store refuses it (AccessDenied)"]);
    assert!(!said.contains("is kept") && store.objects().is_empty(), "{said}");
    // A WebDAV server without the directory.
    let store = Store::start();
    store.fail("/000000", Fault::Answer(409, "<h1>409 Conflict</h1>", 100));
    let output = run(&mut collect(home, &["-d", "0", &store.url("nowhere")]));
    fails(&output, 1, &["the store has no such place", "make the bucket or directory first"]);
    assert_eq!(store.puts().len(), 1, "it does not pass");
}

#[test]
fn a_missing_object_costs_itself() {
    let (home, store) = (home(), Store::start());
    succeed(&mut collect(home, &["-d", "0", &store.url("")]));
    let [set] = &store.sets()[..] else { panic!("{:?}", store.puts()) };
    store.remove(&format!("{set}/000001")).unwrap();
    let directory = copied(&store, set, "upload-missing");
    for dump in [store.url(set), directory.to_str().unwrap().to_owned()] {
        let missing = "object 000001 of the dump is missing";
        fails(&run(&mut decrypt(&["verify", &dump])), 4, &[missing]);
        let out = scratch("upload-missing-out").join("out");
        fails(&run(decrypt(&["restore", "--salvage", &dump]).arg(&out)), 4, &[missing, "lost pages"]);
        assert!(fs::metadata(&out).unwrap().len() > 20 << 20, "{dump}");
    }
}

/// Of an object that is cut what is there counts, and an empty end mark is none.
#[test]
fn objects_that_are_cut_cost_themselves() {
    let (home, store) = (home(), Store::start());
    succeed(&mut collect(home, &["-d", "0", &store.url("")]));
    let [set] = &store.sets()[..] else { panic!("{:?}", store.puts()) };
    let [object, end] = ["000001", "end"].map(|name| format!("{set}/{name}"));
    let whole = store.replace(&object, b"").unwrap();
    for len in [0, 1000] {
        store.replace(&object, &whole[..len]);
        let directory = copied(&store, set, "upload-cut-object");
        for dump in [store.url(set), directory.to_str().unwrap().to_owned()] {
            fails(&run(&mut decrypt(&["verify", &dump])), 4, &["corrupt"]);
            let out = scratch("upload-cut-object-out").join("out");
            fails(&run(decrypt(&["restore", "--salvage", &dump]).arg(&out)), 4, &["lost pages"]);
            assert!(fs::metadata(&out).unwrap().len() > 20 << 20, "{dump}");
        }
    }
    store.replace(&object, &whole);
    store.replace(&end, b"");
    let directory = copied(&store, set, "upload-empty-end");
    for dump in [store.url(set), directory.to_str().unwrap().to_owned()] {
        let info = run(&mut decrypt(&["info", &dump]));
        assert!(info.status.success() && text(&info.stdout).contains("no end mark"), "{dump}: {info:?}");
        assert!(succeed(&mut decrypt(&["verify", &dump])).contains("authentic, complete"), "{dump}");
    }
}

#[test]
fn a_full_store_gets_the_next_level_as_another_set() {
    for (status, body) in [(507, ""), (403, "<Code>QuotaExceeded</Code>")] {
        let (home, store) = (home(), Store::start());
        store.fail("/000001", Fault::Answer(status, body, 1));
        let output = run(&mut collect(home, &["-d", "0,1", &store.url("full")]));
        let said = text(&output.stderr);
        assert!(output.status.success() && said.contains("retrying at level 1"), "{said}");
        let sets = store.sets();
        assert_eq!(sets.len(), 2, "{sets:?}");
        let marks = store.objects().keys().filter(|path| path.ends_with("/end")).count();
        assert_eq!(marks, 1);
        let puts = store.puts();
        let unique: BTreeSet<&String> = puts.iter().collect();
        assert_eq!(unique.len(), puts.len(), "nothing is put twice");
    }
    // A limit is a full store too.
    let (home, store) = (home(), Store::start());
    fails(&run(&mut collect(home, &["-d", "0,1", "-L", "20M", &store.url("limit")])), 7, &["limit"]);
    assert_eq!(store.sets().len(), 2);
}

#[test]
fn presigned_urls_are_used_in_order_and_stay_secret() {
    let (home, store) = (home(), Store::start());
    let list = |count: usize, name: &str, mode: u32| {
        let object = |number: usize| if number == count { "end".to_owned() } else { format!("{number:06}") };
        let line = |number| store.url(&format!("{name}/{}?X-Amz-Signature=verysecret\n", object(number)));
        let path = home.join(name);
        fs::write(&path, (0..=count).map(line).collect::<String>()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let said =
        text(&run(&mut collect(home, &["-d", "0", "--presigned", &list(5, "enough", 0o600), ""])).stderr);
    assert!(said.contains(&format!("is saved to \"{}\"", store.url("enough/"))), "{said}");
    assert!(succeed(decrypt(&["verify"]).arg(store.url("enough/"))).contains("authentic, complete"));
    // Too few of them are a limit: the dump ends early, and can be restored.
    let few = run(&mut collect(home, &["-d", "0", "--presigned", &list(2, "few", 0o600), ""]));
    fails(&few, 7, &["limit"]);
    assert!(
        text(&run(decrypt(&["verify"]).arg(store.url("few/"))).stdout)
            .contains("ended early, by a size limit")
    );
    // They serve one crash.
    let again = run(&mut collect(home, &["-d", "0", "--presigned", &list(2, "few", 0o600), ""]));
    let said = fails(&again, 1, &["there already"]);
    assert!(!said.contains("verysecret") && !said.contains("is kept"), "{said}");
    let open = list(2, "open", 0o644);
    let checked = run(&mut collect(home, &["--check-params", "--presigned", &open, ""]));
    assert!(!fails(&checked, 2, &["others may read"]).contains("verysecret"));
    assert!(store.heads().contains("verysecret"), "the server gets them");
}

#[test]
fn what_cannot_be_is_refused_before_the_first_page() {
    let (home, store) = (home(), Store::start());
    let secret = home.join("credentials");
    fs::write(
        &secret,
        "AWS_ACCESS_KEY_ID=verysecret\nAWS_SECRET_ACCESS_KEY=verysecret\nNO_SUCH_KEY=verysecret\n",
    )
    .unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let secret = secret.to_str().unwrap();
    for words in [
        &["https://user:verysecret@host/"][..],
        &["https://host/?sig=verysecret"],
        &["--credentials", secret, "s3://bucket/"],
        &["--credentials", secret, "http://host/"],
        &["--ca-file", secret, "https://host/"],
        &["ftp://host/verysecret"],
        &["--object-name", "../x", "s3://bucket/"],
        &["--object-name", "a b", "s3://bucket/"],
        &["--object-name", "a/../b", "s3://bucket/"],
        &["--object-name", "a\\b", "s3://bucket/"],
        &["--object-name", "%2e%2e/{host}", "s3://bucket/"],
        &["--resolve", "host", "s3://bucket/"],
        &["s3://bucket/../verysecret/"],
        &["s3://bucket/a//verysecret/"],
        &["s3://../verysecret/"],
        &["gs://bucket/a/./verysecret/"],
        &["az://bucket/%2E%2e/verysecret/"],
        &["https://host/a/../verysecret/"],
        &["https://host/a\\..\\verysecret/"],
        &["https://host/a\tb/verysecret/"],
        &["https://host/{verysecret}/"],
    ] {
        let mut checked = vec!["--check-params"];
        checked.extend(words);
        for words in [words, &checked] {
            let output = run(&mut collect(home, words));
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
            // The place itself is no secret.
            let place = words.last().unwrap().escape_default().to_string();
            let said = said.replace(&place, "").replace(&place.replace("\\\\", "\\"), "");
            assert!(!said.replace("host/verysecret", "").contains("verysecret"), "{words:?}: {said}");
        }
    }
    assert!(store.puts().is_empty());
    succeed(&mut collect(home, &["--check-params", &store.url("")]));
    assert!(store.puts().is_empty(), "checking asks no server");
}

#[test]
fn credentials_with_a_fault_are_named_by_key_and_file() {
    let home = home();
    for (name, endpoint, region) in [
        ("no-port", "http://10.0.2.2:x y", "r"),
        ("no-host", "http://a b/", "r"),
        ("no-region", "http://127.0.0.1:1", "eu central"),
        ("up-region", "http://127.0.0.1:1", "../"),
        ("part-region", "http://127.0.0.1:1", "a/b.c"),
        ("up-endpoint", "http://127.0.0.1:1/../", "r"),
    ] {
        let secret = s3_credentials(home, name, endpoint);
        let text = fs::read_to_string(&secret).unwrap().replace("us-east-1", region);
        fs::write(&secret, text).unwrap();
        let checked = ["--check-params", "--credentials", &secret, "s3://bucket/"];
        let key = if name.ends_with("region") { "AWS_REGION" } else { "AWS_ENDPOINT" };
        fails(&run(&mut collect(home, &checked)), 2, &[key, &secret, "cannot be part of a URL"]);
    }
    for (name, line, words) in [
        ("twice", "AWS_REGION=verysecret", "AWS_REGION is there twice"),
        (
            "alias",
            "AWS_ENDPOINT_URL=https://verysecret",
            "AWS_ENDPOINT and AWS_ENDPOINT_URL are the same setting",
        ),
        ("bogus", "Bogus_KEY=verysecret", "unknown key Bogus_KEY"),
    ] {
        let secret = s3_credentials(home, name, "https://127.0.0.1:1");
        fs::write(&secret, fs::read_to_string(&secret).unwrap() + line + "\n").unwrap();
        let checked = ["--check-params", "--credentials", &secret, "s3://bucket/"];
        let said = fails(&run(&mut collect(home, &checked)), 2, &[words, &secret]);
        assert!(!said.contains("verysecret"), "{said}");
    }
}

/// The credentials of a real server, as a file.
fn s3_credentials(home: &Path, name: &str, endpoint: &str) -> String {
    let path = home.join(name);
    let keys = "AWS_ACCESS_KEY_ID=test4711\nAWS_SECRET_ACCESS_KEY=test4711\nAWS_REGION=us-east-1";
    fs::write(&path, format!("{keys}\nAWS_ENDPOINT={endpoint}\nAWS_ALLOW_HTTP=true\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What `--probe` reports.
fn probed(words: &[&str]) -> Output {
    let mut all = vec!["--check-params", "--probe", "--stall", "5"];
    all.extend(words);
    run(&mut collect(home(), &all))
}

#[test]
fn a_probe_is_one_object_that_stays_and_shows_who_overwrites() {
    let store = Store::start();
    for _ in 0..2 {
        let output = probed(&[&store.url("host1/")]);
        let said = text(&output.stderr);
        assert!(output.status.success() && said.contains("takes objects, and overwrites none"), "{said}");
        assert_eq!(store.objects().into_keys().collect::<Vec<_>>(), ["host1/vmcore-encrypt-probe"]);
    }
    let methods: BTreeSet<String> = store
        .heads()
        .lines()
        .filter(|line| line.contains(" HTTP/1.1"))
        .map(|line| line[..3].to_owned())
        .collect();
    assert_eq!(methods.into_iter().collect::<Vec<_>>(), ["PUT"], "nothing is read, listed or deleted");
    // A store that keeps what it is given whatever the condition is.
    store.fail("/vmcore-encrypt-probe", Fault::Answer(200, "", 2));
    let output = probed(&[&store.url("host1/")]);
    let said = text(&output.stderr);
    assert!(
        output.status.success() && said.contains("warning: ") && said.contains("and overwrites them"),
        "{said}"
    );
    store.fail("/vmcore-encrypt-probe", Fault::Answer(403, "<Code>AccessDenied</Code>", 1));
    fails(
        &probed(&[&store.url("host1/")]),
        1,
        &["putting a probe to", "the store refuses it (AccessDenied)"],
    );
    let puts = store.puts().len();
    let urls = home().join("probe-urls");
    let url = |name: &str| store.url(&format!("x/{name}?X-Amz-Signature=verysecret\n"));
    fs::write(&urls, url("000000") + &url("end")).unwrap();
    fs::set_permissions(&urls, fs::Permissions::from_mode(0o600)).unwrap();
    let said = text(&probed(&["--presigned", urls.to_str().unwrap(), ""]).stderr);
    assert!(said.contains("not probed") && !said.contains("verysecret"), "{said}");
    // Signed for a week, long ago and in the far future.
    for (date, status, words) in [
        ("20200101T000000Z", 1, "the right to write has expired"),
        ("29990101T000000Z", 0, "they expire at 2999-01-08T00:00:00Z"),
    ] {
        let line = |name| url(name).replace("?", &format!("?X-Amz-Date={date}&X-Amz-Expires=604800&"));
        fs::write(&urls, line("000000") + &line("end")).unwrap();
        fails(&probed(&["--presigned", urls.to_str().unwrap(), ""]), status, &[words]);
    }
    assert_eq!(store.puts().len(), puts, "each URL serves one object");
    // Where no store is named, nothing is shown.
    let nowhere = run(&mut collect(home(), &["--check-params", "--probe", ""]));
    fails(&nowhere, 2, &["--probe needs a store as the dump file"]);
    let other = run(&mut collect(home(), &["--check-params", "--resolve", "a=10.0.0.1", "dump"]));
    fails(&other, 0, &["--resolve has no effect: the dump goes to no store"]);
    // It is no part of the command line of a dump.
    let output = run(&mut collect(home(), &["--probe", &store.url("x/")]));
    assert_eq!(output.status.code(), Some(2));
}
