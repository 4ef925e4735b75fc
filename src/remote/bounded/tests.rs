//! Servers on loopback that send too much, too little, or never end, against short limits.

use super::super::{Error, Kind, Place, get, list, parse, place};
use super::*;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const SHORT: Limits = Limits { stall: Duration::from_millis(300), whole: Duration::from_millis(1000) };
/// What an ask may take on a busy machine.
const ENDS: Duration = Duration::from_secs(20);
const ASKED: u64 = 1000;
const PART: &str = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-999/5000\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: ";
const EXACT: &str = "1000\r\n";

/// What a server does with one request.
type Answer = fn(&mut TcpStream) -> io::Result<()>;

/// A server and what it sent.
struct Server {
    url: String,
    requests: Arc<AtomicU64>,
}

fn serve(answer: Answer) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&requests);
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let counter = Arc::clone(&counter);
            thread::spawn(move || {
                let _ = client.read(&mut [0; 4096]);
                counter.fetch_add(1, Ordering::Relaxed);
                let _ = answer(&mut client);
            });
        }
    });
    Server { url, requests }
}

/// One byte each twentieth of a second, for as long as somebody takes them.
fn drip(client: &mut TcpStream) -> io::Result<()> {
    loop {
        client.write_all(b"x")?;
        thread::sleep(Duration::from_millis(50));
    }
}

fn pour(client: &mut TcpStream) -> io::Result<()> {
    loop {
        client.write_all(&[b'x'; 4096])?;
    }
}

fn head(client: &mut TcpStream, head: &str) -> io::Result<()> {
    client.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())
}

/// The head of a part of a file.
fn part(client: &mut TcpStream, len: &str) -> io::Result<()> {
    head(client, &format!("{PART}{len}"))
}

fn tagged(len: &str) -> String {
    format!("{len}ETag: \"a\"\r\n")
}

fn silent(client: &mut TcpStream) -> io::Result<()> {
    client.read(&mut [0; 1]).map(|_| ())
}

/// Asks for a part of a file, and gives the error.
fn ask(server: &Server) -> Error {
    let place = Place { limits: SHORT, ..place(&parse(&server.url).unwrap(), Kind::File).unwrap() };
    let begun = Instant::now();
    let error = get(&place, &place.path, 0..ASKED, None).unwrap_err();
    assert!(begun.elapsed() < ENDS, "{error} after {:?}", begun.elapsed());
    error
}

#[test]
fn a_server_that_does_not_go_on_is_given_up_with_the_limit_in_the_message() {
    let servers: [(Answer, &str); 6] = [
        (silent, "nothing came for 1 s"),
        // The head of an answer that never ends is no answer.
        (|client| client.write_all(b"HTTP/1.1 206 P").and_then(|()| drip(client)), "nothing came for 1 s"),
        (|client| part(client, EXACT).and_then(|()| drip(client)), "bytes came in 1 s"),
        (|client| part(client, EXACT).and_then(|()| silent(client)), "nothing came for 0.3 s"),
        // The client asks for the rest where a tag tells that it is the same file.
        (|client| part(client, &tagged(EXACT)).and_then(|()| drip(client)), "bytes came in 1 s"),
        (|client| part(client, &tagged(EXACT)).and_then(|()| silent(client)), "nothing came for 1 s"),
    ];
    for (number, (answer, words)) in servers.into_iter().enumerate() {
        let server = serve(answer);
        let error = ask(&server).to_string();
        assert!(error.contains(words), "server {number}: {error}");
        assert!(server.requests.load(Ordering::Relaxed) < 10, "server {number}: {:?}", server.requests);
    }
}

#[test]
fn more_than_was_asked_for_ends_the_ask_and_is_not_asked_for_again() {
    let servers: [Answer; 3] = [
        |client| part(client, "100000\r\n").and_then(|()| pour(client)),
        |client| part(client, &tagged("9000000000\r\n")).and_then(|()| pour(client)),
        |client| part(client, "9000000000\r\n").and_then(|()| pour(client)),
    ];
    for (number, answer) in servers.into_iter().enumerate() {
        let server = serve(answer);
        let error = ask(&server);
        assert!(matches!(error, Error::TooMuch), "server {number}: {error}");
        assert_eq!(server.requests.load(Ordering::Relaxed), 1, "server {number}");
    }
}

#[test]
fn the_status_counts_whatever_the_text_of_an_error_does() {
    let servers: [Answer; 4] = [
        |client| head(client, "HTTP/1.1 404 Not Found\r\n").and_then(|()| pour(client)),
        |client| head(client, "HTTP/1.1 404 Not Found\r\n").and_then(|()| drip(client)),
        |client| head(client, "HTTP/1.1 404 Not Found\r\n").and_then(|()| silent(client)),
        |client| head(client, "HTTP/1.1 404 Not Found\r\n").and_then(|()| client.write_all(b"\xff\xfe")),
    ];
    for (number, answer) in servers.into_iter().enumerate() {
        let error = ask(&serve(answer));
        assert!(matches!(error, Error::NotFound), "server {number}: {error}");
    }
    // A server that fails is asked again, and not for ever.
    let failing = serve(|client| head(client, "HTTP/1.1 503 Busy\r\n").and_then(|()| pour(client)));
    ask(&failing);
    assert!((2..10).contains(&failing.requests.load(Ordering::Relaxed)), "{:?}", failing.requests);
    ask(&serve(|client| head(client, "HTTP/1.1 302 Found\r\nLocation: /again\r\n")));
}

/// A bucket on a server that answers every request for a list in the same way.
fn bucket(answer: Answer) -> Place {
    let server = serve(answer);
    let base = place(&parse(&server.url).unwrap(), Kind::Set).unwrap();
    let store = AmazonS3Builder::new()
        .with_bucket_name("dumps")
        .with_endpoint(&server.url)
        .with_allow_http(true)
        .with_skip_signature(true)
        .with_http_connector(Connector { leaves: false, machine: None, user: None })
        .build();
    Place { store: Arc::new(store.unwrap()), path: Path::default(), lists: true, limits: SHORT, ..base }
}

/// A server with one answer to all, and what it was asked: the head of each request, in small letters.
fn answering(answer: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heads = Arc::clone(&asked);
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut bytes = [0; 4096];
            let read = client.read(&mut bytes).unwrap_or(0);
            heads.lock().unwrap().push(String::from_utf8_lossy(&bytes[..read]).to_ascii_lowercase());
            let _ = client.write_all(answer.as_bytes());
        }
    });
    (authority, asked)
}

fn leading_to(authority: &str) -> String {
    let length = "Content-Length: 0\r\nConnection: close\r\n\r\n";
    format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{authority}/there\r\n{length}")
}

#[test]
fn a_web_server_may_lead_to_another_one_which_gets_nothing_that_gives_rights() {
    let (elsewhere, there) = answering(format!("{PART}4\r\nConnection: close\r\n\r\nabcd"));
    let (authority, here) = answering(leading_to(&elsewhere));
    let url = format!("http://me:a%40b@{authority}/dump?X-Amz-Signature=secret");
    let place = Place { limits: SHORT, ..place(&parse(&url).unwrap(), Kind::File).unwrap() };
    let _ = get(&place, &place.path, 0..ASKED, None);
    let (here, there) = (here.lock().unwrap(), there.lock().unwrap());
    assert!(here[0].starts_with("get /dump?x-amz-signature=secret"), "{here:?}");
    // "me:a@b", in base64 of small letters.
    assert!(here[0].contains("authorization: basic bwu6yubi\r\n"), "{here:?}");
    assert!(there[0].starts_with("get /there") && there[0].contains("range: "), "{there:?}");
    for word in ["secret", "authorization", "referer", "x-amz", "dump"] {
        assert!(!there[0].contains(word), "{word}: {there:?}");
    }
}

/// A bucket whose client signs, or has to ask a service for its rights first.
fn signed(endpoint: &str, machine: Option<&str>) -> Place {
    let url = format!("http://{endpoint}");
    let base = place(&parse(&url).unwrap(), Kind::Set).unwrap();
    let builder = AmazonS3Builder::new().with_bucket_name("dumps").with_endpoint(url).with_allow_http(true);
    let builder = match machine {
        Some(machine) => builder.with_metadata_endpoint(format!("http://{machine}")),
        None => builder.with_access_key_id("id").with_secret_access_key("key").with_token("token"),
    };
    let connector = Connector { leaves: false, machine: machine.map(str::to_owned), user: None };
    let store = builder.with_http_connector(connector).build().unwrap();
    Place { store: Arc::new(store), path: Path::from("dump.age"), lists: true, limits: SHORT, ..base }
}

#[test]
fn a_signed_request_stays_with_its_server() {
    let (elsewhere, there) = answering(format!("{PART}4\r\nConnection: close\r\n\r\nabcd"));
    let (authority, here) = answering(leading_to(&elsewhere));
    let place = signed(&authority, None);
    let error = get(&place, &place.path, 0..ASKED, None).unwrap_err();
    assert!(matches!(error, Error::LeadsAway(_)), "{error}");
    assert!(error.to_string().contains("another server, which gets no credentials"), "{error}");
    assert!(here.lock().unwrap()[0].contains("x-amz-security-token: token"));
    assert!(there.lock().unwrap().is_empty());
}

#[test]
fn a_machine_without_rights_is_named_soon() {
    let nothing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (bucket, asked) = answering(String::new());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (machine, words) in [
        (silent.local_addr().unwrap().to_string(), "metadata service does not answer within 0.3 s"),
        (answering(nothing.to_owned()).0, "metadata service has none (404)"),
        ("127.0.0.1:1".to_owned(), "metadata service does not answer"),
    ] {
        let place = signed(&bucket, Some(&machine));
        let begun = Instant::now();
        let error = get(&place, &place.path, 0..ASKED, None).unwrap_err();
        assert!(matches!(error, Error::NoMachine(_)) && error.to_string().contains(words), "{error}");
        assert!(begun.elapsed() < ENDS, "{:?}", begun.elapsed());
    }
    assert!(asked.lock().unwrap().is_empty(), "without rights a bucket is not asked");
}

/// A page of a list that goes on.
fn page(client: &mut TcpStream, entries: &str) -> io::Result<()> {
    let body = format!(
        "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>a</NextContinuationToken>{entries}</ListBucketResult>"
    );
    head(client, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len()))?;
    client.write_all(body.as_bytes())
}

#[test]
fn a_list_that_does_not_end_is_ended() {
    const ENTRY: &str = "<Contents><Key>a.age</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>5</Size></Contents>";
    let full = bucket(|client| page(client, &ENTRY.repeat(20)));
    let mut taken = 0;
    let ended = list::entries(&full, 50, &mut |_| {
        taken += 1;
        true
    });
    assert!(matches!(ended, Err(Error::TooMuch)) && taken == 50, "{ended:?}");
    assert!(list::entries(&full, 50, &mut |_| false).is_ok());
    let servers: [Answer; 3] = [
        |client| page(client, ""),
        |client| head(client, "HTTP/1.1 200 OK\r\n").and_then(|()| drip(client)),
        |client| head(client, "HTTP/1.1 200 OK\r\n").and_then(|()| pour(client)),
    ];
    for answer in servers {
        let begun = Instant::now();
        assert!(list::entries(&bucket(answer), 50, &mut |_| true).is_err());
        assert!(begun.elapsed() < ENDS, "{:?}", begun.elapsed());
    }
}
