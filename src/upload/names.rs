//! Names of servers: those given with an address, else by DNS as `/etc/hosts` and `/etc/resolv.conf` have it. Not by the
//! C library: a static program would need its libraries and `nsswitch.conf` in the image.

use hickory_resolver::TokioResolver;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Names with addresses that were given; all others are asked for.
pub(super) struct Names(pub Arc<BTreeMap<String, Vec<IpAddr>>>);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_ascii_lowercase();
        let given = Arc::clone(&self.0);
        Box::pin(async move {
            let found = match given.get(&name) {
                Some(addresses) => addresses.clone(),
                None => ask(&name).await?,
            };
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// Reads the configuration each time: the network of a capture kernel may come up late.
async fn ask(name: &str) -> Result<Vec<IpAddr>, Box<dyn StdError + Send + Sync>> {
    let resolver = TokioResolver::builder_tokio()?.build()?;
    let found: Vec<IpAddr> = resolver.lookup_ip(name).await?.iter().collect();
    Ok(found)
}
