//! Real servers: the rights that docs/fleet.md has, on one that enforces them; the store of another cloud; one that overwrites.

use crate::common::{lab, or_skip, run, scratch, succeed, text, top};
use crate::server::Server;
use crate::store::Store;
use crate::{collect, decrypt, fails, home, probed};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

/// Writes a file of credentials.
fn credentials(name: &str, lines: &[String]) -> String {
    let path = home().join(name);
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The place of the set that was saved.
fn saved(said: &str) -> String {
    let line = said.lines().find_map(|line| line.split_once("is saved to "));
    line.unwrap_or_else(|| panic!("{said}")).1.trim_matches('"').to_owned()
}

/// The policies of docs/fleet.md, to write and to read, and its rules of life cycle, for this test's bucket.
fn documented_policies() -> [String; 3] {
    let docs = fs::read_to_string(top().join("docs/fleet.md")).unwrap();
    let blocks = docs.split("```json\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned());
    let ours = blocks
        .map(|text| text.replace(":::crashes/4f0c/", ":::dumps/host1/").replace(":::crashes", ":::dumps"));
    ours.collect::<Vec<_>>().try_into().unwrap()
}

/// A user of a server that enforces policies: key and secret.
struct User(String, String);

impl User {
    /// Of a line `NAME KEY SECRET`.
    fn named(server: &Server, name: &str) -> User {
        let line = server.presigned.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let (key, secret) = line.unwrap().split_once(' ').unwrap();
        User(key.to_owned(), secret.to_owned())
    }

    /// Their credentials, as a file for the collector.
    fn file(&self, server: &Server) -> String {
        let endpoint = server.origin("http");
        let lines = format!(
            "AWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={}\nAWS_REGION=us-east-1\nAWS_ENDPOINT={endpoint}\nAWS_ALLOW_HTTP=true",
            self.0, self.1
        );
        credentials(&format!("iam-{}", self.0), &[lines])
    }

    /// A reader's command with their credentials.
    fn reading(&self, server: &Server, words: &[&str]) -> Command {
        let mut command = decrypt(words);
        server.s3(&mut command);
        command.env("AWS_ACCESS_KEY_ID", &self.0).env("AWS_SECRET_ACCESS_KEY", &self.1);
        command
    }
}

/// moto checks signatures, actions and resources; conditions it ignores. What the documented rights allow is all that the
/// collector and its probe ask for, and a reader's rights all that `list` and the others do.
#[test]
fn the_documented_policies_are_enough_and_allow_nothing_else() {
    let served = scratch("upload-iam");
    let [write, read, rules] = documented_policies();
    fs::write(served.join("rules.lifecycle"), rules).unwrap();
    fs::write(served.join("writer.policy"), write).unwrap();
    fs::write(served.join("reader.policy"), read).unwrap();
    let Some(mut server) = or_skip(Server::start("iam", &served)) else { return };
    let (writer, reader) = (User::named(&server, "writer"), User::named(&server, "reader"));
    let secret = writer.file(&server);
    for _ in 0..2 {
        let output = probed(&["--credentials", &secret, "s3://dumps/host1/"]);
        let said = text(&output.stderr);
        assert!(output.status.success() && said.contains("takes objects, and overwrites none"), "{said}");
    }
    let place = ["-d", "0", "--credentials", &secret, "--object-name", "x{random}", "s3://dumps/host1/"];
    let set = saved(&text(&run(&mut collect(home(), &place)).stderr));
    assert!(set.starts_with("s3://dumps/host1/x"), "{set}");
    // Nothing else: not another prefix, and nothing is read, listed or deleted.
    let elsewhere = ["-d", "0", "--credentials", &secret, "s3://dumps/host2/"];
    let said = fails(&run(&mut collect(home(), &elsewhere)), 1, &["the store refuses it (AccessDenied)"]);
    assert!(!said.contains("is kept in"), "nothing was put: {said}");
    for words in [&["list", "s3://dumps/"][..], &["list", "s3://dumps/host1/"], &["info", &set]] {
        let output = run(&mut writer.reading(&server, words));
        let said = text(&output.stderr) + &text(&output.stdout);
        let refused = ["does not allow", "the server has no such file"].iter().any(|why| said.contains(why));
        assert!(refused && !said.contains("<Code>"), "{words:?}: {said}");
    }
    let refused = probed(&["--credentials", &reader.file(&server), "s3://dumps/host1/"]);
    fails(&refused, 1, &["the store refuses it (AccessDenied)"]);
    // Who may read finds the dump, and not the probe.
    let listed = succeed(&mut reader.reading(&server, &["list", "s3://dumps/"]));
    assert!(listed.lines().count() == 1 && listed.contains("complete"), "{listed}");
    assert!(succeed(&mut reader.reading(&server, &["verify", &set])).contains("authentic, complete"));
    let info = ["info", "--json", set.trim_end_matches('/')];
    assert!(succeed(&mut reader.reading(&server, &info)).contains("\"complete\": true"));
    hostile_names_hide_no_dump(&mut server, &reader);
}

/// Whoever has the right to write may put objects of any name.
fn hostile_names_hide_no_dump(server: &mut Server, reader: &User) {
    for name in [
        "host1//x",
        "host1/../x",
        "host1/./000000",
        "host1/y/",
        "host1/\\u001b[2J",
        "host1/\\u202e.age",
        "host1/a%2fb",
    ] {
        server.upload(&format!("\"{name}\""));
    }
    for words in [&["list", "s3://dumps/"][..], &["list", "--json", "s3://dumps/host1/"]] {
        let output = run(&mut reader.reading(server, words));
        let (shown, said) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{shown}{said}");
        assert!(shown.lines().any(|line| line.contains("host1/x") && line.contains("complete")), "{shown}");
        assert!(said.contains("have names that cannot be read"), "{said}");
        assert!(!(shown + &said).contains(['\u{1b}', '\u{202e}']));
    }
}

/// TLS before a store; its certificate is valid for these hours from now.
fn tls_front(store: &Store, name: &str, hours: &str) -> Option<(Server, String)> {
    let served = scratch(name);
    fs::write(served.join("server"), format!("{} {hours}", store.port())).unwrap();
    let server = or_skip(Server::start("front", &served))?;
    Some((server, served.join("certificate.pem").to_str().unwrap().to_owned()))
}

#[test]
fn tls_trusts_the_named_authorities_alone_by_a_clock_that_is_not_behind_them() {
    let store = Store::start();
    let Some((server, own)) = tls_front(&store, "upload-tls", "-24 24") else { return };
    let Some((later, future)) = tls_front(&store, "upload-tls-later", "2 24") else { return };
    let Some((earlier, past)) = tls_front(&store, "upload-tls-earlier", "-24 -1") else { return };
    let put = |server: &Server, host: &str, words: &[&str]| {
        let place = format!("https://{host}:{}/tls/", server.port());
        let resolve = format!("{host}=127.0.0.1");
        let mut all = vec!["--resolve", &resolve];
        all.extend(words);
        all.push(&place);
        probed(&all)
    };
    let refused = |output: &Output, words: &str| {
        let said =
            fails(output, 1, &["the server's certificate: ", words, "--ca-file names the authorities"]);
        assert!(store.puts().is_empty(), "nothing is sent: {said}");
    };
    refused(&put(&server, "store.test", &[]), "UnknownIssuer");
    refused(&put(&server, "store.test", &["--ca-file", &future]), "");
    refused(&put(&server, "other.test", &["--ca-file", &own]), "other.test");
    refused(&put(&earlier, "store.test", &["--ca-file", &past]), "expired");
    refused(&put(&later, "store.test", &["--ca-file", &future]), "not valid yet");
    // A clock that is behind, such as one at 1970, counts as the time of the file of authorities.
    let then = SystemTime::now() + Duration::from_secs(3 * 3600);
    fs::File::options().write(true).open(&future).unwrap().set_modified(then).unwrap();
    for (server, ca) in [(&server, &own), (&later, &future)] {
        let said = text(&put(server, "store.test", &["--ca-file", ca]).stderr);
        assert!(said.contains("takes objects, and overwrites none"), "{said}");
    }
    let place = format!("https://store.test:{}/tls/", server.port());
    let words = ["-d", "0", "--ca-file", &own, "--resolve", "STORE.test=127.0.0.1", &place];
    saved(&text(&run(&mut collect(home(), &words)).stderr));
    let [set] = &store.sets()[..] else { panic!("{:?}", store.puts()) };
    assert!(succeed(decrypt(&["verify"]).arg(store.url(set))).contains("authentic, complete"));
}

/// Saves to a store, finds the dump by `list` and reads it back, all with the same variables.
fn there_and_back(place: &str, variables: &[(&str, &str)]) {
    let lines: Vec<String> = variables.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let secret = credentials(&format!("{}-credentials", &place[..2]), &lines);
    for _ in 0..2 {
        let output = probed(&["--credentials", &secret, place]);
        let said = text(&output.stderr);
        assert!(output.status.success() && said.contains("takes objects, and overwrites none"), "{said}");
    }
    let set = saved(&text(&run(&mut collect(home(), &["-d", "0", "--credentials", &secret, place])).stderr));
    let reading = |words: &[&str]| {
        let mut command = decrypt(words);
        command.envs(variables.iter().copied());
        command
    };
    let listed = succeed(&mut reading(&["list", place]));
    assert!(listed.lines().count() == 1 && listed.contains("complete"), "{listed}");
    assert!(succeed(&mut reading(&["verify", &set])).contains("authentic, complete"));
    assert!(succeed(&mut reading(&["info", "--json", &set])).contains("\"complete\": true"));
}

/// Whether a program of `tests/vm/program.sh` can be had.
fn has(name: &str) -> bool {
    or_skip(lab("program.sh", [name])).is_some()
}

#[test]
#[ignore = "make matrix"]
fn matrix_store_of_azure_takes_a_dump() {
    let served = scratch("upload-az");
    let Some(server) = has("azurite").then(|| or_skip(Server::start("az", &served))).flatten() else {
        return;
    };
    // The account that every such emulator has.
    let key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    let endpoint = server.origin("http") + "/devstoreaccount1";
    there_and_back(
        "az://dumps/host1/",
        &[
            ("AZURE_STORAGE_ACCOUNT_NAME", "devstoreaccount1"),
            ("AZURE_STORAGE_ACCOUNT_KEY", key),
            ("AZURE_STORAGE_ENDPOINT", &endpoint),
            ("AZURE_ALLOW_HTTP", "true"),
        ],
    );
}

/// An S3 server that ignores `If-None-Match`: the probe finds that out, and dumps can be saved.
#[test]
#[ignore = "make matrix"]
fn matrix_store_that_overwrites_is_found_out() {
    let served = scratch("upload-s3rver");
    let Some(server) = has("s3rver").then(|| or_skip(Server::start("s3rver", &served))).flatten() else {
        return;
    };
    let user = User("S3RVER".to_owned(), "S3RVER".to_owned());
    let secret = user.file(&server);
    let output = probed(&["--credentials", &secret, "s3://dumps/host1/"]);
    let said = text(&output.stderr);
    assert!(
        output.status.success() && said.contains("warning: ") && said.contains("overwrites them"),
        "{said}"
    );
    let place = ["-d", "0", "--credentials", &secret, "s3://dumps/host1/"];
    let set = saved(&text(&run(&mut collect(home(), &place)).stderr));
    assert!(succeed(&mut user.reading(&server, &["verify", &set])).contains("authentic, complete"));
    let (list, set) = documented_urls(&server, &user, 3600);
    saved(&text(&run(&mut collect(home(), &["-d", "0", "--presigned", &list, ""])).stderr));
    assert!(succeed(&mut user.reading(&server, &["verify", &set])).contains("authentic, complete"));
    let (list, set) = documented_urls(&server, &user, 1);
    std::thread::sleep(Duration::from_secs(2));
    let output = run(&mut collect(home(), &["-d", "0", "--presigned", &list, ""]));
    let said = fails(&output, 1, &["the right to write has expired"]);
    assert!(!said.contains("is kept in") && !said.contains("X-Amz"), "{said}");
    assert_eq!(user.reading(&server, &["verify", &set]).output().unwrap().status.code(), Some(1));
}

/// Has the program of docs/fleet.md make presigned URLs for five objects that are good for so many seconds: their file, and the set.
fn documented_urls(server: &Server, user: &User, seconds: u32) -> (String, String) {
    let docs = fs::read_to_string(top().join("docs/fleet.md")).unwrap();
    let program = docs.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let program = program
        .replace("\"crashes\"", "\"dumps\"")
        .replace("range(256)", "range(5)")
        .replace("7 * 24 * 3600", &seconds.to_string());
    let mut python = Command::new(lab("program.sh", ["servers"]).unwrap());
    python.args(["-c", &program]).env("AWS_ENDPOINT_URL", server.origin("http"));
    server.s3(&mut python);
    python.env("AWS_DEFAULT_REGION", "us-east-1");
    let urls = succeed(python.env("AWS_ACCESS_KEY_ID", &user.0).env("AWS_SECRET_ACCESS_KEY", &user.1));
    let path = urls.split_once("/dumps/").unwrap().1.split_once("/000000?").unwrap().0;
    let place = format!("s3://dumps/{path}/");
    (credentials("documented-urls", &[urls.trim_end().to_owned()]), place)
}
