//! OpenSSH's server on a port of this machine, one process per link: `tests/vm/sshd.sh`.

use crate::common::top;
use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

/// A server whose links end, both ways, after so many bytes from the client.
pub(crate) struct Server {
    pub port: u16,
    links: Receiver<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(keys: &Path, passed: u64) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, links) = channel();
        let keys = keys.to_owned();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, keys) = (client.unwrap(), keys.clone());
                let link = std::thread::spawn(move || serve(&client, &keys, passed));
                if sender.send(link).is_err() {
                    return;
                }
            }
        });
        Server { port, links }
    }

    /// Waits for the links there were to end.
    pub(crate) fn wait(&self) {
        self.links.try_iter().for_each(|link| link.join().unwrap());
    }
}

fn serve(mut client: &TcpStream, keys: &Path, passed: u64) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let stdio = |stream: &UnixStream| Stdio::from(OwnedFd::from(stream.try_clone().unwrap()));
    let mut sshd = Command::new(top().join("tests/vm/sshd.sh"));
    let mut sshd = sshd.arg("serve").arg(keys).stdin(stdio(&theirs)).stdout(stdio(&theirs)).spawn().unwrap();
    drop(theirs);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // What breaks one way ends both; ssh at either end says that the link is gone.
            let _ = io::copy(&mut client.take(passed), &mut &ours);
            let _ = (client.shutdown(Shutdown::Both), ours.shutdown(Shutdown::Both));
        });
        let _ = io::copy(&mut &ours, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    });
    sshd.wait().unwrap();
}
