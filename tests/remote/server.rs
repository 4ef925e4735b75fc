//! Servers on loopback, each a process of `serve.py`, and a wire in front of them that counts and records what it carries,
//! and can be slow or cut.

use crate::common::{self, Absent};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A server and the wire to it. Both end when this is dropped.
pub(crate) struct Server {
    process: Child,
    output: BufReader<ChildStdout>,
    wire: Wire,
    /// A presigned URL of each file, by the order of names; of S3 alone.
    pub presigned: Vec<String>,
}

impl Server {
    /// Serves the files of a directory; kinds as `serve.py` says.
    pub(crate) fn start(kind: &str, directory: &Path) -> Result<Server, Absent> {
        let python = common::lab("program.sh", ["servers"])?;
        let mut process = Command::new(python)
            .arg(common::top().join("tests/remote/serve.py"))
            .arg(kind)
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut said = said(&mut output);
        assert!(!said.is_empty(), "the server of {kind} does not start");
        let port: u16 = said.remove(0).parse().unwrap();
        let wire = Wire::to(port);
        let presigned = said
            .into_iter()
            .map(|url| url.replace(&format!(":{port}/"), &format!(":{}/", wire.port)))
            .collect();
        Ok(Server { process, output, wire, presigned })
    }

    /// What a URL begins with, up to the slash.
    pub(crate) fn origin(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.wire.port)
    }

    /// Puts into a command's environment what an S3 client finds there.
    pub(crate) fn s3(&self, command: &mut Command) {
        command
            .env("AWS_ENDPOINT", self.origin("http"))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
    }

    /// Uploads a file of the directory again; S3 alone needs that.
    pub(crate) fn upload(&mut self, name: &str) {
        writeln!(self.process.stdin.as_ref().unwrap(), "{name}").unwrap();
        assert_eq!(said(&mut self.output), Vec::<String>::new());
    }

    /// Writes every object of the bucket into a directory, one file each; S3 alone knows how.
    pub(crate) fn save(&mut self, directory: &Path) {
        self.upload(&format!("save {}", directory.display()));
    }

    /// Writes everything that clients send from now on into a file too.
    pub(crate) fn record(&self, path: &Path) {
        self.wire.record(path);
    }

    /// The port of the wire.
    pub(crate) fn port(&self) -> u16 {
        self.wire.port
    }

    /// The wire in front of it.
    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Bytes that came from the server since this was asked last.
    pub(crate) fn carried(&self) -> u64 {
        self.wire.carried.swap(0, Ordering::Relaxed)
    }

    /// The next `times` connections break off after `bytes` bytes of the answer.
    pub(crate) fn break_off(&self, times: u64, bytes: u64) {
        self.wire.break_after.store(bytes, Ordering::Relaxed);
        self.wire.breaks.store(times, Ordering::Relaxed);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a server says until it is ready.
fn said(output: &mut BufReader<ChildStdout>) -> Vec<String> {
    output.lines().map(Result::unwrap).take_while(|line| line != "ready").collect()
}

/// A port that leads to another.
pub(crate) struct Wire {
    port: u16,
    carried: Arc<AtomicU64>,
    breaks: Arc<AtomicU64>,
    break_after: Arc<AtomicU64>,
    sent: Arc<Sent>,
}

/// What clients send: where it is recorded, and how much of it passes.
struct Sent {
    record: Mutex<Option<File>>,
    /// Bytes that still pass.
    left: AtomicU64,
    /// Bytes of each connection that pass in a second; 0 where none waits.
    rate: AtomicU64,
}

impl Wire {
    pub(crate) fn to(server: u16) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let [carried, breaks, break_after] = [(); 3].map(|()| Arc::<AtomicU64>::default());
        let sent = Arc::new(Sent {
            record: Mutex::default(),
            left: AtomicU64::new(u64::MAX),
            rate: AtomicU64::default(),
        });
        let wire = Wire {
            port,
            carried: Arc::clone(&carried),
            breaks: Arc::clone(&breaks),
            break_after: Arc::clone(&break_after),
            sent: Arc::clone(&sent),
        };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
                let broken =
                    breaks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
                let limit = if broken.is_ok() { break_after.load(Ordering::Relaxed) } else { u64::MAX };
                let (asks, answers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (carried, sent) = (Arc::clone(&carried), Arc::clone(&sent));
                thread::spawn(move || carry(asks, server, |piece| sent.pass(piece)));
                let left = AtomicU64::new(limit);
                thread::spawn(move || {
                    carry(answers, client, |piece| {
                        let passed = take(&left, piece.len());
                        carried.fetch_add(passed as u64, Ordering::Relaxed);
                        passed
                    });
                });
            }
        });
        wire
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Writes everything that clients send from now on into a file too, also what does not pass.
    pub(crate) fn record(&self, path: &Path) {
        *self.sent.record.lock().unwrap() = Some(File::create(path).unwrap());
    }

    /// Breaks every connection, new ones too, once clients have sent so many more bytes, until it is mended.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.sent.left.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn mend(&self) {
        self.cut_after(u64::MAX);
    }

    /// Lets so many bytes of each client pass in a second.
    pub(crate) fn throttle(&self, rate: u64) {
        self.sent.rate.store(rate, Ordering::Relaxed);
    }
}

impl Sent {
    /// Records a piece; how many of its bytes pass.
    fn pass(&self, piece: &[u8]) -> usize {
        if let Some(file) = &mut *self.record.lock().unwrap() {
            file.write_all(piece).unwrap();
        }
        let rate = self.rate.load(Ordering::Relaxed);
        if let Some(nanoseconds) = (piece.len() as u64 * 1_000_000_000).checked_div(rate) {
            thread::sleep(Duration::from_nanos(nanoseconds));
        }
        take(&self.left, piece.len())
    }
}

/// Takes so many bytes off a limit, or what is left of it; no limit stays none.
fn take(left: &AtomicU64, bytes: usize) -> usize {
    let less = |left: u64| (left != u64::MAX).then(|| left.saturating_sub(bytes as u64));
    let left = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or(u64::MAX);
    bytes.min(usize::try_from(left).unwrap_or(usize::MAX))
}

/// Carries bytes until one end closes, or not all of a piece passes.
fn carry(mut from: TcpStream, mut to: TcpStream, pass: impl Fn(&[u8]) -> usize) {
    let mut piece = [0; 16 << 10];
    while let Ok(read) = from.read(&mut piece) {
        let passed = pass(&piece[..read]);
        if to.write_all(&piece[..passed]).is_err() || passed < read || read == 0 {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
