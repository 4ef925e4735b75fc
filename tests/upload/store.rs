//! A store on loopback that takes PUT, GET and HEAD, honours `If-None-Match: *` and ranges, and fails as it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// What happens to the puts of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection breaks half-way, so many times.
    BreakHalfWay(u32),
    /// It is kept, and the answer gets lost, once.
    LoseAnswer,
    /// The server stops reading, so many times.
    Stall(u32),
    /// This status, so many times, with a body.
    Answer(u16, &'static str, u32),
    /// A byte now and then.
    Slow,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    /// By the end of an object's path.
    faults: Vec<(String, Fault)>,
    /// Everything that came in.
    puts: Vec<String>,
    heads: Vec<String>,
}

/// Such a store. It serves until the test program ends.
#[derive(Clone)]
pub(crate) struct Store {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Store {
    pub(crate) fn start() -> Store {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let store = Store { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let serving = store.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let store = serving.clone();
                thread::spawn(move || while store.answer(&client).is_some() {});
            }
        });
        store
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Objects whose path ends so fail.
    pub(crate) fn fail(&self, end: &str, fault: Fault) {
        self.state().faults.push((end.to_owned(), fault));
    }

    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.state().objects.clone()
    }

    pub(crate) fn puts(&self) -> Vec<String> {
        self.state().puts.clone()
    }

    /// All request heads.
    pub(crate) fn heads(&self) -> String {
        self.state().heads.concat()
    }

    /// Makes an object another one; what it was.
    pub(crate) fn replace(&self, path: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        self.state().objects.insert(path.to_owned(), bytes.to_vec())
    }

    pub(crate) fn remove(&self, path: &str) -> Option<Vec<u8>> {
        self.state().objects.remove(path)
    }

    /// The paths of the sets, without a slash, in the order of their names.
    pub(crate) fn sets(&self) -> Vec<String> {
        let first = |path: &String| path.strip_suffix("/000000").map(str::to_owned);
        self.state().objects.keys().filter_map(first).collect()
    }

    /// The fault of this put, if it has one.
    fn fault(&self, path: &str) -> Option<Fault> {
        let mut state = self.state();
        let at = state.faults.iter().position(|(end, _)| path.ends_with(end.as_str()))?;
        let fault = state.faults[at].1;
        let next = match fault {
            Fault::BreakHalfWay(times) => Some(Fault::BreakHalfWay(times - 1)).filter(|_| times > 1),
            Fault::Stall(times) => Some(Fault::Stall(times - 1)).filter(|_| times > 1),
            Fault::Answer(status, body, times) => {
                Some(Fault::Answer(status, body, times - 1)).filter(|_| times > 1)
            }
            Fault::LoseAnswer => None,
            Fault::Slow => Some(Fault::Slow),
        };
        match next {
            Some(next) => state.faults[at].1 = next,
            None => drop(state.faults.remove(at)),
        }
        Some(fault)
    }

    /// One request; nothing when the connection is over.
    fn answer(&self, client: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(client);
        let (mut head, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line).ok()? > 2 {
            head += &line;
            line.clear();
        }
        let mut words = head.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let path = target.split('?').next()?.trim_start_matches('/').to_owned();
        let header = |name: &str| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
            line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.trim().to_owned())
        };
        self.state().heads.push(head.clone());
        let len: usize = header("content-length").map_or(0, |len| len.parse().unwrap());
        match method.as_str() {
            "PUT" => {
                self.put(&path, header("if-none-match").as_deref() == Some("*"), len, &mut reader, client)
            }
            "GET" | "HEAD" => self.get(&path, header("range"), method == "HEAD", client),
            _ => reply(client, 405, "", b""),
        }
    }

    fn put(
        &self,
        path: &str,
        exclusive: bool,
        len: usize,
        reader: &mut impl Read,
        client: &TcpStream,
    ) -> Option<()> {
        self.state().puts.push(path.to_owned());
        let fault = self.fault(path);
        let mut body = vec![0; len];
        match fault {
            Some(Fault::BreakHalfWay(_)) => {
                reader.read_exact(&mut body[..len / 2]).ok()?;
                return None;
            }
            Some(Fault::Stall(_)) => {
                reader.read_exact(&mut body[..len / 2]).ok()?;
                thread::sleep(Duration::from_secs(600));
                return None;
            }
            Some(Fault::Slow) => {
                for piece in body.chunks_mut(len.div_ceil(16).max(1)) {
                    reader.read_exact(piece).ok()?;
                    thread::sleep(Duration::from_millis(300));
                }
            }
            _ => reader.read_exact(&mut body).ok()?,
        }
        if let Some(Fault::Answer(status, text, _)) = fault {
            return reply(client, status, ETAG, text.as_bytes());
        }
        let is_new = !self.state().objects.contains_key(path);
        if exclusive && !is_new {
            return reply(client, 412, "", b"<Error><Code>PreconditionFailed</Code></Error>");
        }
        assert!(exclusive, "{path} is put without a condition");
        self.state().objects.insert(path.to_owned(), body);
        if fault == Some(Fault::LoseAnswer) { None } else { reply(client, 201, ETAG, b"") }
    }

    fn get(&self, path: &str, range: Option<String>, is_head: bool, client: &TcpStream) -> Option<()> {
        let Some(object) = self.state().objects.get(path).cloned() else {
            return reply(client, 404, "", b"");
        };
        let time = "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
        let bounds = range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        if is_head {
            let head = format!("HTTP/1.1 200 OK\r\n{time}Content-Length: {}\r\n\r\n", object.len());
            return (&*client).write_all(head.as_bytes()).ok();
        }
        let Some((start, end)) = bounds else { return reply(client, 200, time, &object) };
        let start: usize = start.parse().unwrap();
        let end = end.parse::<usize>().unwrap().min(object.len().saturating_sub(1));
        if start >= object.len() {
            return reply(client, 416, "", b"");
        }
        let range = format!("{time}Content-Range: bytes {start}-{end}/{}\r\n", object.len());
        reply(client, 206, &range, &object[start..=end])
    }
}

/// Clients of S3 want one.
const ETAG: &str = "ETag: \"1\"\r\n";

fn reply(mut client: &TcpStream, status: u16, headers: &str, body: &[u8]) -> Option<()> {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    client.write_all(head.as_bytes()).ok()?;
    client.write_all(body).ok()
}
