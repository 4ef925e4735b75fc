//! Names of servers: those given with an address, then those of `/etc/hosts`, and only then DNS as `/etc/resolv.conf` has
//! it. Not by the C library: a static program would need its libraries and `nsswitch.conf` in the image.

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolveHosts;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;

/// The most bytes of either file that are read.
const MAX_FILE: u64 = 16 << 20;
/// Where DNS servers listen.
const DNS_PORT: u16 = 53;

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unresolved {
    /// The file of DNS servers, and why it cannot be used.
    #[error("it is not in /etc/hosts, and /etc/resolv.conf cannot be used: {0}")]
    NoServers(String),
    /// Nothing came back.
    #[error("it is not in /etc/hosts, and no server of /etc/resolv.conf answers")]
    Silent,
    /// DNS has no such name, or no address for it.
    #[error("it is not in /etc/hosts, and DNS has no address for it")]
    Unknown,
    /// Anything else.
    #[error("DNS: {0}")]
    Other(String),
}

/// Names with addresses that were given, and where the others are found.
pub(super) struct Names {
    given: BTreeMap<String, Vec<IpAddr>>,
    files: Files,
    /// How long DNS may take.
    limit: Duration,
}

/// The files of a system, and the port of its DNS servers.
#[derive(Clone)]
struct Files {
    hosts: PathBuf,
    resolv: PathBuf,
    port: u16,
}

impl Names {
    /// With addresses by name in lower case. DNS has `limit`, in which the connection does not give up.
    pub(super) fn new(given: BTreeMap<String, Vec<IpAddr>>, limit: Duration) -> Names {
        let files = Files { hosts: "/etc/hosts".into(), resolv: "/etc/resolv.conf".into(), port: DNS_PORT };
        Names { given, files, limit }
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().trim_end_matches('.').to_ascii_lowercase();
        let given = self.given.get(&name).cloned();
        let (files, limit) = (self.files.clone(), self.limit);
        Box::pin(async move {
            let found = match given.unwrap_or_else(|| in_hosts(&files.hosts, &name)) {
                known if !known.is_empty() => known,
                _ => timeout(limit, files.ask(&name)).await.map_err(|_| Unresolved::Silent)??,
            };
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// The addresses of a name in a file of the form of hosts(5). A file that cannot be read has no names.
fn in_hosts(path: &Path, name: &str) -> Vec<IpAddr> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let lines = BufReader::new(file.take(MAX_FILE)).split(b'\n').map_while(Result::ok);
    lines.filter_map(|line| address(&String::from_utf8_lossy(&line), name)).collect()
}

/// The address in a line of that file if the line has the name.
fn address(line: &str, name: &str) -> Option<IpAddr> {
    let mut words = line.split('#').next()?.split_whitespace();
    let address = words.next()?.parse().ok()?;
    words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name)).then_some(address)
}

impl Files {
    /// Asks DNS. The file is read each time: the network of a capture kernel may come up late.
    async fn ask(&self, name: &str) -> Result<Vec<IpAddr>, Unresolved> {
        let text = read(&self.resolv).map_err(|error| Unresolved::NoServers(error.to_string()))?;
        let (mut config, mut options) =
            parse_resolv_conf(text).map_err(|error| Unresolved::NoServers(error.to_string()))?;
        options.use_hosts_file = ResolveHosts::Never;
        for server in &mut config.name_servers {
            server.connections.iter_mut().for_each(|connection| connection.port = self.port);
        }
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().map_err(|error| meaning(&error))?;
        let found = resolver.lookup_ip(name).await.map_err(|error| meaning(&error))?;
        Ok(found.iter().collect())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn meaning(error: &NetError) -> Unresolved {
    match error {
        NetError::Timeout => Unresolved::Silent,
        error if error.is_no_records_found() || error.is_nx_domain() => Unresolved::Unknown,
        error => Unresolved::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::str::FromStr;
    use std::time::Instant;

    /// Resolves with these files; an absent one is not there.
    fn resolved(
        given: &[(&str, &str)],
        hosts: Option<&str>,
        resolv: Option<&str>,
        port: u16,
        name: &str,
    ) -> Result<Vec<IpAddr>, Unresolved> {
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str, text: Option<&str>| {
            let path = home.path().join(name);
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            path
        };
        let files = Files { hosts: file("hosts", hosts), resolv: file("resolv.conf", resolv), port };
        let pairs = given.iter().map(|(name, address)| ((*name).to_owned(), vec![address.parse().unwrap()]));
        let names = Names { given: pairs.collect(), files, limit: Duration::from_secs(3) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(names.resolve(Name::from_str(name).unwrap()));
        match found {
            Ok(found) => Ok(found.map(|address| address.ip()).collect()),
            Err(error) => Err(error.downcast_ref::<Unresolved>().unwrap().clone()),
        }
    }

    fn addresses(texts: &[&str]) -> Result<Vec<IpAddr>, Unresolved> {
        Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    const HOSTS: &str = "# a comment\n127.0.0.1 localhost\n10.0.0.7\tStore.example  store # b.example\n\
        nonsense b.example\nfe80::1%eth0 b.example\n2001:db8::7 store.example.\n";

    #[test]
    fn a_name_that_is_known_asks_no_server() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        silent.set_nonblocking(true).unwrap();
        let port = silent.local_addr().unwrap().port();
        let resolv = Some("nameserver 127.0.0.1\n");
        let start = Instant::now();
        let given = [("store.example", "10.0.0.9")];
        assert_eq!(resolved(&given, Some(HOSTS), resolv, port, "STORE.example"), addresses(&["10.0.0.9"]));
        let both = addresses(&["10.0.0.7", "2001:db8::7"]);
        assert_eq!(resolved(&[], Some(HOSTS), resolv, port, "store.Example."), both);
        assert_eq!(resolved(&[], Some(HOSTS), resolv, port, "store"), addresses(&["10.0.0.7"]));
        assert!(start.elapsed() < Duration::from_secs(1));
        assert!(silent.recv(&mut [0; 1]).is_err(), "nothing was asked");
        // The others are asked for, and a server that swallows what it gets is given up.
        // Its time is limited, whatever the file has.
        for options in ["timeout:1 attempts:1", "timeout:30 attempts:5"] {
            let resolv = Some(format!("nameserver 127.0.0.1\noptions {options}\n"));
            let found = resolved(&[], Some(HOSTS), resolv.as_deref(), port, "b.example");
            assert_eq!(found, Err(Unresolved::Silent), "{options}");
        }
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(silent.recv(&mut [0; 512]).is_ok());
    }

    #[test]
    fn a_name_that_is_known_needs_no_file() {
        assert_eq!(resolved(&[("a", "::1")], None, None, 1, "a"), addresses(&["::1"]));
        assert_eq!(resolved(&[], Some("10.0.0.7 a\n"), None, 1, "a"), addresses(&["10.0.0.7"]));
        for resolv in [None, Some(""), Some("search example\n"), Some("\u{0}\u{ff}")] {
            let found = resolved(&[], None, resolv, 1, "a");
            assert!(matches!(found, Err(Unresolved::NoServers(_))), "{found:?}");
        }
    }
}
